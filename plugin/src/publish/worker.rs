//! The thread that talks to the broker.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backlog::Backlog;
use super::kafka::Kafka;
use super::link::{Link, Told};
use super::mqtt::Mqtt;
use super::settings::Plan;
use super::target::Protocol;

/// Sent at once at most: brokers of Kafka take a megabyte by default.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 900_000;
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// Publishes what is in a backlog until it is stopped.
#[derive(Debug)]
pub(super) struct Worker {
    thread: JoinHandle<()>,
    /// By when to be done.
    ending: watch::Sender<Option<Instant>>,
    hurry: Arc<Notify>,
}

impl Worker {
    /// `tell` is called from the worker's thread.
    pub(super) fn start(
        plan: Plan,
        backlog: Arc<Backlog>,
        tell: impl Fn(Told) + Send + 'static,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ending, ends) = watch::channel(None);
        let hurry = Arc::new(Notify::new());
        let rushed = hurry.clone();
        let thread = std::thread::Builder::new().name("deepfakepublish".into()).spawn(move || {
            let work = async {
                let round = Round { plan: &plan, backlog: &backlog, ends, hurry: &rushed, tell: &tell };
                match plan.target.protocol {
                    Protocol::Mqtt => round.run::<Mqtt>().await,
                    Protocol::Kafka => round.run::<Kafka>().await,
                }
            };
            // The bindings catch the panics of their own calls only.
            if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))) {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                tell(Told::Panicked(text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_default()));
            }
            // A look-up of a name that hangs is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { thread, ending, hurry })
    }

    /// If it waits before the next try to connect, it tries now.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Publishes what is left, if that can be done within the limit, and ends.
    pub(super) fn stop(self, limit: Duration) {
        self.ending.send_replace(Some(Instant::now() + limit));
        self.hurry();
        // A panic was told already.
        let _ = self.thread.join();
    }
}

struct Round<'a> {
    plan: &'a Plan,
    backlog: &'a Backlog,
    ends: watch::Receiver<Option<Instant>>,
    hurry: &'a Notify,
    tell: &'a dyn Fn(Told),
}

impl Round<'_> {
    async fn run<L: Link>(self) {
        let ends = self.ends.clone();
        tokio::select! {
            biased;
            () = self.publish::<L>() => {}
            () = time_is_up(ends) => {}
        }
    }

    fn is_ending(&self) -> bool {
        self.ends.borrow().is_some()
    }

    /// Ends when the element is stopped and nothing is left to publish.
    async fn nothing_left(&self) {
        let mut ends = self.ends.clone();
        // An error says that the element is gone.
        let _ = ends.wait_for(Option::is_some).await;
        if !self.backlog.is_empty() {
            std::future::pending::<()>().await;
        }
    }

    async fn publish<L: Link>(&self) {
        let mut delay = FIRST_DELAY;
        loop {
            let published = self.backlog.counts().published;
            let link = tokio::select! {
                biased;
                () = self.nothing_left() => return,
                link = L::connect(self.plan) => link,
            };
            let problem = match link {
                Ok(link) => {
                    (self.tell)(Told::Connected);
                    match self.serve(link).await {
                        Ok(()) => return,
                        Err(problem) => problem,
                    }
                }
                Err(problem) => problem,
            };
            self.backlog.give_back();
            // A broker that takes nothing is not there, however gladly it accepts connections.
            if self.backlog.counts().published > published {
                delay = FIRST_DELAY;
            }
            // A park of machines is not to come back in the same moment.
            let pause = delay.min(self.plan.max_reconnect_delay).mul_f64(glib::random_double_range(0.5, 1.0));
            delay = (delay * 2).min(self.plan.max_reconnect_delay);
            (self.tell)(Told::Disconnected(problem, pause));
            tokio::select! {
                () = self.nothing_left() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.hurry.notified() => {}
            }
        }
    }

    /// Publishes over one connection. Ends well when the element is stopped and nothing is left.
    async fn serve<L: Link>(&self, mut link: L) -> Result<(), super::link::LinkError> {
        let mut ends = self.ends.clone();
        loop {
            let batch = self.backlog.take(BATCH_RECORDS, BATCH_BYTES);
            if !batch.is_empty() {
                link.deliver(&batch, self.backlog, self.tell).await?;
            } else if self.is_ending() {
                link.close().await;
                return Ok(());
            } else {
                tokio::select! {
                    () = self.backlog.arrived() => {}
                    _ = ends.changed() => {}
                    problem = link.idle() => return Err(problem),
                }
            }
        }
    }
}

async fn time_is_up(mut ends: watch::Receiver<Option<Instant>>) {
    let end = match ends.wait_for(Option::is_some).await {
        Ok(end) => *end,
        Err(_) => None,
    };
    if let Some(end) = end {
        tokio::time::sleep_until(end).await;
    }
}
