//! Metrics and calibration against scikit-learn (`golden/metrics.py`).

mod support;

use deepfake_trainer::calibrate::{Wish, calibrate};
use deepfake_trainer::metrics::{accuracy, auc, average_precision, calibration_error, eer, log_loss, roc, sigmoid};
use support::{golden, numbers};

#[test]
fn metrics_are_scikit_learns() {
    for case in golden("metrics.json").as_array().unwrap() {
        let logits = numbers(&case["logits"]);
        let fake: Vec<bool> = case["fake"].as_array().unwrap().iter().map(|v| v.as_bool().unwrap()).collect();
        let probabilities: Vec<f64> = logits.iter().map(|z| sigmoid(*z)).collect();
        for (what, ours) in [
            ("auc", auc(&logits, &fake)),
            ("eer", eer(&logits, &fake)),
            ("average_precision", average_precision(&logits, &fake)),
            ("accuracy", accuracy(&logits, &fake, 0.0)),
            ("calibration_error", calibration_error(&probabilities, &fake, 15)),
            ("log_loss", log_loss(&logits, &fake, 1.0)),
        ] {
            let theirs = case[what].as_f64().unwrap();
            let ours = ours.unwrap();
            assert!((ours - theirs).abs() < 1e-9, "{} of `{}`: {ours} and {theirs}", what, case["name"]);
        }
    }
}

#[test]
fn nothing_to_measure_is_no_figure() {
    assert!(roc(&[1.0, 2.0], &[true, true]).is_none());
    assert!(auc(&[1.0, f64::NAN], &[true, false]).is_none());
    assert!(eer(&[], &[]).is_none() && accuracy(&[], &[], 0.0).is_none() && log_loss(&[], &[], 1.0).is_none());
}

#[test]
fn calibration_finds_the_temperature_and_keeps_the_wished_rates() {
    // Labels drawn with the probability that the logit over 2.5 says.
    let mut rng = deepfake_trainer::seeded::generator(5, "test", &[]);
    let logits: Vec<f64> = (0..20_000).map(|_| 4.0 * deepfake_trainer::seeded::normal(&mut rng)).collect();
    let fake: Vec<bool> = logits.iter().map(|z| rand::RngExt::random_bool(&mut rng, sigmoid(z / 2.5))).collect();
    let found = calibrate(&logits, &fake, Wish { false_alarms: 0.01, misses: 0.05 }).unwrap();
    assert!((found.temperature - 2.5).abs() < 0.1, "{found:?}");
    assert!(found.false_alarms <= 0.01 && found.false_alarms > 0.0098, "{found:?}");
    assert!(found.misses <= 0.05 && found.misses > 0.0498, "{found:?}");
    assert!(found.real_below < found.fake_above);

    // Classes far apart leave nothing undecided, and thresholds between them.
    let apart = calibrate(&[-3.0, -2.0, 2.0, 3.0], &[false, false, true, true], Wish::default()).unwrap();
    assert_eq!(apart.real_below, apart.fake_above);
    assert_eq!((apart.false_alarms, apart.misses), (0.0, 0.0));
    assert!(calibrate(&[1.0, 2.0], &[true, true], Wish::default()).is_err());
    assert!(calibrate(&[f64::NAN, 2.0], &[true, false], Wish::default()).is_err());
}
