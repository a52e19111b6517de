//! Changes of the cropped picture's values, which lie in [0, 1].

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::seeded;

/// BT.601 weights.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Factors; 1 changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) brightness: f32,
    pub(super) contrast: f32,
    pub(super) saturation: f32,
}

impl Default for Change {
    fn default() -> Self {
        Self { brightness: 1.0, contrast: 1.0, saturation: 1.0 }
    }
}

impl Change {
    pub(super) fn without_colour(self) -> Self {
        Self { saturation: 0.0, ..self }
    }

    /// Brightness, then contrast around the mean luma, then saturation around each pixel's luma.
    pub(super) fn apply(&self, picture: &mut [f32]) {
        let luma = |p: &[f32]| LUMA[0] * p[0] + LUMA[1] * p[1] + LUMA[2] * p[2];
        let mean = picture.chunks_exact(3).map(luma).sum::<f32>() / (picture.len() / 3) as f32;
        let gain = self.brightness * self.contrast;
        let offset = self.brightness * mean * (1.0 - self.contrast);
        for pixel in picture.chunks_exact_mut(3) {
            for v in &mut *pixel {
                *v = *v * gain + offset;
            }
            let y = luma(pixel);
            for v in pixel {
                *v = (y + (*v - y) * self.saturation).clamp(0.0, 1.0);
            }
        }
    }
}

/// Adds normal noise to every value.
pub(super) fn add_noise(picture: &mut [f32], sigma: f32, seed: u64) {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    for v in picture {
        *v = (*v + sigma * seeded::normal(&mut rng) as f32).clamp(0.0, 1.0);
    }
}
