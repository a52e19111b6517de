//! The element: lines in, a worker that publishes them.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;

use super::backlog::{Backlog, Counts, Message};
use super::link::Told;
use super::settings::{Secret, Settings, SettingsError};
use super::worker::Worker;
use super::{Leaky, SaslMechanism};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("deepfakepublish", gst::DebugColorFlags::empty(), Some("Records to MQTT or Kafka"))
});

#[derive(Debug)]
struct State {
    backlog: Arc<Backlog>,
    /// `None` once it was stopped; what became of the records can still be asked for.
    worker: Option<Worker>,
}

#[derive(Debug, Default)]
struct Connection {
    up: bool,
    /// That it is down was told.
    told: bool,
    /// Connections that were made.
    made: u64,
}

#[derive(Debug, Default)]
pub struct DeepfakePublish {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    connection: Mutex<Connection>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic has become an element error already; the values are plain and stay sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[glib::object_subclass]
impl ObjectSubclass for DeepfakePublish {
    const NAME: &'static str = "GstDeepfakePublish";
    type Type = super::DeepfakePublish;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for DeepfakePublish {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(properties);
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        const TYPE: &str = "GObject checks the type";
        let text = || value.get::<Option<String>>().expect(TYPE).filter(|text| !text.is_empty());
        let mut settings = locked(&self.settings);
        match pspec.name() {
            "uri" => settings.uri = text(),
            "topic" => settings.topic = text(),
            "client-id" => settings.client_id = text(),
            "user" => settings.user = text(),
            "password" => settings.password = text().map(Secret),
            "sasl-mechanism" => settings.sasl_mechanism = value.get().expect(TYPE),
            "ca-file" => settings.ca_file = text().map(PathBuf::from),
            "qos" => settings.qos = value.get().expect(TYPE),
            "key" => settings.key = text(),
            "max-queued-records" => settings.max_queued_records = value.get().expect(TYPE),
            "max-queued-bytes" => settings.max_queued_bytes = value.get().expect(TYPE),
            "leaky" => settings.leaky = value.get().expect(TYPE),
            "flush-timeout" => settings.flush_timeout = value.get().expect(TYPE),
            "max-reconnect-delay" => settings.max_reconnect_delay = value.get().expect(TYPE),
            other => unreachable!("no property {other} can be written"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = locked(&self.settings);
        match pspec.name() {
            "uri" => settings.uri.to_value(),
            "topic" => settings.topic.to_value(),
            "client-id" => settings.client_id.to_value(),
            "user" => settings.user.to_value(),
            "sasl-mechanism" => settings.sasl_mechanism.to_value(),
            "ca-file" => settings.ca_file.as_deref().and_then(|path| path.to_str()).to_value(),
            "qos" => settings.qos.to_value(),
            "key" => settings.key.to_value(),
            "max-queued-records" => settings.max_queued_records.to_value(),
            "max-queued-bytes" => settings.max_queued_bytes.to_value(),
            "leaky" => settings.leaky.to_value(),
            "flush-timeout" => settings.flush_timeout.to_value(),
            "max-reconnect-delay" => settings.max_reconnect_delay.to_value(),
            "stats" => {
                drop(settings);
                self.stats("application/x-deepfakepublish-stats").to_value()
            }
            other => unreachable!("no property {other} can be read"),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // Records are to leave when they come, not when their frame is due; and nobody looks at the last one.
        obj.set_sync(false);
        obj.set_enable_last_sample(false);
    }
}

fn properties() -> Vec<glib::ParamSpec> {
    let defaults = Settings::default();
    let text = |name, nick, blurb| glib::ParamSpecString::builder(name).nick(nick).blurb(blurb).mutable_ready().build();
    let number = |name, nick, blurb, minimum, maximum, default| {
        glib::ParamSpecUInt::builder(name)
            .nick(nick)
            .blurb(blurb)
            .minimum(minimum)
            .maximum(maximum)
            .default_value(default)
            .mutable_ready()
            .build()
    };
    vec![
        text(
            "uri",
            "URI",
            "Where the records go: mqtt://HOST[:1883], mqtts://HOST[:8883] (with TLS), kafka://HOST[:9092][,HOST...] or \
             kafkas://HOST[:9093][,HOST...] (with TLS)",
        ),
        text("topic", "Topic", "Under which name records are published; in Kafka the topic must exist"),
        text(
            "client-id",
            "Client id",
            "What the element calls itself; no two clients of a broker may have the same (null: something of its own at \
             each start)",
        ),
        text("user", "User", "Name for the broker (null: none)"),
        glib::ParamSpecString::builder("password")
            .nick("Password")
            .blurb("Password for the broker; can be set but not read, and is not logged (null: none)")
            .write_only()
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder::<SaslMechanism>("sasl-mechanism")
            .nick("SASL mechanism")
            .blurb("Kafka only: how user and password are shown")
            .default_value(defaults.sasl_mechanism)
            .mutable_ready()
            .build(),
        text(
            "ca-file",
            "CA file",
            "PEM file with the certificate authorities to believe in for mqtts and kafkas (null: those of this machine)",
        ),
        number(
            "qos",
            "Quality of service",
            "MQTT only: 0: a record is gone when it was written to the connection; 1: when the broker has acknowledged it; \
             2: the same by MQTT's four-way exchange. After a lost connection 1 and 2 send again what was not acknowledged",
            0,
            2,
            defaults.qos,
        ),
        text(
            "key",
            "Key",
            "Kafka only: key of each message; it chooses the partition as with Kafka's own clients (null: messages have no \
             key, and all go to a partition that the client-id chooses)",
        ),
        number(
            "max-queued-records",
            "Maximum of queued records",
            "How many records may wait for the broker",
            1,
            u32::MAX,
            defaults.max_queued_records,
        ),
        glib::ParamSpecUInt64::builder("max-queued-bytes")
            .nick("Maximum of queued bytes")
            .blurb("How many bytes of records may wait for the broker")
            .minimum(1)
            .default_value(defaults.max_queued_bytes)
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder::<Leaky>("leaky")
            .nick("Leaky")
            .blurb("Which record is lost where more wait than may; the stream never waits")
            .default_value(defaults.leaky)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("flush-timeout")
            .nick("Flush timeout")
            .blurb("For how many milliseconds to wait for an empty queue, at the end of the stream and when stopped")
            .default_value(defaults.flush_timeout)
            .mutable_playing()
            .build(),
        number(
            "max-reconnect-delay",
            "Maximum reconnect delay",
            "The most milliseconds between two tries to reach the broker; the first delay is 250, each further twice as long",
            1,
            u32::MAX,
            defaults.max_reconnect_delay,
        ),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "Since the start: records received, published (the broker has them), lost, queued (with queued-bytes), \
                 whether connected, and how many connections were made",
            )
            .read_only()
            .build(),
    ]
}

impl GstObjectImpl for DeepfakePublish {}

impl ElementImpl for DeepfakePublish {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Deepfake scores to MQTT or Kafka",
                "Sink/Network",
                "Sends each line of deepfakejson's json pad as a message to an MQTT broker or to Kafka; the stream never waits \
                 for the network",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst::Caps::new_empty_simple("application/x-ndjson");
            let template = gst::PadTemplate::new("sink", gst::PadDirection::Sink, gst::PadPresence::Always, &caps);
            template.into_iter().collect()
        });
        &TEMPLATES
    }

    // The base class starts and stops its children between null and ready, where properties may still change.
    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let settings = locked(&self.settings).clone();
            self.open(&settings).map_err(|error| {
                self.post_error_message(gst::error_msg!(gst::ResourceError::Settings, ("{error}")));
                gst::StateChangeError
            })?;
        }
        let success = self.parent_change_state(transition);
        let over = transition == gst::StateChange::PausedToReady;
        if over || (success.is_err() && transition == gst::StateChange::ReadyToPaused) {
            self.close();
        }
        success
    }
}

impl BaseSinkImpl for DeepfakePublish {
    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let backlog = self.backlog().ok_or(gst::FlowError::Flushing)?;
        let map = buffer.map_readable().map_err(|_| {
            gst::element_imp_error!(self, gst::ResourceError::Read, ("A record cannot be read"));
            gst::FlowError::Error
        })?;
        let at = SystemTime::now();
        for line in map.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if backlog.push(Message { payload: Bytes::copy_from_slice(line), at }) {
                self.tell_loss("more wait for the broker than max-queued-records and max-queued-bytes allow");
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn event(&self, event: gst::Event) -> bool {
        if let (gst::EventView::Eos(_), Some(backlog)) = (event.view(), self.backlog()) {
            if let Some(worker) = locked(&self.state).as_ref().and_then(|state| state.worker.as_ref()) {
                worker.hurry();
            }
            // No frame is behind this event that could be late.
            let limit = locked(&self.settings).flush_timeout();
            backlog.wait_drained(limit);
        }
        self.parent_event(event)
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(backlog) = self.backlog() {
            backlog.interrupt(true);
        }
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(backlog) = self.backlog() {
            backlog.interrupt(false);
        }
        Ok(())
    }
}

impl DeepfakePublish {
    fn open(&self, settings: &Settings) -> Result<(), SettingsError> {
        let plan = settings.plan()?;
        gst::info!(CAT, imp = self, "Publishing to {:?}, topic {}, as {}", plan.target, plan.topic, plan.client_id);
        let backlog = Arc::new(Backlog::new(settings.limits()));
        *locked(&self.connection) = Connection::default();
        // Before the worker starts, since what it tells comes with these numbers.
        *locked(&self.state) = Some(State { backlog: backlog.clone(), worker: None });
        let weak = self.downgrade();
        let worker = Worker::start(plan, backlog, move |told| {
            if let Some(imp) = weak.upgrade() {
                imp.told(told);
            }
        })?;
        if let Some(state) = locked(&self.state).as_mut() {
            state.worker = Some(worker);
        }
        Ok(())
    }

    /// Publishes what is left, for as long as it may take.
    fn close(&self) {
        let Some((worker, backlog)) =
            locked(&self.state).as_mut().and_then(|state| Some((state.worker.take()?, state.backlog.clone())))
        else {
            return;
        };
        let limit = locked(&self.settings).flush_timeout();
        // Without any lock, since the worker may have something to tell.
        worker.stop(limit);
        locked(&self.connection).up = false;
        let left = backlog.abandon();
        if left > 0 {
            self.tell_loss(&format!("{left} could not be delivered before the element was stopped"));
        }
    }

    fn backlog(&self) -> Option<Arc<Backlog>> {
        locked(&self.state).as_ref().map(|state| state.backlog.clone())
    }

    fn stats(&self, name: &str) -> gst::Structure {
        let counts = self.backlog().map_or_else(Counts::default, |backlog| backlog.counts());
        let connection = locked(&self.connection);
        gst::Structure::builder(name)
            .field("received", counts.received)
            .field("published", counts.published)
            .field("lost", counts.lost)
            .field("queued", counts.queued)
            .field("queued-bytes", counts.queued_bytes)
            .field("connected", connection.up)
            .field("connections", connection.made)
            .build()
    }

    /// Hears the worker.
    fn told(&self, told: Told) {
        match told {
            Told::Connected => {
                let mut connection = locked(&self.connection);
                connection.up = true;
                connection.told = false;
                connection.made += 1;
                drop(connection);
                gst::info!(CAT, imp = self, "Connected");
                self.post("connected", None);
            }
            Told::Disconnected(problem, pause) => {
                gst::info!(CAT, imp = self, "{problem}; trying again after {} ms", pause.as_millis());
                let mut connection = locked(&self.connection);
                connection.up = false;
                let told = std::mem::replace(&mut connection.told, true);
                drop(connection);
                if !told {
                    gst::element_imp_warning!(
                        self,
                        gst::ResourceError::OpenWrite,
                        ("The broker cannot be reached: {problem}. {}; records wait and the element tries again", problem.advice()),
                        details: self.stats("deepfake-publish")
                    );
                    self.post("disconnected", Some(problem.to_string()));
                }
            }
            Told::Refused(problem) => self.tell_loss(&format!("the broker does not take one: {problem}")),
            Told::BurstOver => self.post("recovered", None),
            Told::Panicked(text) => {
                gst::element_imp_error!(self, gst::LibraryError::Failed, ("Publishing broke off"), ["Panic: {text}"]);
            }
        }
    }

    /// Warns of losses, once a burst.
    fn tell_loss(&self, reason: &str) {
        gst::element_imp_warning!(
            self,
            gst::ResourceError::Write,
            ("Records are lost: {reason}"),
            details: self.stats("deepfake-publish")
        );
        self.post("losing", None);
    }

    fn post(&self, state: &str, error: Option<String>) {
        let mut structure = self.stats("deepfake-publish");
        structure.set("state", state);
        if let Some(error) = error {
            structure.set("error", error);
        }
        let element = self.obj();
        let message = gst::message::Element::builder(structure).src(&*element).build();
        // Without a bus nobody listens.
        let _ = element.post_message(message);
    }
}
