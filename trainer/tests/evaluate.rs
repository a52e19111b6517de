//! Evaluations of the bundled model on generated faces.

mod support;

use std::path::{Path, PathBuf};

use deepfake_scoring::contract::Contract;
use deepfake_scoring::model::Model;
use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::config::{Contender, Evaluate, Set, TestKind, TestSet};
use deepfake_trainer::evaluate::{Evaluation, evaluate};
use support::write_faces;

fn bundled(name: &str) -> Contender {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../plugin/models/scorer.onnx");
    Contender { name: name.to_owned(), file, contract: None }
}

fn set(folder: &Path) -> TestSet {
    TestSet { name: "faces".to_owned(), folders: vec![folder.to_owned()], frames: 1, ..TestSet::default() }
}

/// How many items each pass of the last evaluation had to score.
fn computed(run: &RunFolder) -> Vec<u64> {
    let text = std::fs::read_to_string(run.log()).unwrap();
    let records = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    records.filter_map(|r| r["computed"].as_u64()).collect()
}

/// But for the rounding of another size of batch, or of another place in it.
fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-5
}

#[test]
fn what_was_scored_is_not_scored_again() {
    let temporary = tempfile::tempdir().unwrap();
    let faces = temporary.path().join("faces");
    write_faces(&faces, 10);
    let run = RunFolder::new(&temporary.path().join("run")).unwrap();
    let table = Evaluate { sets: vec![set(&faces)], bootstrap: 100, mistakes: 3, ..Evaluate::default() };
    let first = evaluate(&table, &bundled("scorer"), Some(&run)).unwrap();
    assert_eq!(first.scores.len(), 20);
    assert_eq!(Evaluation::read(&run.evaluation()).unwrap().to_string(), first.evaluation.to_string());
    let result = &first.evaluation.results[0];
    assert_eq!((result.frame.real, result.frame.fake, result.sources), (10, 10, 10));
    let drawn = result.drawn.as_ref().unwrap();
    assert_eq!(drawn.histogram_real.iter().sum::<usize>(), 10);
    assert_eq!((drawn.roc_frame[0], drawn.roc_frame.last()), ([0.0, 0.0], Some(&[1.0, 1.0])));
    for mistake in &drawn.mistakes {
        // The map that is shown is the score that was wrong.
        let map = mistake.map.as_ref().unwrap();
        let mean = map.values.iter().map(|v| f64::from(*v)).sum::<f64>() / map.values.len() as f64;
        let row = first.scores.iter().find(|r| r.path.ends_with(&mistake.file)).unwrap();
        assert!((mean - row.logit).abs() < 1e-3 && (row.logit >= 0.0) != mistake.fake, "{mistake:?} {row:?}");
        assert!(run.path().join(mistake.picture.as_ref().unwrap()).is_file());
    }

    let ledger =
        std::fs::read_dir(run.scores()).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().unwrap() == "jsonl");
    let ledger = ledger.unwrap();
    let whole = std::fs::read_to_string(&ledger).unwrap();
    assert_eq!(evaluate(&table, &bundled("scorer"), Some(&run)).unwrap(), first);
    assert_eq!(std::fs::read_to_string(&ledger).unwrap(), whole);

    // Stopped in the middle of a line, it goes on after the last whole one.
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    std::fs::write(&ledger, lines[..15].concat() + &lines[15][..7]).unwrap();
    let resumed = evaluate(&table, &bundled("scorer"), Some(&run)).unwrap();
    assert!(resumed.scores.iter().zip(&first.scores).all(|(a, b)| a.path == b.path && near(a.logit, b.logit)));
    let mended = std::fs::read_to_string(&ledger).unwrap();
    assert!(mended.starts_with(&lines[..15].concat()) && mended.lines().count() == lines.len(), "{mended}");
    assert_eq!(computed(&run), [20, 0, 6]);

    // Another picture is another set, which nothing kept belongs to; elsewhere it is the same set.
    std::fs::rename(&faces, temporary.path().join("moved")).unwrap();
    let faces = temporary.path().join("moved");
    let moved = Evaluate { sets: vec![set(&faces)], ..table.clone() };
    assert_eq!(evaluate(&moved, &bundled("scorer"), Some(&run)).unwrap().evaluation, resumed.evaluation);
    std::fs::copy(faces.join("real/s000_real.png"), faces.join("fake/s003_fake.png")).unwrap();
    let other = evaluate(&moved, &bundled("scorer"), Some(&run)).unwrap();
    assert_ne!(other.evaluation.sets[0].sha256, first.evaluation.sets[0].sha256);
    assert_eq!(computed(&run), [20, 0, 6, 0, 20]);
}

#[test]
fn models_are_compared_on_the_same_faces_and_distorted_ones_too() {
    let temporary = tempfile::tempdir().unwrap();
    let faces = temporary.path().join("faces");
    write_faces(&faces, 4);
    let table = Evaluate {
        sets: vec![TestSet { robustness: true, ..set(&faces) }],
        models: vec![bundled("twin")],
        bootstrap: 100,
        robustness_sources: 2,
        ..Evaluate::default()
    };
    let found = evaluate(&table, &bundled("scorer"), None).unwrap().evaluation;
    // All as they are, some as they are, and those under seven distortions at five levels, of two models.
    assert_eq!(found.results.len(), 2 * 37);
    let of = |model: &'static str| found.results.iter().filter(move |r| r.model == model);
    assert!(of("scorer").zip(of("twin")).all(|(a, b)| a.frame == b.frame && a.distortion == b.distortion));
    assert!(of("scorer").skip(1).all(|r| r.sources == 2 && r.drawn.is_none()));
    let difference = found.comparisons[0].frame.unwrap();
    assert_eq!((difference.auc.value, difference.better), (0.0, 0.5));
    // Something was done to the pictures.
    let aucs: Vec<_> = of("scorer").map(|r| r.frame.figures.calibration_error.unwrap().value.to_bits()).collect();
    assert!(aucs.iter().collect::<std::collections::BTreeSet<_>>().len() > 20);
}

/// What the scorer's card compares it with learned without anything erased, and is fed with the same.
#[test]
fn the_unregularized_twin_is_kept_and_fed_alike() {
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/scorer_twin.onnx");
    let open = |path: &Path| {
        let model = Model::read(path).unwrap();
        (Contract::from_metadata(model.metadata()).unwrap().unwrap(), model.sha256().to_owned())
    };
    let ((of_scorer, scorer), (of_twin, sha)) = (open(&bundled("scorer").file), open(&twin));
    assert_ne!(scorer, sha);
    assert_eq!(
        (&of_scorer.input, &of_scorer.crop, &of_scorer.output),
        (&of_twin.input, &of_twin.crop, &of_twin.output)
    );
    let card = std::fs::read_to_string(bundled("scorer").file.with_extension("md")).unwrap();
    assert!(card.contains(&sha) && card.contains(&scorer), "{sha} {scorer}");
    let said = |contract: &Contract| {
        ["regularization", "variant", "backbone"].map(|k| contract.provenance.get(k).cloned().unwrap_or_default())
    };
    assert_eq!(said(&of_scorer), ["random_erasing", "int8", "efficientnet_lite0"]);
    assert_eq!(said(&of_twin), ["none", "int8", "efficientnet_lite0"]);
    let score = &of_twin.score;
    for value in [score.temperature, score.fake_above, score.real_below] {
        assert!(card.contains(&format!("{value:.4}")), "{value}");
    }
    let temporary = tempfile::tempdir().unwrap();
    write_faces(temporary.path(), 4);
    let models = vec![Contender { name: "unregularized twin".to_owned(), file: twin, contract: None }];
    let table = Evaluate { sets: vec![set(temporary.path())], models, bootstrap: 100, ..Evaluate::default() };
    let found = evaluate(&table, &bundled("scorer"), None).unwrap();
    let of = |model: &'static str| found.scores.iter().filter(move |s| s.model == model);
    assert_eq!((of("scorer").count(), of("unregularized twin").count()), (8, 8));
    assert!(of("scorer").zip(of("unregularized twin")).all(|(a, b)| a.path == b.path && a.logit != b.logit));
}

#[test]
fn faces_of_videos_are_looked_for_in_frames_and_judged_together() {
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../pipelines/sample/collins.mp4");
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("videos");
    for (class, name) in [("real", "a_1x.mp4"), ("fake", "a_2x.mp4")] {
        std::fs::create_dir_all(root.join(class)).unwrap();
        std::fs::copy(&sample, root.join(class).join(name)).unwrap();
    }
    let sets =
        vec![Set { root, kind: None, name: None, compression: None, split: None, methods: vec![], originals: None }];
    let videos = TestSet { name: "videos".to_owned(), sets, frames: 3, ..TestSet::default() };
    let run = RunFolder::new(&temporary.path().join("run")).unwrap();
    // The sample ends without a face: one frame of three has none.
    let table = Evaluate { sets: vec![videos], bootstrap: 100, max_failed: 0.4, ..Evaluate::default() };
    let found = evaluate(&table, &bundled("scorer"), Some(&run)).unwrap();
    let result = &found.evaluation.results[0];
    assert_eq!((result.frame.real, result.frame.fake, result.video.real, result.video.fake), (2, 2, 1, 1));
    assert_eq!((result.sources, result.failed), (1, 2));
    // The same video twice: equal scores, different frames.
    let logits: Vec<f64> = found.scores.iter().map(|r| r.logit).collect();
    let (one, other) = logits.split_at(2);
    assert!(one.iter().zip(other).all(|(a, b)| near(*a, *b)) && !near(one[0], one[1]), "{logits:?}");
    assert!(found.scores.windows(2).take(1).all(|w| w[0].frame < w[1].frame));
    // Mistakes are frames of it, with pictures.
    let drawn = result.drawn.as_ref().unwrap();
    assert!(!drawn.mistakes.is_empty() && drawn.mistakes.iter().all(|m| m.picture.is_some() && m.frame > 0));
    assert_eq!(evaluate(&table, &bundled("scorer"), Some(&run)).unwrap(), found);
    assert_eq!(computed(&run), [2, 0]);

    // Where it is made so bad that no face is found, that is told, and the rest is measured all the same.
    let [set] = <[TestSet; 1]>::try_from(table.sets.clone()).unwrap();
    let hard = Evaluate { sets: vec![TestSet { robustness: true, frames: 1, ..set }], max_failed: 0.0, ..table };
    let found = evaluate(&hard, &bundled("scorer"), Some(&run)).unwrap().evaluation;
    let log = std::fs::read_to_string(run.log()).unwrap();
    let lost = log.lines().filter(|l| l.contains("nothing_scored")).count();
    assert!(lost > 0, "{log}");
    assert_eq!(found.results.len() + lost, 2 + 7 * 5);
}

#[test]
fn what_cannot_be_measured_is_told() {
    let temporary = tempfile::tempdir().unwrap();
    let faces = temporary.path().join("faces");
    write_faces(&faces, 3);
    let told = |table: &Evaluate, model: &Contender| evaluate(table, model, None).unwrap_err().to_string();
    assert!(told(&Evaluate::default(), &bundled("a")).contains("evaluate.sets"));
    let table = Evaluate { sets: vec![set(&faces)], models: vec![bundled("a")], bootstrap: 100, ..Evaluate::default() };
    assert!(told(&table, &bundled("a")).contains("another name"));
    assert!(told(&table, &Contender { file: faces.join("none.onnx"), ..bundled("b") }).contains("none.onnx"));
    // Discs with eyes are no faces.
    let pictures = TestSet { kind: TestKind::Pictures, ..set(&faces) };
    let text = told(&Evaluate { sets: vec![pictures], bootstrap: 100, ..Evaluate::default() }, &bundled("a"));
    assert!(text.contains("no face is found") && text.contains("evaluate.max_failed"), "{text}");
    // Real ones only: false alarms, but no curve.
    std::fs::remove_dir_all(faces.join("fake")).unwrap();
    let table = Evaluate { models: vec![], ..table };
    let found = evaluate(&table, &bundled("a"), None).unwrap().evaluation;
    let figures = found.results[0].frame.figures;
    assert!(figures.auc.is_none() && figures.false_alarms.is_some());
    assert!(found.to_string().contains("a class is missing"));
}
