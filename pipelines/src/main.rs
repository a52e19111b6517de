//! Scores the faces of a video for being deepfakes: one JSON line a frame on stdout, progress and a summary on stderr.
//!
//! `score.sh` beside this crate builds and runs it. All options but `--overlay` are properties of the element
//! `deepfakescore`, asked of the element itself, so that this program needs no change when the element gains one.

#![warn(clippy::unwrap_used)]

mod arguments;
mod pipeline;
mod progress;
mod summary;

use std::io::IsTerminal;
use std::process::ExitCode;

use arguments::Arguments;
use pipeline::End;

/// As shells report a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match score() {
        Ok(End::Interrupted) => ExitCode::from(INTERRUPTED),
        Ok(End::Complete | End::NobodyListens) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn score() -> Result<End, pipeline::Error> {
    gst::init().map_err(|e| pipeline::Error::GStreamer(e.to_string()))?;
    let element = pipeline::make(pipeline::SCORER)?;
    let arguments = Arguments::parse(&element, std::env::args_os(), std::env::var_os(arguments::SAMPLE_VARIABLE))
        .unwrap_or_else(|error| error.exit());
    arguments.configure(&element);
    let progress = progress::Progress::new(std::io::stderr().is_terminal());
    let (end, summary) = pipeline::run(&arguments, element, std::io::stdout(), &progress)?;
    eprint!("{summary}");
    if let Some(overlay) = &arguments.overlay {
        eprintln!("\nThe video with the scores drawn into it: {}", overlay.display());
    }
    Ok(end)
}
