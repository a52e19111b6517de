//! Models made on the spot.

use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};
use prost::Message;

/// Of the input and the map.
pub(crate) const SIDE: usize = 8;

/// The logit is the mean of the crop, from -4 (black) to 4 (white).
pub(crate) fn brightness() -> Model {
    let mean = |input, output, axes: &[i64]| {
        let attributes = vec![AttributeProto::int_list("axes", axes), AttributeProto::int("keepdims", 0)];
        NodeProto::new("ReduceMean", &[input], &[output], attributes)
    };
    let entry = |(k, v): (&str, &str)| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
    let side = Ok(SIDE as i64);
    let metadata = [
        ("contract_version", "1"),
        ("output.map", "map"),
        ("input.scale", "0.031372549"),
        ("input.mean", "4"),
        ("crop.margin", "0"),
    ];
    let proto = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node: vec![mean("x", "map", &[1]), mean("map", "logit", &[1, 2])],
            input: vec![ValueInfoProto::floats("x", &[Err("n"), Ok(3), side, side])],
            output: vec![
                ValueInfoProto::floats("logit", &[Err("n")]),
                ValueInfoProto::floats("map", &[Err("n"), side, side]),
            ],
            ..GraphProto::default()
        }),
        metadata_props: metadata.into_iter().map(entry).collect(),
        ..ModelProto::default()
    };
    Model::from_bytes("brightness", proto.encode_to_vec()).unwrap()
}
