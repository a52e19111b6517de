//! What is erased of a face: as much as was drawn, the highest ranked first, where the map says.

#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use deepfake_trainer::augment::{Augmenter, Erase, Erasure, Plan};
use deepfake_trainer::config::{Augment, Fill, Input, Regularization, Regularize};
use deepfake_trainer::data::Picture;
use deepfake_trainer::maps::FaceMap;
use deepfake_trainer::seeded::generator;
use proptest::prelude::*;
use rand::RngExt;
use support::geometry_only;

/// Counts what a thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: it is the system's allocator, beside a counter that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// No mean, no deviation: what comes out lies in [0, 1].
fn plain(size: usize) -> Input {
    Input { size, mean: [0.0; 3], std: [1.0; 3], ..Input::default() }
}

/// Nothing of it is black.
fn picture(width: usize, height: usize, seed: u64) -> Picture {
    let mut rng = generator(seed, "picture", &[]);
    Picture { width, height, data: (0..3 * width * height).map(|_| rng.random_range(60..=255)).collect() }
}

fn map(value: impl Fn(usize, usize) -> u8) -> FaceMap {
    FaceMap(Box::new(std::array::from_fn(|i| value(i % FaceMap::SIDE, i / FaceMap::SIDE))))
}

/// Some cells of a coarse grid, each with a value of its own; the rest is nothing.
fn patchy(seed: u64) -> FaceMap {
    let mut rng = generator(seed, "map", &[]);
    let cells: [u8; 64] = std::array::from_fn(|_| if rng.random_bool(0.4) { rng.random() } else { 0 });
    map(|x, y| cells[y / 8 * 8 + x / 8])
}

/// A configuration that always erases, in black.
fn always(kind: Regularization) -> Regularize {
    Regularize { kind, probability: 1.0, fill: Fill::Black, ..Regularize::default() }
}

const PRIMARY: Regularization = Regularization::PrimaryRegions;
const CONTROLS: [Regularization; 2] = [Regularization::RandomErasing, Regularization::HideAndSeek];

fn drawn(how: &Regularize, seed: u64) -> Option<Erasure> {
    Erasure::draw(how, &mut generator(seed, "regularize", &[]))
}

fn plan(augment: &Augment, seed: u64) -> Plan {
    Plan::draw(augment, &mut generator(seed, "augment", &[]))
}

fn shown(input: &Input, picture: &Picture, plan: &Plan, erase: Option<&Erase<'_>>) -> Vec<f32> {
    let mut augmenter = Augmenter::new(input, input.size);
    let mut out = vec![0.0; augmenter.len()];
    augmenter.apply(picture, plan, erase, &mut out).unwrap();
    out
}

/// Which pixels are black.
fn black(out: &[f32]) -> Vec<usize> {
    out.chunks_exact(3).enumerate().filter(|(_, p)| **p == [0.0; 3]).map(|(at, _)| at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the geometry: the fraction is what was drawn, rounded down, and it is the first that a sort would put there.
    #[test]
    fn what_is_erased_is_the_share_drawn_of_the_highest_ranked(
        seed in 0u64..1_000_000, size in 32usize..80, width in 20usize..90, height in 20usize..90, low in 0.0..1.0f64,
    ) {
        let input = plain(size);
        let augment = Augment { flip: 0.5, scale: [0.6, 1.2], shift: 0.2, aspect: 1.5, ..geometry_only() };
        let (plan, map, picture) = (plan(&augment, seed), patchy(seed), picture(width, height, seed));
        let how = Regularize { share: [low, 1.0], ..always(PRIMARY) };
        let drawn = drawn(&how, seed).unwrap();
        let share = drawn.share(&how, true);
        prop_assert!(low <= share && share <= 1.0);

        let mut over = vec![0.0; size * size];
        Augmenter::new(&input, size).map(&map, &plan, &mut over).unwrap();
        let mut ranked: Vec<usize> = (0..over.len()).filter(|&at| over[at] >= 0.5).collect();
        ranked.sort_by(|&a, &b| over[b].total_cmp(&over[a]).then(a.cmp(&b)));
        ranked.truncate((share * ranked.len() as f64).floor() as usize);
        ranked.sort_unstable();

        let whole = shown(&input, &picture, &plan, None);
        let erased = shown(&input, &picture, &plan, Some(&Erase { how: &how, drawn, map: Some(&map) }));
        prop_assert_eq!(&black(&erased), &ranked);
        // All else is as it was.
        for (at, (a, b)) in erased.chunks_exact(3).zip(whole.chunks_exact(3)).enumerate() {
            prop_assert!(a == b || ranked.binary_search(&at).is_ok());
        }
    }

    /// A control erases as many pixels, of the map's pixels where there is a map, of the picture where there is none.
    #[test]
    fn a_control_erases_as_much(seed in 0u64..1_000_000, size in 32usize..80, high in 0.0..0.9f64) {
        let (input, map) = (plain(size), patchy(seed));
        let picture = picture(50, 40, seed);
        let mut over = vec![0.0; size * size];
        Augmenter::new(&input, size).map(&map, &Plan::PLAIN, &mut over).unwrap();
        let support = over.iter().filter(|v| **v >= 0.5).count();
        for kind in CONTROLS {
            for (map, of) in [(Some(&map), support), (None, size * size)] {
                let how = Regularize { area: [0.0, high], ..always(kind) };
                let drawn = drawn(&how, seed).unwrap();
                let wanted = (drawn.share(&how, map.is_some()) * of as f64).floor() as usize;
                let erased = black(&shown(&input, &picture, &Plan::PLAIN, Some(&Erase { how: &how, drawn, map })));
                if kind == Regularization::HideAndSeek || wanted == 0 {
                    prop_assert_eq!(erased.len(), wanted);
                    continue;
                }
                // One rectangle, whose sides are whole pixels.
                let column = |at: &usize| at % size;
                let (left, right) = (erased.iter().map(column).min().unwrap(), erased.iter().map(column).max().unwrap());
                let (columns, rows) = (right + 1 - left, erased[erased.len() - 1] / size + 1 - erased[0] / size);
                prop_assert_eq!(erased.len(), columns * rows);
                prop_assert!(erased.len().abs_diff(wanted) <= rows.div_ceil(2), "{} of {}", erased.len(), wanted);
            }
        }
    }
}

#[test]
fn the_mask_is_not_transposed_and_goes_where_the_face_goes() {
    // One mark in the upper right of a wide picture, in the face and in its map.
    let (width, height) = (80, 40);
    let mark = |x: f64, y: f64| (0.7..0.9).contains(&x) && (0.1..0.3).contains(&y);
    let mut picture = picture(width, height, 1);
    for (i, pixel) in picture.data.chunks_exact_mut(3).enumerate() {
        let at = |i: usize, length: usize| (i as f64 + 0.5) / length as f64;
        pixel.fill(if mark(at(i % width, width), at(i / width, height)) { 255 } else { 80 });
    }
    let map = map(|x, y| if mark((x as f64 + 0.5) / 64.0, (y as f64 + 0.5) / 64.0) { 200 } else { 0 });
    let how = Regularize { share: [1.0, 1.0], ..always(PRIMARY) };
    let input = plain(48);
    for augment in [
        geometry_only(),
        Augment { flip: 1.0, ..geometry_only() },
        Augment { flip: 0.5, scale: [0.8, 1.2], shift: 0.1, aspect: 1.3, ..geometry_only() },
    ] {
        for seed in 0..8 {
            let plan = plan(&augment, seed);
            let whole = shown(&input, &picture, &plan, None);
            let marked = |at: usize| whole[3 * at] > 0.7;
            assert!((0..48 * 48).any(marked), "the mark is in the picture");
            let erase = Erase { how: &how, drawn: drawn(&how, seed).unwrap(), map: Some(&map) };
            let erased = black(&shown(&input, &picture, &plan, Some(&erase)));
            let hit = erased.iter().filter(|at| marked(**at)).count();
            let marks = (0..48 * 48).filter(|at| marked(*at)).count();
            assert_eq!(hit, marks, "every marked pixel is erased");
            // Interpolation adds less than a cell and a pixel on each side.
            let side = (marks as f64).sqrt();
            assert!((erased.len() as f64) < (side + 5.0).powi(2), "{} and {marks}", erased.len());
        }
    }
}

#[test]
fn a_map_of_nothing_erases_nothing() {
    let nothing = map(|_, _| 0);
    let (input, picture) = (plain(40), picture(40, 40, 1));
    for kind in [PRIMARY, CONTROLS[0], CONTROLS[1]] {
        let how = Regularize { share: [1.0, 1.0], ..always(kind) };
        let erase = Erase { how: &how, drawn: drawn(&how, 1).unwrap(), map: Some(&nothing) };
        let augment = Augment::default();
        assert_eq!(
            shown(&input, &picture, &plan(&augment, 3), Some(&erase)),
            shown(&input, &picture, &plan(&augment, 3), None)
        );
    }
}

#[test]
fn equal_ranks_go_row_by_row() {
    let how = Regularize { share: [0.5, 0.5], ..always(PRIMARY) };
    let level = map(|_, _| 90);
    let erase = Erase { how: &how, drawn: drawn(&how, 1).unwrap(), map: Some(&level) };
    let erased = black(&shown(&plain(41), &picture(64, 64, 1), &Plan::PLAIN, Some(&erase)));
    // Of 1681 pixels the first 840: rounded down.
    assert_eq!(erased, (0..840).collect::<Vec<_>>());
}

#[test]
fn half_of_the_faces_are_left_whole_and_shares_are_uniform() {
    let how = Regularize { kind: PRIMARY, ..Regularize::default() };
    let shares: Vec<f64> = (0..4000).filter_map(|seed| drawn(&how, seed)).map(|d| d.share(&how, true)).collect();
    // Five standard deviations.
    assert!((1842..=2158).contains(&shares.len()), "{} of 4000", shares.len());
    for tenth in 0..10 {
        let low = 0.5 + 0.05 * f64::from(tenth);
        let n = shares.iter().filter(|s| (low..low + 0.05).contains(*s)).count() as f64;
        let expected = shares.len() as f64 / 10.0;
        assert!((n - expected).abs() < 5.0 * expected.sqrt(), "{n} in [{low}, {}]", low + 0.05);
    }
    let none = Regularize { kind: Regularization::None, probability: 1.0, ..how.clone() };
    assert!((0..100).all(|seed| drawn(&none, seed).is_none()));
    // Kinds differ in nothing else that is drawn.
    let control = Regularize { kind: CONTROLS[0], ..how.clone() };
    assert!((0..100).all(|seed| drawn(&how, seed) == drawn(&control, seed)));
}

#[test]
fn noise_is_any_byte_of_any_channel_alike() {
    let how = Regularize { fill: Fill::Noise, share: [1.0, 1.0], ..always(PRIMARY) };
    let everywhere = map(|_, _| 255);
    let erase = Erase { how: &how, drawn: drawn(&how, 5).unwrap(), map: Some(&everywhere) };
    let out = shown(&plain(256), &picture(64, 64, 1), &Plan::PLAIN, Some(&erase));
    let expected = f64::from(256 * 256) / 256.0;
    for channel in 0..3 {
        let mut counts = [0usize; 256];
        for value in out.iter().skip(channel).step_by(3) {
            let byte = (value * 255.0).round();
            assert!((value * 255.0 - byte).abs() < 1e-3);
            counts[byte as usize] += 1;
        }
        assert!(counts.iter().all(|n| *n > 0));
        // Chi square of 255 degrees of freedom: mean 255, standard deviation 22.6.
        let chi: f64 = counts.iter().map(|n| (*n as f64 - expected).powi(2) / expected).sum();
        assert!((255.0 - 5.0 * 22.6..255.0 + 5.0 * 22.6).contains(&chi), "{chi}");
    }
    // Channels do not follow each other.
    let pairs = out.chunks_exact(3).filter(|p| p[0] == p[1] || p[1] == p[2]).count();
    assert!(pairs < 256 * 256 / 64, "{pairs}");
    let again = Erase { drawn: drawn(&how, 6).unwrap(), ..erase };
    assert_ne!(out, shown(&plain(256), &picture(64, 64, 1), &Plan::PLAIN, Some(&again)));
}

#[test]
fn what_is_erased_stays_erased_whatever_else_is_done() {
    let augment = Augment { colour: 1.0, noise: 1.0, jpeg: 1.0, blur: 1.0, rescale: 1.0, ..Augment::default() };
    let input = Input { size: 48, mean: [0.5, 0.25, 0.1], std: [0.5, 0.2, 0.1], ..Input::default() };
    let (how, map, picture) = (always(PRIMARY), patchy(2), picture(60, 60, 2));
    let mut some = 0;
    for seed in 0..8 {
        let plan = plan(&augment, seed);
        let whole = shown(&input, &picture, &plan, None);
        let erase = Erase { how: &how, drawn: drawn(&how, seed).unwrap(), map: Some(&map) };
        for (a, b) in shown(&input, &picture, &plan, Some(&erase)).chunks_exact(3).zip(whole.chunks_exact(3)) {
            // Black of [0, 1], normalized as all the rest.
            let black = std::array::from_fn::<f32, 3, _>(|c| (0.0 - input.mean[c]) / input.std[c]);
            assert!(a == b || a == black);
            some += usize::from(a != b);
        }
    }
    assert!(some > 1000, "{some}");
}

#[test]
fn a_face_without_a_map_is_an_error() {
    let how = always(PRIMARY);
    let mut augmenter = Augmenter::new(&plain(32), 32);
    let mut out = vec![0.0; augmenter.len()];
    let erase = Erase { how: &how, drawn: drawn(&how, 1).unwrap(), map: None };
    let error = augmenter.apply(&picture(32, 32, 1), &Plan::PLAIN, Some(&erase), &mut out).unwrap_err();
    assert!(error.to_string().contains("no map"), "{error}");
}

#[test]
fn erasing_allocates_nothing_once_warm() {
    let (map, picture) = (patchy(4), picture(64, 64, 4));
    let mut augmenter = Augmenter::new(&plain(64), 64);
    let mut out = vec![0.0; augmenter.len()];
    let augment = Augment { flip: 0.5, scale: [0.8, 1.2], shift: 0.1, colour: 0.5, noise: 0.5, ..geometry_only() };
    for kind in [PRIMARY, CONTROLS[0], CONTROLS[1]] {
        let how = Regularize { kind, fill: Fill::Noise, ..always(kind) };
        let mut show = |seed: u64| {
            let erase = Erase { how: &how, drawn: drawn(&how, seed).unwrap(), map: Some(&map) };
            augmenter.apply(&picture, &plan(&augment, seed), Some(&erase), &mut out).unwrap();
        };
        (0..64).for_each(&mut show);
        let before = ALLOCATED.get();
        (0..64).for_each(&mut show);
        assert_eq!(ALLOCATED.get() - before, 0, "{kind:?}");
    }
}
