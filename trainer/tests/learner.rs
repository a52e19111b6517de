//! Steps of training against PyTorch (`golden/learner.py`), and what skips them.

mod support;

use std::path::Path;

use deepfake_trainer::config::{Input, Method, Model, Optim, Precision};
use deepfake_trainer::learner::Learner;
use deepfake_trainer::net::{Net, Params, floats};
use deepfake_trainer::optim::{Scaler, rate};
use support::formula::{filled, hashed, tensor};
use support::{golden, numbers};
use tch::{Device, Tensor};

fn optim(method: Method) -> Optim {
    Optim {
        method,
        precision: Precision::Fp32,
        weight_decay: 0.05,
        clip: 2.0,
        label_smoothing: 0.1,
        ema: 0.9,
        ..Optim::default()
    }
}

/// A network of quarter width with the script's weights.
fn learner(optim: &Optim) -> Learner {
    let model = Model { width: Some(0.25), dropout: 0.0, ..Model::default() };
    let (net, mut params) = Net::blank(&model, &Input::default()).unwrap();
    let filled = filled(&params);
    params.assign(&filled, Path::new("formula")).unwrap();
    Learner::new(net, &params, optim, Device::Cpu, 1).unwrap()
}

fn batch() -> (Tensor, Tensor) {
    let input = tensor(hashed(8 * 3 * 64 * 64, 999).into_iter().map(|v| v * 4.0), &[8, 3, 64, 64]);
    (input, Tensor::from_slice(&[0i64, 0, 0, 0, 1, 1, 1, 1]))
}

fn values(params: &Params, name: &str) -> Vec<f32> {
    floats(&params.iter().find(|p| p.name == name).unwrap().tensor).unwrap()
}

fn all(params: &Params) -> Vec<Vec<f32>> {
    params.iter().map(|p| floats(&p.tensor).unwrap()).collect()
}

#[test]
fn every_method_steps_as_pytorchs() {
    let golden = golden("learner.json");
    let (input, labels) = batch();
    for (name, method) in [("adamw", Method::Adamw), ("adam", Method::Adam), ("sam", Method::Sam)] {
        let expected = &golden[name];
        let mut learner = learner(&optim(method));
        let steps: Vec<_> = (0..4).map(|_| learner.step(&input, &labels, 0.001).unwrap()).collect();
        for (i, step) in steps.iter().enumerate() {
            let of = |what: &str| numbers(&expected[what])[i];
            assert!((step.loss - of("losses")).abs() < 1e-3, "{name}, step {i}: loss {step:?}, {}", of("losses"));
            let norm = of("gradient_norms");
            assert!((step.norm - norm).abs() < 1e-2 * norm, "{name}, step {i}: norm {step:?}, {norm}");
        }
        let mut compared = Vec::new();
        for (key, params) in [("weights", &learner.params), ("average", &learner.average)] {
            for (tensor, theirs) in expected[key].as_object().unwrap() {
                compared.push((format!("{key} {tensor}"), values(params, tensor), numbers(theirs)));
            }
        }
        for (key, tensor) in
            [("running_mean", "features.0.1.running_mean"), ("running_var", "features.3.block.1.1.running_var")]
        {
            compared.push((key.to_owned(), values(&learner.params, tensor), numbers(&expected[key])));
        }
        for (what, ours, theirs) in compared {
            assert!(ours.len() >= theirs.len() && !theirs.is_empty());
            for (a, b) in ours.iter().zip(&theirs) {
                // A tenth of what a weight moves in a step.
                assert!((f64::from(*a) - b).abs() < 1e-4, "{name}: {what}: {a} and {b}");
            }
        }
    }
}

#[test]
fn sam_without_a_radius_is_adamw() {
    let (input, labels) = batch();
    let mut plain = learner(&optim(Method::Adamw));
    let mut sam = learner(&Optim { rho: 0.0, ..optim(Method::Sam) });
    for _ in 0..2 {
        let steps = [&mut plain, &mut sam].map(|l| l.step(&input, &labels, 0.001).unwrap());
        assert_eq!(steps[0], steps[1]);
    }
    assert_eq!(all(&plain.params), all(&sam.params));
    assert_eq!(all(&plain.average), all(&sam.average));
}

#[test]
fn a_loss_scale_changes_nothing_but_lets_overflows_be_skipped() {
    let (input, labels) = batch();
    for method in [Method::Adamw, Method::Sam] {
        let mut plain = learner(&optim(method));
        let mut scaled = learner(&optim(method));
        assert!(scaled.scaler.is_none());
        // At this scale the loss itself overflows 32-bit floats; halved a few times nothing does.
        scaled.scaler = Some(Scaler::new(2f64.powi(130)));
        let before = all(&scaled.params.copied(Device::Cpu, false).unwrap());
        let learned = |params: &Params| params.learned().map(|p| floats(&p.tensor).unwrap()).collect::<Vec<_>>();
        let initial = learned(&scaled.params);
        let mut skipped = 0;
        while scaled.step(&input, &labels, 0.001).unwrap().skipped {
            skipped += 1;
            assert_eq!(learned(&scaled.params), initial, "a skipped step changed weights");
            assert_eq!(all(&scaled.average), before, "a skipped step changed the average");
            assert!(skipped < 20);
        }
        assert!(skipped > 0);
        assert_eq!(scaled.steps, skipped + 1);
        assert_eq!(scaled.adam.updates().unwrap(), 1);
        assert_eq!(scaled.scaler.unwrap().scale(), 2f64.powi(130 - i32::try_from(skipped).unwrap()));
        // Powers of two round nothing: where no gradient is too small for the division, the step is the same.
        plain.step(&input, &labels, 0.001).unwrap();
        for (a, b) in learned(&plain.params).iter().flatten().zip(learned(&scaled.params).iter().flatten()) {
            assert!((a - b).abs() <= 1e-6, "{method:?}: {a} and {b}");
        }
    }
}

#[test]
fn class_weights_weigh_the_loss() {
    let (input, _) = batch();
    let labels = Tensor::from_slice(&[0i64, 0, 0, 0, 0, 0, 1, 1]);
    let loss = |weights: Option<(f64, f64)>| {
        let mut learner = learner(&Optim { label_smoothing: 0.0, ..optim(Method::Adamw) });
        if let Some((real, fake)) = weights {
            learner.weigh(real, fake).unwrap();
        }
        learner.step(&input, &labels, 0.001).unwrap().loss
    };
    let (plain, real, fake) = (loss(None), loss(Some((1.0, 0.0))), loss(Some((0.0, 1.0))));
    assert!((plain - (0.75 * real + 0.25 * fake)).abs() < 1e-5, "{plain} of {real} and {fake}");
    // Weights against the numbers: both classes count alike.
    let even = loss(Some((8.0 / 12.0, 8.0 / 4.0)));
    assert!((even - (real + fake) / 2.0).abs() < 1e-5, "{even} of {real} and {fake}");
}

#[test]
fn a_loss_that_is_no_number_is_told() {
    let (input, labels) = batch();
    let mut learner = learner(&optim(Method::Adamw));
    let error = learner.step(&(input * f64::NAN), &labels, 0.001).unwrap_err().to_string();
    assert!(error.contains("the loss is NaN") && error.contains("optim.learning_rate"), "{error}");
}

#[test]
fn the_rate_rises_then_falls_as_half_a_cosine() {
    let optim = Optim { epochs: 10, warmup_epochs: 2.0, learning_rate: 1.0, final_rate: 0.1, ..Optim::default() };
    let at = |step| rate(&optim, step, 10);
    assert!((at(0) - 0.05).abs() < 1e-12 && (at(19) - 1.0).abs() < 1e-12);
    assert!((at(59) - 0.55).abs() < 1e-12, "half way down: {}", at(59));
    assert!((at(99) - 0.1).abs() < 1e-12 && (at(500) - 0.1).abs() < 1e-12);
}
