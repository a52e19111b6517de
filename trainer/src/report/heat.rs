//! Evidence maps as heat over a face.

use image::RgbImage;

use crate::evaluate::Map;

/// Evidence for a fake (vermillion) and for a genuine face (blue): far apart for every kind of colour vision.
const FAKE: [f32; 3] = [213.0, 94.0, 0.0];
const REAL: [f32; 3] = [0.0, 114.0, 178.0];

/// How much of the face the strongest evidence covers.
const STRONGEST: f32 = 0.75;

/// The face in gray under its evidence: vermillion speaks for a fake, blue for a genuine face, the stronger the more opaque. `full` is
/// the evidence (a logit) that is covered most.
pub fn heat(face: &RgbImage, map: &Map, full: f32) -> Option<RgbImage> {
    if map.values.is_empty() || map.width * map.height != map.values.len() {
        return None;
    }
    let (width, height) = face.dimensions();
    let mut heat = face.clone();
    for (x, y, pixel) in heat.enumerate_pixels_mut() {
        let value = between(map, (x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32);
        let [r, g, b] = pixel.0.map(f32::from);
        let gray = 0.299 * r + 0.587 * g + 0.114 * b;
        let colour = if value > 0.0 { FAKE } else { REAL };
        let cover = STRONGEST * (value.abs() / full.max(1e-6)).min(1.0);
        pixel.0 = colour.map(|c| (gray + (c - gray) * cover).round() as u8);
    }
    Some(heat)
}

/// The evidence at a place in [0, 1], linear between the middles of the map's fields.
fn between(map: &Map, x: f32, y: f32) -> f32 {
    let along = |at: f32, fields: usize| {
        let at = (at * fields as f32 - 0.5).clamp(0.0, (fields - 1) as f32);
        let first = at.floor();
        (first as usize, (first as usize + 1).min(fields - 1), at - first)
    };
    let (left, right, tx) = along(x, map.width);
    let (top, bottom, ty) = along(y, map.height);
    let at = |column: usize, row: usize| map.values[row * map.width + column];
    let row = |row: usize| at(left, row) * (1.0 - tx) + at(right, row) * tx;
    row(top) * (1.0 - ty) + row(bottom) * ty
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_coloured_where_it_lies_and_by_its_sign() {
        let face = RgbImage::from_pixel(8, 8, image::Rgb([100, 100, 100]));
        let map = Map { width: 2, height: 1, values: vec![-4.0, 4.0] };
        let found = heat(&face, &map, 4.0).unwrap();
        let (left, right) = (found.get_pixel(0, 4).0, found.get_pixel(7, 4).0);
        assert!(left[2] > left[0] && right[0] > right[2], "{left:?} {right:?}");
        // Half way between equal and opposite evidence there is none.
        assert!(between(&map, 0.5, 0.5).abs() < 1e-6 && between(&map, 0.0, 0.9) == -4.0);
        let none = Map { width: 2, height: 1, values: vec![0.0, 0.0] };
        assert_eq!(heat(&face, &none, 4.0).unwrap(), face);
        assert!(heat(&face, &Map { width: 3, height: 1, values: vec![0.0] }, 1.0).is_none());
    }
}
