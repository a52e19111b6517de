//! Stage 1: where detectors look, and what becomes of it.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::SystemTime;

use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::config::{
    Augment, Cam, Fill, Fusion, Input, Localize, Model, PairMap, Regularization, Regularize,
};
use deepfake_trainer::data::{Label, Pictures, scan};
use deepfake_trainer::loader::{Loader, Showing};
use deepfake_trainer::localize::{SHEETS, localize};
use deepfake_trainer::maps::{FaceMap, Index, RegionMaps, Shard, keys};
use deepfake_trainer::net::{Backbone, Net, floats};
use deepfake_trainer::seeded::generator;
use deepfake_trainer::train::{Limits, split, train, validation_of};
use deepfake_trainer::{Config, cam, fusion, zoo};
use indicatif::ProgressBar;
use proptest::prelude::*;
use rand::RngExt;
use support::{config, geometry_only, golden, numbers, write_faces};
use tch::{Device, Tensor};

fn random(shape: &[i64], seed: u64) -> Tensor {
    let mut rng = generator(seed, "test", &[]);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_: i64| rng.random::<f32>() * 2.0 - 1.0).collect();
    Tensor::from_slice(&values).view(shape)
}

#[test]
fn exact_maps_are_grad_cams_but_for_the_number_of_positions() {
    for backbone in Backbone::ALL {
        let width = backbone.has_width().then_some(0.25);
        let model = Model { backbone, width, ..Model::default() };
        let size = Input { size: 64, ..Input::default() };
        let (net, initial) = Net::new(&model, &size, &mut generator(1, "weights", &[])).unwrap();
        let params = initial.copied(Device::Cpu, false).unwrap();
        let wide = if backbone.has_one_size() { 64 } else { 96 };
        let (input, classes) = (random(&[4, 3, 64, wide], 2), Tensor::from_slice(&[0i64, 1, 1, 0]));
        let of = |cam| cam::activation(cam, &net, &params, &input, &classes).unwrap();
        let (exact, gradient) = (of(Cam::Exact), of(Cam::Gradient));
        let (_, h, w) = exact.size3().unwrap();
        assert!(h >= 2 && (w > h) == (wide > 64), "{backbone}: a wide picture has a wide map");
        let (largest, worst) = (exact.max().double_value(&[]), (&exact - gradient * (h * w) as f64).abs().max());
        assert!(largest > 0.0 && worst.double_value(&[]) <= 1e-4 * largest, "{backbone}: {worst} of {largest}");
        let scaled = |cam| floats(&cam::scaled(&of(cam)).unwrap()).unwrap();
        for (a, b) in scaled(Cam::Exact).iter().zip(scaled(Cam::Gradient)) {
            assert!((a - b).abs() < 1e-3 && (0.0..=1.0).contains(a), "{backbone}: {a} and {b}");
        }
        // Each face is asked for its own class.
        let other = cam::activation(Cam::Exact, &net, &params, &input, &(1 - &classes)).unwrap();
        assert_ne!(floats(&other).unwrap(), floats(&exact).unwrap());
    }
}

#[test]
fn a_map_of_one_position_is_refused() {
    let (net, initial) = Net::new(&Model::default(), &Input::default(), &mut generator(1, "weights", &[])).unwrap();
    let params = initial.copied(Device::Cpu, false).unwrap();
    let classes = Tensor::from_slice(&[1i64]);
    let error = cam::activation(Cam::Exact, &net, &params, &random(&[1, 3, 32, 32], 2), &classes).unwrap_err();
    assert!(error.to_string().contains("larger input size"), "{error}");
}

#[test]
fn maps_are_scaled_one_by_one() {
    let maps = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 5.0, 7.0, 7.0, 7.0, 7.0, 0.0, 0.0, 0.0, 1e-20]).view([3, 2, 2]);
    let scaled = floats(&cam::scaled(&maps).unwrap()).unwrap();
    assert_eq!(scaled, [0.0, 0.5, 0.25, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
}

/// Numbers in [0, 1): the same function of the index as in the script.
fn hashed(count: usize, salt: u64) -> Vec<f32> {
    let one = |index: u64| {
        let mut v = (index * 2_654_435_761 + salt * 40_503 + 12_345) % (1 << 32);
        v = (v ^ (v >> 15)) * 2_246_822_519 % (1 << 32);
        v ^= v >> 13;
        (v as f64 / 2f64.powi(32)) as f32
    };
    (0..count as u64).map(one).collect()
}

#[test]
fn maps_are_resized_as_opencv_does() {
    let map = Tensor::from_slice(&hashed(4 * 7, 7)).view([1, 4, 7]);
    let resized = floats(&cam::resized(&map, 24).unwrap()).unwrap();
    for (ours, theirs) in resized.iter().zip(numbers(&golden("fusion.json")["resized_7x4_to_24"])) {
        assert!((f64::from(*ours) - theirs).abs() < 2e-6, "{ours} and {theirs}");
    }
}

#[test]
fn fusion_is_numpys() {
    let golden = golden("fusion.json");
    let side = golden["side"].as_u64().unwrap() as usize;
    let members: Vec<Vec<f32>> = golden["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| numbers(m).into_iter().map(|v| v as f32).collect())
        .collect();
    for case in golden["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let rule = Localize {
            fusion: serde_json::from_value(case["fusion"].clone()).unwrap(),
            tau1: number("tau1"),
            tau2: number("tau2"),
            tau3: number("tau3"),
            ..Localize::default()
        };
        let maps: Vec<&[f32]> = members[..number("members") as usize].iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; side * side];
        fusion::fuse(&maps, side, &rule, &mut out);
        for (p, (ours, theirs)) in out.iter().zip(numbers(&case["result"])).enumerate() {
            assert!((f64::from(*ours) - theirs).abs() < 1e-6, "{case:?}: {ours} and {theirs} at {p}");
        }
        // The case is one of its kind: some pixels are kept, some nothing, some had a second chance.
        assert!(case["branches"]["kept"].as_u64() > Some(0) && out.contains(&0.0) | (number("tau1") < 0.31));
        assert_eq!(case["branches"]["second"].as_u64() > Some(0), rule.fusion == Fusion::Neighbour);
    }
}

proptest! {
    #[test]
    fn kept_maps_are_means_of_cells(seed in 0u64..1000, step in 1usize..5) {
        let side = 8 * step;
        let mut rng = generator(seed, "fused", &[]);
        let fused: Vec<f32> = (0..side * side).map(|_| if rng.random_bool(0.5) { rng.random() } else { 0.0 }).collect();
        let mut kept = [0; 64];
        fusion::quantize(&fused, side, 8, &mut kept);
        for (cell, byte) in kept.iter().enumerate() {
            let pixels: Vec<f32> = (0..step * step)
                .map(|i| fused[(cell / 8 * step + i / step) * side + cell % 8 * step + i % step])
                .collect();
            let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
            prop_assert!((f32::from(*byte) - mean * 255.0).abs() <= 1.0);
            prop_assert_eq!(*byte == 0, mean == 0.0);
        }
    }
}

#[test]
fn a_shard_is_read_as_it_was_written_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(Shard::file(3));
    let map = |v: u8| FaceMap(Box::new(std::array::from_fn(|i| v.wrapping_add(i as u8))));
    let shard = Shard { source: "zoo".to_owned(), keys: vec![[1; 32], [2; 32]], maps: vec![map(1), map(2)] };
    shard.write(&path).unwrap();
    assert_eq!(Shard::read(&path).unwrap(), shard);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = Shard::read(&path).unwrap_err().to_string();
    assert!(error.contains("maps-00003.safetensors") && error.contains("no shard of maps"), "{error}");
}

/// A configuration with a zoo of two and everything at its smallest.
fn tiny(folder: &Path, more: &str) -> Config {
    let zoo =
        "zoo.members = [{ backbone = \"mobilenet_v3_small\" }, { backbone = \"resnet18\", width = 0.25, size = 64 }]";
    config(folder, &format!("{zoo}\noptim.epochs = 2\nlocalize.sheet = 3\n{more}"))
}

fn modified(path: impl AsRef<Path>) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

fn error<T: std::fmt::Debug>(result: deepfake_trainer::Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn from_a_zoo_to_a_regularized_run() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 12);
    let (zoo, maps) = (folder.join("zoo"), folder.join("maps"));
    let first = tiny(folder, "");

    // The zoo.
    let text = error(localize(&first, &zoo, &maps));
    assert!(text.contains("deepfake-trainer zoo"), "{text}");
    let trained = zoo::train(&first, &zoo).unwrap();
    assert_eq!(trained.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["mobilenet_v3_small", "resnet18"]);
    let weights = RunFolder::open(&zoo.join("resnet18")).unwrap().best();
    let before = modified(&weights);
    assert_eq!(zoo::train(&first, &zoo).unwrap(), trained);
    assert_eq!(modified(&weights), before);
    let log = std::fs::read_to_string(zoo.join("log.jsonl")).unwrap();
    assert_eq!(log.matches("\"kept\"").count(), 2);
    // What only the model itself reads leaves the zoo as it is.
    let primary = tiny(folder, "regularize.kind = \"primary_regions\"\nregularize.maps = \"maps\"");
    assert_eq!(zoo::train(&primary, &zoo).unwrap(), trained);

    // The maps.
    let without = tiny(folder, "regularize.kind = \"primary_regions\"");
    let text = error(train(&without, &folder.join("run"), Limits::default()));
    assert!(text.contains("regularize.maps") && text.contains("deepfake-trainer localize"), "{text}");
    let text = error(train(&primary, &folder.join("run"), Limits::default()));
    assert!(text.contains("holds no maps"), "{text}");
    let index = localize(&first, &zoo, &maps).unwrap();
    let faces = split(&first, None).unwrap().train;
    assert_eq!((index.faces, &index.shards[..]), (faces.len(), &["maps-00000.safetensors".to_owned()][..]));
    assert!(index.support.iter().all(|s| *s > 0.01 && *s < 0.99), "{:?}", index.support);
    let shard = maps.join(&index.shards[0]);
    let before = modified(&shard);
    for (sheet, count) in SHEETS.iter().zip([3, 3]) {
        let sheet = image::open(maps.join(sheet)).unwrap();
        assert_eq!((sheet.width(), sheet.height()), (5 * 116 + 4, count * 116 + 4));
    }
    // Again: nothing is left to do. Stopped before its end: what is there is kept.
    assert_eq!(localize(&first, &zoo, &maps).unwrap(), index);
    Index::begun(index.source.clone()).write(&maps).unwrap();
    let text = error(train(&primary, &folder.join("run"), Limits::default()));
    assert!(text.contains("does not hold all maps"), "{text}");
    assert_eq!(localize(&first, &zoo, &maps).unwrap(), index);
    assert_eq!(modified(&shard), before);
    // By gradients they are the same, but for rounding.
    let other = folder.join("gradient");
    localize(&tiny(folder, "localize.cam = \"gradient\""), &zoo, &other).unwrap();
    let (exact, gradient) = (Shard::read(&shard).unwrap(), Shard::read(&other.join(&index.shards[0])).unwrap());
    for (a, b) in exact.maps.iter().zip(&gradient.maps) {
        let far = a.0.iter().zip(&b.0[..]).filter(|(a, b)| a.abs_diff(**b) > 1).count();
        assert!(far < FaceMap::LEN / 100, "{far} values differ");
    }
    // Others are refused.
    let max =
        tiny(folder, "localize.fusion = \"max\"\nregularize.kind = \"primary_regions\"\nregularize.maps = \"max\"");
    let text = error(localize(&max, &zoo, &maps));
    assert!(text.contains("choose another folder"), "{text}");
    let text = error(RegionMaps::open(&maps, &max.localize, &faces));
    assert!(text.contains("another `[localize]`"), "{text}");
    let text = error(localize(&tiny(folder, "optim.clip = 3"), &zoo, &folder.join("new")));
    assert!(text.contains("deepfake-trainer zoo"), "{text}");

    // The run, whole and in parts.
    let run = |name: &str, config: &Config, limits| train(config, &folder.join(name), limits);
    let bytes = |run: &str| std::fs::read(folder.join(run).join("checkpoint.safetensors")).unwrap();
    let whole = run("whole", &primary, Limits::default()).unwrap();
    assert!(!run("parts", &primary, Limits { steps: Some(3) }).unwrap().finished);
    assert_eq!(run("parts", &primary, Limits::default()).unwrap(), whole);
    assert_eq!(bytes("parts"), bytes("whole"));
    run("plain", &first, Limits::default()).unwrap();
    assert_ne!(bytes("plain"), bytes("whole"), "erasing changes what is learned");
    // The best epoch is that of whole validation faces.
    validation_of(&RunFolder::open(&folder.join("whole")).unwrap()).unwrap();
    localize(&max, &zoo, &folder.join("max")).unwrap();
    let text = error(run("whole", &max, Limits::default()));
    assert!(text.contains("other maps"), "{text}");

    // Faces find their maps wherever they are, unless they are others.
    let moved = folder.join("elsewhere");
    std::fs::create_dir(&moved).unwrap();
    std::fs::rename(folder.join("faces"), moved.join("faces")).unwrap();
    std::fs::rename(folder.join("maps"), moved.join("maps")).unwrap();
    let there = tiny(&moved, "regularize.kind = \"primary_regions\"\nregularize.maps = \"maps\"");
    assert_eq!(run("whole", &there, Limits::default()).unwrap(), whole);
    let face = &split(&there, None).unwrap().train[0].path;
    let other = image::open(face).unwrap().fliph();
    other.save(face).unwrap();
    let text = error(run("whole", &there, Limits::default()));
    assert!(text.contains("no map of 1 of") && text.contains("deepfake-trainer localize"), "{text}");
}

#[test]
fn a_pair_is_erased_alike_and_validation_never() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 4);
    let config = config(folder, "");
    let faces = scan(&config.data.folders).unwrap();
    let budget = std::sync::atomic::AtomicUsize::new(1 << 30);
    let (faces, pictures) = Pictures::load(faces, &budget, 0.0, &ProgressBar::hidden()).unwrap();
    // Real faces are mapped on the left, fakes on the right and in one half of their height.
    let map = |face: &deepfake_trainer::data::Face| {
        let real = face.label == Label::Real;
        let value = |x: usize, y: usize| if real && x < 32 || !real && x >= 32 && y < 32 { 200 } else { 0 };
        FaceMap(Box::new(std::array::from_fn(|i| value(i % 64, i / 64))))
    };
    let maps = RegionMaps::new(&keys(&faces).unwrap(), faces.iter().map(map).collect());
    let loader = Loader::new(&config, &faces, &pictures).unwrap().with_maps(Some(&maps));
    let (size, augment) = (48, geometry_only());
    let never = Augment { flip: 0.0, ..augment };
    let erased = |pair_map: PairMap, epoch: usize| -> Vec<Vec<bool>> {
        let how = |probability| Regularize {
            kind: Regularization::PrimaryRegions,
            probability,
            fill: Fill::Black,
            pair_map,
            ..Regularize::default()
        };
        let (masked, whole) = (how(0.5), how(0.0));
        let of = |regularize| {
            let showing = Showing::Augmented { augment: &never, regularize, seed: 1, epoch, pairs: true };
            loader.batch(&[0, 1, 2, 3, 4, 5, 6, 7], size, showing).unwrap().pixels
        };
        let pixels = of(&masked);
        // A real face first; another batch shows it alike: its index is what is drawn for.
        let differs: Vec<bool> = pixels.chunks_exact(3).zip(of(&whole).chunks_exact(3)).map(|(a, b)| a != b).collect();
        differs.chunks_exact(size * size).map(<[bool]>::to_vec).collect()
    };
    let count = |mask: &[bool]| mask.iter().filter(|m| **m).count() as f64;
    let (mut masked, mut of_fake) = (0, 0);
    for epoch in 0..16 {
        let own = erased(PairMap::Own, epoch);
        let shared = erased(PairMap::Shared, epoch);
        for pair in 0..4 {
            let (real, fake) = (&own[pair], &own[4 + pair]);
            assert_eq!(count(real) > 0.0, count(fake) > 0.0, "both or none");
            // The same share of twice the area.
            assert!((count(real) - 2.0 * count(fake)).abs() < 0.1 * count(real) + 1.0);
            assert_eq!(shared[pair], shared[4 + pair]);
            assert!(shared[pair] == *real || shared[pair] == *fake);
            masked += usize::from(count(real) > 0.0);
            of_fake += usize::from(count(real) > 0.0 && shared[pair] == *fake);
        }
    }
    assert!((16..=48).contains(&masked), "{masked} of 64");
    assert!(of_fake > 0 && of_fake < masked, "{of_fake} of {masked}");
    // Validation shows faces as they are.
    let bare = Loader::new(&config, &faces, &pictures).unwrap();
    let plain = |loader: &Loader<'_>| loader.batch(&[0, 4], size, Showing::Plain).unwrap().pixels;
    assert_eq!(plain(&loader), plain(&bare));
}
