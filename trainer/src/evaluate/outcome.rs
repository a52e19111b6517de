//! `evaluation.json`: all that was measured, as `report` reads it.

use std::path::Path;

use deepfake_scoring::contract::{Crop, ScoreKeys};
use serde::{Deserialize, Serialize};

use super::figures::{Difference, Figure, Figures};
use crate::calibrate::Reliability;
use crate::checkpoint::write_atomically;
use crate::config::TestKind;
use crate::error::{Error, Result};

/// The version of this schema.
pub const SCHEMA_VERSION: u32 = 1;

/// Models on sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Draws behind every interval.
    pub bootstrap: usize,
    /// The model in question first, then those beside it.
    pub models: Vec<ModelRecord>,
    /// In the order of the configuration.
    pub sets: Vec<SetRecord>,
    /// One a model, a set and a condition.
    pub results: Vec<SetResult>,
    /// The first model against each of the others, on each set.
    pub comparisons: Vec<Comparison>,
}

/// A model that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecord {
    /// As tables call it.
    pub name: String,
    /// Name of the file.
    pub file: String,
    /// Of the file.
    pub bytes: u64,
    /// Of the file.
    pub sha256: String,
    /// Width and height of the input, pixels.
    pub input: [usize; 2],
    /// Width and height of the evidence map, if it has one.
    pub map: Option<[usize; 2]>,
    /// The region of the frame that fills the input.
    pub crop: Crop,
    /// Temperature and thresholds.
    pub score: ScoreKeys,
    /// What it says of its origin.
    pub provenance: std::collections::BTreeMap<String, String>,
}

/// A set that was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRecord {
    /// As tables call it.
    pub name: String,
    /// What its files are.
    pub kind: TestKind,
    /// See [`super::Set::digest`].
    pub sha256: String,
    /// Real files.
    pub real: usize,
    /// Fake files.
    pub fake: usize,
    /// Source videos.
    pub sources: usize,
}

/// What was measured of one model on one set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetResult {
    /// Name.
    pub model: String,
    /// Name.
    pub set: String,
    /// `None`: the whole set as it is. Otherwise the source videos that distortions are measured on.
    pub distortion: Option<Distorted>,
    /// Source videos with a score.
    pub sources: usize,
    /// Pictures or frames without a score.
    pub failed: usize,
    /// One score a picture or frame.
    pub frame: Level,
    /// One score a video.
    pub video: Level,
    /// What is drawn; of sets as they are only.
    pub drawn: Option<Drawn>,
}

/// A distortion and how strong it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distorted {
    /// Its name, or `none`.
    pub name: String,
    /// 1 to 5; 0 where there is none.
    pub level: u8,
    /// What the level means, in the distortion's own unit.
    pub parameter: f64,
}

impl Distorted {
    /// No distortion: what the distorted ones of the same source videos are held against.
    pub fn none() -> Self {
        Self { name: "none".to_owned(), level: 0, parameter: 0.0 }
    }
}

/// Figures of single frames or of whole videos.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Real ones with a score.
    pub real: usize,
    /// Fake ones with a score.
    pub fake: usize,
    /// With intervals.
    pub figures: Figures<Figure>,
}

/// Curves, diagrams and mistakes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// Points of the frames' ROC curve: share of real ones called fake, share of fakes called fake. Empty where a class is missing.
    pub roc_frame: Vec<[f64; 2]>,
    /// As `roc_frame`, of the videos.
    pub roc_video: Vec<[f64; 2]>,
    /// Of the frames, with temperature 1 and with the model's; `None` where a class is missing.
    pub reliability: Option<Reliability>,
    /// How many real frames have a calibrated score in each of [`HISTOGRAM_BINS`] equal bins of [0, 1].
    pub histogram_real: Vec<usize>,
    /// As `histogram_real`, of the fakes.
    pub histogram_fake: Vec<usize>,
    /// The most confident mistakes, of the model in question only.
    pub mistakes: Vec<Mistake>,
}

/// Bins of a score histogram.
pub const HISTOGRAM_BINS: usize = 40;

/// A face that the model is wrong about, the worst of its video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mistake {
    /// Name of the file.
    pub file: String,
    /// Number of the frame in the video; 0 for a picture.
    pub frame: u64,
    /// What it is: otherwise it was called one.
    pub fake: bool,
    /// Calibrated probability of fake.
    pub score: f64,
    /// What the model saw, a JPEG file beside `evaluation.json`.
    pub picture: Option<String>,
    /// The evidence over it, if the model tells.
    pub map: Option<Map>,
}

/// Signed evidence, row by row; its mean is the logit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` logits.
    pub values: Vec<f32>,
}

/// The first model against another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Name of the set.
    pub set: String,
    /// Name of the model in question.
    pub model: String,
    /// Name of the other.
    pub against: String,
    /// Pictures or frames that both have scored.
    pub frames: usize,
    /// Their source videos.
    pub sources: usize,
    /// Of frames; `None` where a class is missing.
    pub frame: Option<Difference>,
    /// Of videos.
    pub video: Option<Difference>,
}

impl Evaluation {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is none of these or of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(Error::io(path))?;
        let wrong = |problem: String| Error::checkpoint(path, problem);
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        match value["schema_version"].as_u64() {
            Some(v) if v == u64::from(SCHEMA_VERSION) => {}
            Some(v) => {
                return Err(wrong(format!("has version {v}, this program reads {SCHEMA_VERSION}: evaluate again")));
            }
            None => return Err(wrong("is no evaluation".to_owned())),
        }
        serde_json::from_value(value).map_err(|e| wrong(e.to_string()))
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, &serde_json::to_vec_pretty(self).map_err(|e| Error::Data(e.to_string()))?)
    }

    /// The model in question.
    pub fn model(&self) -> Option<&ModelRecord> {
        self.models.first()
    }

    /// What was found of a model on the source videos of a set that distortions are measured on; level 0 is as they are.
    pub fn distorted(&self, model: &str, set: &str, name: &str, level: u8) -> Option<&SetResult> {
        let name = if level == 0 { "none" } else { name };
        let is = |d: &Distorted| d.name == name && d.level == level;
        self.results.iter().find(|r| r.model == model && r.set == set && r.distortion.as_ref().is_some_and(is))
    }

    /// What was found of a model on a set as it is.
    pub fn clean(&self, model: &str, set: &str) -> Option<&SetResult> {
        self.results.iter().find(|r| r.model == model && r.set == set && r.distortion.is_none())
    }
}

/// What an AUC says, from its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The whole interval lies above 0.5.
    Better,
    /// It holds 0.5.
    Chance,
    /// The whole interval lies below 0.5: fakes score below real ones.
    Worse,
    /// There is no AUC or no interval.
    Unknown,
}

impl Standing {
    /// Of a figure.
    pub fn of(auc: Option<&Figure>) -> Self {
        match auc.and_then(|f| f.interval) {
            Some([low, _]) if low > 0.5 => Self::Better,
            Some([_, high]) if high < 0.5 => Self::Worse,
            Some(_) => Self::Chance,
            None => Self::Unknown,
        }
    }

    /// In words, after "is".
    pub fn words(self) -> &'static str {
        match self {
            Self::Better => "better than chance",
            Self::Chance => "no better than chance",
            Self::Worse => "worse than chance",
            Self::Unknown => "not known to be better than chance",
        }
    }
}
