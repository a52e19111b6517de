//! What a model is measured on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Set, wrong};
use crate::error::Result;

/// Test sets and models. Neither changes the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// What is measured on. Default: none.
    pub sets: Vec<TestSet>,
    /// Models beside the run's own, which it is compared with on the same faces. Default: none.
    pub models: Vec<Contender>,
    /// The face locator (ONNX) of sets that are no crops, relative to the configuration file; the engine's own where left out.
    pub face_model: Option<PathBuf>,
    /// Resamplings of the source videos for the 95 % intervals. Default 1000.
    pub bootstrap: usize,
    /// Share of a set's pictures or frames that may have no score (unreadable, no face found) before it is an error; distorted
    /// ones are counted, but never an error. Default 0.05.
    pub max_failed: f64,
    /// So many source videos of a set are distorted, chosen by their names; 0 means all. Default 0.
    pub robustness_sources: usize,
    /// So many false alarms and as many misses of each set, the most confident ones, are kept as pictures for the report.
    /// Default 8.
    pub mistakes: usize,
}

/// A set of faces with known labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestSet {
    /// As tables call it.
    pub name: String,
    /// Folders as in `data.folders`; a set may lack one of the classes, and then has the figures of the other.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
    /// Data sets as in `data.sets`, of videos or pictures. In videos the largest face of each frame is looked for.
    #[serde(default)]
    pub sets: Vec<Set>,
    /// What the pictures are. Default `crops`.
    #[serde(default)]
    pub kind: TestKind,
    /// Frames of each video, evenly spread. Default 16.
    #[serde(default = "sixteen")]
    pub frames: usize,
    /// Measure it under every distortion at every level too. Default false.
    #[serde(default)]
    pub robustness: bool,
}

/// What the pictures of a set are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestKind {
    /// Pictures that are face crops already, scored as they are.
    #[default]
    Crops,
    /// Pictures in which the largest face is looked for and cut out.
    Pictures,
}

/// Another model to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contender {
    /// As tables call it.
    pub name: String,
    /// The ONNX file, relative to the configuration file.
    pub file: PathBuf,
    /// The contract (TOML) of a file that does not carry one, relative to the configuration file.
    #[serde(default)]
    pub contract: Option<PathBuf>,
}

const fn sixteen() -> usize {
    16
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            sets: Vec::new(),
            models: Vec::new(),
            face_model: None,
            bootstrap: 1000,
            max_failed: 0.05,
            robustness_sources: 0,
            mistakes: 8,
        }
    }
}

impl Evaluate {
    /// Every file and folder that is named.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Self { sets, models, face_model, .. } = self;
        let models = models.iter_mut().flat_map(|m| std::iter::once(&mut m.file).chain(&mut m.contract));
        let sets = sets.iter_mut().flat_map(|s| {
            let roots = s.sets.iter_mut().flat_map(|s| std::iter::once(&mut s.root).chain(&mut s.originals));
            s.folders.iter_mut().chain(roots)
        });
        sets.chain(models).chain(face_model)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let mut names: Vec<&str> = self.sets.iter().map(|s| s.name.as_str()).collect();
        names.sort_unstable();
        if names.iter().any(|n| n.trim().is_empty()) || names.windows(2).any(|n| n[0] == n[1]) {
            return wrong("evaluate.sets.name", "must be there and differ from set to set");
        }
        if self.sets.iter().any(|s| s.folders.is_empty() && s.sets.is_empty()) {
            return wrong("evaluate.sets.folders", "must name at least one folder, or `evaluate.sets.sets` a data set");
        }
        self.sets.iter().flat_map(|s| &s.sets).try_for_each(Set::check)?;
        if !self.sets.iter().all(|s| (1..=1000).contains(&s.frames)) {
            return wrong("evaluate.sets.frames", "must be from 1 to 1000");
        }
        let mut names: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
        names.sort_unstable();
        if names.iter().any(|n| n.trim().is_empty()) || names.windows(2).any(|n| n[0] == n[1]) {
            return wrong("evaluate.models.name", "must be there and differ from model to model");
        }
        if !(100..=100_000).contains(&self.bootstrap) {
            return wrong("evaluate.bootstrap", "must be from 100 to 100000 rounds: fewer give no interval");
        }
        if !(0.0..=1.0).contains(&self.max_failed) {
            return wrong("evaluate.max_failed", "must be from 0 to 1");
        }
        Ok(())
    }
}
