use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::{Result, report};

#[derive(Args)]
pub(crate) struct Report {
    /// Folder of the run.
    #[arg(long)]
    run: PathBuf,
    /// Tells of this evaluation instead of the folder's `evaluation.json`; its pictures lie beside it.
    #[arg(long)]
    evaluation: Option<PathBuf>,
    /// The HTML file. It holds pictures of the evaluated data.
    #[arg(long, required_unless_present = "card")]
    out: Option<PathBuf>,
    /// Writes the model card (Markdown) too. It holds no pictures.
    #[arg(long)]
    card: Option<PathBuf>,
}

impl Report {
    pub(crate) fn run(self) -> Result<()> {
        let Self { run, evaluation, out, card } = self;
        report::report(&RunFolder::open(&run)?, evaluation.as_deref(), out.as_deref(), card.as_deref())?;
        for written in out.iter().chain(&card) {
            println!("{}", written.display());
        }
        Ok(())
    }
}
