//! The body in 16-bit floats: weights, activations. Input, map and logit stay 32-bit floats.

use deepfake_scoring::onnx::{AttributeProto, ModelProto, NodeProto, TensorProto, data_type};
use half::f16;

use super::INPUT;
use super::parts::Parts;
use crate::error::{Error, Result};

/// What the body reads in place of the input.
const HALF_INPUT: &str = "input.half";
/// What the head reads in place of the features.
const SINGLE_FEATURES: &str = "features.single";

/// The same network with a body of 16-bit floats.
///
/// # Errors
///
/// A file that was not exported here; weights that 16 bits do not hold.
pub(super) fn halved(model: &ModelProto) -> Result<ModelProto> {
    let mut model = model.clone();
    let graph = model.graph.as_mut().ok_or_else(|| Error::Export("there is no graph to halve".to_owned()))?;
    let parts = Parts::of(graph)?;
    let in_head: Vec<&String> = parts.head.iter().flat_map(|&i| &graph.node[i].input).collect();
    for tensor in &mut graph.initializer {
        if !in_head.iter().any(|n| Some(n.as_str()) == tensor.name.as_deref()) {
            halve(tensor)?;
        }
    }
    let features = parts.features;
    let cast = |from: &str, to: &str, kind: i32| {
        NodeProto::new("Cast", &[from], &[to], vec![AttributeProto::int("to", i64::from(kind))])
    };
    let mut nodes = vec![cast(INPUT, HALF_INPUT, data_type::FLOAT16)];
    let mut head = Vec::new();
    for (i, mut node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        let is_head = parts.head.contains(&i);
        for name in &mut node.input {
            match name.as_str() {
                n if is_head && n == features => *name = SINGLE_FEATURES.to_owned(),
                INPUT if !is_head => *name = HALF_INPUT.to_owned(),
                _ => {}
            }
        }
        if is_head {
            head.push(node);
            continue;
        }
        for attribute in &mut node.attribute {
            if let Some(tensor) = &mut attribute.t {
                halve(tensor)?;
            }
            let casts = node.op_type.as_deref() == Some("Cast") && attribute.i == Some(i64::from(data_type::FLOAT));
            if casts {
                attribute.i = Some(i64::from(data_type::FLOAT16));
            }
        }
        nodes.push(node);
    }
    nodes.push(cast(&features, SINGLE_FEATURES, data_type::FLOAT));
    nodes.extend(head);
    graph.node = nodes;
    Ok(model)
}

fn halve(tensor: &mut TensorProto) -> Result<()> {
    if tensor.data_type != Some(data_type::FLOAT) {
        return Ok(());
    }
    let name = tensor.name.clone().unwrap_or_default();
    let values: Vec<f16> = super::parts::floats_of(tensor)?.into_iter().map(f16::from_f32).collect();
    if !values.iter().all(|v| v.is_finite()) {
        return Err(Error::Export(format!("`{name}` has numbers that 16 bits do not hold: leave fp16 out")));
    }
    tensor.raw_data = Some(values.iter().flat_map(|v| v.to_le_bytes()).collect());
    tensor.data_type = Some(data_type::FLOAT16);
    Ok(())
}
