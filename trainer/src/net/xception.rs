//! Xception, with timm's tensor names (`legacy_xception`). Source: Chollet, "Xception", 2017.

use super::backbone::Choice;
use super::builder::{Builder, ConvShape};
use super::graph::{Activation, NodeId};
use crate::error::Result;

/// timm's values for this network.
const NORM_EPS: f64 = 1e-5;
const NORM_MOMENTUM: f64 = 0.1;

/// Channels of the first two convolutions.
const STEM: [i64; 2] = [32, 64];
/// Channels of the last two.
const TAIL: [i64; 2] = [1536, 2048];

/// One row of the network's table.
struct Block {
    outputs: i64,
    /// Separable convolutions in it.
    depth: usize,
    /// With 2, a pooling ends it.
    stride: i64,
    /// Whether the channels change in the first of its convolutions; else in the last.
    grow_first: bool,
}

/// Figure 5 of the paper.
const BLOCKS: [Block; 12] = {
    const MIDDLE: Block = Block { outputs: 728, depth: 3, stride: 1, grow_first: true };
    [
        Block { outputs: 128, depth: 2, stride: 2, grow_first: true },
        Block { outputs: 256, depth: 2, stride: 2, grow_first: true },
        Block { outputs: 728, depth: 2, stride: 2, grow_first: true },
        MIDDLE,
        MIDDLE,
        MIDDLE,
        MIDDLE,
        MIDDLE,
        MIDDLE,
        MIDDLE,
        MIDDLE,
        Block { outputs: 1024, depth: 2, stride: 2, grow_first: false },
    ]
};

/// Builds the body; returns its features and their channels.
pub(super) fn build(b: &mut Builder<'_>, choice: &Choice) -> Result<(NodeId, i64)> {
    let stream = Stream { prefix: "", choice };
    let x = stream.stem(b, b.input(), 3, choice.stem_stride)?;
    let x = stream.blocks(b, x, 1, BLOCKS.len())?;
    stream.tail(b, x)
}

/// The network's parts, whose tensors' names begin with `prefix`.
pub(super) struct Stream<'a> {
    pub(super) prefix: &'a str,
    pub(super) choice: &'a Choice,
}

impl Stream<'_> {
    /// The convolutions before the blocks, on `inputs` channels.
    pub(super) fn stem(&self, b: &mut Builder<'_>, from: NodeId, inputs: i64, stride: i64) -> Result<NodeId> {
        let [first, second] = STEM.map(|c| self.choice.wide(c));
        let shape = ConvShape::new(inputs, first, 3).valid();
        let x = b.conv(from, &self.name("conv1"), shape.stride(stride))?;
        let x = self.norm_relu(b, x, "bn1", first)?;
        let x = b.conv(x, &self.name("conv2"), ConvShape::new(first, second, 3).valid())?;
        self.norm_relu(b, x, "bn2", second)
    }

    /// The blocks from `first` to `last`, counted from 1.
    pub(super) fn blocks(&self, b: &mut Builder<'_>, from: NodeId, first: usize, last: usize) -> Result<NodeId> {
        (first..=last).try_fold(from, |x, number| self.block(b, x, number))
    }

    /// Channels that leave block `number`, counted from 1; 0 is the stem.
    pub(super) fn channels(&self, number: usize) -> i64 {
        self.choice.wide(number.checked_sub(1).map_or(STEM[1], |n| BLOCKS[n].outputs))
    }

    /// What follows the blocks: features and their channels.
    pub(super) fn tail(&self, b: &mut Builder<'_>, from: NodeId) -> Result<(NodeId, i64)> {
        let [third, fourth] = TAIL.map(|c| self.choice.wide(c));
        let x = self.separable(b, from, "conv3", self.channels(BLOCKS.len()), third)?;
        let x = self.norm_relu(b, x, "bn3", third)?;
        let x = self.separable(b, x, "conv4", third, fourth)?;
        Ok((self.norm_relu(b, x, "bn4", fourth)?, fourth))
    }

    fn name(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    fn norm(&self, b: &mut Builder<'_>, from: NodeId, name: &str, channels: i64) -> Result<NodeId> {
        b.norm(from, &self.name(name), channels, NORM_EPS, NORM_MOMENTUM)
    }

    fn norm_relu(&self, b: &mut Builder<'_>, from: NodeId, name: &str, channels: i64) -> Result<NodeId> {
        let x = self.norm(b, from, name, channels)?;
        Ok(b.act(x, Activation::Relu))
    }

    /// A 3 x 3 convolution of every channel by itself, then a 1 x 1 convolution.
    fn separable(&self, b: &mut Builder<'_>, from: NodeId, name: &str, inputs: i64, outputs: i64) -> Result<NodeId> {
        let x = b.conv(from, &self.name(&format!("{name}.conv1")), ConvShape::depthwise(inputs, 3))?;
        b.conv(x, &self.name(&format!("{name}.pointwise")), ConvShape::new(inputs, outputs, 1))
    }

    fn block(&self, b: &mut Builder<'_>, from: NodeId, number: usize) -> Result<NodeId> {
        let block = &BLOCKS[number - 1];
        let (inputs, outputs) = (self.channels(number - 1), self.channels(number));
        let mut place = 0..;
        let mut next = || format!("block{number}.rep.{}", place.next().unwrap_or(0));
        let mut x = from;
        let mut channels = inputs;
        for i in 0..block.depth {
            // The stem ends with this activation already.
            if i > 0 || number > 1 {
                next();
                x = b.act(x, Activation::Relu);
            }
            let wider = block.grow_first || i + 1 == block.depth;
            let wanted = if wider { outputs } else { inputs };
            x = self.separable(b, x, &next(), channels, wanted)?;
            x = self.norm(b, x, &next(), wanted)?;
            channels = wanted;
        }
        let mut skip = from;
        if block.stride > 1 {
            x = b.max_pool(x, 3, block.stride, 1, false);
            let shape = ConvShape::new(inputs, outputs, 1).stride(block.stride);
            skip = b.conv(from, &self.name(&format!("block{number}.skip")), shape)?;
            skip = self.norm(b, skip, &format!("block{number}.skipbn"), outputs)?;
        }
        Ok(b.add(x, skip))
    }
}
