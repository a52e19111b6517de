//! ONNX Runtime as part of the plugin: where its library lies, where its log goes.

use std::sync::LazyLock;

use deepfake_scoring::runtime::{LogLevel, set_library_directory, set_logger};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("onnxruntime", gst::DebugColorFlags::empty(), Some("ONNX Runtime's own log"))
});

/// The library is looked for beside the plugin's own, the log goes to the debug category `onnxruntime`.
pub(crate) fn prepare(plugin: &gst::Plugin) {
    if let Some(folder) = plugin.filename().as_deref().and_then(std::path::Path::parent) {
        set_library_directory(folder);
    }
    set_logger(|level, message| match level {
        LogLevel::Fatal | LogLevel::Error => gst::error!(CAT, "{message}"),
        LogLevel::Warning => gst::warning!(CAT, "{message}"),
        LogLevel::Info => gst::info!(CAT, "{message}"),
        LogLevel::Verbose => gst::trace!(CAT, "{message}"),
    });
}
