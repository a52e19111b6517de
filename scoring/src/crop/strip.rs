//! The fast cropper: eight rows of the target at a time.
//!
//! A strip of eight target rows is made in three steps, each of which works on vectors of those eight rows:
//!
//! 1. [`vertical`]: rows of a plane, as they lie in memory (whatever is interleaved stays interleaved), are weighted and
//!    summed to eight rows of numbers, which are transposed: for each column of the plane, one vector.
//! 2. [`horizontal`]: for each component and target column, the vectors of the columns are weighted and summed.
//! 3. [`finish`]: colour, limits, normalization, transposed again into the tensor.
//!
//! No step sees more of the frame than the samples under the region, and none of them gathers.

use super::TensorSpec;
use super::color::Color;
use super::grid::Grid;
use super::simd::{LANES, Lanes, Simd, Work};
use super::taps::Taps;
use super::unpack;
use crate::contract::{Channels, Layout};
use crate::frame::{Family, FrameView, Packing};

/// Brings pixels of a packed row, from one on, so many, into bytes.
type Unpack = fn(&[u8], usize, usize, &mut [u8]);

/// All that is needed for a crop.
pub(super) struct Job<'a, 'f> {
    pub(super) frame: &'a FrameView<'f>,
    pub(super) spec: &'a TensorSpec,
    pub(super) color: Color,
    /// The rows of plane 0 and of the others.
    pub(super) rows: [&'a Grid; 2],
    /// The weights of rows for plane 0 and for the others.
    pub(super) row_taps: [&'a Taps; 2],
    /// The weights of columns for the first component and for the others.
    pub(super) column_taps: [&'a Taps; 2],
    pub(super) scratch: &'a mut Scratch,
    pub(super) out: &'a mut [f32],
}

/// Memory of a strip.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Of one plane: a vector for each column that is needed.
    columns: Vec<Lanes>,
    /// Of each component: a vector for each target column.
    components: [Vec<Lanes>; 3],
    /// Where in the plane the rows of each tap begin.
    offsets: Vec<usize>,
    /// Rows of a bit-packed plane, as words.
    words: Vec<u8>,
}

impl Work for Job<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let components = if self.frame.format().family() == Family::Gray { 1 } else { 3 };
        for component in &mut self.scratch.components[..components] {
            component.resize(self.spec.width.next_multiple_of(LANES), Lanes::default());
        }
        for top in (0..self.spec.height).step_by(LANES) {
            for plane in 0..self.frame.planes().len() {
                self.plane(simd, plane, components, top);
            }
            self.finish(simd, top);
        }
    }
}

impl Job<'_, '_> {
    /// Steps 1 and 2 for one plane and the components in it.
    #[inline(always)]
    fn plane<S: Simd>(&mut self, simd: S, plane: usize, components: usize, top: usize) {
        let info = self.frame.format().info();
        let taps_of = |c: usize| self.column_taps[usize::from(c > 0)];
        let mine = |c: &usize| info.components[*c].plane == plane;
        // The samples of a row between the first and the last that are needed.
        let (mut begin, mut end) = (usize::MAX, 0);
        for c in (0..components).filter(mine) {
            let (component, taps) = (info.components[c], taps_of(c));
            begin = begin.min(component.first + component.step * taps.begin);
            end = end.max(component.first + component.step * (taps.end - 1) + 1);
        }
        let row_taps = self.row_taps[plane.min(1)];
        let rows = self.rows[plane.min(1)];
        let scratch = &mut *self.scratch;

        let source = self.frame.planes()[plane];
        // The strip's last target row repeats where the target ends.
        let target_row = |lane: usize| (top + lane).min(self.spec.height - 1);
        let row_of = |index: usize| rows.first + rows.step * index.min(rows.count - 1);
        scratch.offsets.clear();
        let (data, shift) = match info.packing {
            Packing::Bytes | Packing::Words { .. } => {
                let (size, shift) =
                    if let Packing::Words { shift } = info.packing { (2, Some(shift)) } else { (1, None) };
                for lane in 0..LANES {
                    let start = row_taps.starts[target_row(lane)];
                    let offset = |k| row_of(start + k) * source.stride + begin * size;
                    scratch.offsets.extend((0..row_taps.len).map(offset));
                }
                (source.data, shift)
            }
            Packing::V210 | Packing::Uyvp => {
                let (group, unpack): (usize, Unpack) =
                    if info.packing == Packing::V210 { (3, unpack::v210) } else { (4, unpack::uyvp) };
                begin -= begin % group;
                let first = (0..LANES).map(|lane| row_taps.starts[target_row(lane)]).min().unwrap_or(0);
                let last = (0..LANES).map(|lane| row_taps.starts[target_row(lane)]).max().unwrap_or(0) + row_taps.len;
                let last = last.min(rows.count);
                let size = 2 * (end - begin);
                scratch.words.resize(scratch.words.len().max(size * (last - first)), 0);
                for (index, words) in (first..last).zip(scratch.words.chunks_exact_mut(size)) {
                    let at = row_of(index) * source.stride;
                    let row = &source.data[at..source.data.len().min(at + info.packing.bytes(end))];
                    unpack(row, begin, end, words);
                }
                for lane in 0..LANES {
                    let start = row_taps.starts[target_row(lane)];
                    let offset = |k: usize| ((start + k).min(rows.count - 1) - first) * size;
                    scratch.offsets.extend((0..row_taps.len).map(offset));
                }
                (scratch.words.as_slice(), Some(0))
            }
        };

        let needed = end - begin;
        let padding = (0..components).filter(mine).map(|c| info.components[c].step * taps_of(c).len).max().unwrap_or(0);
        if scratch.columns.len() < needed + padding {
            scratch.columns.resize(needed + padding, Lanes::default());
        }
        // As many weights as offsets; those of the repeated last row come from a row of its own.
        let weights = |lane: usize| &row_taps.weights[target_row(lane) * row_taps.len..][..row_taps.len];
        let weights: [&[f32]; LANES] = std::array::from_fn(weights);
        let columns = &mut scratch.columns[..needed];
        match shift {
            None => by_taps(simd, Bytes, data, &scratch.offsets, weights, columns),
            Some(shift) => by_taps(simd, Words { shift }, data, &scratch.offsets, weights, columns),
        }

        for c in (0..components).filter(mine) {
            let (component, taps) = (info.components[c], taps_of(c));
            let target = &mut scratch.components[c][..self.spec.width];
            // Before `begin` there may be samples of other components only.
            let from = |start: usize| component.first + component.step * start - begin;
            match taps.len {
                1 => horizontal::<S, 1>(simd, &scratch.columns, taps, from, component.step, target),
                2 => horizontal::<S, 2>(simd, &scratch.columns, taps, from, component.step, target),
                3 => horizontal::<S, 3>(simd, &scratch.columns, taps, from, component.step, target),
                4 => horizontal::<S, 4>(simd, &scratch.columns, taps, from, component.step, target),
                5 => horizontal::<S, 5>(simd, &scratch.columns, taps, from, component.step, target),
                _ => horizontal::<S, 0>(simd, &scratch.columns, taps, from, component.step, target),
            }
        }
    }

    /// Step 3.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, top: usize) {
        let TensorSpec { layout, width, height, channels, .. } = *self.spec;
        let count = channels.count();
        let rows = (height - top).min(LANES);
        let [a, b, c] = &self.scratch.components;
        let gray = self.frame.format().family() == Family::Gray;
        let (b, c) = if gray { (a, a) } else { (b, c) };
        let scale: [S::Vector; 3] = std::array::from_fn(|i| simd.splat(self.spec.scale / self.spec.std[i]));
        let shift: [S::Vector; 3] = std::array::from_fn(|i| simd.splat(-self.spec.mean[i] / self.spec.std[i]));
        let color = self.color.on(simd);
        // Written over by each block; made here, because compilers make a call of its zeros.
        let mut made = [[simd.splat(0.0); LANES]; 3];
        for left in (0..width).step_by(LANES) {
            for i in 0..LANES {
                let components = [&a[left + i], &b[left + i], &c[left + i]].map(|v| simd.load(v));
                let rgb = color.rgb(simd, components);
                match channels {
                    Channels::Rgb => (0..3).for_each(|c| made[c][i] = simd.mul_add(rgb[c], scale[c], shift[c])),
                    Channels::Bgr => (0..3).for_each(|c| made[c][i] = simd.mul_add(rgb[2 - c], scale[c], shift[c])),
                    Channels::Gray => made[0][i] = simd.mul_add(color.gray(simd, rgb), scale[0], shift[0]),
                }
            }
            let columns = (width - left).min(LANES);
            for (c, made) in made.iter().enumerate().take(count) {
                let vectors = simd.transpose(*made);
                let (start, row_step, step) = match layout {
                    Layout::Nchw => ((c * height + top) * width + left, width, 1),
                    Layout::Nhwc => ((top * width + left) * count + c, width * count, count),
                };
                let out = &mut self.out[start..];
                // Whole blocks without a loop over numbers: compilers make a call of that.
                if step == 1 && columns == LANES && rows == LANES {
                    for (row, vector) in vectors.into_iter().enumerate() {
                        if let Some(out) = out[row * row_step..].first_chunk_mut() {
                            simd.write(vector, out);
                        }
                    }
                    continue;
                }
                for (row, vector) in vectors.into_iter().enumerate().take(rows) {
                    let mut numbers = [0.0; LANES];
                    simd.write(vector, &mut numbers);
                    for (out, number) in out[row * row_step..].iter_mut().step_by(step).zip(&numbers[..columns]) {
                        *out = *number;
                    }
                }
            }
        }
    }
}

/// How eight samples of a row are read.
trait Source: Copy {
    /// Of a sample.
    const SIZE: usize;
    /// Reads eight, of which there are at least as many as `data` is long.
    fn read<S: Simd>(self, simd: S, data: &[u8], at: usize) -> S::Vector;
    /// Reads eight.
    ///
    /// # Safety
    ///
    /// There are eight in `data` from the byte `at` on.
    unsafe fn read_all<S: Simd>(self, simd: S, data: &[u8], at: usize) -> S::Vector;
}

/// 8-bit samples.
#[derive(Clone, Copy)]
struct Bytes;

/// 10-bit samples in words.
#[derive(Clone, Copy)]
struct Words {
    shift: u32,
}

impl Source for Bytes {
    const SIZE: usize = 1;

    #[inline(always)]
    fn read<S: Simd>(self, simd: S, data: &[u8], at: usize) -> S::Vector {
        match data[at..].first_chunk() {
            Some(bytes) => simd.bytes(bytes),
            None => {
                let mut bytes = [0; LANES];
                bytes[..data.len() - at].copy_from_slice(&data[at..]);
                simd.bytes(&bytes)
            }
        }
    }

    #[inline(always)]
    unsafe fn read_all<S: Simd>(self, simd: S, data: &[u8], at: usize) -> S::Vector {
        debug_assert!(at + LANES <= data.len());
        // SAFETY: the caller has looked that they are there; bytes need no alignment.
        simd.bytes(unsafe { &*data.as_ptr().add(at).cast() })
    }
}

impl Source for Words {
    const SIZE: usize = 2;

    #[inline(always)]
    fn read<S: Simd>(self, simd: S, data: &[u8], at: usize) -> S::Vector {
        match data[at..].first_chunk() {
            Some(words) => simd.words(words, self.shift),
            None => {
                let mut words = [0; 2 * LANES];
                words[..data.len() - at].copy_from_slice(&data[at..]);
                simd.words(&words, self.shift)
            }
        }
    }

    #[inline(always)]
    unsafe fn read_all<S: Simd>(self, simd: S, data: &[u8], at: usize) -> S::Vector {
        debug_assert!(at + 2 * LANES <= data.len());
        // SAFETY: the caller has looked that they are there; bytes need no alignment.
        simd.words(unsafe { &*data.as_ptr().add(at).cast() }, self.shift)
    }
}

/// [`vertical`] compiled for the usual numbers of taps.
#[inline(always)]
fn by_taps<S: Simd, P: Source>(
    simd: S,
    source: P,
    data: &[u8],
    offsets: &[usize],
    weights: [&[f32]; LANES],
    columns: &mut [Lanes],
) {
    let last = offsets.iter().max().copied().unwrap_or(0);
    if columns.len() < LANES || last + columns.len() * P::SIZE > data.len() {
        return near_the_end(simd, source, data, offsets, weights, columns);
    }
    match weights[0].len() {
        1 => vertical::<S, P, 1>(simd, source, data, offsets, weights, columns),
        2 => vertical::<S, P, 2>(simd, source, data, offsets, weights, columns),
        3 => vertical::<S, P, 3>(simd, source, data, offsets, weights, columns),
        4 => vertical::<S, P, 4>(simd, source, data, offsets, weights, columns),
        5 => vertical::<S, P, 5>(simd, source, data, offsets, weights, columns),
        6 => vertical::<S, P, 6>(simd, source, data, offsets, weights, columns),
        7 => vertical::<S, P, 7>(simd, source, data, offsets, weights, columns),
        8 => vertical::<S, P, 8>(simd, source, data, offsets, weights, columns),
        _ => near_the_end(simd, source, data, offsets, weights, columns),
    }
}

/// Sums rows: lane j of column x is the sum over k of `weights[j][k]` times the sample number x after
/// `offsets[j * TAPS + k]`. There are at least [`LANES`] columns, and all samples lie in `data`.
#[inline(always)]
fn vertical<S: Simd, P: Source, const TAPS: usize>(
    simd: S,
    source: P,
    data: &[u8],
    offsets: &[usize],
    weights: [&[f32]; LANES],
    columns: &mut [Lanes],
) {
    let count = columns.len();
    // Of known lengths, on the stack: no bound is checked in the loop.
    let mut taps = [[(0, 0.0); TAPS]; LANES];
    for (lane, taps) in taps.iter_mut().enumerate() {
        for (k, tap) in taps.iter_mut().enumerate() {
            *tap = (offsets[lane * TAPS + k], weights[lane][k]);
            assert!(tap.0 + count * P::SIZE <= data.len());
        }
    }
    for left in (0..count).step_by(LANES) {
        // The last vectors overlap the ones before them.
        let at = left.min(count - LANES);
        let mut rows = [simd.splat(0.0); LANES];
        // Loops, not closures: those would not be compiled for the instruction set.
        for (row, taps) in rows.iter_mut().zip(&taps) {
            for (offset, weight) in taps {
                // SAFETY: there are at least `count` samples from each offset on, as asserted above, and `at + LANES` is no more than that.
                let samples = unsafe { source.read_all(simd, data, offset + at * P::SIZE) };
                *row = simd.mul_add(samples, simd.splat(*weight), *row);
            }
        }
        for (column, vector) in columns[at..at + LANES].iter_mut().zip(simd.transpose(rows)) {
            simd.store(vector, column);
        }
    }
}

/// As [`vertical`], for any number of taps and of columns, and where the data end with the samples.
#[inline(always)]
fn near_the_end<S: Simd, P: Source>(
    simd: S,
    source: P,
    data: &[u8],
    offsets: &[usize],
    weights: [&[f32]; LANES],
    columns: &mut [Lanes],
) {
    let taps = weights[0].len();
    let count = columns.len();
    for left in (0..count).step_by(LANES) {
        // The last vectors overlap the ones before them, where there are any.
        let at = if left + LANES <= count { left } else { count.saturating_sub(LANES) };
        let mut rows = [simd.splat(0.0); LANES];
        for lane in 0..LANES {
            for k in 0..taps {
                let samples = source.read(simd, data, offsets[lane * taps + k] + at * P::SIZE);
                rows[lane] = simd.mul_add(samples, simd.splat(weights[lane][k]), rows[lane]);
            }
        }
        for (column, vector) in columns[at..].iter_mut().zip(simd.transpose(rows)) {
            simd.store(vector, column);
        }
    }
}

/// Sums columns: target column o is the sum over k of weight k of o times the column `from(starts[o]) + k * step`. `TAPS`
/// is the number of weights where it is not 0.
#[inline(always)]
fn horizontal<S: Simd, const TAPS: usize>(
    simd: S,
    columns: &[Lanes],
    taps: &Taps,
    from: impl Fn(usize) -> usize,
    step: usize,
    target: &mut [Lanes],
) {
    let len = if TAPS == 0 { taps.len } else { TAPS };
    for ((target, &start), weights) in target.iter_mut().zip(&taps.starts).zip(taps.weights.chunks_exact(len)) {
        // One bound to check for all taps.
        let columns = &columns[from(start)..][..(len - 1) * step + 1];
        let mut sum = simd.splat(0.0);
        for (k, &weight) in weights.iter().enumerate() {
            sum = simd.mul_add(simd.load(&columns[k * step]), simd.splat(weight), sum);
        }
        simd.store(sum, target);
    }
}
