//! How good ONNX files are, through the engine that the plugin runs.
//!
//! Every model is scored on every test set ([`Set`]), at the level of single frames and of whole videos; scores are kept
//! ([`Ledger`]), figures get intervals by resampling source videos ([`figures`]), and all of it is one file ([`Evaluation`]) that
//! `report` reads.

mod condition;
mod display;
pub mod figures;
mod ledger;
mod mistakes;
mod outcome;
mod scoring;
mod set;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use deepfake_scoring::contract::ScoreKeys;
use serde::Serialize;
use serde_json::json;

pub use condition::Condition;
pub(crate) use figures::interval;
pub use figures::{Difference, Figure, Figures, Unit};
pub use ledger::{Entry, Key, Ledger, Shot};
pub use outcome::{
    Comparison, Distorted, Drawn, Evaluation, HISTOGRAM_BINS, Level, Map, Mistake, ModelRecord, SCHEMA_VERSION,
    SetRecord, SetResult, Standing,
};
pub use scoring::{Judge, Locators, evidence, score};
pub use set::{Digests, Set};
pub use table::{Samples, Scored, scored};

use crate::calibrate::Reliability;
use crate::checkpoint::{RunFolder, write_atomically};
use crate::config::{Contender, Evaluate};
use crate::data::Label;
use crate::error::{Error, Result};
use crate::log::{self, Log};
use crate::metrics::{RocPoint, bin_of, roc};

/// Points of a ROC curve that are kept.
const ROC_POINTS: usize = 256;

/// What [`evaluate`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Figures, curves and comparisons.
    pub evaluation: Evaluation,
    /// Every score of undistorted sets.
    pub scores: Vec<Row>,
}

/// The score of one picture or frame.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the model.
    pub model: String,
    /// Name of the set.
    pub set: String,
    /// The file.
    pub path: String,
    /// Number of the frame in the video; 0 for a picture.
    pub frame: u64,
    /// Name of the source video.
    pub source: String,
    /// Name of the video.
    pub video: String,
    /// Whether it is one.
    pub fake: bool,
    /// Of fake, uncalibrated.
    pub logit: f64,
    /// Of fake, calibrated.
    pub score: f64,
}

/// Measures `model` and the models of `table` on the sets of `table`. In the run folder `run` scores are kept (`scores/`), and
/// `evaluation.json` and pictures of mistakes written; without one, everything is computed anew and nothing kept.
///
/// # Errors
///
/// No set, models or files that fail, more than `max_failed` of a set without a score.
pub fn evaluate(table: &Evaluate, model: &Contender, run: Option<&RunFolder>) -> Result<Evaluated> {
    table.check()?;
    if table.sets.is_empty() {
        let problem = "names no set: there is nothing to measure on".to_owned();
        return Err(Error::Config { key: "evaluate.sets", problem });
    }
    let contenders = std::iter::once(model).chain(&table.models);
    let session = Judge::session();
    let judges = contenders.map(|c| Judge::open(c, &session)).collect::<Result<Vec<_>>>()?;
    if let Some(twin) = judges[1..].iter().find(|j| j.name == judges[0].name) {
        return Err(Error::Data(format!("two models are called `{}`: give one of them another name", twin.name)));
    }
    let kept = run.map(RunFolder::scores);
    if let Some(folder) = &kept {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let mut bench = Bench {
        table,
        locators: Locators::new(table.face_model.as_deref())?,
        judges,
        run,
        log: run.map(Log::new).transpose()?,
        kept,
    };
    for judge in &bench.judges {
        let provider = format!("{:?}", judge.scorer.provider());
        let text = format!("{}: {} on {provider}", judge.name, judge.file);
        bench.say(
            &text,
            json!({"event": "evaluated_model", "model": judge.name, "file": judge.file, "provider": provider}),
        );
    }
    let mut digests = Digests::open(bench.kept.as_ref().map(|f| f.join("files.json")))?;
    let locator = bench.locators.digest();
    let sets = table.sets.iter().map(|s| Set::open(s, locator, &mut digests)).collect::<Result<Vec<_>>>()?;
    let evaluation = Evaluation {
        schema_version: SCHEMA_VERSION,
        bootstrap: table.bootstrap,
        models: bench.judges.iter().map(model_record).collect(),
        sets: sets.iter().map(set_record).collect(),
        results: Vec::new(),
        comparisons: Vec::new(),
    };
    let mut found = Evaluated { evaluation, scores: Vec::new() };
    for set in &sets {
        bench.measure(set, &mut found)?;
    }
    if let Some(run) = run {
        found.evaluation.write(&run.evaluation())?;
    }
    Ok(found)
}

/// Everything that sets are measured with.
struct Bench<'a> {
    table: &'a Evaluate,
    judges: Vec<Judge>,
    locators: Locators,
    run: Option<&'a RunFolder>,
    log: Option<Log>,
    kept: Option<PathBuf>,
}

impl Bench<'_> {
    fn say(&self, text: &str, record: serde_json::Value) {
        match &self.log {
            Some(log) => log.say(text, record),
            None => tracing::info!("{text}"),
        }
    }

    fn measure(&mut self, set: &Set, found: &mut Evaluated) -> Result<()> {
        for condition in Condition::all(set.said.robustness) {
            let begun = Instant::now();
            let sources = if condition.is_clean() { 0 } else { self.table.robustness_sources };
            let items = set.some(sources);
            let mut ledgers = Vec::with_capacity(self.judges.len());
            for judge in &self.judges {
                let key = Key { model: judge.digest.clone(), set: set.digest.clone(), condition: condition.name() };
                ledgers.push(Ledger::open(self.kept.as_deref(), &key, set.items.len())?);
            }
            let missing = items.iter().filter(|i| ledgers.iter().any(|l| l.get(**i).is_none())).count();
            let bar = log::bar(missing, "scoring").with_message(format!("{}, {}", set.said.name, condition.name()));
            score(set, &items, condition, &mut self.judges, &mut ledgers, &self.locators, &bar)?;
            bar.finish_and_clear();
            let mut samples: Vec<(Vec<Scored>, Samples)> = Vec::with_capacity(self.judges.len());
            for (which, ledger) in ledgers.iter().enumerate() {
                let (scores, failed) = scored(ledger, &items)?;
                self.tell_failures(set, condition, ledger, &items, scores.len(), failed)?;
                if scores.is_empty() && !condition.is_clean() {
                    // Made so bad that no face is found: that is an outcome, and the others are still to come.
                    let text = format!("{}, {}: nothing can be scored any more", set.said.name, condition.name());
                    self.say(
                        &text,
                        json!({"event": "nothing_scored", "set": set.said.name, "condition": condition.name()}),
                    );
                    continue;
                }
                let keys = self.judges[which].scorer.contract().score.clone();
                let sample = Samples::new(set, &scores, &keys)?;
                let mut result = self.result(set, which, condition.record()?, &sample, failed);
                if condition.is_clean() {
                    let mut drawn = drawn(&sample, &keys);
                    if which == 0 {
                        let folder = self.run.map(RunFolder::path);
                        let judge = &mut self.judges[0];
                        drawn.mistakes =
                            mistakes::mistakes(set, judge, &scores, self.table.mistakes, &self.locators, folder)?;
                    }
                    result.drawn = Some(drawn);
                    found.scores.extend(rows(set, &result.model, &scores, &sample));
                }
                let auc =
                    |l: &Level| l.figures.auc.map_or_else(|| "none (one class only)".to_owned(), |f| f.to_string());
                let text = format!(
                    "{} on {}, {}: AUC of frames {}, of videos {}",
                    result.model,
                    result.set,
                    condition.name(),
                    auc(&result.frame),
                    auc(&result.video)
                );
                let record = json!({
                    "event": "evaluated", "model": result.model, "set": result.set, "condition": condition.name(),
                    "computed": missing, "failed": failed, "frame": result.frame, "video": result.video,
                    "seconds": begun.elapsed().as_secs_f64(),
                });
                self.say(&text, record);
                found.evaluation.results.push(result);
                samples.push((scores, sample));
                if condition.is_clean() && set.said.robustness {
                    // What the distorted ones are held against: the same sources as they are.
                    let some = set.some(self.table.robustness_sources);
                    let (scores, failed) = scored(ledger, &some)?;
                    let sample = Samples::new(set, &scores, &keys)?;
                    found.evaluation.results.push(self.result(set, which, Some(Distorted::none()), &sample, failed));
                }
            }
            if condition.is_clean() {
                self.compare(set, &samples, &mut found.evaluation)?;
            }
        }
        Ok(())
    }

    /// Counts and figures of a model on a set.
    fn result(
        &self,
        set: &Set,
        which: usize,
        distortion: Option<Distorted>,
        sample: &Samples,
        failed: usize,
    ) -> SetResult {
        SetResult {
            model: self.judges[which].name.clone(),
            set: set.said.name.clone(),
            distortion,
            sources: sample.sources,
            failed,
            frame: table::level(&sample.frame, self.table.bootstrap),
            video: table::level(&sample.video, self.table.bootstrap),
            drawn: None,
        }
    }

    fn tell_failures(
        &self,
        set: &Set,
        condition: Condition,
        ledger: &Ledger,
        items: &[usize],
        scored: usize,
        failed: usize,
    ) -> Result<()> {
        if failed == 0 {
            return Ok(());
        }
        let reasons = items.iter().filter_map(|&i| Some((i, ledger.get(i)?)));
        for (item, shot) in reasons.flat_map(|(i, e)| e.shots.iter().map(move |s| (i, s))) {
            if let Some(why) = &shot.why {
                tracing::debug!("{}, frame {}: {why}", set.items[item].path.display(), shot.frame);
            }
        }
        let first = items.iter().find_map(|&i| {
            let why = ledger.get(i)?.shots.iter().find_map(|s| s.why.as_ref())?;
            Some(format!("{}: {why}", set.items[i].path.display()))
        });
        let text = format!(
            "{failed} of {} pictures of `{}` ({}) have no score, the first is {}",
            failed + scored,
            set.said.name,
            condition.name(),
            first.unwrap_or_default()
        );
        if condition.is_clean() && failed as f64 > self.table.max_failed * (failed + scored) as f64 {
            let most = self.table.max_failed;
            return Err(Error::Data(format!("{text}; that is more than `evaluate.max_failed` = {most}")));
        }
        tracing::warn!("{text}");
        Ok(())
    }

    /// The first model against each of the others, on what both have scored.
    fn compare(&self, set: &Set, samples: &[(Vec<Scored>, Samples)], evaluation: &mut Evaluation) -> Result<()> {
        let Some(((first, _), others)) = samples.split_first() else { return Ok(()) };
        for ((other, _), judge) in others.iter().zip(&self.judges[1..]) {
            let places = |scores: &[Scored]| scores.iter().map(|s| (s.item, s.frame)).collect::<BTreeSet<_>>();
            let (a, b) = (places(first), places(other));
            let both = |scores: &[Scored]| -> Vec<Scored> {
                scores
                    .iter()
                    .filter(|s| a.contains(&(s.item, s.frame)) && b.contains(&(s.item, s.frame)))
                    .copied()
                    .collect()
            };
            let keys = ScoreKeys::default();
            let (first, other) = (Samples::new(set, &both(first), &keys)?, Samples::new(set, &both(other), &keys)?);
            let comparison = Comparison {
                set: set.said.name.clone(),
                model: self.judges[0].name.clone(),
                against: judge.name.clone(),
                frames: first.frame.units().len(),
                sources: first.sources,
                frame: first.frame.difference(&other.frame, self.table.bootstrap),
                video: first.video.difference(&other.video, self.table.bootstrap),
            };
            if let Some(d) = &comparison.frame {
                let text = format!(
                    "{} minus {} on {}: AUC of frames {}",
                    comparison.model, comparison.against, comparison.set, d.auc
                );
                self.say(&text, json!({"event": "compared", "comparison": comparison}));
            }
            evaluation.comparisons.push(comparison);
        }
        Ok(())
    }
}

fn model_record(judge: &Judge) -> ModelRecord {
    let contract = judge.scorer.contract();
    let spec = judge.scorer.spec();
    ModelRecord {
        name: judge.name.clone(),
        file: judge.file.clone(),
        bytes: judge.bytes,
        sha256: judge.scorer.model().sha256().to_owned(),
        input: [spec.width, spec.height],
        map: judge.scorer.map_size().map(|(w, h)| [w, h]),
        crop: contract.crop.clone(),
        score: contract.score.clone(),
        provenance: contract.provenance.clone(),
    }
}

fn set_record(set: &Set) -> SetRecord {
    SetRecord {
        name: set.said.name.clone(),
        kind: set.said.kind,
        sha256: set.digest.clone(),
        real: set.count(Label::Real),
        fake: set.count(Label::Fake),
        sources: set.sources().1,
    }
}

fn rows<'a>(
    set: &'a Set,
    model: &'a str,
    scores: &'a [Scored],
    samples: &'a Samples,
) -> impl Iterator<Item = Row> + 'a {
    scores.iter().zip(samples.frame.probabilities()).map(move |(s, &score)| {
        let face = &set.items[s.item];
        Row {
            model: model.to_owned(),
            set: set.said.name.clone(),
            path: face.path.display().to_string(),
            frame: s.frame,
            source: face.source.clone(),
            video: face.video.clone(),
            fake: face.label == Label::Fake,
            logit: s.logit,
            score,
        }
    })
}

/// Curves and diagrams, without mistakes.
fn drawn(samples: &Samples, keys: &ScoreKeys) -> Drawn {
    let columns = |sample: &figures::Sample| -> (Vec<f64>, Vec<bool>) {
        sample.units().iter().map(|u| (u.logit, u.fake)).unzip()
    };
    let curve = |sample: &figures::Sample| {
        let (logits, fake) = columns(sample);
        thinned(&roc(&logits, &fake).unwrap_or_default())
    };
    let (logits, fake) = columns(&samples.frame);
    let both = fake.contains(&true) && fake.contains(&false);
    let mut histograms = [vec![0; HISTOGRAM_BINS], vec![0; HISTOGRAM_BINS]];
    for (&p, &fake) in samples.frame.probabilities().iter().zip(&fake) {
        histograms[usize::from(fake)][bin_of(p, HISTOGRAM_BINS)] += 1;
    }
    let [histogram_real, histogram_fake] = histograms;
    Drawn {
        roc_frame: curve(&samples.frame),
        roc_video: curve(&samples.video),
        reliability: both.then(|| Reliability::new(&logits, &fake, f64::from(keys.temperature))).flatten(),
        histogram_real,
        histogram_fake,
        mistakes: Vec::new(),
    }
}

/// A curve with at most [`ROC_POINTS`] points: the last one of each equal stretch of the way from (0, 0) to (1, 1).
fn thinned(points: &[RocPoint]) -> Vec<[f64; 2]> {
    let stretch = |p: &RocPoint| ((p.false_positives + p.true_positives) / 2.0 * (ROC_POINTS - 2) as f64) as usize;
    let kept = points
        .iter()
        .enumerate()
        .filter(|(i, p)| *i == 0 || points.get(i + 1).is_none_or(|next| stretch(next) != stretch(p)));
    kept.map(|(_, p)| [p.false_positives, p.true_positives]).collect()
}

/// Writes every score as CSV.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write_scores(path: &Path, scores: &[Row]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in scores {
        writer.serialize(row).map_err(|e| Error::Data(e.to_string()))?;
    }
    write_atomically(path, &writer.into_inner().map_err(|e| Error::Data(e.to_string()))?)
}
