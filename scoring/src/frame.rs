//! Borrowed views of video frames: planes with strides, and what their numbers mean.

use thiserror::Error;

/// The pixel formats that are read, under GStreamer's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PixelFormat {
    Rgb,
    Bgr,
    Rgbx,
    Bgrx,
    Rgba,
    Bgra,
    Xrgb,
    Argb,
    Xbgr,
    Abgr,
    Gray8,
    Nv12,
    Nv21,
    I420,
    Yv12,
    Yuy2,
    Uyvy,
    Y42b,
    Y444,
    P010Le,
    I420_10Le,
    I422_10Le,
    V210,
    Uyvp,
    Y210,
}

impl PixelFormat {
    /// All of them: the one list from which caps, documentation and tests are made.
    pub const ALL: [Self; 25] = [
        Self::Nv12,
        Self::I420,
        Self::Nv21,
        Self::Yv12,
        Self::Yuy2,
        Self::Uyvy,
        Self::Y42b,
        Self::Y444,
        Self::P010Le,
        Self::I420_10Le,
        Self::I422_10Le,
        Self::V210,
        Self::Uyvp,
        Self::Y210,
        Self::Rgb,
        Self::Bgr,
        Self::Rgbx,
        Self::Bgrx,
        Self::Rgba,
        Self::Bgra,
        Self::Xrgb,
        Self::Argb,
        Self::Xbgr,
        Self::Abgr,
        Self::Gray8,
    ];

    /// GStreamer's name (`GstVideoFormat`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Rgb => "RGB",
            Self::Bgr => "BGR",
            Self::Rgbx => "RGBx",
            Self::Bgrx => "BGRx",
            Self::Rgba => "RGBA",
            Self::Bgra => "BGRA",
            Self::Xrgb => "xRGB",
            Self::Argb => "ARGB",
            Self::Xbgr => "xBGR",
            Self::Abgr => "ABGR",
            Self::Gray8 => "GRAY8",
            Self::Nv12 => "NV12",
            Self::Nv21 => "NV21",
            Self::I420 => "I420",
            Self::Yv12 => "YV12",
            Self::Yuy2 => "YUY2",
            Self::Uyvy => "UYVY",
            Self::Y42b => "Y42B",
            Self::Y444 => "Y444",
            Self::P010Le => "P010_10LE",
            Self::I420_10Le => "I420_10LE",
            Self::I422_10Le => "I422_10LE",
            Self::V210 => "v210",
            Self::Uyvp => "UYVP",
            Self::Y210 => "Y210",
        }
    }

    /// The format of that GStreamer name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }
}

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
    /// Of the pixels' format.
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
}
