//! FFIW-10K: videos with several people, of whom some were swapped.
//!
//! ```text
//! source/{train,val,test}/*.mp4        real
//! target/{train,val,test}/*.mp4        forged
//! target_mask/{train,val,test}/*.mp4   which pixels were forged; not used
//! ```
//!
//! Each folder may hold its videos in a folder `videos`; the test part is a download of its own that is laid out alike. The owners publish no
//! list of which target was made from which source: files of one name are taken for one group, and the owners' split for what keeps the
//! rest apart. Only some of the faces of a fake are forged: cut `which = "largest"` and mind the noise in the labels.

use super::{Clip, Listing};
use crate::data::{Label, Part};
use crate::error::Result;

pub(super) fn list(listing: &Listing<'_>) -> Result<Vec<Clip>> {
    let mut clips = Vec::new();
    for (class, label) in [("source", Label::Real), ("target", Label::Fake)] {
        let class = listing.folder(&[class])?;
        for (part, name) in [(Part::Train, "train"), (Part::Validation, "val"), (Part::Test, "test")] {
            let folder = class.join(name);
            if folder.is_dir() {
                let mut found = listing.clips(&folder, label, "", |stem| vec![format!("ffiw/{name}/{stem}")])?;
                found.iter_mut().for_each(|c| c.part = Some(part));
                clips.extend(found);
            }
        }
    }
    if clips.is_empty() {
        return Err(listing.wrong("looked for videos in {source,target}/{train,val,test}"));
    }
    Ok(clips)
}
