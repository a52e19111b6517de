//! What is done to the colour and the sharpness of one of the two copies.

use rand_pcg::Pcg64Mcg;

use super::recipe::yes;
use crate::config::Synthesize;
use crate::data::Picture;
use crate::filter::bilinear;
use crate::seeded::between;

/// Changes nothing but values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    /// Added to red, green and blue, in values of a byte.
    rgb: [f32; 3],
    /// In sixths of a turn.
    hue: f32,
    /// Factors.
    saturation: f32,
    value: f32,
    contrast: f32,
    /// Added last, in values of a byte.
    brightness: f32,
    sharpness: Sharpness,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sharpness {
    /// So many times smaller, and large again.
    Downscale(f64),
    /// So much of the difference to the eight neighbours is added.
    Sharpen(f32),
}

impl Change {
    pub(super) fn draw(s: &Synthesize, rng: &mut Pcg64Mcg) -> Self {
        let mut around = |by: f64| between(rng, [-by, by]) as f32;
        let shift = [0, 1, 2].map(|_| 255.0 * around(s.rgb_by));
        let hue = around(s.hue_by) / 60.0;
        let (saturation, value) = (1.0 + around(s.saturation_by), 1.0 + around(s.value_by));
        let (contrast, brightness) = (1.0 + around(s.contrast_by), 255.0 * around(s.brightness_by));
        let rgb = if yes(rng, s.rgb) { shift } else { [0.0; 3] };
        let (by, share) = (between(rng, s.downscale_by), between(rng, s.sharpen_by) as f32);
        let sharpness = if yes(rng, s.downscale) { Sharpness::Downscale(by) } else { Sharpness::Sharpen(share) };
        Self { rgb, hue, saturation, value, contrast, brightness, sharpness }
    }

    pub(super) fn apply(&self, picture: &Picture) -> Picture {
        let mut changed = picture.clone();
        for pixel in changed.data.as_chunks_mut::<3>().0 {
            *pixel = self.pixel(pixel.map(f32::from)).map(|v| v.round() as u8);
        }
        changed.data = match self.sharpness {
            Sharpness::Downscale(by) => downscaled(&changed, by),
            Sharpness::Sharpen(share) => sharpened(&changed, share),
        };
        changed
    }

    fn pixel(&self, rgb: [f32; 3]) -> [f32; 3] {
        let mut shifted = rgb;
        for (v, by) in shifted.iter_mut().zip(self.rgb) {
            *v = (*v + by).clamp(0.0, 255.0);
        }
        let [hue, saturation, value] = to_hsv(shifted);
        let saturation = (saturation * self.saturation).min(1.0);
        let turned = to_rgb([hue + self.hue, saturation, (value * self.value).min(255.0)]);
        turned.map(|v| (v * self.contrast + self.brightness).clamp(0.0, 255.0))
    }
}

/// Hue in sixths of a turn from red, saturation in [0, 1], value as given.
fn to_hsv([r, g, b]: [f32; 3]) -> [f32; 3] {
    let value = r.max(g).max(b);
    let chroma = value - r.min(g).min(b);
    if chroma <= 0.0 {
        return [0.0, 0.0, value];
    }
    let hue = if value == r {
        (g - b) / chroma
    } else if value == g {
        2.0 + (b - r) / chroma
    } else {
        4.0 + (r - g) / chroma
    };
    [hue, chroma / value, value]
}

fn to_rgb([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    [5.0, 3.0, 1.0].map(|from: f32| {
        let k = (from + hue).rem_euclid(6.0);
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

/// Single pixels of the picture, and straight lines between them.
fn downscaled(picture: &Picture, by: f64) -> Vec<u8> {
    let (width, height) = (picture.width, picture.height);
    let side = |n: usize| ((n as f64 / by).round() as usize).max(1);
    let small = (side(width), side(height));
    let nearest = |i: usize, from: usize, to: usize| (i * 2 + 1) * from / (to * 2);
    let mut data = Vec::with_capacity(small.0 * small.1 * 3);
    for y in 0..small.1 {
        let row = nearest(y, height, small.1) * width;
        for x in 0..small.0 {
            data.extend_from_slice(&picture.data[(row + nearest(x, width, small.0)) * 3..][..3]);
        }
    }
    bilinear(&data, small, 3, (width, height)).into_iter().map(|v| v.round() as u8).collect()
}

/// The picture plus so much of its difference to its eight neighbours; edges are repeated. The light stays.
fn sharpened(picture: &Picture, share: f32) -> Vec<u8> {
    let (width, height, stride) = (picture.width, picture.height, picture.width * 3);
    let row = |y: usize| &picture.data[y * stride..][..stride];
    // Sums of three pixels above each other, with a pixel more on each side.
    let mut sums = vec![0i32; stride + 6];
    let mut out = Vec::with_capacity(picture.data.len());
    for y in 0..height {
        let (above, here, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(height - 1)));
        for (x, sum) in sums[3..stride + 3].iter_mut().enumerate() {
            *sum = i32::from(above[x]) + i32::from(here[x]) + i32::from(below[x]);
        }
        sums.copy_within(3..6, 0);
        sums.copy_within(width * 3..width * 3 + 3, stride + 3);
        for (x, &v) in here.iter().enumerate() {
            let difference = 9 * i32::from(v) - sums[x] - sums[x + 3] - sums[x + 6];
            out.push((f32::from(v) + share * difference as f32).round().clamp(0.0, 255.0) as u8);
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn bytes(text: &Value) -> Vec<u8> {
        let text = text.as_str().unwrap();
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn equal_to_opencv() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/synthesize.json");
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let size = |key: &str| golden[key].as_u64().unwrap() as usize;
        let picture = Picture { width: size("width"), height: size("height"), data: bytes(&golden["picture"]) };
        let number = |key: &str| golden["change"][key].as_f64().unwrap() as f32;
        let change = Change {
            rgb: [0, 1, 2].map(|c| golden["change"]["shift"][c].as_f64().unwrap() as f32),
            hue: number("hue") / 60.0,
            saturation: number("saturation"),
            value: number("value"),
            contrast: number("contrast"),
            brightness: number("brightness"),
            sharpness: Sharpness::Sharpen(0.0),
        };
        let near = |ours: &[u8], expected: &Value, what: &str| {
            let expected = bytes(expected);
            assert_eq!(ours.len(), expected.len());
            let most = ours.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(most <= Some(1), "{what}: {most:?}");
        };
        near(&change.apply(&picture).data, &golden["colour"], "colour");
        for (share, expected) in golden["sharpened"].as_object().unwrap() {
            near(&sharpened(&picture, share.parse().unwrap()), expected, share);
        }
        for (by, expected) in golden["downscaled"].as_object().unwrap() {
            near(&downscaled(&picture, by.parse().unwrap()), expected, by);
        }
    }

    proptest! {
        #[test]
        fn hue_saturation_and_value_are_the_colour(r: u8, g: u8, b: u8) {
            let back = to_rgb(to_hsv([r, g, b].map(f32::from)));
            for (v, byte) in back.into_iter().zip([r, g, b]) {
                prop_assert!((v - f32::from(byte)).abs() < 1e-3);
            }
        }

        #[test]
        fn an_even_picture_stays_even_and_as_light(v: u8, width in 1usize..9, height in 1usize..9, by in 1.0..5.0) {
            let picture = Picture { width, height, data: vec![v; width * height * 3] };
            prop_assert_eq!(&downscaled(&picture, by), &picture.data);
            prop_assert_eq!(&sharpened(&picture, 0.5), &picture.data);
        }
    }

    #[test]
    fn a_third_of_a_turn_makes_red_green() {
        assert_eq!(to_rgb([2.0, 1.0, 200.0]), [0.0, 200.0, 0.0]);
        assert_eq!(to_hsv([0.0, 0.0, 50.0]), [4.0, 1.0, 50.0]);
    }

    #[test]
    fn sharpening_is_the_kernel_of_nine() {
        // One bright pixel in the middle of 3x3: 9 * 100 - 100 times a half is added there, 100 halves are taken from its neighbours.
        let mut data = vec![60u8; 27];
        data[12..15].fill(80);
        let out = sharpened(&Picture { width: 3, height: 3, data }, 0.5);
        assert_eq!(out[12..15], [160; 3]);
        assert_eq!(out[..3], [50; 3]);
    }
}
