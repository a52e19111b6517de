use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::{Config, Result, zoo};

#[derive(Args)]
pub(crate) struct Zoo {
    /// TOML file; its `[zoo]` names the members.
    #[arg(long)]
    config: PathBuf,
    /// Folder for the members' run folders; made where it is missing.
    #[arg(long)]
    out: PathBuf,
}

impl Zoo {
    pub(crate) fn run(self) -> Result<()> {
        for member in zoo::train(&Config::read(&self.config)?, &self.out)? {
            println!("{}: validation AUC {:.4} in epoch {}", member.name, member.best.auc, member.best.epoch);
        }
        Ok(())
    }
}
