//! F3Net's transforms against SciPy (`golden/f3net.py`), its bands, and its beginning from an Xception. The whole network is compared
//! in `network.rs`.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use deepfake_trainer::config::{Input, Model};
use deepfake_trainer::net::frequency::{band, dct, dct_kernels};
use deepfake_trainer::net::{Backbone, HEAD, Mode, Net, Params, floats};
use proptest::prelude::*;
use support::formula::{filled, hashed, tensor};
use support::{golden, numbers};
use tch::{Kind, Tensor};

fn close(what: &str, ours: &Tensor, theirs: &[f64], tolerance: f64) {
    let ours = floats(ours).unwrap();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (a, b) in ours.iter().zip(theirs) {
        assert!((f64::from(*a) - b).abs() <= tolerance, "{what}: {a} and {b}");
    }
}

#[test]
fn transforms_are_scipys() {
    let expected = golden("frequency.json");
    for (size, values) in expected["matrices"].as_object().unwrap() {
        close(size, &dct(size.parse().unwrap()).unwrap(), &numbers(values), 1e-7);
    }
    for window in expected["windows"].as_array().unwrap() {
        let side = window["side"].as_i64().unwrap();
        let pixels = tensor(numbers(&window["pixels"]), &[1, 1, side, side]);
        let coefficients = pixels.conv2d::<Tensor>(&dct_kernels(side).unwrap(), None, 1, 0, 1, 1);
        close("window", &coefficients, &numbers(&window["coefficients"]), 1e-3);
    }
    let picture = &expected["picture"];
    let size = picture["size"].as_i64().unwrap();
    let pixels = tensor(numbers(&picture["pixels"]), &[size, size]);
    let d = dct(size).unwrap();
    let spectrum = d.matmul(&pixels).matmul(&d.tr());
    for (row, [above, up_to]) in
        picture["row_7_of_bands"].as_array().unwrap().iter().zip([[-1.0, 17.0], [17.0, 24.0], [24.0, 96.0]])
    {
        let kept = &spectrum * band(size, above, up_to).unwrap();
        close("band", &d.tr().matmul(&kept).matmul(&d).get(7), &numbers(row), 1e-5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_transform_is_orthonormal(size in 2i64..300) {
        let d = dct(size).unwrap().to_kind(Kind::Double);
        let worst = (d.matmul(&d.tr()) - Tensor::eye(size, (Kind::Double, tch::Device::Cpu))).abs().max();
        prop_assert!(worst.double_value(&[]) < 1e-5);
    }

    #[test]
    fn bands_divide_the_spectrum(size in 8i64..300) {
        let ends = [-1.0, (size as f64 / 2.82).floor(), (size / 2) as f64, 2.0 * size as f64];
        let sum = ends.windows(2).map(|e| band(size, e[0], e[1]).unwrap()).reduce(|a, b| a + b).unwrap();
        prop_assert_eq!(sum.min().double_value(&[]), 1.0);
        prop_assert_eq!(sum.max().double_value(&[]), 1.0);
    }
}

fn tensors(params: &Params) -> BTreeMap<String, Tensor> {
    params.iter().map(|p| (p.name.clone(), p.tensor.shallow_clone())).collect()
}

#[test]
fn it_begins_from_an_xception() {
    let input = Input { size: 64, ..Input::default() };
    let of = |backbone| Model { backbone, dropout: 0.0, width: Some(0.25), ..Model::default() };
    let (_, xception) = Net::blank(&of(Backbone::Xception), &input).unwrap();
    let mut file = filled(&xception);
    file.retain(|name, _| !name.starts_with(HEAD));
    let stem = file["conv1.weight"].shallow_clone();
    let (net, mut params) = Net::blank(&of(Backbone::F3net), &input).unwrap();
    file.insert("fc.weight".to_owned(), tensor(hashed(80, 1), &[10, 8]));
    let loaded = net.load(&mut params, &file, "test".as_ref()).unwrap();
    assert_eq!(loaded.left_out, ["fc.weight"]);
    assert!(loaded.drawn.iter().all(|name| !name.contains("_xcep.")), "{:?}", loaded.drawn);
    assert!(loaded.drawn.iter().any(|name| name == "LFS_head.learnable"));
    let taken = tensors(&params);
    for (prefix, times) in [("FAD_xcep.", 4), ("LFS_xcep.", 2)] {
        // The same answer to a picture that stands in every repetition.
        let kernel = &taken[&format!("{prefix}conv1.weight")];
        let picture = tensor(hashed(3 * 9 * 9, 4), &[1, 3, 9, 9]);
        let ours = picture.repeat([1, times, 1, 1]).conv2d::<Tensor>(kernel, None, 2, 0, 1, 1);
        let theirs = picture.conv2d::<Tensor>(&stem, None, 2, 0, 1, 1);
        assert!((ours - theirs).abs().max().double_value(&[]) < 1e-5);
        assert_eq!(floats(&taken[&format!("{prefix}conv2.weight")]).unwrap(), floats(&file["conv2.weight"]).unwrap());
    }
    // Its own files are taken as they are, whole.
    let own = filled(&params);
    assert!(net.load(&mut params, &own, "test".as_ref()).unwrap().drawn.is_empty());
    assert_eq!(
        floats(&tensors(&params)["mix_block7.FAD_gamma"]).unwrap(),
        floats(&own["mix_block7.FAD_gamma"]).unwrap()
    );
    let mut part = filled(&params);
    part.remove("LFS_head.learnable");
    let error = net.load(&mut params, &part, "test".as_ref()).unwrap_err().to_string();
    assert!(error.contains("`LFS_head.learnable` is missing"), "{error}");
    let picture = tensor(hashed(3 * 64 * 64, 7), &[1, 3, 64, 64]);
    let out = tch::no_grad(|| net.forward(&params, &picture, Mode::Inference).unwrap());
    assert_eq!(out.features.size(), [1, 1024, 2, 2]);
}

#[test]
fn sizes_at_which_the_streams_differ_are_told() {
    // Whether the network itself says the same.
    for size in [32, 40, 55, 64, 89, 111, 185, 299] {
        let input = Input { size, ..Input::default() };
        let model = Model { backbone: Backbone::F3net, width: Some(0.25), ..Model::default() };
        let (net, params) = Net::blank(&model, &input).unwrap();
        let picture = Tensor::zeros([1, 3, size as i64, size as i64], (Kind::Float, tch::Device::Cpu));
        let runs = tch::no_grad(|| net.forward(&params, &picture, Mode::Inference)).is_ok();
        assert_eq!(Backbone::F3net.takes(size).is_ok(), runs, "{size}");
    }
    assert!(Backbone::F3net.takes(299).is_ok());
    let refused: Vec<usize> = (32..=320).filter(|s| Backbone::F3net.takes(*s).is_err()).collect();
    assert!(!refused.is_empty() && refused.len() < 80, "{refused:?}");
    for size in refused {
        let told = Backbone::F3net.takes(size).unwrap_err();
        let other = told.split_whitespace().filter_map(|w| w.parse::<usize>().ok()).next_back().unwrap();
        assert!(Backbone::F3net.takes(other).is_ok() && other.abs_diff(size) <= 8, "{told}");
    }
}
