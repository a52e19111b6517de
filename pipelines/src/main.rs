//! Scores the faces of a video for being deepfakes: one JSON line a frame on stdout, progress and a summary on stderr.
//!
//! `score.sh` beside this crate builds and runs it. All options but those that name files are properties of the element
//! `deepfakescore`, asked of the element itself, so that this program needs no change when the element gains one.

#![warn(clippy::unwrap_used)]

mod arguments;
mod output;
mod pictures;
mod pipeline;
mod progress;
mod record;
mod report;
mod summary;
mod timeline;
mod webvtt;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::Arguments;
use output::Output;
use pipeline::End;

/// As shells report a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

/// The environment variable that names the folder of the plugin, as a shell reads it, where the user is to be told of it.
const PLUGINS_VARIABLE: &str = "DEEPFAKE_TELL_PLUGINS";

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
    // Found out before models are loaded, and told with its reason.
    let file = |what, path: &Option<PathBuf>| path.as_deref().map(|path| Output::create(what, path)).transpose();
    let report = file("the report", &arguments.report)?;
    let webvtt = file("the text track", &arguments.webvtt)?;
    let csv = file("the table", &arguments.csv)?;

    let progress = progress::Progress::new(std::io::stderr().is_terminal());
    let (end, found) = pipeline::run(&arguments, element, std::io::stdout(), &progress)?;
    let summary = &found.summary;
    let timeline = found.timeline.unwrap_or_default();
    if let Some(file) = report {
        file.write(report::page(summary, &timeline, &found.pictures.unwrap_or_default()).as_bytes())?;
    }
    if let Some(file) = webvtt {
        file.write(webvtt::track(&summary.name, &timeline, &summary.models).as_bytes())?;
    }
    if let Some(file) = csv {
        file.write(&summary.csv()?)?;
    }
    eprint!("{summary}");
    for (what, path) in [
        ("The video with the scores drawn into it", &arguments.overlay),
        ("A page to look at", &arguments.report),
        ("The verdicts as a text track", &arguments.webvtt),
        ("The summary as a table", &arguments.csv),
    ] {
        if let Some(path) = path {
            eprintln!("{what}: {}", path.display());
        }
    }
    if let Some(plugins) = std::env::var_os(PLUGINS_VARIABLE) {
        eprintln!(
            "\nTo use the plugin with any gst-launch-1.0:\n\n    export GST_PLUGIN_PATH={}\n    gst-inspect-1.0 {}",
            plugins.display(),
            pipeline::SCORER
        );
    }
    Ok(end)
}
