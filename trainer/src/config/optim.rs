//! How the weights are found.

use serde::{Deserialize, Serialize};

use super::{not_negative, wrong};
use crate::error::Result;

/// Which rule changes the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Adam with decoupled weight decay.
    #[default]
    Adamw,
    /// Adam; its weight decay is part of the gradient.
    Adam,
    /// Sharpness-aware minimization around AdamW: two passes a step, the second a step uphill from where the weights are.
    Sam,
}

/// In what numbers convolutions and matrix products are computed while training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// `fp32` on the CPU; with CUDA `bf16` where the device has it, `fp16` where not.
    #[default]
    Auto,
    /// 32-bit floats.
    Fp32,
    /// bfloat16: the range of 32-bit floats, eight bits of precision. CUDA only.
    Bf16,
    /// 16-bit floats, with a loss scale that follows their range. CUDA only.
    Fp16,
}

/// The optimizer, with warm-up and cosine decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Optim {
    /// `adamw`, `adam` or `sam`. Default `adamw`.
    pub method: Method,
    /// How far uphill SAM looks, the norm of the step. Default 0.05.
    pub rho: f64,
    /// `auto`, `fp32`, `bf16` or `fp16`. Validation is always done in `fp32`. Default `auto`.
    pub precision: Precision,
    /// How often each real face is seen. Default 12.
    pub epochs: usize,
    /// Faces a step (half of them real); even. Default 32.
    pub batch: usize,
    /// Largest learning rate. Default 0.002.
    pub learning_rate: f64,
    /// Weight decay, of weight matrices and kernels only. Default 0.02.
    pub weight_decay: f64,
    /// Epochs (may be broken) over which the learning rate rises from zero. Default 1.
    pub warmup_epochs: f64,
    /// The last learning rate relative to the largest. Default 0.01.
    pub final_rate: f64,
    /// Largest norm of the gradient; 0 switches clipping off. Default 5.
    pub clip: f64,
    /// Share of the label that is spread over both classes, [0, 0.5]. Default 0.1.
    pub label_smoothing: f64,
    /// Weight of the ranking loss between the two faces of a pair, beside the cross entropy. Default 0.
    pub pair_weight: f64,
    /// Decay a step of the moving average of the weights, which validation and export use; 0 switches it off. Default 0.998.
    pub ema: f64,
    /// Stop after so many epochs without a better validation AUC; 0 means never. Default 0.
    pub patience: usize,
}

impl Default for Optim {
    fn default() -> Self {
        Self {
            method: Method::Adamw,
            rho: 0.05,
            precision: Precision::Auto,
            epochs: 12,
            batch: 32,
            learning_rate: 2e-3,
            weight_decay: 0.02,
            warmup_epochs: 1.0,
            final_rate: 0.01,
            clip: 5.0,
            label_smoothing: 0.1,
            pair_weight: 0.0,
            ema: 0.998,
            patience: 0,
        }
    }
}

impl Optim {
    pub(super) fn check(&self) -> Result<()> {
        if self.epochs == 0 {
            return wrong("optim.epochs", "must be at least 1");
        }
        if self.batch < 2 || !self.batch.is_multiple_of(2) {
            return wrong("optim.batch", "must be even and at least 2");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return wrong("optim.learning_rate", "must be positive");
        }
        not_negative("optim.rho", self.rho)?;
        not_negative("optim.weight_decay", self.weight_decay)?;
        not_negative("optim.warmup_epochs", self.warmup_epochs)?;
        not_negative("optim.clip", self.clip)?;
        not_negative("optim.pair_weight", self.pair_weight)?;
        if !(0.0..=1.0).contains(&self.final_rate) {
            return wrong("optim.final_rate", "must be from 0 to 1");
        }
        if !(0.0..=0.5).contains(&self.label_smoothing) {
            return wrong("optim.label_smoothing", "must be from 0 to 0.5");
        }
        if !(0.0..1.0).contains(&self.ema) {
            return wrong("optim.ema", "must be from 0 to below 1");
        }
        Ok(())
    }
}
