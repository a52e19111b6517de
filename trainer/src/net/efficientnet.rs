//! EfficientNet-B0 and B4, with torchvision's tensor names, and EfficientNet-Lite0, with the names that torchvision's would have there.

use super::backbone::{Choice, divisible};
use super::builder::{Builder, ConvShape};
use super::graph::{Activation, NodeId};
use super::inverted::{Block, Norm, Squeeze, conv_norm_act};
use crate::error::Result;

/// torchvision's and timm's values for B0 to B4.
const NORM: Norm = Norm { eps: 1e-5, momentum: 0.1 };

/// One stage of the network's table: expansion, kernel, stride of the first block, output channels, blocks.
type Stage = (i64, i64, i64, i64, i64);

/// Table 1 of the paper.
const STAGES: [Stage; 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// Channels of the first convolution.
const STEM: i64 = 32;

/// What tells one of the family from the others.
pub(super) struct Member {
    /// How much wider than B0.
    width: f64,
    /// How much deeper than B0.
    depth: f64,
    activation: Activation,
    /// Whether blocks have squeeze and excitation.
    squeeze: bool,
}

pub(super) const B0: Member = Member { width: 1.0, depth: 1.0, activation: Activation::Silu, squeeze: true };
pub(super) const B4: Member = Member { width: 1.4, depth: 1.8, ..B0 };
/// Without what is slow on small devices and hard to quantize.
pub(super) const LITE0: Member = Member { activation: Activation::Relu6, squeeze: false, ..B0 };

/// Builds the body; returns its features and their channels.
pub(super) fn build(b: &mut Builder<'_>, member: &Member, choice: &Choice) -> Result<(NodeId, i64)> {
    let wide = |channels: i64| divisible(channels as f64 * member.width * choice.width);
    let deep = |blocks: i64| (blocks as f64 * member.depth).ceil() as i64;
    let blocks: i64 = STAGES.iter().map(|stage| deep(stage.4)).sum();
    let mut channels = wide(STEM);
    let stem = ConvShape::new(3, channels, 3).stride(choice.stem_stride);
    let mut x = conv_norm_act(b, b.input(), "features.0", stem, NORM, Some(member.activation))?;
    let mut before = 0;
    for (i, (expansion, kernel, stride, outputs, repeats)) in STAGES.into_iter().enumerate() {
        for repeat in 0..deep(repeats) {
            let block = Block {
                inputs: channels,
                expanded: channels * expansion,
                outputs: wide(outputs),
                kernel,
                stride: if repeat == 0 { stride } else { 1 },
                activation: member.activation,
                squeeze: member.squeeze.then_some(Squeeze {
                    channels: (channels / 4).max(1),
                    inner: Activation::Silu,
                    gate: Activation::Sigmoid,
                }),
                norm: NORM,
                // Deeper branches are dropped more often, from 0 on.
                drop: choice.stochastic_depth * before as f64 / blocks as f64,
            };
            x = block.build(b, x, &format!("features.{}.{repeat}.block", i + 1))?;
            channels = block.outputs;
            before += 1;
        }
    }
    let outputs = 4 * channels;
    let name = format!("features.{}", STAGES.len() + 1);
    let last = ConvShape::new(channels, outputs, 1);
    Ok((conv_norm_act(b, x, &name, last, NORM, Some(member.activation))?, outputs))
}
