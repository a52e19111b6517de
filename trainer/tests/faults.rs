//! What goes wrong around a training, and that nothing is lost by it.

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::data::Picture;
use deepfake_trainer::log::Log;
use deepfake_trainer::train::{Limits, train};
use deepfake_trainer::{Config, Error};
use support::{text, write_faces};

/// A step is a checkpoint.
const EVERY_STEP: &str = "run.checkpoint_minutes = 0\noptim.epochs = 3\nrun.loader_threads = 1";

fn stage(folder: &Path, more: &str) -> Config {
    write_faces(&folder.join("faces"), 16);
    std::fs::write(folder.join("c.toml"), text(more)).unwrap();
    Config::read(&folder.join("c.toml")).unwrap()
}

/// The program, with something said to the shell before.
fn program(folder: &Path, before: &str, arguments: &str) -> Command {
    let mut shell = Command::new("bash");
    let line = format!("{before} exec \"$0\" {arguments}");
    shell.args(["-c", &line, env!("CARGO_BIN_EXE_deepfake-trainer")]).current_dir(folder);
    shell
}

/// Its command `train`.
fn command(folder: &Path, before: &str, run: &str) -> Command {
    program(folder, before, &format!("train --config c.toml --run {run}"))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn bytes(folder: &Path, run: &str) -> [Vec<u8>; 2] {
    ["checkpoint.safetensors", "best.safetensors"].map(|file| std::fs::read(folder.join(run).join(file)).unwrap())
}

#[test]
fn a_run_that_is_killed_goes_on_bit_for_bit() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    // So many that it is hardly at its end before this thread gets to kill it.
    let config = stage(folder, &EVERY_STEP.replace("epochs = 3", "epochs = 12"));
    train(&config, &folder.join("whole"), Limits::default()).unwrap();
    let checkpoint = folder.join("killed/checkpoint.safetensors");
    let mut child = command(folder, "", "killed").stderr(Stdio::null()).spawn().unwrap();
    // Wherever it is once it has begun to write: in the middle of a file, most likely.
    while !checkpoint.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended without a checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(bytes(folder, "whole")[0], std::fs::read(&checkpoint).unwrap());
    train(&config, &folder.join("killed"), Limits::default()).unwrap();
    assert_eq!(bytes(folder, "killed"), bytes(folder, "whole"));
}

#[test]
fn a_checkpoint_that_does_not_fit_ends_the_run_and_leaves_the_last_one() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let config = stage(folder, EVERY_STEP);
    train(&config, &folder.join("whole"), Limits::default()).unwrap();
    train(&config, &folder.join("full"), Limits { steps: Some(1) }).unwrap();
    let before = std::fs::read(folder.join("full/checkpoint.safetensors")).unwrap();
    // No file may be larger than 64 KiB, as though the disk had no more room.
    let output = command(folder, "trap '' XFSZ; ulimit -f 64;", "full").output().unwrap();
    assert!(!output.status.success());
    let said = told(&output);
    assert!(said.contains("checkpoint.safetensors") && !said.contains("panicked"), "{said}");
    assert!(std::fs::read(folder.join("full/checkpoint.safetensors")).unwrap() == before, "the last one is gone");
    let left: Vec<_> = std::fs::read_dir(folder.join("full")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().ends_with(".part")), "room is still taken: {left:?}");
    // With room again, nothing is lost.
    train(&config, &folder.join("full"), Limits::default()).unwrap();
    assert_eq!(bytes(folder, "full"), bytes(folder, "whole"));
}

#[test]
fn a_model_that_does_not_fit_leaves_the_one_before() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let config = stage(folder, "optim.epochs = 1");
    train(&config, &folder.join("run"), Limits::default()).unwrap();
    let model = folder.join("models/model.onnx");
    std::fs::create_dir(folder.join("models")).unwrap();
    std::fs::write(&model, "the one before").unwrap();
    let export = "export --run run --out models/model.onnx";
    let output = program(folder, "trap '' XFSZ; ulimit -f 64;", export).output().unwrap();
    assert!(!output.status.success());
    let said = told(&output);
    assert!(said.contains("model.onnx") && !said.contains("panicked"), "{said}");
    assert_eq!(std::fs::read(&model).unwrap(), b"the one before");
    assert_eq!(std::fs::read_dir(folder.join("models")).unwrap().count(), 1, "something is left beside it");
    // With room it takes its place.
    assert!(program(folder, "", export).output().unwrap().status.success());
    assert!(std::fs::metadata(&model).unwrap().len() > 64 * 1024, "it would have fitted");
}

#[test]
fn the_same_seed_gives_the_same_model_and_another_one_another() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let mut config = stage(folder, "optim.epochs = 2");
    let model = |config: &Config, run: &str| {
        train(config, &folder.join(run), Limits::default()).unwrap();
        std::fs::read(folder.join(run).join("best.safetensors")).unwrap()
    };
    let first = model(&config, "a");
    assert!(first == model(&config, "b"));
    config.seed += 1;
    assert!(first != model(&config, "c"));
}

#[test]
fn two_trainings_in_one_folder_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    stage(folder, EVERY_STEP);
    let held = Log::new(&RunFolder::new(&folder.join("run")).unwrap()).unwrap();
    let output = command(folder, "", "run").output().unwrap();
    assert!(!output.status.success() && told(&output).contains("another run is writing to this folder"));
    drop(held);
    assert!(command(folder, "", "run").output().unwrap().status.success());
}

#[test]
fn pictures_that_are_none_are_named_counted_and_left_out() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let config = stage(folder, "optim.epochs = 1\ndata.max_unreadable = 0.3");
    let faces = folder.join("faces/real");
    let whole = std::fs::read(faces.join("s000_real.png")).unwrap();
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    broken[middle..].fill(0x5a);
    // Of a zip bomb only the first words are needed: 30000 x 30000 pixels are 2.7 GB.
    let mut bomb = whole[..33].to_vec();
    bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    bomb.extend_from_slice(&whole[33..]);
    let spoiled = [
        ("s000", whole[..middle].to_vec()),
        ("s001", broken),
        ("s002", bomb),
        ("s003", b"GIF89a, or so it says".to_vec()),
        ("s004", Vec::new()),
    ];
    for (name, bytes) in &spoiled {
        let path = faces.join(format!("{name}_real.png"));
        std::fs::write(&path, bytes).unwrap();
        let error = Picture::read(&path).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        // For what its first words say, not for what is wrong with the rest.
        let limit = matches!(&error, Error::Picture { source: image::ImageError::Limits(_), .. });
        assert_eq!(limit, *name == "s002", "{error:?}");
    }
    let output = command(folder, "", "run").output().unwrap();
    let said = told(&output);
    assert!(output.status.success(), "{said}");
    for (name, _) in &spoiled {
        assert!(said.contains(&format!("left out: {}", faces.join(name).display())), "{name}: {said}");
    }
    // Those of training and those of validation.
    let counts = said.lines().filter_map(|line| line.split_once(" pictures cannot be read")?.0.rsplit(' ').nth(2));
    assert_eq!(counts.map(|n| n.parse::<usize>().unwrap()).sum::<usize>(), spoiled.len(), "{said}");
    drop(config);
}

#[test]
fn folders_that_cannot_be_read_are_named() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let config = stage(folder, "optim.epochs = 1");
    std::fs::remove_dir_all(folder.join("faces/real")).unwrap();
    // A file where a folder should be.
    std::fs::write(folder.join("faces/real"), b"").unwrap();
    let error = train(&config, &folder.join("run"), Limits::default()).unwrap_err().to_string();
    assert!(error.contains("faces/real: "), "{error}");
    // A run folder that cannot be made.
    std::fs::write(folder.join("file"), b"").unwrap();
    let error = train(&config, &folder.join("file/run"), Limits::default()).unwrap_err().to_string();
    assert!(error.contains("file/run"), "{error}");
}

/// The check sum of PNG's chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}
