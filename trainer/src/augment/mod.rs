//! What happens to a face before the network sees it.
//!
//! Geometry goes through the engine's own [`Cropper`], so that what is trained on is cut as what is scored. All that is drawn for
//! one showing of a face stands in a [`Plan`], so that a pair of faces, or a face and its map, can go through the same. What is erased
//! of it is drawn apart, as an [`Erasure`].

mod colour;
mod degrade;
mod mask;

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::{Colorimetry, FrameView, PixelFormat, Plane, Scan};
use deepfake_scoring::geometry::Rect;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

pub use mask::Erasure;

use crate::config::{Augment, Input, Regularize};
use crate::data::Picture;
use crate::error::Result;
use crate::maps::FaceMap;
use crate::seeded::between;
use mask::Eraser;

/// Cuts and changes faces; keeps its scratch memory.
#[derive(Debug)]
pub struct Augmenter {
    cropper: Cropper,
    eraser: Eraser,
    spec: TensorSpec,
    mean: [f32; 3],
    std: [f32; 3],
}

/// What is erased in one showing.
#[derive(Clone, Copy, Debug)]
pub struct Erase<'a> {
    /// As the configuration says.
    pub how: &'a Regularize,
    /// What was drawn.
    pub drawn: Erasure,
    /// Of the face's primary regions.
    pub map: Option<&'a FaceMap>,
}

/// The region of a picture that is cut, and whether it is mirrored. Relative to the picture, so that the same plan fits a face
/// and a map of another size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// In parts of the picture's sides; (0, 0, 1, 1) is all of it.
    pub region: Rect,
    /// Left becomes right.
    pub flip: bool,
}

impl Geometry {
    /// The whole picture, as it is: what validation and scoring of a ready crop do.
    pub const WHOLE: Self = Self { region: Rect::new(0.0, 0.0, 1.0, 1.0), flip: false };

    fn draw(a: &Augment, rng: &mut Pcg64Mcg) -> Self {
        let flip = rng.random_bool(a.flip);
        let scale = between(rng, a.scale);
        let aspect = between(rng, [-1.0, 1.0]) * a.aspect.ln() / 2.0;
        let (w, h) = (scale * aspect.exp(), scale * (-aspect).exp());
        let (dx, dy) = (between(rng, [-a.shift, a.shift]), between(rng, [-a.shift, a.shift]));
        let (x, y) = (0.5 + dx - w / 2.0, 0.5 + dy - h / 2.0);
        Self { region: Rect::new(x as f32, y as f32, w as f32, h as f32), flip }
    }
}

/// All that is drawn for one showing of a face.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    geometry: Geometry,
    rescale: Option<f64>,
    blur: Option<f64>,
    jpeg: Option<u8>,
    colour: Option<colour::Change>,
    noise: Option<(f64, u64)>,
}

impl Plan {
    /// Nothing but the resize.
    pub const PLAIN: Self =
        Self { geometry: Geometry::WHOLE, rescale: None, blur: None, jpeg: None, colour: None, noise: None };

    /// Draws everything; always the same number of draws, so that one switch does not change what another one gives.
    pub fn draw(a: &Augment, rng: &mut Pcg64Mcg) -> Self {
        let geometry = Geometry::draw(a, rng);
        let rescale = chosen(rng, a.rescale, |r| between(r, a.rescale_to));
        let blur = chosen(rng, a.blur, |r| between(r, a.blur_sigma));
        let jpeg = chosen(rng, a.jpeg, |r| r.random_range(a.jpeg_quality[0]..=a.jpeg_quality[1]));
        let gray = rng.random_bool(a.gray);
        let by = a.colour_by;
        let change = chosen(rng, a.colour, |r| colour::Change {
            brightness: between(r, [1.0 - by, 1.0 + by]) as f32,
            contrast: between(r, [1.0 - by, 1.0 + by]) as f32,
            saturation: between(r, [1.0 - by, 1.0 + by]) as f32,
        });
        let colour = if gray { Some(change.unwrap_or_default().without_colour()) } else { change };
        let noise = chosen(rng, a.noise, |r| (between(r, a.noise_sigma), r.random()));
        Self { geometry, rescale, blur, jpeg, colour, noise }
    }

    /// What is cut.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }
}

impl Augmenter {
    /// For a network's input of `size` pixels.
    pub fn new(input: &Input, size: usize) -> Self {
        let spec = TensorSpec {
            layout: Layout::Nhwc,
            width: size,
            height: size,
            channels: Channels::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        Self { cropper: Cropper::default(), eraser: Eraser::default(), spec, mean: input.mean, std: input.std }
    }

    /// Numbers of one picture.
    pub fn len(&self) -> usize {
        self.spec.len()
    }

    /// A picture always has numbers.
    pub fn is_empty(&self) -> bool {
        self.spec.is_empty()
    }

    /// Makes inputs of `size` pixels from here on.
    pub fn resize(&mut self, size: usize) {
        self.spec = TensorSpec { width: size, height: size, ..self.spec };
    }

    /// Writes the face as `plan` wants it to `out`, less what `erase` says: height, width, channels; normalized.
    ///
    /// # Errors
    ///
    /// When the region cannot be cut, the JPEG round trip fails, or a map is needed and not there.
    pub fn apply(&mut self, picture: &Picture, plan: &Plan, erase: Option<&Erase<'_>>, out: &mut [f32]) -> Result<()> {
        let degraded = degrade::degrade(&mut self.cropper, picture, plan.rescale, plan.blur, plan.jpeg)?;
        let picture = degraded.as_ref().unwrap_or(picture);
        cut(&mut self.cropper, picture, &plan.geometry.region, &self.spec, out)?;
        if plan.geometry.flip {
            mirror(out, self.spec.width, 3);
        }
        if let Some(change) = &plan.colour {
            change.apply(out);
        }
        if let Some((sigma, seed)) = plan.noise {
            colour::add_noise(out, sigma as f32, seed);
        }
        if let Some(Erase { how, drawn, map }) = erase {
            if let Some(map) = map {
                let over = self.eraser.map_mut(self.spec.width * self.spec.height);
                resample(&mut self.cropper, map, plan, &self.spec, over)?;
            }
            self.eraser.erase(out, self.spec.width, how, drawn, map.is_some())?;
        }
        for pixel in out.chunks_exact_mut(3) {
            for (value, (mean, std)) in pixel.iter_mut().zip(self.mean.iter().zip(&self.std)) {
                *value = (*value - mean) / std;
            }
        }
        Ok(())
    }

    /// Writes what of a map of the face `plan` shows to `out`, one number in [0, 255] a pixel: the map goes through the same geometry
    /// as the face, so that its values lie over the pixels that they speak of.
    ///
    /// # Errors
    ///
    /// When the region cannot be cut.
    pub fn map(&mut self, map: &FaceMap, plan: &Plan, out: &mut [f32]) -> Result<()> {
        resample(&mut self.cropper, map, plan, &self.spec, out)
    }
}

/// [`Augmenter::map`], for a face of `spec`.
fn resample(cropper: &mut Cropper, map: &FaceMap, plan: &Plan, spec: &TensorSpec, out: &mut [f32]) -> Result<()> {
    let plane = Plane { data: &map.0[..], stride: FaceMap::SIDE };
    let side = FaceMap::SIDE;
    let frame = FrameView::new(PixelFormat::Gray8, side, side, Colorimetry::RGB, Scan::Progressive, &[plane])?;
    let spec = TensorSpec { channels: Channels::Gray, scale: 1.0, ..*spec };
    let region = plan.geometry.region.scaled(side as f32, side as f32);
    cropper.crop(&frame, &region, &spec, out)?;
    if plan.geometry.flip {
        mirror(out, spec.width, 1);
    }
    Ok(())
}

/// Mirrors rows of `width` pixels of `channels` numbers.
pub(crate) fn mirror<T>(out: &mut [T], width: usize, channels: usize) {
    for row in out.chunks_exact_mut(width * channels) {
        for x in 0..width / 2 {
            for c in 0..channels {
                row.swap(x * channels + c, (width - 1 - x) * channels + c);
            }
        }
    }
}

/// Draws the value whether or not it is used.
fn chosen<T>(rng: &mut Pcg64Mcg, probability: f64, value: impl FnOnce(&mut Pcg64Mcg) -> T) -> Option<T> {
    let yes = rng.random_bool(probability);
    let value = value(rng);
    yes.then_some(value)
}

/// Cuts `region` (in parts of the picture's sides) with the engine's cropper.
fn cut(cropper: &mut Cropper, picture: &Picture, region: &Rect, spec: &TensorSpec, out: &mut [f32]) -> Result<()> {
    let frame = FrameView::rgb(picture.width, picture.height, &picture.data)?;
    let region = region.scaled(picture.width as f32, picture.height as f32);
    Ok(cropper.crop(&frame, &region, spec, out)?)
}
