//! What cameras, codecs and networks do to a picture before anybody crops it.

use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageFormat};

use crate::data::Picture;
use crate::error::{Error, Result};
use crate::filter::{Border, gaussian, separable};

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
    let frame = FrameView::rgb(picture.width, picture.height, &picture.data)?;
    let whole = Rect::new(0.0, 0.0, picture.width as f32, picture.height as f32);
    Picture::cut(cropper, &frame, &whole, width, height)
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
    let weights = gaussian((3.0 * sigma).ceil().max(1.0) as usize, sigma);
    let values = separable(&picture.data, picture.width, 3, &weights, Border::Repeat);
    Picture { data: values.into_iter().map(|v| v.round() as u8).collect(), ..*picture }
}
