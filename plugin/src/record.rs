//! One line of JSON a frame, as `schema/record-1.schema.json` describes it.
//!
//! Numbers are rounded to what they are good for, so that lines stay small: map values to 4 decimals (the mean of the
//! written values still is the logit, to 1e-4), boxes to hundredths of a pixel.

use std::time::{Duration, SystemTime};

use deepfake_scoring::geometry::Rect;
use serde::Serialize;
use serde::ser::Serializer;

use crate::meta::{Face, RegionMap, Scores};

/// Of the record's layout: `schema_version` in each line.
pub const SCHEMA_VERSION: u32 = 1;

/// The JSON Schema of a line.
pub const SCHEMA: &str = include_str!("../schema/record-1.schema.json");

/// Why a frame has no results at all (which is not the same as no faces).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing upstream scored it, or its metadata was lost on the way.
    NoScores,
    /// It was scored by a version whose metadata this one cannot read.
    UnreadableScores,
}

impl Missing {
    /// As written in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoScores => "no-scores",
            Self::UnreadableScores => "unreadable-scores",
        }
    }
}

/// Who says when a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UtcSource {
    /// Whoever sent it: a reference timestamp, of RTP and the like.
    Sender,
    /// Its SMPTE timecode, which knows the day.
    Timecode,
    /// The clock of the pipeline, held against the machine's wall clock.
    Clock,
}

impl UtcSource {
    /// As written in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Timecode => "timecode",
            Self::Clock => "clock",
        }
    }
}

/// When a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// The moment.
    pub at: SystemTime,
    /// Who says so.
    pub source: UtcSource,
}

impl Utc {
    /// In RFC 3339, to the microsecond. `None` before 1970 and beyond the year 9999.
    pub fn text(&self) -> Option<String> {
        rfc3339(self.at.duration_since(SystemTime::UNIX_EPOCH).ok()?)
    }
}

/// What is known about a frame besides its scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// Counts the frames of the stream, from 0.
    pub number: u64,
    /// SMPTE timecode, as GStreamer writes it.
    pub timecode: Option<String>,
    /// Presentation time in the stream.
    pub pts: Option<gst::ClockTime>,
    /// Time since the pipeline was started, without pauses.
    pub running_time: Option<gst::ClockTime>,
    /// Time in the stream, as a player shows it.
    pub stream_time: Option<gst::ClockTime>,
    /// When the frame was taken.
    pub utc: Option<Utc>,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

/// All that a line says.
#[derive(Debug)]
pub struct Record {
    /// The frame.
    pub frame: FrameInfo,
    /// Its scores, or why there are none.
    pub scores: Result<Scores, Missing>,
}

impl Record {
    /// The scores that a buffer carries.
    ///
    /// # Errors
    ///
    /// Where it carries none.
    pub fn scores_of(buffer: &gst::BufferRef) -> Result<Scores, Missing> {
        Scores::from_buffer(buffer).ok_or_else(|| {
            match gst::meta::CustomMeta::from_buffer(buffer, crate::meta::META_NAME) {
                Ok(_) => Missing::UnreadableScores,
                Err(_) => Missing::NoScores,
            }
        })
    }

    /// Appends the line, with its end, to `out`. `stream` is the name of the stream; without `maps` the maps are left
    /// out.
    pub fn write_line(&self, stream: Option<&str>, maps: bool, out: &mut Vec<u8>) {
        let line = Line::new(self, stream, maps);
        // Vectors can always be written to, and no map in a line has keys that are not strings.
        if let Err(error) = line.serialize(&mut serde_json::Serializer::new(&mut *out)) {
            unreachable!("a record that is not JSON: {error}");
        }
        out.push(b'\n');
    }
}

/// The moment `since_epoch` after 1970-01-01T00:00:00Z, in RFC 3339, to the microsecond. `None` beyond the year 9999.
fn rfc3339(since_epoch: Duration) -> Option<String> {
    let seconds = glib::DateTime::from_unix_utc(i64::try_from(since_epoch.as_secs()).ok()?).ok()?;
    let micros = since_epoch.subsec_micros();
    Some(format!("{}.{micros:06}Z", seconds.format("%Y-%m-%dT%H:%M:%S").ok()?))
}

#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    frame: u64,
    mode: Option<&'static str>,
    skipped: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timecode: Option<&'a str>,
    pts: Option<u64>,
    running_time: Option<u64>,
    utc: Option<String>,
    utc_source: Option<&'static str>,
    stream: Option<&'a str>,
    size: Size,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'static str>,
    faces: Option<Faces<'a>>,
    model: Option<Model<'a>>,
}

impl<'a> Line<'a> {
    fn new(record: &'a Record, stream: Option<&'a str>, maps: bool) -> Self {
        let frame = &record.frame;
        let scores = record.scores.as_ref().ok();
        let utc = frame.utc.and_then(|utc| Some((utc.text()?, utc.source)));
        Self {
            schema_version: SCHEMA_VERSION,
            frame: frame.number,
            mode: scores.map(|s| s.mode.name()),
            skipped: scores.map(|s| s.mode.skipped()),
            timecode: frame.timecode.as_deref(),
            pts: frame.pts.map(gst::ClockTime::nseconds),
            running_time: frame.running_time.map(gst::ClockTime::nseconds),
            utc_source: utc.as_ref().map(|(_, source)| source.name()),
            utc: utc.map(|(text, _)| text),
            stream,
            size: Size { width: frame.size.0, height: frame.size.1 },
            missing: record.scores.as_ref().err().map(|m| m.name()),
            faces: scores.map(|s| Faces { faces: &s.faces, size: frame.size, maps }),
            model: scores.map(|s| Model { name: &s.by.model, sha256: &s.by.sha256, provider: &s.by.provider }),
        }
    }
}

#[derive(Serialize)]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    sha256: &'a str,
    provider: &'a str,
}

struct Faces<'a> {
    faces: &'a [Face],
    size: (u32, u32),
    maps: bool,
}

impl Serialize for Faces<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.faces.iter().map(|face| FaceLine::new(face, self.size, self.maps)))
    }
}

#[derive(Serialize)]
struct FaceLine<'a> {
    track: u64,
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    bbox: Option<PixelBox>,
    face_confidence: Rounded<6>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<Rounded<6>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame_score: Option<Rounded<6>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logit: Option<Rounded<5>>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<Rounded<3>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_scored: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<Map<'a>>,
}

impl<'a> FaceLine<'a> {
    fn new(face: &'a Face, size: (u32, u32), maps: bool) -> Self {
        let score = face.outcome.as_ref().ok();
        Self {
            track: face.track,
            bbox: face.pixels(size.0, size.1).map(PixelBox::new),
            face_confidence: Rounded(face.confidence),
            score: score.map(|s| Rounded(s.score)),
            frame_score: score.map(|s| Rounded(s.frame_score)),
            logit: score.map(|s| Rounded(s.logit)),
            verdict: face.verdict.name(),
            age_ms: score.map(|s| Rounded(s.age.nseconds() as f64 / 1e6)),
            not_scored: face.outcome.as_ref().err().map(|reason| reason.name()),
            map: score.and_then(|s| s.map.as_ref()).filter(|_| maps).map(|map| Map::new(map, size)),
        }
    }
}

#[derive(Serialize)]
struct PixelBox {
    x: Rounded<2>,
    y: Rounded<2>,
    w: Rounded<2>,
    h: Rounded<2>,
}

impl PixelBox {
    fn new(pixels: Rect) -> Self {
        let [x, y, w, h] = [pixels.x, pixels.y, pixels.w, pixels.h].map(|v| Rounded(v.into()));
        Self { x, y, w, h }
    }
}

#[derive(Serialize)]
struct Map<'a> {
    width: u32,
    height: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<PixelBox>,
    values: Values<'a>,
}

impl<'a> Map<'a> {
    fn new(map: &'a RegionMap, (width, height): (u32, u32)) -> Self {
        let region = map.region.map(|r| PixelBox::new(r.scaled(width as f32, height as f32)));
        Self { width: map.width, height: map.height, region, values: Values(&map.values) }
    }
}

pub(crate) struct Values<'a>(pub(crate) &'a [f32]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|&value| Rounded::<4>(value.into())))
    }
}

/// A number that is written with so many decimals, or fewer.
pub(crate) struct Rounded<const DECIMALS: i32>(pub(crate) f64);

impl<const DECIMALS: i32> Serialize for Rounded<DECIMALS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unit = 10f64.powi(DECIMALS);
        // Adding zero turns a negative zero into one without a sign.
        serializer.serialize_f64((self.0 * unit).round() / unit + 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_says() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_868_799, 999_999_999, "2000-02-29T23:59:59.999999Z"),
            (1_767_225_600, 1_234_567, "2026-01-01T00:00:00.001234Z"),
        ] {
            assert_eq!(rfc3339(Duration::new(seconds, nanos)).as_deref(), Some(text));
        }
        assert_eq!(rfc3339(Duration::MAX), None);
    }

    #[test]
    fn numbers_are_rounded_and_stay_numbers() {
        for (value, text) in [(0.123_456, "0.1235"), (-0.000_01, "0.0"), (7.0, "7.0"), (-1e20, "-1e+20")] {
            assert_eq!(serde_json::to_string(&Rounded::<4>(value)).unwrap(), text);
        }
    }
}
