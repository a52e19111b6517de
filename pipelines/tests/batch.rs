//! `batch.sh`: what it leaves for a folder, and how it goes on.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{fails, file, records, script, succeeds};

fn batch(folder: &Path) -> Command {
    let mut command = script("batch.sh");
    command.arg(folder.join("in")).arg(folder.join("out"));
    command
}

/// Whole frames are scored: nothing is looked for in a test picture.
const FAST: [&str; 2] = ["--face-source", "frame"];

fn video(path: &Path, frames: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let description = format!(
        "videotestsrc num-buffers={frames} ! video/x-raw,width=96,height=96,framerate=25/1 ! x264enc ! matroskamux"
    );
    file(path, &description);
}

/// The state of each video by its path.
fn jobs(folder: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder.join("out/jobs.tsv")).unwrap();
    let fields = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    fields.map(|f| (f[2].clone(), f[0].clone())).collect()
}

fn table(folder: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(folder.join("out/summary.csv")).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn a_folder_is_scored_once_and_what_changes_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    video(&folder.join("in/a \"b\", c.mkv"), 5);
    video(&folder.join("in/sub/d.mkv"), 6);
    fs::write(folder.join("in/broken.mp4"), "This is no video.\n".repeat(50)).unwrap();
    fs::write(folder.join("in/notes.txt"), "no video, by its name").unwrap();

    let said = fails(batch(folder).arg("--report").args(FAST), 1);
    assert!(said.contains("2 of 3 videos are scored; 1 failed"), "{said}");
    assert_eq!(
        jobs(folder).into_iter().collect::<Vec<_>>(),
        [("a \"b\", c.mkv", "done"), ("broken.mp4", "failed"), ("sub/d.mkv", "done")]
            .map(|(p, s)| (p.into(), s.into()))
    );
    let rows = table(folder);
    assert_eq!(rows.iter().map(|r| r["status"].as_str()).collect::<Vec<_>>(), ["done", "failed", "done"]);
    assert!(rows[0]["video"].ends_with("/in/a \"b\", c.mkv") && rows[1]["video"].ends_with("/in/broken.mp4"));
    assert_eq!((rows[0]["frames"].as_str(), rows[2]["frames"].as_str(), rows[1]["frames"].as_str()), ("5", "6", ""));
    assert!(rows[1]["problem"].contains("no video"), "{:?}", rows[1]);
    assert_eq!(rows[0]["model_sha256"].len(), 64);
    let files = folder.join("out/files");
    assert_eq!(records(&fs::read_to_string(files.join("sub/d.mkv.jsonl")).unwrap()).len(), 6);
    assert!(files.join("sub/d.mkv.log").is_file());
    assert!(fs::read_to_string(files.join("sub/d.mkv.html")).unwrap().starts_with("<!DOCTYPE html>"));

    // What is done stays as it is, what failed is tried again, what is new or has changed is scored.
    let untouched = fs::metadata(files.join("a \"b\", c.mkv.jsonl")).unwrap().modified().unwrap();
    video(&folder.join("in/broken.mp4"), 3);
    video(&folder.join("in/sub/d.mkv"), 7);
    video(&folder.join("in/new.mkv"), 4);
    let (_, said) = succeeds(batch(folder).arg("--report").args(FAST));
    assert!(said.contains("4 of 4 videos are scored; 0 failed") && !said.contains("c.mkv\n"), "{said}");
    assert_eq!(fs::metadata(files.join("a \"b\", c.mkv.jsonl")).unwrap().modified().unwrap(), untouched);
    let frames: Vec<_> = table(folder).iter().map(|r| r["frames"].clone()).collect();
    assert_eq!(frames, ["5", "3", "4", "7"]);

    let said = fails(batch(folder).args(["--face-source", "detect"]), 1);
    assert!(said.contains("other options"), "{said}");
}

#[test]
fn after_an_interrupt_the_next_call_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    video(&folder.join("in/1.mkv"), 3);
    // It lasts until it is stopped.
    video(&folder.join("in/2.mkv"), 1500);
    let mut run = batch(folder).args(FAST).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines();
    assert!(said.by_ref().any(|line| line.unwrap().contains("2 of 2: 2.mkv")));
    // To the script alone, as a service manager would.
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    assert!(said.by_ref().any(|line| line.unwrap().contains("call it again to go on")));
    assert_eq!(run.wait().unwrap().code(), Some(130));
    // Nor was the whole video scored first. There is no log where the program was stopped before it began.
    let log = match fs::read_to_string(folder.join("out/files/2.mkv.log")) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.unwrap(),
    };
    assert!(!log.contains("The summary as a table") || log.contains("stopped before its end"), "{log}");
    assert_eq!(jobs(folder)["1.mkv"], "done");
    assert_eq!(jobs(folder)["2.mkv"], "waiting");
    assert!(!folder.join("out/files/2.mkv.csv").exists() && !folder.join("out/files/2.mkv.jsonl").exists());

    video(&folder.join("in/2.mkv"), 4);
    let (_, said) = succeeds(batch(folder).args(FAST));
    assert!(said.contains("2 of 2 videos are scored") && !said.contains("1 of 2: 1.mkv"), "{said}");
    let frames: Vec<_> = table(folder).iter().map(|r| r["frames"].clone()).collect();
    assert_eq!(frames, ["3", "4"]);
}

#[test]
fn what_cannot_be_a_batch_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let said = fails(&mut batch(folder.path()), 1);
    assert!(said.contains("is no folder"), "{said}");
    fs::create_dir(folder.path().join("in")).unwrap();
    let said = fails(&mut batch(folder.path()), 1);
    assert!(said.contains("no video is in"), "{said}");
    let said = fails(&mut script("batch.sh"), 1);
    assert!(said.contains("usage: "), "{said}");
}
