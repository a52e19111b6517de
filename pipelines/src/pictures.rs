//! Pictures of the faces, out of the video itself, each with its evidence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deepfake_frames::FrameFormat;
use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::heat;
use gst::prelude::*;
use gstdeepfake::meta::{Face, RegionMap, Scores};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use thiserror::Error;

/// Pixels of a side: enough for what a page shows on a dense screen, little enough for pages of many faces.
const SIDE: u32 = 256;
const QUALITY: u8 = 85;
/// Around the box of a face that was not scored, in parts of its longer side.
const MARGIN: f32 = 0.3;
/// Logits of full colour: odds of twenty to one.
const FULL: f32 = 3.0;
/// How much of what is below the strongest evidence covers.
const OPACITY: f32 = 0.8;

/// Why a frame of a face was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// No frame of it scored higher.
    Highest,
    /// No frame of it scored lower.
    Lowest,
    /// In no frame was it larger.
    Largest,
}

/// A face as the model saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    pub(crate) frame: u64,
    pub(crate) at: Option<Duration>,
    pub(crate) frame_score: Option<f64>,
    /// JPEG, square.
    pub(crate) face: Vec<u8>,
    /// PNG of one pixel for each value of the map, which lies over all of the face.
    pub(crate) heat: Option<Vec<u8>>,
}

/// Why there is no picture.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Map(#[from] deepfake_frames::MapError),
    #[error(transparent)]
    Crop(#[from] deepfake_scoring::crop::CropError),
    #[error(transparent)]
    Image(#[from] image::ImageError),
    #[error("caps that are no video: {0}")]
    Caps(#[from] glib::BoolError),
}

/// The pictures of all faces: so many for each and no more, however long the video is.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    faces: BTreeMap<u64, BTreeMap<Why, (f64, Picture)>>,
    format: Option<(gst::Caps, FrameFormat)>,
    cropper: Cropper,
    /// The first that could not be taken.
    failure: Option<Error>,
}

impl Pictures {
    /// Takes pictures of the faces in the scored frames that leave by the pad.
    pub(crate) fn watch(pad: &gst::Pad) -> Arc<Mutex<Self>> {
        let pictures = Arc::new(Mutex::new(Self::default()));
        let taken = Arc::clone(&pictures);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps()) {
                let mut pictures = taken.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = pictures.add(buffer, &caps, running_time(pad, buffer)) {
                    pictures.failure.get_or_insert(error);
                }
            }
            gst::PadProbeReturn::Ok
        });
        pictures
    }

    /// The pictures of a face, each once, with what it was chosen for.
    pub(crate) fn of(&self, track: u64) -> Vec<(Vec<Why>, &Picture)> {
        let mut found: Vec<(Vec<Why>, &Picture)> = Vec::new();
        for (why, (_, picture)) in self.faces.get(&track).into_iter().flatten() {
            match found.iter_mut().find(|(_, other)| other.frame == picture.frame) {
                Some((reasons, _)) => reasons.push(*why),
                None => found.push((vec![*why], picture)),
            }
        }
        found
    }

    /// Why pictures are missing, where some are.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    fn add(&mut self, buffer: &gst::BufferRef, caps: &gst::Caps, at: Option<Duration>) -> Result<(), Error> {
        let Some(scores) = Scores::from_buffer(buffer) else {
            return Ok(());
        };
        if self.format.as_ref().is_none_or(|(of, _)| of != caps) {
            self.format = Some((caps.clone(), FrameFormat::new(&gst_video::VideoInfo::from_caps(caps)?)?));
        }
        for face in &scores.faces {
            // Between the scorer and this pad nothing is that would make a place unknown.
            let Some(bbox) = face.bbox else { continue };
            let frame_score = face.outcome.as_ref().ok().map(|s| s.frame_score);
            let worth = [
                (Why::Highest, frame_score),
                (Why::Lowest, frame_score.map(|s| -s)),
                (Why::Largest, Some(f64::from(bbox.area()))),
            ];
            let kept = self.faces.entry(face.track).or_default();
            let better: Vec<(Why, f64)> = worth
                .into_iter()
                .filter_map(|(why, worth)| Some((why, worth?)))
                .filter(|(why, worth)| kept.get(why).is_none_or(|(best, _)| worth > best))
                .collect();
            if better.is_empty() {
                continue;
            }
            let picture = self.picture(buffer, scores.frame, at, face, &bbox)?;
            let kept = self.faces.entry(face.track).or_default();
            for (why, worth) in better {
                kept.insert(why, (worth, picture.clone()));
            }
        }
        Ok(())
    }

    fn picture(
        &mut self,
        buffer: &gst::BufferRef,
        frame: u64,
        at: Option<Duration>,
        face: &Face,
        bbox: &Rect,
    ) -> Result<Picture, Error> {
        let score = face.outcome.as_ref().ok();
        let map = score.and_then(|s| s.map.as_ref()).filter(|map| map.region.is_some());
        let side = SIDE as usize;
        let spec = TensorSpec {
            layout: Layout::Nhwc,
            width: side,
            height: side,
            channels: Channels::Rgb,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let mut values = vec![0.0; spec.len()];
        if let Some((_, format)) = &self.format {
            let (width, height) = (format.info().width() as f32, format.info().height() as f32);
            let region = match map.and_then(|map| map.region) {
                Some(region) => region.scaled(width, height),
                None => around(&bbox.scaled(width, height)),
            };
            format.with_view(buffer, |view| self.cropper.crop(view, &region, &spec, &mut values))??;
        }
        let pixels: Vec<u8> = values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode(&pixels, SIDE, SIDE, ExtendedColorType::Rgb8)?;
        let heat = map.map(evidence).transpose()?;
        Ok(Picture { frame, at, frame_score: score.map(|s| s.frame_score), face: jpeg, heat })
    }
}

fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<Duration> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?.clone();
    segment.to_running_time(buffer.pts()).map(Duration::from)
}

fn around(face: &Rect) -> Rect {
    let square = face.squared();
    square.grown(square.w * MARGIN)
}

/// The map in the colours of the overlay, a pixel for each of its values: what shows it, enlarges it.
fn evidence(map: &RegionMap) -> Result<Vec<u8>, Error> {
    let pixels: Vec<u8> = map
        .values
        .iter()
        .flat_map(|value| {
            let [r, g, b, alpha] = heat::colour((value / FULL).clamp(-1.0, 1.0), OPACITY).map(u32::from);
            // PNG keeps colours as they are without their alpha.
            let full = |c: u32| (c * 255 / alpha.max(1)).min(255) as u8;
            [full(r), full(g), full(b), alpha as u8]
        })
        .collect();
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&pixels, map.width, map.height, ExtendedColorType::Rgba8)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_red_for_fake_blue_for_real_and_clear_for_neither() {
        let region = Rect { x: 0.0, y: 0.0, w: 1.0, h: 1.0 };
        let map = RegionMap { width: 3, height: 1, values: vec![9.0, 0.0, -3.0], region: Some(region) };
        let picture = image::load_from_memory(&evidence(&map).unwrap()).unwrap().into_rgba8();
        assert_eq!(picture.dimensions(), (3, 1));
        let [fake, none, real] = [0, 1, 2].map(|x| picture.get_pixel(x, 0).0);
        assert!(fake[0] > 200 && fake[2] < 50 && fake[3] == 204, "{fake:?}");
        assert!(real[2] > 200 && real[0] < 50 && real[3] == 204, "{real:?}");
        assert_eq!(none[3], 0);
    }
}
