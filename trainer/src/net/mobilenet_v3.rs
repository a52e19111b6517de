//! MobileNetV3-small, with torchvision's tensor names.

use super::graph::{Activation, Builder, ConvShape, NodeId};
use crate::error::Result;

/// torchvision's values for this network.
const NORM_EPS: f64 = 1e-3;
const NORM_MOMENTUM: f64 = 0.01;

/// One row of the network's table: kernel, expanded channels, output channels, squeeze and excitation, activation, stride.
type Row = (i64, i64, i64, bool, Activation, i64);

/// Table 2 of the paper.
const SMALL: [Row; 11] = {
    use Activation::{Hardswish as HS, Relu as RE};
    [
        (3, 16, 16, true, RE, 2),
        (3, 72, 24, false, RE, 2),
        (3, 88, 24, false, RE, 1),
        (5, 96, 40, true, HS, 2),
        (5, 240, 40, true, HS, 1),
        (5, 240, 40, true, HS, 1),
        (5, 120, 48, true, HS, 1),
        (5, 144, 48, true, HS, 1),
        (5, 288, 96, true, HS, 2),
        (5, 576, 96, true, HS, 1),
        (5, 576, 96, true, HS, 1),
    ]
};

/// Channels of the first convolution.
const STEM: i64 = 16;

/// Builds the body; returns its features and their channels.
pub(super) fn small(b: &mut Builder<'_>, width: f64, stem_stride: i64) -> Result<(NodeId, i64)> {
    let wide = |channels: i64| divisible(channels as f64 * width);
    let mut channels = wide(STEM);
    let stem = ConvShape { inputs: 3, outputs: channels, kernel: 3, stride: stem_stride, groups: 1 };
    let mut x = conv_norm_act(b, b.input(), "features.0", stem, Some(Activation::Hardswish))?;
    for (i, (kernel, expanded, outputs, squeeze, activation, stride)) in SMALL.into_iter().enumerate() {
        let block = Block {
            inputs: channels,
            expanded: wide(expanded),
            outputs: wide(outputs),
            kernel,
            stride,
            squeeze,
            activation,
        };
        x = inverted_residual(b, x, &format!("features.{}.block", i + 1), &block)?;
        channels = block.outputs;
    }
    let outputs = 6 * channels;
    let last = ConvShape { inputs: channels, outputs, kernel: 1, stride: 1, groups: 1 };
    let name = format!("features.{}", SMALL.len() + 1);
    Ok((conv_norm_act(b, x, &name, last, Some(Activation::Hardswish))?, outputs))
}

struct Block {
    inputs: i64,
    expanded: i64,
    outputs: i64,
    kernel: i64,
    stride: i64,
    squeeze: bool,
    activation: Activation,
}

fn inverted_residual(b: &mut Builder<'_>, from: NodeId, name: &str, block: &Block) -> Result<NodeId> {
    let &Block { inputs, expanded, outputs, kernel, stride, squeeze, activation } = block;
    let mut part = 0..;
    let mut next = || format!("{name}.{}", part.next().unwrap_or(0));
    let mut x = from;
    if expanded != inputs {
        let shape = ConvShape { inputs, outputs: expanded, kernel: 1, stride: 1, groups: 1 };
        x = conv_norm_act(b, x, &next(), shape, Some(activation))?;
    }
    let depthwise = ConvShape { inputs: expanded, outputs: expanded, kernel, stride, groups: expanded };
    x = conv_norm_act(b, x, &next(), depthwise, Some(activation))?;
    if squeeze {
        x = squeeze_excite(b, x, &next(), expanded)?;
    }
    let project = ConvShape { inputs: expanded, outputs, kernel: 1, stride: 1, groups: 1 };
    x = conv_norm_act(b, x, &next(), project, None)?;
    Ok(if stride == 1 && inputs == outputs { b.add(from, x) } else { x })
}

fn squeeze_excite(b: &mut Builder<'_>, from: NodeId, name: &str, channels: i64) -> Result<NodeId> {
    let squeezed = divisible((channels / 4) as f64);
    let point = |inputs, outputs| ConvShape { inputs, outputs, kernel: 1, stride: 1, groups: 1 };
    let x = b.pool(from);
    let x = b.conv(x, &format!("{name}.fc1"), point(channels, squeezed), true)?;
    let x = b.act(x, Activation::Relu);
    let x = b.conv(x, &format!("{name}.fc2"), point(squeezed, channels), true)?;
    let x = b.act(x, Activation::Hardsigmoid);
    Ok(b.mul(from, x))
}

fn conv_norm_act(
    b: &mut Builder<'_>,
    from: NodeId,
    name: &str,
    shape: ConvShape,
    activation: Option<Activation>,
) -> Result<NodeId> {
    let x = b.conv(from, &format!("{name}.0"), shape, false)?;
    let x = b.norm(x, &format!("{name}.1"), shape.outputs, NORM_EPS, NORM_MOMENTUM)?;
    Ok(activation.map_or(x, |a| b.act(x, a)))
}

/// The nearest multiple of 8 that is not more than a tenth smaller.
fn divisible(channels: f64) -> i64 {
    let nearest = ((channels + 4.0) as i64 / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}
