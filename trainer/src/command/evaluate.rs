use std::path::{Path, PathBuf};

use clap::Args;
use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::config::{self, Config, Contender, TestKind, TestSet};
use deepfake_trainer::error::Error;
use deepfake_trainer::{Result, evaluate};

#[derive(Args)]
pub(crate) struct Evaluate {
    /// The ONNX file.
    #[arg(long)]
    model: PathBuf,
    /// Contract (TOML) of a model that does not carry one.
    #[arg(long)]
    contract: Option<PathBuf>,
    /// Takes sets, other models and all else from the `[evaluate]` table of this file.
    #[arg(long, required_unless_present = "faces")]
    config: Option<PathBuf>,
    /// Folder that keeps scores, so that none is computed twice, and `evaluation.json` for `report`.
    #[arg(long)]
    run: Option<PathBuf>,
    /// One more set: a folder with `real/` and `fake/`, whose pictures are face crops; may be given several times.
    #[arg(long)]
    faces: Vec<PathBuf>,
    /// The pictures of `--faces` are not crops: cut the largest face that is found in each.
    #[arg(long)]
    locate: bool,
    /// With this detector (ONNX) instead of the engine's own; implies `--locate`.
    #[arg(long)]
    face_model: Option<PathBuf>,
    /// Another model to compare with on the same faces; may be given several times.
    #[arg(long)]
    against: Vec<PathBuf>,
    /// Writes the outcome (`.json`) or every score (`.csv`).
    #[arg(long)]
    out: Option<PathBuf>,
    /// Resamplings of the source videos, for the intervals.
    #[arg(long)]
    bootstrap: Option<usize>,
    /// Share of a set's pictures that may have no score.
    #[arg(long)]
    max_failed: Option<f64>,
}

impl Evaluate {
    pub(crate) fn run(self) -> Result<()> {
        let mut table = match &self.config {
            Some(path) => Config::read(path)?.evaluate,
            None => config::Evaluate::default(),
        };
        let located = self.locate || self.face_model.is_some();
        for folder in &self.faces {
            table.sets.push(TestSet {
                name: named(folder, |p| p.file_name()),
                folders: vec![folder.clone()],
                sets: Vec::new(),
                kind: if located { TestKind::Pictures } else { TestKind::Crops },
                frames: 1,
                robustness: false,
            });
        }
        table.face_model = self.face_model.or(table.face_model);
        table.bootstrap = self.bootstrap.unwrap_or(table.bootstrap);
        table.max_failed = self.max_failed.unwrap_or(table.max_failed);
        let others = self.against.into_iter();
        table.models.extend(others.map(|file| Contender { name: named(&file, Path::file_stem), file, contract: None }));
        let model = Contender { name: named(&self.model, Path::file_stem), file: self.model, contract: self.contract };
        let folder = self.run.as_deref().map(RunFolder::new).transpose()?;
        let found = evaluate::evaluate(&table, &model, folder.as_ref())?;
        println!("{}", found.evaluation);
        match self.out {
            Some(out) if has_extension(&out, "json") => found.evaluation.write(&out),
            Some(out) if has_extension(&out, "csv") => evaluate::write_scores(&out, &found.scores),
            Some(out) => Err(Error::Data(format!("{}: what is written must be called .json or .csv", out.display()))),
            None => Ok(()),
        }
    }
}

/// What a file or folder is called, all of its path where it ends in no name.
fn named(path: &Path, part: impl Fn(&Path) -> Option<&std::ffi::OsStr>) -> String {
    part(path).map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}
