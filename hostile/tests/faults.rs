//! `docs/faults.md` tells of every case, and of tests that there are.

use std::path::{Path, PathBuf};

const CASES: usize = 33;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("fn {name}(")));
    // Other attributes may stand between.
    at.is_some_and(|at| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| *line == "#[test]")
    })
}

/// What is wrong with the table.
fn mistakes(text: &str) -> Vec<String> {
    let mut mistakes = vec![];
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect())
        .collect();
    let numbers = rows.iter().filter_map(|row| row[0].split_once(". ")?.0.parse::<usize>().ok());
    mistakes.extend(numbers.filter(|n| !(1..=CASES).contains(n)).map(|n| format!("there is no case {n}")));
    for case in 1..=CASES {
        let row = rows.iter().filter(|row| row[0].starts_with(&format!("{case}. "))).collect::<Vec<_>>();
        let [row] = row[..] else {
            mistakes.push(format!("case {case} has {} rows", row.len()));
            continue;
        };
        let mut tests = 0;
        for part in row[2].split(';') {
            let mut names = quoted(part);
            let file = names.next().unwrap_or_default();
            let Ok(source) = std::fs::read_to_string(root().join(file)) else {
                mistakes.push(format!("case {case}: there is no {file}"));
                continue;
            };
            for name in names {
                tests += 1;
                if !is_test(&source, name) {
                    mistakes.push(format!("case {case}: {file} has no test {name}"));
                }
            }
        }
        if tests == 0 {
            mistakes.push(format!("case {case} has no test"));
        }
    }
    mistakes
}

#[test]
fn every_case_has_its_row_and_every_test_exists() {
    let text = std::fs::read_to_string(root().join("docs/faults.md")).unwrap();
    assert_eq!(mistakes(&text), [""; 0]);
    let wrong = text
        .replace("`plugin/tests/restarts.rs`", "`plugin/tests/nowhere.rs`")
        .replace("of_sixteen_streams_each", "of_seventeen_streams_each")
        .replace("| 7. ", "| 77. ");
    let expected = [
        "there is no case 77",
        "case 6: there is no plugin/tests/nowhere.rs",
        "case 6 has no test",
        "case 7 has 0 rows",
        "case 15: plugin/tests/losses.rs has no test of_seventeen_streams_each_has_its_own_fate",
    ];
    assert_eq!(mistakes(&wrong), expected);
}
