//! `deepfakescore` in mode live, and what ends a model that the stream waits for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use deepfake_scoring::onnx::{AttributeProto, NodeProto, TensorProto};
use gst::prelude::*;
use gst_video::VideoInfo;
use gstdeepfake::meta::{Mode, Scores};

mod common;
use common::{brightness_model, init, mean, scorer, write_model};

/// As the brightness model, but on white crops it multiplies large matrices for longer than any test waits.
fn slow_model(folder: &Path) -> PathBuf {
    let path = folder.join("slow.onnx");
    let metadata = [("contract_version", "1"), ("output.map", "map"), ("crop.margin", "0")];
    let axes = |value: &[i64]| vec![AttributeProto::int_list("axes", value), AttributeProto::int("keepdims", 0)];
    let mut nodes = vec![
        mean("x", "map0", &[1]),
        mean("map0", "logit", &[1, 2]),
        // The side of the matrices: 1 for what is darker than half, up to 1,500 for white.
        NodeProto::new("ReduceMax", &["x"], &["level"], axes(&[0, 1, 2, 3])),
        NodeProto::new("Sub", &["level", "half"], &["above"], vec![]),
        NodeProto::new("Mul", &["above", "many"], &["wished"], vec![]),
        NodeProto::new("Max", &["wished", "one"], &["side"], vec![]),
        NodeProto::new("Range", &["zero", "side", "one"], &["numbers"], vec![]),
        NodeProto::new("Mul", &["numbers", "tiny"], &["row"], vec![]),
        NodeProto::new("Reshape", &["row", "as_column"], &["column"], vec![]),
        NodeProto::new("Reshape", &["row", "as_row"], &["flat"], vec![]),
        NodeProto::new("MatMul", &["column", "flat"], &["m0"], vec![]),
    ];
    let names: Vec<_> = (0..=300).map(|i| format!("m{i}")).collect();
    nodes.extend(names.windows(2).map(|pair| NodeProto::new("MatMul", &["m0", &pair[0]], &[&pair[1]], vec![])));
    nodes.extend([
        NodeProto::new("ReduceMean", &["m300"], &["rest"], axes(&[0, 1])),
        NodeProto::new("Mul", &["rest", "zero"], &["nothing"], vec![]),
        NodeProto::new("Add", &["map0", "nothing"], &["map"], vec![]),
    ]);
    let shape = |name: &str, dims: [i64; 2]| TensorProto::ints(name, &[2], &dims);
    let initializer = vec![
        TensorProto::floats("half", &[], &[0.999]),
        TensorProto::floats("many", &[], &[1_500_000.0]),
        TensorProto::floats("one", &[], &[1.0]),
        TensorProto::floats("zero", &[], &[0.0]),
        TensorProto::floats("tiny", &[], &[1e-6]),
        shape("as_column", [-1, 1]),
        shape("as_row", [1, -1]),
    ];
    write_model(&path, nodes, initializer, &metadata);
    path
}

struct Line {
    harness: gst_check::Harness,
    info: VideoInfo,
    count: u64,
    _folder: tempfile::TempDir,
}

impl Line {
    fn new(model: fn(&Path) -> PathBuf, properties: &[(&str, &str)]) -> Self {
        let (element, folder) = scorer(model, properties);
        element.set_property_from_str("face-source", "frame");
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        let info = VideoInfo::builder(gst_video::VideoFormat::Rgb, 64, 48).fps((25, 1)).build().unwrap();
        harness.set_src_caps(info.to_caps().unwrap());
        Self { harness, info, count: 0, _folder: folder }
    }

    /// The next frame, of one gray.
    fn frame(&mut self, gray: u8) -> gst::Buffer {
        let mut buffer = gst::Buffer::with_size(self.info.size()).unwrap();
        let header = buffer.make_mut();
        header.set_pts(self.count * 40.mseconds());
        header.map_writable().unwrap().fill(gray);
        self.count += 1;
        buffer
    }

    fn pass(&mut self, gray: u8) -> gst::Buffer {
        let buffer = self.frame(gray);
        let before = (buffer.as_ptr(), buffer.peek_memory(0).as_ptr());
        let out = self.harness.push_and_pull(buffer).unwrap();
        assert_eq!((out.as_ptr(), out.peek_memory(0).as_ptr()), before, "neither buffer nor pixels are copied");
        out
    }

    fn element(&self) -> gst::Element {
        self.harness.element().unwrap()
    }

    fn stat(&self, name: &str) -> u64 {
        self.element().property::<gst::Structure>("stats").get(name).unwrap()
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn frames_carry_the_newest_result_with_its_age() {
    let mut line = Line::new(brightness_model, &[("mode", "live")]);
    assert_eq!(line.element().property::<Option<String>>("active-mode"), None);
    assert_eq!(Scores::from_buffer(&line.pass(200)), None, "before the first result nothing is known");
    assert_eq!(line.element().property::<Option<String>>("active-mode").as_deref(), Some("live"));
    let mut scores = None;
    wait_until("no result comes", || {
        scores = Scores::from_buffer(&line.pass(200));
        scores.is_some()
    });
    let scores = scores.unwrap();
    let Mode::Live { skipped } = scores.mode else { panic!("{:?}", scores.mode) };
    assert!(skipped >= 1);
    assert_eq!(scores.frame, line.count - 1);
    let face = scores.faces[0].outcome.as_ref().unwrap();
    assert_eq!(face.age, skipped * 40.mseconds());
    assert!(face.map.is_some());
    assert_eq!(line.stat("frames"), line.count);
    assert!(line.stat("skipped") < line.count && line.stat("scored") >= 1);
}

#[test]
fn a_slow_model_holds_no_frame_back_and_the_end_does_not_wait_for_it() {
    let mut line = Line::new(slow_model, &[("mode", "live")]);
    line.pass(255);
    wait_until("the model does not run", || line.stat("cropping") > 0);
    for _ in 0..100 {
        assert_eq!(Scores::from_buffer(&line.pass(255)), None);
    }
    assert_eq!(line.stat("scored"), 0, "it still runs");
    // A flush ends it, after which what is dark is scored.
    assert!(line.harness.push_event(gst::event::FlushStart::new()));
    assert!(line.harness.push_event(gst::event::FlushStop::new(true)));
    assert!(line.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
    wait_until("the flush does not end the run", || Scores::from_buffer(&line.pass(10)).is_some());
    line.pass(255);
    line.element().set_state(gst::State::Null).unwrap();
}

#[test]
fn a_flush_and_a_stop_end_the_run_that_the_stream_waits_for() {
    for flush in [true, false] {
        let mut line = Line::new(slow_model, &[("mode", "every-frame")]);
        assert!(Scores::from_buffer(&line.pass(10)).is_some());
        let bus = gst::Bus::new();
        let element = line.element();
        element.set_bus(Some(&bus));
        let sink = element.static_pad("sink").unwrap();
        let white = line.frame(255);
        let pushed = std::thread::spawn({
            let sink = sink.clone();
            // As from upstream, without the harness, which would be locked meanwhile.
            move || sink.chain(white)
        });
        wait_until("the second frame is not reached", || line.stat("frames") == 2);
        if flush {
            assert!(sink.send_event(gst::event::FlushStart::new()));
            assert_eq!(pushed.join().unwrap(), Err(gst::FlowError::Flushing));
            assert!(sink.send_event(gst::event::FlushStop::new(true)));
            assert!(line.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
            assert!(Scores::from_buffer(&line.pass(10)).is_some());
        } else {
            element.set_state(gst::State::Null).unwrap();
            assert!(pushed.join().unwrap().is_err());
        }
        assert!(bus.iter().all(|m| m.type_() != gst::MessageType::Error), "nothing has gone wrong");
    }
}

/// A pipeline that plays until its end; what the element says of its mode and what the pipeline says of its latency then.
fn play(source: &str, mode: &str) -> (String, gst::ClockTime) {
    init();
    let folder = tempfile::tempdir().unwrap();
    let model = brightness_model(folder.path());
    let text = format!(
        "videotestsrc {source} num-buffers=5 ! video/x-raw,format=RGB,width=64,height=48,framerate=25/1 \
         ! deepfakescore name=s face-source=frame mode={mode} model={} ! fakesink sync=true processing-deadline=0",
        model.display()
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &end).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    let mut latency = gst::query::Latency::new();
    assert!(pipeline.query(&mut latency));
    let active = pipeline.by_name("s").unwrap().property::<Option<String>>("active-mode").unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    (active, latency.result().1)
}

#[test]
fn the_mode_is_that_of_the_pipeline_and_the_latency_that_of_the_mode() {
    let frame = 40.mseconds();
    assert_eq!(play("", "auto").0, "every-frame");
    assert_eq!(play("", "live").0, "live");
    // A live source has a latency of one frame itself.
    assert_eq!(play("is-live=true", "auto"), ("live".to_owned(), frame));
    assert_eq!(play("is-live=true", "every-frame"), ("every-frame".to_owned(), frame + frame));
}

#[test]
fn the_frames_that_are_held_are_asked_for() {
    // Somebody downstream who has a pool of three to five, or nobody who answers.
    for (mode, answers, expected) in [
        ("live", true, vec![(9216, 5, 7)]),
        ("live", false, vec![(9216, 2, 0)]),
        ("every-frame", true, vec![(9216, 3, 5)]),
        ("every-frame", false, vec![]),
    ] {
        let line = Line::new(brightness_model, &[("mode", mode)]);
        let caps = line.info.to_caps().unwrap();
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        let peer = line.element().static_pad("src").unwrap().peer().unwrap();
        peer.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH, move |_, info| {
            match info.query_mut().map(|q| q.view_mut()) {
                Some(gst::QueryViewMut::Allocation(query)) if answers => {
                    query.add_allocation_pool(None::<&gst::BufferPool>, 9216, 3, 5);
                    query.add_allocation_meta::<gst_video::VideoCropMeta>(None);
                    query.add_allocation_meta::<gst_video::VideoMeta>(None);
                    gst::PadProbeReturn::Handled
                }
                Some(gst::QueryViewMut::Allocation(_)) => gst::PadProbeReturn::Drop,
                _ => gst::PadProbeReturn::Ok,
            }
        });
        let answered = line.element().static_pad("sink").unwrap().query(&mut query);
        assert_eq!(answered, answers || mode == "live", "{mode} {answers}");
        let pools: Vec<_> = query.allocation_pools().map(|(_, size, min, max)| (size, min, max)).collect();
        assert_eq!(pools, expected, "{mode} {answers}");
        assert_eq!(query.find_allocation_meta::<gst_video::VideoMeta>().is_some(), answers);
        assert!(
            query.find_allocation_meta::<gst_video::VideoCropMeta>().is_none(),
            "it would look at all of the picture"
        );
    }
}

#[test]
fn a_latency_that_comes_with_the_caps_is_announced() {
    for (mode, told) in [("every-frame", true), ("live", false)] {
        let line = Line::new(brightness_model, &[("mode", mode)]);
        let bus = gst::Bus::new();
        line.element().set_bus(Some(&bus));
        let caps =
            VideoInfo::builder(gst_video::VideoFormat::Rgb, 64, 48).fps((50, 1)).build().unwrap().to_caps().unwrap();
        assert!(line.element().static_pad("sink").unwrap().send_event(gst::event::Caps::new(&caps)));
        assert_eq!(bus.iter().any(|m| m.type_() == gst::MessageType::Latency), told, "{mode}");
    }
}

#[test]
fn statistics_are_told_as_often_as_asked() {
    let mut line = Line::new(brightness_model, &[("mode", "every-frame"), ("stats-interval", "1")]);
    let bus = gst::Bus::new();
    line.element().set_bus(Some(&bus));
    let mut told = None;
    wait_until("no statistics", || {
        line.pass(10);
        told = bus.iter().find_map(|m| m.structure().filter(|s| s.name() == "deepfake-stats").map(|s| s.to_owned()));
        told.is_some()
    });
    let told = told.unwrap();
    assert_eq!(told.get::<u64>("skipped"), Ok(0));
    assert_eq!((told.get::<&str>("provider"), told.get::<&str>("mode")), (Ok("cpu"), Ok("every-frame")));
    assert!(told.get::<u64>("scoring-p99").unwrap() >= told.get::<u64>("scoring-p50").unwrap());
    assert!(told.get::<f64>("faces-per-second").unwrap() > 0.0);
}
