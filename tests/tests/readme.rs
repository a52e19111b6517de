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

/// Files below a folder, without what is built or fetched.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let built = path
            .file_name()
            .is_some_and(|n| ["target", ".deps", ".cache", ".git", "runs"].map(Into::into).contains(&n));
        match path.is_dir() {
            true if !built => files(&path, found),
            true => {}
            false => found.push(path),
        }
    }
}

#[test]
fn what_says_how_it_is_run_can_be_run() {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    let mut all = vec![];
    files(&root(), &mut all);
    let is_script = |path: &PathBuf| {
        let mut first = [0; 3];
        std::fs::File::open(path).unwrap().read_exact(&mut first).is_ok_and(|()| first == *b"#!/")
    };
    let scripts: Vec<_> = all.into_iter().filter(is_script).collect();
    assert!(scripts.contains(&root().join(TESTS)) && scripts.contains(&root().join("trainer/proof/data.sh")));
    let barred: Vec<_> =
        scripts.iter().filter(|p| p.metadata().unwrap().permissions().mode() & 0o111 != 0o111).collect();
    assert!(barred.is_empty(), "not executable: {barred:?}");
}

#[test]
fn blocks_of_other_languages_are_left_out() {
    assert_eq!(blocks("a\n```sh\nb\nc\n```\n```text\nd\n```\n```sh\ne\n```\n"), ["b\nc", "e"]);
}
