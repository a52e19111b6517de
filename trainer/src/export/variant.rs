//! Smaller files beside an exported one, with what they cost measured on the run's validation faces.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use clap::ValueEnum;
use deepfake_scoring::model::Model;
use deepfake_scoring::onnx::{ModelProto, StringStringEntryProto};
use deepfake_scoring::score::Scorer;
use deepfake_scoring::session::{Provider, SessionOptions};
use prost::Message;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{half, int8};
use crate::checkpoint::{self, RunFolder, write_atomically};
use crate::config::{Config, Export};
use crate::data::{Face, Pictures};
use crate::error::{Error, Result};
use crate::loader::{Loader, Showing};
use crate::net::FAKE;
use crate::{log, metrics, seeded, train};

/// Faces that are scored in one run.
const BATCH: usize = 16;
/// Runs of one face by which speed is told.
const TIMED: usize = 21;
/// How far the mean of a variant's map may be from its logit.
const MAP_MEAN: f64 = 1e-3;

/// A smaller form of an exported network. Input, head, map and logit are 32-bit floats in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// 16-bit floats: half the size; faster on GPUs, slower on CPUs, which have no such convolutions.
    Fp16,
    /// 8-bit convolutions and linear layers, calibrated on training faces: down to a quarter of the size.
    Int8,
}

impl Variant {
    /// As configurations and files name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a variant costs, on the validation faces of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Faces.
    pub faces: usize,
    /// Largest difference of a logit from that of the 32-bit file.
    pub largest: f64,
    /// Mean difference of the logits.
    pub mean: f64,
    /// Standard deviation of the 32-bit file's logits, which says how much a difference means.
    pub spread: f64,
    /// AUC of the 32-bit file.
    pub auc_fp32: f64,
    /// AUC of the variant.
    pub auc: f64,
    /// Largest difference between a logit and the mean of its map, relative where the logit is above 1.
    pub map_mean: f64,
}

/// A variant that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Which one.
    pub variant: Variant,
    /// `NAME.fp16.onnx` beside `NAME.onnx`.
    pub path: PathBuf,
    /// What it costs.
    pub loss: Loss,
    /// Bytes of the 32-bit file and of this one.
    pub bytes: [usize; 2],
    /// Milliseconds of one face on one thread of this machine's CPU, of the 32-bit file and of this one: medians of runs in turns.
    pub milliseconds: [f64; 2],
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Loss { faces, largest, mean, spread, auc_fp32, auc, .. } = self.loss;
        let [whole, small] = self.bytes.map(|b| b as f64 / 1e6);
        let [before, after] = self.milliseconds;
        write!(
            f,
            "{}: logits of {faces} validation faces differ from 32 bits by {mean:.4} in the mean, {largest:.4} at most \
             (standard deviation {spread:.4}); AUC {auc:.4} ({auc_fp32:.4}); {small:.1} MB ({whole:.1}); {after:.2} ms a face on one CPU thread ({before:.2})",
            self.path.display()
        )
    }
}

/// Makes the variants that `wanted` names out of the file `path`, which [`super::export_run`] has written of the run in `folder`.
/// Returns them in the order of `wanted`.
///
/// # Errors
///
/// Faces of the run that are not there any more; a network that has no such variant; a variant that costs more than `wanted` allows,
/// or whose map does not sum to its logit: nothing is written of that one.
pub fn variants(folder: &RunFolder, path: &Path, wanted: &Export) -> Result<Vec<Made>> {
    if wanted.variants.is_empty() {
        return Ok(Vec::new());
    }
    let (config, ..) = checkpoint::open_best(folder)?;
    let mut split = train::split(&config, None)?;
    split.train.shuffle(&mut seeded::generator(config.seed, "calibration faces", &[]));
    split.train.truncate(wanted.calibration_faces);
    let whole = Model::read(path)?;
    let proto = ModelProto::decode(whole.bytes()).map_err(|e| Error::Export(format!("{}: {e}", path.display())))?;
    let mut reference = scorer(&whole)?;
    let validation = Shown::read(&config, split.validation)?;
    let calibration = if wanted.variants.contains(&Variant::Int8) { split.train } else { Vec::new() };
    let calibration = Shown::read(&config, calibration)?;
    let size = reference.spec().width;
    let mut made = Vec::new();
    for &variant in &wanted.variants {
        let mut said = vec![("variant", variant.to_string())];
        let changed = match variant {
            Variant::Fp16 => half::halved(&proto)?,
            Variant::Int8 => {
                said.push(("variant_calibration_faces", calibration.faces.len().to_string()));
                let mut ranges = int8::Calibration::new(&proto)?;
                calibration
                    .each(&config, 1, size, "calibrating int8", |face, _| ranges.add(&[1, 3, size, size], face))?;
                int8::quantized(&proto, ranges.ranges())?
            }
        };
        let name = format!("{}.{variant}", whole.name());
        let file = path.with_file_name(format!("{name}.onnx"));
        let mut small = scorer(&Model::from_bytes(&name, changed.encode_to_vec())?)?;
        let loss = loss(&config, &mut reference, &mut small, &validation, &name)?;
        allowed(&loss, wanted, &name)?;
        said.extend([
            ("variant_faces", loss.faces.to_string()),
            ("variant_largest_difference", format!("{:.4}", loss.largest)),
            ("variant_mean_difference", format!("{:.4}", loss.mean)),
            ("variant_logit_spread", format!("{:.4}", loss.spread)),
            ("variant_auc_fp32", format!("{:.4}", loss.auc_fp32)),
            ("variant_auc", format!("{:.4}", loss.auc)),
        ]);
        let bytes = with_provenance(changed, said).encode_to_vec();
        let milliseconds = in_turns(&mut reference, &mut small)?;
        write_atomically(&file, &bytes)?;
        made.push(Made { variant, path: file, loss, bytes: [whole.bytes().len(), bytes.len()], milliseconds });
    }
    Ok(made)
}

fn scorer(model: &Model) -> Result<Scorer> {
    let options = SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() };
    Ok(Scorer::new(model, None, &options)?)
}

fn with_provenance(mut model: ModelProto, said: Vec<(&str, String)>) -> ModelProto {
    model.metadata_props.extend(
        said.into_iter()
            .map(|(key, value)| StringStringEntryProto { key: Some(format!("provenance.{key}")), value: Some(value) }),
    );
    model
}

/// Readable faces with their pictures.
struct Shown {
    faces: Vec<Face>,
    pictures: Pictures,
}

impl Shown {
    fn read(config: &Config, faces: Vec<Face>) -> Result<Self> {
        let budget = AtomicUsize::new(config.data.cache_mib << 20);
        let bar = log::bar(faces.len(), "reading faces");
        let (faces, pictures) = Pictures::load(faces, &budget, config.data.max_unreadable, &bar)?;
        bar.finish_and_clear();
        Ok(Self { faces, pictures })
    }

    /// Calls `of` for batches of at most `batch` faces, as training validates them: with their tensors `[N, 3, size, size]` and
    /// whether each is fake.
    fn each(
        &self,
        config: &Config,
        batch: usize,
        size: usize,
        what: &'static str,
        mut of: impl FnMut(&[f32], &[bool]) -> Result<()>,
    ) -> Result<()> {
        let loader = Loader::new(config, &self.faces, &self.pictures)?;
        let indices: Vec<usize> = (0..self.faces.len()).collect();
        let bar = log::bar(indices.len(), what);
        for indices in indices.chunks(batch) {
            let loaded = loader.batch(indices, size, Showing::Plain)?;
            let mut planes = Vec::with_capacity(loaded.pixels.len());
            for face in loaded.pixels.chunks_exact(3 * size * size) {
                for channel in 0..3 {
                    planes.extend(face.iter().skip(channel).step_by(3));
                }
            }
            let fake: Vec<bool> = loaded.labels.iter().map(|&column| column == FAKE).collect();
            of(&planes, &fake)?;
            bar.inc(indices.len() as u64);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Scores the same faces with both.
fn loss(config: &Config, reference: &mut Scorer, small: &mut Scorer, faces: &Shown, name: &str) -> Result<Loss> {
    let (mut before, mut after, mut fakes) = (Vec::new(), Vec::new(), Vec::new());
    let mut map_mean = 0.0f64;
    let (size, length) = (reference.spec().width, reference.spec().len());
    faces.each(config, BATCH, size, "measuring the loss", |crops, fake| {
        for (i, crop) in crops.chunks_exact(length).enumerate() {
            reference.crop_mut(i).copy_from_slice(crop);
            small.crop_mut(i).copy_from_slice(crop);
        }
        reference.run(fake.len(), None)?;
        small.run(fake.len(), None)?;
        for i in 0..fake.len() {
            before.push(evidence(reference, i, "the 32-bit file")?.0);
            let (logit, mean) = evidence(small, i, name)?;
            map_mean = map_mean.max((mean - logit).abs() / logit.abs().max(1.0));
            after.push(logit);
        }
        fakes.extend(fake);
        Ok(())
    })?;
    let differences: Vec<f64> = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).collect();
    let auc = |logits: &[f64]| {
        metrics::auc(logits, &fakes)
            .ok_or_else(|| Error::Data("the validation faces that can be read are of one class".to_owned()))
    };
    let count = before.len() as f64;
    let center = before.iter().sum::<f64>() / count;
    Ok(Loss {
        faces: fakes.len(),
        largest: super::largest(differences.iter().copied()),
        mean: differences.iter().sum::<f64>() / count,
        spread: (before.iter().map(|z| (z - center).powi(2)).sum::<f64>() / count).sqrt(),
        auc_fp32: auc(&before)?,
        auc: auc(&after)?,
        map_mean,
    })
}

/// Logit and mean of the map of a face that was run.
fn evidence(scorer: &Scorer, index: usize, name: &str) -> Result<(f64, f64)> {
    let wrong = |why: &str| Error::Export(format!("{name} does not score a validation face: {why}"));
    let evidence = scorer.evidence(index).map_err(|e| wrong(e.name()))?;
    let map = evidence.map.ok_or_else(|| wrong("it has no map"))?;
    let mean = map.values.iter().map(|v| f64::from(*v)).sum::<f64>() / map.values.len() as f64;
    Ok((f64::from(evidence.logit), mean))
}

fn allowed(loss: &Loss, wanted: &Export, name: &str) -> Result<()> {
    let lost = loss.auc_fp32 - loss.auc;
    // Not-a-number is not within.
    let within = |value: f64, most: f64| value <= most;
    if !within(loss.map_mean, MAP_MEAN) {
        return Err(Error::Export(format!("the mean of {name}'s map differs from its logit by {:.2e}", loss.map_mean)));
    }
    if !within(lost, wanted.max_auc_loss) {
        return Err(Error::Export(format!(
            "{name} loses {lost:.4} of the AUC {:.4}, more than `export.max_auc_loss` = {}: it is not written",
            loss.auc_fp32, wanted.max_auc_loss
        )));
    }
    if !within(loss.mean, wanted.max_mean_difference * loss.spread) {
        return Err(Error::Export(format!(
            "{name} moves the logits by {:.4} in the mean, more than `export.max_mean_difference` = {} of their standard \
             deviation {:.4}: it is not written",
            loss.mean, wanted.max_mean_difference, loss.spread
        )));
    }
    Ok(())
}

/// Median milliseconds of one face, both in turns so that whatever else the machine does hits both.
fn in_turns(reference: &mut Scorer, small: &mut Scorer) -> Result<[f64; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..TIMED {
        for (scorer, times) in [&mut *reference, &mut *small].into_iter().zip(&mut times) {
            let started = Instant::now();
            scorer.run(1, None)?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(times.map(|mut t| {
        t.sort_by(f64::total_cmp);
        t[TIMED / 2]
    }))
}
