//! Vision transformers: counts as published, and position embeddings on other grids (`golden/position.py`).

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use deepfake_trainer::config::{Input, Model};
use deepfake_trainer::net::tokens::position;
use deepfake_trainer::net::{Backbone, HEAD, Mode, Net, Params, floats};
use deepfake_trainer::seeded;
use support::formula::{hashed, tensor};
use support::{golden, numbers};
use tch::{Device, Tensor, no_grad};

fn network(backbone: Backbone, size: usize) -> (Net, Params) {
    let model = Model { backbone, dropout: 0.0, ..Model::default() };
    Net::blank(&model, &Input { size, ..Input::default() }).unwrap()
}

#[test]
fn they_have_as_many_parameters_as_published() {
    for (backbone, channels, published) in [(Backbone::VitSmall, 384, 22_050_664), (Backbone::VitBase, 768, 86_567_656)]
    {
        let (_, params) = network(backbone, 224);
        // The published ones have a class token, its place in the position embedding, and 1000 classes.
        let ours = 2 * (channels + 1);
        assert_eq!(params.count() - ours + 2 * channels + 1000 * (channels + 1), published);
    }
}

#[test]
fn position_embeddings_fit_other_grids_as_timms_do() {
    let expected = golden("position.json");
    let table = tensor(hashed(16 * 3, 5), &[1, 16, 3]);
    for case in expected.as_array().unwrap() {
        let grid = [case["rows"].as_i64().unwrap(), case["columns"].as_i64().unwrap()];
        let ours = position(&table, grid).unwrap();
        assert_eq!(ours.size(), [1, 3, grid[0], grid[1]]);
        let ours = floats(&ours.permute([0, 2, 3, 1])).unwrap();
        for (a, b) in ours.iter().zip(numbers(&case["values"])) {
            assert!((f64::from(*a) - b).abs() < 1e-6, "{grid:?}: {a} and {b}");
        }
    }
    assert!(position(&tensor(hashed(15, 5), &[1, 5, 3]), [2, 2]).is_err());
}

/// A network that sees another size than it was made for is the network of that size with the interpolated embedding.
#[test]
fn smaller_inputs_are_seen_with_the_interpolated_embedding() {
    let model = Model { backbone: Backbone::VitSmall, dropout: 0.0, ..Model::default() };
    let large = Input { size: 64, ..Input::default() };
    let small = Input { size: 32, ..Input::default() };
    let (net, params) = Net::new(&model, &large, &mut seeded::generator(2, "test", &[])).unwrap();
    let (other_net, mut other) = Net::blank(&model, &small).unwrap();
    let tensors: BTreeMap<String, Tensor> = params.iter().map(|p| (p.name.clone(), p.tensor.shallow_clone())).collect();
    assert!(other_net.load(&mut other, &tensors, "test".as_ref()).unwrap().drawn.is_empty());
    let picture = tensor(hashed(2 * 3 * 32 * 32, 9), &[2, 3, 32, 32]);
    let [a, b] = [(&net, &params), (&other_net, &other)].map(|(net, params)| {
        no_grad(|| floats(&net.forward(params, &picture, Mode::Inference).unwrap().logits).unwrap())
    });
    assert!(a[0] != a[2]);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
    // It learns through the interpolation.
    let params = params.copied(Device::Cpu, true).unwrap();
    let out = net.forward(&params, &picture, Mode::Training { seed: 1 }).unwrap();
    out.logits.square().sum(tch::Kind::Float).backward();
    let embedding = params.iter().find(|p| p.name == "pos_embed").unwrap();
    assert!(embedding.tensor.grad().norm().double_value(&[]) > 0.0);
}

#[test]
fn a_published_file_loses_its_class_token() {
    let (net, mut params) = network(Backbone::VitSmall, 96);
    let mut tensors: BTreeMap<String, Tensor> =
        params.iter().map(|p| (p.name.clone(), p.tensor.shallow_clone())).collect();
    tensors.retain(|name, _| !name.starts_with(HEAD));
    let whole = tensor(hashed(197 * 384, 3), &[1, 197, 384]);
    tensors.insert("pos_embed".to_owned(), whole.shallow_clone());
    tensors.insert("cls_token".to_owned(), Tensor::zeros([1, 1, 384], (tch::Kind::Float, Device::Cpu)));
    tensors.insert("head.weight".to_owned(), Tensor::zeros([1000, 384], (tch::Kind::Float, Device::Cpu)));
    let loaded = net.load(&mut params, &tensors, "test".as_ref()).unwrap();
    assert_eq!(loaded.left_out, ["cls_token", "head.weight"]);
    assert_eq!(loaded.drawn, ["classifier.weight", "classifier.bias"]);
    let ours = &params.iter().find(|p| p.name == "pos_embed").unwrap().tensor;
    let theirs = position(&whole.narrow(1, 1, 196), [6, 6]).unwrap().flatten(2, -1).transpose(1, 2);
    assert_eq!(floats(ours).unwrap(), floats(&theirs).unwrap());
}
