//! Times, seeks, stops and starts: what streams and applications do to an element that is in the middle of something.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};
use gstdeepfake::meta::Scores;

mod common;
mod play;

use common::{brightness_model, scorer};
use play::{PATIENCE, finish, pipeline, play, play_with, watch};

const CAPS: &str = "video/x-raw,format=RGB,width=64,height=48,framerate=25/1";

fn harness(properties: &[(&str, &str)]) -> (Harness, tempfile::TempDir) {
    let properties = [&[("mode", "every-frame"), ("face-source", "frame")], properties].concat();
    let (element, folder) = scorer(brightness_model, &properties);
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps_str(CAPS);
    (harness, folder)
}

fn frame(pts: Option<gst::ClockTime>) -> gst::Buffer {
    let info = VideoInfo::builder(VideoFormat::Rgb, 64, 48).build().unwrap();
    let mut buffer = gst::Buffer::from_mut_slice(vec![255u8; info.size()]);
    buffer.get_mut().unwrap().set_pts(pts);
    buffer
}

/// `deepfakescore` on the sample's size of frame, with a model made on the spot.
fn element(folder: &tempfile::TempDir, mode: &str) -> String {
    let model = brightness_model(folder.path());
    format!("deepfakescore name=s mode={mode} face-source=frame model={}", model.display())
}

#[test]
fn times_that_are_missing_or_go_back_or_jump_make_no_age_absurd() {
    let (mut harness, _folder) = harness(&[("score-interval", "1000")]);
    let ms = gst::ClockTime::from_mseconds;
    let far = gst::ClockTime::from_seconds(400 * 365 * 24 * 3600);
    let times = [Some(ms(0)), None, Some(ms(80)), Some(ms(40)), None, Some(far), Some(ms(120)), Some(ms(120))];
    let ages: Vec<_> = times
        .iter()
        .map(|pts| {
            let out = harness.push_and_pull(frame(*pts)).unwrap();
            assert_eq!(out.pts(), *pts, "times stay as they are");
            let scores = Scores::from_buffer(&out).unwrap();
            assert_eq!(scores.faces[0].track, 1);
            scores.faces[0].outcome.as_ref().unwrap().age
        })
        .collect();
    // The first was scored. Where no time is given none is told.
    assert_eq!(ages, [ms(0), ms(0), ms(80), ms(40), ms(0), far, ms(120), ms(120)]);
}

#[test]
fn gaps_pass_and_the_faces_are_followed_through_them() {
    for mode in ["every-frame", "live"] {
        let (mut harness, _folder) = harness(&[("mode", mode)]);
        let mut track = None;
        for n in 0..20u64 {
            let pts = gst::ClockTime::from_mseconds(40 * n);
            if n % 4 == 3 {
                // No frame, and an empty buffer that says so.
                let gap = gst::event::Gap::builder(pts).duration(gst::ClockTime::from_mseconds(20)).build();
                assert!(harness.push_event(gap));
                let mut empty = gst::Buffer::new();
                let header = empty.get_mut().unwrap();
                header.set_pts(pts);
                header.set_flags(gst::BufferFlags::GAP | gst::BufferFlags::DROPPABLE);
                let out = harness.push_and_pull(empty).unwrap();
                assert_eq!((out.size(), Scores::from_buffer(&out)), (0, None));
                continue;
            }
            let mut buffer = frame(Some(pts));
            // A gap with a picture is a picture.
            buffer.get_mut().unwrap().set_flags(gst::BufferFlags::GAP);
            let out = harness.push_and_pull(buffer).unwrap();
            let Some(scores) = Scores::from_buffer(&out) else {
                assert_eq!(mode, "live");
                continue;
            };
            assert_eq!(*track.get_or_insert(scores.faces[0].track), scores.faces[0].track, "{mode} {n}");
        }
        let gaps = std::iter::from_fn(|| harness.try_pull_event()).filter(|e| e.type_() == gst::EventType::Gap).count();
        assert_eq!(gaps, 5, "{mode}");
    }
}

#[test]
fn late_frames_pass_unscored_where_qos_is_on_and_none_is_lost() {
    let ms = gst::ClockTime::from_mseconds;
    for (qos, scored) in [("true", [true, false, false, true]), ("false", [true; 4])] {
        let (mut harness, _folder) = harness(&[("qos", qos)]);
        let element = harness.element().unwrap();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let tell = |harness: &mut Harness, n: u64| {
            let out = harness.push_and_pull(frame(Some(ms(40 * n)))).unwrap();
            assert_eq!(out.pts(), Some(ms(40 * n)));
            Scores::from_buffer(&out).map(|s| (s.frame, s.faces[0].track))
        };
        let mut told = vec![tell(&mut harness, 0)];
        // What came at 0 was late by 20 ms: from 80 ms on frames may be in time.
        let event = gst::event::Qos::builder(gst::QOSType::Underflow, 1.5, 20_000_000).timestamp(ms(0)).build();
        assert!(harness.push_upstream_event(event));
        told.extend((0..3).map(|n| tell(&mut harness, n)));
        let (events, messages) = (std::iter::from_fn(|| harness.try_pull_upstream_event()), bus.iter());
        assert_eq!(events.filter(|e| e.type_() == gst::EventType::Qos).count(), 1, "upstream may act on it too");
        let messages: Vec<_> = messages.filter(|m| m.type_() == gst::MessageType::Qos).collect();
        assert_eq!(told.iter().map(Option::is_some).collect::<Vec<_>>(), scored, "qos={qos}");
        assert_eq!(messages.len(), scored.iter().filter(|s| !**s).count());
        assert_eq!(told[3], Some((3, 1)), "frames are counted and tracks live on");
        if let Some(gst::MessageView::Qos(last)) = messages.last().map(|m| m.view()) {
            let (processed, dropped) = last.stats();
            assert_eq!((processed.value(), dropped.value()), (1, 2));
            assert_eq!(last.values().0, 40_000_000, "milliseconds before the first that may be in time");
        }
        let stats: gst::Structure = element.property("stats");
        assert_eq!(stats.get::<u64>("skipped").unwrap(), messages.len() as u64);
    }
}

#[test]
fn the_end_comes_after_every_frame() {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["every-frame", "live"] {
        let text = format!(
            "videotestsrc num-buffers=137 ! {CAPS} ! queue ! {} ! deepfakejson name=j ! queue ! fakesink name=out sync=false \
             j.json ! fakesink name=records sync=false",
            element(&folder, mode)
        );
        let (tell, told) = channel();
        let played = play_with(&text, |pipeline| {
            let pad = pipeline.by_name("records").unwrap().static_pad("sink").unwrap();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                tell.send(()).unwrap();
                gst::PadProbeReturn::Ok
            });
        });
        assert!(played.eos);
        assert_eq!((played.frames.len(), told.try_iter().count()), (137, 137), "{mode}");
        if mode == "every-frame" {
            assert_eq!(played.scores().len(), 137);
        }
    }
}

fn wait_for(pipeline: &gst::Pipeline, kind: gst::MessageType) {
    let message = pipeline.bus().unwrap().timed_pop_filtered(PATIENCE, &[kind, gst::MessageType::Error]);
    let message = message.unwrap_or_else(|| panic!("no {kind:?}"));
    assert_eq!(message.type_(), kind, "{message:?}");
}

#[test]
fn segment_seeks_score_each_frame_of_each_round() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("videotestsrc ! {CAPS} ! {} ! fakesink name=out sync=false", element(&folder, "every-frame"));
    let pipeline = pipeline(&text);
    let played = watch(&pipeline);
    pipeline.set_state(gst::State::Paused).unwrap();
    assert_eq!(pipeline.state(PATIENCE).0, Ok(gst::StateChangeSuccess::Success));
    let seek = |flags: gst::SeekFlags, (start, stop): (u64, u64)| {
        let [start, stop] = [start, stop].map(gst::ClockTime::from_mseconds);
        pipeline.seek(1.0, flags, gst::SeekType::Set, start, gst::SeekType::Set, stop).unwrap();
    };
    seek(gst::SeekFlags::FLUSH | gst::SeekFlags::SEGMENT, (400, 800));
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for(&pipeline, gst::MessageType::SegmentDone);
    // Without a flush, as players loop.
    for _ in 0..3 {
        seek(gst::SeekFlags::SEGMENT, (0, 400));
        wait_for(&pipeline, gst::MessageType::SegmentDone);
    }
    seek(gst::SeekFlags::empty(), (0, 40));
    let played = finish(&pipeline, &played);
    assert!(played.eos);
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    // That which stood in the sink while the pipeline was paused is from before the first seek.
    for (pts, scores) in &played.frames[1..] {
        assert!(scores.is_some());
        *seen.entry(pts.unwrap().mseconds()).or_default() += 1;
    }
    let expected = (0..20)
        .map(|n| {
            (
                40 * n,
                if n == 0 {
                    4
                } else if n < 10 {
                    3
                } else {
                    1
                },
            )
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn seeks_at_any_moment_leave_a_pipeline_that_plays() {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["every-frame", "live"] {
        let text = format!(
            "videotestsrc ! {CAPS} ! queue ! {} ! queue ! deepfakejson name=j ! fakesink name=out sync=false j.json ! fakesink sync=false",
            element(&folder, mode)
        );
        let pipeline = pipeline(&text);
        let played = watch(&pipeline);
        pipeline.set_state(gst::State::Playing).unwrap();
        for n in 0..50u64 {
            // Some before the first frame, some after a few.
            let wanted = played.lock().unwrap().frames.len() + (n % 3) as usize;
            let start = Instant::now();
            while played.lock().unwrap().frames.len() < wanted {
                assert!(start.elapsed() < Duration::from_secs(60), "{mode}: nothing comes after seek {n}");
                std::thread::yield_now();
            }
            let at = gst::ClockTime::from_mseconds(40 * (n * 37 % 100));
            let _ = pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, at);
        }
        let end = gst::ClockTime::from_mseconds(400);
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        assert_eq!(pipeline.state(PATIENCE).0, Ok(gst::StateChangeSuccess::Success));
        pipeline.seek(1.0, flags, gst::SeekType::Set, gst::ClockTime::ZERO, gst::SeekType::Set, end).unwrap();
        let played = finish(&pipeline, &played);
        assert!(played.eos && played.errors.is_empty(), "{mode}: {:?}", played.errors);
        let last: Vec<_> =
            played.frames[played.frames.len() - 10..].iter().map(|(pts, _)| pts.unwrap().mseconds() / 40).collect();
        assert_eq!(last, (0..10).collect::<Vec<_>>(), "{mode}");
    }
}

#[test]
fn a_stop_while_the_model_loads_ends_in_order() {
    common::init();
    for wait in [0, 1, 5, 20, 80] {
        // The bundled models, which take longest.
        let pipeline = pipeline(&format!("videotestsrc ! {CAPS} ! deepfakescore ! fakesink"));
        let starting = std::thread::spawn({
            let pipeline = pipeline.clone();
            move || pipeline.set_state(gst::State::Playing)
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(wait) {
            std::thread::yield_now();
        }
        pipeline.set_state(gst::State::Null).unwrap();
        // Which of both came first is left to them; neither waits for the other for good.
        let _ = starting.join().unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(pipeline.state(PATIENCE).1, gst::State::Null, "{wait}");
        let bus = pipeline.bus().unwrap();
        assert!(bus.iter().all(|m| m.type_() != gst::MessageType::Error), "{wait}");
    }
}

#[test]
fn properties_that_may_change_while_playing_do_so_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["every-frame", "live"] {
        let text = format!(
            "videotestsrc num-buffers=300 ! {CAPS} ! {} ! fakesink name=out sync=false",
            element(&folder, mode)
        );
        let played = play_with(&text, |pipeline| {
            let element = pipeline.by_name("s").unwrap();
            // From another thread than the stream's, as applications do.
            let sink = pipeline.by_name("out").unwrap();
            std::thread::spawn(move || {
                let mut n = 0u32;
                while sink.current_state() != gst::State::Null || n == 0 {
                    for name in ["detect-interval", "score-interval", "min-face-size", "max-faces"] {
                        element.set_property(name, 1 + n % 100);
                    }
                    element.set_property("stats-interval", n % 3);
                    element.set_property("region-map", n.is_multiple_of(2));
                    element.set_property_from_str("messages", ["none", "verdicts", "all"][n as usize % 3]);
                    element.set_property_from_str("on-error", ["error", "passthrough"][n as usize % 2]);
                    n += 1;
                    if n == 10_000 {
                        return;
                    }
                }
            });
        });
        assert!(played.eos, "{mode}: {:?}", played.errors);
        assert_eq!(played.frames.len(), 300);
    }
}

#[test]
fn a_model_that_is_set_while_playing_is_taken_at_the_next_start() {
    let (mut harness, folder) = harness(&[]);
    let element = harness.element().unwrap();
    let digest = |element: &gst::Element| element.property::<Option<String>>("model-digest").unwrap();
    harness.push_and_pull(frame(None)).unwrap();
    let before = digest(&element);
    element.set_property("model", common::fragile_model(folder.path()).to_str().unwrap());
    let scores = Scores::from_buffer(&harness.push_and_pull(frame(None)).unwrap()).unwrap();
    assert_eq!(
        (digest(&element), scores.by.sha256.clone(), scores.by.model.as_str()),
        (before.clone(), before.clone(), "brightness")
    );
    element.set_state(gst::State::Ready).unwrap();
    element.set_state(gst::State::Playing).unwrap();
    assert_ne!(digest(&element), before);
}

/// What the page of the element says of how it is done: an element with the new model takes the place of the old one between two frames.
#[test]
fn a_model_is_swapped_while_playing_without_losing_a_frame() {
    const FRAMES: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "videotestsrc num-buffers={FRAMES} ! {CAPS} ! identity name=before ! {} ! queue name=after ! fakesink name=out sync=false",
        element(&folder, "every-frame")
    );
    let (done, swapped) = channel();
    let played = play_with(&text, |pipeline| {
        let old = pipeline.by_name("s").unwrap();
        let (before, after) = (pipeline.by_name("before").unwrap(), pipeline.by_name("after").unwrap());
        let new = gst::ElementFactory::make("deepfakescore")
            .property_from_str("mode", "every-frame")
            .property_from_str("face-source", "frame")
            .property("model", common::fragile_model(folder.path()).to_str().unwrap())
            .property_from_str("on-error", "passthrough")
            .build()
            .unwrap();
        pipeline.add(&new).unwrap();
        // Loaded before the stream is held up.
        new.set_locked_state(true);
        new.set_state(gst::State::Paused).unwrap();
        let count = std::sync::atomic::AtomicUsize::new(0);
        let pipeline = pipeline.downgrade();
        before.static_pad("src").unwrap().add_probe(
            gst::PadProbeType::BLOCK_DOWNSTREAM | gst::PadProbeType::BUFFER,
            move |pad, _| {
                if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < FRAMES / 2 {
                    return gst::PadProbeReturn::Pass;
                }
                pad.unlink(&old.static_pad("sink").unwrap()).unwrap();
                old.unlink(&after);
                new.link(&after).unwrap();
                new.set_locked_state(false);
                new.sync_state_with_parent().unwrap();
                pad.link(&new.static_pad("sink").unwrap()).unwrap();
                old.set_locked_state(true);
                let (old, pipeline) = (old.clone(), pipeline.upgrade().unwrap());
                // Not in the thread that streams.
                pad.parent_element().unwrap().call_async(move |_| {
                    old.set_state(gst::State::Null).unwrap();
                    pipeline.remove(&old).unwrap();
                });
                done.send(()).unwrap();
                gst::PadProbeReturn::Remove
            },
        );
    });
    assert!(played.eos, "{:?}", played.errors);
    swapped.recv().unwrap();
    let pts: Vec<_> = played.frames.iter().map(|(pts, _)| pts.unwrap().mseconds() / 40).collect();
    assert_eq!(pts, (0..FRAMES as u64).collect::<Vec<_>>(), "each frame once");
    let models: Vec<_> = played.scores().iter().map(|s| s.by.model.clone()).collect();
    let old = models.iter().take_while(|m| *m == "brightness").count();
    assert!(old > 0 && old < FRAMES, "{old}");
    assert!(models[old..].iter().all(|m| m == "fragile"));
}

#[test]
fn a_pipeline_that_is_dropped_in_the_middle_ends_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["every-frame", "live"] {
        let text = format!("videotestsrc is-live=true ! {CAPS} ! {} ! fakesink name=out", element(&folder, mode));
        let pipeline = pipeline(&text);
        let played = watch(&pipeline);
        let weak = pipeline.by_name("s").unwrap().downgrade();
        pipeline.set_state(gst::State::Playing).unwrap();
        let start = Instant::now();
        while played.lock().unwrap().frames.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        pipeline.set_state(gst::State::Null).unwrap();
        // Messages that nobody takes hold on to who posted them.
        pipeline.bus().unwrap().set_flushing(true);
        drop(pipeline);
        // A thread of GStreamer's pool may be the last to let it go.
        let start = Instant::now();
        while weak.upgrade().is_some() {
            assert!(start.elapsed() < Duration::from_secs(60), "{mode}: it is still there");
            std::thread::yield_now();
        }
    }
    // One that never played.
    play(&format!("videotestsrc num-buffers=0 ! {CAPS} ! {} ! fakesink name=out", element(&folder, "auto")));
}
