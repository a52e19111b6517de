//! What the tests of the pipelines share: scripts as users call them, with the plugin of this project, and pipelines that make and look
//! at media.

#![allow(dead_code, reason = "each test uses its part")]

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use gst::prelude::*;

/// Nothing here takes that long, even on a busy machine.
const MOST_SECONDS: &str = "240";

/// The clip that the project carries.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/collins.mp4")
}

/// A program in a shell without what `cargo test` adds to the environment, ended where it hangs.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    // In the foreground it passes signals on to the program alone. Not `--kill-after`, whose time begins with any signal that is passed on.
    command.args(["--foreground", "--signal=KILL", MOST_SECONDS]).arg(program).stdin(Stdio::null());
    as_users_have(&mut command);
    command
}

/// Takes from its environment what `cargo test` adds, which is not in a user's shell.
pub(crate) fn as_users_have(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let cargos = text.starts_with("CARGO_") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&&*text);
        if cargos || ["ORT_DYLIB_PATH", "LIBTORCH", "LD_LIBRARY_PATH"].contains(&&*text) {
            command.env_remove(name);
        }
    }
}

/// A script of this folder, which takes the plugin and the program that are built already.
pub(crate) fn script(name: &str) -> Command {
    let mut command = command(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    let program = Path::new(env!("CARGO_BIN_EXE_deepfake-score")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(program.to_owned()).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(path).unwrap()).env("DEEPFAKE_PLUGINS", plugins());
    command
}

/// The program behind `score.sh`.
pub(crate) fn program() -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_deepfake-score"));
    command.env("GST_PLUGIN_PATH", plugins());
    command
}

/// The folder of the plugin: the one that the environment names, else as `score.sh` builds it.
pub(crate) fn plugins() -> &'static Path {
    static PLUGINS: OnceLock<PathBuf> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        if let Some(plugins) = std::env::var_os("DEEPFAKE_PLUGINS") {
            return plugins.into();
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut build = Command::new(folder.join("score.sh"));
        // Else it relies on the ONNX Runtime that `cargo test` names, and puts none beside the plugin.
        as_users_have(&mut build);
        let built = build.arg("--version").stdin(Stdio::null()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| folder.join("../target"), PathBuf::from);
        target.join("release/gstreamer-1.0").canonicalize().unwrap()
    })
}

/// What a program that must end well wrote to stdout and stderr.
pub(crate) fn succeeds(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    (text(&output.stdout), said)
}

/// What a program says that must fail, with the exit code.
pub(crate) fn fails(command: &mut Command, code: i32) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = text(&stderr);
    assert_eq!(status.code(), Some(code), "{said}");
    said
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A pipeline that does not run yet.
pub(crate) fn pipeline(description: &str) -> gst::Pipeline {
    gst::init().unwrap();
    gst::parse::launch(description).unwrap_or_else(|e| panic!("{e}: {description}")).downcast().unwrap()
}

/// Plays a pipeline to its end.
pub(crate) fn play(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let message =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(120), &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        Some(gst::MessageView::Error(e)) => panic!("{}: {:?}", e.error(), e.debug()),
        _ => panic!("did not end in two minutes"),
    }
}

/// A file made by a pipeline that ends in what it is to hold.
pub(crate) fn file(path: &Path, description: &str) {
    let pipeline = pipeline(&format!("{description} ! filesink name=file"));
    pipeline.by_name("file").unwrap().set_property("location", path);
    play(&pipeline);
}

/// The times of the buffers that reach the end of a pipeline.
pub(crate) fn times(description: &str) -> Vec<gst::ClockTime> {
    let pipeline = pipeline(&format!("{description} ! fakesink name=end sync=false"));
    let (send, receive) = std::sync::mpsc::channel();
    let pad = pipeline.by_name("end").unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        send.send(info.buffer().unwrap().pts().unwrap()).unwrap();
        gst::PadProbeReturn::Ok
    });
    play(&pipeline);
    drop((pad, pipeline));
    receive.try_iter().collect()
}

/// A TCP port that nobody has.
pub(crate) fn tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// UDP ports that nobody has.
pub(crate) fn udp_ports<const N: usize>() -> [u16; N] {
    let sockets: [UdpSocket; N] = std::array::from_fn(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

/// Each line as JSON.
pub(crate) fn records(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
