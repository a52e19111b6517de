//! What a run's `log.jsonl` tells of its training.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

/// The epochs of a run, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Each once: as the last run that went through it had it.
    pub epochs: Vec<Epoch>,
    /// Learning rates by place in the training, in epochs.
    pub rates: Vec<(f64, f64)>,
    /// Where it ran.
    pub device: Option<String>,
    /// Learned numbers of the network.
    pub parameters: Option<u64>,
}

/// An epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub epoch: f64,
    /// Mean loss of the training.
    pub loss: Option<f64>,
    /// Mean log loss of the validation split.
    pub log_loss: Option<f64>,
    /// Of the validation split.
    pub auc: Option<f64>,
    /// Whether its weights were the best so far.
    pub best: bool,
    /// Seconds a step took.
    pub seconds_a_step: Option<f64>,
}

impl History {
    /// Reads a log; lines that are none of its business are passed over. A log that is not there is an empty one.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read(path).map_err(Error::io(path))?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Of the lines of a log.
    pub fn parse(text: &str) -> Self {
        let mut history = Self::default();
        let mut epochs: BTreeMap<u64, Epoch> = BTreeMap::new();
        // By place in millionths of an epoch: what is trained again replaces what was.
        let mut rates: BTreeMap<u64, f64> = BTreeMap::new();
        for record in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let number = |key: &str| record[key].as_f64().filter(|v| v.is_finite());
            match record["event"].as_str() {
                Some("device") => history.device = record["device"].as_str().map(str::to_owned),
                Some("model") => history.parameters = record["parameters"].as_u64(),
                Some("epoch") => {
                    let Some(epoch) = record["epoch"].as_u64() else { continue };
                    let found = Epoch {
                        epoch: epoch as f64,
                        loss: number("loss"),
                        log_loss: number("log_loss"),
                        auc: number("auc"),
                        best: record["best"].as_bool().unwrap_or(false),
                        seconds_a_step: number("seconds_a_step"),
                    };
                    epochs.insert(epoch, found);
                    if let Some(rate) = number("learning_rate") {
                        rates.insert(epoch * 1_000_000, rate);
                    }
                }
                Some("step") => {
                    if let (Some(epoch), Some(step), Some(of), Some(rate)) =
                        (number("epoch"), number("step"), number("of"), number("learning_rate"))
                        && of > 0.0
                    {
                        rates.insert(((epoch - 1.0 + step / of) * 1e6) as u64, rate);
                    }
                }
                _ => {}
            }
        }
        history.epochs = epochs.into_values().collect();
        history.rates = rates.into_iter().map(|(at, rate)| (at as f64 / 1e6, rate)).collect();
        history
    }

    /// The epoch whose weights are the run's result.
    pub fn best(&self) -> Option<&Epoch> {
        self.epochs.iter().rfind(|e| e.best)
    }
}
