//! Threads that decode and augment ahead of the network.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::{Device, Tensor};

use crate::augment::{Augmenter, Plan};
use crate::config::{Augment, Config, Input};
use crate::data::{Face, Pictures};
use crate::error::{Error, Result};
use crate::seeded;

/// How many batches wait for the network at most.
const AHEAD: usize = 3;

/// Faces with their labels, as the network reads them.
#[derive(Debug)]
pub struct Batch {
    /// Batch, height, width, channels; normalized.
    pub pixels: Vec<f32>,
    /// Columns of the network's output.
    pub labels: Vec<i64>,
    /// Pixels.
    pub size: usize,
}

impl Batch {
    /// The input `[N, 3, size, size]` (channels last in memory, which convolutions on the CPU like best) and the labels `[N]`.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn tensors(&self, device: Device) -> Result<(Tensor, Tensor)> {
        let side = self.size as i64;
        let pixels = Tensor::f_from_slice(&self.pixels)?.f_view([-1, side, side, 3])?;
        let labels = Tensor::f_from_slice(&self.labels)?;
        Ok((pixels.f_permute([0, 3, 1, 2])?.f_to_device(device)?, labels.f_to_device(device)?))
    }
}

/// What batches are made of.
#[derive(Debug)]
pub struct Loader<'a> {
    faces: &'a [Face],
    pictures: &'a Pictures,
    input: &'a Input,
    pool: ThreadPool,
}

/// How the faces of a batch are shown.
#[derive(Clone, Copy, Debug)]
pub enum Showing<'a> {
    /// As they are.
    Plain,
    /// Augmented anew: every face is drawn for by seed, epoch and its index, or by that of its pair's real face where
    /// `pairs` is set (batches must then be as [`crate::data::Order::epoch`] makes them).
    Augmented {
        /// What may happen.
        augment: &'a Augment,
        /// Of the run.
        seed: u64,
        /// Of the run.
        epoch: usize,
        /// Both faces of a pair get the same.
        pairs: bool,
    },
}

impl<'a> Loader<'a> {
    /// For these faces, whose pictures have the same indices.
    ///
    /// # Errors
    ///
    /// When no threads can be started.
    pub fn new(config: &'a Config, faces: &'a [Face], pictures: &'a Pictures) -> Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(config.run.loader_threads)
            .thread_name(|i| format!("loader-{i}"))
            .build()
            .map_err(|e| Error::Training(format!("threads that load: {e}")))?;
        Ok(Self { faces, pictures, input: &config.input, pool })
    }

    /// Makes one batch of inputs of `size` pixels.
    ///
    /// # Errors
    ///
    /// A picture that cannot be read.
    pub fn batch(&self, indices: &[usize], size: usize, showing: Showing<'_>) -> Result<Batch> {
        let length = Augmenter::new(self.input, size).len();
        let mut pixels = vec![0.0; indices.len() * length];
        self.pool.install(|| {
            pixels.par_chunks_exact_mut(length).enumerate().try_for_each_init(
                || Augmenter::new(self.input, size),
                |augmenter, (at, out)| {
                    let plan = match showing {
                        Showing::Plain => Plan::PLAIN,
                        Showing::Augmented { augment, seed, epoch, pairs } => {
                            let drawn_for = if pairs { at % (indices.len() / 2) } else { at };
                            let numbers = [epoch as u64, indices[drawn_for] as u64];
                            Plan::draw(augment, &mut seeded::generator(seed, "augment", &numbers))
                        }
                    };
                    augmenter.apply(&*self.pictures.get(indices[at])?, &plan, out)
                },
            )
        })?;
        let labels = indices.iter().map(|&i| self.faces[i].label.column()).collect();
        Ok(Batch { pixels, labels, size })
    }

    /// Makes batches in a thread of `scope`, in order, some ahead of who reads them. Ends early when the receiver is dropped.
    pub fn stream<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        batches: Vec<Vec<usize>>,
        size: usize,
        showing: Showing<'s>,
    ) -> (Receiver<Result<Batch>>, ScopedJoinHandle<'s, ()>) {
        let (sender, receiver) = sync_channel(AHEAD);
        let worker = scope.spawn(move || {
            for indices in batches {
                let batch = self.batch(&indices, size, showing);
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    break;
                }
            }
        });
        (receiver, worker)
    }
}
