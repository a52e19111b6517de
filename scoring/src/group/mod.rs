//! Several streams on one session: their faces are run together, in turn, and none waits for a stream that has nothing to hand in.
//!
//! The streams of a process that [`join`] the same name share one model, which a thread of the group's own runs. Each member cuts its
//! crops itself, hands them in and waits for their evidence ([`Member::run`]). A run takes one face of each member in turn, so that
//! many faces of one do not keep back the few of another. Before a run starts, it waits for members that are looking at a frame just
//! now ([`Member::begin`]), no longer than the window of any face that is there already; a stream that is stalled, or has
//! ended, is not waited for at all. Where a run fails, each member's faces are run by themselves, and faces of a member that failed
//! are kept apart from then on until they go well. A member that gives up ([`RunOptions::terminate`]) ends a run only if no other
//! member's faces are in it.

mod desk;
mod member;
mod terms;
mod turns;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::thread::JoinHandle;

use thiserror::Error;

use crate::interrupt::RunOptions;
use crate::score::{Card, Evidence, NotScored, Scorer, ScorerError};
use crate::session::SessionError;
use desk::{Seat, Shared, lock};
pub use member::{GroupStats, Member, Watch};
pub use terms::{Conflict, Terms};
use worker::Worker;

/// Why a stream cannot join a group.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The group has another session than the one that is asked for.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// It is the first, and the model cannot be used.
    #[error(transparent)]
    Scorer(#[from] ScorerError),
    /// It is the first, and the machine has no thread or ONNX Runtime no memory left.
    #[error("the worker of the session-group `{group}` does not start: {problem}")]
    Start {
        /// Name of the group.
        group: String,
        /// What the system says.
        problem: String,
    },
    /// Its worker is gone, but not yet all its members.
    #[error(
        "the worker of the session-group `{group}` has panicked ({problem}); it starts again after all its members are gone"
    )]
    Broken {
        /// Name of the group.
        group: String,
        /// What the panic said.
        problem: String,
    },
}

/// Why faces that were handed in have no scores.
#[derive(Debug, Error)]
pub enum MemberError {
    /// The model failed on them. The next ones may go well again.
    #[error(transparent)]
    Run(#[from] SessionError),
    /// [`RunOptions::terminate`] was called.
    #[error("the run was ended early")]
    Ended,
    /// The worker is gone: no face will be scored any more.
    #[error("the worker of the session-group has panicked: {0}")]
    Panicked(String),
}

/// What runs the crops of a group.
pub trait BatchScorer: Send {
    /// What is to be known of it.
    fn card(&self) -> &Card;

    /// The place for the crop with that index in the next run.
    fn crop_mut(&mut self, index: usize) -> &mut [f32];

    /// Scores the first `n` crops.
    ///
    /// # Errors
    ///
    /// As [`Scorer::run`].
    fn run(&mut self, n: usize, options: &RunOptions) -> Result<(), SessionError>;

    /// What the last run says of the crop with that index.
    ///
    /// # Errors
    ///
    /// Why there is no score.
    fn evidence(&self, index: usize) -> Result<Evidence<'_>, NotScored>;
}

impl BatchScorer for Scorer {
    fn card(&self) -> &Card {
        Self::card(self)
    }

    fn crop_mut(&mut self, index: usize) -> &mut [f32] {
        Self::crop_mut(self, index)
    }

    fn run(&mut self, n: usize, options: &RunOptions) -> Result<(), SessionError> {
        Self::run(self, n, Some(options))
    }

    fn evidence(&self, index: usize) -> Result<Evidence<'_>, NotScored> {
        Self::evidence(self, index)
    }
}

/// A group, for as long as it has members.
struct Hub {
    terms: Terms,
    card: Card,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
    /// The id of the newest member; the first has 1.
    newest: Mutex<u64>,
}

impl Hub {
    fn start(name: &str, terms: Terms, scorer: Box<dyn BatchScorer>) -> Result<Self, JoinError> {
        let failed = |problem: String| JoinError::Start { group: name.to_owned(), problem };
        let options = RunOptions::new().map_err(|e| failed(e.to_string()))?;
        let (card, shared) = (scorer.card().clone(), Arc::new(Shared::new(options)));
        let worker = Worker::new(Arc::clone(&shared), scorer);
        let thread = std::thread::Builder::new().name("deepfakegroup".to_owned());
        let thread = thread.spawn(move || worker.work()).map_err(|e| failed(e.to_string()))?;
        Ok(Self { terms, card, shared, worker: Some(thread), newest: Mutex::new(0) })
    }

    fn seat(self: Arc<Self>) -> Member {
        let mut newest = lock(&self.newest);
        *newest += 1;
        let member = *newest;
        drop(newest);
        self.shared.desk().seats.push(Seat { member, working: false });
        Member::new(self, member)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.desk().stopping = true;
        // Nobody waits for what runs.
        let _ = self.shared.options.terminate();
        self.shared.changed.notify_one();
        if let Some(worker) = self.worker.take() {
            // Its panics are caught and told.
            let _ = worker.join();
        }
    }
}

/// A group that lives or not; locked while it is made, so that two who come first make one.
type Place = Arc<Mutex<Weak<Hub>>>;

/// Joins the group of that name, which `make` is only asked for where it has no members yet.
///
/// # Errors
///
/// Terms that are not those of the group, what `make` says, a group whose worker is gone.
pub fn join(
    name: &str,
    terms: Terms,
    make: impl FnOnce() -> Result<Box<dyn BatchScorer>, ScorerError>,
) -> Result<Member, JoinError> {
    static GROUPS: LazyLock<Mutex<HashMap<String, Place>>> = LazyLock::new(Mutex::default);
    let place = {
        let mut groups = lock(&GROUPS);
        // Those that nobody is in or comes to are forgotten.
        groups.retain(|_, place| Arc::strong_count(place) > 1 || lock(place).strong_count() > 0);
        Arc::clone(groups.entry(name.to_owned()).or_default())
    };
    let mut place = lock(&place);
    if let Some(hub) = place.upgrade() {
        if let Some(problem) = &hub.shared.desk().broken {
            return Err(JoinError::Broken { group: name.to_owned(), problem: problem.clone() });
        }
        hub.terms.check(&terms, name)?;
        return Ok(hub.seat());
    }
    let hub = Arc::new(Hub::start(name, terms, make()?)?);
    *place = Arc::downgrade(&hub);
    Ok(hub.seat())
}
