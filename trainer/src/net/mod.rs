//! Networks as graphs: one description from which training runs, maps are drawn and ONNX is written.
//!
//! Every backbone is a function that builds such a graph. All of them end alike: features `A` of shape `[N, C, h, w]`, their mean
//! over h and w, one linear layer with a row for real and a row for fake. That makes the evidence map exact: with
//! `E = sum_k (w_fake,k - w_real,k) * A_k + (b_fake - b_real)`, the mean of `E` over h and w is the logit.

mod backbone;
mod builder;
mod efficientnet;
mod f3net;
pub mod frequency;
mod graph;
mod inverted;
pub mod locator;
mod mobilenet_v3;
mod names;
mod params;
mod resnet;
pub mod tokens;
mod vgg;
mod vit;
mod xception;

use std::collections::BTreeMap;
use std::path::Path;

use rand_pcg::Pcg64Mcg;
use tch::Tensor;

pub use backbone::Backbone;
pub use graph::{Activation, Node, NodeId, Op};
pub(crate) use graph::{constant, evaluate};
pub use names::{Loaded, Naming};
pub use params::{FixedId, Param, ParamId, Params, Role, floats, read_tensors, write_tensors};

use crate::config::{Input, Model};
use crate::error::Result;
use builder::Builder;

/// The columns of the head's two numbers.
pub const REAL: i64 = 0;
/// See [`REAL`].
pub const FAKE: i64 = 1;

/// What the names of the head's tensors begin with.
pub const HEAD: &str = "classifier.";

/// Spread of the head's weights at the beginning.
const HEAD_STD: f64 = 0.01;

/// A network without its numbers, which stand in [`Params`].
#[derive(Debug)]
pub struct Net {
    backbone: Backbone,
    nodes: Vec<Node>,
    features: NodeId,
    weight: ParamId,
    bias: ParamId,
    dropout: f64,
}

/// How a network is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Running statistics, nothing dropped.
    Inference,
    /// Statistics of the batch, which the running ones then follow; pooled features and residual branches dropped at random.
    Training {
        /// Of what is dropped.
        seed: u64,
    },
    /// As in training, but the running statistics stay as they are: for a second look at the same batch.
    Again {
        /// Of what is dropped.
        seed: u64,
    },
}

/// What a network says of a batch.
#[derive(Debug)]
pub struct Forward {
    /// What enters the pooling, `[N, C, h, w]`.
    pub features: Tensor,
    /// `[N, 2]`: [`REAL`], [`FAKE`].
    pub logits: Tensor,
}

impl Net {
    /// The network that the configuration asks for, made for such an input, with weights drawn from `rng`.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn new(model: &Model, input: &Input, rng: &mut Pcg64Mcg) -> Result<(Self, Params)> {
        Self::build(model, input, Some(rng))
    }

    /// As [`Net::new`], with nothing drawn: for weights that are read from a file.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn blank(model: &Model, input: &Input) -> Result<(Self, Params)> {
        Self::build(model, input, None)
    }

    fn build(model: &Model, input: &Input, rng: Option<&mut Pcg64Mcg>) -> Result<(Self, Params)> {
        let mut builder = Builder::new(rng, model.norm_momentum);
        let (features, channels) = model.backbone.build(&mut builder, model, input)?;
        let (weight, bias) = builder.linear(HEAD.trim_end_matches('.'), channels, 2, HEAD_STD)?;
        let (nodes, params) = builder.finish();
        Ok((Self { backbone: model.backbone, nodes, features, weight, bias, dropout: model.dropout }, params))
    }

    /// Which one it is.
    pub fn backbone(&self) -> Backbone {
        self.backbone
    }

    /// Takes over the weights of a file of this program, of torchvision or of timm into `params`, which are those of this network.
    /// The head is taken only from a file of this program; all else must be there and nothing else may be.
    ///
    /// # Errors
    ///
    /// Names `path`, the first tensor that does not fit and the network that the file looks like.
    pub fn load(&self, params: &mut Params, tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<Loaded> {
        names::load(self, params, tensors, path)
    }

    /// The steps up to the pooling, each after those that it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The step whose result enters the pooling.
    pub fn features(&self) -> NodeId {
        self.features
    }

    /// Weight `[2, C]` and bias `[2]` of the head.
    pub fn head(&self) -> (ParamId, ParamId) {
        (self.weight, self.bias)
    }

    /// Runs a batch `[N, 3, H, W]`.
    ///
    /// # Errors
    ///
    /// When libtorch fails: shapes that do not fit, no memory.
    pub fn forward(&self, params: &Params, input: &Tensor, mode: Mode) -> Result<Forward> {
        let features = graph::run(&self.nodes, self.features, params, input, mode)?;
        let pooled = features.f_mean_dim(&[2i64, 3][..], false, None)?;
        let pooled = match mode {
            Mode::Training { seed } | Mode::Again { seed } if self.dropout > 0.0 => {
                let factors = graph::kept(&pooled.size(), self.dropout, seed)?;
                pooled.f_mul(&factors.f_to_device(pooled.device())?)?
            }
            _ => pooled,
        };
        let logits = pooled.f_linear(params.get(self.weight), Some(params.get(self.bias)))?;
        Ok(Forward { features, logits })
    }

    /// Runs a batch at inference, and tells `watch` the place of every norm among the steps and what that norm reads.
    ///
    /// # Errors
    ///
    /// When `watch` or libtorch fails.
    pub fn observe(
        &self,
        params: &Params,
        input: &Tensor,
        watch: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let _ = graph::observed(&self.nodes, &[self.features], params, input, Mode::Inference, watch)?;
        Ok(())
    }

    /// The signed evidence map `[N, h, w]` of [`Forward::features`].
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn map(&self, params: &Params, features: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (params.get(self.weight), params.get(self.bias));
        let w = weight.f_get(FAKE)?.f_sub(&weight.f_get(REAL)?)?.f_view([1, -1, 1, 1])?;
        let b = bias.f_get(FAKE)?.f_sub(&bias.f_get(REAL)?)?.f_view([1])?;
        Ok(features.f_conv2d(&w, Some(&b), 1, 0, 1, 1)?.f_squeeze_dim(1)?)
    }
}
