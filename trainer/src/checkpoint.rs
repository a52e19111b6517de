//! The run folder: everything that is needed to go on exactly where a run was stopped.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::calibrate::Calibration;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::net::{Net, Params, read_tensors, write_tensors};
use crate::optim::{Adam, Scaler};

/// What the file's metadata calls the progress.
const PROGRESS: &str = "progress";

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// [`crate::config::Config::digest`] of the run.
    pub config: String,
    /// SHA-256 over the names of the faces that are trained on.
    pub data: String,
    /// [`crate::maps::RegionMaps::digest`] of the maps that it erases by.
    #[serde(default)]
    pub maps: Option<String>,
    /// SHA-256 of the file that it started from, where it did.
    #[serde(default)]
    pub init: Option<String>,
    /// Whole epochs done.
    pub epoch: usize,
    /// Steps done of the epoch after those.
    pub step: usize,
    /// Steps since the beginning.
    pub steps: u64,
    /// Those of them that changed weights: not those whose gradients overflowed.
    pub updates: u64,
    /// Scale of the loss, in a run of 16-bit floats.
    pub scaler: Option<Scaler>,
    /// Sum of the losses of those steps, for the log.
    pub loss_sum: f64,
    /// Best validation so far.
    pub best: Option<Best>,
}

/// The best epoch so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Counted from 1.
    pub epoch: usize,
    /// Of the validation split.
    pub auc: f64,
}

/// A folder with `checkpoint.safetensors` (all state), `best.safetensors` (weights of the best epoch), `config.json`, `log.jsonl`
/// and, once calibrated, `calibration.json`.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder where it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(Error::io(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// One that is there.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::read_dir(path).map_err(Error::io(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// All state of a run.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    /// Weights of the best epoch, under the network's own names.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// The configuration that the run was begun with.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.json")
    }

    /// Temperature and thresholds, see [`crate::calibrate`].
    pub fn calibration(&self) -> PathBuf {
        self.path.join("calibration.json")
    }

    /// What [`RunFolder::calibration`] holds; `None` where the run was not calibrated.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn read_calibration(&self) -> Result<Option<Calibration>> {
        let path = self.calibration();
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        serde_json::from_str(&text).map(Some).map_err(|e| Error::checkpoint(&path, e.to_string()))
    }

    /// Keeps a calibration.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write_calibration(&self, calibration: &Calibration) -> Result<()> {
        let text = serde_json::to_vec_pretty(calibration).map_err(|e| Error::Training(e.to_string()))?;
        write_atomically(&self.calibration(), &text)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of kept scores, see [`crate::evaluate::Ledger`].
    pub fn scores(&self) -> PathBuf {
        self.path.join("scores")
    }

    /// What was measured, see [`crate::evaluate::Evaluation`].
    pub fn evaluation(&self) -> PathBuf {
        self.path.join("evaluation.json")
    }

    /// One JSON object a line.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }
}

/// Writes all state of a run (the learner's parts of `progress` are taken from `learner`), so that a reader finds either the old or the new state, whole.
///
/// # Errors
///
/// When libtorch fails or the file cannot be written.
pub fn save(folder: &RunFolder, progress: &Progress, learner: &Learner) -> Result<()> {
    let Learner { params, average, adam, .. } = learner;
    let progress =
        Progress { steps: learner.steps, updates: adam.updates()?, scaler: learner.scaler, ..progress.clone() };
    save_state(&folder.checkpoint(), &progress, params, average, adam)
}

/// Writes weights, their average and the optimizer's moments, with how far the run is.
///
/// # Errors
///
/// As [`save`].
pub fn save_state(
    path: &Path,
    progress: &impl Serialize,
    params: &Params,
    average: &Params,
    adam: &Adam,
) -> Result<()> {
    let mut tensors: Vec<(String, &Tensor)> = Vec::new();
    tensors.extend(params.iter().map(|p| (format!("weights/{}", p.name), &p.tensor)));
    tensors.extend(average.iter().map(|p| (format!("average/{}", p.name), &p.tensor)));
    for (name, m, v) in adam.state(params) {
        tensors.push((format!("first_moment/{name}"), m));
        tensors.push((format!("second_moment/{name}"), v));
    }
    let text = serde_json::to_string(progress).map_err(|e| Error::Training(e.to_string()))?;
    let metadata = HashMap::from([(PROGRESS.to_owned(), text)]);
    write_atomically(path, &write_tensors(tensors, Some(metadata))?)
}

/// Takes over the state that [`save`] wrote; `None` where there is none.
///
/// # Errors
///
/// A file that cannot be read or does not belong to this network.
pub fn load(folder: &RunFolder, learner: &mut Learner) -> Result<Option<Progress>> {
    let Some(progress) = progress(folder)? else {
        return Ok(None);
    };
    let Learner { params, average, adam, .. } = learner;
    load_state(&folder.checkpoint(), params, average, adam, progress.updates)?;
    learner.steps = progress.steps;
    if learner.scaler.is_some() && progress.scaler.is_some() {
        learner.scaler = progress.scaler;
    }
    Ok(Some(progress))
}

/// Takes over what [`save_state`] wrote, after so many updates.
///
/// # Errors
///
/// As [`load`].
pub fn load_state(path: &Path, params: &mut Params, average: &mut Params, adam: &mut Adam, updates: u64) -> Result<()> {
    let mut groups: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
    for (name, tensor) in read_tensors(path)? {
        let Some((group, name)) = name.split_once('/') else {
            return Err(Error::checkpoint(path, format!("`{name}` is no state of a run")));
        };
        groups.entry(group.to_owned()).or_default().insert(name.to_owned(), tensor);
    }
    let mut take = |group: &str| groups.remove(group).unwrap_or_default();
    params.assign(&take("weights"), path)?;
    average.assign(&take("average"), path)?;
    let (first, second) = (take("first_moment"), take("second_moment"));
    let moments = params
        .learned()
        .map(|p| match (first.get(&p.name), second.get(&p.name)) {
            (Some(m), Some(v)) if m.size() == p.tensor.size() && v.size() == p.tensor.size() => Ok((m, v)),
            _ => Err(Error::checkpoint(path, format!("the moments of `{}` are missing", p.name))),
        })
        .collect::<Result<Vec<_>>>()?;
    adam.restore(moments.into_iter(), updates)
}

/// How far the run of a folder is; `None` where it was not begun.
///
/// # Errors
///
/// A file that cannot be read.
pub fn progress(folder: &RunFolder) -> Result<Option<Progress>> {
    progress_of(&folder.checkpoint())
}

/// What [`save_state`] was told of how far the run is; `None` where there is no such file.
///
/// # Errors
///
/// A file that cannot be read.
pub fn progress_of<P: DeserializeOwned>(path: &Path) -> Result<Option<P>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| Error::checkpoint(path, e.to_string()))?;
    let text = header.metadata().as_ref().and_then(|m| m.get(PROGRESS));
    let text = text.ok_or_else(|| Error::checkpoint(path, "does not tell how far the run is"))?;
    serde_json::from_str(text).map_err(|e| Error::checkpoint(path, e.to_string()))
}

/// The configuration that a run was begun with.
///
/// # Errors
///
/// A file that cannot be read.
pub fn read_config(folder: &RunFolder) -> Result<Config> {
    let path = folder.config();
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    serde_json::from_str(&text).map_err(|e| Error::checkpoint(&path, e.to_string()))
}

/// The result of a run: its configuration and the network with the weights of the best epoch.
///
/// # Errors
///
/// A folder without a run, or whose run has not yet had a best epoch; files that cannot be read.
pub fn open_best(folder: &RunFolder) -> Result<(Config, Net, Params)> {
    let config = read_config(folder)?;
    let (net, mut params) = Net::blank(&config.model, &config.input)?;
    let path = folder.best();
    params.assign(&read_tensors(&path)?, &path)?;
    Ok((config, net, params))
}

/// Writes beside the file, then puts the new file in the old one's place. Where that fails, the old one stays and no room is taken.
///
/// # Errors
///
/// When the folder cannot be written to.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut file = File::create(&part).map_err(Error::io(&part))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // Best effort: what matters has failed already.
        let _ = std::fs::remove_file(&part);
    }
    written.map_err(Error::io(path))
}
