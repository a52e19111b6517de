//! Whole runs on generated faces.

mod support;

use std::process::{Command, Output};

use deepfake_trainer::checkpoint::{RunFolder, progress};
use deepfake_trainer::config::{Contender, Evaluate, TestSet};
use deepfake_trainer::evaluate::Judge;
use deepfake_trainer::train::{Limits, train, validation_of};
use deepfake_trainer::{data, evaluate};
use support::{config, text, write_faces};

/// SAM on weighed classes, at most two faces of a video.
const SAM: &str = "optim.method = \"sam\"\ndata.pairs = false\ndata.balance = \"weighted\"\ndata.faces_per_video = 2";

fn command(arguments: &[&str], folder: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deepfake-trainer")).args(arguments).current_dir(folder).output().unwrap()
}

fn out(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn from_faces_to_a_model_that_the_engine_scores_alike() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 48);
    // One file of 97 cannot be read: it is told and left out.
    std::fs::write(folder.join("faces/real/s900_broken.jpg"), b"no picture").unwrap();
    std::fs::write(folder.join("tiny.toml"), text("data.max_unreadable = 0.02\noptim.epochs = 16")).unwrap();

    let told = out(&command(&["train", "--config", "tiny.toml", "--run", "run"], folder));
    assert!(told.contains("device: the CPU"), "{told}");
    assert!(told.contains("s900_broken.jpg"), "{told}");
    assert!(told.contains("pictures cannot be read and are left out"), "{told}");
    out(&command(&["calibrate", "--run", "run"], folder));
    let told = out(&command(&["export", "--run", "run", "--out", "tiny.onnx", "--variant", "fp16"], folder));
    assert!(told.contains("tiny.fp16.onnx: logits of"), "{told}");
    let told = out(&command(
        &["evaluate", "--model", "tiny.onnx", "--faces", "faces", "--out", "s.csv", "--max-failed", "0.02"],
        folder,
    ));
    assert!(told.contains("1 without a score") && told.contains("s900_broken.jpg"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.join("s.csv")).unwrap().lines().count(), 97);

    // What the trainer said of its validation faces is what the engine says of the same files.
    let run = RunFolder::open(&folder.join("run")).unwrap();
    let validation = validation_of(&run).unwrap();
    let auc = deepfake_trainer::metrics::auc(&validation.logits, &validation.fake).unwrap();
    assert!(auc > 0.8, "nothing was learned: validation AUC {auc}");
    let faces = data::split(data::scan(&[folder.join("faces")]).unwrap(), 0.25, 1, 0).unwrap().validation;
    let faces: Vec<_> = faces.into_iter().filter(|f| !f.path.ends_with("s900_broken.jpg")).collect();
    let tiny = Contender { name: "tiny".to_owned(), file: folder.join("tiny.onnx"), contract: None };
    let set =
        TestSet { name: "faces".to_owned(), folders: vec![folder.join("faces")], frames: 1, ..TestSet::default() };
    let table = Evaluate { sets: vec![set], max_failed: 0.02, bootstrap: 100, ..Evaluate::default() };
    let scored = evaluate::evaluate(&table, &tiny, None).unwrap().scores;
    let logit_of = |face: &data::Face| scored.iter().find(|s| face.path.display().to_string() == s.path).unwrap();
    for (face, (logit, fake)) in faces.iter().zip(validation.logits.iter().zip(&validation.fake)) {
        let said = logit_of(face);
        assert_eq!(said.fake, *fake);
        assert!((said.logit - logit).abs() < 1e-3, "{}: {} and {logit}", said.path, said.logit);
    }

    // Its contract is what the run was.
    let scorer = Judge::open(&tiny, &Judge::session()).unwrap().scorer;
    let contract = scorer.contract();
    assert_eq!((contract.input.width, contract.input.height), (Some(48), Some(48)));
    assert!(contract.score.temperature != 1.0 && contract.provenance["config"].len() == 64);
}

#[test]
fn a_stopped_run_goes_on_bit_for_bit() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 20);
    for (name, more) in [("adamw", "optim.pair_weight = 0.5"), ("sam", SAM)] {
        let config = config(folder, &format!("optim.epochs = 3\n{more}"));
        let run = |part: &str| folder.join(format!("{name}-{part}"));
        let bytes = |part: &str| std::fs::read(run(part).join("checkpoint.safetensors")).unwrap();

        let whole = train(&config, &run("whole"), Limits::default()).unwrap();
        assert!(whole.finished && whole.epochs == 3);
        // 15 sources for training in pairs of 4: 3 steps an epoch. Stopped in the middle of the first and of the last one.
        for steps in [2, 5] {
            let stopped = train(&config, &run("parts"), Limits { steps: Some(steps) }).unwrap();
            assert!(!stopped.finished);
            assert_ne!(bytes("parts"), bytes("whole"));
        }
        let parts = train(&config, &run("parts"), Limits::default()).unwrap();
        assert_eq!(parts, whole, "{name}");
        assert_eq!(bytes("parts"), bytes("whole"), "{name}");
        let best = |part: &str| std::fs::read(run(part).join("best.safetensors")).unwrap();
        assert_eq!(best("parts"), best("whole"), "{name}");

        // A finished run has nothing left to do.
        assert_eq!(train(&config, &run("whole"), Limits::default()).unwrap(), whole);
    }
}

#[test]
fn it_stops_early_and_keeps_the_best_epoch_of_the_validation_split() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 24);
    // At this rate the first epoch at the full size is soon as good as it gets: AUC 1 cannot be bettered.
    let config = config(folder, "optim.epochs = 40\noptim.patience = 3");
    let outcome = train(&config, &folder.join("run"), Limits::default()).unwrap();
    assert!(outcome.finished && outcome.epochs < 40, "{outcome:?}");
    assert_eq!(outcome.epochs, outcome.best.epoch + 3);
    let log = std::fs::read_to_string(folder.join("run/log.jsonl")).unwrap();
    let epochs: Vec<serde_json::Value> = log
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .filter(|l: &serde_json::Value| l["event"] == "epoch")
        .collect();
    assert_eq!(epochs.len(), outcome.epochs);
    // The best is the first of the highest validation AUC at the size that will be used; nothing else is asked.
    let full: Vec<_> = epochs.iter().filter(|e| e["size"] == 48).collect();
    let highest = full.iter().map(|e| e["auc"].as_f64().unwrap()).fold(0.0, f64::max);
    let first = full.iter().find(|e| e["auc"].as_f64() == Some(highest)).unwrap();
    assert_eq!((first["epoch"].as_u64().unwrap() as usize, highest), (outcome.best.epoch, outcome.best.auc));
    for epoch in &epochs {
        assert!(
            (0.0..=1.0).contains(&epoch["waiting"].as_f64().unwrap())
                && epoch["seconds_a_step"].as_f64().unwrap() > 0.0
        );
    }
    // Its weights are those that are kept.
    let validation = validation_of(&RunFolder::open(&folder.join("run")).unwrap()).unwrap();
    let auc = deepfake_trainer::metrics::auc(&validation.logits, &validation.fake).unwrap();
    assert!((auc - outcome.best.auc).abs() < 1e-9);
}

#[test]
fn half_precision_is_refused_on_the_cpu() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 8);
    for precision in ["bf16", "fp16"] {
        let config = config(folder, &format!("run.device = \"cpu\"\noptim.precision = \"{precision}\""));
        let error = train(&config, &folder.join("run"), Limits::default()).unwrap_err().to_string();
        assert!(error.contains("optim.precision") && error.contains("CUDA only"), "{error}");
    }
}

#[test]
fn a_run_folder_belongs_to_its_configuration_and_faces() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 12);
    let run = folder.join("run");
    let first = config(folder, "optim.epochs = 1");
    train(&first, &run, Limits { steps: Some(1) }).unwrap();
    let other = config(folder, "optim.epochs = 1\nseed = 2");
    let error = train(&other, &run, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("another configuration"), "{error}");
    write_faces(&folder.join("faces"), 13);
    let error = train(&first, &run, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("other faces"), "{error}");
    let progress = progress(&RunFolder::open(&run).unwrap()).unwrap().unwrap();
    assert_eq!((progress.epoch, progress.step, progress.steps), (0, 1, 1));
}

#[test]
fn data_that_cannot_be_trained_on_is_told() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let faces = folder.join("faces");
    write_faces(&faces, 12);
    let config = config(folder, "optim.epochs = 1");
    let error = |run: &str| train(&config, &folder.join(run), Limits::default()).unwrap_err().to_string();

    for i in 0..3 {
        std::fs::write(faces.join(format!("fake/s{i:03}_fake.png")), b"").unwrap();
    }
    let text = error("a");
    assert!(text.contains("cannot be read") && text.contains("data.max_unreadable"), "{text}");
    std::fs::remove_dir_all(faces.join("fake")).unwrap();
    let text = error("b");
    assert!(text.contains("no fake face") && text.contains("put some into `fake/`"), "{text}");
    std::fs::remove_dir_all(&faces).unwrap();
    let text = error("c");
    assert!(text.contains("faces"), "{text}");
}
