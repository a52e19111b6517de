//! Faces that are nearly the same picture on both sides of a split: the same video under two names, say.
//!
//! Each face gets a difference hash (N. Krawetz, "Kind of Like That", 2013): shrunk to 9 x 8 gray pixels, one bit for each pair of neighbours
//! in a row. Crops of different people are alike in such a hash, as they all have eyes and a mouth in the same places; so a pair whose
//! hashes are near is only a candidate, and its 16 x 16 thumbnails, freed of brightness and contrast, decide.

use std::collections::{BTreeMap, BTreeSet};

use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use rayon::prelude::*;

use super::{Face, Label, Picture, Split};
use crate::config::NearDuplicates;
use crate::error::{Error, Result};

/// Bits in which the hashes of a pair may differ, of 64.
const DISTANCE: u32 = 8;

/// The least correlation of the thumbnails of a pair.
const CORRELATION: f32 = 0.985;

/// Side of a thumbnail.
const SIDE: usize = 16;

/// So many pairs are named.
const NAMED: usize = 10;

/// What is left of a face to compare it by.
#[derive(Clone, Debug, PartialEq)]
pub struct Print {
    /// The difference hash.
    pub hash: u64,
    /// Gray, of mean 0 and length 1; all zero where the picture is of one colour.
    thumbnail: Vec<f32>,
}

impl Print {
    /// Of a picture.
    ///
    /// # Errors
    ///
    /// A picture without pixels.
    pub fn of(picture: &Picture) -> Result<Self> {
        let mut cropper = Cropper::default();
        let frame = FrameView::rgb(picture.width, picture.height, &picture.data)?;
        let whole = Rect::new(0.0, 0.0, picture.width as f32, picture.height as f32);
        let mut gray = |width, height| -> Result<Vec<f32>> {
            let small = Picture::cut(&mut cropper, &frame, &whole, width, height)?;
            let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
            Ok(small.data.chunks_exact(3).map(luma).collect())
        };
        let hash = gray(9, 8)?
            .chunks_exact(9)
            .flat_map(|row| row.windows(2).map(|w| u64::from(w[1] > w[0])).collect::<Vec<_>>())
            .fold(0, |hash, bit| hash << 1 | bit);
        let mut thumbnail = gray(SIDE, SIDE)?;
        let mean = thumbnail.iter().sum::<f32>() / thumbnail.len() as f32;
        thumbnail.iter_mut().for_each(|v| *v -= mean);
        let length = thumbnail.iter().map(|v| v * v).sum::<f32>().sqrt();
        // A picture of one colour is like no other.
        let scale = if length > SIDE as f32 { 1.0 / length } else { 0.0 };
        thumbnail.iter_mut().for_each(|v| *v *= scale);
        Ok(Self { hash, thumbnail })
    }

    /// How alike the thumbnails are, -1 to 1.
    pub fn correlation(&self, other: &Self) -> f32 {
        self.thumbnail.iter().zip(&other.thumbnail).map(|(a, b)| a * b).sum()
    }

    /// Whether both are nearly the same picture.
    pub fn is_near(&self, other: &Self) -> bool {
        (self.hash ^ other.hash).count_ones() <= DISTANCE && self.correlation(other) >= CORRELATION
    }
}

/// Prints of faces, in their order; `None` where a picture cannot be read.
pub fn prints(faces: &[Face]) -> Vec<Option<Print>> {
    faces.par_iter().map(|face| Picture::read(&face.path).and_then(|p| Print::of(&p)).ok()).collect()
}

/// Indices of all near pairs, one of each side, in order.
pub fn pairs(one: &[Option<Print>], other: &[Option<Print>]) -> Vec<(usize, usize)> {
    let other: Vec<(usize, &Print)> = other.iter().enumerate().filter_map(|(j, p)| Some((j, p.as_ref()?))).collect();
    one.par_iter()
        .enumerate()
        .filter_map(|(i, p)| Some((i, p.as_ref()?)))
        .flat_map_iter(|(i, a)| other.iter().filter(|(_, b)| a.is_near(b)).map(move |(j, _)| (i, *j)))
        .collect()
}

/// Looks for near duplicates across a split, and does with them what is wished. Returns the pairs found, one face of each side.
///
/// [`NearDuplicates::Move`] moves whole sources out of the validation part into the training part.
///
/// # Errors
///
/// Any pair, where that is to be an error; a validation part that is left without a class.
pub fn resolve(split: Split, wish: NearDuplicates) -> Result<(Split, Vec<(Face, Face)>)> {
    if wish == NearDuplicates::Ignore {
        return Ok((split, Vec::new()));
    }
    let found = pairs(&prints(&split.train), &prints(&split.validation));
    let named: Vec<(Face, Face)> =
        found.iter().map(|&(i, j)| (split.train[i].clone(), split.validation[j].clone())).collect();
    if named.is_empty() {
        return Ok((split, named));
    }
    match wish {
        NearDuplicates::Fail => Err(Error::Data(format!(
            "{}; `data.near_duplicates = \"move\"` moves them to the training part",
            told(&named)
        ))),
        NearDuplicates::Move => {
            let moved: BTreeSet<&str> = named.iter().map(|(_, v)| v.source.as_str()).collect();
            let Split { mut train, validation } = split;
            let (out, kept): (Vec<_>, Vec<_>) = validation.into_iter().partition(|f| moved.contains(f.source.as_str()));
            train.extend(out);
            for label in [Label::Real, Label::Fake] {
                if !kept.iter().any(|f| f.label == label) {
                    let text =
                        format!("{}: without them the validation part has no {} face", told(&named), label.folder());
                    return Err(Error::Data(text));
                }
            }
            Ok((Split { train, validation: kept }, named))
        }
        NearDuplicates::Warn | NearDuplicates::Ignore => Ok((split, named)),
    }
}

/// The pairs in words: how many, of which sources, and some by name.
pub fn told(pairs: &[(Face, Face)]) -> String {
    let mut sources: BTreeMap<(&str, &str), &(Face, Face)> = BTreeMap::new();
    for pair in pairs {
        sources.entry((&pair.0.source, &pair.1.source)).or_insert(pair);
    }
    let named: Vec<String> =
        sources.values().take(NAMED).map(|(t, v)| format!("{} and {}", t.path.display(), v.path.display())).collect();
    let more = if sources.len() > NAMED { ", ..." } else { "" };
    format!(
        "{} pairs of nearly equal faces of {} pairs of sources stand on both sides of the split: {}{more}",
        pairs.len(),
        sources.len(),
        named.join("; ")
    )
}
