//! Distortions of single pixels' values.

use rand::RngExt;

use crate::data::Picture;
use crate::seeded;

/// Gray as studio chroma tells it, and half of a byte, around which the published code shrinks it.
const NEUTRAL: f32 = 128.0;
const HALF: f32 = 127.5;
/// Studio codes of luma and chroma for a range of 255.
const LUMA: f32 = 219.0 / 255.0;
const CHROMA: f32 = 224.0 / 255.0;

/// BT.601 studio codes as real numbers: Y', Cb, Cr. The factors are OpenCV's.
fn to_studio([r, g, b]: [f32; 3]) -> [f32; 3] {
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    [y * LUMA + 16.0, (b - y) * 0.564 * CHROMA + NEUTRAL, (r - y) * 0.713 * CHROMA + NEUTRAL]
}

fn to_rgb([y, cb, cr]: [f32; 3]) -> [f32; 3] {
    let (y, cb, cr) = ((y - 16.0) / LUMA, (cb - NEUTRAL) / CHROMA, (cr - NEUTRAL) / CHROMA);
    [y + 1.403 * cr, y - 0.714 * cr - 0.344 * cb, y + 1.773 * cb]
}

/// Changes every pixel's studio codes. Fractions are cut off, as the published code does.
fn in_studio(picture: &mut Picture, mut change: impl FnMut(&mut [f32; 3])) {
    for pixel in picture.data.as_chunks_mut::<3>().0 {
        let mut codes = to_studio(pixel.map(f32::from));
        change(&mut codes);
        *pixel = to_rgb(codes).map(|v| v.clamp(0.0, 255.0) as u8);
    }
}

pub(super) fn saturation(picture: &mut Picture, factor: f32) {
    in_studio(picture, |[_, cb, cr]| {
        *cb = HALF + (*cb - HALF) * factor;
        *cr = HALF + (*cr - HALF) * factor;
    });
}

pub(super) fn contrast(picture: &mut Picture, factor: f32) {
    for v in &mut picture.data {
        *v = (f32::from(*v) * factor) as u8;
    }
}

/// The noise is told for studio codes: full range has 255/219 of it in luma.
pub(super) fn noise(picture: &mut Picture, variance: f64, seed: u64) {
    let mut rng = seeded::generator(seed, "noise", &[]);
    let sigma = variance.sqrt() * 255.0;
    in_studio(picture, |codes| {
        for code in codes {
            *code += (sigma * seeded::normal(&mut rng)) as f32;
        }
    });
}

pub(super) fn blocks(picture: &mut Picture, for_256: usize, seed: u64) {
    const SIDE: usize = 8;
    const GRAY: u8 = 128;
    let (width, height) = (picture.width, picture.height);
    let mut rng = seeded::generator(seed, "blocks", &[]);
    for _ in 0..(width.min(height) / 256).max(1) * for_256 {
        let x = rng.random_range(0..=width.saturating_sub(SIDE));
        let y = rng.random_range(0..=height.saturating_sub(SIDE));
        for row in picture.data.chunks_exact_mut(width * 3).skip(y).take(SIDE) {
            row[x * 3..(x + SIDE).min(width) * 3].fill(GRAY);
        }
    }
}
