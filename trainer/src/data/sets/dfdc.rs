//! The Deepfake Detection Challenge data set.
//!
//! ```text
//! dfdc_train_part_N/metadata.json, dfdc_train_part_N/*.mp4      or one such folder itself
//! ```
//!
//! `metadata.json` maps each file to `{"label": "REAL" | "FAKE", "split": "train", "original": "the real video's file"}`. A fake belongs to
//! its original. Files of another part of the set may be missing; a video that no metadata speaks of is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Clip, Listing, Media, media_of};
use crate::data::{Label, Part};
use crate::error::{Error, Result};

#[derive(Deserialize)]
struct Entry {
    label: Option<String>,
    #[serde(default)]
    split: Option<String>,
    #[serde(default)]
    original: Option<String>,
}

pub(super) fn list(listing: &Listing<'_>) -> Result<Vec<Clip>> {
    let mut folders = vec![listing.root().to_owned()];
    for entry in std::fs::read_dir(listing.root()).map_err(Error::io(listing.root()))? {
        folders.push(entry.map_err(Error::io(listing.root()))?.path());
    }
    folders.retain(|f| f.join("metadata.json").is_file());
    folders.sort();
    if folders.is_empty() {
        return Err(listing.wrong("looked for metadata.json in it and in its folders (dfdc_train_part_0, ...)"));
    }
    let mut clips = Vec::new();
    for folder in folders {
        part(listing, &folder, &mut clips)?;
    }
    Ok(clips)
}

fn part(listing: &Listing<'_>, folder: &Path, clips: &mut Vec<Clip>) -> Result<()> {
    let path = folder.join("metadata.json");
    let wrong = |problem: String| Error::Data(format!("{}: {problem}", path.display()));
    let entries: BTreeMap<String, Entry> = serde_json::from_str(&listing.text(&path)?)
        .map_err(|e| wrong(format!("not a map of files to label, split and original: {e}")))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let file = entry.map_err(Error::io(folder))?.path();
        if media_of(&file) == Some(Media::Video) {
            files.push(file);
        }
    }
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let entry = entries.get(&name).ok_or_else(|| wrong(format!("says nothing of {name}")))?;
        let label = match entry.label.as_deref() {
            Some("REAL") => Label::Real,
            Some("FAKE") => Label::Fake,
            Some(other) => return Err(wrong(format!("{name} has the label `{other}`, neither REAL nor FAKE"))),
            None => return Err(wrong(format!("{name} has no label"))),
        };
        let split = match entry.split.as_deref() {
            Some(split) => {
                Some(Part::from_name(split).ok_or_else(|| wrong(format!("{name}: unknown split `{split}`")))?)
            }
            None => None,
        };
        let original = entry.original.as_deref().filter(|o| !o.is_empty() && label == Label::Fake).unwrap_or(&name);
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let mut clip = listing.clip(file, Media::Video, label, "", stem, vec![format!("dfdc/{original}")]);
        clip.part = split;
        clips.push(clip);
    }
    Ok(())
}
