//! What waits for the `json` pad: records, of which so many and no more, and the events between them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::record::Record;

/// A record and when it is for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) pts: Option<gst::ClockTime>,
    pub(super) duration: Option<gst::ClockTime>,
}

// A box would be an allocation for each frame; events are few.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(super) enum Item {
    Event(gst::Event),
    Record {
        entry: Entry,
        /// Records before it were lost, or there were none.
        discont: bool,
    },
}

/// Records cannot be delivered, and could before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// More wait than may.
    TooSlow,
    /// The consumer answers so.
    Refused(gst::FlowError),
}

/// Between the streaming thread of the video and the task of the `json` pad.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    /// Of the items, how many are records.
    records: usize,
    flushing: bool,
    lost: u64,
    /// Records are being lost, and it was told.
    losing: bool,
    discont: bool,
    /// What the consumer answered last.
    flow: Result<gst::FlowSuccess, gst::FlowError>,
    /// Who answered that it takes nothing more.
    closed: Option<(gst::FlowError, Option<gst::Pad>)>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                records: 0,
                flushing: true,
                lost: 0,
                losing: false,
                discont: true,
                flow: Err(gst::FlowError::Flushing),
                closed: None,
            }),
            changed: Condvar::new(),
        }
    }
}

impl State {
    /// Counts a lost record; a loss to be told where it is the first.
    fn lose(&mut self, loss: Loss) -> Option<Loss> {
        self.lost += 1;
        self.discont = true;
        (!std::mem::replace(&mut self.losing, true)).then_some(loss)
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what waits and takes nothing more; wakes everybody who waits.
    pub(super) fn stop(&self) {
        self.shut(|_| false);
    }

    /// As [`Outbox::stop`], for a flush: what says which stream this is, and is not sent again after it, goes on waiting.
    pub(super) fn flush(&self) {
        use gst::EventType::{Caps, StreamStart, Tag};
        self.shut(|item| matches!(item, Item::Event(e) if [StreamStart, Caps, Tag].contains(&e.type_())));
    }

    fn shut(&self, keep: impl FnMut(&Item) -> bool) {
        let mut state = self.lock();
        state.flushing = true;
        state.flow = Err(gst::FlowError::Flushing);
        state.items.retain(keep);
        state.records = 0;
        drop(state);
        self.changed.notify_all();
    }

    /// Puts an event that a flush kept from being delivered back to where it was.
    pub(super) fn put_back(&self, event: gst::Event) {
        self.lock().items.push_front(Item::Event(event));
        self.changed.notify_all();
    }

    /// Takes items (again).
    pub(super) fn start(&self) {
        let mut state = self.lock();
        state.flushing = false;
        state.discont = true;
        state.flow = Ok(gst::FlowSuccess::Ok);
        state.closed = None;
    }

    /// No record was lost so far.
    pub(super) fn forget_losses(&self) {
        let mut state = self.lock();
        state.lost = 0;
        state.losing = false;
    }

    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// What the consumer answered last.
    pub(super) fn flow(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.lock().flow
    }

    pub(super) fn put_event(&self, event: gst::Event) {
        let mut state = self.lock();
        if !state.flushing {
            state.items.push_back(Item::Event(event));
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Queues a record. Where `limit` records wait already, waits itself, or, if `leaky`, the oldest one is lost.
    pub(super) fn put_record(&self, entry: Entry, limit: usize, leaky: bool) -> Option<Loss> {
        let mut state = self.lock();
        let mut loss = None;
        while !state.flushing && state.records >= limit {
            if !leaky {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if let Some(oldest) = state.items.iter().position(|item| matches!(item, Item::Record { .. })) {
                state.items.remove(oldest);
            }
            state.records -= 1;
            loss = loss.or(state.lose(Loss::TooSlow));
            // The gap is before what is now the oldest.
            if let Some(Item::Record { discont, .. }) =
                state.items.iter_mut().find(|item| matches!(item, Item::Record { .. }))
            {
                *discont = true;
                state.discont = false;
            }
        }
        if !state.flushing {
            let discont = std::mem::take(&mut state.discont);
            state.items.push_back(Item::Record { entry, discont });
            state.records += 1;
            drop(state);
            self.changed.notify_all();
        }
        loss
    }

    /// The next item, as soon as there is one; `None` when stopped.
    pub(super) fn take(&self) -> Option<Item> {
        let mut state = self.lock();
        loop {
            if state.flushing {
                return None;
            }
            if let Some(item) = state.items.pop_front() {
                if matches!(item, Item::Record { .. }) {
                    state.records -= 1;
                    self.changed.notify_all();
                }
                return Some(item);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether `peer` has said that it takes nothing more. Then a record is lost.
    pub(super) fn closed_by(&self, peer: Option<&gst::Pad>) -> bool {
        let mut state = self.lock();
        match &state.closed {
            Some((_, closer)) if closer.as_ref() == peer => {
                state.lost += 1;
                state.discont = true;
                true
            }
            _ => {
                state.closed = None;
                false
            }
        }
    }

    /// A new stream begins: who was closed may open.
    pub(super) fn reopen(&self) {
        self.lock().closed = None;
    }

    /// What came of pushing a record to `peer`.
    pub(super) fn delivered(
        &self,
        flow: Result<gst::FlowSuccess, gst::FlowError>,
        peer: Option<gst::Pad>,
    ) -> Option<Loss> {
        let mut state = self.lock();
        if state.flushing {
            return None;
        }
        state.flow = flow;
        let error = match flow {
            Ok(_) => {
                // One warning a burst: it is over when the consumer has caught up.
                state.losing &= state.records > 0;
                return None;
            }
            Err(error) => error,
        };
        // These two end when somebody links or starts the consumer; the others are its last word.
        if !matches!(error, gst::FlowError::NotLinked | gst::FlowError::Flushing) {
            state.closed = Some((error, peer));
        }
        state.lose(Loss::Refused(error))
    }
}
