//! The group's one thread with the model: takes crops of all members in turn, runs them together, gives the evidence back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::desk::{Desk, Job, Shared};
use super::turns::{Pick, Turns};
use super::{BatchScorer, MemberError};
use crate::live::panic_message;
use crate::score::{Card, MAX_BATCH};
use crate::session::{Provider, SessionError};

/// On the CPU a larger batch costs no less a face, and who comes next would wait for all of it.
const CPU_TURN: usize = 8;

pub(super) struct Worker {
    shared: Arc<Shared>,
    scorer: Box<dyn BatchScorer>,
    turns: Turns,
    /// Those that are not finished.
    jobs: Vec<Job>,
    /// What a crop takes as a rule.
    usual: Duration,
    // Kept from run to run for their memory.
    picks: Vec<Pick>,
    own: Vec<Pick>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, scorer: Box<dyn BatchScorer>) -> Self {
        let turn = turn(scorer.card());
        Self { shared, scorer, turns: Turns::of(turn), jobs: vec![], usual: Duration::ZERO, picks: vec![], own: vec![] }
    }

    /// Run after run until the last member has left, or until a panic, which each member that waits is told.
    pub(super) fn work(mut self) {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            while self.wait() {
                self.run();
                self.deliver();
            }
        }));
        let Err(panic) = panic else { return };
        let problem = panic_message(&*panic);
        let shared = Arc::clone(&self.shared);
        let mut desk = shared.desk();
        self.jobs.append(&mut desk.handed_in);
        self.jobs.retain(|job| !desk.given_up.contains(&job.id));
        for mut job in self.jobs.drain(..) {
            job.work.error = Some(MemberError::Panicked(problem.clone()));
            job.deliver();
        }
        desk.broken = Some(problem);
    }

    /// Waits until there is something to run and nobody to wait for, and takes it; `false` at the end.
    fn wait(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut desk = shared.desk();
        loop {
            if desk.stopping {
                return false;
            }
            self.jobs.append(&mut desk.handed_in);
            self.drop_given_up(&mut desk);
            if self.jobs.is_empty() {
                desk = shared.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = self.latest_start(&desk).map(|t| t.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else { break };
            desk = shared.changed.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.turns.pick(&mut self.jobs, &mut self.picks);
        let Desk { running, .. } = &mut *desk;
        running.clear();
        for pick in &self.picks {
            let id = self.jobs[pick.job].id;
            if !running.contains(&id) {
                running.push(id);
            }
        }
        // Under the lock, so that who gives up from now on ends this run and who gave up before does not.
        let _ = shared.options.unterminate();
        true
    }

    /// Until when it is worth waiting for more faces; `None` where no more can come, or no more would fit.
    fn latest_start(&self, desk: &Desk) -> Option<Instant> {
        let left = |job: &Job| job.count - job.taken;
        let faces: usize = self.jobs.iter().map(left).sum();
        if faces >= self.turns.most() || !desk.seats.iter().any(|seat| seat.working) {
            return None;
        }
        let run = self.usual * u32::try_from(faces).unwrap_or(u32::MAX);
        let latest = |job: &Job| match job.deadline {
            Some(deadline) => Some(job.wait_until.min(deadline.checked_sub(run)?)),
            None => Some(job.wait_until),
        };
        // The most impatient decides.
        self.jobs.iter().map(latest).min()?
    }

    /// Runs what was taken. Where that fails, each member's crops are run by themselves, so that only those fail that make it.
    fn run(&mut self) {
        let picks = std::mem::take(&mut self.picks);
        let start = Instant::now();
        let several = picks.iter().any(|p| p.job != picks[0].job);
        match self.attempt(&picks) {
            Err(_) if several => {
                let mut own = std::mem::take(&mut self.own);
                for job in 0..self.jobs.len() {
                    own.clear();
                    own.extend(picks.iter().filter(|p| p.job == job));
                    if !own.is_empty() && self.alone(job) {
                        let result = self.attempt(&own);
                        self.keep(&own, result);
                    }
                }
                self.own = own;
            }
            result => self.keep(&picks, result),
        }
        let took = start.elapsed() / u32::try_from(picks.len()).unwrap_or(1).max(1);
        // A quarter of what is new: one slow run says little.
        self.usual = if self.usual.is_zero() { took } else { (self.usual * 3 + took) / 4 };
        self.picks = picks;
    }

    /// Makes the next run that of one job alone; `false` where nobody waits for it any more.
    fn alone(&mut self, job: usize) -> bool {
        let id = self.jobs[job].id;
        let mut desk = self.shared.desk();
        if desk.given_up.contains(&id) {
            return false;
        }
        desk.running.clear();
        desk.running.push(id);
        let _ = self.shared.options.unterminate();
        true
    }

    fn attempt(&mut self, picks: &[Pick]) -> Result<(), SessionError> {
        let len = self.scorer.card().spec.len();
        for (slot, pick) in picks.iter().enumerate() {
            let crop = &self.jobs[pick.job].work.crops[pick.crop * len..(pick.crop + 1) * len];
            self.scorer.crop_mut(slot).copy_from_slice(crop);
        }
        self.scorer.run(picks.len(), &self.shared.options)
    }

    /// Writes down what the last run says. Where it failed, all of it is of one job, and some may have gone well all the same.
    fn keep(&mut self, picks: &[Pick], result: Result<(), SessionError>) {
        let map_len = self.scorer.card().map_len();
        for (slot, pick) in picks.iter().enumerate() {
            let work = &mut self.jobs[pick.job].work;
            let evidence = self.scorer.evidence(slot);
            work.logits.push(evidence.map(|e| e.logit));
            work.maps.extend(evidence.iter().flat_map(|e| e.map).flat_map(|m| m.values));
            work.maps.resize(work.logits.len() * map_len, 0.0);
        }
        if let (Err(error), Some(pick)) = (result, picks.first()) {
            self.jobs[pick.job].work.error.get_or_insert(MemberError::Run(error));
        }
    }

    /// Gives back what is finished.
    fn deliver(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut desk = shared.desk();
        desk.running.clear();
        desk.runs += 1;
        desk.faces += self.picks.len() as u64;
        self.drop_given_up(&mut desk);
        let mut index = 0;
        while let Some(job) = self.jobs.get(index) {
            if job.taken < job.count {
                index += 1;
            } else {
                self.jobs.swap_remove(index).deliver();
            }
        }
    }

    fn drop_given_up(&mut self, desk: &mut Desk) {
        self.jobs.retain(|job| !desk.given_up.contains(&job.id));
        desk.given_up.clear();
    }
}

/// Crops of one run at most: none that a fixed batch would be filled up for.
fn turn(card: &Card) -> usize {
    let most = if card.provider == Provider::Cpu { CPU_TURN } else { MAX_BATCH };
    card.fixed_batch.map_or(most, |fixed| (most / fixed).max(1) * fixed)
}
