//! The element `deepfakeoverlay`: draws the scores into the video.

mod blend;
mod heat;
mod imp;
mod label;
mod scene;

/**
 * SECTION:element-deepfakeoverlay
 * @title: deepfakeoverlay
 * @short_description: Draws the scores of deepfakescore into the video
 *
 * Draws box, verdict, score and track of each face, and the evidence as heat over it, straight into the planes of the frame.
 *
 * ## Example
 *
 * |[
 * gst-launch-1.0 filesrc location=video.mp4 ! decodebin ! deepfakescore ! deepfakeoverlay ! videoconvert ! autovideosink
 * ]|
 *
 * Since: plugin-0.1.0
 */
use gst::prelude::*;

glib::wrapper! {
    /// Draws the scores on video frames into them.
    pub struct DeepfakeOverlay(ObjectSubclass<imp::DeepfakeOverlay>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "deepfakeoverlay", gst::Rank::NONE, DeepfakeOverlay::static_type())
}
