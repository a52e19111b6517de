//! One stream of a group: hands its crops in and waits for their evidence, and for nobody else's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::{Job, JobId, Mailbox, Shared, Work, lock};
use super::{Hub, MemberError};
use crate::interrupt::{Bell, RunOptions};
use crate::score::{Card, Evidence, NotScored};

/// A stream's place in a group, which it leaves when this is dropped. The last one that leaves takes the session with it.
pub struct Member {
    hub: Arc<Hub>,
    id: u64,
    /// Hand-ins so far.
    serial: u64,
    work: Work,
    mailbox: Arc<Mailbox>,
    /// For runs that nobody ends.
    bell: Arc<Bell>,
    /// The last run failed.
    suspect: bool,
    window: Duration,
    frame_time: Option<Duration>,
    /// When its frame came.
    begun: Instant,
}

impl Member {
    pub(super) fn new(hub: Arc<Hub>, id: u64) -> Self {
        Self {
            hub,
            id,
            serial: 0,
            work: Work::default(),
            mailbox: Arc::default(),
            bell: Arc::default(),
            suspect: false,
            window: Duration::ZERO,
            frame_time: None,
            begun: Instant::now(),
        }
    }

    /// The model that the group shares.
    pub fn card(&self) -> &Card {
        &self.hub.card
    }

    /// Sees what the group does.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.hub.shared))
    }

    /// For how long its faces may wait for those of others.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// Time that a frame has from [`Member::begin`] to its scores: where the run would take all of it, no window is waited for.
    pub fn set_frame_time(&mut self, time: Option<Duration>) {
        self.frame_time = time;
    }

    /// It looks at a frame now: others may wait for the faces that come of it, for as long as their own windows are.
    pub fn begin(&mut self) {
        self.begun = Instant::now();
        self.hub.shared.desk().set_working(self.id, true);
    }

    /// Nothing came of the frame.
    pub fn rest(&mut self) {
        self.hub.shared.desk().set_working(self.id, false);
        self.hub.shared.changed.notify_one();
    }

    /// The place for the crop with that index in the next [`Member::run`].
    pub fn crop_mut(&mut self, index: usize) -> &mut [f32] {
        let len = self.hub.card.spec.len();
        let crops = &mut self.work.crops;
        if crops.len() < (index + 1) * len {
            crops.resize((index + 1) * len, 0.0);
        }
        &mut crops[index * len..(index + 1) * len]
    }

    /// Scores the first `n` crops together with those of others. [`RunOptions::terminate`] ends the wait, not the run of the others.
    ///
    /// # Errors
    ///
    /// The first run that failed with no crops but these in it, a panic of the worker, an early end. Crops that have no evidence
    /// are [`NotScored::RunFailed`].
    pub fn run(&mut self, n: usize, options: Option<&RunOptions>) -> Result<(), MemberError> {
        self.work.logits.clear();
        self.work.maps.clear();
        if n == 0 {
            self.rest();
            return Ok(());
        }
        // At least as long as is told.
        self.crop_mut(n - 1);
        self.serial += 1;
        let id = JobId { member: self.id, serial: self.serial };
        let bell = options.map_or(&self.bell, RunOptions::bell);
        let job = Job {
            id,
            work: std::mem::take(&mut self.work),
            count: n,
            taken: 0,
            suspect: self.suspect,
            passed_over: false,
            wait_until: Instant::now() + self.window,
            deadline: self.frame_time.map(|time| self.begun + time),
            bell: Arc::clone(bell),
            mailbox: Arc::clone(&self.mailbox),
        };
        let mut desk = self.hub.shared.desk();
        desk.set_working(self.id, false);
        if let Some(problem) = &desk.broken {
            return Err(MemberError::Panicked(problem.clone()));
        }
        desk.handed_in.push(job);
        drop(desk);
        self.hub.shared.changed.notify_one();
        let done = bell.wait(|| lock(&self.mailbox).take());
        let done = done.or_else(|| give_up(&self.hub.shared, &self.mailbox, id));
        self.work = done.ok_or(MemberError::Ended)?;
        let error = self.work.error.take();
        self.suspect = matches!(error, Some(MemberError::Run(_)));
        error.map_or(Ok(()), Err)
    }

    /// What the last [`Member::run`] says of the crop with that index.
    ///
    /// # Errors
    ///
    /// Why there is no score.
    pub fn evidence(&self, index: usize) -> Result<Evidence<'_>, NotScored> {
        let logit = (*self.work.logits.get(index).unwrap_or(&Err(NotScored::RunFailed)))?;
        Ok(Evidence { logit, map: self.hub.card.map(&self.work.maps, index) })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.shared.desk().seats.retain(|seat| seat.member != self.id);
        // Who waited for its faces need not any more.
        self.hub.shared.changed.notify_one();
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("id", &self.id).field("hand_ins", &self.serial).finish_non_exhaustive()
    }
}

/// Waits for a job no longer; it may be finished just now. A run in which nobody's crops are left is ended.
fn give_up(shared: &Shared, mailbox: &Mailbox, id: JobId) -> Option<Work> {
    let mut desk = shared.desk();
    if let Some(work) = lock(mailbox).take() {
        return Some(work);
    }
    if let Some(index) = desk.handed_in.iter().position(|job| job.id == id) {
        desk.handed_in.swap_remove(index);
        return None;
    }
    desk.given_up.push(id);
    if let Some(index) = desk.running.iter().position(|running| *running == id) {
        desk.running.swap_remove(index);
        if desk.running.is_empty() {
            // Where the run has just ended there is nothing to end.
            let _ = shared.options.terminate();
        }
    }
    // It need not wait for what is not to be run.
    shared.changed.notify_one();
    None
}

/// What a group has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// Streams that share the session at the moment.
    pub members: usize,
    /// Runs of the model.
    pub runs: u64,
    /// Faces in them, all streams together.
    pub faces: u64,
    /// Faces that were handed in while a run goes on, and wait for the next.
    pub waiting: usize,
}

/// Sees what a group does, without keeping it.
#[derive(Clone)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Up to now.
    pub fn stats(&self) -> GroupStats {
        let desk = self.0.desk();
        let waiting = desk.handed_in.iter().map(|job| job.count).sum();
        GroupStats { members: desk.seats.len(), runs: desk.runs, faces: desk.faces, waiting }
    }
}
