//! A test set: its files with their labels, and a digest of all that decides about scores.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::write_atomically;
use crate::config::{TestKind, TestSet};
use crate::data::sets::{self, Media};
use crate::data::{self, Face, Label};
use crate::error::{Error, Result};
use crate::{hash, seeded};

/// A test set, ready to be scored.
#[derive(Clone, Debug)]
pub struct Set {
    /// As configured.
    pub said: TestSet,
    /// One a file.
    pub items: Vec<Face>,
    /// What each of them is.
    pub media: Vec<Media>,
    /// Of all that decides about scores, see [`Set::open`].
    pub digest: String,
}

impl Set {
    /// Finds the files. The digest is SHA-256 over kind, number of frames and locator, and over name, label, source video and content of
    /// every file; where the files lie does not count.
    ///
    /// # Errors
    ///
    /// Folders or files that cannot be read.
    pub fn open(said: &TestSet, locator: &str, digests: &mut Digests) -> Result<Self> {
        let mut items = if said.folders.is_empty() { Vec::new() } else { data::scan_any(&said.folders)? };
        let mut media = vec![Media::Picture; items.len()];
        for clip in sets::list(&said.sets)? {
            media.push(clip.media);
            items.push(Face::new(clip.path, clip.label, clip.source, clip.video));
        }
        let mut sha = Sha256::new();
        let mut add = |part: &[u8]| {
            sha.update((part.len() as u64).to_le_bytes());
            sha.update(part);
        };
        add(b"test set 1");
        match said.kind {
            TestKind::Crops => add(b"crops"),
            TestKind::Pictures => add(format!("pictures\0{locator}").as_bytes()),
        }
        for ((item, media), content) in items.iter().zip(&media).zip(digests.of(&items)?) {
            let name = item.path.file_name().unwrap_or_default().to_string_lossy();
            for part in [item.label.folder(), &item.source, &item.video, &name, &content] {
                add(part.as_bytes());
            }
            if *media == Media::Video {
                add(format!("{} frames\0{locator}", said.frames).as_bytes());
            }
        }
        Ok(Self { said: said.clone(), items, media, digest: hash::hex(sha.finalize()) })
    }

    /// The number of the source video of each item, from 0, and how many there are.
    pub fn sources(&self) -> (Vec<usize>, usize) {
        let names: BTreeMap<&str, ()> = self.items.iter().map(|f| (f.source.as_str(), ())).collect();
        let number: BTreeMap<&str, usize> = names.keys().enumerate().map(|(i, name)| (*name, i)).collect();
        (self.items.iter().map(|f| number[f.source.as_str()]).collect(), number.len())
    }

    /// The indices of the items of so many source videos, chosen by their names; of all where that is 0.
    pub fn some(&self, sources: usize) -> Vec<usize> {
        let rank = |name: &str| seeded::mixed(0, "robustness", &name.bytes().map(u64::from).collect::<Vec<_>>());
        let mut ranks: Vec<u64> = self.items.iter().map(|f| rank(&f.source)).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let last = if sources == 0 { u64::MAX } else { ranks.get(sources - 1).copied().unwrap_or(u64::MAX) };
        (0..self.items.len()).filter(|&i| rank(&self.items[i].source) <= last).collect()
    }

    /// Pictures that there will be at most.
    pub fn shots(&self) -> usize {
        self.media.iter().map(|m| if *m == Media::Video { self.said.frames } else { 1 }).sum()
    }

    /// How many items are of that class.
    pub fn count(&self, label: Label) -> usize {
        self.items.iter().filter(|f| f.label == label).count()
    }
}

/// SHA-256 of files, remembered with size and time of change, so that a set of videos need not be read anew each time.
#[derive(Debug, Default)]
pub struct Digests {
    path: Option<PathBuf>,
    known: BTreeMap<PathBuf, Known>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    size: u64,
    changed: u128,
    sha256: String,
}

impl Digests {
    /// Kept in that file; `None` forgets them.
    ///
    /// # Errors
    ///
    /// A file that cannot be read; one that holds something else is begun anew.
    pub fn open(path: Option<PathBuf>) -> Result<Self> {
        let known = match &path {
            Some(path) if path.exists() => {
                let text = std::fs::read(path).map_err(Error::io(path))?;
                serde_json::from_slice(&text).unwrap_or_default()
            }
            _ => BTreeMap::new(),
        };
        Ok(Self { path, known })
    }

    /// Of the files of those items.
    fn of(&mut self, items: &[Face]) -> Result<Vec<String>> {
        let read: Vec<Known> = items
            .par_iter()
            .map(|item| {
                let path = &item.path;
                let about = std::fs::metadata(path).map_err(Error::io(path))?;
                let changed = about.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
                let (size, changed) = (about.len(), changed.map_or(0, |d| d.as_nanos()));
                match self.known.get(path) {
                    Some(k) if k.size == size && k.changed == changed => Ok(k.clone()),
                    _ => Ok(Known { size, changed, sha256: hash::file(path)? }),
                }
            })
            .collect::<Result<_>>()?;
        let digests = read.iter().map(|k| k.sha256.clone()).collect();
        self.known.extend(items.iter().map(|i| i.path.clone()).zip(read));
        if let Some(path) = &self.path {
            // By text: JSON has no other keys.
            let text = serde_json::to_vec(&self.known).map_err(|e| Error::Data(e.to_string()))?;
            write_atomically(path, &text)?;
        }
        Ok(digests)
    }
}
