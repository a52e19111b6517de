use std::path::{Path, PathBuf};

use clap::Args;
use deepfake_trainer::Result;
use deepfake_trainer::checkpoint::write_atomically;
use deepfake_trainer::config;
use deepfake_trainer::error::Error;
use deepfake_trainer::proof::{self, Limits, Results};

#[derive(Args)]
pub(crate) struct Proof {
    /// TOML file of an experiment, see `trainer/README.md`.
    #[arg(long)]
    config: PathBuf,
    /// Folder of weights, zoos and maps, which may be thrown away afterwards; made where it is missing. Without it no run is done.
    #[arg(long)]
    work: Option<PathBuf>,
    /// Folder of results, one small file a run: what is there is not done again.
    #[arg(long)]
    results: PathBuf,
    /// Writes what came out as Markdown, its figures into the folder of results.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Only runs whose `direction/backbone/arm-seed` contains this; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// At most so many runs.
    #[arg(long)]
    runs: Option<usize>,
}

impl Proof {
    pub(crate) fn run(self) -> Result<()> {
        let (proof, trials) = config::Proof::read(&self.config)?;
        let results = Results::new(&self.results);
        if let Some(work) = &self.work {
            let limits = Limits { only: self.only, runs: self.runs };
            let state = proof::prove(&proof, &trials, &results, work, &limits)?;
            println!("{} runs done now, {} before, {} left", state.done, state.kept, state.left);
        }
        if let Some(path) = &self.page {
            let page = proof::page(&proof, &trials, &results, &relative(path, &self.results)?)?;
            for (name, svg) in &page.figures {
                write_atomically(&self.results.join(name), svg.as_bytes())?;
            }
            write_atomically(path, page.text.as_bytes())?;
            println!("{}", path.display());
        }
        Ok(())
    }
}

/// The folder of results as the page names it: they travel together.
fn relative(page: &Path, results: &Path) -> Result<String> {
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|source| Error::Io { path: path.to_owned(), source });
    let (page, results) = (absolute(page)?, absolute(results)?);
    let inside = page.parent().and_then(|folder| results.strip_prefix(folder).ok());
    let text = "must lie in the folder of the page, or below it: the page shows the figures there";
    let inside = inside.ok_or_else(|| Error::Data(format!("{}: {text}", results.display())))?;
    Ok(inside.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/"))
}
