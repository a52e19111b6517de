//! The command that does all of it, on generated faces.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use deepfake_scoring::model::Model;
use deepfake_scoring::score::Scorer;
use deepfake_scoring::session::SessionOptions;
use support::{text, write_faces};

fn run(folder: &Path) -> String {
    let arguments = ["run", "--config", "all.toml", "--work", "work"];
    // As a person starts it: by its path, with nothing said of where the libraries are.
    let mut command = Command::new(env!("CARGO_BIN_EXE_deepfake-trainer"));
    for variable in ["ORT_DYLIB_PATH", "LIBTORCH", "LD_LIBRARY_PATH"] {
        command.env_remove(variable);
    }
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    let told = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{told}");
    told
}

fn up_to_date(told: &str) -> Vec<&str> {
    const STEPS: [&str; 7] = ["zoo", "localize", "train", "calibrate", "export", "evaluate", "report"];
    STEPS.into_iter().filter(|step| told.contains(&format!("{step}: up to date"))).collect()
}

#[test]
fn one_command_goes_from_faces_to_a_regularized_model_with_report_and_card() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 24);
    write_faces(&folder.join("held-out"), 8);
    let all = text(
        "optim.epochs = 4
        regularize.kind = \"primary_regions\"
        zoo.members = [
            { backbone = \"mobilenet_v3_small\", width = 0.25 },
            { backbone = \"resnet18\", width = 0.25, size = 48, epochs = 2 },
        ]
        export.variants = [\"fp16\", \"int8\"]
        export.max_auc_loss = 1
        export.max_mean_difference = 10
        evaluate.bootstrap = 100
        evaluate.sets = [{ name = \"held-out\", folders = [\"held-out\"] }]
        provenance.licence = \"none: these faces are drawn\"",
    );
    std::fs::write(folder.join("all.toml"), &all).unwrap();

    assert!(up_to_date(&run(folder)).is_empty());
    let work = folder.join("work");
    for made in ["zoo/mobilenet_v3_small/best.safetensors", "zoo/resnet18/best.safetensors", "train/evaluation.json"] {
        assert!(work.join(made).exists(), "{made}");
    }
    let sheets = std::fs::read_dir(work.join("maps")).unwrap();
    assert!(sheets.flatten().any(|f| f.path().extension().is_some_and(|e| e == "png")), "no contact sheet");
    for file in ["model.onnx", "model.fp16.onnx", "model.int8.onnx"] {
        let scorer = Scorer::new(&Model::read(&work.join(file)).unwrap(), None, &SessionOptions::default());
        assert_eq!(scorer.unwrap().contract().input.width, Some(48), "{file}");
    }
    let report = std::fs::read_to_string(work.join("report.html")).unwrap();
    assert!(report.contains("held-out") && report.contains("data:image/png;base64,"));
    assert!(std::fs::read_to_string(work.join("card.md")).unwrap().contains("primary"));

    // Nothing has changed: nothing is done.
    let written = |name: &str| -> SystemTime { std::fs::metadata(work.join(name)).unwrap().modified().unwrap() };
    let before = written("model.onnx");
    let told = run(folder);
    assert_eq!(up_to_date(&told), ["zoo", "localize", "train", "calibrate", "export", "evaluate", "report"], "{told}");
    assert_eq!(written("model.onnx"), before);

    // Another wish for the thresholds reaches what follows from it, and no more.
    std::fs::write(folder.join("all.toml"), format!("{all}\ncalibrate.misses = 0.2")).unwrap();
    let told = run(folder);
    assert_eq!(up_to_date(&told), ["zoo", "localize", "train"], "{told}");

    // So do other faces.
    std::fs::copy(folder.join("held-out/real/s001_real.png"), folder.join("faces/real/s003_real.png")).unwrap();
    let told = run(folder);
    assert!(up_to_date(&told).is_empty() && work.join("old/train-1/train/best.safetensors").exists(), "{told}");
}
