//! A frame goes in, its scored faces come out: all steps tied together.

use std::collections::HashMap;
use std::time::Duration;

use thiserror::Error;

use crate::contract::{Contract, ContractError, Crop};
use crate::crop::Cropper;
pub use crate::face::{FaceScore, ScoredFace, UpstreamFace};
use crate::face::{face, list_upstream, sort_found, whole};
use crate::frame::FrameView;
use crate::geometry::Rect;
use crate::group::{self, JoinError, MemberError, Terms, Watch};
use crate::judge::Judge;
use crate::locate::search::Search;
use crate::locate::{self, Face, LocateError, LocateOptions, Locator};
use crate::model::Model;
use crate::score::{Card, NotScored, Scorer, ScorerError};
use crate::session::{Provider, RunOptions, SessionError, SessionOptions};
use crate::shot::CutDetector;
use crate::stats::Recorder;
use crate::track::{Sighting, Track, TrackOptions, Tracker};
use crate::verdict::{Calibration, TrackScore};

/// Faces of a frame beyond this number are told, but neither followed nor scored.
pub const MAX_TRACKED: usize = 128;

/// A face that has become larger than so many times the area that was scored is scored again at once: more can be seen of it.
const GROWTH: f32 = 1.5;

/// Where faces come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FaceSource {
    /// From upstream in frames where upstream tells any, else from the face detector.
    #[default]
    Auto,
    /// From upstream only.
    Upstream,
    /// From the face detector only.
    Detect,
    /// The whole frame is the crop of one face.
    Frame,
}

/// How much of the work is done. May change from frame to frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames from one look for faces to the next, at least 1; in between, tracks move on by themselves.
    pub detect_interval: u32,
    /// Frames from one score of a track to the next, at least 1; sooner where the face has grown much.
    pub score_interval: u32,
    /// Faces whose shorter side is below this many pixels are not scored.
    pub min_face_size: u32,
    /// So many faces of a frame are scored, the largest first.
    pub max_faces: usize,
    /// In a group, faces wait for those of others for at most so long.
    pub batch_window: Duration,
    /// In a group, faces do not wait where the scores of their frame would come later than so long after the frame.
    pub frame_time: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            detect_interval: 1,
            score_interval: 1,
            min_face_size: 48,
            max_faces: 32,
            batch_window: Duration::from_millis(5),
            frame_time: None,
        }
    }
}

/// How frames are scored.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// How the models are run.
    pub session: SessionOptions,
    /// Where faces come from.
    pub face_source: FaceSource,
    /// An ONNX face detector; the bundled one where there is none.
    pub face_model: Option<Model>,
    /// How faces are looked for.
    pub locate: LocateOptions,
    /// What the model says about itself, where its file does not.
    pub contract: Option<Contract>,
    /// Streams of one process that name the same group share the scoring model's session.
    pub group: Option<String>,
    /// How much of the work is done.
    pub limits: Limits,
    /// Threshold of the verdict, the model's where there is none.
    pub fake_above: Option<f32>,
    /// Threshold of the verdict, the model's where there is none.
    pub real_below: Option<f32>,
}

/// Why frames cannot be scored.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The scoring model cannot be used.
    #[error(transparent)]
    Scorer(#[from] ScorerError),
    /// Faces cannot be looked for.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The scoring model did not run.
    #[error(transparent)]
    Run(#[from] SessionError),
    /// The group does not take the stream.
    #[error(transparent)]
    Join(JoinError),
    /// The group did not score what was handed in.
    #[error(transparent)]
    Group(#[from] MemberError),
    /// The thresholds do not belong together.
    #[error(
        "the verdict's thresholds must be 0 <= real-below <= fake-above <= 1, they are {real_below} and {fake_above}"
    )]
    Thresholds {
        /// As asked for, or the model's.
        real_below: f32,
        /// As asked for, or the model's.
        fake_above: f32,
    },
}

impl From<JoinError> for EngineError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Scorer(error) => Self::Scorer(error),
            other => Self::Join(other),
        }
    }
}

impl From<ContractError> for EngineError {
    fn from(error: ContractError) -> Self {
        Self::Scorer(error.into())
    }
}

/// What is kept for a track.
#[derive(Debug, Default)]
struct TrackState {
    score: TrackScore,
    /// Of the newest scored frame.
    last: Option<Last>,
    map: Vec<f32>,
    reason: Option<NotScored>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    frame: u64,
    time: Option<Duration>,
    logit: f32,
    /// Relative to the box, which may have moved since.
    region: Rect,
    /// Of the box, in pixels.
    area: f32,
}

/// Scores frame after frame of one stream.
#[derive(Debug)]
pub struct Engine {
    judge: Judge,
    locator: Option<Locator>,
    tracker: Tracker,
    cropper: Cropper,
    calibration: Calibration,
    source: FaceSource,
    limits: Limits,
    /// Number and time of the last frame that was looked at.
    at: (u64, Option<Duration>),
    next: u64,
    search: Search,
    /// Tracks of small faces that the last look did not look for.
    passed_by: Vec<u64>,
    located: Option<u64>,
    tracks: HashMap<u64, TrackState>,
    recorder: Recorder,
    cuts: CutDetector,
    // Kept from frame to frame for their memory.
    faces: Vec<ScoredFace>,
    found: Vec<Face>,
    sightings: Vec<Sighting>,
    ids: Vec<u64>,
    batch: Vec<usize>,
}

impl Engine {
    /// Loads the models.
    ///
    /// # Errors
    ///
    /// Models that do not load or do not fit, thresholds that do not belong together.
    pub fn new(model: &Model, mut options: EngineOptions) -> Result<Self, EngineError> {
        let judge = match &options.group {
            Some(name) => {
                let terms = Terms::new(model, options.contract.as_ref(), &options.session)?;
                let make = || Ok(Box::new(Scorer::new(model, options.contract.clone(), &options.session)?) as _);
                Judge::Shared(Box::new(group::join(name, terms, make)?))
            }
            None => {
                // The two models of a stream never run at the same time.
                options.session = options.session.leased();
                Judge::Own(Box::new(Scorer::new(model, options.contract.clone(), &options.session)?))
            }
        };
        let mut calibration = Calibration::from(&judge.card().contract.score);
        calibration.fake_above = options.fake_above.unwrap_or(calibration.fake_above);
        calibration.real_below = options.real_below.unwrap_or(calibration.real_below);
        let Calibration { fake_above, real_below, .. } = calibration;
        if !(0.0 <= real_below && real_below <= fake_above && fake_above <= 1.0) {
            return Err(EngineError::Thresholds { real_below, fake_above });
        }
        let locator = match (options.face_source, &options.face_model) {
            (FaceSource::Upstream | FaceSource::Frame, _) => None,
            (_, Some(model)) => Some(Locator::new(model, &options.session, options.locate)?),
            (_, None) => Some(Locator::new(&locate::bundled()?, &options.session, options.locate)?),
        };
        Ok(Self {
            judge,
            locator,
            tracker: Tracker::new(TrackOptions::default()),
            cropper: Cropper::default(),
            calibration,
            source: options.face_source,
            limits: options.limits,
            at: (0, None),
            next: 0,
            search: Search::default(),
            passed_by: vec![],
            located: None,
            tracks: HashMap::new(),
            recorder: Recorder::default(),
            cuts: CutDetector::default(),
            faces: vec![],
            found: vec![],
            sightings: vec![],
            ids: vec![],
            batch: vec![],
        })
    }

    /// The scoring model, and what runs it.
    pub fn card(&self) -> &Card {
        self.judge.card()
    }

    /// Sees what the group does that the stream belongs to, if there is one.
    pub fn watch(&self) -> Option<Watch> {
        self.judge.watch()
    }

    /// The face detector, unless faces come from elsewhere only.
    pub fn locator(&self) -> Option<&Locator> {
        self.locator.as_ref()
    }

    /// The provider that runs the scoring model.
    pub fn provider(&self) -> Provider {
        self.card().provider
    }

    /// Changes how much of the work is done, from the next frame on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Where faces come from.
    pub fn face_source(&self) -> FaceSource {
        self.source
    }

    /// How much of the work is done.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Where it is written down what has been done so far.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Ends all tracks and forgets the last frame: after a seek or a flush nothing is where it was.
    pub fn reset(&mut self) {
        self.cuts.reset();
        self.end_tracks();
    }

    fn end_tracks(&mut self) {
        self.tracker.reset();
        self.tracks.clear();
        self.passed_by.clear();
        self.located = None;
    }

    /// Scores the next frame: [`Engine::look`] and [`Engine::run`] in one. A cut ends all tracks.
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn process(
        &mut self,
        frame: &FrameView<'_>,
        upstream: &[UpstreamFace],
        time: Option<Duration>,
        options: Option<&RunOptions>,
    ) -> Result<&[ScoredFace], EngineError> {
        self.recorder.frame();
        if self.cuts.is_cut(frame) {
            self.end_tracks();
        }
        self.look(frame, upstream, self.next, time, options)?;
        self.run(options)
    }

    /// Counts a frame that is not to be looked at. Tracks live on.
    pub fn skip(&mut self) {
        self.recorder.frame();
        self.next += 1;
        self.faces.clear();
    }

    /// Finds the faces of a frame and cuts the crops of those that are due, after which the frame is not needed any more.
    /// `upstream` are the faces that somebody upstream has found in it; `number` counts the frames, those that nobody looks at too;
    /// `time` is the frame's place in the stream, for [`FaceScore::age`].
    ///
    /// # Errors
    ///
    /// Where the face detector fails, there are no faces. The next frame may go well again.
    pub fn look(
        &mut self,
        frame: &FrameView<'_>,
        upstream: &[UpstreamFace],
        number: u64,
        time: Option<Duration>,
        options: Option<&RunOptions>,
    ) -> Result<(), EngineError> {
        self.next = number + 1;
        self.at = (number, time);
        self.faces.clear();
        self.batch.clear();
        self.judge.begin(&self.limits);
        let found = self.find(frame, upstream, number, options);
        self.recorder.looked(self.faces.len(), *found.as_ref().unwrap_or(&None));
        if found.is_ok() {
            self.cut(frame, number);
        }
        if self.batch.is_empty() {
            self.judge.rest();
        }
        found.map(|_| ())
    }

    /// Scores what [`Engine::look`] has cut. The result stands, the largest face first, in [`Engine::faces`] until the next look.
    ///
    /// # Errors
    ///
    /// Where the scoring model fails, those faces that should have been scored are [`NotScored::RunFailed`]. The next frame may go
    /// well again.
    pub fn run(&mut self, options: Option<&RunOptions>) -> Result<&[ScoredFace], EngineError> {
        let result = self.score(options);
        self.conclude();
        result.map(|()| &self.faces[..])
    }

    /// The faces of the last frame, the largest first.
    pub fn faces(&self) -> &[ScoredFace] {
        &self.faces
    }

    /// The track of that id, while it lives, and whether the last look was at its place.
    pub(crate) fn track(&self, id: u64) -> Option<(&Track, bool)> {
        Some((self.tracker.get(id)?, !self.passed_by.contains(&id)))
    }

    /// The tracks that live.
    pub(crate) fn followed(&self) -> impl Iterator<Item = u64> {
        self.tracker.tracks().iter().map(|t| t.id)
    }

    /// Whether a track still lives.
    pub fn is_followed(&self, track: u64) -> bool {
        self.tracker.get(track).is_some()
    }

    /// The newest map of a track: width, height and logits row by row, whose mean is [`FaceScore::logit`].
    pub fn map(&self, track: u64) -> Option<(usize, usize, &[f32])> {
        let (width, height) = self.card().map_size?;
        let values = &self.tracks.get(&track)?.map;
        (values.len() == width * height).then_some((width, height, values))
    }

    /// Fills [`Engine::faces`] with boxes and tracks. Tells how long the face detector took, where it was asked.
    fn find(
        &mut self,
        frame: &FrameView<'_>,
        upstream: &[UpstreamFace],
        number: u64,
        options: Option<&RunOptions>,
    ) -> Result<Option<Duration>, EngineError> {
        let whole = whole(frame.width(), frame.height());
        if self.source == FaceSource::Frame {
            self.faces.push(face(whole, 1.0, None));
            self.follow(number, |_| Some(0));
            return Ok(None);
        }
        if self.source.is_upstream(upstream) {
            list_upstream(upstream, &whole, &mut self.faces);
            self.follow(number, |f| f.upstream.and_then(|i| upstream[i].id));
            return Ok(None);
        }
        let due = self.located.is_none_or(|last| number - last >= u64::from(self.limits.detect_interval.max(1)));
        if let (true, Some(locator)) = (due, &mut self.locator) {
            let start = std::time::Instant::now();
            let known = self.tracker.tracks().iter().map(|t| t.bbox);
            let smallest = self.limits.min_face_size as f32;
            self.search.look(locator, frame, smallest, known, &mut self.found, options)?;
            let took = start.elapsed();
            self.located = Some(number);
            self.faces.extend(self.found.iter().map(|f| face(f.bbox, f.confidence, None)));
            sort_found(&mut self.faces);
            self.tracker.pass_by(number, |bbox| !self.search.saw(bbox));
            self.follow(number, |_| None);
            // Small faces that this look passed by are still there, as far as is known. Where they were seen last: from looks that
            // are far apart and at several scales no velocity is to be had.
            let apart = |t: &Track| self.found.iter().all(|f| f.bbox.iou(&t.bbox) < TrackOptions::default().iou);
            let passed_by = |t: &&Track| t.seen != number && !self.search.saw(&t.bbox) && apart(t);
            self.passed_by.clear();
            self.passed_by.extend(self.tracker.tracks().iter().filter(passed_by).map(|t| t.id));
            let tracks = self.passed_by.iter().filter_map(|id| self.tracker.get(*id));
            self.faces.extend(tracks.map(|t| ScoredFace { track: t.id, ..face(t.bbox, 0.0, None) }));
            sort_found(&mut self.faces);
            Ok(Some(took))
        } else {
            // Only tracks that were listed when faces were last looked for: the others are gone from the picture.
            let Some(seen) = self.located else { return Ok(None) };
            let listed = self.tracker.tracks().iter().filter(|t| t.seen == seen || self.passed_by.contains(&t.id));
            let placed = listed.map(|t| {
                let bbox = if t.seen == seen { t.predicted(number) } else { t.bbox };
                ScoredFace { track: t.id, ..face(bbox, 0.0, None) }
            });
            self.faces.extend(placed);
            sort_found(&mut self.faces);
            Ok(None)
        }
    }

    /// Gives the faces that can be ones their tracks.
    fn follow(&mut self, number: u64, name: impl Fn(&ScoredFace) -> Option<u64>) {
        let valid = |f: &&ScoredFace| f.outcome != Err(NotScored::InvalidBox);
        self.sightings.clear();
        self.sightings.extend(
            self.faces.iter().filter(valid).take(MAX_TRACKED).map(|f| Sighting { bbox: f.bbox, upstream: name(f) }),
        );
        self.tracker.update(number, &self.sightings, &mut self.ids);
        for ended in self.tracker.ended() {
            self.tracks.remove(ended);
        }
        // The valid faces stand first.
        for (face, id) in self.faces.iter_mut().zip(&self.ids) {
            face.track = *id;
        }
    }

    /// Cuts the crops of those faces that are large enough and due.
    fn cut(&mut self, frame: &FrameView<'_>, number: u64) {
        let start = std::time::Instant::now();
        let mut eligible = 0;
        for (index, face) in self.faces.iter_mut().enumerate() {
            if face.outcome == Err(NotScored::InvalidBox) {
                continue;
            }
            if face.bbox.w.min(face.bbox.h) < self.limits.min_face_size as f32 {
                face.outcome = Err(NotScored::TooSmall);
                continue;
            }
            if eligible == self.limits.max_faces || face.track == 0 {
                face.outcome = Err(NotScored::TooMany);
                continue;
            }
            eligible += 1;
            let state = self.tracks.entry(face.track).or_default();
            // Nobody knows whether it is still there: the last score stands, and grows old.
            if self.passed_by.contains(&face.track) && state.last.is_some() {
                continue;
            }
            let interval = u64::from(self.limits.score_interval.max(1));
            let fresh =
                |last: Last| number.saturating_sub(last.frame) < interval && face.bbox.area() < GROWTH * last.area;
            if state.last.is_some_and(fresh) {
                continue;
            }
            let region = self.source.region(&self.judge.card().contract.crop, &face.bbox);
            let spec = self.judge.card().spec;
            let slot = self.judge.crop_mut(self.batch.len());
            match self.cropper.crop(frame, &region, &spec, slot) {
                Ok(()) => self.batch.push(index),
                Err(_) => state.reason = Some(NotScored::InvalidBox),
            }
        }
        if !self.batch.is_empty() {
            self.recorder.cropped(start.elapsed());
        }
    }

    /// Runs the model on the crops.
    fn score(&mut self, options: Option<&RunOptions>) -> Result<(), EngineError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let start = std::time::Instant::now();
        let result = self.judge.run(self.batch.len(), options);
        let took = start.elapsed();
        let (number, time) = self.at;
        let crop = &self.judge.card().contract.crop;
        let mut scored = 0;
        for (slot, &index) in self.batch.iter().enumerate() {
            let face = &self.faces[index];
            let Some(state) = self.tracks.get_mut(&face.track) else { continue };
            match self.judge.evidence(slot) {
                Err(reason) => state.reason = Some(reason),
                Ok(evidence) => {
                    scored += 1;
                    state.reason = None;
                    state.score.add(evidence.logit, &self.calibration);
                    let Rect { x, y, w, h } = self.source.region(crop, &face.bbox);
                    let region =
                        Rect::new(x - face.bbox.x, y - face.bbox.y, w, h).scaled(1.0 / face.bbox.w, 1.0 / face.bbox.h);
                    let area = face.bbox.area();
                    state.last = Some(Last { frame: number, time, logit: evidence.logit, region, area });
                    state.map.clear();
                    state.map.extend(evidence.map.iter().flat_map(|m| m.values));
                }
            }
        }
        self.recorder.scored(scored, took);
        result
    }

    /// Writes what is known of its track to each face that has no reason against a score yet.
    fn conclude(&mut self) {
        let (number, time) = self.at;
        for face in &mut self.faces {
            let Some(state) = self.tracks.get(&face.track) else { continue };
            face.verdict = state.score.verdict();
            if matches!(face.outcome, Err(reason) if reason != NotScored::RunFailed) {
                continue;
            }
            face.outcome = match (state.reason, &state.last) {
                (Some(reason), _) => Err(reason),
                (None, None) => Err(NotScored::RunFailed),
                (None, Some(last)) => {
                    let age = match (time, last.time) {
                        _ if last.frame == number => Duration::ZERO,
                        (Some(now), Some(then)) => now.saturating_sub(then),
                        _ => Duration::ZERO,
                    };
                    let r = last.region.scaled(face.bbox.w, face.bbox.h);
                    Ok(FaceScore {
                        score: self.calibration.score(state.score.logit()),
                        frame_score: self.calibration.score(last.logit),
                        logit: last.logit,
                        age,
                        region: Rect::new(r.x + face.bbox.x, r.y + face.bbox.y, r.w, r.h),
                    })
                }
            };
        }
    }
}

impl FaceSource {
    /// Whether the faces of a frame are those that somebody upstream has found.
    pub(crate) fn is_upstream(self, upstream: &[UpstreamFace]) -> bool {
        match self {
            Self::Upstream => true,
            Self::Auto => !upstream.is_empty(),
            Self::Detect | Self::Frame => false,
        }
    }

    /// What of the frame the model is shown.
    fn region(self, crop: &Crop, bbox: &Rect) -> Rect {
        match self {
            Self::Frame => *bbox,
            _ => crop.region(bbox),
        }
    }
}
