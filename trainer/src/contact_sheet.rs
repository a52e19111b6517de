//! Faces with their maps, for people to look at.
//!
//! A row a face, two faces side by side where there are many: the face, what each member of the zoo sees in it, the fused map, and the
//! face without its primary regions, erased in black to the middle of the configured shares. Red speaks for fake, blue for real.

use std::sync::Arc;

use deepfake_scoring::heat::colour;
use image::{Rgb, RgbImage, imageops};

use crate::augment::{Augmenter, Erase, Erasure, Plan};
use crate::config::{Fill, Input, Regularization, Regularize};
use crate::data::{Label, Picture};
use crate::error::Result;
use crate::maps::FaceMap;
use crate::seeded;

/// Pixels of a face's side, and between two of them.
const CELL: usize = 112;
const GAP: usize = 4;

/// How much of the face the fullest colour covers.
const OPACITY: f32 = 0.7;

/// From so many rows on, two faces stand side by side.
const TALL: usize = 8;

/// One face.
#[derive(Debug)]
pub struct Row {
    /// The face.
    pub picture: Arc<Picture>,
    /// What each member sees.
    pub members: Vec<FaceMap>,
    /// What comes of it.
    pub fused: FaceMap,
}

/// Draws the sheet of faces of one label.
///
/// # Errors
///
/// When a face cannot be cut.
pub fn draw(rows: &[Row], label: Label, regularize: &Regularize) -> Result<RgbImage> {
    let input = Input { size: CELL, mean: [0.0; 3], std: [1.0; 3], ..Input::default() };
    let mut augmenter = Augmenter::new(&input, CELL);
    let middle = f64::midpoint(regularize.share[0], regularize.share[1]);
    let how = Regularize {
        kind: Regularization::PrimaryRegions,
        probability: 1.0,
        share: [middle, middle],
        fill: Fill::Black,
        ..Regularize::default()
    };
    let drawn = Erasure::draw(&how, &mut seeded::generator(0, "sheet", &[]));
    let across = if rows.len() > TALL { 2 } else { 1 };
    let columns = rows.first().map_or(0, |r| r.members.len() + 3);
    let width = across * (columns * (CELL + GAP) + GAP);
    let height = rows.len().div_ceil(across) * (CELL + GAP) + GAP;
    let mut sheet = RgbImage::from_pixel(width as u32, height as u32, Rgb([255; 3]));
    let mut face = vec![0.0; augmenter.len()];
    let mut over = vec![0.0; CELL * CELL];
    for (at, row) in rows.iter().enumerate() {
        let mut cells = Vec::with_capacity(columns);
        augmenter.apply(&row.picture, &Plan::PLAIN, None, &mut face)?;
        cells.push(picture(&face));
        for map in row.members.iter().chain([&row.fused]) {
            augmenter.map(map, &Plan::PLAIN, &mut over)?;
            cells.push(heated(&face, &over, label));
        }
        let erase = drawn.map(|drawn| Erase { how: &how, drawn, map: Some(&row.fused) });
        augmenter.apply(&row.picture, &Plan::PLAIN, erase.as_ref(), &mut face)?;
        cells.push(picture(&face));
        for (column, cell) in cells.iter().enumerate() {
            let x = GAP + (at % across) * (width / across) + column * (CELL + GAP);
            let y = GAP + (at / across) * (CELL + GAP);
            imageops::replace(&mut sheet, cell, x as i64, y as i64);
        }
    }
    Ok(sheet)
}

fn picture(face: &[f32]) -> RgbImage {
    RgbImage::from_fn(CELL as u32, CELL as u32, |x, y| {
        let at = 3 * (y as usize * CELL + x as usize);
        Rgb(std::array::from_fn(|c| (face[at + c] * 255.0).round() as u8))
    })
}

/// The map, of values in [0, 255], over the face.
fn heated(face: &[f32], map: &[f32], label: Label) -> RgbImage {
    let sign = if label == Label::Fake { 1.0 } else { -1.0 };
    let mut cell = picture(face);
    for (pixel, value) in cell.pixels_mut().zip(map) {
        let [r, g, b, alpha] = colour(sign * value / 255.0, OPACITY);
        for (below, above) in pixel.0.iter_mut().zip([r, g, b]) {
            *below = ((f32::from(*below) * (1.0 - f32::from(alpha) / 255.0)).round() as u8).saturating_add(above);
        }
    }
    cell
}
