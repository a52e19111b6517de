//! From the files of a set to logits, through the engine's own locator, cropper and session.

use std::sync::{Mutex, PoisonError};

use deepfake_scoring::contract::{Contract, Crop};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::{self, LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::score::{Evidence, MAX_BATCH, Scorer};
use deepfake_scoring::session::SessionOptions;
use indicatif::ProgressBar;
use rayon::prelude::*;

use super::condition::Condition;
use super::ledger::{Entry, Ledger, Shot};
use super::set::Set;
use crate::config::{Contender, TestKind};
use crate::data::Picture;
use crate::data::sets::Media;
use crate::distort::Distortion;
use crate::error::{Error, Result};
use crate::margin::largest;
use crate::{hash, seeded, video};

/// Pictures or frames that are decoded, cut and scored together: bounds the memory they take.
const CHUNK: usize = 32;

/// A model that is measured.
#[derive(Debug)]
pub struct Judge {
    /// As tables call it.
    pub name: String,
    /// It, ready to run.
    pub scorer: Scorer,
    /// Name of its file.
    pub file: String,
    /// Of its file.
    pub bytes: u64,
    /// SHA-256 of its file and its contract, without calibration, which changes no logit.
    pub digest: String,
}

impl Judge {
    /// How models are run: on all cores, which judges that never run at the same time share.
    pub fn session() -> SessionOptions {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        SessionOptions { threads, ..SessionOptions::default() }.leased()
    }

    /// Loads a model, to be run as `session` says.
    ///
    /// # Errors
    ///
    /// A model that does not load, a contract that does not fit it.
    pub fn open(said: &Contender, session: &SessionOptions) -> Result<Self> {
        use sha2::{Digest, Sha256};
        let contract = match &said.contract {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
                let wrong =
                    |e: deepfake_scoring::contract::ContractError| Error::Data(format!("{}: {e}", path.display()));
                Some(Contract::from_toml(&text).map_err(wrong)?)
            }
            None => None,
        };
        let model = Model::read(&said.file)?;
        let scorer = Scorer::new(&model, contract, session)?;
        let Contract { input, crop, output, .. } = scorer.contract();
        let read = serde_json::to_string(&(input, crop, output)).map_err(|e| Error::Data(e.to_string()))?;
        let digest = hash::hex(Sha256::digest(format!("{}\n{read}", model.sha256())));
        let file = said.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::metadata(&said.file).map_err(Error::io(&said.file))?.len();
        Ok(Self { name: said.name.clone(), scorer, file, bytes, digest })
    }
}

/// Locators for as many threads as ask at a time.
#[derive(Debug)]
pub struct Locators {
    model: Model,
    idle: Mutex<Vec<Locator>>,
}

impl Locators {
    /// Of that ONNX file, or the bundled one.
    ///
    /// # Errors
    ///
    /// A file that is no model.
    pub fn new(model: Option<&std::path::Path>) -> Result<Self> {
        let model = match model {
            Some(path) => Model::read(path)?,
            None => locate::bundled()?,
        };
        Ok(Self { model, idle: Mutex::new(Vec::new()) })
    }

    /// What decides about the boxes they find.
    pub fn digest(&self) -> &str {
        self.model.sha256()
    }

    /// The largest face of a frame.
    fn largest(&self, frame: &FrameView<'_>) -> Result<Option<Rect>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut locator = match idle {
            Some(locator) => locator,
            // One thread each: they run side by side.
            None => Locator::new(&self.model, &SessionOptions::default(), LocateOptions::default())?,
        };
        let mut faces = Vec::new();
        locator.locate(frame, &mut faces)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(locator);
        Ok(largest(&faces, &whole(frame)))
    }
}

fn whole(frame: &FrameView<'_>) -> Rect {
    Rect::new(0.0, 0.0, frame.width() as f32, frame.height() as f32)
}

/// A picture or a frame of a set, decoded.
pub(super) struct Seen {
    /// Number of the frame in the video; 0 for a picture.
    pub(super) frame: u64,
    pixels: Pixels,
    /// Whether the face in it is to be looked for.
    located: bool,
}

/// Pixels as they were decoded, or as a distortion left them.
enum Pixels {
    Picture(Picture),
    Frame(video::Frame),
}

/// Decodes an item and hands its pictures to `look`, one at a time. A video that breaks off has been handed out up to there.
///
/// # Errors
///
/// What cannot be read or decoded, and what `look` returns.
pub(super) fn visit(
    set: &Set,
    item: usize,
    condition: Condition,
    look: &mut dyn FnMut(Seen) -> Result<()>,
) -> Result<()> {
    let path = &set.items[item].path;
    let distorted = |frame: u64, mut picture: Picture, (distortion, level): (Distortion, u8)| {
        // By the file's own name, so that a set which grows keeps the distortions of what it had.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let seed = seeded::mixed(frame, &name, &[u64::from(level)]);
        distortion.apply(level, &mut picture, seed).map(|()| Pixels::Picture(picture))
    };
    match set.media[item] {
        Media::Picture => {
            let picture = Picture::read(path)?;
            let pixels = match condition.0 {
                None => Pixels::Picture(picture),
                Some(how) => distorted(0, picture, how)?,
            };
            look(Seen { frame: 0, pixels, located: set.said.kind == TestKind::Pictures })
        }
        Media::Video => {
            // A video is compressed as one, not frame by frame.
            let crf = match condition.0 {
                Some((Distortion::Compression, level)) => Some(Distortion::Compression.parameter(level)? as u32),
                _ => None,
            };
            for frame in video::spread(path, set.said.frames, video::Options { crf })? {
                let frame = frame?;
                let index = frame.index;
                let pixels = match condition.0 {
                    Some(how) if crf.is_none() => distorted(index, frame.picture()?, how)?,
                    _ => Pixels::Frame(frame),
                };
                look(Seen { frame: index, pixels, located: true })?;
            }
            Ok(())
        }
    }
}

impl Seen {
    /// Lends the pixels to `read`.
    fn with_view<T>(&self, read: impl FnOnce(&FrameView<'_>) -> T) -> Result<T> {
        match &self.pixels {
            Pixels::Picture(Picture { width, height, data }) => Ok(read(&FrameView::rgb(*width, *height, data)?)),
            Pixels::Frame(frame) => frame.with_view(read),
        }
    }

    /// What models see of it, as tensors of the wanted descriptions and crops; `None` where there is no face.
    pub(super) fn cut(&self, locators: &Locators, wanted: &[(TensorSpec, Crop)]) -> Result<Option<Vec<Vec<f32>>>> {
        self.with_view(|frame| {
            let face = if self.located { locators.largest(frame)? } else { None };
            if self.located && face.is_none() {
                return Ok(None);
            }
            let mut cropper = Cropper::default();
            let cut = |(spec, crop): &(TensorSpec, Crop)| {
                let region = face.map_or_else(|| whole(frame), |face| crop.region(&face));
                let mut out = vec![0.0; spec.len()];
                cropper.crop(frame, &region, spec, &mut out)?;
                Ok(out)
            };
            wanted.iter().map(cut).collect::<Result<Vec<_>>>().map(Some)
        })?
    }
}

/// Tensors of one picture or frame, one a judge, or why there are none.
type Tensors = (u64, Result<Vec<Vec<f32>>, String>);

/// Scores what the ledgers (one a judge) lack of `items`, decoding each file once for all judges. `condition` is what is done to a
/// decoded picture before faces are looked for.
///
/// # Errors
///
/// A model that fails to run, a ledger that cannot be written. Files that cannot be read go into the ledgers as such.
pub fn score(
    set: &Set,
    items: &[usize],
    condition: Condition,
    judges: &mut [Judge],
    ledgers: &mut [Ledger],
    locators: &Locators,
    bar: &ProgressBar,
) -> Result<()> {
    let mut left: Vec<usize> = ledgers.iter().flat_map(|l| l.missing(items)).collect();
    left.sort_unstable();
    left.dedup();
    let wanted: Vec<(TensorSpec, Crop)> =
        judges.iter().map(|j| (*j.scorer.spec(), j.scorer.contract().crop.clone())).collect();
    let items_at_a_time = (CHUNK * set.items.len() / set.shots().max(1)).max(rayon::current_num_threads());
    for chunk in left.chunks(items_at_a_time) {
        let cut: Vec<Vec<Tensors>> = chunk
            .par_iter()
            .map(|&item| {
                let mut tensors: Vec<Tensors> = Vec::new();
                let seen = visit(set, item, condition, &mut |seen| {
                    let cut = match seen.cut(locators, &wanted) {
                        Ok(Some(cut)) => Ok(cut),
                        Ok(None) => Err("no face is found in it".to_owned()),
                        Err(error) => Err(error.to_string()),
                    };
                    tensors.push((seen.frame, cut));
                    Ok(())
                });
                if let Err(error) = seen {
                    let frame = tensors.last().map_or(0, |t| t.0 + 1);
                    tensors.push((frame, Err(error.to_string())));
                }
                tensors
            })
            .collect();
        for (which, (judge, ledger)) in judges.iter_mut().zip(ledgers.iter_mut()).enumerate() {
            let logits = run(&mut judge.scorer, which, &cut)?;
            for ((&item, shots), logits) in chunk.iter().zip(&cut).zip(logits) {
                if ledger.get(item).is_some() {
                    continue;
                }
                let shots = shots.iter().zip(logits).map(|((frame, _), said)| match said {
                    Ok(logit) => Shot { frame: *frame, logit: Some(logit), why: None },
                    Err(why) => Shot { frame: *frame, logit: None, why: Some(why) },
                });
                ledger.add(Entry { item, shots: shots.collect() })?;
            }
        }
        bar.inc(chunk.len() as u64);
    }
    Ok(())
}

/// Hands what a model says of each of `items`, face crops that are pictures, to `each`: the index of the item and the evidence.
///
/// # Errors
///
/// A file that cannot be read, a model that fails to run, a face that it has no number for.
pub fn evidence(
    set: &Set,
    items: &[usize],
    judge: &mut Judge,
    each: &mut dyn FnMut(usize, &Evidence<'_>),
) -> Result<()> {
    let spec = *judge.scorer.spec();
    for chunk in items.chunks(MAX_BATCH) {
        let cut = |&item: &usize| -> Result<Vec<f32>> {
            let picture = Picture::read(&set.items[item].path)?;
            let frame = FrameView::rgb(picture.width, picture.height, &picture.data)?;
            let mut out = vec![0.0; spec.len()];
            Cropper::default().crop(&frame, &whole(&frame), &spec, &mut out)?;
            Ok(out)
        };
        let tensors: Vec<Vec<f32>> = chunk.par_iter().map(cut).collect::<Result<_>>()?;
        for (place, tensor) in tensors.iter().enumerate() {
            judge.scorer.crop_mut(place).copy_from_slice(tensor);
        }
        judge.scorer.run(chunk.len(), None)?;
        for (place, &item) in chunk.iter().enumerate() {
            let path = || set.items[item].path.display();
            let said = judge.scorer.evidence(place);
            each(item, &said.map_err(|why| Error::Data(format!("{}: not scored: {}", path(), why.name())))?);
        }
    }
    Ok(())
}

/// Logits of all tensors of a judge, as they are nested.
fn run(scorer: &mut Scorer, which: usize, cut: &[Vec<Tensors>]) -> Result<Vec<Vec<Result<f32, String>>>> {
    let mut said: Vec<Vec<Result<f32, String>>> = cut
        .iter()
        .map(|shots| shots.iter().map(|(_, t)| t.as_ref().map(|_| f32::NAN).map_err(Clone::clone)).collect())
        .collect();
    let tensors: Vec<(usize, usize, &[f32])> = cut
        .iter()
        .enumerate()
        .flat_map(|(i, shots)| {
            shots.iter().enumerate().filter_map(move |(k, (_, t))| Some((i, k, t.as_ref().ok()?[which].as_slice())))
        })
        .collect();
    for batch in tensors.chunks(MAX_BATCH) {
        for (place, (_, _, tensor)) in batch.iter().enumerate() {
            scorer.crop_mut(place).copy_from_slice(tensor);
        }
        scorer.run(batch.len(), None)?;
        for (place, &(i, k, _)) in batch.iter().enumerate() {
            said[i][k] = scorer.evidence(place).map(|e| e.logit).map_err(|why| format!("not scored: {}", why.name()));
        }
    }
    Ok(said)
}
