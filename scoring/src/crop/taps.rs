//! Which samples make up each target pixel along one axis, and with what weight.
//!
//! Shrinking, a target pixel is the mean over its extent, samples on its borders counting by the part of them that lies inside:
//! OpenCV's `INTER_AREA`. Enlarging, it is interpolated linearly between the two nearest centres: OpenCV's
//! `INTER_LINEAR`. At equal sizes the two are the same.
//!
//! Subsampled chroma has its weights composed: those of the linear interpolation that would bring it to the grid of luma, then
//! those of luma. Both are linear, so this is exactly "upsample, then resample" without the picture in between.

use super::grid::{Axis, Grid};

/// Weights below this are left out; 255 times it is far below what a test can see.
const NOTHING: f64 = 1e-8;

/// The weights of one axis: as many samples for each target pixel.
#[derive(Debug, Default)]
pub(super) struct Taps {
    /// Samples to a target pixel.
    pub(super) len: usize,
    /// The first sample of each target pixel. The last ones of a target pixel may lie beyond [`Taps::end`], with weight zero.
    pub(super) starts: Vec<usize>,
    /// [`Taps::len`] for each target pixel.
    pub(super) weights: Vec<f32>,
    /// The first sample that is needed at all.
    pub(super) begin: usize,
    /// One past the last sample that is needed at all.
    pub(super) end: usize,
    /// Scratch: windows of different lengths, before they are brought to the same.
    ragged: Vec<f64>,
    /// Scratch: where in `ragged` each window ends.
    ends: Vec<usize>,
}

/// The target pixels of an axis: `targets` of them over `length` pixels of the frame from `start` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: f64,
    pub(super) length: f64,
    pub(super) targets: usize,
}

impl Span {
    /// What target pixel `target` takes of the samples of `grid`: calls `each` with indices, ascending by one, and weights.
    fn window(&self, grid: &Grid, target: usize, mut each: impl FnMut(usize, f64)) {
        let step = self.length / self.targets as f64;
        let from = grid.index_of(self.start + step * target as f64);
        let scale = step / grid.pitch;
        if scale < 1.0 {
            let centre = from + scale / 2.0;
            let below = centre.floor();
            let part = centre - below;
            let (a, b) = (grid.clamp(below as i64), grid.clamp(below as i64 + 1));
            if a == b {
                each(a, 1.0);
            } else {
                each(a, 1.0 - part);
                each(b, part);
            }
            return;
        }
        // Sample i covers i - 1/2 to i + 1/2; the outermost ones reach to infinity, which replicates them.
        let to = from + scale;
        let last = grid.count - 1;
        let (first_met, last_met) = (grid.clamp((from + 0.5).floor() as i64), grid.clamp((to - 0.5).ceil() as i64));
        for i in first_met..=last_met {
            let left = if i == 0 { from } else { from.max(i as f64 - 0.5) };
            let right = if i == last { to } else { to.min(i as f64 + 0.5) };
            each(i, (right - left).max(0.0) / scale);
        }
    }
}

impl Taps {
    /// For the samples of luma (or R, G, B).
    pub(super) fn set_luma(&mut self, axis: &Axis, span: &Span) {
        self.set(span.targets, |target, window| {
            let mut first = None;
            span.window(&axis.luma, target, |i, weight| {
                first.get_or_insert(i);
                window.push(weight);
            });
            first.unwrap_or(0)
        });
    }

    /// For the samples of chroma.
    pub(super) fn set_chroma(&mut self, axis: &Axis, span: &Span) {
        self.set(span.targets, |target, window| {
            let base = window.len();
            let mut first = None;
            span.window(&axis.luma, target, |i, weight| {
                let at = axis.chroma.index_of(axis.luma.position_of(i));
                let below = at.floor();
                let part = at - below;
                for (index, weight) in [(below as i64, weight * (1.0 - part)), (below as i64 + 1, weight * part)] {
                    let index = axis.chroma.clamp(index);
                    let at = base + index - *first.get_or_insert(index);
                    if window.len() <= at {
                        window.resize(at + 1, 0.0);
                    }
                    window[at] += weight;
                }
            });
            first.unwrap_or(0)
        });
    }

    /// Collects the windows that `window` appends its weights of, and the index of whose first sample it returns.
    fn set(&mut self, targets: usize, mut window: impl FnMut(usize, &mut Vec<f64>) -> usize) {
        self.ragged.clear();
        self.ends.clear();
        self.starts.clear();
        (self.len, self.begin, self.end) = (1, usize::MAX, 0);
        for target in 0..targets {
            let base = self.ragged.len();
            let mut first = window(target, &mut self.ragged);
            while self.ragged.len() > base + 1 && self.ragged.last().is_some_and(|w| *w < NOTHING) {
                self.ragged.pop();
            }
            let empty = self.ragged[base..].iter().take_while(|w| **w < NOTHING).count();
            let empty = empty.min(self.ragged.len() - base - 1);
            self.ragged.drain(base..base + empty);
            first += empty;
            let len = self.ragged.len() - base;
            self.len = self.len.max(len);
            self.begin = self.begin.min(first);
            self.end = self.end.max(first + len);
            self.starts.push(first);
            self.ends.push(self.ragged.len());
        }
        self.weights.clear();
        let mut from = 0;
        for &to in &self.ends {
            self.weights.extend(self.ragged[from..to].iter().map(|w| *w as f32));
            let target_end = self.weights.len() + self.len - (to - from);
            self.weights.resize(target_end, 0.0);
            from = to;
        }
    }
}
