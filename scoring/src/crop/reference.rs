//! The plain cropper: what [`Cropper`](super::Cropper) computes, written down as it is defined and without any thought of speed.
//! Tests and benchmarks hold the fast one to it.

use super::grid::{Axis, Grid, axes};
use super::{CropError, TensorSpec, checked, hdr};
use crate::contract::{Channels, Layout};
use crate::frame::{Family, FrameView, Matrix, Range};
use crate::geometry::Rect;

/// As [`Cropper::crop`](super::Cropper::crop), in `f64`, pixel by pixel.
///
/// # Errors
///
/// As [`Cropper::crop`](super::Cropper::crop).
pub fn crop(frame: &FrameView<'_>, region: &Rect, spec: &TensorSpec, out: &mut [f32]) -> Result<(), CropError> {
    checked(frame, region, spec, out)?;
    let (x, y) = axes(frame);
    let count = spec.channels.count();
    for row in 0..spec.height {
        let rows = window(&y.luma, region.y, region.h, spec.height, row);
        for column in 0..spec.width {
            let mut sum = [0.0; 3];
            for (j, wy) in rows.clone() {
                for (i, wx) in window(&x.luma, region.x, region.w, spec.width, column) {
                    let p = pixel(frame, &x, &y, x.luma.clamp(i), y.luma.clamp(j));
                    (0..3).for_each(|c| sum[c] += wx * wy * p[c]);
                }
            }
            let [r, g, b] = rgb(frame, sum);
            let values = match spec.channels {
                Channels::Rgb => [r, g, b],
                Channels::Bgr => [b, g, r],
                Channels::Gray => [0.299 * r + 0.587 * g + 0.114 * b; 3],
            };
            for (c, value) in values.iter().enumerate().take(count) {
                let at = match spec.layout {
                    Layout::Nchw => (c * spec.height + row) * spec.width + column,
                    Layout::Nhwc => (row * spec.width + column) * count + c,
                };
                out[at] = ((value * f64::from(spec.scale) - f64::from(spec.mean[c])) / f64::from(spec.std[c])) as f32;
            }
        }
    }
    Ok(())
}

/// The samples (not clamped to those that exist) that make up target pixel `target` of `targets` over `length` pixels from
/// `start` on, with their weights.
fn window(
    grid: &Grid,
    start: f32,
    length: f32,
    targets: usize,
    target: usize,
) -> impl Iterator<Item = (i64, f64)> + Clone + use<> {
    let step = f64::from(length) / targets as f64;
    let from = grid.index_of(f64::from(start) + step * target as f64);
    let to = grid.index_of(f64::from(start) + step * (target + 1) as f64);
    let scale = to - from;
    let centre = (from + to) / 2.0;
    let (first, last) = if scale >= 1.0 {
        ((from + 0.5).floor() as i64, (to + 0.5).ceil() as i64)
    } else {
        (centre.floor() as i64, centre.floor() as i64 + 2)
    };
    (first..last).map(move |i| {
        let at = i as f64;
        let weight = if scale >= 1.0 {
            ((at + 0.5).min(to) - (at - 0.5).max(from)).max(0.0) / scale
        } else {
            1.0 - (centre - at).abs()
        };
        (i, weight)
    })
}

/// The three components at luma sample (`column`, `row`), chroma interpolated linearly.
fn pixel(frame: &FrameView<'_>, x: &Axis, y: &Axis, column: usize, row: usize) -> [f64; 3] {
    let info = frame.format().info();
    [0, 1, 2].map(|c| {
        let component = info.components[c];
        let plane = frame.planes()[component.plane];
        let read = |i: usize, j: usize, gx: &Grid, gy: &Grid| {
            let row = &plane.data[(gy.first + j * gy.step) * plane.stride..];
            let index = component.first + (gx.first + i * gx.step) * component.step;
            f64::from(info.packing.sample(row, index))
        };
        if c == 0 || info.family != Family::Yuv {
            return read(column, row, &x.luma, &y.luma);
        }
        let u = x.chroma.index_of(x.luma.position_of(column));
        let v = y.chroma.index_of(y.luma.position_of(row));
        let (fx, fy) = (u - u.floor(), v - v.floor());
        let at = |dx: i64, dy: i64| {
            let (i, j) = (x.chroma.clamp(u.floor() as i64 + dx), y.chroma.clamp(v.floor() as i64 + dy));
            read(i, j, &x.chroma, &y.chroma)
        };
        (at(0, 0) * (1.0 - fx) + at(1, 0) * fx) * (1.0 - fy) + (at(0, 1) * (1.0 - fx) + at(1, 1) * fx) * fy
    })
}

/// Components to R'G'B' in [0, 255] (ITU-R BT.601, BT.709, BT.2020 and H.273 for the ranges).
fn rgb(frame: &FrameView<'_>, [a, b, c]: [f64; 3]) -> [f64; 3] {
    let colorimetry = frame.colorimetry();
    let depth = frame.format().depth();
    let unit = f64::from(1u32 << (depth - 8));
    let most = f64::from((1u32 << depth) - 1);
    let (black, luma_span, chroma_span) = match colorimetry.range {
        Range::Limited => (16.0 * unit, 219.0 * unit, 224.0 * unit),
        Range::Full => (0.0, most, most),
    };
    let luma = |v: f64| (v - black) / luma_span;
    let rgb = match frame.format().family() {
        Family::Rgb | Family::Gray => [luma(a), luma(b), luma(c)],
        Family::Yuv => {
            let (kr, kb) = match colorimetry.matrix {
                Matrix::Bt601 => (0.299, 0.114),
                Matrix::Bt709 => (0.2126, 0.0722),
                Matrix::Bt2020 => (0.2627, 0.0593),
            };
            let y = luma(a);
            let (cb, cr) = ((b - 128.0 * unit) / chroma_span, (c - 128.0 * unit) / chroma_span);
            let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
            [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b]
        }
    };
    hdr::to_sdr(colorimetry.transfer, rgb).map(|v| 255.0 * v.clamp(0.0, 1.0))
}
