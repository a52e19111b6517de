//! FaceForensics++, as its download script lays it out.
//!
//! ```text
//! original_sequences/{youtube,actors}/{raw,c23,c40}/videos/*.mp4
//! manipulated_sequences/{Deepfakes,Face2Face,FaceSwap,NeuralTextures,FaceShifter,DeepFakeDetection}/{raw,c23,c40}/videos/*.mp4
//! splits/{train,val,test}.json, or dataset/splits/..., or beside the sequences
//! ```
//!
//! A manipulated video `A_B` shows the scene of `A` with the face or the expression of `B`. The split files hold such pairs. Those of
//! DeepFakeDetection are named `AA_BB__scene__CODE` after the actors `AA` and `BB`, its originals `AA__scene`; it has no split, and as
//! everybody was swapped with nearly everybody, it is one group: for testing.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Clip, Listing};
use crate::config::Compression;
use crate::data::{Label, Part};
use crate::error::{Error, Result};

/// The forgeries of the YouTube originals.
const METHODS: [&str; 5] = ["Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter"];

/// The one of the actors' originals.
const ACTORS: &str = "DeepFakeDetection";

/// What ties an original to its forgeries, here and in DeeperForensics-1.0.
pub(super) fn key(id: &str) -> String {
    format!("youtube/{id}")
}

pub(super) fn list(listing: &Listing<'_>) -> Result<Vec<Clip>> {
    let compression = listing.set.compression.unwrap_or(Compression::C23);
    let wished = &listing.set.methods;
    if let Some(unknown) = wished.iter().find(|m| !METHODS.contains(&m.as_str()) && *m != ACTORS) {
        let known = METHODS.join(", ");
        return Err(listing.wrong(&format!("there is no method `{unknown}`; there are {known} and {ACTORS}")));
    }
    let folder = |kind: &str, name: &str| listing.root().join(kind).join(name).join(compression.name());
    let is_wished = |method: &str| {
        if wished.is_empty() {
            folder("manipulated_sequences", method).is_dir()
        } else {
            wished.iter().any(|w| w == method)
        }
    };
    let need = |path: PathBuf| {
        if path.is_dir() { Ok(path) } else { Err(listing.wrong(&format!("looked for the folder {}", path.display()))) }
    };
    let mut clips = Vec::new();
    let methods: Vec<&str> = METHODS.into_iter().filter(|m| is_wished(m)).collect();
    if !methods.is_empty() {
        let originals = need(folder("original_sequences", "youtube"))?;
        clips.extend(listing.clips(&originals, Label::Real, "", |stem| vec![key(stem)])?);
        for method in &methods {
            let folder = need(folder("manipulated_sequences", method))?;
            clips.extend(listing.clips(&folder, Label::Fake, method, |stem| stem.split('_').map(key).collect())?);
        }
        assign(listing, &mut clips)?;
    }
    if is_wished(ACTORS) {
        let actor = |id: &str| format!("actor/{id}");
        let originals = need(folder("original_sequences", "actors"))?;
        let first = |stem: &str| stem.split("__").next().unwrap_or(stem).to_owned();
        clips.extend(listing.clips(&originals, Label::Real, "", |stem| vec![actor(&first(stem))])?);
        let fakes = need(folder("manipulated_sequences", ACTORS))?;
        let both = |stem: &str| first(stem).split('_').map(actor).collect();
        clips.extend(listing.clips(&fakes, Label::Fake, ACTORS, both)?);
    }
    if clips.is_empty() {
        let looked = folder("manipulated_sequences", "{Deepfakes, Face2Face, ...}");
        return Err(listing.wrong(&format!("looked for {}", looked.display())));
    }
    Ok(clips)
}

/// Notes the owners' split.
fn assign(listing: &Listing<'_>, clips: &mut [Clip]) -> Result<()> {
    let places = ["splits", "dataset/splits", "."];
    let Some(folder) = places.iter().map(|p| listing.root().join(p)).find(|p| p.join("train.json").is_file()) else {
        if listing.set.split.is_some() {
            return Err(listing
                .wrong("looked for the owners' split in splits/train.json, dataset/splits/train.json and train.json"));
        }
        return Ok(());
    };
    let mut parts: HashMap<String, Part> = HashMap::new();
    for part in [Part::Train, Part::Validation, Part::Test] {
        let path = folder.join(format!("{}.json", if part == Part::Validation { "val" } else { part.name() }));
        let pairs: Vec<Vec<String>> = serde_json::from_str(&listing.text(&path)?)
            .map_err(|e| Error::Data(format!("{}: not a list of pairs of video names: {e}", path.display())))?;
        for id in pairs.into_iter().flatten() {
            if let Some(other) = parts.insert(id.clone(), part).filter(|o| *o != part) {
                let text = format!("{}: video {id} is in `{}` too", path.display(), other.name());
                return Err(Error::Data(text));
            }
        }
    }
    for clip in clips {
        let stem = clip.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut of = stem.split('_').map(|id| parts.get(id).copied());
        let first = of.next().flatten();
        if of.any(|other| other != first) {
            let text = format!("{}: its two videos are on different sides of the split", clip.path.display());
            return Err(Error::Data(text));
        }
        clip.part = first;
    }
    Ok(())
}
