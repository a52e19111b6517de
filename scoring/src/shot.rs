//! Where one shot ends and another begins.
//!
//! A cut changes what is where; slow motion, a flash or a fade do not. So the pictures of two frames, as coarse as stamps, are compared by their correlation, which neither brightness nor contrast changes.

use crate::frame::{Family, FrameView};

const COLUMNS: usize = 16;
const ROWS: usize = 9;
/// Samples along each side of a cell.
const DENSITY: usize = 4;
/// Two frames of one shot correlate more than this.
const CORRELATION: f32 = 0.5;
/// Pictures whose cells deviate from their mean by less than this, of 255, show nothing: black, white, a flash. Such a frame is neither of the
/// last shot nor of another; the next that shows something is compared with the last that did.
const CONTRAST: f32 = 3.0;
/// Where the cells differ by less than this on average, of 255, the noise of a picture without contrast is compared.
const DIFFERENCE: f32 = 6.0;

/// Tells cuts from frame to frame. It reads some two thousand pixels a frame.
#[derive(Clone, Debug, Default)]
pub struct CutDetector {
    last: Option<[f32; COLUMNS * ROWS]>,
}

impl CutDetector {
    /// Whether a new shot begins with this frame. The first frame begins none.
    pub fn is_cut(&mut self, frame: &FrameView<'_>) -> bool {
        let mut now = [0.0; COLUMNS * ROWS];
        stamp(frame, &mut now);
        if deviation(&now) < CONTRAST {
            return false;
        }
        let cut = self.last.is_some_and(|last| differ(&last, &now));
        self.last = Some(now);
        cut
    }

    /// Forgets the last frame: after a seek or a change of format there is nothing to compare with.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

/// The picture's brightness in [0, 255], cell by cell.
fn stamp(frame: &FrameView<'_>, cells: &mut [f32; COLUMNS * ROWS]) {
    let info = frame.format().info();
    // Green is most of luma.
    let component = info.components[if info.family == Family::Rgb { 1 } else { 0 }];
    let plane = frame.planes()[component.plane];
    let scale = 255.0 / ((1 << frame.format().depth()) - 1) as f32 / (DENSITY * DENSITY) as f32;
    let place = |i: usize, n: usize, whole: usize| ((2 * i + 1) * whole / (2 * n)).min(whole - 1);
    for row in 0..ROWS * DENSITY {
        let y = place(row, ROWS * DENSITY, frame.height());
        let line = &plane.data[y * plane.stride..];
        for column in 0..COLUMNS * DENSITY {
            let x = place(column, COLUMNS * DENSITY, frame.width());
            let sample = info.packing.sample(line, component.first + x * component.step);
            cells[row / DENSITY * COLUMNS + column / DENSITY] += f32::from(sample) * scale;
        }
    }
}

fn differ(a: &[f32], b: &[f32]) -> bool {
    let n = a.len() as f32;
    let mean = |v: &[f32]| v.iter().sum::<f32>() / n;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb, mut difference) = (0.0, 0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (dx, dy) = (x - ma, y - mb);
        ab += dx * dy;
        aa += dx * dx;
        bb += dy * dy;
        difference += (dx - dy).abs();
    }
    let correlation = ab / (aa * bb).sqrt().max(f32::MIN_POSITIVE);
    correlation < CORRELATION && difference / n > DIFFERENCE
}

/// Of the cells from their mean.
fn deviation(cells: &[f32]) -> f32 {
    let n = cells.len() as f32;
    let mean = cells.iter().sum::<f32>() / n;
    (cells.iter().map(|c| (c - mean).powi(2)).sum::<f32>() / n).sqrt()
}
