//! Where and with what it runs.

use serde::{Deserialize, Serialize};

use super::not_negative;
use crate::error::Result;

/// Where training runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The first CUDA device, the CPU where there is none.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device or an error.
    Cuda,
}

/// What changes the result by no more than rounding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// `auto`, `cpu` or `cuda`. Default `auto`.
    pub device: DeviceChoice,
    /// Threads of libtorch; 0 means one a core. Default 0.
    pub threads: usize,
    /// Threads that decode and augment; 0 means one a core. Default 0.
    pub loader_threads: usize,
    /// With CUDA: only operations that give the same numbers each time they are run. Slower. Default false.
    pub deterministic: bool,
    /// With CUDA: products of 32-bit floats may be made of their first 19 bits, several times faster. Default true.
    pub tf32: bool,
    /// Minutes between checkpoints within an epoch (there is always one at its end). Default 2.
    pub checkpoint_minutes: f64,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            threads: 0,
            loader_threads: 0,
            deterministic: false,
            tf32: true,
            checkpoint_minutes: 2.0,
        }
    }
}

impl Run {
    pub(super) fn check(&self) -> Result<()> {
        not_negative("run.checkpoint_minutes", self.checkpoint_minutes)
    }
}
