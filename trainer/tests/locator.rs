//! The making of face locators: what cells are asked for, what is exported, and the whole command on the project's own sample.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::{Point, Rect};
use deepfake_scoring::locate::{LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::session::SessionOptions;
use deepfake_trainer::locator::scene::Target;
use deepfake_trainer::locator::target::cells;
use deepfake_trainer::net::locator::{BOX, CHANNELS, FIT, LocatorNet, SCORE, STRIDES};
use deepfake_trainer::{export, seeded};
use proptest::prelude::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target(centre: Point, w: f32, h: f32) -> Target {
    Target { bbox: Rect::around(centre, w, h), landmarks: Some([centre; 5]), wanted: true }
}

/// Corner of each cell and its stride, in the order of the network's output.
fn corners(size: usize) -> Vec<(f32, f32, f32)> {
    let of = |stride: usize| {
        let side = size / stride;
        (0..side * side).map(move |c| ((c % side * stride) as f32, (c / side * stride) as f32, stride as f32))
    };
    STRIDES.into_iter().flat_map(of).collect()
}

proptest! {
    /// However small or large a face, and wherever it is, some cell speaks of it, and each that does lies near its centre.
    #[test]
    fn every_face_has_cells_near_its_centre(
        x in 1.0f32..319.0, y in 1.0f32..319.0, side in 5.0f32..300.0, aspect in 0.7f32..1.4,
    ) {
        let face = target(Point { x, y }, side * aspect.sqrt(), side / aspect.sqrt());
        let cells = cells(&[face], 320);
        let mut found = 0;
        for (at, (cx, cy, stride)) in corners(320).into_iter().enumerate() {
            prop_assert_eq!(cells.counts[at], 1.0);
            if cells.face[at] == 1.0 {
                found += 1;
                prop_assert!((cx - x).abs() <= 1.2 * stride && (cy - y).abs() <= 1.2 * stride);
                let c = face.bbox.center();
                prop_assert_eq!(&cells.boxes[at * 4..][..4], &[c.x, c.y, face.bbox.w, face.bbox.h]);
            }
        }
        // At the right and lower edge the nearest corner may lie outside of the picture.
        prop_assert!(found > 0 || x > 304.0 || y > 304.0);
    }
}

#[test]
fn the_smaller_of_two_faces_is_asked_for_and_nothing_is_learned_of_unsure_ones() {
    let large = target(Point { x: 100.0, y: 100.0 }, 90.0, 90.0);
    let small = target(Point { x: 104.0, y: 100.0 }, 40.0, 40.0);
    let both = cells(&[small, large], 320);
    assert_eq!(both, cells(&[large, small], 320));
    // All that speak of the small one alone do so of both.
    let alone = cells(&[small], 320);
    for at in (0..alone.face.len()).filter(|&at| alone.face[at] == 1.0) {
        assert_eq!(both.boxes[at * 4..][..4], alone.boxes[at * 4..][..4]);
    }
    assert!(both.face.iter().sum::<f32>() > alone.face.iter().sum::<f32>());

    let unsure = Target { wanted: false, ..target(Point { x: 100.0, y: 100.0 }, 64.0, 64.0) };
    let none = cells(&[unsure], 320);
    assert!(none.face.iter().all(|f| *f == 0.0));
    for (at, (x, y, _)) in corners(320).into_iter().enumerate() {
        let inside = (x - 100.0).abs() <= 32.0 && (y - 100.0).abs() <= 32.0;
        assert_eq!(none.counts[at] == 0.0, inside, "({x}, {y})");
    }
}

#[test]
fn an_exported_locator_says_what_the_trainer_says_and_the_engine_knows_it() {
    let folder = tempfile::tempdir().unwrap();
    let (net, params) = LocatorNet::new(Some(&mut seeded::generator(3, "weights", &[]))).unwrap();
    assert!(params.count() <= 150_000, "{}", params.count());
    let path = folder.path().join("locator.onnx");
    let worst = export::export_locator(&net, &params, BTreeMap::new(), &path).unwrap();
    assert!(worst <= 1e-4, "{worst}");
    let options = LocateOptions { confidence: 0.0, ..LocateOptions::default() };
    let mut locator = Locator::new(&Model::read(&path).unwrap(), &SessionOptions::default(), options).unwrap();
    assert_eq!((locator.name(), locator.kind()), ("locator", "yunet"));
    let mut faces = Vec::new();
    for (width, height) in [(333, 250), (64, 48)] {
        let data = vec![90u8; width * height * 3];
        locator.locate(&FrameView::rgb(width, height, &data).unwrap(), &mut faces).unwrap();
        assert!(!faces.is_empty() && faces.iter().all(|f| f.landmarks.is_some()));
    }
}

/// A detector that sees faces of 64 pixels everywhere, whatever it is shown.
fn write_teacher(path: &Path) {
    let (net, params) = LocatorNet::new(None).unwrap();
    for param in params.iter().filter(|p| p.name.ends_with("bias") && p.name.starts_with("out.")) {
        let sure = if param.name == "out.2.bias" { 4.0 } else { -10.0 };
        let mut values = [0.0f32; CHANNELS];
        values[SCORE] = sure;
        values[FIT] = sure;
        values[BOX.start + 2..BOX.end].fill(2f32.ln());
        tch::no_grad(|| param.tensor.shallow_clone().copy_(&tch::Tensor::from_slice(&values)));
    }
    export::export_locator(&net, &params, BTreeMap::new(), path).unwrap();
}

fn command(folder: &Path, more: &[&str]) -> (bool, String) {
    let arguments = ["locator", "--config", "locator.toml", "--work", "work"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_deepfake-trainer"));
    let output = command.args(arguments).args(more).current_dir(folder).output().unwrap();
    (output.status.success(), [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat())
}

#[test]
fn the_command_labels_trains_goes_on_exports_and_measures() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let sample = root().join("pipelines/sample/collins.mp4").canonicalize().unwrap();
    std::fs::create_dir(folder.join("videos")).unwrap();
    std::fs::copy(&sample, folder.join("videos/a.mp4")).unwrap();
    std::fs::copy(&sample, folder.join("videos/held.mp4")).unwrap();
    write_teacher(&folder.join("teacher.onnx"));
    let config = "name = \"tiny\"
        data = { teacher = \"teacher.onnx\", videos = [\"videos\"], held_out = [\"held\"], frames_per_video = 6 }
        scene = { size = 96, composed = 0, face = [8, 90] }
        optim = { steps = 6, warmup = 2, batch = 2 }
        measure = { frames_per_video = 4, scenes = 4 }";
    std::fs::write(folder.join("locator.toml"), config).unwrap();
    std::fs::write(folder.join("card.md"), "# Card\n<!-- measured -->\nold\n<!-- end of measured -->\nrest\n").unwrap();

    let (ok, told) = command(folder, &["--stop-after", "3"]);
    assert!(ok && told.contains("goes on"), "{told}");
    assert!(!folder.join("work/locator.onnx").exists());
    let (ok, told) = command(folder, &["--card", "card.md"]);
    assert!(ok && told.contains("goes on after step 3"), "{told}");
    let card = std::fs::read_to_string(folder.join("card.md")).unwrap();
    assert!(
        card.contains("| teacher |") && card.contains("| bundled |") && card.contains("held, from 40 px"),
        "{card}"
    );
    assert!(card.ends_with("<!-- end of measured -->\nrest\n") && !card.contains("old"), "{card}");
    // The teacher finds what it says itself.
    let measured: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("work/measured.json")).unwrap()).unwrap();
    assert!(measured["locators"][1]["videos"]["all"][1].as_u64().unwrap() > 0, "{measured}");
    assert_eq!(measured["locators"][1]["videos"]["all"][0], measured["locators"][1]["videos"]["all"][1], "{measured}");

    // Stopped or not, the weights are the same.
    let stopped = std::fs::read(folder.join("work/train/best.safetensors")).unwrap();
    std::fs::remove_dir_all(folder.join("work/train")).unwrap();
    assert!(command(folder, &["--no-measure"]).0);
    assert_eq!(std::fs::read(folder.join("work/train/best.safetensors")).unwrap(), stopped);

    std::fs::write(folder.join("locator.toml"), format!("seed = 2\n{config}")).unwrap();
    let (ok, told) = command(folder, &["--no-measure"]);
    assert!(!ok && told.contains("another configuration"), "{told}");
    // What was learned from some pictures is not taken for what others teach.
    let others = config.replace("frames_per_video = 6", "frames_per_video = 5");
    std::fs::write(folder.join("locator.toml"), others).unwrap();
    let (ok, told) = command(folder, &["--no-measure"]);
    assert!(!ok && told.contains("other pictures"), "{told}");
    std::fs::write(folder.join("locator.toml"), format!("{config}\nevaluate = 1")).unwrap();
    assert!(!command(folder, &[]).0);
}
