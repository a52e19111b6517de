use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::Result;
use deepfake_trainer::locator::{self, Config, measure};

#[derive(Args)]
pub(crate) struct Locator {
    /// TOML file of its own, see `src/locator/config.rs`.
    #[arg(long)]
    config: PathBuf,
    /// Folder for labels, checkpoints and the model `locator.onnx`; made where it is missing.
    #[arg(long)]
    work: PathBuf,
    /// Stops after so many training steps; called again, it goes on.
    #[arg(long)]
    stop_after: Option<usize>,
    /// Measures nothing.
    #[arg(long)]
    no_measure: bool,
    /// Writes the table of what was measured into this card, between its two marks.
    #[arg(long)]
    card: Option<PathBuf>,
}

impl Locator {
    pub(crate) fn run(self) -> Result<()> {
        let config = Config::read(&self.config)?;
        let Some(model) = locator::make(&config, &self.work, self.stop_after)? else {
            println!("stopped; called again, it goes on");
            return Ok(());
        };
        println!("{}", model.display());
        if self.no_measure {
            return Ok(());
        }
        let table = locator::measured(&config, &self.work)?.tables();
        print!("{table}");
        self.card.map_or(Ok(()), |card| measure::write_card(&card, &table))
    }
}
