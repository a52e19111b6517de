//! VGG-16 with and without batch norms, with the tensor names of torchvision and timm, up to and with the last max-pooling.

use super::backbone::Choice;
use super::builder::{Builder, ConvShape};
use super::graph::{Activation, NodeId};
use crate::error::Result;

/// PyTorch's defaults, which both libraries use.
const NORM_EPS: f64 = 1e-5;
const NORM_MOMENTUM: f64 = 0.1;

/// Channels and convolutions of the five blocks, each of which ends in a max-pooling: configuration D of the paper.
const BLOCKS: [(i64, usize); 5] = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)];

/// Builds the body; returns its features and their channels.
pub(super) fn build(b: &mut Builder<'_>, norm: bool, choice: &Choice) -> Result<(NodeId, i64)> {
    let mut x = b.input();
    let mut inputs = 3;
    // Both libraries count layers, those without tensors too.
    let mut layer = 0;
    for (outputs, convolutions) in BLOCKS {
        let outputs = choice.wide(outputs);
        for _ in 0..convolutions {
            x = b.conv_bias(x, &format!("features.{layer}"), ConvShape::new(inputs, outputs, 3))?;
            layer += 1;
            if norm {
                x = b.norm(x, &format!("features.{layer}"), outputs, NORM_EPS, NORM_MOMENTUM)?;
                layer += 1;
            }
            x = b.act(x, Activation::Relu);
            layer += 1;
            inputs = outputs;
        }
        x = b.max_pool(x, 2, 2, 0, false);
        layer += 1;
    }
    Ok((x, inputs))
}
