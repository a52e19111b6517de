//! Which faces are learned from, and which are kept to choose by.

use std::collections::{BTreeMap, BTreeSet};

use super::{Face, Label, Part};
use crate::error::{Error, Result};
use crate::seeded;

/// Faces to learn from and faces to choose by; no source is in both.
#[derive(Debug)]
pub struct Split {
    /// To learn from.
    pub train: Vec<Face>,
    /// To choose the best epoch by.
    pub validation: Vec<Face>,
}

/// Splits faces. What the owners of a set call its test part is left out. Where they name a validation part, their split holds for that set;
/// all other faces are split by source: which part a source goes to depends on its name and the seed only. `limit` keeps only so
/// many sources; 0 keeps all.
///
/// # Errors
///
/// Fewer than two sources, a part that lacks a class, a source that the owners of two sets put on different sides.
pub fn split(faces: Vec<Face>, share: f64, seed: u64, limit: usize) -> Result<Split> {
    let (tested, faces): (Vec<Face>, Vec<Face>) = faces.into_iter().partition(|f| f.part == Some(Part::Test));
    let torn = shared_sources(&tested, &faces);
    if !torn.is_empty() {
        let some: Vec<_> = torn.iter().take(5).copied().collect();
        tracing::warn!(
            "the owners' split tests on {} sources that it also trains on ({}{}): what is measured there is too good",
            torn.len(),
            some.join(", "),
            if torn.len() > some.len() { ", ..." } else { "" }
        );
    }
    let decided: BTreeSet<String> =
        faces.iter().filter(|f| f.part == Some(Part::Validation)).map(|f| f.set.clone()).collect();
    let mut sources: BTreeMap<String, Vec<Face>> = BTreeMap::new();
    for face in faces {
        sources.entry(face.source.clone()).or_default().push(face);
    }
    let mut sources: Vec<_> = sources
        .into_iter()
        .map(|(name, faces)| {
            let numbers: Vec<u64> = name.bytes().map(u64::from).collect();
            (seeded::mixed(seed, "split", &numbers), faces)
        })
        .collect();
    sources.sort_by_key(|(rank, _)| *rank);
    if limit > 0 {
        sources.truncate(limit);
    }
    if sources.len() < 2 {
        return Err(Error::Data("all faces are of one source video: nothing can be kept for validation".to_owned()));
    }
    let mut parts = [Vec::new(), Vec::new()];
    let mut free = Vec::new();
    for (_, faces) in sources {
        let official: BTreeSet<Part> =
            faces.iter().filter(|f| decided.contains(&f.set)).filter_map(|f| f.part).collect();
        match official.iter().collect::<Vec<_>>()[..] {
            [] => free.push(faces),
            [part] => parts[usize::from(*part == Part::Validation)].extend(faces),
            _ => {
                let text = format!(
                    "the owners' splits put the source {} into training and validation: {} and others",
                    faces[0].source,
                    faces[0].path.display()
                );
                return Err(Error::Data(text));
            }
        }
    }
    if free.len() > 1 {
        let kept = ((free.len() as f64 * share).round() as usize).clamp(1, free.len() - 1);
        for (i, faces) in free.into_iter().enumerate() {
            parts[usize::from(i < kept)].extend(faces);
        }
    } else {
        parts[0].extend(free.into_iter().flatten());
    }
    let [train, validation] = parts;
    for (part, what) in [(&train, "training"), (&validation, "validation")] {
        for label in [Label::Real, Label::Fake] {
            if !part.iter().any(|f| f.label == label) {
                let text = format!(
                    "after the split by source video the {what} part has no {} face: give more source videos or another \
                     `data.validation_share`",
                    label.folder()
                );
                return Err(Error::Data(text));
            }
        }
    }
    Ok(Split { train, validation })
}

/// The sources that occur on both sides of something: none may, where what is on one side is to be judged by the other.
pub fn shared_sources<'a>(one: &'a [Face], other: &[Face]) -> BTreeSet<&'a str> {
    let theirs: BTreeSet<&str> = other.iter().map(|f| f.source.as_str()).collect();
    one.iter().map(|f| f.source.as_str()).filter(|s| theirs.contains(s)).collect()
}
