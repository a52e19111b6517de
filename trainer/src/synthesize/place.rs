//! Where the faces of pictures are.

use std::collections::HashMap;
use std::path::Path;

use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::{Point, Rect};
use deepfake_scoring::locate::{LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::session::SessionOptions;

use super::Place;
use crate::config::{Config, Crop};
use crate::data::Picture;
use crate::error::Result;
use crate::margin;

/// The columns of a manifest that tell the landmarks, in pixels of the picture.
pub(super) const COLUMNS: [&str; 10] = [
    "right_eye_x",
    "right_eye_y",
    "left_eye_x",
    "left_eye_y",
    "nose_x",
    "nose_y",
    "right_mouth_x",
    "right_mouth_y",
    "left_mouth_x",
    "left_mouth_y",
];

/// Tells where faces are: what a manifest says, else what the configured locator finds, else what `crop` says of every picture.
#[derive(Debug)]
pub struct Places {
    locator: Option<Locator>,
    usual: Place,
    /// By folder, what its manifest says of its files.
    manifests: HashMap<std::path::PathBuf, HashMap<String, [f32; 10]>>,
}

impl Places {
    /// Loads the locator, where there is one.
    ///
    /// # Errors
    ///
    /// A model that cannot be read or is no face detector.
    pub fn new(config: &Config) -> Result<Self> {
        let open = |path: &std::path::PathBuf| -> Result<Locator> {
            // The threads are needed for the pictures.
            let session = SessionOptions { threads: 1, ..SessionOptions::default() };
            Ok(Locator::new(&Model::read(path)?, &session, LocateOptions::default())?)
        };
        let locator = config.synthesize.face_model.as_ref().map(open).transpose()?;
        Ok(Self { locator, usual: Self::usual_of(config), manifests: HashMap::new() })
    }

    /// Where the face of a picture is.
    ///
    /// # Errors
    ///
    /// A locator or a manifest that fails. A face that is not found is no error: [`Self::usual_of`] is where it should be.
    pub fn of(&mut self, path: &Path, picture: &Picture) -> Result<Place> {
        if let Some(landmarks) = self.told(path)? {
            return Ok(scaled(&landmarks, picture));
        }
        let Some(locator) = &mut self.locator else {
            return Ok(self.usual);
        };
        let (padded, crop) = margin::padded(picture);
        let mut faces = Vec::new();
        locator.locate(&FrameView::rgb(padded.width, padded.height, &padded.data)?, &mut faces)?;
        let Some(face) = margin::largest_face(&faces, &crop) else {
            return Ok(self.usual);
        };
        Ok(match face.landmarks {
            Some(points) => scaled(&points.map(|p| Point { x: p.x - crop.x, y: p.y - crop.y }), picture),
            None => {
                let b = face.bbox;
                Place::Box(Rect::new((b.x - crop.x) / crop.w, (b.y - crop.y) / crop.h, b.w / crop.w, b.h / crop.h))
            }
        })
    }

    /// Where a face is in a picture that was cut as `crop` says.
    pub fn usual_of(config: &Config) -> Place {
        Place::Box(whole(&config.crop))
    }

    /// What the manifest beside the picture's class folder says.
    fn told(&mut self, path: &Path) -> Result<Option<[Point; 5]>> {
        let Some(folder) = path.parent().and_then(Path::parent) else {
            return Ok(None);
        };
        if !self.manifests.contains_key(folder) {
            self.manifests.insert(folder.to_owned(), super::folder::landmarks(folder)?);
        }
        let told = path.strip_prefix(folder).ok().and_then(|name| self.manifests[folder].get(name.to_str()?));
        Ok(told.map(|v| std::array::from_fn(|i| Point { x: v[2 * i], y: v[2 * i + 1] })))
    }
}

/// Landmarks in parts of the picture's sides.
fn scaled(points: &[Point; 5], picture: &Picture) -> Place {
    let (w, h) = (picture.width as f32, picture.height as f32);
    Place::Landmarks(points.map(|p| Point { x: p.x / w, y: p.y / h }))
}

/// The face box in a square picture, in parts of it, from the contract's crop. The box is a little higher than wide, as the boxes of
/// the reference convention are.
fn whole(crop: &Crop) -> Rect {
    const WIDTH: f32 = 0.78;
    let longer = 1.0 / (1.0 + 2.0 * crop.margin);
    let middle = 0.5 - crop.shift_y * longer;
    Rect::new(0.5 - longer * WIDTH / 2.0, middle - longer / 2.0, longer * WIDTH, longer)
}
