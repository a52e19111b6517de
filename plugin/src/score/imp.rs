//! The element: settings in, engine made at start, each buffer scored in place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deepfake_frames::{FrameFormat, MapError};
use deepfake_scoring::live::{MAX_HELD, panic_message};
use deepfake_scoring::session::RunOptions;
use deepfake_scoring::verdict::Verdict;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;

use super::lateness::Lateness;
use super::regions;
use super::runner::{Failure, Moment};
use super::settings::{self, Messages, Mode, OnError, Settings};
use super::state::{State, frame_time, setup};
use super::statistics::Statistics;
use crate::meta::{ScoredBy, Scores};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("deepfakescore", gst::DebugColorFlags::empty(), Some("Deepfake scores of faces"))
});

/// What can be read of the running element without waiting for a frame.
struct Active {
    by: Arc<ScoredBy>,
    mode: Option<&'static str>,
    statistics: Statistics,
    /// What a frame lasts, where the caps say it.
    frame_time: Option<Duration>,
    /// Ends the run of a model that the stream waits for.
    options: Arc<RunOptions>,
}

/// The element's own data.
#[derive(Default)]
pub struct DeepfakeScore {
    settings: Mutex<Settings>,
    /// The settings were changed while playing.
    changed: AtomicBool,
    state: Mutex<Option<State>>,
    active: Mutex<Option<Active>>,
    /// The stream is flushed or stopped: what runs is to end.
    flushing: AtomicBool,
    /// The element is being stopped, whatever flush ends meanwhile.
    stopping: AtomicBool,
    /// What is downstream says how late frames come.
    lateness: Mutex<Lateness>,
}

/// A poisoned lock means that a panic has already become an element error: the data is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[glib::object_subclass]
impl ObjectSubclass for DeepfakeScore {
    const NAME: &'static str = "GstDeepfakeScore";
    type Type = super::DeepfakeScore;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for DeepfakeScore {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(settings::properties);
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        lock(&self.settings).set(pspec.name(), value);
        self.changed.store(true, Ordering::Release);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if let Some(value) = lock(&self.settings).get(pspec.name()) {
            return value;
        }
        let active = lock(&self.active);
        let active = active.as_ref();
        match pspec.name() {
            "active-provider" => active.map(|a| a.by.provider.as_str()).to_value(),
            "active-mode" => active.and_then(|a| a.mode).to_value(),
            "model-digest" => active.map(|a| a.by.sha256.as_str()).to_value(),
            _ => active.map(|a| a.statistics.clone()).unwrap_or_default().to_structure().to_value(),
        }
    }
}

impl GstObjectImpl for DeepfakeScore {}

impl ElementImpl for DeepfakeScore {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Deepfake scores",
                "Filter/Analyzer/Video",
                "Scores the faces in running video for being deepfakes and attaches scores and region maps as metadata",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = deepfake_frames::caps();
            let template = |name, direction| gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps);
            [template("sink", gst::PadDirection::Sink), template("src", gst::PadDirection::Src)]
                .into_iter()
                .collect::<Result<_, _>>()
                .unwrap_or_default()
        });
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::PausedToReady {
            // The pads are shut before `stop`, which waits for the frame that is scored.
            self.stopping.store(true, Ordering::Release);
            self.interrupt();
        }
        self.parent_change_state(transition)
    }
}

impl BaseTransformImpl for DeepfakeScore {
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        self.changed.store(false, Ordering::Release);
        let state = setup(&settings).map_err(|e| e.to_message())?;
        gst::info!(
            CAT,
            imp = self,
            "Model {} (SHA-256 {}) runs on {}, faces by {}",
            state.by.model,
            state.by.sha256,
            state.by.provider,
            state.detector.as_deref().unwrap_or("upstream")
        );
        *lock(&self.active) = Some(Active {
            by: Arc::clone(&state.by),
            mode: None,
            statistics: state.statistics.clone(),
            frame_time: None,
            options: Arc::clone(&state.options),
        });
        self.stopping.store(false, Ordering::Release);
        self.flushing.store(false, Ordering::Release);
        *lock(&self.lateness) = Lateness::default();
        *lock(&self.state) = Some(state);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        *lock(&self.active) = None;
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info =
            gst_video::VideoInfo::from_caps(incaps).map_err(|_| gst::loggable_error!(CAT, "Not video: {incaps}"))?;
        let format = FrameFormat::new(&info).map_err(|e| gst::loggable_error!(CAT, "{e}"))?;
        let time = frame_time(&format);
        let before = lock(&self.active).as_mut().and_then(|active| std::mem::replace(&mut active.frame_time, time));
        // A frame that is waited for adds to the latency what it lasts.
        if before != time && lock(&self.settings).mode == Mode::EveryFrame {
            let element = self.obj();
            let _ = element.post_message(gst::message::Latency::builder().src(&*element).build());
        }
        if let Some(state) = lock(&self.state).as_mut() {
            let size = |f: &FrameFormat| (f.info().width(), f.info().height());
            // Boxes of another size of frame are of no use for the tracks.
            if state.format.as_ref().is_some_and(|f| size(f) != size(&format)) {
                state.reset();
            }
            state.runner.set_limits(lock(&self.settings).limits(time));
            state.format = Some(Arc::new(format));
        }
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStart(_) => self.interrupt(),
            gst::EventView::FlushStop(_) => {
                lock(&self.lateness).reset();
                if let Some(state) = lock(&self.state).as_mut() {
                    if !self.stopping.load(Ordering::Acquire) {
                        self.flushing.store(false, Ordering::Release);
                        let _ = state.options.unterminate();
                    }
                    // What was not known to be live may be by now.
                    state.settled = false;
                    state.reset();
                }
            }
            gst::EventView::Segment(event) => {
                if let (Some(state), Ok(segment)) =
                    (lock(&self.state).as_mut(), event.segment().clone().downcast::<gst::ClockTime>())
                {
                    state.segment = segment;
                }
            }
            _ => {}
        }
        self.parent_sink_event(event)
    }

    /// The base class would let go of frames that are late: `qos` spares them their scores here, never the stream a frame.
    fn src_event(&self, event: gst::Event) -> bool {
        let gst::EventView::Qos(qos) = event.view() else { return self.parent_src_event(event) };
        lock(&self.lateness).note(qos.get());
        self.obj().sink_pad().push_event(event)
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if !BaseTransformImplExt::parent_query(self, direction, query) {
            return false;
        }
        if let (gst::PadDirection::Src, gst::QueryViewMut::Latency(latency)) = (direction, query.view_mut()) {
            let (live, min, max) = latency.result();
            let added = self.added_latency(live);
            // Nothing is kept that could make up for more.
            latency.set(live, min + added, max);
        }
        true
    }

    /// In place, so that what is downstream decides how frames are kept. Live mode holds some of them for a while.
    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let answered = match self.obj().src_pad().peer_query(query) {
            true => Ok(()),
            false => self.parent_propose_allocation(decide_query, query),
        };
        // What downstream crops by this meta would be looked at uncropped here.
        if let Some(index) = query.find_allocation_meta::<gst_video::VideoCropMeta>() {
            query.remove_nth_allocation_meta(index);
        }
        // Whoever is downstream or not: these are held here.
        if !self.is_live() {
            return answered;
        }
        let held = MAX_HELD as u32;
        let pools: Vec<_> = query.allocation_pools().collect();
        for (index, (pool, size, min, max)) in pools.iter().enumerate() {
            // 0 is no bound.
            let max = if *max == 0 { 0 } else { max.saturating_add(held) };
            query.set_nth_allocation_pool(index as u32, pool.as_ref(), *size, min.saturating_add(held), max);
        }
        if pools.is_empty()
            && let Some(format) = lock(&self.state).as_ref().and_then(|s| s.format.clone())
        {
            query.add_allocation_pool(None::<&gst::BufferPool>, format.info().size() as u32, held, 0);
        }
        Ok(())
    }

    fn transform_ip(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        // The bindings would make an error of a panic too, but then let nobody stop the element any more.
        catch_unwind(AssertUnwindSafe(|| self.pass(buffer))).unwrap_or_else(|panic| {
            gst::element_imp_error!(self, gst::LibraryError::Failed, ("Panicked: {}", panic_message(&*panic)));
            *lock(&self.state) = None;
            Err(gst::FlowError::Error)
        })
    }
}

impl DeepfakeScore {
    /// Looks at a frame, and writes what is known of its faces on it.
    fn pass(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
        if self.changed.swap(false, Ordering::AcqRel) {
            state.apply(&lock(&self.settings));
        }
        if state.failures.refuses() {
            return self.tell_failure(state, None);
        }
        self.settle(state)?;
        let number = state.frame;
        state.frame += 1;
        // A gap has no pixels to look at.
        let (Some(format), true) = (state.format.clone(), buffer.size() > 0) else { return Ok(gst::FlowSuccess::Ok) };
        // Ages are told in running time, which goes on where segments follow each other.
        let running_time = state.segment.to_running_time(buffer.pts());
        if self.passes_late(state, buffer, running_time) {
            return Ok(gst::FlowSuccess::Ok);
        }
        state.upstream.clear();
        state.upstream.extend(regions::upstream(buffer));
        let time = running_time.or(buffer.pts()).map(Duration::from);
        let moment = Moment { upstream: &state.upstream, number, time };
        let scored = state.runner.score(&format, buffer, moment, &state.options);
        if self.flushing.load(Ordering::Acquire) {
            return Err(gst::FlowError::Flushing);
        }
        let readable = scored.is_ok();
        // A frame that cannot be read is a failure as others are: whether the stream goes on is the user's to say.
        let scored = scored.unwrap_or_else(|error: MapError| state.runner.unread(&error));
        self.tell_failure(state, scored.failure.as_ref())?;
        if scored.listed {
            let scores = state.scores(number, &scored);
            state.attach(buffer, &scores);
            self.tell(state, buffer, &scores);
        }
        self.tell_stats(state);
        if !readable {
            return Ok(gst::FlowSuccess::Ok);
        }
        let moment = Moment { upstream: &state.upstream, number, time };
        state.runner.hand_over(buffer, &format, moment, frame_time(&format));
        Ok(gst::FlowSuccess::Ok)
    }

    /// Whether a frame is to pass without scores, because it is late and nothing but its score would wait.
    fn passes_late(&self, state: &mut State, buffer: &gst::BufferRef, running_time: Option<gst::ClockTime>) -> bool {
        let frame_time = state.format.as_ref().and_then(|f| frame_time(f));
        let Some(late) = lock(&self.lateness).is_late(running_time, frame_time) else { return false };
        let element = self.obj();
        if !element.is_qos() || !state.runner.skip() {
            return false;
        }
        let stats = state.statistics.recorded();
        let format = |frames| gst::format::GenericFormattedValue::new(gst::Format::Default, frames);
        let (processed, dropped) = (stats.frames - stats.skipped, stats.skipped);
        let message = gst::message::Qos::builder(false)
            .running_time(running_time)
            .stream_time(state.segment.to_stream_time(buffer.pts()))
            .timestamp(buffer.pts())
            .duration(buffer.duration())
            .values(late.jitter, late.proportion, 1_000_000)
            .stats(format(processed as i64), format(dropped as i64))
            .src(&*element)
            .build();
        // Without a bus nobody listens.
        let _ = element.post_message(message);
        true
    }

    /// Ends the run of a model that the stream waits for; frames are let go until the flush or the stop is over.
    fn interrupt(&self) {
        self.flushing.store(true, Ordering::Release);
        if let Some(active) = lock(&self.active).as_ref() {
            // Where nothing runs there is nothing to end.
            let _ = active.options.terminate();
        }
    }

    /// Mode `auto` becomes what the pipeline is, as far as upstream tells.
    fn is_live(&self) -> bool {
        // Not locked while others are asked.
        let mode = lock(&self.settings).mode;
        match mode {
            Mode::EveryFrame => false,
            Mode::Live => true,
            Mode::Auto => {
                let mut latency = gst::query::Latency::new();
                let answered = self.obj().sink_pad().peer_query(&mut latency);
                if !answered {
                    gst::warning!(
                        CAT,
                        imp = self,
                        "Nobody says whether the pipeline is live: mode=auto takes it for not live"
                    );
                }
                answered && latency.result().0
            }
        }
    }

    /// A frame that is waited for may take until the next one comes; in live mode none is waited for.
    fn added_latency(&self, live: bool) -> gst::ClockTime {
        if !live || lock(&self.settings).mode != Mode::EveryFrame {
            return gst::ClockTime::ZERO;
        }
        let time = lock(&self.active).as_ref().and_then(|active| active.frame_time);
        time.and_then(|t| gst::ClockTime::try_from(t).ok()).unwrap_or(gst::ClockTime::ZERO)
    }

    /// Before the first frame: who works on them.
    fn settle(&self, state: &mut State) -> Result<(), gst::FlowError> {
        if std::mem::replace(&mut state.settled, true) {
            return Ok(());
        }
        let live = self.is_live();
        if live && let Err(error) = state.runner.go_live() {
            gst::element_imp_error!(self, gst::ResourceError::NoSpaceLeft, ("{error}"));
            return Err(gst::FlowError::Error);
        }
        let mode = if live { "live" } else { "every-frame" };
        gst::info!(CAT, imp = self, "Mode {mode}");
        if let Some(active) = lock(&self.active).as_mut() {
            active.mode = Some(mode);
        }
        Ok(())
    }

    /// Says what failed, and whether the stream goes on.
    fn tell_failure(&self, state: &mut State, failure: Option<&Failure>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(told) = state.failures.note(failure) else { return Ok(gst::FlowSuccess::Ok) };
        let error = told.text;
        match told.on_error {
            OnError::Error => {
                if told.first {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Failed,
                        ("{error}"),
                        ["on-error=passthrough would let the video go on"]
                    );
                }
                Err(gst::FlowError::Error)
            }
            OnError::Passthrough => {
                gst::debug!(CAT, imp = self, "{error}");
                if told.first {
                    gst::element_imp_warning!(
                        self,
                        gst::StreamError::Failed,
                        ("{error}"),
                        ["The video passes on, its faces not scored"]
                    );
                }
                Ok(gst::FlowSuccess::Ok)
            }
        }
    }

    fn tell_stats(&self, state: &mut State) {
        if let Some(interval) = state.stats_interval
            && state.stats_told.elapsed() >= interval
        {
            state.stats_told = Instant::now();
            let mut structure = state.statistics.to_structure();
            structure.set("provider", &state.by.provider);
            structure.set("mode", lock(&self.active).as_ref().and_then(|a| a.mode));
            self.post(structure);
        }
    }

    /// Posts what was asked for.
    fn tell(&self, state: &mut State, buffer: &gst::BufferRef, scores: &Scores) {
        if state.messages == Messages::None {
            return;
        }
        let running_time = state.segment.to_running_time(buffer.pts());
        for face in &scores.faces {
            let known = state.verdicts.iter_mut().find(|(track, _)| *track == face.track);
            let before = known.as_ref().map_or(Verdict::Undecided, |(_, verdict)| *verdict);
            if face.track == 0 || face.verdict == before {
                continue;
            }
            match known {
                Some((_, verdict)) => *verdict = face.verdict,
                None => state.verdicts.push((face.track, face.verdict)),
            }
            let score = face.outcome.as_ref().map_or(f64::NAN, |s| s.score);
            let structure = gst::Structure::builder("deepfake-verdict")
                .field("track", face.track)
                .field("verdict", face.verdict.name())
                .field("before", before.name())
                .field("score", score)
                .field("frame", scores.frame)
                .field("pts", buffer.pts())
                .field("running-time", running_time)
                .field("model-sha256", &scores.by.sha256)
                .field("provider", &scores.by.provider)
                .build();
            self.post(structure);
        }
        // Tracks that are gone need no memory of what was told.
        state.verdicts.retain(|(track, _)| state.runner.is_followed(*track));
        if state.messages == Messages::All {
            let mut structure = scores.to_structure("deepfake-scores");
            structure.set("pts", buffer.pts());
            structure.set("running-time", running_time);
            self.post(structure);
        }
    }

    fn post(&self, structure: gst::Structure) {
        let element = self.obj();
        let message = gst::message::Element::builder(structure).src(&*element).build();
        // Without a bus nobody listens.
        let _ = element.post_message(message);
    }
}
