//! What a frame costs in allocations, those of GLib, GStreamer and ONNX Runtime among them: this program's own `malloc` counts them.
//!
//! `deepfakescore` itself allocates what a frame carries away, and nothing else.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use deepfake_scoring::model::Model;
use deepfake_scoring::session::{Session, SessionOptions};
use gst_check::Harness;
use gstdeepfake::meta::Scores;

mod common;

use common::{SIDE, brightness_model, init};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // Where a thread is ending there is no counter any more.
    let _ = COUNT.try_with(|c| c.set(c.get() + 1));
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(pointer: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
}

// The names of the C library's own, for this program and all that it loads; each hands on what it gets, so that what is given is the C
// library's to take back.

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    count();
    // SAFETY: as asked for.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(number: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: as asked for.
    unsafe { __libc_calloc(number, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    count();
    // SAFETY: as asked for.
    unsafe { __libc_realloc(pointer, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(pointer: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    count();
    // SAFETY: as asked for.
    let found = unsafe { __libc_memalign(alignment, size) };
    if found.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller says where it is to stand.
    unsafe { *pointer = found };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: as asked for.
    unsafe { __libc_memalign(alignment, size) }
}

const SETTLED: usize = 64;
const FRAMES: usize = 32;

/// Pushes frames with so many faces through an element.
struct Stream {
    harness: Harness,
    faces: usize,
    frame: u64,
}

impl Stream {
    fn new(element: &gst::Element, faces: usize) -> Self {
        let mut harness = Harness::with_element(element, Some("sink"), Some("src"));
        harness.set_src_caps_str("video/x-raw,format=GRAY8,width=640,height=480,framerate=25/1");
        Self { harness, faces, frame: 0 }
    }

    /// Allocations of this thread for the next frame, and whether each of its faces has a score.
    fn next(&mut self) -> (usize, bool) {
        let mut buffer = gst::Buffer::from_slice(vec![90; 640 * 480]);
        let writable = buffer.make_mut();
        writable.set_pts(gst::ClockTime::from_mseconds(40 * self.frame));
        for i in 0..self.faces {
            // They walk to and fro, so that none is what it was in the frame before.
            let place = ((i % 10 * 60) as u32 + (self.frame % 5) as u32, (i / 10 * 60) as u32, 50, 50);
            gst_video::VideoRegionOfInterestMeta::add(writable, "face", place);
        }
        self.frame += 1;
        let before = COUNT.get();
        self.harness.push(buffer).unwrap();
        let all = COUNT.get() - before;
        let scores = Scores::from_buffer(&self.harness.pull().unwrap());
        let scored = |s: Scores| s.faces.len() == self.faces && s.faces.iter().all(|f| f.outcome.is_ok());
        (all, scores.is_some_and(scored))
    }

    /// Allocations for a frame in steady state, whose faces have scores if it is an element that gives some. Of several the middle one:
    /// now and then a list grows, or GLib's slices are shared with the worker.
    fn steady(&mut self, scores: bool) -> usize {
        let mut wanted: Vec<_> = (0..10_000_000)
            .map(|_| {
                std::thread::yield_now();
                self.next()
            })
            .filter(|(_, scored)| *scored || !scores)
            .map(|(all, _)| all)
            .take(SETTLED + FRAMES)
            .skip(SETTLED)
            .collect();
        assert_eq!(wanted.len(), FRAMES, "results come back");
        wanted.sort_unstable();
        wanted[FRAMES / 2]
    }
}

fn scorer(mode: &str) -> (gst::Element, tempfile::TempDir) {
    common::scorer(brightness_model, &[("face-source", "upstream"), ("min-face-size", "8"), ("mode", mode)])
}

/// Of one run of the model with so many faces, ONNX Runtime's among them.
fn of_a_run(faces: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::read(&brightness_model(folder.path())).unwrap();
    let mut session = Session::new(&model, &SessionOptions::default()).unwrap();
    let shape = [faces, 3, SIDE, SIDE];
    let input = vec![0.0; shape.iter().product()];
    let mut run = || {
        let before = COUNT.get();
        let count = session.outputs().len();
        let outputs = session.run(&shape, &input).unwrap();
        assert!((0..count).all(|i| outputs.get(i).is_ok()));
        COUNT.get() - before
    };
    (0..SETTLED).map(|_| run()).last().unwrap()
}

#[test]
fn a_frame_costs_what_it_carries_away_and_the_run_of_the_model() {
    init();
    // Newer GLib asks the C library for what it took from slices of its own before.
    let slices = glib::check_version(2, 76, 0).is_some();
    let most = |faces: usize| if slices { 14 + 10 * faces } else { 2 * (14 + 10 * faces) };
    for faces in [1, 4, 16] {
        let identity = gst::ElementFactory::make("identity").build().unwrap();
        let others = Stream::new(&identity, faces).steady(false);
        let (element, _folder) = scorer("every-frame");
        let every_frame = Stream::new(&element, faces).steady(true) - others;
        let run = of_a_run(faces);
        let (element, _folder) = scorer("live");
        let live = Stream::new(&element, faces).steady(true) - others;
        println!(
            "{faces} faces: {live} in live mode; {every_frame} where each is scored, {run} of them by the run of the model"
        );
        assert!(live <= most(faces), "live: {live}");
        assert!(every_frame - run <= most(faces), "every frame: {every_frame}, of which {run} are the run's");
        // What is counted is there: the scores have strings and lists.
        assert!(live > faces && run > 0, "{live} {run}");
    }
}
