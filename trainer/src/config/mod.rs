//! The one TOML file that drives everything: one table a command or part, each in a module of its own with its defaults and its
//! checks.

mod augment;
mod data;
mod export;
mod input;
mod localize;
mod model;
mod optim;
mod regularize;
mod run;
mod synthesize;
mod zoo;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use augment::Augment;
pub use data::{Balance, Data, Pseudo};
pub use export::Export;
pub use input::{Crop, Grow, Input};
pub use localize::{Cam, Fusion, Localize};
pub use model::Model;
pub use optim::{Method, Optim, Precision};
pub use regularize::{Fill, PairMap, Regularization, Regularize};
pub use run::{DeviceChoice, Run};
pub use synthesize::{Sources, Synthesize};
pub use zoo::{Member, Zoo};

use crate::error::{Error, Result};

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
    /// How the data's crops lie around a face box; goes into the model's contract.
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
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| Error::ConfigSyntax { path: path.to_owned(), source: Box::new(source) })?;
        let base = path.parent().unwrap_or(Path::new(""));
        for file in config.paths() {
            let joined = base.join(&*file);
            *file = std::path::absolute(&joined).map_err(Error::io(&joined))?;
        }
        config.check()?;
        Ok(config)
    }

    /// SHA-256 of all that changes the weights, as hexadecimal text: of the tables that training reads, but not of where files lie
    /// nor of how much memory they may take. Maps of primary regions have a digest of their own.
    pub fn digest(&self) -> String {
        let mut counted = self.clone();
        counted.data.cache_mib = data::cache_mib();
        counted.regularize.maps = None;
        for file in counted.paths() {
            *file = file.file_name().map_or_else(PathBuf::new, PathBuf::from);
        }
        let Self { seed, data, model, input, augment, regularize, optim, crop, synthesize, .. } = &counted;
        let pseudo = (data.pseudo != Pseudo::None).then(|| (synthesize.of_fakes(), crop));
        // Every type of the configuration is made of what JSON has.
        let text =
            serde_json::to_string(&(seed, data, model, input, augment, regularize, optim, pseudo)).unwrap_or_default();
        Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Every file and folder that is named.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Self { data, model, regularize, zoo, synthesize, .. } = self;
        let others = zoo.paths().chain(synthesize.paths());
        data.folders.iter_mut().chain(&mut model.init).chain(&mut regularize.maps).chain(others)
    }

    fn check(&self) -> Result<()> {
        if self.name.is_empty() || !self.name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return wrong("name", "must be made of letters, digits, `.`, `_` and `-`");
        }
        self.data.check()?;
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
