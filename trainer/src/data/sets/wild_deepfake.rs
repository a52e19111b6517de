//! WildDeepfake: face crops, 224 x 224, out of videos from the internet.
//!
//! ```text
//! [deepfake_in_the_wild/]{real,fake}_{train,test}/V/{real,fake}/SEQUENCE/*.png
//! ```
//!
//! It comes as one archive a video, `real_train/V.tar.gz`, to be unpacked in its place. Real and fake videos do not belong to each other: a
//! group is one video.

use std::path::Path;

use super::{Clip, Listing, Media, media_of};
use crate::data::{Label, Part};
use crate::error::{Error, Result};

pub(super) fn list(listing: &Listing<'_>) -> Result<Vec<Clip>> {
    let inner = listing.root().join("deepfake_in_the_wild");
    let root = if inner.is_dir() { inner.as_path() } else { listing.root() };
    let mut clips = Vec::new();
    let mut looked = Vec::new();
    for label in [Label::Real, Label::Fake] {
        for part in [Part::Train, Part::Test] {
            let name = format!("{}_{}", label.folder(), part.name());
            let folder = root.join(&name);
            if folder.is_dir() {
                let before = clips.len();
                videos(listing, &folder, label, part, &mut clips)?;
                if clips.len() == before && has_archives(&folder)? {
                    return Err(listing.wrong(&format!(
                        "{} holds archives only; unpack them: cd {0} && for f in *.tar.gz; do tar xf \"$f\"; done",
                        folder.display()
                    )));
                }
            }
            looked.push(name);
        }
    }
    if clips.is_empty() {
        return Err(
            listing.wrong(&format!("looked for pictures in VIDEO/{{real,fake}}/SEQUENCE/ of {}", looked.join(", ")))
        );
    }
    Ok(clips)
}

fn has_archives(folder: &Path) -> Result<bool> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    Ok(entries.flatten().any(|e| e.file_name().to_string_lossy().contains(".tar")))
}

fn videos(listing: &Listing<'_>, folder: &Path, label: Label, part: Part, clips: &mut Vec<Clip>) -> Result<()> {
    let prefix = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for video in folders_in(folder)? {
        let id = video.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Some unpack each archive into a folder of its name, which then holds the like.
        let inner = video.join(&id).join(label.folder());
        let class = if inner.is_dir() { inner } else { video.join(label.folder()) };
        if !class.is_dir() {
            continue;
        }
        for sequence in folders_in(&class)? {
            let number = sequence.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for entry in std::fs::read_dir(&sequence).map_err(Error::io(&sequence))? {
                let path = entry.map_err(Error::io(&sequence))?.path();
                if media_of(&path) == Some(Media::Picture) {
                    let name = format!("{}/{id}/{number}", part.name());
                    let keys = vec![format!("wild/{prefix}/{id}")];
                    let mut clip = listing.clip(path, Media::Picture, label, "", &name, keys);
                    clip.part = Some(part);
                    clips.push(clip);
                }
            }
        }
    }
    Ok(())
}

fn folders_in(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}
