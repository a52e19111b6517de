//! What happens to a face before it is shown.

mod support;

use deepfake_trainer::augment::{Augmenter, Geometry, Plan};
use deepfake_trainer::config::{Augment, Input};
use deepfake_trainer::data::Picture;
use deepfake_trainer::maps::FaceMap;
use deepfake_trainer::seeded::generator;
use support::geometry_only;

const SIDE: usize = 40;

/// Values that tell where they are: red grows to the right, green downwards.
fn ramps() -> Picture {
    let data = (0..SIDE * SIDE).flat_map(|i| [(i % SIDE * 6) as u8, (i / SIDE * 6) as u8, 100]).collect();
    Picture { width: SIDE, height: SIDE, data }
}

fn plain_input() -> Input {
    Input { size: SIDE, mean: [0.0; 3], std: [1.0; 3], ..Input::default() }
}

fn shown(input: &Input, plan: &Plan) -> Vec<f32> {
    let mut augmenter = Augmenter::new(input, input.size);
    let mut out = vec![0.0; augmenter.len()];
    augmenter.apply(&ramps(), plan, None, &mut out).unwrap();
    out
}

fn plan(augment: &Augment, seed: u64) -> Plan {
    Plan::draw(augment, &mut generator(seed, "test", &[]))
}

#[test]
fn plain_is_the_picture_itself() {
    let out = shown(&plain_input(), &Plan::PLAIN);
    for (value, byte) in out.iter().zip(&ramps().data) {
        assert!((value - f32::from(*byte) / 255.0).abs() < 1e-6);
    }
    // Mean and deviation are applied last.
    let input = Input { mean: [0.5, 0.25, 0.0], std: [0.5, 2.0, 0.1], ..plain_input() };
    for (normalized, plain) in shown(&input, &Plan::PLAIN).chunks_exact(3).zip(out.chunks_exact(3)) {
        for c in 0..3 {
            let expected = (plain[c] - input.mean[c]) / input.std[c];
            assert!((normalized[c] - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn everything_off_draws_the_plain_plan() {
    assert_eq!(plan(&geometry_only(), 1).geometry(), Geometry::WHOLE);
    assert_eq!(shown(&plain_input(), &plan(&geometry_only(), 1)), shown(&plain_input(), &Plan::PLAIN));
}

#[test]
fn a_flip_mirrors() {
    let flipped = shown(&plain_input(), &plan(&Augment { flip: 1.0, ..geometry_only() }, 1));
    let plain = shown(&plain_input(), &Plan::PLAIN);
    for y in 0..SIDE {
        for x in 0..SIDE {
            assert_eq!(flipped[(y * SIDE + x) * 3..][..3], plain[(y * SIDE + SIDE - 1 - x) * 3..][..3]);
        }
    }
}

#[test]
fn the_region_cut_is_the_one_drawn() {
    let augment = Augment { scale: [0.6, 0.9], shift: 0.05, aspect: 1.2, ..geometry_only() };
    for seed in 0..20 {
        let plan = plan(&augment, seed);
        let region = plan.geometry().region;
        let out = shown(&plain_input(), &plan);
        // In the middle, away from repeated edges, the ramps tell the position: 6 a pixel, from the centre of the first one.
        for (x, y) in [(15usize, 22usize), (20, 20), (24, 17)] {
            let at = |from: f32, length: f32, i: usize| {
                SIDE as f32 * (from + length * (i as f32 + 0.5) / SIDE as f32) * 6.0 - 3.0
            };
            let pixel = &out[(y * SIDE + x) * 3..][..3];
            assert!((pixel[0] * 255.0 - at(region.x, region.w, x)).abs() < 0.1, "seed {seed}");
            assert!((pixel[1] * 255.0 - at(region.y, region.h, y)).abs() < 0.1, "seed {seed}");
        }
        let (aspect, area) = (region.w / region.h, region.w * region.h);
        assert!((1.0 / 1.2 - 1e-3..=1.2 + 1e-3).contains(&aspect), "{region:?}");
        assert!((0.36 - 1e-3..=0.81 + 1e-3).contains(&area), "{region:?}");
    }
}

#[test]
fn equal_seeds_show_equal_faces_and_others_do_not() {
    let augment = Augment { noise: 0.5, ..Augment::default() };
    let of = |seed| shown(&plain_input(), &plan(&augment, seed));
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn one_switch_does_not_change_what_another_one_draws() {
    // A pair's two faces, or runs with and without blur, stay comparable.
    for seed in 0..20 {
        let with = plan(&Augment { jpeg: 1.0, blur: 0.0, ..Augment::default() }, seed);
        let without = plan(&Augment { jpeg: 0.0, blur: 1.0, ..Augment::default() }, seed);
        assert_eq!(with.geometry(), without.geometry());
    }
}

#[test]
fn every_change_does_something_and_stays_in_range() {
    let off = geometry_only;
    let plain = shown(&plain_input(), &Plan::PLAIN);
    let changes = [
        ("rescale", Augment { rescale: 1.0, rescale_to: [0.3, 0.5], ..off() }),
        ("blur", Augment { blur: 1.0, blur_sigma: [8.0, 9.0], ..off() }),
        ("jpeg", Augment { jpeg: 1.0, jpeg_quality: [10, 20], ..off() }),
        ("colour", Augment { colour: 1.0, ..off() }),
        ("gray", Augment { gray: 1.0, ..off() }),
        ("noise", Augment { noise: 1.0, ..off() }),
    ];
    for (name, augment) in changes {
        for seed in 0..8 {
            let out = shown(&plain_input(), &plan(&augment, seed));
            assert!(out.iter().all(|v| (0.0..=1.0).contains(v)), "{name}");
            let mean = out.iter().zip(&plain).map(|(a, b)| (a - b).abs()).sum::<f32>() / out.len() as f32;
            assert!(mean > 1e-4 && mean < 0.35, "{name} changes by {mean}");
            if name == "gray" {
                assert!(out.chunks_exact(3).all(|p| (p[0] - p[1]).abs() < 1e-5 && (p[1] - p[2]).abs() < 1e-5));
            }
        }
    }
}

#[test]
fn blur_and_shrinking_keep_the_mean() {
    let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
    let plain = mean(&shown(&plain_input(), &Plan::PLAIN));
    for augment in [
        Augment { blur: 1.0, blur_sigma: [6.0, 12.0], ..geometry_only() },
        Augment { rescale: 1.0, rescale_to: [0.4, 0.6], ..geometry_only() },
    ] {
        for seed in 0..4 {
            assert!((mean(&shown(&plain_input(), &plan(&augment, seed))) - plain).abs() < 0.004);
        }
    }
}

#[test]
fn a_map_goes_where_its_face_goes() {
    // The map says of each place how far to the right and below it is, as the picture of twice its size does.
    let side = FaceMap::SIDE;
    let value = |i: usize| (i % side * 2 + i / side) as u8;
    let map = FaceMap(Box::new(std::array::from_fn(value)));
    let large = 2 * side;
    let data = (0..large * large).flat_map(|i| [value(i / large / 2 * side + i % large / 2); 3]).collect();
    let picture = Picture { width: large, height: large, data };
    let input = Input { size: 32, ..plain_input() };
    let mut augmenter = Augmenter::new(&input, input.size);
    let augment = Augment { flip: 0.5, scale: [0.7, 1.2], shift: 0.2, aspect: 1.3, ..geometry_only() };
    for seed in 0..20 {
        let plan = plan(&augment, seed);
        let mut face = vec![0.0; augmenter.len()];
        augmenter.apply(&picture, &plan, None, &mut face).unwrap();
        let mut over = vec![0.0; 32 * 32];
        augmenter.map(&map, &plan, &mut over).unwrap();
        for (pixel, value) in face.chunks_exact(3).zip(&over) {
            assert!((pixel[0] * 255.0 - value).abs() < 1.6, "seed {seed}: {} and {value}", pixel[0] * 255.0);
        }
    }
}
