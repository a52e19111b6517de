//! Static quantization of convolutions and linear layers: activations as 8-bit numbers of one scale a tensor, kernels of one scale an output
//! channel, written as pairs of QuantizeLinear and DequantizeLinear around the steps, which runtimes turn into integer kernels.
//!
//! Not quantized: the head, so that the map still sums to the logit; what is done to pooled features in squeeze and excitation, which
//! costs nothing and gates everything; transforms to frequencies, whose small coefficients 8 bits would drown. Kernels use 7 of their
//! 8 bits: processors without VNNI add pairs of products in 16 bits, and those of 8 bits would overflow there, so that the measured
//! loss would hold on some machines only.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorTypeProto, TypeProto, ValueInfoProto,
    data_type,
};
use deepfake_scoring::session::{Provider, Session, SessionOptions};
use prost::Message;

use super::INPUT;
use super::graph::EXACT;
use super::parts::{Parts, floats_of};
use crate::error::{Error, Result};

/// Largest absolute value of a kernel's numbers.
const KERNEL_MOST: f32 = 63.0;

/// Share of a tensor's numbers that may lie outside of its range, at either end, in every face: far outliers would take the
/// resolution of all others.
const OUTSIDE: f64 = 1e-4;

/// The least and the largest number of a tensor, 0 included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    low: f32,
    high: f32,
}

impl Range {
    /// Of one face's tensor.
    fn of(values: &mut [f32]) -> Self {
        let last = values.len().saturating_sub(1);
        let outside = ((values.len() as f64 * OUTSIDE) as usize).min(last / 2);
        let mut at = |index: usize| match values.is_empty() {
            true => 0.0,
            false => *values.select_nth_unstable_by(index, f32::total_cmp).1,
        };
        Self { low: at(outside).min(0.0), high: at(last - outside).max(0.0) }
    }

    fn with(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// What one step of the 256 is worth, and which of them is 0.
    fn steps(self) -> (f32, u8) {
        let scale = (self.high - self.low) / 255.0;
        if scale.is_normal() { (scale, (-self.low / scale).round().clamp(0.0, 255.0) as u8) } else { (1.0, 0) }
    }
}

/// Which convolutions and products with a matrix of weights are quantized, and which tensors for that.
struct Plan {
    products: BTreeSet<usize>,
    /// In the order of the graph.
    tensors: Vec<String>,
}

impl Plan {
    fn of(graph: &GraphProto) -> Result<Self> {
        let parts = Parts::of(graph)?;
        let weights: HashSet<&str> = graph.initializer.iter().filter_map(|t| t.name.as_deref()).collect();
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, node) in graph.node.iter().enumerate() {
            node.input.iter().for_each(|name| readers.entry(name).or_default().push(i));
        }
        let mut pooled: HashSet<&str> = HashSet::new();
        let mut plan = Self { products: BTreeSet::new(), tensors: Vec::new() };
        let mut add = |name: &str| {
            if !plan.tensors.iter().any(|n| n == name) {
                plan.tensors.push(name.to_owned());
            }
        };
        for (i, node) in graph.node.iter().enumerate() {
            if parts.head.contains(&i) {
                continue;
            }
            let op = node.op_type.as_deref().unwrap_or_default();
            let mut reads = node.input.iter().filter(|n| !weights.contains(n.as_str())).peekable();
            let still_pooled = reads.peek().is_some() && reads.all(|n| pooled.contains(n.as_str()));
            if op == "GlobalAveragePool" || still_pooled {
                pooled.extend(node.output.iter().map(String::as_str));
            } else if let ("Conv" | "MatMul", [input, kernel, ..], Some(output)) =
                (op, &node.input[..], node.output.first())
                && weights.contains(kernel.as_str())
                && !output.starts_with(EXACT)
            {
                plan.products.insert(i);
                add(input);
                // A ReLU that alone reads it, limited or not, becomes part of the convolution.
                let only = readers.get(output.as_str()).filter(|r| r.len() == 1).map(|r| &graph.node[r[0]]);
                let relu = only
                    .filter(|n| matches!(n.op_type.as_deref(), Some("Relu" | "Clip")))
                    .and_then(|n| n.output.first());
                add(relu.unwrap_or(output));
            }
        }
        if plan.products.is_empty() {
            return Err(Error::Export(
                "int8 quantizes convolutions and products with weights, and this network has none".to_owned(),
            ));
        }
        Ok(plan)
    }
}

/// Finds the ranges that [`quantized`] wants, by running the network on faces.
pub(super) struct Calibration {
    session: Session,
    /// Tensors inside of the network, in the order of the session's outputs.
    inner: Vec<String>,
    /// The first of those outputs.
    first: usize,
    ranges: BTreeMap<String, Range>,
}

impl Calibration {
    /// # Errors
    ///
    /// A file that was not exported here.
    pub(super) fn new(model: &ModelProto) -> Result<Self> {
        let mut model = model.clone();
        let graph = model.graph.as_mut().ok_or_else(|| Error::Export("there is no graph to calibrate".to_owned()))?;
        let inner: Vec<String> = Plan::of(graph)?.tensors.into_iter().filter(|n| n != INPUT).collect();
        let first = graph.output.len();
        let tensor_type = TensorTypeProto { elem_type: Some(data_type::FLOAT), shape: None };
        graph.output.extend(inner.iter().map(|name| ValueInfoProto {
            name: Some(name.clone()),
            r#type: Some(TypeProto { tensor_type: Some(tensor_type.clone()) }),
        }));
        let options = SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() };
        let session = Session::new(&Model::from_bytes("calibration", model.encode_to_vec())?, &options)?;
        Ok(Self { session, inner, first, ranges: BTreeMap::new() })
    }

    /// Runs one face of that shape.
    ///
    /// # Errors
    ///
    /// The engine failing, numbers that are not finite.
    pub(super) fn add(&mut self, shape: &[usize], face: &[f32]) -> Result<()> {
        let mut note = |name: &str, values: &[f32]| {
            if !values.iter().all(|v| v.is_finite()) {
                return Err(Error::Export(format!("`{name}` has numbers that are not finite")));
            }
            let range = Range::of(&mut values.to_vec());
            self.ranges.entry(name.to_owned()).and_modify(|r| *r = r.with(range)).or_insert(range);
            Ok(())
        };
        note(INPUT, face)?;
        let outputs = self.session.run(shape, face)?;
        for (i, name) in self.inner.iter().enumerate() {
            note(name, outputs.get(self.first + i)?.1)?;
        }
        Ok(())
    }

    pub(super) fn ranges(&self) -> &BTreeMap<String, Range> {
        &self.ranges
    }
}

/// The same network, quantized.
///
/// # Errors
///
/// A file that was not exported here; a tensor without a range.
pub(super) fn quantized(model: &ModelProto, ranges: &BTreeMap<String, Range>) -> Result<ModelProto> {
    let mut model = model.clone();
    let graph = model.graph.as_mut().ok_or_else(|| Error::Export("there is no graph to quantize".to_owned()))?;
    let plan = Plan::of(graph)?;
    let mut steps = HashMap::new();
    for name in &plan.tensors {
        let range = ranges.get(name).ok_or_else(|| Error::Export(format!("`{name}` was not calibrated")))?;
        steps.insert(name.clone(), range.steps());
    }
    let old: HashMap<String, TensorProto> =
        graph.initializer.iter().map(|t| (t.name.clone().unwrap_or_default(), t.clone())).collect();
    let mut new = Writer { nodes: Vec::new(), initializers: Vec::new() };
    let mut replaced = HashSet::new();
    if let Some(&at) = steps.get(INPUT) {
        new.pair(INPUT, at);
    }
    for (i, mut node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        if plan.products.contains(&i) {
            let scale = node.input.first().and_then(|n| steps.get(n)).map_or(1.0, |s| s.0);
            let of = |at: usize| node.input.get(at).and_then(|n| old.get(n));
            let kernel = of(1).ok_or_else(|| Error::Export("a convolution without a kernel".to_owned()))?;
            // A convolution's kernel is [out, in, h, w], a product's matrix [in, out].
            let axis = i64::from(node.op_type.as_deref() == Some("MatMul"));
            let names = new.kernel(kernel, axis, of(2), scale)?;
            replaced.extend(node.input.drain(1..));
            node.input.extend(names);
        }
        for name in &mut node.input {
            if steps.contains_key(name) {
                *name = format!("{name}.dq");
            }
        }
        let outputs = node.output.clone();
        new.nodes.push(node);
        for output in outputs {
            if let Some(&at) = steps.get(&output) {
                new.pair(&output, at);
            }
        }
    }
    graph.node = new.nodes;
    graph.initializer.retain(|t| !t.name.as_ref().is_some_and(|n| replaced.contains(n)));
    graph.initializer.extend(new.initializers);
    Ok(model)
}

struct Writer {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Writer {
    /// `name` through 8 bits and back, as `name.dq`.
    fn pair(&mut self, name: &str, (scale, zero): (f32, u8)) {
        let [scale_name, zero_name, q, dq] = ["scale", "zero", "q", "dq"].map(|end| format!("{name}.{end}"));
        self.initializers.push(TensorProto::floats(&scale_name, &[], &[scale]));
        self.initializers.push(raw(&zero_name, &[], data_type::UINT8, vec![zero]));
        self.nodes.push(NodeProto::new("QuantizeLinear", &[name, &scale_name, &zero_name], &[&q], vec![]));
        self.nodes.push(NodeProto::new("DequantizeLinear", &[&q, &scale_name, &zero_name], &[&dq], vec![]));
    }

    /// Kernel and bias of a convolution, or the matrix of a product, whose input has that scale; returns the names to be read.
    fn kernel(
        &mut self,
        kernel: &TensorProto,
        axis: i64,
        bias: Option<&TensorProto>,
        input: f32,
    ) -> Result<Vec<String>> {
        let values = floats_of(kernel)?;
        let channels = kernel.dims.get(axis as usize).copied().unwrap_or(1).max(1) as usize;
        let inner = kernel.dims.get(axis as usize + 1..).unwrap_or_default().iter().product::<i64>().max(1) as usize;
        let channel = |i: usize| i / inner % channels;
        let offsets = bias.map(floats_of).transpose()?;
        let mut largest = vec![0.0f32; channels];
        values.iter().enumerate().for_each(|(i, v)| largest[channel(i)] = largest[channel(i)].max(v.abs()));
        let scales: Vec<f32> = largest
            .iter()
            .enumerate()
            .map(|(c, largest)| {
                // The bias is counted in steps of 32 bits, which a nearly empty kernel would make too small for it.
                let offset = offsets.as_ref().map_or(0.0, |o| o[c].abs());
                let scale = (largest / KERNEL_MOST).max(offset / input / (1u32 << 30) as f32);
                if scale.is_normal() { scale } else { 1.0 }
            })
            .collect();
        let step =
            |(i, v): (usize, &f32)| (v / scales[channel(i)]).round().clamp(-KERNEL_MOST, KERNEL_MOST) as i8 as u8;
        let bytes = values.iter().enumerate().map(step).collect();
        let name = kernel.name.clone().unwrap_or_default();
        let zeros = vec![0u8; scales.len()];
        let mut names = vec![self.constant(&name, &kernel.dims, data_type::INT8, bytes, (&scales, axis), Some(zeros))];
        if let (Some(bias), Some(offsets)) = (bias, offsets) {
            let scales: Vec<f32> = scales.iter().map(|s| s * input).collect();
            let steps = offsets.iter().zip(&scales).flat_map(|(v, s)| ((v / s).round() as i32).to_le_bytes()).collect();
            let name = bias.name.clone().unwrap_or_default();
            names.push(self.constant(&name, &bias.dims, data_type::INT32, steps, (&scales, 0), None));
        }
        Ok(names)
    }

    /// A stored tensor with scales along an axis.
    fn constant(
        &mut self,
        name: &str,
        dims: &[i64],
        kind: i32,
        bytes: Vec<u8>,
        (scales, axis): (&[f32], i64),
        zeros: Option<Vec<u8>>,
    ) -> String {
        let [q, scale, zero, dq] = ["q", "scale", "zero", "dq"].map(|end| format!("{name}.{end}"));
        let rows = [scales.len() as i64];
        self.initializers.push(raw(&q, dims, kind, bytes));
        self.initializers.push(TensorProto::floats(&scale, &rows, scales));
        let mut inputs = vec![q.as_str(), &scale];
        if let Some(zeros) = zeros {
            self.initializers.push(raw(&zero, &rows, kind, zeros));
            inputs.push(&zero);
        }
        let axis = vec![AttributeProto::int("axis", axis)];
        self.nodes.push(NodeProto::new("DequantizeLinear", &inputs, &[&dq], axis));
        dq
    }
}

fn raw(name: &str, dims: &[i64], kind: i32, bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: Some(kind),
        name: Some(name.to_owned()),
        raw_data: Some(bytes),
        ..TensorProto::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Range;

    proptest! {
        #[test]
        fn steps_cover_the_range(mut values in proptest::collection::vec(-50.0f32..80.0, 1..400)) {
            let (least, most) = values.iter().fold((0.0f32, 0.0f32), |(l, h), v| (l.min(*v), h.max(*v)));
            let (scale, zero) = Range::of(&mut values.clone()).steps();
            for v in values.drain(..) {
                let q = ((v / scale).round() + f32::from(zero)).clamp(0.0, 255.0);
                prop_assert!(((q - f32::from(zero)) * scale - v).abs() <= 1.01 * (most - least) / 255.0);
            }
        }
    }

    #[test]
    fn outliers_do_not_set_the_range() {
        let mut values: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        values[7] = 1e6;
        assert!(Range::of(&mut values).high < 1.1);
    }
}
