//! What the end-to-end tests share: pipelines run to their end, and what is found beside the project.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstdeepfake::meta::Scores;

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The clip that the project carries.
pub fn sample() -> PathBuf {
    root().join("pipelines/sample/collins.mp4")
}

/// Material that is not part of the project: `../shared/data/NAME`. Says that a test is skipped where it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: needs {}, which is not there", path.display());
    None
}

/// GStreamer with the plugin of this build.
///
/// # Panics
///
/// Where GStreamer does not start.
pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstdeepfake::plugin_register_static().expect("the plugin registers");
    });
}

/// Runs a pipeline to its end.
///
/// # Errors
///
/// The first error on the bus, or how the pipeline cannot be made.
pub fn run(pipeline: &gst::Pipeline) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("no bus")?;
    pipeline.set_state(gst::State::Playing).map_err(|e| {
        let first = bus.pop_filtered(&[gst::MessageType::Error]).map(|m| format!("{:?}", m.view()));
        format!("{e}: {first:?}")
    })?;
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(1200), &types);
    let result = match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(e)) => Err(format!("{} ({:?})", e.error(), e.debug())),
        _ => Err("not at its end after twenty minutes".to_owned()),
    };
    pipeline.set_state(gst::State::Null).map_err(|e| e.to_string())?;
    result
}

/// Runs a description that has an element named `out` last, and collects the scores on the buffers that reach it.
///
/// # Errors
///
/// As [`run`]; a buffer without scores.
pub fn scores_of(description: &str) -> Result<Vec<Scores>, String> {
    init();
    let pipeline = gst::parse::launch(description).map_err(|e| e.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "not a pipeline")?;
    let pad = pipeline.by_name("out").and_then(|e| e.static_pad("sink")).ok_or("no element named out")?;
    let found = Arc::new(Mutex::new(Vec::new()));
    let sink = found.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let (Some(buffer), Ok(mut found)) = (info.buffer(), sink.lock()) {
            found.push(Scores::from_buffer(buffer));
        }
        gst::PadProbeReturn::Ok
    });
    run(&pipeline)?;
    let found = std::mem::take(&mut *found.lock().map_err(|e| e.to_string())?);
    let count = found.len();
    found.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| format!("a buffer of {count} has no scores"))
}

/// Runs an independent implementation, `tests/peers/NAME`, in Python; `None`, said aloud, where its packages are not
/// installed (`tests/run.sh` does that).
///
/// # Panics
///
/// Where it fails.
pub fn peer(name: &str, arguments: &[&str]) -> Option<serde_json::Value> {
    let packages = root().join(".deps/peers");
    if !packages.exists() {
        eprintln!("SKIPPED: needs {}, which tests/run.sh installs", packages.display());
        return None;
    }
    let script = root().join("tests/peers").join(name);
    let output = Command::new("python3").arg(script).args(arguments).env("PYTHONPATH", packages).output();
    let output = output.expect("python3 starts");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("a peer prints JSON"))
}
