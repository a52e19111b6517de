//! An experiment that compares ways to train: the same networks, faces, seeds and budget, with and without what is to be proven.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Config, parse, place, wrong};
use crate::error::{Error, Result};

/// What is compared with what. Every run of the experiment is the table `base`, changed by its direction, then by its backbone, then by
/// its arm, and given a seed: a change is a part of a configuration whose keys take the place of those of `base`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// What the experiment is called.
    pub name: String,
    /// One run each. The split into training and validation faces is the same for all of them, and so are the zoo and its maps, which
    /// are made with the first.
    pub seeds: Vec<u64>,
    /// Resamplings for the 95 % intervals. Default 2000.
    #[serde(default = "rounds")]
    pub bootstrap: usize,
    /// Markdown that the page takes in: what people learned from the figures. Relative to this file.
    #[serde(default)]
    pub notes: Option<PathBuf>,
    /// A training configuration without name and seed.
    pub base: Table,
    /// What is learned from and measured on.
    pub directions: Vec<Direction>,
    /// Which networks, each in some or all of the directions.
    pub backbones: Vec<Network>,
    /// What is compared: all others with the first.
    pub arms: Vec<Arm>,
    /// An arm that the others are compared with as well: what does as much without the idea that is tried. Default: none.
    #[serde(default)]
    pub control: Option<String>,
}

/// A source of faces to learn from, and sets to measure on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Direction {
    /// As tables call it.
    pub name: String,
    /// In a sentence.
    #[serde(default)]
    pub about: String,
    /// The test set that the verdict is about, settled before the runs.
    pub primary: String,
    /// Test sets of the source that is learned from: they do not count as a generalization. Default: none.
    #[serde(default)]
    pub within: Vec<String>,
    /// The change; its `evaluate.sets` are the test sets, all of face crops.
    #[serde(default)]
    pub set: Table,
}

/// A network, and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// As tables call it. Two may have one name if no direction has both: what suits a network may hinge on the direction.
    pub name: String,
    /// In a sentence.
    #[serde(default)]
    pub about: String,
    /// Only in these directions. Default: in all.
    #[serde(default)]
    pub directions: Vec<String>,
    /// The change.
    #[serde(default)]
    pub set: Table,
}

/// A way to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// As tables call it.
    pub name: String,
    /// In a sentence.
    #[serde(default)]
    pub about: String,
    /// Only in these directions. Default: in all.
    #[serde(default)]
    pub directions: Vec<String>,
    /// Only with these backbones. Default: with all.
    #[serde(default)]
    pub backbones: Vec<String>,
    /// Other arms that it is compared with as well, beside the first and the control. Default: none.
    #[serde(default)]
    pub beside: Vec<String>,
    /// The change. Arms that erase a part of a face, also those that erase it anywhere, get the maps of the same zoo, so that all
    /// of them erase as much.
    #[serde(default)]
    pub set: Table,
}

/// One training of the experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Name of the direction.
    pub direction: String,
    /// Name of the backbone.
    pub backbone: String,
    /// Name of the arm.
    pub arm: String,
    /// Its seed.
    pub seed: u64,
    /// All of its configuration, without the folder of its maps.
    pub config: Config,
}

const fn rounds() -> usize {
    2000
}

impl Proof {
    /// Reads and checks a file, with every run that it asks for; paths in it are relative to its folder.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is not TOML, has unknown keys or values out of range, here or in one of the runs.
    pub fn read(path: &Path) -> Result<(Self, Vec<Trial>)> {
        let mut proof: Self = parse(path)?;
        place(path, &mut proof.notes)?;
        proof.check()?;
        let mut trials = Vec::new();
        for direction in &proof.directions {
            for backbone in proof.networks(direction) {
                for arm in proof.arms.iter().filter(|a| a.is_in(&direction.name, &backbone.name)) {
                    for &seed in &proof.seeds {
                        let config = proof.config(path, direction, backbone, arm, seed)?;
                        trials.push(Trial {
                            direction: direction.name.clone(),
                            backbone: backbone.name.clone(),
                            arm: arm.name.clone(),
                            seed,
                            config,
                        });
                    }
                }
            }
        }
        Ok((proof, trials))
    }

    /// The arm that the others are compared with.
    pub fn reference(&self) -> &str {
        self.arms.first().map_or("", |a| &a.name)
    }

    /// All arms that others are compared with: the first, the control, and those that single arms are compared with.
    pub fn bases(&self) -> Vec<&str> {
        let mut bases: Vec<&str> = std::iter::once(self.reference()).chain(self.control.as_deref()).collect();
        for arm in &self.arms {
            let of_one = self.arms.iter().any(|other| other.beside.contains(&arm.name));
            if of_one && !bases.contains(&arm.name.as_str()) {
                bases.push(&arm.name);
            }
        }
        bases
    }

    /// Whether the arm of that name is compared with the one called `base`.
    pub fn compares(&self, arm: &str, base: &str) -> bool {
        let of_one = self.arms.iter().any(|a| a.name == arm && a.beside.iter().any(|b| b == base));
        let of_all = base == self.reference() || self.control.as_deref() == Some(base);
        arm != base && (of_one || of_all && arm != self.reference())
    }

    /// The networks that are trained in a direction.
    pub fn networks(&self, direction: &Direction) -> impl Iterator<Item = &Network> {
        self.backbones.iter().filter(|b| named(&b.directions, &direction.name))
    }

    fn config(&self, path: &Path, direction: &Direction, backbone: &Network, arm: &Arm, seed: u64) -> Result<Config> {
        let mut table = self.base.clone();
        for change in [&direction.set, &backbone.set, &arm.set] {
            merge(&mut table, change);
        }
        let name = format!("{}-{}-{}-{seed}", direction.name, backbone.name, arm.name);
        table.insert("name".to_owned(), Value::String(name.clone()));
        let seed = i64::try_from(seed).map_err(|_| too_large())?;
        table.insert("seed".to_owned(), Value::Integer(seed));
        let syntax = |source| Error::ConfigSyntax { path: path.to_owned(), source: Box::new(source) };
        let mut config: Config = Value::Table(table).try_into().map_err(syntax)?;
        let first = self.seeds.first().copied().unwrap_or_default();
        config.data.split_seed = Some(config.data.split_seed.unwrap_or(first));
        place(path, config.paths())?;
        config.follow().and_then(|()| config.check()).map_err(|e| of_trial(&name, &e))?;
        let unknown = |name: &&String| !config.evaluate.sets.iter().any(|s| s.name == **name);
        for (key, names) in [
            ("directions.primary", std::slice::from_ref(&direction.primary)),
            ("directions.within", &direction.within[..]),
        ] {
            if let Some(name) = names.iter().find(unknown) {
                wrong(key, &format!("`{name}` is none of the direction's test sets"))?;
            }
        }
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let changes = self.directions.iter().map(|d| (&d.name, &d.set));
        let changes = changes.chain(self.backbones.iter().map(|b| (&b.name, &b.set)));
        for (name, set) in changes.chain(self.arms.iter().map(|a| (&a.name, &a.set))) {
            let plain = !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if name.is_empty() || !plain {
                return wrong("name", &format!("`{name}` must be made of letters, digits, `.`, `_` and `-`"));
            }
            if set.contains_key("name") || set.contains_key("seed") {
                return wrong("set", &format!("of `{name}` must not have a name or a seed: the experiment gives them"));
            }
        }
        names("directions", self.directions.iter().map(|d| &d.name))?;
        names("arms", self.arms.iter().map(|a| &a.name))?;
        let all: BTreeSet<&String> =
            self.directions.iter().map(|d| &d.name).chain(self.backbones.iter().map(|b| &b.name)).collect();
        let unknown = |a: &Arm| a.directions.iter().chain(&a.backbones).find(|n| !all.contains(n)).cloned();
        let mut of_backbones = self.backbones.iter().flat_map(|b| &b.directions);
        let stranger = of_backbones.find(|n| !self.directions.iter().any(|d| d.name == **n));
        if let Some(name) = stranger {
            return wrong("backbones", &format!("has one for `{name}`, which is no direction"));
        }
        for direction in &self.directions {
            if self.networks(direction).next().is_none() {
                return wrong("backbones", &format!("has none for the direction `{}`", direction.name));
            }
            names("backbones", self.networks(direction).map(|b| &b.name))?;
        }
        if let Some(name) = self.arms.iter().find_map(unknown) {
            return wrong("arms", &format!("is for `{name}`, which is no direction and no backbone"));
        }
        let trained = |a: &&Arm| self.directions.iter().any(|d| self.networks(d).any(|n| a.is_in(&d.name, &n.name)));
        if let Some(arm) = self.arms.iter().find(|a| !trained(a)) {
            let text = format!("has `{}`, whose directions and backbones never come together", arm.name);
            return wrong("arms", &text);
        }
        if !self.arms[0].directions.is_empty() || !self.arms[0].backbones.is_empty() {
            return wrong(
                "arms",
                "must begin with one for all directions and backbones: the others are compared with it",
            );
        }
        let meet = |a: &Arm, b: &Arm| {
            let both = |d: &Direction, n: &Network| a.is_in(&d.name, &n.name) && b.is_in(&d.name, &n.name);
            a.name != b.name && self.directions.iter().any(|d| self.networks(d).any(|n| both(d, n)))
        };
        let stranger = |a: &Arm| {
            let other = |name: &&String| !self.arms.iter().any(|b| b.name == **name && meet(a, b));
            a.beside.iter().find(other).map(|name| (a.name.clone(), name.clone()))
        };
        if let Some((arm, name)) = self.arms.iter().find_map(stranger) {
            let text = format!("of `{arm}` is `{name}`, which is no other arm of the same direction and backbone");
            return wrong("arms.beside", &text);
        }
        if let Some(control) = &self.control
            && !self.arms[1..].iter().any(|a| a.name == *control)
        {
            return wrong("control", &format!("is `{control}`, which is no arm after the first"));
        }
        let seeds: BTreeSet<u64> = self.seeds.iter().copied().collect();
        if seeds.is_empty() || seeds.len() != self.seeds.len() {
            return wrong("seeds", "must be at least one, and different");
        }
        if !(100..=100_000).contains(&self.bootstrap) {
            return wrong("bootstrap", "must be from 100 to 100000 rounds: fewer give no interval");
        }
        Ok(())
    }
}

impl Arm {
    /// Whether it is trained in that direction with that backbone.
    pub fn is_in(&self, direction: &str, backbone: &str) -> bool {
        named(&self.directions, direction) && named(&self.backbones, backbone)
    }
}

/// Whether a list that stands for all where it is empty has a name.
fn named(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|n| n == name)
}

fn too_large() -> Error {
    Error::Config { key: "seeds", problem: "are too large for TOML".to_owned() }
}

fn of_trial(name: &str, error: &Error) -> Error {
    Error::Data(format!("{name}: {error}"))
}

fn names<'n>(key: &'static str, of: impl Iterator<Item = &'n String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for name in of {
        count += 1;
        if !seen.insert(name) {
            return wrong(key, &format!("has two called `{name}`"));
        }
    }
    if count == 0 { wrong(key, "must be at least one") } else { Ok(()) }
}

/// Puts the keys of `change` in the place of those of `table`, table by table.
fn merge(table: &mut Table, change: &Table) {
    for (key, value) in change {
        match (table.get_mut(key), value) {
            (Some(Value::Table(own)), Value::Table(theirs)) => merge(own, theirs),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_takes_the_place_of_the_keys_that_it_names_and_of_no_others() {
        let mut table: Table = toml::from_str("a = 1\n[b]\nc = 2\nd = [1, 2]\n[b.e]\nf = 3").unwrap();
        merge(&mut table, &toml::from_str("[b]\nd = [3]\ng = 4\n[b.e]\nf = 5").unwrap());
        let wanted: Table = toml::from_str("a = 1\n[b]\nc = 2\nd = [3]\ng = 4\n[b.e]\nf = 5").unwrap();
        assert_eq!(table, wanted);
    }
}
