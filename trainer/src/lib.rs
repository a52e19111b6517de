//! Makes the deepfake detectors that the engine runs: faces on disk → split by source video → augmented batches → network →
//! ONNX file that says how it wants to be fed.
//!
//! Before that, [`zoo`] trains the detectors whose attention ([`cam`]) [`localize`] turns ([`fusion`]) into [`maps`] of primary
//! regions, which training then erases; [`contact_sheet`] shows them to people.
//!
//! One TOML file ([`config`]) drives everything. [`data`] knows the faces, [`augment`] and [`loader`] bring them to the network,
//! [`net`] is the network, [`optim`] changes it, [`train`] ties these together and [`checkpoint`] lets it go on where it was
//! stopped. [`calibrate`] finds temperature and thresholds, [`export`] writes the ONNX file, [`evaluate`] scores faces with it through
//! the engine, [`distort`] makes them worse to see how robust it is, [`synthesize`] makes pseudo-fakes of real faces, [`margin`] measures how crops lie around faces, and [`metrics`] says how good scores are.
//! [`proof`] compares ways to train, run by run. [`init`] says where weights start from, [`learner`] is one step of training.

#![warn(clippy::unwrap_used)]

pub mod augment;
pub mod calibrate;
pub mod cam;
pub mod checkpoint;
pub mod config;
pub mod contact_sheet;
pub mod data;
pub mod device;
pub mod distort;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod faces;
pub mod filter;
pub mod fusion;
pub mod hash;
pub mod init;
pub mod learner;
pub mod loader;
pub mod localize;
pub mod locator;
pub mod log;
pub mod maps;
pub mod margin;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod optim;
pub mod proof;
pub mod report;
pub mod seeded;
pub mod sheet;
mod shim;
pub mod synthesize;
pub mod train;
pub mod video;
pub mod workflow;
pub mod zoo;

pub use config::Config;
pub use error::{Error, Result};
