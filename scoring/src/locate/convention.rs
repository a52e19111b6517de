//! What a detector means by the box of a face, and the way from there to the one reference.

use crate::geometry::Rect;

/// How a detector's boxes lie relative to those of the reference, [`WiderFace`](crate::contract::BoxReference::WiderFace):
/// a shift of the centre and a factor for each side, all in parts of the detector's box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convention {
    /// From the centre of the detector's box to that of the reference, to the right, in widths.
    pub dx: f32,
    /// Downwards, in heights.
    pub dy: f32,
    /// Width of the reference in widths.
    pub sw: f32,
    /// Height of the reference in heights.
    pub sh: f32,
}

impl Convention {
    /// Boxes as WIDER FACE is labelled: YuNet, SCRFD.
    pub const WIDER_FACE: Self = Self { dx: 0.0, dy: 0.0, sw: 1.0, sh: 1.0 };

    /// UltraFace: medians against YuNet's boxes, over 2144 faces of at least 48 pixels in frames and portraits, measured with
    /// `examples/box_conventions.rs`.
    pub const ULTRAFACE: Self = Self { dx: -0.002, dy: 0.008, sw: 1.012, sh: 1.007 };
    /// The same face's box in the reference convention.
    pub fn to_reference(&self, bbox: &Rect) -> Rect {
        let centre = bbox.center();
        let (w, h) = (bbox.w * self.sw, bbox.h * self.sh);
        Rect::new(centre.x + self.dx * bbox.w - w / 2.0, centre.y + self.dy * bbox.h - h / 2.0, w, h)
    }

    /// The convention that maps `theirs` to `reference`, two boxes of one face.
    pub fn between(theirs: &Rect, reference: &Rect) -> Self {
        let (a, b) = (theirs.center(), reference.center());
        Self {
            dx: (b.x - a.x) / theirs.w,
            dy: (b.y - a.y) / theirs.h,
            sw: reference.w / theirs.w,
            sh: reference.h / theirs.h,
        }
    }
}
