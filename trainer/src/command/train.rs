use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::{Config, Result, train};

#[derive(Args)]
pub(crate) struct Train {
    /// TOML file, see `trainer/README.md`.
    #[arg(long)]
    config: PathBuf,
    /// Folder for checkpoints, weights and logs; made where it is missing.
    #[arg(long)]
    run: PathBuf,
    /// Weights to start from, instead of the configuration's `model.init`: safetensors (of a run, of torchvision) or an ONNX file
    /// that `export` wrote of the same network.
    #[arg(long)]
    init: Option<PathBuf>,
}

impl Train {
    pub(crate) fn run(self) -> Result<()> {
        let mut config = Config::read(&self.config)?;
        if self.init.is_some() {
            config.model.init = self.init;
        }
        train::train(&config, &self.run, train::Limits::default())?;
        Ok(())
    }
}
