//! The report on a video: one HTML file that asks nothing of anybody, with pictures out of the video itself.

mod chart;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::pictures::{Picture, Pictures, Why};
use crate::record::{Verdict, clock};
use crate::summary::{Summary, Track, number, span};
use crate::timeline::{self, Timeline};

/// Of more faces, those that matter most are told.
const MOST: usize = 60;

/// A face, and what is known of it.
type Shown<'a> = (u64, &'a Track, &'a timeline::Track);

/// The whole page. Names of files and models are text, whatever they hold.
pub(crate) fn page(summary: &Summary, timeline: &Timeline, pictures: &Pictures) -> String {
    let faces = shown(summary, timeline);
    let left_out = summary.tracks.len() - faces.len();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Faces of " (summary.name) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header {
                    h1 { (summary.name) }
                    p .sub { "Scores of its faces for being deepfakes" @if summary.partial { " (stopped before its end)" } }
                }
                main {
                    (facts(summary, timeline))
                    p .warning {
                        "A score is the model's estimate, from 0 (real) to 1 (fake), that a face was manipulated. " b { "It is a hint, not proof: " }
                        "manipulations and cameras unlike those that the model was trained on mislead it, both ways."
                    }
                    @if faces.is_empty() {
                        p { "No face was found." }
                    } @else {
                        h2 { "Timeline" }
                        (chart::legend())
                        (chart::overview(timeline.duration(), &faces.iter().map(|(id, _, t)| (*id, *t)).collect::<Vec<_>>()))
                        @if left_out > 0 {
                            p .note { "The " (faces.len()) " of " (summary.tracks.len()) " faces that matter most: fake verdicts, then those seen in most frames." }
                        }
                        h2 { "Faces" }
                        p .note {
                            "A face is followed from frame to frame; after a cut, the same person counts as another. Each picture is what the model saw. Beside "
                            "it is the evidence: " span .fake { "red" } " speaks for fake, " span .real { "blue" } " for real, and the mean of it all gives that frame's score."
                        }
                        @for (id, told, track) in &faces { (face(summary, *id, told, track, pictures)) }
                    }
                    (missing(summary, pictures))
                }
                footer {
                    @for model in &summary.models {
                        p { "Model " b { (model.name) } " on " (model.provider) ", SHA-256 " code { (model.sha256) } }
                    }
                    p { "Made by deepfakescore " (env!("CARGO_PKG_VERSION")) ". The pictures are of the video, and under its terms." }
                }
            }
        }
    };
    page.into_string()
}

/// Fakes first, then those whom the video shows most.
fn shown<'a>(summary: &'a Summary, timeline: &'a Timeline) -> Vec<Shown<'a>> {
    let mut faces: Vec<Shown> =
        timeline.tracks().filter_map(|(id, track)| Some((id, summary.tracks.get(&id)?, track))).collect();
    let ever_fake = |t: &timeline::Track| t.intervals.iter().any(|i| i.verdict == Verdict::Fake);
    faces.sort_by_key(|(id, told, track)| (!ever_fake(track), std::cmp::Reverse(told.frames), *id));
    faces.truncate(MOST);
    faces
}

fn facts(summary: &Summary, timeline: &Timeline) -> Markup {
    let count = |verdict| summary.tracks.values().filter(|t| t.verdict == verdict).count();
    html! {
        dl .facts {
            @for verdict in [Verdict::Fake, Verdict::Undecided, Verdict::Real] {
                div .(verdict.name()) { dt { (verdict.name()) } dd { (count(verdict)) } }
            }
            div { dt { "length" } dd { (clock(timeline.duration())) } }
            div { dt { "frames" } dd { (summary.frames) } }
            div { dt { "with faces" } dd { (summary.with_faces()) } }
        }
    }
}

fn face(summary: &Summary, id: u64, told: &Track, track: &timeline::Track, pictures: &Pictures) -> Markup {
    html! {
        section id={ "face-" (id) } {
            h3 { "Face " (id) " " span .badge .(told.verdict.name()) { (told.verdict.name()) } }
            p .small {
                "score " b { (number(told.score)) } ", mean of its frames " (number(told.mean())) ", highest " (number(told.highest()))
                "; seen " (span(told.first, told.last)) ", in " (summary.share(told.frames)) " frames"
            }
            div .row {
                div .pictures { @for (why, picture) in pictures.of(id) { (shot(&why, picture)) } }
                div .curve { (chart::scores(track)) }
            }
        }
    }
}

fn shot(why: &[Why], picture: &Picture) -> Markup {
    let reasons: Vec<&str> = why
        .iter()
        .map(|why| match why {
            Why::Highest => "highest score",
            Why::Lowest => "lowest score",
            Why::Largest => "largest",
        })
        .collect();
    let reasons = reasons.join(", ");
    let face = data("image/jpeg", &picture.face);
    html! {
        figure {
            div .pair {
                img src=(face) alt={ "The face, " (reasons) } width="256" height="256";
                @if let Some(heat) = &picture.heat {
                    div .over {
                        img src=(face) alt="" width="256" height="256";
                        img .heat src=(data("image/png", heat)) alt={ "Where the evidence is, " (reasons) } width="256" height="256";
                    }
                }
            }
            figcaption {
                b { (number(picture.frame_score)) } " " (reasons) br;
                "frame " (picture.frame) @if let Some(at) = picture.at { ", " (clock(at)) }
            }
        }
    }
}

fn missing(summary: &Summary, pictures: &Pictures) -> Markup {
    html! {
        @if !summary.not_scored.is_empty() || !summary.missing.is_empty() || pictures.failure().is_some() {
            h2 { "Not scored" }
            ul {
                @for (reason, count) in &summary.not_scored { li { "Faces: " (count) " times " code { (reason) } } }
                @for (reason, count) in &summary.missing { li { "Frames without a result: " (count) " times " code { (reason) } } }
                @if let Some(problem) = pictures.failure() { li { "Pictures that could not be taken: " (problem) } }
            }
        }
    }
}

fn data(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::tests::timeline;

    #[test]
    fn names_are_text_and_fakes_come_first() {
        let frames: [&[(u64, f64, &str)]; 3] =
            [&[(1, 0.5, "undecided"), (2, 0.9, "fake")], &[(1, 0.5, "undecided")], &[(1, 0.5, "undecided")]];
        let mut summary = Summary::new("<script>alert(1)</script>.mp4");
        for faces in frames {
            let faces: Vec<_> = faces
                .iter()
                .map(|(track, score, verdict)| serde_json::json!({"track": track, "score": score, "verdict": verdict}))
                .collect();
            summary.add(&serde_json::from_value(serde_json::json!({ "pts": 0, "faces": faces })).unwrap());
        }
        let page = page(&summary, &timeline(&frames), &Pictures::default());
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;.mp4") && !page.contains("<script"), "{page}");
        let at = |id: &str| page.find(&format!("<section id=\"face-{id}\"")).unwrap();
        assert!(at("2") < at("1"));
    }

    #[test]
    fn a_video_without_faces_has_a_page() {
        let mut summary = Summary::new("empty.mp4");
        summary.add(&serde_json::from_str(r#"{"pts":0,"faces":[]}"#).unwrap());
        let page = page(&summary, &timeline(&[&[]]), &Pictures::default());
        assert!(page.contains("No face was found."), "{page}");
    }
}
