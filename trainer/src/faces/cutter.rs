//! One worker: a locator and a cropper, and what they make of a video or a picture.

use std::path::Path;

use deepfake_scoring::contract;
use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::{Point, Rect};
use deepfake_scoring::locate::{Face, Locator};
use deepfake_scoring::track::{Sighting, TrackOptions, Tracker};
use image::codecs::jpeg::JpegEncoder;

use crate::config::{Faces, Format, Which};
use crate::data::manifest::Row;
use crate::data::sets::{Clip, Media};
use crate::data::{Part, Picture};
use crate::error::{Error, Result};
use crate::video;

/// Faces of a frame beyond this number are not cut: what finds so many finds them in wallpaper.
const MOST: usize = 64;

pub(super) struct Cutter<'a> {
    locator: Locator,
    cropper: Cropper,
    crop: contract::Crop,
    wish: &'a Faces,
    out: &'a Path,
}

/// A crop that was cut.
struct Cut {
    picture: Picture,
    /// In pixels of the crop.
    bbox: Rect,
    landmarks: Option<[Point; 5]>,
    confidence: f32,
    track: u64,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(locator: Locator, wish: &'a Faces, out: &'a Path) -> Self {
        let crop = contract::Crop { margin: wish.margin, shift_y: wish.shift_y, ..contract::Crop::default() };
        Self { locator, cropper: Cropper::default(), crop, wish, out }
    }

    /// Cuts and writes the faces of a clip.
    pub(super) fn cut(&mut self, clip: &Clip) -> Result<Vec<Row>> {
        // Frames lie seconds apart: a face may be missed in one of them and be there again.
        let mut tracker = Tracker::new(TrackOptions { iou: 0.2, max_gap: 1 });
        let mut rows = Vec::new();
        match clip.media {
            Media::Picture => {
                let picture = Picture::read(&clip.path)?;
                let view = FrameView::rgb(picture.width, picture.height, &picture.data)?;
                for cut in self.faces(&view, 0, &mut tracker)? {
                    rows.push(self.keep(clip, None, None, rows.len(), cut)?);
                }
            }
            Media::Video => {
                let frames = video::spread(&clip.path, self.wish.frames_per_video, video::Options::default())?;
                for (number, frame) in frames.enumerate() {
                    let frame = frame?;
                    let cuts = frame.with_view(|view| self.faces(view, number as u64, &mut tracker))??;
                    for (i, cut) in cuts.into_iter().enumerate() {
                        let pts = frame.pts.map(|p| p.as_secs_f64());
                        rows.push(self.keep(clip, Some(frame.index), pts, i, cut)?);
                    }
                }
            }
        }
        Ok(rows)
    }

    /// The faces of a frame that are wished for, the largest first.
    fn faces(&mut self, view: &FrameView<'_>, number: u64, tracker: &mut Tracker) -> Result<Vec<Cut>> {
        let mut found = Vec::new();
        self.locator.locate(view, &mut found)?;
        found.retain(|f| f.bbox.w.min(f.bbox.h) >= self.wish.min_face as f32);
        found.sort_by(|a, b| b.bbox.area().total_cmp(&a.bbox.area()));
        found.truncate(MOST);
        let mut tracks = Vec::new();
        let sightings: Vec<Sighting> = found.iter().map(Sighting::from).collect();
        tracker.update(number, &sightings, &mut tracks);
        if self.wish.which == Which::Largest {
            found.truncate(1);
        }
        found.iter().zip(tracks).map(|(face, track)| self.one(view, face, track)).collect()
    }

    fn one(&mut self, view: &FrameView<'_>, face: &Face, track: u64) -> Result<Cut> {
        let region = self.crop.region(&face.bbox);
        // Nothing is enlarged: that adds no detail, and training resamples anyway.
        let side = (region.w.round() as usize).clamp(1, self.wish.size);
        let picture = Picture::cut(&mut self.cropper, view, &region, side, side)?;
        let scale = side as f32 / region.w;
        let inside = |p: Point| Point { x: (p.x - region.x) * scale, y: (p.y - region.y) * scale };
        let b = face.bbox;
        Ok(Cut {
            picture,
            bbox: Rect::new(b.x - region.x, b.y - region.y, b.w, b.h).scaled(scale, scale),
            landmarks: face.landmarks.map(|l| l.map(inside)),
            confidence: face.confidence,
            track,
        })
    }

    /// Writes a crop.
    fn keep(&self, clip: &Clip, frame: Option<u64>, pts: Option<f64>, number: usize, cut: Cut) -> Result<Row> {
        let extension = match self.wish.format {
            Format::Png => "png",
            Format::Jpeg => "jpg",
        };
        let mut name = stem(clip);
        if let Some(frame) = frame {
            name.push_str(&format!("_{frame:06}"));
        }
        if number > 0 {
            name.push_str(&format!("_{number}"));
        }
        let name = format!("{}/{name}.{extension}", clip.label.folder());
        let path = self.out.join(&name);
        write(&path, cut.picture, self.wish)?;
        let mut row = about(clip, Row { path: name, frame, pts, track: Some(cut.track), ..Row::default() });
        row.confidence = Some(cut.confidence);
        row.set_place(&cut.bbox, cut.landmarks.as_ref());
        Ok(row)
    }
}

/// The row with what the set says of the clip.
pub(super) fn about(clip: &Clip, row: Row) -> Row {
    Row {
        label: clip.label.folder().to_owned(),
        source: clip.source.clone(),
        video: clip.video.clone(),
        method: clip.method.clone(),
        set: clip.set.clone(),
        part: clip.part.map_or("", Part::name).to_owned(),
        ..row
    }
}

/// The beginning of its crops' names: the video's, and the file's where a video comes as pictures.
pub(super) fn stem(clip: &Clip) -> String {
    let mut name = clip.video.clone();
    if clip.media == Media::Picture {
        name.push('/');
        name.push_str(&clip.path.file_stem().unwrap_or_default().to_string_lossy());
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

fn write(path: &Path, picture: Picture, wish: &Faces) -> Result<()> {
    let Picture { width, height, data } = picture;
    let (width, height) = (width as u32, height as u32);
    let wrong = |source| Error::Picture { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    match wish.format {
        Format::Png => {
            let image = image::RgbImage::from_raw(width, height, data)
                .ok_or_else(|| Error::Data(format!("{}: a crop of the wrong size", path.display())))?;
            image.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).map_err(wrong)?;
        }
        Format::Jpeg => JpegEncoder::new_with_quality(&mut bytes, wish.jpeg_quality)
            .encode(&data, width, height, image::ExtendedColorType::Rgb8)
            .map_err(wrong)?,
    }
    std::fs::write(path, bytes).map_err(Error::io(path))
}
