//! The evidence map as a picture.
//!
//! In the colours of [`deepfake_scoring::heat`]. Colour is full at [`FULL`] logits or, where a map has
//! more, at what 95 of 100 of its values stay below: noise is never blown up, nor can one value drown the others.

use deepfake_scoring::heat::colour;

use super::blend::{Area, Argb, Picture};
use crate::meta::RegionMap;

/// Odds of twenty to one.
const FULL: f32 = 3.0;
const QUANTILE: f32 = 0.95;
/// Steps of colour to each side.
const STEPS: usize = 256;

/// A region in pixels of the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Region {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// The part `area` of the map, which lies over `region`; its values are interpolated linearly between the middles of
/// their cells. Full colour covers what is below to `opacity`.
pub(super) fn picture(map: &RegionMap, region: Region, area: Area, opacity: f64) -> Picture {
    let full = full_scale(&map.values);
    let colours = colours(opacity as f32);
    let (columns, rows) = (map.width as usize, map.height as usize);
    let horizontal: Vec<_> = (area.x0..area.x1).map(|x| between(x, region.x, region.w, columns)).collect();
    let mut line = vec![0.0f32; columns];
    let mut pixels = Vec::with_capacity((area.width().max(0) as usize) * (area.height().max(0) as usize));
    for y in area.y0..area.y1 {
        let (row, part) = between(y, region.y, region.h, rows);
        let upper = &map.values[row * columns..][..columns];
        let lower = &map.values[(row + 1).min(rows - 1) * columns..][..columns];
        for ((line, upper), lower) in line.iter_mut().zip(upper).zip(lower) {
            *line = (upper + (lower - upper) * part) / full * STEPS as f32;
        }
        pixels.extend(horizontal.iter().map(|&(column, part)| {
            let value = line[column] + (line[(column + 1).min(columns - 1)] - line[column]) * part;
            // Saturates, and what is not a number is nothing.
            colours[((value + STEPS as f32 + 0.5) as usize).min(2 * STEPS)]
        }));
    }
    Picture { width: area.width().max(0) as usize, height: area.height().max(0) as usize, pixels }
}

/// The cell before the middle of pixel `at`, and how far it is to the next.
fn between(at: i32, start: f64, length: f64, cells: usize) -> (usize, f32) {
    let place = ((f64::from(at) + 0.5 - start) / length * cells as f64 - 0.5).clamp(0.0, (cells - 1) as f64);
    (place as usize, place.fract() as f32)
}

/// The value with full colour.
fn full_scale(values: &[f32]) -> f32 {
    let mut sizes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    let at = ((sizes.len() - 1) as f32 * QUANTILE) as usize;
    let (_, quantile, _) = sizes.select_nth_unstable_by(at, f32::total_cmp);
    quantile.max(FULL)
}

/// From full blue over nothing to full red.
fn colours(opacity: f32) -> [Argb; 2 * STEPS + 1] {
    std::array::from_fn(|step| {
        let [r, g, b, alpha] = colour(step as f32 / STEPS as f32 - 1.0, opacity);
        Argb::from_be_bytes([alpha, r, g, b])
    })
}

#[cfg(test)]
mod tests {
    use deepfake_scoring::geometry::Rect;

    use super::*;

    fn map(width: u32, height: u32, values: &[f32]) -> RegionMap {
        RegionMap { width, height, values: values.to_vec(), region: Some(Rect::new(0.0, 0.0, 1.0, 1.0)) }
    }

    fn region(side: f64) -> Region {
        Region { x: 0.0, y: 0.0, w: side, h: side }
    }

    #[test]
    fn fake_is_red_real_is_blue_and_nothing_is_clear() {
        let heat = picture(&map(3, 1, &[3.0, 0.0, -3.0]), region(9.0), Area::new(0, 0, 9, 9), 1.0);
        assert_eq!(heat.pixels.len(), 81);
        let at = |x: usize| heat.pixels[4 * 9 + x].to_be_bytes();
        assert_eq!(at(0), [255, 225, 29, 24]);
        assert_eq!(at(4), [0; 4]);
        assert_eq!(at(8), [255, 30, 98, 235]);
        // In between it is in between.
        assert!(at(2)[0] > 64 && at(2)[0] < 255, "{:?}", at(2));
    }

    #[test]
    fn faint_evidence_stays_faint_and_an_outlier_does_not_hide_the_rest() {
        let alpha = |values: &[f32], i: usize| {
            picture(&map(values.len() as u32, 1, values), region(values.len() as f64), Area::new(0, 0, 40, 1), 1.0)
                .pixels[i]
                >> 24
        };
        assert_eq!(alpha(&[0.3; 40], 20), 26);
        let mut values = [6.0; 40];
        values[0] = 1e6;
        assert_eq!(alpha(&values, 20), 255);
    }

    #[test]
    fn opacity_is_the_most_that_is_covered_and_any_value_is_drawn() {
        for value in [f32::MAX, f32::MIN, 1e30, -0.0] {
            let heat = picture(&map(1, 1, &[value]), region(2.0), Area::new(0, 0, 2, 2), 0.5);
            assert!(heat.pixels.iter().all(|p| p >> 24 <= 128), "{value}");
        }
    }

    #[test]
    fn only_the_part_in_the_area_is_drawn_and_in_its_place() {
        let map = map(2, 2, &[3.0, -3.0, 1.0, -1.0]);
        let whole = picture(&map, region(16.0), Area::new(0, 0, 16, 16), 1.0);
        let part = picture(&map, region(16.0), Area::new(4, 6, 12, 9), 1.0);
        for y in 0..3 {
            assert_eq!(part.pixels[y * 8..][..8], whole.pixels[(y + 6) * 16 + 4..][..8]);
        }
    }
}
