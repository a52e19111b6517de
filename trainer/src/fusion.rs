//! Several detectors' maps of one face become the map R of its primary regions.
//!
//! Stage 1 of Cheng et al., arXiv 2307.12534. With `F` the mean (or maximum) of the members' maps `L_m`, `R(p) = F(p)` where
//! `F(p) > tau1`, else 0. The neighbour rule gives what lies between `tau2` and `tau1` a second chance where members disagree: with
//! `N(p)` the 3 x 3 pixels around p, and for every ordered pair of two members (k, j), if the mean over n in N(p) of
//! `|L_j(n) - L_k(p)|` is above `tau3` for some pair, `R(p) = F(q)`, where q is the place of the largest value that any member has in
//! N(p).
//!
//! What the source leaves open is settled so: N(p) ends at the border of the map; of equal largest values the first counts, row by row.

use crate::config::{Fusion, Localize};

/// Fuses `maps`, each of `side` rows of `side` values in [0, 1], into `out`.
///
/// # Panics
///
/// When there is no map or one is of another size.
pub fn fuse(maps: &[&[f32]], side: usize, rule: &Localize, out: &mut [f32]) {
    assert!(!maps.is_empty() && maps.iter().all(|m| m.len() == side * side) && out.len() == side * side);
    let fused: Vec<f32> = (0..side * side).map(|p| pixel(maps, rule.fusion, p)).collect();
    let (tau1, tau2) = (rule.tau1 as f32, rule.tau2 as f32);
    for (p, out) in out.iter_mut().enumerate() {
        *out = if fused[p] > tau1 {
            fused[p]
        } else if rule.fusion == Fusion::Neighbour && fused[p] >= tau2 {
            second_chance(maps, side, rule.tau3 as f32, p).map_or(0.0, |q| fused[q])
        } else {
            0.0
        };
    }
}

fn pixel(maps: &[&[f32]], fusion: Fusion, p: usize) -> f32 {
    let values = maps.iter().map(|m| m[p]);
    match fusion {
        Fusion::Max => values.fold(0.0, f32::max),
        Fusion::Mean | Fusion::Neighbour => values.sum::<f32>() / maps.len() as f32,
    }
}

/// The place whose fused value p gets, where two members disagree about it.
fn second_chance(maps: &[&[f32]], side: usize, tau3: f32, p: usize) -> Option<usize> {
    let around = |at: usize| at.saturating_sub(1)..(at + 2).min(side);
    let neighbours = || around(p / side).flat_map(move |y| around(p % side).map(move |x| y * side + x));
    let count = neighbours().count() as f32;
    let differ = |k: usize, j: usize| {
        let sum: f32 = neighbours().map(|n| (maps[j][n] - maps[k][p]).abs()).sum();
        k != j && sum / count > tau3
    };
    let members = 0..maps.len();
    if !members.clone().any(|k| members.clone().any(|j| differ(k, j))) {
        return None;
    }
    let largest = |n: usize| maps.iter().map(|m| m[n]).fold(0.0, f32::max);
    neighbours().reduce(|best, n| if largest(n) > largest(best) { n } else { best })
}

/// A fused map as it is kept: the mean over each cell of a grid of `cells` x `cells`, as bytes. What is something stays at least 1.
pub fn quantize(fused: &[f32], side: usize, cells: usize, out: &mut [u8]) {
    let step = side / cells;
    for (cell, out) in out.iter_mut().enumerate() {
        let rows = cell / cells * step..(cell / cells + 1) * step;
        let columns = cell % cells * step..(cell % cells + 1) * step;
        let sum: f32 = rows.flat_map(|y| fused[y * side..][columns.clone()].iter()).sum();
        let mean = sum / (step * step) as f32;
        let least = if mean > 0.0 { 1.0 } else { 0.0 };
        *out = (mean * 255.0).round().clamp(least, 255.0) as u8;
    }
}
