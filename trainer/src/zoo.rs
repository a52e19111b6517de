//! The zoo: ordinary detectors, trained as any model is, whose attention tells the primary regions of faces.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::checkpoint::{Best, RunFolder, open_best, write_atomically};
use crate::config::{Config, Member};
use crate::error::{Error, Result};
use crate::hash;
use crate::log::Log;
use crate::maps::Detector;
use crate::net::{Net, Params};
use crate::train::{self, Limits};

/// Least members: one detector's attention is no zoo's.
const LEAST: usize = 2;

/// A member that is trained to the end, as `zoo.json` in the zoo's folder tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Its folder.
    pub name: String,
    /// [`Config::digest`] of its configuration.
    pub config: String,
    /// Of the names of the faces that it knows.
    pub faces: String,
    /// SHA-256 of the file of its weights.
    pub weights: String,
    /// The epoch that they are of.
    pub best: Best,
}

/// Trains every member of `config.zoo` in its folder of `folder`. Goes on where it was stopped; what is finished and unchanged is left
/// alone.
///
/// # Errors
///
/// Fewer than two members; training that fails; a member's folder of another configuration or of other faces.
pub fn train(config: &Config, folder: &Path) -> Result<Vec<Trained>> {
    let members = members(config)?;
    let log = Log::new(&RunFolder::new(folder)?)?;
    let faces = train::split(config, None)?.digest();
    let mut all = read(folder)?;
    for (at, member) in members.iter().enumerate() {
        let name = member.name();
        let said = format!("member {} of {}, {name}", at + 1, members.len());
        let own = member.config(config);
        let run = folder.join(&name);
        if let Some(done) = all.iter().find(|t| t.name == name && t.is(&own, &faces, &run)) {
            let text = format!("{said}: trained already, validation AUC {:.4}", done.best.auc);
            log.say(&text, json!({"event": "kept", "member": name, "auc": done.best.auc}));
            continue;
        }
        log.say(&said, json!({"event": "member", "member": name, "at": at, "of": members.len()}));
        let best = train::train(&own, &run, Limits::default())?.best;
        let weights = hash::file(&RunFolder::open(&run)?.best())?;
        all.retain(|t| t.name != name);
        all.push(Trained { name, config: own.digest(), faces: faces.clone(), weights, best });
        let text = serde_json::to_vec_pretty(&all).map_err(|e| Error::Training(e.to_string()))?;
        write_atomically(&record(folder), &text)?;
    }
    Ok(members.iter().filter_map(|m| all.iter().find(|t| t.name == m.name()).cloned()).collect())
}

/// A trained member, ready to look at faces.
#[derive(Debug)]
pub struct Opened {
    /// What maps say of it.
    pub detector: Detector,
    /// How it was trained.
    pub config: Config,
    /// Its network.
    pub net: Net,
    /// The weights of its best epoch.
    pub params: Params,
}

/// Opens every member of `config.zoo` in `folder`, where [`train()`] left them.
///
/// # Errors
///
/// A member that is not trained to the end as `config` says, on its faces.
pub fn open(config: &Config, folder: &Path) -> Result<Vec<Opened>> {
    let faces = train::split(config, None)?.digest();
    let all = read(folder)?;
    let open = |member: &Member| {
        let (name, own) = (member.name(), member.config(config));
        let run = folder.join(&name);
        let Some(trained) = all.iter().find(|t| t.name == name && t.is(&own, &faces, &run)) else {
            let text =
                "is not trained to the end with this configuration and these faces: run `deepfake-trainer zoo` first";
            return Err(Error::checkpoint(&run, text));
        };
        let (_, net, params) = open_best(&RunFolder::open(&run)?)?;
        let detector = Detector {
            name,
            backbone: member.backbone,
            size: own.input.size,
            weights: trained.weights.clone(),
            auc: trained.best.auc,
        };
        Ok(Opened { detector, config: own, net, params })
    };
    members(config)?.iter().map(open).collect()
}

impl Trained {
    /// Whether it is what training as `config` says, on those faces, left in `run`.
    fn is(&self, config: &Config, faces: &str, run: &Path) -> bool {
        let weights = RunFolder::open(run).and_then(|run| hash::file(&run.best()));
        self.config == config.digest() && self.faces == faces && weights.is_ok_and(|w| w == self.weights)
    }
}

fn members(config: &Config) -> Result<&[Member]> {
    let members = &config.zoo.members;
    if members.len() < LEAST {
        return Err(Error::Config { key: "zoo.members", problem: format!("must be at least {LEAST}") });
    }
    Ok(members)
}

fn record(folder: &Path) -> std::path::PathBuf {
    folder.join("zoo.json")
}

fn read(folder: &Path) -> Result<Vec<Trained>> {
    let path = record(folder);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    serde_json::from_str(&text).map_err(|e| Error::checkpoint(&path, e.to_string()))
}
