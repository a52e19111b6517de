//! The report as one HTML file.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, Axes, FAKE, Line, REAL, SERIES};
use super::history::History;
use super::{Told, data_address, heat};
use crate::calibrate::Calibration;
use crate::distort::Distortion;
use crate::error::{Error, Result};
use crate::evaluate::{Difference, Drawn, Evaluation, Figure, Level, Mistake, ModelRecord, SetResult, Standing};
use crate::metrics;

/// Pixels of a chart that stands alone in its row, and of one of two.
const WIDE: (u32, u32) = (860, 360);
const HALF: (u32, u32) = (370, 330);

/// Everything that is told, as one file without a request to anywhere. Names of files, sets and models are text, whatever they hold.
///
/// # Errors
///
/// Pictures of mistakes or contact sheets that are there and cannot be read.
pub fn page(told: &Told) -> Result<String> {
    let name = told.config.as_ref().map(|c| c.name.clone());
    let model = told.evaluation.as_ref().and_then(Evaluation::model);
    let name = name.or_else(|| model.map(|m| m.name.clone())).unwrap_or_default();
    let mut parts: Vec<(&str, &str, Markup)> = Vec::new();
    if let Some(evaluation) = &told.evaluation {
        parts.push(("summary", "Summary", summary(evaluation)));
    }
    parts.push(("meaning", "What a score means", meaning(model)));
    if let Some(evaluation) = &told.evaluation {
        parts.push(("matrix", "Models and sets", matrix(evaluation)));
        if !evaluation.comparisons.is_empty() {
            parts.push(("paired", "Paired comparison", paired(evaluation)));
        }
        parts.push(("sets", "Set by set", sets(evaluation)));
        if evaluation.results.iter().any(|r| r.distortion.is_some()) {
            parts.push(("robustness", "Robustness", robustness(evaluation)));
        }
        parts.push(("mistakes", "Worst mistakes", mistakes(evaluation, told)?));
    }
    if let Some(calibration) = &told.calibration {
        parts.push(("calibration", "Calibration", calibrated(calibration)));
    }
    if !told.history.epochs.is_empty() {
        parts.push(("training", "Training", training(&told.history)));
    }
    if !told.sheets.is_empty() {
        parts.push(("sheets", "Contact sheets", sheets(told)?));
    }
    parts.push(("provenance", "Where it comes from", provenance(told)?));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (name) ": report" }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header {
                    h1 { (name) }
                    p .sub { "Report of a deepfake detector" @if let Some(m) = model { ", file " code { (m.file) } } }
                    nav { @for (id, title, _) in &parts { a href={ "#" (id) } { (title) } } }
                }
                main { @for (id, title, body) in &parts { section id=(id) { h2 { (title) } (body) } } }
                footer { p { "Made by deepfake-trainer " (env!("CARGO_PKG_VERSION")) ". Pictures in this report are of the evaluated data and under its terms." } }
            }
        }
    };
    Ok(page.into_string())
}

/// Value and interval.
fn figure(figure: Option<Figure>) -> Markup {
    html! {
        @match figure {
            None => span .none title="a class is missing" { "\u{2013}" },
            Some(f) => {
                (format!("{:.3}", f.value))
                @if let Some([low, high]) = f.interval { " " span .interval { (format!("[{low:.3}, {high:.3}]")) } }
            }
        }
    }
}

fn percent(figure: Option<Figure>) -> Markup {
    let scaled = |v: f64| format!("{:.1}", 100.0 * v);
    html! {
        @match figure {
            None => span .none { "\u{2013}" },
            Some(f) => {
                (scaled(f.value)) " %"
                @if let Some([low, high]) = f.interval { " " span .interval { "[" (scaled(low)) ", " (scaled(high)) "]" } }
            }
        }
    }
}

fn summary(evaluation: &Evaluation) -> Markup {
    let Some(model) = evaluation.model() else { return html! {} };
    let clean: Vec<&SetResult> =
        evaluation.sets.iter().filter_map(|s| evaluation.clean(&model.name, &s.name)).collect();
    html! {
        div .cards {
            @for result in &clean {
                @let standing = Standing::of(result.frame.figures.auc.as_ref());
                div .card {
                    p .label { (result.set) }
                    p .big {
                        @match result.frame.figures.auc {
                            Some(auc) => { (format!("{:.3}", auc.value)) small { " AUC" } }
                            None => { (percent(result.frame.figures.false_alarms.or(result.frame.figures.detected).map(|f| Figure { interval: None, ..f }))) small { " called fake" } }
                        }
                    }
                    p .small {
                        @match result.frame.figures.auc.and_then(|a| a.interval) {
                            Some([low, high]) => { "95 %: " (format!("{low:.3} to {high:.3}")) }
                            None => "no interval",
                        }
                        ", " (result.sources) " source videos"
                    }
                    @if result.frame.figures.auc.is_some() {
                        p .verdict .(match standing { Standing::Better => "good", Standing::Unknown => "open", _ => "bad" }) {
                            (match standing { Standing::Better => "\u{2713} ", Standing::Unknown => "? ", _ => "\u{2717} " })
                            (standing.words())
                        }
                    }
                }
            }
        }
        p .note {
            "AUC of single frames: the probability that a fake scores above a genuine face; 0.5 is a coin. Brackets are 95 % intervals by "
            (evaluation.bootstrap) " draws of source videos, each with all real and fake faces that came from it."
        }
    }
}

fn meaning(model: Option<&ModelRecord>) -> Markup {
    html! {
        div .columns {
            div {
                h3 { "It says" }
                ul {
                    li { "how much a face looks like the fakes, rather than the genuine faces, that the model was trained with." }
                    li { "The map beside a score is the score itself spread over the face: its mean is the logit." }
                    @if let Some(m) = model {
                        li {
                            "Verdict fake from a score of " b { (format!("{:.3}", m.score.fake_above)) } " on, genuine up to "
                            b { (format!("{:.3}", m.score.real_below)) } ", undecided between; logits are divided by a temperature of "
                            (format!("{:.3}", m.score.temperature)) "."
                        }
                    }
                }
            }
            div {
                h3 { "It does not say" }
                ul {
                    li { "how probable it is that your video is a fake: that depends on how common fakes are where it comes from." }
                    li { "anything about kinds of forgery, cameras or codecs that it was not measured on." }
                    li { "who is at fault. A score is a reason to look closer, no proof and no ground for decisions about persons." }
                }
            }
        }
    }
}

/// From 0 (vermillion) over 0.5 (nothing) to 1 (blue).
fn shade(auc: f64) -> String {
    let strength = ((auc - 0.5).abs() * 2.0).min(1.0) * 0.75;
    let colour = if auc >= 0.5 { "0, 114, 178" } else { "213, 94, 0" };
    format!("background-color: rgba({colour}, {strength:.3})")
}

fn matrix(evaluation: &Evaluation) -> Markup {
    let table = |level: fn(&SetResult) -> &Level, title: &str| {
        html! {
            h3 { (title) }
            div .scroll { table .matrix {
                thead { tr { th { "AUC" } @for set in &evaluation.sets { th { (set.name) br; span .small { (set.real) " real, " (set.fake) " fake" } } } } }
                tbody { @for model in &evaluation.models { tr {
                    th { (model.name) }
                    @for set in &evaluation.sets {
                        @let auc = evaluation.clean(&model.name, &set.name).and_then(|r| level(r).figures.auc);
                        td style=[auc.map(|a| shade(a.value))] { (figure(auc)) }
                    }
                } } }
            } }
        }
    };
    html! {
        (table(|r| &r.frame, "Single frames"))
        (table(|r| &r.video, "Whole videos (mean of the frames' logits, as on a track of the element)"))
        p .note { "Blue is better than chance, vermillion worse, no colour is chance itself." }
    }
}

fn paired(evaluation: &Evaluation) -> Markup {
    let rows = |level: fn(&crate::evaluate::Comparison) -> Option<Difference>| -> Vec<(String, f64, Option<[f64; 2]>)> {
        let row = |c: &crate::evaluate::Comparison| {
            let d = level(c)?;
            Some((format!("{} on {}", short(&c.against, 12), short(&c.set, 14)), d.auc.value, d.auc.interval))
        };
        evaluation.comparisons.iter().filter_map(row).collect()
    };
    let name = evaluation.model().map_or("", |m| m.name.as_str());
    html! {
        p { "AUC of " b { (name) } " minus that of each other model on the very same faces, by the same draws of source videos. Right of the dashed line it is better; where the line crosses an interval, the difference may be chance." }
        div .chart { (PreEscaped(chart::forest(WIDE.0, &rows(|c| c.frame), 0.0, "difference of AUC, single frames"))) }
        div .scroll { table {
            thead { tr { th { "against" } th { "on" } th { "frames" } th { "source videos" } th { "frames: difference" } th { "better in" } th { "videos: difference" } th { "better in" } } }
            tbody { @for c in &evaluation.comparisons { tr {
                th { (c.against) } td { (c.set) } td .number { (c.frames) } td .number { (c.sources) }
                @for d in [&c.frame, &c.video] {
                    td { (figure(d.map(|d| d.auc))) }
                    td { @if let Some(d) = d { (format!("{:.1} %", 100.0 * d.better)) } }
                }
            } } }
        } }
    }
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['\u{2026}']).collect()
}

fn roc(evaluation: &Evaluation, set: &str) -> String {
    let mut lines = Vec::new();
    for (i, model) in evaluation.models.iter().enumerate() {
        let Some(result) = evaluation.clean(&model.name, set) else { continue };
        let Some(drawn) = &result.drawn else { continue };
        let colour = SERIES[i % SERIES.len()];
        let points = |curve: &[[f64; 2]]| curve.iter().map(|p| (p[0], p[1])).collect::<Vec<_>>();
        let auc = |l: &Level| l.figures.auc.map_or(f64::NAN, |a| a.value);
        if drawn.roc_frame.is_empty() {
            continue;
        }
        let own = format!("{}, frames: {:.3}", short(&model.name, 14), auc(&result.frame));
        lines.push(Line { name: own, points: points(&drawn.roc_frame), colour, dashed: false });
        // Where each video has one frame, both are the same.
        if i == 0 && result.video.real + result.video.fake < result.frame.real + result.frame.fake {
            let videos = format!("{}, videos: {:.3}", short(&model.name, 14), auc(&result.video));
            lines.push(Line { name: videos, points: points(&drawn.roc_video), colour, dashed: true });
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let axes = Axes {
        size: HALF,
        x: [0.0, 1.0],
        y: [0.0, 1.0],
        x_name: "genuine faces called fake",
        y_name: "fakes called fake",
        label_width: 0,
        digits: 1,
        x_digits: 1,
    };
    chart::lines(&axes, &lines, &[], &[(0.0, 0.0), (1.0, 1.0)])
}

fn sets(evaluation: &Evaluation) -> Markup {
    let Some(model) = evaluation.model() else { return html! {} };
    html! {
        @for set in &evaluation.sets {
            @if let Some(result) = evaluation.clean(&model.name, &set.name) {
                article {
                    h3 { (set.name) }
                    p .small {
                        (set.real) " real and " (set.fake) " fake files of " (set.sources) " source videos; " (result.failed) " pictures or frames without a score. SHA-256 of the set "
                        code { (set.sha256.get(..16).unwrap_or(&set.sha256)) "\u{2026}" }
                    }
                    div .scroll { table {
                        thead { tr { th { "" } th { "frames" } th { "videos" } } }
                        tbody {
                            tr { th { "real / fake" } td { (result.frame.real) " / " (result.frame.fake) } td { (result.video.real) " / " (result.video.fake) } }
                            @for ((name, frame), (_, video)) in result.frame.figures.named().into_iter().zip(result.video.figures.named()) {
                                @let share = name.contains("called");
                                tr { th { (name) } @for f in [frame, video] { td { @if share { (percent(f)) } @else { (figure(f)) } } } }
                            }
                        }
                    } }
                    @if let Some(drawn) = &result.drawn { (diagrams(evaluation, &set.name, drawn, model)) }
                }
            }
        }
    }
}

fn diagrams(evaluation: &Evaluation, set: &str, drawn: &Drawn, model: &ModelRecord) -> Markup {
    let curve = roc(evaluation, set);
    let (real_below, fake_above) = (f64::from(model.score.real_below), f64::from(model.score.fake_above));
    html! {
        div .charts {
            @if !curve.is_empty() { figure { (PreEscaped(curve)) figcaption { "ROC curves; in the legend the area under each. Dashed: chance." } } }
            figure {
                (PreEscaped(chart::histogram(HALF, &drawn.histogram_real, &drawn.histogram_fake, real_below, fake_above)))
                figcaption { "Scores of single frames, and the thresholds of the verdict." }
            }
            @if let Some(r) = &drawn.reliability {
                figure {
                    (PreEscaped(chart::reliability(HALF, &r.before, &r.after)))
                    figcaption { "Reliability: on the dashed line scores are probabilities (in a set half of fakes). Larger dots, more faces. Calibration error "
                        (format!("{:.3}", r.error_before)) " with temperature 1, " (format!("{:.3}", r.error_after)) " as calibrated." }
                }
            }
        }
    }
}

fn robustness(evaluation: &Evaluation) -> Markup {
    let Some(model) = evaluation.model() else { return html! {} };
    let of = |set: &str, name: &str, level: u8| evaluation.distorted(&model.name, set, name, level);
    let auc = |r: Option<&SetResult>| r.and_then(|r| r.frame.figures.auc);
    html! {
        @for set in evaluation.sets.iter().filter(|s| of(&s.name, Distortion::ALL[0].name(), 1).is_some()) {
            article {
                h3 { (set.name) }
                p .small { "Measured on " (of(&set.name, "", 0).map_or(0, |r| r.sources)) " of " (set.sources) " source videos." }
                div .chart { (PreEscaped(robustness_curves(|name, level| auc(of(&set.name, name, level))))) }
                div .scroll { table .matrix {
                    thead { tr { th { "AUC of frames" } th { "as it is" } @for level in 1..=Distortion::LEVELS { th { "level " (level) } } th { "without a score" } } }
                    tbody { @for d in Distortion::ALL { tr {
                        th { (d.name()) }
                        @for level in 0..=Distortion::LEVELS {
                            @let result = of(&set.name, d.name(), level);
                            td style=[auc(result).map(|a| shade(a.value))] { (stacked(auc(result), result.filter(|_| level > 0))) }
                        }
                        td .number { ((1..=Distortion::LEVELS).filter_map(|l| of(&set.name, d.name(), l)).map(|r| r.failed).max().unwrap_or(0)) }
                    } } }
                } }
            }
        }
        p .note { "The distortions of DeeperForensics-1.0 at five levels (below each figure: its parameter), done to the whole picture before a face is looked for; on sets of crops, to the crop. The last column is the largest number of pictures in which no face was found any more." }
    }
}

/// Value, interval and parameter below each other: narrow enough for seven columns.
fn stacked(auc: Option<Figure>, result: Option<&SetResult>) -> Markup {
    html! {
        @match auc {
            None => span .none { "\u{2013}" },
            Some(f) => {
                (format!("{:.3}", f.value))
                @if let Some([low, high]) = f.interval { br; span .interval { (format!("[{low:.3}, {high:.3}]")) } }
            }
        }
        @if let Some(d) = result.and_then(|r| r.distortion.as_ref()) { br; span .interval { "at " (d.parameter) } }
    }
}

fn robustness_curves(auc: impl Fn(&str, u8) -> Option<Figure>) -> String {
    let line = |(i, d): (usize, Distortion)| {
        let points = (0..=Distortion::LEVELS).filter_map(|l| Some((f64::from(l), auc(d.name(), l)?.value))).collect();
        Line { name: d.name().to_owned(), points, colour: SERIES[i], dashed: false }
    };
    let lines: Vec<Line> = Distortion::ALL.into_iter().enumerate().map(line).collect();
    let marked: Vec<_> = lines.iter().flat_map(|l| l.points.iter().map(|p| (*p, l.colour))).collect();
    let y = chart::room(marked.iter().map(|(p, _)| p.1).chain([0.5]), 0.1);
    let axes = Axes {
        size: WIDE,
        x: [0.0, f64::from(Distortion::LEVELS)],
        y: [y[0].max(0.0), y[1].min(1.0)],
        x_name: "level of the distortion (0: as it is)",
        y_name: "AUC of frames",
        label_width: 96,
        digits: 2,
        x_digits: 0,
    };
    chart::lines(&axes, &lines, &marked, &[(0.0, 0.5), (f64::from(Distortion::LEVELS), 0.5)])
}

fn mistakes(evaluation: &Evaluation, told: &Told) -> Result<Markup> {
    let Some(model) = evaluation.model() else { return Ok(html! {}) };
    let mut parts = Vec::new();
    for set in &evaluation.sets {
        let Some(drawn) = evaluation.clean(&model.name, &set.name).and_then(|r| r.drawn.as_ref()) else { continue };
        for (fake, title) in
            [(false, "False alarms: genuine, and called fake"), (true, "Misses: fake, and called genuine")]
        {
            let found: Vec<&Mistake> = drawn.mistakes.iter().filter(|m| m.fake == fake).collect();
            // One scale for all of them, so that they can be compared; a few outliers do not leave the others blank.
            let maps = found.iter().filter_map(|m| m.map.as_ref());
            let mut strength: Vec<f64> = maps.flat_map(|m| &m.values).map(|v| f64::from(v.abs())).collect();
            strength.sort_by(f64::total_cmp);
            let full = metrics::percentile(&strength, 0.9).unwrap_or(1.0) as f32;
            let shown = found.into_iter().map(|m| mistake(m, told, full)).collect::<Result<Vec<_>>>()?;
            parts.push((format!("{}. {title}", set.name), shown));
        }
    }
    Ok(html! {
        p { "The most confident mistakes, one a video, as the model saw them; right, what misled it: " span .fake { "vermillion" } " speaks for a fake, " span .real { "blue" } " for a genuine face, on one scale for all faces under a heading, of which the strongest tenth is fully covered." }
        @for (title, shown) in &parts {
            h3 { (title) }
            @if shown.is_empty() { p .small { "None." } } @else { div .faces { @for face in shown { (face) } } }
        }
    })
}

fn mistake(mistake: &Mistake, told: &Told, full: f32) -> Result<Markup> {
    let mut pictures = Vec::new();
    if let Some(name) = &mistake.picture {
        let path = told.folder.join(name);
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        let face = image::load_from_memory(&bytes).map_err(|source| Error::Picture { path: path.clone(), source })?;
        pictures.push(("as seen", data_address("image/jpeg", &bytes)));
        if let Some(over) = mistake.map.as_ref().and_then(|m| heat(&face.into_rgb8(), m, full)) {
            let mut jpeg = Vec::new();
            image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 88)
                .encode(&over, over.width(), over.height(), image::ExtendedColorType::Rgb8)
                .map_err(|source| Error::Picture { path, source })?;
            pictures.push(("evidence", data_address("image/jpeg", &jpeg)));
        }
    }
    Ok(html! {
        figure .face {
            div .pair { @for (what, address) in &pictures { img src=(address) alt={ (what) ": " (mistake.file) } width="176" height="176"; } }
            figcaption { b { (format!("{:.3}", mistake.score)) } " " span .file { (mistake.file) @if mistake.frame > 0 { ", frame " (mistake.frame) } } }
        }
    })
}

fn calibrated(calibration: &Calibration) -> Markup {
    let what = match calibration.level {
        crate::config::Level::Face => "faces",
        crate::config::Level::Video => "videos",
    };
    html! {
        p {
            "On " (calibration.real) " real and " (calibration.fake) " fake " (what) " of the training source's validation split. A temperature of " b { (format!("{:.3}", calibration.temperature)) }
            " makes scores fit frequencies best; from " b { (format!("{:.3}", calibration.fake_above)) } " on (" (format!("{:.1} %", 100.0 * calibration.false_alarms))
            " of the real ones reach it) the verdict is fake, up to " b { (format!("{:.3}", calibration.real_below)) } " (" (format!("{:.1} %", 100.0 * calibration.misses)) " of the fakes lie there) genuine."
        }
        @if let Some(r) = &calibration.reliability {
            div .charts { figure {
                (PreEscaped(chart::reliability(HALF, &r.before, &r.after)))
                figcaption { "Reliability on the faces that the temperature was found on. Calibration error " (format!("{:.3}", r.error_before)) " before, " (format!("{:.3}", r.error_after)) " after." }
            } }
        }
        p .note { "These rates hold for material like that of the validation split. On other material they are what the tables of the sets say." }
    }
}

fn training(history: &History) -> Markup {
    let last = history.epochs.last().map_or(1.0, |e| e.epoch).max(history.rates.last().map_or(1.0, |r| r.0));
    let x = [history.epochs.first().map_or(0.0, |e| e.epoch.min(1.0)).min(last - 0.5), last];
    let of = |value: fn(&super::Epoch) -> Option<f64>| -> Vec<(f64, f64)> {
        history.epochs.iter().filter_map(|e| Some((e.epoch, value(e)?))).collect()
    };
    let draw = |y_name: &str, lines: Vec<Line>, digits: usize, marked: &[((f64, f64), plotters::style::RGBColor)]| {
        let y = chart::room(lines.iter().flat_map(|l| l.points.iter().map(|p| p.1)), 1e-9);
        let x = if y_name.starts_with("learning") { [0.0, last] } else { x };
        let axes = Axes {
            size: HALF,
            x,
            y,
            x_name: "epoch",
            y_name,
            label_width: 84,
            digits,
            x_digits: usize::from(last < 4.0),
        };
        chart::lines(&axes, &lines, marked, &[])
    };
    let line =
        |name: &str, points: Vec<(f64, f64)>, colour| Line { name: name.to_owned(), points, colour, dashed: false };
    let losses = vec![line("training", of(|e| e.loss), SERIES[0]), line("validation", of(|e| e.log_loss), SERIES[1])];
    let best = history.best().and_then(|b| Some(((b.epoch, b.auc?), FAKE)));
    let marked: Vec<_> = best.into_iter().collect();
    html! {
        p {
            @if let Some(n) = history.parameters { (thousands(n)) " learned numbers, " }
            @if let Some(device) = &history.device { "on " (device) ", " }
            (history.epochs.len()) " epochs."
            @if let Some(((epoch, auc), _)) = best { " Best by validation AUC: " b { (format!("{auc:.4}")) } " in epoch " b { (epoch) } " (the dot)." }
        }
        div .charts {
            figure { (PreEscaped(draw("loss", losses, 2, &[]))) figcaption { "Loss of the training (with its augmentation and smoothed labels) and log loss of the validation split." } }
            figure { (PreEscaped(draw("validation AUC", vec![line("AUC", of(|e| e.auc), REAL)], 3, &marked))) figcaption { "By it the epoch is chosen." } }
            @if history.rates.len() > 1 {
                figure { (PreEscaped(draw("learning rate", vec![line("rate", history.rates.clone(), SERIES[2])], 6, &[]))) figcaption { "Learning rate." } }
            }
        }
    }
}

pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn sheets(told: &Told) -> Result<Markup> {
    let mut shown = Vec::new();
    for (name, path) in &told.sheets {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        shown.push((name, data_address("image/png", &bytes)));
    }
    Ok(html! {
        @for (name, address) in &shown { figure .sheet { img src=(address) alt=(name); figcaption { (name) } } }
    })
}

fn provenance(told: &Told) -> Result<Markup> {
    let models = told.evaluation.as_ref().map_or(&[][..], |e| &e.models[..]);
    let config =
        told.config.as_ref().map(|c| toml::to_string_pretty(c).map_err(|e| Error::Data(e.to_string()))).transpose()?;
    Ok(html! {
        @for model in models {
            h3 { (model.name) }
            div .scroll { table {
                tbody {
                    tr { th { "file" } td { code { (model.file) } ", " (thousands(model.bytes)) " bytes" } }
                    tr { th { "SHA-256" } td { code .break { (model.sha256) } } }
                    tr { th { "input" } td { (model.input[0]) " x " (model.input[1]) " pixels, margin " (model.crop.margin) ", moved down by " (model.crop.shift_y) } }
                    tr { th { "evidence map" } td { @match model.map { Some([w, h]) => { (w) " x " (h) } None => "none" } } }
                    @for (key, value) in &model.provenance { tr { th { (key) } td .break { (value) } } }
                }
            } }
        }
        @if let (Some(text), Some(config)) = (&config, &told.config) {
            h3 { "Configuration" }
            p .small { "Digest of all that decides about the weights: " code .break { (config.digest()) } }
            details { summary { "The whole configuration" } pre { (text) } }
        }
    })
}
