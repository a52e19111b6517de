//! GStreamer's decoded video as frames that `deepfake-scoring` reads: what the element and the trainer have in common, so that both
//! see the same numbers in the same buffers.

#![warn(clippy::unwrap_used)]

mod standstill;
mod upright;
mod view;

pub use standstill::Standstill;
pub use upright::link_upright_once_known;
pub use view::{FrameFormat, MapError, caps, plane_mut};
