//! Faces as a broken or hostile upstream tells them, through the whole chain: scored or not, drawn, written.

use std::sync::mpsc::channel;

use deepfake_scoring::score::NotScored;
use gst::prelude::*;
use gst_video::{VideoRegionOfInterestMeta, VideoRegionOfInterestMeta as Roi};

mod common;
mod play;
mod results;
mod rig;

use common::brightness_model;
use play::play_with;

const SIZE: (u32, u32) = (320, 240);

type Region = (u32, u32, u32, u32);

/// Regions that are no faces, or hardly.
fn regions() -> Vec<Region> {
    let mut all =
        vec![(0, 0, 0, 0), (5, 5, 1, 1), (10, 10, 0, 50), (10, 10, 50, 0), (319, 239, 1, 1), (320, 240, 1, 1)];
    let edges = [0, 1, 319, 320, 1 << 15, 1 << 24, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX - 1, u32::MAX];
    for a in edges {
        for b in edges {
            all.extend([(a, 10, b, 50), (10, a, 50, b), (a, a, b, b), (a, b, 100, 100), (0, 0, a, b)]);
        }
    }
    all
}

/// What else may be wrong with a region: names and confidences of odd types and values.
fn spoil(roi: &mut gst::MetaRefMut<'_, Roi, gst::meta::Standalone>, n: usize) {
    let confidence = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 2.0, 0.5, 1e300][n % 7];
    roi.add_param(gst::Structure::builder("detection").field("confidence", confidence).field("x_min", "left").build());
    let id = match n % 5 {
        0 => gst::Structure::builder("object_id").field("id", -7),
        1 => gst::Structure::builder("object_id").field("id", i32::MAX),
        2 => gst::Structure::builder("object_id").field("id", "seven"),
        3 => gst::Structure::builder("object_id").field("id", u64::MAX),
        // The same for many.
        _ => gst::Structure::builder("object_id").field("id", 1),
    };
    roi.add_param(id.build());
    // As if it had been scored already, by somebody else.
    roi.add_param(gst::Structure::builder("deepfake").field("score", "high").field("label", n as i32).build());
}

/// Plays frames with these regions through all elements, and gives the records.
fn records(
    mode: &str,
    frames: usize,
    regions: impl Fn(usize) -> Vec<Region> + Send + Sync + 'static,
) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    let model = brightness_model(folder.path());
    let (width, height) = SIZE;
    let text = format!(
        "videotestsrc name=v num-buffers={frames} ! video/x-raw,format=NV12,width={width},height={height} \
         ! deepfakescore mode={mode} face-source=auto min-face-size=1 model={} ! deepfakeoverlay ! deepfakejson name=j \
         ! fakesink name=out sync=false j.json ! fakesink name=records sync=false",
        model.display()
    );
    let (tell, told) = channel();
    let played = play_with(&text, |pipeline| {
        let pad = |name: &str, pad: &str| pipeline.by_name(name).unwrap().static_pad(pad).unwrap();
        let count = std::sync::atomic::AtomicUsize::new(0);
        pad("v", "src").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let frame = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let buffer = info.buffer_mut().unwrap().make_mut();
            for (n, rect) in regions(frame).into_iter().enumerate() {
                spoil(&mut VideoRegionOfInterestMeta::add(buffer, "face", rect), n + frame);
            }
            // Not ours, whatever they say.
            VideoRegionOfInterestMeta::add(buffer, "", (0, 0, u32::MAX, u32::MAX));
            gst::PadProbeReturn::Ok
        });
        pad("records", "sink").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            tell.send(rig::one_line(info.buffer().unwrap())).unwrap();
            gst::PadProbeReturn::Ok
        });
    });
    assert!(played.eos, "{mode}: {:?}", played.errors);
    assert_eq!(played.frames.len(), frames);
    told.iter().collect()
}

#[test]
fn regions_that_are_no_faces_are_told_as_such_and_hurt_nobody() {
    for mode in ["every-frame", "live"] {
        let records = records(mode, 6, |frame| {
            let mut all = regions();
            // In another order in each frame, so that tracks meet all of it.
            let by = frame * 31 % all.len();
            all.rotate_left(by);
            all
        });
        assert_eq!(records.len(), 6);
        for record in &records {
            let faces = record["faces"].as_array().unwrap();
            assert_eq!(faces.len(), regions().len());
            for face in faces {
                let part = |key: &str| face["box"][key].as_f64().unwrap_or_else(|| panic!("{face}"));
                let (x, y, w, h) = (part("x"), part("y"), part("w"), part("h"));
                let outside = w < 1.0 || h < 1.0 || x >= SIZE.0.into() || y >= SIZE.1.into();
                let invalid = face["not_scored"] == NotScored::InvalidBox.name();
                let absurd = w.max(h) > 4.0 * f64::from(SIZE.0);
                assert_eq!(invalid, outside || absurd, "{face}");
                assert!((0.0..=1.0).contains(&face["face_confidence"].as_f64().unwrap()));
            }
        }
        if mode == "every-frame" {
            let scored = |r: &serde_json::Value| r["faces"].as_array().unwrap().iter().any(|f| f["score"].is_number());
            assert!(records.iter().all(scored), "the others are scored all the same");
        }
    }
}

#[test]
fn frames_full_of_faces_that_come_and_go_and_change_names() {
    for mode in ["every-frame", "live"] {
        let records = records(mode, 12, |frame| {
            let count = [500, 0, 1, 200, 128, 129][frame % 6];
            let at = |n: usize| {
                ((n * 13 + frame * 7) as u32 % SIZE.0, (n * 29) as u32 % SIZE.1, 8 + n as u32 % 60, 8 + n as u32 % 50)
            };
            (0..count).map(at).collect()
        });
        for (frame, record) in records.iter().enumerate() {
            // Without regions the detector is asked, which finds nobody in bars.
            let expected = [500, 0, 1, 200, 128, 129][frame % 6];
            let faces = record["faces"].as_array();
            let found = faces.map_or(0, Vec::len);
            assert!(found == expected || (expected == 0 && mode == "live"), "{mode} {frame}: {found}");
            let scored = faces.into_iter().flatten().filter(|f| f["score"].is_number()).count();
            assert!(scored <= 32, "{mode} {frame}: {scored}");
            let mut tracks: Vec<_> =
                faces.into_iter().flatten().filter_map(|f| f["track"].as_u64()).filter(|t| *t != 0).collect();
            let all = tracks.len();
            tracks.sort_unstable();
            tracks.dedup();
            assert_eq!(tracks.len(), all, "{mode} {frame}: two faces of a frame are not one person");
        }
    }
}
