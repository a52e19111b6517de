//! Temperature and thresholds, from faces that were not learned from.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, RunFolder};
use crate::config::{self, Level};
use crate::error::{Error, Result};
use crate::metrics::{BINS, Bin, calibration_error, log_loss, reliability, sigmoid, video_means};
use crate::{log::Log, train};

/// How scores become probabilities and verdicts, and on what that rests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Logits are divided by it.
    pub temperature: f64,
    /// Probabilities from here on speak for a fake.
    pub fake_above: f64,
    /// Probabilities up to here speak for a genuine face.
    pub real_below: f64,
    /// Share of the real faces that lie at or above `fake_above`.
    pub false_alarms: f64,
    /// Share of the fakes that lie at or below `real_below`.
    pub misses: f64,
    /// Real faces, or videos, that it rests on.
    pub real: usize,
    /// Fakes that it rests on.
    pub fake: usize,
    /// What was counted.
    #[serde(default)]
    pub level: Level,
    /// How far probabilities can be taken at their word.
    #[serde(default)]
    pub reliability: Option<Reliability>,
}

/// Reliability diagrams with temperature 1 and with the one found, of the faces that it was found on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reliability {
    /// With temperature 1.
    pub before: Vec<Bin>,
    /// With the temperature found.
    pub after: Vec<Bin>,
    /// Expected calibration error of `before`.
    pub error_before: f64,
    /// Expected calibration error of `after`.
    pub error_after: f64,
}

impl Reliability {
    /// Of logits that are divided by `temperature`; `None` where there is none.
    pub fn new(logits: &[f64], fake: &[bool], temperature: f64) -> Option<Self> {
        let at = |t: f64| -> Vec<f64> { logits.iter().map(|z| sigmoid(z / t)).collect() };
        let (before, after) = (at(1.0), at(temperature));
        Some(Self {
            error_before: calibration_error(&before, fake, BINS)?,
            error_after: calibration_error(&after, fake, BINS)?,
            before: reliability(&before, fake, BINS),
            after: reliability(&after, fake, BINS),
        })
    }
}

impl std::fmt::Display for Calibration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { temperature, fake_above, real_below, false_alarms, misses, real, fake, level, reliability } = self;
        let what = match level {
            Level::Face => "faces",
            Level::Video => "videos",
        };
        write!(
            f,
            "temperature {temperature:.4}, fake_above {fake_above:.4} (reaches {:.2} % of {real} real {what}), real_below \
             {real_below:.4} (reaches {:.2} % of {fake} fake {what})",
            100.0 * false_alarms,
            100.0 * misses
        )?;
        if let Some(Reliability { error_before, error_after, .. }) = reliability {
            write!(f, "; calibration error {error_before:.4} before, {error_after:.4} after")?;
        }
        Ok(())
    }
}

/// The temperature of the least log loss, and the thresholds closest to each other that keep the wished error rates.
///
/// # Errors
///
/// A class without a face, logits that are not finite, wishes outside of [0, 1).
pub fn calibrate(logits: &[f64], fake: &[bool], wish: &config::Calibrate) -> Result<Calibration> {
    if !logits.iter().all(|z| z.is_finite()) {
        return Err(Error::Data("there are logits that are not finite: nothing to calibrate".to_owned()));
    }
    wish.check()?;
    let temperature = temperature(logits, fake);
    let of = |class: bool| -> Vec<f64> {
        let mut p: Vec<f64> =
            logits.iter().zip(fake).filter(|(_, f)| **f == class).map(|(z, _)| sigmoid(z / temperature)).collect();
        p.sort_by(f64::total_cmp);
        p
    };
    let (real, fakes) = (of(false), of(true));
    if real.is_empty() || fakes.is_empty() {
        return Err(Error::Data("calibration needs real and fake faces".to_owned()));
    }
    // Between the highest face that must not pass and its neighbour that may.
    let may = (wish.false_alarms * real.len() as f64).floor() as usize;
    let last = real.len() - 1 - may;
    let mut fake_above = (real[last] + real.get(last + 1).copied().unwrap_or(1.0)) / 2.0;
    let may = (wish.misses * fakes.len() as f64).floor() as usize;
    let mut real_below = (fakes[may] + may.checked_sub(1).map_or(0.0, |i| fakes[i])) / 2.0;
    if real_below > fake_above {
        // The classes lie so far apart that nothing need stay undecided.
        fake_above = (fake_above + real_below) / 2.0;
        real_below = fake_above;
    }
    let share =
        |of: &[f64], test: &dyn Fn(f64) -> bool| of.iter().filter(|p| test(**p)).count() as f64 / of.len() as f64;
    Ok(Calibration {
        temperature,
        fake_above,
        real_below,
        false_alarms: share(&real, &|p| p >= fake_above),
        misses: share(&fakes, &|p| p <= real_below),
        real: real.len(),
        fake: fakes.len(),
        level: wish.level,
        reliability: Reliability::new(logits, fake, temperature),
    })
}

/// Calibrates a run on its validation split, as `wish` says or else its own configuration, and keeps the result in its folder.
///
/// # Errors
///
/// As [`calibrate`]; a run that cannot be read.
pub fn calibrate_run(folder: &RunFolder, wish: Option<&config::Calibrate>) -> Result<Calibration> {
    let validation = train::validation_of(folder)?;
    let own = checkpoint::read_config(folder)?.calibrate;
    let wish = wish.unwrap_or(&own);
    let found = match wish.level {
        Level::Face => calibrate(&validation.logits, &validation.fake, wish)?,
        Level::Video => {
            let (logits, fake) = video_means(&validation.logits, &validation.fake, &validation.videos);
            calibrate(&logits, &fake, wish)?
        }
    };
    folder.write_calibration(&found)?;
    let log = Log::new(folder)?;
    log.say(&format!("calibrated: {found}"), serde_json::json!({"event": "calibrated", "calibration": found}));
    Ok(found)
}

/// By golden section over its logarithm: the loss is convex in 1 / temperature and so has one minimum.
fn temperature(logits: &[f64], fake: &[bool]) -> f64 {
    let loss = |t: f64| log_loss(logits, fake, t.exp()).unwrap_or(0.0);
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-4.0f64, 4.0f64);
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut fa, mut fb) = (loss(a), loss(b));
    while high - low > 1e-6 {
        if fa <= fb {
            (high, b, fb) = (b, a, fa);
            a = high - ratio * (high - low);
            fa = loss(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + ratio * (high - low);
            fb = loss(b);
        }
    }
    ((low + high) / 2.0).exp()
}
