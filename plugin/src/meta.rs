//! The result on a buffer: a `GstCustomMeta` whose fields can all be serialized.
//!
//! The structure, for readers in other languages:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `version` | uint | [`VERSION`] |
//! | `frame` | guint64 | counts the frames that the element has seen, from 0 |
//! | `mode` | string | `every-frame`: the result is this frame's own |
//! | `model-name`, `model-sha256`, `provider` | string | what gave the numbers |
//! | `faces` | array of structures `face` | the largest first; empty where no face was found |
//!
//! and of a `face`:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `track` | guint64 | the same for one person from frame to frame |
//! | `x`, `y`, `w`, `h` | double | box, in parts of the frame's width and height |
//! | `face-confidence` | double | of the face detector, in \[0, 1\] |
//! | `verdict` | string | on the track: `fake`, `real`, `undecided` |
//! | `not-scored` | string | why there is no score; absent where there is one |
//! | `score` | double | of the track, probability of fake in \[0, 1\] |
//! | `frame-score` | double | of this frame alone |
//! | `logit` | double | of this frame alone, uncalibrated |
//! | `age` | guint64 | nanoseconds since the frame that was scored |
//! | `map-width`, `map-height` | uint | size of the map, absent where there is none |
//! | `map` | array of double | signed evidence over the crop, row by row; its mean is `logit` |
//! | `map-x`, `map-y`, `map-w`, `map-h` | double | what the map lies over: the crop that was scored (larger than the box), in parts of the frame's width and height; it may reach outside of the frame |

use deepfake_scoring::geometry::Rect;
use deepfake_scoring::score::NotScored;
use deepfake_scoring::verdict::Verdict;

/// Of the structure's layout.
pub const VERSION: u32 = 1;
/// Name of the custom meta.
pub const META_NAME: &str = "DeepfakeScoresMeta";
/// The type of the `GstVideoRegionOfInterestMeta` of a face, as GStreamer's own face detector has it.
pub const ROI_TYPE: &str = "face";

const FACE: &str = "face";

/// How the results came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each buffer carries its own frame's result.
    EveryFrame,
}

impl Mode {
    /// As written in metadata and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EveryFrame => "every-frame",
        }
    }
}

/// What gave the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoredBy {
    /// Name of the model.
    pub model: String,
    /// Digest of its file, in lower case hexadecimal.
    pub sha256: String,
    /// The execution provider that ran it.
    pub provider: String,
}

/// A map of evidence, over the crop of the face.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionMap {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` logits, row by row; their mean is [`FaceScore::logit`].
    pub values: Vec<f32>,
    /// The crop that was scored, in parts of the frame's width and height; it may reach outside of the frame.
    pub region: Rect,
}

/// The numbers of a face that was scored.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceScore {
    /// Of the track: probability of fake, in [0, 1].
    pub score: f64,
    /// Of this frame alone.
    pub frame_score: f64,
    /// Of this frame alone, uncalibrated.
    pub logit: f64,
    /// Since the frame that was scored.
    pub age: gst::ClockTime,
    /// Where the score comes from.
    pub map: Option<RegionMap>,
}

/// A face in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// The same for one person from frame to frame.
    pub track: u64,
    /// In parts of the frame's width and height, so that it outlives scaling.
    pub bbox: Rect,
    /// Of the face detector, in [0, 1].
    pub confidence: f64,
    /// On the track.
    pub verdict: Verdict,
    /// The numbers, or why there are none.
    pub outcome: Result<FaceScore, NotScored>,
}

impl Face {
    /// The box in pixels of a frame of that size.
    pub fn pixels(&self, width: u32, height: u32) -> Rect {
        self.bbox.scaled(width as f32, height as f32)
    }
}

/// All that is known about a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Counts the frames that the element has seen, from 0.
    pub frame: u64,
    /// How the results came about.
    pub mode: Mode,
    /// What gave the numbers.
    pub by: ScoredBy,
    /// The largest first; empty where no face was found.
    pub faces: Vec<Face>,
}

/// Makes the meta known to GStreamer. Called by the plugin; a program that only reads needs no call.
pub fn register() {
    if !gst::meta::CustomMeta::is_registered(META_NAME) {
        gst::meta::CustomMeta::register(META_NAME, &[]);
    }
}

impl Scores {
    /// Attaches the result, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// Where the meta is not registered.
    pub fn attach(&self, buffer: &mut gst::BufferRef) -> Result<(), glib::BoolError> {
        if let Ok(mut meta) = gst::meta::CustomMeta::from_mut_buffer(buffer, META_NAME) {
            self.write(meta.mut_structure());
            return Ok(());
        }
        let mut meta = gst::meta::CustomMeta::add(buffer, META_NAME)?;
        self.write(meta.mut_structure());
        Ok(())
    }

    /// The result on a buffer; `None` where there is none, or none that this version can read.
    pub fn from_buffer(buffer: &gst::BufferRef) -> Option<Self> {
        let meta = gst::meta::CustomMeta::from_buffer(buffer, META_NAME).ok()?;
        Self::read(meta.structure())
    }

    /// The same fields under another name, for messages.
    pub(crate) fn to_structure(&self, name: &str) -> gst::Structure {
        let mut s = gst::Structure::new_empty(name);
        self.write(&mut s);
        s
    }

    fn write(&self, s: &mut gst::StructureRef) {
        s.set("version", VERSION);
        s.set("frame", self.frame);
        s.set("mode", self.mode.name());
        s.set("model-name", &self.by.model);
        s.set("model-sha256", &self.by.sha256);
        s.set("provider", &self.by.provider);
        s.set("faces", gst::Array::new(self.faces.iter().map(Face::to_structure)));
    }

    fn read(s: &gst::StructureRef) -> Option<Self> {
        if s.get::<u32>("version").ok()? != VERSION || s.get::<&str>("mode").ok()? != Mode::EveryFrame.name() {
            return None;
        }
        let faces = s.get::<gst::ArrayRef>("faces").ok()?;
        let faces = faces.iter().map(|v| Face::from_structure(v.get::<&gst::StructureRef>().ok()?));
        Some(Self {
            frame: s.get("frame").ok()?,
            mode: Mode::EveryFrame,
            by: ScoredBy {
                model: s.get("model-name").ok()?,
                sha256: s.get("model-sha256").ok()?,
                provider: s.get("provider").ok()?,
            },
            faces: faces.collect::<Option<_>>()?,
        })
    }
}

impl Face {
    fn to_structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder(FACE)
            .field("track", self.track)
            .field("x", f64::from(self.bbox.x))
            .field("y", f64::from(self.bbox.y))
            .field("w", f64::from(self.bbox.w))
            .field("h", f64::from(self.bbox.h))
            .field("face-confidence", self.confidence)
            .field("verdict", self.verdict.name())
            .build();
        match &self.outcome {
            Err(reason) => s.set("not-scored", reason.name()),
            Ok(score) => {
                s.set("score", score.score);
                s.set("frame-score", score.frame_score);
                s.set("logit", score.logit);
                s.set("age", score.age.nseconds());
                if let Some(map) = &score.map {
                    s.set("map-width", map.width);
                    s.set("map-height", map.height);
                    s.set("map", gst::Array::new(map.values.iter().map(|v| f64::from(*v))));
                    let Rect { x, y, w, h } = map.region;
                    for (name, side) in [("map-x", x), ("map-y", y), ("map-w", w), ("map-h", h)] {
                        s.set(name, f64::from(side));
                    }
                }
            }
        }
        s
    }

    fn from_structure(s: &gst::StructureRef) -> Option<Self> {
        let number = |name| s.get::<f64>(name).ok().filter(|v| v.is_finite());
        let outcome = match s.get::<&str>("not-scored") {
            Ok(reason) => Err(NotScored::from_name(reason)?),
            Err(_) => Ok(FaceScore {
                score: number("score")?,
                frame_score: number("frame-score")?,
                logit: number("logit")?,
                age: gst::ClockTime::from_nseconds(s.get("age").ok()?),
                map: RegionMap::from_structure(s),
            }),
        };
        let side = |name| number(name).map(|v| v as f32);
        Some(Self {
            track: s.get("track").ok()?,
            bbox: Rect::new(side("x")?, side("y")?, side("w")?, side("h")?),
            confidence: number("face-confidence")?,
            verdict: Verdict::from_name(s.get::<&str>("verdict").ok()?)?,
            outcome,
        })
    }
}

impl RegionMap {
    fn from_structure(s: &gst::StructureRef) -> Option<Self> {
        let width = s.get::<u32>("map-width").ok()?;
        let height = s.get::<u32>("map-height").ok()?;
        let values = s.get::<gst::ArrayRef>("map").ok()?;
        let values: Vec<f32> = values.iter().map(|v| v.get::<f64>().ok().map(|v| v as f32)).collect::<Option<_>>()?;
        let side = |name| s.get::<f64>(name).ok().map(|v| v as f32);
        let region = Rect::new(side("map-x")?, side("map-y")?, side("map-w")?, side("map-h")?);
        let fits = u64::from(width) * u64::from(height) == values.len() as u64 && !values.is_empty();
        let sound = fits && region.is_valid() && values.iter().all(|v| v.is_finite());
        sound.then_some(Self { width, height, values, region })
    }
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;

    use super::*;

    fn scores() -> Scores {
        let scored = FaceScore {
            score: 0.25,
            frame_score: 0.5,
            logit: 0.1,
            age: gst::ClockTime::from_mseconds(40),
            map: Some(RegionMap {
                width: 2,
                height: 1,
                values: vec![0.3, -0.1],
                region: Rect::new(-0.25, 0.25, 0.75, 0.875),
            }),
        };
        let face = Face {
            track: u64::MAX,
            bbox: Rect::new(0.25, 0.5, 0.125, 0.25),
            confidence: 0.9,
            verdict: Verdict::Real,
            outcome: Ok(scored),
        };
        let small = Face { track: 2, outcome: Err(NotScored::TooSmall), verdict: Verdict::Undecided, ..face.clone() };
        Scores {
            frame: 7,
            mode: Mode::EveryFrame,
            by: ScoredBy { model: "m".into(), sha256: "00".into(), provider: "cpu".into() },
            faces: vec![face, small],
        }
    }

    #[test]
    fn what_is_attached_is_read_back_and_replaced() {
        gst::init().unwrap();
        register();
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.make_mut();
        assert_eq!(Scores::from_buffer(buffer), None);
        let mut scores = scores();
        scores.attach(buffer).unwrap();
        assert_eq!(Scores::from_buffer(buffer), Some(scores.clone()));
        scores.faces.clear();
        scores.attach(buffer).unwrap();
        assert_eq!(Scores::from_buffer(buffer), Some(scores));
    }

    #[test]
    fn the_structure_can_be_serialized() {
        gst::init().unwrap();
        register();
        let mut s = gst::Structure::new_empty(META_NAME);
        scores().write(&mut s);
        let text = s.serialize(gst::SerializeFlags::NONE);
        let back: gst::Structure = text.parse().unwrap();
        assert_eq!(Scores::read(&back), Some(scores()));
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        gst::init().unwrap();
        let mut s = gst::Structure::new_empty(META_NAME);
        scores().write(&mut s);
        for (field, value) in [
            ("version", 2u32.to_send_value()),
            ("mode", "guess".to_send_value()),
            ("faces", "none".to_send_value()),
            ("frame", (-1i32).to_send_value()),
        ] {
            let mut s = s.clone();
            s.set_value(field, value);
            assert_eq!(Scores::read(&s), None, "{field}");
        }
    }
}
