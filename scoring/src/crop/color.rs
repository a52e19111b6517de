//! From the components of a format to R'G'B', eight pixels at a time.
//!
//! Without HDR the way is linear (but for the limits), so that it can be taken after resampling, at the size of the target.

use super::hdr;
use super::simd::{Lanes, Simd};
use crate::frame::{Family, FrameView, Matrix, Range, Transfer};

/// The luma weights of ITU-R BT.601, which OpenCV takes for gray, too.
pub(super) const LUMA_601: [f32; 3] = [0.299, 0.587, 0.114];

impl Matrix {
    /// The weights of R' and B' in Y'; that of G' is what is missing to 1.
    const fn kr_kb(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// What a frame's components mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Color {
    /// R', G' and B' in [0, 255] are these times the components, and the last number.
    rows: [[f32; 4]; 3],
    transfer: Transfer,
}

impl Color {
    /// As the frame says.
    pub(super) fn of(frame: &FrameView<'_>) -> Self {
        let colorimetry = frame.colorimetry();
        let depth = frame.format().depth();
        let (most, unit) = (f64::from((1u32 << depth) - 1), f64::from(1u32 << (depth - 8)));
        let (black, span, chroma_span) = match colorimetry.range {
            Range::Limited => (16.0 * unit, 219.0 * unit, 224.0 * unit),
            Range::Full => (0.0, most, most),
        };
        let level = 255.0 / span;
        let rows = match frame.format().family() {
            Family::Rgb | Family::Gray => std::array::from_fn(|i| {
                let mut row = [0.0, 0.0, 0.0, -black * level];
                row[i] = level;
                row
            }),
            Family::Yuv => {
                let (kr, kb) = colorimetry.matrix.kr_kb();
                let kg = 1.0 - kr - kb;
                let chroma = 255.0 / chroma_span;
                // How far Cb and Cr move each channel.
                let cr = [2.0 * (1.0 - kr), -2.0 * kr * (1.0 - kr) / kg, 0.0].map(|v| v * chroma);
                let cb = [0.0, -2.0 * kb * (1.0 - kb) / kg, 2.0 * (1.0 - kb)].map(|v| v * chroma);
                std::array::from_fn(|i| [level, cb[i], cr[i], -black * level - 128.0 * unit * (cb[i] + cr[i])])
            }
        };
        Self { rows: rows.map(|row: [f64; 4]| row.map(|v| v as f32)), transfer: colorimetry.transfer }
    }

    /// The same in registers.
    #[inline(always)]
    pub(super) fn on<S: Simd>(&self, simd: S) -> Vectors<S> {
        let mut rows = [[simd.splat(0.0); 4]; 3];
        for (to, from) in rows.iter_mut().zip(&self.rows) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = simd.splat(*from);
            }
        }
        Vectors { rows, curves: hdr::Curves::of(self.transfer) }
    }
}

/// [`Color`] in registers.
pub(super) struct Vectors<S: Simd> {
    rows: [[S::Vector; 4]; 3],
    curves: Option<&'static hdr::Curves>,
}

impl<S: Simd> Vectors<S> {
    /// Eight pixels.
    #[inline(always)]
    pub(super) fn rgb(&self, simd: S, components: [S::Vector; 3]) -> [S::Vector; 3] {
        let mut rgb = components;
        for (channel, row) in rgb.iter_mut().zip(&self.rows) {
            let mut sum = row[3];
            for (component, factor) in components.iter().zip(row) {
                sum = simd.mul_add(*component, *factor, sum);
            }
            *channel = simd.clamp(sum, 0.0, 255.0);
        }
        if let Some(curves) = self.curves {
            let mut lanes = [Lanes::default(); 3];
            for (lanes, channel) in lanes.iter_mut().zip(rgb) {
                simd.store(channel, lanes);
            }
            curves.apply(&mut lanes);
            for (lanes, channel) in lanes.iter().zip(&mut rgb) {
                *channel = simd.load(lanes);
            }
        }
        rgb
    }

    /// The luma of eight pixels.
    #[inline(always)]
    pub(super) fn gray(&self, simd: S, rgb: [S::Vector; 3]) -> S::Vector {
        let mut sum = simd.splat(0.0);
        for (channel, weight) in rgb.into_iter().zip(LUMA_601) {
            sum = simd.mul_add(channel, simd.splat(weight), sum);
        }
        sum
    }
}
