//! Where the faces are: detectors, recognized from their graphs, and their boxes in one convention.

pub mod convention;
pub mod decode;
pub mod nms;
mod onnx;
mod recognize;
pub mod search;

use thiserror::Error;

pub use convention::Convention;

use crate::crop::{CropError, Cropper};
use crate::frame::FrameView;
use crate::geometry::{Point, Rect};
use crate::model::{Model, ModelError};
use crate::session::{Provider, RunOptions, SessionError, SessionOptions};
use onnx::OnnxDetector;

/// A face in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// Pixels of the frame, in the convention of [`WiderFace`](crate::contract::BoxReference::WiderFace); it may reach
    /// outside of the frame, its centre does not.
    pub bbox: Rect,
    /// How sure the detector is, from 0 to 1.
    pub confidence: f32,
    /// Right eye, left eye, tip of the nose, right and left corner of the mouth (right and left as the person has them),
    /// in pixels of the frame, where the detector tells.
    pub landmarks: Option<[Point; 5]>,
}

/// How to look for faces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocateOptions {
    /// Less sure faces are not told, from 0 to 1.
    pub confidence: f32,
    /// Of two boxes that overlap by more than this (intersection over union), the surer one is told.
    pub iou: f32,
    /// The longer side of the picture that a detector looks at, in pixels, where its graph leaves the choice; larger frames
    /// are shrunk to it, smaller ones keep their size (up to the next multiple of the detector's stride). YuNet finds faces from about ten pixels there: of a frame of
    /// 1920x1080 shrunk to 640, faces from 30 pixels. The time for a frame grows with the square of it.
    pub max_side: usize,
}

impl Default for LocateOptions {
    fn default() -> Self {
        Self { confidence: 0.75, iou: 0.3, max_side: 640 }
    }
}

impl LocateOptions {
    fn check(&self) -> Result<(), LocateError> {
        let wrong = |option, problem| Err(LocateError::Option { option, problem });
        if !(0.0..=1.0).contains(&self.confidence) {
            return wrong("confidence", "must be from 0 to 1");
        }
        if !(0.0..=1.0).contains(&self.iou) {
            return wrong("iou", "must be from 0 to 1");
        }
        if !(64..=4096).contains(&self.max_side) {
            return wrong("max_side", "must be from 64 to 4096 pixels");
        }
        Ok(())
    }
}

/// Why faces cannot be looked for.
#[derive(Debug, Error)]
pub enum LocateError {
    /// An option out of its range.
    #[error("the option `{option}` of the face detector {problem}")]
    Option {
        /// Its name in [`LocateOptions`].
        option: &'static str,
        /// What it should be.
        problem: &'static str,
    },
    /// A graph of another kind.
    #[error(
        "the model {model} is no face detector that is known here ({problem}): it has the input {input} and the outputs \
         {outputs}; known are YuNet of 2023 (class, objectness, box and landmark outputs at the strides 8, 16 and 32), UltraFace \
         (scores [1, N, 2] and boxes [1, N, 4]) and SCRFD (scores, boxes and possibly landmarks at three or five strides)"
    )]
    Unknown {
        /// Its name.
        model: String,
        /// What does not fit.
        problem: String,
        /// With its axes.
        input: String,
        /// With their axes.
        outputs: String,
    },
    /// A recognized graph whose outputs are not what its kind promises.
    #[error("the face detector {model} gives outputs that do not belong to a {kind}: {problem}")]
    Outputs {
        /// Its name.
        model: String,
        /// As recognized.
        kind: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The model that this crate carries is not what it was.
    #[error("the bundled face detector is damaged: {0}")]
    Bundled(#[from] ModelError),
    /// The model does not load or run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The frame cannot be read.
    #[error(transparent)]
    Crop(#[from] CropError),
}

/// The face detector that comes with this crate; `models/locator.md` is its card.
const BUNDLED: &[u8] = include_bytes!("../../models/locator.onnx");

/// The face detector that comes with this crate, of YuNet's form.
///
/// # Errors
///
/// A build that went wrong.
pub fn bundled() -> Result<Model, LocateError> {
    Ok(Model::from_bytes("locator", BUNDLED)?)
}

/// A face detector, ready to look at frames. It belongs to one worker.
#[derive(Debug)]
pub struct Locator {
    detector: OnnxDetector,
    convention: Convention,
    cropper: Cropper,
    options: LocateOptions,
    candidates: Vec<Face>,
}

impl Locator {
    /// Takes a face detector in ONNX format; which one, is seen from its inputs and outputs. It is run once here, so that
    /// a graph that does not do what it promises is refused now.
    ///
    /// # Errors
    ///
    /// Options out of range, a model that does not load, a graph that is none of the known detectors.
    pub fn new(model: &Model, session: &SessionOptions, options: LocateOptions) -> Result<Self, LocateError> {
        options.check()?;
        let detector = OnnxDetector::new(model, session)?;
        let convention = detector.convention();
        Ok(Self { detector, convention, cropper: Cropper::default(), options, candidates: Vec::new() })
    }

    /// Name of its model.
    pub fn name(&self) -> &str {
        self.detector.model()
    }

    /// Which detector it is: `yunet`, `ultraface` or `scrfd`.
    pub fn kind(&self) -> &'static str {
        self.detector.kind()
    }

    /// SHA-256 of its model, in lower case hexadecimal.
    pub fn digest(&self) -> &str {
        self.detector.digest()
    }

    /// What runs it.
    pub fn provider(&self) -> Provider {
        self.detector.provider()
    }

    /// How it looks for faces.
    pub fn options(&self) -> &LocateOptions {
        &self.options
    }

    /// How its own boxes are mapped to the reference.
    pub fn convention(&self) -> Convention {
        self.convention
    }

    /// Maps its boxes in another way: for a model that was trained on other labels than its kind usually is.
    pub fn set_convention(&mut self, convention: Convention) {
        self.convention = convention;
    }

    /// Puts the faces of a frame into `faces`, in place of what is there, the surest first.
    ///
    /// # Errors
    ///
    /// A run that fails, outputs of another length than before.
    pub fn locate(&mut self, frame: &FrameView<'_>, faces: &mut Vec<Face>) -> Result<(), LocateError> {
        self.look(frame, &[self.whole(frame)], faces, None)
    }

    /// What of the frame it is shown, and how large, where nothing more is known.
    fn whole(&self, frame: &FrameView<'_>) -> Picture {
        self.detector.picture(frame, self.options.max_side)
    }

    /// Width and height of a picture that it can be shown, near to those that are wished.
    fn size_of(&self, wish: (usize, usize)) -> (usize, usize) {
        self.detector.size_of(wish)
    }

    /// Looks at several parts of a frame; faces that are seen in more than one are told once. Ended early by `options`.
    fn look(
        &mut self,
        frame: &FrameView<'_>,
        pictures: &[Picture],
        faces: &mut Vec<Face>,
        options: Option<&RunOptions>,
    ) -> Result<(), LocateError> {
        faces.clear();
        for picture in pictures {
            let (cropper, candidates) = (&mut self.cropper, &mut self.candidates);
            candidates.clear();
            self.detector.detect(frame, picture, cropper, self.options.confidence, candidates, options)?;
            nms::suppress(candidates, self.options.iou);
            let placed = candidates.iter().filter_map(|face| picture.to_frame(face, &self.convention, frame));
            faces.extend(placed.filter(|face| !picture.cuts(&face.bbox, frame)));
        }
        if pictures.len() > 1 {
            nms::suppress(faces, self.options.iou);
        }
        Ok(())
    }
}

/// The picture that a detector is shown: a part of the frame, or all of it from its top left corner on, with the aspect kept. What is
/// left over at the right or at the bottom repeats the frame's edge.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Picture {
    /// Pixels.
    width: usize,
    /// Pixels.
    height: usize,
    /// In the frame.
    region: Rect,
}

/// As far as a picture may reach beyond the frame, in sides of the frame: a ribbon is stretched rather than surrounded by nothing.
const MAX_REACH: f32 = 16.0;

impl Picture {
    /// With a size that the detector's graph fixes.
    fn fixed(frame: &FrameView<'_>, width: usize, height: usize) -> Self {
        let (w, h) = (frame.width() as f32, frame.height() as f32);
        let scale = (w / width as f32).max(h / height as f32);
        let side = |picture: usize, frame: f32| (picture as f32 * scale).min(frame * MAX_REACH);
        Self { width, height, region: Rect::new(0.0, 0.0, side(width, w), side(height, h)) }
    }

    /// With a size after the frame's, at most `max_side`, filled up to a multiple.
    fn free(frame: &FrameView<'_>, max_side: usize, multiple: usize) -> Self {
        let scale = (frame.width().max(frame.height()) as f32 / max_side as f32).max(1.0);
        let side = |s: usize| ((s as f32 / scale).ceil() as usize).max(1).next_multiple_of(multiple);
        Self::fixed(frame, side(frame.width()), side(frame.height()))
    }

    /// A face of the picture in the frame; `None` where its centre is outside of the frame.
    fn to_frame(self, face: &Face, convention: &Convention, frame: &FrameView<'_>) -> Option<Face> {
        let (sx, sy) = (self.region.w / self.width as f32, self.region.h / self.height as f32);
        let bbox = convention.to_reference(&face.bbox).scaled(sx, sy);
        let bbox = Rect { x: bbox.x + self.region.x, y: bbox.y + self.region.y, ..bbox };
        let centre = bbox.center();
        let inside =
            (0.0..=frame.width() as f32).contains(&centre.x) && (0.0..=frame.height() as f32).contains(&centre.y);
        let landmarks =
            face.landmarks.map(|l| l.map(|p| Point { x: p.x * sx + self.region.x, y: p.y * sy + self.region.y }));
        (inside && bbox.is_valid()).then_some(Face { bbox, landmarks, ..*face })
    }
}
