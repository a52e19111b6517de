//! SURF features of a window, and the small networks that look at them.

use super::model::{Layer, Network, SURF_LENGTH, WINDOW};

/// Gradients along x where the one along y is (not) negative, their magnitudes, and the same for y: sums over a cell.
const CHANNELS: usize = 8;
/// The smallest patch, and the steps by which patches are placed.
const PATCH: usize = 16;

/// A part of the window, divided into 2 x 2 cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// All patches of a window, in the order by which the model names them.
pub(super) fn patches() -> Vec<Patch> {
    let mut patches = Vec::new();
    for (aspect_x, aspect_y) in [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2)] {
        for height in (PATCH..=WINDOW).filter(|h| h % 2 == 0 && h % aspect_y == 0) {
            let width = height / aspect_y * aspect_x;
            if width % 2 != 0 || !(PATCH..=WINDOW).contains(&width) {
                continue;
            }
            for y in (0..=WINDOW - height).step_by(PATCH) {
                for x in (0..=WINDOW - width).step_by(PATCH) {
                    patches.push(Patch { x, y, width, height });
                }
            }
        }
    }
    patches
}

/// Looks at one window after the other.
#[derive(Debug)]
pub(super) struct Surf {
    patches: Vec<Patch>,
    /// Sums of the channels over all pixels above and to the left, with a row and a column of zeros first.
    integral: Vec<[i32; CHANNELS]>,
    values: Vec<f32>,
    next: Vec<f32>,
}

impl Surf {
    pub(super) fn new() -> Self {
        let integral = vec![[0; CHANNELS]; (WINDOW + 1) * (WINDOW + 1)];
        Self { patches: patches(), integral, values: Vec::new(), next: Vec::new() }
    }

    pub(super) fn patches(&self) -> usize {
        self.patches.len()
    }

    /// Takes a window of [`WINDOW`] x [`WINDOW`] pixels.
    pub(super) fn look(&mut self, window: &[u8; WINDOW * WINDOW]) {
        let at = |x: usize, y: usize| i32::from(window[y * WINDOW + x]);
        // Central differences; at the border, twice the one-sided one.
        let slope = |before: usize, i: usize, after: usize| if before == i || after == i { 2 } else { 1 };
        let (mut above, mut here) = ([[0; CHANNELS]; WINDOW + 1], [[0; CHANNELS]; WINDOW + 1]);
        for y in 0..WINDOW {
            let (up, down) = (y.saturating_sub(1), (y + 1).min(WINDOW - 1));
            for x in 0..WINDOW {
                let (left, right) = (x.saturating_sub(1), (x + 1).min(WINDOW - 1));
                let dx = (at(right, y) - at(left, y)) * slope(left, x, right);
                let dy = (at(x, down) - at(x, up)) * slope(up, y, down);
                let (px, nx) = if dy >= 0 { (dx, 0) } else { (0, dx) };
                let (py, ny) = if dx >= 0 { (dy, 0) } else { (0, dy) };
                let channels = [px, px.abs(), nx, nx.abs(), py, py.abs(), ny, ny.abs()];
                let (corner, top, side) = (above[x], above[x + 1], here[x]);
                here[x + 1] = std::array::from_fn(|c| channels[c] + top[c] + side[c] - corner[c]);
            }
            self.integral[(y + 1) * (WINDOW + 1)..][..=WINDOW].copy_from_slice(&here);
            above = here;
        }
    }

    /// What a network says of the window: how sure it is and three corrections, each in (0, 1).
    pub(super) fn ask(&mut self, network: &Network) -> [f32; 4] {
        self.values.clear();
        for &patch in &network.patches {
            let feature = self.feature(self.patches[patch]);
            self.values.extend(feature);
        }
        for (i, layer) in network.layers.iter().enumerate() {
            let last = i + 1 == network.layers.len();
            forward(layer, &self.values, &mut self.next, if last { sigmoid } else { |x| x.max(0.0) });
            std::mem::swap(&mut self.values, &mut self.next);
        }
        std::array::from_fn(|i| self.values.get(i).copied().unwrap_or(0.0))
    }

    /// The sums over the patch's cells, brought to length one.
    fn feature(&self, patch: Patch) -> [f32; SURF_LENGTH] {
        let mut sums = [0; SURF_LENGTH];
        let (w, h) = (patch.width / 2, patch.height / 2);
        for (cell, sums) in sums.chunks_exact_mut(CHANNELS).enumerate() {
            let (x, y) = (patch.x + cell % 2 * w, patch.y + cell / 2 * h);
            let at = |x: usize, y: usize| &self.integral[y * (WINDOW + 1) + x];
            let (a, b, c, d) = (at(x, y), at(x + w, y), at(x, y + h), at(x + w, y + h));
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = d[i] + a[i] - b[i] - c[i];
            }
        }
        let norm = sums.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>().sqrt() as f32;
        sums.map(|s| if norm > 0.0 { s as f32 / norm } else { 0.0 })
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn forward(layer: &Layer, input: &[f32], output: &mut Vec<f32>, activation: fn(f32) -> f32) {
    output.clear();
    let rows = layer.weights.chunks_exact(input.len().max(1));
    output.extend(rows.zip(&layer.biases).map(|(row, bias)| activation(dot(row, input) + bias)));
}

/// In eight sums, so that the compiler can keep them in one register.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    let mut sums = [0.0; 8];
    for (a, b) in a.zip(b) {
        for (sum, (x, y)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + rest
}
