//! The same line as DL Streamer's element `gvametaconvert` writes it (`format=json`, with `add-empty-results`,
//! `timestamp-utc`, `timestamp-microseconds`, `add-rtp-timestamp` and, for maps, `add-tensor-data`), for whoever reads that
//! already.
//!
//! | field | from |
//! |---|---|
//! | `resolution` | `width` and `height` of the frame |
//! | `timestamp` | stream time in nanoseconds; absent where there is none |
//! | `system_timestamp` | when the frame was taken, RFC 3339 with microseconds, in UTC; absent where nobody knows |
//! | `rtp.sender_ntp_unix_timestamp_ns` | the same in nanoseconds since 1970, where the sender said so |
//! | `source` | name of the stream |
//! | `tags` | what the format has no place for: `mode`, `model_sha256`, `provider`, or why there are no results (`missing`) |
//! | `objects` | the faces; absent where there are none |
//!
//! and of an object:
//!
//! | field | from |
//! |---|---|
//! | `x`, `y`, `w`, `h` | the part of the box that is in the frame, in whole pixels; the whole frame where the place is not known any more |
//! | `region_id`, `id` | the track; `id` is absent for 0, which is no track |
//! | `roi_type` | `face` |
//! | `detection` | `bounding_box` (`x_min`, `y_min`, `x_max`, `y_max` in parts of the frame), `confidence`, `label` `face`, `label_id` 0; absent where the place is not known any more |
//! | `deepfake` | `label` (the verdict), `label_id`, `confidence` (how much speaks for the label), `model.name`; absent without a score |
//! | `tensors` | the map: `name` `deepfake`, `layer_name` `map`, `model_name`, `precision` `FP32`, `layout` `ANY`, `dims` (rows, columns), `data` |

use std::time::SystemTime;

use serde::Serialize;

use crate::meta::{Face, ROI_TYPE, Scores};
use crate::record::{Record, Rounded, UtcSource, Values};
use crate::score::regions;

/// Appends the line, with its end, to `out`. `source` is the name of the stream; without `maps` the maps are left out.
pub fn write_line(record: &Record, source: Option<&str>, maps: bool, out: &mut Vec<u8>) {
    let line = Line::new(record, source, maps);
    // Vectors can always be written to, and no map in a line has keys that are not strings.
    if let Err(error) = line.serialize(&mut serde_json::Serializer::new(&mut *out)) {
        unreachable!("a line that is not JSON: {error}");
    }
    out.push(b'\n');
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<Object<'a>>,
    resolution: Resolution,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtp: Option<Rtp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_timestamp: Option<String>,
    tags: Tags<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
}

#[derive(Serialize)]
struct Resolution {
    height: u32,
    width: u32,
}

#[derive(Serialize)]
struct Rtp {
    sender_ntp_unix_timestamp_ns: u64,
}

#[derive(Serialize)]
struct Tags<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(record: &'a Record, source: Option<&'a str>, maps: bool) -> Self {
        let frame = &record.frame;
        let scores = record.scores.as_ref().ok();
        let (width, height) = frame.size;
        let objects =
            scores.map(|scores| scores.faces.iter().map(|face| Object::new(face, scores, frame.size, maps)).collect());
        let sent = frame.utc.filter(|utc| utc.source == UtcSource::Sender);
        let sent = sent.and_then(|utc| utc.at.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self {
            objects: objects.unwrap_or_default(),
            resolution: Resolution { height, width },
            rtp: sent
                .and_then(|since| u64::try_from(since.as_nanos()).ok())
                .map(|sender_ntp_unix_timestamp_ns| Rtp { sender_ntp_unix_timestamp_ns }),
            source,
            system_timestamp: frame.utc.and_then(|utc| utc.text()),
            tags: Tags {
                missing: record.scores.as_ref().err().map(|missing| missing.name()),
                mode: scores.map(|scores| scores.mode.name()),
                model_sha256: scores.map(|scores| scores.by.sha256.as_str()),
                provider: scores.map(|scores| scores.by.provider.as_str()),
            },
            timestamp: frame.stream_time.map(gst::ClockTime::nseconds),
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Classification<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detection: Option<Detection>,
    h: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    region_id: i32,
    roi_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tensors: Vec<Tensor<'a>>,
    w: u32,
    x: u32,
    y: u32,
}

#[derive(Serialize)]
struct Classification<'a> {
    confidence: Rounded<6>,
    label: &'static str,
    label_id: i32,
    model: Model<'a>,
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Detection {
    bounding_box: BoundingBox,
    confidence: Rounded<6>,
    label: &'static str,
    label_id: i32,
}

#[derive(Serialize)]
struct BoundingBox {
    x_max: Rounded<6>,
    x_min: Rounded<6>,
    y_max: Rounded<6>,
    y_min: Rounded<6>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    data: Values<'a>,
    dims: [u32; 2],
    layer_name: &'static str,
    layout: &'static str,
    model_name: &'a str,
    name: &'static str,
    precision: &'static str,
}

impl<'a> Object<'a> {
    fn new(face: &'a Face, scores: &'a Scores, (width, height): (u32, u32), maps: bool) -> Self {
        let score = face.outcome.as_ref().ok();
        let model = scores.by.model.as_str();
        // What belongs to the whole frame, as far as is known, is as large as the frame in this format.
        let bbox = face.pixels(width, height).map(|bbox| regions::pixels(&bbox, (width, height)));
        let (x, y, w, h) = bbox.unwrap_or((0, 0, width, height));
        let part = |v: f32| Rounded(f64::from(v.clamp(0.0, 1.0)));
        let map = score.and_then(|score| score.map.as_ref()).filter(|_| maps);
        let region_id = regions::track_id(face.track);
        Self {
            deepfake: score.map(|score| {
                let (label_id, confidence) = regions::label(face.verdict, score.score);
                Classification {
                    confidence: Rounded(confidence),
                    label: face.verdict.name(),
                    label_id,
                    model: Model { name: model },
                }
            }),
            detection: face.bbox.map(|bbox| Detection {
                bounding_box: BoundingBox {
                    x_max: part(bbox.right()),
                    x_min: part(bbox.x),
                    y_max: part(bbox.bottom()),
                    y_min: part(bbox.y),
                },
                confidence: Rounded(face.confidence),
                label: ROI_TYPE,
                label_id: 0,
            }),
            h,
            id: Some(region_id).filter(|id| *id != 0),
            region_id,
            roi_type: ROI_TYPE,
            tensors: map
                .map(|map| Tensor {
                    data: Values(&map.values),
                    dims: [map.height, map.width],
                    layer_name: "map",
                    layout: "ANY",
                    model_name: model,
                    name: "deepfake",
                    precision: "FP32",
                })
                .into_iter()
                .collect(),
            w,
            x,
            y,
        }
    }
}
