//! The seven distortions by which robustness is measured, each at five levels.
//!
//! Those of DeeperForensics-1.0 (Jiang et al., CVPR 2020), with the parameters and the meaning of its published perturbation code, so
//! that results can be held against others'. Where that code is not defined (values that overflow a byte) values are clamped; where
//! it does nothing at all to small pictures (blocks on a side below 256 pixels) this one does.

mod filters;
mod h264;
mod values;

use serde::{Deserialize, Serialize};

use crate::data::Picture;
use crate::error::{Error, Result};

/// What can happen to a picture on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distortion {
    /// Cb and Cr (BT.601) shrink around gray to 0.4, 0.3, 0.2, 0.1 and 0 of what they were.
    Saturation,
    /// Every value is multiplied with 0.85, 0.725, 0.6, 0.475 or 0.35: the picture becomes darker and flatter.
    Contrast,
    /// Gray squares of 8x8 pixels at random places: 16, 32, 48, 64 or 80 for each whole 256 pixels of the shorter side (and as many
    /// as for 256 where it is shorter).
    Blocks,
    /// Independent normal noise on Y', Cb and Cr, variance 0.001, 0.002, 0.005, 0.01 or 0.05 (of 8-bit studio codes divided by 255).
    Noise,
    /// Gaussian blur with a kernel of 7, 9, 13, 17 or 21 pixels and a sixth of that as standard deviation.
    Blur,
    /// 2, 3, 4, 5 or 6 times smaller and large again, both bilinear and without averaging.
    Pixelation,
    /// H.264 by x264 at a constant rate factor of 30, 32, 35, 38 or 40. A single picture becomes one key frame, which is gentler than a
    /// video of that factor is: videos are to be compressed whole.
    Compression,
}

impl Distortion {
    /// All seven.
    pub const ALL: [Self; 7] =
        [Self::Saturation, Self::Contrast, Self::Blocks, Self::Noise, Self::Blur, Self::Pixelation, Self::Compression];

    /// The strongest level; 0 is the picture itself.
    pub const LEVELS: u8 = 5;

    /// As configurations and reports call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Saturation => "saturation",
            Self::Contrast => "contrast",
            Self::Blocks => "blocks",
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Pixelation => "pixelation",
            Self::Compression => "compression",
        }
    }

    /// The parameter of a level from 1 to 5, in the unit that the distortion's documentation tells.
    ///
    /// # Errors
    ///
    /// Another level.
    pub fn parameter(self, level: u8) -> Result<f64> {
        let levels = match self {
            Self::Saturation => [0.4, 0.3, 0.2, 0.1, 0.0],
            Self::Contrast => [0.85, 0.725, 0.6, 0.475, 0.35],
            Self::Blocks => [16.0, 32.0, 48.0, 64.0, 80.0],
            Self::Noise => [0.001, 0.002, 0.005, 0.01, 0.05],
            Self::Blur => [7.0, 9.0, 13.0, 17.0, 21.0],
            Self::Pixelation => [2.0, 3.0, 4.0, 5.0, 6.0],
            Self::Compression => [30.0, 32.0, 35.0, 38.0, 40.0],
        };
        let at = usize::from(level).checked_sub(1).and_then(|i| levels.get(i)).copied();
        at.ok_or_else(|| Error::Data(format!("{self} has the levels 1 to {}, not {level}", Self::LEVELS)))
    }

    /// Distorts one picture, a whole frame as well as a crop. Level 0 leaves it. Equal seeds give equal pictures, whatever else is
    /// distorted; only blocks and noise draw anything.
    ///
    /// # Errors
    ///
    /// A level above 5; for compression a GStreamer without x264 or a decoder for it.
    pub fn apply(self, level: u8, picture: &mut Picture, seed: u64) -> Result<()> {
        if level == 0 {
            return Ok(());
        }
        let parameter = self.parameter(level)?;
        match self {
            Self::Saturation => values::saturation(picture, parameter as f32),
            Self::Contrast => values::contrast(picture, parameter as f32),
            Self::Blocks => values::blocks(picture, parameter as usize, seed),
            Self::Noise => values::noise(picture, parameter, seed),
            Self::Blur => filters::blur(picture, parameter as usize),
            Self::Pixelation => filters::pixelation(picture, parameter as usize),
            Self::Compression => h264::round_trip(picture, parameter)?,
        }
        Ok(())
    }
}

impl std::fmt::Display for Distortion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
