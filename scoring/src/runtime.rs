//! The one ONNX Runtime environment of the process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use once_cell::sync::OnceCell;
use ort::AsPointer;
use ort::environment::Environment;
pub use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::ortsys;
use thiserror::Error;

/// The environment variable that names the library, as in the `ort` crate.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// What the dynamic linker is asked for when nothing else is given: ONNX Runtime's own name.
const SYSTEM_LIBRARY: &str = "libonnxruntime.so.1";

/// The library's version for which versions of models are checked and everything is tested.
pub const TESTED_VERSION: &str = "1.28.0";

/// Why there is no ONNX Runtime.
#[derive(Debug, Clone, Error)]
pub enum RuntimeError {
    /// No library, not one for this machine, or too old a one.
    #[error(
        "ONNX Runtime cannot be loaded from {path}: {problem}. Install libonnxruntime {TESTED_VERSION} and name it in \
         {LIBRARY_VARIABLE}, or put it beside the plugin"
    )]
    Load {
        /// Where it was looked for.
        path: PathBuf,
        /// What the loader says.
        problem: String,
    },
    /// The library is there but does not start.
    #[error("ONNX Runtime does not start: {0}")]
    Start(String),
}

static ENVIRONMENT: OnceCell<Environment> = OnceCell::new();
static DIRECTORY: RwLock<Option<PathBuf>> = RwLock::new(None);

/// Receives what ONNX Runtime logs.
pub type Logger = fn(LogLevel, &str);
static LOGGER: RwLock<Option<Logger>> = RwLock::new(None);

/// Where the library lies beside the program, for programs that bring it: looked at after the environment variable.
pub fn set_library_directory(directory: impl Into<PathBuf>) {
    *DIRECTORY.write().unwrap_or_else(PoisonError::into_inner) = Some(directory.into());
}

/// Sends ONNX Runtime's log there; without it, the log goes to `tracing`.
pub fn set_logger(logger: Logger) {
    *LOGGER.write().unwrap_or_else(PoisonError::into_inner) = Some(logger);
}

fn log(level: LogLevel, message: &str) {
    if let Some(logger) = *LOGGER.read().unwrap_or_else(PoisonError::into_inner) {
        return logger(level, message);
    }
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(target: "onnxruntime", "{message}"),
        LogLevel::Warning => tracing::warn!(target: "onnxruntime", "{message}"),
        // It tells every step of its optimizer at this level.
        LogLevel::Info => tracing::debug!(target: "onnxruntime", "{message}"),
        LogLevel::Verbose => tracing::trace!(target: "onnxruntime", "{message}"),
    }
}

/// The environment, made on first use and kept for good: ONNX Runtime does not survive its end.
///
/// # Errors
///
/// Where the library is missing or does not start. A later call tries again.
pub fn environment() -> Result<&'static Environment, RuntimeError> {
    ENVIRONMENT.get_or_try_init(|| {
        // Concurrent first calls are serialized by the cell; `ort` must only be asked for one environment.
        static ONCE: Mutex<()> = Mutex::new(());
        let _guard = ONCE.lock().unwrap_or_else(PoisonError::into_inner);

        let path = library();
        let builder =
            ort::init_from(&path).map_err(|e| RuntimeError::Load { path: path.clone(), problem: e.to_string() })?;
        let environment = builder
            .with_name("deepfakescore")
            .with_telemetry(false)
            .with_logger(Arc::new(|level, _category: &str, _id: &str, _location: &str, message: &str| {
                log(level, message);
            }))
            .build()
            .map_err(|e| RuntimeError::Start(e.to_string()))?;
        share_arena(&environment).map_err(|e| RuntimeError::Start(e.to_string()))?;
        Ok(environment)
    })
}

/// Gives the environment one arena of the processor's memory, for all sessions that ask for it by `session.use_env_allocators`. What a run needs is back in it
/// when the run ends, so that the memory of a process grows with the runs at one time, not with the sessions.
fn share_arena(environment: &Environment) -> ort::Result<()> {
    /// The arena grows by what is asked for (`kSameAsRequested`), not to the next power of two.
    const GROW_AS_REQUESTED: i32 = 1;
    const NO_LIMIT: usize = 0;
    const BY_DEFAULT: i32 = -1;
    let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    let mut arena = std::ptr::null_mut();
    // SAFETY: the last argument is where the pointer is to be written.
    ortsys![unsafe CreateArenaCfg(NO_LIMIT, GROW_AS_REQUESTED, BY_DEFAULT, BY_DEFAULT, &mut arena)?];
    // SAFETY: all three live; what is registered is copied out of the last two.
    let registered = unsafe {
        let status = ortsys![CreateAndRegisterAllocator](environment.ptr().cast_mut(), memory.ptr(), arena);
        ort::Error::result_from_status(status)
    };
    // SAFETY: made above, and not used any more.
    ortsys![unsafe ReleaseArenaCfg(arena)];
    registered
}

/// Where the library is: the environment variable, else beside the program, else where the dynamic linker finds it.
fn library() -> PathBuf {
    if let Some(path) = std::env::var_os(LIBRARY_VARIABLE).filter(|p| !p.is_empty()) {
        return path.into();
    }
    let directory = DIRECTORY.read().unwrap_or_else(PoisonError::into_inner).clone();
    directory.as_deref().and_then(newest_in).unwrap_or_else(|| PathBuf::from(SYSTEM_LIBRARY))
}

/// The library in a folder, whether installed under its plain name or with a version.
fn newest_in(directory: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.file_name().and_then(OsStr::to_str).is_some_and(|n| n.starts_with("libonnxruntime.so")))
        .collect();
    found.sort();
    found.pop()
}
