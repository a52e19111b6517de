//! Metadata on a buffer, which any element may have written.

use gstdeepfake::meta::{BOXES_META_NAME, META_NAME, Scores};
use gstdeepfake::record::{FrameInfo, Record};

use crate::input::Input;

/// Both metas, sound but for some of their fields, read and written as lines.
pub fn meta(data: &[u8]) {
    gst::init().expect("GStreamer starts");
    gstdeepfake::meta::register();
    let mut input = Input(data);
    let faces = input.below(4);
    let mut buffer = gst::Buffer::new();
    let Some(header) = buffer.get_mut() else { return };
    if let Ok(mut meta) = gst::meta::CustomMeta::add(header, META_NAME) {
        let s = meta.mut_structure();
        let input = &mut input;
        field(input, s, "version", 1u32);
        field(input, s, "frame", 7u64);
        let mode = input.pick(&["every-frame", "live", "?"]);
        field(input, s, "mode", mode);
        field(input, s, "skipped", 3u64);
        field(input, s, "model-name", "model");
        field(input, s, "model-sha256", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        field(input, s, "provider", "cpu");
        let list = gst::Array::new((0..faces).map(|_| face(input)));
        field(input, s, "faces", list);
    }
    if input.byte() < 200
        && let Ok(mut meta) = gst::meta::CustomMeta::add(header, BOXES_META_NAME)
    {
        let s = meta.mut_structure();
        field(&mut input, s, "frame", 7u64);
        let count = if input.byte() < 200 { faces } else { input.below(5) };
        let list = gst::Array::new((0..count).map(|_| place(&mut input)));
        field(&mut input, s, "boxes", list);
    }
    check(&buffer, (1 + input.u32() % 16_384, 1 + input.u32() % 16_384));
}

/// Sets a field to what belongs there, or to something else, or to nothing.
fn field<T: Into<glib::Value> + Send>(input: &mut Input<'_>, s: &mut gst::StructureRef, name: &str, sound: T) {
    match input.byte() {
        0..6 => {}
        6..12 => s.set(name, input.f64()),
        12..18 => s.set(name, input.text(20)),
        18..24 => s.set(name, input.u64()),
        24..30 => s.set(name, input.u32()),
        30..36 => s.set(name, input.u32() as i32),
        36..40 => s.set(name, gst::Array::new([input.f64(), input.f64()])),
        40..44 => s.set(name, gst::Structure::new_empty("odd")),
        _ => s.set(name, sound),
    }
}

fn face(input: &mut Input<'_>) -> gst::Structure {
    let mut s = gst::Structure::new_empty("face");
    let part = |input: &mut Input<'_>| if input.byte() < 200 { f64::from(input.byte()) / 255.0 } else { input.f64() };
    field(input, &mut s, "track", 1u64);
    let confidence = part(input);
    field(input, &mut s, "face-confidence", confidence);
    let verdict = input.pick(&["fake", "real", "undecided", "odd"]);
    field(input, &mut s, "verdict", verdict);
    if input.byte() < 64 {
        let reason = input.pick(&["too-small", "pending", "odd"]);
        field(input, &mut s, "not-scored", reason);
    }
    let (score, frame_score, logit) = (part(input), part(input), input.f64());
    field(input, &mut s, "score", score);
    field(input, &mut s, "frame-score", frame_score);
    field(input, &mut s, "logit", logit);
    let age = input.u64();
    field(input, &mut s, "age", age);
    let (width, height) = (input.u32() % 5, input.u32() % 5);
    field(input, &mut s, "map-width", width);
    field(input, &mut s, "map-height", height);
    let values: Vec<f64> = (0..width * height).map(|_| input.f64()).collect();
    field(input, &mut s, "map", gst::Array::new(values));
    s
}

fn place(input: &mut Input<'_>) -> gst::Structure {
    let mut s = gst::Structure::new_empty("box");
    for name in ["x", "y", "w", "h", "map-x", "map-y", "map-w", "map-h"] {
        let value = input.f64();
        field(input, &mut s, name, value);
    }
    s
}

/// What is read is what readers are promised, and can be written.
fn check(buffer: &gst::BufferRef, size: (u32, u32)) {
    let scores = Record::scores_of(buffer);
    if let Ok(scores) = &scores {
        scores.faces.iter().for_each(check_face);
        // What is read can be put on another buffer, and is the same there.
        let mut other = gst::Buffer::new();
        if let Some(header) = other.get_mut() {
            assert!(scores.attach(header).is_ok());
        }
        assert_eq!(Scores::from_buffer(&other).as_ref(), Some(scores));
    }
    let frame =
        FrameInfo { number: 0, timecode: None, pts: None, running_time: None, stream_time: None, utc: None, size };
    let record = Record { frame, scores };
    let mut lines = vec![];
    record.write_line(Some("fuzz"), true, &mut lines);
    let line: serde_json::Value = serde_json::from_slice(&lines).expect("a record is JSON");
    for face in line["faces"].as_array().into_iter().flatten() {
        assert!(!has_null(face), "{face}");
    }
    lines.clear();
    gstdeepfake::dlstreamer::write_line(&record, Some("fuzz"), true, &mut lines);
    let line: serde_json::Value = serde_json::from_slice(&lines).expect("a line is JSON");
    for object in line["objects"].as_array().into_iter().flatten() {
        assert!(!has_null(object), "{object}");
    }
}

fn check_face(face: &gstdeepfake::meta::Face) {
    let part = |v: f64| (0.0..=1.0).contains(&v);
    assert!(part(face.confidence), "{face:?}");
    if let Some(b) = face.bbox {
        assert!([b.x, b.y, b.w, b.h].iter().all(|v| v.is_finite()) && b.w >= 0.0 && b.h >= 0.0, "{face:?}");
    }
    if let Ok(score) = &face.outcome {
        assert!(part(score.score) && part(score.frame_score) && score.logit.is_finite(), "{face:?}");
        if let Some(map) = &score.map {
            assert_eq!(map.values.len() as u64, u64::from(map.width) * u64::from(map.height));
            assert!(!map.values.is_empty() && map.values.iter().all(|v| v.is_finite()));
        }
    }
}

/// Numbers that are none are written as null.
fn has_null(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Array(all) => all.iter().any(has_null),
        serde_json::Value::Object(all) => all.values().any(has_null),
        _ => false,
    }
}
