//! The element `deepfakescore`.

/**
 * SECTION:element-deepfakescore
 * @title: deepfakescore
 * @short_description: Scores the faces in running video for being deepfakes
 *
 * Finds the faces of each frame (or takes those that an element upstream has found), scores each with an ONNX model and
 * attaches the result as metadata: a `DeepfakeScoresMeta` and a `DeepfakeBoxesMeta` (#GstCustomMeta that can be
 * serialized) and a #GstVideoRegionOfInterestMeta of type `face` for each face; where it is built for GStreamer 1.24 or
 * newer, a #GstAnalyticsRelationMeta too. The pixels pass unchanged and are not copied.
 *
 * ## Modes
 *
 * In mode `every-frame` each buffer waits until its own frame is scored. In mode `live` no buffer ever waits: a worker scores the newest
 * frame it can, and each buffer carries the newest finished result, its boxes moved on to where the faces should be by now, with the
 * age of the scores. `auto` is `live` where the pipeline is live. Live mode adds no latency; `every-frame` in a live pipeline adds
 * that of one frame. A cut to another shot ends all tracks.
 *
 * ## Many streams
 *
 * Elements of one process with the same `session-group` share one session of the scoring model, whose worker runs their faces together, one
 * of each element in turn. Faces wait for those of elements that are looking at a frame just then, at most for their `batch-window`, and
 * not where the frame's scores would come later than the next frame; nobody waits for a stream that is stalled or has ended. What decides
 * the session (`model`, `model-config`, `provider`, `device-id`, `threads`, `engine-cache`) must be the same in all of them. Each element
 * keeps its own face detector. Of ONNX Runtime's threads in the process at most one less work at the same time than the environment
 * variable `DEEPFAKE_THREADS` says, or than there are cores, the thread of each stream apart; more may exist and wait.
 *
 * ## Messages
 *
 * With `messages=verdicts` (the default) an element message `deepfake-verdict` tells each change of the verdict on a track:
 *
 * | field | type | meaning |
 * |---|---|---|
 * | `track` | guint64 | whose |
 * | `verdict`, `before` | string | `fake`, `real` or `undecided`, now and until now |
 * | `score` | double | of the track, probability of fake in [0, 1]; not a number where the face has none at the moment |
 * | `frame` | guint64 | counts the frames that the element has seen, from 0 |
 * | `pts`, `running-time` | GstClockTime | when the frame is due |
 * | `model-sha256`, `provider` | string | what gave the numbers |
 *
 * `messages=all` posts a message `deepfake-scores` for each frame too: the fields of `DeepfakeScoresMeta`, and `pts` and
 * `running-time`. `messages=none` posts neither. With a `stats-interval` a message `deepfake-stats` tells every so many milliseconds
 * what the property `stats` has.
 *
 * ## Example
 *
 * |[
 * gst-launch-1.0 filesrc location=video.mp4 ! decodebin ! deepfakescore ! deepfakeoverlay ! videoconvert ! autovideosink
 * ]|
 *
 * Since: plugin-0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod error;
mod failures;
mod imp;
mod lateness;
pub(crate) mod regions;
mod runner;
mod settings;
mod state;
mod statistics;
#[cfg(test)]
mod tests;

pub use settings::{FaceSource, Messages, Mode, OnError, Provider};

glib::wrapper! {
    /// The element `deepfakescore`.
    pub struct DeepfakeScore(ObjectSubclass<imp::DeepfakeScore>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "deepfakescore", gst::Rank::NONE, DeepfakeScore::static_type())
}
