//! Blends small pictures into frames of every format, in place and nowhere else.
//!
//! `GstVideoOverlayComposition` can blend too, but unpacks and packs whole rows whatever the picture's width, and takes
//! all video for limited range BT.709.

use gst_video::prelude::*;

/// Pixels from (`x0`, `y0`) up to but without (`x1`, `y1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x0: i32,
    pub(super) y0: i32,
    pub(super) x1: i32,
    pub(super) y1: i32,
}

impl Area {
    pub(super) const fn new(x0: i32, y0: i32, x1: i32, y1: i32) -> Self {
        Self { x0, y0, x1, y1 }
    }

    pub(super) fn width(self) -> i32 {
        self.x1.saturating_sub(self.x0)
    }

    pub(super) fn height(self) -> i32 {
        self.y1.saturating_sub(self.y0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.x0 >= self.x1 || self.y0 >= self.y1
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            x0: self.x0.max(other.x0),
            y0: self.y0.max(other.y0),
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
        }
    }
}

/// A pixel: alpha, red, green, blue from the highest byte down, the colours multiplied by alpha.
pub(super) type Argb = u32;

/// A picture to be blended.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Row by row.
    pub(super) pixels: Vec<Argb>,
}

/// Where the samples of a component are in a row.
#[derive(Clone, Copy, Debug)]
enum Samples {
    /// One byte each, from byte `first` on, `step` bytes apart.
    Bytes { first: usize, step: usize },
    /// As above, but two bytes, little endian; the value is the 10 bits from bit `shift` on.
    Words { first: usize, step: usize, shift: u32 },
    /// 10 bits each, three in a little endian word of 4 bytes; `first` and `step` count samples.
    V210 { first: usize, step: usize },
    /// 10 bits each, without gaps, big endian; `first` and `step` count samples.
    Uyvp { first: usize, step: usize },
}

/// One component of the format.
#[derive(Clone, Copy, Debug)]
struct Component {
    plane: u32,
    samples: Samples,
    /// Pixels to a sample are 1 << these.
    sub: (u32, u32),
    /// The value of black, or of no colour.
    offset: f32,
    /// What full red, green and blue add to it.
    gains: [f32; 3],
}

/// What has gathered for one sample: alpha, and alpha times value, both 255 times too large and summed over its pixels.
#[derive(Clone, Copy, Debug, Default)]
struct Mix {
    alpha: f32,
    value: f32,
}

/// Frames of one kind of caps, as something to draw on.
#[derive(Debug)]
pub(super) struct Canvas {
    area: Area,
    components: Vec<Component>,
    alpha: Option<Component>,
    premultiplied: bool,
    /// Two fields in each frame, whatever the single frame says.
    woven: bool,
    row: Vec<Mix>,
}

impl Canvas {
    pub(super) fn new(info: &gst_video::VideoInfo) -> Self {
        let format = info.format_info();
        let (offsets, scales) = format.range_offsets(info.colorimetry().range());
        let component = |index: usize| {
            let (plane, sub) = (format.plane()[index], (format.w_sub()[index], format.h_sub()[index]));
            let first = format.poffset()[index] as usize;
            let step = format.pixel_stride()[index] as usize;
            let (first_sample, sample_step) = [(1, 2), (0, 4), (2, 4)][index.min(2)];
            let samples = match format.format() {
                gst_video::VideoFormat::V210 => Samples::V210 { first: first_sample, step: sample_step },
                gst_video::VideoFormat::Uyvp => Samples::Uyvp { first: first_sample, step: sample_step },
                // GStreamer 1.22 leaves offsets and shifts out of its description.
                gst_video::VideoFormat::Y210 => Samples::Words { first: [0, 2, 6][index.min(2)], step, shift: 6 },
                _ if format.depth()[index] > 8 => {
                    // GStreamer 1.22 counts samples where it should count bytes: P010's Cr begins at "1".
                    let first = if first.is_multiple_of(2) { first } else { 2 * first };
                    Samples::Words { first, step, shift: format.shift()[index] }
                }
                _ => Samples::Bytes { first, step },
            };
            let gains = gains(info, index).map(|g| g * scales[index] as f32);
            Component { plane, samples, sub, offset: offsets[index] as f32, gains }
        };
        let colours = if format.is_gray() { 1 } else { 3 };
        Self {
            area: Area::new(0, 0, info.width() as i32, info.height() as i32),
            components: (0..colours).map(component).collect(),
            alpha: format.has_alpha().then(|| Component { offset: 255.0, gains: [0.0; 3], ..component(3) }),
            premultiplied: info.flags().contains(gst_video::VideoFlags::PREMULTIPLIED_ALPHA),
            woven: info.interlace_mode() == gst_video::VideoInterlaceMode::Interleaved,
            row: Vec::new(),
        }
    }

    /// All of the frame.
    pub(super) fn area(&self) -> Area {
        self.area
    }

    /// Blends the pixels that `paint` gives for each place of `area` into a frame of the canvas' caps.
    pub(super) fn blend(
        &mut self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
        area: Area,
        paint: impl Fn(i32, i32) -> Argb,
    ) {
        let area = area.and(self.area);
        if area.is_empty() {
            return;
        }
        let mut mixes = std::mem::take(&mut self.row);
        for component in &self.components {
            let weigh = self.alpha.filter(|_| !self.premultiplied);
            self.blend_component(frame, area, &paint, component, weigh, &mut mixes);
        }
        // Alpha last: the colours are weighed with what was there.
        if let Some(alpha) = &self.alpha {
            self.blend_component(frame, area, &paint, alpha, None, &mut mixes);
        }
        self.row = mixes;
    }

    fn blend_component(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
        area: Area,
        paint: &impl Fn(i32, i32) -> Argb,
        component: &Component,
        weigh: Option<Component>,
        mixes: &mut Vec<Mix>,
    ) {
        let woven = self.woven || frame.flags().contains(gst_video::VideoFrameFlags::INTERLACED);
        let (ws, hs) = component.sub;
        let first = area.x0 >> ws;
        let count = (((area.x1 - 1) >> ws) - first + 1) as usize;
        // Rows from bottom to top are nobody's.
        let Ok(stride) = usize::try_from(frame.plane_stride()[component.plane as usize]) else { return };
        // One more at each side: the rows of a field lie further apart.
        for row in (area.y0 >> hs) - 1..=(area.y1 >> hs) + 1 {
            let rows = rows_of(row, hs, woven).filter(|y| (0..self.area.y1).contains(y));
            mixes.clear();
            mixes.resize(count, Mix::default());
            let (mut high, mut any) = (0, false);
            for y in rows {
                high += 1;
                if !(area.y0..area.y1).contains(&y) {
                    continue;
                }
                for x in area.x0..area.x1 {
                    let [a, r, g, b] = paint(x, y).to_be_bytes();
                    if a == 0 {
                        continue;
                    }
                    any = true;
                    let mix = &mut mixes[((x >> ws) - first) as usize];
                    let colour: f32 =
                        component.gains.iter().zip([r, g, b]).map(|(gain, part)| gain * f32::from(part)).sum();
                    mix.alpha += f32::from(a);
                    mix.value += component.offset * f32::from(a) + colour;
                }
            }
            if !any {
                continue;
            }
            if let Some(alpha) = weigh {
                weigh_by_alpha(frame, alpha, first, row, mixes);
            }
            let width = self.area.x1;
            let samples = |index: usize| {
                // At the right edge of odd widths a sample has fewer pixels.
                let wide = (width - ((first + index as i32) << ws)).min(1 << ws);
                255.0 * (wide * high) as f32
            };
            let data = deepfake_frames::plane_mut(frame, component.plane as usize);
            let end = data.len().min((row as usize + 1) * stride);
            if let Some(data) = data.get_mut(row as usize * stride..end) {
                mix_row(component.samples, data, first as usize, mixes, samples);
            }
        }
    }
}

/// Where the frame is transparent, what is drawn covers it more than where it is opaque.
fn weigh_by_alpha(
    frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    alpha: Component,
    first: i32,
    row: i32,
    mixes: &mut [Mix],
) {
    let Samples::Bytes { first: offset, step } = alpha.samples else { return };
    let Ok(stride) = usize::try_from(frame.plane_stride()[alpha.plane as usize]) else { return };
    let data = deepfake_frames::plane_mut(frame, alpha.plane as usize);
    let start = row as usize * stride + offset;
    for (index, mix) in mixes.iter_mut().enumerate() {
        let there = data.get(start + (first as usize + index) * step).map_or(1.0, |&v| f32::from(v) / 255.0);
        let drawn = mix.alpha / 255.0;
        let both = drawn + there * (1.0 - drawn);
        if both > 0.0 {
            mix.alpha /= both;
            mix.value /= both;
        }
    }
}

/// The rows of pixels that share row `row` of a component. In woven fields these are rows of one field.
fn rows_of(row: i32, sub: u32, woven: bool) -> impl Iterator<Item = i32> {
    let (start, step) = match (sub, woven) {
        (0, _) => (row, 1),
        (_, false) => (row << sub, 1),
        (_, true) => ((row >> 1 << (sub + 1)) + (row & 1), 2),
    };
    (0..1 << sub).map(move |i| start + i * step)
}

/// What full red, green and blue add to a component, in parts of its range.
fn gains(info: &gst_video::VideoInfo, index: usize) -> [f32; 3] {
    let colorimetry = info.colorimetry();
    // In HDR full scale is the brightest highlight; graphics are as bright as paper (203 cd/m², ITU-R BT.2408).
    let white = match colorimetry.transfer() {
        gst_video::VideoTransferFunction::Smpte2084 => 0.58,
        gst_video::VideoTransferFunction::AribStdB67 => 0.75,
        _ => 1.0,
    };
    let mut gains = [0.0; 3];
    if info.is_rgb() {
        gains[index.min(2)] = white;
        return gains;
    }
    let (kr, kb) = match colorimetry.matrix().kr_kb() {
        Ok(k) => k,
        Err(_) if info.height() >= 720 => (0.2126, 0.0722),
        Err(_) => (0.299, 0.114),
    };
    let luma = [kr, 1.0 - kr - kb, kb];
    let chroma = |of: usize| {
        let span = 2.0 * (1.0 - luma[of]);
        std::array::from_fn(|i| (if i == of { 1.0 - luma[i] } else { -luma[i] }) / span)
    };
    let gains: [f64; 3] = match index {
        0 => luma,
        1 => chroma(2),
        _ => chroma(0),
    };
    gains.map(|g| g as f32 * white)
}

/// Samples that can be read and written; one that has no room in the row is none.
trait Access {
    const MAX: f32;
    fn get(&self, row: &[u8], index: usize) -> Option<u16>;
    fn put(&self, row: &mut [u8], index: usize, value: u16);
}

struct Bytes(usize, usize);

impl Access for Bytes {
    const MAX: f32 = 255.0;

    fn get(&self, row: &[u8], index: usize) -> Option<u16> {
        row.get(self.0 + index * self.1).map(|&v| v.into())
    }

    fn put(&self, row: &mut [u8], index: usize, value: u16) {
        row[self.0 + index * self.1] = value as u8;
    }
}

/// 10 bits somewhere in a word of bytes.
trait Word: Copy {
    /// Where the word of a sample begins, and the value's lowest bit in it.
    fn place(self, index: usize) -> (usize, u32);
    fn read(self, bytes: &[u8]) -> Option<u32>;
    fn write(self, bytes: &mut [u8], word: u32);
}

impl<W: Word> Access for W {
    const MAX: f32 = 1023.0;

    fn get(&self, row: &[u8], index: usize) -> Option<u16> {
        let (at, shift) = self.place(index);
        Some((self.read(row.get(at..)?)? >> shift & 0x3ff) as u16)
    }

    fn put(&self, row: &mut [u8], index: usize, value: u16) {
        let (at, shift) = self.place(index);
        if let Some(word) = row.get(at..).and_then(|bytes| self.read(bytes)) {
            self.write(&mut row[at..], word & !(0x3ff << shift) | u32::from(value) << shift);
        }
    }
}

#[derive(Clone, Copy)]
struct Words(usize, usize, u32);

impl Word for Words {
    fn place(self, index: usize) -> (usize, u32) {
        (self.0 + index * self.1, self.2)
    }

    fn read(self, bytes: &[u8]) -> Option<u32> {
        bytes.first_chunk().map(|b| u16::from_le_bytes(*b).into())
    }

    fn write(self, bytes: &mut [u8], word: u32) {
        bytes[..2].copy_from_slice(&(word as u16).to_le_bytes());
    }
}

#[derive(Clone, Copy)]
struct V210(usize, usize);

impl Word for V210 {
    fn place(self, index: usize) -> (usize, u32) {
        let sample = self.0 + index * self.1;
        (sample / 3 * 4, 10 * (sample % 3) as u32)
    }

    fn read(self, bytes: &[u8]) -> Option<u32> {
        bytes.first_chunk().map(|b| u32::from_le_bytes(*b))
    }

    fn write(self, bytes: &mut [u8], word: u32) {
        bytes[..4].copy_from_slice(&word.to_le_bytes());
    }
}

#[derive(Clone, Copy)]
struct Uyvp(usize, usize);

impl Word for Uyvp {
    fn place(self, index: usize) -> (usize, u32) {
        // A sample begins at bit 0, 2, 4 or 6 of a byte and so always lies in two of them.
        let bit = (self.0 + index * self.1) * 10;
        (bit / 8, 6 - (bit % 8) as u32)
    }

    fn read(self, bytes: &[u8]) -> Option<u32> {
        bytes.first_chunk().map(|b| u16::from_be_bytes(*b).into())
    }

    fn write(self, bytes: &mut [u8], word: u32) {
        bytes[..2].copy_from_slice(&(word as u16).to_be_bytes());
    }
}

/// Blends `mixes` into the samples of `row` from number `first` on; `full` is the alpha of full cover of each.
fn mix_row(samples: Samples, row: &mut [u8], first: usize, mixes: &[Mix], full: impl Fn(usize) -> f32) {
    fn with<A: Access>(access: &A, row: &mut [u8], first: usize, mixes: &[Mix], full: impl Fn(usize) -> f32) {
        for (index, mix) in mixes.iter().enumerate() {
            if mix.alpha <= 0.0 {
                continue;
            }
            if let Some(there) = access.get(row, first + index) {
                let there = f32::from(there);
                let value = there + (mix.value - there * mix.alpha) / full(index);
                access.put(row, first + index, (value + 0.5).clamp(0.0, A::MAX) as u16);
            }
        }
    }
    match samples {
        Samples::Bytes { first: f, step } => with(&Bytes(f, step), row, first, mixes, full),
        Samples::Words { first: f, step, shift } => with(&Words(f, step, shift), row, first, mixes, full),
        Samples::V210 { first: f, step } => with(&V210(f, step), row, first, mixes, full),
        Samples::Uyvp { first: f, step } => with(&Uyvp(f, step), row, first, mixes, full),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chroma_rows_belong_to_rows_of_their_field() {
        let rows = |row, woven| rows_of(row, 1, woven).collect::<Vec<_>>();
        assert_eq!((rows(0, false), rows(3, false)), (vec![0, 1], vec![6, 7]));
        assert_eq!((rows(0, true), rows(1, true), rows(2, true)), (vec![0, 2], vec![1, 3], vec![4, 6]));
        assert_eq!(rows_of(5, 0, true).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn ten_bit_samples_are_written_where_they_are_read_and_nowhere_else() {
        fn check(access: &impl Access) {
            let mut row = [0xa5u8; 32];
            for index in 0..4 {
                let before: Vec<_> = (0..4).map(|i| access.get(&row, i)).collect();
                access.put(&mut row, index, 0x2aa + index as u16);
                for (other, before) in before.into_iter().enumerate() {
                    let now = access.get(&row, other);
                    assert_eq!(now, if other == index { Some(0x2aa + index as u16) } else { before });
                }
            }
            assert_eq!(access.get(&row, 100), None);
        }
        for first in 0..3 {
            check(&V210(first, 4));
            check(&Uyvp(first, 4));
            check(&Words(2 * first, 8, 6));
        }
    }
}
