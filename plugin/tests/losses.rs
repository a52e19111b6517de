//! Records that cannot be written, and streams beside each other of which one goes wrong: the others and the video go on.

use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use gst::prelude::*;

mod common;
mod play;

use common::brightness_model;
use play::{pipeline, watch};

const CAPS: &str = "video/x-raw,format=I420,width=64,height=48,framerate=25/1";
const FRAMES: usize = 200;

/// Tells when the end of the stream reaches a pad.
fn end_of(pad: &gst::Pad) -> Receiver<()> {
    let (tell, told) = channel();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if info.event().is_some_and(|e| e.type_() == gst::EventType::Eos) {
            let _ = tell.send(());
        }
        gst::PadProbeReturn::Ok
    });
    told
}

fn element(folder: &tempfile::TempDir, more: &str) -> String {
    format!(
        "deepfakescore mode=every-frame face-source=frame {more} model={}",
        brightness_model(folder.path()).display()
    )
}

/// Plays video whose records go to `consumer`, which takes none, or not for long.
fn video_goes_on(consumer: &str, prepare: impl FnOnce(&gst::Pipeline)) {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(&format!(
        "videotestsrc num-buffers={FRAMES} ! {CAPS} ! {} ! deepfakejson name=j stream-name={} ! fakesink name=out sync=false \
         j.json ! {consumer} name=consumer",
        element(&folder, ""),
        // Lines that fill any buffer that a consumer may have.
        "n".repeat(2000)
    ));
    prepare(&pipeline);
    let played = watch(&pipeline);
    let end = end_of(&pipeline.by_name("out").unwrap().static_pad("sink").unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    end.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{consumer}: the video does not go on"));
    let element = pipeline.by_name("j").unwrap();
    let lost = || element.property::<u64>("lost-records");
    // What was written before the consumer noticed is not lost as far as anybody can know.
    play::wait_until(consumer, || lost() > FRAMES as u64 / 2);
    let bus = pipeline.bus().unwrap();
    let (mut errors, mut warnings) = (vec![], vec![]);
    for message in bus.iter() {
        let from = message.src().unwrap().name().to_string();
        match message.view() {
            gst::MessageView::Error(_) => errors.push(from),
            gst::MessageView::Warning(w) => {
                assert!(w.details().unwrap().get::<u64>("lost-records").unwrap() > 0);
                warnings.push(from);
            }
            _ => {}
        }
    }
    assert_eq!(played.lock().unwrap().scores().len(), FRAMES, "{consumer}");
    // The consumer says what is wrong, and we what that costs; once.
    assert_eq!((errors, warnings), (vec!["consumer".to_owned()], vec!["j".to_owned()]), "{consumer}");
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_full_disk_costs_records_and_no_video() {
    for mode in ["full", "unbuffered"] {
        video_goes_on(&format!("filesink location=/dev/full buffer-mode={mode}"), |_| ());
    }
}

#[test]
fn a_reader_that_goes_away_costs_records_and_no_video() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    video_goes_on("fdsink", |pipeline| pipeline.by_name("consumer").unwrap().set_property("fd", writer.as_raw_fd()));
    // And one that never reads, in a pipeline that is live.
    let (_reader, writer) = std::io::pipe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(&format!(
        "videotestsrc num-buffers={FRAMES} ! {CAPS} ! {} ! deepfakejson name=j leaky=downstream max-queued-records=5 stream-name={} \
         ! fakesink name=out sync=false j.json ! fdsink fd={}",
        element(&folder, ""),
        "n".repeat(2000),
        writer.as_raw_fd()
    ));
    let played = watch(&pipeline);
    let end = end_of(&pipeline.by_name("out").unwrap().static_pad("sink").unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    end.recv_timeout(Duration::from_secs(60)).expect("the video goes on");
    assert_eq!(played.lock().unwrap().scores().len(), FRAMES);
    assert!(pipeline.by_name("j").unwrap().property::<u64>("lost-records") > FRAMES as u64 / 2);
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_plays() {
    let folder = tempfile::tempdir().unwrap();
    for place in ["/proc/records.jsonl", "/nowhere/records.jsonl", "/"] {
        let pipeline = pipeline(&format!(
            "videotestsrc ! {CAPS} ! {} ! deepfakejson name=j ! fakesink name=out j.json ! filesink name=file location={place}",
            element(&folder, "")
        ));
        let played = watch(&pipeline);
        assert!(pipeline.set_state(gst::State::Playing).is_err(), "{place}");
        let errors: Vec<_> = pipeline.bus().unwrap().iter().filter(|m| m.type_() == gst::MessageType::Error).collect();
        assert!(!errors.is_empty() && errors.iter().all(|e| e.src().unwrap().name() == "file"), "{place}: {errors:?}");
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(played.lock().unwrap().frames.len(), 0);
    }
}

/// Sixteen pipelines in one process: one whose source stands still, one whose frames are cut off, one that ends early.
#[test]
fn of_sixteen_streams_each_has_its_own_fate() {
    const STREAMS: usize = 16;
    const LONG: usize = 60;
    const SHORT: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let fed = |text: &str| format!("appsrc name=a format=time caps={CAPS} ! {text}");
    let text = |n: usize| {
        let mode = ["every-frame", "live"][n % 2];
        let element = format!(
            "{} ! deepfakeoverlay ! fakesink name=out sync=false",
            element(&folder, "").replace("every-frame", mode)
        );
        match n {
            0 | 1 => fed(&element),
            2 => format!("videotestsrc num-buffers={SHORT} ! {CAPS} ! {element}"),
            _ => format!("videotestsrc num-buffers={LONG} ! {CAPS} ! {element}"),
        }
    };
    let pipelines: Vec<_> = (0..STREAMS).map(|n| pipeline(&text(n))).collect();
    let played: Vec<_> = pipelines.iter().map(watch).collect();
    for pipeline in &pipelines {
        pipeline.set_state(gst::State::Playing).unwrap();
    }
    for (n, pipeline) in pipelines.iter().enumerate().take(2) {
        let source = pipeline.by_name("a").unwrap().downcast::<gst_app::AppSrc>().unwrap();
        for _ in 0..SHORT {
            source.push_buffer(gst::Buffer::from_mut_slice(vec![200u8; 64 * 48 * 3 / 2])).unwrap();
        }
        if n == 1 {
            source.push_buffer(gst::Buffer::from_mut_slice(vec![200u8; 100])).unwrap();
        }
    }
    let ends: Vec<_> = pipelines
        .iter()
        .enumerate()
        .map(|(n, pipeline)| {
            if n == 0 {
                // It waits for frames that never come.
                play::wait_until("the stalled stream gets its frames", || {
                    played[0].lock().unwrap().frames.len() == SHORT
                });
                return None;
            }
            let types = [gst::MessageType::Eos, gst::MessageType::Error];
            let message = pipeline.bus().unwrap().timed_pop_filtered(play::PATIENCE, &types);
            Some(message.unwrap_or_else(|| panic!("stream {n} hangs")).type_())
        })
        .collect();
    for (n, played) in played.iter().enumerate() {
        let count = played.lock().unwrap().frames.len();
        let (expected, end) = match n {
            0 => (SHORT, None),
            1 => (SHORT, Some(gst::MessageType::Error)),
            2 => (SHORT, Some(gst::MessageType::Eos)),
            _ => (LONG, Some(gst::MessageType::Eos)),
        };
        assert_eq!((count, ends[n]), (expected, end), "stream {n}");
        if n % 2 == 0 {
            assert_eq!(played.lock().unwrap().scores().len(), expected);
        }
    }
    for pipeline in &pipelines {
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
