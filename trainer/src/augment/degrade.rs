//! What cameras, codecs and networks do to a picture before anybody crops it.

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageFormat};

use super::{Geometry, cut};
use crate::data::Picture;
use crate::error::{Error, Result};

/// The width that standard deviations of blurs are told for.
const REFERENCE_WIDTH: f64 = 224.0;

/// `None` where nothing was asked for.
pub(super) fn degrade(
    cropper: &mut Cropper,
    picture: &Picture,
    rescale: Option<f64>,
    blur: Option<f64>,
    jpeg: Option<u8>,
) -> Result<Option<Picture>> {
    let mut done: Option<Picture> = None;
    // Blurred before it shrinks: the standard deviation is told for the full size.
    if let Some(sigma) = blur {
        done = Some(blurred(picture, sigma * picture.width as f64 / REFERENCE_WIDTH));
    }
    if let Some(scale) = rescale {
        done = Some(rescaled(cropper, done.as_ref().unwrap_or(picture), scale)?);
    }
    if let Some(quality) = jpeg {
        done = Some(through_jpeg(done.as_ref().unwrap_or(picture), quality)?);
    }
    Ok(done)
}

/// Smaller. It is the crop that makes it large again.
fn rescaled(cropper: &mut Cropper, picture: &Picture, scale: f64) -> Result<Picture> {
    let side = |n: usize| ((n as f64 * scale).round() as usize).clamp(8, 8192);
    let (width, height) = (side(picture.width), side(picture.height));
    let spec = TensorSpec {
        layout: Layout::Nhwc,
        width,
        height,
        channels: Channels::Rgb,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let mut values = vec![0.0; spec.len()];
    cut(cropper, picture, &Geometry::WHOLE.region, &spec, &mut values)?;
    Ok(Picture { width, height, data: values.into_iter().map(|v| v.round() as u8).collect() })
}

fn through_jpeg(picture: &Picture, quality: u8) -> Result<Picture> {
    let failed = |source| Error::Picture { path: "JPEG in memory".into(), source };
    let mut bytes = Vec::with_capacity(picture.data.len() / 4);
    let (width, height) = (picture.width as u32, picture.height as u32);
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(&picture.data, width, height, ExtendedColorType::Rgb8)
        .map_err(failed)?;
    let decoded = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).map_err(failed)?;
    Ok(Picture::from(decoded.into_rgb8()))
}

/// Gaussian blur, edges repeated.
fn blurred(picture: &Picture, sigma: f64) -> Picture {
    let radius = (3.0 * sigma).ceil().max(1.0) as usize;
    let weights: Vec<f32> = (0..=radius).map(|i| (-((i * i) as f64) / (2.0 * sigma * sigma)).exp() as f32).collect();
    let total = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    let weights: Vec<f32> = weights.iter().map(|w| w / total).collect();
    let (w, h) = (picture.width, picture.height);
    let row = w * 3;
    // Columns first: whole rows are added, which the compiler turns into vector code.
    let mut columns = vec![0.0f32; row * h];
    for y in 0..h {
        let out = &mut columns[y * row..(y + 1) * row];
        let mut add = |at: usize, k: f32| {
            for (o, &v) in out.iter_mut().zip(&picture.data[at * row..(at + 1) * row]) {
                *o += k * f32::from(v);
            }
        };
        add(y, weights[0]);
        for (d, &k) in weights.iter().enumerate().skip(1) {
            add(y.saturating_sub(d), k);
            add((y + d).min(h - 1), k);
        }
    }
    let mut padded = vec![0.0f32; (w + 2 * radius) * 3];
    let mut sums = vec![0.0f32; row];
    let mut data = Vec::with_capacity(row * h);
    for line in columns.chunks_exact(row) {
        padded[radius * 3..radius * 3 + row].copy_from_slice(line);
        for i in 0..radius {
            padded.copy_within(radius * 3..radius * 3 + 3, i * 3);
            padded.copy_within(radius * 3 + row - 3..radius * 3 + row, radius * 3 + row + i * 3);
        }
        sums.fill(0.0);
        for d in 0..=2 * radius {
            let k = weights[d.abs_diff(radius)];
            for (s, v) in sums.iter_mut().zip(&padded[d * 3..d * 3 + row]) {
                *s += k * v;
            }
        }
        data.extend(sums.iter().map(|v| v.round() as u8));
    }
    Picture { width: w, height: h, data }
}
