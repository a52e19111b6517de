//! `deepfake-trainer`: see `deepfake-trainer --help`.

#![warn(clippy::unwrap_used)]

mod command;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use command::Command;
use deepfake_scoring::runtime;
use deepfake_trainer::memory;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Trains, exports and evaluates deepfake detectors.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // ONNX Runtime tells every step of its optimizer at the level of information.
    let filter = Targets::new().with_default(LevelFilter::INFO).with_target("ort", LevelFilter::WARN);
    let colours = std::io::stderr().is_terminal();
    let to_stderr = tracing_subscriber::fmt::layer().with_ansi(colours).with_target(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(to_stderr).with(filter).init();
    memory::keep_freed();
    // As libtorch's: where it was when this was built, unless the environment says otherwise.
    if let Some(folder) = option_env!("ORT_DYLIB_PATH").and_then(|library| Path::new(library).parent()) {
        runtime::set_library_directory(folder);
    }
    match Arguments::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
