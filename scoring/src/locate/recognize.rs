//! Which detector a graph is, from its input and outputs alone: exporters agree on shapes, not on names.

use crate::session::TensorInfo;

/// A recognized graph. Numbers are indices of outputs, one for each stride from the finest (8) on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Graph {
    pub(super) kind: Kind,
    /// Pixels, where the graph fixes them.
    pub(super) width: Option<usize>,
    /// Pixels, where the graph fixes them.
    pub(super) height: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Class and objectness are in no known order: only their product is asked for.
    YuNet {
        scores: Vec<[usize; 2]>,
        boxes: Vec<usize>,
        landmarks: Vec<usize>,
    },
    UltraFace {
        scores: usize,
        boxes: usize,
    },
    /// No landmarks: an empty list.
    Scrfd {
        scores: Vec<usize>,
        boxes: Vec<usize>,
        landmarks: Vec<usize>,
    },
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::YuNet { .. } => "yunet",
            Self::UltraFace { .. } => "ultraface",
            Self::Scrfd { .. } => "scrfd",
        }
    }

    /// The coarsest stride: sides of the input are multiples of it.
    pub(super) fn coarsest(&self) -> usize {
        match self {
            Self::YuNet { boxes, .. } | Self::Scrfd { boxes, .. } => stride(boxes.len().max(1) - 1),
            Self::UltraFace { .. } => 1,
        }
    }

    /// Puts the outputs of each group into the order of their strides, by the lengths they had in a run: the finest grid has
    /// the most cells.
    pub(super) fn order(&mut self, lengths: &[usize]) {
        let sort = |group: &mut Vec<usize>| group.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
        match self {
            Self::YuNet { scores, boxes, landmarks } => {
                let mut flat = scores.concat();
                sort(&mut flat);
                *scores = flat.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
                sort(boxes);
                sort(landmarks);
            }
            Self::UltraFace { .. } => {}
            Self::Scrfd { scores, boxes, landmarks } => {
                sort(scores);
                sort(boxes);
                sort(landmarks);
            }
        }
    }
}

/// Of the level with that index.
pub(super) fn stride(level: usize) -> usize {
    8 << level
}

/// Recognizes a graph, or says what does not fit.
pub(super) fn recognize(input: &TensorInfo, outputs: &[TensorInfo]) -> Result<Graph, String> {
    let &[batch, channels, height, width] = input.dims.as_slice() else {
        return Err(format!("its input has {} axes, a picture has four", input.dims.len()));
    };
    if !matches!(batch, None | Some(1)) || channels != Some(3) {
        return Err("its input is not one picture of three channels, [1, 3, height, width]".to_owned());
    }
    if [height, width].iter().flatten().any(|side| !(32..=4096).contains(side)) {
        return Err("the sides of its input are not from 32 to 4096 pixels".to_owned());
    }
    if let Some(other) = outputs.iter().find(|o| !o.is_f32) {
        return Err(format!("its output {other} is not of 32-bit floats"));
    }
    let of_width = |w: usize| -> Vec<usize> {
        let is = |o: &TensorInfo| (2..=3).contains(&o.dims.len()) && o.dims.last() == Some(&Some(w));
        (0..outputs.len()).filter(|&i| is(&outputs[i])).collect()
    };
    let (ones, twos, boxes, landmarks) = (of_width(1), of_width(2), of_width(4), of_width(10));
    let kind = match (ones.len(), twos.len(), boxes.len(), landmarks.len(), outputs.len()) {
        (0, 1, 1, 0, 2) if width.is_none() || height.is_none() => {
            return Err("an UltraFace has its anchors for one size of the input, which here is open".to_owned());
        }
        (0, 1, 1, 0, 2) => Kind::UltraFace { scores: twos[0], boxes: boxes[0] },
        (6, 0, 3, 3, 12) => {
            Kind::YuNet { scores: ones.chunks_exact(2).map(|p| [p[0], p[1]]).collect(), boxes, landmarks }
        }
        (3, 0, 3, 0 | 3, 6 | 9) | (5, 0, 5, 0 | 5, 10 | 15) => Kind::Scrfd { scores: ones, boxes, landmarks },
        _ => return Err("the number and shapes of its outputs fit none".to_owned()),
    };
    let multiple = kind.coarsest();
    if let Some(side) = [height, width].into_iter().flatten().find(|side| side % multiple != 0) {
        return Err(format!("a side of its input has {side} pixels, which is no multiple of {multiple}"));
    }
    Ok(Graph { kind, width, height })
}
