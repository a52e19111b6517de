use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::{Config, Result, synthesize};

#[derive(Args)]
pub(crate) struct Synthesize {
    /// TOML file; its table `[synthesize]` says of which faces and how.
    #[arg(long)]
    config: PathBuf,
    /// Folder for `real/`, `fake/`, `manifest.csv` and `sheet.png`; made where it is missing.
    #[arg(long)]
    out: PathBuf,
}

impl Synthesize {
    pub(crate) fn run(self) -> Result<()> {
        let done = synthesize::make(&Config::read(&self.config)?, &self.out)?;
        println!("{} pseudo-fakes and {} real faces in {}", done.fake, done.real, self.out.display());
        Ok(())
    }
}
