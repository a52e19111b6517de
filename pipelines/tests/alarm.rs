//! `alarm.py`: its rule, on records made for it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

mod common;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// A record at so many seconds: the faces with track, score and verdict.
fn record(stream: &str, frame: u64, seconds: f64, faces: &[(u64, f64, &str)]) -> Value {
    let faces: Vec<_> = faces
        .iter()
        .map(|(track, score, verdict)| json!({"track": track, "score": score, "verdict": verdict}))
        .collect();
    json!({
        "stream": stream, "frame": frame, "pts": (seconds * 1e9) as u64, "running_time": (seconds * 1e9) as u64,
        "utc": null, "faces": faces, "model": {"name": "m", "sha256": "ab", "provider": "cpu"},
    })
}

/// The scores of one face, ten records a second.
fn scores(scores: impl IntoIterator<Item = f64>) -> Vec<Value> {
    let verdict = |score| if score >= 0.7 { "fake" } else { "real" };
    scores.into_iter().enumerate().map(|(n, s)| record("a", n as u64, n as f64 / 10.0, &[(1, s, verdict(s))])).collect()
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut run = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/alarm.py"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run that refuses its arguments does not read.
    let _ = run.stdin.take().unwrap().write_all(input.as_bytes());
    run.wait_with_output().unwrap()
}

/// Each alarm in short: what, why, of which face, at which frame.
fn alarms(arguments: &[&str], records: &[Value]) -> Vec<(String, String, u64, u64)> {
    let input: String = records.iter().map(|r| format!("{r}\n")).collect();
    let output = run(arguments, &input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    common::records(std::str::from_utf8(&output.stdout).unwrap())
        .iter()
        .map(|a| (text(&a["alarm"]), text(&a["reason"]), a["track"].as_u64().unwrap(), a["frame"].as_u64().unwrap()))
        .collect()
}

fn alarm(what: &str, why: &str, track: u64, frame: u64) -> (String, String, u64, u64) {
    (what.into(), why.into(), track, frame)
}

#[test]
fn a_high_score_raises_after_its_time_and_a_low_one_clears_after_its_own() {
    let told = scores([0.2; 5].into_iter().chain([0.9; 15]).chain([0.3; 30]));
    assert_eq!(alarms(&[], &told), [alarm("raised", "score-high", 1, 15), alarm("cleared", "score-low", 1, 40)]);
}

#[test]
fn a_score_that_trembles_around_the_threshold_raises_one_alarm() {
    // Above for long enough once, then ever again below the first threshold but not below the second.
    let told = scores([0.75; 12].into_iter().chain((0..100).map(|n| if n % 3 == 0 { 0.75 } else { 0.6 })));
    assert_eq!(alarms(&[], &told), [alarm("raised", "score-high", 1, 10)]);
    // Never above for long enough.
    assert_eq!(alarms(&[], &scores((0..100).map(|n| if n % 9 == 0 { 0.6 } else { 0.9 }))), []);
}

#[test]
fn faces_and_streams_are_judged_by_themselves() {
    let mut told = vec![];
    for n in 0u32..20 {
        let at = f64::from(n) / 10.0;
        told.push(record("a", n.into(), at, &[(1, 0.9, "fake"), (2, 0.1, "real")]));
        told.push(record("b", n.into(), at, &[(1, 0.2, "real"), (2, 0.8, "undecided")]));
    }
    assert_eq!(alarms(&[], &told), [alarm("raised", "score-high", 1, 10)]);
    let any = alarms(&["--any-verdict"], &told);
    assert_eq!(any, [alarm("raised", "score-high", 1, 10), alarm("raised", "score-high", 2, 10)]);
}

#[test]
fn a_face_that_goes_and_a_stream_that_begins_anew_end_their_alarms() {
    let mut told = scores([0.9; 15]);
    told.extend((15..200).map(|n| record("a", n, n as f64 / 10.0, &[])));
    assert_eq!(alarms(&[], &told), [alarm("raised", "score-high", 1, 10), alarm("cleared", "gone", 1, 114)]);
    let again = [scores([0.9; 15]), scores([0.9; 5])].concat();
    assert_eq!(alarms(&[], &again), [alarm("raised", "score-high", 1, 10), alarm("cleared", "stream-restarted", 1, 0)]);
}

#[test]
fn a_command_gets_each_alarm_and_its_failure_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let queue = folder.path().join("queue");
    let command = format!("cat >>{}", queue.display());
    assert_eq!(alarms(&["--run", &command], &scores([0.9; 15])).len(), 1);
    let case: Value = serde_json::from_str(&std::fs::read_to_string(queue).unwrap()).unwrap();
    assert_eq!(
        (&case["alarm"], &case["since"], &case["model"]["sha256"]),
        (&json!("raised"), &json!(0.0), &json!("ab"))
    );
    let input: String = scores([0.9; 15]).iter().map(|r| format!("{r}\n")).collect();
    let output = run(&["--run", "false"], &input);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the command of --run failed"));
}

#[test]
fn what_is_no_record_and_what_is_no_hysteresis_is_told() {
    let output = run(&[], &format!("{}\nnonsense\n", record("a", 0, 0.0, &[])));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: line 2 is no record") && said.contains("nonsense"), "{said}");
    let output = run(&["--clear-at=0.8"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hysteresis"));
    let output = run(&["/nowhere.jsonl"], "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: "), "{output:?}");
}
