//! Scores beside a stream, with frames whose reading can be held up, and so with a worker that is as slow as a test wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use deepfake_scoring::engine::{Engine, EngineOptions, FaceSource, Limits, UpstreamFace};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::live::{Live, LiveError, MAX_HELD, SharedFrame};
use deepfake_scoring::score::NotScored;

mod models;
use models::brightness;

const WIDTH: usize = 200;
const HEIGHT: usize = 100;
const FRAME: Duration = Duration::from_millis(40);

/// A frame that counts itself and lets nobody read it before the gate opens.
struct Gated {
    pixels: Arc<Vec<u8>>,
    gate: Option<(Sender<()>, Receiver<()>)>,
    held: Arc<AtomicUsize>,
    panics: bool,
}

impl SharedFrame for Gated {
    fn with_view(&self, read: &mut dyn FnMut(&FrameView<'_>)) -> Result<(), String> {
        if let Some((arrived, gate)) = &self.gate {
            // Where the test's ends are gone, nobody listens and the gate is open.
            let _ = arrived.send(());
            let _ = gate.recv();
        }
        assert!(!self.panics, "as the test wants it");
        read(&FrameView::rgb(WIDTH, HEIGHT, &self.pixels).map_err(|e| e.to_string())?);
        Ok(())
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A stream of one picture.
struct Stream {
    live: Live<Gated>,
    pixels: Arc<Vec<u8>>,
    held: Arc<AtomicUsize>,
    number: u64,
}

impl Stream {
    fn new(face_source: FaceSource) -> Self {
        // Black on the left, white on the right.
        let pixels = (0..WIDTH * HEIGHT).flat_map(|i| [if i % WIDTH < WIDTH / 2 { 0 } else { 255 }; 3]).collect();
        let options = EngineOptions { face_source, limits: Limits::default(), ..EngineOptions::default() };
        let live = Live::new(Engine::new(&brightness(), options).unwrap()).unwrap();
        Self { live, pixels: Arc::new(pixels), held: Arc::default(), number: 0 }
    }

    fn frame(&self) -> Gated {
        self.held.fetch_add(1, Ordering::SeqCst);
        Gated { pixels: Arc::clone(&self.pixels), gate: None, held: Arc::clone(&self.held), panics: false }
    }

    /// Hands over a frame at whose gate the worker then stands; opened by what is returned.
    fn stand(&mut self, upstream: &[UpstreamFace]) -> Sender<()> {
        let (open, gate) = channel();
        let (arrived, there) = channel();
        let mut frame = self.frame();
        frame.gate = Some((arrived, gate));
        self.pass(upstream, Some(frame));
        there.recv().unwrap();
        open
    }

    fn time(&self) -> Option<Duration> {
        Some(FRAME * self.number as u32)
    }

    /// The next frame goes by; `frame` is handed over.
    fn pass(&mut self, upstream: &[UpstreamFace], frame: Option<Gated>) -> deepfake_scoring::live::Collected {
        let pixels = Arc::clone(&self.pixels);
        let view = FrameView::rgb(WIDTH, HEIGHT, &pixels).unwrap();
        let collected = self.live.collect(&view, upstream, self.number, self.time());
        if let Some(frame) = frame {
            self.live.hand_over(frame, upstream, self.number, self.time());
        }
        self.number += 1;
        collected
    }

    /// Frames go by until `enough`, one handed over whenever the worker wants it.
    fn until(&mut self, upstream: &[UpstreamFace], enough: impl Fn(&Self) -> bool) {
        self.go_on(upstream, true, enough);
    }

    /// Frames go by until `enough`, handed over or only shown.
    fn go_on(&mut self, upstream: &[UpstreamFace], hand_over: bool, enough: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !enough(self) {
            let frame = (hand_over && self.live.wants(Some(FRAME))).then(|| self.frame());
            let collected = self.pass(upstream, frame);
            assert!(collected.error.is_none(), "{collected:?}");
            assert!(start.elapsed() < Duration::from_secs(60), "the worker does not work");
            std::thread::yield_now();
        }
    }
}

fn at(x: f32, id: u64) -> UpstreamFace {
    UpstreamFace { bbox: Rect::new(x, 10.0, 60.0, 60.0), id: Some(id), confidence: 1.0 }
}

fn scored(stream: &Stream) -> bool {
    stream.live.faces().iter().any(|f| f.outcome.is_ok())
}

#[test]
fn no_frame_waits_and_at_most_two_are_held() {
    let mut stream = Stream::new(FaceSource::Upstream);
    let open = stream.stand(&[at(120.0, 7)]);
    for _ in 0..20 {
        // The worker stands before the gate all the time; each of these takes the place of the one before.
        let frame = stream.frame();
        let collected = stream
            .pass(&[at(120.0, 7), UpstreamFace { bbox: Rect::new(0.0, 0.0, 9.0, 9.0), ..at(0.0, 8) }], Some(frame));
        assert!(collected.listed && collected.error.is_none());
        let outcomes: Vec<_> = stream.live.faces().iter().map(|f| f.outcome.unwrap_err()).collect();
        assert_eq!(outcomes, [NotScored::Pending, NotScored::TooSmall]);
        assert!(stream.held.load(Ordering::SeqCst) <= MAX_HELD);
    }
    open.send(()).unwrap();
    stream.until(&[at(120.0, 7)], scored);
    let stats = stream.live.recorder().stats();
    assert!(stats.skipped > 15 && stats.frames == stream.number, "{stats:?}");
}

#[test]
fn scores_come_with_their_age_and_move_with_the_face() {
    let mut stream = Stream::new(FaceSource::Upstream);
    // One frame is handed over and no other, so that no newer result comes while the face goes on.
    drop(stream.stand(&[at(120.0, 7)]));
    stream.go_on(&[at(120.0, 7)], false, scored);
    let last = stream.live.faces()[0];
    let before = last.outcome.unwrap();
    for n in 1..=5 {
        let collected = stream.pass(&[at(120.0 + n as f32, 7)], None);
        let face = stream.live.faces()[0];
        let score = face.outcome.unwrap();
        assert_eq!(score.age, before.age + FRAME * n);
        assert_eq!(u128::from(collected.behind) * FRAME.as_nanos(), score.age.as_nanos());
        assert_eq!((face.track, score.logit), (last.track, before.logit));
        assert_eq!(face.bbox.x, 120.0 + n as f32);
        assert_eq!(score.region, face.bbox);
        assert!(stream.live.map(face.track).is_some() && stream.live.is_followed(face.track));
    }
    // Another name at the same place is another face; without a name the place decides.
    stream.pass(&[at(120.0, 9)], None);
    assert_eq!(stream.live.faces()[0].outcome, Err(NotScored::Pending));
    stream.pass(&[UpstreamFace { id: None, ..at(118.0, 0) }], None);
    assert_eq!(stream.live.faces()[0].track, last.track);
}

#[test]
fn after_a_flush_and_after_a_cut_nothing_is_known() {
    let mut stream = Stream::new(FaceSource::Frame);
    assert!(!stream.pass(&[], None).listed, "nobody has looked yet");
    stream.until(&[], scored);
    let track = stream.live.faces()[0].track;
    stream.live.flush();
    let collected = stream.pass(&[], None);
    assert!(!collected.listed && !stream.live.is_followed(track));

    stream.until(&[], scored);
    let second = stream.live.faces()[0].track;
    assert!(second > track);
    stream.pixels = Arc::new(stream.pixels.iter().map(|v| 255 - v).collect());
    assert!(!stream.pass(&[], None).listed, "another shot");
    stream.until(&[], scored);
    assert!(stream.live.faces()[0].track > second);
}

#[test]
fn a_result_from_before_a_flush_is_dropped() {
    let mut stream = Stream::new(FaceSource::Frame);
    let open = stream.stand(&[]);
    let waits = stream.frame();
    stream.pass(&[], Some(waits));
    stream.live.flush();
    assert_eq!(stream.held.load(Ordering::SeqCst), 1, "what waited is gone at once");
    open.send(()).unwrap();
    // What was worked on is not told.
    stream.until(&[], scored);
    assert!(stream.live.faces()[0].outcome.unwrap().age < FRAME * (stream.number as u32 - 1));
}

#[test]
fn a_panic_is_told_and_the_stream_goes_on() {
    let mut stream = Stream::new(FaceSource::Frame);
    stream.until(&[], scored);
    let mut frame = stream.frame();
    frame.panics = true;
    stream.pass(&[], Some(frame));
    let start = Instant::now();
    let told = loop {
        if let Some(error) = stream.pass(&[], None).error {
            break error;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "nobody tells of the panic");
    };
    assert!(matches!(&told, LiveError::Panicked(why) if why == "as the test wants it"), "{told}");
    let after = stream.pass(&[], None);
    assert!(matches!(after.error, Some(LiveError::Panicked(_))) && !after.listed);
    assert!(!stream.live.wants(None));
}

#[test]
fn the_end_does_not_wait_for_what_waits() {
    let mut stream = Stream::new(FaceSource::Frame);
    let open = stream.stand(&[]);
    let waits = stream.frame();
    stream.pass(&[], Some(waits));
    let held = Arc::clone(&stream.held);
    drop(open);
    drop(stream);
    assert_eq!(held.load(Ordering::SeqCst), 0);
}
