//! The subcommands: each takes its arguments, calls the library and prints what it found.

mod calibrate;
mod evaluate;
mod export;
mod faces;
mod import;
mod localize;
mod locator;
mod margin;
mod proof;
mod report;
mod run;
mod synthesize;
mod train;
mod zoo;

use std::path::Path;

use clap::Subcommand;
use deepfake_scoring::locate::{LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::session::SessionOptions;
use deepfake_trainer::Result;

/// What can be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// All of it, from faces to a model with its report; run again, it does only what is not up to date.
    Run(run::Run),
    /// Cuts faces out of videos and pictures; run again with the same folder, it goes on where it was stopped.
    Faces(faces::Faces),
    /// Trains the detectors whose attention tells the primary regions of faces.
    Zoo(zoo::Zoo),
    /// Makes the maps of primary regions that `regularize.kind = "primary_regions"` erases by.
    Localize(localize::Localize),
    /// Trains a network; run again with the same folder, it goes on where it was stopped.
    Train(train::Train),
    /// Finds temperature and thresholds on the validation split of a run and keeps them in its folder.
    Calibrate(calibrate::Calibrate),
    /// Writes the best weights of a run as an ONNX file, compared with the trainer before it is written.
    Export(export::Export),
    /// Writes the weights of an exported ONNX file as safetensors, with norms that training can go on with.
    Import(import::Import),
    /// Measures how face crops lie around the boxes of a locator: `crop.margin` and `crop.shift_y` of the contract.
    Margin(margin::Margin),
    /// Makes pseudo-fakes of real faces, each blended into itself; run again, it makes what is missing.
    Synthesize(synthesize::Synthesize),
    /// Measures models on test sets, through the engine, and compares them.
    Evaluate(evaluate::Evaluate),
    /// Makes a face locator and measures it beside others; run again, it goes on where it was stopped.
    Locator(locator::Locator),
    /// Compares ways to train over seeds, backbones and test sets; run again, it does what is missing and tells what there is.
    Proof(proof::Proof),
    /// Writes what a run came to as one HTML file, and the model card.
    Report(report::Report),
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Run(run) => run.run(),
            Self::Faces(faces) => faces.run(),
            Self::Zoo(zoo) => zoo.run(),
            Self::Localize(localize) => localize.run(),
            Self::Train(train) => train.run(),
            Self::Calibrate(calibrate) => calibrate.run(),
            Self::Export(export) => export.run(),
            Self::Import(import) => import.run(),
            Self::Margin(margin) => margin.run(),
            Self::Synthesize(synthesize) => synthesize.run(),
            Self::Evaluate(evaluate) => evaluate.run(),
            Self::Locator(locator) => locator.run(),
            Self::Proof(proof) => proof.run(),
            Self::Report(report) => report.run(),
        }
    }
}

/// The locator in an ONNX file.
fn locator(path: &Path) -> Result<Locator> {
    Ok(Locator::new(&Model::read(path)?, &SessionOptions::default(), LocateOptions::default())?)
}
