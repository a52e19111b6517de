//! The inverted residual block (Sandler et al., "MobileNetV2", 2018) with squeeze and excitation, of MobileNetV3 and
//! EfficientNet, with torchvision's tensor names.

use super::builder::{Builder, ConvShape};
use super::graph::{Activation, NodeId};
use crate::error::Result;

/// Numbers of a family's batch norms.
#[derive(Clone, Copy)]
pub(super) struct Norm {
    pub(super) eps: f64,
    pub(super) momentum: f64,
}

pub(super) struct Block {
    pub(super) inputs: i64,
    pub(super) expanded: i64,
    pub(super) outputs: i64,
    pub(super) kernel: i64,
    pub(super) stride: i64,
    pub(super) activation: Activation,
    pub(super) squeeze: Option<Squeeze>,
    pub(super) norm: Norm,
    /// See [`super::graph::Op::DropFace`].
    pub(super) drop: f64,
}

/// Squeeze and excitation (Hu et al., 2017).
#[derive(Clone, Copy)]
pub(super) struct Squeeze {
    /// Channels between the two convolutions.
    pub(super) channels: i64,
    /// After the first of them.
    pub(super) inner: Activation,
    /// After the second.
    pub(super) gate: Activation,
}

impl Block {
    /// Writes the block's steps; its tensors are named `name.0`, `name.1`, ...
    pub(super) fn build(&self, b: &mut Builder<'_>, from: NodeId, name: &str) -> Result<NodeId> {
        let &Self { inputs, expanded, outputs, kernel, stride, activation, squeeze, norm, drop } = self;
        let mut part = 0..;
        let mut next = || format!("{name}.{}", part.next().unwrap_or(0));
        let mut x = from;
        if expanded != inputs {
            x = conv_norm_act(b, x, &next(), ConvShape::new(inputs, expanded, 1), norm, Some(activation))?;
        }
        let depthwise = ConvShape::depthwise(expanded, kernel).stride(stride);
        x = conv_norm_act(b, x, &next(), depthwise, norm, Some(activation))?;
        if let Some(squeeze) = squeeze {
            x = squeeze.build(b, x, &next(), expanded)?;
        }
        x = conv_norm_act(b, x, &next(), ConvShape::new(expanded, outputs, 1), norm, None)?;
        if stride != 1 || inputs != outputs {
            return Ok(x);
        }
        if drop > 0.0 {
            x = b.drop_face(x, drop);
        }
        Ok(b.add(from, x))
    }
}

impl Squeeze {
    fn build(&self, b: &mut Builder<'_>, from: NodeId, name: &str, channels: i64) -> Result<NodeId> {
        let x = b.pool(from);
        let x = b.conv_bias(x, &format!("{name}.fc1"), ConvShape::new(channels, self.channels, 1))?;
        let x = b.act(x, self.inner);
        let x = b.conv_bias(x, &format!("{name}.fc2"), ConvShape::new(self.channels, channels, 1))?;
        let x = b.act(x, self.gate);
        Ok(b.mul(from, x))
    }
}

/// Convolution `name.0`, batch norm `name.1` and, where there is one, the activation.
pub(super) fn conv_norm_act(
    b: &mut Builder<'_>,
    from: NodeId,
    name: &str,
    shape: ConvShape,
    norm: Norm,
    activation: Option<Activation>,
) -> Result<NodeId> {
    let x = b.conv(from, &format!("{name}.0"), shape)?;
    let x = b.norm(x, &format!("{name}.1"), shape.outputs, norm.eps, norm.momentum)?;
    Ok(activation.map_or(x, |a| b.act(x, a)))
}
