//! Distortions of a pixel by its neighbours.

use crate::data::Picture;
use crate::filter::{Border, bilinear, gaussian, separable};

pub(super) fn blur(picture: &mut Picture, kernel: usize) {
    let weights = gaussian(kernel / 2, kernel as f64 / 6.0);
    picture.data = bytes(separable(&picture.data, picture.width, 3, &weights, Border::Reflect));
}

pub(super) fn pixelation(picture: &mut Picture, factor: usize) {
    let whole = (picture.width, picture.height);
    let small = ((whole.0 / factor).max(1), (whole.1 / factor).max(1));
    picture.data = bytes(bilinear(&bytes(bilinear(&picture.data, whole, 3, small)), small, 3, whole));
}

fn bytes(values: Vec<f32>) -> Vec<u8> {
    values.into_iter().map(|v| v.round() as u8).collect()
}
