//! The element `deepfakejson`: one line of JSON a video frame, on a pad of its own.

/**
 * SECTION:element-deepfakejson
 * @title: deepfakejson
 * @short_description: Writes the scores of each frame as one line of JSON
 *
 * The video passes untouched from `sink` to `src`; the pad `json` gives one buffer with one line a frame, from a thread of
 * its own. A frame without a face has a line with an empty list, a frame without any scores one that says why.
 *
 * With `format=records` (the default) lines are as `plugin/schema/record-1.schema.json` says. With `format=dlstreamer` they
 * are as DL Streamer's `gvametaconvert` writes them: `resolution`, `timestamp`, `system_timestamp`, `rtp`, `source`, `tags`
 * and `objects`, each with `x`, `y`, `w`, `h`, `region_id`, `id`, `roi_type`, `detection`, `tensors` (the map), and the
 * classification `deepfake`. What has no place there (age, reasons for no score, the score of the frame alone) is left out.
 *
 * ## Example
 *
 * |[
 * gst-launch-1.0 filesrc location=video.mp4 ! decodebin ! deepfakescore ! deepfakejson name=records ! fakesink \
 *     records.json ! filesink location=records.jsonl
 * ]|
 *
 * Since: plugin-0.1.0
 */
use gst::prelude::*;

mod imp;
mod outbox;

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

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstDeepfakeJsonFormat")]
#[repr(i32)]
pub enum Format {
    /// As the project's own schema says.
    #[default]
    #[enum_value(name = "Records of the project's own schema", nick = "records")]
    Records,
    /// As DL Streamer writes them.
    #[enum_value(name = "The JSON of DL Streamer's gvametaconvert", nick = "dlstreamer")]
    DlStreamer,
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    Format::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    Leaky::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(Some(plugin), "deepfakejson", gst::Rank::NONE, DeepfakeJson::static_type())
}
