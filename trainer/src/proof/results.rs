//! What the runs of an experiment came to, as small files that outlive weights and machines: the page is made of them alone.
//!
//! `plan.json` is what was settled before the first run, `sets/NAME.json` the labels of a test set, and
//! `DIRECTION/BACKBONE/ARM-SEED.json` one run. No file tells the name of a picture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Best, write_atomically};
use crate::config::Trial;
use crate::error::{Error, Result};
use crate::evaluate::Set;
use crate::{data, evaluate};

/// One run that came to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// [`super::recipe`] of what it was made by.
    pub recipe: String,
    /// Of the names of the faces that it was trained and chosen by.
    pub faces: String,
    /// [`crate::maps::RegionMaps::digest`] of the maps that it erased by.
    pub maps: Option<String>,
    /// Mean share of a training face that the maps cover.
    pub support: Option<f64>,
    /// Learned numbers.
    pub parameters: usize,
    /// The epoch that the weights are of.
    pub best: Best,
    /// What it says of each test set.
    pub scores: BTreeMap<String, Scores>,
    /// Where it looks, on the direction's primary set.
    pub attention: Attention,
}

/// What a model says of a test set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// [`Set::digest`].
    pub set: String,
    /// Of fake, uncalibrated, to four digits; one a face, in the order of the set.
    pub logits: Vec<f64>,
}

/// How the evidence of a model is spread over faces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// Fields a row and rows of the map.
    pub size: [usize; 2],
    /// Mean over faces of the evidence for their own label, each face's scaled to a sum of 1: of real faces and of fakes, in rows
    /// from the top left.
    pub mean: [Vec<f64>; 2],
    /// Mean over faces of the share of the map that the evidence for their own label is spread over, (0, 1]: `(sum e)^2 / (n sum e^2)`,
    /// 1 where every field says as much, `1 / n` where one field says all.
    pub spread: f64,
    /// Faces that have evidence for their own label anywhere.
    pub faces: usize,
}

/// The labels of a test set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// [`Set::digest`].
    pub set: String,
    /// Which faces are fake.
    pub fake: Vec<bool>,
    /// Number of the source video of each, from 0.
    pub source: Vec<usize>,
    /// Number of the video of each, from 0.
    pub video: Vec<usize>,
    /// Faces that are not among these, because they are also learned from.
    pub left_out: usize,
}

impl Labels {
    /// Of a set.
    pub fn of(set: &Set) -> Self {
        Self {
            set: set.digest.clone(),
            fake: set.items.iter().map(|f| f.label == data::Label::Fake).collect(),
            source: set.sources().0,
            video: data::videos(&set.items),
            left_out: 0,
        }
    }

    /// Source videos.
    pub fn sources(&self) -> usize {
        self.source.iter().max().map_or(0, |s| s + 1)
    }

    /// Videos, real and fake.
    pub fn videos(&self) -> [usize; 2] {
        let mut seen = BTreeMap::new();
        for (video, fake) in self.video.iter().zip(&self.fake) {
            seen.insert(video, fake);
        }
        let fakes = seen.values().filter(|f| ***f).count();
        [seen.len() - fakes, fakes]
    }

    /// Faces, real and fake.
    pub fn faces(&self) -> [usize; 2] {
        let fakes = self.fake.iter().filter(|f| **f).count();
        [self.fake.len() - fakes, fakes]
    }

    /// As units of figures: faces, or videos with the mean of their faces' logits. The sources are the same.
    pub fn units(&self, logits: &[f64], by_video: bool) -> Vec<evaluate::Unit> {
        let unit = |logit: f64, fake: bool, source: usize| evaluate::Unit { logit, fake, source };
        if !by_video {
            let all = logits.iter().zip(&self.fake).zip(&self.source);
            return all.map(|((&logit, &fake), &source)| unit(logit, fake, source)).collect();
        }
        let (means, fakes) = crate::metrics::video_means(logits, &self.fake, &self.video);
        let mut sources = vec![0; means.len()];
        for (&video, &source) in self.video.iter().zip(&self.source) {
            sources[video] = source;
        }
        means.into_iter().zip(fakes).zip(sources).map(|((logit, fake), source)| unit(logit, fake, source)).collect()
    }
}

/// The folder of an experiment's results.
#[derive(Clone, Debug)]
pub struct Results {
    folder: PathBuf,
}

impl Results {
    /// In that folder, which need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The run of a trial, where there is one; whether it is up to date is for the caller to see.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn outcome(&self, trial: &Trial) -> Result<Option<Outcome>> {
        read(&self.path(trial))
    }

    /// Keeps the run of a trial.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn keep(&self, trial: &Trial, outcome: &Outcome) -> Result<()> {
        write(&self.path(trial), outcome)
    }

    /// The labels of the test set of that name, where they are known.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn labels(&self, set: &str) -> Result<Option<Labels>> {
        read(&self.set(set))
    }

    /// Keeps the labels of a test set.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn keep_labels(&self, set: &str, labels: &Labels) -> Result<()> {
        write(&self.set(set), labels)
    }

    /// What was settled before the first run.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn plan(&self) -> Result<Option<super::Plan>> {
        read(&self.folder.join("plan.json"))
    }

    /// Keeps it.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn keep_plan(&self, plan: &super::Plan) -> Result<()> {
        write(&self.folder.join("plan.json"), plan)
    }

    fn set(&self, name: &str) -> PathBuf {
        self.folder.join("sets").join(format!("{name}.json"))
    }

    fn path(&self, trial: &Trial) -> PathBuf {
        let name = format!("{}-{}.json", trial.arm, trial.seed);
        self.folder.join(&trial.direction).join(&trial.backbone).join(name)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(serde_json::from_str(&text).map_err(|e| Error::checkpoint(path, e.to_string()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path)(error)),
    }
}

fn write<T: Serialize>(path: &Path, what: &T) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let mut text = serde_json::to_string(what).map_err(|e| Error::Data(e.to_string()))?;
    text.push('\n');
    write_atomically(path, text.as_bytes())
}
