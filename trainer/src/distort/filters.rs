//! Distortions of a pixel by its neighbours.

use crate::data::Picture;
use crate::filter::{Border, gaussian, separable};

pub(super) fn blur(picture: &mut Picture, kernel: usize) {
    let weights = gaussian(kernel / 2, kernel as f64 / 6.0);
    let blurred = separable(&picture.data, picture.width, 3, &weights, Border::Reflect);
    picture.data = blurred.into_iter().map(|v| v.round() as u8).collect();
}

pub(super) fn pixelation(picture: &mut Picture, factor: usize) {
    let (width, height) = (picture.width, picture.height);
    let small = bilinear(picture, (width / factor).max(1), (height / factor).max(1));
    *picture = bilinear(&small, width, height);
}

/// Where a target pixel lies between two of the source: the first, the second and the second's share.
fn taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let scale = from as f64 / to as f64;
    let between = |i: usize| {
        let at = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, (from - 1) as f64);
        let first = at as usize;
        (first, (first + 1).min(from - 1), (at - first as f64) as f32)
    };
    (0..to).map(between).collect()
}

/// Linear between the four nearest pixels also where it shrinks: unlike the engine's cropper, it does not average. That is what
/// is to be measured.
fn bilinear(picture: &Picture, width: usize, height: usize) -> Picture {
    let columns = taps(picture.width, width);
    let mut data = Vec::with_capacity(width * height * 3);
    let stride = picture.width * 3;
    for (top, bottom, down) in taps(picture.height, height) {
        let (top, bottom) = (&picture.data[top * stride..][..stride], &picture.data[bottom * stride..][..stride]);
        for &(left, right, across) in &columns {
            for c in 0..3 {
                let mix = |row: &[u8]| {
                    let (l, r) = (f32::from(row[left * 3 + c]), f32::from(row[right * 3 + c]));
                    l + (r - l) * across
                };
                let (t, b) = (mix(top), mix(bottom));
                data.push((t + (b - t) * down).round() as u8);
            }
        }
    }
    Picture { width, height, data }
}
