//! Medians of rounds, and how sure they are.

use rand::RngExt;

/// The median.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}

/// The median with its 95 % interval, by bootstrap over the rounds.
pub(crate) fn interval(values: &[f64]) -> (f64, [f64; 2]) {
    let mut rng = deepfake_trainer::seeded::generator(1, "bootstrap", &[]);
    let again: Vec<f64> = (0..2000)
        .map(|_| median(&(0..values.len()).map(|_| values[rng.random_range(0..values.len())]).collect::<Vec<_>>()))
        .collect();
    let mut sorted = again;
    sorted.sort_by(f64::total_cmp);
    (median(values), [sorted[49], sorted[1949]])
}
