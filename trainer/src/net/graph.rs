//! The steps that networks are made of.

use rand_pcg::Pcg64Mcg;
use tch::Tensor;

use super::params::{Init, ParamId, Params, Role};
use crate::error::Result;

/// Where a step stands among a network's [`Node`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(pub(super) usize);

impl NodeId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A function of single numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x * Hardsigmoid(x).
    Hardswish,
    /// min(max(x / 6 + 1/2, 0), 1).
    Hardsigmoid,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The network's input, `[N, 3, H, W]`.
    Input,
    /// Two-dimensional convolution, zero padding, square strides.
    Conv {
        /// `[out, in / groups, k, k]`.
        weight: ParamId,
        /// `[out]`.
        bias: Option<ParamId>,
        /// Of both axes.
        stride: i64,
        /// On every side.
        padding: i64,
        /// As PyTorch's.
        groups: i64,
    },
    /// Batch normalization.
    Norm {
        /// Scale, `[C]`.
        weight: ParamId,
        /// Offset, `[C]`.
        bias: ParamId,
        /// Running mean, `[C]`.
        mean: ParamId,
        /// Running variance, `[C]`.
        variance: ParamId,
        /// Added to the variance.
        eps: f64,
        /// How fast the running statistics follow.
        momentum: f64,
    },
    /// On every number.
    Act(Activation),
    /// Sum of two inputs of one shape.
    Add,
    /// Product of two inputs; the second may be `[N, C, 1, 1]`.
    Mul,
    /// Mean over height and width, `[N, C, 1, 1]`.
    Pool,
}

/// A step and what it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// Earlier steps.
    pub inputs: Vec<NodeId>,
}

/// Runs the steps up to `last`; lets go of every result as soon as no later step reads it.
pub(super) fn run(nodes: &[Node], last: NodeId, params: &Params, input: &Tensor, train: bool) -> Result<Tensor> {
    let mut readers = vec![0usize; nodes.len()];
    for id in nodes.iter().flat_map(|n| &n.inputs).chain([&last]) {
        readers[id.0] += 1;
    }
    let mut results: Vec<Option<Tensor>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let of = |at: usize| -> Result<&Tensor> {
            let result = node.inputs.get(at).and_then(|id| results[id.0].as_ref());
            result.ok_or_else(|| crate::Error::Training(format!("{:?} reads what was never computed", node.op)))
        };
        let result = match &node.op {
            Op::Input => input.shallow_clone(),
            Op::Conv { weight, bias, stride, padding, groups } => {
                of(0)?.f_conv2d(params.get(*weight), bias.map(|b| params.get(b)), *stride, *padding, 1, *groups)?
            }
            Op::Norm { weight, bias, mean, variance, eps, momentum } => of(0)?.f_batch_norm(
                Some(params.get(*weight)),
                Some(params.get(*bias)),
                Some(params.get(*mean)),
                Some(params.get(*variance)),
                train,
                *momentum,
                *eps,
                true,
            )?,
            Op::Act(Activation::Relu) => of(0)?.f_relu()?,
            Op::Act(Activation::Hardswish) => of(0)?.f_hardswish()?,
            Op::Act(Activation::Hardsigmoid) => of(0)?.f_hardsigmoid()?,
            Op::Add => of(0)?.f_add(of(1)?)?,
            Op::Mul => of(0)?.f_mul(of(1)?)?,
            Op::Pool => of(0)?.f_mean_dim(&[2i64, 3][..], true, None)?,
        };
        results.push(Some(result));
        for id in &node.inputs {
            readers[id.0] -= 1;
            if readers[id.0] == 0 {
                results[id.0] = None;
            }
        }
    }
    results
        .get_mut(last.0)
        .and_then(Option::take)
        .ok_or_else(|| crate::Error::Training("a network without features".to_owned()))
}

/// Builds graph and parameters together.
pub(super) struct Builder<'r> {
    nodes: Vec<Node>,
    params: Params,
    init: Init<'r>,
    momentum: Option<f64>,
}

impl<'r> Builder<'r> {
    /// Begins with the input. `momentum` wins over what the backbones say.
    pub(super) fn new(rng: &'r mut Pcg64Mcg, momentum: Option<f64>) -> Self {
        Self {
            nodes: vec![Node { op: Op::Input, inputs: Vec::new() }],
            params: Params::default(),
            init: Init { rng },
            momentum,
        }
    }

    pub(super) fn input(&self) -> NodeId {
        NodeId(0)
    }

    pub(super) fn finish(self) -> (Vec<Node>, Params) {
        (self.nodes, self.params)
    }

    fn push(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node { op, inputs: inputs.to_vec() });
        NodeId(self.nodes.len() - 1)
    }

    /// A convolution with "same" padding; He's normal initialization over the fan-out.
    pub(super) fn conv(&mut self, from: NodeId, name: &str, shape: ConvShape, bias: bool) -> Result<NodeId> {
        let ConvShape { inputs, outputs, kernel, stride, groups } = shape;
        let fan_out = (outputs * kernel * kernel / groups) as f64;
        let weight = self.init.normal(&[outputs, inputs / groups, kernel, kernel], (2.0 / fan_out).sqrt())?;
        let weight = self.params.push(format!("{name}.weight"), Role::Weight, weight);
        let bias = if bias {
            let zeros = self.init.constant(outputs, 0.0)?;
            Some(self.params.push(format!("{name}.bias"), Role::Gain, zeros))
        } else {
            None
        };
        Ok(self.push(Op::Conv { weight, bias, stride, padding: kernel / 2, groups }, &[from]))
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

    /// Weight and bias of a linear layer.
    pub(super) fn linear(&mut self, name: &str, inputs: i64, outputs: i64) -> Result<(ParamId, ParamId)> {
        let weight = self.init.normal(&[outputs, inputs], 0.01)?;
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
    pub(super) groups: i64,
}
