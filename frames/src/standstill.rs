//! A decoder that has given up without a word.

use std::time::{Duration, Instant};

use gst::prelude::*;

/// How long nothing must run. A decoder changes hands between its threads in far less.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells that nothing will come of a pipeline any more, though it posted neither an error nor its end. GStreamer's `decodebin` and `parsebin`
/// drop the error of a demuxer that fails while it is still being plugged in, as that of a file without its index does now and then.
#[derive(Debug, Default)]
pub struct Standstill {
    since: Option<Instant>,
}

impl Standstill {
    /// To be asked again and again while nothing comes: have all streaming threads of the pipeline stood still for a second? A pipeline that
    /// has none yet, as one that still connects to a camera, does not count.
    pub fn lasts(&mut self, pipeline: &gst::Pipeline) -> bool {
        if stands_still(pipeline) {
            self.since.get_or_insert_with(Instant::now).elapsed() > PATIENCE
        } else {
            self.since = None;
            false
        }
    }
}

/// Had it threads, and does none of them run any more?
fn stands_still(pipeline: &gst::Pipeline) -> bool {
    let mut ended = false;
    // What changes meanwhile is seen the next time.
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        for pad in element.pads() {
            match pad.task_state() {
                gst::TaskState::Started => return false,
                gst::TaskState::Paused => ended = true,
                _ => {}
            }
        }
    }
    ended
}
