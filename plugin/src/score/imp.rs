//! The element: settings in, engine made at start, each buffer scored in place.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deepfake_frames::{FrameFormat, MapError};
use deepfake_scoring::engine::{Engine, EngineError, ScoredFace, Stats, UpstreamFace};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::LocateError;
use deepfake_scoring::model::{Model, ModelError};
use deepfake_scoring::score::ScorerError;
use deepfake_scoring::session::SessionError;
use deepfake_scoring::verdict::Verdict;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use thiserror::Error;

use super::regions;
use super::settings::{self, Messages, OnError, Settings};
use crate::meta::{self, Mode, RegionMap, ScoredBy, Scores};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("deepfakescore", gst::DebugColorFlags::empty(), Some("Deepfake scores of faces"))
});

/// Why the element does not start.
#[derive(Debug, Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the model-config {path} cannot be used: {problem}", path = path.display())]
    Config { path: PathBuf, problem: String },
    #[error("the model has the SHA-256 {found}, expect-model-digest says {expected}")]
    Digest { expected: String, found: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl SetupError {
    /// As GStreamer sorts errors.
    fn to_message(&self) -> gst::ErrorMessage {
        let text = self.to_string();
        match self {
            Self::Model(ModelError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                gst::error_msg!(gst::ResourceError::NotFound, ("{text}"))
            }
            Self::Model(ModelError::Read { .. } | ModelError::NotAFile(_)) => {
                gst::error_msg!(gst::ResourceError::OpenRead, ("{text}"))
            }
            Self::Model(_) => gst::error_msg!(gst::StreamError::WrongType, ("{text}")),
            Self::Config { .. } | Self::Engine(EngineError::Thresholds { .. }) => {
                gst::error_msg!(gst::ResourceError::Settings, ("{text}"))
            }
            Self::Digest { .. } => gst::error_msg!(gst::ResourceError::NotAuthorized, ("{text}")),
            Self::Engine(
                EngineError::Scorer(ScorerError::Session(e)) | EngineError::Locate(LocateError::Session(e)),
            ) => match e {
                SessionError::Runtime(_) => gst::error_msg!(gst::LibraryError::Init, ("{text}")),
                SessionError::Provider { .. } => gst::error_msg!(gst::ResourceError::NotFound, ("{text}")),
                _ => gst::error_msg!(gst::StreamError::Format, ("{text}")),
            },
            Self::Engine(_) => gst::error_msg!(gst::StreamError::Format, ("{text}")),
        }
    }
}

/// What lives from start to stop.
struct State {
    engine: Engine,
    by: ScoredBy,
    format: Option<FrameFormat>,
    segment: gst::FormattedSegment<gst::ClockTime>,
    frame: u64,
    /// The last verdict on each track that was told.
    verdicts: Vec<(u64, Verdict)>,
    /// A failure was told and has not ended yet.
    failing: bool,
    upstream: Vec<UpstreamFace>,
    region_map: bool,
    messages: Messages,
    on_error: OnError,
    #[cfg(feature = "v1_24")]
    relations: crate::meta::relations::Relations,
}

/// The element's own data.
#[derive(Default)]
pub struct DeepfakeScore {
    settings: Mutex<Settings>,
    /// The settings were changed while playing.
    changed: AtomicBool,
    state: Mutex<Option<State>>,
    /// What can be read of the running element without waiting for a frame.
    active: Mutex<Option<(ScoredBy, Stats)>>,
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
        let by = active.as_ref().map(|(by, _)| by);
        match pspec.name() {
            "active-provider" => by.map(|by| by.provider.as_str()).to_value(),
            "model-digest" => by.map(|by| by.sha256.as_str()).to_value(),
            _ => stats_structure(active.as_ref().map(|(_, stats)| *stats).unwrap_or_default()).to_value(),
        }
    }
}

fn stats_structure(stats: Stats) -> gst::Structure {
    let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    gst::Structure::builder("deepfake-stats")
        .field("frames", stats.frames)
        .field("faces", stats.faces)
        .field("scored", stats.scored)
        .field("locating", ns(stats.locating))
        .field("cropping", ns(stats.cropping))
        .field("scoring", ns(stats.scoring))
        .build()
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
}

impl BaseTransformImpl for DeepfakeScore {
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        self.changed.store(false, Ordering::Release);
        let state = setup(&settings).map_err(|e| e.to_message())?;
        if let Some(problem) = state.engine.scorer().fallback() {
            gst::warning!(CAT, imp = self, "provider=auto takes the CPU, the GPU does not start: {problem}");
        }
        gst::info!(
            CAT,
            imp = self,
            "Model {} (SHA-256 {}) runs on {}, faces by {}",
            state.by.model,
            state.by.sha256,
            state.by.provider,
            state.engine.locator().map_or("upstream", |l| l.name())
        );
        *lock(&self.active) = Some((state.by.clone(), Stats::default()));
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
        if let Some(state) = lock(&self.state).as_mut() {
            let size = |f: &FrameFormat| (f.info().width(), f.info().height());
            // Boxes of another size of frame are of no use for the tracks.
            if state.format.as_ref().is_some_and(|f| size(f) != size(&format)) {
                state.reset();
            }
            state.format = Some(format);
        }
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStop(_) => {
                if let Some(state) = lock(&self.state).as_mut() {
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

    fn transform_ip(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
        if self.changed.swap(false, Ordering::AcqRel) {
            state.apply(&lock(&self.settings));
        }
        let number = state.frame;
        state.frame += 1;
        // A gap has no pixels to look at.
        if buffer.size() == 0 {
            return Ok(gst::FlowSuccess::Ok);
        }
        let failure = match state.score(buffer) {
            Ok(failure) => failure,
            Err(error) => {
                gst::element_imp_error!(self, gst::StreamError::Failed, ("{error}"));
                return Err(gst::FlowError::Error);
            }
        };
        match (&failure, state.on_error) {
            (None, _) => state.failing = false,
            (Some(error), OnError::Error) => {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Failed,
                    ("{error}"),
                    ["on-error=passthrough would let the video go on"]
                );
                return Err(gst::FlowError::Error);
            }
            (Some(error), OnError::Passthrough) => {
                gst::warning!(CAT, imp = self, "{error}");
                // Once, not for each frame of a broken day.
                if !std::mem::replace(&mut state.failing, true) {
                    gst::element_imp_warning!(
                        self,
                        gst::StreamError::Failed,
                        ("{error}"),
                        ["The video passes on, its faces not scored"]
                    );
                }
            }
        }
        // Where faces could not be looked for, no list of them is honest, not even an empty one.
        if !matches!(failure, Some(EngineError::Locate(_))) {
            let scores = state.scores(number);
            state.attach(buffer, &scores);
            self.tell(state, buffer, &scores);
        }
        *lock(&self.active) = Some((state.by.clone(), state.engine.stats()));
        Ok(gst::FlowSuccess::Ok)
    }
}

fn setup(settings: &Settings) -> Result<State, SetupError> {
    let model: Model = settings.load_model()?;
    let engine = Engine::new(&model, settings.engine_options()?)?;
    let by = ScoredBy {
        model: model.name().to_owned(),
        sha256: model.sha256().to_owned(),
        provider: engine.provider().name().to_owned(),
    };
    Ok(State {
        engine,
        by,
        format: None,
        segment: gst::FormattedSegment::new(),
        frame: 0,
        verdicts: vec![],
        failing: false,
        upstream: vec![],
        region_map: settings.region_map,
        messages: settings.messages,
        on_error: settings.on_error,
        #[cfg(feature = "v1_24")]
        relations: Default::default(),
    })
}

impl State {
    fn reset(&mut self) {
        self.engine.reset();
        self.verdicts.clear();
    }

    fn apply(&mut self, settings: &Settings) {
        self.engine.set_limits(settings.limits());
        self.region_map = settings.region_map;
        self.messages = settings.messages;
        self.on_error = settings.on_error;
    }

    /// Scores the frame. What fails in a model is told apart from what is wrong with the buffer.
    fn score(&mut self, buffer: &gst::BufferRef) -> Result<Option<EngineError>, MapError> {
        self.upstream.clear();
        self.upstream.extend(regions::upstream(buffer));
        let time = buffer.pts().map(Duration::from);
        let Some(format) = &self.format else { return Ok(None) };
        let (engine, upstream) = (&mut self.engine, &self.upstream);
        format.with_view(buffer, |view| engine.process(view, upstream, time, None).err())
    }

    fn size(&self) -> (u32, u32) {
        self.format.as_ref().map_or((1, 1), |f| (f.info().width(), f.info().height()))
    }

    /// The result as metadata has it.
    fn scores(&self, frame: u64) -> Scores {
        let (width, height) = self.size();
        let relative = |r: &Rect| r.scaled(1.0 / width as f32, 1.0 / height as f32);
        let faces = self.engine.faces().iter().map(|face| meta::Face {
            track: face.track,
            bbox: Some(relative(&face.bbox)),
            confidence: face.confidence.into(),
            verdict: face.verdict,
            outcome: face.outcome.map(|score| meta::FaceScore {
                score: score.score.into(),
                frame_score: score.frame_score.into(),
                logit: score.logit.into(),
                age: gst::ClockTime::try_from(score.age).unwrap_or(gst::ClockTime::MAX),
                map: self.map(face, &relative(&score.region)),
            }),
        });
        Scores { frame, mode: Mode::EveryFrame, by: self.by.clone(), faces: faces.collect() }
    }

    fn map(&self, face: &ScoredFace, region: &Rect) -> Option<RegionMap> {
        let (width, height, values) = self.engine.map(face.track).filter(|_| self.region_map)?;
        Some(RegionMap { width: width as u32, height: height as u32, values: values.to_vec(), region: Some(*region) })
    }

    /// Attaches the scores, and what readers of regions of interest understand.
    fn attach(&mut self, buffer: &mut gst::BufferRef, scores: &Scores) {
        // The plugin has registered it, so that this cannot fail.
        let _ = scores.attach(buffer);
        let detector = self.engine.locator().map(|l| l.name());
        regions::attach(buffer, self.size(), scores, self.engine.faces(), detector);
        #[cfg(feature = "v1_24")]
        {
            let (size, engine) = (self.size(), &self.engine);
            if let Err(error) = self.relations.attach(buffer, size, scores, |track| engine.is_followed(track)) {
                gst::warning!(CAT, "Analytics metadata is incomplete: {error}");
            }
        }
    }
}

impl DeepfakeScore {
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
        state.verdicts.retain(|(track, _)| state.engine.is_followed(*track));
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
