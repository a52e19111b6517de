//! How good scores are. Larger scores mean: more likely fake. `labels` say which faces are fake.

use serde::{Deserialize, Serialize};

/// Bins of calibration errors and reliability diagrams, as usual in the field.
pub const BINS: usize = 15;

/// Logits beyond it are taken for it in means, as the engine does on a track.
const MAX_LOGIT: f64 = deepfake_scoring::verdict::MAX_LOGIT as f64;

/// A point of the ROC curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// Scores from here on count as fake; the first point, infinity, calls nothing fake.
    pub threshold: f64,
    /// Share of the real faces called fake.
    pub false_positives: f64,
    /// Share of the fakes called fake.
    pub true_positives: f64,
}

/// The ROC curve from (0, 0) to (1, 1), one point for every different score; `None` where a class is missing or a score is not
/// a number.
pub fn roc(scores: &[f64], labels: &[bool]) -> Option<Vec<RocPoint>> {
    let fakes = labels.iter().filter(|l| **l).count();
    let reals = labels.len() - fakes;
    if fakes == 0 || reals == 0 || scores.len() != labels.len() || scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut points = vec![RocPoint { threshold: f64::INFINITY, false_positives: 0.0, true_positives: 0.0 }];
    let (mut fp, mut tp) = (0usize, 0usize);
    for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let hits = group.iter().filter(|&&i| labels[i]).count();
        tp += hits;
        fp += group.len() - hits;
        points.push(RocPoint {
            threshold: scores[group[0]],
            false_positives: fp as f64 / reals as f64,
            true_positives: tp as f64 / fakes as f64,
        });
    }
    Some(points)
}

/// Area under the ROC curve: the probability that a fake scores above a real face, ties counting half.
pub fn auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    Some(Ranking::new(scores, labels)?.areas(|_| 1.0)?.auc)
}

/// Equal error rate: where as many real faces are called fake as fakes are called real; linear between the curve's points.
pub fn eer(scores: &[f64], labels: &[bool]) -> Option<f64> {
    Some(Ranking::new(scores, labels)?.areas(|_| 1.0)?.eer)
}

/// Average precision: the sum over the different scores of precision times the recall gained, without interpolation.
pub fn average_precision(scores: &[f64], labels: &[bool]) -> Option<f64> {
    Some(Ranking::new(scores, labels)?.areas(|_| 1.0)?.average_precision)
}

/// Scores in their order, sorted once for any number of weightings: a resampling of faces is a weighting by how often each was
/// drawn.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// Indices of the scores, the highest first.
    order: Vec<u32>,
    /// Where in `order` each run of equal scores ends.
    ends: Vec<u32>,
    /// Of the faces in `order`.
    fake: Vec<bool>,
}

/// What the ROC and the precision-recall curve come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Areas {
    /// See [`auc`].
    pub auc: f64,
    /// See [`eer`].
    pub eer: f64,
    /// See [`average_precision`].
    pub average_precision: f64,
}

impl Ranking {
    /// `None` where a score is not a number or there is not one label a score.
    pub fn new(scores: &[f64], labels: &[bool]) -> Option<Self> {
        if scores.len() != labels.len() || scores.iter().any(|s| s.is_nan()) {
            return None;
        }
        let mut order: Vec<u32> = (0..u32::try_from(scores.len()).ok()?).collect();
        let at = |i: u32| scores[i as usize];
        order.sort_by(|&a, &b| at(b).total_cmp(&at(a)));
        let mut ends = Vec::new();
        for group in order.chunk_by(|&a, &b| at(a) == at(b)) {
            ends.push(ends.last().copied().unwrap_or(0) + group.len() as u32);
        }
        let fake = order.iter().map(|&i| labels[i as usize]).collect();
        Some(Self { order, ends, fake })
    }

    /// With each face counted as often as `weight` of its index says; `None` where a class has no weight.
    pub fn areas(&self, weight: impl Fn(usize) -> f64) -> Option<Areas> {
        let (mut reals, mut fakes) = (0.0, 0.0);
        for (&i, &fake) in self.order.iter().zip(&self.fake) {
            *(if fake { &mut fakes } else { &mut reals }) += weight(i as usize);
        }
        if reals <= 0.0 || fakes <= 0.0 {
            return None;
        }
        let (mut false_positives, mut true_positives) = (0.0, 0.0);
        let mut areas = Areas { auc: 0.0, eer: f64::NAN, average_precision: 0.0 };
        // Misses minus false alarms: begins at 1, ends at -1, never rises.
        let mut gap = 1.0;
        let mut first = 0;
        for &end in &self.ends {
            let (before_fp, before_tp, before) = (false_positives, true_positives, gap);
            for at in first..end as usize {
                let w = weight(self.order[at] as usize);
                *(if self.fake[at] { &mut true_positives } else { &mut false_positives }) += w;
            }
            first = end as usize;
            if false_positives + true_positives == before_fp + before_tp {
                continue;
            }
            areas.auc += (false_positives - before_fp) * (true_positives + before_tp) / 2.0;
            areas.average_precision +=
                (true_positives - before_tp) * true_positives / (true_positives + false_positives);
            gap = 1.0 - true_positives / fakes - false_positives / reals;
            if before > 0.0 && gap <= 0.0 {
                let t = before / (before - gap);
                areas.eer = (before_fp + t * (false_positives - before_fp)) / reals;
            }
        }
        areas.auc /= reals * fakes;
        areas.average_precision /= fakes;
        Some(areas)
    }
}

/// Share of faces on the right side of `threshold` (from it on: fake); `None` without a face.
pub fn accuracy(scores: &[f64], labels: &[bool], threshold: f64) -> Option<f64> {
    let right = scores.iter().zip(labels).filter(|(s, l)| (**s >= threshold) == **l).count();
    (!labels.is_empty()).then(|| right as f64 / labels.len() as f64)
}

/// Expected calibration error of probabilities: the mean over `bins` equal bins, weighted by their faces, of the distance between
/// mean probability and share of fakes; `None` without a face.
pub fn calibration_error(probabilities: &[f64], labels: &[bool], bins: usize) -> Option<f64> {
    if labels.is_empty() || bins == 0 {
        return None;
    }
    let distance = |b: &Bin| b.faces as f64 * (b.probability - b.fakes).abs();
    Some(reliability(probabilities, labels, bins).iter().map(distance).sum::<f64>() / labels.len() as f64)
}

/// A bin of a reliability diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// How many fall into it.
    pub faces: usize,
    /// Their mean probability; 0 where there are none.
    pub probability: f64,
    /// The share of fakes among them; 0 where there are none.
    pub fakes: f64,
}

/// What probabilities say against what is, in `bins` equal bins of [0, 1].
pub fn reliability(probabilities: &[f64], labels: &[bool], bins: usize) -> Vec<Bin> {
    let mut found = vec![Bin::default(); bins];
    for (&p, &label) in probabilities.iter().zip(labels) {
        let bin = &mut found[bin_of(p, bins)];
        bin.faces += 1;
        bin.probability += p;
        bin.fakes += f64::from(u8::from(label));
    }
    for bin in found.iter_mut().filter(|b| b.faces > 0) {
        bin.probability /= bin.faces as f64;
        bin.fakes /= bin.faces as f64;
    }
    found
}

/// The bin, of `bins` equal ones of [0, 1], that a probability falls into; each holds its lower edge, the last one also 1.
pub fn bin_of(probability: f64, bins: usize) -> usize {
    ((probability * bins as f64) as usize).min(bins.saturating_sub(1))
}

/// The scores of videos: the mean of the logits of each one's faces, as on a track of the element, and whether it is fake.
/// `videos` says which video a face is of; the result is in the order of those numbers, all of which below the largest must occur.
pub fn video_means(logits: &[f64], fake: &[bool], videos: &[usize]) -> (Vec<f64>, Vec<bool>) {
    let count = videos.iter().max().map_or(0, |v| v + 1);
    let (mut sums, mut faces, mut fakes) = (vec![0.0; count], vec![0.0; count], vec![false; count]);
    for ((&logit, &fake), &video) in logits.iter().zip(fake).zip(videos) {
        sums[video] += logit.clamp(-MAX_LOGIT, MAX_LOGIT);
        faces[video] += 1.0;
        fakes[video] = fake;
    }
    (sums.iter().zip(&faces).map(|(s, n)| s / n).collect(), fakes)
}

/// The probability that a logit means.
pub fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Mean negative logarithm of the likelihood of the labels under `sigmoid(logit / temperature)`.
pub fn log_loss(logits: &[f64], labels: &[bool], temperature: f64) -> Option<f64> {
    let loss = |(&z, &fake): (&f64, &bool)| {
        let z = if fake { -z } else { z } / temperature;
        // ln(1 + e^z) without overflow.
        z.max(0.0) + (-z.abs()).exp().ln_1p()
    };
    (!labels.is_empty()).then(|| logits.iter().zip(labels).map(loss).sum::<f64>() / labels.len() as f64)
}

/// The value below which that share of `sorted` lies, linear between neighbours; `None` where there is no value.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}
