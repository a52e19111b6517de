//! The element `deepfakepublish`: records to MQTT or Kafka.

/**
 * SECTION:element-deepfakepublish
 * @title: deepfakepublish
 * @short_description: Sends the records of deepfakejson to a broker of MQTT or to Kafka
 *
 * Each line that comes in is one message. The streaming thread only puts it into a queue, whatever the network does; a
 * thread of the element's own connects, sends, and connects again where a connection is lost, the first time after a
 * quarter of a second, then after twice as long each time, up to `max-reconnect-delay`.
 *
 * A record leaves the queue when the broker has acknowledged it, so that a broker which is restarted costs nothing as long
 * as the queue has room for `max-queued-records` and `max-queued-bytes`. Beyond that records are lost as `leaky` says: the
 * oldest first, or the newest. After a lost connection what was not acknowledged is sent again, so that a record can
 * arrive twice; its `frame` tells.
 *
 * At the end of the stream, and when the element is stopped, it waits for up to `flush-timeout` until the queue is empty.
 *
 * ## Messages
 *
 * A warning on the bus tells when the broker cannot be reached (once an outage) and when records are lost (once a burst).
 * An element message `deepfake-publish` tells each change: `state` is `connected`, `disconnected`, `losing` or
 * `recovered` (the queue is empty again after losses); the other fields are those of the property `stats`, and with
 * `disconnected` an `error`.
 *
 * ## Example
 *
 * |[
 * gst-launch-1.0 filesrc location=video.mp4 ! decodebin ! deepfakescore ! deepfakejson name=records ! fakesink \
 *     records.json ! deepfakepublish uri=mqtt://broker.example topic=studio/1/faces
 * ]|
 *
 * Since: plugin-0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod backlog;
mod imp;
mod kafka;
mod link;
mod mqtt;
mod settings;
mod target;
mod tls;
mod worker;

glib::wrapper! {
    /// The element `deepfakepublish`.
    pub struct DeepfakePublish(ObjectSubclass<imp::DeepfakePublish>) @extends gst_base::BaseSink, gst::Element, gst::Object;
}

/// Which record is lost where more wait than may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakePublishLeaky")]
#[repr(i32)]
pub enum Leaky {
    /// The newest.
    #[enum_value(name = "The newest record is lost", nick = "upstream")]
    Upstream,
    /// The oldest.
    #[default]
    #[enum_value(name = "The oldest record is lost", nick = "downstream")]
    Downstream,
}

/// How `user` and `password` are shown to Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakePublishSaslMechanism")]
#[repr(i32)]
pub enum SaslMechanism {
    /// As they are.
    #[default]
    #[enum_value(name = "As they are, so over kafkas:// only", nick = "plain")]
    Plain,
    /// By a proof of knowing the password, with SHA-256.
    #[enum_value(name = "SCRAM with SHA-256", nick = "scram-sha-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[enum_value(name = "SCRAM with SHA-512", nick = "scram-sha-512")]
    ScramSha512,
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    Leaky::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    SaslMechanism::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(Some(plugin), "deepfakepublish", gst::Rank::NONE, DeepfakePublish::static_type())
}
