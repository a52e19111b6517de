//! DeeperForensics-1.0.
//!
//! ```text
//! manipulated_videos/{end_to_end,end_to_end_level_1,reenact_postprocess,...}/TTT_SSSS.mp4
//! lists/splits/{train,val,test}.txt
//! ```
//!
//! `TTT` is the target video, one of the 1,000 YouTube originals of FaceForensics++, which are the real part and have to be had from there
//! (`originals` names that folder, c23 unless `compression` says otherwise); `SSSS` is the actor whose face was put on it. The source
//! videos of the actors are no real part, say the owners. A clip's group is told by target and actor both. `methods` are the variants; the
//! default is `end_to_end`. An original stands on the side of the forgeries made from it.

use std::collections::HashMap;

use super::{Clip, Listing, faceforensics};
use crate::config::Compression;
use crate::data::{Label, Part};
use crate::error::{Error, Result};

pub(super) fn list(listing: &Listing<'_>) -> Result<Vec<Clip>> {
    let folder = listing.folder(&["manipulated_videos"])?;
    let Some(originals) = &listing.set.originals else {
        return Err(listing.wrong("its real videos are those of FaceForensics++: name that folder as `originals`"));
    };
    let compression = listing.set.compression.unwrap_or(Compression::C23);
    let youtube = originals.join("original_sequences/youtube").join(compression.name());
    if !youtube.is_dir() {
        return Err(listing.wrong(&format!("looked for the originals of FaceForensics++ in {}", youtube.display())));
    }
    let default = ["end_to_end".to_owned()];
    let methods = if listing.set.methods.is_empty() { &default[..] } else { &listing.set.methods };
    let mut clips = Vec::new();
    for method in methods {
        let variant = folder.join(method);
        if !variant.is_dir() {
            return Err(listing.wrong(&format!("looked for the folder {}", variant.display())));
        }
        clips.extend(listing.clips(&variant, Label::Fake, method, |stem| {
            let (target, actor) = stem.split_once('_').unwrap_or((stem, stem));
            vec![faceforensics::key(target), format!("deeperforensics/{actor}")]
        })?);
    }
    let sides = sides(listing)?;
    let mut targets: HashMap<String, Part> = HashMap::new();
    for clip in &mut clips {
        let name = clip.path.file_name().unwrap_or_default().to_string_lossy();
        clip.part = sides.get(&*name).copied();
        if let Some(part) = clip.part {
            targets.insert(name.split('_').next().unwrap_or_default().to_owned(), part);
        }
    }
    let mut real = listing.clips(&youtube, Label::Real, "", |stem| vec![faceforensics::key(stem)])?;
    for clip in &mut real {
        let stem = clip.path.file_stem().unwrap_or_default().to_string_lossy();
        clip.part = targets.get(&*stem).copied();
    }
    clips.extend(real);
    Ok(clips)
}

/// The owners' split, by file name.
fn sides(listing: &Listing<'_>) -> Result<HashMap<String, Part>> {
    let folder = listing.root().join("lists/splits");
    let mut sides = HashMap::new();
    if !folder.is_dir() {
        if listing.set.split.is_some() {
            return Err(listing.wrong("looked for the owners' split in lists/splits/{train,val,test}.txt"));
        }
        return Ok(sides);
    }
    for (part, name) in [(Part::Train, "train.txt"), (Part::Validation, "val.txt"), (Part::Test, "test.txt")] {
        let path = folder.join(name);
        for line in listing.text(&path)?.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let file = line.rsplit('/').next().unwrap_or(line);
            if let Some(other) = sides.insert(file.to_owned(), part).filter(|o| *o != part) {
                return Err(Error::Data(format!("{}: {file} is in `{}` too", path.display(), other.name())));
            }
        }
    }
    Ok(sides)
}
