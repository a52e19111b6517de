//! Elements that are flushed again and again, as every seek does: no flush leaves memory in use behind. In a process of its own, without
//! GLib's slices, which grow in steps.

use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};

mod common;
mod memory;

/// Libraries find what they keep in the first third.
const FLUSHES: usize = 1500;
/// Bytes. What `deepfakejson` once kept for each with GStreamer 1.22.0, a closure and a weak reference, were a hundred.
const MOST: f64 = 30.0;

/// Bytes of memory in use that each flush adds.
fn of_flushes(element: &gst::Element) -> f64 {
    let info = VideoInfo::builder(VideoFormat::I420, 64, 48).fps((30, 1)).build().unwrap();
    let mut harness = Harness::with_element(element, Some("sink"), Some("src"));
    harness.set_src_caps(info.to_caps().unwrap());
    let mut before = 0.0;
    for n in 0..FLUSHES {
        if n == FLUSHES / 3 {
            before = memory::allocated();
        }
        let mut frame = gst::Buffer::from_mut_slice(vec![100_u8; info.size()]);
        frame.make_mut().set_pts(gst::ClockTime::ZERO);
        harness.push(frame).unwrap();
        harness.pull().unwrap();
        assert!(harness.push_event(gst::event::FlushStart::new()));
        assert!(harness.push_event(gst::event::FlushStop::new(true)));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(harness.push_event(gst::event::Segment::new(&segment)));
        while harness.try_pull_event().is_some() {}
        while harness.try_pull_upstream_event().is_some() {}
    }
    let after = memory::allocated();
    (after - before) / (FLUSHES - FLUSHES / 3) as f64
}

#[test]
fn flushes_leave_nothing_behind() {
    let environment = [
        ("G_SLICE", "always-malloc"),
        ("MALLOC_ARENA_MAX", "1"),
        // What a thread has freed and keeps counts as allocated.
        ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"),
    ];
    if !common::alone("flushes_leave_nothing_behind", &environment) {
        return;
    }
    let score = |mode| {
        let properties = [("mode", mode), ("face-source", "frame"), ("min-face-size", "8")];
        common::scorer(common::brightness_model, &properties)
    };
    let ((every_frame, _folder), (live, _other)) = (score("every-frame"), score("live"));
    let make = |name: &str| gst::ElementFactory::make(name).build().unwrap();
    let elements = [
        ("identity", make("identity")),
        ("deepfakescore", every_frame),
        ("deepfakescore, live", live),
        ("deepfakeoverlay", make("deepfakeoverlay")),
        ("deepfakejson", make("deepfakejson")),
    ];
    let grown: Vec<_> = elements.iter().map(|(name, element)| (*name, of_flushes(element))).collect();
    println!("bytes a flush: {grown:.1?}");
    for (name, bytes) in grown {
        assert!(bytes < MOST, "{name}: {bytes:.1} bytes a flush");
    }
}
