//! The steps that networks are made of, and how they are run. [`super::builder`] puts them together.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tch::{Kind, Tensor};

use super::Mode;
use super::params::{FixedId, ParamId, Params};
use super::tokens::TokenOp;
use crate::error::Result;
use crate::seeded;

/// Where a step stands among a network's [`Node`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(usize);

impl NodeId {
    /// The network's input.
    pub(super) const INPUT: Self = Self(0);

    pub(super) fn new(index: usize) -> Self {
        Self(index)
    }

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
    /// min(max(x, 0), 6).
    Relu6,
    /// x * Hardsigmoid(x).
    Hardswish,
    /// min(max(x / 6 + 1/2, 0), 1).
    Hardsigmoid,
    /// x * Sigmoid(x).
    Silu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// x times the normal distribution up to x.
    Gelu,
    /// Hyperbolic tangent.
    Tanh,
    /// max(x, -x).
    Abs,
    /// Natural logarithm.
    Log,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The network's input, `[N, 3, H, W]`.
    Input,
    /// A learned tensor, for steps that read it as any other result.
    Weight(ParamId),
    /// A tensor that is not learned.
    Fixed(FixedId),
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
    /// Convolution without bias, in one group, of the first input with the second, `[out, in, k, k]`.
    ConvBy {
        /// Of both axes.
        stride: i64,
        /// On every side.
        padding: i64,
        /// See [`Op::MatMul`].
        exact: bool,
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
    /// Sum of two inputs; an axis that one of them lacks or has once is repeated.
    Add,
    /// Product of two inputs; an axis that one of them lacks or has once is repeated.
    Mul,
    /// x * scale + offset.
    Affine {
        /// Factor.
        scale: f64,
        /// Added.
        offset: f64,
    },
    /// Product of matrices, over the last two axes; others are repeated where one input lacks them.
    MatMul {
        /// Whether libtorch does it in double precision, which neither mixed precision nor TF32 touches: for transforms, whose
        /// smallest coefficients are what is looked for.
        exact: bool,
    },
    /// The last two axes change places.
    Transpose,
    /// Over the last axis.
    Softmax,
    /// All inputs, one after the other along the channels.
    Concat,
    /// Every number twice in each direction: twice the height and width.
    Upsample,
    /// On tokens.
    Token(TokenOp),
    /// Mean over height and width, `[N, C, 1, 1]`.
    Pool,
    /// The largest number of every window.
    MaxPool {
        /// Side of the window.
        kernel: i64,
        /// Of both axes.
        stride: i64,
        /// On every side, less than half the kernel.
        padding: i64,
        /// Whether a window that only begins within the input counts.
        ceil: bool,
    },
    /// While training, all numbers of a face are dropped together with this probability, and the kept ones are scaled so that the
    /// mean stays: stochastic depth (Huang et al., 2016), at the end of a residual branch.
    DropFace(f64),
}

/// A step and what it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// Earlier steps.
    pub inputs: Vec<NodeId>,
}

impl Op {
    /// Whether it yields the same for every input of the network, where all that it reads does.
    fn is_constant(&self) -> bool {
        let on_anything = matches!(self, Self::Add | Self::Mul | Self::Affine { .. } | Self::Act(_));
        on_anything || matches!(self, Self::Weight(_) | Self::Fixed(_) | Self::MatMul { .. } | Self::Transpose)
    }
}

/// Which steps yield the same for every input of the network.
pub(crate) fn constant(nodes: &[Node]) -> Vec<bool> {
    nodes.iter().fold(Vec::with_capacity(nodes.len()), |mut constant: Vec<bool>, node| {
        constant.push(node.op.is_constant() && node.inputs.iter().all(|id| constant[id.0]));
        constant
    })
}

/// The result of a step that is the same for every input.
pub(crate) fn evaluate(nodes: &[Node], id: NodeId, params: &Params) -> Result<Tensor> {
    let nothing = Tensor::f_empty([0], (Kind::Float, tch::Device::Cpu))?;
    run(nodes, id, params, &nothing, Mode::Inference)
}

/// Runs the steps that `wanted` need; returns their results in that order.
pub(super) fn run_all(
    nodes: &[Node],
    wanted: &[NodeId],
    params: &Params,
    input: &Tensor,
    mode: Mode,
) -> Result<Vec<Tensor>> {
    observed(nodes, wanted, params, input, mode, &mut |_, _| Ok(()))
}

/// Runs the steps that `last` needs; lets go of every result as soon as no later step reads it.
pub(super) fn run(nodes: &[Node], last: NodeId, params: &Params, input: &Tensor, mode: Mode) -> Result<Tensor> {
    let mut results = run_all(nodes, &[last], params, input, mode)?;
    results.pop().ok_or_else(|| crate::Error::Training("a network without features".to_owned()))
}

/// As [`run_all`]; tells `watch` the place of every norm and what it reads, before it is run.
pub(super) fn observed(
    nodes: &[Node],
    wanted: &[NodeId],
    params: &Params,
    input: &Tensor,
    mode: Mode,
    watch: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Vec<Tensor>> {
    let mut readers = vec![0usize; nodes.len()];
    wanted.iter().for_each(|id| readers[id.0] += 1);
    let last = wanted.iter().map(|id| id.0).max().unwrap_or(0);
    for index in (0..=last).rev() {
        if readers[index] > 0 {
            nodes[index].inputs.iter().for_each(|id| readers[id.0] += 1);
        }
    }
    let mut results: Vec<Option<Tensor>> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate().take(last + 1) {
        if readers[index] == 0 {
            results.push(None);
            continue;
        }
        let of = |at: usize| -> Result<&Tensor> {
            let result = node.inputs.get(at).and_then(|id| results[id.0].as_ref());
            result.ok_or_else(|| crate::Error::Training(format!("{:?} reads what was never computed", node.op)))
        };
        let result = match &node.op {
            Op::Input => input.shallow_clone(),
            Op::Weight(id) => params.get(*id).shallow_clone(),
            Op::Fixed(id) => params.fixed(*id).shallow_clone(),
            Op::ConvBy { stride, padding, exact } => of_kind(*exact, [of(0)?, of(1)?], |x, kernel| {
                Ok(x.f_conv2d::<Tensor>(kernel, None, *stride, *padding, 1, 1)?)
            })?,
            Op::Conv { weight, bias, stride, padding, groups } => {
                of(0)?.f_conv2d(params.get(*weight), bias.map(|b| params.get(b)), *stride, *padding, 1, *groups)?
            }
            Op::Norm { weight, bias, mean, variance, eps, momentum } => {
                watch(index, of(0)?)?;
                let again = matches!(mode, Mode::Again { .. });
                let statistic = |id: &ParamId| (!again).then(|| params.get(*id));
                of(0)?.f_batch_norm(
                    Some(params.get(*weight)),
                    Some(params.get(*bias)),
                    statistic(mean),
                    statistic(variance),
                    mode != Mode::Inference,
                    *momentum,
                    *eps,
                    true,
                )?
            }
            Op::Act(Activation::Relu) => of(0)?.f_relu()?,
            Op::Act(Activation::Relu6) => of(0)?.f_relu6()?,
            Op::Act(Activation::Hardswish) => of(0)?.f_hardswish()?,
            Op::Act(Activation::Hardsigmoid) => of(0)?.f_hardsigmoid()?,
            Op::Add => of(0)?.f_add(of(1)?)?,
            Op::Mul => of(0)?.f_mul(of(1)?)?,
            Op::Act(Activation::Silu) => of(0)?.f_silu()?,
            Op::Act(Activation::Sigmoid) => of(0)?.f_sigmoid()?,
            Op::Act(Activation::Gelu) => of(0)?.f_gelu("none")?,
            Op::Act(Activation::Tanh) => of(0)?.f_tanh()?,
            Op::Act(Activation::Abs) => of(0)?.f_abs()?,
            Op::Act(Activation::Log) => of(0)?.f_log()?,
            Op::Affine { scale, offset } => of(0)?.f_mul_scalar(*scale)?.f_add_scalar(*offset)?,
            Op::MatMul { exact } => of_kind(*exact, [of(0)?, of(1)?], |a, b| Ok(a.f_matmul(b)?))?,
            Op::Transpose => of(0)?.f_transpose(-2, -1)?,
            Op::Softmax => of(0)?.f_softmax(-1, None)?,
            Op::Concat => {
                let all = (0..node.inputs.len()).map(of).collect::<Result<Vec<_>>>()?;
                Tensor::f_cat(&all, 1)?
            }
            Op::Upsample => {
                let (_, _, height, width) = of(0)?.size4()?;
                of(0)?.f_upsample_nearest2d([2 * height, 2 * width], None, None)?
            }
            Op::Token(op) => {
                let (_, _, height, width) = input.size4()?;
                op.run(params, of(0)?, [height, width])?
            }
            Op::Pool => of(0)?.f_mean_dim(&[2i64, 3][..], true, None)?,
            Op::MaxPool { kernel, stride, padding, ceil } => {
                of(0)?.f_max_pool2d([*kernel; 2], [*stride; 2], [*padding; 2], [1, 1], *ceil)?
            }
            Op::DropFace(probability) => match mode {
                Mode::Training { seed } | Mode::Again { seed } if *probability > 0.0 => {
                    let mut size = of(0)?.size();
                    size.iter_mut().skip(1).for_each(|n| *n = 1);
                    let seed = seeded::mixed(seed, "stochastic depth", &[index as u64]);
                    of(0)?.f_mul(&kept(&size, *probability, seed)?.f_to_device(of(0)?.device())?)?
                }
                _ => of(0)?.shallow_clone(),
            },
        };
        results.push(Some(result));
        for id in &node.inputs {
            readers[id.0] -= 1;
            if readers[id.0] == 0 {
                results[id.0] = None;
            }
        }
    }
    let result = |id: &NodeId| results[id.0].as_ref().map(Tensor::shallow_clone);
    wanted
        .iter()
        .map(|id| result(id).ok_or_else(|| crate::Error::Training("a step that was never computed".to_owned())))
        .collect()
}

/// Does it in double precision where it is to be `exact`.
fn of_kind(exact: bool, [a, b]: [&Tensor; 2], work: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if exact {
        Ok(work(&a.f_to_kind(Kind::Double)?, &b.f_to_kind(Kind::Double)?)?.f_to_kind(Kind::Float)?)
    } else {
        work(a, b)
    }
}

/// Factors that drop with `probability` and keep the mean. Drawn here, not by libtorch, whose generator belongs to the whole
/// process: so that the same seed drops the same on every device and in every thread.
pub(super) fn kept(size: &[i64], probability: f64, seed: u64) -> Result<Tensor> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let scale = (1.0 / (1.0 - probability)) as f32;
    let count = size.iter().product::<i64>();
    let factors: Vec<f32> = (0..count).map(|_| if rng.random_bool(probability) { 0.0 } else { scale }).collect();
    Ok(Tensor::f_from_slice(&factors)?.f_view(size)?)
}
