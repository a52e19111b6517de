//! Models that are no models, and models whose numbers are no numbers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use deepfake_scoring::onnx::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
    ValueInfoProto, data_type,
};
use deepfake_scoring::score::NotScored;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};
use gstdeepfake::meta::Scores;
use prost::Message;

mod common;

use common::{init, mean};

const METADATA: [(&str, &str); 3] = [("contract_version", "1"), ("output.map", "map"), ("crop.margin", "0")];

fn honest() -> ModelProto {
    common::model(vec![mean("x", "map", &[1]), mean("map", "logit", &[1, 2])], vec![], &METADATA)
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

/// What the element says of why it does not start with that property, in no time and once.
fn refusal(property: &str, path: &Path) -> String {
    init();
    let element = gst::ElementFactory::make("deepfakescore").build().unwrap();
    element.set_property(property, path.to_str().unwrap());
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let start = Instant::now();
    let result = element.set_state(gst::State::Paused);
    assert!(start.elapsed() < Duration::from_secs(60), "{property}={}: {:?}", path.display(), start.elapsed());
    element.set_state(gst::State::Null).unwrap();
    assert!(result.is_err(), "{property}={} is taken", path.display());
    let errors: Vec<_> = bus.iter().filter(|m| m.type_() == gst::MessageType::Error).collect();
    assert_eq!(errors.len(), 1, "{property}={}: {errors:?}", path.display());
    let gst::MessageView::Error(error) = errors[0].view() else { unreachable!() };
    error.error().to_string()
}

/// Random bytes, the same in each run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn what_is_no_model_is_refused_at_once_whatever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(at(name), bytes).unwrap();
        at(name)
    };
    let sparse = |name: &str, size: u64| {
        std::fs::File::create(at(name)).unwrap().set_len(size).unwrap();
        at(name)
    };
    let fifo = at("fifo.onnx");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::os::unix::fs::symlink(at("loop.onnx"), at("loop.onnx")).unwrap();
    let scorer = include_bytes!("../models/scorer.onnx");
    let mut files = vec![
        (at("none.onnx"), "No such file"),
        (folder.path().to_owned(), "not a regular file"),
        (fifo, "not a regular file"),
        (PathBuf::from("/dev/zero"), "not a regular file"),
        (at("loop.onnx"), "cannot be read"),
        (write("empty.onnx", b""), "no graph"),
        (write("text.onnx", b"This is no model."), "not an ONNX model"),
        (write("half.onnx", &scorer[..scorer.len() / 2]), "not an ONNX model"),
        (write("last.onnx", &scorer[..scorer.len() - 1]), "not an ONNX model"),
        (write("program.onnx", &std::fs::read("/bin/true").unwrap()[..4096]), "not an ONNX model"),
        (sparse("large.onnx", (1 << 30) + 1), "more than 1073741824"),
        (sparse("huge.onnx", 1 << 42), "more than 1073741824"),
        (sparse("zeros.onnx", 1 << 20), "not an ONNX model"),
        // Says that it is empty, and is not.
        (PathBuf::from("/proc/self/maps"), "not an ONNX model"),
    ];
    for seed in 0..20 {
        files.push((write(&format!("noise-{seed}.onnx"), &noise(seed, 1 << (4 + seed % 12))), "not an ONNX model"));
    }
    for (path, expected) in &files {
        for property in ["model", "face-model"] {
            let said = refusal(property, path);
            assert!(said.contains(expected), "{}: {said}", path.display());
        }
    }
    for (path, expected) in [
        (at("none.toml"), "No such file"),
        (at("fifo.onnx"), "not a regular file"),
        (at("large.onnx"), "more than 1048576"),
        (write("noise.toml", &noise(1, 1000)), "utf-8"),
        (write("deep.toml", format!("a = {}", "[".repeat(100_000)).as_bytes()), "cannot be used"),
        (write("deeper.toml", "[a.a.a.a.a.a.a.a]\n".repeat(20_000).as_bytes()), "cannot be used"),
    ] {
        let said = refusal("model-config", &path);
        assert!(said.contains(expected), "{}: {said}", path.display());
    }
}

#[test]
fn what_a_model_must_not_hold_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0;
    let mut check = |what: &str, change: &dyn Fn(&mut ModelProto)| {
        let mut model = honest();
        change(&mut model);
        number += 1;
        let path = folder.path().join(format!("{number}.onnx"));
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let said = refusal("model", &path);
        assert!(said.contains(what), "{what}: {said}");
    };
    check("IR version 999", &|m| m.ir_version = Some(999));
    check("opset 999", &|m| m.opset_import[0].version = Some(999));
    check("no graph", &|m| m.graph = None);
    let tensor = |dims: &[i64]| TensorProto {
        dims: dims.to_vec(),
        data_type: Some(data_type::FLOAT),
        name: Some("w".into()),
        ..TensorProto::default()
    };
    let with = |m: &mut ModelProto, tensor: TensorProto| {
        graph(m).initializer.push(tensor);
        graph(m).node.push(NodeProto::new("ReduceMean", &["w"], &["unused"], vec![]));
    };
    // Weights out of somebody else's file.
    for place in ["../../../../etc/passwd", "/etc/passwd", "weights.bin"] {
        check("another file", &|m| {
            let entry = |k: &str, v: &str| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
            let external_data = vec![entry("location", place), entry("offset", "0"), entry("length", "4")];
            with(m, TensorProto { external_data, data_location: Some(1), ..tensor(&[1]) });
        });
    }
    // Somebody else's code.
    check("domain `evil`", &|m| graph(m).node[0].domain = Some("evil".into()));
    check("EPContext", &|m| {
        graph(m).node[0].domain = Some("com.microsoft".into());
        graph(m).node[0].op_type = Some("EPContext".into());
    });
    // Numbers that nobody has memory for, and that are not there.
    for dims in [&[i64::MAX][..], &[i64::MAX, i64::MAX], &[1 << 40], &[-1], &[i64::MIN, 2], &[1 << 31, 1 << 31, 4]] {
        check("ONNX Runtime does not load", &|m| with(m, tensor(dims)));
    }
    let input = |m: &mut ModelProto, dims: &[Result<i64, &str>]| graph(m).input[0] = ValueInfoProto::floats("x", dims);
    check("from 8 to 4096", &|m| input(m, &[Err("n"), Ok(3), Ok(1_000_000), Ok(1_000_000)]));
    check("fixed batch", &|m| input(m, &[Ok(1 << 40), Ok(3), Ok(8), Ok(8)]));
    check("four axes", &|m| input(m, &[Err("n"), Ok(192)]));
    check("ONNX Runtime does not load", &|m| input(m, &[]));
    // Circles.
    check("ONNX Runtime does not load", &|m| {
        graph(m).node[0].input = vec!["logit".into()];
    });
    check("it has 2 inputs", &|m| {
        let second = ValueInfoProto::floats("y", &[Ok(1)]);
        graph(m).input.push(second);
    });
    // Nested deeper than anybody means.
    check("not an ONNX model", &|m| {
        let mut inner = GraphProto::default();
        for _ in 0..200 {
            let branch = AttributeProto { name: Some("then_branch".into()), g: Some(inner), ..Default::default() };
            inner = GraphProto { node: vec![NodeProto::new("If", &[], &[], vec![branch])], ..GraphProto::default() };
        }
        graph(m).node.extend(inner.node);
    });
    // A function that calls itself.
    check("must not be recursive", &|m| {
        let call = || NodeProto { domain: Some("own".into()), ..NodeProto::new("F", &["x"], &["y"], vec![]) };
        let function = FunctionProto { name: Some("F".into()), domain: Some("own".into()), node: vec![call()] };
        m.functions.push(function);
        graph(m).node.push(call());
    });
}

#[test]
fn a_file_with_the_marks_of_another_format_is_read_as_onnx() {
    // ONNX Runtime takes what has these four bytes in this place for its own format, which nobody here checks.
    let mut bytes = vec![];
    let text = "  ORTM";
    // The producer's name, so that the marks come to lie there.
    bytes.extend([0x12, text.len() as u8]);
    bytes.extend(text.as_bytes());
    assert_eq!(&bytes[4..8], b"ORTM");
    bytes.extend(honest().encode_to_vec());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("marked.onnx");
    std::fs::write(&path, bytes).unwrap();
    let (mut harness, _bus) = line(&path, "error");
    let scores = Scores::from_buffer(&harness.push_and_pull(gray(255)).unwrap()).unwrap();
    assert!((scores.faces[0].outcome.as_ref().unwrap().logit - 1.0).abs() < 1e-3);
}

fn line(model: &Path, on_error: &str) -> (Harness, gst::Bus) {
    init();
    let element = gst::ElementFactory::make("deepfakescore").build().unwrap();
    element.set_property("model", model.to_str().unwrap());
    for (name, value) in [("mode", "every-frame"), ("face-source", "frame"), ("on-error", on_error)] {
        element.set_property_from_str(name, value);
    }
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps_str("video/x-raw,format=RGB,width=64,height=48,framerate=25/1");
    (harness, bus)
}

fn gray(value: u8) -> gst::Buffer {
    let info = VideoInfo::builder(VideoFormat::Rgb, 64, 48).build().unwrap();
    gst::Buffer::from_mut_slice(vec![value; info.size()])
}

/// Models that are honest for crops with something bright in them, as that of the probe at the start, and give something else for black
/// ones.
fn treacherous() -> Vec<(&'static str, NotScored, ModelProto)> {
    let node = |op: &str, input: &[&str], output: &str| NodeProto::new(op, input, &[output], vec![]);
    let peak = |input: &str, output: &str, axes: &[i64], keep: i64| {
        let attributes = vec![AttributeProto::int_list("axes", axes), AttributeProto::int("keepdims", keep)];
        NodeProto::new("ReduceMax", &[input], &[output], attributes)
    };
    let compress = |input: &str, output: &str| {
        NodeProto::new("Compress", &[input, "bright"], &[output], vec![AttributeProto::int("axis", 0)])
    };
    // `level` is the mean, `peak` the brightest sample of the crop.
    let logit = |nodes: Vec<NodeProto>| {
        let mut all = vec![mean("x", "map", &[1]), mean("map", "level", &[1, 2]), peak("x", "peak", &[1, 2, 3], 0)];
        all.extend(nodes);
        common::model(all, vec![TensorProto::floats("half", &[], &[0.5])], &[METADATA[0], METADATA[2]])
    };
    let map = |nodes: Vec<NodeProto>| {
        let mut all = vec![
            mean("x", "map0", &[1]),
            mean("map0", "logit", &[1, 2]),
            peak("x", "rows", &[1], 0),
            peak("rows", "peak", &[1, 2], 1),
        ];
        all.extend(nodes);
        let numbers = [("half", 0.5), ("zero", 0.0)];
        let mut initializer: Vec<_> = numbers.map(|(name, v)| TensorProto::floats(name, &[], &[v])).into();
        initializer.push(TensorProto::ints("flat", &[1], &[-1]));
        common::model(all, initializer, &METADATA)
    };
    let probability = |nodes: Vec<NodeProto>| {
        let mut model = logit(nodes);
        let entry = StringStringEntryProto { key: Some("output.probability".into()), value: Some("logit".into()) };
        model.metadata_props.push(entry);
        model
    };
    let sum = |what: &str| node("Add", &["level", what], "logit");
    vec![
        ("minus infinity", NotScored::NotFinite, logit(vec![node("Log", &["peak"], "a"), sum("a")])),
        (
            "not a number",
            NotScored::NotFinite,
            logit(vec![node("Sub", &["peak", "half"], "d"), node("Sqrt", &["d"], "a"), sum("a")]),
        ),
        ("infinity", NotScored::NotFinite, logit(vec![node("Reciprocal", &["peak"], "a"), sum("a")])),
        (
            "a map that is not a number",
            NotScored::MapMismatch,
            map(vec![
                node("Log", &["peak"], "a"),
                node("Mul", &["a", "zero"], "z"),
                node("Add", &["map0", "z"], "map"),
            ]),
        ),
        (
            "a map of something else",
            NotScored::MapMismatch,
            map(vec![
                node("Sub", &["half", "peak"], "d"),
                node("Relu", &["d"], "a"),
                node("Add", &["map0", "a"], "map"),
            ]),
        ),
        (
            "a probability below 0",
            NotScored::NotAProbability,
            probability(vec![node("Sub", &["level", "half"], "logit")]),
        ),
        ("a probability that is none", NotScored::NotFinite, probability(vec![node("Log", &["level"], "logit")])),
        (
            "nothing",
            NotScored::RunFailed,
            logit(vec![node("Greater", &["peak", "half"], "bright"), compress("level", "logit")]),
        ),
        (
            "a map of another size",
            NotScored::RunFailed,
            map(vec![
                node("Greater", &["peak", "half"], "b3"),
                node("Flatten", &["b3"], "b2"),
                NodeProto::new("Reshape", &["b2", "flat"], &["bright"], vec![]),
                compress("map0", "map"),
            ]),
        ),
    ]
}

#[test]
fn what_is_not_a_number_is_never_a_score() {
    let folder = tempfile::tempdir().unwrap();
    for (what, reason, model) in treacherous() {
        let path = folder.path().join(format!("{}.onnx", what.replace(' ', "-")));
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let (mut harness, bus) = line(&path, "passthrough");
        let mut score = |value: u8| {
            let scores = Scores::from_buffer(&harness.push_and_pull(gray(value)).unwrap()).unwrap();
            scores.faces[0].outcome.clone()
        };
        assert!(score(255).is_ok(), "{what}: white is honest");
        for _ in 0..3 {
            assert_eq!(score(0), Err(reason), "{what}");
        }
        // And the numbers of the frames before it are still there.
        assert!(score(255).is_ok(), "{what}: white is honest again");
        let warnings = bus.iter().filter(|m| m.type_() == gst::MessageType::Warning).count();
        assert_eq!(warnings, usize::from(reason == NotScored::RunFailed), "{what}");
        drop(harness);
        if reason == NotScored::RunFailed {
            let (mut harness, bus) = line(&path, "error");
            assert_eq!(harness.push(gray(0)), Err(gst::FlowError::Error), "{what}");
            assert_eq!(bus.iter().filter(|m| m.type_() == gst::MessageType::Error).count(), 1, "{what}");
        }
    }
}

#[test]
fn outputs_of_another_rank_or_type_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let without_map = [METADATA[0], METADATA[2]];
    let typed = |elem_type: i32, dims: &[Result<i64, &str>]| {
        let mut output = ValueInfoProto::floats("logit", dims);
        output.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = Some(elem_type);
        output
    };
    let cast = |to: i32| {
        let cast = NodeProto::new("Cast", &["level"], &["logit"], vec![AttributeProto::int("to", to.into())]);
        (vec![mean("x", "map", &[1]), mean("map", "level", &[1, 2]), cast], typed(to, &[Err("n")]))
    };
    const STRING: i32 = 8;
    let cases = [
        ("not a tensor of 32-bit floats", cast(data_type::INT64)),
        ("not a tensor of 32-bit floats", cast(data_type::FLOAT16)),
        ("not a tensor of 32-bit floats", cast(STRING)),
        // A map where the score should be: any number out of it would be wrong.
        (
            "score output has the shape",
            (vec![mean("x", "logit", &[1]), mean("x", "map", &[1])], typed(1, &[Err("n"), Ok(8), Ok(8)])),
        ),
        // Something of all pictures together.
        (
            "score output has the shape",
            (vec![mean("x", "logit", &[0]), mean("x", "map", &[1])], typed(1, &[Ok(3), Ok(8), Ok(8)])),
        ),
    ];
    for (number, (what, (nodes, output))) in cases.into_iter().enumerate() {
        let mut model = common::model(nodes, vec![], &without_map);
        graph(&mut model).output[0] = output;
        let path = folder.path().join(format!("{number}.onnx"));
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let said = refusal("model", &path);
        assert!(said.contains(what), "{number}: {said}");
    }
}
