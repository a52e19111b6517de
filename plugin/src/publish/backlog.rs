//! What waits for the broker: so many messages, so many bytes, and no more.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::Notify;

use super::Leaky;

/// One record on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) payload: Bytes,
    /// When it came.
    pub(super) at: SystemTime,
}

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) leaky: Leaky,
}

/// What became of the records since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) received: u64,
    /// The broker has them.
    pub(super) published: u64,
    pub(super) lost: u64,
    /// They wait, those on their way to the broker included.
    pub(super) queued: u64,
    pub(super) queued_bytes: u64,
}

/// Between the streaming thread, which never waits here, and the worker.
#[derive(Debug)]
pub(super) struct Backlog {
    limits: Limits,
    state: Mutex<State>,
    arrived: Notify,
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    /// So many of the first are on their way; they are not the drop policy's to take.
    in_flight: usize,
    counts: Counts,
    /// Records are being lost, and it was told.
    losing: bool,
    /// Nobody is to wait for an empty backlog.
    interrupted: bool,
}

impl State {
    /// Counts lost records; `true` where they are the first of a burst.
    fn lose(&mut self, number: u64) -> bool {
        self.counts.lost += number;
        number > 0 && !std::mem::replace(&mut self.losing, true)
    }

    fn remove(&mut self, index: usize) {
        if let Some(message) = self.messages.remove(index) {
            self.bytes -= message.payload.len();
        }
    }
}

impl Backlog {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default(), arrived: Notify::new(), drained: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts { queued: state.messages.len() as u64, queued_bytes: state.bytes as u64, ..state.counts }
    }

    /// Adds a message, at the cost of others where there is no room. `true` where that is the first loss of a burst.
    pub(super) fn push(&self, message: Message) -> bool {
        let size = message.payload.len();
        let mut state = self.lock();
        state.counts.received += 1;
        let mut lost = 0;
        let fits = loop {
            if state.messages.len() < self.limits.records && state.bytes + size <= self.limits.bytes {
                break true;
            }
            let oldest = state.in_flight;
            if self.limits.leaky == Leaky::Upstream || size > self.limits.bytes || oldest == state.messages.len() {
                break false;
            }
            state.remove(oldest);
            lost += 1;
        };
        if fits {
            state.bytes += size;
            state.messages.push_back(message);
        } else {
            lost += 1;
        }
        let first = state.lose(lost);
        drop(state);
        self.arrived.notify_one();
        first
    }

    /// Ends when there is something to take.
    pub(super) async fn arrived(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    /// The next messages, the oldest first: at most `records` of them, and `bytes` unless a single one has more. They stay
    /// here until they are confirmed, refused or given back.
    pub(super) fn take(&self, records: usize, bytes: usize) -> Vec<Message> {
        let mut state = self.lock();
        let mut sum = 0;
        let batch: Vec<_> = state
            .messages
            .iter()
            .take(records)
            .take_while(|message| {
                let first = sum == 0;
                sum += message.payload.len();
                first || sum <= bytes
            })
            .cloned()
            .collect();
        state.in_flight = batch.len();
        batch
    }

    /// The broker has the first `number` of those on their way. `true` where that ends a burst of losses.
    pub(super) fn confirm(&self, number: usize) -> bool {
        let mut state = self.lock();
        for _ in 0..number {
            state.remove(0);
        }
        state.in_flight -= number;
        state.counts.published += number as u64;
        self.after_removal(state)
    }

    /// The broker never takes the first of those on their way. `true` where that is the first loss of a burst.
    pub(super) fn refuse(&self) -> bool {
        let mut state = self.lock();
        state.remove(0);
        state.in_flight -= 1;
        let first = state.lose(1);
        self.after_removal(state);
        first
    }

    fn after_removal(&self, mut state: MutexGuard<'_, State>) -> bool {
        let empty = state.messages.is_empty();
        let burst_over = empty && std::mem::take(&mut state.losing);
        drop(state);
        if empty {
            self.drained.notify_all();
        }
        burst_over
    }

    /// Nothing is on its way any more: what was is to be sent again.
    pub(super) fn give_back(&self) {
        self.lock().in_flight = 0;
    }

    /// Waits until the backlog is empty, but not longer than that, nor after an [interruption](Self::interrupt).
    pub(super) fn wait_drained(&self, limit: Duration) {
        let waiting = |state: &mut State| !state.messages.is_empty() && !state.interrupted;
        // Whether the time was up or not, what is left is what is left.
        drop(self.drained.wait_timeout_while(self.lock(), limit, waiting));
    }

    /// Whoever waits for an empty backlog is to stop that, until told otherwise.
    pub(super) fn interrupt(&self, interrupted: bool) {
        self.lock().interrupted = interrupted;
        self.drained.notify_all();
    }

    /// Gives up what is left, and says how many that were.
    pub(super) fn abandon(&self) -> u64 {
        let mut state = self.lock();
        let left = state.messages.len() as u64;
        state.messages.clear();
        (state.bytes, state.in_flight) = (0, 0);
        state.lose(left);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(records: usize, bytes: usize, leaky: Leaky) -> Backlog {
        Backlog::new(Limits { records, bytes, leaky })
    }

    fn message(text: &'static str) -> Message {
        Message { payload: Bytes::from_static(text.as_bytes()), at: SystemTime::UNIX_EPOCH }
    }

    fn push(backlog: &Backlog, texts: &[&'static str]) {
        for text in texts {
            backlog.push(message(text));
        }
    }

    fn texts(batch: &[Message]) -> Vec<&str> {
        batch.iter().map(|m| std::str::from_utf8(&m.payload).unwrap()).collect()
    }

    fn counts(received: u64, published: u64, lost: u64, queued: u64, queued_bytes: u64) -> Counts {
        Counts { received, published, lost, queued, queued_bytes }
    }

    #[test]
    fn the_oldest_make_room_and_a_burst_is_told_once() {
        let backlog = backlog(2, 100, Leaky::Downstream);
        let told: Vec<_> = ["a", "b", "c", "d"].map(|text| backlog.push(message(text))).into();
        assert_eq!(told, [false, false, true, false]);
        assert_eq!(texts(&backlog.take(10, 100)), ["c", "d"]);
        assert_eq!(backlog.counts(), counts(4, 0, 2, 2, 2));
        assert!(!backlog.confirm(1));
        assert!(backlog.confirm(1), "the burst is over");
        assert_eq!(backlog.counts(), counts(4, 2, 2, 0, 0));
        assert!(!backlog.push(message("e")));
        assert!(!backlog.push(message("f")));
        assert!(backlog.push(message("g")), "the next burst is told again");
    }

    #[test]
    fn the_newest_is_lost_where_the_policy_says_so() {
        let backlog = backlog(2, 100, Leaky::Upstream);
        let told: Vec<_> = ["a", "b", "c"].map(|text| backlog.push(message(text))).into();
        assert_eq!(told, [false, false, true]);
        assert_eq!(texts(&backlog.take(10, 100)), ["a", "b"]);
    }

    #[test]
    fn what_is_on_its_way_is_not_dropped() {
        let backlog = backlog(3, 100, Leaky::Downstream);
        push(&backlog, &["a", "b"]);
        assert_eq!(texts(&backlog.take(10, 100)), ["a", "b"]);
        push(&backlog, &["c", "d", "e"]);
        backlog.confirm(1);
        backlog.give_back();
        assert_eq!(texts(&backlog.take(10, 100)), ["b", "e"]);
        // All that there is room for is on its way: the new one has to go.
        backlog.push(message("f"));
        assert_eq!(texts(&backlog.take(10, 100)), ["b", "e", "f"]);
        assert!(!backlog.push(message("g")));
        assert_eq!(texts(&backlog.take(10, 100)), ["b", "e", "f"]);
        assert_eq!(backlog.counts(), counts(7, 1, 3, 3, 3));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let backlog = backlog(100, 10, Leaky::Downstream);
        push(&backlog, &["aaaa", "bbbb", "cccccc"]);
        assert_eq!(backlog.counts(), counts(3, 0, 1, 2, 10));
        // What can never fit costs nothing but itself.
        backlog.push(message("ddddddddddd"));
        assert_eq!(backlog.counts(), counts(4, 0, 2, 2, 10));
        assert_eq!(texts(&backlog.take(100, 5)), ["bbbb"]);
        assert_eq!(texts(&backlog.take(100, 1)), ["bbbb"], "one at least");
        assert_eq!(texts(&backlog.take(1, 100)), ["bbbb"]);
        assert_eq!(backlog.take(100, 10).len(), 2);
    }

    #[test]
    fn what_is_refused_or_left_is_lost() {
        let backlog = backlog(10, 100, Leaky::Downstream);
        push(&backlog, &["a", "b", "c"]);
        backlog.take(1, 100);
        assert!(backlog.refuse());
        assert_eq!(backlog.abandon(), 2);
        assert_eq!(backlog.counts(), counts(3, 0, 3, 0, 0));
    }

    #[test]
    fn nobody_waits_longer_than_told() {
        let backlog = backlog(10, 100, Leaky::Downstream);
        backlog.wait_drained(Duration::MAX);
        backlog.push(message("a"));
        backlog.wait_drained(Duration::ZERO);
        backlog.interrupt(true);
        backlog.wait_drained(Duration::MAX);
        backlog.interrupt(false);
        std::thread::scope(|scope| {
            scope.spawn(|| backlog.wait_drained(Duration::MAX));
            backlog.take(1, 100);
            backlog.confirm(1);
        });
    }
}
