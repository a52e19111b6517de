//! From a region of a frame to the normalized tensor of a model, straight from the planes.

use color::Color;
use grid::Axis;
use strip::Job;
use taps::{Span, Taps};
use thiserror::Error;

use crate::contract::{Channels, Layout};
use crate::frame::FrameView;
use crate::geometry::Rect;

mod color;
mod grid;
mod hdr;
pub mod reference;
mod simd;
mod strip;
mod taps;
mod unpack;

/// The tensor of one picture, as the model wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorSpec {
    /// The order of the axes (without the batch).
    pub layout: Layout,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// What the channels are.
    pub channels: Channels,
    /// Multiplied with the 8-bit value (0 to 255, not rounded), first.
    pub scale: f32,
    /// Subtracted after scaling, per channel.
    pub mean: [f32; 3],
    /// Divided by, last, per channel.
    pub std: [f32; 3],
}

impl TensorSpec {
    /// Numbers of one picture.
    pub const fn len(&self) -> usize {
        self.width * self.height * self.channels.count()
    }

    /// A tensor always has numbers.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a region cannot be cut.
#[derive(Debug, Error, PartialEq)]
pub enum CropError {
    /// Not finite, not positive, or absurdly far outside of the frame.
    #[error("the region {0:?} cannot be cut from the frame")]
    Region(Rect),
    /// The caller's slice has another length than [`TensorSpec::len`].
    #[error("the tensor has {given} numbers, its description says {expected}")]
    Length {
        /// As described.
        expected: usize,
        /// As given.
        given: usize,
    },
}

/// Cuts regions; keeps its scratch memory, so that nothing is allocated once sizes have settled.
#[derive(Debug, Default)]
pub struct Cropper {
    columns: [Taps; 2],
    rows: [Taps; 2],
    strip: strip::Scratch,
}

impl Cropper {
    /// Resamples `region` of `frame` to `spec` and writes it, normalized, to `out`. Shrinking averages over the area of each
    /// target pixel, enlarging interpolates linearly between pixel centres; outside of the frame its edge pixels repeat.
    ///
    /// # Errors
    ///
    /// A region that is not finite or has no area; an `out` of the wrong length.
    pub fn crop(
        &mut self,
        frame: &FrameView<'_>,
        region: &Rect,
        spec: &TensorSpec,
        out: &mut [f32],
    ) -> Result<(), CropError> {
        checked(frame, region, spec, out)?;
        if out.is_empty() {
            return Ok(());
        }
        let (x, y) = grid::axes(frame);
        let span = |start: f32, length: f32, targets| Span { start: start.into(), length: length.into(), targets };
        for (taps, axis, span) in [
            (&mut self.columns, &x, span(region.x, region.w, spec.width)),
            (&mut self.rows, &y, span(region.y, region.h, spec.height)),
        ] {
            taps[0].set_luma(axis, &span);
            if axis.chroma != axis.luma {
                taps[1].set_chroma(axis, &span);
            }
        }
        simd::run(Job {
            frame,
            spec,
            color: Color::of(frame),
            rows: [&y.luma, &y.chroma],
            row_taps: taps_of(&y, &self.rows),
            column_taps: taps_of(&x, &self.columns),
            scratch: &mut self.strip,
            out,
        });
        Ok(())
    }
}

/// Luma's and chroma's, which are one where their grids are.
fn taps_of<'a>(axis: &Axis, [luma, chroma]: &'a [Taps; 2]) -> [&'a Taps; 2] {
    [luma, if axis.chroma == axis.luma { luma } else { chroma }]
}

/// How far from the frame a region may reach, in sides of the frame.
const REACH: f32 = 16.0;

/// Refuses what cannot be cut.
fn checked(frame: &FrameView<'_>, region: &Rect, spec: &TensorSpec, out: &[f32]) -> Result<(), CropError> {
    if out.len() != spec.len() {
        return Err(CropError::Length { expected: spec.len(), given: out.len() });
    }
    // Small frames may have large margins all the same.
    let (w, h) = (frame.width().max(64) as f32, frame.height().max(64) as f32);
    let near = |from: f32, to: f32, side: f32| from >= -REACH * side && to <= (REACH + 1.0) * side;
    if region.is_valid() && near(region.x, region.right(), w) && near(region.y, region.bottom(), h) {
        Ok(())
    } else {
        Err(CropError::Region(*region))
    }
}
