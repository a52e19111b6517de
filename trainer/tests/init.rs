//! Going on from earlier weights: those of a run, and those of an exported file, whose norms are folded.

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use deepfake_scoring::model::Model as OnnxModel;
use deepfake_scoring::onnx::ModelProto;
use deepfake_scoring::session::{Session, SessionOptions};
use deepfake_trainer::checkpoint::{RunFolder, open_best};
use deepfake_trainer::config::{Input, Model};
use deepfake_trainer::data::{self, Pictures};
use deepfake_trainer::export;
use deepfake_trainer::init;
use deepfake_trainer::loader::{Loader, Showing};
use deepfake_trainer::net::{Backbone, FAKE, Mode, Net, Params, REAL, floats, read_tensors};
use deepfake_trainer::train::{Limits, train};
use deepfake_trainer::{Config, Error};
use indicatif::ProgressBar;
use prost::Message;
use support::formula::{filled, hashed, tensor};
use support::{config, write_faces};
use tch::{Device, Reduction, Tensor, no_grad};

fn logits(net: &Net, params: &Params, input: &Tensor) -> Vec<f32> {
    let logits = no_grad(|| net.forward(params, input, Mode::Inference).unwrap().logits);
    floats(&(logits.select(1, FAKE) - logits.select(1, REAL))).unwrap()
}

/// Cross entropy with the statistics of the batch; leaves `params` as they are.
fn training_loss(net: &Net, params: &Params, input: &Tensor, labels: &Tensor) -> f64 {
    let params = params.copied(Device::Cpu, false).unwrap();
    let logits = no_grad(|| net.forward(&params, input, Mode::Training { seed: 1 }).unwrap().logits);
    logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0).double_value(&[])
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A trained run, its exported file, and its training faces.
struct Trained {
    config: Config,
    run: RunFolder,
    onnx: PathBuf,
}

fn trained(folder: &Path) -> Trained {
    write_faces(&folder.join("faces"), 32);
    let config = config(folder, "optim.epochs = 6\nmodel.dropout = 0.0");
    train(&config, &folder.join("run"), Limits::default()).unwrap();
    let run = RunFolder::open(&folder.join("run")).unwrap();
    let onnx = folder.join("tiny.onnx");
    let (_, net, params) = open_best(&run).unwrap();
    std::fs::write(&onnx, export::to_onnx(&net, &params, &export::contract(&config, None, &[])).unwrap()).unwrap();
    Trained { config, run, onnx }
}

#[test]
fn an_exported_model_goes_on_as_the_one_before_folding() {
    let temporary = tempfile::tempdir().unwrap();
    let Trained { config, run, .. } = trained(temporary.path());
    let (_, net, original) = open_best(&run).unwrap();

    let faces = data::split(data::scan(&config.data.folders).unwrap(), 0.25, config.seed, 0).unwrap().train;
    let (faces, pictures) = Pictures::load(faces, &AtomicUsize::new(1 << 30), 0.0, &ProgressBar::hidden()).unwrap();
    let loader = Loader::new(&config, &faces, &pictures).unwrap();
    let batch = |indices: &[usize]| {
        let batch = loader.batch(indices, config.input.size, Showing::Plain).unwrap();
        batch.tensors(Device::Cpu).unwrap()
    };
    let (input, labels) = batch(&(0..faces.len()).collect::<Vec<_>>());
    let (some, their_labels) = batch(&(0..faces.len()).step_by(2).collect::<Vec<_>>());
    // So short a training has not settled its running statistics: those of these faces are what it has in the end.
    for _ in 0..60 {
        let _ = no_grad(|| net.forward(&original, &input, Mode::Training { seed: 1 }).unwrap());
    }
    let onnx = temporary.path().join("settled.onnx");
    std::fs::write(&onnx, export::to_onnx(&net, &original, &export::contract(&config, None, &[])).unwrap()).unwrap();
    let before = logits(&net, &original, &input);
    let spread = before.iter().fold(f32::MIN, |m, v| m.max(*v)) - before.iter().fold(f32::MAX, |m, v| m.min(*v));
    assert!(spread > 0.5, "logits that hardly differ prove nothing: {spread}");

    let (_, mut params) = Net::blank(&config.model, &config.input).unwrap();
    assert!(matches!(init::read(&net, &mut params, &onnx), Ok(init::Origin::Folded)));
    assert!(farthest(&before, &logits(&net, &params, &input)) < 1e-4);
    let of = |params: &Params| {
        [training_loss(&net, params, &input, &labels), training_loss(&net, params, &some, &their_labels)]
    };
    let (was, folded) = (of(&original), of(&params));

    init::restore(&net, &params, [Ok(input.shallow_clone())]).unwrap();
    assert!(farthest(&before, &logits(&net, &params, &input)) < 1e-4);
    let restored = of(&params);
    // A running variance is divided by one less than a batch's own; with other faces the share of eps comes to it.
    assert!((restored[0] - was[0]).abs() < 0.02 * was[0], "{was:?} before folding, {restored:?} after");
    assert!((restored[1] - was[1]).abs() < 0.05 * was[1], "{was:?} before folding, {restored:?} after");
    assert!(
        (folded[0] - was[0]).abs() > 5.0 * (restored[0] - was[0]).abs(),
        "{was:?} before folding, {folded:?} without statistics"
    );
    // Every convolution that had a norm now yields numbers of variance 1.
    for param in params.iter().filter(|p| p.name.ends_with("running_var")) {
        for v in floats(&param.tensor).unwrap() {
            assert!((v - 1.0).abs() < 1e-3 || v < 1e-10, "{}: {v}", param.name);
        }
    }
}

#[test]
fn training_starts_from_a_run_and_from_an_exported_file() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let Trained { config, run, onnx } = trained(folder);
    let auc = |init: &Path, name: &str| {
        let mut tuned = config.clone();
        tuned.model.init = Some(init.to_owned());
        // So small a rate leaves the weights where they were.
        tuned.optim.learning_rate = 1e-9;
        tuned.optim.epochs = 1;
        tuned.input.grow.clear();
        train(&tuned, &folder.join(name), Limits::default()).unwrap().best.auc
    };
    let before = deepfake_trainer::checkpoint::progress(&run).unwrap().unwrap().best.unwrap().auc;
    // The statistics of a few steps blur what the best epoch's were.
    for (init, name) in [(run.best(), "from_run"), (onnx.clone(), "from_onnx")] {
        let after = auc(&init, name);
        assert!(after > before - 0.15, "{name}: AUC {before} before, {after} after");
        let log = std::fs::read_to_string(folder.join(name).join("log.jsonl")).unwrap();
        assert_eq!(log.contains("\"naming\":\"exported\""), name == "from_onnx", "{log}");
    }
    // A run belongs to the weights that it started from.
    let mut other = config.clone();
    other.model.init = Some(folder.join("other").join("tiny.onnx"));
    other.optim.epochs = 1;
    other.optim.learning_rate = 1e-9;
    other.input.grow.clear();
    std::fs::create_dir(folder.join("other")).unwrap();
    std::fs::copy(run.best(), folder.join("other/tiny.onnx")).unwrap();
    let error = train(&other, &folder.join("from_onnx"), Limits::default()).unwrap_err().to_string();
    assert!(error.contains("other weights"), "{error}");

    // The command takes the file of an argument instead of the configuration's.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_deepfake-trainer"))
        .args(["train", "--config", "config.toml", "--run", "by_command", "--init", "nowhere.onnx"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.onnx"));
}

#[test]
fn every_convolutional_network_comes_back_from_its_exported_file() {
    let temporary = tempfile::tempdir().unwrap();
    let config = config(temporary.path(), "");
    let computed = |b: &Backbone| matches!(b, Backbone::F3net | Backbone::VitSmall | Backbone::VitBase);
    for backbone in Backbone::ALL.into_iter().filter(|b| !computed(b)) {
        let model = Model { backbone, ..Model::default() };
        let (net, mut original) = Net::blank(&model, &Input::default()).unwrap();
        let values = filled(&original);
        original.assign(&values, Path::new("formula")).unwrap();
        let mut contract = export::contract(&config, None, &[]);
        (contract.input.width, contract.input.height) = (Some(64), Some(64));
        let path = temporary.path().join(format!("{backbone}.onnx"));
        std::fs::write(&path, export::to_onnx(&net, &original, &contract).unwrap()).unwrap();

        let (net, mut params) = Net::blank(&model, &Input::default()).unwrap();
        init::read(&net, &mut params, &path).unwrap_or_else(|e| panic!("{backbone}: {e}"));
        let input = tensor(hashed(2 * 3 * 64 * 64, 7).into_iter().map(|v| v * 4.0), &[2, 3, 64, 64]);
        let (a, b) = (logits(&net, &original, &input), logits(&net, &params, &input));
        let size = a.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        assert!(farthest(&a, &b) < 1e-4 * size, "{backbone}: {a:?} and {b:?}");
        init::restore(&net, &params, [Ok(input.shallow_clone())]).unwrap();
        let c = logits(&net, &params, &input);
        assert!(farthest(&a, &c) < 1e-3 * size, "{backbone}, restored: {a:?} and {c:?}");
    }
}

#[test]
fn what_is_not_an_export_of_this_network_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let exported = folder.join("exported.onnx");
    let (net, mut params) = Net::blank(&Model::default(), &Input::default()).unwrap();
    params.assign(&filled(&params), Path::new("formula")).unwrap();
    let contract = export::contract(&config(folder, ""), None, &[]);
    std::fs::write(&exported, export::to_onnx(&net, &params, &contract).unwrap()).unwrap();
    let refused = |model: &Model, path: &Path| -> String {
        let (net, mut params) = Net::blank(model, &Input::default()).unwrap();
        match init::read(&net, &mut params, path) {
            Err(error @ Error::Checkpoint { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let error = refused(&Model { stem_stride: Some(1), ..Model::default() }, &exported);
    assert!(error.contains("model.stem_stride"), "{error}");
    let error = refused(&Model { backbone: Backbone::Resnet18, ..Model::default() }, &exported);
    assert!(error.contains("is missing") && error.contains("model.backbone"), "{error}");
    let error = refused(&Model { width: Some(0.5), ..Model::default() }, &exported);
    assert!(error.contains("shape"), "{error}");
    let error = refused(&Model { backbone: Backbone::VitSmall, ..Model::default() }, &exported);
    assert!(error.contains("best.safetensors"), "{error}");
    let quantized = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin/models/scorer.onnx");
    let error = refused(&Model { backbone: Backbone::EfficientnetLite0, ..Model::default() }, &quantized);
    assert!(error.contains("without quantization"), "{error}");
    let text = folder.join("text.onnx");
    std::fs::write(&text, "no model").unwrap();
    let error = refused(&Model::default(), &text);
    assert!(error.contains("ONNX"), "{error}");
}

#[test]
fn the_bundled_weights_are_the_bundled_models() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let models = here.join("../plugin/models");
    let config = Config::read(&here.join("configs/scorer.toml")).unwrap();
    let (net, mut params) = Net::blank(&config.model, &config.input).unwrap();
    let weights = models.join("scorer.safetensors");
    params.assign(&read_tensors(&weights).unwrap(), &weights).unwrap();
    // The bundled file is in 8 bits, but for its head, which no two networks have in common.
    let bundled = std::fs::read(models.join("scorer.onnx")).unwrap();
    let graph = ModelProto::decode(bundled.as_slice()).unwrap().graph.unwrap();
    let stored = graph.initializer.iter().find(|t| t.name.as_deref() == Some("map.weight")).unwrap();
    let stored: Vec<f32> = match &stored.raw_data {
        Some(raw) => raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        None => stored.float_data.clone(),
    };
    let head = params.get(net.head().0);
    let difference = floats(&(head.select(0, FAKE) - head.select(0, REAL))).unwrap();
    assert!(farthest(&stored, &difference) < 1e-6);
    // And its bodies see the same, as far as 8 bits let them.
    let size = config.input.size;
    let mut session =
        Session::new(&OnnxModel::from_bytes("scorer", bundled).unwrap(), &SessionOptions::default()).unwrap();
    let side = size as i64;
    let picture = |k: i64| {
        let ramp = Tensor::arange(side, (tch::Kind::Float, Device::Cpu)) / side as f64 * 3.0 - 1.5;
        let (x, y) = (ramp.view([1, 1, 1, side]), ramp.view([1, 1, side, 1]));
        ((x * (k + 1) as f64).sin() + (y * (2 * k + 1) as f64).cos()).expand([1, 3, side, side], false).contiguous()
    };
    for k in 0..4 {
        let input = picture(k);
        let theirs = logits(&net, &params, &input)[0];
        let outputs = session.run(&[1, 3, size, size], &floats(&input).unwrap()).unwrap();
        let ours = outputs.get(0).unwrap().1[0];
        assert!((ours - theirs).abs() < 0.5 * (1.0 + theirs.abs()), "picture {k}: {ours} and {theirs}");
    }
    // Norms that training can go on with: no longer the identity of a folded file.
    for param in params.iter().filter(|p| p.name.ends_with("running_mean")) {
        assert!(floats(&param.tensor).unwrap().iter().any(|v| v.abs() > 1e-3), "{}", param.name);
    }
}
