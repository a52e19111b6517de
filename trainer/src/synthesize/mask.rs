//! The mask by which the source is blended into the target.

use deepfake_scoring::geometry::Point;

use super::recipe::Softness;
use crate::filter::{Border, bilinear, gaussian, separable, usual_sigma};
use crate::seeded;

/// The deformation is drawn on a grid so many times coarser than the mask's, and is as smooth there as this many of its steps.
const COARSE: usize = 4;
const SMOOTH: f64 = 1.75;

/// What is left of a value after shrinking when none of its neighbours is missing; sums of weights are not exactly 1.
const FULL: f32 = 0.9995;

/// How far from the picture's middle a mask may reach, in halves of its side; corners are rounded (fourth power).
const REACH: f32 = 0.95;

/// One value in [0, 1] a pixel of a picture of that size: the polygon (in parts of the sides), deformed, shrunk and softened. The
/// largest value is `softness.ratio`; all are zero where the polygon is not in the picture.
pub(super) fn mask(polygon: &[Point], softness: &Softness, width: usize, height: usize) -> Vec<f32> {
    let [w, h] = softness.grid;
    let sharp = deformed(&filled(polygon, w, h), softness);
    let shrunk: Vec<f32> = blurred(&sharp, w, softness.shrink, usual_sigma(softness.shrink))
        .into_iter()
        .map(|v| if v >= FULL { 1.0 } else { 0.0 })
        .collect();
    // A part may be too narrow to be shrunk.
    let shape = if shrunk.contains(&1.0) { shrunk } else { sharp };
    let mut soft = blurred(&shape, w, softness.soften, softness.sigma);
    let most = soft.iter().copied().fold(0.0, f32::max);
    if most > 0.0 {
        for v in &mut soft {
            *v = (*v / most).min(1.0) * softness.ratio;
        }
    }
    bilinear(&soft, (w, h), 1, (width, height))
}

fn blurred(mask: &[f32], width: usize, radius: usize, sigma: f64) -> Vec<f32> {
    separable(mask, width, 1, &gaussian(radius, sigma), Border::Reflect)
}

/// 1 where the centre of a pixel is in the polygon.
fn filled(polygon: &[Point], width: usize, height: usize) -> Vec<f32> {
    let mut mask = vec![0.0; width * height];
    let mut crossings = Vec::new();
    for (y, row) in mask.chunks_exact_mut(width).enumerate() {
        let at = (y as f32 + 0.5) / height as f32;
        crossings.clear();
        for (i, a) in polygon.iter().enumerate() {
            let b = &polygon[(i + 1) % polygon.len()];
            if (a.y <= at) != (b.y <= at) {
                crossings.push((a.x + (b.x - a.x) * (at - a.y) / (b.y - a.y)) * width as f32);
            }
        }
        crossings.sort_by(f32::total_cmp);
        for span in crossings.chunks_exact(2) {
            let edge = |x: f32| (x - 0.5).ceil().clamp(0.0, width as f32) as usize;
            row[edge(span[0])..edge(span[1])].fill(1.0);
        }
    }
    mask
}

/// Elastic deformation (Simard et al., ICDAR 2003): every pixel is taken from near by, and from less than all where the picture ends.
fn deformed(mask: &[f32], softness: &Softness) -> Vec<f32> {
    let [width, height] = softness.grid;
    let (across, down) = (field(softness, 0), field(softness, 1));
    let mut out = Vec::with_capacity(mask.len());
    for y in 0..height {
        for x in 0..width {
            let i = y * width + x;
            let near =
                |at: usize, by: f32, side: usize| (at as f32 + by).round().clamp(0.0, (side - 1) as f32) as usize;
            let from = near(y, down[i], height) * width + near(x, across[i], width);
            let half = |at: usize, side: usize| ((2 * at + 1) as f32 / side as f32 - 1.0).powi(4);
            let inside = half(x, width) + half(y, height) <= REACH.powi(4);
            out.push(if inside { mask[from] } else { 0.0 });
        }
    }
    out
}

/// Smooth normal numbers of the wished deviation, in pixels of the grid.
fn field(softness: &Softness, which: u64) -> Vec<f32> {
    let [width, height] = softness.grid;
    let (w, h) = (width.div_ceil(COARSE), height.div_ceil(COARSE));
    let mut rng = seeded::generator(softness.seed, "elastic", &[which]);
    let white: Vec<f32> = (0..w * h).map(|_| seeded::normal(&mut rng) as f32).collect();
    let weights = gaussian((3.0 * SMOOTH).ceil() as usize, SMOOTH);
    // By this the filter shrinks the deviation of white noise, in both directions together.
    let left = weights[0].powi(2) + 2.0 * weights[1..].iter().map(|w| w * w).sum::<f32>();
    let gain = softness.elastic * width.max(height) as f32 / left;
    let smooth: Vec<f32> = separable(&white, w, 1, &weights, Border::Reflect).into_iter().map(|v| v * gain).collect();
    bilinear(&smooth, (w, h), 1, (width, height))
}
