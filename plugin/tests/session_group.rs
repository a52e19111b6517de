//! Several `deepfakescore` on one session, in pipelines of their own. Where a test needs the order of things, the session is one of the
//! test's, which stands still for faces of a certain gray.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use deepfake_scoring::group::{BatchScorer, Member, Terms, join};
use deepfake_scoring::model::Model;
use deepfake_scoring::score::{Card, Evidence, NotScored, Scorer};
use deepfake_scoring::session::{RunOptions, SessionError, SessionOptions};
use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use gst_video::{VideoFormat, VideoInfo, VideoRegionOfInterestMeta};
use gstdeepfake::meta::Scores;

mod common;
use common::{brightness_model, fragile_model, init};

const LONG: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// A stream with a bus of its own, which the test feeds.
struct Stream {
    pipeline: gst::Pipeline,
    source: AppSrc,
    sink: AppSink,
    element: gst::Element,
    info: VideoInfo,
    count: u64,
}

impl Stream {
    /// Not started yet.
    fn new(model: &Path, properties: &str) -> Self {
        init();
        let text = format!(
            "appsrc name=source format=time max-buffers=100 ! deepfakescore name=score mode=every-frame face-source=frame model={} \
             {properties} ! appsink name=sink sync=false async=false \
             wait-on-eos=false",
            model.display()
        );
        let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("source").unwrap().downcast::<AppSrc>().unwrap();
        let sink = pipeline.by_name("sink").unwrap().downcast().unwrap();
        let info = VideoInfo::builder(VideoFormat::Rgb, 640, 64).fps((25, 1)).build().unwrap();
        source.set_caps(Some(&info.to_caps().unwrap()));
        let element = pipeline.by_name("score").unwrap();
        Self { pipeline, source, sink, element, info, count: 0 }
    }

    fn start(model: &Path, properties: &str) -> Self {
        let stream = Self::new(model, properties);
        stream.play();
        stream
    }

    fn play(&self) {
        self.pipeline.set_state(gst::State::Playing).unwrap();
        assert!(self.element.property::<Option<String>>("model-digest").is_some());
    }

    /// The next frame, of one gray, in which upstream has found a face of the other gray for each of `faces`.
    fn push(&mut self, gray: u8, faces: &[u8]) {
        let mut buffer = gst::Buffer::with_size(self.info.size()).unwrap();
        let header = buffer.make_mut();
        header.set_pts(self.count * 40.mseconds());
        for i in 0..faces.len() as u32 {
            // The first is the largest.
            VideoRegionOfInterestMeta::add(header, "face", (i * 60, 0, 60 - i, 60 - i));
        }
        let stride = self.info.stride()[0] as usize;
        let mut map = header.map_writable().unwrap();
        map.fill(gray);
        for (i, face) in faces.iter().enumerate() {
            map.chunks_exact_mut(stride).for_each(|row| row[i * 180..(i + 1) * 180].fill(*face));
        }
        drop(map);
        self.count += 1;
        self.source.push_buffer(buffer).unwrap();
    }

    /// The scores of the next frame that comes out.
    fn pull(&self) -> Scores {
        let sample = self.sink.try_pull_sample(LONG).unwrap_or_else(|| panic!("nothing comes out: {:?}", self.told()));
        Scores::from_buffer(sample.buffer().unwrap()).expect("a frame without scores")
    }

    fn logit(&self) -> f64 {
        self.pull().faces[0].outcome.as_ref().unwrap().logit
    }

    fn scores(&mut self, gray: u8) -> Scores {
        self.push(gray, &[]);
        self.pull()
    }

    /// What the element has told since this was asked last, of errors and warnings.
    fn told(&self) -> Vec<gst::Message> {
        let bus = self.pipeline.bus().unwrap();
        let kinds = [gst::MessageType::Error, gst::MessageType::Warning];
        std::iter::from_fn(|| bus.pop_filtered(&kinds)).filter(|m| m.src() == Some(self.element.upcast_ref())).collect()
    }

    fn stat(&self, name: &str) -> u64 {
        self.element.property::<gst::Structure>("stats").get(name).unwrap()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// What the brightness model says of a gray.
fn logit(gray: u8) -> f64 {
    f64::from(gray) / 255.0 * 8.0 - 4.0
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

/// The model of a test, in a folder that lives as long as it.
fn model(make: fn(&Path) -> PathBuf) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path());
    (folder, path)
}

/// The session of a group, as the element makes it but for what it does on faces of certain values.
struct Probe {
    scorer: Scorer,
    hold: Range<f32>,
    panic: Range<f32>,
    arrived: Sender<usize>,
    gate: Receiver<()>,
}

impl BatchScorer for Probe {
    fn card(&self) -> &Card {
        self.scorer.card()
    }

    fn crop_mut(&mut self, index: usize) -> &mut [f32] {
        self.scorer.crop_mut(index)
    }

    fn run(&mut self, n: usize, options: &RunOptions) -> Result<(), SessionError> {
        let values: Vec<f32> = (0..n).map(|i| self.scorer.crop_mut(i)[0]).collect();
        assert!(!values.iter().any(|v| self.panic.contains(v)), "as the test wants it");
        if values.iter().any(|v| self.hold.contains(v)) {
            let _ = self.arrived.send(n);
            // Where the test is over nobody opens.
            let _ = self.gate.recv();
        }
        self.scorer.run(n, Some(options))
    }

    fn evidence(&self, index: usize) -> Result<Evidence<'_>, NotScored> {
        self.scorer.evidence(index)
    }
}

/// A group whose first member the test is.
struct Rig {
    // Dropped before the member, whose end waits for who stands at the gate.
    gate: Sender<()>,
    arrived: Receiver<usize>,
    member: Member,
}

impl Rig {
    fn new(group: &str, model: &Path, hold: Range<f32>, panic: Range<f32>) -> Self {
        let (tell, arrived) = channel();
        let (gate, at_gate) = channel();
        let model = Model::read(model).unwrap();
        let options = SessionOptions::default();
        let make = || {
            let scorer = Scorer::new(&model, None, &options)?;
            Ok(Box::new(Probe { scorer, hold, panic, arrived: tell, gate: at_gate }) as _)
        };
        let member = join(group, Terms::new(&model, None, &options).unwrap(), make).unwrap();
        Self { gate, arrived, member }
    }

    /// Faces of the run that stands still now.
    fn held(&self) -> usize {
        self.arrived.recv_timeout(Duration::from_secs(60)).expect("no run stands still")
    }

    fn open(&self) {
        self.gate.send(()).unwrap();
    }

    /// Waits until so many faces wait for a run that stands still.
    fn waiting(&self, faces: usize) {
        wait_until("no faces come", || self.member.watch().stats().waiting == faces);
    }
}

/// White to the brightness model.
const WHITE: Range<f32> = 3.9..4.1;
/// Black to it.
const BLACK: Range<f32> = -4.1..-3.9;
const NEVER: Range<f32> = 0.0..0.0;

#[test]
fn results_are_those_of_streams_alone() {
    init();
    // The logits and maps of each frame of three streams, with the bundled model.
    let run = |group: &str| {
        let branch = |i: usize, pattern: &str| {
            format!(
                "videotestsrc pattern={pattern} num-buffers=12 ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 \
                 ! deepfakescore name=score{i} mode=every-frame face-source=frame {group} ! appsink name=sink{i} sync=false \
                 wait-on-eos=false "
            )
        };
        let text: String = ["ball", "smpte", "snow"].iter().enumerate().map(|(i, p)| branch(i, p)).collect();
        let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let end = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = pipeline.bus().unwrap().timed_pop_filtered(LONG, &end).unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
        let results: Vec<Vec<_>> = (0..3)
            .map(|i| {
                let sink = pipeline.by_name(&format!("sink{i}")).unwrap().downcast::<AppSink>().unwrap();
                let samples = std::iter::from_fn(|| sink.try_pull_sample(gst::ClockTime::ZERO));
                let scores = samples.map(|s| Scores::from_buffer(s.buffer().unwrap()).unwrap());
                scores.map(|s| s.faces[0].outcome.clone().unwrap()).collect()
            })
            .collect();
        let stats = pipeline.by_name("score0").unwrap().property::<gst::Structure>("stats");
        pipeline.set_state(gst::State::Null).unwrap();
        (results, stats)
    };
    let (alone, stats) = run("");
    assert!(!stats.has_field("group-members"));
    let (together, stats) = run("session-group=identical batch-window=100");
    let count = |name| stats.get::<u64>(name).unwrap();
    assert_eq!((count("group-members"), count("group-faces")), (3, 36));
    assert!(count("group-runs") <= 36);
    for (alone, together) in alone.iter().zip(&together) {
        assert_eq!((alone.len(), together.len()), (12, 12));
        for (a, b) in alone.iter().zip(together) {
            assert!((a.logit - b.logit).abs() < 1e-4 && (a.score - b.score).abs() < 1e-4, "{a:?} {b:?}");
            let (a, b) = (a.map.as_ref().unwrap(), b.map.as_ref().unwrap());
            assert!(a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }
    // Three streams of different pictures.
    assert!((alone[0][11].logit - alone[2][11].logit).abs() > 1e-3);
}

#[test]
fn a_greedy_stream_does_not_keep_a_slow_one_back() {
    let (_folder, model) = model(brightness_model);
    let rig = Rig::new("greedy", &model, WHITE, NEVER);
    let mut holder = Stream::start(&model, "session-group=greedy");
    let mut greedy = Stream::start(&model, "session-group=greedy face-source=upstream min-face-size=1");
    let mut slow = Stream::start(&model, "session-group=greedy");
    holder.push(255, &[]);
    assert_eq!(rig.held(), 1);
    // Its tenth face makes a run stand still.
    greedy.push(0, &[100, 101, 102, 103, 104, 105, 106, 107, 108, 255]);
    rig.waiting(10);
    slow.push(200, &[]);
    rig.waiting(11);
    rig.open();
    assert!((slow.logit() - logit(200)).abs() < 1e-3);
    assert_eq!(rig.held(), 3, "eight of eleven were run before, the slow stream's among them");
    assert!(greedy.sink.try_pull_sample(gst::ClockTime::ZERO).is_none());
    rig.open();
    let faces = greedy.pull().faces;
    let logits: Vec<_> = faces.iter().map(|f| f.outcome.as_ref().unwrap().logit).collect();
    assert!(logits.iter().zip([100, 101]).all(|(l, gray)| (l - logit(gray)).abs() < 1e-3), "{logits:?}");
    assert!((logits[9] - 4.0).abs() < 1e-3);
    assert!((holder.logit() - 4.0).abs() < 1e-3);
}

#[test]
fn a_stream_that_stalls_or_ends_is_not_waited_for() {
    let (_folder, model) = model(brightness_model);
    // A whole second each time, if they were.
    let properties = "session-group=stalled batch-window=1000";
    let mut streams: Vec<_> = (0..3).map(|_| Stream::start(&model, properties)).collect();
    for stream in &mut streams {
        assert!(
            (f64::from(stream.scores(100).faces[0].outcome.as_ref().unwrap().logit as f32) - logit(100)).abs() < 1e-3
        );
    }
    streams[1].source.end_of_stream().unwrap();
    let end = streams[1].pipeline.bus().unwrap().timed_pop_filtered(LONG, &[gst::MessageType::Eos]);
    assert!(end.is_some());
    let start = Instant::now();
    for gray in 50..150 {
        streams[0].push(gray, &[]);
        assert!((streams[0].logit() - logit(gray)).abs() < 1e-3);
    }
    assert!(start.elapsed() < Duration::from_secs(50), "it has waited");
    assert_eq!((streams[0].stat("group-members"), streams[0].stat("group-faces")), (3, 103));
}

#[test]
fn a_flush_and_a_stop_end_nothing_but_their_own() {
    let (_folder, model) = model(brightness_model);
    let rig = Rig::new("flushed", &model, WHITE, NEVER);
    let [mut holder, mut flushed, mut stopped, mut other] =
        std::array::from_fn(|_| Stream::start(&model, "session-group=flushed"));
    holder.push(255, &[]);
    assert_eq!(rig.held(), 1);
    flushed.push(255, &[]);
    stopped.push(254, &[]);
    other.push(60, &[]);
    rig.waiting(3);
    rig.open();
    assert_eq!(rig.held(), 3, "all in one run, which stands still");
    let pad = flushed.element.static_pad("sink").unwrap();
    assert!(pad.send_event(gst::event::FlushStart::new()));
    assert!(pad.send_event(gst::event::FlushStop::new(true)));
    stopped.pipeline.set_state(gst::State::Null).unwrap();
    assert!(other.sink.try_pull_sample(gst::ClockTime::ZERO).is_none(), "it stands still all the time");
    rig.open();
    assert!((other.logit() - logit(60)).abs() < 1e-3);
    assert!((holder.logit() - 4.0).abs() < 1e-3);
    assert!([&holder, &flushed, &stopped, &other].iter().all(|s| s.told().is_empty()));
    // What was stopped starts again, and is scored with the others.
    stopped.play();
    assert!((stopped.scores(70).faces[0].outcome.as_ref().unwrap().logit - logit(70)).abs() < 1e-3);
    assert_eq!(other.stat("group-members"), 5);
}

#[test]
fn a_stream_whose_faces_fail_hurts_no_other() {
    let (_folder, model) = model(fragile_model);
    // A white crop, of value 1, makes ONNX Runtime fail; one of 0.2 stands still.
    let rig = Rig::new("failing", &model, 0.19..0.21, NEVER);
    let mut holder = Stream::start(&model, "session-group=failing");
    let mut lenient = Stream::start(&model, "session-group=failing on-error=passthrough");
    let mut strict = Stream::start(&model, "session-group=failing");
    let mut good = Stream::start(&model, "session-group=failing");
    for round in 0..3 {
        holder.push(51, &[]);
        assert_eq!(rig.held(), 1);
        lenient.push(255, &[]);
        good.push(128, &[]);
        rig.waiting(2);
        if round == 1 {
            strict.push(255, &[]);
            rig.waiting(3);
        }
        rig.open();
        assert!((good.logit() - 128.0 / 255.0).abs() < 1e-3);
        assert_eq!(lenient.pull().faces[0].outcome, Err(NotScored::RunFailed));
        assert!((holder.logit() - 0.2).abs() < 1e-3);
    }
    let bus = strict.pipeline.bus().unwrap();
    let error = bus.timed_pop_filtered(LONG, &[gst::MessageType::Error]).unwrap();
    assert_eq!(error.src(), Some(strict.element.upcast_ref()));
    assert!(strict.told().is_empty(), "one error is enough");
    let told = lenient.told();
    assert!(matches!(&told[..], [m] if m.type_() == gst::MessageType::Warning), "{told:?}");
    assert!([&holder, &good].iter().all(|s| s.told().is_empty()));
    // It mends itself.
    assert!(lenient.scores(128).faces[0].outcome.is_ok());
}

#[test]
fn other_settings_in_a_group_are_an_error_that_names_both() {
    let (_folder, path) = model(brightness_model);
    let (_other_folder, other_model) = model(fragile_model);
    let mut first = Stream::start(&path, "session-group=conflict");
    let digest = first.element.property::<String>("model-digest");
    let config = path.with_file_name("config.toml");
    std::fs::write(&config, "[crop]\nmargin = 0.5\n[output]\nmap = \"map\"\n[input]\nscale = 0.031372549\nmean = 4")
        .unwrap();
    for (model, properties, expected) in [
        (&path, "threads=2".to_owned(), ["threads=1", "threads=2"]),
        (&path, "provider=cpu".to_owned(), ["provider=auto", "provider=cpu"]),
        (&path, "device-id=1".to_owned(), ["device-id=0", "device-id=1"]),
        (&path, format!("model-config={}", config.display()), ["crop.margin=0.0", "crop.margin=0.5"]),
        (&other_model, String::new(), [digest.as_str(), "model-digest="]),
    ] {
        let stream = Stream::new(model, &format!("session-group=conflict {properties}"));
        assert!(stream.pipeline.set_state(gst::State::Paused).is_err(), "{properties}");
        let errors = stream.told();
        let [error] = &errors[..] else { panic!("{properties}: {errors:?}") };
        let gst::MessageView::Error(error) = error.view() else { panic!("{error:?}") };
        assert!(error.error().matches(gst::ResourceError::Settings));
        let said = error.error().to_string();
        assert!(said.contains("`conflict`") && expected.iter().all(|e| said.contains(e)), "{said}");
        assert!(error.debug().unwrap().contains("another session-group"), "{:?}", error.debug());
    }
    // Whoever has its own face detector, thresholds or window is no other session; nor is another group.
    let mut second = Stream::start(&path, "session-group=conflict fake-above=0.9 batch-window=1 face-source=auto");
    let mut third = Stream::start(&path, "session-group=elsewhere threads=2");
    for stream in [&mut first, &mut second, &mut third] {
        stream.push(100, &[90]);
        assert!(stream.pull().faces[0].outcome.is_ok());
    }
    assert_eq!(first.stat("group-members"), 2);
}

#[test]
fn a_panic_is_one_error_of_each_element_and_over_after_null() {
    let (_folder, model) = model(brightness_model);
    let rig = Rig::new("panic", &model, WHITE, BLACK);
    let mut streams: [Stream; 3] = std::array::from_fn(|_| Stream::start(&model, "session-group=panic"));
    let mut lenient = Stream::start(&model, "session-group=panic on-error=passthrough");
    streams[2].push(255, &[]);
    assert_eq!(rig.held(), 1);
    streams[0].push(0, &[]);
    streams[1].push(100, &[]);
    rig.waiting(2);
    rig.open();
    assert!((streams[2].logit() - 4.0).abs() < 1e-3);
    // The third comes to know with its next frame.
    streams[2].push(100, &[]);
    for stream in &mut streams {
        let bus = stream.pipeline.bus().unwrap();
        let error = bus.timed_pop_filtered(LONG, &[gst::MessageType::Error]).unwrap();
        assert_eq!(error.src(), Some(stream.element.upcast_ref()));
        let gst::MessageView::Error(error) = error.view() else { panic!("{error:?}") };
        assert!(error.error().to_string().contains("as the test wants it"), "{error:?}");
        // Frames that come all the same, after the source has given up, are no further errors.
        assert!(bus.timed_pop_filtered(LONG, &[gst::MessageType::Eos]).is_some());
        let pad = stream.element.static_pad("sink").unwrap();
        assert!(pad.send_event(gst::event::FlushStart::new()) && pad.send_event(gst::event::FlushStop::new(true)));
        assert!(pad.send_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
        let buffer = gst::Buffer::with_size(stream.info.size()).unwrap();
        assert_eq!(pad.chain(buffer), Err(gst::FlowError::Error));
        assert!(stream.told().is_empty());
    }
    for _ in 0..3 {
        assert_eq!(lenient.scores(100).faces[0].outcome, Err(NotScored::RunFailed));
    }
    let told = lenient.told();
    assert!(matches!(&told[..], [m] if m.type_() == gst::MessageType::Warning), "{told:?}");
    // Who comes now is told to come later.
    let late = Stream::new(&model, "session-group=panic");
    assert!(late.pipeline.set_state(gst::State::Paused).is_err());
    assert!(format!("{:?}", late.told()).contains("to NULL"));
    late.pipeline.set_state(gst::State::Null).unwrap();
    drop((rig, lenient));
    streams.iter().for_each(|s| assert!(s.pipeline.set_state(gst::State::Null).is_ok()));
    for stream in &mut streams {
        stream.play();
        // With a session of the element's own making, which does not mind black.
        assert!((stream.scores(0).faces[0].outcome.as_ref().unwrap().logit + 4.0).abs() < 1e-3);
    }
    assert_eq!(streams[0].stat("group-members"), 3);
}

#[test]
fn elements_come_and_go_while_others_play() {
    let (_folder, model) = model(brightness_model);
    let mut staying = Stream::start(&model, "session-group=come");
    let mut coming = Stream::new(&model, "session-group=come");
    for round in 0..10 {
        staying.push(100 + round, &[]);
        coming.play();
        coming.push(200, &[]);
        staying.push(10 + round, &[]);
        assert!((coming.logit() - logit(200)).abs() < 1e-3);
        assert_eq!(staying.stat("group-members"), 2);
        staying.push(150 + round, &[]);
        coming.pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(staying.stat("group-members"), 1);
        for gray in [100, 10, 150] {
            assert!((staying.logit() - logit(gray + round)).abs() < 1e-3);
        }
    }
    assert_eq!(staying.stat("group-faces"), 40);
}

#[test]
fn live_mode_takes_the_newest_frame_and_waits_for_nobody() {
    let (_folder, model) = model(brightness_model);
    let rig = Rig::new("live", &model, WHITE, NEVER);
    let mut live = Stream::start(&model, "session-group=live mode=live");
    let mut other = Stream::start(&model, "session-group=live");
    // The session stands still; no frame does.
    other.push(255, &[]);
    assert_eq!(rig.held(), 1);
    for _ in 0..50 {
        live.push(100, &[]);
        let sample = live.sink.try_pull_sample(LONG).unwrap();
        assert_eq!(Scores::from_buffer(sample.buffer().unwrap()), None);
    }
    rig.waiting(1);
    rig.open();
    assert!((other.logit() - 4.0).abs() < 1e-3);
    let mut newest = None;
    wait_until("no result comes", || {
        live.push(100, &[]);
        let sample = live.sink.try_pull_sample(LONG).unwrap();
        newest = Scores::from_buffer(sample.buffer().unwrap());
        newest.is_some()
    });
    let face = &newest.unwrap().faces[0];
    assert!((face.outcome.as_ref().unwrap().logit - logit(100)).abs() < 1e-3);
    // It ends while its face is in a run that stands still.
    wait_until("nothing is handed over", || {
        live.push(255, &[]);
        live.sink.try_pull_sample(LONG).unwrap();
        rig.arrived.try_recv().is_ok()
    });
    other.push(80, &[]);
    rig.waiting(1);
    live.pipeline.set_state(gst::State::Null).unwrap();
    rig.open();
    assert!((other.logit() - logit(80)).abs() < 1e-3);
}
