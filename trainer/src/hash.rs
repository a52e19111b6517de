//! SHA-256, as hexadecimal text.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes as hexadecimal text.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Of what a file holds.
///
/// # Errors
///
/// When it cannot be read.
pub fn file(path: &Path) -> Result<String> {
    Ok(hex(contents(path, Sha256::new())?))
}

/// `hash` with all that a file holds after what it has.
pub(crate) fn contents(path: &Path, hash: Sha256) -> Result<[u8; 32]> {
    let mut hash = hash;
    let mut file = std::fs::File::open(path).map_err(Error::io(path))?;
    // In pieces: a file may be a long video.
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece).map_err(Error::io(path))? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&piece[..n]),
        }
    }
}
