//! Figures with intervals, by resampling source videos.
//!
//! A real video and the fakes made of it are not independent, nor are the frames of one video. So whole *source videos* are drawn,
//! with replacement, and everything that came from a source (real and fake, all videos, all frames) comes with it each time it is
//! drawn. Intervals are the 2.5th and 97.5th percentile of what the draws give (Efron's percentile bootstrap). The draws depend on
//! the number of sources only, so that two models on the same faces see the same draws: their differences are paired.

use deepfake_scoring::contract::ScoreKeys;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::metrics::{self, BINS, Ranking, bin_of, sigmoid};
use crate::seeded;

/// A figure with the interval in which it lies at 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Of all units.
    pub value: f64,
    /// 2.5th and 97.5th percentile; `None` where there are too few source videos to draw from.
    pub interval: Option<[f64; 2]>,
}

impl Figure {
    /// Whether the interval holds `value`; `None` where there is no interval.
    pub fn may_be(&self, value: f64) -> Option<bool> {
        self.interval.map(|[low, high]| (low..=high).contains(&value))
    }
}

/// All figures of one level; `None` where a class that a figure needs is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures<T> {
    /// Area under the ROC curve.
    pub auc: Option<T>,
    /// Equal error rate.
    pub eer: Option<T>,
    /// Accuracy at a logit of 0, which is a probability of 0.5 at every temperature.
    pub accuracy: Option<T>,
    /// Average precision, of fakes.
    pub average_precision: Option<T>,
    /// Expected calibration error of the calibrated probabilities, 15 bins.
    pub calibration_error: Option<T>,
    /// Share of the real ones at or above the model's `score.fake_above`.
    pub false_alarms: Option<T>,
    /// Share of the fakes at or above it.
    pub detected: Option<T>,
    /// Share of the fakes at or below the model's `score.real_below`.
    pub misses: Option<T>,
}

impl<T: Copy> Figures<T> {
    /// In their order, each with its name.
    pub fn named(&self) -> [(&'static str, Option<T>); 8] {
        [
            ("AUC", self.auc),
            ("EER", self.eer),
            ("accuracy at 0.5", self.accuracy),
            ("average precision", self.average_precision),
            ("calibration error", self.calibration_error),
            ("real called fake", self.false_alarms),
            ("fake called fake", self.detected),
            ("fake called real", self.misses),
        ]
    }

    fn each(&self) -> [Option<T>; 8] {
        self.named().map(|(_, v)| v)
    }

    fn of(
        [auc, eer, accuracy, average_precision, calibration_error, false_alarms, detected, misses]: [Option<T>; 8],
    ) -> Self {
        Self { auc, eer, accuracy, average_precision, calibration_error, false_alarms, detected, misses }
    }
}

/// The AUC of one model minus that of another on the same units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Positive where the first is better.
    pub auc: Figure,
    /// Share of the draws in which the first is better, equal ones counting half.
    pub better: f64,
}

impl Difference {
    /// Of a value and what `rounds` draws over `sources` source videos gave.
    pub(crate) fn of(value: f64, drawn: Vec<f64>, rounds: usize, sources: usize) -> Self {
        let wins = |d: &f64| if *d > 0.0 { 1.0 } else { f64::from(u8::from(*d == 0.0)) / 2.0 };
        let better = drawn.iter().map(wins).sum::<f64>() / drawn.len().max(1) as f64;
        Self { auc: Figure { value, interval: interval(drawn, rounds, sources) }, better }
    }
}

/// What is judged as one: a face, or all faces of a video.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Of fake, uncalibrated.
    pub logit: f64,
    /// Whether it is one.
    pub fake: bool,
    /// Number of the source video, from 0.
    pub source: usize,
}

/// Units with what need not be worked out anew at each draw.
#[derive(Clone, Debug)]
pub struct Sample {
    units: Vec<Unit>,
    sources: usize,
    ranking: Ranking,
    probability: Vec<f64>,
    score: ScoreKeys,
}

impl Sample {
    /// Of units whose sources are below `sources`; `None` where a logit is not a number.
    pub fn new(units: Vec<Unit>, sources: usize, score: &ScoreKeys) -> Option<Self> {
        let logits: Vec<f64> = units.iter().map(|u| u.logit).collect();
        let fake: Vec<bool> = units.iter().map(|u| u.fake).collect();
        let ranking = Ranking::new(&logits, &fake)?;
        let temperature = f64::from(score.temperature);
        let probability = logits.iter().map(|z| sigmoid(z / temperature)).collect();
        Some(Self { units, sources, ranking, probability, score: score.clone() })
    }

    /// The units, as they were given.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Calibrated probabilities of fake, one a unit.
    pub fn probabilities(&self) -> &[f64] {
        &self.probability
    }

    /// All figures with their intervals by `rounds` draws.
    pub fn figures(&self, rounds: usize) -> Figures<Figure> {
        let values = self.weighted(|_| 1.0).each();
        let drawn: Vec<[Option<f64>; 8]> = (0..rounds)
            .into_par_iter()
            .map(|round| {
                let counts = draw(round, self.sources);
                self.weighted(|source| f64::from(counts[source])).each()
            })
            .collect();
        Figures::of(std::array::from_fn(|i| {
            let value = values[i]?;
            Some(Figure {
                value,
                interval: interval(drawn.iter().filter_map(|d| d[i]).collect(), rounds, self.sources),
            })
        }))
    }

    /// How much better this is than `other`, whose units are the same ones scored by another model, by `rounds` draws; `None`
    /// where a class is missing or the units are not the same.
    pub fn difference(&self, other: &Self, rounds: usize) -> Option<Difference> {
        let same = self.units.len() == other.units.len()
            && self.units.iter().zip(&other.units).all(|(a, b)| (a.fake, a.source) == (b.fake, b.source));
        if !same {
            return None;
        }
        let gap = |weight: &(dyn Fn(usize) -> f64 + Sync)| Some(self.auc(weight)? - other.auc(weight)?);
        let value = gap(&|_| 1.0)?;
        let drawn: Vec<f64> = (0..rounds)
            .into_par_iter()
            .filter_map(|round| {
                let counts = draw(round, self.sources);
                gap(&|source| f64::from(counts[source]))
            })
            .collect();
        Some(Difference::of(value, drawn, rounds, self.sources))
    }

    fn auc(&self, weight: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        Some(self.ranking.areas(|i| weight(self.units[i].source))?.auc)
    }

    /// Figures with each source counted as often as `weight` says.
    fn weighted(&self, weight: impl Fn(usize) -> f64) -> Figures<f64> {
        let (fake_above, real_below) = (f64::from(self.score.fake_above), f64::from(self.score.real_below));
        let (mut reals, mut fakes, mut right, mut alarms, mut detected, mut misses) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        let mut bins = [0.0; BINS];
        for (unit, &p) in self.units.iter().zip(&self.probability) {
            let w = weight(unit.source);
            if unit.fake {
                fakes += w;
                detected += if p >= fake_above { w } else { 0.0 };
                misses += if p <= real_below { w } else { 0.0 };
            } else {
                reals += w;
                alarms += if p >= fake_above { w } else { 0.0 };
            }
            right += if (unit.logit >= 0.0) == unit.fake { w } else { 0.0 };
            bins[bin_of(p, BINS)] += w * (p - f64::from(u8::from(unit.fake)));
        }
        let share = |part: f64, of: f64| (of > 0.0).then(|| part / of);
        let areas = self.ranking.areas(|i| weight(self.units[i].source));
        Figures {
            auc: areas.map(|a| a.auc),
            eer: areas.map(|a| a.eer),
            accuracy: share(right, reals + fakes),
            average_precision: areas.map(|a| a.average_precision),
            calibration_error: areas.and(share(bins.iter().map(|b| b.abs()).sum(), reals + fakes)),
            false_alarms: share(alarms, reals),
            detected: share(detected, fakes),
            misses: share(misses, fakes),
        }
    }
}

/// How often each of `sources` source videos is drawn in that round.
fn draw(round: usize, sources: usize) -> Vec<u32> {
    let mut rng = seeded::generator(0, "bootstrap", &[round as u64]);
    let mut counts = vec![0; sources];
    for _ in 0..sources {
        counts[rng.random_range(0..sources)] += 1;
    }
    counts
}

/// With a single source every draw is the same, which is no interval; and where most draws lack a class, what is left is no
/// sample of anything.
pub(crate) fn interval(mut drawn: Vec<f64>, rounds: usize, sources: usize) -> Option<[f64; 2]> {
    if sources < 2 || drawn.len() * 2 < rounds {
        return None;
    }
    drawn.sort_by(f64::total_cmp);
    Some([metrics::percentile(&drawn, 0.025)?, metrics::percentile(&drawn, 0.975)?])
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the sign of a zero that was rounded.
        let plain = |v: f64| if v.abs() < 5e-4 { 0.0 } else { v };
        match self.interval {
            Some([low, high]) => write!(f, "{:.3} [{:.3}, {:.3}]", plain(self.value), plain(low), plain(high)),
            None => write!(f, "{:.3} [no interval]", plain(self.value)),
        }
    }
}
