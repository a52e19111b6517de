//! `deepfakejson`: one line a frame, whatever happens to the pads, and never a frame of video less.

use std::sync::mpsc;

use gst::prelude::*;
use gst_check::Harness;
use rig::{CAPS, Links, Rig, one_line, pts, some_scores, validate};
use serde_json::{Value, json};

mod results;
mod rig;

#[test]
fn video_passes_untouched_and_uncopied() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    let mut buffer = gst::Buffer::from_slice([7u8; 64]);
    some_scores(0).attach(buffer.get_mut().unwrap()).unwrap();
    let before = buffer.as_ptr();
    rig.video.push(buffer).unwrap();
    let mut out = rig.video.pull().unwrap();
    assert_eq!(out.as_ptr(), before);
    // Nor does the element hold it any longer.
    assert!(out.get_mut().is_some());
}

#[test]
fn events_come_in_order_and_the_end_after_the_last_record() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    for number in 0..100 {
        rig.push(number, None).unwrap();
    }
    rig.video.push_event(gst::event::Gap::builder(pts(100)).duration(pts(1)).build());
    rig.video.push_event(gst::event::Eos::new());
    let json = rig.json.as_mut().unwrap();
    for number in 0..100 {
        let buffer = json.pull().unwrap();
        assert_eq!(one_line(&buffer)["frame"], json!(number));
        assert_eq!(buffer.flags().contains(gst::BufferFlags::DISCONT), number == 0);
    }
    let events: Vec<_> = (0..5).map(|_| json.pull_event().unwrap()).collect();
    let types: Vec<_> = events.iter().map(|e| e.type_()).collect();
    use gst::EventType::{Caps, Eos, Gap, Segment, StreamStart};
    assert_eq!(types, [StreamStart, Caps, Segment, Gap, Eos]);
    let gst::EventView::StreamStart(start) = events[0].view() else { unreachable!() };
    assert!(start.stream_id().ends_with("/json"));
    assert_eq!(json.buffers_received(), 100);
    assert_eq!((rig.video.buffers_received(), rig.lost()), (100, 0));
}

#[test]
fn tags_go_where_they_belong() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    for scope in [gst::TagScope::Stream, gst::TagScope::Global] {
        let mut tags = gst::TagList::new();
        tags.make_mut().set_scope(scope);
        tags.make_mut().add::<gst::tags::Title>(&"news", gst::TagMergeMode::Append);
        rig.video.push_event(gst::event::Tag::new(tags));
    }
    rig.push(0, None).unwrap();
    rig.pull();
    let tags = |h: &mut Harness| {
        std::iter::from_fn(|| h.try_pull_event())
            .filter_map(|e| match e.view() {
                gst::EventView::Tag(tag) => Some(tag.tag().scope()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(tags(&mut rig.video), [gst::TagScope::Stream, gst::TagScope::Global]);
    assert_eq!(tags(rig.json.as_mut().unwrap()), [gst::TagScope::Global]);
}

#[test]
fn caps_may_change_in_the_middle() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    rig.push(0, None).unwrap();
    rig.video.set_src_caps_str("video/x-raw,format=RGB,width=64,height=48,framerate=25/1");
    rig.push(1, None).unwrap();
    assert_eq!(rig.pull().1["size"], json!({ "width": 320, "height": 240 }));
    assert_eq!(rig.pull().1["size"], json!({ "width": 64, "height": 48 }));
    let count = |h: &mut Harness| {
        std::iter::from_fn(|| h.try_pull_event()).filter(|e| e.type_() == gst::EventType::Caps).count()
    };
    assert_eq!(count(&mut rig.video), 2);
    assert_eq!(count(rig.json.as_mut().unwrap()), 1);
}

#[test]
fn any_kind_of_memory_is_accepted_and_caps_without_a_size_are_not() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    rig.video.set_src_caps_str("video/x-raw(memory:GLMemory),format=RGBA,width=64,height=48,framerate=25/1");
    rig.push(0, None).unwrap();
    assert_eq!(rig.pull().1["size"], json!({ "width": 64, "height": 48 }));
    let caps: gst::Caps = "video/x-raw,format=RGB".parse().unwrap();
    rig.video.push_event(gst::event::Caps::new(&caps));
    assert!(rig.push(1, None).is_err());
}

#[test]
fn a_flush_empties_both_pads_and_the_stream_goes_on() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    let (blocked, unblock) = block(&rig);
    rig.push(0, None).unwrap();
    blocked.recv().unwrap();
    for number in 1..10 {
        rig.push(number, None).unwrap();
    }
    for _ in 0..20 {
        rig.video.push_event(gst::event::FlushStart::new());
        rig.video.push_event(gst::event::FlushStop::new(true));
    }
    unblock();
    rig.video.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    rig.push(50, None).unwrap();
    let (buffer, line) = rig.pull();
    assert_eq!((&line["frame"], &line["pts"]), (&json!(10), &json!(pts(50).nseconds())));
    assert!(buffer.flags().contains(gst::BufferFlags::DISCONT));
    assert_eq!((rig.lost(), rig.warnings()), (0, vec![]));
}

#[test]
fn a_flush_that_never_began_or_ends_twice_is_gone_on_after() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    let segment = || gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new());
    for (number, begins) in [(0, false), (1, true), (2, false)] {
        if begins {
            rig.video.push_event(gst::event::FlushStart::new());
            rig.video.push_event(gst::event::FlushStop::new(true));
        }
        rig.video.push_event(gst::event::FlushStop::new(true));
        rig.video.push_event(segment());
        rig.push(number, None).unwrap();
        assert_eq!(rig.record()["frame"], json!(number));
    }
}

/// As a seek does that whoever gets the records asks for there and then.
#[test]
fn the_thread_of_the_records_may_flush() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    let sink = rig.element.static_pad("sink").unwrap();
    let first = std::sync::atomic::AtomicBool::new(true);
    let (tell, flushed) = mpsc::channel();
    rig.element.static_pad("json").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if !first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return gst::PadProbeReturn::Ok;
        }
        sink.send_event(gst::event::FlushStart::new());
        sink.send_event(gst::event::FlushStop::new(true));
        tell.send(()).unwrap();
        gst::PadProbeReturn::Drop
    });
    // It may still be on its way to the other pad.
    let pushed = rig.push(0, None);
    assert!(matches!(pushed, Ok(_) | Err(gst::FlowError::Flushing)), "{pushed:?}");
    flushed.recv().unwrap();
    rig.video.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    rig.push(1, None).unwrap();
    assert_eq!(rig.record()["frame"], json!(1));
}

/// Blocks the json pad at the next record. Gives what tells that it is blocked, and what ends that.
fn block(rig: &Rig) -> (mpsc::Receiver<()>, impl FnOnce() + use<>) {
    let pad = rig.element.static_pad("json").unwrap();
    let (tell, blocked) = mpsc::channel();
    let probe = pad.add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, move |_, _| {
        let _ = tell.send(());
        gst::PadProbeReturn::Ok
    });
    (blocked, move || pad.remove_probe(probe.unwrap()))
}

/// GStreamer sends these once a stream, before anything else, and not again after a flush.
#[test]
fn a_flush_that_comes_before_the_consumer_has_anything_costs_it_no_name_and_no_caps() {
    results::init();
    let element = gst::ElementFactory::make("deepfakejson").build().unwrap();
    let mut json = Harness::with_element(&element, None, Some("json"));
    let pad = element.static_pad("json").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    // The first event stands here until the flush.
    let types = gst::PadProbeType::BLOCK_DOWNSTREAM | gst::PadProbeType::EVENT_DOWNSTREAM;
    let probe = pad.add_probe(types, move |_, _| {
        let _ = tell.send(());
        gst::PadProbeReturn::Ok
    });
    let mut video = Harness::with_element(&element, Some("sink"), Some("src"));
    video.play();
    video.set_src_caps_str(CAPS);
    told.recv().unwrap();
    assert!(video.push_event(gst::event::FlushStart::new()));
    pad.remove_probe(probe.unwrap());
    assert!(video.push_event(gst::event::FlushStop::new(true)));
    assert!(video.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
    let mut frame = gst::Buffer::new();
    frame.get_mut().unwrap().set_pts(pts(0));
    video.push(frame).unwrap();
    json.pull().unwrap();
    let events: Vec<_> = std::iter::from_fn(|| json.try_pull_event()).map(|e| e.type_()).collect();
    use gst::EventType::{Caps, FlushStart, FlushStop, Segment, StreamStart};
    assert_eq!(events, [FlushStart, FlushStop, StreamStart, Caps, Segment]);
}

#[test]
fn a_slow_consumer_never_delays_live_video_and_gets_the_newest_records() {
    let mut rig = Rig::new(Links::Both, true, &[("max-queued-records", "10")]);
    let (blocked, unblock) = block(&rig);
    rig.push(0, None).unwrap();
    blocked.recv().unwrap();
    // One record is stuck in the consumer. The test clock never moves: whatever waited for it would wait forever.
    for number in 1..1000 {
        rig.push(number, None).unwrap();
        assert_eq!(rig.video.pull().unwrap().pts(), Some(pts(number - 1)));
    }
    assert_eq!(rig.lost(), 989);
    let warnings = rig.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("slower"), "{warnings:?}");
    unblock();
    let numbers: Vec<_> = (0..11)
        .map(|_| {
            let (buffer, line) = rig.pull();
            (line["frame"].as_u64().unwrap(), buffer.flags().contains(gst::BufferFlags::DISCONT))
        })
        .collect();
    let expected = [0, 990, 991, 992, 993, 994, 995, 996, 997, 998, 999].map(|n| (n, n == 0 || n == 990));
    assert_eq!(numbers, expected);

    // What follows the last record says that it was delivered. The burst is over: the next one is told again.
    let mut tags = gst::TagList::new();
    tags.make_mut().set_scope(gst::TagScope::Global);
    rig.video.push_event(gst::event::Tag::new(tags));
    while rig.json.as_mut().unwrap().pull_event().unwrap().type_() != gst::EventType::Tag {}
    let (blocked, unblock) = block(&rig);
    rig.push(1000, None).unwrap();
    blocked.recv().unwrap();
    for number in 1001..=1011 {
        rig.push(number, None).unwrap();
    }
    assert_eq!((rig.lost(), rig.warnings().len()), (990, 1));
    unblock();
}

#[test]
fn files_lose_no_record_however_slow_the_consumer() {
    results::init();
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=500 ! video/x-raw,width=16,height=16 ! deepfakejson name=j max-queued-records=1 \
         j.src ! fakesink \
         j.json ! appsink name=records max-buffers=1 sync=false",
    )
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let sink = pipeline.by_name("records").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for number in 0..500 {
        let sample = sink.pull_sample().unwrap();
        assert_eq!(one_line(sample.buffer().unwrap())["frame"], json!(number));
    }
    assert!(sink.pull_sample().is_err() && sink.is_eos());
    assert_eq!(pipeline.by_name("j").unwrap().property::<u64>("lost-records"), 0);
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_waiting_streaming_thread_is_woken_by_the_end() {
    let mut rig = Rig::new(Links::Both, false, &[("max-queued-records", "1")]);
    let (blocked, unblock) = block(&rig);
    rig.push(0, None).unwrap();
    blocked.recv().unwrap();
    rig.push(1, None).unwrap();
    let element = rig.element.clone();
    let sink = element.static_pad("sink").unwrap();
    let (tell, about_to_wait) = mpsc::channel();
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let _ = tell.send(());
        gst::PadProbeReturn::Ok
    });
    std::thread::scope(|scope| {
        let video = scope.spawn(|| rig.push(2, None));
        about_to_wait.recv().unwrap();
        element.set_state(gst::State::Null).unwrap();
        // Taken or not: the frame came before or after the end.
        assert!(matches!(video.join().unwrap(), Err(gst::FlowError::Flushing | gst::FlowError::Eos)));
    });
    unblock();
}

#[test]
fn video_flows_and_losses_are_told_without_a_consumer() {
    let mut rig = Rig::new(Links::Video, false, &[]);
    for number in 0..50 {
        rig.push(number, None).unwrap();
        rig.video.pull().unwrap();
    }
    while rig.lost() < 50 {
        std::thread::yield_now();
    }
    let warnings = rig.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("not linked"), "{warnings:?}");

    // Somebody comes later and gets what comes from then on.
    let mut json = Harness::with_element(&rig.element, None, Some("json"));
    rig.push(50, None).unwrap();
    let buffer = json.pull().unwrap();
    assert_eq!(one_line(&buffer)["frame"], json!(50));
    assert!(buffer.flags().contains(gst::BufferFlags::DISCONT));
    rig.json = Some(json);
}

#[test]
fn records_flow_without_a_viewer() {
    let mut rig = Rig::new(Links::Json, false, &[]);
    for number in 0..50 {
        rig.push(number, None).unwrap();
        assert_eq!(rig.pull().1["frame"], json!(number));
    }
    assert!(rig.video.push_event(gst::event::Eos::new()));
    while rig.json.as_mut().unwrap().pull_event().unwrap().type_() != gst::EventType::Eos {}
    assert_eq!(rig.lost(), 0);
}

#[test]
fn without_anybody_the_source_is_told() {
    results::init();
    let element = gst::ElementFactory::make("deepfakejson").build().unwrap();
    let mut video = Harness::with_element(&element, Some("sink"), None);
    video.play();
    video.set_src_caps_str(CAPS);
    // The answer of the json pad comes from its own thread.
    while video.push(gst::Buffer::with_size(16).unwrap()).is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(video.push(gst::Buffer::with_size(16).unwrap()), Err(gst::FlowError::NotLinked));
}

#[test]
fn a_broken_consumer_does_not_break_the_video() {
    for (flow, viewer) in [
        (gst::FlowError::Error, true),
        (gst::FlowError::Eos, true),
        (gst::FlowError::Flushing, true),
        (gst::FlowError::Error, false),
        (gst::FlowError::Eos, false),
    ] {
        let mut rig = Rig::new(if viewer { Links::Video } else { Links::Json }, false, &[]);
        if let Some(json) = rig.json.take() {
            drop(json);
        }
        let template =
            gst::PadTemplate::new("sink", gst::PadDirection::Sink, gst::PadPresence::Always, &gst::Caps::new_any())
                .unwrap();
        let sink = gst::Pad::builder_from_template(&template).chain_function(move |_, _, _| Err(flow)).build();
        sink.set_active(true).unwrap();
        let pad = rig.element.static_pad("json").unwrap();
        if let Some(peer) = pad.peer() {
            pad.unlink(&peer).unwrap();
        }
        pad.link(&sink).unwrap();
        if viewer {
            for number in 0..50 {
                rig.push(number, None).unwrap();
                rig.video.pull().unwrap();
            }
            while rig.lost() < 50 {
                std::thread::yield_now();
            }
            assert_eq!(rig.warnings().len(), 1, "{flow:?}");
        } else {
            // Nobody else wants anything: upstream is told why.
            let mut number = 0;
            let told = loop {
                match rig.push(number, None) {
                    Ok(_) => number += 1,
                    Err(told) => break told,
                }
                std::thread::yield_now();
            };
            assert_eq!(told, flow);
        }
        pad.unlink(&sink).unwrap();
    }
}

#[test]
fn errors_of_the_video_reach_upstream() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    rig.video.sinkpad().unwrap().set_active(false).unwrap();
    assert_eq!(rig.push(0, None), Err(gst::FlowError::Flushing));
}

#[test]
fn consumers_of_records_do_not_slow_the_decoder() {
    let mut rig = Rig::new(Links::Both, false, &[]);
    rig.push(0, None).unwrap();
    rig.pull();
    let qos =
        || gst::event::Qos::builder(gst::QOSType::Underflow, 2.0, 5_000_000).timestamp(gst::ClockTime::SECOND).build();
    let upstream = |rig: &mut Rig| {
        std::iter::from_fn(|| rig.video.try_pull_upstream_event()).filter(|e| e.type_() == gst::EventType::Qos).count()
    };
    upstream(&mut rig);
    rig.json.as_mut().unwrap().push_upstream_event(qos());
    assert_eq!(upstream(&mut rig), 0);
    rig.video.push_upstream_event(qos());
    assert_eq!(upstream(&mut rig), 1);
}

#[test]
fn records_go_to_a_file_as_they_are() {
    results::init();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=20 name=v ! video/x-raw,format=NV12,width=64,height=48 ! deepfakejson name=j \
         j.src ! fakesink \
         j.json ! filesink name=f",
    )
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    pipeline.by_name("f").unwrap().set_property("location", path.to_str().unwrap());
    results::attach(&pipeline.by_name("v").unwrap().static_pad("src").unwrap(), |n| Some(some_scores(n)));
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Eos, gst::MessageType::Error])
        .unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 20);
    for (number, line) in text.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        validate(&line);
        assert_eq!(line["frame"], json!(number));
        assert_eq!(line["faces"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn everything_is_described() {
    results::init();
    results::assert_described("deepfakejson");
}
