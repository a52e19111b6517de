//! What a run tells: people on stderr, programs in `log.jsonl`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::checkpoint::RunFolder;
use crate::error::{Error, Result};

/// The log of a run folder.
pub struct Log {
    file: Mutex<File>,
}

impl Log {
    /// Opens the folder's `log.jsonl`, to append to it, and holds it for this run alone.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another run holds it.
    pub fn new(folder: &RunFolder) -> Result<Self> {
        let path = folder.log();
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::checkpoint(&path, "another run is writing to this folder"),
            TryLockError::Error(error) => Error::io(&path)(error),
        })?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// To people and programs.
    pub fn say(&self, text: &str, record: Value) {
        tracing::info!("{text}");
        self.note(record);
    }

    /// To programs only. A log that cannot be written does not end a run, but is told.
    pub fn note(&self, mut record: Value) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        record["time"] = now.into();
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{record}") {
            tracing::warn!("log.jsonl: {error}");
        }
    }
}

/// A progress bar with the time left; hidden where stderr is no terminal.
pub fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {per_sec} left {eta} {msg}");
    let bar = ProgressBar::new(length as u64).with_prefix(what);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
