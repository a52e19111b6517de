//! Pseudo-fakes made of real faces.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use deepfake_scoring::geometry::{Point, Rect};
use deepfake_trainer::config::{Config, Pseudo, Regularize, Sources, Synthesize};
use deepfake_trainer::data::{self, Face, Label, Picture, Pictures};
use deepfake_trainer::loader::{Loader, Showing};
use deepfake_trainer::seeded::generator;
use deepfake_trainer::synthesize::{Made, Part, Place, Recipe, Synthesizer, make, outline};
use deepfake_trainer::train::{Limits, train};
use indicatif::ProgressBar;
use proptest::prelude::*;
use support::{config, geometry_only, golden, numbers, text, write_faces};

/// A face of soft waves.
fn face(width: usize, height: usize) -> Picture {
    let value = |i: usize| {
        let (x, y, c) = ((i / 3 % width) as f64, (i / 3 / width) as f64, (i % 3) as f64);
        (128.0 + 90.0 * (x / 5.0 + c).sin() * (y / 7.0 - c).cos()) as u8
    };
    Picture { width, height, data: (0..width * height * 3).map(value).collect() }
}

/// Landmarks of a face that looks ahead.
const AHEAD: [Point; 5] = [
    Point { x: 0.38, y: 0.42 },
    Point { x: 0.62, y: 0.42 },
    Point { x: 0.5, y: 0.56 },
    Point { x: 0.4, y: 0.7 },
    Point { x: 0.6, y: 0.7 },
];

fn recipe(settings: &Synthesize, seed: u64) -> Recipe {
    Recipe::draw(settings, &mut generator(seed, "test", &[]))
}

fn made(picture: &Picture, place: &Place, seed: u64) -> (Made, Recipe) {
    let recipe = recipe(&Synthesize::default(), seed);
    (Synthesizer::default().make(picture, place, &recipe).unwrap(), recipe)
}

fn places() -> impl Strategy<Value = Place> {
    let landmarks = prop::array::uniform10(-0.05f32..0.05).prop_map(|by| {
        Place::Landmarks(std::array::from_fn(|i| Point { x: AHEAD[i].x + by[2 * i], y: AHEAD[i].y + by[2 * i + 1] }))
    });
    let anything = prop::array::uniform10(-1.0f32..2.0)
        .prop_map(|at| Place::Landmarks(std::array::from_fn(|i| Point { x: at[2 * i], y: at[2 * i + 1] })));
    let boxes = (-0.5f32..0.9, -0.5f32..0.9, 0.01f32..2.0, 0.01f32..2.0)
        .prop_map(|(x, y, w, h)| Place::Box(Rect::new(x, y, w, h)));
    prop_oneof![landmarks, anything, boxes]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_fake_is_its_target_outside_of_the_mask_and_between_the_two_inside(
        width in 1usize..90, height in 1usize..90, place in places(), seed: u64,
    ) {
        let picture = face(width, height);
        let (made, recipe) = made(&picture, &place, seed);
        prop_assert_eq!(made.mask.len(), width * height);
        for part in [&made.target, &made.source, &made.fake] {
            prop_assert_eq!((part.width, part.height, part.data.len()), (width, height, 3 * width * height));
        }
        prop_assert!(made.mask.iter().any(|m| *m > 0.0));
        for (i, m) in made.mask.iter().enumerate() {
            prop_assert!((0.0..=1.0).contains(m));
            for c in 3 * i..3 * i + 3 {
                let (fake, target, source) = (made.fake.data[c], made.target.data[c], made.source.data[c]);
                if *m == 0.0 {
                    prop_assert_eq!(fake, target);
                }
                prop_assert!(fake >= target.min(source) && fake <= target.max(source));
            }
        }
        // The real face that goes with it.
        let target = Synthesizer::default().target(&picture, &recipe);
        prop_assert_eq!(target.is_some(), recipe.changes_target());
        prop_assert_eq!(target.as_ref().unwrap_or(&picture), &made.target);
        let own = Synthesizer::default().make(&picture, &place, &recipe.on_source()).unwrap();
        prop_assert_eq!(&own.target, &picture);
    }

    #[test]
    fn an_outline_goes_with_its_landmarks(
        place in prop::array::uniform10(-0.05f32..0.05),
        [a, b, c, d] in prop::array::uniform4(-0.3f32..0.3), x in -0.2f32..0.2, y in -0.2f32..0.2,
    ) {
        let points: [Point; 5] =
            std::array::from_fn(|i| Point { x: AHEAD[i].x + place[2 * i], y: AHEAD[i].y + place[2 * i + 1] });
        let goes = |p: Point| Point { x: (1.0 + a) * p.x + b * p.y + x, y: c * p.x + (1.0 + d) * p.y + y };
        for part in Part::ALL {
            let moved = outline(&Place::Landmarks(points.map(goes)), part);
            let here = outline(&Place::Landmarks(points), part);
            prop_assert_eq!(moved.len(), here.len());
            for (m, h) in moved.iter().zip(here) {
                let h = goes(h);
                prop_assert!((m.x - h.x).abs() < 1e-4 && (m.y - h.y).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_mirrored_face_has_the_mirrored_outline(place in places()) {
        let aside = |p: Point| Point { x: 1.0 - p.x, y: p.y };
        let mirrored = match place {
            Place::Landmarks([right, left, nose, mouth_right, mouth_left]) => {
                Place::Landmarks([left, right, nose, mouth_left, mouth_right].map(aside))
            }
            Place::Box(b) => Place::Box(Rect::new(1.0 - b.right(), b.y, b.w, b.h)),
        };
        let sorted = |mut points: Vec<Point>| {
            // The two orders of going around differ; the corners are the same.
            let key = |p: &Point| ((p.y * 500.0).round(), (p.x * 500.0).round());
            points.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap());
            points
        };
        for part in Part::ALL {
            let (here, there) = (outline(&place, part), outline(&mirrored, part));
            let (here, there) = (sorted(here.into_iter().map(aside).collect()), sorted(there));
            for p in &here {
                let near = there.iter().any(|q| (p.x - q.x).abs() < 1e-3 && (p.y - q.y).abs() < 1e-3);
                prop_assert!(near, "{p:?} is not among {there:?}");
            }
        }
    }
}

#[test]
fn an_outline_is_fitted_as_by_least_squares() {
    let golden = golden("synthesize.json");
    let pairs: Vec<Vec<f64>> = golden["landmarks"].as_array().unwrap().iter().map(numbers).collect();
    let place = Place::Landmarks(std::array::from_fn(|i| Point { x: pairs[i][0] as f32, y: pairs[i][1] as f32 }));
    let corners = outline(&place, Part::Whole);
    for expected in golden["fitted"].as_array().unwrap().iter().map(numbers) {
        let is = |p: &Point| (f64::from(p.x) - expected[0]).abs() < 1e-5 && (f64::from(p.y) - expected[1]).abs() < 1e-5;
        assert!(corners.iter().any(is), "{expected:?} is not among {corners:?}");
    }
}

#[test]
fn landmarks_on_a_line_are_no_face() {
    let line = Place::Landmarks(std::array::from_fn(|i| Point { x: 0.3 + 0.1 * i as f32, y: 0.5 }));
    let corners = outline(&line, Part::Whole);
    let mean = corners.iter().map(|p| p.y).sum::<f32>() / corners.len() as f32;
    assert!((mean - 0.5).abs() < 0.05, "not the middle of the picture: {mean}");
}

#[test]
fn masks_cover_the_face_softly_and_keep_clear_of_the_edges() {
    let picture = face(200, 200);
    for seed in 0..40 {
        let settings = Synthesize { part: 0.0, ratios: vec![1.0], ..Synthesize::default() };
        let recipe = recipe(&settings, seed);
        for place in [Place::Landmarks(AHEAD), Place::Box(Rect::new(-1.0, -1.0, 3.0, 3.0))] {
            let mask = Synthesizer::default().make(&picture, &place, &recipe).unwrap().mask;
            let at = |x: usize, y: usize| mask[y * 200 + x];
            assert!(at(100, 120) > 0.99, "seed {seed}: the nose is {}", at(100, 120));
            assert!([at(0, 0), at(199, 0), at(0, 199), at(199, 199)].iter().all(|v| *v == 0.0), "seed {seed}");
            let soft = mask.iter().filter(|v| (0.02..0.98).contains(*v)).count();
            assert!(soft > 300, "seed {seed}: {soft} pixels are soft");
        }
    }
}

#[test]
fn what_is_drawn_is_within_the_settings() {
    let picture = face(64, 64);
    let place = Place::Landmarks(AHEAD);
    // Nothing but the blending of two equal copies: nothing is left of it but rounding.
    let nothing = Synthesize {
        rgb: 0.0,
        hue_by: 0.0,
        saturation_by: 0.0,
        value_by: 0.0,
        brightness_by: 0.0,
        contrast_by: 0.0,
        downscale: 0.0,
        sharpen_by: [0.0, 0.0],
        scale: [1.0, 1.0],
        shift: [0.0, 0.0],
        ..Synthesize::default()
    };
    for seed in 0..10 {
        let made = Synthesizer::default().make(&picture, &place, &recipe(&nothing, seed)).unwrap();
        assert_eq!(made.fake, picture);
    }
    // A quarter of the source at most.
    let faint = Synthesize { ratios: vec![0.25], ..Synthesize::default() };
    for seed in 0..10 {
        let made = Synthesizer::default().make(&picture, &place, &recipe(&faint, seed)).unwrap();
        let most = made.mask.iter().copied().fold(0.0, f32::max);
        assert!((0.2..=0.25 + 1e-6).contains(&most), "{most}");
        assert_ne!(made.fake, made.target);
    }
    let share = |of: &dyn Fn(&Recipe) -> bool| {
        (0..400).filter(|&seed| of(&recipe(&Synthesize { change_target: 0.3, ..Synthesize::default() }, seed))).count()
    };
    let changed = share(&Recipe::changes_target);
    assert!((90..150).contains(&changed), "{changed} of 400 targets are changed");
}

/// What a folder holds, by name.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for class in ["real", "fake"] {
        for entry in std::fs::read_dir(folder.join(class)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{class}/{}", path.file_name().unwrap().to_string_lossy());
            found.insert(name, std::fs::read(path).unwrap());
        }
    }
    found.insert("manifest.csv".to_owned(), std::fs::read(folder.join("manifest.csv")).unwrap());
    found.insert("sheet.png".to_owned(), std::fs::read(folder.join("sheet.png")).unwrap());
    found
}

#[test]
fn a_folder_is_made_once_and_the_same_by_any_number_of_threads() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 20);
    let settings = config(folder, "run.loader_threads = 2\nsynthesize.per_face = 2\nsynthesize.sheet = 3");
    let out = folder.join("made");
    let done = make(&settings, &out).unwrap();
    assert_eq!((done.fake, done.made, done.landmarks, done.unreadable), (40, 40, 0, 0));
    let first = contents(&out);
    assert_eq!(first.len(), done.fake + done.real + 2);

    let faces = data::scan(std::slice::from_ref(&out)).unwrap();
    let fakes = faces.iter().filter(|f| f.label == Label::Fake).count();
    assert_eq!((fakes, faces.len()), (done.fake, done.fake + done.real));
    assert!(faces.iter().all(|f| f.source.len() == 4 && f.source.starts_with('s')), "{faces:?}");
    data::split(faces, 0.2, 1, 0).unwrap();
    let sheet = Picture::read(&out.join("sheet.png")).unwrap();
    assert_eq!((sheet.width, sheet.height), (4 * 228 + 4, 3 * 228 + 4));

    // What is there is kept, what is missing is made again, to the bit.
    assert_eq!(make(&settings, &out).unwrap(), deepfake_trainer::synthesize::Done { made: 0, ..done });
    std::fs::remove_file(out.join("fake/s007_sbi1_real.png")).unwrap();
    assert_eq!(make(&settings, &out).unwrap().made, 1);
    assert!(contents(&out) == first);
    let one = config(folder, "run.loader_threads = 1\nsynthesize.per_face = 2\nsynthesize.sheet = 3");
    make(&one, &folder.join("again")).unwrap();
    assert!(contents(&folder.join("again")) == first);

    // Other settings or faces do not mix with it.
    for other in ["seed = 2", "synthesize.per_face = 1", "synthesize.limit = 5", "synthesize.shift = [0.1, 0.1]"] {
        let more =
            if other.contains("per_face") { other.to_owned() } else { format!("synthesize.per_face = 2\n{other}") };
        let error = make(&config(folder, &more), &out).unwrap_err().to_string();
        assert!(error.contains("choose another folder"), "{other}: {error}");
    }
}

#[test]
fn landmarks_come_from_the_manifest_of_the_faces() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 4);
    let names = ["right_eye", "left_eye", "nose", "right_mouth", "left_mouth"];
    let columns: Vec<String> = names.iter().flat_map(|n| [format!("{n}_x"), format!("{n}_y")]).collect();
    let row = |i: usize, points: &str| format!("real/s00{i}_real.png,real,s00{i},s00{i},{points}\n");
    let manifest = [
        format!("path,label,source,video,{}\n", columns.join(",")),
        row(0, "24,27,40,27,32,34,26,42,38,42"),
        row(1, "24,27,40,27,32,34,26,42,38,42"),
        row(2, ",,,,,,,,,"),
        row(3, ",,,,,,,,,"),
    ];
    std::fs::write(folder.join("faces/manifest.csv"), manifest.concat()).unwrap();
    let settings = config(folder, "synthesize.faces = [\"faces/real\"]\nsynthesize.part = 0\nsynthesize.sheet = 0");
    let done = make(&settings, &folder.join("made")).unwrap();
    assert_eq!((done.fake, done.landmarks), (4, 2));
    // They stand in the new manifest too, where the next reader finds them.
    let told = std::fs::read_to_string(folder.join("made/manifest.csv")).unwrap();
    let row = told.lines().find(|l| l.starts_with("fake/s001_sbi0_real.png")).unwrap();
    assert!(row.contains("24.00,27.00,40.00,27.00,32.00,34.00"), "{row}");
    assert!(!folder.join("made/sheet.png").exists());
}

#[test]
fn the_command_makes_a_folder_of_portraits() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    write_faces(&folder.join("faces"), 12);
    for (i, entry) in std::fs::read_dir(folder.join("faces/real")).unwrap().enumerate() {
        let path = entry.unwrap().path();
        std::fs::rename(&path, path.with_file_name(format!("portrait_{i:02}.png"))).unwrap();
    }
    std::fs::write(folder.join("faces/real/portrait_broken.png"), b"no picture").unwrap();
    let more = "data.max_unreadable = 0.1\nsynthesize.sources = \"file\"\nsynthesize.limit = 13";
    std::fs::write(folder.join("c.toml"), text(more)).unwrap();
    let run = || {
        let command = ["synthesize", "--config", "c.toml", "--out", "made"];
        Command::new(env!("CARGO_BIN_EXE_deepfake-trainer")).args(command).current_dir(folder).output().unwrap()
    };
    let first = run();
    let told = String::from_utf8_lossy(&first.stderr);
    assert!(first.status.success(), "{told}");
    assert!(told.contains("portrait_broken.png"), "{told}");
    assert!(String::from_utf8_lossy(&first.stdout).starts_with("12 pseudo-fakes and 12 real faces"), "{first:?}");
    let faces = data::scan(&[folder.join("made")]).unwrap();
    let sources: std::collections::BTreeSet<_> = faces.iter().map(|f| &f.source).collect();
    assert_eq!(sources.len(), 12, "each portrait is a source of its own");
    let log = std::fs::read_to_string(folder.join("made/log.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["made"], &last["unreadable"]), (&"done".into(), &12.into(), &1.into()));
    assert!(run().status.success());

    std::fs::write(folder.join("c.toml"), text("synthesize.faces = [\"nowhere\"]")).unwrap();
    let failed = run();
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("nowhere"));
}

/// Real faces in `folder/faces/real` and no fakes, as training on them alone sees them.
fn reals_alone(folder: &Path, count: usize, pseudo: &str) -> (Config, Vec<Face>, Pictures) {
    write_faces(&folder.join("faces"), count);
    std::fs::remove_dir_all(folder.join("faces/fake")).unwrap();
    let mut config = config(folder, pseudo);
    config.input.mean = [0.0; 3];
    config.input.std = [1.0; 3];
    let faces = data::with_pseudo_fakes(data::reals(&config.data.folders).unwrap(), Pseudo::Only, Sources::Name);
    let (faces, pictures) = Pictures::load(faces, &AtomicUsize::new(1 << 30), 0.0, &ProgressBar::hidden()).unwrap();
    (config, faces, pictures)
}

#[test]
fn pseudo_fakes_are_made_anew_beside_their_real_face() {
    let temporary = tempfile::tempdir().unwrap();
    let (config, faces, pictures) = reals_alone(temporary.path(), 6, "data.pseudo = \"only\"\nrun.loader_threads = 2");
    assert_eq!(faces.len(), 12);
    for i in 0..6 {
        assert_eq!((faces[i].label, faces[i + 6].label), (Label::Real, Label::Fake));
        assert!(Arc::ptr_eq(&pictures.get(i).unwrap(), &pictures.get(i + 6).unwrap()), "read twice");
    }
    let loader = Loader::new(&config, &faces, &pictures).unwrap();
    let (augment, regularize) = (geometry_only(), Regularize::default());
    let showing =
        |epoch, pairs| Showing::Augmented { augment: &augment, regularize: &regularize, seed: 5, epoch, pairs };
    let shown = |loader: &Loader<'_>, showing| {
        let batch = loader.batch(&(0..12).collect::<Vec<_>>(), 64, showing).unwrap();
        assert_eq!(batch.labels, (0..12).map(|i| faces[i].label.column()).collect::<Vec<_>>());
        batch.pixels.chunks_exact(64 * 64 * 3).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let row = 64 * 3;
    let own = |i: usize| pictures.get(i).unwrap().data.iter().map(|v| f32::from(*v) / 255.0).collect::<Vec<_>>();
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);

    let mut changed = 0;
    for epoch in 0..4 {
        let pairs = shown(&loader, showing(epoch, true));
        for i in 0..6 {
            let (real, fake) = (&pairs[i], &pairs[i + 6]);
            // The first row is outside of every mask: there both are the target.
            assert!(near(&real[..row], &fake[..row]), "epoch {epoch}, face {i}");
            assert!(!near(real, fake), "epoch {epoch}, face {i}: nothing is blended");
            changed += usize::from(!near(real, &own(i)));
        }
        assert!(pairs == shown(&loader, showing(epoch, true)));
        // Without pairs nothing but the face may tell: real faces stay, and fakes keep their colours.
        let alone = shown(&loader, showing(epoch, false));
        for i in 0..6 {
            assert!(near(&alone[i], &own(i)) && near(&alone[i + 6][..row], &own(i)[..row]));
        }
    }
    assert!((4..=20).contains(&changed), "{changed} of 24 real faces are changed");
    assert!(shown(&loader, showing(0, true)) != shown(&loader, showing(1, true)));
    // Validation sees the same fakes each time.
    let plain = shown(&loader, Showing::Plain);
    assert!(plain == shown(&loader, Showing::Plain));
    assert!((0..6).all(|i| near(&plain[i], &own(i)) && !near(&plain[i + 6], &own(i))));
    let mut one = config.clone();
    one.run.loader_threads = 1;
    assert!(
        shown(&Loader::new(&one, &faces, &pictures).unwrap(), showing(3, true)) == shown(&loader, showing(3, true))
    );
}

#[test]
fn real_faces_are_enough_to_train_and_a_stopped_run_goes_on_bit_for_bit() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let (config, ..) =
        reals_alone(folder, 24, "data.pseudo = \"only\"\noptim.epochs = 2\nsynthesize.sources = \"file\"");
    let weights = |run: &str| std::fs::read(folder.join(run).join("best.safetensors")).unwrap();
    let whole = train(&config, &folder.join("whole"), Limits::default()).unwrap();
    assert!(whole.finished && (0.0..=1.0).contains(&whole.best.auc), "{whole:?}");
    let part = train(&config, &folder.join("parts"), Limits { steps: Some(5) }).unwrap();
    assert!(!part.finished);
    assert_eq!(train(&config, &folder.join("parts"), Limits::default()).unwrap(), whole);
    assert!(weights("whole") == weights("parts"));
}
