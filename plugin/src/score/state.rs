//! What lives from start to stop: who works on the frames, and what is kept from frame to frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deepfake_frames::FrameFormat;
use deepfake_scoring::engine::{Engine, ScoredFace, UpstreamFace};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::model::Model;
use deepfake_scoring::session::RunOptions;
use deepfake_scoring::verdict::Verdict;

use super::error::SetupError;
use super::failures::Failures;
use super::imp::CAT;
use super::regions;
use super::runner::{Runner, Scored};
use super::settings::{Messages, Settings};
use super::statistics::Statistics;
use crate::meta::{self, RegionMap, ScoredBy, Scores};

/// What lives from start to stop.
pub(super) struct State {
    pub(super) runner: Runner,
    /// It is settled which kind of runner it is.
    pub(super) settled: bool,
    /// Name of the face detector.
    pub(super) detector: Option<String>,
    pub(super) by: Arc<ScoredBy>,
    pub(super) options: Arc<RunOptions>,
    pub(super) statistics: Statistics,
    pub(super) format: Option<Arc<FrameFormat>>,
    pub(super) segment: gst::FormattedSegment<gst::ClockTime>,
    pub(super) frame: u64,
    /// The last verdict on each track that was told.
    pub(super) verdicts: Vec<(u64, Verdict)>,
    pub(super) failures: Failures,
    pub(super) upstream: Vec<UpstreamFace>,
    pub(super) region_map: bool,
    pub(super) messages: Messages,
    pub(super) stats_interval: Option<Duration>,
    pub(super) stats_told: Instant,
    #[cfg(feature = "v1_24")]
    pub(super) relations: crate::meta::relations::Relations,
}

/// What a frame lasts, where the caps say it.
pub(super) fn frame_time(format: &FrameFormat) -> Option<Duration> {
    let fps = format.info().fps();
    let (frames, seconds) = (u64::try_from(fps.numer()).ok()?, u64::try_from(fps.denom()).ok()?);
    (frames > 0).then(|| Duration::from_nanos(1_000_000_000 * seconds / frames))
}

pub(super) fn setup(settings: &Settings) -> Result<State, SetupError> {
    let model: Model = settings.load_model()?;
    let engine = Engine::new(&model, settings.engine_options()?)?;
    if let Some(problem) = &engine.card().fallback {
        gst::warning!(CAT, "provider=auto takes the CPU, the GPU does not start: {problem}");
    }
    let options = RunOptions::new().map_err(|e| SetupError::Options(e.to_string()))?;
    let by = ScoredBy {
        model: model.name().to_owned(),
        sha256: model.sha256().to_owned(),
        provider: engine.provider().name().to_owned(),
    };
    Ok(State {
        settled: false,
        detector: engine.locator().map(|l| l.name().to_owned()),
        statistics: Statistics::new(&engine),
        options: Arc::new(options),
        runner: Runner::EveryFrame(Box::new(engine)),
        by: Arc::new(by),
        format: None,
        segment: gst::FormattedSegment::new(),
        frame: 0,
        verdicts: vec![],
        failures: Failures::new(settings.on_error),
        upstream: vec![],
        region_map: settings.region_map,
        messages: settings.messages,
        stats_interval: settings.stats_interval(),
        stats_told: Instant::now(),
        #[cfg(feature = "v1_24")]
        relations: Default::default(),
    })
}

impl State {
    pub(super) fn reset(&mut self) {
        self.runner.reset();
        self.verdicts.clear();
    }

    pub(super) fn apply(&mut self, settings: &Settings) {
        let time = self.format.as_ref().and_then(|f| frame_time(f));
        self.runner.set_limits(settings.limits(time));
        self.stats_interval = settings.stats_interval();
        self.region_map = settings.region_map;
        self.messages = settings.messages;
        self.failures.set_on_error(settings.on_error);
    }

    fn size(&self) -> (u32, u32) {
        self.format.as_ref().map_or((1, 1), |f| (f.info().width(), f.info().height()))
    }

    /// The result as metadata has it.
    pub(super) fn scores(&self, frame: u64, scored: &Scored) -> Scores {
        let (width, height) = self.size();
        let relative = |r: &Rect| r.scaled(1.0 / width as f32, 1.0 / height as f32);
        let faces = self.runner.faces().iter().map(|face| meta::Face {
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
        Scores { frame, mode: scored.mode, by: Arc::clone(&self.by), faces: faces.collect() }
    }

    fn map(&self, face: &ScoredFace, region: &Rect) -> Option<RegionMap> {
        let (width, height, values) = self.runner.map(face.track).filter(|_| self.region_map)?;
        Some(RegionMap { width: width as u32, height: height as u32, values: values.to_vec(), region: Some(*region) })
    }

    /// Attaches the scores, and what readers of regions of interest understand.
    pub(super) fn attach(&mut self, buffer: &mut gst::BufferRef, scores: &Scores) {
        // The plugin has registered it, so that this cannot fail.
        let _ = scores.attach(buffer);
        regions::attach(buffer, self.size(), scores, self.runner.faces(), self.detector.as_deref());
        #[cfg(feature = "v1_24")]
        {
            let (size, runner) = (self.size(), &self.runner);
            if let Err(error) = self.relations.attach(buffer, size, scores, |track| runner.is_followed(track)) {
                gst::warning!(CAT, "Analytics metadata is incomplete: {error}");
            }
        }
    }
}
