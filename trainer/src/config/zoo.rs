//! The ordinary detectors whose attention tells the primary regions.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Config, Localize, Model, Regularize, wrong};
use crate::error::{Error, Result};
use crate::net::Backbone;

/// One of each family that a CPU can train.
const DEFAULT: [Backbone; 3] = [Backbone::MobilenetV3Small, Backbone::Resnet18, Backbone::EfficientnetB0];

/// The detectors of stage 1. They learn from the same split as the model itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zoo {
    /// At least two. Default: `mobilenet_v3_small`, `resnet18` and `efficientnet_b0`.
    pub members: Vec<Member>,
}

/// One of them: the configuration of the model itself, with nothing erased, but for what is said here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which network.
    pub backbone: Backbone,
    /// Of its folder; the backbone's where left out. Two members need two names.
    pub name: Option<String>,
    /// `model.width`, taken over from the model itself where that is the same network.
    pub width: Option<f64>,
    /// `input.size`; inputs do not grow then.
    pub size: Option<usize>,
    /// `optim.epochs`.
    pub epochs: Option<usize>,
    /// `optim.batch`.
    pub batch: Option<usize>,
    /// `optim.learning_rate`.
    pub learning_rate: Option<f64>,
    /// `model.init`, which is not taken over from the model itself.
    pub init: Option<PathBuf>,
}

impl Member {
    /// One of that backbone, as the configuration says otherwise.
    pub const fn new(backbone: Backbone) -> Self {
        Self {
            backbone,
            name: None,
            width: None,
            size: None,
            epochs: None,
            batch: None,
            learning_rate: None,
            init: None,
        }
    }

    /// What its folder is called.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.backbone.name().to_owned())
    }

    /// How it is trained. The keys that only the model itself reads are at their defaults, so that changing them leaves the zoo
    /// as it is.
    pub fn config(&self, config: &Config) -> Config {
        let mut own = config.clone();
        own.name = format!("{}-{}", config.name, self.name());
        if self.backbone != own.model.backbone {
            // Its width and stem say nothing about another network.
            own.model = Model { backbone: self.backbone, dropout: own.model.dropout, ..Model::default() };
        }
        own.model.width = self.width.or(own.model.width);
        own.model.init.clone_from(&self.init);
        if let Some(size) = self.size {
            own.input.size = size;
            own.input.grow.clear();
        }
        own.optim.epochs = self.epochs.unwrap_or(own.optim.epochs);
        own.optim.batch = self.batch.unwrap_or(own.optim.batch);
        own.optim.learning_rate = self.learning_rate.unwrap_or(own.optim.learning_rate);
        own.regularize = Regularize::default();
        own.zoo = Zoo::default();
        own.localize = Localize::default();
        own
    }
}

impl Default for Zoo {
    fn default() -> Self {
        Self { members: DEFAULT.map(Member::new).to_vec() }
    }
}

impl Zoo {
    /// Files that are named.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.members.iter_mut().filter_map(|m| m.init.as_mut())
    }

    /// Checks the members as the configurations that they are.
    pub(super) fn check(&self, config: &Config) -> Result<()> {
        let mut names = std::collections::BTreeSet::new();
        for member in &self.members {
            let name = member.name();
            let plain = !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if name.is_empty() || !plain {
                return wrong(
                    "zoo.members",
                    "must have names of letters, digits, `.`, `_` and `-`, which begin with no `.`",
                );
            }
            if !names.insert(name.clone()) {
                return wrong("zoo.members", &format!("has two called `{name}`: give one of them another `name`"));
            }
            let own = member.config(config);
            let fits = own.model.check_input(&own.input);
            for checked in [own.model.check(), own.input.check(), own.optim.check(), fits] {
                checked
                    .map_err(|e| Error::Config { key: "zoo.members", problem: format!("says of `{name}` that {e}") })?;
            }
        }
        Ok(())
    }
}
