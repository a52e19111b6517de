//! Scores that are kept: one file for a model, a set and a condition, to which each item is added when it is done. What stands in it
//! is never computed again, and a stopped evaluation goes on after the last whole line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};

/// What scores belong to. All of it decides about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// SHA-256 of the model's file and its contract.
    pub model: String,
    /// [`super::Set::digest`].
    pub set: String,
    /// Name of the condition, see [`super::Condition`].
    pub condition: String,
}

/// What a model said of one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Index of the item in its set.
    pub item: usize,
    /// One for each picture or frame.
    pub shots: Vec<Shot>,
}

/// What a model said of one picture or frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shot {
    /// Number of the frame in the video; 0 for a picture.
    pub frame: u64,
    /// Of fake, uncalibrated.
    pub logit: Option<f32>,
    /// Why there is no logit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The kept scores of one [`Key`].
#[derive(Debug)]
pub struct Ledger {
    entries: Vec<Option<Entry>>,
    file: Option<(PathBuf, File)>,
}

impl Ledger {
    /// Reads what is there of `items` items; `folder` is where such files lie, `None` keeps nothing.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read or written.
    pub fn open(folder: Option<&Path>, key: &Key, items: usize) -> Result<Self> {
        let mut entries = vec![None; items];
        let Some(folder) = folder else {
            return Ok(Self { entries, file: None });
        };
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let short = |digest: &str| digest.chars().take(16).collect::<String>();
        let path = folder.join(format!("{}-{}-{}.jsonl", short(&key.model), short(&key.set), key.condition));
        let head = serde_json::to_string(key).map_err(|e| Error::Data(e.to_string()))?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let mut good = 0;
        for (i, line) in text.split_inclusive('\n').enumerate() {
            if !line.ends_with('\n') || (i == 0 && line.trim_end() != head) {
                break;
            }
            if i > 0 {
                let Ok(entry) = serde_json::from_str::<Entry>(line) else { break };
                let Some(place) = entries.get_mut(entry.item) else { break };
                *place = Some(entry);
            }
            good += line.len();
        }
        if good == 0 {
            write_atomically(&path, format!("{head}\n").as_bytes())?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        if good > 0 && good < text.len() {
            file.set_len(good as u64).map_err(Error::io(&path))?;
        }
        Ok(Self { entries, file: Some((path, file)) })
    }

    /// Of those indices, the ones that are not there yet.
    pub fn missing<'a>(&'a self, of: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        of.iter().copied().filter(|&i| self.entries[i].is_none())
    }

    /// What is said of an item.
    pub fn get(&self, item: usize) -> Option<&Entry> {
        self.entries.get(item)?.as_ref()
    }

    /// Adds what was found out about an item.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        if let Some((path, file)) = &mut self.file {
            let mut line = serde_json::to_string(&entry).map_err(|e| Error::Data(e.to_string()))?;
            line.push('\n');
            file.write_all(line.as_bytes()).map_err(Error::io(path))?;
        }
        let item = entry.item;
        self.entries[item] = Some(entry);
        Ok(())
    }
}
