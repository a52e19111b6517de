//! Which face of this frame is which face of the last ones: boxes joined into tracks by their overlap.
//!
//! A track has an id that is never used again, and lives through gaps of some frames. Boxes stay those of the detector; only
//! where a track was not looked for ([`Tracker::predicted`]) is its box moved on, with the velocity of its last sightings.

use crate::geometry::{Rect, by_place};
use crate::locate::Face;

/// The furthest a box is moved on from where it was last seen, in parts of its longer side: faces turn round sooner than they
/// cross the picture.
const MAX_DRIFT: f32 = 1.0;

/// A track ends that nobody has looked for in so many frames.
pub const MAX_EXCUSED: u64 = 250;

/// When boxes are the same face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackOptions {
    /// The least intersection over union of two boxes of one face, in (0, 1].
    pub iou: f32,
    /// A track ends when its face was not seen for more frames than this.
    pub max_gap: u32,
}

impl Default for TrackOptions {
    fn default() -> Self {
        Self { iou: 0.3, max_gap: 15 }
    }
}

/// A face seen in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    /// Pixels of the frame.
    pub bbox: Rect,
    /// What an element upstream calls this face, if it does.
    pub upstream: Option<u64>,
}

impl From<&Face> for Sighting {
    fn from(face: &Face) -> Self {
        Self { bbox: face.bbox, upstream: None }
    }
}

/// A face followed over frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// Never used twice by one tracker.
    pub id: u64,
    /// What an element upstream calls it.
    pub upstream: Option<u64>,
    /// Where it was seen last, in pixels.
    pub bbox: Rect,
    /// The frame in which it was seen last.
    pub seen: u64,
    /// Frames in which it was seen.
    pub sightings: u64,
    /// Frames since it was seen in which nobody looked where it is, see [`Tracker::pass_by`].
    excused: u64,
    /// Pixels a frame, of the centre.
    velocity: (f32, f32),
}

impl Track {
    fn new(id: u64, bbox: Rect, upstream: Option<u64>, frame: u64) -> Self {
        Self { id, upstream, bbox, seen: frame, sightings: 1, excused: 0, velocity: (0.0, 0.0) }
    }

    /// Its box in a later frame, if it keeps its velocity: moved by at most the longer side of the box, of the same size.
    pub fn predicted(&self, frame: u64) -> Rect {
        let frames = frame.saturating_sub(self.seen) as f32;
        // Not-a-number becomes zero.
        let limit = (MAX_DRIFT * self.bbox.w.max(self.bbox.h)).max(0.0);
        let drift = |v: f32| (v * frames).clamp(-limit, limit);
        Rect { x: self.bbox.x + drift(self.velocity.0), y: self.bbox.y + drift(self.velocity.1), ..self.bbox }
    }

    fn see(&mut self, bbox: &Rect, upstream: Option<u64>, frame: u64) {
        let frames = frame.saturating_sub(self.seen);
        if frames > 0 {
            let (from, to) = (self.bbox.center(), bbox.center());
            let v = ((to.x - from.x) / frames as f32, (to.y - from.y) / frames as f32);
            // Half of the old velocity stays: detectors jitter.
            self.velocity = match self.sightings {
                1 => v,
                _ => ((self.velocity.0 + v.0) / 2.0, (self.velocity.1 + v.1) / 2.0),
            };
        }
        self.bbox = *bbox;
        self.seen = frame;
        self.excused = 0;
        self.sightings += 1;
        self.upstream = upstream.or(self.upstream);
    }

    /// Frames in which it could have been seen and was not.
    fn missed(&self, frame: u64) -> u64 {
        frame.saturating_sub(self.seen).saturating_sub(self.excused)
    }

    /// How well a box fits, by where the face was and by where it should be: it may stop at any time.
    fn fit(&self, bbox: &Rect, frame: u64) -> f32 {
        self.bbox.iou(bbox).max(self.predicted(frame).iou(bbox))
    }
}

/// A track and a sighting that could be the same face.
#[derive(Clone, Copy, Debug)]
struct Pair {
    fit: f32,
    /// Index in [`Tracker::tracks`].
    track: usize,
    /// Index in [`Tracker::order`].
    rank: usize,
}

/// Joins the faces of successive frames. The work grows with tracks times faces: whoever calls it bounds their number.
#[derive(Clone, Debug)]
pub struct Tracker {
    options: TrackOptions,
    /// By rising id.
    tracks: Vec<Track>,
    ended: Vec<u64>,
    next_id: u64,
    last: u64,
    // Scratch, kept so that nothing is allocated once the numbers have settled.
    /// The sightings by place, so that their order does not matter.
    order: Vec<usize>,
    /// What each sighting is called upstream, as far as it is believed.
    names: Vec<Option<u64>>,
    pairs: Vec<Pair>,
    taken: Vec<bool>,
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new(TrackOptions::default())
    }
}

impl Tracker {
    /// Without tracks; the first id is 1.
    pub fn new(options: TrackOptions) -> Self {
        Self {
            options,
            tracks: Vec::new(),
            ended: Vec::new(),
            next_id: 1,
            last: 0,
            order: Vec::new(),
            names: Vec::new(),
            pairs: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Takes what was seen in a frame and writes the track of each face, in the same order, to `ids`, in place of what is
    /// there. `frame` counts the frames, those that nobody looked at too; one that is lower than the last counts as the last.
    ///
    /// A name given upstream decides before any overlap. Where two faces of a frame bear one name, the one that fits the
    /// track better keeps it, the other is taken as nameless. A nameless face may continue any track, a named one never a
    /// track of another name. The result does not depend on the order of the faces, except where two have the very same
    /// box and name.
    pub fn update(&mut self, frame: u64, seen: &[Sighting], ids: &mut Vec<u64>) {
        let (frame, last) = (frame.max(self.last), self.last);
        let gap = u64::from(self.options.max_gap);
        self.ended.clear();
        // Frames may have been skipped since. What was there the last time is given its chance after any pause.
        self.end(|t| t.seen < last && t.missed(frame) > gap + 1);

        ids.clear();
        ids.resize(seen.len(), 0);
        self.taken.clear();
        self.taken.resize(self.tracks.len(), false);
        self.sort(seen);
        self.pair_by_name(frame, seen);
        self.assign(frame, seen, ids);
        self.doubt_names(ids);
        self.pair_by_overlap(frame, seen, ids);
        self.assign(frame, seen, ids);
        self.begin(frame, seen, ids);

        self.end(|t| t.missed(frame) > gap);
        self.last = frame;
    }

    /// To be called before [`Tracker::update`] of that frame: those of the tracks that nobody looks for in it, by their boxes, are not held to have been missed
    /// since the last update. At most [`MAX_EXCUSED`] frames.
    pub fn pass_by(&mut self, frame: u64, passed: impl Fn(&Rect) -> bool) {
        let frames = frame.saturating_sub(self.last);
        for track in self.tracks.iter_mut().filter(|t| passed(&t.bbox)) {
            track.excused = (track.excused + frames).min(MAX_EXCUSED);
        }
    }

    /// The tracks that live, by rising id.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// The track of that id, while it lives.
    pub fn get(&self, id: u64) -> Option<&Track> {
        self.tracks.binary_search_by_key(&id, |t| t.id).ok().map(|i| &self.tracks[i])
    }

    /// Where each living track should be in a frame that is not looked at.
    pub fn predicted(&self, frame: u64) -> impl Iterator<Item = (&Track, Rect)> {
        self.tracks.iter().map(move |t| (t, t.predicted(frame)))
    }

    /// The tracks that ended in the last [`Tracker::update`] or [`Tracker::reset`], by rising id: whoever keeps something for
    /// a track drops it now.
    pub fn ended(&self) -> &[u64] {
        &self.ended
    }

    /// Ends all tracks: after a cut, a seek or a flush nothing is where it was. Frames may be counted anew; ids go on.
    pub fn reset(&mut self) {
        self.ended.clear();
        self.end(|_| true);
        self.last = 0;
    }

    fn end(&mut self, over: impl Fn(&Track) -> bool) {
        let ended = &mut self.ended;
        self.tracks.retain(|t| {
            let over = over(t);
            if over {
                ended.push(t.id);
            }
            !over
        });
    }

    fn sort(&mut self, seen: &[Sighting]) {
        self.order.clear();
        self.order.extend(0..seen.len());
        self.order.sort_unstable_by(|&a, &b| {
            by_place(&seen[a].bbox, &seen[b].bbox).then_with(|| (seen[a].upstream, a).cmp(&(seen[b].upstream, b)))
        });
        self.names.clear();
        self.names.extend(seen.iter().map(|s| s.upstream));
    }

    fn pair_by_name(&mut self, frame: u64, seen: &[Sighting]) {
        self.pairs.clear();
        for (rank, &i) in self.order.iter().enumerate() {
            let Some(name) = seen[i].upstream else { continue };
            let named = self.tracks.iter().enumerate().filter(|(_, t)| t.upstream == Some(name));
            self.pairs.extend(named.map(|(track, t)| Pair { fit: t.fit(&seen[i].bbox, frame), track, rank }));
        }
    }

    /// Of several faces of one name only one can be meant.
    fn doubt_names(&mut self, ids: &[u64]) {
        for rank in 0..self.order.len() {
            let i = self.order[rank];
            let Some(name) = self.names[i] else { continue };
            let same = |&j: &usize| self.names[j] == Some(name);
            let taken = self.order.iter().filter(|j| same(j)).any(|&j| j != i && ids[j] != 0);
            if ids[i] == 0 && (taken || self.order[..rank].iter().any(same)) {
                self.names[i] = None;
            }
        }
    }

    fn pair_by_overlap(&mut self, frame: u64, seen: &[Sighting], ids: &[u64]) {
        self.pairs.clear();
        for (rank, &i) in self.order.iter().enumerate().filter(|&(_, &i)| ids[i] == 0) {
            for (track, t) in self.tracks.iter().enumerate().filter(|&(t, _)| !self.taken[t]) {
                let other_name = self.names[i].is_some() && t.upstream.is_some();
                let fit = if other_name { 0.0 } else { t.fit(&seen[i].bbox, frame) };
                if fit > 0.0 && fit >= self.options.iou {
                    self.pairs.push(Pair { fit, track, rank });
                }
            }
        }
    }

    /// The best pairs first, each track and each face once.
    fn assign(&mut self, frame: u64, seen: &[Sighting], ids: &mut [u64]) {
        self.pairs
            .sort_unstable_by(|a, b| b.fit.total_cmp(&a.fit).then_with(|| (a.track, a.rank).cmp(&(b.track, b.rank))));
        for pair in &self.pairs {
            let i = self.order[pair.rank];
            if ids[i] == 0 && !self.taken[pair.track] {
                let track = &mut self.tracks[pair.track];
                track.see(&seen[i].bbox, self.names[i], frame);
                self.taken[pair.track] = true;
                ids[i] = track.id;
            }
        }
    }

    fn begin(&mut self, frame: u64, seen: &[Sighting], ids: &mut [u64]) {
        for &i in &self.order {
            if ids[i] == 0 {
                ids[i] = self.next_id;
                self.tracks.push(Track::new(self.next_id, seen[i].bbox, self.names[i], frame));
                self.next_id += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn at(x: f32, y: f32) -> Sighting {
        Sighting { bbox: Rect::new(x, y, 100.0, 120.0), upstream: None }
    }

    fn named(x: f32, y: f32, name: u64) -> Sighting {
        Sighting { upstream: Some(name), ..at(x, y) }
    }

    fn update(tracker: &mut Tracker, frame: u64, seen: &[Sighting]) -> Vec<u64> {
        let mut ids = vec![99; 3];
        tracker.update(frame, seen, &mut ids);
        ids
    }

    #[test]
    fn a_face_keeps_its_track_through_a_gap_and_no_longer() {
        let options = TrackOptions { max_gap: 3, ..TrackOptions::default() };
        for (back, same) in [(4, true), (5, false)] {
            let mut tracker = Tracker::new(options);
            assert_eq!(update(&mut tracker, 0, &[at(0.0, 0.0)]), [1]);
            for frame in 1..back {
                assert!(update(&mut tracker, frame, &[]).is_empty());
                assert_eq!(tracker.ended(), if frame == 4 { &[1][..] } else { &[] });
            }
            assert_eq!(update(&mut tracker, back, &[at(5.0, 0.0)]) == [1], same, "seen again in frame {back}");
        }
    }

    #[test]
    fn a_missed_track_does_not_outlive_skipped_frames() {
        let mut tracker = Tracker::new(TrackOptions { max_gap: 3, ..TrackOptions::default() });
        update(&mut tracker, 0, &[at(0.0, 0.0)]);
        update(&mut tracker, 1, &[]);
        assert_eq!(update(&mut tracker, 50, &[at(0.0, 0.0)]), [2]);
        assert_eq!(tracker.ended(), [1]);
        // Looked for every 50 frames and seen every time: one track.
        assert_eq!(update(&mut tracker, 100, &[at(0.0, 0.0)]), [2]);
    }

    #[test]
    fn boxes_that_swap_places_slowly_keep_their_ids() {
        let mut tracker = Tracker::default();
        for frame in 0..=40 {
            let x = frame as f32 * 10.0;
            let ids = update(&mut tracker, frame, &[at(x, 0.0), at(400.0 - x, 50.0)]);
            assert_eq!(ids, [1, 2], "frame {frame}");
        }
    }

    #[test]
    fn velocity_bridges_frames_that_are_not_looked_at() {
        let mut tracker = Tracker::default();
        // 20 pixels a frame; looked at every fourth one, where the face has moved by 80 of its 100 pixels.
        assert_eq!(update(&mut tracker, 0, &[at(0.0, 0.0)]), [1]);
        assert_eq!(update(&mut tracker, 1, &[at(20.0, 0.0)]), [1]);
        let (_, predicted) = tracker.predicted(3).next().unwrap();
        assert_eq!(predicted, Rect::new(60.0, 0.0, 100.0, 120.0));
        assert_eq!(update(&mut tracker, 5, &[at(100.0, 0.0)]), [1]);
        assert_eq!(tracker.predicted(1000).next().unwrap().1.x, 220.0, "no further than its longer side");
    }

    #[test]
    fn a_name_from_upstream_outweighs_overlap() {
        let mut tracker = Tracker::default();
        assert_eq!(update(&mut tracker, 0, &[named(0.0, 0.0, 7), named(300.0, 0.0, 8)]), [1, 2]);
        assert_eq!(update(&mut tracker, 1, &[named(0.0, 0.0, 8), named(300.0, 0.0, 7)]), [2, 1]);
        // Without a name the place decides, and the track keeps its name.
        assert_eq!(update(&mut tracker, 2, &[at(0.0, 0.0)]), [2]);
        assert_eq!(tracker.get(2).unwrap().upstream, Some(8));
        // Another name at the same place is another face.
        assert_eq!(update(&mut tracker, 3, &[named(0.0, 0.0, 9)]), [3]);
    }

    #[test]
    fn a_track_takes_the_name_that_comes_later() {
        let mut tracker = Tracker::default();
        assert_eq!(update(&mut tracker, 0, &[at(0.0, 0.0)]), [1]);
        assert_eq!(update(&mut tracker, 1, &[named(3.0, 0.0, 7)]), [1]);
        assert_eq!(update(&mut tracker, 2, &[named(500.0, 0.0, 7)]), [1]);
    }

    #[test]
    fn of_two_faces_with_one_name_one_bears_it() {
        let mut tracker = Tracker::default();
        assert_eq!(update(&mut tracker, 0, &[named(300.0, 0.0, 7), named(0.0, 0.0, 7)]), [2, 1]);
        assert_eq!(tracker.get(1).unwrap().upstream, Some(7));
        assert_eq!(tracker.get(2).unwrap().upstream, None);
        // The one that fits the track of that name keeps it; the other continues by overlap.
        assert_eq!(update(&mut tracker, 1, &[named(300.0, 0.0, 7), named(0.0, 0.0, 7)]), [2, 1]);
        assert_eq!(tracker.tracks().len(), 2);
    }

    #[test]
    fn reset_ends_all_and_reuses_no_id() {
        let mut tracker = Tracker::default();
        update(&mut tracker, 1000, &[at(0.0, 0.0), at(300.0, 0.0)]);
        tracker.reset();
        assert_eq!(tracker.ended(), [1, 2]);
        assert_eq!(update(&mut tracker, 0, &[at(0.0, 0.0)]), [3]);
        assert!(tracker.ended().is_empty());
    }

    #[test]
    fn numbers_that_are_no_boxes_do_no_harm() {
        let mut tracker = Tracker::default();
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -5.0, 0.0, f32::MAX];
        let seen: Vec<_> =
            odd.iter().flat_map(|&x| odd.map(|w| Sighting { bbox: Rect::new(x, 0.0, w, w), upstream: None })).collect();
        for frame in 0..4 {
            let ids = update(&mut tracker, frame, &seen);
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), seen.len());
            assert_eq!(tracker.predicted(frame + 2).count(), tracker.tracks().len());
        }
    }

    #[test]
    fn nothing_is_allocated_once_settled() {
        let mut tracker = Tracker::default();
        let seen: Vec<_> = (0..200).map(|i| at((i % 20) as f32 * 60.0, (i / 20) as f32 * 60.0)).collect();
        let mut ids = Vec::new();
        let mut sizes = |tracker: &mut Tracker, frame| {
            tracker.update(frame, &seen, &mut ids);
            let t = &*tracker;
            [t.tracks.capacity(), t.order.capacity(), t.pairs.capacity(), t.taken.capacity(), ids.capacity()]
        };
        sizes(&mut tracker, 0);
        let settled = sizes(&mut tracker, 1);
        assert!((2..20).all(|frame| sizes(&mut tracker, frame) == settled));
    }

    /// Frames of boxes on a coarse lattice with few names, so that overlaps, ties and duplicates of names are common.
    fn scenes() -> impl Strategy<Value = Vec<Vec<Sighting>>> {
        let sighting =
            (0..12u8, 0..12u8, 1..4u8, proptest::option::weighted(0.3, 0..4u64)).prop_map(|(x, y, size, upstream)| {
                Sighting {
                    bbox: Rect::new(
                        f32::from(x) * 20.0,
                        f32::from(y) * 20.0,
                        f32::from(size) * 40.0,
                        f32::from(size) * 50.0,
                    ),
                    upstream,
                }
            });
        proptest::collection::vec(proptest::collection::vec(sighting, 0..12), 1..12)
    }

    /// Without exact doubles, for which any choice is as good.
    fn distinct(mut seen: Vec<Sighting>) -> Vec<Sighting> {
        seen.sort_by(|a, b| by_place(&a.bbox, &b.bbox));
        seen.dedup_by(|a, b| a.bbox == b.bbox);
        seen
    }

    proptest! {
        #[test]
        fn the_order_of_faces_does_not_matter(scenes in scenes(), rotation in 0..12usize) {
            let (mut straight, mut turned) = (Tracker::default(), Tracker::default());
            for (frame, seen) in scenes.into_iter().enumerate() {
                let seen = distinct(seen);
                let mut other = seen.clone();
                other.reverse();
                let by = rotation.min(other.len());
                other.rotate_left(by);
                let ids = update(&mut straight, frame as u64, &seen);
                let other_ids = update(&mut turned, frame as u64, &other);
                for (s, id) in seen.iter().zip(ids) {
                    let i = other.iter().position(|o| o == s).unwrap();
                    prop_assert_eq!(id, other_ids[i]);
                }
            }
        }

        #[test]
        fn ids_are_unique_alive_and_never_reused(scenes in scenes()) {
            let mut tracker = Tracker::new(TrackOptions { max_gap: 1, ..TrackOptions::default() });
            let mut ended = HashSet::new();
            for (frame, seen) in scenes.into_iter().enumerate() {
                let ids = update(&mut tracker, frame as u64, &seen);
                prop_assert_eq!(ids.len(), seen.len());
                prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
                ended.extend(tracker.ended().iter().copied());
                prop_assert!(ids.iter().all(|id| !ended.contains(id) && tracker.get(*id).is_some()));
                let names: Vec<_> = tracker.tracks().iter().filter_map(|t| t.upstream).collect();
                prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
            }
        }

        #[test]
        fn a_moving_box_keeps_its_id(
            steps in proptest::collection::vec((-25.0..25f32, -25.0..25f32, 0.9..1.1f32), 1..60),
        ) {
            let mut tracker = Tracker::default();
            let mut bbox = Rect::new(500.0, 500.0, 100.0, 120.0);
            for (frame, (dx, dy, size)) in steps.into_iter().enumerate() {
                // The steps are of a box of 100 pixels.
                let unit = bbox.w / 100.0;
                bbox = Rect::new(bbox.x + dx * unit, bbox.y + dy * unit, bbox.w * size, bbox.h * size);
                prop_assert_eq!(update(&mut tracker, frame as u64, &[Sighting { bbox, upstream: None }]), [1]);
            }
        }
    }
}
