//! The engine behind the `deepfakescore` element: a video frame goes in, scored faces come out.
//!
//! One module a step of a frame's way, in this order:
//!
//! [`frame`] (borrowed planes) → [`locate`] (or boxes from upstream) → [`track`] → [`crop`] (straight from the planes
//! to the tensor) → [`session`] (ONNX Runtime) → [`score`] (logit and map) → [`verdict`] (per track); [`engine`] ties
//! them together, and [`live`] runs it beside the stream, for streams that cannot wait; [`group`] lets several streams share one
//! session, and [`threads`] a process its threads. [`shot`] tells where one shot ends and
//! another begins, [`stats`] what was done and how long it took. [`contract`] is what a model says about itself, [`onnx`] the part of the file format that is read
//! and written here, [`heat`] the colours that evidence is painted in.
//!
//! Nothing here knows GStreamer.

#![warn(clippy::unwrap_used)]

mod binding;
pub mod contract;
pub mod crop;
pub mod engine;
mod face;
pub mod frame;
pub mod geometry;
pub mod group;
pub mod heat;
mod interrupt;
mod judge;
pub mod live;
pub mod locate;
pub mod model;
pub mod onnx;
pub mod runtime;
pub mod score;
pub mod session;
pub mod shot;
pub mod stats;
pub mod threads;
pub mod track;
pub mod verdict;
