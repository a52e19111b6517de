//! Every network as ONNX, through the engine.

mod support;

use std::path::Path;

use deepfake_scoring::contract::Contract;
use deepfake_scoring::model::Model as File;
use deepfake_scoring::score::Scorer;
use deepfake_scoring::session::SessionOptions;
use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::config::{self, Input, Model};
use deepfake_trainer::export::{self, TOLERANCE, Variant};
use deepfake_trainer::net::{Backbone, Mode, Net, Params, write_tensors};
use support::formula::filled;
use support::{config, write_faces};
use tch::{Device, Tensor};

/// Sides of the input: enough for five halvings.
const SIZE: usize = 64;

/// A network whose weights, norms' statistics and head are a function of their names.
fn network(backbone: Backbone, change: impl Fn(&str, Tensor) -> Tensor) -> (Net, Params) {
    network_of(&Model { backbone, ..Model::default() }, change)
}

fn network_of(model: &Model, change: impl Fn(&str, Tensor) -> Tensor) -> (Net, Params) {
    let (net, params) = Net::blank(model, &Input { size: SIZE, ..Input::default() }).unwrap();
    let mut params = params.copied(Device::Cpu, false).unwrap();
    let filled = filled(&params).into_iter().map(|(name, t)| (name.clone(), change(&name, t))).collect();
    params.assign(&filled, Path::new("formula")).unwrap();
    (net, params)
}

fn contract() -> Contract {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "");
    config.input.size = SIZE;
    export::contract(&config, None, &[])
}

#[test]
fn every_network_scores_in_the_engine_as_in_the_trainer() {
    let folder = tempfile::tempdir().unwrap();
    for backbone in Backbone::ALL {
        let (net, params) = network(backbone, |_, t| t);
        let path = folder.path().join(format!("{backbone}.onnx"));
        let parity = export::export(&net, &params, &contract(), &path).unwrap_or_else(|e| panic!("{backbone}: {e}"));
        println!("{backbone}: {parity}");
        assert!(parity.logit <= TOLERANCE && parity.map <= TOLERANCE && parity.mean <= TOLERANCE);
        assert!(path.exists());
    }
}

#[test]
fn what_scores_otherwise_in_the_engine_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    // Where a norm takes away a mean and gives it back, both millions of times what is left, one rounding of 32 bits is too much.
    let (net, params) = network(Backbone::Resnet18, |name, t| match name {
        "bn1.weight" | "bn1.running_var" => t * 0.0 + 1.0,
        "bn1.running_mean" => t * 0.0 + 3e6,
        "bn1.bias" => t * 0.0 + 3e6 / 1.00001f64.sqrt(),
        _ => t,
    });
    let error = export::export(&net, &params, &contract(), &path).unwrap_err().to_string();
    assert!(error.contains("differs from the trainer"), "{error}");
    // Numbers that are none.
    let (net, params) = network(Backbone::Resnet18, |name, t| if name == "conv1.weight" { t * f64::NAN } else { t });
    export::export(&net, &params, &contract(), &path).unwrap_err();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    // One changed kernel is enough.
    let (net, params) = network(Backbone::Resnet18, |_, t| t);
    let bytes = export::to_onnx(&net, &params, &contract()).unwrap();
    let (_, other) = network(Backbone::Resnet18, |name, t| if name == "layer4.1.conv2.weight" { t * 1.01 } else { t });
    export::parity(&net, &params, "same", &bytes).unwrap();
    let error = export::parity(&net, &other, "other", &bytes).unwrap_err().to_string();
    assert!(error.contains("other differs from the trainer"), "{error}");
}

/// A run folder that ended with these weights.
fn ended(folder: &Path, model: &Model, params: &Params) -> RunFolder {
    let run = RunFolder::new(&folder.join("run")).unwrap();
    let mut config = config(folder, "");
    config.model = model.clone();
    config.input.size = SIZE;
    config.input.grow.clear();
    std::fs::write(run.config(), serde_json::to_vec(&config).unwrap()).unwrap();
    let weights = params.iter().map(|p| (p.name.clone(), &p.tensor));
    std::fs::write(run.best(), write_tensors(weights, None).unwrap()).unwrap();
    run
}

#[test]
fn variants_say_nearly_the_same_and_their_maps_sum_to_their_logits() {
    for backbone in Backbone::ALL {
        let width = backbone.has_width().then_some(0.5);
        let model = Model { backbone, width, ..Model::default() };
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        write_faces(&folder.join("faces"), 8);
        // Logits of some 1, as trained networks have them.
        let (net, params) = network_of(&model, |_, t| t);
        let pictures = support::formula::tensor(support::formula::hashed(4 * 3 * 64 * 64, 5), &[4, 3, 64, 64]) * 4.0;
        let out = tch::no_grad(|| net.forward(&params, &pictures, Mode::Inference).unwrap()).features;
        let level = out.mean_dim(&[2i64, 3][..], false, None).square().mean(None).double_value(&[]).sqrt();
        let (net, params) =
            network_of(&model, |name, t| if name == "classifier.weight" { t / level.max(1e-6) } else { t });

        let run = ended(folder, &model, &params);
        let path = folder.join("model.onnx");
        export::export(&net, &params, &contract(), &path).unwrap();
        let wanted = config::Export {
            variants: vec![Variant::Fp16, Variant::Int8],
            calibration_faces: 8,
            max_auc_loss: 1.0,
            // Networks that were never trained say much the same of every face.
            max_mean_difference: 1e3,
        };
        let made = export::variants(&run, &path, &wanted).unwrap_or_else(|e| panic!("{backbone}: {e}"));
        for made in &made {
            println!("{backbone}: {made}");
            assert!(made.loss.map_mean < 1e-3 && made.loss.mean > 0.0);
            // The gates of squeeze and excitation, much of MobileNet, stay as they are.
            assert!((made.bytes[1] as f64) < 0.7 * made.bytes[0] as f64, "{made}");
            let scorer = Scorer::new(&File::read(&made.path).unwrap(), None, &SessionOptions::default()).unwrap();
            let said = &scorer.contract().provenance;
            assert_eq!(said["variant"], made.variant.name());
            assert_eq!(said["variant_mean_difference"], format!("{:.4}", made.loss.mean));
        }
        assert!(made[0].loss.mean < 0.02 && made[1].loss.mean < 0.25, "{made:?}");
    }
}

#[test]
fn a_variant_that_costs_too_much_is_not_written() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 8);
    let model = Model { backbone: Backbone::Resnet18, ..Model::default() };
    let (net, params) = network_of(&model, |_, t| t);
    let run = ended(folder, &model, &params);
    let path = folder.join("model.onnx");
    export::export(&net, &params, &contract(), &path).unwrap();
    for variant in [Variant::Fp16, Variant::Int8] {
        let wanted = config::Export {
            variants: vec![variant],
            calibration_faces: 2,
            max_auc_loss: 1.0,
            max_mean_difference: 0.0,
        };
        let error = export::variants(&run, &path, &wanted).unwrap_err().to_string();
        assert!(error.contains("export.max_mean_difference"), "{error}");
        assert!(!folder.join(format!("model.{variant}.onnx")).exists());
    }
    // Files of others are not what is made smaller.
    std::fs::write(&path, b"none").unwrap();
    let wanted = config::Export { variants: vec![Variant::Fp16], ..config::Export::default() };
    export::variants(&run, &path, &wanted).unwrap_err();
}
