//! Plain folders `real/` and `fake/` of videos or pictures. What a file's name says before the first `_` names its source.

use super::{Clip, Listing, Media};
use crate::data::{Label, source_of, video_of};
use crate::error::Result;

pub(super) fn list(listing: &Listing<'_>) -> Result<Vec<Clip>> {
    let mut clips = Vec::new();
    for label in [Label::Real, Label::Fake] {
        let folder = listing.root().join(label.folder());
        if folder.is_dir() {
            clips.extend(
                listing.clips(&folder, label, "", |stem| vec![format!("{}/{}", listing.name, source_of(stem))])?,
            );
        }
    }
    for clip in clips.iter_mut().filter(|c| c.media == Media::Picture) {
        let stem = clip.path.file_stem().unwrap_or_default().to_string_lossy();
        clip.video = format!("{}/{}/{}", clip.set, clip.label.folder(), video_of(&stem));
    }
    if clips.is_empty() {
        return Err(listing.wrong("looked for videos or pictures in `real/` and `fake/`"));
    }
    Ok(clips)
}
