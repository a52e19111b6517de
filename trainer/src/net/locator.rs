//! The face locator's network: small, without anchors, three strides, in the form of YuNet (Wu et al., "YuNet: A Tiny Millisecond-level
//! Face Detector", 2023), so that whatever reads YuNet reads it.
//!
//! Separable convolutions (a depthwise one, then one across channels, then norm and ReLU) down to a stride of 32; from there features
//! come back up by nearest neighbours and are added. At each stride every cell speaks of one face: [`SCORE`], [`FIT`], [`BOX`] and
//! [`LANDMARKS`].

use std::ops::Range;

use rand_pcg::Pcg64Mcg;
use tch::Tensor;

use super::builder::{Builder, ConvShape};
use super::graph::{self, Activation, Node, NodeId, Op};
use super::params::Params;
use super::{Mode, inverted::Norm};
use crate::error::Result;

/// Pixels of the input from cell to cell.
pub const STRIDES: [usize; 3] = [8, 16, 32];

/// Numbers that a cell says.
pub const CHANNELS: usize = 16;
/// Logit of there being a face.
pub const SCORE: usize = 0;
/// Logit of the box's overlap with the face.
pub const FIT: usize = 1;
/// Centre from the cell's corner in strides, and logarithms of width and height in strides.
pub const BOX: Range<usize> = 2..6;
/// Five points from the cell's corner in strides.
pub const LANDMARKS: Range<usize> = 6..16;

/// Channels at the strides 2, 4, 8, 16 and 32, and of what comes back up.
const WIDTHS: [i64; 5] = [16, 32, 64, 96, 128];
const NECK: i64 = 64;

/// PyTorch's defaults.
const NORM: Norm = Norm { eps: 1e-5, momentum: 0.1 };

/// The scores begin by expecting a face in one cell of a hundred (Lin et al., "Focal Loss for Dense Object Detection", 2017).
const PRIOR: f64 = 0.01;

/// The network without its numbers.
#[derive(Debug)]
pub struct LocatorNet {
    nodes: Vec<Node>,
    levels: [NodeId; 3],
}

impl LocatorNet {
    /// With weights drawn from `rng`; zeros without one, for weights that are read from a file.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn new(rng: Option<&mut Pcg64Mcg>) -> Result<(Self, Params)> {
        let drawn = rng.is_some();
        let mut b = Builder::new(rng, None);
        let stem = ConvShape::new(3, WIDTHS[0], 3).stride(2);
        let mut x = b.conv(b.input(), "stem.0", stem)?;
        x = b.norm(x, "stem.1", WIDTHS[0], NORM.eps, NORM.momentum)?;
        x = b.act(x, Activation::Relu);
        let mut stages = Vec::new();
        for (stage, pair) in WIDTHS.windows(2).enumerate() {
            let &[before, width] = pair else { continue };
            x = separable(&mut b, x, &format!("stage.{stage}.down"), [before, width], 2)?;
            let depth = if stage == 0 { 1 } else { 2 };
            for block in 0..depth {
                let y = separable(&mut b, x, &format!("stage.{stage}.{block}"), [width, width], 1)?;
                x = b.add(x, y);
            }
            stages.push((x, width));
        }
        // From the coarsest on, each is given what the next coarser one has seen.
        let mut above: Option<NodeId> = None;
        let mut levels = [NodeId::INPUT; 3];
        for level in (0..STRIDES.len()).rev() {
            let (from, width) = stages[level + 1];
            let mut x = from;
            if width != NECK {
                x = b.conv(x, &format!("lateral.{level}"), ConvShape::new(width, NECK, 1))?;
            }
            if let Some(above) = above {
                let larger = b.push(Op::Upsample, &[above]);
                x = b.add(x, larger);
            }
            x = separable(&mut b, x, &format!("neck.{level}"), [NECK, NECK], 1)?;
            above = Some(x);
            let y = separable(&mut b, x, &format!("head.{level}"), [NECK, NECK], 1)?;
            levels[level] = b.conv_bias(y, &format!("out.{level}"), ConvShape::new(NECK, CHANNELS as i64, 1))?;
        }
        let (nodes, params) = b.finish();
        if drawn {
            tch::no_grad(|| -> Result<()> {
                for param in params.iter().filter(|p| p.name.starts_with("out.")) {
                    if param.name.ends_with("bias") {
                        let logit = (PRIOR / (1.0 - PRIOR)).ln();
                        let _ = param.tensor.f_narrow(0, 0, 2)?.f_fill_(logit)?;
                    } else {
                        let _ = param.tensor.shallow_clone().f_mul_scalar_(0.1)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok((Self { nodes, levels }, params))
    }

    /// The steps, each after those that it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The steps whose results are the three strides' numbers, from the finest on.
    pub fn levels(&self) -> [NodeId; 3] {
        self.levels
    }

    /// Runs a batch `[N, 3, H, W]` of B'G'R' in [0, 1], sides multiples of 32. Returns `[N, CHANNELS, cells]`: all cells of the finest stride,
    /// row by row, then those of the next.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn forward(&self, params: &Params, input: &Tensor, mode: Mode) -> Result<Tensor> {
        let levels = graph::run_all(&self.nodes, &self.levels, params, input, mode)?;
        let flat = levels.iter().map(|l| l.f_flatten(2, 3)).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::f_cat(&flat, 2)?)
    }
}

fn separable(
    b: &mut Builder<'_>,
    from: NodeId,
    name: &str,
    [inputs, outputs]: [i64; 2],
    stride: i64,
) -> Result<NodeId> {
    let x = b.conv(from, &format!("{name}.0"), ConvShape::depthwise(inputs, 3).stride(stride))?;
    let x = b.conv(x, &format!("{name}.1"), ConvShape::new(inputs, outputs, 1))?;
    let x = b.norm(x, &format!("{name}.2"), outputs, NORM.eps, NORM.momentum)?;
    Ok(b.act(x, Activation::Relu))
}
