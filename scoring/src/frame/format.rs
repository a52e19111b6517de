//! The pixel formats: the one table of where their samples lie.

/// The pixel formats that are read, under GStreamer's names.
///
/// Their memory layouts are those of [GStreamer's list of raw video
/// formats](https://gstreamer.freedesktop.org/documentation/additional/design/mediatype-video-raw.html).
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

/// What the three (or one) components of a format are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Red, green, blue. Alpha and padding are not read.
    Rgb,
    /// Luma and two chroma components, Cb and Cr.
    Yuv,
    /// Luma alone.
    Gray,
}

/// How a row's samples are written down. A row is a sequence of samples of this kind; [`Component`] says which of them
/// belong to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// One byte each.
    Bytes,
    /// Two bytes each, little endian; the value is the 10 bits from bit `shift` on.
    Words {
        /// Of the value's lowest bit.
        shift: u32,
    },
    /// Three in each little endian 32-bit word, 10 bits each, the first in the lowest bits: 12 samples (6 pixels) in 16
    /// bytes.
    V210,
    /// Four in 5 bytes, 10 bits each, the first in the highest bits of the first byte.
    Uyvp,
}

impl Packing {
    /// Bytes that hold the first `samples` samples of a row.
    pub(crate) const fn bytes(self, samples: usize) -> usize {
        match self {
            Self::Bytes => samples,
            Self::Words { .. } => samples * 2,
            Self::V210 => samples.div_ceil(3) * 4,
            Self::Uyvp => (samples * 10).div_ceil(8),
        }
    }

    /// Sample number `index` of `row`, unpacked.
    pub(crate) fn sample(self, row: &[u8], index: usize) -> u16 {
        match self {
            Self::Bytes => u16::from(row[index]),
            Self::Words { shift } => (u16::from_le_bytes([row[2 * index], row[2 * index + 1]]) >> shift) & 0x3ff,
            Self::V210 => {
                let at = index / 3 * 4;
                let word = u32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
                (word >> (10 * (index % 3)) & 0x3ff) as u16
            }
            Self::Uyvp => {
                // A sample begins at bit 0, 2, 4 or 6 of a byte and so always lies in two of them.
                let (at, bit) = (index * 10 / 8, index * 10 % 8);
                let pair = u16::from_be_bytes([row[at], row[at + 1]]);
                pair >> (6 - bit) & 0x3ff
            }
        }
    }
}

/// Where the samples of one component lie in the rows of a plane: at `first`, `first + step`, `first + 2 step`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    /// Index of the plane.
    pub(crate) plane: usize,
    /// Index of the first sample in a row.
    pub(crate) first: usize,
    /// Samples from one of this component to the next.
    pub(crate) step: usize,
}

/// A row of the table of formats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Info {
    /// GStreamer's name.
    name: &'static str,
    pub(crate) family: Family,
    pub(crate) packing: Packing,
    /// Number of planes.
    planes: usize,
    /// Pixels to one chroma sample, horizontally and vertically.
    pub(crate) subsampling: (usize, usize),
    /// Red, green, blue, or Y, Cb, Cr. For gray thrice the same.
    pub(crate) components: [Component; 3],
}

const fn at(plane: usize, first: usize, step: usize) -> Component {
    Component { plane, first, step }
}

const fn rgb(name: &'static str, step: usize, [r, g, b]: [usize; 3]) -> Info {
    Info {
        name,
        family: Family::Rgb,
        packing: Packing::Bytes,
        planes: 1,
        subsampling: (1, 1),
        components: [at(0, r, step), at(0, g, step), at(0, b, step)],
    }
}

const fn yuv(
    name: &'static str,
    packing: Packing,
    planes: usize,
    subsampling: (usize, usize),
    components: [Component; 3],
) -> Info {
    Info { name, family: Family::Yuv, packing, planes, subsampling, components }
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

    /// The table.
    pub(crate) const fn info(self) -> Info {
        use Packing::{Bytes, Uyvp, V210, Words};
        const LOW: Packing = Words { shift: 0 };
        const HIGH: Packing = Words { shift: 6 };
        const PLANAR: [Component; 3] = [at(0, 0, 1), at(1, 0, 1), at(2, 0, 1)];
        // Cb Y0 Cr Y1
        const UYVY: [Component; 3] = [at(0, 1, 2), at(0, 0, 4), at(0, 2, 4)];
        // Y0 Cb Y1 Cr
        const YUYV: [Component; 3] = [at(0, 0, 2), at(0, 1, 4), at(0, 3, 4)];
        const INTERLEAVED: [Component; 3] = [at(0, 0, 1), at(1, 0, 2), at(1, 1, 2)];
        match self {
            Self::Rgb => rgb("RGB", 3, [0, 1, 2]),
            Self::Bgr => rgb("BGR", 3, [2, 1, 0]),
            Self::Rgbx => rgb("RGBx", 4, [0, 1, 2]),
            Self::Bgrx => rgb("BGRx", 4, [2, 1, 0]),
            Self::Rgba => rgb("RGBA", 4, [0, 1, 2]),
            Self::Bgra => rgb("BGRA", 4, [2, 1, 0]),
            Self::Xrgb => rgb("xRGB", 4, [1, 2, 3]),
            Self::Argb => rgb("ARGB", 4, [1, 2, 3]),
            Self::Xbgr => rgb("xBGR", 4, [3, 2, 1]),
            Self::Abgr => rgb("ABGR", 4, [3, 2, 1]),
            Self::Gray8 => Info {
                name: "GRAY8",
                family: Family::Gray,
                packing: Bytes,
                planes: 1,
                subsampling: (1, 1),
                components: [at(0, 0, 1); 3],
            },
            Self::Nv12 => yuv("NV12", Bytes, 2, (2, 2), INTERLEAVED),
            Self::Nv21 => yuv("NV21", Bytes, 2, (2, 2), [at(0, 0, 1), at(1, 1, 2), at(1, 0, 2)]),
            Self::I420 => yuv("I420", Bytes, 3, (2, 2), PLANAR),
            Self::Yv12 => yuv("YV12", Bytes, 3, (2, 2), [at(0, 0, 1), at(2, 0, 1), at(1, 0, 1)]),
            Self::Yuy2 => yuv("YUY2", Bytes, 1, (2, 1), YUYV),
            Self::Uyvy => yuv("UYVY", Bytes, 1, (2, 1), UYVY),
            Self::Y42b => yuv("Y42B", Bytes, 3, (2, 1), PLANAR),
            Self::Y444 => yuv("Y444", Bytes, 3, (1, 1), PLANAR),
            Self::P010Le => yuv("P010_10LE", HIGH, 2, (2, 2), INTERLEAVED),
            Self::I420_10Le => yuv("I420_10LE", LOW, 3, (2, 2), PLANAR),
            Self::I422_10Le => yuv("I422_10LE", LOW, 3, (2, 1), PLANAR),
            Self::V210 => yuv("v210", V210, 1, (2, 1), UYVY),
            Self::Uyvp => yuv("UYVP", Uyvp, 1, (2, 1), UYVY),
            Self::Y210 => yuv("Y210", HIGH, 1, (2, 1), YUYV),
        }
    }

    /// GStreamer's name (`GstVideoFormat`).
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The format of that GStreamer name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }

    /// What its components are.
    pub const fn family(self) -> Family {
        self.info().family
    }

    /// Number of planes, in the order in which GStreamer numbers them (the order in memory, so that plane 1 of YV12 is
    /// Cr and plane 1 of I420 is Cb).
    pub const fn planes(self) -> usize {
        self.info().planes
    }

    /// Bits of a sample: 8 or 10.
    pub const fn depth(self) -> u32 {
        match self.info().packing {
            Packing::Bytes => 8,
            _ => 10,
        }
    }

    /// Pixels to one chroma sample, horizontally and vertically.
    pub const fn subsampling(self) -> (usize, usize) {
        self.info().subsampling
    }

    /// Bytes of a row of `plane` in a frame `width` pixels wide, up to its last sample that is read: the least stride.
    /// Zero for a plane that the format does not have.
    pub fn row_bytes(self, plane: usize, width: usize) -> usize {
        let info = self.info();
        (0..3)
            .filter(|&c| info.components[c].plane == plane)
            .map(|c| {
                let component = info.components[c];
                info.packing.bytes(component.first + component.step * (self.samples(c, width) - 1) + 1)
            })
            .max()
            .unwrap_or(0)
    }

    /// Rows of `plane` in a frame `height` pixels high. Zero for a plane that the format does not have.
    pub fn rows(self, plane: usize, height: usize) -> usize {
        let info = self.info();
        match (0..3).find(|&c| info.components[c].plane == plane) {
            Some(0) => height,
            Some(_) => height.div_ceil(info.subsampling.1),
            None => 0,
        }
    }

    /// Samples of a component in a row of a frame `width` pixels wide. Odd widths round up.
    pub(crate) fn samples(self, component: usize, width: usize) -> usize {
        let info = self.info();
        match (component, info.family) {
            (1 | 2, Family::Yuv) => width.div_ceil(info.subsampling.0),
            _ => width,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again() {
        for format in PixelFormat::ALL {
            assert_eq!(PixelFormat::from_name(format.name()), Some(format));
        }
        assert_eq!(PixelFormat::from_name("AYUV"), None);
    }

    #[test]
    fn rows_are_as_long_as_their_last_sample() {
        for (format, plane, width, bytes) in [
            (PixelFormat::Rgb, 0, 65, 195),
            (PixelFormat::Nv12, 0, 65, 65),
            (PixelFormat::Nv12, 1, 65, 66),
            (PixelFormat::Nv12, 2, 65, 0),
            (PixelFormat::P010Le, 1, 65, 132),
            (PixelFormat::I420, 2, 65, 33),
            (PixelFormat::V210, 0, 48, 128),
            (PixelFormat::V210, 0, 6, 16),
            (PixelFormat::Uyvp, 0, 64, 160),
            (PixelFormat::Uyvp, 0, 65, 164),
            (PixelFormat::Y210, 0, 64, 256),
            (PixelFormat::Y210, 0, 65, 264),
        ] {
            assert_eq!(format.row_bytes(plane, width), bytes, "{} plane {plane} width {width}", format.name());
        }
    }

    #[test]
    fn ten_bit_samples_are_where_the_formats_say() {
        // 12 samples of v210, in their order.
        let samples: Vec<u32> = (0..12).map(|i| 85 * i + 3).collect();
        let v210: Vec<u8> = samples.chunks(3).flat_map(|c| (c[0] | c[1] << 10 | c[2] << 20).to_le_bytes()).collect();
        // 4 samples of UYVP as one 40-bit big endian number.
        let number = samples[..4].iter().fold(0u64, |n, &s| n << 10 | u64::from(s));
        let uyvp = &number.to_be_bytes()[3..];
        for (i, &s) in samples.iter().enumerate() {
            assert_eq!(u32::from(Packing::V210.sample(&v210, i)), s);
            if i < 4 {
                assert_eq!(u32::from(Packing::Uyvp.sample(uyvp, i)), s);
            }
        }
        assert_eq!(Packing::Words { shift: 6 }.sample(&0xffc0u16.to_le_bytes(), 0), 1023);
        assert_eq!(Packing::Words { shift: 0 }.sample(&0x0155u16.to_le_bytes(), 0), 0x155);
    }
}
