//! In steady state nothing is allocated for a frame but by the runs of the models: the `ort` crate makes values for what goes in and comes out.
//! What ONNX Runtime itself allocates is not seen here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use deepfake_scoring::engine::{Engine, EngineOptions, FaceSource, Limits, UpstreamFace};
use deepfake_scoring::frame::{Colorimetry, FrameView, PixelFormat, Plane, Scan};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::live::{Live, SharedFrame};
use deepfake_scoring::locate;
use deepfake_scoring::model::Model;
use deepfake_scoring::session::{Session, SessionOptions};

mod drawn;
mod models;

use models::{SIDE, brightness};

/// Counts for each thread what it asks the system for.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // Where a thread is ending there is no counter any more.
    let _ = COUNT.try_with(|c| c.set(c.get() + 1));
}

// SAFETY: all is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as asked for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as asked for.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as asked for.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread meanwhile.
fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

const SETTLED: u64 = 64;
const FRAMES: u64 = 64;

/// Of one run of a model on such a tensor, whose outputs are read.
fn of_a_run(model: &Model, shape: &[usize]) -> usize {
    let mut session = Session::new(model, &SessionOptions::default()).unwrap();
    let input = vec![0.0; shape.iter().product()];
    let mut run = |n: usize| {
        for _ in 0..n {
            let count = session.outputs().len();
            let outputs = session.run(shape, &input).unwrap();
            assert!((0..count).all(|i| outputs.get(i).is_ok()));
        }
    };
    run(3);
    let all = allocations(|| run(10));
    assert_eq!(all % 10, 0, "each run as the others");
    all / 10
}

fn gray(width: usize, height: usize, pixels: &[u8]) -> FrameView<'_> {
    let planes = [Plane { data: pixels, stride: width }];
    FrameView::new(PixelFormat::Gray8, width, height, Colorimetry::RGB, Scan::Progressive, &planes).unwrap()
}

/// Of so many frames in steady state, beside the runs that they need.
fn of_frames(engine: &mut Engine, frame: &FrameView<'_>, upstream: impl Fn(u64) -> Vec<UpstreamFace>) -> usize {
    let mut all = 0;
    for n in 0..SETTLED + FRAMES {
        let faces = upstream(n);
        let time = Some(Duration::from_millis(40 * n));
        let of_frame = allocations(|| {
            engine.process(frame, &faces, time, None).unwrap();
        });
        all += if n < SETTLED { 0 } else { of_frame };
    }
    all
}

/// So many faces in rows, each of which walks to and fro.
fn walking(n: u64, count: usize) -> Vec<UpstreamFace> {
    let place = |i: usize| {
        let (x, y) = ((i % 10) as f32 * 60.0, (i / 10) as f32 * 60.0);
        Rect::new(x + ((n + i as u64) % 5) as f32, y, 50.0, 50.0 + (i % 3) as f32)
    };
    (0..count).map(|i| UpstreamFace { bbox: place(i), id: Some(i as u64), confidence: 0.5 }).collect()
}

fn engine(face_source: FaceSource, limits: Limits) -> Engine {
    Engine::new(&brightness(), EngineOptions { face_source, limits, ..EngineOptions::default() }).unwrap()
}

#[test]
fn faces_from_upstream_cost_no_allocation() {
    let pixels = vec![90; 640 * 480];
    let frame = gray(640, 480, &pixels);
    for faces in [1, 4, 32] {
        let mut engine = engine(FaceSource::Upstream, Limits { min_face_size: 8, ..Limits::default() });
        let all = of_frames(&mut engine, &frame, |n| walking(n, faces));
        assert_eq!(engine.faces().iter().filter(|f| f.outcome.is_ok()).count(), faces);
        assert_eq!(all, FRAMES as usize * of_a_run(&brightness(), &[faces, 3, SIDE, SIDE]), "{faces} faces");
    }
}

#[test]
fn more_faces_than_are_scored_cost_no_allocation() {
    let pixels = vec![90; 640 * 480];
    let frame = gray(640, 480, &pixels);
    let mut engine = engine(FaceSource::Upstream, Limits { min_face_size: 8, max_faces: 2, ..Limits::default() });
    let all = of_frames(&mut engine, &frame, |n| walking(n, 60));
    assert_eq!(engine.faces().len(), 60);
    assert_eq!(all, FRAMES as usize * of_a_run(&brightness(), &[2, 3, SIDE, SIDE]));
}

#[test]
fn the_face_detector_costs_no_allocation() {
    let mut picture = drawn::Picture::new(640, 480, 120);
    picture.face(180.0, 200.0, 160.0);
    picture.face(440.0, 240.0, 120.0);
    let frame = gray(640, 480, &picture.pixels);
    let mut engine = engine(FaceSource::Detect, Limits::default());
    let all = of_frames(&mut engine, &frame, |_| vec![]);
    assert_eq!(engine.faces().len(), 2);
    let runs = of_a_run(&locate::bundled().unwrap(), &[1, 3, 480, 640]) + of_a_run(&brightness(), &[2, 3, SIDE, SIDE]);
    assert_eq!(all, FRAMES as usize * runs);
}

#[test]
fn small_faces_in_windows_cost_no_allocation() {
    let mut picture = drawn::Picture::new(1920, 1080, 120);
    picture.face(900.0, 500.0, 40.0);
    let frame = gray(1920, 1080, &picture.pixels);
    let mut engine = engine(FaceSource::Detect, Limits { min_face_size: 16, ..Limits::default() });
    let all = of_frames(&mut engine, &frame, |_| vec![]);
    // The whole frame and two windows.
    let looks = 3 * FRAMES as usize * of_a_run(&locate::bundled().unwrap(), &[1, 3, 192, 320]);
    let score = of_a_run(&brightness(), &[1, 3, SIDE, SIDE]);
    assert!(all >= looks && all <= looks + FRAMES as usize * score, "{all} beside {looks} and {score} a frame");
    assert_eq!((all - looks) % score, 0);
}

/// A frame that nobody holds back.
struct Still(Arc<Vec<u8>>);

impl SharedFrame for Still {
    fn with_view(&self, read: &mut dyn FnMut(&FrameView<'_>)) -> Result<(), String> {
        read(&gray(640, 480, &self.0));
        Ok(())
    }
}

#[test]
fn the_stream_beside_a_worker_allocates_nothing_for_a_frame() {
    let pixels = Arc::new(vec![90; 640 * 480]);
    let mut live = Live::new(engine(FaceSource::Upstream, Limits { min_face_size: 8, ..Limits::default() })).unwrap();
    // Frames of which results have come back. Settled once each of the buffers that go to and fro has been used.
    let (mut all, mut seen, mut scored) = (0, vec![], 0);
    for n in 0..10_000_000 {
        if seen.len() > 2 * SETTLED as usize {
            break;
        }
        let upstream = walking(n, 8);
        let frame = Still(Arc::clone(&pixels));
        let time = Some(Duration::from_millis(40 * n));
        let mut behind = 0;
        let of_frame = allocations(|| {
            let collected = live.collect(&gray(640, 480, &pixels), &upstream, n, time);
            behind = collected.behind;
            if live.wants(None) {
                live.hand_over(frame, &upstream, n, time);
            }
        });
        if live.faces().iter().all(|f| f.outcome.is_ok()) && seen.last() != Some(&(n - behind)) {
            seen.push(n - behind);
        }
        if seen.len() > SETTLED as usize {
            all += of_frame;
            scored += usize::from(live.faces().iter().all(|f| f.outcome.is_ok()));
        }
        std::thread::yield_now();
    }
    assert!(seen.len() > 2 * SETTLED as usize && scored > 0, "results have come back: {}", seen.len());
    // Lists that go to and fro are kept, but made when they are first needed, which on a busy machine may be late. One a frame would be more than this.
    assert!(all <= 4, "{all}");
}
