//! What has been done so far, and how long each step took.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Steps that take longer than this many microseconds count as this long.
const LONGEST: u64 = 60_000_000;
/// Decimal digits of the quantiles that are right.
const DIGITS: u8 = 2;

/// How long one step took, each time that it had something to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Times that it was done.
    pub runs: u64,
    /// All of it together.
    pub total: Duration,
    /// Half of the times it took no longer, to 1 %.
    pub p50: Duration,
    /// In 99 of 100 times it took no longer, to 1 %.
    pub p99: Duration,
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames that went by.
    pub frames: u64,
    /// Of which nobody looked at so many: live mode takes the newest when it is ready for one.
    pub skipped: u64,
    /// Faces found in the frames that were looked at.
    pub faces: u64,
    /// Faces scored in them.
    pub scored: u64,
    /// Since the first frame.
    pub elapsed: Duration,
    /// Looking for faces.
    pub locating: Step,
    /// Cutting the crops of a frame.
    pub cropping: Step,
    /// Running the scoring model on the crops of a frame.
    pub scoring: Step,
}

impl Stats {
    /// Faces scored a second since the first frame.
    pub fn faces_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.scored as f64 / seconds } else { 0.0 }
    }
}

/// Where it is written down, by whoever works on the frames, and read, by anybody.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    frames: u64,
    looked: u64,
    faces: u64,
    scored: u64,
    first: Option<Instant>,
    locating: Timing,
    cropping: Timing,
    scoring: Timing,
}

#[derive(Debug)]
struct Timing {
    total: Duration,
    /// Microseconds; `None` where the bounds above cannot be had, which a test excludes.
    histogram: Option<Histogram<u64>>,
}

impl Default for Timing {
    fn default() -> Self {
        Self { total: Duration::ZERO, histogram: Histogram::new_with_bounds(1, LONGEST, DIGITS).ok() }
    }
}

impl Timing {
    fn add(&mut self, took: Duration) {
        self.total += took;
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST));
        }
    }

    fn step(&self) -> Step {
        let Some(histogram) = &self.histogram else { return Step { total: self.total, ..Step::default() } };
        let quantile = |q| Duration::from_micros(histogram.value_at_quantile(q));
        Step { runs: histogram.len(), total: self.total, p50: quantile(0.5), p99: quantile(0.99) }
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame goes by.
    pub fn frame(&self) {
        let mut recorded = self.lock();
        recorded.frames += 1;
        recorded.first.get_or_insert_with(Instant::now);
    }

    /// It was looked at, and so many faces are in it. `locating` is how long it took to find them, where they were looked for.
    pub(crate) fn looked(&self, faces: usize, locating: Option<Duration>) {
        let mut recorded = self.lock();
        recorded.looked += 1;
        recorded.faces += faces as u64;
        if let Some(took) = locating {
            recorded.locating.add(took);
        }
    }

    /// Crops were cut.
    pub(crate) fn cropped(&self, took: Duration) {
        self.lock().cropping.add(took);
    }

    /// The model has run, and so many faces were scored.
    pub(crate) fn scored(&self, faces: usize, took: Duration) {
        let mut recorded = self.lock();
        recorded.scored += faces as u64;
        recorded.scoring.add(took);
    }

    /// All of it, up to now.
    pub fn stats(&self) -> Stats {
        let recorded = self.lock();
        Stats {
            frames: recorded.frames,
            skipped: recorded.frames.saturating_sub(recorded.looked),
            faces: recorded.faces,
            scored: recorded.scored,
            elapsed: recorded.first.map_or(Duration::ZERO, |first| first.elapsed()),
            locating: recorded.locating.step(),
            cropping: recorded.cropping.step(),
            scoring: recorded.scoring.step(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let recorder = Recorder::default();
        assert_eq!(recorder.stats(), Stats::default());
        for ms in 1..=100 {
            recorder.frame();
            recorder.scored(2, Duration::from_millis(ms));
        }
        recorder.looked(3, Some(Duration::from_secs(3600)));
        recorder.looked(1, None);
        let stats = recorder.stats();
        assert_eq!((stats.frames, stats.skipped, stats.faces, stats.scored), (100, 98, 4, 200));
        assert_eq!((stats.scoring.runs, stats.scoring.total), (100, Duration::from_millis(5050)));
        let near = |d: Duration, ms: f64| (d.as_secs_f64() * 1e3 / ms - 1.0).abs() < 0.01;
        assert!(near(stats.scoring.p50, 50.0) && near(stats.scoring.p99, 99.0), "{stats:?}");
        assert_eq!(stats.locating.runs, 1);
        assert!(near(stats.locating.p99, 60_000.0), "what takes an hour counts as the longest");
        assert!(stats.faces_per_second() > 0.0);
    }
}
