//! GStreamer elements that score the faces in running video for being deepfakes.

pub mod meta;
