//! Tells GStreamer which release and commit a plugin is.

fn main() {
    gst_plugin_version_helper::info()
}
