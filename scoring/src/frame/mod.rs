//! Borrowed views of video frames: planes with strides, and what their numbers mean.

use thiserror::Error;

mod format;

pub(crate) use format::Packing;
pub use format::{Family, PixelFormat};

/// The longest side of a frame, in pixels.
pub const MAX_SIDE: usize = 32_768;

/// Which numbers stand for black and white.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// 16 to 235 for luma, 16 to 240 for chroma (times 4 at 10 bits).
    Limited,
    /// All of them.
    Full,
}

/// How R'G'B' became Y'CbCr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Matrix {
    Bt601,
    Bt709,
    Bt2020,
}

/// How light became numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// Any of the standard dynamic range curves: taken as it is.
    Sdr,
    /// SMPTE ST 2084, mapped to SDR for the model.
    Pq,
    /// ARIB STD-B67 hybrid log-gamma, mapped to SDR for the model.
    Hlg,
}

/// What the numbers of a frame mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Colorimetry {
    pub range: Range,
    pub matrix: Matrix,
    pub transfer: Transfer,
}

impl Colorimetry {
    /// Full range R'G'B', as pictures have it.
    pub const RGB: Self = Self { range: Range::Full, matrix: Matrix::Bt709, transfer: Transfer::Sdr };
    /// What high definition video without any other word means.
    pub const BT709: Self = Self { range: Range::Limited, matrix: Matrix::Bt709, transfer: Transfer::Sdr };
    /// What standard definition video without any other word means.
    pub const BT601: Self = Self { range: Range::Limited, matrix: Matrix::Bt601, transfer: Transfer::Sdr };
}

/// Whether the rows of a frame were taken at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scan {
    /// All at once.
    Progressive,
    /// Two fields woven into each other; the even rows (the top field) come first in time.
    TopFieldFirst,
    /// Two fields woven into each other; the odd rows (the bottom field) come first in time.
    BottomFieldFirst,
}

/// Where the samples of subsampled chroma lie between those of luma, per axis: on the first of the pixels that they
/// belong to (co-sited) or in their middle. The default, the middle on both axes, is what GStreamer takes unspecified
/// chroma for (`jpeg`); H.264 and its like say `mpeg2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChromaSite {
    /// `GST_VIDEO_CHROMA_SITE_H_COSITED`.
    pub horizontally_cosited: bool,
    /// `GST_VIDEO_CHROMA_SITE_V_COSITED`.
    pub vertically_cosited: bool,
}

impl ChromaSite {
    /// In the middle of its pixels: JPEG, MPEG-1, and what nobody specified.
    pub const JPEG: Self = Self { horizontally_cosited: false, vertically_cosited: false };
    /// Left, and vertically in the middle: MPEG-2, H.264, H.265.
    pub const MPEG2: Self = Self { horizontally_cosited: true, vertically_cosited: false };
    /// Left and top: DV, UHD Blu-ray.
    pub const COSITED: Self = Self { horizontally_cosited: true, vertically_cosited: true };
}

/// One plane of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// From the first byte of the first row on; the last row may end before its stride does.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// A frame whose pixels belong to somebody else. Never copied, never converted as a whole.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    format: PixelFormat,
    width: usize,
    height: usize,
    colorimetry: Colorimetry,
    scan: Scan,
    chroma_site: ChromaSite,
    planes: [Plane<'a>; 3],
}

/// Why bytes are not a frame.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// A side is zero or too large.
    #[error("a frame of {width}x{height} pixels cannot be read")]
    Size {
        /// Pixels.
        width: usize,
        /// Pixels.
        height: usize,
    },
    /// The format has another number of planes.
    #[error("{format} has {expected} plane(s), {given} were given")]
    Planes {
        /// GStreamer's name.
        format: &'static str,
        /// As the format has it.
        expected: usize,
        /// As the caller gave it.
        given: usize,
    },
    /// A row is longer than the stride.
    #[error("plane {plane} has rows of {row} bytes but a stride of {stride}")]
    Stride {
        /// Index of the plane.
        plane: usize,
        /// Bytes of a row.
        row: usize,
        /// Bytes between rows.
        stride: usize,
    },
    /// The bytes end before the last row does.
    #[error("plane {plane} needs {needed} bytes and has {given}")]
    Short {
        /// Index of the plane.
        plane: usize,
        /// Bytes up to the end of the last row.
        needed: usize,
        /// As the caller gave it.
        given: usize,
    },
}

impl<'a> FrameView<'a> {
    /// A frame of `width` x `height` pixels in `planes`, which are those of `format` in GStreamer's order (see
    /// [`PixelFormat::planes`]). Chroma of odd sizes is rounded up. The numbers of RGB and gray formats are as
    /// `colorimetry.range` says, too: pictures are [`Colorimetry::RGB`].
    ///
    /// # Errors
    ///
    /// A side of zero or beyond [`MAX_SIDE`], another number of planes, a stride or a plane that is too short.
    pub fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        colorimetry: Colorimetry,
        scan: Scan,
        planes: &[Plane<'a>],
    ) -> Result<Self, FrameError> {
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(FrameError::Size { width, height });
        }
        let expected = format.planes();
        if planes.len() != expected {
            return Err(FrameError::Planes { format: format.name(), expected, given: planes.len() });
        }
        let mut kept = [Plane { data: &[], stride: 0 }; 3];
        for (index, plane) in planes.iter().enumerate() {
            let row = format.row_bytes(index, width);
            if plane.stride < row {
                return Err(FrameError::Stride { plane: index, row, stride: plane.stride });
            }
            let rows = format.rows(index, height);
            // A sum beyond usize cannot be the length of anything.
            let needed = (rows - 1).checked_mul(plane.stride).and_then(|n| n.checked_add(row)).unwrap_or(usize::MAX);
            if plane.data.len() < needed {
                return Err(FrameError::Short { plane: index, needed, given: plane.data.len() });
            }
            kept[index] = *plane;
        }
        Ok(Self { format, width, height, colorimetry, scan, chroma_site: ChromaSite::default(), planes: kept })
    }

    /// A picture: `width` x `height` pixels of 3 bytes (R, G, B) without gaps.
    ///
    /// # Errors
    ///
    /// As [`FrameView::new`].
    pub fn rgb(width: usize, height: usize, pixels: &'a [u8]) -> Result<Self, FrameError> {
        let plane = Plane { data: pixels, stride: width.saturating_mul(3) };
        Self::new(PixelFormat::Rgb, width, height, Colorimetry::RGB, Scan::Progressive, &[plane])
    }

    /// The same frame with its chroma at `site`.
    #[must_use]
    pub fn with_chroma_site(self, site: ChromaSite) -> Self {
        Self { chroma_site: site, ..self }
    }

    /// Of the pixels.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// In pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// In pixels (both fields together, for interlaced video).
    pub fn height(&self) -> usize {
        self.height
    }

    /// What the numbers mean.
    pub fn colorimetry(&self) -> Colorimetry {
        self.colorimetry
    }

    /// Whether the rows were taken at one moment.
    pub fn scan(&self) -> Scan {
        self.scan
    }

    /// Where the chroma samples lie.
    pub fn chroma_site(&self) -> ChromaSite {
        self.chroma_site
    }

    /// As many as the format has.
    pub fn planes(&self) -> &[Plane<'a>] {
        &self.planes[..self.format.planes()]
    }
}
