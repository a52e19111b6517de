//! From the raw numbers of a detector to faces, in pixels of its input. Total: numbers that make no face are left out.

use thiserror::Error;

use super::Face;
use crate::geometry::{Point, Rect};

/// The largest box that is believed, in parts of the input's longer side.
const LARGEST: f32 = 4.0;

/// An output whose length does not belong to the input's size.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{what} has {given} numbers, {expected} belong to an input of {width}x{height}")]
pub struct DecodeError {
    /// The output.
    pub what: &'static str,
    /// Numbers in it.
    pub given: usize,
    /// Numbers that there should be.
    pub expected: usize,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

/// The input that outputs belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

impl Input {
    fn check(self, what: &'static str, given: usize, expected: usize) -> Result<(), DecodeError> {
        if given == expected {
            return Ok(());
        }
        Err(DecodeError { what, given, expected, width: self.width, height: self.height })
    }

    /// Cells in a row and in a column of the grid of that stride.
    fn grid(self, stride: usize) -> (usize, usize) {
        (self.width / stride.max(1), self.height / stride.max(1))
    }

    /// A face, unless it is not finite, empty or absurdly large.
    fn face(self, bbox: Rect, confidence: f32, landmarks: Option<[Point; 5]>) -> Option<Face> {
        let limit = LARGEST * self.width.max(self.height) as f32;
        let near = |v: f32| v.abs() <= 2.0 * limit;
        let sane = bbox.is_valid() && bbox.w <= limit && bbox.h <= limit && near(bbox.x) && near(bbox.y);
        let landmarks = landmarks.filter(|l| l.iter().all(|p| near(p.x) && near(p.y)));
        sane.then(|| Face { bbox, confidence: confidence.min(1.0), landmarks })
    }
}

/// One stride of YuNet; each cell of the grid speaks of one face.
#[derive(Clone, Copy, Debug)]
pub struct YuNetLevel<'a> {
    /// Pixels of the input from cell to cell.
    pub stride: usize,
    /// Probability of a face, one number a cell.
    pub class: &'a [f32],
    /// How well the box fits, one number a cell.
    pub objectness: &'a [f32],
    /// Centre (from the cell's corner) in strides and logarithm of the size in strides, four numbers a cell.
    pub boxes: &'a [f32],
    /// Five points from the cell's corner in strides, ten numbers a cell.
    pub landmarks: &'a [f32],
}

/// YuNet (the version of 2023): the confidence is the geometric mean of class and objectness.
///
/// # Errors
///
/// A length that does not belong to `input`.
pub fn yunet(
    levels: &[YuNetLevel<'_>],
    input: Input,
    confidence: f32,
    faces: &mut Vec<Face>,
) -> Result<(), DecodeError> {
    for level in levels {
        let (columns, rows) = input.grid(level.stride);
        let cells = columns.saturating_mul(rows);
        input.check("the class score", level.class.len(), cells)?;
        input.check("the objectness", level.objectness.len(), cells)?;
        input.check("the box output", level.boxes.len(), cells.saturating_mul(4))?;
        input.check("the landmark output", level.landmarks.len(), cells.saturating_mul(10))?;
        let stride = level.stride as f32;
        for (cell, (class, objectness)) in level.class.iter().zip(level.objectness).enumerate() {
            let score = (class.clamp(0.0, 1.0) * objectness.clamp(0.0, 1.0)).sqrt();
            // Written so that not-a-number fails.
            if score.is_nan() || score < confidence {
                continue;
            }
            let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
            let b = &level.boxes[cell * 4..][..4];
            let (w, h) = (b[2].exp() * stride, b[3].exp() * stride);
            let (x, y) = ((column + b[0]) * stride - w / 2.0, (row + b[1]) * stride - h / 2.0);
            let k = &level.landmarks[cell * 10..][..10];
            let points = points(k, |x, y| Point { x: (column + x) * stride, y: (row + y) * stride });
            faces.extend(input.face(Rect::new(x, y, w, h), score, Some(points)));
        }
    }
    Ok(())
}

/// UltraFace: `scores` are pairs (background, face), `boxes` corners in parts of the input.
///
/// # Errors
///
/// Lengths that do not belong together.
pub fn ultraface(
    scores: &[f32],
    boxes: &[f32],
    input: Input,
    confidence: f32,
    faces: &mut Vec<Face>,
) -> Result<(), DecodeError> {
    input.check("the score output", scores.len(), boxes.len() / 4 * 2)?;
    input.check("the box output", boxes.len(), scores.len() / 2 * 4)?;
    let (w, h) = (input.width as f32, input.height as f32);
    for (score, b) in scores.chunks_exact(2).zip(boxes.chunks_exact(4)) {
        if score[1] >= confidence {
            let bbox = Rect::from_corners(b[0] * w, b[1] * h, b[2] * w, b[3] * h);
            faces.extend(input.face(bbox, score[1], None));
        }
    }
    Ok(())
}

/// One stride of SCRFD; each cell of the grid speaks of one or more faces.
#[derive(Clone, Copy, Debug)]
pub struct ScrfdLevel<'a> {
    /// Pixels of the input from cell to cell.
    pub stride: usize,
    /// Probability of a face, one number for each of a cell's anchors.
    pub scores: &'a [f32],
    /// Distances from the cell's corner to left, top, right and bottom in strides, four numbers an anchor.
    pub boxes: &'a [f32],
    /// Five points from the cell's corner in strides, ten numbers an anchor; not in every model.
    pub landmarks: Option<&'a [f32]>,
}

/// SCRFD, with `anchors` of them in every cell.
///
/// # Errors
///
/// A length that does not belong to `input`.
pub fn scrfd(
    levels: &[ScrfdLevel<'_>],
    anchors: usize,
    input: Input,
    confidence: f32,
    faces: &mut Vec<Face>,
) -> Result<(), DecodeError> {
    for level in levels {
        let (columns, rows) = input.grid(level.stride);
        let total = columns.saturating_mul(rows).saturating_mul(anchors);
        input.check("the score output", level.scores.len(), total)?;
        input.check("the box output", level.boxes.len(), total.saturating_mul(4))?;
        if let Some(landmarks) = level.landmarks {
            input.check("the landmark output", landmarks.len(), total.saturating_mul(10))?;
        }
        let stride = level.stride as f32;
        for (anchor, &score) in level.scores.iter().enumerate() {
            if score.is_nan() || score < confidence {
                continue;
            }
            let cell = anchor / anchors;
            let (x, y) = ((cell % columns * level.stride) as f32, (cell / columns * level.stride) as f32);
            let b = &level.boxes[anchor * 4..][..4];
            let bbox = Rect::from_corners(x - b[0] * stride, y - b[1] * stride, x + b[2] * stride, y + b[3] * stride);
            let points = level
                .landmarks
                .map(|l| points(&l[anchor * 10..][..10], |dx, dy| Point { x: x + dx * stride, y: y + dy * stride }));
            faces.extend(input.face(bbox, score, points));
        }
    }
    Ok(())
}

/// Five points from ten numbers.
fn points(numbers: &[f32], place: impl Fn(f32, f32) -> Point) -> [Point; 5] {
    std::array::from_fn(|i| place(numbers[i * 2], numbers[i * 2 + 1]))
}
