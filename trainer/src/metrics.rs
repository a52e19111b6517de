//! How good scores are. Larger scores mean: more likely fake. `labels` say which faces are fake.

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
    let points = roc(scores, labels)?;
    let area = |w: &[RocPoint]| {
        (w[1].false_positives - w[0].false_positives) * (w[1].true_positives + w[0].true_positives) / 2.0
    };
    Some(points.windows(2).map(area).sum())
}

/// Equal error rate: where as many real faces are called fake as fakes are called real; linear between the curve's points.
pub fn eer(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let points = roc(scores, labels)?;
    // Misses minus false alarms: begins at 1, ends at -1, never rises.
    let gap = |p: &RocPoint| 1.0 - p.true_positives - p.false_positives;
    let at = points.iter().position(|p| gap(p) <= 0.0)?;
    let (a, b) = (&points[at.checked_sub(1)?], &points[at]);
    let t = gap(a) / (gap(a) - gap(b));
    Some(a.false_positives + t * (b.false_positives - a.false_positives))
}

/// Average precision: the sum over the different scores of precision times the recall gained, without interpolation.
pub fn average_precision(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let points = roc(scores, labels)?;
    let fakes = labels.iter().filter(|l| **l).count() as f64;
    let reals = labels.len() as f64 - fakes;
    let gained = |w: &[RocPoint]| {
        let (tp, fp) = (w[1].true_positives * fakes, w[1].false_positives * reals);
        (w[1].true_positives - w[0].true_positives) * tp / (tp + fp)
    };
    Some(points.windows(2).map(gained).sum())
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
    let mut sums = vec![(0.0, 0.0); bins];
    for (&p, &label) in probabilities.iter().zip(labels) {
        let bin = ((p * bins as f64) as usize).min(bins - 1);
        sums[bin].0 += p;
        sums[bin].1 += f64::from(u8::from(label));
    }
    Some(sums.iter().map(|(p, l)| (p - l).abs()).sum::<f64>() / labels.len() as f64)
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
