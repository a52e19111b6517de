//! `false_alarms.py`: what it counts, on records made for it, and its intervals beside SciPy's.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

/// Records of faces that are scored in so many frames and have a verdict in the last of them.
fn write(path: &Path, faces: &[(u64, u64, &str)]) {
    let most = faces.iter().map(|f| f.1).max().unwrap_or(1);
    let lines = (0..most).map(|frame| {
        let faces: Vec<_> = faces
            .iter()
            .filter(|f| frame < f.1)
            .map(|&(track, frames, verdict)| {
                let verdict = if frame + 1 == frames { verdict } else { "undecided" };
                json!({"track": track, "score": 0.5, "verdict": verdict})
            })
            .chain([json!({"track": 99, "score": null, "not_scored": "too-small", "verdict": "undecided"})])
            .collect();
        format!("{}\n", json!({"frame": frame, "faces": faces}))
    });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, lines.collect::<String>()).unwrap();
}

fn run(arguments: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/false_alarms.py");
    Command::new("python3").arg(script).args(arguments).output().unwrap()
}

fn table(arguments: &[&str]) -> Vec<String> {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().skip(2).map(str::to_owned).collect()
}

#[test]
fn faces_are_counted_a_video_and_together() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    write(&folder.path().join("files/sub/a.mp4.jsonl"), &[(1, 30, "real"), (2, 30, "fake"), (3, 4, "fake")]);
    let many: Vec<_> = (1..=9).map(|n| (n, 6, "undecided")).collect();
    write(&folder.path().join("files/b.mp4.jsonl"), &many);
    // scipy.stats.binomtest(k, n).proportion_ci(method="exact"), SciPy 1.17.1
    assert_eq!(
        table(&[root]),
        [
            "| b.mp4 | 9 | 0 | 0.000 [0.000, 0.336] |",
            "| sub/a.mp4 | 2 | 1 | 0.500 [0.013, 0.987] |",
            "| all | 11 | 1 | 0.091 [0.002, 0.413] |"
        ]
    );
    assert_eq!(table(&[root, "--frames", "1"])[1], "| sub/a.mp4 | 3 | 2 | 0.667 [0.094, 0.992] |");
    assert_eq!(table(&[root, "--frames", "50"])[2], "| all | 0 | 0 | - |");
}

#[test]
fn what_is_no_record_is_told_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.jsonl");
    for (text, problem) in [("{}\n", "line 1 is no record"), ("[1]\n", "line 1"), ("nothing\n", "line 1")] {
        std::fs::write(&file, text).unwrap();
        let output = run(&[file.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.starts_with("error: ") && said.contains(problem), "{said}");
    }
    let empty = tempfile::tempdir().unwrap();
    for path in [empty.path().to_str().unwrap(), "/nowhere/at-all.jsonl"] {
        let output = run(&[path]);
        assert!(!output.status.success() && output.stderr.starts_with(b"error: "));
    }
}
