//! A folder of real faces and the pseudo-fakes made of them, as training reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::place::COLUMNS;
use super::{Made, Place, Places, Recipe, Synthesizer};
use crate::checkpoint::{RunFolder, write_atomically};
use crate::config::{Config, Sources};
use crate::data::{self, Face, Label, Picture};
use crate::error::{Error, Result};
use crate::hash;
use crate::log::{self, Log};
use crate::seeded;
use crate::sheet::{Sheet, write_png};

/// Says where each file's face is.
const MANIFEST: &str = "manifest.csv";
/// Says what the folder was made of and how.
const STATE: &str = "synthesize.json";
/// Pictures that a thread takes at once: loading a locator takes as long as using it on some.
const AT_ONCE: usize = 16;
/// Pixels of a cell of the contact sheet.
const CELL: usize = 224;

/// What a folder of pseudo-fakes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Real pictures: faces as they are, and those that were changed together with their fake.
    pub real: usize,
    /// Pseudo-fakes.
    pub fake: usize,
    /// Of those, made by this call; the others were there.
    pub made: usize,
    /// Faces whose landmarks are known; the masks of the others are ellipses.
    pub landmarks: usize,
    /// Pictures that cannot be read.
    pub unreadable: usize,
}

/// A real face and what its files are called.
struct Original {
    face: Face,
    source: String,
    /// What a name says after its source.
    rest: String,
}

/// Makes `out/real` and `out/fake` of the real faces that `config` names, with `manifest.csv`, `sheet.png` and `log.jsonl` beside them. Run
/// again with the same faces and settings, it makes what is missing. What is made of a face depends on its name, its contents and the
/// configuration, on nothing else.
///
/// A real face and its pseudo-fakes share their source. Where a recipe changes the target, the changed real face is written, because
/// that is what its pseudo-fake differs from by nothing but the blending; else the face's own file is linked (copied where it cannot be).
///
/// # Errors
///
/// Faces that cannot be read, files that cannot be written, a locator that fails, a folder made of other faces or with other settings.
pub fn make(config: &Config, out: &Path) -> Result<Done> {
    let settings = &config.synthesize;
    let folders = if settings.faces.is_empty() { &config.data.folders } else { &settings.faces };
    let originals = named(spread(data::reals(folders)?, settings.limit), settings.sources)?;
    for label in [Label::Real, Label::Fake] {
        let class = out.join(label.folder());
        std::fs::create_dir_all(&class).map_err(Error::io(&class))?;
    }
    let folder = RunFolder::new(out)?;
    let log = Log::new(&folder)?;
    claim(out, &digest(config, &originals)?)?;
    let (words, per_face) = (format!("{} real faces, on the CPU", originals.len()), settings.per_face);
    log.say(&words, json!({"event": "begin", "faces": originals.len(), "per_face": per_face, "device": "cpu"}));

    let bar = log::bar(originals.len(), "making pseudo-fakes");
    let (made, unreadable) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = rayon::ThreadPoolBuilder::new().num_threads(config.run.loader_threads).build();
    let threads = threads.map_err(|e| Error::Data(format!("threads that make pseudo-fakes: {e}")))?;
    let files: Vec<Vec<File>> = threads.install(|| {
        let chunks = originals.par_chunks(AT_ONCE).map(|chunk| {
            let mut maker = Maker::new(config)?;
            let mut files = Vec::new();
            for original in chunk {
                match Picture::read(&original.face.path) {
                    Ok(picture) => files.extend(maker.files(original, &picture, out, &made)?),
                    Err(error) => {
                        unreadable.fetch_add(1, Ordering::Relaxed);
                        bar.suspend(|| tracing::warn!("left out: {error}"));
                    }
                }
                bar.inc(1);
            }
            Ok(files)
        });
        chunks.collect::<Result<_>>()
    })?;
    bar.finish_and_clear();
    let (made, unreadable) = (made.into_inner(), unreadable.into_inner());
    if unreadable as f64 > config.data.max_unreadable * originals.len() as f64 {
        let (all, most) = (originals.len(), config.data.max_unreadable);
        let text = format!("{unreadable} of {all} pictures cannot be read, more than `data.max_unreadable` = {most}");
        return Err(Error::Data(text));
    }
    let files = files.concat();
    write_manifest(&out.join(MANIFEST), &files)?;
    if settings.sheet > 0 {
        sheet(config, &originals)?.write(&out.join("sheet.png"))?;
    }
    let count = |label| files.iter().filter(|f| f.label == label).count();
    let sources = |f: &&File| matches!(f.place, Place::Landmarks(_));
    let landmarks = files.iter().filter(sources).map(|f| &f.made_of).collect::<BTreeSet<_>>().len();
    let done = Done { real: count(Label::Real), fake: count(Label::Fake), made, landmarks, unreadable };
    let words = format!(
        "{} pseudo-fakes ({made} made now) and {} real faces; landmarks of {landmarks} of {} faces",
        done.fake,
        done.real,
        originals.len()
    );
    let record = json!({"event": "done", "fake": done.fake, "real": done.real, "made": made, "landmarks": landmarks,
        "unreadable": unreadable});
    log.say(&words, record);
    Ok(done)
}

/// A file of the folder.
#[derive(Clone)]
struct File {
    name: String,
    label: Label,
    source: String,
    video: String,
    /// The real face's file.
    made_of: PathBuf,
    place: Place,
    size: [usize; 2],
}

/// One thread's tools.
struct Maker<'a> {
    config: &'a Config,
    places: Places,
    synthesizer: Synthesizer,
}

impl<'a> Maker<'a> {
    fn new(config: &'a Config) -> Result<Self> {
        Ok(Self { config, places: Places::new(config)?, synthesizer: Synthesizer::default() })
    }

    fn recipe(&self, original: &Original, number: usize) -> Recipe {
        let name = format!("{}{}", original.source, original.rest);
        let mut numbers: Vec<u64> = name.bytes().map(u64::from).collect();
        numbers.push(number as u64);
        Recipe::draw(&self.config.synthesize, &mut seeded::generator(self.config.seed, "synthesize", &numbers))
    }

    fn made(&mut self, original: &Original, picture: &Picture, number: usize) -> Result<Made> {
        let place = self.places.of(&original.face.path, picture)?;
        self.synthesizer.make(picture, &place, &self.recipe(original, number))
    }

    /// Writes what is missing of one face.
    fn files(&mut self, original: &Original, picture: &Picture, out: &Path, made: &AtomicUsize) -> Result<Vec<File>> {
        let Original { face, source, rest } = original;
        let place = self.places.of(&face.path, picture)?;
        let file = |label: Label, name: String| File {
            video: data::video_of(name.rsplit_once('.').map_or(&name, |(stem, _)| stem)).to_owned(),
            name: format!("{}/{name}", label.folder()),
            label,
            source: source.clone(),
            made_of: face.path.clone(),
            place,
            size: [picture.width, picture.height],
        };
        let mut files = Vec::new();
        let mut unchanged = false;
        for number in 0..self.config.synthesize.per_face {
            let recipe = self.recipe(original, number);
            let fake = file(Label::Fake, format!("{source}_sbi{number}{rest}.png"));
            let target = recipe.changes_target().then(|| file(Label::Real, format!("{source}_real{number}{rest}.png")));
            unchanged |= target.is_none();
            // The fake is written last: where it is, its target is too.
            if !out.join(&fake.name).exists() {
                let done = self.synthesizer.make(picture, &place, &recipe)?;
                if let Some(target) = &target {
                    write_png(&done.target, &out.join(&target.name))?;
                }
                write_png(&done.fake, &out.join(&fake.name))?;
                made.fetch_add(1, Ordering::Relaxed);
            }
            files.push(fake);
            files.extend(target);
        }
        if unchanged {
            let extension = face.path.extension().unwrap_or_default().to_string_lossy();
            let real = file(Label::Real, format!("{source}{rest}.{extension}"));
            link(&face.path, &out.join(&real.name))?;
            files.push(real);
        }
        Ok(files)
    }
}

/// Faces, evenly spread, no more than `limit`; 0 means all.
fn spread(faces: Vec<Face>, limit: usize) -> Vec<Face> {
    let every = if limit == 0 { 1 } else { faces.len().div_ceil(limit).max(1) };
    faces.into_iter().step_by(every).collect()
}

/// Names for the faces' files.
fn named(faces: Vec<Face>, sources: Sources) -> Result<Vec<Original>> {
    let mut taken = BTreeMap::new();
    let mut originals = Vec::with_capacity(faces.len());
    for face in faces {
        let stem = face.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (source, rest) = match sources {
            Sources::File => (stem.replace('_', "-"), String::new()),
            Sources::Name => {
                let (source, rest) = stem.split_at(stem.find('_').unwrap_or(stem.len()));
                (source.to_owned(), rest.to_owned())
            }
        };
        if let Some(other) = taken.insert(format!("{source}{rest}"), face.path.clone()) {
            let (one, other) = (face.path.display(), other.display());
            return Err(Error::Data(format!("{one} and {other} would get the same name: rename one of them")));
        }
        originals.push(Original { face, source, rest });
    }
    Ok(originals)
}

/// SHA-256 of all that the folder's contents depend on.
fn digest(config: &Config, originals: &[Original]) -> Result<String> {
    let of_fakes = (config.seed, config.synthesize.of_fakes(), config.synthesize.per_face, &config.crop);
    let mut hash = Sha256::new_with_prefix(serde_json::to_string(&of_fakes).map_err(|e| Error::Data(e.to_string()))?);
    for Original { face, source, rest } in originals {
        hash.update(hash::contents(&face.path, Sha256::new_with_prefix(format!("{source}{rest}")))?);
    }
    Ok(hash::hex(hash.finalize()))
}

/// Takes the folder for that digest; one of another is refused.
fn claim(out: &Path, digest: &str) -> Result<()> {
    let path = out.join(STATE);
    let wanted = json!({"digest": digest}).to_string();
    match std::fs::read_to_string(&path) {
        Ok(found) if found == wanted => Ok(()),
        Ok(_) => Err(Error::checkpoint(
            &path,
            "is of other faces or of other settings: choose another folder, or delete this one",
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_atomically(&path, wanted.as_bytes()),
        Err(error) => Err(Error::io(&path)(error)),
    }
}

fn link(from: &Path, to: &Path) -> Result<()> {
    if to.exists() || std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    std::fs::copy(from, to).map(|_| ()).map_err(Error::io(to))
}

fn write_manifest(path: &Path, files: &[File]) -> Result<()> {
    let broken = |e: &dyn std::fmt::Display| Error::checkpoint(path, e.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = ["path", "label", "source", "video", "made_of"].into_iter().chain(COLUMNS);
    writer.write_record(head).map_err(|e| broken(&e))?;
    let mut sorted: Vec<&File> = files.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for file in sorted {
        let points = match &file.place {
            Place::Landmarks(points) => {
                let [w, h] = file.size.map(|n| n as f32);
                points.iter().flat_map(|p| [p.x * w, p.y * h]).map(|v| format!("{v:.2}")).collect()
            }
            Place::Box(_) => vec![String::new(); COLUMNS.len()],
        };
        let made_of = file.made_of.to_string_lossy().into_owned();
        let label = file.label.folder().to_owned();
        let row = [file.name.clone(), label, file.source.clone(), file.video.clone(), made_of];
        writer.write_record(row.into_iter().chain(points)).map_err(|e| broken(&e))?;
    }
    write_atomically(path, &writer.into_inner().map_err(|e| broken(&e))?)
}

/// The landmarks that a folder's manifest tells, by file: none where there is no manifest, or one without the columns.
pub(super) fn landmarks(folder: &Path) -> Result<HashMap<String, [f32; 10]>> {
    let path = folder.join(MANIFEST);
    let broken = |e: &dyn std::fmt::Display| Error::checkpoint(&path, e.to_string());
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let head = reader.headers().map_err(|e| broken(&e))?.clone();
    let column = |name: &str| head.iter().position(|h| h == name);
    let (Some(file), Some(columns)) = (column("path"), COLUMNS.map(column).into_iter().collect::<Option<Vec<_>>>())
    else {
        return Ok(HashMap::new());
    };
    let mut told = HashMap::new();
    for row in reader.records() {
        let row = row.map_err(|e| broken(&e))?;
        let values: Option<Vec<f32>> =
            columns.iter().map(|&c| row.get(c)?.parse().ok().filter(|v: &f32| v.is_finite())).collect();
        if let (Some(name), Some(Ok(values))) = (row.get(file), values.map(<[f32; 10]>::try_from)) {
            told.insert(name.to_owned(), values);
        }
    }
    Ok(told)
}

/// Rows of real face, source, mask and pseudo-fake, evenly spread over the faces.
fn sheet(config: &Config, originals: &[Original]) -> Result<Sheet> {
    let mut sheet = Sheet::new(CELL, 4);
    let mut maker = Maker::new(config)?;
    let every = originals.len().div_ceil(config.synthesize.sheet).max(1);
    for original in originals.iter().step_by(every) {
        // Those that cannot be read have been named.
        let Ok(picture) = Picture::read(&original.face.path) else {
            continue;
        };
        let made = maker.made(original, &picture, 0)?;
        let gray = made.mask.iter().flat_map(|v| [(v * 255.0).round() as u8; 3]).collect();
        let mask = Picture { width: picture.width, height: picture.height, data: gray };
        for cell in [&made.target, &made.source, &mask, &made.fake] {
            sheet.push(cell)?;
        }
    }
    Ok(sheet)
}
