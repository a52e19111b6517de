//! From videos and pictures to face crops, with the plugin's own locator and cropper: what is trained on is what is scored.
//!
//! The folder gets `real/` and `fake/` with the crops, `manifest.csv` ([`crate::data::manifest`]), `log.jsonl`, and `faces.json`, which says how
//! they were cut. `videos.jsonl` tells which videos are done: a run that was stopped goes on after them.

mod cutter;
mod journal;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use deepfake_scoring::locate::{self, LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::session::SessionOptions;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::checkpoint::{RunFolder, write_atomically};
use crate::config::{Config, Crop, Faces};
use crate::data::manifest::{self, Row};
use crate::data::sets::{self, Clip};
use crate::error::{Error, Result};
use crate::log::{self, Log};
use cutter::Cutter;
use journal::{Done, Journal};

/// How the crops of a folder were cut.
const SETTINGS: &str = "faces.json";

/// What a cut came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Videos and pictures in all.
    pub clips: usize,
    /// Those that were done before.
    pub earlier: usize,
    /// Crops in the folder.
    pub faces: usize,
    /// Videos and pictures in which no face was found.
    pub faceless: Vec<String>,
    /// Those that could not be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Whether all were gone through; otherwise [`Limits`] stopped it.
    pub finished: bool,
}

/// Where to stop before the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// After so many videos and pictures of this call.
    pub clips: Option<usize>,
}

/// Cuts the faces of `config.data.sets` into the folder `out`, as the table `faces` says (its defaults, where there is none). Called again, it
/// goes on where it was stopped, and tries again what could not be read.
///
/// # Errors
///
/// Sets that are not laid out as they should be; a folder that holds faces cut in another way; a locator that does not load or run; more
/// unreadable files than `data.max_unreadable`; no face at all; files that cannot be written.
pub fn cut(config: &Config, out: &Path, limits: Limits) -> Result<Outcome> {
    let wish = config.faces.clone().unwrap_or_default();
    if config.data.sets.is_empty() {
        let text = "nothing to cut: name the videos in `data.sets`, such as sets = [{ root = \"videos\" }]";
        return Err(Error::Data(text.to_owned()));
    }
    let folder = RunFolder::new(out)?;
    let log = Log::new(&folder)?;
    let clips = sets::list(&config.data.sets)?;
    unique(&clips)?;
    let first = locator(&wish)?;
    let text = format!("faces are looked for by {} on the {}", first.name(), first.provider().name());
    log.say(&text, json!({"event": "locator", "name": first.name(), "sha256": first.digest()}));
    settle(out, &Settings::new(&wish, &first))?;
    for label in ["real", "fake"] {
        let class = out.join(label);
        std::fs::create_dir_all(&class).map_err(Error::io(&class))?;
    }
    let (journal, done) = Journal::open(&out.join("videos.jsonl"))?;
    let todo: Vec<&Clip> = clips.iter().filter(|c| !done.contains_key(&journal::name(c))).collect();
    let earlier = clips.len() - todo.len();
    if earlier > 0 {
        log.say(&format!("{earlier} of {} are done already", clips.len()), json!({"event": "resume", "done": earlier}));
    }
    let todo = &todo[..limits.clips.unwrap_or(usize::MAX).min(todo.len())];
    let (new, unreadable) = work(todo, &wish, first, out, &log, &journal)?;

    let mut all: BTreeMap<String, Vec<Row>> = done;
    all.extend(new);
    let finished = earlier + todo.len() == clips.len();
    let (mut rows, mut faceless) = (Vec::new(), Vec::new());
    for clip in &clips {
        match all.get(&journal::name(clip)) {
            Some(found) if found.is_empty() => faceless.push(clip.path.display().to_string()),
            // What the sets say now: their sides and groups may have become known since.
            Some(found) => rows.extend(found.iter().map(|row| cutter::about(clip, row.clone()))),
            None => {}
        }
    }
    manifest::write(out, &rows)?;
    let outcome = Outcome { clips: clips.len(), earlier, faces: rows.len(), faceless, unreadable, finished };
    log.say(&outcome.to_string(), json!({"event": "done", "outcome": outcome}));
    for path in &outcome.faceless {
        log.note(json!({"event": "faceless", "path": path}));
    }
    if outcome.unreadable.len() as f64 > config.data.max_unreadable * clips.len() as f64 {
        let (path, why) = &outcome.unreadable[0];
        return Err(Error::Data(format!(
            "{} of {} videos and pictures cannot be read, more than `data.max_unreadable` = {}: {path} ({why}){}",
            outcome.unreadable.len(),
            clips.len(),
            config.data.max_unreadable,
            if outcome.unreadable.len() > 1 { ", ..." } else { "" }
        )));
    }
    if finished && rows.is_empty() {
        return Err(Error::Data(format!(
            "no face of at least {} pixels is found in any of {} videos and pictures",
            wish.min_face,
            clips.len()
        )));
    }
    Ok(outcome)
}

/// The configuration that trains on what [`cut`] has put into `out`: its sets are replaced by that folder.
pub fn applied(config: &Config, out: &Path) -> Config {
    let mut config = config.clone();
    config.data.sets.clear();
    config.data.folders.push(out.to_owned());
    config
}

/// Refuses to train with another crop in the contract than that of faces which were cut here.
///
/// # Errors
///
/// A folder of `data.folders` that was cut in another way than `crop` says.
pub fn check_crop(config: &Config) -> Result<()> {
    for folder in &config.data.folders {
        let Some(settings) = Settings::read(folder)? else { continue };
        let Crop { margin, shift_y } = config.crop;
        if (settings.margin, settings.shift_y) != (margin, shift_y) {
            return Err(Error::Data(format!(
                "the faces of {} were cut with the margin {} and the shift {}, but the model would say {margin} and {shift_y}: put \
                 that into `crop.margin` and `crop.shift_y`",
                folder.display(),
                settings.margin,
                settings.shift_y
            )));
        }
    }
    Ok(())
}

/// All that changes a crop.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    margin: f32,
    shift_y: f32,
    /// SHA-256 of the locator.
    locator: String,
    /// The table `faces` without what does not change the result.
    faces: Faces,
}

impl Settings {
    fn new(wish: &Faces, locator: &Locator) -> Self {
        let faces = Faces { threads: 0, face_model: None, ..wish.clone() };
        Self { margin: wish.margin, shift_y: wish.shift_y, locator: locator.digest().to_owned(), faces }
    }

    fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(SETTINGS);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        serde_json::from_str(&text).map(Some).map_err(|e| Error::checkpoint(&path, e.to_string()))
    }
}

/// Notes the settings in a new folder, and holds an old one to them.
fn settle(out: &Path, settings: &Settings) -> Result<()> {
    let path = out.join(SETTINGS);
    match Settings::read(out)? {
        Some(earlier) if earlier != *settings => Err(Error::checkpoint(
            &path,
            "its faces were cut with other settings or another locator: choose another folder",
        )),
        Some(_) => Ok(()),
        None => {
            let text = serde_json::to_vec_pretty(settings).map_err(|e| Error::Data(e.to_string()))?;
            write_atomically(&path, &text)
        }
    }
}

/// The locator that the table asks for.
fn locator(wish: &Faces) -> Result<Locator> {
    let options = LocateOptions { confidence: wish.confidence, max_side: wish.max_side, ..LocateOptions::default() };
    let model = match &wish.face_model {
        Some(path) => Model::read(path)?,
        None => locate::bundled()?,
    };
    Ok(Locator::new(&model, &SessionOptions::default(), options)?)
}

/// Two clips of one name would write over each other's crops.
fn unique(clips: &[Clip]) -> Result<()> {
    let mut names: BTreeMap<String, &Clip> = BTreeMap::new();
    for clip in clips {
        if let Some(other) = names.insert(cutter::stem(clip), clip) {
            return Err(Error::Data(format!(
                "{} and {} would get crops of one name: give their sets different `name`s, or the files",
                other.path.display(),
                clip.path.display()
            )));
        }
    }
    Ok(())
}

type New = (BTreeMap<String, Vec<Row>>, Vec<(String, String)>);

/// Cuts the clips, several at a time.
fn work(todo: &[&Clip], wish: &Faces, first: Locator, out: &Path, log: &Log, journal: &Journal) -> Result<New> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if wish.threads == 0 { cores } else { wish.threads }.min(todo.len().max(1));
    let mut locators = vec![first];
    for _ in 1..threads {
        locators.push(locator(wish)?);
    }
    let bar = log::bar(todo.len(), "cutting faces");
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let found: Mutex<New> = Mutex::default();
    let failure: Mutex<Option<Error>> = Mutex::default();
    std::thread::scope(|scope| {
        for locator in locators {
            scope.spawn(|| {
                let mut cutter = Cutter::new(locator, wish, out);
                while !stop.load(Ordering::Relaxed)
                    && let Some(clip) = todo.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let path = clip.path.display().to_string();
                    let result = match cutter.cut(clip) {
                        Ok(rows) => journal.add(Done { clip: journal::name(clip), rows: rows.clone() }).map(|()| {
                            log.note(json!({"event": "clip", "path": path, "faces": rows.len()}));
                            found.lock().unwrap_or_else(PoisonError::into_inner).0.insert(journal::name(clip), rows);
                        }),
                        Err(error @ (Error::Video { .. } | Error::Picture { .. })) => {
                            bar.suspend(|| tracing::warn!("left out: {error}"));
                            log.note(json!({"event": "unreadable", "path": path, "problem": error.to_string()}));
                            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                            found.1.push((path, error.to_string()));
                            Ok(())
                        }
                        Err(error) => Err(error),
                    };
                    if let Err(error) = result {
                        stop.store(true, Ordering::Relaxed);
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let (rows, mut unreadable) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    unreadable.sort();
    Ok((rows, unreadable))
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} faces of {} videos and pictures; {} show no face, {} cannot be read{}",
            self.faces,
            self.clips,
            self.faceless.len(),
            self.unreadable.len(),
            if self.finished { "" } else { "; stopped before the end" }
        )
    }
}
