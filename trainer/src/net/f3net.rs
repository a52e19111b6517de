//! F3Net: two Xceptions, one that sees the picture's frequency bands, one that sees local statistics of its frequencies.
//!
//! Source: Qian et al., "Thinking in Frequency: Face Forgery Detection by Mining Frequency-aware Clues", ECCV 2020; tensor names and
//! what the paper leaves open as in the public PyTorch implementation (yyk-wew/F3Net). All three parts are here:
//!
//! - frequency-aware decomposition (FAD): the cosine transform of the whole picture is multiplied by four filters (low, middle and
//!   high band, and all of it), each a fixed band plus a learned part in (-1, 1), and transformed back: four pictures, 12 channels;
//! - local frequency statistics (LFS): the cosine transforms of windows of 10 x 10 gray pixels, every 2 pixels; of each of six
//!   bands `log10(1 + sum |coefficient * filter|)`: 6 channels at half the size;
//! - mixing: after blocks 7 and 12, each stream gets what the attention between both finds in the other.
//!
//! libtorch computes the transforms in double precision, whatever the rest is computed in: see [`super::Op::MatMul`].
//!
//! Differences: the public implementation takes the logarithm of every coefficient, with 1e-15 added; here, as in the paper's
//! formula, of their sum. 1 is added (of 255 gray levels, less than the rounding of pixels to 8 bits puts into a band), because the
//! logarithm of a flat window's rounding errors is noise, of which every engine has another. The first band begins with the mean,
//! so that low, middle and high band add up to the picture. Both streams' last features have one grid, so that pooling each of
//! them and joining the results equals pooling the joined features: the evidence map is exact.

use std::collections::BTreeMap;

use tch::Tensor;

use super::HEAD;
use super::backbone::Choice;
use super::builder::{Builder, ConvShape};
use super::frequency;
use super::graph::{Activation, NodeId};
use super::params::Role;
use super::xception::Stream;
use crate::config::Input;
use crate::error::Result;

/// What the names of those tensors begin with that an Xception does not have.
pub(super) const DRAWN: [&str; 4] = [HEAD, "FAD_head.", "LFS_head.", "mix_block"];

/// What the names of the two streams' tensors begin with.
const FAD: &str = "FAD_xcep.";
const LFS: &str = "LFS_xcep.";

/// Ends of the bands of the whole picture, in parts of its side: a sixteenth and an eighth of the spectrum, the rest. The divisors
/// are those of the public implementation.
const BANDS: [[f64; 2]; 4] = [[0.0, 1.0 / 2.82], [1.0 / 2.82, 0.5], [0.5, 2.0], [0.0, 2.0]];

/// Spread of the learned parts of filters at the beginning.
const FILTER_STD: f64 = 0.1;

/// Side of the windows of local statistics, their distance, and what the picture is padded with for them, pixels.
const WINDOW: i64 = 10;
const STRIDE: i64 = 2;
const PADDING: i64 = 4;

/// Bands of local statistics.
const STATISTICS: i64 = 6;

/// Luma of the three channels (ITU-R BT.601).
const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

/// Largest gray level.
const WHITE: f64 = 255.0;

/// Blocks after which the streams are mixed.
const MIXED: [usize; 2] = [7, 12];

/// Values of the mixing's batch norms: PyTorch's defaults.
const NORM_EPS: f64 = 1e-5;
const NORM_MOMENTUM: f64 = 0.1;

/// Builds the body for such an input; returns its features and their channels.
pub(super) fn build(b: &mut Builder<'_>, choice: &Choice, input: &Input) -> Result<(NodeId, i64)> {
    let (fad, lfs) = (Stream { prefix: FAD, choice }, Stream { prefix: LFS, choice });
    let bands = decomposition(b, input.size as i64)?;
    let statistics = statistics(b, input)?;
    let mut x = fad.stem(b, bands, 3 * BANDS.len() as i64, 2)?;
    let mut y = lfs.stem(b, statistics, STATISTICS, 1)?;
    let mut done = 0;
    for block in MIXED {
        x = fad.blocks(b, x, done + 1, block)?;
        y = lfs.blocks(b, y, done + 1, block)?;
        [x, y] = mix(b, [x, y], &format!("mix_block{block}"), fad.channels(block))?;
        done = block;
    }
    let ((x, channels), (y, others)) = (fad.tail(b, x)?, lfs.tail(b, y)?);
    Ok((b.concat(&[x, y]), channels + others))
}

/// Sides of the two streams where they are mixed first, for an input of `size` pixels. They must be equal.
pub(crate) fn sides(size: usize) -> [usize; 2] {
    let conv = |side: usize, stride: usize| side.saturating_sub(3) / stride + 1;
    // Three poolings of 3 x 3 with stride 2, padded by 1.
    let pooled = |side: usize| (0..3).fold(side, |side: usize, _| side.div_ceil(2));
    let windows = (size + 2 * PADDING as usize - WINDOW as usize) / STRIDE as usize + 1;
    [pooled(conv(conv(size, 2), 1)), pooled(conv(conv(windows, 1), 1))]
}

/// Fixed band plus learned part, `2 * Sigmoid(learned) - 1`, which is `tanh(learned / 2)`.
fn filter(b: &mut Builder<'_>, fixed: Tensor, name: &str) -> Result<NodeId> {
    let learned = b.weight(name, Role::Weight, &fixed.size(), FILTER_STD)?;
    let learned = gate(b, learned);
    let fixed = b.fixed(fixed);
    Ok(b.add(fixed, learned))
}

fn gate(b: &mut Builder<'_>, from: NodeId) -> NodeId {
    let half = b.affine(from, 0.5, 0.0);
    b.act(half, Activation::Tanh)
}

fn decomposition(b: &mut Builder<'_>, size: i64) -> Result<NodeId> {
    let forward = b.fixed(frequency::dct(size)?);
    let back = b.transpose(forward);
    let x = b.transform(forward, b.input());
    let spectrum = b.transform(x, back);
    let mut bands = Vec::new();
    for (i, [from, to]) in BANDS.into_iter().enumerate() {
        let from = if from > 0.0 { (size as f64 * from).floor() } else { -1.0 };
        let fixed = frequency::band(size, from, (size as f64 * to).floor())?;
        let filter = filter(b, fixed, &format!("FAD_head.filters.{i}.learnable"))?;
        let x = b.mul(spectrum, filter);
        let x = b.transform(back, x);
        bands.push(b.transform(x, forward));
    }
    Ok(b.concat(&bands))
}

fn statistics(b: &mut Builder<'_>, input: &Input) -> Result<NodeId> {
    // Gray levels, whatever the input was normalized with; the padding is black.
    let (mean, std) = (input.mean.map(f64::from), input.std.map(f64::from));
    let of_each = |c: usize| (LUMA[c] * std[c] * WHITE) as f32;
    let gray = b.fixed(Tensor::f_from_slice(&[0, 1, 2].map(of_each))?.f_view([1, 3, 1, 1])?);
    let black: f64 = LUMA.iter().zip(mean).map(|(l, m)| l * m * WHITE).sum();
    let x = b.conv_by(b.input(), gray, 1, 0);
    let x = b.affine(x, 1.0, black);
    let kernels = b.fixed(frequency::dct_kernels(WINDOW)?);
    let x = b.conv_by(x, kernels, STRIDE, PADDING);
    let x = b.act(x, Activation::Abs);
    let bands = (0..STATISTICS).map(|i| {
        let end = |i: i64| (2 * WINDOW * i) as f64 / STATISTICS as f64;
        frequency::band(WINDOW, if i > 0 { end(i) } else { -1.0 }, end(i + 1))
    });
    let fixed = Tensor::f_stack(&bands.collect::<Result<Vec<_>>>()?, 0)?.f_view([STATISTICS, WINDOW * WINDOW, 1, 1])?;
    let filters = filter(b, fixed, "LFS_head.learnable")?;
    let filters = b.act(filters, Activation::Abs);
    let x = b.conv_by(x, filters, 1, 0);
    let x = b.affine(x, 1.0, 1.0);
    let x = b.act(x, Activation::Log);
    Ok(b.affine(x, std::f64::consts::LOG10_E, 0.0))
}

/// Cross attention of the two streams `[FAD, LFS]`: per channel, rows look at rows; each stream is added what of the other the common
/// attention lets pass. The gates begin at 0, so that nothing is mixed at first.
fn mix(b: &mut Builder<'_>, streams: [NodeId; 2], name: &str, channels: i64) -> Result<[NodeId; 2]> {
    const NAMES: [&str; 2] = ["FAD", "LFS"];
    let point = ConvShape::new(channels, channels, 1);
    let mut energies = Vec::new();
    for (stream, of) in streams.into_iter().zip(NAMES) {
        let query = b.conv_bias(stream, &format!("{name}.{of}_query"), point)?;
        let key = b.conv_bias(stream, &format!("{name}.{of}_key"), point)?;
        let key = b.transpose(key);
        energies.push(b.matmul(query, key));
    }
    let energy = b.add(energies[0], energies[1]);
    let attention = b.softmax(energy);
    let mut mixed = streams;
    for (i, of) in NAMES.into_iter().enumerate() {
        let other = 1 - i;
        let gamma = b.weight(&format!("{name}.{}_gamma", NAMES[other]), Role::Gain, &[1], 0.0)?;
        let gate = gate(b, gamma);
        let x = b.mul(streams[other], attention);
        let x = b.mul(x, gate);
        let x = b.conv_bias(x, &format!("{name}.{of}_conv"), ConvShape::depthwise(channels, 1))?;
        let x = b.norm(x, &format!("{name}.{of}_bn"), channels, NORM_EPS, NORM_MOMENTUM)?;
        mixed[i] = b.add(streams[i], x);
    }
    Ok(mixed)
}

/// Where `tensors` are those of an Xception, gives them to both streams. The first convolution's kernels are repeated along the input
/// channels and divided by the number of repetitions, so that they answer as strongly as before. Returns whether they were.
pub(super) fn adapt(tensors: &mut BTreeMap<String, Tensor>) -> Result<bool> {
    const STEM: &str = "conv1.weight";
    if tensors.keys().any(|name| name.starts_with(FAD)) || !tensors.contains_key(STEM) {
        return Ok(false);
    }
    for (name, tensor) in std::mem::take(tensors) {
        if name.starts_with("fc.") {
            tensors.insert(name, tensor);
            continue;
        }
        for (prefix, inputs) in [(FAD, 3 * BANDS.len() as i64), (LFS, STATISTICS)] {
            let tensor = match name.as_str() {
                STEM => {
                    let times = inputs / tensor.size()[1].max(1);
                    tensor.f_repeat([1, times, 1, 1])?.f_div_scalar(times as f64)?
                }
                _ => tensor.shallow_clone(),
            };
            tensors.insert(format!("{prefix}{name}"), tensor);
        }
    }
    Ok(true)
}
