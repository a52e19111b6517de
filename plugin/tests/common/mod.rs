//! What the tests of the elements share.

// Each test program uses its own part.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use deepfake_scoring::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use prost::Message;

/// Side of the test model's input and map.
pub(crate) const SIDE: usize = 8;

pub(crate) fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstdeepfake::plugin_register_static().unwrap();
    });
}

/// The element with a model made on the spot, in a folder that must live as long as it may be read.
pub(crate) fn scorer(model: fn(&Path) -> PathBuf, properties: &[(&str, &str)]) -> (gst::Element, tempfile::TempDir) {
    use gst::prelude::*;
    init();
    let folder = tempfile::tempdir().unwrap();
    let element = gst::ElementFactory::make("deepfakescore").build().unwrap();
    element.set_property("model", model(folder.path()).to_str().unwrap());
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    (element, folder)
}

/// Whether this process runs but the one test of that name, with such an environment. If not, such a process is run, and must pass.
pub(crate) fn alone(test: &str, environment: &[(&str, &str)]) -> bool {
    const MARKER: &str = "DEEPFAKE_TEST_ALONE";
    if std::env::var_os(MARKER).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .envs(environment.iter().copied())
        .env(MARKER, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // None passes too where none has that name.
    assert!(output.status.success() && said[0].contains("1 passed"), "{}\n{}", said[0], said[1]);
    print!("{}", said[0]);
    false
}

/// Looks until it is so, for a minute: a thread that was joined is listed, and holds what it had, for a moment more.
pub(crate) fn settled<T: PartialEq>(mut look: impl FnMut() -> T, wanted: &T) -> T {
    let start = std::time::Instant::now();
    loop {
        let found = look();
        if found == *wanted || start.elapsed() > std::time::Duration::from_secs(60) {
            return found;
        }
        std::thread::yield_now();
    }
}

pub(crate) fn mean(input: &str, output: &str, axes: &[i64]) -> NodeProto {
    let attributes = vec![AttributeProto::int_list("axes", axes), AttributeProto::int("keepdims", 0)];
    NodeProto::new("ReduceMean", &[input], &[output], attributes)
}

pub(crate) fn write_model(
    path: &Path,
    nodes: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    metadata: &[(&str, &str)],
) {
    std::fs::write(path, model(nodes, initializer, metadata).encode_to_vec()).unwrap();
}

/// A model with one picture in, logit and map out.
pub(crate) fn model(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>, metadata: &[(&str, &str)]) -> ModelProto {
    let side = SIDE as i64;
    let entry = |(k, v): &(&str, &str)| StringStringEntryProto { key: Some((*k).into()), value: Some((*v).into()) };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node: nodes,
            initializer,
            input: vec![ValueInfoProto::floats("x", &[Err("n"), Ok(3), Ok(side), Ok(side)])],
            output: vec![
                ValueInfoProto::floats("logit", &[Err("n")]),
                ValueInfoProto::floats("map", &[Err("n"), Ok(side), Ok(side)]),
            ],
            ..GraphProto::default()
        }),
        metadata_props: metadata.iter().map(entry).collect(),
        ..ModelProto::default()
    }
}

/// A model whose logit is the mean of the crop, in which black is -4 and white 4, and whose map is that of each pixel.
pub(crate) fn brightness_model(folder: &Path) -> PathBuf {
    let path = folder.join("brightness.onnx");
    let metadata = [
        ("contract_version", "1"),
        ("output.map", "map"),
        ("input.scale", "0.031372549"),
        ("input.mean", "4"),
        ("crop.margin", "0"),
    ];
    write_model(&path, vec![mean("x", "map", &[1]), mean("map", "logit", &[1, 2])], vec![], &metadata);
    path
}

/// As [`brightness_model`], but its run fails on white crops.
pub(crate) fn fragile_model(folder: &Path) -> PathBuf {
    let path = folder.join("fragile.onnx");
    let metadata = [("contract_version", "1"), ("output.map", "map"), ("crop.margin", "0")];
    // The mean of a white crop, 1, times 8 is outside of the table's eight entries; any other is inside.
    let nodes = vec![
        mean("x", "map0", &[1]),
        mean("map0", "level", &[1, 2]),
        NodeProto::new("Mul", &["level", "eight"], &["place"], vec![]),
        NodeProto::new("Clip", &["place", "zero", "eight"], &["inside"], vec![]),
        NodeProto::new("Cast", &["inside"], &["index"], vec![AttributeProto::int("to", 7)]),
        NodeProto::new("Gather", &["table", "index"], &["entry"], vec![]),
        NodeProto::new("Add", &["level", "entry"], &["logit"], vec![]),
        NodeProto::new("Identity", &["map0"], &["map"], vec![]),
    ];
    let initializer = vec![
        TensorProto::floats("eight", &[], &[8.0]),
        TensorProto::floats("zero", &[], &[0.0]),
        TensorProto::floats("table", &[8], &[0.0; 8]),
    ];
    write_model(&path, nodes, initializer, &metadata);
    path
}
