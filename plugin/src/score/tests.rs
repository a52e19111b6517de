//! A panic while a frame is looked at, which no input is known to cause: the tests make one.

use gst::prelude::*;
use gst_check::Harness;

/// Of a buffer that is to cause a panic.
const POISON: u64 = 0xdead_f0e5;

/// To be called wherever pixels are about to be read.
pub(super) fn panic_where_asked(buffer: &gst::BufferRef) {
    assert!(buffer.offset() != POISON, "as the test wants it");
}

fn line(mode: &str, on_error: &str) -> (Harness, gst::Bus) {
    gst::init().unwrap();
    crate::meta::register();
    let element: gst::Element = gst::glib::Object::new::<super::DeepfakeScore>().upcast();
    for (name, value) in [("mode", mode), ("face-source", "frame"), ("on-error", on_error)] {
        element.set_property_from_str(name, value);
    }
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps_str("video/x-raw,format=RGB,width=64,height=64,framerate=25/1");
    (harness, bus)
}

fn frame(offset: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(vec![128u8; 64 * 64 * 3]);
    buffer.get_mut().unwrap().set_offset(offset);
    buffer
}

fn told(bus: &gst::Bus, kind: gst::MessageType) -> usize {
    bus.iter().filter(|m| m.type_() == kind).count()
}

/// Frames go by until the worker has met the poisoned one.
fn until_refused(harness: &mut Harness) -> bool {
    (0..2_000_000).any(|_| {
        std::thread::yield_now();
        harness.push(frame(0)) == Err(gst::FlowError::Error)
    })
}

#[test]
fn a_panic_in_the_worker_is_one_error() {
    let (mut harness, bus) = line("live", "error");
    harness.push(frame(POISON)).unwrap();
    assert!(until_refused(&mut harness));
    // However often upstream tries again.
    for _ in 0..3 {
        assert_eq!(harness.push(frame(0)), Err(gst::FlowError::Error));
    }
    assert_eq!(told(&bus, gst::MessageType::Error), 1);
    // The setting may change all the same.
    let element = harness.element().unwrap();
    element.set_property_from_str("on-error", "passthrough");
    for _ in 0..3 {
        harness.push_and_pull(frame(0)).unwrap();
    }
    assert_eq!(told(&bus, gst::MessageType::Warning), 1);
    element.set_property_from_str("on-error", "error");
    for _ in 0..3 {
        assert_eq!(harness.push(frame(0)), Err(gst::FlowError::Error));
    }
    assert_eq!(told(&bus, gst::MessageType::Error), 1);
}

#[test]
fn a_panic_in_the_worker_is_one_warning_where_the_video_is_to_go_on() {
    let (mut harness, bus) = line("live", "passthrough");
    harness.push_and_pull(frame(POISON)).unwrap();
    let mut warned = 0;
    for _ in 0..2_000_000 {
        std::thread::yield_now();
        harness.push_and_pull(frame(0)).unwrap();
        warned += told(&bus, gst::MessageType::Warning);
        if warned > 0 {
            break;
        }
    }
    for _ in 0..100 {
        let out = harness.push_and_pull(frame(0)).unwrap();
        assert_eq!(crate::meta::Scores::from_buffer(&out), None, "nothing is scored any more");
    }
    assert_eq!((warned, told(&bus, gst::MessageType::Warning)), (1, 0));
    // A new start is a new worker.
    let element = harness.element().unwrap();
    element.set_state(gst::State::Ready).unwrap();
    element.set_state(gst::State::Playing).unwrap();
}

#[test]
fn a_panic_in_the_thread_of_the_stream_is_one_error() {
    let (mut harness, bus) = line("every-frame", "passthrough");
    harness.push_and_pull(frame(0)).unwrap();
    assert_eq!(harness.push(frame(POISON)), Err(gst::FlowError::Error));
    assert_eq!(told(&bus, gst::MessageType::Error), 1);
    // The element can be stopped and started again all the same.
    let element = harness.element().unwrap();
    element.set_state(gst::State::Null).unwrap();
    element.set_state(gst::State::Playing).unwrap();
}
