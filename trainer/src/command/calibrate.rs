use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::calibrate::{Wish, calibrate};
use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::{Result, train};

#[derive(Args)]
pub(crate) struct Calibrate {
    /// Folder of the run.
    #[arg(long)]
    run: PathBuf,
    /// Share of real faces that may be called fake.
    #[arg(long, default_value_t = Wish::default().false_alarms)]
    false_alarms: f64,
    /// Share of fakes that may be called real.
    #[arg(long, default_value_t = Wish::default().misses)]
    misses: f64,
}

impl Calibrate {
    pub(crate) fn run(self) -> Result<()> {
        let Self { run, false_alarms, misses } = self;
        let folder = RunFolder::open(&run)?;
        let validation = train::validation_of(&folder)?;
        let found = calibrate(&validation.logits, &validation.fake, Wish { false_alarms, misses })?;
        folder.write_calibration(&found)?;
        println!("{found}");
        Ok(())
    }
}
