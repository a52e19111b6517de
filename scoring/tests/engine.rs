//! Frame after frame through the engine, with faces from upstream and a model made on the spot.

use std::time::Duration;

use deepfake_scoring::engine::{Engine, EngineError, EngineOptions, FaceSource, Limits, UpstreamFace};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::score::NotScored;
use deepfake_scoring::verdict::Verdict;

mod models;
use models::{SIDE, brightness};

const WIDTH: usize = 200;
const HEIGHT: usize = 100;

fn engine(limits: Limits) -> Engine {
    let options = EngineOptions { face_source: FaceSource::Upstream, limits, ..EngineOptions::default() };
    Engine::new(&brightness(), options).unwrap()
}

/// Black on the left, white on the right.
fn picture() -> Vec<u8> {
    (0..WIDTH * HEIGHT).flat_map(|i| if i % WIDTH < WIDTH / 2 { [0; 3] } else { [255; 3] }).collect()
}

fn at(x: f32, y: f32, side: f32) -> UpstreamFace {
    UpstreamFace { bbox: Rect::new(x, y, side, side), id: None, confidence: 0.9 }
}

#[test]
fn each_face_gets_the_score_of_its_own_pixels() {
    let pixels = picture();
    let frame = FrameView::rgb(WIDTH, HEIGHT, &pixels).unwrap();
    let mut engine = engine(Limits::default());
    let faces = engine.process(&frame, &[at(10.0, 10.0, 50.0), at(110.0, 10.0, 60.0)], None, None).unwrap();
    assert_eq!(faces.len(), 2);
    let logits: Vec<f32> = faces.iter().map(|f| f.outcome.unwrap().logit).collect();
    // The larger one first.
    assert!((logits[0] - 4.0).abs() < 1e-4 && (logits[1] + 4.0).abs() < 1e-4, "{logits:?}");
    assert_eq!((faces[0].upstream, faces[1].upstream), (Some(1), Some(0)));
    let track = faces[0].track;
    let (width, height, map) = engine.map(track).unwrap();
    assert_eq!((width, height), (SIDE, SIDE));
    assert!(map.iter().all(|v| (v - 4.0).abs() < 1e-4));
}

#[test]
fn a_track_collects_frames_until_it_is_gone() {
    let pixels = picture();
    let frame = FrameView::rgb(WIDTH, HEIGHT, &pixels).unwrap();
    let mut engine = engine(Limits::default());
    let mut first = 0;
    for n in 0..6 {
        // It walks slowly.
        let faces = engine.process(&frame, &[at(110.0 + n as f32, 10.0, 60.0)], None, None).unwrap();
        let expected = if n < 4 { Verdict::Undecided } else { Verdict::Fake };
        assert_eq!(faces[0].verdict, expected, "frame {n}");
        first = faces[0].track;
    }
    assert!(engine.is_followed(first));
    for _ in 0..40 {
        assert!(engine.process(&frame, &[], None, None).unwrap().is_empty());
    }
    assert!(!engine.is_followed(first) && engine.map(first).is_none());
    let faces = engine.process(&frame, &[at(110.0, 10.0, 60.0)], None, None).unwrap();
    assert!(faces[0].track > first);
    assert_eq!(faces[0].verdict, Verdict::Undecided);
}

#[test]
fn only_the_largest_are_scored_and_intervals_keep_the_last_score() {
    let pixels = picture();
    let frame = FrameView::rgb(WIDTH, HEIGHT, &pixels).unwrap();
    let mut engine = engine(Limits { max_faces: 1, score_interval: 2, ..Limits::default() });
    let (small, large) = (at(10.0, 10.0, 50.0), at(110.0, 10.0, 60.0));
    let second = |n: u64| Some(Duration::from_secs(n));
    engine.process(&frame, &[small, large], second(0), None).unwrap();
    let moved = UpstreamFace { bbox: Rect::new(104.0, 10.0, 60.0, 60.0), ..large };
    let faces = engine.process(&frame, &[small, moved], second(1), None).unwrap();
    assert_eq!(faces[1].outcome, Err(NotScored::TooMany));
    let score = faces[0].outcome.unwrap();
    assert_eq!(score.age, Duration::from_secs(1));
    // The map lies where the face is now.
    assert_eq!(score.region, Rect::new(104.0, 10.0, 60.0, 60.0));
    let stats = engine.recorder().stats();
    assert_eq!((stats.frames, stats.faces, stats.scored), (2, 4, 1));
}

#[test]
fn thresholds_that_do_not_belong_together_are_refused() {
    let options = EngineOptions {
        face_source: FaceSource::Upstream,
        fake_above: Some(0.2),
        real_below: Some(0.4),
        ..EngineOptions::default()
    };
    assert!(matches!(Engine::new(&brightness(), options), Err(EngineError::Thresholds { .. })));
}

#[test]
fn boxes_that_are_none_hurt_nobody() {
    let pixels = picture();
    let frame = FrameView::rgb(WIDTH, HEIGHT, &pixels).unwrap();
    let mut engine = engine(Limits { min_face_size: 1, ..Limits::default() });
    let nan = UpstreamFace { bbox: Rect::new(f32::NAN, 0.0, 10.0, 10.0), id: Some(1), confidence: 1.0 };
    let endless = UpstreamFace { bbox: Rect::new(0.0, 0.0, f32::INFINITY, 10.0), id: Some(1), confidence: 1.0 };
    let faces = engine.process(&frame, &[nan, at(110.0, 10.0, 60.0), endless, at(0.0, 0.0, 0.0)], None, None).unwrap();
    assert_eq!(faces.len(), 4);
    assert!(faces[0].outcome.is_ok() && faces[0].track > 0);
    assert!(faces[1..].iter().all(|f| f.outcome == Err(NotScored::InvalidBox) && f.track == 0));
}

#[test]
fn a_face_that_grows_is_scored_before_its_time() {
    let pixels = picture();
    let frame = FrameView::rgb(WIDTH, HEIGHT, &pixels).unwrap();
    let mut engine = engine(Limits { score_interval: 100, ..Limits::default() });
    for side in [50.0, 52.0, 60.0, 62.0, 64.0, 78.0] {
        engine.process(&frame, &[at(110.0, 10.0, side)], None, None).unwrap();
    }
    // At 50, at 62 (half as large again) and at 78.
    assert_eq!(engine.recorder().stats().scored, 3);
}

#[test]
fn a_cut_ends_the_tracks_and_a_flash_does_not() {
    let pixels = picture();
    let other: Vec<u8> = pixels.iter().map(|v| 255 - v).collect();
    let flash: Vec<u8> = pixels.iter().map(|v| v / 4 + 190).collect();
    let mut engine = engine(Limits::default());
    let (white, black) = (vec![255; pixels.len()], vec![0; pixels.len()]);
    let mut tracks = vec![];
    for pixels in [&pixels, &flash, &white, &pixels, &black, &pixels, &other, &black, &other] {
        let frame = FrameView::rgb(WIDTH, HEIGHT, pixels).unwrap();
        tracks.push(engine.process(&frame, &[at(110.0, 10.0, 60.0)], None, None).unwrap()[0].track);
    }
    assert_eq!(tracks, [1, 1, 1, 1, 1, 1, 2, 2, 2]);
}
