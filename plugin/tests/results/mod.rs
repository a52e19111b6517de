//! What the tests of the elements share.

// Each test program uses its own part.
#![allow(dead_code)]

use std::sync::Once;

use deepfake_scoring::geometry::Rect;
use deepfake_scoring::score::NotScored;
use deepfake_scoring::verdict::Verdict;
use gst::prelude::*;
use gstdeepfake::meta::{Face, FaceScore, Mode, RegionMap, ScoredBy, Scores};

/// Makes the plugin's elements known.
pub(crate) fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gstdeepfake::plugin_register_static().unwrap();
    });
}

/// A face at `bbox` (in parts of the frame) that was scored, with a map over the box grown by a third.
pub(crate) fn face(track: u64, bbox: Rect, verdict: Verdict, score: f64) -> Face {
    let logit = (score / (1.0 - score)).ln();
    // A bump in the middle, less its mean, plus the logit.
    let bump: Vec<f64> = (0..49)
        .map(|i| {
            let (x, y) = (f64::from(i % 7) - 3.0, f64::from(i / 7) - 3.0);
            3.0 * (-(x * x + y * y) / 4.0).exp()
        })
        .collect();
    let mean = bump.iter().sum::<f64>() / 49.0;
    let values = bump.iter().map(|v| (v - mean + logit) as f32).collect();
    let (dx, dy) = (bbox.w / 3.0, bbox.h / 3.0);
    let region = Rect::new(bbox.x - dx, bbox.y - dy, bbox.w + 2.0 * dx, bbox.h + 2.0 * dy);
    let map = Some(RegionMap { width: 7, height: 7, values, region: Some(region) });
    let outcome = Ok(FaceScore { score, frame_score: score, logit, age: gst::ClockTime::ZERO, map });
    Face { track, bbox: Some(bbox), confidence: 0.97, verdict, outcome }
}

/// A face that was not scored.
pub(crate) fn unscored(track: u64, bbox: Rect, reason: NotScored) -> Face {
    Face { track, bbox: Some(bbox), confidence: 0.6, verdict: Verdict::Undecided, outcome: Err(reason) }
}

/// The result of a frame with these faces.
pub(crate) fn scores(frame: u64, faces: Vec<Face>) -> Scores {
    let by = ScoredBy { model: "test".into(), sha256: "0123456789abcdef".repeat(4), provider: "cpu".into() };
    Scores { frame, mode: Mode::EveryFrame, by: by.into(), faces }
}

/// Attaches what `make` gives for each frame (counted from 0) that leaves `pad`.
pub(crate) fn attach(pad: &gst::Pad, make: impl Fn(u64) -> Option<Scores> + Send + Sync + 'static) {
    let count = std::sync::atomic::AtomicU64::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let frame = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let (Some(buffer), Some(scores)) = (info.buffer_mut(), make(frame)) {
            scores.attach(buffer.make_mut()).unwrap();
        }
        gst::PadProbeReturn::Ok
    })
    .unwrap();
}

/// What a user can find out about an element: every property says what it is.
pub(crate) fn assert_described(element: &str) {
    let factory = gst::ElementFactory::find(element).unwrap();
    for key in ["long-name", "klass", "description", "author"] {
        assert!(!factory.metadata(key).unwrap_or_default().is_empty(), "{element}: {key}");
    }
    for property in factory.create().build().unwrap().list_properties() {
        assert!(!property.nick().is_empty() && property.blurb().is_some_and(|b| !b.is_empty()), "{}", property.name());
    }
}
