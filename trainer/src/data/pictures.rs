//! Decoded pictures, kept in memory as far as they fit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use indicatif::ProgressBar;
use rayon::prelude::*;

use super::Face;
use crate::error::{Error, Result};

/// A picture, 8 bits R'G'B', rows without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// `3 * width * height` bytes.
    pub data: Vec<u8>,
}

impl Picture {
    /// Reads a file; the kind is told by its first bytes. Transparency is dropped, gray becomes colour.
    ///
    /// # Errors
    ///
    /// What cannot be read or decoded, or has a side above 8192 pixels.
    pub fn read(path: &Path) -> Result<Self> {
        let picture = |source| Error::Picture { path: path.to_owned(), source };
        let reader = image::ImageReader::open(path).map_err(Error::io(path))?;
        let mut reader = reader.with_guessed_format().map_err(Error::io(path))?;
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(8192);
        limits.max_image_height = Some(8192);
        reader.limits(limits);
        Ok(Self::from(reader.decode().map_err(picture)?.into_rgb8()))
    }

    /// What the engine's cropper makes of a region of a frame, in `width` x `height` pixels.
    ///
    /// # Errors
    ///
    /// A region that cannot be cut.
    pub fn cut(
        cropper: &mut Cropper,
        frame: &FrameView<'_>,
        region: &Rect,
        width: usize,
        height: usize,
    ) -> Result<Self> {
        let spec = TensorSpec {
            layout: Layout::Nhwc,
            width,
            height,
            channels: Channels::Rgb,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let mut values = vec![0.0; spec.len()];
        cropper.crop(frame, region, &spec, &mut values)?;
        // `as` stops at 0 and 255.
        Ok(Self { width, height, data: values.into_iter().map(|v| v.round() as u8).collect() })
    }
}

impl From<image::RgbImage> for Picture {
    fn from(image: image::RgbImage) -> Self {
        Self { width: image.width() as usize, height: image.height() as usize, data: image.into_raw() }
    }
}

/// The pictures of a list of faces.
#[derive(Debug)]
pub struct Pictures {
    paths: Vec<PathBuf>,
    kept: Vec<Option<Arc<Picture>>>,
}

impl Pictures {
    /// Decodes every file once and keeps those that fit into `budget` bytes. Unreadable files are left out of the returned
    /// faces and logged one by one.
    ///
    /// # Errors
    ///
    /// When more than `max_unreadable` of the files cannot be read.
    pub fn load(
        faces: Vec<Face>,
        budget: &AtomicUsize,
        max_unreadable: f64,
        bar: &ProgressBar,
    ) -> Result<(Vec<Face>, Self)> {
        // Faces of one file (a real face and the pseudo-fake that is made of it) share its picture.
        let mut files = Vec::with_capacity(faces.len());
        let mut known = HashMap::with_capacity(faces.len());
        let of_file: Vec<usize> = faces
            .iter()
            .map(|face| {
                *known.entry(face.path.as_path()).or_insert_with(|| {
                    files.push(face.path.as_path());
                    files.len() - 1
                })
            })
            .collect();
        let read: Vec<Option<Option<Arc<Picture>>>> = files
            .par_iter()
            .map(|path| {
                let picture = Picture::read(path).map(|p| {
                    let size = p.data.len();
                    let fits = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |b| b.checked_sub(size));
                    fits.is_ok().then(|| Arc::new(p))
                });
                bar.inc(1);
                picture.inspect_err(|error| bar.suspend(|| tracing::warn!("left out: {error}"))).ok()
            })
            .collect();
        let total = files.len();
        let unreadable = read.iter().filter(|p| p.is_none()).count();
        let mut readable = Vec::with_capacity(faces.len());
        let mut kept = Vec::with_capacity(faces.len());
        for (face, file) in faces.iter().zip(of_file) {
            if let Some(picture) = &read[file] {
                readable.push(face.clone());
                kept.push(picture.clone());
            }
        }
        if unreadable > 0 {
            bar.suspend(|| tracing::warn!("{unreadable} of {total} pictures cannot be read and are left out"));
        }
        if unreadable as f64 > max_unreadable * total as f64 {
            return Err(Error::Data(format!(
                "{unreadable} of {total} pictures cannot be read, more than `data.max_unreadable` = {max_unreadable}"
            )));
        }
        let paths = readable.iter().map(|f| f.path.clone()).collect();
        Ok((readable, Self { paths, kept }))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The picture of that index, from memory or from its file.
    ///
    /// # Errors
    ///
    /// A file that has become unreadable, an index out of range.
    pub fn get(&self, index: usize) -> Result<Arc<Picture>> {
        match (self.kept.get(index), self.paths.get(index)) {
            (Some(Some(picture)), _) => Ok(Arc::clone(picture)),
            (_, Some(path)) => Picture::read(path).map(Arc::new),
            _ => Err(Error::Data(format!("there is no picture {index}"))),
        }
    }
}
