//! Both elements over many frames: memory stays where it is. Alone in its program, so that nobody else's memory counts.

use deepfake_scoring::geometry::Rect;
use deepfake_scoring::score::NotScored;
use deepfake_scoring::verdict::Verdict;
use gst::prelude::*;

mod common;
mod memory;
mod results;

/// Faces that move, come and go, with scores that change.
fn scores(frame: u64) -> gstdeepfake::meta::Scores {
    let shift = (frame % 100) as f32 / 200.0;
    let mut faces =
        vec![results::face(frame / 50, Rect::new(shift, 0.3, 0.3, 0.4), Verdict::Fake, 0.5 + f64::from(shift))];
    if frame.is_multiple_of(3) {
        faces.push(results::unscored(frame, Rect::new(0.8, shift, 0.1, 0.1), NotScored::TooSmall));
    }
    results::scores(frame, faces)
}

#[test]
fn thousands_of_frames_leave_nothing_behind() {
    const WARM_UP: u64 = 1_000;
    const FRAMES: u64 = 3_000;
    results::init();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc name=v pattern=black num-buffers={FRAMES} ! video/x-raw,format=I420,width=160,height=120 \
         ! deepfakeoverlay ! deepfakejson name=j \
         j.src ! fakesink \
         j.json ! fakesink name=records sync=false"
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    results::attach(&pipeline.by_name("v").unwrap().static_pad("src").unwrap(), |frame| Some(scores(frame)));
    let (tell, seen) = std::sync::mpsc::channel();
    let count = std::sync::atomic::AtomicU64::new(0);
    let records = pipeline.by_name("records").unwrap().static_pad("sink").unwrap();
    records.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if count == WARM_UP || count == FRAMES {
            tell.send(memory::resident()).unwrap();
        }
        gst::PadProbeReturn::Ok
    });
    let weak = pipeline.by_name("j").unwrap().downgrade();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (before, after) = (seen.recv().unwrap(), seen.recv().unwrap());
    pipeline.set_state(gst::State::Null).unwrap();
    // 500 bytes a frame would be seen.
    assert!(after < before + 1e6, "{before} bytes after {WARM_UP} frames, {after} after {FRAMES}");
    drop((pipeline, records));
    // A thread of GStreamer's pool may be the last to let it go.
    assert!(common::settled(|| weak.upgrade().is_none(), &true));
}
