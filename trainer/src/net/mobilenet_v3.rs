//! MobileNetV3-small, with torchvision's tensor names.

use super::backbone::{Choice, divisible};
use super::builder::{Builder, ConvShape};
use super::graph::{Activation, NodeId};
use super::inverted::{Block, Norm, Squeeze, conv_norm_act};
use crate::error::Result;

/// torchvision's values for this network.
const NORM: Norm = Norm { eps: 1e-3, momentum: 0.01 };

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
pub(super) fn small(b: &mut Builder<'_>, choice: &Choice) -> Result<(NodeId, i64)> {
    let mut channels = choice.wide(STEM);
    let stem = ConvShape::new(3, channels, 3).stride(choice.stem_stride);
    let mut x = conv_norm_act(b, b.input(), "features.0", stem, NORM, Some(Activation::Hardswish))?;
    for (i, (kernel, expanded, outputs, squeeze, activation, stride)) in SMALL.into_iter().enumerate() {
        let expanded = choice.wide(expanded);
        let squeeze = squeeze.then(|| Squeeze {
            channels: divisible((expanded / 4) as f64),
            inner: Activation::Relu,
            gate: Activation::Hardsigmoid,
        });
        let outputs = choice.wide(outputs);
        let block =
            Block { inputs: channels, expanded, outputs, kernel, stride, activation, squeeze, norm: NORM, drop: 0.0 };
        x = block.build(b, x, &format!("features.{}.block", i + 1))?;
        channels = outputs;
    }
    let outputs = 6 * channels;
    let last = ConvShape::new(channels, outputs, 1);
    let name = format!("features.{}", SMALL.len() + 1);
    Ok((conv_norm_act(b, x, &name, last, NORM, Some(Activation::Hardswish))?, outputs))
}
