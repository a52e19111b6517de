//! Face detectors: decoded as other implementations do, recognized from their graphs, total on hostile outputs.

use std::collections::BTreeMap;

use deepfake_scoring::frame::{Colorimetry, FrameView, PixelFormat, Plane, Scan};
use deepfake_scoring::geometry::{Point, Rect};
use deepfake_scoring::locate::decode::{self, Input, ScrfdLevel, YuNetLevel};
use deepfake_scoring::locate::search::Search;
use deepfake_scoring::locate::{Face, LocateError, LocateOptions, Locator, nms};
use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use deepfake_scoring::session::SessionOptions;
use proptest::prelude::*;
use prost::Message;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    width: usize,
    height: usize,
    confidence: f32,
    iou: f32,
    yunet: Case,
    ultraface: Case,
    scrfd: Case,
}

#[derive(Deserialize)]
struct Case {
    outputs: BTreeMap<String, Numbers>,
    faces: Vec<GoldenFace>,
}

#[derive(Deserialize)]
struct Numbers {
    dims: Vec<i64>,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct GoldenFace {
    bbox: [f32; 4],
    confidence: f32,
    landmarks: Option<[f32; 10]>,
}

impl Case {
    fn get(&self, name: &str) -> &[f32] {
        &self.outputs[name].values
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/locate.json")).unwrap()
}

fn assert_same(faces: &[Face], golden: &[GoldenFace], scale: f32) {
    assert_eq!(faces.len(), golden.len());
    for (face, g) in faces.iter().zip(golden) {
        let close = |a: f32, b: f32| (a - b * scale).abs() < 2e-3 * scale;
        let b = &face.bbox;
        assert!((face.confidence - g.confidence).abs() < 1e-5, "{} {}", face.confidence, g.confidence);
        assert!([b.x, b.y, b.w, b.h].iter().zip(g.bbox).all(|(&a, g)| close(a, g)), "{b:?} {:?}", g.bbox);
        let points = face.landmarks.map(|l| l.map(|p| [p.x, p.y]).concat());
        match (points, g.landmarks) {
            (Some(a), Some(b)) => assert!(a.iter().zip(b).all(|(&a, b)| close(a, b)), "{a:?} {b:?}"),
            (a, b) => assert_eq!(a.is_some(), b.is_some()),
        }
    }
}

fn yunet_levels(case: &Case) -> [YuNetLevel<'_>; 3] {
    [8, 16, 32].map(|stride| YuNetLevel {
        stride,
        class: case.get(&format!("cls_{stride}")),
        objectness: case.get(&format!("obj_{stride}")),
        boxes: case.get(&format!("bbox_{stride}")),
        landmarks: case.get(&format!("kps_{stride}")),
    })
}

fn scrfd_levels(case: &Case) -> [ScrfdLevel<'_>; 3] {
    [8, 16, 32].map(|stride| ScrfdLevel {
        stride,
        scores: case.get(&format!("score_{stride}")),
        boxes: case.get(&format!("bbox_{stride}")),
        landmarks: Some(case.get(&format!("kps_{stride}"))),
    })
}

#[test]
fn decoders_see_what_other_implementations_see() {
    let g = golden();
    let input = Input { width: g.width, height: g.height };
    let mut faces = Vec::new();

    decode::yunet(&yunet_levels(&g.yunet), input, g.confidence, &mut faces).unwrap();
    nms::suppress(&mut faces, g.iou);
    assert_same(&faces, &g.yunet.faces, 1.0);

    faces.clear();
    decode::ultraface(g.ultraface.get("scores"), g.ultraface.get("boxes"), input, g.confidence, &mut faces).unwrap();
    nms::suppress(&mut faces, g.iou);
    assert_same(&faces, &g.ultraface.faces, 1.0);

    faces.clear();
    decode::scrfd(&scrfd_levels(&g.scrfd), 2, input, g.confidence, &mut faces).unwrap();
    nms::suppress(&mut faces, g.iou);
    assert_same(&faces, &g.scrfd.faces, 1.0);
}

/// A graph that takes a picture and gives constants (plus nothing times the picture), as one of an exporter that numbers its
/// outputs.
fn constant_model(input: [i64; 4], outputs: &[(&str, &[i64], &[f32])]) -> Model {
    let mut graph = GraphProto {
        name: Some("constant".into()),
        input: vec![ValueInfoProto::floats("input", &input.map(Ok))],
        initializer: vec![TensorProto::floats("zero", &[], &[0.0])],
        node: vec![
            NodeProto::new("ReduceMean", &["input"], &["mean"], vec![AttributeProto::int("keepdims", 0)]),
            NodeProto::new("Mul", &["mean", "zero"], &["nothing"], vec![]),
        ],
        ..GraphProto::default()
    };
    for (i, (_, dims, values)) in outputs.iter().enumerate() {
        let (name, numbers) = (format!("{}", 400 + i), format!("numbers_{i}"));
        graph.initializer.push(TensorProto::floats(&numbers, dims, values));
        graph.node.push(NodeProto::new("Add", &[&numbers, "nothing"], &[&name], vec![]));
        graph.output.push(ValueInfoProto::floats(&name, &dims.iter().map(|&d| Ok(d)).collect::<Vec<_>>()));
    }
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    Model::from_bytes("constant", model.encode_to_vec()).unwrap()
}

fn model_of(case: &Case, g: &Golden, order: impl Fn(&str) -> usize) -> Model {
    let mut outputs: Vec<_> =
        case.outputs.iter().map(|(name, n)| (name.as_str(), n.dims.as_slice(), n.values.as_slice())).collect();
    outputs.sort_by_key(|(name, ..)| order(name));
    constant_model([1, 3, g.height as i64, g.width as i64], &outputs)
}

fn locator(model: &Model, options: LocateOptions) -> Result<Locator, LocateError> {
    Locator::new(model, &SessionOptions::default(), options)
}

fn gray_frame(data: &[u8], width: usize, height: usize) -> FrameView<'_> {
    let planes = [Plane { data, stride: width }];
    FrameView::new(PixelFormat::Gray8, width, height, Colorimetry::RGB, Scan::Progressive, &planes).unwrap()
}

#[test]
fn graphs_are_recognized_and_boxes_are_of_the_frame() {
    let g = golden();
    // Twice the size of the input, and 40 rows less than its aspect.
    let pixels = vec![128; g.width * 2 * g.height * 2];
    let options = LocateOptions { confidence: g.confidence, iou: g.iou, ..LocateOptions::default() };
    let ranks = |name: &str| ["kps", "bbox", "score", "obj", "cls"].iter().position(|p| name.starts_with(p)).unwrap();
    for (case, name) in [(&g.yunet, "yunet"), (&g.scrfd, "scrfd")] {
        // The coarse grids first, the groups in another order than usual.
        let stride = |name: &str| name.rsplit('_').next().unwrap().parse::<usize>().unwrap();
        let model = model_of(case, &g, |name| ranks(name) * 100 + (40 - stride(name)));
        let mut locator = locator(&model, options).unwrap();
        assert_eq!((locator.kind(), locator.digest()), (name, model.sha256()));
        let mut faces = vec![Face { bbox: Rect::default(), confidence: 1.0, landmarks: None }];
        locator.locate(&gray_frame(&pixels, g.width * 2, g.height * 2), &mut faces).unwrap();
        let inside = |f: &&GoldenFace| {
            let (x, y) = (f.bbox[0] + f.bbox[2] / 2.0, f.bbox[1] + f.bbox[3] / 2.0);
            (0.0..=g.width as f32).contains(&x) && (0.0..=g.height as f32).contains(&y)
        };
        let seen = case.faces.iter().filter(inside).count();
        assert!(seen > 10);
        let all: Vec<_> = case.faces.iter().filter(inside).map(|f| GoldenFace { ..*f }).collect();
        assert_same(&faces, &all, 2.0);
    }
}

#[test]
fn graphs_of_another_kind_are_refused_with_what_they_have() {
    let scores = [0.5; 8];
    let message = |input, outputs: &[(&str, &[i64], &[f32])]| {
        locator(&constant_model(input, outputs), LocateOptions::default()).unwrap_err().to_string()
    };
    let error = message([1, 3, 64, 64], &[("", &[1, 8], &scores)]);
    assert!(error.contains("input[1, 3, 64, 64]") && error.contains("400[1, 8]") && error.contains("YuNet"), "{error}");
    let ultraface: [(&str, &[i64], &[f32]); 2] = [("", &[1, 4, 2], &scores), ("", &[1, 2, 4], &scores)];
    assert!(message([1, 1, 64, 64], &ultraface).contains("three channels"));
    assert!(message([1, 3, 64, 100_000], &ultraface).contains("4096"));
    // Looks like an UltraFace, but scores and boxes are not as many.
    let error = message([1, 3, 64, 64], &ultraface);
    assert!(error.contains("ultraface") && error.contains("4 belong to"), "{error}");
    // Looks like an SCRFD whose grids belong to another size.
    let g = golden();
    let outputs: Vec<_> = g.scrfd.outputs.values().map(|n| ("", n.dims.as_slice(), n.values.as_slice())).collect();
    assert!(message([1, 3, 128, 128], &outputs).contains("scrfd"));
    assert!(message([1, 3, 64, 100], &outputs).contains("no multiple of 32"));
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let g = golden();
    let model = model_of(&g.ultraface, &g, |name| usize::from(name == "boxes"));
    let options = LocateOptions::default();
    for (options, name) in [
        (LocateOptions { confidence: f32::NAN, ..options }, "confidence"),
        (LocateOptions { iou: 1.5, ..options }, "iou"),
        (LocateOptions { max_side: 0, ..options }, "max_side"),
    ] {
        assert!(locator(&model, options).unwrap_err().to_string().contains(name));
    }
}

#[test]
fn frames_of_any_shape_are_looked_at() {
    let g = golden();
    let options = LocateOptions { confidence: 0.0, iou: 1.0, ..LocateOptions::default() };
    let model = model_of(&g.ultraface, &g, |name| usize::from(name == "boxes"));
    let mut locator = locator(&model, options).unwrap();
    let mut faces = Vec::new();
    for (width, height) in [(1, 1), (1, 3000), (3000, 2), (97, 31), (1080, 1920), (32_768, 8)] {
        let pixels = vec![0; width * height];
        let frame = gray_frame(&pixels, width, height);
        let check = |faces: &[Face]| {
            for f in faces {
                let c = f.bbox.center();
                assert!(f.bbox.is_valid() && c.x <= width as f32 && c.y <= height as f32, "{f:?} of {width}x{height}");
            }
        };
        locator.locate(&frame, &mut faces).unwrap();
        check(&faces);
        // In windows of the size that this detector's graph fixes.
        let mut search = Search::default();
        for smallest in [0.0, 1.0, 24.0, f32::INFINITY] {
            let known =
                [Rect::new(3.0, 3.0, 5.0, 5.0), Rect::new(f32::NAN, 0.0, 1.0, 1.0), Rect::new(-9e9, 9e9, 2.0, 2.0)];
            for _ in 0..5 {
                search.look(&mut locator, &frame, smallest, known.into_iter(), &mut faces, None).unwrap();
                check(&faces);
                assert!(search.saw(&known[1]) && search.saw(&known[2]), "what is no box in the frame is not missed");
            }
        }
    }
}

/// Numbers as a broken or hostile network gives them.
fn numbers(count: usize) -> impl Strategy<Value = Vec<f32>> {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e9, 88.0, 0.0, -0.0];
    let number = prop_oneof![3 => -2.0..2f32, 1 => proptest::sample::select(odd.to_vec()), 1 => Just(1.0)];
    proptest::collection::vec(number, count)
}

fn sane(faces: &mut Vec<Face>, iou: f32) -> Result<(), TestCaseError> {
    let fine = |p: &Point| p.x.is_finite() && p.y.is_finite();
    for f in faces.iter() {
        prop_assert!(f.bbox.is_valid() && (0.0..=1.0).contains(&f.confidence), "{f:?}");
        prop_assert!(f.landmarks.is_none_or(|l| l.iter().all(fine)), "{f:?}");
    }
    nms::suppress(faces, iou);
    prop_assert!(faces.is_sorted_by(|a, b| a.confidence >= b.confidence));
    for (i, a) in faces.iter().enumerate() {
        prop_assert!(faces[..i].iter().all(|b| a.bbox.iou(&b.bbox) <= iou));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn hostile_outputs_make_no_face_or_a_sane_one(
        all in numbers(64 * 16),
        confidence in 0.0..1f32,
        iou in 0.0..1f32,
    ) {
        // 64x64 has 64 cells of stride 8.
        let input = Input { width: 64, height: 64 };
        let (class, rest) = all.split_at(64);
        let (objectness, rest) = rest.split_at(64);
        let (boxes, landmarks) = rest.split_at(256);
        let mut faces = Vec::new();
        decode::yunet(&[YuNetLevel { stride: 8, class, objectness, boxes, landmarks }], input, confidence, &mut faces).unwrap();
        sane(&mut faces, iou)?;
        faces.clear();
        let level = ScrfdLevel { stride: 8, scores: class, boxes, landmarks: Some(landmarks) };
        decode::scrfd(&[level], 1, input, confidence, &mut faces).unwrap();
        sane(&mut faces, iou)?;
        faces.clear();
        decode::ultraface(&all[..128], boxes, input, confidence, &mut faces).unwrap();
        sane(&mut faces, iou)?;
    }

    #[test]
    fn lengths_that_do_not_fit_are_an_error(
        lengths in proptest::array::uniform4(0..700usize),
        (width, height) in (0..200usize, 0..200usize),
        (stride, anchors) in (0..64usize, 0..4usize),
    ) {
        let zeros = [0.0; 700];
        let [a, b, c, d] = lengths.map(|n| &zeros[..n]);
        let input = Input { width, height };
        let mut faces = Vec::new();
        let cells = (width / stride.max(1)) * (height / stride.max(1));
        let yunet = YuNetLevel { stride, class: a, objectness: b, boxes: c, landmarks: d };
        let fits = lengths == [cells, cells, cells * 4, cells * 10];
        prop_assert_eq!(decode::yunet(&[yunet], input, 0.5, &mut faces).is_ok(), fits);
        let scrfd = ScrfdLevel { stride, scores: a, boxes: b, landmarks: Some(c) };
        let total = cells * anchors;
        let fits = lengths[..3] == [total, total * 4, total * 10];
        prop_assert_eq!(decode::scrfd(&[scrfd], anchors, input, 0.5, &mut faces).is_ok(), fits);
        let fits = lengths[0] % 2 == 0 && lengths[1] % 4 == 0 && lengths[0] * 2 == lengths[1];
        prop_assert_eq!(decode::ultraface(a, b, input, 0.5, &mut faces).is_ok(), fits);
    }
}
