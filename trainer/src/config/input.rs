//! The network's input and the crop that fills it.

use serde::{Deserialize, Serialize};

use super::wrong;
use crate::error::Result;

/// The network's input tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Side of the square input, pixels, [32, 1024]. Default 128.
    pub size: usize,
    /// Subtracted per channel (of [0, 1]). Default: ImageNet's.
    pub mean: [f32; 3],
    /// Divided by per channel. Default: ImageNet's.
    pub std: [f32; 3],
    /// Smaller inputs for the first part of the training, which cost less; in their order. The last epoch has the full size. Default: none.
    pub grow: Vec<Grow>,
}

/// A part of the training with another input size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grow {
    /// Share of the epochs at which this part ends, (0, 1).
    pub until: f64,
    /// Side of the square input until then, pixels, [32, 1024].
    pub size: usize,
}

impl Input {
    /// The size that epoch `epoch` (from 0) of `epochs` is trained at. In the last one it is full, since only
    /// weights of such epochs are kept.
    pub fn size_at(&self, epoch: usize, epochs: usize) -> usize {
        if epoch + 1 >= epochs {
            return self.size;
        }
        let done = epoch as f64 / epochs as f64;
        self.grow.iter().find(|g| done < g.until).map_or(self.size, |g| g.size)
    }
}

impl Default for Input {
    fn default() -> Self {
        Self { size: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], grow: Vec::new() }
    }
}

impl Input {
    pub(super) fn check(&self) -> Result<()> {
        if !(32..=1024).contains(&self.size) {
            return wrong("input.size", "must be from 32 to 1024 pixels");
        }
        let ascending = self.grow.windows(2).all(|g| g[0].until < g[1].until);
        let fits = |g: &Grow| g.until > 0.0 && g.until < 1.0 && (32..=1024).contains(&g.size);
        if !ascending || !self.grow.iter().all(fits) {
            return wrong("input.grow", "must have ascending `until` between 0 and 1 and sizes from 32 to 1024 pixels");
        }
        if !self.mean.iter().all(|v| v.is_finite()) {
            return wrong("input.mean", "must be finite");
        }
        if !self.std.iter().all(|v| v.is_normal() && *v > 0.0) {
            return wrong("input.std", "must be positive");
        }
        Ok(())
    }
}

/// How the crops of the data lie around the face boxes of a locator (measured by the `margin` command).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Crop {
    /// See [`deepfake_scoring::contract::Crop::margin`].
    pub margin: f32,
    /// See [`deepfake_scoring::contract::Crop::shift_y`].
    pub shift_y: f32,
}

impl Default for Crop {
    fn default() -> Self {
        let contract = deepfake_scoring::contract::Crop::default();
        Self { margin: contract.margin, shift_y: contract.shift_y }
    }
}

impl Crop {
    pub(super) fn check(&self) -> Result<()> {
        if !(-0.4..=4.0).contains(&self.margin) {
            return wrong("crop.margin", "must be from -0.4 to 4");
        }
        if !(-2.0..=2.0).contains(&self.shift_y) {
            return wrong("crop.shift_y", "must be from -2 to 2");
        }
        Ok(())
    }
}
