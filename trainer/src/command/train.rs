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
}

impl Train {
    pub(crate) fn run(self) -> Result<()> {
        train::train(&Config::read(&self.config)?, &self.run, train::Limits::default())?;
        Ok(())
    }
}
