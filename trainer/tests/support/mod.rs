//! Faces that nobody has: coloured discs with eyes and a mouth. Fakes are redder, so that little training tells them apart.

#![allow(dead_code, missing_docs, clippy::unwrap_used)] // each test file uses a part

pub(crate) mod formula;
pub(crate) mod video;

use std::path::{Path, PathBuf};

use deepfake_trainer::Config;
use deepfake_trainer::config::Augment;
use image::{Rgb, RgbImage};
use rand::RngExt;

/// Writes a real and a fake picture for each of `sources` under `folder`.
pub(crate) fn write_faces(folder: &Path, sources: usize) {
    for (class, shift) in [("real", 0), ("fake", 60)] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for source in 0..sources {
            face(source as u64, shift).save(folder.join(class).join(format!("s{source:03}_{class}.png"))).unwrap();
        }
    }
}

fn face(seed: u64, shift: u8) -> RgbImage {
    let mut rng = deepfake_trainer::seeded::generator(seed, "face", &[]);
    let background: [u8; 3] = [rng.random_range(0..120), rng.random_range(0..200), rng.random_range(0..200)];
    let skin: [u8; 3] = [rng.random_range(80..190), rng.random_range(60..160), rng.random_range(60..160)];
    let (cx, cy, r) = (rng.random_range(28.0..36.0), rng.random_range(28.0..36.0), rng.random_range(20.0..28.0));
    RgbImage::from_fn(64, 64, |x, y| {
        let (dx, dy) = (f64::from(x) - cx, f64::from(y) - cy);
        let disc = |ox: f64, oy: f64, size: f64| (dx - ox).hypot(dy - oy) < size;
        let mut p = if disc(0.0, 0.0, r) { skin } else { background };
        if disc(-8.0, -5.0, 3.0) || disc(8.0, -5.0, 3.0) || disc(0.0, 10.0, 4.0) {
            p = [20, 20, 20];
        }
        p[0] = p[0].saturating_add(shift);
        Rgb(p.map(|v| v.saturating_add(rng.random_range(0..8))))
    })
}

/// Nothing but geometry.
pub(crate) fn geometry_only() -> Augment {
    Augment {
        flip: 0.0,
        scale: [1.0, 1.0],
        shift: 0.0,
        aspect: 1.0,
        rescale: 0.0,
        blur: 0.0,
        jpeg: 0.0,
        colour: 0.0,
        gray: 0.0,
        noise: 0.0,
        ..Augment::default()
    }
}

/// A configuration that trains in seconds.
pub(crate) fn config(folder: &Path, more: &str) -> Config {
    let path = folder.join("config.toml");
    std::fs::write(&path, text(more)).unwrap();
    Config::read(&path).unwrap()
}

/// As [`config`], as the text of a file beside the folder `faces`.
pub(crate) fn text(more: &str) -> String {
    format!(
        "name = \"tiny\"
        data.folders = [\"faces\"]
        data.validation_share = 0.25
        model.width = 0.25
        model.norm_momentum = 0.3
        input.size = 48
        input.grow = [{{ until = 0.3, size = 32 }}]
        augment.blur = 0.3
        optim.batch = 8
        optim.learning_rate = 0.005
        optim.ema = 0.8
        run.threads = 1
        {more}"
    )
}

/// The tests' golden values of that name.
pub(crate) fn golden(name: &str) -> serde_json::Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A list of numbers.
pub(crate) fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}
