//! What a line of `deepfakejson` says.

use std::time::{Duration, SystemTime};

use deepfake_scoring::geometry::Rect;
use deepfake_scoring::score::NotScored;
use deepfake_scoring::verdict::Verdict;
use gstdeepfake::meta::META_NAME;
use gstdeepfake::record::SCHEMA;
use rig::{Links, Rig, pts, some_scores};
use serde_json::{Value, json};

mod results;
mod rig;

#[test]
fn a_line_says_all_that_is_known() {
    let mut rig = Rig::new(Links::Both, false, &[("stream-name", "studio 1")]);
    let scores = some_scores(0);
    rig.push(3, Some(scores.clone())).unwrap();
    let (buffer, line) = rig.pull();
    assert_eq!((buffer.pts(), buffer.duration()), (Some(pts(3)), Some(gst::ClockTime::from_mseconds(40))));
    let map = scores.faces[0].outcome.as_ref().unwrap().map.as_ref().unwrap();
    let values: Vec<f64> = map.values.iter().map(|v| (f64::from(*v) * 1e4).round() / 1e4).collect();
    assert_eq!(
        line,
        json!({
            "schema_version": 1,
            "frame": 0,
            "mode": "every-frame",
            "skipped": 0,
            "pts": 120_000_000,
            "running_time": 120_000_000,
            "utc": null,
            "utc_source": null,
            "stream": "studio 1",
            "size": { "width": 320, "height": 240 },
            "faces": [
                {
                    "track": 1,
                    "box": { "x": 32.0, "y": 60.0, "w": 80.0, "h": 120.0 },
                    "face_confidence": 0.97,
                    "score": 0.875,
                    "frame_score": 0.875,
                    "logit": 1.94591,
                    "verdict": "fake",
                    "age_ms": 0.0,
                    "map": {
                        "width": 7,
                        "height": 7,
                        "region": { "x": 5.33, "y": 20.0, "w": 133.33, "h": 200.0 },
                        "values": values,
                    },
                },
                {
                    "track": u64::MAX,
                    "box": { "x": 288.0, "y": 216.0, "w": 64.0, "h": 48.0 },
                    "face_confidence": 0.6,
                    "verdict": "undecided",
                    "not_scored": "too-small",
                },
            ],
            "model": { "name": "test", "sha256": "0123456789abcdef".repeat(4), "provider": "cpu" },
        })
    );
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((mean - line["faces"][0]["logit"].as_f64().unwrap()).abs() < 1e-3);
}

#[test]
fn a_place_that_is_not_known_is_left_out() {
    let mut rig = Rig::new(Links::Json, false, &[]);
    let mut scores = some_scores(0);
    scores.faces[0].bbox = None;
    scores.faces[0].outcome.as_mut().unwrap().map.as_mut().unwrap().region = None;
    rig.push(0, Some(scores)).unwrap();
    let face = &rig.pull().1["faces"][0];
    assert!(face.get("box").is_none() && face["map"].get("region").is_none(), "{face}");
    assert!(face["map"]["values"].is_array() && face["score"].is_number());
}

#[test]
fn every_reason_and_verdict_is_in_the_schema() {
    let mut rig = Rig::new(Links::Json, false, &[]);
    let bbox = Rect::new(0.0, 0.0, 0.5, 0.5);
    let mut faces: Vec<_> = NotScored::ALL.into_iter().map(|r| results::unscored(1, bbox, r)).collect();
    faces.extend(Verdict::ALL.into_iter().map(|v| results::face(2, bbox, v, 0.5)));
    let count = faces.len();
    rig.push(0, Some(results::scores(0, faces))).unwrap();
    assert_eq!(rig.pull().1["faces"].as_array().unwrap().len(), count);
}

#[test]
fn a_frame_without_faces_and_one_without_scores_are_told_apart() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    rig.push(0, Some(results::scores(0, Vec::new()))).unwrap();
    rig.push(1, None).unwrap();
    let mut unreadable = gst::Buffer::with_size(16).unwrap();
    gst::meta::CustomMeta::add(unreadable.get_mut().unwrap(), META_NAME).unwrap();
    rig.video.push(unreadable).unwrap();

    let (_, line) = rig.pull();
    assert_eq!((&line["faces"], line.get("missing")), (&json!([]), None));
    for (frame, missing) in [(1, "no-scores"), (2, "unreadable-scores")] {
        let (_, line) = rig.pull();
        assert_eq!(
            (&line["frame"], &line["missing"], &line["faces"], &line["model"]),
            (&json!(frame), &json!(missing), &Value::Null, &Value::Null)
        );
    }
}

#[test]
fn maps_can_be_left_out() {
    let mut rig = Rig::new(Links::Both, false, &[("maps", "false")]);
    rig.push(0, Some(some_scores(0))).unwrap();
    let (_, line) = rig.pull();
    assert_eq!(line["faces"][0].get("map"), None);
    assert_eq!(line["faces"][0]["score"], json!(0.875));
}

#[test]
fn a_frame_without_a_time_has_a_line_without_one() {
    let mut rig = Rig::new(Links::Both, true, &[]);
    rig.video.push(gst::Buffer::with_size(16).unwrap()).unwrap();
    let (buffer, line) = rig.pull();
    assert_eq!(buffer.pts(), None);
    assert_eq!((&line["pts"], &line["running_time"], &line["utc"]), (&Value::Null, &Value::Null, &Value::Null));
}

#[test]
fn running_time_follows_the_segment() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(pts(10));
    segment.set_base(gst::ClockTime::SECOND);
    rig.video.push_event(gst::event::Segment::new(&segment));
    rig.push(5, None).unwrap();
    rig.push(12, None).unwrap();
    assert_eq!(rig.pull().1["running_time"], Value::Null);
    assert_eq!(rig.pull().1["running_time"], json!(1_080_000_000));
}

#[test]
fn live_frames_have_a_wall_clock_time() {
    let mut rig = Rig::new(Links::Both, true, &[]);
    rig.video.set_time(gst::ClockTime::from_seconds(5)).unwrap();
    let before = SystemTime::now();
    rig.push(75, None).unwrap();
    let after = SystemTime::now();
    // Due at 3 s, two seconds before what the clock shows.
    let (_, line) = rig.pull();
    assert_eq!(line["utc_source"], "clock");
    let utc = utc_of(&line);
    let taken = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap() - Duration::from_secs(2);
    // Written to the microsecond.
    assert!(taken(before) - Duration::from_micros(1) <= utc && utc <= taken(after), "{utc:?}");
}

fn utc_of(line: &Value) -> Duration {
    let time = glib::DateTime::from_iso8601(line["utc"].as_str().unwrap(), None).unwrap();
    Duration::from_secs(time.to_unix() as u64) + Duration::from_micros(time.microsecond() as u64)
}

#[test]
fn the_time_of_the_sender_goes_before_ours() {
    for (caps, nanoseconds) in
        [("timestamp/x-unix", 1_767_225_600_250_000_000), ("timestamp/x-ntp", 3_976_214_400_250_000_000)]
    {
        for live in [false, true] {
            let mut rig = Rig::new(Links::Both, live, &[]);
            let mut buffer = gst::Buffer::with_size(16).unwrap();
            let header = buffer.get_mut().unwrap();
            for (caps, time) in [("timestamp/x-drifting", 1), (caps, nanoseconds)] {
                gst::ReferenceTimestampMeta::add(
                    header,
                    &gst::Caps::new_empty_simple(caps),
                    gst::ClockTime::from_nseconds(time),
                    gst::ClockTime::NONE,
                );
            }
            rig.video.push(buffer).unwrap();
            let (_, line) = rig.pull();
            assert_eq!(line["utc"], "2026-01-01T00:00:00.250000Z", "{caps} {live}");
            assert_eq!(line["utc_source"], "sender");
        }
    }
}

#[test]
fn timecodes_are_written() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    let mut buffer = gst::Buffer::with_size(16).unwrap();
    let flags = gst_video::VideoTimeCodeFlags::DROP_FRAME;
    let timecode =
        gst_video::ValidVideoTimeCode::new(gst::Fraction::new(30000, 1001), None, flags, 10, 1, 2, 3, 0).unwrap();
    gst_video::VideoTimeCodeMeta::add(buffer.get_mut().unwrap(), &timecode);
    rig.video.push(buffer).unwrap();
    assert_eq!(rig.pull().1["timecode"], json!("10:01:02;03"));
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let mut rig = Rig::new(Links::Json, false, &[]);
    rig.push(0, Some(some_scores(0))).unwrap();
    let (_, line) = rig.pull();
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (pointer, value) in [
        ("/schema_version", json!(2)),
        ("/utc", json!("yesterday")),
        ("/faces/0/verdict", json!("maybe")),
        ("/faces/0/score", json!(1.5)),
        ("/faces/1/not_scored", json!("why not")),
        ("/faces", Value::Null),
        ("/size/width", json!(0)),
        ("/model/sha256", json!("none")),
    ] {
        let mut wrong = line.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&wrong), "{pointer}");
    }
    for (pointer, key) in [("", "extra"), ("/faces/0", "not_scored"), ("/faces/0/map", "extra")] {
        let mut wrong = line.clone();
        wrong.pointer_mut(pointer).unwrap()[key] = json!("too-small");
        assert!(!validator.is_valid(&wrong), "{pointer}/{key}");
    }
}
