//! What each cell of the network should say about a scene.
//!
//! A face belongs to the strides whose range of sizes it falls into, and there to the cells whose corners lie near its centre (centre
//! sampling; Tian et al., "FCOS", 2019). Cells of two faces belong to the smaller one.

use std::ops::Range;

use super::scene::Target;
use crate::net::locator::STRIDES;

/// Sides (geometric means) of the faces of each stride, in pixels of the scene. They overlap, so that a growing face is handed over
/// from one stride to the next and not dropped between them.
const RANGES: [Range<f32>; 3] = [0.0..44.0, 28.0..112.0, 72.0..f32::MAX];

/// How near in strides a cell's corner must be to the centre of its face, across and down.
const RADIUS: f32 = 1.2;

/// In unwanted faces nothing is learned out to this part of their sides around the centre.
const IGNORED: f32 = 0.5;

/// The wishes for the cells of one scene, in the order of [`LocatorNet::forward`](crate::net::locator::LocatorNet::forward).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells {
    /// 1 where a face is, else 0.
    pub face: Vec<f32>,
    /// 0 where nothing is learned, else 1.
    pub counts: Vec<f32>,
    /// Centre and size in pixels of the scene, four numbers a cell; 1 wide and high where no face is.
    pub boxes: Vec<f32>,
    /// Ten numbers a cell, in pixels of the scene.
    pub landmarks: Vec<f32>,
    /// 1 where landmarks are known, else 0.
    pub marked: Vec<f32>,
}

/// The wishes for a scene of `size` by `size` pixels.
pub fn cells(faces: &[Target], size: usize) -> Cells {
    let total = STRIDES.iter().map(|s| (size / s) * (size / s)).sum();
    let mut cells = Cells {
        face: vec![0.0; total],
        counts: vec![1.0; total],
        boxes: [0.0, 0.0, 1.0, 1.0].repeat(total),
        landmarks: vec![0.0; total * 10],
        marked: vec![0.0; total],
    };
    // Unwanted ones first: a wanted face wins; then the largest first: the smaller face wins.
    let mut order: Vec<&Target> = faces.iter().collect();
    order.sort_by(|a, b| a.wanted.cmp(&b.wanted).then(b.bbox.area().total_cmp(&a.bbox.area())));
    for face in order {
        let mut first = 0;
        for (stride, range) in STRIDES.into_iter().zip(RANGES) {
            let side = size / stride;
            mark(&mut cells, face, first, side, stride as f32, &range);
            first += side * side;
        }
    }
    cells
}

fn mark(cells: &mut Cells, face: &Target, first: usize, side: usize, stride: f32, range: &Range<f32>) {
    let b = face.bbox;
    let centre = b.center();
    let here = range.contains(&b.area().sqrt());
    if face.wanted && !here {
        return;
    }
    // In a face smaller than a cell at least the nearest corner is its.
    let (rx, ry) = if face.wanted {
        let near = |part: f32| (RADIUS * stride).min(0.5 * part).max(0.5 * stride);
        (near(b.w), near(b.h))
    } else {
        (IGNORED * b.w, IGNORED * b.h)
    };
    let cells_within = |c: f32, r: f32| -> Range<usize> {
        let low = ((c - r) / stride).ceil().max(0.0) as usize;
        let high = ((c + r) / stride).floor() + 1.0;
        low..(high.max(0.0) as usize).min(side)
    };
    for row in cells_within(centre.y, ry) {
        for column in cells_within(centre.x, rx) {
            let cell = first + row * side + column;
            if !face.wanted {
                cells.counts[cell] = 0.0;
                continue;
            }
            cells.counts[cell] = 1.0;
            cells.face[cell] = 1.0;
            cells.boxes[cell * 4..][..4].copy_from_slice(&[centre.x, centre.y, b.w, b.h]);
            cells.marked[cell] = f32::from(u8::from(face.landmarks.is_some()));
            if let Some(points) = face.landmarks {
                for (to, p) in cells.landmarks[cell * 10..][..10].chunks_exact_mut(2).zip(points) {
                    to.copy_from_slice(&[p.x, p.y]);
                }
            }
        }
    }
}
