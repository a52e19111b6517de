//! A batch of crops goes in, logits and evidence maps come out, whatever the model calls them.

use std::fmt;

use thiserror::Error;

use crate::contract::{Channels, Class, Contract, ContractError, Layout};
use crate::crop::TensorSpec;
use crate::model::Model;
use crate::session::{Provider, RunOptions, Session, SessionError, SessionOptions, TensorInfo};

/// The largest batch that is run at once; more faces are run in several.
pub const MAX_BATCH: usize = 32;
/// How far the mean of a map may be from its logit, in parts of one plus the mean of the map's absolute values.
pub const MAP_TOLERANCE: f32 = 1e-3;
/// Probabilities nearer to 0 and 1 than this are taken for this.
const MIN_PROBABILITY: f32 = 1e-7;
/// Maps with more values than that are not of regions any more.
const MAX_MAP_VALUES: usize = 1 << 16;

/// Why a model cannot score faces.
#[derive(Debug, Error)]
pub enum ScorerError {
    /// It does not load or run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// What it says about itself is wrong.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// What it says about itself does not fit its graph, or is not enough.
    #[error("the model {model} cannot be used: {problem}")]
    Mismatch {
        /// Its name.
        model: String,
        /// What does not fit, and which key of the contract would mend it.
        problem: String,
    },
}

/// Why a face has no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotScored {
    /// Smaller than the smallest face that is scored.
    TooSmall,
    /// More faces in the frame than are scored; the largest were.
    TooMany,
    /// Its box is not one: no area, not finite, far outside of the frame, or far larger than it.
    InvalidBox,
    /// The model's output is not a finite number.
    NotFinite,
    /// The model's probability is not between 0 and 1.
    NotAProbability,
    /// The mean of the model's map is not its logit.
    MapMismatch,
    /// The model did not run.
    RunFailed,
    /// Live mode has no result of this face yet.
    Pending,
}

impl NotScored {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::TooSmall,
        Self::TooMany,
        Self::InvalidBox,
        Self::NotFinite,
        Self::NotAProbability,
        Self::MapMismatch,
        Self::RunFailed,
        Self::Pending,
    ];

    /// As written in metadata and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooSmall => "too-small",
            Self::TooMany => "too-many",
            Self::InvalidBox => "invalid-box",
            Self::NotFinite => "not-finite",
            Self::NotAProbability => "not-a-probability",
            Self::MapMismatch => "map-mismatch",
            Self::RunFailed => "run-failed",
            Self::Pending => "pending",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

impl fmt::Display for NotScored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The signed evidence for fake over the crop, row by row; its mean is the logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvidenceMap<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` logits.
    pub values: &'a [f32],
}

/// What a model says of one crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence<'a> {
    /// Of being fake, uncalibrated.
    pub logit: f32,
    /// Where it comes from, if the model tells.
    pub map: Option<EvidenceMap<'a>>,
}

/// What is to be known of a model that scores.
#[derive(Clone, Debug)]
pub struct Card {
    /// The model.
    pub model: Model,
    /// What the model says about itself, complete.
    pub contract: Contract,
    /// The tensor of one crop.
    pub spec: TensorSpec,
    /// Width and height of the map, if the model has one.
    pub map_size: Option<(usize, usize)>,
    /// The one size of batch that it takes, if there is only one.
    pub fixed_batch: Option<usize>,
    /// What runs it.
    pub provider: Provider,
    /// Why the GPU that this build could use is not used, see [`Session::fallback`].
    pub fallback: Option<String>,
    /// Threads that work on one operator, the caller's among them.
    pub threads: usize,
}

impl Card {
    /// Numbers of a map; 0 where there is none.
    pub(crate) fn map_len(&self) -> usize {
        self.map_size.map_or(0, |(width, height)| width * height)
    }

    /// The map with that index of those that stand one behind the other.
    pub(crate) fn map<'a>(&self, maps: &'a [f32], index: usize) -> Option<EvidenceMap<'a>> {
        let ((width, height), len) = (self.map_size?, self.map_len());
        Some(EvidenceMap { width, height, values: maps.get(index * len..(index + 1) * len)? })
    }
}

/// A model with all that is known about it, ready to score crops.
#[derive(Debug)]
pub struct Scorer {
    session: Session,
    card: Card,
    score: ScoreOutput,
    map: Option<MapOutput>,
    /// Sizes of batches that are run, growing.
    batches: Vec<usize>,
    crops: Vec<f32>,
    logits: Vec<Result<f32, NotScored>>,
    maps: Vec<f32>,
}

/// How the score is read out of the outputs.
#[derive(Clone, Copy, Debug)]
struct ScoreOutput {
    index: usize,
    column: usize,
    softmax: bool,
    probability: bool,
    of: Class,
}

#[derive(Clone, Copy, Debug)]
struct MapOutput {
    index: usize,
    width: usize,
    height: usize,
}

impl Scorer {
    /// Loads a model and runs it once. The contract is `contract` where given, else what the file says, else the defaults.
    ///
    /// # Errors
    ///
    /// A model that does not load, or whose contract and graph do not fit.
    pub fn new(model: &Model, contract: Option<Contract>, options: &SessionOptions) -> Result<Self, ScorerError> {
        let contract = match contract {
            Some(contract) => contract,
            None => Contract::from_metadata(model.metadata())?.unwrap_or_default(),
        };
        let mismatch = |problem| ScorerError::Mismatch { model: model.name().to_owned(), problem };
        let session = Session::new(model, options)?;
        let (spec, batch) = tensor_spec(&contract, session.input()).map_err(mismatch)?;
        let score = score_output(&contract, session.outputs()).map_err(mismatch)?;
        let batches = match batch {
            Some(fixed) => vec![fixed],
            None => std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n <= MAX_BATCH).collect(),
        };
        let card = Card {
            model: session.model().clone(),
            contract,
            spec,
            map_size: None,
            fixed_batch: batch,
            provider: session.provider(),
            fallback: session.fallback().map(str::to_owned),
            threads: session.threads(),
        };
        let mut scorer = Self { session, card, score, map: None, batches, crops: vec![], logits: vec![], maps: vec![] };
        scorer.probe()?;
        Ok(scorer)
    }

    /// Runs every size of batch once: ONNX Runtime plans its memory then, and what does not fit is found before any frame
    /// waits for it.
    fn probe(&mut self) -> Result<(), ScorerError> {
        let mismatch = |model: &Model, problem| Err(ScorerError::Mismatch { model: model.name().to_owned(), problem });
        // On the CPU nothing is compiled for a size; only GPUs need them all.
        let sizes = if self.session.provider() == Provider::Cpu { 1 } else { self.batches.len() };
        for i in 0..sizes {
            let n = self.batches[i];
            self.reserve(n);
            // Varied numbers, so that a map that does not sum to the logit cannot hide behind zeros.
            for (k, v) in self.crops[..n * self.card.spec.len()].iter_mut().enumerate() {
                *v = ((k * 7919) % 255) as f32 / 127.5 - 1.0;
            }
            if let Some(name) = &self.card.contract.output.map {
                let index = self.session.outputs().iter().position(|o| o.name == *name);
                let Some(index) = index else {
                    return mismatch(self.session.model(), no_output(name, "output.map", self.session.outputs()));
                };
                let shape = self.input_shape(n);
                let dims = {
                    let outputs = self.session.run(&shape, &self.crops[..n * self.card.spec.len()])?;
                    outputs.get(index)?.0.to_vec()
                };
                self.map = match dims[..] {
                    [b, h, w] | [b, 1, h, w] if b == n as i64 && h > 0 && w > 0 && h * w <= MAX_MAP_VALUES as i64 => {
                        self.card.map_size = Some((w as usize, h as usize));
                        Some(MapOutput { index, width: w as usize, height: h as usize })
                    }
                    _ => {
                        let problem = format!("`output.map` has the shape {dims:?}, it must be [N, h, w]");
                        return mismatch(self.session.model(), problem);
                    }
                };
            }
            self.logits.clear();
            self.maps.clear();
            self.run_batch(0, n, None)?;
            if self.logits.contains(&Err(NotScored::MapMismatch)) {
                let problem = "the mean of its map is not its logit: remove `output.map` from the contract";
                return mismatch(self.session.model(), problem.to_owned());
            }
        }
        Ok(())
    }

    /// All that is to be known of it.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.session.model()
    }

    /// What runs it.
    pub fn provider(&self) -> Provider {
        self.session.provider()
    }

    /// Why the GPU that this build could use is not used, see [`Session::fallback`].
    pub fn fallback(&self) -> Option<&str> {
        self.session.fallback()
    }

    /// What the model says about itself, complete.
    pub fn contract(&self) -> &Contract {
        &self.card.contract
    }

    /// The tensor of one crop.
    pub fn spec(&self) -> &TensorSpec {
        &self.card.spec
    }

    /// Width and height of the map, if the model has one.
    pub fn map_size(&self) -> Option<(usize, usize)> {
        self.card.map_size
    }

    /// The place, of [`TensorSpec::len`] numbers, for the crop with that index in the next [`Scorer::run`].
    pub fn crop_mut(&mut self, index: usize) -> &mut [f32] {
        self.reserve(index + 1);
        let len = self.card.spec.len();
        &mut self.crops[index * len..(index + 1) * len]
    }

    /// Scores the first `n` crops. A run that fails leaves its crops as [`NotScored::RunFailed`] and is told; the others keep
    /// their evidence.
    ///
    /// # Errors
    ///
    /// The first run that failed.
    pub fn run(&mut self, n: usize, options: Option<&RunOptions>) -> Result<(), SessionError> {
        self.logits.clear();
        self.maps.clear();
        let mut result = Ok(());
        let mut first = 0;
        while first < n {
            let left = n - first;
            // On the CPU two small batches cost less than one that is filled up; on a GPU it is the other way round.
            let fits = |b: &&usize| if self.provider() == Provider::Cpu { **b <= left } else { **b >= left };
            let batch = match self.provider() {
                Provider::Cpu => self.batches.iter().rev().find(fits).or(self.batches.first()),
                _ => self.batches.iter().find(fits).or(self.batches.last()),
            };
            let batch = batch.copied().unwrap_or(1);
            self.reserve(first + batch);
            if let Err(error) = self.run_batch(first, batch, options) {
                self.logits.resize(first + batch, Err(NotScored::RunFailed));
                self.maps.resize(self.logits.len() * self.card.map_len(), 0.0);
                if result.is_ok() {
                    result = Err(error);
                }
            }
            first += batch;
        }
        result
    }

    /// What the last [`Scorer::run`] says of the crop with that index.
    ///
    /// # Errors
    ///
    /// Why there is no score.
    pub fn evidence(&self, index: usize) -> Result<Evidence<'_>, NotScored> {
        let logit = (*self.logits.get(index).unwrap_or(&Err(NotScored::RunFailed)))?;
        Ok(Evidence { logit, map: self.card.map(&self.maps, index) })
    }

    fn reserve(&mut self, n: usize) {
        let len = n * self.card.spec.len();
        if self.crops.len() < len {
            self.crops.resize(len, 0.0);
        }
    }

    fn input_shape(&self, n: usize) -> [usize; 4] {
        let TensorSpec { width, height, channels, layout, .. } = self.card.spec;
        match layout {
            Layout::Nchw => [n, channels.count(), height, width],
            Layout::Nhwc => [n, height, width, channels.count()],
        }
    }

    /// Runs the crops from `first` on and appends their logits and maps.
    fn run_batch(&mut self, first: usize, n: usize, options: Option<&RunOptions>) -> Result<(), SessionError> {
        let shape = self.input_shape(n);
        let len = self.card.spec.len();
        let crops = &self.crops[first * len..(first + n) * len];
        let model = &self.card.model;
        let outputs = match options {
            Some(options) => self.session.run_until(&shape, crops, options)?,
            None => self.session.run(&shape, crops)?,
        };
        let wrong = |problem| SessionError::Signature { model: model.name().to_owned(), problem };

        let (dims, data) = outputs.get(self.score.index)?;
        let columns = data.len() / n;
        if !is_rows(dims, n) || columns * n != data.len() || self.score.column >= columns {
            let column = self.score.column;
            return Err(wrong(format!(
                "its score output has the shape {dims:?} for a batch of {n}, column {column} (`output.index`) is not in it"
            )));
        }
        let map = match self.map {
            None => None,
            Some(m) => {
                let (dims, values) = outputs.get(m.index)?;
                if values.len() != n * m.width * m.height {
                    return Err(wrong(format!("its map has the shape {dims:?} for a batch of {n}")));
                }
                Some((m.width * m.height, values))
            }
        };
        let sign = if self.score.of == Class::Real { -1.0 } else { 1.0 };
        for (i, row) in data.chunks_exact(columns).enumerate() {
            let mut logit = self.score.logit(row).map(|l| sign * l);
            if let Some((len, values)) = map {
                let values = &values[i * len..(i + 1) * len];
                if let Ok(l) = logit {
                    logit = agrees(sign * l, values).then_some(l).ok_or(NotScored::MapMismatch);
                }
                self.maps.extend(values.iter().map(|v| sign * v));
            }
            self.logits.push(logit);
        }
        Ok(())
    }
}

impl ScoreOutput {
    /// The logit of the class that the output speaks of.
    fn logit(&self, row: &[f32]) -> Result<f32, NotScored> {
        if !row.iter().all(|v| v.is_finite()) {
            return Err(NotScored::NotFinite);
        }
        let value = row[self.column];
        let logit = if self.softmax {
            // The log of the class's odds against all others together.
            let others = || row.iter().enumerate().filter(|(i, _)| *i != self.column).map(|(_, v)| *v);
            let largest = others().fold(f32::NEG_INFINITY, f32::max);
            value - largest - others().map(|v| (v - largest).exp()).sum::<f32>().ln()
        } else if self.probability {
            if !(-MIN_PROBABILITY..=1.0 + MIN_PROBABILITY).contains(&value) {
                return Err(NotScored::NotAProbability);
            }
            let p = value.clamp(MIN_PROBABILITY, 1.0 - MIN_PROBABILITY);
            (p / (1.0 - p)).ln()
        } else {
            value
        };
        if logit.is_finite() { Ok(logit) } else { Err(NotScored::NotFinite) }
    }
}

/// Whether a tensor has a row of numbers for each of `n` pictures: `[n]`, `[n, columns]`, and the same with axes of one. Of a single
/// picture it may be the row alone. What has more axes would be some number out of the middle.
fn is_rows(dims: &[i64], n: usize) -> bool {
    match dims {
        [first, rest @ ..] if usize::try_from(*first) == Ok(n) => rest.iter().filter(|d| **d != 1).count() <= 1,
        [] | [_] => n == 1,
        _ => false,
    }
}

/// Whether the mean of the map is the logit, but for rounding.
fn agrees(logit: f32, map: &[f32]) -> bool {
    let n = map.len() as f64;
    let mean = map.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let spread = map.iter().map(|v| f64::from(v.abs())).sum::<f64>() / n;
    // Not-a-number fails the comparison.
    (mean - f64::from(logit)).abs() <= f64::from(MAP_TOLERANCE) * (1.0 + spread)
}

fn no_output(name: &str, key: &str, outputs: &[TensorInfo]) -> String {
    let all: Vec<_> = outputs.iter().map(ToString::to_string).collect();
    format!("`{key}` names the output `{name}`, the graph has: {}", all.join(", "))
}

/// The tensor of one crop, and the batch if the graph has a fixed one.
fn tensor_spec(contract: &Contract, input: &TensorInfo) -> Result<(TensorSpec, Option<usize>), String> {
    let [batch, a, b, c] = input.dims[..] else {
        return Err(format!("its input {input} does not have four axes (batch, channels, height, width)"));
    };
    let is_channels = |d| matches!(d, Some(1 | 3));
    let layout = match contract.input.layout {
        Some(layout) => layout,
        None if is_channels(a) => Layout::Nchw,
        None if is_channels(c) => Layout::Nhwc,
        None => return Err(format!("the layout of its input {input} is not to be seen: give `input.layout`")),
    };
    let (count, height, width) = match layout {
        Layout::Nchw => (a, b, c),
        Layout::Nhwc => (c, a, b),
    };
    let channels = match (contract.input.channels, count) {
        (Some(channels), _) => channels,
        (None, Some(1)) => Channels::Gray,
        (None, _) => Channels::Rgb,
    };
    if count.is_some_and(|n| n != channels.count()) {
        return Err(format!("its input {input} does not have the {} channels of `input.channels`", channels.count()));
    }
    let side = |key, graph: Option<usize>, said: Option<usize>| match (graph, said) {
        (Some(g), Some(s)) if g != s => Err(format!("its input {input} is not {s} pixels as `{key}` says")),
        (Some(n), _) | (None, Some(n)) if (8..=4096).contains(&n) => Ok(n),
        (Some(n), _) | (None, Some(n)) => Err(format!("`{key}` is {n}, it must be from 8 to 4096 pixels")),
        (None, None) => Err(format!("its input {input} has no fixed size: give `{key}`")),
    };
    let spec = TensorSpec {
        layout,
        width: side("input.width", width, contract.input.width)?,
        height: side("input.height", height, contract.input.height)?,
        channels,
        scale: contract.input.scale,
        mean: contract.input.mean.to_array(),
        std: contract.input.std.to_array(),
    };
    if batch.is_some_and(|n| !(1..=MAX_BATCH).contains(&n)) {
        return Err(format!("its input {input} has a fixed batch, which must be from 1 to {MAX_BATCH}"));
    }
    Ok((spec, batch))
}

fn score_output(contract: &Contract, outputs: &[TensorInfo]) -> Result<ScoreOutput, String> {
    let keys = &contract.output;
    let (name, key, probability) = match (&keys.logit, &keys.probability) {
        (_, Some(name)) => (name.as_str(), "output.probability", true),
        (Some(name), None) => (name.as_str(), "output.logit", false),
        (None, None) => ("logit", "output.logit", false),
    };
    let index = outputs.iter().position(|o| o.name == name).ok_or_else(|| no_output(name, key, outputs))?;
    Ok(ScoreOutput { index, column: keys.index, softmax: keys.softmax, probability, of: keys.of })
}
