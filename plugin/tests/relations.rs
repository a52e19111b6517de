//! GStreamer's own analytics metadata: what is written, read, and taken from elements upstream.

#![cfg(feature = "v1_24")]

use deepfake_scoring::geometry::Rect;
use deepfake_scoring::verdict::Verdict;
use gst::prelude::*;
use gst_analytics::prelude::*;
use gst_analytics::{
    AnalyticsClassificationMtd, AnalyticsODMtd, AnalyticsRelationMeta, AnalyticsTrackingMtd, RelTypes,
};
use gst_video::{VideoFormat, VideoInfo, VideoRegionOfInterestMeta};
use gstdeepfake::meta::Scores;
use gstdeepfake::meta::relations;

mod common;

/// The element, and frames of one gray for it.
struct Line {
    harness: gst_check::Harness,
    info: VideoInfo,
    count: u64,
    _folder: tempfile::TempDir,
}

impl Line {
    fn new(face_source: &str) -> Self {
        // A harness is a live pipeline.
        let properties = [("mode", "every-frame"), ("face-source", face_source)];
        let (element, folder) = common::scorer(common::brightness_model, &properties);
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        let info = VideoInfo::builder(VideoFormat::Rgb, 320, 240).fps((25, 1)).build().unwrap();
        harness.set_src_caps(info.to_caps().unwrap());
        Self { harness, info, count: 0, _folder: folder }
    }

    /// A white frame on which upstream has left something.
    fn push(&mut self, upstream: impl FnOnce(&mut gst::BufferRef)) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_mut_slice(vec![255u8; self.info.size()]);
        let header = buffer.get_mut().unwrap();
        header.set_pts(self.count * 40.mseconds());
        upstream(header);
        self.count += 1;
        self.harness.push_and_pull(buffer).unwrap()
    }
}

/// A detector's face, with the name that a tracker gave it.
fn detected(buffer: &mut gst::BufferRef, kind: &str, (x, y, w, h): (i32, i32, i32, i32), track: Option<u64>) -> u32 {
    let mut meta = match buffer.meta::<AnalyticsRelationMeta>().is_some() {
        true => buffer.meta_mut().unwrap(),
        false => AnalyticsRelationMeta::add(buffer),
    };
    let id = meta.add_od_mtd(glib::Quark::from_str(kind), x, y, w, h, 0.75).unwrap().id();
    if let Some(track) = track {
        let tracking = meta.add_tracking_mtd(track, gst::ClockTime::ZERO).unwrap().id();
        meta.set_relation(RelTypes::RELATE_TO, id, tracking).unwrap();
    }
    id
}

/// Where the largest face is, in whole pixels.
fn place(scores: &Scores) -> (i32, i32, i32, i32) {
    let Rect { x, y, w, h } = scores.faces[0].pixels(320, 240).unwrap();
    (x.round() as i32, y.round() as i32, w.round() as i32, h.round() as i32)
}

#[test]
fn each_face_is_related_to_its_class_its_track_and_its_map() {
    let mut line = Line::new("frame");
    line.push(|_| ());
    let buffer = line.push(|_| ());
    let scores = Scores::from_buffer(&buffer).unwrap();
    let score = scores.faces[0].outcome.as_ref().unwrap();

    let meta = buffer.meta::<AnalyticsRelationMeta>().unwrap();
    let faces: Vec<_> = meta.iter::<AnalyticsODMtd>().collect();
    assert_eq!(faces.len(), 1);
    let od = &faces[0];
    assert_eq!(od.obj_type().unwrap().as_str(), "face");
    let at = od.location().unwrap();
    assert_eq!((at.x, at.y, at.w, at.h), (0, 0, 320, 240));

    let classes: Vec<_> = meta.iter_direct_related::<AnalyticsClassificationMtd>(od.id(), RelTypes::CONTAIN).collect();
    assert_eq!(classes.len(), 1);
    let levels: Vec<_> = classes[0].iterate().map(|(class, level)| (class.as_str().to_string(), level)).collect();
    let fake = score.score as f32;
    assert_eq!(levels, [("fake".to_owned(), fake), ("real".to_owned(), 1.0 - fake)]);

    let tracks: Vec<_> = meta.iter_direct_related::<AnalyticsTrackingMtd>(od.id(), RelTypes::RELATE_TO).collect();
    assert_eq!(tracks.len(), 1);
    assert_eq!(tracks[0].info(), (scores.faces[0].track, gst::ClockTime::ZERO, 40.mseconds(), false));

    let related = relations::faces(&buffer);
    assert_eq!(related.len(), 1);
    assert_eq!((related[0].fake, related[0].track), (Some(fake), Some(scores.faces[0].track)));
    #[cfg(feature = "v1_28")]
    {
        let map = score.map.as_ref().unwrap();
        assert_eq!(related[0].map, Some((map.width as usize, map.height as usize, map.values.clone())));
    }
}

#[test]
fn detected_faces_are_taken_from_upstream_with_the_names_they_have() {
    let mut line = Line::new("upstream");
    let first = line.push(|buffer| {
        detected(buffer, "face", (200, 100, 60, 60), Some(7));
        detected(buffer, "dog", (10, 150, 50, 50), None);
        detected(buffer, "face", (10, 10, 100, 100), Some(9));
    });
    // The other way round and far from where they were.
    let second = line.push(|buffer| {
        detected(buffer, "face", (10, 120, 100, 100), Some(9));
        detected(buffer, "face", (100, 10, 60, 60), Some(7));
    });
    let [first_scores, second_scores] = [&first, &second].map(|b| Scores::from_buffer(b).unwrap());
    assert_eq!(first_scores.faces.len(), 2, "a dog is no face");
    assert_eq!(place(&first_scores), (10, 10, 100, 100));
    assert_eq!(first_scores.faces[0].confidence, 0.75);
    assert_eq!(first_scores.faces[0].verdict, Verdict::Undecided);
    assert_eq!(first_scores.faces[0].track, second_scores.faces[0].track);
    assert_eq!(first_scores.faces[1].track, second_scores.faces[1].track);

    // What was there was added to, not doubled, and keeps the tracker's names.
    let meta = first.meta::<AnalyticsRelationMeta>().unwrap();
    assert_eq!(meta.iter::<AnalyticsODMtd>().count(), 3);
    assert_eq!(meta.iter::<AnalyticsTrackingMtd>().count(), 2);
    let related = relations::faces(&first);
    assert_eq!(related.iter().map(|f| f.track).collect::<Vec<_>>(), [Some(7), Some(9)]);
    assert!(related.iter().all(|f| f.fake.is_some_and(|p| p > 0.9)), "{related:?}");
    // Readers of regions find them too.
    let regions: Vec<_> = first.iter_meta::<VideoRegionOfInterestMeta>().map(|roi| roi.rect()).collect();
    assert_eq!(regions, [(10, 10, 100, 100), (200, 100, 60, 60)]);
}

#[test]
fn regions_come_before_detections() {
    let mut line = Line::new("upstream");
    let buffer = line.push(|buffer| {
        detected(buffer, "face", (200, 100, 60, 60), None);
        VideoRegionOfInterestMeta::add(buffer, "face", (10, 10, 100, 100));
    });
    let scores = Scores::from_buffer(&buffer).unwrap();
    assert_eq!(scores.faces.len(), 1);
    assert_eq!(place(&scores), (10, 10, 100, 100));
    assert_eq!(buffer.iter_meta::<VideoRegionOfInterestMeta>().count(), 1);
    assert_eq!(buffer.meta::<AnalyticsRelationMeta>().unwrap().iter::<AnalyticsODMtd>().count(), 2);
}

#[test]
fn frames_without_faces_get_no_relations() {
    let buffer = Line::new("upstream").push(|_| ());
    assert!(Scores::from_buffer(&buffer).unwrap().faces.is_empty());
    assert!(buffer.meta::<AnalyticsRelationMeta>().is_none());
}

#[test]
fn a_time_that_is_not_set_is_read_all_the_same() {
    let buffer = Line::new("upstream").push(|buffer| {
        let id = detected(buffer, "face", (10, 10, 100, 100), None);
        let mut meta = buffer.meta_mut::<AnalyticsRelationMeta>().unwrap();
        // SAFETY: the identifiers are of this meta.
        unsafe {
            let mut tracking = std::mem::zeroed();
            let raw = meta.as_mut_ptr();
            gst_analytics::ffi::gst_analytics_relation_meta_add_tracking_mtd(raw, 5, u64::MAX, &mut tracking);
            let relate = gst_analytics::ffi::GST_ANALYTICS_REL_TYPE_RELATE_TO;
            gst_analytics::ffi::gst_analytics_relation_meta_set_relation(raw, relate, tracking.id, id);
        }
    });
    assert_eq!(relations::faces(&buffer)[0].track, Some(5));
    assert!(Scores::from_buffer(&buffer).unwrap().faces[0].outcome.is_ok());
}
