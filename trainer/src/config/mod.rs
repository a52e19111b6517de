//! The one TOML file that drives everything: one table a command or part, each in a module of its own with its defaults and its
//! checks.

mod augment;
mod calibrate;
mod data;
mod evaluate;
mod export;
mod faces;
mod input;
mod localize;
mod model;
mod optim;
mod proof;
mod regularize;
mod run;
mod set;
mod synthesize;
mod zoo;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use augment::Augment;
pub use calibrate::{Calibrate, Level};
pub use data::{Balance, Data, NearDuplicates, Pseudo};
pub use evaluate::{Contender, Evaluate, TestKind, TestSet};
pub use export::Export;
pub use faces::{Faces, Format, Which};
pub use input::{Crop, Grow, Input};
pub use localize::{Cam, Fusion, Localize};
pub use model::Model;
pub use optim::{Method, Optim, Precision};
pub use proof::{Arm, Direction, Network, Proof, Trial};
pub use regularize::{Fill, PairMap, Regularization, Regularize};
pub use run::{DeviceChoice, Run};
pub use set::{Compression, Set, SetKind};
pub use synthesize::{Sources, Synthesize};
pub use zoo::{Member, Zoo};

use crate::error::{Error, Result};
use crate::hash;

/// A training run. Every key that is left out has the default told here; unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the model, as its card and its file say it.
    pub name: String,
    /// Seed of everything that is drawn: split, initial weights, order, augmentation. Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// Which faces.
    pub data: Data,
    /// Which network.
    #[serde(default)]
    pub model: Model,
    /// What the network sees.
    #[serde(default)]
    pub input: Input,
    /// How faces are cut out of videos and pictures, where they are cut by ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faces: Option<Faces>,
    /// How the data's crops lie around a face box; goes into the model's contract. Where there is a table `faces`, it follows from that.
    #[serde(default)]
    pub crop: Crop,
    /// What happens to a face before it is shown.
    #[serde(default)]
    pub augment: Augment,
    /// What is erased of it.
    #[serde(default)]
    pub regularize: Regularize,
    /// Which detectors tell the primary regions.
    #[serde(default)]
    pub zoo: Zoo,
    /// How they tell them.
    #[serde(default)]
    pub localize: Localize,
    /// How pseudo-fakes are made of real faces.
    #[serde(default)]
    pub synthesize: Synthesize,
    /// How the weights are found.
    #[serde(default)]
    pub optim: Optim,
    /// Where and with what it runs; none of it changes the result.
    #[serde(default)]
    pub run: Run,
    /// What is exported beside the 32-bit file.
    #[serde(default)]
    pub export: Export,
    /// Which errors the thresholds are set for.
    #[serde(default)]
    pub calibrate: Calibrate,
    /// What the model is measured on.
    #[serde(default)]
    pub evaluate: Evaluate,
    /// Said in the model's contract and card as `provenance.*`: `licence`, `data`, ...
    #[serde(default)]
    pub provenance: std::collections::BTreeMap<String, String>,
}

const fn one() -> u64 {
    1
}

impl Config {
    /// Reads and checks a file; paths in it, which are relative to its folder, become absolute.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is not TOML, has unknown keys or values out of range.
    pub fn read(path: &Path) -> Result<Self> {
        let mut config: Self = parse(path)?;
        place(path, config.paths())?;
        config.follow()?;
        config.check()?;
        Ok(config)
    }

    /// Crops that we cut ourselves are what `faces` says: the one place where the contract learns of it.
    fn follow(&mut self) -> Result<()> {
        let Some(faces) = &self.faces else { return Ok(()) };
        if self.crop != Crop::default() && self.crop != faces.crop() {
            return wrong("crop", "follows from `faces.margin` and `faces.shift_y` where faces are cut: leave it out");
        }
        self.crop = faces.crop();
        Ok(())
    }

    /// SHA-256 of all that changes the weights, as hexadecimal text: of the tables that training reads, but not of where files lie
    /// nor of how much memory they may take. Maps of primary regions have a digest of their own.
    pub fn digest(&self) -> String {
        let mut counted = self.unplaced();
        counted.data.cache_mib = data::cache_mib();
        counted.regularize.maps = None;
        if let Some(faces) = &mut counted.faces {
            faces.threads = 0;
        }
        let Self { seed, data, faces, model, input, augment, regularize, optim, crop, synthesize, .. } = &counted;
        let pseudo = (data.pseudo != Pseudo::None).then(|| (synthesize.of_fakes(), crop));
        // Every type of the configuration is made of what JSON has.
        let all = (seed, data, faces, model, input, augment, regularize, optim, pseudo);
        hash::hex(Sha256::digest(serde_json::to_string(&all).unwrap_or_default()))
    }

    /// This with the mere names of files and folders, wherever they lie.
    pub(crate) fn unplaced(&self) -> Self {
        let mut named = self.clone();
        for file in named.paths() {
            *file = file.file_name().map_or_else(PathBuf::new, PathBuf::from);
        }
        named
    }

    /// Every file and folder that is named.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Self { data, faces, model, regularize, zoo, synthesize, evaluate, .. } = self;
        let sets = data.sets.iter_mut().flat_map(|s| std::iter::once(&mut s.root).chain(&mut s.originals));
        let locator = faces.iter_mut().flat_map(|f| &mut f.face_model);
        let named = data.folders.iter_mut().chain(sets).chain(locator).chain(&mut model.init);
        named.chain(&mut regularize.maps).chain(zoo.paths()).chain(synthesize.paths()).chain(evaluate.paths())
    }

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || !self.name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return wrong("name", "must be made of letters, digits, `.`, `_` and `-`");
        }
        self.data.check()?;
        if let Some(faces) = &self.faces {
            faces.check()?;
        }
        self.model.check()?;
        self.input.check()?;
        self.crop.check()?;
        self.augment.check()?;
        self.regularize.check()?;
        self.zoo.check(self)?;
        self.localize.check()?;
        self.synthesize.check()?;
        self.optim.check()?;
        self.run.check()?;
        self.export.check()?;
        self.calibrate.check()?;
        self.evaluate.check()?;
        self.model.check_input(&self.input)?;
        if self.optim.pair_weight > 0.0 && !self.data.pairs {
            return wrong("optim.pair_weight", "needs `data.pairs`");
        }
        if self.data.pseudo == Pseudo::Also && self.synthesize.sources == Sources::File {
            return wrong(
                "synthesize.sources",
                "must be `name` with `data.pseudo = \"also\"`: the fakes of the folders belong to real faces by name",
            );
        }
        Ok(())
    }
}

/// Reads a TOML file.
///
/// # Errors
///
/// A file that cannot be read, is not TOML or has unknown keys.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    toml::from_str(&text).map_err(|source| Error::ConfigSyntax { path: path.to_owned(), source: Box::new(source) })
}

/// Makes files and folders that are named in the file `path`, relative to its folder, absolute.
///
/// # Errors
///
/// An empty name.
pub(crate) fn place<'p>(path: &Path, named: impl IntoIterator<Item = &'p mut PathBuf>) -> Result<()> {
    let base = path.parent().unwrap_or(Path::new(""));
    for file in named {
        let joined = base.join(&*file);
        *file = std::path::absolute(&joined).map_err(Error::io(&joined))?;
    }
    Ok(())
}

/// The error of a value that makes no sense.
fn wrong(key: &'static str, problem: &str) -> Result<()> {
    Err(Error::Config { key, problem: problem.to_owned() })
}

fn probability(key: &'static str, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) { Ok(()) } else { wrong(key, "is a probability: it must be from 0 to 1") }
}

fn not_negative(key: &'static str, v: f64) -> Result<()> {
    if v.is_finite() && v >= 0.0 { Ok(()) } else { wrong(key, "must not be negative") }
}

fn range(key: &'static str, [low, high]: [f64; 2], [least, most]: [f64; 2]) -> Result<()> {
    if least <= low && low <= high && high <= most {
        Ok(())
    } else {
        wrong(key, &format!("must be a range [low, high] within [{least}, {most}]"))
    }
}
