//! Whole pipelines, played to their end, and what came out of them.

// Each test program uses its own part.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstdeepfake::meta::Scores;

/// Longer than any pipeline of a test takes; who reaches it hangs.
pub(crate) const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(120);

/// What came out of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// Of each buffer that reached the element `out`: its time and its scores.
    pub(crate) frames: Vec<(Option<gst::ClockTime>, Option<Scores>)>,
    /// Errors on the bus, with the name of who posted them.
    pub(crate) errors: Vec<(String, String)>,
    /// Warnings on the bus.
    pub(crate) warnings: Vec<String>,
    /// It came to its end.
    pub(crate) eos: bool,
}

impl Played {
    /// The scores of each frame, all of which have some.
    pub(crate) fn scores(&self) -> Vec<&Scores> {
        let scores = self.frames.iter().map(|(pts, scores)| scores.as_ref().unwrap_or_else(|| panic!("{pts:?}")));
        scores.collect()
    }

    /// The logit of each frame's one face.
    pub(crate) fn logits(&self) -> Vec<f64> {
        self.scores().iter().map(|s| s.faces[0].outcome.as_ref().unwrap().logit).collect()
    }
}

pub(crate) fn pipeline(text: &str) -> gst::Pipeline {
    crate::common::init();
    gst::parse::launch(text).unwrap_or_else(|e| panic!("{text}: {e}")).downcast().unwrap()
}

/// Notes what passes the sink pad of the element `out`.
pub(crate) fn watch(pipeline: &gst::Pipeline) -> Arc<Mutex<Played>> {
    let played = Arc::new(Mutex::new(Played::default()));
    let pad = pipeline.by_name("out").expect("an element named out").static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, {
        let played = Arc::clone(&played);
        move |_, info| {
            let buffer = info.buffer().unwrap();
            played.lock().unwrap().frames.push((buffer.pts(), Scores::from_buffer(buffer)));
            gst::PadProbeReturn::Ok
        }
    });
    played
}

/// Waits for the end, or the first error, of a pipeline that plays. It is told to stop then.
pub(crate) fn finish(pipeline: &gst::Pipeline, played: &Mutex<Played>) -> Played {
    let bus = pipeline.bus().unwrap();
    let types = [gst::MessageType::Eos, gst::MessageType::Error, gst::MessageType::Warning];
    loop {
        let message = bus.timed_pop_filtered(PATIENCE, &types).expect("the pipeline hangs");
        let mut played = played.lock().unwrap();
        match message.view() {
            gst::MessageView::Eos(_) => played.eos = true,
            gst::MessageView::Warning(w) => {
                played.warnings.push(w.error().to_string());
                continue;
            }
            gst::MessageView::Error(e) => {
                let name = message.src().map(|s| s.name().to_string()).unwrap_or_default();
                played.errors.push((name, e.error().to_string()));
            }
            _ => unreachable!(),
        }
        break;
    }
    pipeline.set_state(gst::State::Null).unwrap();
    std::mem::take(&mut played.lock().unwrap())
}

/// Plays a description that has an element named `out` to its end, or to its first error.
pub(crate) fn play(text: &str) -> Played {
    play_with(text, |_| ())
}

/// As [`play`], after something was done to the pipeline.
pub(crate) fn play_with(text: &str, prepare: impl FnOnce(&gst::Pipeline)) -> Played {
    let pipeline = pipeline(text);
    let played = watch(&pipeline);
    prepare(&pipeline);
    // Where it does not even start, the bus says why.
    let _ = pipeline.set_state(gst::State::Playing);
    finish(&pipeline, &played)
}

/// Waits for what other threads do.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}
