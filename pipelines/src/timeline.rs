//! The verdict on each face over the time of the video.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::record::{Record, Verdict};

/// A face that is missed for less than that was there all the time.
const GAP: Duration = Duration::from_secs(1);
/// How long a frame is shown that no other follows, where nothing else is known.
const ONE_FRAME: Duration = Duration::from_millis(40);

/// A face in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    /// Of the track, in [0, 1].
    pub(crate) score: Option<f32>,
    /// Of the frame alone, in [0, 1].
    pub(crate) frame_score: Option<f32>,
}

/// A time for which the verdict on a face stays the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    pub(crate) verdict: Verdict,
    /// The lowest and highest score of the track in it.
    pub(crate) scores: Option<(f32, f32)>,
    /// It lasted to the newest frame.
    open: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Track {
    pub(crate) samples: Vec<Sample>,
    /// In order; they never overlap.
    pub(crate) intervals: Vec<Interval>,
}

/// All faces of a video.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    tracks: BTreeMap<u64, Track>,
    /// When the newest frame is shown.
    last: Option<Duration>,
    /// How long the one before it was.
    step: Option<Duration>,
}

impl Timeline {
    /// Takes in one record. Those without a time have no place here.
    pub(crate) fn add(&mut self, record: &Record) {
        let Some(at) = record.time() else {
            return;
        };
        if let Some(step) = self.last.and_then(|last| at.checked_sub(last)).filter(|step| !step.is_zero()) {
            self.step = Some(step);
        }
        self.last = Some(at);
        // A verdict lasts until the next frame is shown.
        for interval in self.tracks.values_mut().filter_map(|track| track.intervals.last_mut()) {
            if std::mem::take(&mut interval.open) {
                interval.end = at.max(interval.start);
            }
        }
        for face in record.faces.iter().flatten() {
            let score = face.score.map(|s| s as f32);
            let track = self.tracks.entry(face.track).or_default();
            track.samples.push(Sample { at, score, frame_score: face.frame_score.map(|s| s as f32) });
            match track.intervals.last_mut() {
                Some(interval) if interval.verdict == face.verdict && at.saturating_sub(interval.end) < GAP => {
                    interval.open = true;
                    interval.end = at;
                    interval.scores = joined(interval.scores, score);
                }
                _ => track.intervals.push(Interval {
                    start: at,
                    end: at,
                    verdict: face.verdict,
                    scores: joined(None, score),
                    open: true,
                }),
            }
        }
    }

    /// The end of the video: the newest frame is shown as long as the one before it.
    pub(crate) fn finish(&mut self) {
        let Some(last) = self.last else {
            return;
        };
        let end = last + self.step.unwrap_or(ONE_FRAME);
        for interval in self.tracks.values_mut().filter_map(|track| track.intervals.last_mut()) {
            if std::mem::take(&mut interval.open) {
                interval.end = end;
            }
        }
        self.last = Some(end);
    }

    /// How long the video is, as far as it was seen.
    pub(crate) fn duration(&self) -> Duration {
        self.last.unwrap_or_default()
    }

    /// The faces by their numbers.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = (u64, &Track)> {
        self.tracks.iter().map(|(id, track)| (*id, track))
    }
}

fn joined(range: Option<(f32, f32)>, score: Option<f32>) -> Option<(f32, f32)> {
    match (range, score) {
        (Some((low, high)), Some(score)) => Some((low.min(score), high.max(score))),
        (None, Some(score)) => Some((score, score)),
        (range, None) => range,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A timeline of frames 40 ms apart: for each the faces with track, score and verdict.
    pub(crate) fn timeline(frames: &[&[(u64, f64, &str)]]) -> Timeline {
        let mut timeline = Timeline::default();
        for (index, faces) in frames.iter().enumerate() {
            let faces: Vec<_> = faces
                .iter()
                .map(|(track, score, verdict)| {
                    serde_json::json!({ "track": track, "score": score, "frame_score": score, "verdict": verdict })
                })
                .collect();
            let record =
                serde_json::json!({ "pts": 1_000_000_000, "running_time": index * 40_000_000, "faces": faces });
            timeline.add(&serde_json::from_value(record).unwrap());
        }
        timeline.finish();
        timeline
    }

    fn intervals(timeline: &Timeline, track: u64) -> Vec<(u128, u128, Verdict)> {
        let of = |i: &Interval| (i.start.as_millis(), i.end.as_millis(), i.verdict);
        timeline.tracks[&track].intervals.iter().map(of).collect()
    }

    #[test]
    fn a_verdict_lasts_until_the_next_one_and_the_last_frame_is_as_long_as_the_others() {
        let timeline = timeline(&[
            &[(1, 0.5, "undecided")],
            &[(1, 0.9, "fake"), (2, 0.1, "real")],
            &[(1, 0.8, "fake")],
            &[(1, 0.7, "fake")],
        ]);
        assert_eq!(intervals(&timeline, 1), [(0, 40, Verdict::Undecided), (40, 160, Verdict::Fake)]);
        assert_eq!(intervals(&timeline, 2), [(40, 80, Verdict::Real)]);
        assert_eq!(timeline.tracks[&1].intervals[1].scores, Some((0.7, 0.9)));
        assert_eq!(timeline.duration(), Duration::from_millis(160));
    }

    #[test]
    fn a_face_that_is_missed_for_a_moment_was_there_and_one_that_was_away_comes_back() {
        let mut frames: Vec<&[(u64, f64, &str)]> = vec![&[]; 60];
        frames[0] = &[(1, 0.5, "undecided")];
        frames[10] = &[(1, 0.5, "undecided")];
        frames[40] = &[(1, 0.5, "undecided")];
        let timeline = timeline(&frames);
        assert_eq!(intervals(&timeline, 1), [(0, 440, Verdict::Undecided), (1600, 1640, Verdict::Undecided)]);
    }

    #[test]
    fn one_frame_is_shown_for_a_moment_and_no_frame_is_nothing() {
        assert_eq!(intervals(&timeline(&[&[(1, 0.5, "fake")]]), 1), [(0, 40, Verdict::Fake)]);
        assert_eq!(timeline(&[]).duration(), Duration::ZERO);
    }
}
