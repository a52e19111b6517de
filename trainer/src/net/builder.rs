//! Puts a network's steps and its tensors together.

use rand_pcg::Pcg64Mcg;
use tch::Tensor;

use super::graph::{Activation, Node, NodeId, Op};
use super::params::{Init, ParamId, Params, Role};
use crate::error::Result;

/// Builds graph and parameters together.
pub(super) struct Builder<'r> {
    nodes: Vec<Node>,
    pub(super) params: Params,
    pub(super) init: Init<'r>,
    momentum: Option<f64>,
}

impl<'r> Builder<'r> {
    /// Begins with the input. Without a generator nothing is drawn. `momentum` wins over what the backbones say.
    pub(super) fn new(rng: Option<&'r mut Pcg64Mcg>, momentum: Option<f64>) -> Self {
        Self {
            nodes: vec![Node { op: Op::Input, inputs: Vec::new() }],
            params: Params::default(),
            init: Init { rng },
            momentum,
        }
    }

    pub(super) fn input(&self) -> NodeId {
        NodeId::INPUT
    }

    pub(super) fn finish(self) -> (Vec<Node>, Params) {
        (self.nodes, self.params)
    }

    pub(super) fn push(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node { op, inputs: inputs.to_vec() });
        NodeId::new(self.nodes.len() - 1)
    }

    /// A convolution without bias; He's normal initialization over the fan-out.
    pub(super) fn conv(&mut self, from: NodeId, name: &str, shape: ConvShape) -> Result<NodeId> {
        let weight = self.kernel(name, shape)?;
        Ok(self.push_conv(from, weight, None, shape))
    }

    /// As [`Builder::conv`], with a bias that begins with zeros.
    pub(super) fn conv_bias(&mut self, from: NodeId, name: &str, shape: ConvShape) -> Result<NodeId> {
        let weight = self.kernel(name, shape)?;
        let zeros = self.init.constant(shape.outputs, 0.0)?;
        let bias = self.params.push(format!("{name}.bias"), Role::Gain, zeros);
        Ok(self.push_conv(from, weight, Some(bias), shape))
    }

    fn kernel(&mut self, name: &str, shape: ConvShape) -> Result<ParamId> {
        let ConvShape { inputs, outputs, kernel, groups, .. } = shape;
        let fan_out = (outputs * kernel * kernel / groups) as f64;
        let weight = self.init.normal(&[outputs, inputs / groups, kernel, kernel], (2.0 / fan_out).sqrt())?;
        Ok(self.params.push(format!("{name}.weight"), Role::Weight, weight))
    }

    fn push_conv(&mut self, from: NodeId, weight: ParamId, bias: Option<ParamId>, shape: ConvShape) -> NodeId {
        let ConvShape { stride, padding, groups, .. } = shape;
        self.push(Op::Conv { weight, bias, stride, padding, groups }, &[from])
    }

    /// A batch norm that begins as the identity.
    pub(super) fn norm(&mut self, from: NodeId, name: &str, channels: i64, eps: f64, momentum: f64) -> Result<NodeId> {
        let mut vector = |what: &str, role, value| -> Result<ParamId> {
            let tensor = self.init.constant(channels, value)?;
            Ok(self.params.push(format!("{name}.{what}"), role, tensor))
        };
        let weight = vector("weight", Role::Gain, 1.0)?;
        let bias = vector("bias", Role::Gain, 0.0)?;
        let mean = vector("running_mean", Role::Statistic, 0.0)?;
        let variance = vector("running_var", Role::Statistic, 1.0)?;
        let momentum = self.momentum.unwrap_or(momentum);
        Ok(self.push(Op::Norm { weight, bias, mean, variance, eps, momentum }, &[from]))
    }

    pub(super) fn act(&mut self, from: NodeId, activation: Activation) -> NodeId {
        self.push(Op::Act(activation), &[from])
    }

    pub(super) fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.push(Op::Add, &[a, b])
    }

    pub(super) fn mul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.push(Op::Mul, &[a, b])
    }

    pub(super) fn pool(&mut self, from: NodeId) -> NodeId {
        self.push(Op::Pool, &[from])
    }

    pub(super) fn max_pool(&mut self, from: NodeId, kernel: i64, stride: i64, padding: i64, ceil: bool) -> NodeId {
        self.push(Op::MaxPool { kernel, stride, padding, ceil }, &[from])
    }

    /// See [`Op::DropFace`].
    pub(super) fn drop_face(&mut self, from: NodeId, probability: f64) -> NodeId {
        self.push(Op::DropFace(probability), &[from])
    }

    /// A learned tensor of normal numbers.
    pub(super) fn weight(&mut self, name: &str, role: Role, size: &[i64], std: f64) -> Result<NodeId> {
        let tensor = self.init.normal(size, std)?;
        let id = self.params.push(name.to_owned(), role, tensor);
        Ok(self.push(Op::Weight(id), &[]))
    }

    /// A tensor that is not learned.
    pub(super) fn fixed(&mut self, tensor: Tensor) -> NodeId {
        let id = self.params.push_fixed(tensor);
        self.push(Op::Fixed(id), &[])
    }

    /// See [`Op::ConvBy`]; exact where nothing of the kernel is learned.
    pub(super) fn conv_by(&mut self, from: NodeId, kernel: NodeId, stride: i64, padding: i64) -> NodeId {
        let exact = matches!(self.nodes[kernel.index()].op, Op::Fixed(_));
        self.push(Op::ConvBy { stride, padding, exact }, &[from, kernel])
    }

    /// See [`Op::Affine`].
    pub(super) fn affine(&mut self, from: NodeId, scale: f64, offset: f64) -> NodeId {
        self.push(Op::Affine { scale, offset }, &[from])
    }

    /// See [`Op::MatMul`].
    pub(super) fn matmul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.push(Op::MatMul { exact: false }, &[a, b])
    }

    /// See [`Op::MatMul`], exact.
    pub(super) fn transform(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.push(Op::MatMul { exact: true }, &[a, b])
    }

    /// See [`Op::Transpose`].
    pub(super) fn transpose(&mut self, from: NodeId) -> NodeId {
        self.push(Op::Transpose, &[from])
    }

    /// See [`Op::Softmax`].
    pub(super) fn softmax(&mut self, from: NodeId) -> NodeId {
        self.push(Op::Softmax, &[from])
    }

    /// See [`Op::Concat`].
    pub(super) fn concat(&mut self, parts: &[NodeId]) -> NodeId {
        self.push(Op::Concat, parts)
    }

    /// Weight and bias of a linear layer; the weight begins with normal numbers.
    pub(super) fn linear(&mut self, name: &str, inputs: i64, outputs: i64, std: f64) -> Result<(ParamId, ParamId)> {
        let weight = self.init.normal(&[outputs, inputs], std)?;
        let bias = self.init.constant(outputs, 0.0)?;
        let weight = self.params.push(format!("{name}.weight"), Role::Weight, weight);
        let bias = self.params.push(format!("{name}.bias"), Role::Gain, bias);
        Ok((weight, bias))
    }
}

/// The shape of a convolution.
#[derive(Clone, Copy)]
pub(super) struct ConvShape {
    pub(super) inputs: i64,
    pub(super) outputs: i64,
    pub(super) kernel: i64,
    pub(super) stride: i64,
    pub(super) padding: i64,
    pub(super) groups: i64,
}

impl ConvShape {
    /// Of stride 1, padded so that an odd kernel keeps height and width, in one group.
    pub(super) fn new(inputs: i64, outputs: i64, kernel: i64) -> Self {
        Self { inputs, outputs, kernel, stride: 1, padding: kernel / 2, groups: 1 }
    }

    /// Every channel by itself.
    pub(super) fn depthwise(channels: i64, kernel: i64) -> Self {
        Self { groups: channels, ..Self::new(channels, channels, kernel) }
    }

    /// Without padding.
    pub(super) fn valid(self) -> Self {
        Self { padding: 0, ..self }
    }

    pub(super) fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }
}
