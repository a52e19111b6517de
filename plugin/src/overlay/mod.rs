//! The element `deepfakeoverlay`: draws the scores into the video.

mod blend;
mod heat;
mod imp;
mod label;
mod scene;

use gst::prelude::*;

glib::wrapper! {
    /// Draws the scores on video frames into them.
    pub struct DeepfakeOverlay(ObjectSubclass<imp::DeepfakeOverlay>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "deepfakeoverlay", gst::Rank::NONE, DeepfakeOverlay::static_type())
}
