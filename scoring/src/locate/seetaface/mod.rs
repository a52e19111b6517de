//! SeetaFace's detector for frontal faces: a cascade that works without a model file, because this crate carries its own.
//!
//! S. Wu, M. Kan, Z. He, S. Shan, X. Chen, "Funnel-structured cascade for multi-view face detection with
//! alignment-awareness", Neurocomputing 221, 2017. Boosted classifiers slide over a pyramid of the picture; the windows that
//! they propose are confirmed, moved and sized by small networks. The model is the authors' own, as the crate
//! `rustface` carries it; that crate's detector is what this one is tested against. It is not used itself because it writes
//! outside of its buffers where a window leaves the picture, which a picture can bring about.

mod lab;
mod model;
mod surf;

use sha2::{Digest, Sha256};

use super::{Face, LocateError, Picture};
use crate::contract::{Channels, Layout};
use crate::crop::{Cropper, TensorSpec};
use crate::frame::FrameView;
use crate::geometry::Rect;
use lab::LabMap;
use model::{Cascade, WINDOW};
use surf::Surf;

/// The model of the authors (BSD-2-Clause, its text is beside the file).
const MODEL: &[u8] = include_bytes!("../../../models/seeta_fd_frontal_v1.0.bin");
/// Each level of the pyramid is smaller by this.
const PYRAMID_STEP: f32 = 0.8;
/// A network takes a window for a face above this.
const ACCEPTED: f32 = 0.5;
/// Overlaps of one face: of proposals, and of results.
const SAME_WINDOW: f64 = 0.8;
const SAME_FACE: f64 = 0.3;
/// More proposals of one classifier than this are not looked at: the surest are kept. It bounds the work on a hostile
/// picture; usual ones have some hundred.
const MAX_WINDOWS: usize = 2048;

/// A picture of one byte a pixel.
#[derive(Debug, Default)]
struct Gray {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// A square of the picture that may be a face.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    x: i32,
    y: i32,
    size: i32,
    score: f64,
}

#[derive(Debug)]
pub(super) struct SeetaFace {
    cascade: Cascade,
    digest: String,
    lab: LabMap,
    surf: Surf,
    tensor: Vec<f32>,
    picture: Gray,
    level: Gray,
    /// Of each boosted classifier.
    proposals: [Vec<Window>; 3],
    windows: Vec<Window>,
}

impl SeetaFace {
    pub(super) fn new() -> Result<Self, LocateError> {
        let surf = Surf::new();
        let cascade = Cascade::read(MODEL, surf.patches()).ok_or(LocateError::SeetaFace)?;
        Ok(Self {
            cascade,
            digest: Sha256::digest(MODEL).iter().map(|b| format!("{b:02x}")).collect(),
            lab: LabMap::default(),
            surf,
            tensor: Vec::new(),
            picture: Gray::default(),
            level: Gray::default(),
            proposals: Default::default(),
            windows: Vec::new(),
        })
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// What of the frame the cascade is shown: all, and at least one window.
    pub(super) fn picture(frame: &FrameView<'_>, max_side: usize) -> Picture {
        let free = Picture::free(frame, max_side, 1);
        Picture::fixed(frame, free.width.max(WINDOW), free.height.max(WINDOW))
    }

    /// Appends what the cascade takes for faces, in pixels of the picture.
    pub(super) fn detect(
        &mut self,
        frame: &FrameView<'_>,
        picture: &Picture,
        cropper: &mut Cropper,
        confidence: f32,
        candidates: &mut Vec<Face>,
    ) -> Result<(), LocateError> {
        let (width, height) = (picture.width, picture.height);
        let spec = TensorSpec {
            layout: Layout::Nchw,
            width,
            height,
            channels: Channels::Gray,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        self.tensor.resize(spec.len(), 0.0);
        cropper.crop(frame, &picture.region, &spec, &mut self.tensor)?;
        self.picture.width = width;
        self.picture.height = height;
        self.picture.pixels.clear();
        self.picture.pixels.extend(self.tensor.iter().map(|v| v.round() as u8));
        self.propose();
        self.confirm();
        candidates.extend(self.windows.iter().filter_map(|w| {
            let sure = confidence_of(w.score);
            let bbox = Rect::new(w.x as f32, w.y as f32, w.size as f32, w.size as f32);
            (sure >= confidence && bbox.is_valid()).then_some(Face { bbox, confidence: sure, landmarks: None })
        }));
        Ok(())
    }

    /// Slides the boosted classifiers over the pyramid.
    fn propose(&mut self) {
        let mut scale = 1.0;
        while self.shrink(scale) {
            self.lab.compute(&self.level);
            for (classifier, proposals) in self.cascade.boosted.iter().zip(&mut self.proposals) {
                self.lab.propose(classifier, &self.level, scale, proposals);
            }
            scale *= PYRAMID_STEP;
        }
        self.windows.clear();
        for proposals in &mut self.proposals {
            suppress(proposals, SAME_WINDOW);
            self.windows.append(proposals);
        }
    }

    /// Makes a level of the pyramid; false where no window fits into it.
    fn shrink(&mut self, scale: f32) -> bool {
        let side = |s: usize| (s as f32 * scale) as usize;
        let (width, height) = (side(self.picture.width), side(self.picture.height));
        if width < WINDOW || height < WINDOW {
            return false;
        }
        let whole =
            Source { picture: &self.picture, x: 0, y: 0, width: self.picture.width, height: self.picture.height };
        self.level.width = width;
        self.level.height = height;
        self.level.pixels.clear();
        self.level.pixels.resize(width * height, 0);
        whole.resample(width, height, &mut self.level.pixels);
        true
    }

    /// Lets the networks confirm and correct the windows.
    fn confirm(&mut self) {
        let last = self.cascade.networks.len() - 1;
        let mut patch = [0; WINDOW * WINDOW];
        for (stage, network) in self.cascade.networks.iter().enumerate() {
            let (picture, surf) = (&self.picture, &mut self.surf);
            let longest = 4 * picture.width.max(picture.height) as i32;
            self.windows.retain_mut(|w| {
                // Not beyond the picture, not a point, not a giant.
                let near = |from: i32, side: usize| from.saturating_add(w.size) > 0 && from < side as i32;
                if !(near(w.x, picture.width) && near(w.y, picture.height) && (2..=longest).contains(&w.size)) {
                    return false;
                }
                let side = w.size as usize;
                Source { picture, x: w.x, y: w.y, width: side, height: side }.resample(WINDOW, WINDOW, &mut patch);
                surf.look(&patch);
                let [score, x, y, size] = surf.ask(network);
                w.correct(x, y, size);
                w.score = f64::from(score);
                score > ACCEPTED
            });
            match stage {
                0 => suppress(&mut self.windows, SAME_WINDOW),
                s if s == last => suppress(&mut self.windows, SAME_FACE),
                _ => {}
            }
        }
    }
}

impl Window {
    /// Moves and sizes it; a half stands for no change.
    fn correct(&mut self, x: f32, y: f32, size: f32) {
        let old = self.size as f32;
        let part = |p: f32| (p * 2.0 - 1.0) * old;
        let new = (part(size) + old + 0.5).floor();
        let place = |p: f32, from: i32| (part(p) + from as f32 + (old - new) * 0.5 + 0.5).floor() as i32;
        *self = Self { x: place(x, self.x), y: place(y, self.y), size: new as i32, ..*self };
    }

    fn iou(&self, other: &Self) -> f64 {
        let [a, b] = [self, other].map(|w| [w.x, w.y, w.size].map(f64::from));
        let side = |i: usize| ((a[i] + a[2]).min(b[i] + b[2]) - a[i].max(b[i])).max(0.0);
        let common = side(0) * side(1);
        common / (a[2].powi(2) + b[2].powi(2) - common)
    }
}

/// Keeps the surest of overlapping windows, surest first; each takes over the scores of those that it replaces, so that a
/// face that was found many times is surer.
fn suppress(windows: &mut Vec<Window>, overlap: f64) {
    // A stable order, as the windows came: networks often give the same score twice.
    windows.sort_by(|a, b| b.score.total_cmp(&a.score));
    windows.truncate(MAX_WINDOWS);
    let mut kept = 0;
    for i in 0..windows.len() {
        let window = windows[i];
        match windows[..kept].iter_mut().find(|k| k.iou(&window) > overlap) {
            Some(better) => better.score += window.score,
            None => {
                windows[kept] = window;
                kept += 1;
            }
        }
    }
    windows.truncate(kept);
}

/// A part of a picture, black where it reaches outside.
#[derive(Clone, Copy)]
struct Source<'a> {
    picture: &'a Gray,
    x: i32,
    y: i32,
    width: usize,
    height: usize,
}

impl Source<'_> {
    /// Samples it bilinearly, corner on corner, without any averaging: what the cascade was trained on.
    fn resample(&self, width: usize, height: usize, into: &mut [u8]) {
        let (sx, sy) = (self.width as f64 / width as f64, self.height as f64 / height as f64);
        // Whole and fractional part of a place, never on the last sample.
        let tap = |scale: f64, i: usize, count: usize| {
            let at = scale * i as f64;
            let whole = (at as usize).min(count.saturating_sub(2));
            (whole as i32, at - whole as f64)
        };
        for (y, row) in into.chunks_exact_mut(width).take(height).enumerate() {
            let (whole, wy) = tap(sy, y, self.height);
            let (upper, lower) = (self.row(self.y + whole), self.row(self.y + whole + 1));
            for (x, pixel) in row.iter_mut().enumerate() {
                let (whole, wx) = tap(sx, x, self.width);
                let at = |row: &[u8], x: i32| {
                    f64::from(usize::try_from(x).ok().and_then(|x| row.get(x)).copied().unwrap_or(0))
                };
                let along = |row: &[u8]| (1.0 - wx) * at(row, self.x + whole) + wx * at(row, self.x + whole + 1);
                *pixel = ((1.0 - wy) * along(upper) + wy * along(lower)) as u8;
            }
        }
    }

    /// Empty outside.
    fn row(&self, y: i32) -> &[u8] {
        let Gray { width, height, pixels } = self.picture;
        match usize::try_from(y) {
            Ok(y) if y < *height => &pixels[y * width..][..*width],
            _ => &[],
        }
    }
}

/// A score is a sum over the windows that were merged into the face, each at most 1.
fn confidence_of(score: f64) -> f32 {
    (score / (score + 0.857)) as f32
}
