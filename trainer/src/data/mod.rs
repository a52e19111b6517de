//! Faces on disk: which there are, whose they are, and which are kept for validation.

mod order;
mod pictures;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use order::Order;
pub use pictures::{Picture, Pictures};

use crate::config::{Pseudo, Sources};
use crate::error::{Error, Result};
use crate::seeded;

/// The extensions of files that are taken for pictures, in lower case.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

/// What a face is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Genuine.
    Real,
    /// A deepfake.
    Fake,
}

impl Label {
    /// The folder that holds such faces.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Fake => "fake",
        }
    }

    /// The column of the network's output, see [`crate::net::REAL`].
    pub fn column(self) -> i64 {
        match self {
            Self::Real => crate::net::REAL,
            Self::Fake => crate::net::FAKE,
        }
    }
}

/// One picture of one face.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Face {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub label: Label,
    /// Name of the source video: of the one that it, or the face that it forges, was taken from. Splits keep it whole.
    pub source: String,
    /// Name of the video that it was taken from itself, whose faces are judged together.
    pub video: String,
    /// How it was forged, as its data set names the method; empty where that is not known, and for real faces.
    pub method: String,
}

/// All faces of the folders, sorted by label and path.
///
/// # Errors
///
/// A folder that cannot be read, one without `real/` and `fake/`, a class without a picture.
pub fn scan(folders: &[PathBuf]) -> Result<Vec<Face>> {
    let mut faces = Vec::new();
    for folder in folders {
        let before = faces.len();
        for label in [Label::Real, Label::Fake] {
            let class = folder.join(label.folder());
            if class.is_dir() {
                pictures_of(&class, label, &mut faces)?;
            }
        }
        if faces.len() == before {
            let text = format!("{}: no pictures in `real/` or `fake/`", folder.display());
            return Err(Error::Data(text));
        }
    }
    for label in [Label::Real, Label::Fake] {
        if !faces.iter().any(|f| f.label == label) {
            let text = format!("there is no {} face in {}", label.folder(), list(folders));
            return Err(Error::Data(text));
        }
    }
    faces.sort_by(|a, b| (a.label, &a.path).cmp(&(b.label, &b.path)));
    Ok(faces)
}

/// The real faces alone, of folders with `real/` in them or of pictures; sorted by path.
///
/// # Errors
///
/// A folder that cannot be read or has no picture.
pub fn reals(folders: &[PathBuf]) -> Result<Vec<Face>> {
    let mut faces = Vec::new();
    for folder in folders {
        let before = faces.len();
        let class = folder.join(Label::Real.folder());
        pictures_of(if class.is_dir() { &class } else { folder }, Label::Real, &mut faces)?;
        if faces.len() == before {
            return Err(Error::Data(format!("{}: no pictures, and no `real/` with pictures", folder.display())));
        }
    }
    faces.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(faces)
}

/// Adds to each real face the pseudo-fake that is made of it: a fake of the same file, as [`crate::synthesize::PseudoFakes`] knows it.
/// `sources` says what the source video of each of them is.
pub fn with_pseudo_fakes(mut faces: Vec<Face>, pseudo: Pseudo, sources: Sources) -> Vec<Face> {
    if pseudo == Pseudo::None {
        return faces;
    }
    if pseudo == Pseudo::Only {
        faces.retain(|f| f.label == Label::Real);
    }
    if sources == Sources::File {
        for face in &mut faces {
            face.source = face.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
    }
    let reals = faces.iter().filter(|f| f.label == Label::Real);
    let made: Vec<Face> =
        reals.map(|f| Face { label: Label::Fake, method: "pseudo".to_owned(), ..f.clone() }).collect();
    faces.extend(made);
    faces
}

fn pictures_of(folder: &Path, label: Label, faces: &mut Vec<Face>) -> Result<()> {
    for path in pictures_in(folder)? {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let source = stem.split_once('_').map_or(stem.as_str(), |(source, _)| source).to_owned();
        let video = video_of(&stem).to_owned();
        faces.push(Face { path, label, source, video, method: String::new() });
    }
    Ok(())
}

/// What is left of a file's name without the number of its frame: digits after the last `_`.
pub(crate) fn video_of(stem: &str) -> &str {
    match stem.rsplit_once('_') {
        Some((video, frame)) if !frame.is_empty() && frame.bytes().all(|b| b.is_ascii_digit()) => video,
        _ => stem,
    }
}

/// The pictures of a folder, sorted.
///
/// # Errors
///
/// A folder that cannot be read.
pub fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        if extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) {
            pictures.push(path);
        }
    }
    pictures.sort();
    Ok(pictures)
}

/// Faces to learn from and faces to choose by; no source video is in both.
#[derive(Debug)]
pub struct Split {
    /// To learn from.
    pub train: Vec<Face>,
    /// To choose the best epoch by.
    pub validation: Vec<Face>,
}

/// Splits by source video: which part a source goes to depends on its name and the seed only. `limit` keeps only so many
/// sources; 0 keeps all.
///
/// # Errors
///
/// Fewer than two sources, or a part that lacks a class.
pub fn split(faces: Vec<Face>, share: f64, seed: u64, limit: usize) -> Result<Split> {
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
    let kept = ((sources.len() as f64 * share).round() as usize).clamp(1, sources.len() - 1);
    let mut parts = [Vec::new(), Vec::new()];
    for (i, (_, faces)) in sources.into_iter().enumerate() {
        parts[usize::from(i < kept)].extend(faces);
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

/// How many faces and source videos, in words.
pub fn summary(faces: &[Face]) -> String {
    let count = |label| faces.iter().filter(|f| f.label == label).count();
    let sources: std::collections::BTreeSet<_> = faces.iter().map(|f| &f.source).collect();
    format!("{} real and {} fake faces of {} source videos", count(Label::Real), count(Label::Fake), sources.len())
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}
