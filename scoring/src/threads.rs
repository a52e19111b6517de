//! How many threads of ONNX Runtime's work at the same time in this process, however many models it runs.
//!
//! A run on `n` threads is the caller's own thread and `n - 1` of ONNX Runtime's, which belong to the loaded model. Of the latter at
//! most one less than the budget work at the same time: models that come when it is used up run on the thread that calls them.
//! There may be more that wait: models that share a lease, since they never run at the same time, have `n - 1` each.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// The environment variable that has the budget, a whole number from 1 on. Without it the budget is the number of cores.
pub const BUDGET_VARIABLE: &str = "DEEPFAKE_THREADS";

/// A number of threads that many share.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    total: usize,
    /// Threads of ONNX Runtime's that are lent.
    lent: Mutex<usize>,
}

impl Shared {
    fn lent(&self) -> MutexGuard<'_, usize> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// A budget of so many threads, at least one.
    pub fn new(total: usize) -> Self {
        Self(Arc::new(Shared { total: total.max(1), lent: Mutex::new(0) }))
    }

    /// That of the process.
    pub fn of_process() -> &'static Self {
        static BUDGET: LazyLock<Budget> = LazyLock::new(|| Budget::new(total(std::env::var(BUDGET_VARIABLE).ok())));
        &BUDGET
    }

    /// All of it.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Threads for one model, as many as are wished or left, at least the caller's own.
    pub fn lease(&self, wish: usize) -> Lease {
        let mut lent = self.0.lent();
        let own = wish.saturating_sub(1).min(self.0.total.saturating_sub(1 + *lent));
        *lent += own;
        drop(lent);
        Lease(Arc::new(Lent { budget: self.clone(), own }))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("total", &self.0.total).field("lent", &*self.0.lent()).finish()
    }
}

/// What the variable says, or the machine.
fn total(said: Option<String>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    match said.as_deref().map(str::trim) {
        None | Some("") => cores(),
        Some(text) => match text.parse() {
            Ok(total) if total >= 1 => total,
            _ => {
                tracing::warn!("{BUDGET_VARIABLE} is `{text}`, which is no whole number from 1 on: the cores count");
                cores()
            }
        },
    }
}

/// Threads that are lent until the last clone of this is dropped. Models that never run at the same time may share one.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Lent>);

#[derive(Debug)]
struct Lent {
    budget: Budget,
    own: usize,
}

impl Lease {
    /// With the caller's own.
    pub fn threads(&self) -> usize {
        self.0.own + 1
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.budget.0.lent() -= self.own;
    }
}

/// Two leases are equal where they are of the same threads.
impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Lease {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_never_add_up_to_more_than_the_budget() {
        let budget = Budget::new(4);
        let leases: Vec<_> = [3, 8, 8, 1].into_iter().map(|wish| budget.lease(wish)).collect();
        let threads: Vec<_> = leases.iter().map(Lease::threads).collect();
        assert_eq!(threads, [3, 2, 1, 1], "two, then the third of three, then none but the callers' own");
        let shared = leases[0].clone();
        drop(leases);
        assert_eq!(budget.lease(8).threads(), 2, "a clone keeps what it is of");
        drop(shared);
        assert_eq!(budget.lease(8).threads(), 4);
        assert_eq!(Budget::new(0).lease(0).threads(), 1);
    }

    #[test]
    fn the_variable_is_a_number_or_nothing() {
        let cores = total(None);
        assert_eq!(total(Some(" 3 ".into())), 3);
        assert!([Some(""), Some("0"), Some("many"), Some("-1")].iter().all(|s| total(s.map(Into::into)) == cores));
    }
}
