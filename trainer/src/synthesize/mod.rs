//! Self-blended pseudo-fakes: a real face blended into itself, one copy of the two changed a little in colour, sharpness and place.
//! Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022.
//!
//! [`Recipe::draw`] draws all that happens to one face, [`Synthesizer::make`] does it, [`Places`] tells where faces are and [`make`] writes
//! a folder of faces that training reads. With `data.pseudo` training makes them anew at each draw instead ([`PseudoFakes`]).
//!
//! What differs from the paper's released code, and why: it makes its masks from 81 landmarks, here an outline is fitted to five
//! ([`outline`]); its changes of hue, saturation and value are of less than one step of a byte, here they can be seen; its sharpening
//! darkens, here it does not (brightness has a draw of its own); and masks keep clear of the picture's edges, because crops may be tight.

mod anew;
mod change;
mod folder;
mod mask;
mod outline;
mod place;
mod recipe;

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;

pub use anew::PseudoFakes;
pub use folder::{Done, make};
pub use outline::{Part, Place, outline};
pub use place::Places;
pub use recipe::Recipe;

use crate::data::Picture;
use crate::error::Result;

/// Makes pseudo-fakes; keeps its scratch memory.
#[derive(Debug, Default)]
pub struct Synthesizer {
    cropper: Cropper,
    values: Vec<f32>,
}

/// A pseudo-fake and what it was made of; all pictures are of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The real face that belongs to it: the same as the fake wherever the mask is 0. It is the given picture unless the recipe
    /// [changes it](Recipe::changes_target).
    pub target: Picture,
    /// What is blended into it.
    pub source: Picture,
    /// How much of the source there is, a value in [0, 1] a pixel.
    pub mask: Vec<f32>,
    /// The outcome.
    pub fake: Picture,
}

impl Synthesizer {
    /// Makes the pseudo-fake of a real face.
    ///
    /// # Errors
    ///
    /// A picture too small to be cut.
    pub fn make(&mut self, face: &Picture, place: &Place, recipe: &Recipe) -> Result<Made> {
        let changed = recipe.change.apply(face);
        let (source, target) = if recipe.changes_target { (face, changed) } else { (&changed, face.clone()) };
        let source = self.moved(source, &recipe.motion.region())?;
        let mask = [place, &Place::Box(MIDDLE)].into_iter().find_map(|place| {
            let polygon: Vec<_> = outline(place, recipe.part).into_iter().map(|p| recipe.motion.moved(p)).collect();
            let mask = mask::mask(&polygon, &recipe.softness, face.width, face.height);
            mask.iter().any(|v| *v > 0.0).then_some(mask)
        });
        let mask = mask.unwrap_or_else(|| vec![recipe.softness.ratio; face.width * face.height]);
        let fake = blended(&source, &target, &mask);
        Ok(Made { target, source, mask, fake })
    }

    /// The real face that belongs to the pseudo-fake of that recipe; `None` where it is the face itself.
    pub fn target(&self, face: &Picture, recipe: &Recipe) -> Option<Picture> {
        recipe.changes_target.then(|| recipe.change.apply(face))
    }

    /// A region (in parts of the sides) as large as the whole picture; beyond the edges they repeat.
    fn moved(&mut self, picture: &Picture, region: &Rect) -> Result<Picture> {
        let spec = TensorSpec {
            layout: Layout::Nhwc,
            width: picture.width,
            height: picture.height,
            channels: Channels::Rgb,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        self.values.resize(spec.len(), 0.0);
        let frame = FrameView::rgb(picture.width, picture.height, &picture.data)?;
        let region = region.scaled(picture.width as f32, picture.height as f32);
        self.cropper.crop(&frame, &region, &spec, &mut self.values)?;
        Ok(Picture { data: self.values.iter().map(|v| v.round() as u8).collect(), ..*picture })
    }
}

/// The face of a picture of which nothing is known.
const MIDDLE: Rect = Rect::new(0.15, 0.1, 0.7, 0.8);

/// `mask * source + (1 - mask) * target`, rounded.
fn blended(source: &Picture, target: &Picture, mask: &[f32]) -> Picture {
    let pixels = source.data.chunks_exact(3).zip(target.data.chunks_exact(3)).zip(mask);
    let mut data = Vec::with_capacity(target.data.len());
    for ((source, target), share) in pixels {
        for (&s, &t) in source.iter().zip(target) {
            let (s, t) = (f32::from(s), f32::from(t));
            data.push((t + share * (s - t)).round() as u8);
        }
    }
    Picture { data, ..*target }
}
