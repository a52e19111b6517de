//! Graphs made on the spot, through the real ONNX Runtime.

use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use deepfake_scoring::session::{Provider, RunOptions, Session, SessionError, SessionOptions};
use prost::Message;

fn model(node: NodeProto, inputs: &[&str]) -> Model {
    graph(vec![node], inputs, &[Err("n"), Ok(3)])
}

fn graph(nodes: Vec<NodeProto>, inputs: &[&str], output: &[Result<i64, &str>]) -> Model {
    let proto = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            input: inputs.iter().map(|n| ValueInfoProto::floats(n, &[Err("n"), Ok(3)])).collect(),
            output: vec![ValueInfoProto::floats("y", output)],
            node: nodes,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    Model::from_bytes("test", proto.encode_to_vec()).unwrap()
}

fn cpu() -> SessionOptions {
    SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() }
}

fn bound() -> SessionOptions {
    SessionOptions { bind: true, ..cpu() }
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
fn what_is_bound_gives_what_else_is_copied() {
    let model = model(NodeProto::new("Neg", &["x"], &["y"], vec![]), &["x"]);
    let mut plain = Session::new(&model, &cpu()).unwrap();
    let mut bound = Session::new(&model, &bound()).unwrap();
    let options = RunOptions::new().unwrap();
    // More shapes than are kept, each with other numbers when it comes again.
    for round in 0..3_u8 {
        for n in 1..=12 {
            let x: Vec<f32> = (0..n * 3).map(|v| v as f32 + f32::from(round)).collect();
            let expected = plain.run(&[n, 3], &x).unwrap().get(0).unwrap().1.to_vec();
            let outputs = bound.run_until(&[n, 3], &x, &options).unwrap();
            let (shape, y) = outputs.get(0).unwrap();
            assert_eq!((shape, y), (&[n as i64, 3][..], &expected[..]), "round {round}");
            assert!(matches!(outputs.get(1), Err(SessionError::Signature { .. })));
        }
    }
    assert!(matches!(bound.run(&[1, 4], &[0.0; 4]), Err(SessionError::Run { .. })));
    assert!(matches!(bound.run(&[2, 3], &[0.0; 4]), Err(SessionError::Run { .. })));
    options.terminate().unwrap();
    assert!(matches!(bound.run_until(&[1, 3], &[0.0; 3], &options), Err(SessionError::Run { .. })));
    assert_eq!(bound.run(&[1, 3], &[1.0; 3]).unwrap().get(0).unwrap().1, [-1.0; 3], "and goes on");
}

#[test]
fn a_bound_output_may_be_of_another_size_each_time() {
    // The numbers that are not zero, whose count is up to them: their places as floats.
    let nodes = vec![
        NodeProto::new("NonZero", &["x"], &["places"], vec![]),
        NodeProto::new("Cast", &["places"], &["y"], vec![AttributeProto::int("to", 1)]),
    ];
    let model = graph(nodes, &["x"], &[Ok(2), Err("found")]);
    let mut session = Session::new(&model, &bound()).unwrap();
    for found in [3, 1, 2, 0, 3] {
        let x: Vec<f32> = (0..3).map(|i| f32::from(u8::from(i < found))).collect();
        let outputs = session.run(&[1, 3], &x).unwrap();
        let (shape, y) = outputs.get(0).unwrap();
        assert_eq!((shape, y.len()), (&[2, found as i64][..], 2 * found));
    }
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
