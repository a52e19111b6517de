//! What a change to an exported file has to know of it.

use std::collections::BTreeSet;

use deepfake_scoring::onnx::{GraphProto, TensorProto, data_type};

use super::graph::EVIDENCE;
use super::{LOGIT, MAP};
use crate::error::{Error, Result};

/// Where body and head meet.
pub(super) struct Parts {
    /// Indices of the nodes from the features to map and logit.
    pub(super) head: BTreeSet<usize>,
    /// The tensor that enters the head.
    pub(super) features: String,
}

impl Parts {
    /// # Errors
    ///
    /// A graph that was not exported here.
    pub(super) fn of(graph: &GraphProto) -> Result<Self> {
        let foreign = || Error::Export("only files that `export` has written have variants".to_owned());
        let makes = |i: &usize, name: &str| graph.node[*i].output.iter().any(|o| o == name);
        let head: BTreeSet<usize> =
            (0..graph.node.len()).filter(|i| [EVIDENCE, MAP, LOGIT].iter().any(|name| makes(i, name))).collect();
        let evidence = head.iter().find(|i| makes(i, EVIDENCE)).ok_or_else(foreign)?;
        let features = graph.node[*evidence].input.first().ok_or_else(foreign)?.clone();
        Ok(Self { head, features })
    }
}

/// The numbers of an initializer of 32-bit floats.
///
/// # Errors
///
/// Another type.
pub(super) fn floats_of(tensor: &TensorProto) -> Result<Vec<f32>> {
    match (&tensor.raw_data, tensor.data_type) {
        (Some(raw), Some(data_type::FLOAT)) => {
            Ok(raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        _ => {
            let name = tensor.name.clone().unwrap_or_default();
            Err(Error::Export(format!("`{name}` is no tensor of 32-bit floats")))
        }
    }
}
