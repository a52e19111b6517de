//! Steps that are done once: what went in and what came out is kept by content hash, so that a step is done again when, and only when,
//! something that it reads has changed or something that it wrote is no longer what it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};
use crate::hash;
use crate::log::Log;

/// Files that tell how something was made, not what it is: they differ from run to run.
const NOT_HASHED: [&str; 3] = ["log.jsonl", "checkpoint.safetensors", "config.json"];

/// What a step writes; all relative to the work folder.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// What is moved aside where it was made of something else.
    pub(super) own: &'p [&'p str],
    /// The files and folders that the step is known by.
    pub(super) outputs: &'p [&'p str],
}

impl<'p> Place<'p> {
    /// A step that is known by all that it writes.
    pub(super) const fn of(outputs: &'p [&'p str]) -> Self {
        Self { own: outputs, outputs }
    }
}

/// What is known of one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    /// Hash of all that it read, as of the last time that it was begun.
    begun_with: String,
    /// Hash of each of its outputs; empty while the step is not at its end.
    outputs: BTreeMap<PathBuf, String>,
    /// How long it took in the call that ended it.
    seconds: f64,
}

/// The steps of a work folder.
pub(super) struct Steps<'a> {
    work: &'a Path,
    log: &'a Log,
    done: BTreeMap<String, Done>,
}

impl<'a> Steps<'a> {
    /// What earlier calls left in `work`.
    ///
    /// # Errors
    ///
    /// A record that cannot be read.
    pub(super) fn read(work: &'a Path, log: &'a Log) -> Result<Self> {
        let path = record(work);
        let done = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| Error::checkpoint(&path, e.to_string()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(Error::io(&path)(e)),
        };
        Ok(Self { work, log, done })
    }

    /// Does the step unless it is up to date: it read `inputs` (hashes or other words) and the outputs of
    /// `place` are as it left them. A step that was begun with the same inputs goes on where it was stopped; what one with
    /// other inputs left behind is moved to `old/` first. Returns one hash over all outputs.
    ///
    /// # Errors
    ///
    /// What `work` returns; an output that was not made; files that cannot be read, written or moved.
    pub(super) fn step(
        &mut self,
        name: &str,
        inputs: &[&str],
        place: Place<'_>,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<String> {
        let Place { own, outputs } = place;
        let begun_with = joined(inputs);
        let before = self.done.get(name);
        let same = before.is_some_and(|d| d.begun_with == begun_with);
        if let Some(done) = before.filter(|d| same && !d.outputs.is_empty())
            && self.hashes(outputs)?.as_ref() == Some(&done.outputs)
        {
            self.log.say(&format!("{name}: up to date"), json!({"event": "up_to_date", "name": name}));
            return Ok(joined(done.outputs.values()));
        }
        if !same {
            self.move_aside(name, own)?;
        }
        self.done.insert(name.to_owned(), Done { begun_with: begun_with.clone(), ..Done::default() });
        self.write()?;
        self.log.say(&format!("{name}: begins"), json!({"event": "begin", "name": name}));
        let started = Instant::now();
        work()?;
        let seconds = started.elapsed().as_secs_f64();
        let Some(outputs) = self.hashes(outputs)? else {
            return Err(Error::Data(format!("{name}: an output is missing after the step")));
        };
        let whole = joined(outputs.values());
        self.done.insert(name.to_owned(), Done { begun_with, outputs, seconds });
        self.write()?;
        let text = format!("{name}: done in {seconds:.0} s");
        self.log.say(&text, json!({"event": "end", "name": name, "seconds": seconds}));
        Ok(whole)
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.done).map_err(|e| Error::Data(e.to_string()))?;
        write_atomically(&record(self.work), &text)
    }

    /// `None` where one of them is missing.
    fn hashes(&self, outputs: &[&str]) -> Result<Option<BTreeMap<PathBuf, String>>> {
        let mut hashes = BTreeMap::new();
        for output in outputs {
            let path = self.work.join(output);
            if !path.exists() {
                return Ok(None);
            }
            hashes.insert(PathBuf::from(output), hash_of(&path)?);
        }
        Ok(Some(hashes))
    }

    fn move_aside(&self, name: &str, own: &[&str]) -> Result<()> {
        let there: Vec<_> = own.iter().filter(|o| self.work.join(o).exists()).collect();
        if there.is_empty() {
            return Ok(());
        }
        let aside = (1..)
            .map(|n| self.work.join("old").join(format!("{name}-{n}")))
            .find(|p| !p.exists())
            .ok_or_else(|| Error::Data("`old/` is full".to_owned()))?;
        for output in there {
            let to = aside.join(output);
            let parent = to.parent().unwrap_or(&aside);
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
            std::fs::rename(self.work.join(output), &to).map_err(Error::io(&to))?;
        }
        let text = format!("{name}: something that it reads has changed; what was there is now in {}", aside.display());
        self.log.say(&text, json!({"event": "stale", "name": name, "moved_to": aside}));
        Ok(())
    }
}

fn record(work: &Path) -> PathBuf {
    work.join("steps.json")
}

/// One hash over several words, in their order.
pub(super) fn joined(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut hash = Sha256::new();
    for word in words {
        let word = word.as_ref();
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word);
    }
    hash::hex(hash.finalize())
}

/// Hash of a file's bytes, or of the names and bytes of all files below a folder.
///
/// # Errors
///
/// What cannot be read.
pub(super) fn hash_of(path: &Path) -> Result<String> {
    if !path.is_dir() {
        return hash::file(path);
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        names.push(entry.map_err(Error::io(path))?.file_name());
    }
    names.sort();
    let mut words = Vec::new();
    for name in names.iter().filter(|n| !NOT_HASHED.iter().any(|left_out| *n == left_out)) {
        words.push(name.to_string_lossy().into_owned());
        words.push(hash_of(&path.join(name))?);
    }
    Ok(joined(words))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::checkpoint::RunFolder;

    #[test]
    fn a_step_is_done_when_something_changed_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path();
        let log = Log::new(&RunFolder::new(work).unwrap()).unwrap();
        let count = Cell::new(0);
        let run = |input: &str| {
            let mut steps = Steps::read(work, &log).unwrap();
            steps.step("double", &[input], Place::of(&["out"]), || {
                count.set(count.get() + 1);
                std::fs::create_dir_all(work.join("out")).unwrap();
                std::fs::write(work.join("out/log.jsonl"), count.get().to_string()).unwrap();
                std::fs::write(work.join("out/doubled"), format!("{input}{input}")).unwrap();
                Ok(())
            })
        };
        let first = run("a").unwrap();
        assert_eq!((run("a").unwrap(), count.get()), (first.clone(), 1));
        // Another input.
        assert_ne!(run("b").unwrap(), first);
        assert_eq!(count.get(), 2);
        assert_eq!(std::fs::read_to_string(work.join("old/double-1/out/doubled")).unwrap(), "aa");
        // An output that is not what it was, or gone.
        std::fs::write(work.join("out/doubled"), "x").unwrap();
        run("b").unwrap();
        std::fs::remove_dir_all(work.join("out")).unwrap();
        run("b").unwrap();
        assert_eq!(count.get(), 4);
        run("b").unwrap();
        assert_eq!(count.get(), 4);
    }

    #[test]
    fn a_step_that_failed_goes_on_in_what_it_left() {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path();
        let log = Log::new(&RunFolder::new(work).unwrap()).unwrap();
        let out = work.join("out");
        let mut steps = Steps::read(work, &log).unwrap();
        let failed = steps.step("s", &["a"], Place::of(&["out"]), || {
            std::fs::write(&out, "half").unwrap();
            Err(Error::Data("stopped".to_owned()))
        });
        assert!(failed.is_err());
        let mut steps = Steps::read(work, &log).unwrap();
        steps
            .step("s", &["a"], Place::of(&["out"]), || {
                assert_eq!(std::fs::read_to_string(&out).unwrap(), "half");
                std::fs::write(&out, "whole").unwrap();
                Ok(())
            })
            .unwrap();
        assert!(!work.join("old").exists());
        let silent = steps.step("silent", &[], Place::of(&["nothing"]), || Ok(()));
        assert!(silent.unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn words_do_not_run_together() {
        assert_ne!(joined(["ab", "c"]), joined(["a", "bc"]));
    }
}
