//! Vision transformers with a mean-token head, with timm's tensor names (`vit_small_patch16_224`, `vit_base_patch16_224`).
//!
//! Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; sizes of the small one from Touvron et al., "DeiT", 2021. There
//! is no class token: its row of the position embedding is not needed, and behind it the gradient of the last patch tokens would be
//! zero. The last layer norm stands before the mean over the tokens, so that the evidence map is exact on the normalized tokens.

use std::collections::BTreeMap;

use tch::Tensor;

use super::backbone::Choice;
use super::builder::{Builder, ConvShape};
use super::graph::{Activation, NodeId};
use super::params::Params;
use super::tokens;
use crate::error::Result;

/// Sides of what becomes a token, pixels.
pub(crate) const PATCH: i64 = 16;

/// timm's value for these networks.
const NORM_EPS: f64 = 1e-6;

/// Hidden channels of a block's two linear layers, relative.
const HIDDEN: i64 = 4;

/// Name of the position embedding.
const POSITION: &str = "pos_embed";

/// Sizes of a network.
pub(super) struct Shape {
    channels: i64,
    blocks: i64,
    heads: i64,
}

/// ViT-S/16.
pub(super) const SMALL: Shape = Shape { channels: 384, blocks: 12, heads: 6 };
/// ViT-B/16.
pub(super) const BASE: Shape = Shape { channels: 768, blocks: 12, heads: 12 };

/// Builds the body for an input of `size` pixels; returns its features and their channels.
pub(super) fn build(b: &mut Builder<'_>, shape: &Shape, choice: &Choice, size: usize) -> Result<(NodeId, i64)> {
    let &Shape { channels, blocks, heads } = shape;
    let side = size as i64 / PATCH;
    let patches = ConvShape::new(3, channels, PATCH).stride(PATCH).valid();
    let x = b.conv_bias(b.input(), "patch_embed.proj", patches)?;
    let x = b.position(x, POSITION, side, channels, PATCH)?;
    let mut x = b.flatten(x);
    for block in 0..blocks {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let drop = choice.stochastic_depth * block as f64 / (blocks - 1) as f64;
        let y = b.layer_norm(x, &name("norm1"), channels, NORM_EPS)?;
        let y = b.token_linear(y, &name("attn.qkv"), channels, 3 * channels)?;
        let y = b.attention(y, channels, heads);
        let y = b.token_linear(y, &name("attn.proj"), channels, channels)?;
        let y = b.drop_face(y, drop);
        x = b.add(x, y);
        let y = b.layer_norm(x, &name("norm2"), channels, NORM_EPS)?;
        let y = b.token_linear(y, &name("mlp.fc1"), channels, HIDDEN * channels)?;
        let y = b.act(y, Activation::Gelu);
        let y = b.token_linear(y, &name("mlp.fc2"), HIDDEN * channels, channels)?;
        let y = b.drop_face(y, drop);
        x = b.add(x, y);
    }
    let x = b.layer_norm(x, "norm", channels, NORM_EPS)?;
    Ok((b.grid(x, PATCH), channels))
}

/// Fits the position embedding of a file to the grid of `params`: rows of tokens that are no patches go, the rest is interpolated.
pub(super) fn adapt(tensors: &mut BTreeMap<String, Tensor>, params: &Params) -> Result<()> {
    let own = params.iter().find(|p| p.name == POSITION).map(|p| &p.tensor);
    let (Some(own), Some(table)) = (own, tensors.get(POSITION).filter(|t| t.dim() == 3)) else { return Ok(()) };
    let places = table.size()[1];
    // The class token's stands first.
    let others = places - places.isqrt() * places.isqrt();
    let side = own.size()[1].isqrt();
    let fitted = tokens::position(&table.f_narrow(1, others, places - others)?, [side; 2])?;
    let fitted = fitted.f_flatten(2, -1)?.f_transpose(1, 2)?;
    tensors.insert(POSITION.to_owned(), fitted);
    Ok(())
}
