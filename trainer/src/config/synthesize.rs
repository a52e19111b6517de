//! How pseudo-fakes are made of real faces.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{probability, range, wrong};
use crate::error::Result;

/// Self-blended pseudo-fakes: Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022. One of two copies of a
/// real face is changed in colour and sharpness, one is moved a little, and a soft mask of the face blends it into the other. Shares
/// are of the picture's side where nothing else is said; what is drawn is drawn evenly from the ranges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Synthesize {
    /// Real faces for the command `synthesize`: folders with `real/` in it, or of pictures. Relative to the configuration file.
    /// Default: `data.folders`.
    pub faces: Vec<PathBuf>,
    /// What a real face's source video is, for the command and for `data.pseudo`. Default `name`.
    pub sources: Sources,
    /// Pseudo-fakes that the command makes of each real face. Default 1.
    pub per_face: usize,
    /// Use only so many real faces, evenly spread; 0 means all. Default 0.
    pub limit: usize,
    /// Faces on the contact sheet that the command writes; 0 means no sheet. Default 12.
    pub sheet: usize,
    /// Face detector (ONNX) for faces whose landmarks no manifest tells. YuNet and SCRFD tell five landmarks, UltraFace a box. Without
    /// one, `crop` says where in the picture the face is.
    pub face_model: Option<PathBuf>,
    /// Probability that the target rather than the source is changed in colour and sharpness. Default 0.5.
    pub change_target: f64,
    /// Probability of a shift of red, green and blue. Default 0.3.
    pub rgb: f64,
    /// Its largest size, relative to white. Default 0.08.
    pub rgb_by: f64,
    /// Largest turn of the hue, in degrees. Default 4.
    pub hue_by: f64,
    /// Largest change of the saturation, relative. Default 0.15.
    pub saturation_by: f64,
    /// Largest change of the value, relative. Default 0.05.
    pub value_by: f64,
    /// Largest change of the brightness, relative to white. Default 0.1.
    pub brightness_by: f64,
    /// Largest change of the contrast, relative. Default 0.1.
    pub contrast_by: f64,
    /// Probability of a loss of sharpness; otherwise it is sharpened. Default 0.5.
    pub downscale: f64,
    /// How many times smaller it becomes on its way. Default [2, 4].
    pub downscale_by: [f64; 2],
    /// How much of the sharpened picture is mixed in. Default [0.2, 0.5].
    pub sharpen_by: [f64; 2],
    /// Size of the source relative to the target's, drawn for each side. Default [0.95, 1.05].
    pub scale: [f64; 2],
    /// Largest shift of the source to the side and up or down. Default [0.03, 0.015].
    pub shift: [f64; 2],
    /// Probability that the mask covers a part of the face (eyes, or mouth and nose, or all between brows and chin) rather than
    /// the whole. Default 0.25.
    pub part: f64,
    /// Probability that the whole includes the forehead. Default 0.5.
    pub forehead: f64,
    /// Standard deviation of the mask's random deformation. Default 0.006.
    pub elastic: f64,
    /// By how much the mask shrinks on each side before it is softened; masks of eyes, or of mouth and nose, by half of it.
    /// Default [0.01, 0.055].
    pub shrink: [f64; 2],
    /// How far its edge reaches to each side. Default [0.01, 0.055].
    pub soften: [f64; 2],
    /// What the mask is multiplied with: one of these. Default [0.25, 0.5, 0.75, 1, 1, 1].
    pub ratios: Vec<f64>,
}

/// What a real face's source video is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sources {
    /// What its file's name says before the first `_`, or what the manifest says.
    #[default]
    Name,
    /// Each file is a source of its own: for portraits.
    File,
}

impl Default for Synthesize {
    fn default() -> Self {
        Self {
            faces: Vec::new(),
            sources: Sources::Name,
            per_face: 1,
            limit: 0,
            sheet: 12,
            face_model: None,
            change_target: 0.5,
            rgb: 0.3,
            rgb_by: 0.08,
            hue_by: 4.0,
            saturation_by: 0.15,
            value_by: 0.05,
            brightness_by: 0.1,
            contrast_by: 0.1,
            downscale: 0.5,
            downscale_by: [2.0, 4.0],
            sharpen_by: [0.2, 0.5],
            scale: [0.95, 1.05],
            shift: [0.03, 0.015],
            part: 0.25,
            forehead: 0.5,
            elastic: 0.006,
            shrink: [0.01, 0.055],
            soften: [0.01, 0.055],
            ratios: vec![0.25, 0.5, 0.75, 1.0, 1.0, 1.0],
        }
    }
}

impl Synthesize {
    /// This without what only the command reads and without where files lie: what a pseudo-fake is made by.
    pub fn of_fakes(&self) -> Self {
        let name = |path: &PathBuf| path.file_name().map_or_else(PathBuf::new, PathBuf::from);
        let plain = Self::default();
        Self {
            faces: plain.faces,
            per_face: plain.per_face,
            limit: plain.limit,
            sheet: plain.sheet,
            face_model: self.face_model.as_ref().map(name),
            ..self.clone()
        }
    }

    /// Files and folders that are named.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.faces.iter_mut().chain(&mut self.face_model)
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.per_face == 0 {
            return wrong("synthesize.per_face", "must be at least 1");
        }
        for (key, p) in [
            ("synthesize.change_target", self.change_target),
            ("synthesize.rgb", self.rgb),
            ("synthesize.downscale", self.downscale),
            ("synthesize.part", self.part),
            ("synthesize.forehead", self.forehead),
        ] {
            probability(key, p)?;
        }
        for (key, by, most) in [
            ("synthesize.rgb_by", self.rgb_by, 1.0),
            ("synthesize.hue_by", self.hue_by, 180.0),
            ("synthesize.saturation_by", self.saturation_by, 1.0),
            ("synthesize.value_by", self.value_by, 1.0),
            ("synthesize.brightness_by", self.brightness_by, 1.0),
            ("synthesize.contrast_by", self.contrast_by, 1.0),
            ("synthesize.elastic", self.elastic, 0.1),
        ] {
            range(key, [by; 2], [0.0, most])?;
        }
        range("synthesize.downscale_by", self.downscale_by, [1.0, 16.0])?;
        range("synthesize.sharpen_by", self.sharpen_by, [0.0, 1.0])?;
        range("synthesize.scale", self.scale, [0.5, 2.0])?;
        range("synthesize.shrink", self.shrink, [0.0, 0.2])?;
        range("synthesize.soften", self.soften, [0.0, 0.2])?;
        for shift in self.shift {
            range("synthesize.shift", [shift; 2], [0.0, 0.5])?;
        }
        let good = |ratio: &f64| *ratio > 0.0 && *ratio <= 1.0;
        if self.ratios.is_empty() || !self.ratios.iter().all(good) {
            return wrong("synthesize.ratios", "must be numbers above 0 and at most 1");
        }
        Ok(())
    }
}
