//! Networks and optimizer against PyTorch and torchvision (`golden/mobilenet_v3_small.py`).

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use deepfake_trainer::config::Model;
use deepfake_trainer::net::{HEAD, Mode, Net, Params, Role, floats};
use deepfake_trainer::optim::AdamW;
use deepfake_trainer::seeded;
use support::{golden, numbers};
use tch::{Device, Tensor};

/// Numbers in [-0.5, 0.5): the same function of the index as in the script.
fn hashed(count: usize, salt: u64) -> Vec<f64> {
    let one = |index: u64| {
        let mut v = (index * 2_654_435_761 + salt * 40_503 + 12_345) % (1 << 32);
        v = (v ^ (v >> 15)) * 2_246_822_519 % (1 << 32);
        v ^= v >> 13;
        v as f64 / 2f64.powi(32) - 0.5
    };
    (0..count as u64).map(one).collect()
}

fn tensor(values: impl IntoIterator<Item = f64>, shape: &[i64]) -> Tensor {
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    Tensor::from_slice(&values).view(shape)
}

/// torchvision's names and shapes with the script's weights.
fn weights() -> BTreeMap<String, Tensor> {
    let described = golden("mobilenet_v3_small.json");
    let mut tensors = BTreeMap::new();
    for (i, entry) in described["tensors"].as_array().unwrap().iter().enumerate() {
        let name = entry[0].as_str().unwrap();
        let shape: Vec<i64> = entry[1].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect();
        let fan_in: i64 = shape[1..].iter().product();
        let values = hashed(shape.iter().product::<i64>() as usize, i as u64 + 1).into_iter().map(|v| {
            if name.ends_with("running_var") {
                v + 1.0
            } else if name.ends_with("running_mean") {
                v * 0.2
            } else if shape.len() == 4 {
                v * (24.0 / fan_in as f64).sqrt()
            } else if name.ends_with("weight") {
                v + 1.0
            } else {
                v
            }
        });
        tensors.insert(name.to_owned(), tensor(values, &shape));
    }
    tensors
}

fn network(stem_stride: i64) -> (Net, Params) {
    let model = Model { stem_stride, dropout: 0.0, ..Model::default() };
    let (net, initial) = Net::new(&model, &mut seeded::generator(1, "test", &[])).unwrap();
    let mut params = initial.copied(Device::Cpu, true).unwrap();
    let (surplus, missing) = params.assign_body(&weights(), HEAD, Path::new("golden")).unwrap();
    assert!(surplus.is_empty(), "{surplus:?}");
    assert_eq!(missing, ["classifier.weight", "classifier.bias"]);
    (net, params)
}

fn picture() -> Tensor {
    tensor(hashed(2 * 3 * 64 * 64, 999).into_iter().map(|v| v * 4.0), &[2, 3, 64, 64])
}

fn close(what: &str, ours: &[f32], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let worst = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
    assert!(worst <= tolerance, "{what}: differs by {worst:e}");
}

#[test]
fn mobilenet_v3_small_is_torchvisions() {
    let expected = golden("mobilenet_v3_small.json");
    for layout in ["channels first", "channels last"] {
        let input = match layout {
            "channels last" => picture().permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
            _ => picture(),
        };
        let (net, params) = network(2);
        let features = tch::no_grad(|| net.forward(&params, &input, Mode::Inference).unwrap()).features;
        let shape: Vec<f64> = features.size().iter().map(|&n| n as f64).collect();
        assert_eq!(shape, numbers(&expected["features_shape"]));
        let channel = floats(&features.select(1, 7)).unwrap();
        close("features", &channel, &numbers(&expected["features_of_channel_7"]), 1e-4);
        let pooled = floats(&features.mean_dim(&[2i64, 3][..], false, None)).unwrap();
        close("pooled features", &pooled, &numbers(&expected["pooled"]), 1e-4);
    }
    let (net, params) = network(1);
    let features = tch::no_grad(|| net.forward(&params, &picture(), Mode::Inference).unwrap()).features;
    let pooled = floats(&features.mean_dim(&[2i64, 3][..], false, None)).unwrap();
    close("stem stride 1", &pooled, &numbers(&expected["pooled_stride_1"]), 1e-4);
}

#[test]
fn it_has_as_many_parameters() {
    let (_, params) = network(2);
    let body: usize = params.learned().filter(|p| !p.name.starts_with(HEAD)).map(|p| p.tensor.numel()).sum();
    // The published head: 576 to 1024, 1024 to 1000 classes.
    let published = body + (576 * 1024 + 1024) + (1024 * 1000 + 1000);
    assert_eq!(published, 2_542_856);
    assert_eq!(golden("mobilenet_v3_small.json")["parameters_with_1000_classes"], published);
    assert_eq!(params.count(), body + 2 * 576 + 2);
}

#[test]
fn training_mode_and_gradients_are_torchvisions() {
    let expected = golden("mobilenet_v3_small.json");
    let (net, params) = network(2);
    let forward = net.forward(&params, &picture(), Mode::Training { seed: 0 }).unwrap();
    let pooled = forward.features.mean_dim(&[2i64, 3][..], false, None);
    let factors = tensor(hashed(pooled.numel(), 1000), &pooled.size());
    (pooled * factors).sum(tch::Kind::Float).backward();
    let find = |name: &str| params.iter().find(|p| p.name == name).unwrap();
    for (name, norm) in expected["gradient_norms"].as_object().unwrap() {
        let ours = find(name).tensor.grad().norm().double_value(&[]);
        let theirs = norm.as_f64().unwrap();
        assert!((ours - theirs).abs() <= 1e-3 * theirs, "{name}: {ours} and {theirs}");
    }
    let mean = floats(&find("features.0.1.running_mean").tensor).unwrap();
    close("running mean", &mean, &numbers(&expected["running_mean_after"]), 1e-5);
}

#[test]
fn the_map_sums_to_the_logit() {
    let model = Model::default();
    let (net, initial) = Net::new(&model, &mut seeded::generator(3, "test", &[])).unwrap();
    let params = initial.copied(Device::Cpu, false).unwrap();
    let out = net.forward(&params, &picture(), Mode::Inference).unwrap();
    let map = net.map(&params, &out.features).unwrap();
    let means = floats(&map.mean_dim(&[1i64, 2][..], false, None)).unwrap();
    let logits = floats(&(out.logits.select(1, 1) - out.logits.select(1, 0))).unwrap();
    for (mean, logit) in means.iter().zip(&logits) {
        assert!((mean - logit).abs() < 1e-5 && logit.abs() > 1e-7, "{mean} and {logit}");
    }
}

#[test]
fn adamw_is_pytorchs() {
    // Every other parameter is without a gradient and stays.
    let (_, params) = network(2);
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
    let mut adam = AdamW::new(&params, 0.05).unwrap();
    for step in 0..5 {
        let param = params.iter().find(|p| p.name == name).unwrap();
        // The gradient of a sum of products is the other factor.
        (&param.tensor * padded(hashed(12, 2000 + step))).sum(tch::Kind::Float).backward();
        adam.step(&params, 0.01).unwrap();
    }
    let ours = floats(&params.iter().find(|p| p.name == name).unwrap().tensor).unwrap();
    close("AdamW", &ours[..12], &numbers(&golden("mobilenet_v3_small.json")["adamw"]), 1e-6);
}
