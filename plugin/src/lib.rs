//! GStreamer elements that score the faces in running video for being deepfakes.

#![warn(clippy::unwrap_used)]
// The module that `plugin_define!` makes has no documentation.
#![allow(missing_docs)]

use gst::glib;

pub mod dlstreamer;
pub mod json;
pub mod meta;
pub mod overlay;
pub mod publish;
pub mod record;
mod runtime;
pub mod score;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    runtime::prepare(plugin);
    meta::register();
    score::register(plugin)?;
    overlay::register(plugin)?;
    json::register(plugin)?;
    publish::register(plugin)
}

gst::plugin_define!(
    deepfake,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
