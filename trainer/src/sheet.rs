//! Contact sheets: many pictures in one, for people to look at.

use std::path::Path;

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::checkpoint::write_atomically;
use crate::data::Picture;
use crate::error::{Error, Result};

/// Pixels between cells.
const GAP: usize = 4;
/// Of the paper.
const WHITE: u8 = 255;

/// Rows of cells of one size, filled from the top left.
#[derive(Debug)]
pub struct Sheet {
    cell: usize,
    columns: usize,
    cells: Vec<Vec<u8>>,
    cropper: Cropper,
}

impl Sheet {
    /// For square cells of `cell` pixels, `columns` a row.
    pub fn new(cell: usize, columns: usize) -> Self {
        Self { cell: cell.max(1), columns: columns.max(1), cells: Vec::new(), cropper: Cropper::default() }
    }

    /// Adds the next cell; the picture is fitted to it.
    ///
    /// # Errors
    ///
    /// A picture without pixels.
    pub fn push(&mut self, picture: &Picture) -> Result<()> {
        let spec = TensorSpec {
            layout: Layout::Nhwc,
            width: self.cell,
            height: self.cell,
            channels: Channels::Rgb,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let mut values = vec![0.0; spec.len()];
        let frame = FrameView::rgb(picture.width, picture.height, &picture.data)?;
        let whole = Rect::new(0.0, 0.0, picture.width as f32, picture.height as f32);
        self.cropper.crop(&frame, &whole, &spec, &mut values)?;
        self.cells.push(values.into_iter().map(|v| v.round() as u8).collect());
        Ok(())
    }

    /// All cells as one picture.
    pub fn picture(&self) -> Picture {
        let step = self.cell + GAP;
        let side = |cells: usize| cells * step + GAP;
        let (width, height) = (side(self.columns), side(self.cells.len().div_ceil(self.columns)));
        let mut data = vec![WHITE; width * height * 3];
        for (i, cell) in self.cells.iter().enumerate() {
            let (x, y) = (GAP + i % self.columns * step, GAP + i / self.columns * step);
            for (row, line) in cell.chunks_exact(self.cell * 3).enumerate() {
                data[((y + row) * width + x) * 3..][..line.len()].copy_from_slice(line);
            }
        }
        Picture { width, height, data }
    }

    /// Writes it as PNG.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_png(&self.picture(), path)
    }
}

/// Writes a picture without loss, in one step: a file of that name is whole.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write_png(picture: &Picture, path: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    // Twice as fast as the default and hardly larger.
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(&picture.data, picture.width as u32, picture.height as u32, ExtendedColorType::Rgb8)
        .map_err(|source| Error::Picture { path: path.to_owned(), source })?;
    write_atomically(path, &bytes)
}
