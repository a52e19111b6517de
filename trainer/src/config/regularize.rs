//! What is erased of a training face.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{probability, range, wrong};
use crate::error::{Error, Result};

/// What is erased of a training face, each time anew, its label unchanged. Drawn apart from [`super::Augment`], so that runs with and
/// without it show the same faces otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regularize {
    /// What is erased. Default `none`.
    pub kind: Regularization,
    /// Probability that a face is erased from at all. Default 0.5.
    pub probability: f64,
    /// Share of a face's primary pixels that is erased, [0, 1]; of those, the highest ranked. Default [0.5, 1].
    pub share: [f64; 2],
    /// Share of the picture that a control erases where no maps are given, [0, 0.9]. With maps it erases of each face as many
    /// pixels as `primary_regions` would have. Default [0.02, 0.2].
    pub area: [f64; 2],
    /// What is put there. Default `noise`.
    pub fill: Fill,
    /// Folder that `localize` wrote; relative to the configuration file.
    pub maps: Option<PathBuf>,
    /// Whose map a face of a pair is erased by, where both get the same augmentation. Default `own`.
    pub pair_map: PairMap,
}

/// What is erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regularization {
    /// Nothing.
    #[default]
    None,
    /// The regions that detectors rely on: Cheng et al., "Towards Generalizable Deepfake Detection by Primary Region
    /// Regularization", arXiv 2307.12534.
    PrimaryRegions,
    /// A rectangle anywhere: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020. A control.
    RandomErasing,
    /// Patches of a grid, anywhere: Singh and Lee, "Hide-and-Seek", ICCV 2017. A control.
    HideAndSeek,
}

impl Regularization {
    /// As a configuration names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PrimaryRegions => "primary_regions",
            Self::RandomErasing => "random_erasing",
            Self::HideAndSeek => "hide_and_seek",
        }
    }
}

/// What is put where something was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// A byte a pixel and channel, uniform over 0 to 255.
    #[default]
    Noise,
    /// Zero.
    Black,
}

/// Whose map it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairMap {
    /// Each face's own, as published. Its shape may then tell a fake from a real face.
    #[default]
    Own,
    /// The one of one of the two, drawn, for both: nothing but the forgery tells them apart.
    Shared,
}

impl Default for Regularize {
    fn default() -> Self {
        Self {
            kind: Regularization::None,
            probability: 0.5,
            share: [0.5, 1.0],
            area: [0.02, 0.2],
            fill: Fill::Noise,
            maps: None,
            pair_map: PairMap::Own,
        }
    }
}

impl Regularize {
    pub(super) fn check(&self) -> Result<()> {
        probability("regularize.probability", self.probability)?;
        range("regularize.share", self.share, [0.0, 1.0])?;
        range("regularize.area", self.area, [0.0, 0.9])?;
        if self.kind == Regularization::None && self.maps.is_some() {
            return wrong(
                "regularize.maps",
                "is of no use with `regularize.kind = \"none\"`: leave it out or choose a kind",
            );
        }
        Ok(())
    }

    /// The maps that training reads; `None` where it does without.
    ///
    /// # Errors
    ///
    /// When `primary_regions` has no maps. Not a matter of reading the file: the maps may be made after that.
    pub fn needed_maps(&self) -> Result<Option<&PathBuf>> {
        match self.kind {
            Regularization::None => Ok(None),
            Regularization::PrimaryRegions if self.maps.is_none() => Err(Error::Config {
                key: "regularize.maps",
                problem:
                    "is missing: `primary_regions` needs the folder of maps that `deepfake-trainer localize` writes"
                        .to_owned(),
            }),
            _ => Ok(self.maps.as_ref()),
        }
    }
}
