//! The element `deepfakejson`: one line of JSON a video frame, on a pad of its own.

mod imp;
mod outbox;

use gst::prelude::*;

glib::wrapper! {
    /// Turns the scores on video frames into a stream of JSON lines.
    pub struct DeepfakeJson(ObjectSubclass<imp::DeepfakeJson>) @extends gst::Element, gst::Object;
}

/// What happens when the consumer of the records is slower than the video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakeJsonLeaky")]
#[repr(i32)]
pub enum Leaky {
    /// Downstream in live pipelines, no in others.
    #[default]
    #[enum_value(name = "Lose records in live pipelines, wait in others", nick = "auto")]
    Auto,
    /// The video waits, no record is lost.
    #[enum_value(name = "The video waits, no record is lost", nick = "no")]
    No,
    /// The oldest queued record is lost, the video never waits.
    #[enum_value(name = "The oldest queued record is lost, the video never waits", nick = "downstream")]
    Downstream,
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    Leaky::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(Some(plugin), "deepfakejson", gst::Rank::NONE, DeepfakeJson::static_type())
}
