//! Points and rectangles in continuous pixel coordinates.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// A point in pixels: (0, 0) is the top left corner of the top left pixel, whose centre is (0.5, 0.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Downwards.
    pub y: f32,
}

/// A rectangle in pixels, in the coordinates of [`Point`]; it may reach outside of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Rect {
    /// A rectangle from its left and top edge, width and height.
    pub const fn new(x: f32, y: f32, w: f32, h: f32) -> Self {
        Self { x, y, w, h }
    }

    /// A rectangle from its corners.
    pub fn from_corners(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Self::new(x0, y0, x1 - x0, y1 - y0)
    }

    /// A rectangle from its middle, width and height.
    pub fn around(centre: Point, w: f32, h: f32) -> Self {
        Self::new(centre.x - w / 2.0, centre.y - h / 2.0, w, h)
    }

    /// Right edge.
    pub fn right(&self) -> f32 {
        self.x + self.w
    }

    /// Bottom edge.
    pub fn bottom(&self) -> f32 {
        self.y + self.h
    }

    /// The middle.
    pub fn center(&self) -> Point {
        Point { x: self.x + self.w / 2.0, y: self.y + self.h / 2.0 }
    }

    /// In square pixels; zero where a side is not positive.
    pub fn area(&self) -> f32 {
        self.w.max(0.0) * self.h.max(0.0)
    }

    /// All four numbers are finite and both sides positive.
    pub fn is_valid(&self) -> bool {
        [self.x, self.y, self.w, self.h].iter().all(|v| v.is_finite()) && self.w > 0.0 && self.h > 0.0
    }

    /// The common part, `None` where there is none.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let r = Self::from_corners(
            self.x.max(other.x),
            self.y.max(other.y),
            self.right().min(other.right()),
            self.bottom().min(other.bottom()),
        );
        r.is_valid().then_some(r)
    }

    /// Intersection over union, in [0, 1].
    pub fn iou(&self, other: &Self) -> f32 {
        let common = self.intersection(other).map_or(0.0, |r| r.area());
        let union = self.area() + other.area() - common;
        if union > 0.0 { (common / union).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The same place after the coordinates were multiplied by (`sx`, `sy`).
    pub fn scaled(&self, sx: f32, sy: f32) -> Self {
        Self::new(self.x * sx, self.y * sy, self.w * sx, self.h * sy)
    }

    /// The square around the same centre whose side is the longer one.
    pub fn squared(&self) -> Self {
        let side = self.w.max(self.h);
        let c = self.center();
        Self::new(c.x - side / 2.0, c.y - side / 2.0, side, side)
    }

    /// Grown by `by` pixels on each side.
    pub fn grown(&self, by: f32) -> Self {
        Self::new(self.x - by, self.y - by, self.w + 2.0 * by, self.h + 2.0 * by)
    }
}

/// A total order of rectangles: by top edge, left edge, width, height. It makes results independent of the order of input.
pub fn by_place(a: &Rect, b: &Rect) -> Ordering {
    let total = |a: f32, b: f32| a.total_cmp(&b);
    total(a.y, b.y).then(total(a.x, b.x)).then(total(a.w, b.w)).then(total(a.h, b.h))
}
