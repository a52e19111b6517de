//! Started and stopped a hundred times: no thread, no file and no object stays behind. In a process of its own, which GStreamer's leaks
//! tracer watches, so that nobody else's count.

use gst::prelude::*;

mod common;

const ROUNDS: usize = 100;

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// GStreamer keeps threads of its pool for a while; they are not the element's.
fn own_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("comm")).ok());
    names.map(|n| n.trim().to_owned()).filter(|n| n.starts_with("deepfake") || n.starts_with("publish")).collect()
}

fn round(mode: &str, folder: &std::path::Path, n: usize) {
    let model = folder.join("brightness.onnx");
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc ! video/x-raw,format=I420,width=64,height=48 ! deepfakescore mode={mode} face-source=frame model={} \
         ! deepfakeoverlay ! deepfakejson name=j ! fakesink name=out sync=false j.json ! fakesink sync=false",
        model.display()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    // Some are stopped before the first frame, some after it.
    if !n.is_multiple_of(3) {
        assert_eq!(pipeline.state(gst::ClockTime::from_seconds(60)).0, Ok(gst::StateChangeSuccess::Success));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    // And again, as it is.
    pipeline.set_state(gst::State::Playing).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    pipeline.bus().unwrap().set_flushing(true);
}

/// What the leaks tracer has seen made and not ended since it was last told to start.
fn alive(tracer: &gst::Tracer) -> Vec<String> {
    let mut all: Option<Vec<String>> = None;
    let look = || {
        let checkpoint = tracer.emit_by_name::<gst::Structure>("activity-get-checkpoint", &[]);
        let list = |name: &str| -> Vec<String> {
            let list = checkpoint.get::<gst::List>(name).unwrap();
            let fields =
                |s: gst::Structure| (s.get::<String>("type-name").unwrap(), s.get::<String>("address").unwrap());
            list.iter().map(|s| fields(s.get().unwrap())).map(|(name, address)| format!("{name} {address}")).collect()
        };
        let left = all.get_or_insert_with(|| list("objects-created-list"));
        for object in list("objects-removed-list") {
            if let Some(at) = left.iter().position(|c| *c == object) {
                left.swap_remove(at);
            }
        }
        left.clone()
    };
    common::settled(look, &vec![])
}

#[test]
fn a_hundred_starts_and_stops_leave_nothing_behind() {
    if !common::alone("a_hundred_starts_and_stops_leave_nothing_behind", &[("GST_TRACERS", "leaks")]) {
        return;
    }
    common::init();
    let folder = tempfile::tempdir().unwrap();
    common::brightness_model(folder.path());
    let tracers = gst::active_tracers();
    let tracer = tracers.iter().find(|t| t.type_().name() == "GstLeaksTracer").expect("the leaks tracer watches");
    for mode in ["every-frame", "live"] {
        // What is made once and kept is made now: fonts, threads of pools, ONNX Runtime.
        (0..5).for_each(|n| round(mode, folder.path(), n));
        assert_eq!(common::settled(own_threads, &vec![]), [""; 0], "{mode}");
        let before = (entries("/proc/self/fd"), entries("/proc/self/task"));
        tracer.emit_by_name::<()>("activity-start-tracking", &[]);
        for n in 0..ROUNDS {
            round(mode, folder.path(), n);
            assert_eq!(common::settled(own_threads, &vec![]), [""; 0], "{mode} {n}");
        }
        let left = alive(tracer);
        tracer.emit_by_name::<()>("activity-stop-tracking", &[]);
        let after = (entries("/proc/self/fd"), entries("/proc/self/task"));
        println!("{mode}: files and threads {before:?} before, {after:?} after {ROUNDS} rounds; alive {left:?}");
        assert_eq!(left, [""; 0], "{mode}");
        // GLib keeps idle threads of its pools for a while, how many depends on the machine: what is left behind is one a round at least.
        assert!(
            after.0 <= before.0 + 2 && after.1 <= before.1 + ROUNDS / 10,
            "{mode}: files and threads {before:?}, then {after:?}"
        );
    }
}
