//! Real decoders in front, real frames through the whole line.

use std::sync::{Arc, Mutex};

use deepfake_tests::{init, peer, root, run, sample, scores_of, shared};
use gst::prelude::*;
use gstdeepfake::meta::Scores;

fn check_maps(scores: &[Scores]) {
    for face in scores.iter().flat_map(|s| &s.faces) {
        let Ok(score) = &face.outcome else { continue };
        let map = score.map.as_ref().expect("the bundled model has a map");
        let mean = map.values.iter().map(|v| f64::from(*v)).sum::<f64>() / map.values.len() as f64;
        assert!((mean - score.logit).abs() < 1e-3, "mean {mean}, logit {}", score.logit);
        assert!((0.0..=1.0).contains(&score.score) && (0.0..=1.0).contains(&score.frame_score));
    }
}

#[test]
fn the_sample_has_a_face_that_is_found_and_scored() {
    let sample = sample();
    let scores =
        scores_of(&format!("filesrc location={} ! decodebin ! deepfakescore ! fakesink name=out", sample.display()));
    let scores = scores.unwrap();
    check_maps(&scores);
    let scored = scores.iter().filter(|s| s.faces.iter().any(|f| f.outcome.is_ok())).count();
    assert!(scored * 2 > scores.len(), "{scored} of {} frames have a scored face", scores.len());
    // Nobody else is in the picture.
    assert!(scores.iter().all(|s| s.faces.len() <= 1));
    assert!(scores.iter().enumerate().all(|(i, s)| s.frame == i as u64));
}

/// The first frames of the sample, scaled, through an encoder into a container. The file, and how many frames a decoder
/// alone gets out of it again.
fn encoded(folder: &std::path::Path, name: &str, size: (u32, u32), tail: &str) -> (String, usize) {
    init();
    let path = folder.join(name);
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={} ! decodebin ! identity eos-after=12 single-segment=true ! videoconvertscale add-borders=true \
         ! video/x-raw,width={},height={},pixel-aspect-ratio=1/1 ! identity ! {tail} ! filesink location={}",
        sample().display(),
        size.0,
        size.1,
        path.display()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    run(&pipeline).unwrap();
    let decoder = gst::parse::launch(&format!("filesrc location={} ! decodebin ! fakesink name=out", path.display()));
    let decoder = decoder.unwrap().downcast::<gst::Pipeline>().unwrap();
    let times = times_at(&decoder, "out");
    run(&decoder).unwrap();
    let count = times.lock().unwrap().len();
    (path.display().to_string(), count)
}

/// The timestamps of the buffers that reach an element.
fn times_at(pipeline: &gst::Pipeline, name: &str) -> Arc<Mutex<Vec<Option<gst::ClockTime>>>> {
    let times = Arc::new(Mutex::new(vec![]));
    let sink = times.clone();
    let pad = pipeline.by_name(name).unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        sink.lock().unwrap().push(info.buffer().unwrap().pts());
        gst::PadProbeReturn::Ok
    });
    times
}

#[test]
fn every_usual_decoder_at_every_shape() {
    let folder = tempfile::tempdir().unwrap();
    for (name, size, tail) in [
        ("h264.mp4", (640, 360), "x264enc speed-preset=ultrafast ! mp4mux"),
        ("h264-10.mkv", (640, 360), "video/x-raw,format=I420_10LE ! x264enc speed-preset=ultrafast ! matroskamux"),
        ("h265.mp4", (360, 640), "x265enc speed-preset=ultrafast ! h265parse ! mp4mux"),
        ("vp9.webm", (479, 361), "vp9enc deadline=1 cpu-used=8 ! webmmux"),
        ("mpeg4.mkv", (320, 480), "avenc_mpeg4 ! matroskamux"),
        ("mjpeg.mkv", (361, 479), "jpegenc ! matroskamux"),
        ("interlaced.mkv", (720, 576), "x264enc speed-preset=ultrafast interlaced=true ! matroskamux"),
    ] {
        let (file, count) = encoded(folder.path(), name, size, tail);
        let scores = scores_of(&format!("filesrc location={file} ! decodebin ! deepfakescore ! fakesink name=out"));
        let scores = scores.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(count >= 10 && scores.len() == count, "{name}: {count} frames decoded, {} scored", scores.len());
        let scored = scores.iter().filter(|s| s.faces.iter().any(|f| f.outcome.is_ok())).count();
        assert!(scored + 1 >= count, "{name}: {scored} of {count} frames have a scored face");
        check_maps(&scores);
    }
}

#[test]
fn a_variable_frame_rate_loses_nothing() {
    init();
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=40 ! video/x-raw,width=320,height=240,framerate=50/1 \
         ! identity drop-probability=0.4 ! identity name=before ! deepfakescore face-source=frame ! fakesink name=out",
    );
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let (before, after) = (times_at(&pipeline, "before"), times_at(&pipeline, "out"));
    run(&pipeline).unwrap();
    let before = before.lock().unwrap();
    assert!(before.len() > 5 && before.len() < 40);
    assert_eq!(*before, *after.lock().unwrap());
}

/// In every STEP-th frame an independent run of YuNet looks for faces.
const STEP: usize = 10;

#[test]
fn every_frame_is_told_and_faces_are_found_where_opencv_finds_them() {
    let (Some(videos), Some(yunet)) = (shared("videos"), shared("models/yunet_n_dynamic.onnx")) else { return };
    let mut files: Vec<_> = std::fs::read_dir(videos)
        .unwrap()
        .map(|e| e.unwrap().path().canonicalize().unwrap().display().to_string())
        .filter(|p| p.ends_with(".mp4"))
        .collect();
    files.sort();
    let yunet = yunet.display().to_string();
    let step = STEP.to_string();
    let arguments: Vec<&str> = [yunet.as_str(), &step].into_iter().chain(files.iter().map(String::as_str)).collect();
    let Some(peer) = peer("yunet.py", &arguments) else { return };
    for file in &files {
        let scores = scores_of(&format!(
            "filesrc location={file} ! decodebin ! deepfakescore face-model={yunet} min-face-size=1 ! fakesink name=out"
        ));
        let scores = scores.unwrap();
        check_maps(&scores);
        assert_eq!(scores.len() as u64, peer[file]["frames"].as_u64().unwrap(), "{file}");
        let found = peer[file]["found"].as_object().unwrap();
        let theirs = found.iter().filter(|(_, f)| !f.as_array().unwrap().is_empty());
        let theirs: Vec<usize> = theirs.map(|(frame, _)| frame.parse().unwrap()).collect();
        let ours = theirs.iter().filter(|f| !scores[**f].faces.is_empty()).count();
        let name = file.rsplit('/').next().unwrap_or(file);
        println!("{name}: {} frames, of {} with a face for OpenCV {ours} have one here", scores.len(), theirs.len());
        assert!(ours as f64 >= 0.95 * theirs.len() as f64, "{file}: {ours} of {}", theirs.len());
    }
}

#[test]
fn the_workspace_is_where_the_tests_think() {
    assert!(root().join("Cargo.lock").exists());
}
