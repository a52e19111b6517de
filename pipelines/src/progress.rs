//! How far the run has come.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where there is no terminal, a line each so many percent of the video, ...
const PERCENT: u64 = 10;
/// ... or each so many seconds of work where the length of the video is unknown.
const SECONDS: u64 = 10;

/// Tells on stderr: a bar on a terminal, else a line now and then.
pub(crate) struct Progress {
    start: Instant,
    look: Look,
}

enum Look {
    Bar(ProgressBar),
    Lines(Mutex<u64>),
}

impl Progress {
    pub(crate) fn new(terminal: bool) -> Self {
        let look = if terminal {
            Look::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        } else {
            Look::Lines(Mutex::new(0))
        };
        Self { start: Instant::now(), look }
    }

    /// Tells how far it is: in time of the video, and in frames.
    pub(crate) fn show(&self, position: Duration, duration: Option<Duration>, frames: u64) {
        let elapsed = self.start.elapsed();
        let speed = frames as f64 / elapsed.as_secs_f64().max(1e-3);
        match &self.look {
            Look::Bar(bar) => {
                if let (Some(duration), None) = (duration, bar.length()) {
                    bar.set_length(duration.as_millis() as u64);
                    bar.set_style(style("{wide_bar} {percent:>3} %  {msg}  {eta} left"));
                } else if duration.is_none() {
                    bar.set_style(style("{spinner} {msg}"));
                }
                // The last frame may end after what the file says of its duration.
                let milliseconds = position.as_millis() as u64;
                bar.set_position(bar.length().map_or(milliseconds, |length| milliseconds.min(length)));
                bar.set_message(format!("{frames} frames, {speed:.1} a second"));
            }
            Look::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let (step, text) = match duration.filter(|d| !d.is_zero()) {
                    Some(duration) => {
                        let percent = (100 * position.as_millis() / duration.as_millis()).min(100) as u64;
                        (percent / PERCENT, format!("{:>3} %, ", percent / PERCENT * PERCENT))
                    }
                    None => (elapsed.as_secs() / SECONDS, String::new()),
                };
                if step > *last {
                    *last = step;
                    eprintln!("{text}{frames} frames, {speed:.1} a second");
                }
            }
        }
    }

    /// A line for the user, above the bar.
    pub(crate) fn say(&self, text: &str) {
        match &self.look {
            Look::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Look::Lines(_) => eprintln!("{text}"),
        }
    }

    /// Takes the bar away, and tells how long it all took.
    pub(crate) fn end(&self) -> Duration {
        if let Look::Bar(bar) = &self.look {
            bar.finish_and_clear();
        }
        self.start.elapsed()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
