//! The commands that the README gives do what it says: each block marked `sh` is run.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use deepfake_tests::root;

/// What runs this very test.
const TESTS: &str = "tests/run.sh";

fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![];
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line == "```sh") {
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

/// What `cargo test` sets is not in a user's shell.
fn is_cargos(name: &str) -> bool {
    (name.starts_with("CARGO") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&name))
        || ["ORT_DYLIB_PATH", "LIBTORCH", "LD_LIBRARY_PATH"].contains(&name)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A folder that looks like the project's, so that what the commands write does not land in it.
fn stage() -> tempfile::TempDir {
    let stage = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "target" {
            symlink(entry.path(), stage.path().join(entry.file_name())).unwrap();
        }
    }
    symlink(target(), stage.path().join("target")).unwrap();
    stage
}

fn run(block: &str, folder: &Path) {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", block]).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if is_cargos(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{block}\nfails:\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_command_of_the_readme_works() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = blocks(&readme);
    let stage = stage();
    // The plugin that the later ones load is built by the first.
    assert!(blocks[0].starts_with("pipelines/score.sh\n"), "the README begins with how to score a video");
    for block in &blocks {
        let block: Vec<_> = block.lines().filter(|line| *line != TESTS).collect();
        run(&block.join("\n"), stage.path());
    }
}

#[test]
fn continuous_integration_runs_the_tests_as_the_readme_says() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(blocks(&readme).iter().any(|block| block.lines().any(|line| line == TESTS)));
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(ci.lines().any(|line| line == TESTS), "{ci}");
}

#[test]
fn what_says_how_it_is_run_can_be_run() {
    // As those who clone it get it, whatever else lies here.
    let listed = Command::new("git").args(["ls-files", "--stage"]).current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let mut scripts = vec![];
    for line in String::from_utf8(listed.stdout).unwrap().lines() {
        let (mode, path) = (line.split(' ').next().unwrap(), line.split('\t').nth(1).unwrap());
        if std::fs::read(root().join(path)).is_ok_and(|content| content.starts_with(b"#!/")) {
            scripts.push(path.to_owned());
            assert_eq!(mode, "100755", "{path} is not executable: git update-index --chmod=+x");
        }
    }
    assert!(scripts.iter().any(|s| s == TESTS), "{scripts:?}");
}

#[test]
fn blocks_of_other_languages_are_left_out() {
    assert_eq!(blocks("a\n```sh\nb\nc\n```\n```text\nd\n```\n```sh\ne\n```\n"), ["b\nc", "e"]);
}
