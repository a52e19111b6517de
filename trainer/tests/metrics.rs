//! Metrics and calibration against scikit-learn (`golden/metrics.py`).

mod support;

use deepfake_scoring::contract::ScoreKeys;
use deepfake_trainer::calibrate::calibrate;
use deepfake_trainer::config::Calibrate;
use deepfake_trainer::evaluate::Standing;
use deepfake_trainer::evaluate::figures::{Figure, Figures, Sample, Unit};
use deepfake_trainer::metrics::{
    BINS, Ranking, accuracy, auc, average_precision, calibration_error, eer, log_loss, roc, sigmoid, video_means,
};
use deepfake_trainer::seeded;
use support::{golden, numbers};

fn flags(value: &serde_json::Value) -> Vec<bool> {
    value.as_array().unwrap().iter().map(|v| v.as_bool().unwrap()).collect()
}

fn assert_near(what: &str, case: &serde_json::Value, ours: Option<f64>) {
    let (theirs, ours) = (case[what].as_f64().unwrap(), ours.unwrap());
    assert!((ours - theirs).abs() < 1e-9, "{what} of {}: {ours} and {theirs}", case["name"]);
}

fn assert_is_scikit_learns(case: &serde_json::Value, logits: &[f64], fake: &[bool]) {
    let probabilities: Vec<f64> = logits.iter().map(|z| sigmoid(*z)).collect();
    assert_near("auc", case, auc(logits, fake));
    assert_near("eer", case, eer(logits, fake));
    assert_near("average_precision", case, average_precision(logits, fake));
    assert_near("accuracy", case, accuracy(logits, fake, 0.0));
    assert_near("calibration_error", case, calibration_error(&probabilities, fake, BINS));
    assert_near("log_loss", case, log_loss(logits, fake, 1.0));
    // What intervals are made of gives the same for all sources drawn once.
    let units = logits.iter().zip(fake).enumerate();
    let units = units.map(|(source, (&logit, &fake))| Unit { logit, fake, source }).collect();
    let keys = ScoreKeys::default();
    let figures = Sample::new(units, logits.len(), &keys).unwrap().figures(0);
    for (what, figure) in [
        ("auc", figures.auc),
        ("eer", figures.eer),
        ("average_precision", figures.average_precision),
        ("accuracy", figures.accuracy),
        ("calibration_error", figures.calibration_error),
    ] {
        assert_near(what, case, figure.map(|f| f.value));
    }
}

#[test]
fn metrics_are_scikit_learns() {
    for case in golden("metrics.json")["cases"].as_array().unwrap() {
        assert_is_scikit_learns(case, &numbers(&case["logits"]), &flags(&case["fake"]));
    }
}

#[test]
fn figures_of_videos_are_scikit_learns_of_mean_logits() {
    for case in golden("metrics.json")["videos"].as_array().unwrap() {
        let faces = &case["faces"];
        let videos: Vec<usize> = numbers(&faces["videos"]).iter().map(|v| *v as usize).collect();
        let (means, fake) = video_means(&numbers(&faces["logits"]), &flags(&faces["fake"]), &videos);
        for (ours, theirs) in means.iter().zip(numbers(&case["means"])) {
            assert!((ours - theirs).abs() < 1e-12, "{}: {ours} and {theirs}", case["name"]);
        }
        assert_eq!(fake, flags(&case["fake"]));
        assert_is_scikit_learns(case, &means, &fake);
    }
}

#[test]
fn a_video_score_is_that_of_a_track_of_the_element() {
    let calibration = deepfake_scoring::verdict::Calibration::from(&ScoreKeys::default());
    let logits = [1.5, -0.25, 3.0, 1e9, -40.0, 0.5];
    let mut track = deepfake_scoring::verdict::TrackScore::default();
    logits.iter().for_each(|z| track.add(*z as f32, &calibration));
    let (means, _) = video_means(&logits, &[true; 6], &[0; 6]);
    assert!((means[0] - f64::from(track.logit())).abs() < 1e-5, "{means:?} and {}", track.logit());
}

#[test]
fn figures_of_a_resampling_are_scikit_learns_with_weights() {
    for case in golden("metrics.json")["resampled"].as_array().unwrap() {
        let weights = numbers(&case["weights"]);
        let ranking = Ranking::new(&numbers(&case["logits"]), &flags(&case["fake"])).unwrap();
        let areas = ranking.areas(|i| weights[i]).unwrap();
        assert_near("auc", case, Some(areas.auc));
        assert_near("eer", case, Some(areas.eer));
        assert_near("average_precision", case, Some(areas.average_precision));
    }
}

/// Units of `sources` sources, a real and a fake each, in which a source's own offset is stronger than what tells fakes apart.
fn related(sources: usize, gain: f64) -> Vec<Unit> {
    (0..sources)
        .flat_map(|source| {
            let mut rng = seeded::generator(9, "units", &[source as u64]);
            let own = seeded::normal(&mut rng);
            [false, true].map(|fake| {
                let logit = own + gain * f64::from(u8::from(fake)) + 0.3 * seeded::normal(&mut rng);
                Unit { logit, fake, source }
            })
        })
        .collect()
}

#[test]
fn intervals_hold_the_value_and_do_not_depend_on_threads() {
    let keys = ScoreKeys::default();
    let sample = Sample::new(related(200, 1.0), 200, &keys).unwrap();
    let figures = sample.figures(1000);
    for (name, figure) in figures.named() {
        let figure = figure.unwrap();
        let [low, high] = figure.interval.unwrap();
        // The calibration error is biased upwards by resampling, as is known of it.
        assert!(low <= figure.value + 1e-12 || name == "calibration error", "{name}: {figure}");
        assert!(figure.value <= high && high - low < 0.2, "{name}: {figure}");
    }
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(alone.install(|| sample.figures(1000)), figures);

    // Twice as wide with a quarter of the sources.
    let fewer = Sample::new(related(50, 1.0), 50, &keys).unwrap().figures(1000);
    let width = |f: &Figures<Figure>| f.auc.unwrap().interval.map(|[low, high]| high - low).unwrap();
    assert!((1.4..2.8).contains(&(width(&fewer) / width(&figures))));
}

#[test]
fn a_paired_difference_is_narrower_than_the_figures_apart() {
    let keys = ScoreKeys::default();
    let sample = |gain| Sample::new(related(200, gain), 200, &keys).unwrap();
    let (better, worse) = (sample(1.2), sample(0.9));
    let found = better.difference(&worse, 1000).unwrap();
    let [low, high] = found.auc.interval.unwrap();
    assert!(low > 0.0 && found.better > 0.99, "{found:?}");
    let apart = better.figures(1000).auc.unwrap().interval.unwrap();
    assert!(high - low < 0.5 * (apart[1] - apart[0]), "{found:?} and {apart:?}");

    let none = better.difference(&better, 200).unwrap();
    assert_eq!((none.auc.value, none.auc.interval, none.better), (0.0, Some([0.0, 0.0]), 0.5));
    assert!(better.difference(&Sample::new(related(100, 1.0), 100, &keys).unwrap(), 10).is_none());
}

#[test]
fn sets_that_say_little_are_told_from_those_that_say_much() {
    let keys = ScoreKeys::default();
    let unit = |logit, fake, source| Unit { logit, fake, source };
    // Real ones only: no curve, but false alarms.
    let real = Sample::new(vec![unit(-1.0, false, 0), unit(3.0, false, 1), unit(-2.0, false, 2)], 3, &keys).unwrap();
    let figures = real.figures(200);
    assert!(figures.auc.is_none() && figures.calibration_error.is_none() && figures.detected.is_none());
    assert_eq!(figures.false_alarms.unwrap().value, 1.0 / 3.0);
    // One source: every draw is the same.
    let one = Sample::new(vec![unit(-1.0, false, 0), unit(3.0, true, 0)], 1, &keys).unwrap().figures(200);
    assert_eq!(one.auc, Some(Figure { value: 1.0, interval: None }));
    assert_eq!(Standing::of(one.auc.as_ref()), Standing::Unknown);
    let auc = |low, high| Some(Figure { value: 0.5, interval: Some([low, high]) });
    assert_eq!(Standing::of(auc(0.49, 0.7).as_ref()), Standing::Chance);
    assert_eq!(Standing::of(auc(0.51, 0.7).as_ref()), Standing::Better);
    assert_eq!(Standing::of(auc(0.2, 0.45).as_ref()), Standing::Worse);
    assert!(Sample::new(vec![unit(f64::NAN, true, 0)], 1, &keys).is_none());
}

#[test]
fn a_thousand_draws_of_thousands_of_faces_do_not_take_a_minute() {
    let sample = Sample::new(related(4000, 1.0), 4000, &ScoreKeys::default()).unwrap();
    let begun = std::time::Instant::now();
    sample.figures(1000);
    // Far above what it takes, a second or two, since tests run beside others.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
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
    let mut rng = seeded::generator(5, "test", &[]);
    let logits: Vec<f64> = (0..20_000).map(|_| 4.0 * seeded::normal(&mut rng)).collect();
    let fake: Vec<bool> = logits.iter().map(|z| rand::RngExt::random_bool(&mut rng, sigmoid(z / 2.5))).collect();
    let found = calibrate(&logits, &fake, &Calibrate::default()).unwrap();
    assert!((found.temperature - 2.5).abs() < 0.1, "{found:?}");
    assert!(found.false_alarms <= 0.01 && found.false_alarms > 0.0098, "{found:?}");
    assert!(found.misses <= 0.05 && found.misses > 0.0498, "{found:?}");
    assert!(found.real_below < found.fake_above);
    let reliability = found.reliability.unwrap();
    assert!(
        reliability.error_after < 0.02 && reliability.error_after < reliability.error_before / 3.0,
        "{reliability:?}"
    );
    assert_eq!(reliability.after.iter().map(|b| b.faces).sum::<usize>(), logits.len());

    // Classes far apart leave nothing undecided, and thresholds between them.
    let apart = calibrate(&[-3.0, -2.0, 2.0, 3.0], &[false, false, true, true], &Calibrate::default()).unwrap();
    assert_eq!(apart.real_below, apart.fake_above);
    assert_eq!((apart.false_alarms, apart.misses), (0.0, 0.0));
    assert!(calibrate(&[1.0, 2.0], &[true, true], &Calibrate::default()).is_err());
    assert!(calibrate(&[f64::NAN, 2.0], &[true, false], &Calibrate::default()).is_err());
}
