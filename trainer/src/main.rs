//! `deepfake-trainer`: see `deepfake-trainer --help`.

#![warn(clippy::unwrap_used)]

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use deepfake_scoring::locate::{LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::score::Scorer;
use deepfake_scoring::session::SessionOptions;
use deepfake_trainer::calibrate::{Wish, calibrate};
use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::evaluate::Region;
use deepfake_trainer::{Config, Result, data, evaluate, export, log, margin, memory, train};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Trains, exports and evaluates deepfake detectors.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trains a network; run again with the same folder, it goes on where it was stopped.
    Train {
        /// TOML file, see `trainer/README.md`.
        #[arg(long)]
        config: PathBuf,
        /// Folder for checkpoints, weights and logs; made where it is missing.
        #[arg(long)]
        run: PathBuf,
    },
    /// Finds temperature and thresholds on the validation split of a run and keeps them in its folder.
    Calibrate {
        /// Folder of the run.
        #[arg(long)]
        run: PathBuf,
        /// Share of real faces that may be called fake.
        #[arg(long, default_value_t = Wish::default().false_alarms)]
        false_alarms: f64,
        /// Share of fakes that may be called real.
        #[arg(long, default_value_t = Wish::default().misses)]
        misses: f64,
    },
    /// Writes the best weights of a run as an ONNX file, compared with the trainer before it is written.
    Export {
        /// Folder of the run.
        #[arg(long)]
        run: PathBuf,
        /// Takes crop and provenance from this configuration, which must otherwise be that of the run.
        #[arg(long)]
        config: Option<PathBuf>,
        /// The ONNX file.
        #[arg(long)]
        out: PathBuf,
    },
    /// Measures how face crops lie around the boxes of a locator: `crop.margin` and `crop.shift_y` of the contract.
    Margin {
        /// Folder of crops; may be given several times.
        #[arg(long, required = true)]
        faces: Vec<PathBuf>,
        /// Face detector (ONNX): YuNet, UltraFace or SCRFD.
        #[arg(long)]
        face_model: PathBuf,
        /// Look at so many pictures of each folder, evenly spread; 0 means all.
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// Scores faces with an ONNX file and tells how good it is.
    Evaluate(Evaluate),
}

#[derive(Args)]
struct Evaluate {
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

fn main() -> ExitCode {
    // ONNX Runtime tells every step of its optimizer at the level of information.
    let filter = Targets::new().with_default(LevelFilter::INFO).with_target("ort", LevelFilter::WARN);
    let colours = std::io::stderr().is_terminal();
    let to_stderr = tracing_subscriber::fmt::layer().with_ansi(colours).with_target(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(to_stderr).with(filter).init();
    memory::keep_freed();
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train { config, run } => {
            train::train(&Config::read(&config)?, &run, train::Limits::default())?;
        }
        Command::Calibrate { run, false_alarms, misses } => {
            let folder = RunFolder::open(&run)?;
            let validation = train::validation_of(&folder)?;
            let found = calibrate(&validation.logits, &validation.fake, Wish { false_alarms, misses })?;
            folder.write_calibration(&found)?;
            println!(
                "temperature {:.4}, fake_above {:.4} (reaches {:.2} % of {} real faces), real_below {:.4} (reaches {:.2} % of {} \
                 fakes)",
                found.temperature,
                found.fake_above,
                100.0 * found.false_alarms,
                found.real,
                found.real_below,
                100.0 * found.misses,
                found.fake
            );
        }
        Command::Export { run, config, out } => {
            let said = config.as_deref().map(Config::read).transpose()?;
            let parity = export::export_run(&RunFolder::open(&run)?, said.as_ref(), &out)?;
            println!(
                "{}: differs from the trainer by at most {:.1e} in the logit, {:.1e} in the map, {:.1e} in the map's mean",
                out.display(),
                parity.logit,
                parity.map,
                parity.mean
            );
        }
        Command::Margin { faces, face_model, limit } => {
            let mut pictures = Vec::new();
            for folder in &faces {
                let all = data::pictures_in(folder)?;
                let every = if limit == 0 { 1 } else { all.len().div_ceil(limit).max(1) };
                pictures.extend(all.into_iter().step_by(every));
            }
            let bar = log::bar(pictures.len(), "looking for faces");
            let found = margin::measure(&pictures, &mut locator(&face_model)?, &bar)?;
            bar.finish_and_clear();
            println!("{found}");
        }
        Command::Evaluate(Evaluate { model, faces, face_model, out, bootstrap, max_failed }) => {
            let mut scorer = Scorer::new(&Model::read(&model)?, None, &SessionOptions::default())?;
            let faces = data::scan(&faces)?;
            let bar = log::bar(faces.len(), "scoring");
            let mut locator = face_model.as_deref().map(locator).transpose()?;
            let region = locator.as_mut().map_or(Region::Whole, Region::Located);
            let (scored, failed) = evaluate::score(&mut scorer, &faces, region, max_failed, &bar)?;
            bar.finish_and_clear();
            let report = evaluate::report(&scorer, &scored, failed, bootstrap)?;
            println!("{report}");
            if let Some(out) = out {
                evaluate::write(&out, &report, &scored)?;
            }
        }
    }
    Ok(())
}

fn locator(path: &Path) -> Result<Locator> {
    Ok(Locator::new(&Model::read(path)?, &SessionOptions::default(), LocateOptions::default())?)
}
