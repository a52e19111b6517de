//! What has been done so far, as the property `stats` and the message `deepfake-stats` tell it.

use std::time::Duration;

use deepfake_scoring::engine::Engine;
use deepfake_scoring::group::Watch;
use deepfake_scoring::stats::{Recorder, Stats, Step};
use deepfake_scoring::threads::Budget;

/// Where it is read from while the engine works elsewhere.
#[derive(Clone, Default)]
pub(super) struct Statistics {
    recorder: Recorder,
    /// Of the scoring model; 0 where there is none.
    threads: usize,
    group: Option<Watch>,
}

impl Statistics {
    pub(super) fn new(engine: &Engine) -> Self {
        Self { recorder: engine.recorder().clone(), threads: engine.card().threads, group: engine.watch() }
    }

    pub(super) fn recorded(&self) -> Stats {
        self.recorder.stats()
    }

    pub(super) fn to_structure(&self) -> gst::Structure {
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let stats = self.recorded();
        let mut structure = gst::Structure::builder("deepfake-stats")
            .field("frames", stats.frames)
            .field("skipped", stats.skipped)
            .field("faces", stats.faces)
            .field("scored", stats.scored)
            .field("faces-per-second", stats.faces_per_second())
            .field("threads", self.threads as u64)
            .field("thread-budget", Budget::of_process().total() as u64)
            .build();
        let mut tell = |name: &str, step: Step| {
            structure.set(name, ns(step.total));
            structure.set(format!("{name}-p50"), ns(step.p50));
            structure.set(format!("{name}-p99"), ns(step.p99));
        };
        tell("locating", stats.locating);
        tell("cropping", stats.cropping);
        tell("scoring", stats.scoring);
        if let Some(stats) = self.group.as_ref().map(Watch::stats) {
            structure.set("group-members", stats.members as u64);
            structure.set("group-runs", stats.runs);
            structure.set("group-faces", stats.faces);
        }
        structure
    }
}
