//! Faces as `GstVideoRegionOfInterestMeta` of type `face`, with the parameters that DL Streamer's elements put there and its
//! readers look for.
//!
//! | parameter | fields | on |
//! |---|---|---|
//! | `deepfake` | `label`, `label_id`, `confidence` (of the label), `model_name`, `score` (probability of fake) | each face that was scored |
//! | `detection` | `x_min`, `y_min`, `x_max`, `y_max` in parts of the frame, `confidence`, `label_id`, `model_name` | faces that this element found |
//! | `object_id` | `id`: the track | faces that this element found |

use std::ops::ControlFlow;

use deepfake_scoring::engine::{ScoredFace, UpstreamFace};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::verdict::Verdict;
use gst_video::VideoRegionOfInterestMeta;

use crate::meta::{Face, ROI_TYPE, ScoredBy, Scores};

/// The faces that elements upstream have found: the regions of interest, or where there are none the `ODMtd` of type `face`
/// that GStreamer 1.24 and newer has.
pub(super) fn upstream(buffer: &gst::BufferRef) -> Vec<UpstreamFace> {
    let faces: Vec<_> = regions(buffer).map(|roi| upstream_face(&roi)).collect();
    #[cfg(feature = "v1_24")]
    if faces.is_empty() {
        return crate::meta::relations::faces(buffer).into_iter().map(related_face).collect();
    }
    faces
}

fn regions(buffer: &gst::BufferRef) -> impl Iterator<Item = gst::MetaRef<'_, VideoRegionOfInterestMeta>> {
    buffer.iter_meta::<VideoRegionOfInterestMeta>().filter(|roi| roi.roi_type() == ROI_TYPE)
}

#[cfg(feature = "v1_24")]
fn related_face(face: crate::meta::relations::RelatedFace) -> UpstreamFace {
    let confidence = Some(face.confidence).filter(|c| (0.0..=1.0).contains(c)).unwrap_or(1.0);
    UpstreamFace { bbox: face.bbox, id: face.track, confidence }
}

/// Names and confidences are where DL Streamer's elements put them. The region's own id is only the place in its frame's
/// list for most elements, so that it says nothing about the person.
fn upstream_face(roi: &VideoRegionOfInterestMeta) -> UpstreamFace {
    let (x, y, w, h) = roi.rect();
    let id = roi.param("object_id").and_then(|s| s.get::<i32>("id").ok()).and_then(|id| u64::try_from(id).ok());
    let confidence = roi.param("detection").and_then(|s| s.get::<f64>("confidence").ok());
    UpstreamFace {
        bbox: Rect::new(x as f32, y as f32, w as f32, h as f32),
        id,
        confidence: confidence.filter(|c| (0.0..=1.0).contains(c)).unwrap_or(1.0) as f32,
    }
}

/// Adds the classification to the regions that [`upstream`] has read, and a region for each other face. `scored` are the
/// faces of `scores`, in pixels of a frame of that size.
pub(super) fn attach(
    buffer: &mut gst::BufferRef,
    size: (u32, u32),
    scores: &Scores,
    scored: &[ScoredFace],
    detector: Option<&str>,
) {
    let faces = || scores.faces.iter().zip(scored);
    let there = regions(buffer).next().is_some();
    let mut index = 0;
    if there {
        buffer.foreach_meta_mut(|mut meta| {
            if let Some(roi) = meta.downcast_mut::<VideoRegionOfInterestMeta>().filter(|r| r.roi_type() == ROI_TYPE) {
                let face = faces().find(|(_, s)| s.upstream == Some(index));
                if let Some(param) = face.and_then(|(face, _)| classification(face, &scores.by)) {
                    roi.add_param(param);
                }
                index += 1;
            }
            ControlFlow::Continue(gst::buffer::BufferMetaForeachAction::Keep)
        });
    }
    for (face, scored) in faces().filter(|(_, s)| !(there && s.upstream.is_some())) {
        let mut roi = VideoRegionOfInterestMeta::add(buffer, ROI_TYPE, pixels(&scored.bbox, size));
        let track = track_id(face.track);
        roi.set_id(track);
        roi.add_param(detection(face, detector));
        // 0 is a face that is not followed.
        if track != 0 {
            roi.add_param(gst::Structure::builder("object_id").field("id", track).build());
        }
        if let Some(param) = classification(face, &scores.by) {
            roi.add_param(param);
        }
    }
}

/// The number of a track as DL Streamer's readers take it; it wraps after two thousand million persons.
pub(crate) fn track_id(track: u64) -> i32 {
    (track & 0x7fff_ffff) as i32
}

/// The part of a box that is in the frame, in whole pixels.
pub(crate) fn pixels(bbox: &Rect, (width, height): (u32, u32)) -> (u32, u32, u32, u32) {
    let clip = |v: f32, max: u32| v.round().clamp(0.0, max as f32) as u32;
    let (x0, y0) = (clip(bbox.x, width), clip(bbox.y, height));
    // A box whose right edge is left of its left one has no width.
    (x0, y0, clip(bbox.right(), width).saturating_sub(x0), clip(bbox.bottom(), height).saturating_sub(y0))
}

fn detection(face: &Face, detector: Option<&str>) -> gst::Structure {
    let bbox = face.bbox.unwrap_or_default();
    let side = |v: f32| f64::from(v.clamp(0.0, 1.0));
    let structure = gst::Structure::builder("detection")
        .field("x_min", side(bbox.x))
        .field("y_min", side(bbox.y))
        .field("x_max", side(bbox.right()))
        .field("y_max", side(bbox.bottom()))
        .field("confidence", face.confidence)
        .field("label_id", 0)
        .field_if_some("model_name", detector);
    structure.build()
}

/// Number of the label, and how much speaks for it where `score` is the probability of fake.
pub(crate) fn label(verdict: Verdict, score: f64) -> (i32, f64) {
    match verdict {
        Verdict::Real => (0, 1.0 - score),
        Verdict::Fake => (1, score),
        Verdict::Undecided => (2, score.max(1.0 - score)),
    }
}

fn classification(face: &Face, by: &ScoredBy) -> Option<gst::Structure> {
    let score = face.outcome.as_ref().ok()?.score;
    let (label_id, confidence) = label(face.verdict, score);
    let structure = gst::Structure::builder("deepfake")
        .field("label", face.verdict.name())
        .field("label_id", label_id)
        .field("confidence", confidence)
        .field("model_name", &by.model)
        .field("score", score);
    Some(structure.build())
}
