//! Where the samples of a frame lie, in the coordinates of [`crate::geometry`].

use crate::frame::{ChromaSite, Family, FrameView, Scan};

/// Samples along one axis: the centre of sample `i` lies at `origin + i * pitch` pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// The centre of the first, in pixels of the frame.
    pub(super) origin: f64,
    /// Pixels of the frame from one to the next.
    pub(super) pitch: f64,
    /// How many there are; beyond them the last one repeats.
    pub(super) count: usize,
    /// Row or column of the plane that holds the first.
    pub(super) first: usize,
    /// Rows or columns of the plane from one to the next.
    pub(super) step: usize,
}

impl Grid {
    /// `position` (pixels of the frame) counted in samples; the centre of the first is 0.
    pub(super) fn index_of(&self, position: f64) -> f64 {
        (position - self.origin) / self.pitch
    }

    /// Where the centre of sample `index` is, in pixels of the frame.
    pub(super) fn position_of(&self, index: usize) -> f64 {
        self.origin + self.pitch * index as f64
    }

    /// The nearest sample that exists.
    pub(super) fn clamp(&self, index: i64) -> usize {
        index.clamp(0, self.count as i64 - 1) as usize
    }

    /// All samples of a plane: `count` of them, `spread` pixels to each, on the first of these or in their middle.
    fn frame(count: usize, spread: usize, cosited: bool) -> Self {
        let origin = if cosited { 0.5 } else { spread as f64 / 2.0 };
        Self { origin, pitch: spread as f64, count, first: 0, step: 1 }
    }

    /// Every other sample, from the first or second on. Where a plane is too low to have the second, the first stands in.
    fn field(self, second: bool) -> Self {
        if self.count < 2 {
            return self;
        }
        let parity = usize::from(second);
        Self {
            origin: self.position_of(parity),
            pitch: self.pitch * 2.0,
            count: (self.count + 1 - parity) / 2,
            first: parity,
            step: 2,
        }
    }
}

/// The grids of one axis: those of luma (or R, G, B) and of chroma.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) luma: Grid,
    pub(super) chroma: Grid,
}

/// The columns and the rows that are read of a frame: of interlaced video, those of the field that is first in time.
///
/// Rows keep their places in the frame, those of chroma too: the four chroma rows of 8 rows of 4:2:0 lie at 1, 3, 5 and 7, of which
/// 1 and 5 belong to the top field. This is the siting of interlaced 4:2:0 that MPEG-2 defines (H.262, figure 6-2).
pub(super) fn axes(frame: &FrameView<'_>) -> (Axis, Axis) {
    let format = frame.format();
    let (spread_x, spread_y) = format.subsampling();
    // Co-siting is about subsampled components only: the others lie on their pixels anyway.
    let ChromaSite { horizontally_cosited, vertically_cosited } = frame.chroma_site();
    let x = Axis {
        luma: Grid::frame(frame.width(), 1, false),
        chroma: match format.family() {
            Family::Yuv => Grid::frame(format.samples(1, frame.width()), spread_x, horizontally_cosited),
            Family::Rgb | Family::Gray => Grid::frame(frame.width(), 1, false),
        },
    };
    let y = Axis {
        luma: Grid::frame(frame.height(), 1, false),
        chroma: Grid::frame(frame.height().div_ceil(spread_y), spread_y, vertically_cosited),
    };
    let y = match frame.scan() {
        Scan::Progressive => y,
        Scan::TopFieldFirst => Axis { luma: y.luma.field(false), chroma: y.chroma.field(false) },
        Scan::BottomFieldFirst => Axis { luma: y.luma.field(true), chroma: y.chroma.field(true) },
    };
    (x, y)
}
