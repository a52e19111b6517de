//! Threads that decode and augment ahead of the network.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::{Device, Tensor};

use crate::augment::{Augmenter, Erase, Erasure, Plan};
use crate::config::{Augment, Config, Input, Regularize};
use crate::data::{Face, Picture, Pictures};
use crate::error::{Error, Result};
use crate::maps::RegionMaps;
use crate::seeded;
use crate::synthesize::PseudoFakes;

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
    maps: Option<&'a RegionMaps>,
    pseudo: Option<PseudoFakes<'a>>,
    input: &'a Input,
    pool: ThreadPool,
    /// As many as threads have worked at once; each keeps its scratch memory.
    idle: Mutex<Vec<Augmenter>>,
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
        /// What may be erased.
        regularize: &'a Regularize,
        /// Of the run.
        seed: u64,
        /// Of the run.
        epoch: usize,
        /// Both faces of a pair get the same.
        pairs: bool,
    },
}

impl<'a> Showing<'a> {
    /// As the configuration's training shows them in that epoch.
    pub fn training(config: &'a Config, epoch: usize) -> Self {
        let pairs = config.data.pairs && config.data.same_augmentation;
        Self::Augmented { augment: &config.augment, regularize: &config.regularize, seed: config.seed, epoch, pairs }
    }
}

impl<'a> Loader<'a> {
    /// For these faces, whose pictures have the same indices.
    ///
    /// # Errors
    ///
    /// When no threads can be started, or the faces of which pseudo-fakes are to be made cannot be found.
    pub fn new(config: &'a Config, faces: &'a [Face], pictures: &'a Pictures) -> Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(config.run.loader_threads)
            .thread_name(|i| format!("loader-{i}"))
            .build()
            .map_err(|e| Error::Training(format!("threads that load: {e}")))?;
        let pseudo = pool.install(|| PseudoFakes::of(config, faces, pictures))?;
        Ok(Self { faces, pictures, maps: None, pseudo, input: &config.input, pool, idle: Mutex::default() })
    }

    /// With the maps of its faces, which have the same indices.
    pub fn with_maps(self, maps: Option<&'a RegionMaps>) -> Self {
        Self { maps, ..self }
    }

    /// Makes one batch of inputs of `size` pixels.
    ///
    /// # Errors
    ///
    /// A picture that cannot be read.
    pub fn batch(&self, indices: &[usize], size: usize, showing: Showing<'_>) -> Result<Batch> {
        let length = 3 * size * size;
        let mut pixels = vec![0.0; indices.len() * length];
        self.pool.install(|| {
            pixels.par_chunks_exact_mut(length).enumerate().try_for_each(|(at, out)| {
                let mut augmenter = self.take();
                augmenter.resize(size);
                let shown = self.show(&mut augmenter, indices, at, showing, out);
                self.idle().push(augmenter);
                shown
            })
        })?;
        let labels = indices.iter().map(|&i| self.faces[i].label.column()).collect();
        Ok(Batch { pixels, labels, size })
    }

    /// Writes the face at place `at` of a batch to `out`.
    fn show(
        &self,
        augmenter: &mut Augmenter,
        indices: &[usize],
        at: usize,
        showing: Showing<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let own = indices[at];
        let Showing::Augmented { augment, regularize, seed, epoch, pairs } = showing else {
            return augmenter.apply(&*self.plain(own)?, &Plan::PLAIN, None, out);
        };
        let half = indices.len() / 2;
        let pair = if pairs { [indices[at % half], indices[at % half + half]] } else { [own; 2] };
        // A pair is drawn for by its real face: whether and how much is erased says nothing of which of the two it is.
        let numbers = [epoch as u64, pair[0] as u64];
        let plan = Plan::draw(augment, &mut seeded::generator(seed, "augment", &numbers));
        let drawn = Erasure::draw(regularize, &mut seeded::generator(seed, "regularize", &numbers));
        let erase = drawn.map(|drawn| {
            let map = self.maps.and_then(|maps| maps.get(drawn.map_of(regularize.pair_map, own, pair)));
            Erase { how: regularize, drawn, map }
        });
        // An epoch more than those done: what is shown plain has none.
        let picture = self.picture(own, pair, epoch as u64 + 1)?;
        augmenter.apply(&picture, &plan, erase.as_ref(), out)
    }

    /// What is shown of a face as it is; of a pseudo-fake, which is made anew at each draw, always the same one.
    ///
    /// # Errors
    ///
    /// A picture that cannot be read.
    pub fn plain(&self, index: usize) -> Result<Arc<Picture>> {
        self.picture(index, [index; 2], 0)
    }

    /// The face's file, or the pseudo-fake that is made for its pair.
    fn picture(&self, own: usize, pair: [usize; 2], epoch: u64) -> Result<Arc<Picture>> {
        match &self.pseudo {
            Some(pseudo) => pseudo.picture(self.pictures, own, pair, epoch),
            None => self.pictures.get(own),
        }
    }

    fn take(&self) -> Augmenter {
        self.idle().pop().unwrap_or_else(|| Augmenter::new(self.input, self.input.size))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Augmenter>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
