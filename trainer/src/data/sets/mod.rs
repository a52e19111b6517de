//! Data sets as their owners lay them out, one module a layout.
//!
//! A layout says of every video or picture what it is, whose it is and on which side of the owners' split it stands. What must not be
//! torn apart by a split is told by *keys*: clips that share a key are of one group, and so are all that hang together by such clips. A
//! swap of two people bears the keys of both. The group is the clip's source.

mod celeb_df;
mod deeperforensics;
mod dfdc;
mod faceforensics;
mod ffiw;
mod folders;
mod uadfv;
mod wild_deepfake;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::{Label, Part, has_extension};
use crate::config::{Set, SetKind};
use crate::error::{Error, Result};
use crate::video;

/// What a file of a data set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A video, whose faces are to be cut.
    Video,
    /// A still picture.
    Picture,
}

/// A video or picture of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// The file.
    pub path: PathBuf,
    /// What it is of.
    pub media: Media,
    /// Whether it was forged.
    pub label: Label,
    /// Name of the group that splits keep whole.
    pub source: String,
    /// Name of the video, unique among all sets. The stills of one video share it.
    pub video: String,
    /// How it was forged, as the owners name it; empty for real ones and where nobody knows.
    pub method: String,
    /// Name of the data set.
    pub set: String,
    /// The side of the owners' split.
    pub part: Option<Part>,
    /// What ties it to others.
    keys: Vec<String>,
}

/// Every clip of the sets, sorted by path within each; with sources over all sets together, as some share their originals.
///
/// # Errors
///
/// A folder that is not laid out as its kind says: the message tells what was looked for.
pub fn list(sets: &[Set]) -> Result<Vec<Clip>> {
    let mut clips = Vec::new();
    for set in sets {
        let kind = match set.kind {
            Some(kind) => kind,
            None => recognize(&set.root)?,
        };
        let listing = Listing::new(set, kind);
        let mut found = match kind {
            SetKind::FaceForensics => faceforensics::list(&listing),
            SetKind::Dfdc => dfdc::list(&listing),
            SetKind::DeeperForensics => deeperforensics::list(&listing),
            SetKind::CelebDf => celeb_df::list(&listing),
            SetKind::WildDeepfake => wild_deepfake::list(&listing),
            SetKind::Ffiw => ffiw::list(&listing),
            SetKind::Uadfv => uadfv::list(&listing),
            SetKind::Folders => folders::list(&listing),
        }?;
        if let Some(part) = set.split {
            found.retain(|c| c.part == Some(part));
        }
        if found.is_empty() {
            let side = set.split.map_or(String::new(), |p| format!(" of the split `{}`", p.name()));
            return Err(listing.wrong(&format!("no videos or pictures{side}")));
        }
        found.sort_by(|a, b| (&a.path, a.label).cmp(&(&b.path, b.label)));
        clips.extend(found);
    }
    // DeeperForensics-1.0 and FaceForensics++ share their originals.
    let mut seen = HashSet::new();
    clips.retain(|c| seen.insert(c.path.clone()));
    group(&mut clips);
    Ok(clips)
}

/// Which layout a folder has.
///
/// # Errors
///
/// When it has none that is known.
pub fn recognize(root: &Path) -> Result<SetKind> {
    let entries = std::fs::read_dir(root).map_err(Error::io(root))?;
    let names: Vec<String> = entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    let starts = |start: &str| names.iter().any(|n| n.starts_with(start));
    Ok(match () {
        () if has("manipulated_videos") => SetKind::DeeperForensics,
        () if has("original_sequences") || has("manipulated_sequences") => SetKind::FaceForensics,
        () if has("Celeb-synthesis") => SetKind::CelebDf,
        () if has("deepfake_in_the_wild")
            || ["real_", "fake_"].iter().any(|c| has(&format!("{c}train")) || has(&format!("{c}test"))) =>
        {
            SetKind::WildDeepfake
        }
        () if starts("dfdc_train_part") || has("metadata.json") => SetKind::Dfdc,
        () if has("source") && has("target") => SetKind::Ffiw,
        () if (has("real") || has("fake")) && uadfv::is_one(root) => SetKind::Uadfv,
        () if has("real") || has("fake") => SetKind::Folders,
        () => {
            let known: Vec<&str> = SetKind::ALL.iter().map(|k| k.name()).collect();
            return Err(Error::Data(format!(
                "{}: no layout that is known here; say which it is with `kind` ({}), or put the videos into `real/` and `fake/`",
                root.display(),
                known.join(", ")
            )));
        }
    })
}

/// What is read, and how its clips are made.
struct Listing<'a> {
    set: &'a Set,
    kind: SetKind,
    name: String,
}

impl<'a> Listing<'a> {
    fn new(set: &'a Set, kind: SetKind) -> Self {
        Self { set, kind, name: set.name.clone().unwrap_or_else(|| kind.name().to_owned()) }
    }

    fn root(&self) -> &Path {
        &self.set.root
    }

    /// The error of a folder that does not fit.
    fn wrong(&self, problem: &str) -> Error {
        Error::Data(format!("{}: not a data set laid out as `{}`: {problem}", self.root().display(), self.kind.name()))
    }

    /// A folder in the root that must be there: the first of `names` that is.
    fn folder(&self, names: &[&str]) -> Result<PathBuf> {
        let found = names.iter().map(|n| self.root().join(n)).find(|p| p.is_dir());
        found.ok_or_else(|| self.wrong(&format!("looked for the folder {}", names.join(" or "))))
    }

    /// The clips of a folder, or of its subfolder `videos`, in which some downloads put them.
    fn clips(
        &self,
        folder: &Path,
        label: Label,
        method: &str,
        keys: impl Fn(&str) -> Vec<String>,
    ) -> Result<Vec<Clip>> {
        let inner = folder.join("videos");
        let folder = if inner.is_dir() { &inner } else { folder };
        let mut clips = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
            let path = entry.map_err(Error::io(folder))?.path();
            let Some(media) = media_of(&path) else { continue };
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let keys = keys(&stem);
            clips.push(self.clip(path, media, label, method, &stem, keys));
        }
        Ok(clips)
    }

    fn clip(&self, path: PathBuf, media: Media, label: Label, method: &str, video: &str, keys: Vec<String>) -> Clip {
        let class = if method.is_empty() { label.folder() } else { method };
        Clip {
            path,
            media,
            label,
            source: keys.first().cloned().unwrap_or_default(),
            video: format!("{}/{class}/{video}", self.name),
            method: method.to_owned(),
            set: self.name.clone(),
            part: None,
            keys,
        }
    }

    /// Reads a text file of the set.
    fn text(&self, path: &Path) -> Result<String> {
        std::fs::read_to_string(path).map_err(Error::io(path))
    }
}

fn media_of(path: &Path) -> Option<Media> {
    if has_extension(path, &video::EXTENSIONS) {
        Some(Media::Video)
    } else {
        has_extension(path, &super::EXTENSIONS).then_some(Media::Picture)
    }
}

/// Gives all clips that hang together by their keys one source: the least of these keys.
fn group(clips: &mut [Clip]) {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<&str> = Vec::new();
    let mut parents: Vec<usize> = Vec::new();
    let mut firsts = Vec::with_capacity(clips.len());
    for clip in clips.iter() {
        let mut first = None;
        for key in &clip.keys {
            let number = *numbers.entry(key).or_insert_with(|| {
                names.push(key);
                parents.push(parents.len());
                parents.len() - 1
            });
            let root = root(&mut parents, number);
            match first {
                None => first = Some(root),
                Some(other) => {
                    let other = self::root(&mut parents, other);
                    // The lesser name stands for both.
                    let (low, high) = if names[root] < names[other] { (root, other) } else { (other, root) };
                    parents[high] = low;
                    first = Some(low);
                }
            }
        }
        firsts.push(first);
    }
    let sources: Vec<Option<String>> =
        firsts.into_iter().map(|first| first.map(|f| names[root(&mut parents, f)].to_owned())).collect();
    for (clip, source) in clips.iter_mut().zip(sources) {
        if let Some(source) = source {
            clip.source = source;
        }
    }
}

fn root(parents: &mut [usize], mut number: usize) -> usize {
    while parents[number] != number {
        parents[number] = parents[parents[number]];
        number = parents[number];
    }
    number
}
