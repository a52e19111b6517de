//! The dynamic mask: what is erased of a face, new at every showing.
//!
//! Stage 2 of Cheng et al., "Towards Generalizable Deepfake Detection by Primary Region Regularization", arXiv 2307.12534: with some
//! probability a face is left whole; otherwise `a` is drawn, and of the pixels that its map R ranks above nothing the first
//! `floor(a * count)` are erased. The two controls erase as much, but anywhere.
//!
//! The mask is the last thing that happens to a face, at the network's own resolution: blur and JPEG before it would smear what is
//! erased into what is left, colour and noise after it would change it, so that black were no longer 0 nor noise a byte, and the
//! contrast of what is left would hang on how much is gone. All of a camera and a codec happens before; only the network's
//! normalization comes after.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::between;
use crate::config::{Fill, PairMap, Regularization, Regularize};
use crate::error::{Error, Result};

/// Least value of a resampled map, in [0, 255], that is something: what would be 0 as a byte is nothing.
const SOMETHING: f32 = 0.5;

/// Largest ratio of a rectangle's sides is the square of e to this: 3.3, as published.
const LOG_ASPECT: f64 = 0.6;

/// Patches a side, one of which is drawn: Hide-and-Seek's patches of 56, 44, 32 and 16 pixels in a picture of 224.
const PATCHES: [usize; 4] = [4, 5, 7, 14];

/// What is drawn for one face that is erased from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Erasure {
    /// Where in the range of the configuration the share lies, [0, 1).
    part: f64,
    /// Of a pair, the map of the fake and not of the real face, where it is shared.
    of_fake: bool,
    /// Of the fill, and of where the controls erase.
    seed: u64,
}

impl Erasure {
    /// Draws for one showing; `None` where the face is left whole. The configuration changes no draw but by what it says itself.
    pub fn draw(how: &Regularize, rng: &mut Pcg64Mcg) -> Option<Self> {
        let erased = rng.random_bool(how.probability) && how.kind != Regularization::None;
        let drawn = Self { part: rng.random(), of_fake: rng.random(), seed: rng.random() };
        erased.then_some(drawn)
    }

    /// Whose map it is, of the face `own` and of its pair's real and fake face.
    pub fn map_of(&self, how: PairMap, own: usize, [real, fake]: [usize; 2]) -> usize {
        match how {
            PairMap::Own => own,
            PairMap::Shared if self.of_fake => fake,
            PairMap::Shared => real,
        }
    }

    /// Share of what can be erased: of the primary pixels where there is a map, else of the picture.
    pub fn share(&self, how: &Regularize, mapped: bool) -> f64 {
        let [low, high] = if mapped { how.share } else { how.area };
        low + (high - low) * self.part
    }
}

/// Erases; keeps its scratch memory.
#[derive(Debug, Default)]
pub(super) struct Eraser {
    /// The face's map over the pixels of the input, in [0, 255].
    map: Vec<f32>,
    keys: Vec<u64>,
}

impl Eraser {
    /// Where a map of `pixels` pixels is to be put before [`Self::erase`].
    pub(super) fn map_mut(&mut self, pixels: usize) -> &mut [f32] {
        self.map.resize(pixels, 0.0);
        &mut self.map
    }

    /// Erases from `picture`: rows of `width` pixels of three values in [0, 1]. `mapped` says that the face has a map.
    pub(super) fn erase(
        &mut self,
        picture: &mut [f32],
        width: usize,
        how: &Regularize,
        drawn: &Erasure,
        mapped: bool,
    ) -> Result<()> {
        let pixels = picture.len() / 3;
        let size = [width, pixels / width];
        let map: &[f32] = if mapped { &self.map } else { &[] };
        self.keys.clear();
        self.keys.extend(
            map.iter().enumerate().filter(|(_, value)| **value >= SOMETHING).map(|(at, value)| key(at, *value)),
        );
        let of = if mapped { self.keys.len() } else { pixels };
        let count = (drawn.share(how, mapped) * of as f64).floor() as usize;
        if count == 0 {
            return Ok(());
        }
        let mut rng = Pcg64Mcg::seed_from_u64(drawn.seed);
        let mut erase = Filler { picture, fill: how.fill, rng: Pcg64Mcg::seed_from_u64(rng.random()) };
        match how.kind {
            Regularization::None => {}
            Regularization::PrimaryRegions if !mapped => {
                return Err(Error::Data("a face has no map of its primary regions".to_owned()));
            }
            Regularization::PrimaryRegions => {
                let (_, &mut last, _) = self.keys.select_nth_unstable(count - 1);
                for (at, &value) in map.iter().enumerate() {
                    if value >= SOMETHING && key(at, value) <= last {
                        erase.pixel(at);
                    }
                }
            }
            Regularization::RandomErasing => rectangle(size, count, &mut rng, &mut erase),
            Regularization::HideAndSeek => patches(size, count, &mut rng, &mut erase),
        }
        Ok(())
    }
}

/// Sorts pixels by falling value; equal ones by their place, row by row from the top left, so that no two are equal and what is
/// erased does not depend on how the selection works.
fn key(at: usize, value: f32) -> u64 {
    // Positive floats are ordered as their bits are.
    u64::from(!value.to_bits()) << 32 | at as u64
}

/// A rectangle of `count` pixels, but for rounding.
fn rectangle([width, height]: [usize; 2], count: usize, rng: &mut Pcg64Mcg, erase: &mut Filler<'_>) {
    let side = (count as f64 / (width * height) as f64).sqrt();
    // Neither side may be longer than the picture's.
    let longest = LOG_ASPECT.min(-side.ln());
    let aspect = between(rng, [-longest, longest]).exp();
    let rows = ((side / aspect * height as f64).round() as usize).clamp(1, height);
    let columns = ((count as f64 / rows as f64).round() as usize).clamp(1, width);
    let (x, y) = (rng.random_range(0..=width - columns), rng.random_range(0..=height - rows));
    for row in y..y + rows {
        (row * width + x..row * width + x + columns).for_each(|at| erase.pixel(at));
    }
}

/// Patches of a grid in random order, the last one as far as `count` pixels reach.
fn patches([width, height]: [usize; 2], count: usize, rng: &mut Pcg64Mcg, erase: &mut Filler<'_>) {
    const MOST: usize = PATCHES[PATCHES.len() - 1];
    let grid = PATCHES[rng.random_range(0..PATCHES.len())];
    let mut order: [usize; MOST * MOST] = std::array::from_fn(|i| i);
    let order = &mut order[..grid * grid];
    order.shuffle(rng);
    let side = |at: usize, length: usize| at * length / grid..(at + 1) * length / grid;
    let pixels = order.iter().flat_map(|&patch| {
        side(patch / grid, height).flat_map(move |y| side(patch % grid, width).map(move |x| y * width + x))
    });
    pixels.take(count).for_each(|at| erase.pixel(at));
}

/// Puts something else where a pixel was.
struct Filler<'a> {
    picture: &'a mut [f32],
    fill: Fill,
    rng: Pcg64Mcg,
}

impl Filler<'_> {
    fn pixel(&mut self, at: usize) {
        let pixel = &mut self.picture[3 * at..3 * at + 3];
        match self.fill {
            Fill::Black => pixel.fill(0.0),
            Fill::Noise => {
                let [r, g, b, _] = self.rng.next_u32().to_le_bytes();
                for (value, byte) in pixel.iter_mut().zip([r, g, b]) {
                    *value = f32::from(byte) / 255.0;
                }
            }
        }
    }
}
