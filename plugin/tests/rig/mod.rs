//! `deepfakejson` between harnesses, for the tests of what it writes and of how it does.

#![allow(dead_code, reason = "each test uses its part")]

use deepfake_scoring::geometry::Rect;
use deepfake_scoring::score::NotScored;
use deepfake_scoring::verdict::Verdict;
use gst::prelude::*;
use gst_check::Harness;
use gstdeepfake::meta::Scores;
use gstdeepfake::record::SCHEMA;
use serde_json::Value;

pub(crate) const CAPS: &str = "video/x-raw,format=I420,width=320,height=240,framerate=25/1";

/// A harness on the video and one on the records of one element.
pub(crate) struct Rig {
    pub(crate) element: gst::Element,
    pub(crate) video: Harness,
    pub(crate) json: Option<Harness>,
    pub(crate) bus: gst::Bus,
}

/// Which source pads are linked.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Links {
    Both,
    Video,
    Json,
}

impl Rig {
    pub(crate) fn new(links: Links, live: bool, properties: &[(&str, &str)]) -> Self {
        crate::results::init();
        let element = gst::ElementFactory::make("deepfakejson").build().unwrap();
        for (name, value) in properties {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut video = Harness::with_element(&element, Some("sink"), (links != Links::Json).then_some("src"));
        video.set_live(live);
        let json = (links != Links::Video).then(|| Harness::with_element(&element, None, Some("json")));
        video.play();
        video.set_src_caps_str(CAPS);
        Self { element, video, json, bus }
    }

    pub(crate) fn push(&mut self, number: u64, scores: Option<Scores>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut buffer = gst::Buffer::with_size(320 * 240 * 3 / 2).unwrap();
        let header = buffer.get_mut().unwrap();
        header.set_pts(pts(number));
        header.set_duration(gst::ClockTime::from_mseconds(40));
        if let Some(scores) = scores {
            scores.attach(header).unwrap();
        }
        self.video.push(buffer)
    }

    pub(crate) fn pull(&mut self) -> (gst::Buffer, Value) {
        let buffer = self.json.as_mut().unwrap().pull().unwrap();
        let line = one_line(&buffer);
        (buffer, line)
    }

    /// The next record, which obeys the schema.
    pub(crate) fn record(&mut self) -> Value {
        self.pull().1
    }

    /// The next line, whatever its format.
    pub(crate) fn line(&mut self) -> Value {
        let buffer = self.json.as_mut().unwrap().pull().unwrap();
        serde_json::from_slice(&buffer.map_readable().unwrap()).unwrap()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.element.property("lost-records")
    }

    /// The warnings posted so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        std::iter::from_fn(|| self.bus.pop_filtered(&[gst::MessageType::Warning]))
            .map(|message| match message.view() {
                gst::MessageView::Warning(w) => {
                    assert!(w.details().unwrap().get::<u64>("lost-records").unwrap() > 0);
                    w.error().message().to_owned()
                }
                _ => unreachable!(),
            })
            .collect()
    }
}

pub(crate) fn pts(number: u64) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(40) * number
}

/// The one line in a buffer, which obeys the schema.
pub(crate) fn one_line(buffer: &gst::BufferRef) -> Value {
    let map = buffer.map_readable().unwrap();
    let text = std::str::from_utf8(&map).unwrap();
    assert_eq!(text.find('\n'), Some(text.len() - 1), "{text}");
    let line = serde_json::from_str(text).unwrap();
    validate(&line);
    line
}

pub(crate) fn validate(line: &Value) {
    static SCHEMA_VALIDATOR: std::sync::LazyLock<jsonschema::Validator> = std::sync::LazyLock::new(|| {
        let schema = serde_json::from_str(SCHEMA).unwrap();
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    });
    let errors: Vec<String> =
        SCHEMA_VALIDATOR.iter_errors(line).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{line}\n{errors:#?}");
}

pub(crate) fn some_scores(frame: u64) -> Scores {
    let left = crate::results::face(1, Rect::new(0.1, 0.25, 0.25, 0.5), Verdict::Fake, 0.875);
    let right = crate::results::unscored(u64::MAX, Rect::new(0.9, 0.9, 0.2, 0.2), NotScored::TooSmall);
    crate::results::scores(frame, vec![left, right])
}
