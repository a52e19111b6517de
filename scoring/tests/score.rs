//! What is made of a model's outputs, with graphs made on the spot.

use deepfake_scoring::contract::{Class, Contract, InputKeys, Layout};
use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};
use deepfake_scoring::score::{NotScored, Scorer, ScorerError};
use deepfake_scoring::session::{Provider, SessionOptions};
use prost::Message;

const SIDE: usize = 8;

struct Graph {
    nodes: Vec<NodeProto>,
    input: ValueInfoProto,
    outputs: Vec<ValueInfoProto>,
    metadata: Vec<(&'static str, &'static str)>,
}

fn mean(input: &str, output: &str, axes: &[i64], keep: bool) -> NodeProto {
    let attributes = vec![AttributeProto::int_list("axes", axes), AttributeProto::int("keepdims", keep.into())];
    NodeProto::new("ReduceMean", &[input], &[output], attributes)
}

impl Graph {
    /// The logit is the mean of the picture, the map the mean over its channels.
    fn honest() -> Self {
        Self {
            nodes: vec![mean("x", "map", &[1], false), mean("map", "logit", &[1, 2], false)],
            input: ValueInfoProto::floats("x", &[Err("n"), Ok(3), Ok(SIDE as i64), Ok(SIDE as i64)]),
            outputs: vec![
                ValueInfoProto::floats("logit", &[Err("n")]),
                ValueInfoProto::floats("map", &[Err("n"), Ok(SIDE as i64), Ok(SIDE as i64)]),
            ],
            metadata: vec![("contract_version", "1"), ("output.map", "map"), ("input.scale", "1")],
        }
    }

    fn model(self) -> Model {
        let entry = |(k, v): (&str, &str)| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
        let proto = ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
            graph: Some(GraphProto {
                name: Some("g".into()),
                node: self.nodes,
                input: vec![self.input],
                output: self.outputs,
                ..GraphProto::default()
            }),
            metadata_props: self.metadata.into_iter().map(entry).collect(),
            ..ModelProto::default()
        };
        Model::from_bytes("test", proto.encode_to_vec()).unwrap()
    }

    fn scorer(self) -> Result<Scorer, ScorerError> {
        self.scorer_with(None)
    }

    fn scorer_with(self, contract: Option<Contract>) -> Result<Scorer, ScorerError> {
        Scorer::new(&self.model(), contract, &SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() })
    }
}

#[test]
fn every_crop_of_a_batch_gets_its_own_logit_and_map() {
    let mut scorer = Graph::honest().scorer().unwrap();
    assert_eq!(scorer.map_size(), Some((SIDE, SIDE)));
    // More than fit in one batch, and no power of two.
    let n = 45;
    for i in 0..n {
        let crop = scorer.crop_mut(i);
        crop.fill(i as f32);
        crop[0] += 3.0 * (SIDE * SIDE) as f32;
    }
    scorer.run(n, None).unwrap();
    for i in 0..n {
        let evidence = scorer.evidence(i).unwrap();
        assert!((evidence.logit - (i as f32 + 1.0)).abs() < 1e-4);
        let map = evidence.map.unwrap();
        assert!((map.values[0] - (i as f32 + 64.0)).abs() < 1e-4);
        assert!((map.values[1] - i as f32).abs() < 1e-4);
    }
}

#[test]
fn a_map_that_does_not_sum_to_the_logit_is_refused() {
    let mut graph = Graph::honest();
    graph.nodes[1] = mean("x", "logit_", &[1, 2, 3], false);
    graph.nodes.push(NodeProto::new("Exp", &["logit_"], &["logit"], vec![]));
    let error = graph.scorer().unwrap_err().to_string();
    assert!(error.contains("map is not its logit"), "{error}");
}

#[test]
fn what_is_not_a_number_is_not_a_score() {
    let mut graph = Graph::honest();
    graph.metadata.retain(|(k, _)| *k != "output.map");
    graph.nodes[1] = mean("map", "mean", &[1, 2], false);
    graph.nodes.push(NodeProto::new("Log", &["mean"], &["logit"], vec![]));
    let mut scorer = graph.scorer().unwrap();
    for (i, v) in [-1.0, 0.0, 1.0].into_iter().enumerate() {
        scorer.crop_mut(i).fill(v);
    }
    scorer.run(3, None).unwrap();
    assert_eq!(scorer.evidence(0), Err(NotScored::NotFinite));
    assert_eq!(scorer.evidence(1), Err(NotScored::NotFinite));
    assert_eq!(scorer.evidence(2).unwrap().logit, 0.0);
}

/// Columns are the means of the channels of an NHWC picture.
fn columns(metadata: Vec<(&'static str, &'static str)>) -> Graph {
    Graph {
        nodes: vec![mean("x", "y", &[1, 2], false)],
        input: ValueInfoProto::floats("x", &[Err("n"), Err("h"), Err("w"), Ok(3)]),
        outputs: vec![ValueInfoProto::floats("y", &[Err("n"), Ok(3)])],
        metadata,
    }
}

fn set_channels(scorer: &mut Scorer, rgb: [f32; 3]) {
    assert_eq!(scorer.spec().layout, Layout::Nhwc);
    scorer.crop_mut(0).chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&rgb));
}

#[test]
fn a_probability_of_real_becomes_a_logit_of_fake() {
    let mut contract = Contract {
        input: InputKeys { width: Some(SIDE), height: Some(SIDE), ..InputKeys::default() },
        ..Contract::default()
    };
    contract.output.probability = Some("y".into());
    contract.output.of = Class::Real;
    contract.output.index = 1;
    let mut scorer = columns(vec![]).scorer_with(Some(contract)).unwrap();
    set_channels(&mut scorer, [9.0, 0.2, -9.0]);
    scorer.run(1, None).unwrap();
    assert!((scorer.evidence(0).unwrap().logit - 4f32.ln()).abs() < 1e-5);
    set_channels(&mut scorer, [0.0, 1.0, 0.0]);
    scorer.run(1, None).unwrap();
    assert!(scorer.evidence(0).unwrap().logit < -15.0);
    set_channels(&mut scorer, [0.0, 1.1, 0.0]);
    scorer.run(1, None).unwrap();
    assert_eq!(scorer.evidence(0), Err(NotScored::NotAProbability));
}

#[test]
fn softmax_over_three_classes_is_the_log_of_the_odds() {
    let metadata = vec![
        ("contract_version", "1"),
        ("input.width", "8"),
        ("input.height", "8"),
        ("output.logit", "y"),
        ("output.softmax", "true"),
        ("output.index", "2"),
    ];
    let mut scorer = columns(metadata).scorer().unwrap();
    set_channels(&mut scorer, [1.0, 2.0, 4.0]);
    scorer.run(1, None).unwrap();
    let p = 4f32.exp() / (1f32.exp() + 2f32.exp() + 4f32.exp());
    assert!((scorer.evidence(0).unwrap().logit - (p / (1.0 - p)).ln()).abs() < 1e-4);
}

#[test]
fn what_does_not_fit_names_the_key_that_would_mend_it() {
    let refusal = |graph: Graph| graph.scorer().unwrap_err().to_string();
    let version = ("contract_version", "1");
    assert!(refusal(columns(vec![])).contains("input.width"));
    let sized = |more| vec![version, ("input.width", "8"), ("input.height", "8"), more];
    assert!(refusal(columns(sized(("output.logit", "z")))).contains("y[?, 3]"));
    assert!(refusal(columns(sized(("input.channels", "gray")))).contains("input.channels"));
    let mut graph = columns(sized(("output.logit", "y")));
    graph.metadata.push(("output.index", "3"));
    assert!(refusal(graph).contains("output.index"));
    let mut graph = Graph::honest();
    graph.metadata.push(("output.map", "logit"));
    assert!(refusal(graph).contains("[N, h, w]"));
    let mut graph = Graph::honest();
    graph.metadata.push(("input.width", "16"));
    assert!(refusal(graph).contains("input.width"));
}

#[test]
fn a_fixed_batch_is_filled_up() {
    let mut graph = Graph::honest();
    graph.input = ValueInfoProto::floats("x", &[Ok(4), Ok(3), Ok(SIDE as i64), Ok(SIDE as i64)]);
    graph.outputs = vec![
        ValueInfoProto::floats("logit", &[Ok(4)]),
        ValueInfoProto::floats("map", &[Ok(4), Ok(SIDE as i64), Ok(SIDE as i64)]),
    ];
    let mut scorer = graph.scorer().unwrap();
    for i in 0..6 {
        scorer.crop_mut(i).fill(i as f32);
    }
    scorer.run(6, None).unwrap();
    for i in 0..6 {
        assert!((scorer.evidence(i).unwrap().logit - i as f32).abs() < 1e-5);
    }
}
