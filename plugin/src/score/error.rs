//! Why the element does not start, as GStreamer sorts errors.

use std::path::PathBuf;

use deepfake_scoring::engine::EngineError;
use deepfake_scoring::group::JoinError;
use deepfake_scoring::locate::LocateError;
use deepfake_scoring::model::ModelError;
use deepfake_scoring::score::ScorerError;
use deepfake_scoring::session::SessionError;
use thiserror::Error;

/// Why the element does not start.
#[derive(Debug, Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the model-config {path} cannot be used: {problem}", path = path.display())]
    Config { path: PathBuf, problem: String },
    #[error("the model has the SHA-256 {found}, expect-model-digest says {expected}")]
    Digest { expected: String, found: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("ONNX Runtime gives no run options: {0}")]
    Options(String),
}

impl SetupError {
    /// As GStreamer sorts errors.
    pub(super) fn to_message(&self) -> gst::ErrorMessage {
        let text = self.to_string();
        match self {
            Self::Model(ModelError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                gst::error_msg!(gst::ResourceError::NotFound, ("{text}"))
            }
            Self::Model(ModelError::Read { .. } | ModelError::NotAFile(_)) => {
                gst::error_msg!(gst::ResourceError::OpenRead, ("{text}"))
            }
            Self::Model(_) => gst::error_msg!(gst::StreamError::WrongType, ("{text}")),
            Self::Config { .. } | Self::Engine(EngineError::Thresholds { .. }) => {
                gst::error_msg!(gst::ResourceError::Settings, ("{text}"))
            }
            Self::Engine(EngineError::Join(JoinError::Conflict(conflict))) => {
                let advice = format!(
                    "Give all elements of session-group={} the same {}, or this one another session-group",
                    conflict.group, conflict.setting
                );
                gst::error_msg!(gst::ResourceError::Settings, ("{text}"), ["{advice}"])
            }
            Self::Engine(EngineError::Join(JoinError::Broken { .. })) => gst::error_msg!(
                gst::ResourceError::Busy,
                ("{text}"),
                ["Set all elements of the session-group to NULL, then start them again"]
            ),
            Self::Engine(EngineError::Join(_)) => gst::error_msg!(gst::ResourceError::NoSpaceLeft, ("{text}")),
            Self::Digest { .. } => gst::error_msg!(gst::ResourceError::NotAuthorized, ("{text}")),
            Self::Engine(
                EngineError::Scorer(ScorerError::Session(e)) | EngineError::Locate(LocateError::Session(e)),
            ) => match e {
                SessionError::Runtime(_) => gst::error_msg!(gst::LibraryError::Init, ("{text}")),
                SessionError::Provider { .. } => gst::error_msg!(gst::ResourceError::NotFound, ("{text}")),
                _ => gst::error_msg!(gst::StreamError::Format, ("{text}")),
            },
            Self::Options(_) => gst::error_msg!(gst::LibraryError::Init, ("{text}")),
            Self::Engine(_) => gst::error_msg!(gst::StreamError::Format, ("{text}")),
        }
    }
}
