//! Faces on disk: which there are, whose they are, and which are kept for validation.

pub mod duplicates;
pub mod manifest;
mod order;
mod pictures;
pub mod sets;
mod split;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use deepfake_scoring::geometry::Point;
use serde::{Deserialize, Serialize};

use sha2::{Digest, Sha256};

pub use order::Order;
pub use pictures::{Picture, Pictures};
pub use split::{Split, shared_sources, split};

use crate::config::{Data, Pseudo, Sources};
use crate::error::{Error, Result};
use crate::hash;

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

    /// The one whose folder is so called.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Real, Self::Fake].into_iter().find(|l| l.folder() == name)
    }

    /// The column of the network's output, see [`crate::net::REAL`].
    pub fn column(self) -> i64 {
        match self {
            Self::Real => crate::net::REAL,
            Self::Fake => crate::net::FAKE,
        }
    }
}

/// A side of the split that the owners of a data set made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// To learn from.
    Train,
    /// To choose by.
    #[serde(alias = "val")]
    Validation,
    /// To measure on, never used in training.
    Test,
}

impl Part {
    /// As configurations and manifests have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// The part of that name; `val` and `validate` are validation too.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "train" => Some(Self::Train),
            "validation" | "val" | "validate" => Some(Self::Validation),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

/// One picture of one face.
#[derive(Clone, Debug, PartialEq)]
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
    /// Name of the data set; empty where nobody says.
    pub set: String,
    /// The side of its owners' split, where they made one.
    pub part: Option<Part>,
    /// Right eye, left eye, nose, right and left corner of the mouth (as the person has them) in pixels of the picture, where they are known.
    pub landmarks: Option<[Point; 5]>,
}

impl Face {
    /// A face of which no more is known.
    pub fn new(path: PathBuf, label: Label, source: String, video: String) -> Self {
        Self { path, label, source, video, method: String::new(), set: String::new(), part: None, landmarks: None }
    }
}

/// All faces of the folders, sorted by label and path: those of the folder's [`manifest`], or, where it has none, the pictures in `real/`
/// and `fake/`.
///
/// # Errors
///
/// A folder that cannot be read, one without manifest, `real/` and `fake/`, a class without a picture.
pub fn scan(folders: &[PathBuf]) -> Result<Vec<Face>> {
    complete(scan_any(folders)?, &list(folders))
}

/// As [`scan`], of folders that together may lack one of the classes.
///
/// # Errors
///
/// A folder that cannot be read, one without manifest and without a picture in `real/` or `fake/`.
pub fn scan_any(folders: &[PathBuf]) -> Result<Vec<Face>> {
    let mut faces = Vec::new();
    for folder in folders {
        if let Some(told) = manifest::faces(folder)? {
            faces.extend(told);
            continue;
        }
        let before = faces.len();
        for label in [Label::Real, Label::Fake] {
            let class = folder.join(label.folder());
            if class.exists() {
                pictures_of(&class, label, &mut faces)?;
            }
        }
        if faces.len() == before {
            let text = format!("{}: no pictures in `real/` or `fake/`", folder.display());
            return Err(Error::Data(text));
        }
    }
    faces.sort_by(|a, b| (a.label, &a.path).cmp(&(b.label, &b.path)));
    Ok(faces)
}

/// All faces that a configuration names: of its folders, and of those of its sets that are pictures of faces already. Real ones only, where
/// pseudo-fakes take the place of fakes.
///
/// # Errors
///
/// As [`scan`] and [`sets::list`]; a set of videos, which are to be cut first.
pub fn faces(data: &Data) -> Result<Vec<Face>> {
    let real_only = data.pseudo == Pseudo::Only;
    let mut faces = match &data.folders[..] {
        [] => Vec::new(),
        folders if real_only => reals(folders)?,
        folders => scan_any(folders)?,
    };
    for clip in sets::list(&data.sets)? {
        if clip.media == sets::Media::Video {
            let text = format!(
                "{} is a video: cut its faces first (deepfake-trainer faces --config FILE --out FOLDER), then name that folder in \
                 `data.folders`",
                clip.path.display()
            );
            return Err(Error::Data(text));
        }
        if !real_only || clip.label == Label::Real {
            let sets::Clip { path, label, source, video, method, set, part, .. } = clip;
            faces.push(Face { method, set, part, ..Face::new(path, label, source, video) });
        }
    }
    if real_only {
        faces.sort_by(|a, b| a.path.cmp(&b.path));
        return Ok(faces);
    }
    complete(faces, "the data of the configuration")
}

fn complete(mut faces: Vec<Face>, place: &str) -> Result<Vec<Face>> {
    for label in [Label::Real, Label::Fake] {
        if !faces.iter().any(|f| f.label == label) {
            let name = label.folder();
            let text =
                format!("there is no {name} face in {place}: put some into `{name}/`, or name a folder that has some");
            return Err(Error::Data(text));
        }
    }
    faces.sort_by(|a, b| (a.label, &a.path).cmp(&(b.label, &b.path)));
    Ok(faces)
}

/// The real faces alone, of folders with a [`manifest`], with `real/` in them or of pictures; sorted by path.
///
/// # Errors
///
/// A folder that cannot be read or has no picture.
pub fn reals(folders: &[PathBuf]) -> Result<Vec<Face>> {
    let mut faces = Vec::new();
    for folder in folders {
        let before = faces.len();
        if let Some(told) = manifest::faces(folder)? {
            faces.extend(told.into_iter().filter(|f| f.label == Label::Real));
        } else {
            let class = folder.join(Label::Real.folder());
            pictures_of(if class.is_dir() { &class } else { folder }, Label::Real, &mut faces)?;
        }
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
        let (source, video) = (source_of(&stem).to_owned(), video_of(&stem).to_owned());
        faces.push(Face::new(path, label, source, video));
    }
    Ok(())
}

/// What a file's name says before the first `_`.
fn source_of(stem: &str) -> &str {
    stem.split_once('_').map_or(stem, |(source, _)| source)
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
        if has_extension(&path, &EXTENSIONS) {
            pictures.push(path);
        }
    }
    pictures.sort();
    Ok(pictures)
}

/// Whether a file's name ends in one of them, which are in lower case.
pub(crate) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let own = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    own.is_some_and(|e| extensions.contains(&e.as_str()))
}

impl Split {
    /// [`names_digest`] of the two parts.
    pub fn digest(&self) -> String {
        names_digest(&self.train, &self.validation)
    }
}

/// SHA-256 of which faces a run sees: file names and labels, not folders, so that moved data is still the same data.
pub fn names_digest(train: &[Face], validation: &[Face]) -> String {
    let mut hash = Sha256::new();
    for (part, faces) in [("train", train), ("validation", validation)] {
        for face in faces {
            let name = face.path.file_name().unwrap_or_default().to_string_lossy();
            hash.update(format!("{part}/{}/{name}\n", face.label.folder()));
        }
    }
    hash::hex(hash.finalize())
}

/// The video of each face, as numbers from 0 in the order in which videos first occur. A real and a fake video of one name are two.
pub fn videos(faces: &[Face]) -> Vec<usize> {
    let mut seen = BTreeMap::new();
    let mut number = |face: &Face| {
        let next = seen.len();
        *seen.entry((face.label, face.source.clone(), face.video.clone())).or_insert(next)
    };
    faces.iter().map(&mut number).collect()
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
