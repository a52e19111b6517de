//! The set-up scripts on machines that lack this or that: what they would install is told by stand-ins for apt-get, pip and
//! the toolchain, so that nothing is.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::RwLock;

use tempfile::TempDir;

/// What the scripts may use of the machine that the tests run on: anything else would let its own state in.
const TOOLS: &[&str] = &[
    "basename",
    "bash",
    "cat",
    "chmod",
    "cut",
    "dirname",
    "env",
    "flock",
    "head",
    "mkdir",
    "mktemp",
    "mv",
    "realpath",
    "rm",
    "sha256sum",
    "sort",
    "touch",
    "uname",
];

/// Written to by who writes a program, read by who starts one: a child that is just forked holds what its parent has open, and a program
/// that somebody has open for writing cannot be run ("text file busy").
static PROGRAMS: RwLock<()> = RwLock::new(());

fn start(command: &mut Command) -> Child {
    let _no_writer = PROGRAMS.read().unwrap();
    command.spawn().unwrap()
}

fn output(command: &mut Command) -> Output {
    start(command.stdout(Stdio::piped()).stderr(Stdio::piped())).wait_with_output().unwrap()
}

/// A machine with a copy of the scripts, and nothing else but what a test puts there.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self { folder };
        for folder in ["bin", "home", "project/pipelines/setup"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::copy(source.join("setup.sh"), machine.path("project/pipelines/setup.sh")).unwrap();
        for entry in fs::read_dir(source.join("setup")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), machine.path("project/pipelines/setup").join(entry.file_name())).unwrap();
        }
        for tool in TOOLS {
            symlink(which(tool), machine.path("bin").join(tool)).unwrap();
        }
        machine.tool("id", "echo 0");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A stand-in for a program. Each call is noted in `calls`.
    fn tool(&self, name: &str, script: &str) {
        self.tool_at(&format!("bin/{name}"), script);
    }

    fn tool_at(&self, path: &str, script: &str) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let calls = self.path("calls");
        let _no_child = PROGRAMS.write().unwrap();
        fs::write(&file, format!("#!/bin/bash\necho \"{name} $*\" >>{}\n{script}\n", calls.display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// All that scoring a video needs, but for ONNX Runtime.
    fn complete(self) -> Self {
        for tool in ["pkg-config", "gst-inspect-1.0", "gst-launch-1.0", "apt-get"] {
            self.tool(tool, "");
        }
        self.tool("cc", "echo /bin/bash");
        self.tool("fc-list", "echo DejaVu Sans");
        self.toolchain("bin", "1.96.0");
        self
    }

    fn toolchain(&self, folder: &str, version: &str) {
        for tool in ["cargo", "rustc"] {
            self.tool_at(&format!("{folder}/{tool}"), &format!("echo '{tool} {version} (0123456 2026-01-01)'"));
        }
    }

    /// A package index that holds a wheel with the library: pip succeeds at the given attempt. Gives what the scripts have to
    /// say in front of their work, so that they expect this wheel.
    fn index(&self, content: &str, succeeds_at: u32) -> String {
        let wheel = self.path("onnxruntime-1.28.0-cp312-cp312-manylinux_2_27_x86_64.whl");
        let python = which("python3");
        let mut zip = Command::new(&python);
        zip.args(["-c", "import sys, zipfile; zipfile.ZipFile(sys.argv[1], 'w').writestr(sys.argv[2], sys.argv[3])"])
            .args([wheel.as_os_str(), "onnxruntime/capi/libonnxruntime.so.1.28.0".as_ref(), content.as_ref()]);
        assert!(output(&mut zip).status.success());
        let attempts = self.path("attempts");
        self.tool(
            "python3",
            &format!(
                r#"[[ $1 == -m ]] || exec {python} "$@"
                [[ $* == *download* ]] || exit 0
                echo >>{attempts}
                mapfile -t lines <{attempts}
                ((${{#lines[@]}} >= {succeeds_at})) || exit 1
                while [[ $1 != --dest ]]; do shift; done
                {cp} {wheel} "$2""#,
                python = python.display(),
                attempts = attempts.display(),
                wheel = wheel.display(),
                cp = which("cp").display(),
            ),
        );
        let sum = output(Command::new("sha256sum").arg(&wheel));
        let sum = String::from_utf8(sum.stdout).unwrap();
        format!("wheel() {{ echo 1.28.0 {}; }}", &sum[..64])
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.path("bin/bash"));
        command
            .arg("-c")
            .arg(format!("set -euo pipefail\nsource pipelines/setup.sh\n{script}"))
            .current_dir(self.path("project"))
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("SETUP_RETRY_SECONDS", "0")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, script: &str) -> Output {
        self.tool("sleep", "");
        output(&mut self.command(script))
    }

    fn succeeds(&self, script: &str) {
        let output = self.run(script);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty(), "stdout is the results': {}", String::from_utf8_lossy(&output.stdout));
    }

    /// What it says, given that it fails.
    fn fails(&self, script: &str) -> String {
        let output = self.run(script);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{said}");
        assert!(output.stdout.is_empty(), "stdout is the results'");
        said
    }

    fn calls(&self, of: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().filter(|l| l.starts_with(of)).map(str::to_owned).collect()
    }

    fn deps(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path("project/.deps"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn library(&self) -> PathBuf {
        self.path("project/.deps/onnxruntime/libonnxruntime.so.1.28.0")
    }
}

/// Where a program of this machine is. Shims of version managers, which depend on the home folder, are passed by.
fn which(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let system = ["/usr/bin", "/bin"].map(PathBuf::from);
    let found =
        system.into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join(tool)).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("{tool} is needed for the tests"))
}

#[test]
fn a_complete_machine_is_left_alone() {
    let machine = Machine::new().complete();
    let pinned = machine.index("library", 1);
    machine.succeeds(&format!("{pinned}; setup score"));
    assert_eq!(fs::read_to_string(machine.library()).unwrap(), "library");
    assert_eq!(machine.deps(), [".lock", "onnxruntime"]);

    fs::remove_file(machine.path("calls")).unwrap();
    machine.succeeds(&format!("{pinned}; setup score"));
    assert!(machine.calls("python3").is_empty() && machine.calls("apt-get").is_empty(), "{:?}", machine.calls(""));
}

#[test]
fn a_wheel_with_another_digest_is_refused_and_leaves_nothing() {
    let machine = Machine::new().complete();
    machine.index("library", 1);
    let said = machine.fails("setup score");
    assert!(said.contains("is not the file it should be"), "{said}");
    assert_eq!(machine.deps(), [".lock"]);
}

#[test]
fn a_mirror_that_fails_is_asked_three_times() {
    let machine = Machine::new().complete();
    let pinned = machine.index("library", 4);
    let said = machine.fails(&format!("{pinned}; setup score"));
    assert!(said.contains("error: pip could not download onnxruntime 1.28.0"), "{said}");
    assert_eq!(fs::read_to_string(machine.path("attempts")).unwrap().lines().count(), 3);
    assert_eq!(machine.deps(), [".lock"]);
}

#[test]
fn a_mirror_that_recovers_is_enough() {
    let machine = Machine::new().complete();
    let pinned = machine.index("library", 3);
    machine.succeeds(&format!("{pinned}; setup score"));
    assert!(machine.library().exists());
}

#[test]
fn what_an_interrupted_run_left_is_cleared_away() {
    let machine = Machine::new().complete();
    let pinned = machine.index("new", 1);
    // Cut off while unpacking, and a finished one of another version.
    fs::create_dir_all(machine.path("project/.deps/.unpacking.abc/onnxruntime")).unwrap();
    fs::create_dir_all(machine.path("project/.deps/onnxruntime")).unwrap();
    fs::write(machine.path("project/.deps/onnxruntime/.wheel"), "1.27.0 0123\n").unwrap();
    fs::write(machine.library(), "old").unwrap();
    machine.succeeds(&format!("{pinned}; setup score"));
    assert_eq!(fs::read_to_string(machine.library()).unwrap(), "new");
    assert_eq!(machine.deps(), [".lock", "onnxruntime"]);
}

#[test]
fn two_at_once_download_once() {
    let machine = Machine::new().complete();
    let pinned = machine.index("library", 1);
    let mut runs: Vec<_> =
        (0..4).map(|_| start(machine.command(&format!("{pinned}; setup score")).stderr(Stdio::null()))).collect();
    assert!(runs.iter_mut().all(|run| run.wait().unwrap().success()));
    assert_eq!(fs::read_to_string(machine.path("attempts")).unwrap().lines().count(), 1);
}

#[test]
fn a_library_of_the_users_own_is_taken() {
    let machine = Machine::new().complete();
    let own = machine.path("own.so");
    fs::write(&own, "own").unwrap();
    machine.succeeds(&format!("ORT_DYLIB_PATH={0}; setup score; [[ $onnxruntime == {0} ]]", own.display()));
    assert!(machine.calls("python3").is_empty());
    let said = machine.fails("ORT_DYLIB_PATH=/nowhere/lib.so; setup score");
    assert!(said.contains("/nowhere/lib.so"), "{said}");
}

#[test]
fn a_processor_without_a_wheel_is_told() {
    let machine = Machine::new().complete();
    machine.index("library", 1);
    fs::remove_file(machine.path("bin/uname")).unwrap();
    machine.tool("uname", "echo riscv64");
    let said = machine.fails("setup score");
    assert!(said.contains("error: onnxruntime") && said.contains("riscv64"), "{said}");
}

#[test]
fn missing_packages_are_installed_and_nothing_else() {
    let machine = Machine::new().complete();
    let pinned = machine.index("library", 1);
    let installed = machine.path("installed");
    machine.tool("gst-inspect-1.0", &format!("[[ $2 != x264enc || -e {} ]]", installed.display()));
    machine.tool("apt-get", &format!("[[ $1 != install ]] || touch {}", installed.display()));
    machine.succeeds(&format!("{pinned}; setup score"));
    let calls = machine.calls("apt-get");
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[0].starts_with("apt-get update"));
    assert!(calls[1].starts_with("apt-get install --yes"));
    assert!(
        calls[1].ends_with(" gstreamer1.0-plugins-ugly") && calls[1].matches("gstreamer").count() == 1,
        "{calls:?}"
    );
}

#[test]
fn a_bare_machine_gets_all_packages() {
    let machine = Machine::new();
    let said = machine.fails("missing_packages tests >&2; exit 1");
    for package in [
        "gcc",
        "libc6-dev",
        "g++",
        "pkg-config",
        "libgstreamer1.0-dev",
        "libgstreamer-plugins-base1.0-dev",
        "libcairo2-dev",
        "libpango1.0-dev",
        "gstreamer1.0-tools",
        "gstreamer1.0-plugins-base",
        "gstreamer1.0-plugins-good",
        "gstreamer1.0-plugins-bad",
        "gstreamer1.0-plugins-ugly",
        "gstreamer1.0-libav",
        "fonts-dejavu-core",
        "python3-pip",
        "shellcheck",
    ] {
        assert!(said.lines().any(|line| line == package), "{package} is not in:\n{said}");
    }
}

#[test]
fn packages_that_do_not_bring_what_they_should_are_told() {
    let machine = Machine::new().complete();
    machine.tool("pkg-config", "[[ $2 != cairo-gobject ]]");
    let said = machine.fails("setup score");
    assert!(said.contains("still not found: libcairo2-dev"), "{said}");
}

#[test]
fn apt_get_that_fails_is_told_with_what_to_do() {
    let machine = Machine::new().complete();
    machine.tool("pkg-config", "exit 1");
    machine.tool("apt-get", "exit 100");
    let said = machine.fails("setup score");
    assert!(said.contains("error: apt-get could not install: libgstreamer1.0-dev"), "{said}");
    assert_eq!(machine.calls("apt-get install").len(), 3);
}

#[test]
fn without_root_sudo_is_asked_and_without_sudo_the_command_is_told() {
    let machine = Machine::new().complete();
    machine.tool("id", "echo 1000");
    machine.tool("pkg-config", "exit 1");
    let said = machine.fails("setup score");
    assert!(said.contains("needs root or sudo; as root, run: apt-get install"), "{said}");
    assert!(machine.calls("apt-get").is_empty());

    machine.tool("sudo", "exit 1");
    machine.fails("setup score");
    let calls = machine.calls("sudo");
    assert!(calls[0].starts_with("sudo --non-interactive apt-get update"), "{calls:?}");
}

#[test]
fn without_apt_get_the_packages_are_told() {
    let machine = Machine::new().complete();
    machine.tool("gst-inspect-1.0", "exit 1");
    fs::remove_file(machine.path("bin/apt-get")).unwrap();
    let said = machine.fails("setup score");
    assert!(said.contains("has no apt-get") && said.contains("gstreamer1.0-libav"), "{said}");
}

#[test]
fn a_toolchain_of_the_users_own_is_found_where_path_does_not_name_it() {
    let machine = Machine::new().complete();
    machine.toolchain("bin", "1.63.0");
    machine.toolchain("home/.cargo/bin", "1.95.0");
    machine.succeeds("ORT_DYLIB_PATH=$BASH; setup score; [[ $(command -v cargo) == $HOME/.cargo/bin/cargo ]]");
    assert!(machine.calls("apt-get").is_empty());
}

#[test]
fn an_old_toolchain_is_joined_by_debians_new_one() {
    let machine = Machine::new().complete();
    // A rustup that has no toolchain prints nothing and fails.
    machine.tool_at("home/.cargo/bin/cargo", "exit 1");
    machine.tool_at("home/.cargo/bin/rustc", "exit 1");
    machine.toolchain("bin", "1.63.0");
    let new =
        |tool: &str| format!("echo \"echo '{tool} 1.96.0 (x)'\" >{}", machine.path(&format!("bin/{tool}")).display());
    machine.tool(
        "apt-get",
        &format!("[[ $* != *\"rustc-web cargo-web\"* ]] || {{ {}; {}; }}", new("cargo"), new("rustc")),
    );
    machine.succeeds("ORT_DYLIB_PATH=$BASH; setup score");
    assert_eq!(machine.calls("apt-get install").len(), 1);
}

#[test]
fn a_debian_without_a_new_toolchain_is_told() {
    let machine = Machine::new().complete();
    machine.toolchain("bin", "1.85.0");
    let said = machine.fails("ORT_DYLIB_PATH=$BASH; setup score");
    assert!(said.contains("bookworm-security") && said.contains("rustup"), "{said}");
}

#[test]
fn versions_are_compared_by_number() {
    let machine = Machine::new();
    machine.succeeds(
        "at_least 1.95.0 1.95.0; at_least 1.100.0 1.95.0; at_least 2.0.0 1.95.0; ! at_least 1.94.9 1.95.0; ! at_least 1.9.0 1.95.0",
    );
}
