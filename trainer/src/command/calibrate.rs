use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::Result;
use deepfake_trainer::calibrate::calibrate_run;
use deepfake_trainer::checkpoint::{RunFolder, read_config};
use deepfake_trainer::config::{Config, Level};

#[derive(Args)]
pub(crate) struct Calibrate {
    /// Folder of the run.
    #[arg(long)]
    run: PathBuf,
    /// Takes `[calibrate]` from this configuration instead of the run's.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Share of the real ones that may be called fake, instead of `calibrate.false_alarms`.
    #[arg(long)]
    false_alarms: Option<f64>,
    /// Share of the fakes that may be called real, instead of `calibrate.misses`.
    #[arg(long)]
    misses: Option<f64>,
    /// Count videos (the mean logit of their faces) instead of single faces.
    #[arg(long)]
    videos: bool,
}

impl Calibrate {
    pub(crate) fn run(self) -> Result<()> {
        let folder = RunFolder::open(&self.run)?;
        let mut wish = match &self.config {
            Some(path) => Config::read(path)?.calibrate,
            None => read_config(&folder)?.calibrate,
        };
        wish.false_alarms = self.false_alarms.unwrap_or(wish.false_alarms);
        wish.misses = self.misses.unwrap_or(wish.misses);
        if self.videos {
            wish.level = Level::Video;
        }
        println!("{}", calibrate_run(&folder, Some(&wish))?);
        Ok(())
    }
}
