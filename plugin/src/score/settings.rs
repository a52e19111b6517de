//! The element's properties.

use std::path::{Path, PathBuf};
use std::time::Duration;

use deepfake_scoring::contract::Contract;
use deepfake_scoring::engine::{self, EngineOptions, Limits};
use deepfake_scoring::locate::LocateOptions;
use deepfake_scoring::model::{Model, read_file};
use deepfake_scoring::session::{self, SessionOptions};
use gst::glib;
use gst::prelude::*;

use super::error::SetupError;

/// The scorer that comes with the plugin.
const BUNDLED_MODEL: &[u8] = include_bytes!("../../models/scorer.onnx");
/// Its name in records.
const BUNDLED_NAME: &str = "scorer";
/// No model has more to be said about it than fits in that.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// For thresholds: take the model's own.
const FROM_MODEL: f64 = -1.0;

/// Where faces come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakeFaceSource")]
pub enum FaceSource {
    /// From upstream where it tells any, else detected.
    #[default]
    #[enum_value(
        name = "Regions of interest from upstream in frames that have any, else the face detector",
        nick = "auto"
    )]
    Auto,
    /// From upstream only.
    #[enum_value(name = "Regions of interest of type face from upstream only", nick = "upstream")]
    Upstream,
    /// Detected only.
    #[enum_value(name = "The face detector only", nick = "detect")]
    Detect,
    /// None is looked for.
    #[enum_value(name = "The whole frame is the crop of one face", nick = "frame")]
    Frame,
}

/// Which frames are scored, and who waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakeMode")]
pub enum Mode {
    /// As the pipeline is.
    #[default]
    #[enum_value(name = "Live in a live pipeline, else every frame; active-mode tells which", nick = "auto")]
    Auto,
    /// The stream waits.
    #[enum_value(name = "Each frame carries its own result; the stream waits for it", nick = "every-frame")]
    EveryFrame,
    /// The stream never waits.
    #[enum_value(name = "Each frame carries the newest finished result; the stream never waits", nick = "live")]
    Live,
}

/// What runs the models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakeProvider")]
pub enum Provider {
    /// The best that is there.
    #[default]
    #[enum_value(
        name = "CUDA where it is built in and starts, else the CPU; active-provider tells which",
        nick = "auto"
    )]
    Auto,
    /// The CPU.
    #[enum_value(name = "The CPU", nick = "cpu")]
    Cpu,
    /// CUDA.
    #[enum_value(name = "CUDA, or an error", nick = "cuda")]
    Cuda,
    /// TensorRT.
    #[enum_value(name = "TensorRT, then CUDA for what it cannot take, or an error", nick = "tensorrt")]
    TensorRt,
}

/// What is posted on the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakeMessages")]
pub enum Messages {
    /// Nothing.
    #[enum_value(name = "No messages", nick = "none")]
    None,
    /// Changes of verdicts.
    #[default]
    #[enum_value(name = "A message deepfake-verdict when the verdict on a track changes", nick = "verdicts")]
    Verdicts,
    /// Everything.
    #[enum_value(name = "Verdicts, and a message deepfake-scores with the result of each frame", nick = "all")]
    All,
}

/// What happens when a model fails while playing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakeOnError")]
pub enum OnError {
    /// The stream ends.
    #[default]
    #[enum_value(name = "Post an error; the stream ends", nick = "error")]
    Error,
    /// The video goes on.
    #[enum_value(name = "Post a warning; the video passes on, its faces not scored", nick = "passthrough")]
    Passthrough,
}

/// The values of the properties.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    model: Option<PathBuf>,
    model_config: Option<PathBuf>,
    expect_model_digest: Option<String>,
    face_source: FaceSource,
    face_model: Option<PathBuf>,
    provider: Provider,
    device_id: i32,
    threads: u32,
    engine_cache: Option<PathBuf>,
    session_group: Option<String>,
    /// Milliseconds.
    batch_window: u32,
    pub(super) mode: Mode,
    detect_interval: u32,
    score_interval: u32,
    min_face_size: u32,
    max_faces: u32,
    fake_above: f64,
    real_below: f64,
    pub(super) region_map: bool,
    pub(super) messages: Messages,
    pub(super) on_error: OnError,
    /// Milliseconds; 0 is never.
    stats_interval: u32,
}

impl Default for Settings {
    fn default() -> Self {
        // The defaults stand in `scoring`; here are only those of the element itself.
        let engine = EngineOptions::default();
        Self {
            model: None,
            model_config: None,
            expect_model_digest: None,
            face_source: FaceSource::default(),
            face_model: None,
            provider: Provider::default(),
            device_id: engine.session.device_id,
            threads: engine.session.threads as u32,
            engine_cache: None,
            session_group: None,
            batch_window: u32::try_from(engine.limits.batch_window.as_millis()).unwrap_or(u32::MAX),
            mode: Mode::default(),
            detect_interval: engine.limits.detect_interval,
            score_interval: engine.limits.score_interval,
            min_face_size: engine.limits.min_face_size,
            max_faces: engine.limits.max_faces as u32,
            fake_above: FROM_MODEL,
            real_below: FROM_MODEL,
            region_map: true,
            messages: Messages::default(),
            on_error: OnError::default(),
            stats_interval: 0,
        }
    }
}

/// Properties that may change while playing.
const LIVE: [&str; 9] = [
    "batch-window",
    "detect-interval",
    "score-interval",
    "min-face-size",
    "max-faces",
    "region-map",
    "messages",
    "on-error",
    "stats-interval",
];

pub(super) fn properties() -> Vec<glib::ParamSpec> {
    let d = Settings::default();
    let text = |name: &str, nick: &str, blurb: &str| {
        glib::ParamSpecString::builder(name).nick(nick).blurb(blurb).mutable_ready().build()
    };
    let number = |name: &str, nick: &str, blurb: &str, min: u32, max: u32, default: u32| {
        let spec = glib::ParamSpecUInt::builder(name).nick(nick).blurb(blurb);
        let spec = spec.minimum(min).maximum(max).default_value(default);
        if LIVE.contains(&name) { spec.mutable_playing().build() } else { spec.mutable_ready().build() }
    };
    let threshold = |name: &str, nick: &str, blurb: &str| {
        let spec = glib::ParamSpecDouble::builder(name).nick(nick).blurb(blurb);
        spec.minimum(FROM_MODEL).maximum(1.0).default_value(FROM_MODEL).mutable_ready().build()
    };
    let read_only = |name: &str, nick: &str, blurb: &str| {
        glib::ParamSpecString::builder(name).nick(nick).blurb(blurb).read_only().build()
    };
    vec![
        text("model", "Model", "ONNX file of the scoring model (unset: the one that comes with the plugin)"),
        text(
            "model-config",
            "Model configuration",
            "TOML file that says what the model's own metadata does not: input, crop, outputs, thresholds",
        ),
        text(
            "expect-model-digest",
            "Expected model digest",
            "SHA-256 that the model file must have, in hexadecimal; any other file is refused",
        ),
        glib::ParamSpecEnum::builder_with_default("face-source", d.face_source)
            .nick("Face source")
            .blurb("Where faces come from")
            .mutable_ready()
            .build(),
        text(
            "face-model",
            "Face model",
            "ONNX file of a face detector; YuNet, UltraFace and SCRFD are recognized (unset: the one that comes with the plugin)",
        ),
        glib::ParamSpecEnum::builder_with_default("provider", d.provider)
            .nick("Execution provider")
            .blurb("What ONNX Runtime runs the models on; any but auto is that or an error")
            .mutable_ready()
            .build(),
        glib::ParamSpecInt::builder("device-id")
            .nick("Device")
            .blurb("Which GPU")
            .minimum(0)
            .maximum(i32::MAX)
            .default_value(d.device_id)
            .mutable_ready()
            .build(),
        number(
            "threads",
            "Threads",
            "Threads that work on one operator of a model, as far as the budget of the process has them: the environment variable \
             DEEPFAKE_THREADS, else the number of cores; stats tells how many there are",
            1,
            256,
            d.threads,
        ),
        text(
            "engine-cache",
            "Engine cache",
            "Folder in which TensorRT keeps its engines (unset: built at every start)",
        ),
        text(
            "session-group",
            "Session group",
            "Elements of the process with the same name here share one session of the scoring model, which runs their faces \
             together, in turn; settings of the session that differ are an error (unset: a session of its own)",
        ),
        number(
            "batch-window",
            "Batch window",
            "In a session-group, milliseconds for which faces wait at most for those of elements that are looking at a frame just then",
            0,
            1_000,
            d.batch_window,
        ),
        glib::ParamSpecEnum::builder_with_default("mode", d.mode)
            .nick("Mode")
            .blurb("Which frames are scored, and whether the stream waits for it")
            .mutable_ready()
            .build(),
        number(
            "detect-interval",
            "Detection interval",
            "Frames from one look for faces to the next; in between, tracks move on by themselves",
            1,
            10_000,
            d.detect_interval,
        ),
        number(
            "score-interval",
            "Score interval",
            "Frames from one score of a track to the next; sooner where the face has grown by half",
            1,
            10_000,
            d.score_interval,
        ),
        number(
            "min-face-size",
            "Smallest face",
            "Faces whose shorter side is below this many pixels are told but not scored",
            1,
            16_384,
            d.min_face_size,
        ),
        number(
            "max-faces",
            "Most faces",
            "So many faces of a frame are scored, the largest first",
            1,
            128,
            d.max_faces,
        ),
        threshold(
            "fake-above",
            "Fake above",
            "Scores of a track from here on mean the verdict fake (-1: the model's own)",
        ),
        threshold(
            "real-below",
            "Real below",
            "Scores of a track up to here mean the verdict real (-1: the model's own)",
        ),
        glib::ParamSpecBoolean::builder("region-map")
            .nick("Region map")
            .blurb("Attach the map of which part of the face decided, where the model has one")
            .default_value(d.region_map)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("messages", d.messages)
            .nick("Messages")
            .blurb(
                "Element messages on the bus: deepfake-verdict (track, verdict, before, score, frame, pts, running-time, \
                 model-sha256, provider), and deepfake-scores (the fields of DeepfakeScoresMeta, pts, running-time)",
            )
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("on-error", d.on_error)
            .nick("On error")
            .blurb("What happens when a model fails while playing")
            .mutable_playing()
            .build(),
        number(
            "stats-interval",
            "Statistics interval",
            "Milliseconds from one element message deepfake-stats, with what the property stats has, to the next (0: none)",
            0,
            3_600_000,
            d.stats_interval,
        ),
        read_only("active-provider", "Active provider", "What runs the scoring model (null: not started)"),
        read_only(
            "active-mode",
            "Active mode",
            "every-frame or live (null: not known before the first frame of mode auto)",
        ),
        read_only("model-digest", "Model digest", "SHA-256 of the scoring model in use (null: not started)"),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "Since start: frames seen, frames skipped, faces found and scored, faces scored a second; for locating, cropping and \
                 scoring the nanoseconds spent, and of a frame the median (-p50) and what 99 of 100 do not exceed (-p99); threads of \
                 the scoring model and thread-budget of the process; in a session-group its members (group-members), and the runs \
                 (group-runs) and faces (group-faces) of all of them together",
            )
            .read_only()
            .build(),
    ]
}

impl Settings {
    /// Sets a property; a value of the wrong type cannot come here.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) {
        fn to<T: for<'a> glib::value::FromValue<'a> + 'static>(slot: &mut T, value: &glib::Value) {
            if let Ok(value) = value.get_owned() {
                *slot = value;
            }
        }
        let to_path = |slot: &mut Option<PathBuf>| {
            *slot = value.get::<Option<&str>>().ok().flatten().filter(|s| !s.is_empty()).map(PathBuf::from);
        };
        match name {
            "model" => to_path(&mut self.model),
            "model-config" => to_path(&mut self.model_config),
            "expect-model-digest" => to(&mut self.expect_model_digest, value),
            "face-source" => to(&mut self.face_source, value),
            "face-model" => to_path(&mut self.face_model),
            "provider" => to(&mut self.provider, value),
            "device-id" => to(&mut self.device_id, value),
            "threads" => to(&mut self.threads, value),
            "engine-cache" => to_path(&mut self.engine_cache),
            "session-group" => to(&mut self.session_group, value),
            "batch-window" => to(&mut self.batch_window, value),
            "detect-interval" => to(&mut self.detect_interval, value),
            "score-interval" => to(&mut self.score_interval, value),
            "min-face-size" => to(&mut self.min_face_size, value),
            "max-faces" => to(&mut self.max_faces, value),
            "fake-above" => to(&mut self.fake_above, value),
            "real-below" => to(&mut self.real_below, value),
            "region-map" => to(&mut self.region_map, value),
            "messages" => to(&mut self.messages, value),
            "on-error" => to(&mut self.on_error, value),
            "mode" => to(&mut self.mode, value),
            "stats-interval" => to(&mut self.stats_interval, value),
            _ => {}
        }
    }

    /// Reads a property that can be written.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.display().to_string()).to_value();
        Some(match name {
            "model" => path(&self.model),
            "model-config" => path(&self.model_config),
            "expect-model-digest" => self.expect_model_digest.to_value(),
            "face-source" => self.face_source.to_value(),
            "face-model" => path(&self.face_model),
            "provider" => self.provider.to_value(),
            "device-id" => self.device_id.to_value(),
            "threads" => self.threads.to_value(),
            "engine-cache" => path(&self.engine_cache),
            "session-group" => self.session_group.to_value(),
            "batch-window" => self.batch_window.to_value(),
            "detect-interval" => self.detect_interval.to_value(),
            "score-interval" => self.score_interval.to_value(),
            "min-face-size" => self.min_face_size.to_value(),
            "max-faces" => self.max_faces.to_value(),
            "fake-above" => self.fake_above.to_value(),
            "real-below" => self.real_below.to_value(),
            "region-map" => self.region_map.to_value(),
            "messages" => self.messages.to_value(),
            "on-error" => self.on_error.to_value(),
            "mode" => self.mode.to_value(),
            "stats-interval" => self.stats_interval.to_value(),
            _ => return None,
        })
    }

    /// The scoring model: the file's, or the bundled one, with the digest that was asked for.
    pub(super) fn load_model(&self) -> Result<Model, SetupError> {
        let model = match &self.model {
            Some(path) => Model::read(path)?,
            None => Model::from_bytes(BUNDLED_NAME, BUNDLED_MODEL)?,
        };
        match self.expect_model_digest.as_deref().map(str::trim) {
            Some(expected) if !expected.is_empty() && !expected.eq_ignore_ascii_case(model.sha256()) => {
                Err(SetupError::Digest { expected: expected.to_owned(), found: model.sha256().to_owned() })
            }
            _ => Ok(model),
        }
    }

    /// Everything that the engine is told, with the files it names read.
    pub(super) fn engine_options(&self) -> Result<EngineOptions, SetupError> {
        let read = |path: &Path| {
            let wrong = |problem: String| SetupError::Config { path: path.to_owned(), problem };
            let bytes = read_file(path, MAX_CONFIG_BYTES).map_err(|e| wrong(e.to_string()))?;
            let text = String::from_utf8(bytes).map_err(|e| wrong(e.to_string()))?;
            Contract::from_toml(&text).map_err(|e| wrong(e.to_string()))
        };
        let threshold = |v: f64| (v >= 0.0).then_some(v as f32);
        Ok(EngineOptions {
            session: SessionOptions {
                provider: match self.provider {
                    Provider::Auto => session::Provider::Auto,
                    Provider::Cpu => session::Provider::Cpu,
                    Provider::Cuda => session::Provider::Cuda,
                    Provider::TensorRt => session::Provider::TensorRt,
                },
                device_id: self.device_id,
                threads: self.threads as usize,
                lease: None,
                engine_cache: self.engine_cache.clone(),
                bind: false,
            },
            face_source: match self.face_source {
                FaceSource::Auto => engine::FaceSource::Auto,
                FaceSource::Upstream => engine::FaceSource::Upstream,
                FaceSource::Detect => engine::FaceSource::Detect,
                FaceSource::Frame => engine::FaceSource::Frame,
            },
            face_model: self.face_model.as_deref().map(Model::read).transpose()?,
            locate: LocateOptions::default(),
            contract: self.model_config.as_deref().map(read).transpose()?,
            group: self.session_group.clone().filter(|name| !name.is_empty()),
            limits: self.limits(None),
            fake_above: threshold(self.fake_above),
            real_below: threshold(self.real_below),
        })
    }

    /// Time from one message with statistics to the next, if there are any.
    pub(super) fn stats_interval(&self) -> Option<Duration> {
        (self.stats_interval > 0).then(|| Duration::from_millis(self.stats_interval.into()))
    }

    /// What may change while playing; `frame_time` is what a frame lasts, where the caps say it.
    pub(super) fn limits(&self, frame_time: Option<Duration>) -> Limits {
        Limits {
            detect_interval: self.detect_interval,
            score_interval: self.score_interval,
            min_face_size: self.min_face_size,
            max_faces: self.max_faces as usize,
            batch_window: Duration::from_millis(self.batch_window.into()),
            frame_time,
        }
    }
}
