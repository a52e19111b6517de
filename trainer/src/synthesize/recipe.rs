//! All that is drawn for one pseudo-fake.

use deepfake_scoring::geometry::{Point, Rect};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::change::Change;
use super::outline::Part;
use crate::config::Synthesize;
use crate::seeded::between;

/// Sides of the grid on which masks are made, whatever the picture's.
const GRID: std::ops::RangeInclusive<usize> = 192..=256;
/// Standard deviation of the last softening, in pixels of the grid.
const SIGMA: [f64; 2] = [5.0, 45.0];

/// All that is drawn for one pseudo-fake.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    pub(super) part: Part,
    pub(super) change: Change,
    pub(super) changes_target: bool,
    pub(super) motion: Motion,
    pub(super) softness: Softness,
}

/// How the source lies over the target, in parts of the picture's sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Motion {
    scale: [f32; 2],
    shift: [f32; 2],
}

/// How the outline becomes a mask; lengths in pixels of the grid but where said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Softness {
    /// Width and height.
    pub(super) grid: [usize; 2],
    /// Deviation of the deformation, in parts of the longer side.
    pub(super) elastic: f32,
    /// Of the deformation.
    pub(super) seed: u64,
    pub(super) shrink: usize,
    pub(super) soften: usize,
    pub(super) sigma: f64,
    /// Largest value of the mask.
    pub(super) ratio: f32,
}

impl Recipe {
    /// Draws everything; always as many numbers, whatever the probabilities are.
    pub fn draw(s: &Synthesize, rng: &mut Pcg64Mcg) -> Self {
        let (is_part, forehead) = (yes(rng, s.part), yes(rng, s.forehead));
        let part = [Part::Features, Part::MouthAndNose, Part::Eyes][rng.random_range(0..3)];
        let whole = if forehead { Part::Whole } else { Part::BelowBrows };
        let changes_target = yes(rng, s.change_target);
        let change = Change::draw(s, rng);
        let motion = Motion {
            scale: [0, 1].map(|_| between(rng, s.scale) as f32),
            shift: s.shift.map(|by| between(rng, [-by, by]) as f32),
        };
        let grid = [0, 1].map(|_| rng.random_range(GRID));
        let mut pixels = |range| (between(rng, range) * grid[0].max(grid[1]) as f64).round() as usize;
        let (shrink, soften) = (pixels(s.shrink), pixels(s.soften));
        let part = if is_part { part } else { whole };
        // Little would be left of what is narrow.
        let shrink = if matches!(part, Part::Eyes | Part::MouthAndNose) { shrink / 2 } else { shrink };
        let softness = Softness {
            grid,
            elastic: s.elastic as f32,
            seed: rng.random(),
            shrink,
            soften,
            sigma: between(rng, SIGMA),
            ratio: s.ratios[rng.random_range(0..s.ratios.len())] as f32,
        };
        Self { part, change, changes_target, motion, softness }
    }

    /// The same with the change on the source: for a real face that is shown as it is.
    #[must_use]
    pub fn on_source(self) -> Self {
        Self { changes_target: false, ..self }
    }

    /// Whether the real face that belongs to it is changed too: [`super::Synthesizer::target`] gives it.
    pub fn changes_target(&self) -> bool {
        self.changes_target
    }
}

impl Motion {
    /// Where a point of the source comes to lie.
    pub(super) fn moved(&self, p: Point) -> Point {
        let along = |at: f32, i: usize| 0.5 + (at - 0.5) * self.scale[i] + self.shift[i];
        Point { x: along(p.x, 0), y: along(p.y, 1) }
    }

    /// What of the source is seen where the target's whole picture is.
    pub(super) fn region(&self) -> Rect {
        let start = |i: usize| 0.5 - (0.5 + self.shift[i]) / self.scale[i];
        Rect::new(start(0), start(1), 1.0 / self.scale[0], 1.0 / self.scale[1])
    }
}

/// Draws a number in any case, which [`RngExt::random_bool`] does not for what is certain.
pub(super) fn yes(rng: &mut Pcg64Mcg, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_mask_goes_where_its_source_goes(
            sx in 0.8f32..1.25, sy in 0.8f32..1.25, dx in -0.1f32..0.1, dy in -0.1f32..0.1, x in 0.0f32..1.0, y in 0.0f32..1.0,
        ) {
            let motion = Motion { scale: [sx, sy], shift: [dx, dy] };
            let (to, region) = (motion.moved(Point { x, y }), motion.region());
            // What is seen at `to` of the region is the point itself.
            prop_assert!((region.x + to.x * region.w - x).abs() < 1e-5);
            prop_assert!((region.y + to.y * region.h - y).abs() < 1e-5);
        }
    }

    #[test]
    fn one_probability_does_not_change_what_others_draw() {
        let recipe = |s: &Synthesize, seed| Recipe::draw(s, &mut crate::seeded::generator(seed, "test", &[]));
        let usual = Synthesize::default();
        for seed in 0..20 {
            let (a, b) = (
                recipe(&usual, seed),
                recipe(&Synthesize { rgb: 0.0, part: 1.0, downscale: 1.0, ..usual.clone() }, seed),
            );
            assert_eq!((a.motion, a.changes_target, a.softness.seed), (b.motion, b.changes_target, b.softness.seed));
        }
    }
}
