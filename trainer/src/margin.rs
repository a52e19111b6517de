//! How somebody else's face crops lie around the boxes of our locator.
//!
//! A crop is padded by repeating its edges until a locator finds the face in it; the box then tells which `crop.margin` and
//! `crop.shift_y` of the contract cut a frame as the data was cut.

use std::path::PathBuf;

use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::{Face, Locator};
use indicatif::ProgressBar;

use crate::data::Picture;
use crate::error::{Error, Result};

/// What is added on each side before the locator looks, in parts of that side.
const PADDING: f64 = 0.5;

/// Median and quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the values lie below.
    pub median: f64,
    /// A quarter of the values lies below.
    pub first_quartile: f64,
    /// A quarter of the values lies above.
    pub third_quartile: f64,
}

/// The geometry of a set of crops, in the terms of [`deepfake_scoring::contract::Crop`]: parts of the box's longer side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// Added on each side of the box.
    pub margin: Spread,
    /// How far the crop's centre lies below the box's.
    pub shift_y: Spread,
    /// How far it lies to the right; the contract has no such key, it should be near zero.
    pub shift_x: Spread,
    /// Pictures in which a face was found.
    pub found: usize,
    /// Pictures looked at.
    pub pictures: usize,
}

/// Looks at every picture.
///
/// # Errors
///
/// A picture that cannot be read, a locator that fails, no face in any picture.
pub fn measure(pictures: &[PathBuf], locator: &mut Locator, bar: &ProgressBar) -> Result<Margin> {
    let (mut margins, mut downs, mut rights) = (Vec::new(), Vec::new(), Vec::new());
    let mut faces = Vec::new();
    for path in pictures {
        bar.inc(1);
        let picture = Picture::read(path)?;
        let (padded, crop) = padded(&picture);
        locator.locate(&FrameView::rgb(padded.width, padded.height, &padded.data)?, &mut faces)?;
        let Some(face) = largest(&faces, &crop) else {
            continue;
        };
        let longer = f64::from(face.w.max(face.h));
        let (middle, centre) = (crop.center(), face.center());
        margins.push((f64::from(crop.w.max(crop.h)) / longer - 1.0) / 2.0);
        downs.push(f64::from(middle.y - centre.y) / longer);
        rights.push(f64::from(middle.x - centre.x) / longer);
    }
    let none = || Error::Data("no face was found in any picture".to_owned());
    Ok(Margin {
        margin: spread(margins).ok_or_else(none)?,
        shift_y: spread(downs.clone()).ok_or_else(none)?,
        shift_x: spread(rights).ok_or_else(none)?,
        found: downs.len(),
        pictures: pictures.len(),
    })
}

/// The box of the largest face whose middle lies in `within`.
pub fn largest(faces: &[Face], within: &Rect) -> Option<Rect> {
    largest_face(faces, within).map(|f| f.bbox)
}

/// The largest face whose middle lies in `within`.
pub fn largest_face<'a>(faces: &'a [Face], within: &Rect) -> Option<&'a Face> {
    let inside = |r: &Rect| {
        let c = r.center();
        (within.x..=within.right()).contains(&c.x) && (within.y..=within.y + within.h).contains(&c.y)
    };
    faces.iter().filter(|f| inside(&f.bbox)).max_by(|a, b| a.bbox.area().total_cmp(&b.bbox.area()))
}

/// The picture with repeated edges, and where the picture itself is in it.
pub fn padded(picture: &Picture) -> (Picture, Rect) {
    let pad = |side: usize| (side as f64 * PADDING).round() as usize;
    let (left, top) = (pad(picture.width), pad(picture.height));
    let (width, height) = (picture.width + 2 * left, picture.height + 2 * top);
    let mut data = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let row = y.saturating_sub(top).min(picture.height - 1) * picture.width;
        for x in 0..width {
            let at = (row + x.saturating_sub(left).min(picture.width - 1)) * 3;
            data.extend_from_slice(&picture.data[at..at + 3]);
        }
    }
    let crop = Rect::new(left as f32, top as f32, picture.width as f32, picture.height as f32);
    (Picture { width, height, data }, crop)
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| crate::metrics::percentile(&values, share);
    Some(Spread { median: at(0.5)?, first_quartile: at(0.25)?, third_quartile: at(0.75)? })
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:+.3} (half of the faces from {:+.3} to {:+.3})",
            self.median, self.first_quartile, self.third_quartile
        )
    }
}

impl std::fmt::Display for Margin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "a face in {} of {} pictures", self.found, self.pictures)?;
        writeln!(f, "crop.margin  {}", self.margin)?;
        writeln!(f, "crop.shift_y {}", self.shift_y)?;
        write!(f, "sideways     {}", self.shift_x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_repeated_around_the_picture() {
        let picture = Picture { width: 2, height: 4, data: (0..24).collect() };
        let (padded, crop) = padded(&picture);
        assert_eq!((padded.width, padded.height), (4, 8));
        assert_eq!(crop, Rect::new(1.0, 2.0, 2.0, 4.0));
        let pixel = |x: usize, y: usize| padded.data[(y * 4 + x) * 3];
        assert_eq!([pixel(0, 0), pixel(1, 2), pixel(2, 3), pixel(3, 7)], [0, 0, 9, 21]);
    }

    #[test]
    fn the_largest_face_in_the_crop_is_taken() {
        let face = |x: f32, w: f32| Face { bbox: Rect::new(x, 10.0, w, 10.0), confidence: 0.9, landmarks: None };
        let within = Rect::new(0.0, 0.0, 50.0, 50.0);
        let faces = [face(0.0, 10.0), face(20.0, 12.0), face(60.0, 30.0)];
        assert_eq!(largest(&faces, &within), Some(faces[1].bbox));
        assert_eq!(largest(&faces[2..], &within), None);
    }
}
