//! Locally assembled binary features: which of eight 3 x 3 blocks are no brighter than the one in their middle.

use super::model::{Boosted, GROUP, LAB_SIDE, WINDOW};
use super::{Gray, Window};

/// From window to window, in pixels.
const STEP: usize = 4;
/// The least standard deviation of a window's pixels.
const LEAST_DEVIATION: f64 = 10.0;
/// Blocks around the middle one, by column and row, with the bit of each.
const RING: [(usize, usize, u8); 8] =
    [(0, 0, 0x80), (3, 0, 0x40), (6, 0, 0x20), (6, 3, 0x08), (6, 6, 0x01), (3, 6, 0x02), (0, 6, 0x04), (0, 3, 0x10)];

/// The features of a picture.
#[derive(Debug, Default)]
pub(super) struct LabMap {
    /// Sum of the block whose top left corner is there.
    sums: Vec<u16>,
    /// Feature whose top left corner is there.
    codes: Vec<u8>,
    width: usize,
    /// For each weak classifier, its place as an index.
    offsets: Vec<usize>,
}

impl LabMap {
    /// Of a picture of at least one window.
    pub(super) fn compute(&mut self, picture: &Gray) {
        let (width, height) = (picture.width, picture.height);
        self.width = width;
        self.sums.clear();
        self.sums.resize(width * height, 0);
        self.codes.clear();
        self.codes.resize(width * height, 0);
        for (y, sums) in self.sums.chunks_exact_mut(width).take(height - 2).enumerate() {
            let [a, b, c] = [0, 1, 2].map(|dy| &picture.pixels[(y + dy) * width..][..width]);
            let column = |x: usize| u16::from(a[x]) + u16::from(b[x]) + u16::from(c[x]);
            for (x, sum) in sums[..width - 2].iter_mut().enumerate() {
                *sum = column(x) + column(x + 1) + column(x + 2);
            }
        }
        let columns = width + 1 - LAB_SIDE;
        for (y, codes) in self.codes.chunks_exact_mut(width).take(height + 1 - LAB_SIDE).enumerate() {
            let codes = &mut codes[..columns];
            let block = |dx: usize, dy: usize| &self.sums[(y + dy) * width + dx..][..columns];
            let middle = block(3, 3);
            for (dx, dy, bit) in RING {
                for ((code, middle), other) in codes.iter_mut().zip(middle).zip(block(dx, dy)) {
                    *code |= if middle >= other { bit } else { 0 };
                }
            }
        }
    }

    /// Appends the windows that the classifier takes for faces; `scale` leads from this picture to that of the result.
    pub(super) fn propose(&mut self, classifier: &Boosted, picture: &Gray, scale: f32, windows: &mut Vec<Window>) {
        self.offsets.clear();
        self.offsets.extend(classifier.places.iter().map(|(x, y)| y * self.width + x));
        let side = |s: f32| (s / scale + 0.5) as i32;
        for y in (0..=picture.height - WINDOW).step_by(STEP) {
            for x in (0..=picture.width - WINDOW).step_by(STEP) {
                let score = self.score(classifier, &self.codes[y * self.width + x..]);
                if let Some(score) = score.filter(|_| deviation(picture, x, y) > LEAST_DEVIATION) {
                    windows.push(Window {
                        x: side(x as f32),
                        y: side(y as f32),
                        size: side(WINDOW as f32),
                        score: f64::from(score),
                    });
                }
            }
        }
    }

    /// `None` as soon as a group is below its threshold.
    fn score(&self, classifier: &Boosted, codes: &[u8]) -> Option<f32> {
        let groups = self.offsets.chunks_exact(GROUP).zip(classifier.weights.chunks_exact(GROUP));
        groups.zip(&classifier.thresholds).try_fold(0.0, |score, ((offsets, weights), threshold)| {
            let score = offsets.iter().zip(weights).fold(score, |s, (o, w)| s + w[usize::from(codes[*o])]);
            (score >= *threshold).then_some(score)
        })
    }
}

/// Standard deviation of the pixels of the window at (x, y).
fn deviation(picture: &Gray, x: usize, y: usize) -> f64 {
    let (mut sum, mut squares) = (0, 0);
    for row in picture.pixels[y * picture.width..].chunks(picture.width).take(WINDOW) {
        for pixel in &row[x..][..WINDOW] {
            let pixel = u32::from(*pixel);
            sum += pixel;
            squares += pixel * pixel;
        }
    }
    let area = (WINDOW * WINDOW) as f64;
    let mean = f64::from(sum) / area;
    (f64::from(squares) / area - mean * mean).sqrt()
}
