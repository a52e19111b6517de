//! What the tests of publishing share, and the brokers and subscribers of others.

// Each test program uses its own part.
#![allow(dead_code)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use gst::prelude::*;
use gst_check::Harness;
use gstdeepfake::record::{FrameInfo, Record, SCHEMA};
use serde_json::Value;

use crate::results;

pub(crate) mod kafka;
pub(crate) mod mosquitto;

/// A test that waits longer for something has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line as deepfakejson writes it, without its end.
pub(crate) fn line(number: u64) -> String {
    use deepfake_scoring::geometry::Rect;
    use deepfake_scoring::verdict::Verdict;
    let face = results::face(1, Rect::new(0.25, 0.25, 0.25, 0.5), Verdict::Fake, 0.875);
    let frame = FrameInfo {
        number,
        timecode: None,
        pts: None,
        running_time: None,
        stream_time: None,
        utc: None,
        size: (320, 240),
    };
    let mut line = Vec::new();
    Record { frame, scores: Ok(results::scores(number, vec![face])) }.write_line(None, true, &mut line);
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// What a subscriber got, which obeys the schema.
pub(crate) fn valid(text: &str) -> Value {
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap());
    let line = serde_json::from_str(text).unwrap();
    if let Err(error) = VALIDATOR.validate(&line) {
        panic!("{error}: {text}");
    }
    line
}

/// The element, fed by hand.
pub(crate) struct Rig {
    pub(crate) element: gst::Element,
    harness: Harness,
    messages: Receiver<gst::Message>,
    warnings: Vec<String>,
}

impl Rig {
    /// With delays that suit a test.
    pub(crate) fn new(properties: &[(&str, &str)]) -> Self {
        results::init();
        let element = gst::ElementFactory::make("deepfakepublish").build().unwrap();
        for (name, value) in [("max-reconnect-delay", "50"), ("flush-timeout", "60000")].iter().chain(properties) {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        let (tell, messages) = channel();
        bus.set_sync_handler(move |_, message| {
            let _ = tell.send(message.clone());
            gst::BusSyncReply::Drop
        });
        element.set_bus(Some(&bus));
        let mut harness = Harness::with_element(&element, Some("sink"), None);
        harness.play();
        harness.set_src_caps_str("application/x-ndjson");
        Self { element, harness, messages, warnings: Vec::new() }
    }

    pub(crate) fn push(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.push_text(&(line(number) + "\n"));
        }
    }

    pub(crate) fn push_text(&mut self, text: &str) {
        self.harness.push(gst::Buffer::from_slice(text.as_bytes().to_vec())).unwrap();
    }

    pub(crate) fn push_event(&mut self, event: gst::Event) {
        self.harness.push_event(event);
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.element.property::<gst::Structure>("stats").get(name).unwrap()
    }

    fn hear(&mut self, message: gst::Message) -> Option<gst::Structure> {
        match message.view() {
            gst::MessageView::Warning(warning) => self.warnings.push(warning.error().message().to_owned()),
            gst::MessageView::Error(error) => panic!("{error:?}"),
            gst::MessageView::Element(element) => {
                let structure = element.structure().unwrap();
                assert_eq!(structure.name(), "deepfake-publish");
                return Some(structure.to_owned());
            }
            _ => {}
        }
        None
    }

    /// Waits until the element tells that it is in that state.
    pub(crate) fn wait_for(&mut self, state: &str) -> gst::Structure {
        loop {
            let message = self.messages.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never {state}"));
            if let Some(told) = self.hear(message).filter(|told| told.get::<&str>("state").unwrap() == state) {
                return told;
            }
        }
    }

    /// Waits until so many records are delivered.
    pub(crate) fn wait_until_published(&self, records: u64) {
        let start = std::time::Instant::now();
        while self.count("published") < records {
            assert!(start.elapsed() < PATIENCE, "{} of {records} are published", self.count("published"));
            std::thread::yield_now();
        }
    }

    /// The warnings that were posted since this was asked last.
    pub(crate) fn warnings(&mut self) -> Vec<String> {
        while let Ok(message) = self.messages.try_recv() {
            self.hear(message);
        }
        std::mem::take(&mut self.warnings)
    }

    pub(crate) fn stop(&self) {
        self.element.set_state(gst::State::Null).unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Nobody is to wait for what was not published when a test fails.
        self.element.set_property("flush-timeout", 0u32);
        self.stop();
    }
}

/// Kills what it runs when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_owned();
        let child = command.spawn();
        Self(child.unwrap_or_else(|e| panic!("{}: {e}; `tests/run.sh` installs it", name.display())))
    }
}

/// A port that nobody listens to at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and the certificate that it gave to a server called localhost.
pub(crate) struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        let openssl = |arguments: &str| {
            run(Command::new("openssl").args(arguments.split_whitespace()).current_dir(this.folder.path()));
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!("req -x509 {key} -days 2 -subj /CN=authority -keyout authority.key -out authority.pem"));
        openssl(&format!("req {key} -subj /CN=localhost -keyout key.pem -out request.pem"));
        std::fs::write(this.folder.path().join("names"), "subjectAltName=DNS:localhost").unwrap();
        let signed = "-CA authority.pem -CAkey authority.key -CAcreateserial -extfile names -days 2";
        openssl(&format!("x509 -req -in request.pem {signed} -out certificate.pem"));
        this
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
