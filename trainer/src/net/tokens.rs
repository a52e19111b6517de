//! Steps on tokens, `[N, T, C]`: what vision transformers are made of.

use tch::Tensor;

use super::builder::Builder;
use super::graph::{NodeId, Op};
use super::params::{ParamId, Params, Role};
use crate::error::{Error, Result};

/// A step on tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenOp {
    /// Adds to every place of a grid `[N, C, h, w]` what was learned for it.
    Position {
        /// `[1, g * g, C]`, row by row; another grid gets it interpolated, see [`position`].
        table: ParamId,
        /// Pixels of the input to a side of a place.
        patch: i64,
    },
    /// `[N, C, h, w]` to `[N, h * w, C]`, row by row.
    Flatten,
    /// `[N, h * w, C]` to `[N, C, h, w]`.
    Grid {
        /// Pixels of the input to a side of a place.
        patch: i64,
    },
    /// Normalization over C (Ba et al., 2016).
    LayerNorm {
        /// Scale, `[C]`.
        weight: ParamId,
        /// Offset, `[C]`.
        bias: ParamId,
        /// Added to the variance.
        eps: f64,
    },
    /// The same linear layer on every token.
    Linear {
        /// `[out, in]`.
        weight: ParamId,
        /// `[out]`.
        bias: ParamId,
    },
    /// Scaled dot-product attention among the tokens (Vaswani et al., 2017), from `[N, T, 3 * C]`: queries, keys and values of all
    /// heads, one after the other.
    Attention {
        /// Into which C is divided.
        heads: i64,
        /// What products of queries and keys are multiplied with: the inverse root of a head's channels.
        scale: f64,
    },
}

impl TokenOp {
    /// Runs it on `x`, in a network whose input has `height` by `width` pixels.
    pub(super) fn run(&self, params: &Params, x: &Tensor, [height, width]: [i64; 2]) -> Result<Tensor> {
        Ok(match self {
            Self::Position { table, patch } => {
                x.f_add(&position(params.get(*table), [height / patch, width / patch])?)?
            }
            Self::Flatten => x.f_flatten(2, -1)?.f_transpose(1, 2)?,
            Self::Grid { patch } => {
                // Contiguous: a permuted view would count as channels-last, for which nothing is gained here.
                x.f_transpose(1, 2)?.f_contiguous()?.f_unflatten(2, [height / patch, width / patch])?
            }
            Self::LayerNorm { weight, bias, eps } => {
                let (weight, bias) = (params.get(*weight), params.get(*bias));
                x.f_layer_norm(weight.size(), Some(weight), Some(bias), *eps, true)?
            }
            Self::Linear { weight, bias } => x.f_linear(params.get(*weight), Some(params.get(*bias)))?,
            Self::Attention { heads, scale } => {
                let (n, tokens, channels) = x.size3()?;
                let channels = channels / 3;
                let parts = x.f_view([n, tokens, 3, *heads, channels / heads])?.f_permute([2, 0, 3, 1, 4])?;
                let [q, k, v] = [parts.f_get(0)?, parts.f_get(1)?, parts.f_get(2)?];
                Tensor::f_scaled_dot_product_attention::<Tensor>(&q, &k, &v, None, 0.0, false, *scale, false)?
                    .f_transpose(1, 2)?
                    .f_reshape([n, tokens, channels])?
            }
        })
    }
}

/// A position embedding `[1, g * g, C]` for a grid of `rows` by `columns`, as `[1, C, rows, columns]`: where that is another grid,
/// interpolated (bicubic with antialiasing, as timm's).
///
/// # Errors
///
/// When libtorch fails; a table that is not square.
pub fn position(table: &Tensor, grid: [i64; 2]) -> Result<Tensor> {
    let (_, places, channels) = table.size3()?;
    let side = places.isqrt();
    if side * side != places {
        return Err(Error::Training(format!("a position embedding of {places} places is not square")));
    }
    let table = table.f_view([1, side, side, channels])?.f_permute([0, 3, 1, 2])?;
    if grid == [side; 2] {
        return Ok(table);
    }
    Ok(table.f_internal_upsample_bicubic2d_aa(grid, false, None, None)?)
}

/// Spread of initial weights, as in the published training of these networks.
const STD: f64 = 0.02;

impl Builder<'_> {
    /// See [`TokenOp::Position`], for a grid of `side` by `side`.
    pub(super) fn position(
        &mut self,
        from: NodeId,
        name: &str,
        side: i64,
        channels: i64,
        patch: i64,
    ) -> Result<NodeId> {
        let table = self.init.normal(&[1, side * side, channels], STD)?;
        let table = self.params.push(name.to_owned(), Role::Gain, table);
        Ok(self.push(Op::Token(TokenOp::Position { table, patch }), &[from]))
    }

    /// See [`TokenOp::Flatten`].
    pub(super) fn flatten(&mut self, from: NodeId) -> NodeId {
        self.push(Op::Token(TokenOp::Flatten), &[from])
    }

    /// See [`TokenOp::Grid`].
    pub(super) fn grid(&mut self, from: NodeId, patch: i64) -> NodeId {
        self.push(Op::Token(TokenOp::Grid { patch }), &[from])
    }

    /// A layer norm that begins without scale and offset.
    pub(super) fn layer_norm(&mut self, from: NodeId, name: &str, channels: i64, eps: f64) -> Result<NodeId> {
        let weight = self.init.constant(channels, 1.0)?;
        let weight = self.params.push(format!("{name}.weight"), Role::Gain, weight);
        let bias = self.init.constant(channels, 0.0)?;
        let bias = self.params.push(format!("{name}.bias"), Role::Gain, bias);
        Ok(self.push(Op::Token(TokenOp::LayerNorm { weight, bias, eps }), &[from]))
    }

    /// See [`TokenOp::Linear`].
    pub(super) fn token_linear(&mut self, from: NodeId, name: &str, inputs: i64, outputs: i64) -> Result<NodeId> {
        let (weight, bias) = self.linear(name, inputs, outputs, STD)?;
        Ok(self.push(Op::Token(TokenOp::Linear { weight, bias }), &[from]))
    }

    /// See [`TokenOp::Attention`].
    pub(super) fn attention(&mut self, from: NodeId, channels: i64, heads: i64) -> NodeId {
        let scale = ((channels / heads) as f64).powf(-0.5);
        self.push(Op::Token(TokenOp::Attention { heads, scale }), &[from])
    }
}
