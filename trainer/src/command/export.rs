use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::{Config, Result, export};

#[derive(Args)]
pub(crate) struct Export {
    /// Folder of the run.
    #[arg(long)]
    run: PathBuf,
    /// Takes crop and provenance from this configuration, which must otherwise be that of the run.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The ONNX file.
    #[arg(long)]
    out: PathBuf,
}

impl Export {
    pub(crate) fn run(self) -> Result<()> {
        let said = self.config.as_deref().map(Config::read).transpose()?;
        let parity = export::export_run(&RunFolder::open(&self.run)?, said.as_ref(), &self.out)?;
        println!("{}: differs from the trainer by at most {parity}", self.out.display());
        Ok(())
    }
}
