//! SHA-256, as hexadecimal text.

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
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    Ok(hash.chain_update(bytes).finalize().into())
}
