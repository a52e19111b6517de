//! The network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::wrong;
use crate::error::Result;
use crate::net::Backbone;

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Which one. Default `mobilenet_v3_small`.
    pub backbone: Backbone,
    /// Stride of the first convolution, 1 or 2. With 1 nothing is thrown away before the first layer has seen it, at four
    /// times the cost a pixel. Default 2.
    pub stem_stride: i64,
    /// Channels relative to the published network, [0.25, 2]. Default 1.
    pub width: f64,
    /// Probability with which a pooled feature is dropped while training, [0, 0.9]. Default 0.2.
    pub dropout: f64,
    /// How fast the running statistics of batch norms follow, (0, 1]; the published network's where left out.
    pub norm_momentum: Option<f64>,
    /// Safetensors to start from, relative to the configuration file; weights of the head may be missing there.
    pub init: Option<PathBuf>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            backbone: Backbone::MobilenetV3Small,
            stem_stride: 2,
            width: 1.0,
            dropout: 0.2,
            norm_momentum: None,
            init: None,
        }
    }
}

impl Model {
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=2).contains(&self.stem_stride) {
            return wrong("model.stem_stride", "must be 1 or 2");
        }
        if !(0.25..=2.0).contains(&self.width) {
            return wrong("model.width", "must be from 0.25 to 2");
        }
        if !(0.0..=0.9).contains(&self.dropout) {
            return wrong("model.dropout", "must be from 0 to 0.9");
        }
        if self.norm_momentum.is_some_and(|v| !(v > 0.0 && v <= 1.0)) {
            return wrong("model.norm_momentum", "must be above 0 and at most 1");
        }
        Ok(())
    }
}
