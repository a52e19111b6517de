//! What the trainer says of a picture is what the plugin says of it.

use std::path::{Path, PathBuf};

use deepfake_tests::{root, scores_of, shared};
use deepfake_trainer::config::{Contender, Evaluate, TestSet};
use deepfake_trainer::evaluate::evaluate;
use image::RgbImage;

fn write(path: &Path, picture: &RgbImage) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

/// Pictures of several sizes: gradients with noise, larger and smaller than the model's input, not square.
fn pictures(folder: &Path) {
    for (n, (width, height)) in
        [(192, 192), (224, 224), (97, 131), (640, 480), (333, 500), (64, 64)].into_iter().enumerate()
    {
        let mut state = n as u32 + 1;
        let picture = RgbImage::from_fn(width, height, |x, y| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 27) as u8;
            image::Rgb([(x * 255 / width) as u8 / 2 + noise, (y * 255 / height) as u8 / 2 + noise, 90 + noise])
        });
        let label = if n % 2 == 0 { "real" } else { "fake" };
        write(&folder.join(label).join(format!("{n}_a.png")), &picture);
    }
}

/// Real faces, where there are any, as PNG: two decoders of JPEG do not give the same pixels.
fn real_faces(folder: &Path) {
    let Some(shared) = shared("faces/dfdc/eval") else { return };
    for label in ["real", "fake"] {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(shared.join(label)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files.iter().take(8) {
            let name = file.with_extension("png").file_name().unwrap().to_owned();
            write(&folder.join(label).join(name), &image::open(file).unwrap().into_rgb8());
        }
    }
}

#[test]
fn scores_of_stills_equal_those_of_the_trainers_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
    real_faces(folder.path());
    let faces = folder.path().to_owned();
    let set = TestSet { name: "stills".to_owned(), folders: vec![faces], frames: 1, ..TestSet::default() };
    let table = Evaluate { sets: vec![set], max_failed: 0.0, bootstrap: 100, ..Evaluate::default() };
    let file = root().join("plugin/models/scorer.onnx");
    let scorer = Contender { name: "scorer".to_owned(), file, contract: None };
    let evaluated = evaluate(&table, &scorer, None).unwrap().scores;
    assert!(evaluated.len() >= 6, "{}", evaluated.len());
    for evaluated in &evaluated {
        let scores = scores_of(&format!(
            "filesrc location={} ! pngdec ! deepfakescore face-source=frame ! fakesink name=out",
            evaluated.path
        ));
        let scores = scores.unwrap();
        let plugin = scores[0].faces[0].outcome.as_ref().unwrap();
        let name = &evaluated.path;
        assert!((plugin.logit - evaluated.logit).abs() < 1e-3, "{name}: {} {}", plugin.logit, evaluated.logit);
        assert!((plugin.frame_score - evaluated.score).abs() < 1e-3, "{name}");
    }
}
