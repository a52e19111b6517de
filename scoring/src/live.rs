//! Scores beside a stream that cannot wait.
//!
//! A worker of its own has the [`Engine`]. The thread of the stream never waits for it: to each frame it gives what the newest
//! finished result says of the faces, moved on to where they should be by now, with the age of the scores; and it hands the frame
//! over only where the worker is free for one, or should be before the next frame comes. One frame is worked on and one, the newest,
//! may wait. The one that is worked on is held until its crops are cut, not while the scoring model runs.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::engine::{Engine, EngineError, FaceSource, Limits, MAX_TRACKED};
use crate::face::{ScoredFace, UpstreamFace, list_upstream, whole};
use crate::frame::FrameView;
use crate::geometry::Rect;
use crate::score::NotScored;
use crate::session::RunOptions;
use crate::shot::CutDetector;
use crate::stats::Recorder;
use crate::track::{Track, TrackOptions};

/// So many frames are held at most: the one whose crops are being cut, and the one that waits.
pub const MAX_HELD: usize = 2;

/// What a frame is taken to last where nobody says.
const USUAL_FRAME: Duration = Duration::from_millis(40);

/// A frame that another thread may read for as long as it holds it.
pub trait SharedFrame: Send + 'static {
    /// Lends the pixels.
    ///
    /// # Errors
    ///
    /// Why they cannot be read.
    fn with_view(&self, read: &mut dyn FnMut(&FrameView<'_>)) -> Result<(), String>;
}

/// Why a frame that was handed over has no scores.
#[derive(Debug, Error)]
pub enum LiveError {
    /// A model failed. The next frame may go well again.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its pixels cannot be read.
    #[error("{0}")]
    Frame(String),
    /// The worker is gone, and no frame will be scored any more.
    #[error("the worker of live mode has panicked: {0}")]
    Panicked(String),
    /// The worker cannot be started.
    #[error("the worker of live mode does not start: {0}")]
    Start(String),
}

/// What [`Live::collect`] has for a frame.
#[derive(Debug, Default)]
pub struct Collected {
    /// [`Live::faces`] is what is known of this frame. Not so before the first result, after a cut or a flush, and where the face
    /// detector has failed: then it is not known whether there are faces.
    pub listed: bool,
    /// Frames that this one is newer than the one that the result is of.
    pub behind: u64,
    /// What has failed since the last frame.
    pub error: Option<LiveError>,
}

/// A frame that waits or is worked on.
struct Job<F> {
    frame: F,
    upstream: Vec<UpstreamFace>,
    moment: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Counts flushes and cuts: results from before are of no use after.
    epoch: u64,
    number: u64,
    time: Option<Duration>,
    handed_over: Instant,
}

/// A finished result.
#[derive(Debug)]
struct Snapshot {
    moment: Moment,
    listed: bool,
    faces: Vec<Known>,
    /// Tracks that live, listed or not.
    followed: Vec<u64>,
    maps: Vec<f32>,
    error: Option<LiveError>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    face: ScoredFace,
    track: Option<Track>,
    /// Where its map begins in [`Snapshot::maps`].
    map: Option<usize>,
}

/// What both threads see; held for as long as it takes to move something in or out.
struct Desk<F> {
    waiting: Option<Job<F>>,
    finished: Option<Snapshot>,
    /// Memory to be used again.
    spare: Option<Snapshot>,
    /// At most as many lists as frames are held.
    spare_upstream: Vec<Vec<UpstreamFace>>,
    /// Since when the worker works.
    busy: Option<Instant>,
    /// How long it takes as a rule.
    usual: Duration,
    limits: Limits,
    stopping: bool,
}

struct Shared<F> {
    desk: Mutex<Desk<F>>,
    work: Condvar,
    options: RunOptions,
}

impl<F> Shared<F> {
    fn desk(&self) -> MutexGuard<'_, Desk<F>> {
        // Nothing is left half done in it.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream's end of it.
pub struct Live<F: SharedFrame> {
    shared: Arc<Shared<F>>,
    worker: Option<JoinHandle<()>>,
    source: FaceSource,
    map_size: Option<(usize, usize)>,
    recorder: Recorder,
    cuts: CutDetector,
    epoch: u64,
    limits: Limits,
    panicked: Option<String>,
    current: Option<Snapshot>,
    // Kept from frame to frame for their memory.
    faces: Vec<ScoredFace>,
    taken: Vec<bool>,
}

impl<F: SharedFrame> Live<F> {
    /// Starts the worker.
    ///
    /// # Errors
    ///
    /// Where the machine has no thread left, or ONNX Runtime no memory.
    pub fn new(engine: Engine) -> Result<Self, LiveError> {
        let options = RunOptions::new().map_err(|e| LiveError::Start(e.to_string()))?;
        let desk = Desk {
            waiting: None,
            finished: None,
            spare: None,
            spare_upstream: Vec::with_capacity(MAX_HELD),
            busy: None,
            usual: Duration::ZERO,
            limits: engine.limits(),
            stopping: false,
        };
        let shared = Arc::new(Shared { desk: Mutex::new(desk), work: Condvar::new(), options });
        let (source, map_size) = (engine.face_source(), engine.card().map_size);
        let (recorder, limits) = (engine.recorder().clone(), engine.limits());
        let worker = std::thread::Builder::new().name("deepfakescore".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || work(&shared, engine)
        });
        let worker = worker.map_err(|e| LiveError::Start(e.to_string()))?;
        Ok(Self {
            shared,
            worker: Some(worker),
            source,
            map_size,
            recorder,
            cuts: CutDetector::default(),
            epoch: 0,
            limits,
            panicked: None,
            current: None,
            faces: vec![],
            taken: vec![],
        })
    }

    /// Where it is written down what has been done so far.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Changes how much of the work is done, from the next frame that is handed over on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.shared.desk().limits = limits;
    }

    /// Drops what waits, ends what runs, and forgets all results and tracks; does not wait.
    pub fn flush(&mut self) {
        self.cuts.reset();
        self.forget();
    }

    fn forget(&mut self) {
        self.epoch += 1;
        let mut desk = self.shared.desk();
        let dropped = desk.waiting.take().map(|job| {
            desk.spare_upstream.push(job.upstream);
            job.frame
        });
        // The worker takes it back with its next frame. Where it does not run there is nothing to end.
        let _ = self.shared.options.terminate();
        if let Some(snapshot) = self.current.take() {
            desk.spare = Some(snapshot);
        }
        drop(desk);
        drop(dropped);
    }

    /// Takes the newest finished result and places its faces in this frame. `upstream`, `number` and `time` are as
    /// [`Engine::look`] has them.
    pub fn collect(
        &mut self,
        frame: &FrameView<'_>,
        upstream: &[UpstreamFace],
        number: u64,
        time: Option<Duration>,
    ) -> Collected {
        self.recorder.frame();
        if self.cuts.is_cut(frame) {
            self.forget();
        }
        self.faces.clear();
        let error = self.take();
        let whole = whole(frame.width(), frame.height());
        let current = self.current.take();
        let behind = current.as_ref().map_or(0, |c| number.saturating_sub(c.moment.number));
        let listed = match &current {
            // The boxes are there; their scores are not yet.
            _ if self.source.is_upstream(upstream) => {
                self.place_upstream(current.as_ref(), upstream, &whole, number, time);
                true
            }
            Some(current) if current.listed => {
                self.place_found(current, &whole, number, time);
                true
            }
            _ => false,
        };
        self.current = current;
        Collected { listed, behind, error }
    }

    /// Moves a finished result, if there is one, into its place.
    fn take(&mut self) -> Option<LiveError> {
        if let Some(problem) = &self.panicked {
            return Some(LiveError::Panicked(problem.clone()));
        }
        let mut desk = self.shared.desk();
        let mut finished = desk.finished.take()?;
        if finished.moment.epoch != self.epoch && !matches!(finished.error, Some(LiveError::Panicked(_))) {
            finished.error = None;
            desk.spare = Some(finished);
            return None;
        }
        let error = finished.error.take();
        if let Some(LiveError::Panicked(problem)) = &error {
            self.panicked = Some(problem.clone());
            self.current = None;
        } else if let Some(old) = self.current.replace(finished) {
            desk.spare = Some(old);
        }
        error
    }

    /// Whether the worker is free for a frame, or will be before the next one comes, `frame_time` later.
    pub fn wants(&self, frame_time: Option<Duration>) -> bool {
        if self.panicked.is_some() {
            return false;
        }
        let desk = self.shared.desk();
        match desk.busy {
            None => desk.waiting.is_none(),
            Some(since) => since + desk.usual <= Instant::now() + frame_time.unwrap_or(USUAL_FRAME),
        }
    }

    /// Hands a frame over. The one that waited, if there was one, is dropped: the newest wins.
    pub fn hand_over(&mut self, frame: F, upstream: &[UpstreamFace], number: u64, time: Option<Duration>) {
        let moment = Moment { epoch: self.epoch, number, time, handed_over: Instant::now() };
        let mut desk = self.shared.desk();
        let mut old = desk.waiting.take();
        // The list of the one that is dropped is used again too, else a new one would be allocated in its place.
        let spare = old.as_mut().map(|job| std::mem::take(&mut job.upstream));
        let mut list = spare.or_else(|| desk.spare_upstream.pop()).unwrap_or_default();
        list.clear();
        list.extend_from_slice(upstream);
        desk.waiting = Some(Job { frame, upstream: list, moment });
        drop(desk);
        self.shared.work.notify_one();
        // Outside of the lock: it may give a buffer back to its pool.
        drop(old);
    }

    /// The faces of the last [`Live::collect`], the largest first.
    pub fn faces(&self) -> &[ScoredFace] {
        &self.faces
    }

    /// Whether a track lived when the newest result was made.
    pub fn is_followed(&self, track: u64) -> bool {
        self.current.as_ref().is_some_and(|c| c.followed.contains(&track))
    }

    /// The newest map of a track, as [`Engine::map`].
    pub fn map(&self, track: u64) -> Option<(usize, usize, &[f32])> {
        let (width, height) = self.map_size?;
        let start = self.known().find(|k| k.face.track == track)?.map?;
        Some((width, height, self.current.as_ref()?.maps.get(start..start + width * height)?))
    }

    fn known(&self) -> impl Iterator<Item = &Known> {
        self.current.iter().flat_map(|c| &c.faces)
    }

    /// Faces that were found, by whomever: where they should be by now.
    fn place_found(&mut self, current: &Snapshot, whole: &Rect, number: u64, time: Option<Duration>) {
        for known in &current.faces {
            let bbox = match (self.source, &known.track) {
                (FaceSource::Frame, _) => *whole,
                (_, Some(track)) => track.predicted(number),
                (_, None) => known.face.bbox,
            };
            if bbox.intersection(whole).is_some() {
                self.faces.push(known.moved(bbox, None, &current.moment, time));
            }
        }
    }

    /// Faces that somebody upstream has found in this very frame, with what is known of them by their names, or else by where
    /// they are.
    fn place_upstream(
        &mut self,
        current: Option<&Snapshot>,
        upstream: &[UpstreamFace],
        whole: &Rect,
        number: u64,
        time: Option<Duration>,
    ) {
        list_upstream(upstream, whole, &mut self.faces);
        // More are not followed, and stand behind.
        let known = current.map_or(&[][..], |c| &c.faces[..c.faces.len().min(MAX_TRACKED)]);
        let unknown = if self.panicked.is_some() { NotScored::RunFailed } else { NotScored::Pending };
        self.taken.clear();
        self.taken.resize(known.len(), false);
        let least = TrackOptions::default().iou;
        for face in &mut self.faces {
            if face.outcome == Err(NotScored::InvalidBox) {
                continue;
            }
            let name = face.upstream.and_then(|i| upstream[i].id);
            let fit = |k: &Known| match (k.track, name) {
                (Some(track), Some(name)) if track.upstream == Some(name) => 2.0,
                (Some(track), Some(_)) if track.upstream.is_some() => 0.0,
                (Some(track), _) => track.predicted(number).iou(&face.bbox).max(k.face.bbox.iou(&face.bbox)),
                (None, _) => 0.0,
            };
            let best =
                (0..known.len()).filter(|&i| !self.taken[i]).max_by(|&a, &b| fit(&known[a]).total_cmp(&fit(&known[b])));
            let best = best.filter(|&i| fit(&known[i]) >= least);
            match (best, current) {
                (Some(i), Some(current)) => {
                    self.taken[i] = true;
                    *face = known[i].moved(face.bbox, face.upstream, &current.moment, time);
                }
                _ if face.bbox.w.min(face.bbox.h) < self.limits.min_face_size as f32 => {
                    face.outcome = Err(NotScored::TooSmall);
                }
                _ => face.outcome = Err(unknown),
            }
        }
    }
}

impl<F: SharedFrame> Drop for Live<F> {
    fn drop(&mut self) {
        self.forget();
        self.shared.desk().stopping = true;
        self.shared.work.notify_one();
        if let Some(worker) = self.worker.take() {
            // Its panics are caught and told.
            let _ = worker.join();
        }
    }
}

impl Known {
    /// The face at another place, its scores as much older as the frame is newer.
    fn moved(&self, bbox: Rect, upstream: Option<usize>, from: &Moment, now: Option<Duration>) -> ScoredFace {
        let later = match (now, from.time) {
            (Some(now), Some(then)) => now.saturating_sub(then),
            // Without times in the stream the clock tells.
            _ => from.handed_over.elapsed(),
        };
        let old = self.face.bbox;
        let outcome = self.face.outcome.map(|mut score| {
            let r = Rect { x: score.region.x - old.x, y: score.region.y - old.y, ..score.region };
            let r = r.scaled(bbox.w / old.w, bbox.h / old.h);
            score.region = Rect { x: r.x + bbox.x, y: r.y + bbox.y, ..r };
            score.age += later;
            score
        });
        ScoredFace { bbox, upstream, outcome, ..self.face }
    }
}

/// The worker: frame after frame until it is told to stop.
fn work<F: SharedFrame>(shared: &Shared<F>, mut engine: Engine) {
    let mut epoch = 0;
    while let Some((job, limits, spare)) = next(shared) {
        let moment = job.moment;
        let mut snapshot = spare.unwrap_or_else(|| Snapshot::empty(moment));
        snapshot.moment = moment;
        if moment.epoch != epoch {
            engine.reset();
            epoch = moment.epoch;
        }
        engine.set_limits(limits);
        let start = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| score(&mut engine, job, &shared.options, &mut snapshot)));
        let (error, upstream) = match done {
            Ok((error, upstream)) => (error, upstream),
            Err(panic) => {
                snapshot.clear();
                (Some(LiveError::Panicked(panic_message(&*panic))), vec![])
            }
        };
        snapshot.error = error;
        let over = matches!(snapshot.error, Some(LiveError::Panicked(_)));
        let took = start.elapsed();
        let mut desk = shared.desk();
        desk.busy = None;
        // A quarter of what is new: one slow frame says little.
        desk.usual = if desk.usual.is_zero() { took } else { (desk.usual * 3 + took) / 4 };
        desk.spare_upstream.push(upstream);
        desk.finished = Some(snapshot);
        if over {
            desk.waiting = None;
            return;
        }
    }
}

/// Waits for a frame; `None` at the end.
fn next<F>(shared: &Shared<F>) -> Option<(Job<F>, Limits, Option<Snapshot>)> {
    let mut desk = shared.desk();
    loop {
        if desk.stopping {
            return None;
        }
        if let Some(job) = desk.waiting.take() {
            desk.busy = Some(Instant::now());
            // Under the lock, so that a flush from now on ends this run and one before does not.
            let _ = shared.options.unterminate();
            return Some((job, desk.limits, desk.spare.take()));
        }
        desk = shared.work.wait(desk).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Works on one frame, which is given back as soon as its crops are cut.
fn score<F: SharedFrame>(
    engine: &mut Engine,
    job: Job<F>,
    options: &RunOptions,
    snapshot: &mut Snapshot,
) -> (Option<LiveError>, Vec<UpstreamFace>) {
    snapshot.clear();
    let Job { frame, upstream, moment } = job;
    let mut looked = Ok(());
    let read =
        frame.with_view(&mut |view| looked = engine.look(view, &upstream, moment.number, moment.time, Some(options)));
    drop(frame);
    let error = match (read, looked) {
        (Err(problem), _) => return (Some(LiveError::Frame(problem)), upstream),
        (_, Err(error)) => return (Some(error.into()), upstream),
        (Ok(()), Ok(())) => engine.run(Some(options)).err().map(LiveError::from),
    };
    snapshot.listed = true;
    snapshot.followed.extend(engine.followed());
    for face in engine.faces() {
        let map = engine.map(face.track).map(|(_, _, values)| {
            let start = snapshot.maps.len();
            snapshot.maps.extend_from_slice(values);
            start
        });
        let track = engine.track(face.track).filter(|(_, looked)| *looked).map(|(track, _)| *track);
        snapshot.faces.push(Known { face: *face, track, map });
    }
    (error, upstream)
}

impl Snapshot {
    fn empty(moment: Moment) -> Self {
        Self { moment, listed: false, faces: vec![], followed: vec![], maps: vec![], error: None }
    }

    fn clear(&mut self) {
        self.listed = false;
        self.faces.clear();
        self.followed.clear();
        self.maps.clear();
        self.error = None;
    }
}

/// What a panic says.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
