//! `manifest.csv`: what is known of each crop of a folder. Written by the `faces` command, read wherever faces are.

use std::path::Path;

use deepfake_scoring::geometry::{Point, Rect};
use serde::{Deserialize, Serialize};

use super::{Face, Label, Part};
use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};

/// Its name in a folder of faces.
pub const NAME: &str = "manifest.csv";

/// Columns without which a file is not one of ours.
const NEEDED: [&str; 4] = ["path", "label", "source", "video"];

/// One crop. All coordinates are pixels of the crop, from the top left corner of its top left pixel; columns that are not known are
/// empty, and all but the first four may be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the columns' names say it
pub struct Row {
    /// Relative to the manifest's folder, with `/`.
    pub path: String,
    /// `real` or `fake`.
    pub label: String,
    /// Group that splits keep whole.
    pub source: String,
    /// Whose frames are judged together.
    pub video: String,
    /// Which frame of it, from 0.
    pub frame: Option<u64>,
    /// Its place in the stream, seconds.
    pub pts: Option<f64>,
    /// Which of the people in the video, from 1; frames of one number show the same face.
    pub track: Option<u64>,
    /// How it was forged, as the owners of the set name it.
    pub method: String,
    /// Name of the data set.
    pub set: String,
    /// `train`, `validation` or `test`, as the owners of the set split it.
    pub part: String,
    /// The locator's box, in the reference convention.
    pub box_x: Option<f32>,
    pub box_y: Option<f32>,
    pub box_w: Option<f32>,
    pub box_h: Option<f32>,
    /// How sure the locator is, 0 to 1.
    pub confidence: Option<f32>,
    /// Right and left as the person has them.
    pub right_eye_x: Option<f32>,
    pub right_eye_y: Option<f32>,
    pub left_eye_x: Option<f32>,
    pub left_eye_y: Option<f32>,
    pub nose_x: Option<f32>,
    pub nose_y: Option<f32>,
    pub right_mouth_x: Option<f32>,
    pub right_mouth_y: Option<f32>,
    pub left_mouth_x: Option<f32>,
    pub left_mouth_y: Option<f32>,
}

impl Row {
    /// Notes where the locator saw the face.
    pub fn set_place(&mut self, bbox: &Rect, landmarks: Option<&[Point; 5]>) {
        [self.box_x, self.box_y, self.box_w, self.box_h] = [bbox.x, bbox.y, bbox.w, bbox.h].map(Some);
        let at = |i: usize| landmarks.map(|l| (l[i].x, l[i].y)).unzip();
        (self.right_eye_x, self.right_eye_y) = at(0);
        (self.left_eye_x, self.left_eye_y) = at(1);
        (self.nose_x, self.nose_y) = at(2);
        (self.right_mouth_x, self.right_mouth_y) = at(3);
        (self.left_mouth_x, self.left_mouth_y) = at(4);
    }

    /// The box, where it is known.
    pub fn bbox(&self) -> Option<Rect> {
        Some(Rect::new(self.box_x?, self.box_y?, self.box_w?, self.box_h?))
    }

    /// Right eye, left eye, nose, right and left corner of the mouth, where they are known.
    pub fn landmarks(&self) -> Option<[Point; 5]> {
        let point = |x: Option<f32>, y: Option<f32>| Some(Point { x: x?, y: y? });
        Some([
            point(self.right_eye_x, self.right_eye_y)?,
            point(self.left_eye_x, self.left_eye_y)?,
            point(self.nose_x, self.nose_y)?,
            point(self.right_mouth_x, self.right_mouth_y)?,
            point(self.left_mouth_x, self.left_mouth_y)?,
        ])
    }
}

/// Writes the manifest of a folder, in one step.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(folder: &Path, rows: &[Row]) -> Result<()> {
    let path = folder.join(NAME);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let wrong = |e: &dyn std::fmt::Display| Error::Data(format!("{}: {e}", path.display()));
    for row in rows {
        writer.serialize(row).map_err(|e| wrong(&e))?;
    }
    write_atomically(&path, &writer.into_inner().map_err(|e| wrong(&e))?)
}

/// The rows of a folder's manifest; `None` where it has none, or one of another make.
///
/// # Errors
///
/// A manifest that cannot be read, or has a row that cannot be.
pub fn read(folder: &Path) -> Result<Option<Vec<Row>>> {
    let path = folder.join(NAME);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |e: csv::Error| Error::Data(format!("{}: {e}", path.display()));
    let mut reader = csv::Reader::from_path(&path).map_err(wrong)?;
    let header = reader.headers().map_err(wrong)?;
    if let Some(missing) = NEEDED.iter().find(|n| !header.iter().any(|h| h == **n)) {
        tracing::warn!("{}: not read, as it has no column `{missing}`: names tell of these faces", path.display());
        return Ok(None);
    }
    reader.into_deserialize().collect::<Result<Vec<Row>, _>>().map(Some).map_err(wrong)
}

/// The faces that a folder's manifest tells of; `None` as [`read`].
///
/// # Errors
///
/// As [`read`]; a label or part that is none.
pub fn faces(folder: &Path) -> Result<Option<Vec<Face>>> {
    let Some(rows) = read(folder)? else { return Ok(None) };
    let mut faces = Vec::with_capacity(rows.len());
    for row in rows {
        let wrong = |what: &str, value: &str| {
            Error::Data(format!("{}: {}: `{value}` is no {what}", folder.join(NAME).display(), row.path))
        };
        let label = Label::from_name(&row.label).ok_or_else(|| wrong("label (real or fake)", &row.label))?;
        let part = match row.part.as_str() {
            "" => None,
            name => Some(Part::from_name(name).ok_or_else(|| wrong("part (train, validation or test)", name))?),
        };
        let landmarks = row.landmarks();
        faces.push(Face {
            path: folder.join(&row.path),
            label,
            source: row.source,
            video: row.video,
            method: row.method,
            set: row.set,
            part,
            landmarks,
        });
    }
    Ok(Some(faces))
}
