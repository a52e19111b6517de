//! `deepfakescore` in harnesses and pipelines, with models made on the spot.

use deepfake_scoring::frame::PixelFormat;
use deepfake_scoring::score::NotScored;
use deepfake_scoring::verdict::Verdict;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo, VideoRegionOfInterestMeta};
use gstdeepfake::meta::Scores;

mod common;
use common::{brightness_model, fragile_model, init, scorer};

struct Line {
    harness: gst_check::Harness,
    info: VideoInfo,
    count: u64,
    // Held for as long as the element may read from it.
    _folder: tempfile::TempDir,
}

impl Line {
    fn new(format: VideoFormat, size: (u32, u32), properties: &[(&str, &str)]) -> Self {
        Self::with_model(brightness_model, format, size, properties)
    }

    fn with_model(
        model: fn(&std::path::Path) -> std::path::PathBuf,
        format: VideoFormat,
        (width, height): (u32, u32),
        properties: &[(&str, &str)],
    ) -> Self {
        // A harness is a live pipeline.
        let (element, folder) = scorer(model, &[&[("mode", "every-frame")], properties].concat());
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        let info = VideoInfo::builder(format, width, height).fps((25, 1)).build().unwrap();
        harness.set_src_caps(info.to_caps().unwrap());
        Self { harness, info, count: 0, _folder: folder }
    }

    /// A frame of one gray.
    fn frame(&self, gray: u8) -> gst::Buffer {
        let mut buffer = gst::Buffer::with_size(self.info.size()).unwrap();
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(self.count * 40.mseconds());
            buffer.map_writable().unwrap().fill(gray);
        }
        buffer
    }

    fn push(&mut self, buffer: gst::Buffer) -> gst::Buffer {
        self.count += 1;
        self.harness.push_and_pull(buffer).unwrap()
    }

    fn score(&mut self, gray: u8) -> Scores {
        let buffer = self.frame(gray);
        Scores::from_buffer(&self.push(buffer)).unwrap()
    }

    fn element(&self) -> gst::Element {
        self.harness.element().unwrap()
    }
}

fn roi(buffer: &mut gst::Buffer, rect: (u32, u32, u32, u32), object_id: Option<i32>) {
    let mut roi = VideoRegionOfInterestMeta::add(buffer.make_mut(), "face", rect);
    if let Some(id) = object_id {
        roi.add_param(gst::Structure::builder("object_id").field("id", id).build());
    }
}

#[test]
fn pixels_pass_untouched_and_uncopied() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame")]);
    let buffer = line.frame(77);
    let before = buffer.peek_memory(0).as_ptr();
    let out = line.push(buffer);
    assert_eq!(out.peek_memory(0).as_ptr(), before);
    assert!(out.map_readable().unwrap().iter().all(|v| *v == 77));
}

#[test]
fn every_format_gives_the_same_score_for_gray() {
    for format in PixelFormat::ALL {
        // Full range, so that the same byte is the same gray; formats of 10 bits have their own bytes.
        if format.depth() > 8 {
            continue;
        }
        let name = format.name();
        let mut line = Line::new(VideoFormat::from_string(name), (64, 48), &[("face-source", "frame")]);
        let scores = line.score(128);
        let face = scores.faces[0].outcome.as_ref().unwrap();
        // Limited range puts 128 a little higher.
        assert!(face.logit.abs() < 0.2, "{name}: {}", face.logit);
        let map = face.map.as_ref().unwrap();
        let mean = map.values.iter().map(|v| f64::from(*v)).sum::<f64>() / map.values.len() as f64;
        assert!((mean - face.logit).abs() < 1e-3, "{name}");
    }
}

#[test]
fn a_verdict_needs_frames_and_is_told_once() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame")]);
    let bus = gst::Bus::new();
    line.element().set_bus(Some(&bus));
    let verdicts: Vec<_> = (0..8).map(|_| line.score(255).faces[0].verdict).collect();
    assert_eq!(verdicts[..4], [Verdict::Undecided; 4]);
    assert_eq!(verdicts[4..], [Verdict::Fake; 4]);
    let told: Vec<_> = bus.iter().filter_map(|m| m.structure().map(|s| s.to_owned())).collect();
    let told: Vec<_> = told.iter().filter(|s| s.name() == "deepfake-verdict").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].get::<&str>("verdict").unwrap(), "fake");
    assert_eq!(told[0].get::<u64>("frame").unwrap(), 4);
    assert_eq!(told[0].get::<Option<gst::ClockTime>>("pts").unwrap(), Some(160.mseconds()));
}

#[test]
fn what_is_told_is_what_was_asked_for() {
    const VERDICT: [&str; 9] =
        ["before", "frame", "model-sha256", "provider", "pts", "running-time", "score", "track", "verdict"];
    const SCORES: [&str; 10] = [
        "faces",
        "frame",
        "mode",
        "model-name",
        "model-sha256",
        "provider",
        "pts",
        "running-time",
        "skipped",
        "version",
    ];
    for (messages, verdicts, frames) in [("none", 0, 0), ("verdicts", 3, 0), ("all", 3, 160)] {
        let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame"), ("messages", messages)]);
        let bus = gst::Bus::new();
        line.element().set_bus(Some(&bus));
        // White is fake, black is real; the mean of the track passes both thresholds.
        let scores: Vec<_> = (0..160).map(|n| line.score(if n < 8 { 255 } else { 0 })).collect();
        let told: Vec<_> = bus.iter().filter_map(|m| m.structure().map(|s| s.to_owned())).collect();
        let named = |name| told.iter().filter(move |s| s.name() == name);
        let fields = |s: &gst::Structure| {
            let mut fields: Vec<_> = s.fields().map(|name| name.to_string()).collect();
            fields.sort();
            fields
        };
        let mut changes = vec![];
        for s in named("deepfake-verdict") {
            assert_eq!(fields(s), VERDICT);
            changes.push((s.get::<String>("before").unwrap(), s.get::<String>("verdict").unwrap()));
        }
        let expected = [("undecided", "fake"), ("fake", "undecided"), ("undecided", "real")];
        let expected = expected.map(|(before, now)| (before.to_owned(), now.to_owned()));
        assert_eq!(changes, expected[..verdicts], "{messages}");
        assert_eq!(named("deepfake-scores").count(), frames, "{messages}");
        for (s, scores) in named("deepfake-scores").zip(&scores) {
            assert_eq!(fields(s), SCORES);
            assert_eq!(s.get::<u64>("frame").unwrap(), scores.frame);
            assert_eq!(s.get::<gst::ArrayRef>("faces").unwrap().len(), 1);
        }
    }
}

#[test]
fn the_score_of_a_track_is_the_mean_of_its_logits() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame")]);
    line.score(0);
    let scores = line.score(255);
    let face = scores.faces[0].outcome.as_ref().unwrap();
    assert!((face.score - 0.5).abs() < 1e-3);
    assert!((face.logit - 4.0).abs() < 1e-3);
    assert!((face.frame_score - 1.0 / (1.0 + (-4f64).exp())).abs() < 1e-4);
    assert_eq!(scores.faces[0].track, 1);
    assert_eq!(scores.frame, 1);
}

#[test]
fn faces_from_upstream_keep_their_regions_and_names() {
    let mut line = Line::new(VideoFormat::Rgb, (320, 240), &[("face-source", "upstream"), ("min-face-size", "20")]);
    let mut buffer = line.frame(0);
    roi(&mut buffer, (200, 100, 60, 60), Some(7));
    roi(&mut buffer, (10, 10, 100, 100), Some(9));
    let first = line.push(buffer);
    // The other way round and far from where they were.
    let mut buffer = line.frame(0);
    roi(&mut buffer, (10, 120, 100, 100), Some(9));
    roi(&mut buffer, (100, 10, 60, 60), Some(7));
    let second = line.push(buffer);
    let (first, second) = (Scores::from_buffer(&first).unwrap(), Scores::from_buffer(&second).unwrap());
    assert_eq!(first.faces.len(), 2);
    // The largest first.
    assert_eq!(first.faces[0].pixels(320, 240).unwrap().w, 100.0);
    assert_eq!(first.faces[0].track, second.faces[0].track);
    assert_eq!(first.faces[1].track, second.faces[1].track);

    let mut buffer = line.frame(255);
    roi(&mut buffer, (10, 120, 100, 100), None);
    let out = line.push(buffer);
    let rois: Vec<_> = out.iter_meta::<VideoRegionOfInterestMeta>().collect();
    assert_eq!(rois.len(), 1, "no second region for the same face");
    let param = rois[0].param("deepfake").unwrap();
    assert_eq!(param.get::<&str>("model_name").unwrap(), "brightness");
    assert_eq!(param.get::<&str>("label").unwrap(), "undecided");
    assert!(param.get::<f64>("confidence").unwrap() > 0.0);
}

#[test]
fn what_cannot_be_scored_says_why() {
    let properties = [("face-source", "upstream"), ("min-face-size", "20"), ("max-faces", "2")];
    let mut line = Line::new(VideoFormat::Nv12, (320, 240), &properties);
    let mut buffer = line.frame(128);
    for (rect, id) in [
        ((0, 0, 0, 0), 1),
        ((5, 5, 1, 1), 2),
        ((400, 400, 50, 50), 3),
        ((u32::MAX - 5, 0, 50, 50), 4),
        ((0, 0, 50, 50), 5),
        ((100, 0, 60, 60), 6),
        ((200, 0, 70, 70), 7),
        ((300, 200, 400, 400), 7),
    ] {
        roi(&mut buffer, rect, Some(id));
    }
    let scores = Scores::from_buffer(&line.push(buffer)).unwrap();
    let reason = |x: f32| {
        let face = scores.faces.iter().find(|f| (f.bbox.unwrap().x * 320.0 - x).abs() < 0.1).unwrap();
        face.outcome.as_ref().err().copied()
    };
    assert_eq!(scores.faces.len(), 8);
    assert_eq!(reason(5.0), Some(NotScored::TooSmall));
    assert_eq!(reason(400.0), Some(NotScored::InvalidBox));
    assert_eq!(reason(300.0), None);
    assert_eq!(reason(200.0), None);
    assert_eq!(reason(100.0), Some(NotScored::TooMany));
    assert_eq!(scores.faces.iter().filter(|f| f.outcome == Err(NotScored::InvalidBox)).count(), 3);
}

#[test]
fn five_hundred_faces_are_all_told() {
    let mut line = Line::new(VideoFormat::Nv12, (640, 480), &[("face-source", "upstream"), ("min-face-size", "4")]);
    let mut buffer = line.frame(128);
    for i in 0..500 {
        roi(&mut buffer, ((i % 25) * 25, (i / 25) * 24, 20, 20), Some(1));
    }
    let scores = Scores::from_buffer(&line.push(buffer)).unwrap();
    assert_eq!(scores.faces.len(), 500);
    assert_eq!(scores.faces.iter().filter(|f| f.outcome.is_ok()).count(), 32);
    assert_eq!(scores.faces.iter().filter(|f| f.outcome == Err(NotScored::TooMany)).count(), 468);
}

#[test]
fn no_face_is_an_empty_list() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "upstream")]);
    assert_eq!(line.score(0).faces, []);
}

#[test]
fn a_score_interval_repeats_the_score_with_its_age() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame"), ("score-interval", "3")]);
    let ages: Vec<_> = [0, 255, 255, 255].into_iter().map(|gray| line.score(gray)).collect();
    let face = |i: usize| ages[i].faces[0].outcome.as_ref().unwrap();
    assert_eq!(face(0).age, gst::ClockTime::ZERO);
    assert_eq!(face(1).age, 40.mseconds());
    assert_eq!(face(2).age, 80.mseconds());
    assert!((face(2).logit + 4.0).abs() < 1e-3);
    assert_eq!(face(3).age, gst::ClockTime::ZERO);
    assert!((face(3).logit - 4.0).abs() < 1e-3);
}

#[test]
fn limits_and_the_map_may_change_while_playing() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame")]);
    assert!(line.score(9).faces[0].outcome.as_ref().unwrap().map.is_some());
    line.element().set_property("region-map", false);
    assert!(line.score(9).faces[0].outcome.as_ref().unwrap().map.is_none());
    line.element().set_property("min-face-size", 100u32);
    assert_eq!(line.score(9).faces[0].outcome, Err(NotScored::TooSmall));
}

#[test]
fn another_size_or_format_in_the_middle_goes_on() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame")]);
    assert_eq!(line.score(255).faces[0].track, 1);
    line.info = VideoInfo::builder(VideoFormat::I420, 51, 49).build().unwrap();
    let caps = line.info.to_caps().unwrap();
    line.harness.push_event(gst::event::Caps::new(&caps));
    let scores = line.score(235);
    assert_eq!(scores.frame, 1);
    // Nothing is where it was: a new track.
    assert_eq!(scores.faces[0].track, 2);
    assert!(scores.faces[0].outcome.is_ok());
}

#[test]
fn a_flush_ends_the_tracks() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame")]);
    line.score(255);
    line.harness.push_event(gst::event::FlushStart::new());
    line.harness.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    line.harness.push_event(gst::event::Segment::new(&segment));
    assert_eq!(line.score(255).faces[0].track, 2);
}

#[test]
fn a_gap_and_a_frame_without_time_pass() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame")]);
    let mut gap = gst::Buffer::new();
    gap.make_mut().set_flags(gst::BufferFlags::GAP);
    let out = line.push(gap);
    assert_eq!(Scores::from_buffer(&out), None);
    let mut timeless = line.frame(255);
    timeless.make_mut().set_pts(gst::ClockTime::NONE);
    assert!(Scores::from_buffer(&line.push(timeless)).unwrap().faces[0].outcome.is_ok());
}

#[test]
fn what_runs_can_be_read() {
    let mut line = Line::new(VideoFormat::Rgb, (64, 48), &[("face-source", "frame"), ("provider", "cpu")]);
    let scores = line.score(1);
    let element = line.element();
    assert_eq!(element.property::<Option<String>>("active-provider").as_deref(), Some("cpu"));
    let digest = element.property::<Option<String>>("model-digest").unwrap();
    assert_eq!(scores.by.sha256, digest);
    assert_eq!(scores.by.model, "brightness");
    let stats = element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames"), Ok(1));
    assert_eq!(stats.get::<u64>("scored"), Ok(1));
}

#[test]
fn a_model_that_fails_is_an_error_or_a_warning_as_asked() {
    let properties = [("face-source", "frame")];
    let mut line = Line::with_model(fragile_model, VideoFormat::Rgb, (64, 48), &properties);
    let bus = gst::Bus::new();
    line.element().set_bus(Some(&bus));
    assert!(line.score(10).faces[0].outcome.is_ok());
    let white = line.frame(255);
    assert_eq!(line.harness.push(white), Err(gst::FlowError::Error));
    assert!(bus.iter().any(|m| m.type_() == gst::MessageType::Error));

    let properties = [("face-source", "frame"), ("on-error", "passthrough")];
    let mut line = Line::with_model(fragile_model, VideoFormat::Rgb, (64, 48), &properties);
    let bus = gst::Bus::new();
    line.element().set_bus(Some(&bus));
    for _ in 0..3 {
        assert_eq!(line.score(255).faces[0].outcome, Err(NotScored::RunFailed));
    }
    assert!(line.score(10).faces[0].outcome.is_ok());
    let count = |kind| bus.iter().filter(|m| m.type_() == kind).count();
    assert_eq!(count(gst::MessageType::Warning), 1, "one warning for one failure, however long it lasts");
}

/// The error that keeps an element from starting.
fn refusal(properties: &[(&str, &str)]) -> (glib::Error, String) {
    init();
    let element = gst::ElementFactory::make("deepfakescore").build().unwrap();
    properties.iter().for_each(|(name, value)| element.set_property_from_str(name, value));
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Paused).is_err(), "{properties:?}");
    element.set_state(gst::State::Null).unwrap();
    let errors: Vec<_> = bus.iter().filter(|m| m.type_() == gst::MessageType::Error).collect();
    assert_eq!(errors.len(), 1, "one clear error: {errors:?}");
    let gst::MessageView::Error(error) = errors[0].view() else { unreachable!() };
    (error.error(), error.error().to_string())
}

#[test]
fn what_keeps_it_from_starting_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (error, text) = refusal(&[("model", &at("none.onnx"))]);
    assert!(error.matches(gst::ResourceError::NotFound) && text.contains("none.onnx"), "{text}");

    std::fs::write(at("text.onnx"), "not a model").unwrap();
    let (error, text) = refusal(&[("model", &at("text.onnx"))]);
    assert!(error.matches(gst::StreamError::WrongType) && text.contains("not an ONNX model"), "{text}");

    let model = brightness_model(folder.path());
    let model = model.to_str().unwrap();
    let (error, text) = refusal(&[("model", model), ("expect-model-digest", "00ff")]);
    assert!(error.matches(gst::ResourceError::NotAuthorized) && text.contains("00ff"), "{text}");

    std::fs::write(at("bad.toml"), "[input]\nwidht = 3").unwrap();
    let (error, text) = refusal(&[("model", model), ("model-config", &at("bad.toml"))]);
    assert!(error.matches(gst::ResourceError::Settings) && text.contains("widht"), "{text}");

    let (_, text) = refusal(&[("model", model), ("fake-above", "0.2"), ("real-below", "0.8")]);
    assert!(text.contains("real-below"), "{text}");

    let (_, text) = refusal(&[("face-model", model)]);
    assert!(text.contains("YuNet"), "{text}");
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_provider_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = brightness_model(folder.path());
    let (error, text) = refusal(&[("model", model.to_str().unwrap()), ("provider", "cuda")]);
    assert!(error.matches(gst::ResourceError::NotFound) && text.contains("cuda"), "{text}");
}

#[test]
fn every_property_explains_itself() {
    init();
    let element = gst::ElementFactory::make("deepfakescore").build().unwrap();
    for spec in element.list_properties().iter().filter(|s| s.owner_type() == element.type_()) {
        assert!(spec.blurb().is_some_and(|b| b.len() > 5) && !spec.nick().is_empty(), "{}", spec.name());
    }
}
