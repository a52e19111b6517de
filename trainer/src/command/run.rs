use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::{Config, Result, workflow};

#[derive(Args)]
pub(crate) struct Run {
    /// TOML file, see `trainer/README.md`.
    #[arg(long)]
    config: PathBuf,
    /// Folder for everything that is made; made where it is missing.
    #[arg(long)]
    work: PathBuf,
}

impl Run {
    pub(crate) fn run(self) -> Result<()> {
        let made = workflow::run(&Config::read(&self.config)?, &self.work)?;
        for path in [made.model(), made.report(), made.card()] {
            if path.exists() {
                println!("{}", path.display());
            }
        }
        Ok(())
    }
}
