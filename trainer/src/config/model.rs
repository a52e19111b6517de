//! The network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Input, wrong};
use crate::error::Result;
use crate::net::Backbone;

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Which one. Default `mobilenet_v3_small`.
    pub backbone: Backbone,
    /// Stride of the first convolution, 1 or 2. With 1 nothing is thrown away before the first layer has seen it, at four
    /// times the cost a pixel. The published network's where left out (2); VGG has none to choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem_stride: Option<i64>,
    /// Channels relative to the published network, [0.25, 2], each rounded to a multiple of 8. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// Probability with which the last residual branch is dropped for a face while training, [0, 0.9]; earlier ones less often, the
    /// first never. The published network's where left out (EfficientNet 0.2, ResNet 0); MobileNet and VGG have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stochastic_depth: Option<f64>,
    /// Probability with which a pooled feature is dropped while training, [0, 0.9]. Default 0.2.
    pub dropout: f64,
    /// How fast the running statistics of batch norms follow, (0, 1]; the published network's where left out.
    pub norm_momentum: Option<f64>,
    /// Weights to start from, relative to the configuration file: safetensors, where those of the head may be missing, or an ONNX file
    /// that this trainer exported of the same network.
    pub init: Option<PathBuf>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            backbone: Backbone::MobilenetV3Small,
            stem_stride: None,
            width: None,
            stochastic_depth: None,
            dropout: 0.2,
            norm_momentum: None,
            init: None,
        }
    }
}

impl Model {
    pub(super) fn check(&self) -> Result<()> {
        let backbone = self.backbone;
        let absent = |key, is_set: bool, has: bool| match is_set && !has {
            true => wrong(key, &format!("is not to be chosen for {backbone}: leave it out")),
            false => Ok(()),
        };
        absent("model.stem_stride", self.stem_stride.is_some(), backbone.stem_stride().is_some())?;
        absent("model.width", self.width.is_some(), backbone.has_width())?;
        absent("model.stochastic_depth", self.stochastic_depth.is_some(), backbone.stochastic_depth().is_some())?;
        absent("model.norm_momentum", self.norm_momentum.is_some(), backbone.has_norm())?;
        if self.stem_stride.is_some_and(|v| !(1..=2).contains(&v)) {
            return wrong("model.stem_stride", "must be 1 or 2");
        }
        if self.width.is_some_and(|v| !(0.25..=2.0).contains(&v)) {
            return wrong("model.width", "must be from 0.25 to 2");
        }
        if self.stochastic_depth.is_some_and(|v| !(0.0..=0.9).contains(&v)) {
            return wrong("model.stochastic_depth", "must be from 0 to 0.9");
        }
        if !(0.0..=0.9).contains(&self.dropout) {
            return wrong("model.dropout", "must be from 0 to 0.9");
        }
        if self.norm_momentum.is_some_and(|v| !(v > 0.0 && v <= 1.0)) {
            return wrong("model.norm_momentum", "must be above 0 and at most 1");
        }
        Ok(())
    }
    /// Whether the network can be made for such an input.
    pub(super) fn check_input(&self, input: &Input) -> Result<()> {
        let backbone = self.backbone;
        if backbone.has_one_size() && !input.grow.is_empty() {
            let problem = format!("is not possible with {backbone}, whose filters are made for one size: leave it out");
            return wrong("input.grow", &problem);
        }
        let takes = |key, size| backbone.takes(size).or_else(|problem| wrong(key, &problem));
        takes("input.size", input.size)?;
        input.grow.iter().try_for_each(|g| takes("input.grow", g.size))
    }
}
