//! Maps of primary regions: one a training face, as `localize` leaves them and training reads them.
//!
//! A folder of maps holds `index.json` ([`Index`]) and shards, `maps-00000.safetensors` and so on. In a shard, `keys` `[n, 32]` and
//! `maps` `[n, 64, 64]` are bytes: a face's [`Key`] and its map in rows from the top left, 255 where the fused map is 1. `metadata`
//! names, as `source`, the [`Source::digest`] of what the shard was made from. The map lies over the whole picture, whatever its size.
//! A face finds its map by what is in its file, wherever that was moved to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::write_atomically;
use crate::config::Localize;
use crate::data::Face;
use crate::error::{Error, Result};
use crate::hash;
use crate::net::Backbone;

/// Of the format told above.
const VERSION: u32 = 1;

/// How much each part of a face matters, 0 to 255, in rows from the top left; it covers the whole picture, whatever its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaceMap(pub Box<[u8; FaceMap::LEN]>);

impl FaceMap {
    /// Values a row, and rows.
    pub const SIDE: usize = 64;
    /// Values.
    pub const LEN: usize = Self::SIDE * Self::SIDE;

    /// Share of the picture that is not nothing.
    pub fn support(&self) -> f64 {
        self.0.iter().filter(|v| **v > 0).count() as f64 / Self::LEN as f64
    }
}

/// SHA-256 over a face's label and the bytes of its file: what a map is of.
pub type Key = [u8; 32];

/// The key of each face.
///
/// # Errors
///
/// A file that cannot be read.
pub fn keys(faces: &[Face]) -> Result<Vec<Key>> {
    let key = |face: &Face| hash::contents(&face.path, Sha256::new_with_prefix(face.label.folder()));
    faces.par_iter().map(key).collect()
}

/// SHA-256 over keys.
pub fn digest(keys: &[Key]) -> Key {
    Sha256::digest(keys.as_flattened()).into()
}

/// What maps were made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Whose attention it is.
    pub zoo: Vec<Detector>,
    /// What became of it.
    pub localize: Localize,
}

/// A member of the zoo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// As the configuration calls it.
    pub name: String,
    /// Which network.
    pub backbone: Backbone,
    /// Pixels a side that it sees.
    pub size: usize,
    /// SHA-256 of the file of its weights.
    pub weights: String,
    /// Of its validation.
    pub auc: f64,
}

impl Source {
    /// SHA-256 over all of it.
    pub fn digest(&self) -> String {
        // Every part is made of what JSON has.
        hash::hex(Sha256::digest(serde_json::to_string(self).unwrap_or_default()))
    }
}

/// What a folder of maps says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Of the format, 1.
    pub version: u32,
    /// What they were made from.
    pub source: Source,
    /// All shards in their order; empty as long as `localize` has not come to its end.
    pub shards: Vec<String>,
    /// Maps in all.
    pub faces: usize,
    /// [`digest`] of the keys of all faces that were asked for, also of those that cannot be read.
    pub of: String,
    /// Mean share of the picture that is a primary region, of real faces and of fakes.
    pub support: [f64; 2],
}

impl Index {
    /// Of a folder without shards.
    pub fn begun(source: Source) -> Self {
        Self { version: VERSION, source, shards: Vec::new(), faces: 0, of: String::new(), support: [0.0; 2] }
    }

    /// Whether every map is there.
    pub fn finished(&self) -> bool {
        !self.shards.is_empty()
    }

    /// Reads `index.json`; `None` where there is none.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is of another version.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = Self::path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let index: Self = serde_json::from_str(&text).map_err(|e| Error::checkpoint(&path, e.to_string()))?;
        if index.version != VERSION {
            let text = format!("is of version {}, this command knows {VERSION}", index.version);
            return Err(Error::checkpoint(&path, text));
        }
        Ok(Some(index))
    }

    /// Writes `index.json`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::Training(e.to_string()))?;
        write_atomically(&Self::path(folder), &text)
    }

    /// Where it stands.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("index.json")
    }
}

/// Some faces' maps, in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// [`Source::digest`].
    pub source: String,
    /// Whose maps.
    pub keys: Vec<Key>,
    /// The maps.
    pub maps: Vec<FaceMap>,
}

impl Shard {
    /// The file of shard `number`.
    pub fn file(number: usize) -> String {
        format!("maps-{number:05}.safetensors")
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What cannot be read or is no shard.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let bad = |e: String| Error::checkpoint(path, format!("is no shard of maps: {e}"));
        let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(e.to_string()))?;
        let source = header.metadata().as_ref().and_then(|m| m.get("source")).cloned();
        let rows = |name: &str, shape: &[usize]| {
            let view = file.tensor(name).map_err(|e| bad(e.to_string()))?;
            if view.dtype() != Dtype::U8 || view.shape().get(1..) != Some(shape) {
                return Err(bad(format!("`{name}` is {:?} {:?}", view.dtype(), view.shape())));
            }
            Ok(view.data().to_vec())
        };
        let (keys, maps) = (rows("keys", &[32])?, rows("maps", &[FaceMap::SIDE; 2])?);
        let keys: Vec<Key> = keys.as_chunks().0.to_vec();
        let maps: Vec<FaceMap> = maps.as_chunks().0.iter().map(|map| FaceMap(Box::new(*map))).collect();
        if keys.len() != maps.len() {
            return Err(bad(format!("{} keys and {} maps", keys.len(), maps.len())));
        }
        Ok(Self { source: source.ok_or_else(|| bad("it tells no source".to_owned()))?, keys, maps })
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let maps: Vec<u8> = self.maps.iter().flat_map(|m| m.0.iter().copied()).collect();
        let side = FaceMap::SIDE;
        let views = [
            ("keys", TensorView::new(Dtype::U8, vec![self.keys.len(), 32], self.keys.as_flattened())),
            ("maps", TensorView::new(Dtype::U8, vec![self.maps.len(), side, side], &maps)),
        ];
        let metadata = HashMap::from([("source".to_owned(), self.source.clone())]);
        let bytes = views
            .into_iter()
            .map(|(name, view)| Ok((name, view?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .and_then(|views| safetensors::serialize(views, Some(metadata)))
            .map_err(|e| Error::checkpoint(path, e.to_string()))?;
        write_atomically(path, &bytes)
    }
}

/// The maps of a list of faces.
#[derive(Debug)]
pub struct RegionMaps {
    maps: Vec<FaceMap>,
    digest: String,
}

impl RegionMaps {
    /// Finds the map of each of `faces` in a folder that `localize` wrote as `settings` say.
    ///
    /// # Errors
    ///
    /// No maps, not all of them, those of other settings, or none for some of the faces.
    pub fn open(folder: &Path, settings: &Localize, faces: &[Face]) -> Result<Self> {
        let refused = |problem: Cow<'_, str>| {
            let advice = "run `deepfake-trainer localize` with this configuration";
            Error::checkpoint(folder, format!("{problem}: {advice}"))
        };
        let index = Index::read(folder)?.ok_or_else(|| refused("holds no maps".into()))?;
        if index.source.localize.of_maps() != settings.of_maps() {
            return Err(refused("holds maps made with another `[localize]`".into()));
        }
        if !index.finished() {
            return Err(refused("does not hold all maps yet".into()));
        }
        let source = index.source.digest();
        let mut known = HashMap::with_capacity(index.faces);
        for name in &index.shards {
            let path = folder.join(name);
            let shard = Shard::read(&path)?;
            if shard.source != source {
                return Err(Error::checkpoint(&path, "was made from another zoo than its index says"));
            }
            known.extend(shard.keys.into_iter().zip(shard.maps));
        }
        let keys = keys(faces)?;
        let missing: Vec<_> = keys.iter().zip(faces).filter(|(key, _)| !known.contains_key(*key)).collect();
        if let Some((_, face)) = missing.first() {
            let text =
                format!("has no map of {} of {} faces, {} among them", missing.len(), faces.len(), face.path.display());
            return Err(refused(text.into()));
        }
        let maps: Vec<FaceMap> = keys.iter().filter_map(|key| known.get(key).cloned()).collect();
        Ok(Self::new(&keys, maps))
    }

    /// Of faces with these keys.
    pub fn new(keys: &[Key], maps: Vec<FaceMap>) -> Self {
        let mut hash = Sha256::new();
        for (key, map) in keys.iter().zip(&maps) {
            hash.update(key);
            hash.update(&map.0[..]);
        }
        Self { maps, digest: hash::hex(hash.finalize()) }
    }

    /// The map of the face of that index.
    pub fn get(&self, index: usize) -> Option<&FaceMap> {
        self.maps.get(index)
    }

    /// SHA-256 over all faces and maps.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Mean share of the picture that is a primary region.
    pub fn support(&self) -> f64 {
        self.maps.iter().map(FaceMap::support).sum::<f64>() / self.maps.len().max(1) as f64
    }
}
