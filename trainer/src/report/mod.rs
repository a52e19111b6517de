//! What a run came to, for people: one HTML file that needs nothing else, and the model card.

mod card;
mod chart;
mod heat;
mod history;
mod page;

use std::path::{Path, PathBuf};

use base64::Engine;

pub use card::card;
pub(crate) use chart::forest;
pub use heat::heat;
pub use history::{Epoch, History};
pub use page::page;

use crate::calibrate::Calibration;
use crate::checkpoint::{self, RunFolder, write_atomically};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::evaluate::Evaluation;

/// The largest contact sheet that is put into a report, bytes.
const MAX_SHEET: u64 = 16 << 20;

/// All that a report tells of.
#[derive(Debug, Default)]
pub struct Told {
    /// The configuration of the run.
    pub config: Option<Config>,
    /// Of its training.
    pub history: History,
    /// Of its validation split.
    pub calibration: Option<Calibration>,
    /// What was measured.
    pub evaluation: Option<Evaluation>,
    /// Where the evaluation's pictures lie.
    pub folder: PathBuf,
    /// Contact sheets: name and PNG file.
    pub sheets: Vec<(String, PathBuf)>,
}

impl Told {
    /// Reads what a run folder holds; what was not done yet is missing. `evaluation` is read instead of the folder's.
    ///
    /// # Errors
    ///
    /// Files that are there and cannot be read; a folder with neither configuration nor evaluation.
    pub fn read(run: &RunFolder, evaluation: Option<&Path>) -> Result<Self> {
        let config = run.config().exists().then(|| checkpoint::read_config(run)).transpose()?;
        let measured = evaluation.map_or_else(|| run.evaluation(), Path::to_path_buf);
        let found = (evaluation.is_some() || measured.exists()).then(|| Evaluation::read(&measured)).transpose()?;
        if config.is_none() && found.is_none() {
            let problem = "holds neither a run nor an evaluation: there is nothing to report";
            return Err(Error::checkpoint(run.path(), problem));
        }
        let mut sheets = Vec::new();
        contact_sheets(run.path(), "", 3, &mut sheets)?;
        if let Some(maps) = config.as_ref().and_then(|c| c.regularize.maps.as_deref()).filter(|m| m.is_dir()) {
            contact_sheets(maps, "maps", 1, &mut sheets)?;
        }
        sheets.sort();
        Ok(Self {
            config,
            history: History::read(&run.log())?,
            calibration: run.read_calibration()?,
            evaluation: found,
            folder: measured.parent().unwrap_or(Path::new("")).to_owned(),
            sheets,
        })
    }
}

/// PNG files in the run folder: whatever is drawn there is drawn for people.
fn contact_sheets(folder: &Path, name: &str, depth: usize, sheets: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if name.is_empty() { file } else { format!("{name}/{file}") };
        if path.is_dir() && depth > 0 {
            contact_sheets(&path, &name, depth - 1, sheets)?;
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"))
            && std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= MAX_SHEET)
        {
            sheets.push((name, path));
        }
    }
    Ok(())
}

/// Writes the report of a run folder to `html` and its model card to `card`, where they are given. `evaluation` is told of instead of the
/// folder's own.
///
/// # Errors
///
/// As [`Told::read`]; a card of a run that was not evaluated; files that cannot be written.
pub fn report(run: &RunFolder, evaluation: Option<&Path>, html: Option<&Path>, card_to: Option<&Path>) -> Result<()> {
    let told = Told::read(run, evaluation)?;
    if let Some(path) = html {
        write_atomically(path, page(&told)?.as_bytes())?;
    }
    if let Some(path) = card_to {
        write_atomically(path, card(&told)?.as_bytes())?;
    }
    Ok(())
}

/// As an address that holds the bytes themselves.
fn data_address(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}
