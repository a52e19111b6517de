//! The result on a buffer: two `GstCustomMeta` whose fields can all be serialized.
//!
//! [`META_NAME`] holds the scores and the maps, and stays on the frame whatever happens to the picture. [`BOXES_META_NAME`]
//! holds where the faces are, and stays only where that is still right: `docs/metadata.md` has the table of what arrives
//! after which elements. [`Scores::from_buffer`] reads both.
//!
//! The scores, for readers in other languages:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `version` | uint | [`VERSION`] |
//! | `frame` | guint64 | counts the frames that the element has seen, from 0 |
//! | `mode` | string | `every-frame`: the result is this frame's own; `live`: it is the newest that was finished, of an earlier frame, its boxes moved on |
//! | `skipped` | guint64 | frames from the one that was scored to this one; 0 in mode `every-frame`, and before any was scored |
//! | `model-name`, `model-sha256`, `provider` | string | what gave the numbers |
//! | `faces` | array of structures `face` | the largest first; empty where no face was found |
//!
//! and of a `face`:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `track` | guint64 | the same for one person from frame to frame |
//! | `face-confidence` | double | of the face detector, in \[0, 1\] |
//! | `verdict` | string | on the track: `fake`, `real`, `undecided` |
//! | `not-scored` | string | why there is no score; absent where there is one |
//! | `score` | double | of the track, probability of fake in \[0, 1\] |
//! | `frame-score` | double | of the frame that was scored alone |
//! | `logit` | double | of the frame that was scored alone, uncalibrated |
//! | `age` | guint64 | nanoseconds since the frame that was scored |
//! | `map-width`, `map-height` | uint | size of the map, absent where there is none |
//! | `map` | array of double | signed evidence over the crop, row by row; its mean is `logit` |
//!
//! The boxes:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `frame` | guint64 | that of the scores they belong to |
//! | `boxes` | array of structures `box` | one for each of `faces`, in the same order |
//!
//! and of a `box`, in parts of the frame's width and height:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `x`, `y`, `w`, `h` | double | the face |
//! | `map-x`, `map-y`, `map-w`, `map-h` | double | what the map lies over: the crop that was scored (larger than the face); it may reach outside of the frame. Absent where there is no map, or where it no longer lies upright |
//!
//! A `GstVideoCropMeta` on the buffer means that the boxes are those of the frame before it was cropped.

use std::sync::{Arc, Once};
use std::time::Duration;

use deepfake_scoring::geometry::Rect;
use deepfake_scoring::score::NotScored;
use deepfake_scoring::verdict::Verdict;
use glib::translate::{ToGlibPtrMut, Uninitialized, UnsafeFrom};

mod boxes;
#[cfg(feature = "v1_24")]
pub mod relations;

pub use boxes::BOXES_META_NAME;
use boxes::{Boxes, Place};

/// Of the structure's layout.
pub const VERSION: u32 = 1;
/// Name of the custom meta with the scores.
pub const META_NAME: &str = "DeepfakeScoresMeta";
/// The type of the `GstVideoRegionOfInterestMeta` of a face, as GStreamer's own face detector has it.
pub const ROI_TYPE: &str = "face";

const FACE: &str = "face";

/// No model gives more; what does would not be a number any more once it is rounded.
const MOST: f64 = f32::MAX as f64;
/// So many sides of the frame away nothing is any more.
const FURTHEST: f32 = 1e20;

/// How the results came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each buffer carries its own frame's result.
    EveryFrame,
    /// Each buffer carries the newest finished result.
    Live {
        /// Frames that this one is newer than the one that was scored.
        skipped: u64,
    },
}

impl Mode {
    /// As written in metadata and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EveryFrame => "every-frame",
            Self::Live { .. } => "live",
        }
    }

    /// Frames from the one that was scored to this one.
    pub const fn skipped(self) -> u64 {
        match self {
            Self::EveryFrame => 0,
            Self::Live { skipped } => skipped,
        }
    }

    fn read(s: &gst::StructureRef) -> Option<Self> {
        let mode = match s.get::<&str>("mode").ok()? {
            "every-frame" => Self::EveryFrame,
            "live" => Self::Live { skipped: s.get("skipped").ok()? },
            _ => return None,
        };
        Some(mode)
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
    /// The crop that was scored, in parts of the frame's width and height; it may reach outside of the frame. `None` as
    /// [`Face::bbox`], and where the picture was turned.
    pub region: Option<Rect>,
}

/// The numbers of a face that was scored.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceScore {
    /// Of the track: probability of fake, in [0, 1].
    pub score: f64,
    /// Of the frame that was scored alone.
    pub frame_score: f64,
    /// Of the frame that was scored alone, uncalibrated.
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
    /// In parts of the frame's width and height. `None` where the picture was cropped, turned or put between borders since
    /// it was scored, so that the place is not known any more.
    pub bbox: Option<Rect>,
    /// Of the face detector, in [0, 1].
    pub confidence: f64,
    /// On the track.
    pub verdict: Verdict,
    /// The numbers, or why there are none.
    pub outcome: Result<FaceScore, NotScored>,
}

impl Face {
    /// The box in pixels of a frame of that size.
    pub fn pixels(&self, width: u32, height: u32) -> Option<Rect> {
        self.bbox.map(|r| r.scaled(width as f32, height as f32))
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
    pub by: Arc<ScoredBy>,
    /// The largest first; empty where no face was found.
    pub faces: Vec<Face>,
}

/// Makes the metas known to GStreamer. Called by the plugin; a program that only reads needs no call.
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Another copy of the plugin may have done it.
        if !gst::meta::CustomMeta::is_registered(META_NAME) {
            gst::meta::CustomMeta::register(META_NAME, &[]);
        }
        boxes::register();
    });
}

/// Attaches a custom meta, or takes the one that is there, and writes it.
fn put(
    buffer: &mut gst::BufferRef,
    name: &str,
    write: impl FnOnce(&mut gst::StructureRef),
) -> Result<(), glib::BoolError> {
    if let Ok(mut meta) = gst::meta::CustomMeta::from_mut_buffer(buffer, name) {
        write(meta.mut_structure());
        return Ok(());
    }
    write(gst::meta::CustomMeta::add(buffer, name)?.mut_structure());
    Ok(())
}

/// A `GstValueArray` that is made as large as it will be: one that grows is moved again and again.
fn array<T: Into<glib::Value> + Send>(values: impl ExactSizeIterator<Item = T>) -> glib::SendValue {
    let length = values.len().try_into().unwrap_or(0);
    // SAFETY: an array is made of a value of no type, each element becomes the array's, and what consists of elements that may be sent
    // may be sent.
    unsafe {
        let mut array = glib::Value::uninitialized();
        gst::ffi::gst_value_array_init(array.to_glib_none_mut().0, length);
        for value in values {
            let mut value = value.into().into_raw();
            gst::ffi::gst_value_array_append_and_take_value(array.to_glib_none_mut().0, &mut value);
        }
        glib::SendValue::unsafe_from(array.into_raw())
    }
}

impl Scores {
    /// Attaches the result, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// Where the metas are not registered.
    pub fn attach(&self, buffer: &mut gst::BufferRef) -> Result<(), glib::BoolError> {
        put(buffer, META_NAME, |s| self.write(s, Face::to_structure))?;
        boxes::attach(buffer, self.frame, self.faces.iter().map(Face::place))
    }

    /// The result on a buffer; `None` where there is none, or none that this version can read.
    ///
    /// ```
    /// use gstdeepfake::meta::Scores;
    ///
    /// /// What a pad probe or an appsink does with each of its buffers.
    /// fn tell(buffer: &gst::BufferRef, width: u32, height: u32) -> Vec<String> {
    ///     // No result is not the same as one without faces.
    ///     let Some(scores) = Scores::from_buffer(buffer) else { return vec!["not looked at".into()] };
    ///     let faces = scores.faces.iter().map(|face| {
    ///         let what = match &face.outcome {
    ///             Ok(score) => format!("{} ({:.2})", face.verdict, score.score),
    ///             Err(reason) => format!("not scored: {}", reason.name()),
    ///         };
    ///         match face.pixels(width, height) {
    ///             Some(r) => format!("face {} at {},{}: {what}", face.track, r.x, r.y),
    ///             None => format!("face {}: {what}", face.track),
    ///         }
    ///     });
    ///     faces.collect()
    /// }
    ///
    /// # use deepfake_scoring::{geometry::Rect, score::NotScored, verdict::Verdict};
    /// # use gstdeepfake::meta::{Face, Mode, ScoredBy};
    /// gst::init()?;
    /// let mut buffer = gst::Buffer::new();
    /// assert_eq!(tell(&buffer, 320, 240), ["not looked at"]);
    /// # gstdeepfake::meta::register();
    /// # let face = Face {
    /// #     track: 1,
    /// #     bbox: Some(Rect::new(0.5, 0.25, 0.1, 0.1)),
    /// #     confidence: 0.9,
    /// #     verdict: Verdict::Undecided,
    /// #     outcome: Err(NotScored::TooSmall),
    /// # };
    /// # let by = ScoredBy { model: "m".into(), sha256: "0".into(), provider: "cpu".into() };
    /// # Scores { frame: 0, mode: Mode::EveryFrame, by: by.into(), faces: vec![face] }.attach(buffer.make_mut())?;
    /// # // As after `deepfakescore`:
    /// assert_eq!(tell(&buffer, 320, 240), ["face 1 at 160,60: not scored: too-small"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_buffer(buffer: &gst::BufferRef) -> Option<Self> {
        let meta = gst::meta::CustomMeta::from_buffer(buffer, META_NAME).ok()?;
        let mut scores = Self::read(meta.structure())?;
        let boxes = Boxes::from_buffer(buffer);
        let boxes = boxes.filter(|b| b.frame == scores.frame && b.places.len() == scores.faces.len());
        for (face, place) in scores.faces.iter_mut().zip(boxes.into_iter().flat_map(|b| b.places)) {
            face.set_place(&place);
        }
        Some(scores)
    }

    /// All fields in one structure, for messages: those of a box are in its face.
    pub(crate) fn to_structure(&self, name: &str) -> gst::Structure {
        let mut s = gst::Structure::new_empty(name);
        self.write(&mut s, |face| {
            let mut s = face.to_structure();
            face.place().write(&mut s);
            s
        });
        s
    }

    fn write(&self, s: &mut gst::StructureRef, face: impl Fn(&Face) -> gst::Structure) {
        s.set("version", VERSION);
        s.set("frame", self.frame);
        s.set("mode", self.mode.name());
        s.set("skipped", self.mode.skipped());
        s.set("model-name", &self.by.model);
        s.set("model-sha256", &self.by.sha256);
        s.set("provider", &self.by.provider);
        s.set_value("faces", array(self.faces.iter().map(face)));
    }

    fn read(s: &gst::StructureRef) -> Option<Self> {
        if s.get::<u32>("version").ok()? != VERSION {
            return None;
        }
        let faces = s.get::<gst::ArrayRef>("faces").ok()?;
        let faces = faces.iter().map(|v| Face::from_structure(v.get::<&gst::StructureRef>().ok()?));
        Some(Self {
            frame: s.get("frame").ok()?,
            mode: Mode::read(s)?,
            by: Arc::new(ScoredBy {
                model: s.get("model-name").ok()?,
                sha256: s.get("model-sha256").ok()?,
                provider: s.get("provider").ok()?,
            }),
            faces: faces.collect::<Option<_>>()?,
        })
    }
}

impl Face {
    fn to_structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder(FACE)
            .field("track", self.track)
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
                    s.set_value("map", array(map.values.iter().map(|v| f64::from(*v))));
                }
            }
        }
        s
    }

    fn from_structure(s: &gst::StructureRef) -> Option<Self> {
        let number = |name| s.get::<f64>(name).ok().filter(|v| v.abs() <= MOST);
        let part = |name| number(name).filter(|v| (0.0..=1.0).contains(v));
        let outcome = match s.get::<&str>("not-scored") {
            Ok(reason) => Err(NotScored::from_name(reason)?),
            Err(_) => Ok(FaceScore {
                score: part("score")?,
                frame_score: part("frame-score")?,
                logit: number("logit")?,
                // The largest number of them stands for none.
                age: gst::ClockTime::try_from(Duration::from_nanos(s.get("age").ok()?)).ok()?,
                map: RegionMap::from_structure(s),
            }),
        };
        Some(Self {
            track: s.get("track").ok()?,
            bbox: None,
            confidence: part("face-confidence")?,
            verdict: Verdict::from_name(s.get::<&str>("verdict").ok()?)?,
            outcome,
        })
    }

    fn map_mut(&mut self) -> Option<&mut RegionMap> {
        self.outcome.as_mut().ok()?.map.as_mut()
    }

    fn place(&self) -> Place {
        let map = self.outcome.as_ref().ok().and_then(|score| score.map.as_ref());
        Place { bbox: self.bbox, region: map.and_then(|map| map.region) }
    }

    fn set_place(&mut self, place: &Place) {
        self.bbox = place.bbox;
        if let Some(map) = self.map_mut() {
            map.region = place.region;
        }
    }
}

impl RegionMap {
    fn from_structure(s: &gst::StructureRef) -> Option<Self> {
        let width = s.get::<u32>("map-width").ok()?;
        let height = s.get::<u32>("map-height").ok()?;
        let values = s.get::<gst::ArrayRef>("map").ok()?;
        let values: Vec<f32> = values.iter().map(|v| v.get::<f64>().ok().map(|v| v as f32)).collect::<Option<_>>()?;
        let fits = u64::from(width) * u64::from(height) == values.len() as u64 && !values.is_empty();
        let sound = fits && values.iter().all(|v| f64::from(v.abs()) <= MOST);
        sound.then_some(Self { width, height, values, region: None })
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
                region: Some(Rect::new(-0.25, 0.25, 0.75, 0.875)),
            }),
        };
        let face = Face {
            track: u64::MAX,
            bbox: Some(Rect::new(0.25, 0.5, 0.125, 0.25)),
            confidence: 0.9,
            verdict: Verdict::Real,
            outcome: Ok(scored),
        };
        let small = Face { track: 2, outcome: Err(NotScored::TooSmall), verdict: Verdict::Undecided, ..face.clone() };
        Scores {
            frame: 7,
            mode: Mode::EveryFrame,
            by: ScoredBy { model: "m".into(), sha256: "00".into(), provider: "cpu".into() }.into(),
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

    /// Scores of which nobody knows where they are.
    fn without_places(mut scores: Scores) -> Scores {
        scores.faces.iter_mut().for_each(|face| face.set_place(&Place::default()));
        scores
    }

    #[test]
    fn boxes_of_another_frame_are_not_taken() {
        gst::init().unwrap();
        register();
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.make_mut();
        scores().attach(buffer).unwrap();
        let later = Scores { frame: 8, ..scores() };
        put(buffer, META_NAME, |s| later.write(s, Face::to_structure)).unwrap();
        assert_eq!(Scores::from_buffer(buffer), Some(without_places(later)));
        let fewer = Scores { faces: scores().faces[..1].to_vec(), ..scores() };
        put(buffer, META_NAME, |s| fewer.write(s, Face::to_structure)).unwrap();
        assert_eq!(Scores::from_buffer(buffer), Some(without_places(fewer)));
    }

    #[test]
    fn the_structure_can_be_serialized() {
        gst::init().unwrap();
        register();
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.make_mut();
        scores().attach(buffer).unwrap();
        for name in [META_NAME, BOXES_META_NAME] {
            let meta = gst::meta::CustomMeta::from_buffer(buffer, name).unwrap();
            let back: gst::Structure = meta.structure().serialize(gst::SerializeFlags::NONE).parse().unwrap();
            assert_eq!(&*back, meta.structure());
        }
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        gst::init().unwrap();
        let s = scores().to_structure(META_NAME);
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
