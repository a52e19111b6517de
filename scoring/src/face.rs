//! The faces of a frame, before and after they are scored.

use std::time::Duration;

use crate::geometry::{Rect, by_place};
use crate::score::NotScored;
use crate::verdict::Verdict;

/// The largest box that is believed, in parts of the frame's longer side, as with the face detectors.
const LARGEST: f32 = 4.0;

/// A face that somebody upstream has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpstreamFace {
    /// Pixels of the frame.
    pub bbox: Rect,
    /// What it is called there, the same from frame to frame.
    pub id: Option<u64>,
    /// In [0, 1].
    pub confidence: f32,
}

/// A face of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredFace {
    /// The same for one person from frame to frame, from 1; 0 for a face that is not followed.
    pub track: u64,
    /// Pixels of the frame.
    pub bbox: Rect,
    /// Of the face detector, in [0, 1].
    pub confidence: f32,
    /// On the track.
    pub verdict: Verdict,
    /// The numbers, or why there are none.
    pub outcome: Result<FaceScore, NotScored>,
    /// Index among the faces that upstream told, for those that are from there.
    pub upstream: Option<usize>,
}

/// The numbers of a face that was scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceScore {
    /// Of the track: probability of fake, in [0, 1].
    pub score: f32,
    /// Of the newest scored frame alone.
    pub frame_score: f32,
    /// Of the newest scored frame alone, uncalibrated.
    pub logit: f32,
    /// Since the frame that was scored.
    pub age: Duration,
    /// What the model saw of the frame: the map lies over it.
    pub region: Rect,
}

/// All of a frame of that size.
pub(crate) fn whole(width: usize, height: usize) -> Rect {
    Rect::new(0.0, 0.0, width as f32, height as f32)
}

/// Lists the faces from upstream, the largest first; what cannot be a face in a frame of that place stands last, and says so.
pub(crate) fn list_upstream(upstream: &[UpstreamFace], whole: &Rect, faces: &mut Vec<ScoredFace>) {
    faces.extend(upstream.iter().enumerate().map(|(i, f)| face(f.bbox, f.confidence, Some(i))));
    // Else a few boxes of everything would take the places of the faces that can be scored.
    let most = LARGEST * whole.w.max(whole.h);
    let can_be = |b: &Rect| b.is_valid() && b.w <= most && b.h <= most && b.intersection(whole).is_some();
    let size = |f: &ScoredFace| if can_be(&f.bbox) { f.bbox.area() } else { -1.0 };
    // Equals stay in their order. A stable sort would allocate.
    faces.sort_unstable_by(|a, b| size(b).total_cmp(&size(a)).then(a.upstream.cmp(&b.upstream)));
    let bad = faces.iter().rev().take_while(|f| size(f) < 0.0).count();
    let good = faces.len() - bad;
    faces[good..].iter_mut().for_each(|f| f.outcome = Err(NotScored::InvalidBox));
}

/// The largest first, equals by their place.
pub(crate) fn sort_found(faces: &mut [ScoredFace]) {
    faces.sort_unstable_by(|a, b| {
        b.bbox.area().total_cmp(&a.bbox.area()).then_with(|| by_place(&a.bbox, &b.bbox)).then(a.track.cmp(&b.track))
    });
}

/// A face of which nothing but the place is known yet.
pub(crate) fn face(bbox: Rect, confidence: f32, upstream: Option<usize>) -> ScoredFace {
    let outcome = Err(NotScored::RunFailed);
    ScoredFace { track: 0, bbox, confidence, verdict: Verdict::Undecided, outcome, upstream }
}
