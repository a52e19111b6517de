//! Non-maximum suppression: one box a face.

use std::cmp::Ordering;

use super::Face;
use crate::geometry::by_place;

/// More candidates than this are never looked at: the surest are kept. It bounds the work on a hostile output.
pub const MAX_CANDIDATES: usize = 1024;

/// Keeps the surest of boxes that overlap by more than `iou`, and orders them by falling confidence. Allocates nothing.
pub fn suppress(faces: &mut Vec<Face>, iou: f32) {
    if faces.len() > MAX_CANDIDATES {
        faces.select_nth_unstable_by(MAX_CANDIDATES, surest_first);
        faces.truncate(MAX_CANDIDATES);
    }
    faces.sort_unstable_by(surest_first);
    let mut kept = 0;
    for i in 0..faces.len() {
        let face = faces[i];
        if faces[..kept].iter().all(|k| k.bbox.iou(&face.bbox) <= iou) {
            faces[kept] = face;
            kept += 1;
        }
    }
    faces.truncate(kept);
}

/// By confidence, then by place: the result does not depend on the order of equals.
fn surest_first(a: &Face, b: &Face) -> Ordering {
    b.confidence.total_cmp(&a.confidence).then_with(|| by_place(&a.bbox, &b.bbox))
}
