//! How small a difference an experiment can show, worked out before it is run.

use serde::{Deserialize, Serialize};

/// What is taken for granted before anything is measured.
const AUC: f64 = 0.7;
/// Correlation between the AUCs of two arms over draws of the same faces.
const CORRELATION: f64 = 0.5;
/// Standard deviation of an arm's AUC from seed to seed.
const SEED_DEVIATION: f64 = 0.01;
/// Quantiles of the normal distribution: 2.5 % on each side, and 80 % power.
const QUANTILES: f64 = 1.96 + 0.84;

/// The least difference of AUC that is found in four of five experiments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// By the faces, each taken as independent of the others.
    pub faces: f64,
    /// By the videos: what stands where faces of a video are alike.
    pub videos: f64,
}

/// The standard error of an AUC with so many real and fake ones: Hanley and McNeil, "The meaning and use of the area under a receiver
/// operating characteristic (ROC) curve", Radiology 143 (1982).
pub fn standard_error(auc: f64, [real, fake]: [usize; 2]) -> f64 {
    let (q1, q2) = (auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc));
    let (real, fake) = (real.max(1) as f64, fake.max(1) as f64);
    let square = auc * (1.0 - auc) + (fake - 1.0) * (q1 - auc * auc) + (real - 1.0) * (q2 - auc * auc);
    (square / (real * fake)).sqrt()
}

/// With so many seeds. It supposes an AUC of 0.7, a correlation of 0.5 between the arms over draws of faces, and a deviation of 0.01 from
/// seed to seed; the interval is two-sided, 95 %.
pub fn least_difference(units: [usize; 2], seeds: usize) -> f64 {
    let faces = standard_error(AUC, units).powi(2) * 2.0 * (1.0 - CORRELATION);
    let seeds = 2.0 * SEED_DEVIATION.powi(2) / seeds.max(1) as f64;
    QUANTILES * (faces + seeds).sqrt()
}

/// What [`least_difference`] supposes, in words.
pub fn supposed() -> String {
    format!(
        "an AUC of {AUC}, a correlation of {CORRELATION} between two arms over draws of the same faces (or videos), a deviation of {SEED_DEVIATION} from seed to seed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_that_of_hanley_and_mcneil() {
        // By hand, of the paper's formula: Q1 = 0.7 / 1.3, Q2 = 0.98 / 1.7, (0.21 + 749 (Q1 - 0.49) + 749 (Q2 - 0.49)) / 750^2.
        assert!((standard_error(0.7, [750, 750]) - 0.013_418).abs() < 1e-6, "{}", standard_error(0.7, [750, 750]));
        // A perfect ranking has none.
        assert!(standard_error(1.0, [10, 10]) < 1e-12);
    }

    #[test]
    fn more_faces_and_more_seeds_show_smaller_differences() {
        let of = least_difference;
        assert!(of([750, 750], 3) < of([75, 75], 3) && of([750, 750], 10) < of([750, 750], 3));
    }
}
