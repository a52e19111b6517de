use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::{Config, Result, init};

#[derive(Args)]
pub(crate) struct Import {
    /// The ONNX file that `export` wrote.
    #[arg(long)]
    model: PathBuf,
    /// Says which network it is and over which faces statistics are gathered.
    #[arg(long)]
    config: PathBuf,
    /// The safetensors file.
    #[arg(long)]
    out: PathBuf,
}

impl Import {
    pub(crate) fn run(self) -> Result<()> {
        let parity = init::import(&Config::read(&self.config)?, &self.model, &self.out)?;
        println!("{}: differs from {} by at most {parity}", self.out.display(), self.model.display());
        Ok(())
    }
}
