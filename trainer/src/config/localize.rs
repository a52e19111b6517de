//! How the primary regions of training faces are found.

use serde::{Deserialize, Serialize};

use super::{probability, wrong};
use crate::error::Result;
use crate::maps::FaceMap;

/// Stage 1 of Cheng et al., arXiv 2307.12534: class activation maps of the zoo's members become one map a face. Maps and thresholds
/// are in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Localize {
    /// How a member's map is drawn. Default `exact`.
    pub cam: Cam,
    /// How the members' maps become one. Default `mean`.
    pub fusion: Fusion,
    /// What the fused map keeps as it is lies above. Default 0.3.
    pub tau1: f64,
    /// Of the neighbour rule: what lies below is nothing. Default 0.1.
    pub tau2: f64,
    /// Of the neighbour rule: by how much two members must differ around a pixel between `tau2` and `tau1`. Default 0.2.
    pub tau3: f64,
    /// Side of the grid on which maps are fused, a multiple of the 64 at which they are kept, up to 1024. It is what the
    /// neighbour rule's 3 x 3 pixels are measured by: 256 in the released code. Default 64, so that nothing is resampled twice.
    pub grid: usize,
    /// Faces of each class on the contact sheets; 0 means no sheets. Default 24.
    pub sheet: usize,
}

/// How a class activation map is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cam {
    /// Features weighted by the head: Zhou et al., CVPR 2016. Every backbone here ends in pooling and one linear layer, so that it
    /// is Grad-CAM without a backward pass.
    #[default]
    Exact,
    /// Features weighted by the mean of their gradients: Selvaraju et al., "Grad-CAM", ICCV 2017.
    Gradient,
}

/// How the members' maps become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fusion {
    /// Their mean, where it is above `tau1`.
    #[default]
    Mean,
    /// Their maximum, where it is above `tau1`.
    Max,
    /// Their mean, with the neighbour rule for what is between `tau2` and `tau1`.
    Neighbour,
}

impl Default for Localize {
    fn default() -> Self {
        Self { cam: Cam::Exact, fusion: Fusion::Mean, tau1: 0.3, tau2: 0.1, tau3: 0.2, grid: FaceMap::SIDE, sheet: 24 }
    }
}

impl Localize {
    pub(super) fn check(&self) -> Result<()> {
        probability("localize.tau1", self.tau1)?;
        probability("localize.tau2", self.tau2)?;
        probability("localize.tau3", self.tau3)?;
        if self.tau2 > self.tau1 {
            return wrong("localize.tau2", "must not be above `localize.tau1`");
        }
        if !self.grid.is_multiple_of(FaceMap::SIDE) || !(FaceMap::SIDE..=1024).contains(&self.grid) {
            return wrong("localize.grid", "must be a multiple of 64 from 64 to 1024");
        }
        Ok(())
    }

    /// This without what changes no map.
    pub fn of_maps(self) -> Self {
        Self { sheet: 0, ..self }
    }
}
