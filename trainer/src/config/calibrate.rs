//! Which errors are bearable.

use serde::{Deserialize, Serialize};

use super::wrong;
use crate::error::Result;

/// What the thresholds of the verdict are set for, on the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calibrate {
    /// Share of the real ones that may lie above `score.fake_above`, [0, 1). Default 0.01.
    pub false_alarms: f64,
    /// Share of the fakes that may lie below `score.real_below`, [0, 1). Default 0.05.
    pub misses: f64,
    /// What is counted. Default `face`.
    pub level: Level,
}

/// What gets one score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A single picture of a face.
    #[default]
    Face,
    /// All faces of a video together: the mean of their logits, as on a track of the element.
    Video,
}

impl Default for Calibrate {
    fn default() -> Self {
        Self { false_alarms: 0.01, misses: 0.05, level: Level::Face }
    }
}

impl Calibrate {
    pub(crate) fn check(&self) -> Result<()> {
        for (key, share) in [("calibrate.false_alarms", self.false_alarms), ("calibrate.misses", self.misses)] {
            if !(0.0..1.0).contains(&share) {
                return wrong(key, "is a share: it must be from 0 to below 1");
            }
        }
        Ok(())
    }
}
