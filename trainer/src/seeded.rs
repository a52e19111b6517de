//! Random numbers that depend on nothing but a seed and on what they are for.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A generator for one purpose: equal words give equal numbers, whatever was drawn before and by whichever thread.
pub fn generator(seed: u64, purpose: &str, numbers: &[u64]) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(mixed(seed, purpose, numbers))
}

/// A seed out of a seed, a purpose and numbers.
pub fn mixed(seed: u64, purpose: &str, numbers: &[u64]) -> u64 {
    let words = purpose.bytes().map(u64::from).chain([purpose.len() as u64]).chain(numbers.iter().copied());
    words.fold(finished(seed), |hash, word| finished(hash ^ word.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

/// The finalizer of SplitMix64: every bit of the input reaches every bit of the output.
fn finished(mut v: u64) -> u64 {
    v = (v ^ (v >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    v = (v ^ (v >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    v ^ (v >> 31)
}

/// A number of a range.
pub fn between(rng: &mut Pcg64Mcg, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// One number of the standard normal distribution.
pub fn normal(rng: &mut Pcg64Mcg) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
