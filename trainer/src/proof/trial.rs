//! One run of an experiment, from its configuration to its scores.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::results::{Attention, Outcome, Scores};
use crate::checkpoint::RunFolder;
use crate::config::{Config, Contender, Regularization, Trial};
use crate::data::Label;
use crate::error::{Error, Result};
use crate::evaluate::{self, Judge, Set};
use crate::maps::Index;
use crate::{checkpoint, export, hash, localize, train, zoo};

/// SHA-256 of all that decides about the weights of a run but its faces: its configuration and, where it erases by maps, those of the
/// zoo that they are of.
pub fn recipe(config: &Config, first_seed: u64) -> String {
    let mut parts = vec![config.digest()];
    if erases(config) {
        parts.extend(zoo_parts(&of_zoo(config, first_seed)));
    }
    hash::hex(Sha256::digest(parts.join("\n")))
}

/// Whether a part of the face is erased.
fn erases(config: &Config) -> bool {
    config.regularize.kind != Regularization::None
}

/// The configuration of the zoo: once for all seeds.
fn of_zoo(config: &Config, first_seed: u64) -> Config {
    Config { seed: first_seed, ..config.clone() }
}

fn zoo_parts(config: &Config) -> Vec<String> {
    let members = config.zoo.members.iter().map(|m| format!("{} {}", m.name(), m.config(config).digest()));
    // Made of what JSON has.
    let localize = serde_json::to_string(&config.localize.of_maps()).unwrap_or_default();
    members.chain([localize]).collect()
}

/// The first letters of a hash over those parts: a folder's name.
fn short(parts: &[String]) -> String {
    let mut name = hash::hex(Sha256::digest(parts.join("\n")));
    name.truncate(12);
    name
}

/// Where a trial is worked on.
pub(super) struct Bench<'a> {
    /// Folder of weights, zoos and maps.
    pub work: &'a Path,
    /// Of the zoo.
    pub first_seed: u64,
}

/// Held by the process that works in a folder, as long as it is there.
pub(super) struct Held(#[allow(dead_code)] File);

/// Holds `folder`; `None` where another process does, unless `wait` says to wait for that one.
///
/// # Errors
///
/// A folder that cannot be made or locked.
pub(super) fn hold(folder: &Path, wait: bool) -> Result<Option<Held>> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(".held");
    let file = File::create(&path).map_err(Error::io(&path))?;
    if wait {
        file.lock().map_err(Error::io(&path))?;
        return Ok(Some(Held(file)));
    }
    match file.try_lock() {
        Ok(()) => Ok(Some(Held(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
    }
}

impl Bench<'_> {
    /// The run folder of a trial.
    pub(super) fn folder(&self, trial: &Trial) -> PathBuf {
        let Trial { direction, backbone, arm, seed, .. } = trial;
        self.work.join("runs").join(direction).join(backbone).join(format!("{arm}-{seed}"))
    }

    /// Trains, exports and scores; goes on where it was stopped. `sets` are the test sets of the trial, `primary` the name of the one
    /// whose maps are looked at.
    ///
    /// # Errors
    ///
    /// Whatever a step fails with.
    pub(super) fn run(&self, trial: &Trial, sets: &[Set], primary: &str) -> Result<Outcome> {
        let mut config = trial.config.clone();
        let folder = self.folder(trial);
        let mut support = None;
        if erases(&config) && config.regularize.maps.is_none() {
            let (maps, index) = self.maps(&config)?;
            support = Some((index.support[0] + index.support[1]) / 2.0);
            config.regularize.maps = Some(maps);
        }
        train::train(&config, &folder, train::Limits::default())?;
        let run = RunFolder::open(&folder)?;
        let file = folder.join("model.onnx");
        export::export_run(&run, Some(&config), &file)?;
        let progress = checkpoint::progress(&run)?;
        let lacks = || Error::checkpoint(&run.checkpoint(), "tells of no best epoch");
        let progress = progress.ok_or_else(lacks)?;

        let said = Contender { name: config.name.clone(), file, contract: None };
        let mut judge = Judge::open(&said, &Judge::session())?;
        let mut scores = BTreeMap::new();
        let mut attention = Attention::default();
        for set in sets {
            let items: Vec<usize> = (0..set.items.len()).collect();
            let mut logits = vec![0.0; items.len()];
            let mut looks = Looks::default();
            evaluate::evidence(set, &items, &mut judge, &mut |item, said| {
                logits[item] = (f64::from(said.logit) * 1e4).round() / 1e4;
                if let Some(map) = &said.map {
                    looks.add(set.items[item].label, [map.width, map.height], map.values);
                }
            })?;
            scores.insert(set.said.name.clone(), Scores { set: set.digest.clone(), logits });
            if set.said.name == primary {
                attention = looks.told();
            }
        }
        Ok(Outcome {
            recipe: recipe(&trial.config, self.first_seed),
            faces: train::split(&config, None)?.digest(),
            maps: progress.maps,
            support,
            parameters: checkpoint::open_best(&run)?.2.count() as usize,
            best: progress.best.ok_or_else(lacks)?,
            scores,
            attention,
        })
    }

    /// The folder of the maps that such a run erases by, made where they are not there yet.
    fn maps(&self, config: &Config) -> Result<(PathBuf, Index)> {
        let config = of_zoo(config, self.first_seed);
        let parts = zoo_parts(&config);
        // All but the last part, which is of the maps.
        let zoo = self.work.join("zoo").join(short(&parts[..parts.len() - 1]));
        let maps = self.work.join("maps").join(short(&parts));
        let _held = hold(&zoo, true)?;
        tracing::info!("maps by the zoo in {}", zoo.display());
        zoo::train(&config, &zoo)?;
        let index = localize::localize(&config, &zoo, &maps)?;
        Ok((maps, index))
    }
}

/// Gathers where a model looks.
#[derive(Default)]
struct Looks {
    size: [usize; 2],
    sums: [Vec<f64>; 2],
    faces: [usize; 2],
    spread: f64,
}

impl Looks {
    /// The evidence of a face for its own label; a face without any is left out.
    fn add(&mut self, label: Label, size: [usize; 2], values: &[f32]) {
        let sign = if label == Label::Fake { 1.0 } else { -1.0 };
        let own: Vec<f64> = values.iter().map(|v| (sign * f64::from(*v)).max(0.0)).collect();
        let (sum, squares) = (own.iter().sum::<f64>(), own.iter().map(|v| v * v).sum::<f64>());
        if sum <= 0.0 {
            return;
        }
        let class = usize::from(label == Label::Fake);
        self.size = size;
        let sums = &mut self.sums[class];
        sums.resize(own.len(), 0.0);
        sums.iter_mut().zip(&own).for_each(|(s, v)| *s += v / sum);
        self.faces[class] += 1;
        self.spread += sum * sum / (own.len() as f64 * squares);
    }

    fn told(self) -> Attention {
        let faces = self.faces[0] + self.faces[1];
        let round = |v: f64| (v * 1e5).round() / 1e5;
        let [real, fake] = self.sums;
        let fields = self.size[0] * self.size[1];
        let mean = |mut sums: Vec<f64>, n: usize| {
            sums.resize(fields, 0.0);
            sums.into_iter().map(|s| round(s / n.max(1) as f64)).collect()
        };
        Attention {
            size: self.size,
            mean: [mean(real, self.faces[0]), mean(fake, self.faces[1])],
            spread: round(self.spread / faces.max(1) as f64),
            faces,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_one_where_every_field_says_as_much_and_a_share_where_one_says_all() {
        let told = |values: &[f32], label| {
            let mut looks = Looks::default();
            looks.add(label, [2, 2], values);
            looks.told()
        };
        assert_eq!(told(&[1.0; 4], Label::Fake).spread, 1.0);
        assert_eq!(told(&[0.0, 3.0, -1.0, -2.0], Label::Fake).spread, 0.25);
        // Evidence for a genuine face is what speaks against a fake.
        let real = told(&[0.0, 3.0, -1.0, -2.0], Label::Real);
        assert_eq!((real.mean[0].clone(), real.faces), (vec![0.0, 0.0, 0.333_33, 0.666_67], 1));
        assert_eq!(told(&[1.0; 4], Label::Real).faces, 0);
    }
}
