//! Which faces, and how they are split and put into batches.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Set, wrong};
use crate::error::Result;

/// How data with more faces of one class than of the other is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Batches are half real, half fake. An epoch shows every real face once and as many fakes: over the epochs every method of
    /// forgery equally often, within it every video, within it every face.
    #[default]
    Even,
    /// An epoch shows every face once; the loss weighs the classes so that both count alike. Needs `pairs = false`.
    Weighted,
    /// An epoch shows every face once, and nothing is weighed. Needs `pairs = false`.
    Natural,
}

/// The faces to learn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Folders, each with `real/` and `fake/` in it; relative to the configuration file. A file belongs to the source video
    /// that its name says before the first `_`, or as a `manifest.csv` in the folder says.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
    /// Data sets as their owners lay them out. Videos are cut by the `faces` command; sets of face crops are learned from as they are.
    #[serde(default)]
    pub sets: Vec<Set>,
    /// What to do about faces that are nearly the same picture on both sides of the split. Default `warn`.
    #[serde(default)]
    pub near_duplicates: NearDuplicates,
    /// Share of the source videos that is kept for validation, (0, 0.5]. Default 0.1.
    #[serde(default = "tenth")]
    pub validation_share: f64,
    /// Seed of the split alone, so that runs of several seeds learn from the same faces and choose by the same ones. Default: `seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// Share of files that may be unreadable before it is an error, [0, 1]. Default 0.01.
    #[serde(default = "hundredth")]
    pub max_unreadable: f64,
    /// Batches of pairs: each real face together with a fake of the same source video (of another one where the source has
    /// none). Otherwise batches are half real and half fake, drawn independently. Default true.
    #[serde(default = "yes")]
    pub pairs: bool,
    /// `even`, `weighted` or `natural`. Default `even`.
    #[serde(default)]
    pub balance: Balance,
    /// An epoch shows at most so many faces of a video, in turns, so that long videos do not outweigh short ones; 0 means all of them.
    /// Default 0.
    #[serde(default)]
    pub faces_per_video: usize,
    /// Both faces of a pair get the same augmentation, so that only the forgery tells them apart. Default true.
    #[serde(default = "yes")]
    pub same_augmentation: bool,
    /// Pseudo-fakes, made anew of real faces each time they are shown, as `[synthesize]` says. Default `none`.
    #[serde(default)]
    pub pseudo: Pseudo,
    /// Memory for decoded pictures, in MiB; what does not fit is decoded again each time. Default 4096.
    #[serde(default = "cache_mib")]
    pub cache_mib: usize,
    /// Use only so many source videos (after shuffling by `seed`); 0 means all. For trials. Default 0.
    #[serde(default)]
    pub limit_sources: usize,
}

/// Which fakes are pseudo-fakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pseudo {
    /// None.
    #[default]
    None,
    /// Each real face has one beside the fakes of its source.
    Also,
    /// Each real face has one, and other fakes are not used: real faces are enough.
    Only,
}

/// About near duplicates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NearDuplicates {
    /// They are not looked for.
    Ignore,
    /// They are named.
    #[default]
    Warn,
    /// Their sources are moved to the training part.
    Move,
    /// They are an error.
    Fail,
}

impl Data {
    pub(super) fn check(&self) -> Result<()> {
        if self.folders.is_empty() && self.sets.is_empty() {
            return wrong("data.folders", "must name at least one folder, or `data.sets` a set");
        }
        self.sets.iter().try_for_each(Set::check)?;
        if !(self.validation_share > 0.0 && self.validation_share <= 0.5) {
            return wrong("data.validation_share", "must be above 0 and at most 0.5");
        }
        if self.balance != Balance::Even && self.pairs {
            return wrong(
                "data.balance",
                "is not `even`: pairs need as many fakes as real faces, so set `data.pairs = false`",
            );
        }
        if !(0.0..=1.0).contains(&self.max_unreadable) {
            return wrong("data.max_unreadable", "must be from 0 to 1");
        }
        Ok(())
    }
}

const fn tenth() -> f64 {
    0.1
}
const fn hundredth() -> f64 {
    0.01
}
const fn yes() -> bool {
    true
}
pub(super) const fn cache_mib() -> usize {
    4096
}
