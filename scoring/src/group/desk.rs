//! What members and worker of a group both see: who is at work, what was handed in, what is run.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::MemberError;
use crate::interrupt::{Bell, RunOptions};
use crate::score::NotScored;

/// One hand-in of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobId {
    pub(super) member: u64,
    pub(super) serial: u64,
}

/// Crops on their way to the worker, evidence on its way back.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// One behind the other.
    pub(super) crops: Vec<f32>,
    /// Of the crops that were run, in their order.
    pub(super) logits: Vec<Result<f32, NotScored>>,
    /// As [`Work::logits`], one behind the other; empty where the model has none.
    pub(super) maps: Vec<f32>,
    pub(super) error: Option<MemberError>,
}

/// Where a member finds what it waits for.
pub(super) type Mailbox = Mutex<Option<Work>>;

pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) work: Work,
    /// Crops in it.
    pub(super) count: usize,
    /// Crops that have been taken for a run.
    pub(super) taken: usize,
    /// The last one failed: its crops are run without those of others.
    pub(super) suspect: bool,
    /// A suspect's: a run of others' crops went before it.
    pub(super) passed_over: bool,
    /// The end of its batch window.
    pub(super) wait_until: Instant,
    /// When its scores should be there.
    pub(super) deadline: Option<Instant>,
    pub(super) bell: Arc<Bell>,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Job {
    /// Gives the work back to its member.
    pub(super) fn deliver(self) {
        *lock(&self.mailbox) = Some(self.work);
        self.bell.ring();
    }
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) member: u64,
    /// It looks at a frame, and faces may come of it.
    pub(super) working: bool,
}

/// Held for as long as it takes to move something in or out.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) seats: Vec<Seat>,
    pub(super) handed_in: Vec<Job>,
    /// Jobs of which crops are being run, without those that were given up.
    pub(super) running: Vec<JobId>,
    /// Jobs that the worker has and nobody waits for any more.
    pub(super) given_up: Vec<JobId>,
    /// Runs so far.
    pub(super) runs: u64,
    /// Crops in them.
    pub(super) faces: u64,
    pub(super) stopping: bool,
    /// The worker has panicked, with these words.
    pub(super) broken: Option<String>,
}

impl Desk {
    pub(super) fn set_working(&mut self, member: u64, working: bool) {
        if let Some(seat) = self.seats.iter_mut().find(|s| s.member == member) {
            seat.working = working;
        }
    }
}

pub(super) struct Shared {
    desk: Mutex<Desk>,
    /// Something has changed for the worker.
    pub(super) changed: Condvar,
    /// Of the worker's runs.
    pub(super) options: RunOptions,
}

impl Shared {
    pub(super) fn new(options: RunOptions) -> Self {
        Self { desk: Mutex::default(), changed: Condvar::new(), options }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }
}

/// Nothing is left half done in what is locked here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
