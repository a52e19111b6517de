use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::{Config, Result, localize};

#[derive(Args)]
pub(crate) struct Localize {
    /// TOML file, the one that the zoo was trained with.
    #[arg(long)]
    config: PathBuf,
    /// Folder that `zoo` wrote.
    #[arg(long)]
    zoo: PathBuf,
    /// Folder for the maps, `regularize.maps` of training, and for the contact sheets `real.png` and `fake.png`.
    #[arg(long)]
    out: PathBuf,
}

impl Localize {
    pub(crate) fn run(self) -> Result<()> {
        let index = localize::localize(&Config::read(&self.config)?, &self.zoo, &self.out)?;
        let [real, fake] = index.support.map(|s| 100.0 * s);
        println!("{} maps; primary regions cover {real:.1} % of a real face, {fake:.1} % of a fake", index.faces);
        Ok(())
    }
}
