//! What a face detector's network gives.

use deepfake_scoring::locate::decode::{self, Input as Size, ScrfdLevel, YuNetLevel};
use deepfake_scoring::locate::{Face, nms};

use crate::input::Input;

/// Outputs of any length with any numbers, of an input of any size.
pub fn decode(data: &[u8]) {
    let mut input = Input(data);
    let size = Size { width: input.below(100), height: input.below(100) };
    let (stride, anchors) = (input.below(40), input.below(4));
    let (confidence, iou) = (input.f32(), input.f32());
    let cells = (size.width / stride.max(1)) * (size.height / stride.max(1));
    // As many as belong there, mostly: else nothing behind the lengths is reached.
    let odd = input.byte() < 32;
    let mut numbers = |per: usize| {
        let count = if odd { input.below(300) } else { (cells * per).min(20_000) };
        input.floats(count)
    };
    let (class, objectness, boxes, landmarks) = (numbers(1), numbers(1), numbers(4), numbers(10));
    let mut faces = vec![];
    let level = YuNetLevel { stride, class: &class, objectness: &objectness, boxes: &boxes, landmarks: &landmarks };
    if decode::yunet(&[level], size, confidence, &mut faces).is_ok() {
        check(&mut faces, iou);
    }
    faces.clear();
    let (scores, boxes, landmarks) = (numbers(anchors), numbers(4 * anchors), numbers(10 * anchors));
    let level = ScrfdLevel { stride, scores: &scores, boxes: &boxes, landmarks: Some(&landmarks) };
    if decode::scrfd(&[level], anchors, size, confidence, &mut faces).is_ok() {
        check(&mut faces, iou);
    }
    faces.clear();
    let (scores, boxes) = (numbers(2), numbers(4));
    if decode::ultraface(&scores, &boxes, size, confidence, &mut faces).is_ok() {
        check(&mut faces, iou);
    }
}

/// Boxes are boxes, confidences probabilities at most, and what is left does not overlap.
fn check(faces: &mut Vec<Face>, iou: f32) {
    for face in faces.iter() {
        assert!(face.bbox.is_valid() && face.confidence <= 1.0, "{face:?}");
        assert!(face.landmarks.iter().flatten().all(|p| p.x.is_finite() && p.y.is_finite()), "{face:?}");
    }
    nms::suppress(faces, iou);
    assert!(faces.is_sorted_by(|a, b| a.confidence >= b.confidence));
}
