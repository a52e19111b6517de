use std::path::PathBuf;

use clap::Args;
use deepfake_scoring::model::Model;
use deepfake_scoring::score::Scorer;
use deepfake_scoring::session::SessionOptions;
use deepfake_trainer::evaluate::Region;
use deepfake_trainer::{Result, data, evaluate, log};

use super::locator;

#[derive(Args)]
pub(crate) struct Evaluate {
    /// The ONNX file.
    #[arg(long)]
    model: PathBuf,
    /// Folder with `real/` and `fake/`, whose pictures are face crops; may be given several times.
    #[arg(long, required = true)]
    faces: Vec<PathBuf>,
    /// The pictures are not crops: cut the largest face that this detector (ONNX) finds in each.
    #[arg(long)]
    face_model: Option<PathBuf>,
    /// Writes every score: a `.json` or `.csv` file.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Resamplings of the source videos, for the intervals.
    #[arg(long, default_value_t = 1000)]
    bootstrap: usize,
    /// Share of the pictures that may be unreadable.
    #[arg(long, default_value_t = 0.01)]
    max_failed: f64,
}

impl Evaluate {
    pub(crate) fn run(self) -> Result<()> {
        let mut scorer = Scorer::new(&Model::read(&self.model)?, None, &SessionOptions::default())?;
        let faces = data::scan(&self.faces)?;
        let bar = log::bar(faces.len(), "scoring");
        let mut locator = self.face_model.as_deref().map(locator).transpose()?;
        let region = locator.as_mut().map_or(Region::Whole, Region::Located);
        let (scored, failed) = evaluate::score(&mut scorer, &faces, region, self.max_failed, &bar)?;
        bar.finish_and_clear();
        let report = evaluate::report(&scorer, &scored, failed, self.bootstrap)?;
        println!("{report}");
        if let Some(out) = self.out {
            evaluate::write(&out, &report, &scored)?;
        }
        Ok(())
    }
}
