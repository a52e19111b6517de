//! UADFV: 49 videos and their FakeAPP swaps.
//!
//! ```text
//! real/NNNN.mp4, fake/NNNN_fake.mp4
//! ```
//!
//! The number is the group. There is no official split.

use std::path::Path;

use super::{Clip, Listing};
use crate::data::Label;
use crate::error::{Error, Result};

/// Does a folder with `fake/` in it look so?
pub(super) fn is_one(root: &Path) -> bool {
    std::fs::read_dir(root.join("fake")).is_ok_and(|entries| {
        let mut names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).peekable();
        names.peek().is_some()
            && names.all(|n| n.split('.').next().is_some_and(|stem| number(stem).is_some() && stem.ends_with("_fake")))
    })
}

fn number(stem: &str) -> Option<&str> {
    let number = stem.strip_suffix("_fake").unwrap_or(stem);
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

pub(super) fn list(listing: &Listing<'_>) -> Result<Vec<Clip>> {
    let keys = |stem: &str| number(stem).map(|n| format!("uadfv/{n}")).into_iter().collect();
    let mut clips = listing.clips(&listing.folder(&["real"])?, Label::Real, "", keys)?;
    clips.extend(listing.clips(&listing.folder(&["fake"])?, Label::Fake, "FakeAPP", keys)?);
    if let Some(other) = clips.iter().find(|c| c.keys.is_empty()) {
        return Err(Error::Data(format!(
            "{}: videos of UADFV are named NNNN.mp4 and NNNN_fake.mp4; for other names there is `kind = \"folders\"`",
            other.path.display()
        )));
    }
    Ok(clips)
}
