//! Networks and optimizer against PyTorch with torchvision and timm (`golden/networks.py`, `golden/adamw.py`).

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use deepfake_trainer::config::{Input, Model};
use deepfake_trainer::net::{Backbone, HEAD, Mode, Naming, Net, Params, Role, floats};
use deepfake_trainer::optim::{Adam, forget_gradients};
use sha2::{Digest, Sha256};
use support::formula::{filled, hashed, named, tensor};
use support::{golden, numbers};
use tch::{Device, Tensor};

/// As published, but for what is drawn.
fn published(backbone: Backbone) -> Model {
    let stochastic_depth = backbone.stochastic_depth().map(|_| 0.0);
    Model { backbone, dropout: 0.0, stochastic_depth, ..Model::default() }
}

/// With the script's weights.
fn network(model: &Model) -> (Net, Params) {
    let input = Input { size: 64, ..Input::default() };
    let (net, initial) = Net::blank(model, &input).unwrap();
    let mut params = initial.copied(Device::Cpu, true).unwrap();
    params.assign(&filled(&params), Path::new("formula")).unwrap();
    (net, params)
}

fn expected(backbone: Backbone) -> serde_json::Value {
    golden(&format!("networks/{backbone}.json"))
}

fn picture() -> Tensor {
    tensor(hashed(2 * 3 * 64 * 64, 999).into_iter().map(|v| v * 4.0), &[2, 3, 64, 64])
}

/// The largest difference is `tolerance` of the number, or of the root of the mean square of all numbers where that is larger.
fn close(what: &str, ours: &[f32], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = (theirs.iter().map(|v| v * v).sum::<f64>() / theirs.len() as f64).sqrt();
    assert!(scale > 0.0, "{what}: nothing to compare with");
    let worst =
        ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).abs() / b.abs().max(scale)).fold(0.0, f64::max);
    assert!(worst <= tolerance, "{what}: differs by {worst:e}");
}

/// Those of the pooled features that the script keeps.
fn some_pooled(features: &Tensor) -> Vec<f32> {
    let channels = features.size()[1];
    let pooled = features.mean_dim(&[2i64, 3][..], false, None);
    floats(&pooled.slice(1, 0, None, (channels / 48).max(1))).unwrap()
}

fn features(net: &Net, params: &Params, input: &Tensor) -> Tensor {
    tch::no_grad(|| net.forward(params, input, Mode::Inference).unwrap()).features
}

/// As the script writes them: `name 1x2x3`.
fn named_shape(line: &str) -> (String, Tensor) {
    let (name, shape) = line.split_once(' ').unwrap();
    let shape: Vec<i64> = shape.split('x').map(|n| n.parse().unwrap()).collect();
    (name.to_owned(), named(name, &shape))
}

/// SHA-256 of the sorted lines `name 1x2x3`.
fn names_digest(tensors: impl Iterator<Item = (String, Vec<i64>)>) -> String {
    let size = |shape: Vec<i64>| shape.iter().map(i64::to_string).collect::<Vec<_>>().join("x");
    let mut lines: Vec<_> = tensors.map(|(name, shape)| format!("{name} {}\n", size(shape))).collect();
    lines.sort();
    Sha256::digest(lines.concat()).iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn names_shapes_and_counts_are_the_references() {
    for backbone in Backbone::ALL {
        let expected = expected(backbone);
        let (_, params) = network(&published(backbone));
        let body = || params.iter().filter(|p| !p.name.starts_with(HEAD));
        let named = names_digest(body().map(|p| (p.name.clone(), p.tensor.size())));
        assert_eq!(expected["names_sha256"], named, "{backbone}");
        let learned: usize = body().filter(|p| p.role != Role::Statistic).map(|p| p.tensor.numel()).sum();
        let left_out = expected["parameters_left_out"].as_u64().unwrap() as usize;
        assert_eq!(expected["parameters_with_1000_classes"], learned + left_out, "{backbone}");
        let channels = expected["features_shape"][1].as_u64().unwrap() as usize;
        assert_eq!(params.count(), learned + 2 * channels + 2);
    }
}

#[test]
fn features_are_the_references() {
    for backbone in Backbone::ALL {
        let expected = expected(backbone);
        let (net, params) = network(&published(backbone));
        let last = picture().permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        for (layout, input) in [("channels first", picture()), ("channels last", last)] {
            let features = features(&net, &params, &input);
            let shape: Vec<f64> = features.size().iter().map(|&n| n as f64).collect();
            assert_eq!(shape, numbers(&expected["features_shape"]), "{backbone}");
            let channel = floats(&features.select(1, expected["channel"].as_i64().unwrap())).unwrap();
            let what = format!("{backbone}, {layout}");
            close(&what, &channel, &numbers(&expected["features_of_channel"]), 1e-4);
            close(&what, &some_pooled(&features), &numbers(&expected["pooled"]), 1e-4);
        }
        if backbone.stem_stride().is_some() {
            let (net, params) = network(&Model { stem_stride: Some(1), ..published(backbone) });
            let pooled = some_pooled(&features(&net, &params, &picture()));
            close(&format!("{backbone}, stride 1"), &pooled, &numbers(&expected["pooled_stem_stride_1"]), 1e-4);
        }
    }
}

#[test]
fn timms_weights_do_the_same_here() {
    for backbone in Backbone::ALL {
        let expected = expected(backbone);
        let (net, mut params) = network(&published(backbone));
        let body: BTreeMap<String, Tensor> =
            filled(&params).into_iter().filter(|(name, _)| !name.starts_with(HEAD)).collect();
        let (mut tensors, naming) = match expected["timm"]["tensors"].as_array() {
            Some(lines) => (lines.iter().map(|l| named_shape(l.as_str().unwrap())).collect(), Naming::Timm),
            None => (body, Naming::Own),
        };
        // As somebody's training wraps them, with a head of 1000 classes.
        tensors = tensors.into_iter().map(|(name, t)| (format!("module.{name}"), t)).collect();
        let head = match backbone {
            Backbone::Resnet18 | Backbone::Resnet50 | Backbone::Xception | Backbone::F3net => "fc.weight",
            Backbone::VitSmall | Backbone::VitBase => "head.weight",
            _ => "classifier.weight",
        };
        tensors.insert(format!("module.{head}"), named(head, &[1000, 8]));
        let loaded = net.load(&mut params, &tensors, Path::new("file")).unwrap();
        assert_eq!(loaded.naming, naming, "{backbone}");
        assert_eq!(loaded.left_out, [head], "{backbone}");
        assert_eq!(loaded.drawn, ["classifier.weight", "classifier.bias"], "{backbone}");
        let pooled = some_pooled(&features(&net, &params, &picture()));
        // Those that torchvision lacks are timm's under timm's names.
        let theirs = if expected["timm"].is_null() { &expected["pooled"] } else { &expected["timm"]["pooled"] };
        close(&format!("{backbone} of timm"), &pooled, &numbers(theirs), 1e-4);
    }
}

#[test]
fn weights_of_something_else_are_refused_with_what_they_are() {
    let (net, mut params) = network(&published(Backbone::Resnet18));
    let before = floats(params.iter().next().map(|p| &p.tensor).unwrap()).unwrap();
    let mut refusal = |tensors: BTreeMap<String, Tensor>| {
        net.load(&mut params, &tensors, Path::new("w.safetensors")).unwrap_err().to_string()
    };
    let of = |backbone| filled(&Net::blank(&published(backbone), &Input { size: 64, ..Input::default() }).unwrap().1);
    let mut own = of(Backbone::Resnet18);
    own.remove("layer3.0.bn1.bias");
    assert!(refusal(own).contains("`layer3.0.bn1.bias` is missing"));
    let mut deeper = of(Backbone::Resnet18);
    deeper.insert("layer1.2.conv1.weight".to_owned(), named("x", &[64, 64, 3, 3]));
    assert!(refusal(deeper).contains("`layer1.2.conv1.weight` has no place in it"));
    let error = refusal(of(Backbone::Resnet50));
    assert!(error.contains("w.safetensors") && error.contains("set `model.backbone = \"resnet50\"`"), "{error}");
    let timm = golden("networks/efficientnet_b0.json");
    let timm = timm["timm"]["tensors"].as_array().unwrap().iter().map(|l| named_shape(l.as_str().unwrap())).collect();
    let error = refusal(timm);
    assert!(error.contains("set `model.backbone = \"efficientnet_b0\"`"), "{error}");
    let error = refusal(BTreeMap::from([("swin.layers".to_owned(), named("x", &[2]))]));
    assert!(error.contains("`swin.layers`") && error.contains("state_dict"), "{error}");
    let error = refusal(BTreeMap::from([("average/conv1.weight".to_owned(), named("x", &[2]))]));
    assert!(error.contains("best.safetensors"), "{error}");
    assert_eq!(before, floats(params.iter().next().map(|p| &p.tensor).unwrap()).unwrap(), "nothing may be half loaded");

    // A head of this program's own comes with it.
    let mut own = of(Backbone::Resnet18);
    own.insert("classifier.bias".to_owned(), tensor([7.0, 8.0], &[2]));
    let loaded = net.load(&mut params, &own, Path::new("best.safetensors")).unwrap();
    assert!(loaded.drawn.is_empty() && loaded.left_out.is_empty());
    assert_eq!(floats(&params.iter().last().unwrap().tensor).unwrap(), [7.0, 8.0]);
}

#[test]
fn training_mode_and_gradients_are_the_references() {
    for backbone in Backbone::ALL {
        let expected = expected(backbone);
        let (net, params) = network(&published(backbone));
        let forward = net.forward(&params, &picture(), Mode::Training { seed: 0 }).unwrap();
        let what = format!("{backbone} in training");
        // Batch norms over eight numbers a channel, as deep as B4 has them, make more of each rounding.
        close(&what, &some_pooled(&forward.features), &numbers(&expected["pooled_in_training"]), 5e-4);
        let pooled = forward.features.mean_dim(&[2i64, 3][..], false, None);
        let factors = tensor(hashed(pooled.numel(), 1000), &pooled.size());
        (pooled * factors).sum(tch::Kind::Float).backward();
        let find = |name: &str| params.iter().find(|p| p.name == name).unwrap();
        for (name, norm) in expected["gradient_norms"].as_object().unwrap() {
            let ours = find(name).tensor.grad().norm().double_value(&[]);
            let theirs = norm.as_f64().unwrap();
            // The statistics' filters stand before 36 batch norms and behind absolute values: PyTorch in single precision is 1.7e-3
            // away from itself in double precision.
            let tolerance = if backbone == Backbone::F3net { 5e-3 } else { 1e-3 };
            assert!((ours - theirs).abs() <= tolerance * theirs, "{backbone}, {name}: {ours} and {theirs}");
        }
        if let Some(name) = expected["running_mean"].as_str() {
            let mean = floats(&find(name).tensor).unwrap();
            close(&format!("{backbone}, running mean"), &mean, &numbers(&expected["running_mean_after"]), 1e-5);
        }
    }
}

#[test]
fn the_map_sums_to_the_logit() {
    for backbone in Backbone::ALL {
        let (net, params) = network(&published(backbone));
        let out = tch::no_grad(|| net.forward(&params, &picture(), Mode::Inference).unwrap());
        let map = net.map(&params, &out.features).unwrap();
        let means = floats(&map.mean_dim(&[1i64, 2][..], false, None)).unwrap();
        let logits = floats(&(out.logits.select(1, 1) - out.logits.select(1, 0))).unwrap();
        let means: Vec<f64> = means.into_iter().map(f64::from).collect();
        close(&backbone.to_string(), &logits, &means, 1e-5);
    }
}

#[test]
fn residual_branches_are_dropped_by_face_and_by_seed() {
    let model = Model { backbone: Backbone::Resnet18, width: Some(0.25), dropout: 0.0, ..Model::default() };
    let (net, params) = network(&Model { stochastic_depth: Some(0.9), ..model.clone() });
    let one = picture().select(0, 0).unsqueeze(0);
    let same = one.expand([16, -1, -1, -1], false);
    // Batch norms see the same whatever is dropped, so the faces differ by nothing else.
    let run = |net: &Net, seed| {
        let params = params.copied(Device::Cpu, false).unwrap();
        let out = net.forward(&params, &same, Mode::Training { seed }).unwrap();
        floats(&out.features.mean_dim(&[1i64, 2, 3][..], false, None)).unwrap()
    };
    let mut values = run(&net, 1);
    assert_eq!(values, run(&net, 1));
    assert_ne!(values, run(&net, 2));
    values.sort_by(f32::total_cmp);
    values.dedup();
    assert!(values.len() > 8, "{values:?}");
    let (never, _) = network(&Model { stochastic_depth: Some(0.0), ..model });
    let mut values = run(&never, 1);
    values.dedup_by(|a, b| (*a - *b).abs() < 1e-5);
    assert_eq!(values.len(), 1);
    // Nothing is dropped once it is trained.
    let whole = |net: &Net| floats(&features(net, &params, &one)).unwrap();
    assert_eq!(whole(&net), whole(&never));
}

#[test]
fn adamw_is_pytorchs() {
    // Every other parameter is without a gradient and stays.
    let (_, params) = network(&Model::default());
    let mut params = params.copied(Device::Cpu, true).unwrap();
    let name = "features.1.block.1.fc1.weight";
    let param = params.iter().find(|p| p.name == name).unwrap();
    assert_eq!(param.role, Role::Weight);
    let shape = param.tensor.size();
    let n = param.tensor.numel();
    let mut all: BTreeMap<String, Tensor> = params.iter().map(|p| (p.name.clone(), p.tensor.detach().copy())).collect();
    let padded = |values: Vec<f64>| tensor(values.into_iter().chain(std::iter::repeat(0.0)).take(n), &shape);
    all.insert(name.to_owned(), padded(hashed(12, 1001)));
    params.assign(&all, Path::new("test")).unwrap();
    let mut adam = Adam::new(&params, 0.05, true).unwrap();
    for step in 0..5 {
        let param = params.iter().find(|p| p.name == name).unwrap();
        // The gradient of a sum of products is the other factor.
        (&param.tensor * padded(hashed(12, 2000 + step))).sum(tch::Kind::Float).backward();
        adam.step(&params, 0.01, None).unwrap();
        forget_gradients(&params).unwrap();
    }
    let ours = floats(&params.iter().find(|p| p.name == name).unwrap().tensor).unwrap();
    close("AdamW", &ours[..12], &numbers(&golden("adamw.json")["adamw"]), 1e-6);
}
