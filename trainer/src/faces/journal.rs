//! Which videos are done, and what was cut out of them: one JSON object a line, so that a stop in the middle costs one video.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::cutter;
use crate::data::manifest::Row;
use crate::data::sets::Clip;
use crate::error::{Error, Result};

/// A video or picture that is done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Its [`name`].
    pub(super) clip: String,
    /// Its crops.
    pub(super) rows: Vec<Row>,
}

/// What a clip is called here: told by what it is, not by where it lies.
pub(super) fn name(clip: &Clip) -> String {
    cutter::stem(clip)
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Opens it, and reads what is done. A last line that a stop has cut off is taken away.
    pub(super) fn open(path: &Path) -> Result<(Self, BTreeMap<String, Vec<Row>>)> {
        let mut done = BTreeMap::new();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io(path)(e)),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            let Done { clip, rows } =
                serde_json::from_str(line).map_err(|e| Error::checkpoint(path, format!("not a line of ours: {e}")))?;
            done.insert(clip, rows);
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(path))?;
        file.set_len(whole as u64).map_err(Error::io(path))?;
        Ok((Self { path: path.to_owned(), file: Mutex::new(file) }, done))
    }

    /// Adds one, after its crops are written.
    pub(super) fn add(&self, done: Done) -> Result<()> {
        let line = serde_json::to_string(&done).map_err(|e| Error::Data(e.to_string()))?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{line}\n").as_bytes()).map_err(Error::io(&self.path))
    }
}
