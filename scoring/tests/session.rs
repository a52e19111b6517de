//! Graphs made on the spot, through the real ONNX Runtime.

use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use deepfake_scoring::session::{Provider, Session, SessionError, SessionOptions};
use prost::Message;

fn model(node: NodeProto, inputs: &[&str]) -> Model {
    let proto = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            input: inputs.iter().map(|n| ValueInfoProto::floats(n, &[Err("n"), Ok(3)])).collect(),
            output: vec![ValueInfoProto::floats("y", &[Err("n"), Ok(3)])],
            node: vec![node],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    Model::from_bytes("test", proto.encode_to_vec()).unwrap()
}

fn cpu() -> SessionOptions {
    SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() }
}

#[test]
fn a_graph_runs_at_any_batch_size() {
    let mut session = Session::new(&model(NodeProto::new("Neg", &["x"], &["y"], vec![]), &["x"]), &cpu()).unwrap();
    assert_eq!(session.input().dims, [None, Some(3)]);
    assert_eq!(session.provider(), Provider::Cpu);
    for n in [1, 2, 5] {
        let x: Vec<f32> = (0..n * 3).map(|v| v as f32).collect();
        let outputs = session.run(&[n, 3], &x).unwrap();
        let (shape, y) = outputs.get(0).unwrap();
        assert_eq!(shape, [n as i64, 3]);
        assert!(x.iter().zip(y).all(|(x, y)| -x == *y));
        assert!(matches!(outputs.get(1), Err(SessionError::Signature { .. })));
    }
    assert!(matches!(session.run(&[1, 4], &[0.0; 4]), Err(SessionError::Run { .. })));
    assert!(matches!(session.run(&[2, 3], &[0.0; 4]), Err(SessionError::Run { .. })));
}

#[test]
fn two_inputs_are_not_a_picture() {
    let error = Session::new(&model(NodeProto::new("Add", &["x", "z"], &["y"], vec![]), &["x", "z"]), &cpu());
    assert!(error.unwrap_err().to_string().contains("2 inputs"));
}

#[test]
fn an_unknown_operator_is_a_load_error() {
    let error = Session::new(&model(NodeProto::new("Nonsense", &["x"], &["y"], vec![]), &["x"]), &cpu());
    assert!(matches!(error.unwrap_err(), SessionError::Load { .. }));
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_gpu_that_was_not_built_in_is_an_error_and_auto_says_cpu() {
    let relu = model(NodeProto::new("Relu", &["x"], &["y"], vec![]), &["x"]);
    let error = Session::new(&relu, &SessionOptions { provider: Provider::Cuda, ..cpu() }).unwrap_err().to_string();
    assert!(error.contains("--features cuda"), "{error}");
    let session = Session::new(&relu, &SessionOptions::default()).unwrap();
    assert_eq!(session.provider(), Provider::Cpu);
}
