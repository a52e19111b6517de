//! Drawings of the page, as SVG: they scale, and need no program to be seen.

use std::time::Duration;

use maud::{Markup, html};

use crate::record::{Verdict, clock};
use crate::timeline::{Interval, Sample, Track};

/// Units of a drawing's width; its text is that much smaller on a small screen.
const WIDTH: f32 = 1000.0;
/// Units left of what has a time.
const LEFT: f32 = 74.0;
/// Units of one face's row in the overview.
const ROW: f32 = 30.0;
/// Units of a curve's height.
const HEIGHT: f32 = 170.0;
/// So many points a curve has at most: one for every two units.
const COLUMNS: usize = 450;
/// Marks of time are at least that far from each other.
const MARKS: f32 = 8.0;

/// A stretch of time, and where it is drawn.
#[derive(Clone, Copy)]
struct Axis {
    start: f32,
    length: f32,
}

impl Axis {
    fn new(start: Duration, end: Duration) -> Self {
        Self { start: start.as_secs_f32(), length: (end.saturating_sub(start)).as_secs_f32().max(0.04) }
    }

    fn x(self, at: Duration) -> f32 {
        LEFT + ((at.as_secs_f32() - self.start) / self.length).clamp(0.0, 1.0) * (WIDTH - LEFT)
    }

    /// Round times, some eight of them.
    fn marks(self) -> Vec<Duration> {
        const STEPS: [f32; 16] =
            [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];
        let step = STEPS.into_iter().find(|s| s * MARKS >= self.length).unwrap_or(self.length / MARKS);
        let first = (self.start / step).ceil() as u64;
        let last = ((self.start + self.length) / step).floor() as u64;
        (first..=last).map(|n| Duration::from_secs_f32(n as f32 * step)).collect()
    }

    fn draw(self, top: f32, bottom: f32) -> Markup {
        html! {
            @for at in self.marks() {
                @let x = self.x(at);
                line .grid x1=(x) y1=(top) x2=(x) y2=(bottom) {}
                // The last word would reach over the edge.
                text .time x=(x) y=(bottom + 18.0) text-anchor=(if x > WIDTH - 30.0 { "end" } else { "middle" }) { (clock(at)) }
            }
        }
    }
}

fn strip(axis: Axis, intervals: &[Interval], y: f32, height: f32) -> Markup {
    html! {
        @for interval in intervals {
            @let (x, end) = (axis.x(interval.start), axis.x(interval.end));
            // A moment is to be seen, too.
            rect .(interval.verdict.name()) x=(x) y=(y) width=((end - x).max(1.5)) height=(height) {
                title { (interval.verdict.name()) ", " (clock(interval.start)) " to " (clock(interval.end)) }
            }
        }
    }
}

/// All faces over the whole video, each in a row that links to what is told of it.
pub(super) fn overview(duration: Duration, tracks: &[(u64, &Track)]) -> Markup {
    let axis = Axis::new(Duration::ZERO, duration);
    let bottom = ROW * tracks.len() as f32 + 6.0;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (bottom + 26.0) } role="img" aria-label="Verdicts on all faces over the time of the video" {
            (axis.draw(0.0, bottom))
            @for (row, (id, track)) in tracks.iter().enumerate() {
                @let y = ROW * row as f32 + 6.0;
                a href={ "#face-" (id) } { text .name x="0" y=(y + 16.0) { "Face " (id) } }
                (strip(axis, &track.intervals, y, ROW - 10.0))
            }
        }
    }
}

/// The scores of one face while it was seen, and its verdicts below them.
pub(super) fn scores(track: &Track) -> Markup {
    let first = track.intervals.first().map(|i| i.start).unwrap_or_default();
    let last = track.intervals.last().map(|i| i.end).unwrap_or_default();
    let axis = Axis::new(first, last);
    let y = |score: f32| 8.0 + (1.0 - score.clamp(0.0, 1.0)) * HEIGHT;
    let bottom = 8.0 + HEIGHT;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (bottom + 52.0) } role="img" aria-label="Score of the face over time" {
            @for score in [0.0, 0.5, 1.0] {
                line .grid x1=(LEFT) y1=(y(score)) x2=(WIDTH) y2=(y(score)) {}
                text .time x=(LEFT - 8.0) y=(y(score) + 5.0) text-anchor="end" {
                    @if score == 0.0 { "real 0" } @else if score == 1.0 { "fake 1" } @else { "0.5" }
                }
            }
            (axis.draw(8.0, bottom + 24.0))
            @for piece in pieces(axis, &track.samples, &track.intervals) {
                @let frames: Vec<&Column> = piece.iter().filter(|c| c.frames.is_some()).collect();
                @if !frames.is_empty() {
                    polygon .frames points=(area(&frames, y)) {}
                }
                polyline .score points=(line(piece.iter().filter_map(|c| Some((c.x, y(c.score?)))))) {}
            }
            (strip(axis, &track.intervals, bottom + 8.0, 12.0))
        }
    }
}

/// The frames that share a place in the drawing.
#[derive(Debug, PartialEq)]
struct Column {
    x: f32,
    /// The newest score of the track.
    score: Option<f32>,
    /// The lowest and highest score of a frame.
    frames: Option<(f32, f32)>,
}

/// What is drawn in one go: times without the face are gaps.
fn pieces(axis: Axis, samples: &[Sample], intervals: &[Interval]) -> Vec<Vec<Column>> {
    let mut pieces: Vec<Vec<Column>> = Vec::new();
    let mut end = None;
    for sample in samples {
        // Each sample lies in the interval whose verdict it has; one that does not follow on begins a new piece.
        let interval = intervals.iter().rev().find(|i| i.start <= sample.at);
        let begins = interval.is_some_and(|i| i.start == sample.at && end.is_some_and(|end| end < i.start));
        if pieces.is_empty() || begins {
            pieces.push(Vec::new());
        }
        end = interval.map(|i| i.end);
        let Some(piece) = pieces.last_mut() else { continue };
        let width = (WIDTH - LEFT) / COLUMNS as f32;
        let x = LEFT + ((axis.x(sample.at) - LEFT) / width).floor() * width;
        let frames = sample.frame_score.map(|s| (s, s));
        match piece.last_mut() {
            Some(column) if column.x == x => {
                column.score = sample.score.or(column.score);
                column.frames = match (column.frames, frames) {
                    (Some((low, high)), Some((s, _))) => Some((low.min(s), high.max(s))),
                    (old, new) => old.or(new),
                };
            }
            _ => piece.push(Column { x, score: sample.score, frames }),
        }
    }
    pieces
}

fn line(points: impl Iterator<Item = (f32, f32)>) -> String {
    points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

fn area(columns: &[&Column], y: impl Fn(f32) -> f32) -> String {
    let high = columns.iter().filter_map(|c| Some((c.x, y(c.frames?.1))));
    let low = columns.iter().rev().filter_map(|c| Some((c.x, y(c.frames?.0))));
    line(high.chain(low))
}

/// What the colours and lines mean.
pub(super) fn legend() -> Markup {
    html! {
        p .legend {
            @for verdict in [Verdict::Fake, Verdict::Undecided, Verdict::Real] {
                span { span .swatch .(verdict.name()) {} (verdict.name()) }
            }
            span { span .swatch .score {} "score of the face, over its frames until then" }
            span { span .swatch .frames {} "scores of single frames" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::tests::timeline;

    #[test]
    fn marks_of_time_are_round_and_not_too_many() {
        for (seconds, first, count) in [(5.0, "0:01.0", 6), (3600.0, "10:00.0", 7), (0.3, "0:00.1", 4)] {
            let marks = Axis::new(Duration::ZERO, Duration::from_secs_f64(seconds)).marks();
            assert_eq!(clock(marks[1]), first);
            assert_eq!(marks.len(), count, "{marks:?}");
        }
    }

    #[test]
    fn a_time_without_the_face_is_a_gap_and_a_change_of_verdict_is_none() {
        let mut frames: Vec<&[(u64, f64, &str)]> = vec![&[]; 80];
        frames[0] = &[(1, 0.5, "undecided")];
        frames[1] = &[(1, 0.9, "fake")];
        frames[70] = &[(1, 0.9, "fake")];
        let timeline = timeline(&frames);
        let (_, track) = timeline.tracks().next().unwrap();
        let axis = Axis::new(Duration::ZERO, timeline.duration());
        let pieces = pieces(axis, &track.samples, &track.intervals);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_long_video_is_drawn_with_few_points_that_keep_its_extremes() {
        let sample = |n: u64| {
            let score = if n == 50_000 { 1.0 } else { 0.25 };
            Sample { at: Duration::from_millis(n * 40), score: Some(0.5), frame_score: Some(score) }
        };
        let samples: Vec<_> = (0..100_000).map(sample).collect();
        let axis = Axis::new(Duration::ZERO, Duration::from_secs(4000));
        let pieces = pieces(axis, &samples, &[]);
        assert!(pieces[0].len() <= COLUMNS + 1, "{}", pieces[0].len());
        assert!(pieces[0].iter().any(|c| c.frames == Some((0.25, 1.0))));
    }
}
