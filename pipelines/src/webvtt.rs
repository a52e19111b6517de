//! The verdicts as WebVTT: a text track beside the video, with a cue for each time that the verdict on a face stays the same.
//!
//! Each face speaks with a voice of its own (`<v Face 3>`), each verdict has a class (`<c.fake>`), so that players style them and programs
//! find them.

use std::fmt::Write;
use std::time::Duration;

use crate::record::Model;
use crate::timeline::{Interval, Timeline};

/// The whole file.
pub(crate) fn track(name: &str, timeline: &Timeline, models: &[Model]) -> String {
    let mut text = String::from("WEBVTT\n\nNOTE\n");
    line(&mut text, format_args!("Verdicts on the faces of {}", on_one_line(name)));
    for model in models {
        line(
            &mut text,
            format_args!("Model: {} on {}, sha256 {}", on_one_line(&model.name), model.provider, model.sha256),
        );
    }
    line(
        &mut text,
        format_args!("A score is the model's estimate, from 0 (real) to 1 (fake). It is a hint, not proof.\n"),
    );
    text.push_str(
        "STYLE\n::cue(.fake) { color: #ff8f6b; }\n::cue(.real) { color: #8fc7ff; }\n::cue(.undecided) { color: #e0e0e0; }\n\n",
    );
    let mut cues: Vec<(u64, usize, &Interval)> = timeline
        .tracks()
        .flat_map(|(id, track)| track.intervals.iter().enumerate().map(move |(n, interval)| (id, n + 1, interval)))
        .collect();
    // The format wants them in the order of their beginnings.
    cues.sort_by_key(|(id, n, interval)| (interval.start, *id, *n));
    for (id, n, interval) in cues {
        line(&mut text, format_args!("face-{id}-{n}\n{} --> {}", time(interval.start), time(interval.end)));
        let verdict = interval.verdict.name();
        let score = match interval.scores {
            None => "no score".to_owned(),
            Some((low, high)) if format!("{low:.2}") == format!("{high:.2}") => format!("score {low:.2}"),
            Some((low, high)) => format!("score {low:.2} to {high:.2}"),
        };
        line(&mut text, format_args!("<v Face {id}>Face {id}: <c.{verdict}>{verdict}</c>, {score}</v>\n"));
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{arguments}");
}

/// As a comment may hold it: an arrow or an empty line would end it.
fn on_one_line(text: &str) -> String {
    text.replace("-->", "->").split(char::is_control).collect::<Vec<_>>().join(" ")
}

fn time(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let seconds = milliseconds / 1000;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::tests::timeline;

    #[test]
    fn each_face_has_its_cues_in_the_order_of_time() {
        let timeline = timeline(&[
            &[(1, 0.5, "undecided"), (2, 0.1, "real")],
            &[(1, 0.9, "fake"), (2, 0.12, "real")],
            &[(1, 0.9, "fake")],
        ]);
        let models = [Model { name: "m".into(), sha256: "ab".into(), provider: "cpu".into() }];
        let text = track("a --> b\n\nWEBVTT", &timeline, &models);
        let (head, cues) = text.split_once("\nface-").unwrap();
        assert!(
            head.starts_with("WEBVTT\n\nNOTE\nVerdicts on the faces of a -> b  WEBVTT\nModel: m on cpu, sha256 ab\n"),
            "{head}"
        );
        assert_eq!(
            cues,
            "1-1\n00:00:00.000 --> 00:00:00.040\n<v Face 1>Face 1: <c.undecided>undecided</c>, score 0.50</v>\n\n\
             face-2-1\n00:00:00.000 --> 00:00:00.080\n<v Face 2>Face 2: <c.real>real</c>, score 0.10 to 0.12</v>\n\n\
             face-1-2\n00:00:00.040 --> 00:00:00.120\n<v Face 1>Face 1: <c.fake>fake</c>, score 0.90</v>\n\n"
        );
    }

    #[test]
    fn long_videos_have_hours() {
        assert_eq!(time(Duration::from_millis(100 * 3_600_000 + 61_007)), "100:01:01.007");
    }
}
