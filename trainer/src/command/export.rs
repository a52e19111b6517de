use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::checkpoint::{self, RunFolder};
use deepfake_trainer::export::Variant;
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
    /// Smaller files beside it, `fp16` or `int8`, in place of those of the configuration's `[export]`; may be given twice.
    #[arg(long, value_enum)]
    variant: Vec<Variant>,
    /// Training faces that set the ranges of `int8`.
    #[arg(long)]
    calibration_faces: Option<usize>,
}

impl Export {
    pub(crate) fn run(self) -> Result<()> {
        let said = self.config.as_deref().map(Config::read).transpose()?;
        let folder = RunFolder::open(&self.run)?;
        let parity = export::export_run(&folder, said.as_ref(), &self.out)?;
        println!("{}: differs from the trainer by at most {parity}", self.out.display());
        let mut wanted = match said {
            Some(config) => config.export,
            None => checkpoint::open_best(&folder)?.0.export,
        };
        if !self.variant.is_empty() {
            wanted.variants = self.variant;
        }
        if let Some(faces) = self.calibration_faces {
            wanted.calibration_faces = faces;
        }
        for made in export::variants(&folder, &self.out, &wanted)? {
            println!("{made}");
        }
        Ok(())
    }
}
