//! Files that appear under their name only once they are whole, so that a run that fails leaves none that looks so.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that cannot be written.
#[derive(Debug, Error)]
#[error("{what} cannot be written to {}: {problem}", .path.display())]
pub(crate) struct Error {
    what: &'static str,
    path: PathBuf,
    problem: std::io::Error,
}

/// A file that is being written under another name.
#[derive(Debug)]
pub(crate) struct Output {
    what: &'static str,
    path: PathBuf,
    /// Until it has the name that was asked for.
    partial: Option<PathBuf>,
}

impl Output {
    /// Begins `what`, found out to be writable before the work is done.
    ///
    /// # Errors
    ///
    /// Where no file can be made there.
    pub(crate) fn create(what: &'static str, path: &Path) -> Result<Self, Error> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let output = Self { what, path: path.to_owned(), partial: Some(partial.into()) };
        std::fs::File::create(output.partial()).map_err(|problem| output.error(problem))?;
        Ok(output)
    }

    /// The file to write to.
    pub(crate) fn partial(&self) -> &Path {
        self.partial.as_deref().unwrap_or(&self.path)
    }

    /// What was written is whole: gives it its name.
    ///
    /// # Errors
    ///
    /// Where the folder does not let it.
    pub(crate) fn keep(mut self) -> Result<(), Error> {
        std::fs::rename(self.partial(), &self.path).map_err(|problem| self.error(problem))?;
        self.partial = None;
        Ok(())
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// As the file system says.
    pub(crate) fn write(self, content: &[u8]) -> Result<(), Error> {
        std::fs::write(self.partial(), content).map_err(|problem| self.error(problem))?;
        self.keep()
    }

    fn error(&self, problem: std::io::Error) -> Error {
        Error { what: self.what, path: self.path.clone(), problem }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // It may never have been made.
            let _ = std::fs::remove_file(partial);
        }
    }
}
