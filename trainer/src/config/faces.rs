//! How faces are cut out of videos and pictures.

use std::path::PathBuf;

use deepfake_scoring::locate::LocateOptions;
use serde::{Deserialize, Serialize};

use super::{Crop, wrong};
use crate::error::Result;

/// Faces cut by ourselves. What `margin` and `shift_y` say here is what the model is told: it is [`crate::Config::crop`] then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faces {
    /// Face detector (ONNX): YuNet, UltraFace or SCRFD. Default: the bundled one, which tells landmarks.
    pub face_model: Option<PathBuf>,
    /// Less sure faces are not cut, [0, 1]. Default: as the engine has it, 0.75.
    pub confidence: f32,
    /// The longer side of the picture that the detector looks at, pixels, [64, 4096]. Default 640.
    pub max_side: usize,
    /// Frames of a video, evenly spread, at least 1. Default 16.
    pub frames_per_video: usize,
    /// Which faces of a frame. Default `largest`.
    pub which: Which,
    /// Faces whose box has a shorter side than this many pixels are not cut. Default 48.
    pub min_face: u32,
    /// Around the face box, in parts of its longer side, [-0.4, 4]. Default: the contract's.
    pub margin: f32,
    /// How far the crop's centre lies below the box's, in parts of its longer side, [-2, 2]. Default 0.
    pub shift_y: f32,
    /// Larger crops are shrunk to this side, pixels, [32, 2048]; smaller ones keep their size. Default 320.
    pub size: usize,
    /// How crops are stored. Default `png`.
    pub format: Format,
    /// Of JPEG files, [50, 100]. Default 97.
    pub jpeg_quality: u8,
    /// Videos that are worked on at a time; 0 means one a core. Does not change the result. Default 0.
    pub threads: usize,
}

/// Which faces of a frame are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The one of the largest box.
    Largest,
    /// Every one; the manifest's `track` tells who is who.
    All,
}

/// How a crop is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Without loss.
    Png,
    /// Smaller, and no longer quite what the video showed.
    Jpeg,
}

impl Default for Faces {
    fn default() -> Self {
        let crop = Crop::default();
        Self {
            face_model: None,
            confidence: LocateOptions::default().confidence,
            max_side: 640,
            frames_per_video: 16,
            which: Which::Largest,
            min_face: 48,
            margin: crop.margin,
            shift_y: crop.shift_y,
            size: 320,
            format: Format::Png,
            jpeg_quality: 97,
            threads: 0,
        }
    }
}

impl Faces {
    /// How the crops lie around the face boxes.
    pub fn crop(&self) -> Crop {
        Crop { margin: self.margin, shift_y: self.shift_y }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.confidence) {
            return wrong("faces.confidence", "must be from 0 to 1");
        }
        if !(64..=4096).contains(&self.max_side) {
            return wrong("faces.max_side", "must be from 64 to 4096 pixels");
        }
        if self.frames_per_video == 0 {
            return wrong("faces.frames_per_video", "must be at least 1");
        }
        if !(-0.4..=4.0).contains(&self.margin) {
            return wrong("faces.margin", "must be from -0.4 to 4");
        }
        if !(-2.0..=2.0).contains(&self.shift_y) {
            return wrong("faces.shift_y", "must be from -2 to 2");
        }
        if !(32..=2048).contains(&self.size) {
            return wrong("faces.size", "must be from 32 to 2048 pixels");
        }
        if !(50..=100).contains(&self.jpeg_quality) {
            return wrong("faces.jpeg_quality", "must be from 50 to 100");
        }
        Ok(())
    }
}
