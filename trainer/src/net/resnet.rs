//! ResNet-18 and ResNet-50, with the tensor names of torchvision and timm.

use super::backbone::Choice;
use super::builder::{Builder, ConvShape};
use super::graph::{Activation, NodeId};
use crate::error::Result;

/// PyTorch's defaults, which both libraries use.
const NORM_EPS: f64 = 1e-5;
const NORM_MOMENTUM: f64 = 0.1;

/// Channels of the first convolution.
const STEM: i64 = 64;
/// Inner channels of the four stages.
const STAGES: [i64; 4] = [64, 128, 256, 512];

/// Table 1 of the paper: blocks of the four stages.
pub(super) struct Depth {
    blocks: [i64; 4],
    /// 1 x 1, 3 x 3, 1 x 1 with four times the channels at the end, instead of two 3 x 3.
    bottleneck: bool,
}

pub(super) const RESNET_18: Depth = Depth { blocks: [2, 2, 2, 2], bottleneck: false };
pub(super) const RESNET_50: Depth = Depth { blocks: [3, 4, 6, 3], bottleneck: true };

/// Builds the body; returns its features and their channels.
pub(super) fn build(b: &mut Builder<'_>, depth: &Depth, choice: &Choice) -> Result<(NodeId, i64)> {
    let mut channels = choice.wide(STEM);
    let stem = ConvShape::new(3, channels, 7).stride(choice.stem_stride);
    let x = conv_norm(b, b.input(), ("conv1", "bn1"), stem)?;
    let x = b.act(x, Activation::Relu);
    let mut x = b.max_pool(x, 3, 2, 1, false);
    let all: i64 = depth.blocks.iter().sum();
    let mut before = 0;
    for (stage, (inner, blocks)) in STAGES.into_iter().zip(depth.blocks).enumerate() {
        let inner = choice.wide(inner);
        let outputs = if depth.bottleneck { 4 * inner } else { inner };
        for i in 0..blocks {
            let stride = if i == 0 && stage > 0 { 2 } else { 1 };
            let name = format!("layer{}.{i}", stage + 1);
            let mut branch = if depth.bottleneck {
                bottleneck(b, x, &name, channels, inner, stride)?
            } else {
                basic(b, x, &name, channels, inner, stride)?
            };
            let shortcut = if stride != 1 || channels != outputs {
                let names = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
                conv_norm(b, x, (&names.0, &names.1), ConvShape::new(channels, outputs, 1).stride(stride))?
            } else {
                x
            };
            let drop = choice.stochastic_depth * before as f64 / all as f64;
            if drop > 0.0 {
                branch = b.drop_face(branch, drop);
            }
            let sum = b.add(branch, shortcut);
            x = b.act(sum, Activation::Relu);
            channels = outputs;
            before += 1;
        }
    }
    Ok((x, channels))
}

fn basic(b: &mut Builder<'_>, from: NodeId, name: &str, inputs: i64, outputs: i64, stride: i64) -> Result<NodeId> {
    let x = numbered(b, from, name, 1, ConvShape::new(inputs, outputs, 3).stride(stride))?;
    let x = b.act(x, Activation::Relu);
    numbered(b, x, name, 2, ConvShape::new(outputs, outputs, 3))
}

fn bottleneck(b: &mut Builder<'_>, from: NodeId, name: &str, inputs: i64, inner: i64, stride: i64) -> Result<NodeId> {
    let x = numbered(b, from, name, 1, ConvShape::new(inputs, inner, 1))?;
    let x = b.act(x, Activation::Relu);
    let x = numbered(b, x, name, 2, ConvShape::new(inner, inner, 3).stride(stride))?;
    let x = b.act(x, Activation::Relu);
    numbered(b, x, name, 3, ConvShape::new(inner, 4 * inner, 1))
}

fn numbered(b: &mut Builder<'_>, from: NodeId, name: &str, i: usize, shape: ConvShape) -> Result<NodeId> {
    conv_norm(b, from, (&format!("{name}.conv{i}"), &format!("{name}.bn{i}")), shape)
}

fn conv_norm(b: &mut Builder<'_>, from: NodeId, names: (&str, &str), shape: ConvShape) -> Result<NodeId> {
    let x = b.conv(from, names.0, shape)?;
    b.norm(x, names.1, shape.outputs, NORM_EPS, NORM_MOMENTUM)
}
