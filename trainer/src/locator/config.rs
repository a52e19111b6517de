//! What a face locator is made of: one TOML file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::{self, Augment, Run};
use crate::error::{Error, Result};
use crate::hash;

/// How a face locator is made. Every key that is left out has the default told here; unknown keys are errors. Paths are relative to
/// the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the model, as its file says it.
    pub name: String,
    /// Seed of everything that is drawn. Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// Where faces come from, and who says where they are.
    pub data: Data,
    /// What scenes are like.
    #[serde(default)]
    pub scene: Scene,
    /// What is done to a scene when it is whole; `flip`, `scale`, `shift` and `aspect` have no part in it.
    #[serde(default = "augment")]
    pub augment: Augment,
    /// How the weights are found.
    #[serde(default)]
    pub optim: Optim,
    /// Where and with what it runs; none of it changes the result.
    #[serde(default)]
    pub run: Run,
    /// What it is measured with.
    #[serde(default)]
    pub measure: Measure,
    /// Said by the model's file as `provenance.*`.
    #[serde(default)]
    pub provenance: BTreeMap<String, String>,
}

/// Where faces come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Face detector (ONNX) that says where faces are: YuNet, SCRFD or UltraFace. Only the first two tell landmarks.
    pub teacher: PathBuf,
    /// The longer side of the picture that it looks at, pixels. Default 1280.
    #[serde(default = "teacher_side")]
    pub teacher_side: usize,
    /// Folders of pictures of one face each, of which scenes are composed.
    #[serde(default)]
    pub portraits: Vec<PathBuf>,
    /// Videos, or folders of them, whose frames are scenes as they are.
    #[serde(default)]
    pub videos: Vec<PathBuf>,
    /// Videos whose path, from the folder named in `videos` on, contains one of these words are not trained on but measured with.
    #[serde(default)]
    pub held_out: Vec<String>,
    /// Share of the portraits that is kept to measure with, [0, 0.5]. Default 0.1.
    #[serde(default = "held_out_share")]
    pub held_out_share: f64,
    /// Frames of a video, evenly spread. Default 40.
    #[serde(default = "frames_per_video")]
    pub frames_per_video: usize,
    /// Longer side at which frames are kept, pixels. Default 960.
    #[serde(default = "frame_side")]
    pub frame_side: usize,
}

/// What scenes are like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scene {
    /// Side in pixels, a multiple of 32. Default 320.
    pub size: usize,
    /// Share of scenes that are composed of portraits; the others are parts of frames. Default 0.4.
    pub composed: f64,
    /// Most faces of a composed scene. Default 6.
    pub faces: usize,
    /// Sides of faces, drawn so that every doubling is as likely as the next, pixels of the scene. Default [8, 240].
    pub face: [f64; 2],
    /// Largest turn of a composed face, degrees. Default 25.
    pub turn: f64,
}

impl Default for Scene {
    fn default() -> Self {
        Self { size: 320, composed: 0.4, faces: 6, face: [8.0, 240.0], turn: 25.0 }
    }
}

/// How the weights are found: AdamW with warm-up and cosine decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Optim {
    /// Steps in all. Default 6000.
    pub steps: usize,
    /// Of which so many warm up. Default 200.
    pub warmup: usize,
    /// Scenes a step. Default 16.
    pub batch: usize,
    /// Largest learning rate. Default 0.004.
    pub learning_rate: f64,
    /// Of kernels. Default 0.01.
    pub weight_decay: f64,
    /// Largest norm of the gradient. Default 10.
    pub clip: f64,
    /// Decay a step of the moving average of the weights. Default 0.998.
    pub ema: f64,
}

impl Default for Optim {
    fn default() -> Self {
        Self { steps: 6000, warmup: 200, batch: 16, learning_rate: 4e-3, weight_decay: 0.01, clip: 10.0, ema: 0.998 }
    }
}

/// What it is measured with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// Other detectors (ONNX) measured beside it; the teacher always is.
    pub rivals: Vec<PathBuf>,
    /// Frames of each held-out video. Default 30.
    pub frames_per_video: usize,
    /// Composed scenes of held-out portraits. Default 300.
    pub scenes: usize,
    /// Wished for: at most so many boxes a frame where the teacher sees no face. Default 0.1.
    pub false_boxes: f64,
}

impl Default for Measure {
    fn default() -> Self {
        Self { rivals: Vec::new(), frames_per_video: 30, scenes: 300, false_boxes: 0.1 }
    }
}

const fn one() -> u64 {
    1
}

const fn teacher_side() -> usize {
    1280
}

const fn held_out_share() -> f64 {
    0.1
}

const fn frames_per_video() -> usize {
    40
}

const fn frame_side() -> usize {
    960
}

fn augment() -> Augment {
    Augment { blur_sigma: [0.3, 1.5], jpeg: 0.4, gray: 0.1, colour_by: 0.4, ..Augment::default() }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is not TOML, has unknown keys or values out of range.
    pub fn read(path: &Path) -> Result<Self> {
        let mut config: Self = config::parse(path)?;
        let Data { teacher, portraits, videos, .. } = &mut config.data;
        let rivals = &mut config.measure.rivals;
        config::place(path, std::iter::once(teacher).chain(portraits).chain(videos).chain(rivals))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let wrong = |key, problem: &str| Err(Error::Config { key, problem: problem.to_owned() });
        if self.data.portraits.is_empty() && self.data.videos.is_empty() {
            return wrong("data", "names neither `portraits` nor `videos`: there is nothing to learn from");
        }
        if !(64..=4096).contains(&self.data.teacher_side) {
            return wrong("data.teacher_side", "must be from 64 to 4096 pixels");
        }
        if !(320..=4096).contains(&self.data.frame_side) {
            return wrong("data.frame_side", "must be from 320 to 4096 pixels");
        }
        if !(0.0..=0.5).contains(&self.data.held_out_share) {
            return wrong("data.held_out_share", "must be from 0 to 0.5");
        }
        if self.data.frames_per_video == 0 || self.measure.frames_per_video == 0 {
            return wrong("frames_per_video", "must be at least 1");
        }
        let Scene { size, composed, faces, face: [least, most], turn } = self.scene;
        if size % 32 != 0 || !(96..=1024).contains(&size) {
            return wrong("scene.size", "must be a multiple of 32 from 96 to 1024");
        }
        if !(0.0..=1.0).contains(&composed) || faces == 0 {
            return wrong("scene.composed", "is a share: it must be from 0 to 1, and `scene.faces` at least 1");
        }
        if composed > 0.0 && self.data.portraits.is_empty() {
            return wrong("scene.composed", "needs `data.portraits`: set it to 0 or name some");
        }
        if composed < 1.0 && self.data.videos.is_empty() {
            return wrong("scene.composed", "must be 1 where there are no `data.videos`");
        }
        if !(4.0 <= least && least <= most && most <= size as f64) {
            return wrong("scene.face", "must be a range [low, high] from 4 to `scene.size`");
        }
        if !(0.0..=45.0).contains(&turn) {
            return wrong("scene.turn", "must be from 0 to 45 degrees");
        }
        let Optim { steps, warmup, batch, learning_rate, .. } = self.optim;
        if steps == 0 || batch == 0 || warmup > steps || !(learning_rate > 0.0 && learning_rate.is_finite()) {
            return wrong(
                "optim",
                "needs steps, a batch, a positive learning rate, and a warm-up not longer than the steps",
            );
        }
        Ok(())
    }

    /// SHA-256 of all that changes the weights, beside the pictures.
    pub fn digest(&self) -> String {
        // Every type of the configuration is made of what JSON has.
        let Self { seed, scene, augment, optim, .. } = self;
        hash::hex(Sha256::digest(serde_json::to_string(&(seed, scene, augment, optim)).unwrap_or_default()))
    }
}
