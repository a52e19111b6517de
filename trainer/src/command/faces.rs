use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::faces::{self, Limits};
use deepfake_trainer::{Config, Result};

#[derive(Args)]
pub(crate) struct Faces {
    /// TOML file with `data.sets` and, where defaults will not do, a table `faces`.
    #[arg(long)]
    config: PathBuf,
    /// Folder for the crops and their manifest; made where it is missing.
    #[arg(long)]
    out: PathBuf,
    /// Stops after so many videos and pictures; called again, it goes on.
    #[arg(long)]
    limit: Option<usize>,
}

impl Faces {
    pub(crate) fn run(self) -> Result<()> {
        let outcome = faces::cut(&Config::read(&self.config)?, &self.out, Limits { clips: self.limit })?;
        println!("{outcome}");
        Ok(())
    }
}
