//! How good an ONNX file is, through the engine that the plugin runs.

use std::collections::BTreeMap;
use std::path::Path;

use deepfake_scoring::contract::Crop;
use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::Locator;
use deepfake_scoring::score::Scorer;
use indicatif::ProgressBar;
use rand::RngExt;
use serde::Serialize;

use crate::checkpoint::write_atomically;
use crate::data::{Face, Label, Picture};
use crate::error::{Error, Result};
use crate::margin::largest;
use crate::{metrics, seeded};

/// Crops that are scored in one run of the model.
const BATCH: usize = 16;

/// Bins of the calibration error.
const BINS: usize = 15;

/// The score of one face.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// The file.
    pub path: String,
    /// Name of the video that it comes from.
    pub source: String,
    /// Whether it is one.
    pub fake: bool,
    /// Of fake, uncalibrated.
    pub logit: f64,
    /// Of fake, calibrated.
    pub probability: f64,
}

/// A figure with the interval in which it lies at 95 %, by bootstrap over source videos.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Over all faces.
    pub value: f64,
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// How good a model is on a set of faces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// SHA-256 of the model's file.
    pub model: String,
    /// Real faces.
    pub real: usize,
    /// Fakes.
    pub fake: usize,
    /// Source videos.
    pub sources: usize,
    /// Faces that could not be read or scored.
    pub failed: usize,
    /// Area under the ROC curve.
    pub auc: Figure,
    /// Equal error rate.
    pub eer: Figure,
    /// Accuracy at a calibrated probability of 0.5.
    pub accuracy: Figure,
    /// Average precision, of fakes.
    pub average_precision: Figure,
    /// Expected calibration error, 15 bins.
    pub calibration_error: Figure,
    /// Share of the real faces at or above the model's `score.fake_above`.
    pub false_alarms: Figure,
    /// Share of the fakes at or above it.
    pub detected: Figure,
}

/// Which part of a picture is the face.
#[derive(Debug)]
pub enum Region<'a> {
    /// All of it: the pictures are face crops.
    Whole,
    /// As the model's contract says, around the largest face that is found.
    Located(&'a mut Locator),
}

impl Region<'_> {
    fn of(&mut self, frame: &FrameView<'_>, crop: &Crop) -> Result<Rect> {
        let whole = Rect::new(0.0, 0.0, frame.width() as f32, frame.height() as f32);
        let Self::Located(locator) = self else {
            return Ok(whole);
        };
        let mut faces = Vec::new();
        locator.locate(frame, &mut faces)?;
        let face = largest(&faces, &whole).ok_or_else(|| Error::Data("no face is found in it".to_owned()))?;
        Ok(crop.region(&face))
    }
}

/// Scores pictures. Returns the scores and how many pictures failed; each of these is logged.
///
/// # Errors
///
/// When the model fails to run, or more than `max_failed` of the pictures fail.
pub fn score(
    scorer: &mut Scorer,
    faces: &[Face],
    mut region: Region<'_>,
    max_failed: f64,
    bar: &ProgressBar,
) -> Result<(Vec<Scored>, usize)> {
    let spec = *scorer.spec();
    let temperature = f64::from(scorer.contract().score.temperature);
    let crop = scorer.contract().crop.clone();
    let mut cropper = Cropper::default();
    let mut scored = Vec::with_capacity(faces.len());
    for chunk in faces.chunks(BATCH) {
        let mut cut = Vec::with_capacity(chunk.len());
        for face in chunk {
            bar.inc(1);
            let place = scorer.crop_mut(cut.len());
            let result = Picture::read(&face.path).and_then(|p| {
                let frame = FrameView::rgb(p.width, p.height, &p.data)?;
                Ok(cropper.crop(&frame, &region.of(&frame, &crop)?, &spec, place)?)
            });
            match result {
                Ok(()) => cut.push(face),
                Err(error) => bar.suspend(|| tracing::warn!("left out: {}: {error}", face.path.display())),
            }
        }
        scorer.run(cut.len(), None)?;
        for (i, face) in cut.into_iter().enumerate() {
            match scorer.evidence(i) {
                Ok(evidence) => {
                    let logit = f64::from(evidence.logit);
                    scored.push(Scored {
                        path: face.path.display().to_string(),
                        source: face.source.clone(),
                        fake: face.label == Label::Fake,
                        logit,
                        probability: metrics::sigmoid(logit / temperature),
                    });
                }
                Err(why) => bar.suspend(|| tracing::warn!("{}: not scored: {}", face.path.display(), why.name())),
            }
        }
    }
    let failed = faces.len() - scored.len();
    if failed > 0 {
        tracing::warn!("{failed} of {} pictures have no score", faces.len());
    }
    if failed as f64 > max_failed * faces.len() as f64 {
        return Err(Error::Data(format!("{failed} of {} pictures have no score", faces.len())));
    }
    Ok((scored, failed))
}

/// Figures with intervals from `rounds` resamplings of the source videos.
///
/// # Errors
///
/// A class without a face.
pub fn report(scorer: &Scorer, scored: &[Scored], failed: usize, rounds: usize) -> Result<Report> {
    let mut sources: BTreeMap<&str, Vec<&Scored>> = BTreeMap::new();
    for s in scored {
        sources.entry(&s.source).or_default().push(s);
    }
    let sources: Vec<_> = sources.into_values().collect();
    let fake_above = f64::from(scorer.contract().score.fake_above);
    let all: Vec<&Scored> = scored.iter().collect();
    let values = figures(&all, fake_above)
        .ok_or_else(|| Error::Data("an evaluation needs scores of real and of fake faces".to_owned()))?;
    let mut rng = seeded::generator(0, "bootstrap", &[]);
    let mut drawn: Vec<Figures> = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let sample: Vec<&Scored> =
            (0..sources.len()).flat_map(|_| &sources[rng.random_range(0..sources.len())]).copied().collect();
        // A sample without one of the classes has no figures; with a handful of sources that happens.
        drawn.extend(figures(&sample, fake_above));
    }
    let figure = |of: fn(&Figures) -> f64| {
        let mut values_drawn: Vec<f64> = drawn.iter().map(of).collect();
        values_drawn.sort_by(f64::total_cmp);
        let bound = |share| metrics::percentile(&values_drawn, share).unwrap_or(f64::NAN);
        Figure { value: of(&values), low: bound(0.025), high: bound(0.975) }
    };
    let fake = scored.iter().filter(|s| s.fake).count();
    Ok(Report {
        model: scorer.model().sha256().to_owned(),
        real: scored.len() - fake,
        fake,
        sources: sources.len(),
        failed,
        auc: figure(|f| f.auc),
        eer: figure(|f| f.eer),
        accuracy: figure(|f| f.accuracy),
        average_precision: figure(|f| f.average_precision),
        calibration_error: figure(|f| f.calibration_error),
        false_alarms: figure(|f| f.false_alarms),
        detected: figure(|f| f.detected),
    })
}

struct Figures {
    auc: f64,
    eer: f64,
    accuracy: f64,
    average_precision: f64,
    calibration_error: f64,
    false_alarms: f64,
    detected: f64,
}

fn figures(scored: &[&Scored], fake_above: f64) -> Option<Figures> {
    let logits: Vec<f64> = scored.iter().map(|s| s.logit).collect();
    let probabilities: Vec<f64> = scored.iter().map(|s| s.probability).collect();
    let fake: Vec<bool> = scored.iter().map(|s| s.fake).collect();
    let above = |class: bool| {
        let of: Vec<_> = scored.iter().filter(|s| s.fake == class).collect();
        of.iter().filter(|s| s.probability >= fake_above).count() as f64 / of.len() as f64
    };
    Some(Figures {
        auc: metrics::auc(&logits, &fake)?,
        eer: metrics::eer(&logits, &fake)?,
        accuracy: metrics::accuracy(&logits, &fake, 0.0)?,
        average_precision: metrics::average_precision(&logits, &fake)?,
        calibration_error: metrics::calibration_error(&probabilities, &fake, BINS)?,
        false_alarms: above(false),
        detected: above(true),
    })
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.4} [{:.4}, {:.4}]", self.value, self.low, self.high)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "model               sha256 {}", self.model)?;
        writeln!(
            f,
            "faces               {} real, {} fake, of {} source videos; {} without a score",
            self.real, self.fake, self.sources, self.failed
        )?;
        writeln!(f, "                    value [95 % interval, bootstrap over source videos]")?;
        writeln!(f, "AUC                 {}", self.auc)?;
        writeln!(f, "EER                 {}", self.eer)?;
        writeln!(f, "accuracy at 0.5     {}", self.accuracy)?;
        writeln!(f, "average precision   {}", self.average_precision)?;
        writeln!(f, "calibration error   {}", self.calibration_error)?;
        writeln!(f, "real above verdict  {}", self.false_alarms)?;
        write!(f, "fake above verdict  {}", self.detected)
    }
}

/// Writes scores to `path`: JSON where its name ends so (with the report), CSV otherwise.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write(path: &Path, report: &Report, scored: &[Scored]) -> Result<()> {
    let bytes = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        let all = serde_json::json!({ "report": report, "scores": scored });
        serde_json::to_vec_pretty(&all).map_err(|e| Error::Data(e.to_string()))?
    } else {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for s in scored {
            writer.serialize(s).map_err(|e| Error::Data(e.to_string()))?;
        }
        writer.into_inner().map_err(|e| Error::Data(e.to_string()))?
    };
    write_atomically(path, &bytes)
}
