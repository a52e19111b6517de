//! The distortions that robustness is measured with.

mod support;

use deepfake_trainer::data::Picture;
use deepfake_trainer::distort::Distortion;
use proptest::prelude::*;
use serde_json::Value;
use support::{golden, numbers};

/// Soft waves of every colour with a few hard edges.
fn waves(width: usize, height: usize) -> Picture {
    let value = |x: usize, y: usize, c: usize| {
        let (x, y) = (x as f64, y as f64);
        let wave = 128.0 + 70.0 * (x / (4 + c) as f64 + y / 11.0 + c as f64).sin() + 40.0 * (y / 3.0).cos();
        let edge = if (x as usize / 20 + y as usize / 16).is_multiple_of(3) { 30.0 } else { 0.0 };
        (wave + edge).clamp(0.0, 255.0) as u8
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    Picture { width, height, data: pixels.flat_map(|(x, y)| [0, 1, 2].map(|c| value(x, y, c))).collect() }
}

fn distorted(picture: &Picture, distortion: Distortion, level: u8, seed: u64) -> Picture {
    let mut picture = picture.clone();
    distortion.apply(level, &mut picture, seed).unwrap();
    picture
}

/// Mean squared difference.
fn damage(a: &Picture, b: &Picture) -> f64 {
    let squares = a.data.iter().zip(&b.data).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>() / a.data.len() as f64
}

fn bytes(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn equal_to_opencv() {
    let golden = golden("distortions.json");
    let size = |key: &str| golden[key].as_u64().unwrap() as usize;
    let picture = Picture { width: size("width"), height: size("height"), data: bytes(&golden["picture"]) };
    for (distortion, most) in [
        (Distortion::Contrast, 0),
        (Distortion::Saturation, 1),
        // OpenCV's weights are fixed-point numbers, and it rounds between its two passes.
        (Distortion::Blur, 1),
        (Distortion::Pixelation, 2),
    ] {
        for (level, expected) in golden["distorted"][distortion.name()].as_object().unwrap() {
            let ours = distorted(&picture, distortion, level.parse().unwrap(), 1);
            let differences: Vec<u8> = ours.data.iter().zip(bytes(expected)).map(|(a, b)| a.abs_diff(b)).collect();
            assert_eq!(differences.len(), picture.data.len());
            let largest = differences.iter().copied().max().unwrap();
            let mean = differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
            assert!(largest <= most && mean < 0.3, "{distortion} {level}: {largest}, in the mean {mean}");
        }
    }
}

#[test]
fn noise_has_the_moments_of_the_reference() {
    let (side, golden) = (500, golden("distortions.json"));
    let even = Picture { width: side, height: side, data: [120, 130, 110].repeat(side * side) };
    for (level, expected) in golden["noise"].as_object().unwrap() {
        let noisy = distorted(&even, Distortion::Noise, level.parse().unwrap(), 5);
        let of = |f: &dyn Fn(&[u8]) -> f64| noisy.data.chunks_exact(3).map(f).sum::<f64>() / (side * side) as f64;
        let means = [0, 1, 2].map(|c| of(&|p| f64::from(p[c])));
        let product = |a: usize, b: usize| of(&|p| (f64::from(p[a]) - means[a]) * (f64::from(p[b]) - means[b]));
        let deviations = [0, 1, 2].map(|c| product(c, c).sqrt());
        for c in 0..3 {
            let (mean, deviation) = (numbers(&expected["mean"])[c], numbers(&expected["deviation"])[c]);
            assert!((means[c] - mean).abs() < 0.02 * deviation, "{level}: mean {} and {mean}", means[c]);
            assert!((deviations[c] / deviation - 1.0).abs() < 0.01, "{level}: {} and {deviation}", deviations[c]);
        }
        let correlation = product(0, 2) / deviations[0] / deviations[2];
        assert!((correlation - expected["correlation"].as_f64().unwrap()).abs() < 0.01, "{level}: {correlation}");
    }
}

#[test]
fn blocks_are_gray_squares_as_many_as_told() {
    for ((width, height), units) in [((100, 60), 1), ((300, 256), 1), ((640, 530), 2)] {
        let black = Picture { width, height, data: vec![0; width * height * 3] };
        for level in 1..=5 {
            let blocks = distorted(&black, Distortion::Blocks, level, 9);
            let gray = blocks.data.chunks_exact(3).filter(|p| *p == [128; 3]).count();
            assert_eq!(blocks.data.iter().filter(|v| **v != 0).count(), 3 * gray);
            // They may overlap, or the picture be small.
            let most = units * 16 * usize::from(level) * 64;
            let free = 1.0 - (-(most as f64) / (width * height) as f64).exp();
            let expected = free * (width * height) as f64;
            assert!(
                gray <= most && (gray as f64 / expected - 1.0).abs() < 0.15,
                "{width}x{height}: {gray}, {expected}"
            );
        }
    }
    let tiny = Picture { width: 5, height: 3, data: vec![0; 45] };
    assert_eq!(distorted(&tiny, Distortion::Blocks, 1, 1).data, vec![128; 45]);
}

#[test]
fn the_last_level_of_saturation_has_no_colour() {
    let gray = distorted(&waves(40, 30), Distortion::Saturation, 5, 1);
    assert!(gray.data.chunks_exact(3).all(|p| p.iter().all(|v| v.abs_diff(p[1]) <= 2)));
}

/// Whether single pictures can be compressed here; where not, that is said.
fn compresses() -> bool {
    let done = Distortion::Compression.apply(1, &mut waves(32, 32), 1);
    if let Err(error) = &done {
        eprintln!("SKIPPED for compression: {error}");
    }
    done.is_ok()
}

#[test]
fn each_level_does_more_than_the_one_before() {
    let picture = waves(233, 175);
    for distortion in Distortion::ALL {
        if distortion == Distortion::Compression && !compresses() {
            continue;
        }
        let mut before = 0.0;
        for level in 1..=Distortion::LEVELS {
            let after = distorted(&picture, distortion, level, 3);
            assert_eq!((after.width, after.height, after.data.len()), (233, 175, picture.data.len()));
            let now = damage(&picture, &after);
            assert!(now > before, "{distortion} {level}: {now} after {before}");
            before = now;
        }
    }
}

#[test]
fn compression_is_gentle_at_first_and_the_same_each_time() {
    if !compresses() {
        return;
    }
    let picture = waves(201, 149);
    let once = distorted(&picture, Distortion::Compression, 1, 1);
    assert_eq!(once, distorted(&picture, Distortion::Compression, 1, 2));
    // The right way up, and all of it.
    let rows: Vec<&[u8]> = picture.data.chunks_exact(3 * picture.width).rev().collect();
    let upside_down = Picture { data: rows.concat(), ..picture.clone() };
    let (loss, other) = (damage(&picture, &once), damage(&picture, &upside_down));
    assert!(loss < other / 16.0, "{loss} and {other}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_picture_keeps_its_size_and_level_nought_keeps_all(
        width in 1usize..70, height in 1usize..70, level in 1u8..=5, seed: u64, which in 0usize..6,
    ) {
        let (picture, distortion) = (waves(width, height), Distortion::ALL[which]);
        let once = distorted(&picture, distortion, level, seed);
        prop_assert_eq!((once.width, once.height, once.data.len()), (width, height, width * height * 3));
        prop_assert_eq!(&once, &distorted(&picture, distortion, level, seed));
        prop_assert_eq!(&picture, &distorted(&picture, distortion, 0, seed));
        // An even picture has nothing to blur; its light changes with its values only.
        if matches!(distortion, Distortion::Blur | Distortion::Pixelation) {
            let even = Picture { data: vec![77; width * height * 3], ..picture };
            prop_assert_eq!(&distorted(&even, distortion, level, seed), &even);
        }
    }
}

#[test]
fn seeds_place_blocks_and_noise_elsewhere() {
    let picture = waves(64, 64);
    for distortion in [Distortion::Blocks, Distortion::Noise] {
        assert_ne!(distorted(&picture, distortion, 2, 1), distorted(&picture, distortion, 2, 2));
    }
}

#[test]
fn there_is_no_sixth_level() {
    let error = Distortion::Blur.apply(6, &mut waves(8, 8), 1).unwrap_err().to_string();
    assert!(error.contains("blur has the levels 1 to 5, not 6"), "{error}");
}
