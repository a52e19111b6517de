//! The networks that can be trained, and what each of them lets a configuration choose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::HEAD;
use super::builder::Builder;
use super::graph::NodeId;
use super::params::Params;
use super::{efficientnet, f3net, mobilenet_v3, resnet, vgg, vit, xception};
use crate::config::{Input, Model};
use crate::error::Result;

/// The networks that can be trained. All end in pooling and one linear layer, so that the evidence map is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backbone {
    /// Howard et al., "Searching for MobileNetV3", 2019, the small one. The published hidden layer between pooling and
    /// classes (576 to 1024, Hardswish) is left out: behind it a map would no longer be exact.
    MobilenetV3Small,
    /// Tan and Le, "EfficientNet", 2019, the smallest.
    EfficientnetB0,
    /// As [`Backbone::EfficientnetB0`], 1.4 times as wide and 1.8 times as deep.
    EfficientnetB4,
    /// As [`Backbone::EfficientnetB0`], without squeeze and excitation and with ReLU6: EfficientNet-Lite (Liu, 2020), the smallest,
    /// made to be run in 8 bits.
    EfficientnetLite0,
    /// He et al., "Deep Residual Learning", 2015, 18 layers of basic blocks.
    Resnet18,
    /// 50 layers of bottlenecks, whose stride is in the 3 x 3 convolution.
    Resnet50,
    /// Simonyan and Zisserman, "Very Deep Convolutional Networks", 2014, configuration D. The three published linear layers
    /// (25088 to 4096 to 4096 to classes) are left out: behind them a map would not be exact.
    Vgg16,
    /// As [`Backbone::Vgg16`], with batch norms.
    Vgg16Bn,
    /// Chollet, "Xception", 2017.
    Xception,
    /// Qian et al., "Thinking in Frequency", 2020: two Xceptions on frequency bands and on local frequency statistics.
    F3net,
    /// Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, with a mean-token head: patches of 16 pixels, 384 channels.
    VitSmall,
    /// As [`Backbone::VitSmall`], 768 channels.
    VitBase,
}

impl Backbone {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::MobilenetV3Small,
        Self::EfficientnetB0,
        Self::EfficientnetB4,
        Self::EfficientnetLite0,
        Self::Resnet18,
        Self::Resnet50,
        Self::Vgg16,
        Self::Vgg16Bn,
        Self::Xception,
        Self::F3net,
        Self::VitSmall,
        Self::VitBase,
    ];

    /// As a configuration names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MobilenetV3Small => "mobilenet_v3_small",
            Self::EfficientnetB0 => "efficientnet_b0",
            Self::EfficientnetB4 => "efficientnet_b4",
            Self::EfficientnetLite0 => "efficientnet_lite0",
            Self::Resnet18 => "resnet18",
            Self::Resnet50 => "resnet50",
            Self::Vgg16 => "vgg16",
            Self::Vgg16Bn => "vgg16_bn",
            Self::Xception => "xception",
            Self::F3net => "f3net",
            Self::VitSmall => "vit_small",
            Self::VitBase => "vit_base",
        }
    }

    /// Stride of the published first convolution, where a configuration may choose another.
    pub const fn stem_stride(self) -> Option<i64> {
        match self {
            Self::MobilenetV3Small
            | Self::EfficientnetB0
            | Self::EfficientnetB4
            | Self::EfficientnetLite0
            | Self::Resnet18
            | Self::Resnet50
            | Self::Xception => Some(2),
            Self::Vgg16 | Self::Vgg16Bn | Self::F3net | Self::VitSmall | Self::VitBase => None,
        }
    }

    /// Whether a configuration may choose another number of channels.
    pub const fn has_width(self) -> bool {
        !matches!(self, Self::VitSmall | Self::VitBase)
    }

    /// The published probability with which the last residual branch is dropped while training, where a configuration may choose
    /// another.
    pub const fn stochastic_depth(self) -> Option<f64> {
        match self {
            Self::EfficientnetB0 | Self::EfficientnetB4 | Self::EfficientnetLite0 => Some(0.2),
            Self::Resnet18 | Self::Resnet50 | Self::VitSmall | Self::VitBase => Some(0.0),
            Self::MobilenetV3Small | Self::Vgg16 | Self::Vgg16Bn | Self::Xception | Self::F3net => None,
        }
    }

    /// Whether it has batch norms.
    pub const fn has_norm(self) -> bool {
        !matches!(self, Self::Vgg16 | Self::VitSmall | Self::VitBase)
    }

    /// Whether its tensors are made for one size of the input.
    pub const fn has_one_size(self) -> bool {
        matches!(self, Self::F3net)
    }

    /// Whether it can see inputs of `size` pixels; if not, what it needs.
    ///
    /// # Errors
    ///
    /// The end of a sentence for people.
    pub fn takes(self, size: usize) -> std::result::Result<(), String> {
        match self {
            Self::VitSmall | Self::VitBase if !size.is_multiple_of(vit::PATCH as usize) => {
                Err(format!("must be a multiple of {} for {self}, not {size}", vit::PATCH))
            }
            Self::F3net => {
                let fits = |size: &usize| {
                    let [fad, lfs] = f3net::sides(*size);
                    fad == lfs
                };
                let near = (1..).find_map(|d| [size + d, size.saturating_sub(d)].into_iter().find(fits));
                match fits(&size) {
                    true => Ok(()),
                    false => Err(format!(
                        "is {size}, for which the two streams of {self} have different grids: {} will do",
                        near.unwrap_or_default()
                    )),
                }
            }
            _ => Ok(()),
        }
    }

    /// Fits the tensors of a file to this network: a position embedding is interpolated, an Xception's tensors go to both streams of
    /// an F3Net. Returns what the names of those tensors begin with that the file need not have.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub(super) fn adapt(
        self,
        tensors: &mut BTreeMap<String, Tensor>,
        params: &Params,
    ) -> Result<&'static [&'static str]> {
        match self {
            Self::VitSmall | Self::VitBase => vit::adapt(tensors, params)?,
            Self::F3net if f3net::adapt(tensors)? => return Ok(&f3net::DRAWN),
            _ => {}
        }
        Ok(&[HEAD])
    }

    /// Builds the body for such an input; returns its features and their channels.
    pub(super) fn build(self, b: &mut Builder<'_>, model: &Model, input: &Input) -> Result<(NodeId, i64)> {
        let choice = Choice {
            width: model.width.unwrap_or(1.0),
            stem_stride: model.stem_stride.or(self.stem_stride()).unwrap_or(1),
            stochastic_depth: model.stochastic_depth.or(self.stochastic_depth()).unwrap_or(0.0),
        };
        match self {
            Self::MobilenetV3Small => mobilenet_v3::small(b, &choice),
            Self::EfficientnetB0 => efficientnet::build(b, &efficientnet::B0, &choice),
            Self::EfficientnetB4 => efficientnet::build(b, &efficientnet::B4, &choice),
            Self::EfficientnetLite0 => efficientnet::build(b, &efficientnet::LITE0, &choice),
            Self::Resnet18 => resnet::build(b, &resnet::RESNET_18, &choice),
            Self::Resnet50 => resnet::build(b, &resnet::RESNET_50, &choice),
            Self::Vgg16 => vgg::build(b, false, &choice),
            Self::Vgg16Bn => vgg::build(b, true, &choice),
            Self::Xception => xception::build(b, &choice),
            Self::F3net => f3net::build(b, &choice, input),
            Self::VitSmall => vit::build(b, &vit::SMALL, &choice, input.size),
            Self::VitBase => vit::build(b, &vit::BASE, &choice, input.size),
        }
    }
}

impl std::fmt::Display for Backbone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a configuration may choose of a network; the published values where it does not.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    /// Channels, relative.
    pub(super) width: f64,
    /// Of the first convolution.
    pub(super) stem_stride: i64,
    /// Of the last residual branch.
    pub(super) stochastic_depth: f64,
}

impl Choice {
    /// The nearest multiple of 8 to so many published channels that is not more than a tenth smaller.
    pub(super) fn wide(&self, channels: i64) -> i64 {
        divisible(channels as f64 * self.width)
    }
}

/// The nearest multiple of 8 that is not more than a tenth smaller.
pub(super) fn divisible(channels: f64) -> i64 {
    let nearest = ((channels + 4.0) as i64 / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}
