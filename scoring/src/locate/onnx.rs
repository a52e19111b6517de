//! Detectors that ONNX Runtime runs.

use super::decode::{self, DecodeError, Input, ScrfdLevel, YuNetLevel};
use super::recognize::{Graph, Kind, recognize, stride};
use super::{Convention, Face, LocateError, Picture};
use crate::contract::{Channels, Layout};
use crate::crop::{Cropper, TensorSpec};
use crate::frame::FrameView;
use crate::model::Model;
use crate::session::{Outputs, Provider, RunOptions, Session, SessionError, SessionOptions};

/// More strides than any known detector has.
const MAX_LEVELS: usize = 5;

#[derive(Debug)]
pub(super) struct OnnxDetector {
    session: Session,
    graph: Graph,
    /// Faces that one cell of SCRFD speaks of.
    anchors: usize,
    tensor: Vec<f32>,
}

impl OnnxDetector {
    pub(super) fn new(model: &Model, options: &SessionOptions) -> Result<Self, LocateError> {
        let session = Session::new(model, options)?;
        let list =
            |infos: &[crate::session::TensorInfo]| infos.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let graph = recognize(session.input(), session.outputs()).map_err(|problem| LocateError::Unknown {
            model: model.name().to_owned(),
            problem,
            input: session.input().to_string(),
            outputs: list(session.outputs()),
        })?;
        let mut detector = Self { session, graph, anchors: 1, tensor: Vec::new() };
        detector.probe()?;
        Ok(detector)
    }

    pub(super) fn model(&self) -> &str {
        self.session.model().name()
    }

    pub(super) fn kind(&self) -> &'static str {
        self.graph.kind.name()
    }

    pub(super) fn digest(&self) -> &str {
        self.session.model().sha256()
    }

    pub(super) fn provider(&self) -> Provider {
        self.session.provider()
    }

    pub(super) fn convention(&self) -> Convention {
        match self.graph.kind {
            // SCRFD is trained on the labels of WIDER FACE too; no model was at hand to measure it.
            Kind::YuNet { .. } | Kind::Scrfd { .. } => Convention::WIDER_FACE,
            Kind::UltraFace { .. } => Convention::ULTRAFACE,
        }
    }

    /// Width and height of a picture: what the graph fixes, else what is wished, up to the next multiple of the coarsest stride.
    pub(super) fn size_of(&self, (width, height): (usize, usize)) -> (usize, usize) {
        let free = |wish: usize| wish.next_multiple_of(self.graph.kind.coarsest());
        (self.graph.width.unwrap_or(free(width)), self.graph.height.unwrap_or(free(height)))
    }

    /// What of the frame the detector is shown, and how large.
    pub(super) fn picture(&self, frame: &FrameView<'_>, max_side: usize) -> Picture {
        let free = Picture::free(frame, max_side, self.graph.kind.coarsest());
        match (self.graph.width, self.graph.height) {
            (None, None) => free,
            (w, h) => Picture::fixed(frame, w.unwrap_or(free.width), h.unwrap_or(free.height)),
        }
    }

    /// Appends what the network takes for faces, in pixels of the picture, before any suppression.
    pub(super) fn detect(
        &mut self,
        frame: &FrameView<'_>,
        picture: &Picture,
        cropper: &mut Cropper,
        confidence: f32,
        candidates: &mut Vec<Face>,
        options: Option<&RunOptions>,
    ) -> Result<(), LocateError> {
        let spec = self.spec(picture.width, picture.height);
        self.tensor.resize(spec.len(), 0.0);
        cropper.crop(frame, &picture.region, &spec, &mut self.tensor)?;
        self.run(picture.width, picture.height, confidence, candidates, options)
    }

    fn spec(&self, width: usize, height: usize) -> TensorSpec {
        let (channels, mean, std) = match self.graph.kind {
            Kind::YuNet { .. } => (Channels::Bgr, 0.0, 1.0),
            Kind::UltraFace { .. } => (Channels::Rgb, 127.0, 128.0),
            Kind::Scrfd { .. } => (Channels::Rgb, 127.5, 128.0),
        };
        TensorSpec { layout: Layout::Nchw, width, height, channels, scale: 1.0, mean: [mean; 3], std: [std; 3] }
    }

    /// Runs once on an empty picture: learns the order of the outputs and sees whether they are what they seem to be.
    fn probe(&mut self) -> Result<(), LocateError> {
        let small = 4 * self.graph.kind.coarsest();
        let (width, height) = (self.graph.width.unwrap_or(small), self.graph.height.unwrap_or(small));
        self.tensor.resize(3 * width * height, 0.0);
        let count = self.session.outputs().len();
        let outputs = self.session.run(&[1, 3, height, width], &self.tensor)?;
        let lengths = (0..count).map(|i| Ok(outputs.get(i)?.1.len())).collect::<Result<Vec<_>, SessionError>>()?;
        drop(outputs);
        self.graph.kind.order(&lengths);
        if let Kind::Scrfd { scores, .. } = &self.graph.kind {
            let cells = (width / stride(0)) * (height / stride(0));
            self.anchors = (lengths[scores[0]] / cells).max(1);
        }
        self.run(width, height, 1.0, &mut Vec::new(), None)
    }

    /// Runs on the tensor and decodes.
    fn run(
        &mut self,
        width: usize,
        height: usize,
        confidence: f32,
        candidates: &mut Vec<Face>,
        options: Option<&RunOptions>,
    ) -> Result<(), LocateError> {
        let Self { session, graph, anchors, tensor } = self;
        let shape = [1, 3, height, width];
        let outputs = match options {
            Some(options) => session.run_until(&shape, tensor, options)?,
            None => session.run(&shape, tensor)?,
        };
        let decoded = decode(&graph.kind, *anchors, &outputs, Input { width, height }, confidence, candidates)?;
        drop(outputs);
        decoded.map_err(|e| LocateError::Outputs {
            model: session.model().name().to_owned(),
            kind: graph.kind.name(),
            problem: e.to_string(),
        })
    }
}

/// Hands the outputs to the decoder of their kind. The outer error is one of the session.
fn decode(
    kind: &Kind,
    anchors: usize,
    outputs: &Outputs<'_>,
    input: Input,
    confidence: f32,
    candidates: &mut Vec<Face>,
) -> Result<Result<(), DecodeError>, SessionError> {
    let get = |i: usize| outputs.get(i).map(|(_, data)| data);
    Ok(match kind {
        Kind::YuNet { scores, boxes, landmarks } => {
            let empty = YuNetLevel { stride: 1, class: &[], objectness: &[], boxes: &[], landmarks: &[] };
            let mut levels = [empty; MAX_LEVELS];
            for (i, level) in levels.iter_mut().enumerate().take(boxes.len()) {
                *level = YuNetLevel {
                    stride: stride(i),
                    class: get(scores[i][0])?,
                    objectness: get(scores[i][1])?,
                    boxes: get(boxes[i])?,
                    landmarks: get(landmarks[i])?,
                };
            }
            decode::yunet(&levels[..boxes.len()], input, confidence, candidates)
        }
        Kind::UltraFace { scores, boxes } => {
            decode::ultraface(get(*scores)?, get(*boxes)?, input, confidence, candidates)
        }
        Kind::Scrfd { scores, boxes, landmarks } => {
            let empty = ScrfdLevel { stride: 1, scores: &[], boxes: &[], landmarks: None };
            let mut levels = [empty; MAX_LEVELS];
            for (i, level) in levels.iter_mut().enumerate().take(boxes.len()) {
                *level = ScrfdLevel {
                    stride: stride(i),
                    scores: get(scores[i])?,
                    boxes: get(boxes[i])?,
                    landmarks: landmarks.get(i).map(|&l| get(l)).transpose()?,
                };
            }
            decode::scrfd(&levels[..boxes.len()], anchors, input, confidence, candidates)
        }
    })
}
