//! `deepfakejson`: who says when a frame was taken, and the format of DL Streamer, field by field.

use std::time::{Duration, SystemTime};

use gst::prelude::*;
use rig::{Links, Rig, pts, some_scores, validate};
use serde_json::{Value, json};

mod results;
mod rig;

fn reference(header: &mut gst::BufferRef, caps: &str, nanoseconds: u64) {
    let time = gst::ClockTime::from_nseconds(nanoseconds);
    gst::ReferenceTimestampMeta::add(header, &gst::Caps::new_empty_simple(caps), time, gst::ClockTime::NONE);
}

/// A buffer with the timecode 10:01:02:12 at 25 frames a second.
fn with_timecode(daily_jam: Option<&glib::DateTime>) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(16).unwrap();
    let header = buffer.get_mut().unwrap();
    header.set_pts(pts(0));
    let flags = gst_video::VideoTimeCodeFlags::empty();
    let timecode =
        gst_video::ValidVideoTimeCode::new(gst::Fraction::new(25, 1), daily_jam, flags, 10, 1, 2, 12, 0).unwrap();
    gst_video::VideoTimeCodeMeta::add(header, &timecode);
    buffer
}

#[test]
fn a_timecode_that_knows_the_day_goes_before_our_clock_and_after_the_sender() {
    // Midnight in Paris.
    let midnight = glib::DateTime::from_iso8601("2026-01-02T00:00:00+01:00", None).unwrap();
    let mut rig = Rig::new(Links::Both, true, &[]);
    rig.video.push(with_timecode(Some(&midnight))).unwrap();
    rig.video.push(with_timecode(None)).unwrap();
    let mut buffer = with_timecode(Some(&midnight));
    reference(buffer.get_mut().unwrap(), "timestamp/x-unix", 1_000_000_000);
    rig.video.push(buffer).unwrap();
    let line = rig.record();
    assert_eq!((&line["utc"], &line["utc_source"]), (&json!("2026-01-02T09:01:02.480000Z"), &json!("timecode")));
    assert_eq!(rig.record()["utc_source"], "clock");
    let line = rig.record();
    assert_eq!((&line["utc"], &line["utc_source"]), (&json!("1970-01-01T00:00:01.000000Z"), &json!("sender")));
}

#[test]
fn the_frames_of_an_rtp_sender_have_the_time_of_its_reports() {
    results::init();
    // A sender and a receiver, tied together without a network.
    let pipeline = gst::parse::launch(
        "rtpbin name=send rtcp-sync-send-time=false \
         videotestsrc is-live=true ! video/x-raw,format=UYVY,width=16,height=16,framerate=25/1 ! rtpvrawpay ! send.send_rtp_sink_0 \
         rtpbin name=receive add-reference-timestamp-meta=true latency=0 \
         send.send_rtp_src_0 ! application/x-rtp,media=video,clock-rate=90000,encoding-name=RAW ! receive.recv_rtp_sink_0 \
         send.send_rtcp_src_0 ! receive.recv_rtcp_sink_0 \
         receive. ! rtpvrawdepay ! deepfakejson name=j \
         j.src ! fakesink sync=false \
         j.json ! appsink name=records sync=false",
    )
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let sink = pipeline.by_name("records").unwrap().downcast::<gst_app::AppSink>().unwrap();
    let session =
        pipeline.by_name("send").unwrap().emit_by_name::<Option<glib::Object>>("get-internal-session", &[&0u32]);
    session.unwrap().set_property("rtcp-min-interval", 100_000_000u64);
    pipeline.set_state(gst::State::Playing).unwrap();
    // Until the report is there, the pipeline's own clock has to do.
    let sent = std::iter::from_fn(|| sink.try_pull_sample(gst::ClockTime::from_seconds(60)))
        .take(1000)
        .map(|sample| serde_json::from_slice::<Value>(&sample.buffer().unwrap().map_readable().unwrap()).unwrap())
        .find(|line| line["utc_source"] == "sender")
        .expect("the time of the sender");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    validate(&sent);
    let utc = glib::DateTime::from_iso8601(sent["utc"].as_str().unwrap(), None).unwrap();
    assert!(now.abs_diff(Duration::from_secs(utc.to_unix() as u64)) < Duration::from_secs(60), "{sent}");
}

#[test]
fn dl_streamers_format_has_each_field_where_its_readers_look() {
    let mut rig = Rig::new(Links::Both, false, &[("format", "dlstreamer"), ("stream-name", "rtsp://studio/1")]);
    let scores = some_scores(0);
    rig.push(3, Some(scores.clone())).unwrap();
    let map = scores.faces[0].outcome.as_ref().unwrap().map.as_ref().unwrap();
    let data: Vec<f64> = map.values.iter().map(|v| (f64::from(*v) * 1e4).round() / 1e4).collect();
    assert_eq!(
        rig.line(),
        json!({
            "objects": [
                {
                    "deepfake": { "confidence": 0.875, "label": "fake", "label_id": 1, "model": { "name": "test" } },
                    "detection": {
                        "bounding_box": { "x_max": 0.35, "x_min": 0.1, "y_max": 0.75, "y_min": 0.25 },
                        "confidence": 0.97,
                        "label": "face", "label_id": 0,
                    },
                    "h": 120,
                    "id": 1,
                    "region_id": 1,
                    "roi_type": "face",
                    "tensors": [{
                        "data": data,
                        "dims": [7, 7],
                        "layer_name": "map",
                        "layout": "ANY",
                        "model_name": "test",
                        "name": "deepfake",
                        "precision": "FP32",
                    }],
                    "w": 80,
                    "x": 32,
                    "y": 60,
                },
                {
                    // It reaches outside of the frame.
                    "detection": {
                        "bounding_box": { "x_max": 1.0, "x_min": 0.9, "y_max": 1.0, "y_min": 0.9 },
                        "confidence": 0.6,
                        "label": "face", "label_id": 0,
                    },
                    "h": 24,
                    "id": i32::MAX,
                    "region_id": i32::MAX,
                    "roi_type": "face",
                    "w": 32,
                    "x": 288,
                    "y": 216,
                },
            ],
            "resolution": { "height": 240, "width": 320 },
            "source": "rtsp://studio/1",
            "tags": { "mode": "every-frame", "model_sha256": "0123456789abcdef".repeat(4), "provider": "cpu" },
            "timestamp": 120_000_000,
        })
    );
}

#[test]
fn dl_streamers_format_without_faces_scores_maps_or_times() {
    let mut rig = Rig::new(Links::Both, false, &[("format", "dlstreamer"), ("maps", "false")]);
    rig.push(0, Some(some_scores(0))).unwrap();
    rig.push(1, Some(results::scores(1, vec![]))).unwrap();
    rig.push(2, None).unwrap();
    let mut cropped = some_scores(3);
    cropped.faces.iter_mut().for_each(|face| face.bbox = None);
    rig.push(3, Some(cropped)).unwrap();
    rig.video.push(gst::Buffer::with_size(16).unwrap()).unwrap();
    assert_eq!(rig.line()["objects"][0].get("tensors"), None);
    let line = rig.line();
    assert_eq!((line.get("objects"), &line["tags"]["mode"]), (None, &json!("every-frame")));
    let line = rig.line();
    assert_eq!((line.get("objects"), &line["tags"]), (None, &json!({ "missing": "no-scores" })));
    let face = &rig.line()["objects"][0];
    assert_eq!((face.get("detection"), &face["deepfake"]["label"]), (None, &json!("fake")));
    assert_eq!(["x", "y", "w", "h"].map(|side| &face[side]), [&json!(0), &json!(0), &json!(320), &json!(240)]);
    let line = rig.line();
    assert_eq!(["timestamp", "system_timestamp", "rtp"].map(|name| line.get(name)), [None; 3]);
    let caps = rig.element.static_pad("json").unwrap().current_caps().unwrap();
    assert_eq!(caps.structure(0).unwrap().get::<&str>("schema").unwrap(), "gvametaconvert");
}

#[test]
fn dl_streamers_format_has_the_stream_time_and_the_senders() {
    let mut rig = Rig::new(Links::Both, false, &[("format", "dlstreamer")]);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(pts(10));
    segment.set_time(pts(100));
    rig.video.push_event(gst::event::Segment::new(&segment));
    let mut buffer = gst::Buffer::with_size(16).unwrap();
    let header = buffer.get_mut().unwrap();
    header.set_pts(pts(12));
    reference(header, "timestamp/x-ntp", 3_976_214_400_250_000_000);
    rig.video.push(buffer).unwrap();
    let line = rig.line();
    assert_eq!(line["timestamp"], json!(pts(102).nseconds()));
    assert_eq!(line["system_timestamp"], "2026-01-01T00:00:00.250000Z");
    assert_eq!(line["rtp"], json!({ "sender_ntp_unix_timestamp_ns": 1_767_225_600_250_000_000_u64 }));
}
