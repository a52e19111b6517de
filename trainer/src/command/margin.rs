use std::path::PathBuf;

use clap::Args;
use deepfake_trainer::{Result, data, log, margin};

use super::locator;

#[derive(Args)]
pub(crate) struct Margin {
    /// Folder of crops; may be given several times.
    #[arg(long, required = true)]
    faces: Vec<PathBuf>,
    /// Face detector (ONNX): YuNet, UltraFace or SCRFD.
    #[arg(long)]
    face_model: PathBuf,
    /// Look at so many pictures of each folder, evenly spread; 0 means all.
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

impl Margin {
    pub(crate) fn run(self) -> Result<()> {
        let mut pictures = Vec::new();
        for folder in &self.faces {
            let all = data::pictures_in(folder)?;
            let every = if self.limit == 0 { 1 } else { all.len().div_ceil(self.limit).max(1) };
            pictures.extend(all.into_iter().step_by(every));
        }
        let bar = log::bar(pictures.len(), "looking for faces");
        let found = margin::measure(&pictures, &mut locator(&self.face_model)?, &bar)?;
        bar.finish_and_clear();
        println!("{found}");
        Ok(())
    }
}
