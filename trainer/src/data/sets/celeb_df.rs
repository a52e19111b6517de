//! Celeb-DF, version 1 and 2, which are laid out alike.
//!
//! ```text
//! Celeb-real/idA_NNNN.mp4, YouTube-real/NNNNN.mp4, Celeb-synthesis/idA_idB_NNNN.mp4 (each possibly in a folder `videos`)
//! List_of_testing_videos.txt: lines `1 Celeb-real/id1_0007.mp4`, where 1 is real and 0 is fake
//! ```
//!
//! `idA_idB_NNNN` is `idA_NNNN` with the face of `idB`. A group is what hangs together by people. The owners' test list is honoured as it
//! is; what it does not name is for training. People recur on both sides of it: that is how the owners drew it.

use std::collections::HashMap;

use super::{Clip, Listing};
use crate::data::{Label, Part};
use crate::error::{Error, Result};

pub(super) fn list(listing: &Listing<'_>) -> Result<Vec<Clip>> {
    let celebrities = listing.folder(&["Celeb-real"])?;
    let others = listing.folder(&["YouTube-real", "Youtube-real"])?;
    let fakes = listing.folder(&["Celeb-synthesis"])?;
    let people = |stem: &str| -> Vec<String> {
        stem.split('_').filter(|p| p.starts_with("id")).map(|p| format!("celeb/{p}")).collect()
    };
    let mut clips = listing.clips(&celebrities, Label::Real, "", people)?;
    clips.extend(listing.clips(&others, Label::Real, "", |stem| vec![format!("celeb/youtube-{stem}")])?);
    for clip in listing.clips(&fakes, Label::Fake, "", people)? {
        clips.push(clip);
    }
    if let Some(nameless) = clips.iter().find(|c| c.keys.is_empty()) {
        return Err(listing.wrong(&format!("{} is not named after people (id0_...)", nameless.path.display())));
    }
    assign(listing, &mut clips)?;
    Ok(clips)
}

fn assign(listing: &Listing<'_>, clips: &mut [Clip]) -> Result<()> {
    let path = listing.root().join("List_of_testing_videos.txt");
    if !path.is_file() {
        if listing.set.split.is_some() {
            return Err(listing.wrong("looked for List_of_testing_videos.txt"));
        }
        return Ok(());
    }
    let wrong = |line: &str, problem: &str| Error::Data(format!("{}: `{line}`: {problem}", path.display()));
    let mut tested: HashMap<(String, String), Label> = HashMap::new();
    for line in listing.text(&path)?.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (label, file) = line.split_once(' ').ok_or_else(|| wrong(line, "not a label and a file"))?;
        let label = match label {
            "1" => Label::Real,
            "0" => Label::Fake,
            _ => return Err(wrong(line, "the label is neither 1 (real) nor 0 (fake)")),
        };
        let (folder, name) = file.trim().split_once('/').ok_or_else(|| wrong(line, "not a file in a folder"))?;
        let name = name.rsplit('/').next().unwrap_or(name);
        tested.insert((folder.to_lowercase(), name.to_owned()), label);
    }
    for clip in clips {
        let name = clip.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut above =
            clip.path.ancestors().skip(1).filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().to_lowercase());
        let folder = above.find(|n| n != "videos").unwrap_or_default();
        clip.part = Some(match tested.get(&(folder, name)) {
            Some(label) if *label != clip.label => {
                return Err(wrong(&clip.path.display().to_string(), "the list gives it the other label"));
            }
            Some(_) => Part::Test,
            None => Part::Train,
        });
    }
    Ok(())
}
