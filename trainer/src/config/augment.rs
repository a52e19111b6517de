//! What is done to a training face.

use serde::{Deserialize, Serialize};

use super::{probability, range, wrong};
use crate::error::Result;

/// What is done to a training face, each time anew. Probabilities are in [0, 1]; the values after them are ranges to draw
/// from. All is done to the face's own pixels in this order: blur, rescale, JPEG, crop (scale, shift, flip), colour, noise.
/// What is erased comes after that, see [`super::Regularize`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Probability of mirroring. Default 0.5.
    pub flip: f64,
    /// Side of the region cut, relative to the picture's. Default [0.85, 1.1].
    pub scale: [f64; 2],
    /// Largest shift of the region in each direction, relative to the picture's side. Default 0.06.
    pub shift: f64,
    /// Largest ratio by which one side of the region is longer than the other. Default 1.06.
    pub aspect: f64,
    /// Probability of going through a smaller size. Default 0.2.
    pub rescale: f64,
    /// That size, relative to the picture's. Default [0.3, 0.9].
    pub rescale_to: [f64; 2],
    /// Probability of a Gaussian blur. Default 0.1.
    pub blur: f64,
    /// Its standard deviation in pixels of a picture 224 wide. Default [0.3, 2.0].
    pub blur_sigma: [f64; 2],
    /// Probability of a round trip through JPEG. Default 0.3.
    pub jpeg: f64,
    /// Its quality, 1 to 100. Default [40, 95].
    pub jpeg_quality: [u8; 2],
    /// Probability of a change of brightness, contrast and saturation. Default 0.6.
    pub colour: f64,
    /// Largest change of each, relative. Default 0.25.
    pub colour_by: f64,
    /// Probability of losing all colour. Default 0.05.
    pub gray: f64,
    /// Probability of Gaussian noise. Default 0.15.
    pub noise: f64,
    /// Its standard deviation, relative to white. Default [0.005, 0.04].
    pub noise_sigma: [f64; 2],
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flip: 0.5,
            scale: [0.85, 1.1],
            shift: 0.06,
            aspect: 1.06,
            rescale: 0.2,
            rescale_to: [0.3, 0.9],
            blur: 0.1,
            blur_sigma: [0.3, 2.0],
            jpeg: 0.3,
            jpeg_quality: [40, 95],
            colour: 0.6,
            colour_by: 0.25,
            gray: 0.05,
            noise: 0.15,
            noise_sigma: [0.005, 0.04],
        }
    }
}

impl Augment {
    pub(super) fn check(&self) -> Result<()> {
        for (key, p) in [
            ("augment.flip", self.flip),
            ("augment.rescale", self.rescale),
            ("augment.blur", self.blur),
            ("augment.jpeg", self.jpeg),
            ("augment.colour", self.colour),
            ("augment.gray", self.gray),
            ("augment.noise", self.noise),
        ] {
            probability(key, p)?;
        }
        range("augment.scale", self.scale, [0.2, 3.0])?;
        range("augment.rescale_to", self.rescale_to, [0.02, 1.0])?;
        range("augment.blur_sigma", self.blur_sigma, [0.0, 20.0])?;
        range("augment.noise_sigma", self.noise_sigma, [0.0, 1.0])?;
        range("augment.jpeg_quality", self.jpeg_quality.map(f64::from), [1.0, 100.0])?;
        if !(0.0..=0.5).contains(&self.shift) {
            return wrong("augment.shift", "must be from 0 to 0.5");
        }
        if !(1.0..=2.0).contains(&self.aspect) {
            return wrong("augment.aspect", "must be from 1 to 2");
        }
        if !(0.0..1.0).contains(&self.colour_by) {
            return wrong("augment.colour_by", "must be from 0 to below 1");
        }
        Ok(())
    }
}
