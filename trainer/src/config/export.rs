//! What else is exported beside the 32-bit file.

use serde::{Deserialize, Serialize};

use super::{not_negative, wrong};
use crate::error::Result;
use crate::export::Variant;

/// Smaller files beside the exported one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// `fp16`, `int8`, both. Default none.
    pub variants: Vec<Variant>,
    /// Training faces, drawn by the run's seed, whose activations set the ranges of `int8`, [1, 10000]. Default 128.
    pub calibration_faces: usize,
    /// How much lower the AUC of the validation faces may become, at most. Default 0.01.
    pub max_auc_loss: f64,
    /// How far logits may move in the mean over the validation faces, at most, in parts of their standard deviation. Default 0.25.
    pub max_mean_difference: f64,
}

impl Default for Export {
    fn default() -> Self {
        Self { variants: Vec::new(), calibration_faces: 128, max_auc_loss: 0.01, max_mean_difference: 0.25 }
    }
}

impl Export {
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=10_000).contains(&self.calibration_faces) {
            return wrong("export.calibration_faces", "must be from 1 to 10000");
        }
        not_negative("export.max_auc_loss", self.max_auc_loss)?;
        not_negative("export.max_mean_difference", self.max_mean_difference)
    }
}
