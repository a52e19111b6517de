//! What can go wrong, told so that a user can mend it.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// The one error of this crate.
#[derive(Debug, Error)]
pub enum Error {
    /// A configuration file that is not TOML, has an unknown key or a value of the wrong kind.
    #[error("{path}: {source}")]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A configuration value that makes no sense.
    #[error("the configuration's `{key}` {problem}")]
    Config {
        /// Dotted key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A file or folder that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// Training data that cannot be trained on.
    #[error("{0}")]
    Data(String),
    /// A picture that cannot be read.
    #[error("{path}: {source}")]
    Picture {
        /// The file.
        path: PathBuf,
        /// The decoder's word.
        #[source]
        source: image::ImageError,
    },
    /// A video that cannot be decoded.
    #[error("{path}: {problem}")]
    Video {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A crop that cannot be cut.
    #[error(transparent)]
    Crop(#[from] deepfake_scoring::crop::CropError),
    /// Bytes that are not a frame.
    #[error(transparent)]
    Frame(#[from] deepfake_scoring::frame::FrameError),
    /// Weights, optimizer state or run folder that do not fit.
    #[error("{path}: {problem}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An exported model that is not what was trained.
    #[error("{0}")]
    Export(String),
    /// A model file that the engine does not take.
    #[error(transparent)]
    Model(#[from] deepfake_scoring::model::ModelError),
    /// A model that the engine cannot score with.
    #[error(transparent)]
    Scorer(#[from] deepfake_scoring::score::ScorerError),
    /// No ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] deepfake_scoring::runtime::RuntimeError),
    /// A run of the engine that failed.
    #[error(transparent)]
    Session(#[from] deepfake_scoring::session::SessionError),
    /// A face locator that fails.
    #[error(transparent)]
    Locate(#[from] deepfake_scoring::locate::LocateError),
    /// A picture that cannot be distorted.
    #[error("{0}")]
    Distortion(String),
    /// Training that went astray.
    #[error("{0}")]
    Training(String),
}

/// What functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }

    /// A file of the run folder or of weights that does not fit.
    pub(crate) fn checkpoint(path: &Path, problem: impl Into<String>) -> Self {
        Self::Checkpoint { path: path.to_owned(), problem: problem.into() }
    }
}
