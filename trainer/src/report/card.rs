//! The model card, as Markdown.

use std::fmt::Write;

use super::Told;
use super::page::thousands;
use crate::config::Level;
use crate::distort::Distortion;
use crate::error::{Error, Result};
use crate::evaluate::{Evaluation, Figure, ModelRecord, SetResult, Standing};

/// The card of the evaluated model. What it says is what was measured; a set whose AUC interval holds 0.5 is called no better than
/// chance.
///
/// # Errors
///
/// Where nothing was evaluated: a card without figures is none.
pub fn card(told: &Told) -> Result<String> {
    let none = || Error::Data("a model card needs an evaluation: run `evaluate` first".to_owned());
    let evaluation = told.evaluation.as_ref().ok_or_else(none)?;
    let model = evaluation.model().ok_or_else(none)?;
    let results: Vec<&SetResult> =
        evaluation.sets.iter().filter_map(|s| evaluation.clean(&model.name, &s.name)).collect();
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = write(&mut text, told, evaluation, model, &results);
    Ok(text)
}

fn write(
    out: &mut String,
    told: &Told,
    evaluation: &Evaluation,
    model: &ModelRecord,
    results: &[&SetResult],
) -> std::fmt::Result {
    let name = told.config.as_ref().map_or(model.name.as_str(), |c| c.name.as_str());
    writeln!(out, "# {}\n", safe(name))?;
    writeln!(out, "{}\n", opening(results))?;
    facts(out, told, model)?;
    data(out, told, model)?;
    recipe(out, told)?;
    measured(out, evaluation, results)?;
    compared(out, evaluation)?;
    robust(out, evaluation, model)?;
    thresholds(out, told, model, results)?;
    weaknesses(out, evaluation, model, results)?;
    writeln!(out, "## How to run it\n")?;
    writeln!(out, "```sh")?;
    writeln!(
        out,
        "gst-launch-1.0 uridecodebin uri=file:///PATH/TO/VIDEO ! videoconvert ! deepfakescore model={} ! deepfakeoverlay ! videoconvert ! autovideosink",
        shell(&model.file)
    )?;
    writeln!(out, "```\n")?;
    writeln!(
        out,
        "The file carries its own contract (input, crop, outputs, calibration): nothing else need be set. `expect-model-digest={}` refuses any other file.",
        model.sha256
    )
}

/// The first sentence: what to think of it.
fn opening(results: &[&SetResult]) -> String {
    let with = |s: Standing| results.iter().filter(|r| Standing::of(r.frame.figures.auc.as_ref()) == s).count();
    let all = results.iter().filter(|r| r.frame.figures.auc.is_some()).count();
    let (better, chance, worse) = (with(Standing::Better), with(Standing::Chance), with(Standing::Worse));
    let mut text = "A deepfake scorer for `deepfakescore`.".to_owned();
    if all == 0 {
        return text + " **How well it tells fakes from genuine faces was not measured.**";
    }
    let _ = write!(text, " Of {all} sets that it was measured on, it is better than chance on {better}");
    if chance > 0 {
        let _ = write!(text, ", **no better than chance on {chance}**");
    }
    if worse > 0 {
        let _ = write!(text, ", **worse than chance on {worse}**");
    }
    text.push('.');
    if chance + worse > 0 {
        text.push_str(" Take its scores for evidence only about material like that on which it is better.");
    }
    text
}

fn facts(out: &mut String, told: &Told, model: &ModelRecord) -> std::fmt::Result {
    writeln!(out, "| | |\n|---|---|")?;
    writeln!(out, "| file | `{}`, {} bytes, SHA-256 `{}` |", code(&model.file), thousands(model.bytes), model.sha256)?;
    if let Some(config) = &told.config {
        let parameters =
            told.history.parameters.map(|n| format!(", {} learned numbers", thousands(n))).unwrap_or_default();
        let backbone = toml::Value::try_from(config.model.backbone).map(|v| v.to_string()).unwrap_or_default();
        let start = if config.model.init.is_some() { "begun from given weights" } else { "random initialization" };
        writeln!(out, "| network | {}{parameters}, {start} |", safe(backbone.trim_matches('"')))?;
    }
    writeln!(
        out,
        "| input | {} x {} pixels, a {} crop: margin {}, moved down by {}, in parts of the longer side of the face box |",
        model.input[0],
        model.input[1],
        if model.crop.square { "square" } else { "free" },
        model.crop.margin,
        model.crop.shift_y
    )?;
    match model.map {
        Some([w, h]) => {
            writeln!(out, "| output | the logit of fake, and {w} x {h} signed evidence whose mean is the logit |")?;
        }
        None => writeln!(out, "| output | the score of fake; no evidence map |")?,
    }
    let score = &model.score;
    writeln!(
        out,
        "| calibration | temperature {:.4}; a fake from {:.4} on, genuine up to {:.4}, undecided between |\n",
        score.temperature, score.fake_above, score.real_below
    )
}

fn data(out: &mut String, told: &Told, model: &ModelRecord) -> std::fmt::Result {
    writeln!(out, "## Data and terms\n")?;
    let own = told.config.as_ref().map(|c| &c.provenance);
    let said: Vec<(&String, &String)> = model
        .provenance
        .iter()
        .chain(own.into_iter().flatten().filter(|(k, _)| !model.provenance.contains_key(*k)))
        .collect();
    if !said.iter().any(|(k, _)| matches!(k.as_str(), "licence" | "license")) {
        writeln!(
            out,
            "**The terms of the training data are not told** (`provenance.licence`): settle them before using this model.\n"
        )?;
    }
    for (key, value) in said {
        writeln!(out, "- {}: {}", safe(key), safe(value))?;
    }
    writeln!(out, "\nNone of the material is part of the model's file.\n")
}

fn recipe(out: &mut String, told: &Told) -> std::fmt::Result {
    let Some(config) = &told.config else { return Ok(()) };
    writeln!(out, "## Recipe\n")?;
    let epochs = told.history.epochs.len();
    let best = told.history.best();
    write!(out, "Configuration digest `{}`, seed {}.", config.digest(), config.seed)?;
    if epochs > 0 {
        write!(out, " {epochs} epochs")?;
        if let Some(device) = &told.history.device {
            write!(out, " on {}", safe(device))?;
        }
        write!(out, ".")?;
    }
    if let Some(best) = best
        && let Some(auc) = best.auc
    {
        write!(
            out,
            " The weights are those of epoch {}, of the highest AUC ({auc:.4}) on the validation split of the training data.",
            best.epoch
        )?;
    }
    writeln!(out, "\n\n```toml")?;
    let text = toml::to_string(&config.unplaced()).unwrap_or_default();
    // Where files lie is the trainer's own business; a fence in a value must not end the block.
    const PATHS: [&str; 9] =
        ["contract", "face_model", "faces", "file", "folders", "init", "maps", "originals", "root"];
    let told = text.lines().filter(|l| !PATHS.iter().any(|k| l.starts_with(&format!("{k} ="))));
    told.map(|l| l.replace("```", "'''")).try_for_each(|l| writeln!(out, "{l}"))?;
    writeln!(out, "```\n")
}

fn figure(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "none".to_owned(), |f| f.to_string())
}

fn measured(out: &mut String, evaluation: &Evaluation, results: &[&SetResult]) -> std::fmt::Result {
    writeln!(out, "## Measured\n")?;
    writeln!(
        out,
        "Through the engine that the element runs. Brackets are 95 % intervals by {} draws of source videos, real and fakes of one source together.\n",
        evaluation.bootstrap
    )?;
    writeln!(out, "| set | level | real / fake | AUC | EER | accuracy at 0.5 | average precision | ECE |")?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    for result in results {
        for (what, level) in [("frames", &result.frame), ("videos", &result.video)] {
            let f = &level.figures;
            writeln!(
                out,
                "| {} | {what} | {} / {} ({} sources) | {} | {} | {} | {} | {} |",
                safe(&result.set),
                level.real,
                level.fake,
                result.sources,
                figure(f.auc),
                figure(f.eer),
                figure(f.accuracy),
                figure(f.average_precision),
                figure(f.calibration_error)
            )?;
        }
    }
    writeln!(out)
}

fn compared(out: &mut String, evaluation: &Evaluation) -> std::fmt::Result {
    if evaluation.comparisons.is_empty() {
        return Ok(());
    }
    writeln!(out, "Beside other models, on the very same faces (positive: this one is better):\n")?;
    writeln!(out, "| against | set | difference of AUC, frames | videos |\n|---|---|---|---|")?;
    for c in &evaluation.comparisons {
        let auc = |d: &Option<crate::evaluate::Difference>| figure(d.map(|d| d.auc));
        writeln!(out, "| {} | {} | {} | {} |", safe(&c.against), safe(&c.set), auc(&c.frame), auc(&c.video))?;
    }
    writeln!(out)
}

fn robust(out: &mut String, evaluation: &Evaluation, model: &ModelRecord) -> std::fmt::Result {
    if !evaluation.results.iter().any(|r| r.model == model.name && r.distortion.is_some()) {
        return Ok(());
    }
    writeln!(
        out,
        "AUC of frames under the distortions of DeeperForensics-1.0, levels 1 to 5; 0: the same faces as they are, which may be fewer than above:\n"
    )?;
    writeln!(out, "| set | distortion | model | 0 | 1 | 2 | 3 | 4 | 5 |\n|---|---|---|---|---|---|---|---|---|")?;
    // The model itself, and then what it is compared with.
    let others = evaluation.models.iter().filter(|m| m.name != model.name);
    let models: Vec<&ModelRecord> = std::iter::once(model).chain(others).collect();
    for set in &evaluation.sets {
        for d in Distortion::ALL {
            for of in &models {
                let at = |level: u8| evaluation.distorted(&of.name, &set.name, d.name(), level);
                let Some(SetResult { sources, .. }) = at(1) else { continue };
                write!(out, "| {} ({sources} sources) | {} | {} |", safe(&set.name), d.name(), safe(&of.name))?;
                for level in 0..=Distortion::LEVELS {
                    write!(out, " {} |", figure(at(level).and_then(|r| r.frame.figures.auc)))?;
                }
                writeln!(out)?;
            }
        }
    }
    writeln!(out)
}

fn thresholds(out: &mut String, told: &Told, model: &ModelRecord, results: &[&SetResult]) -> std::fmt::Result {
    writeln!(out, "## Thresholds\n")?;
    if let Some(c) = &told.calibration {
        let what = match c.level {
            Level::Face => "faces",
            Level::Video => "videos",
        };
        writeln!(
            out,
            "On the validation split of the training data, {:.2} % of {} real {what} reach `fake_above` = {:.4} and {:.2} % of {} fakes lie at or below `real_below` = {:.4}.",
            100.0 * c.false_alarms,
            c.real,
            c.fake_above,
            100.0 * c.misses,
            c.fake,
            c.real_below
        )?;
    } else {
        writeln!(out, "`fake_above` = {:.4}, `real_below` = {:.4}.", model.score.fake_above, model.score.real_below)?;
    }
    writeln!(out, "On other material the rates are others:\n")?;
    writeln!(out, "| set (frames) | real called fake | fakes called fake | fakes called genuine |\n|---|---|---|---|")?;
    let percent = |f: Option<Figure>| match f {
        None => "none".to_owned(),
        Some(Figure { value, interval: None }) => format!("{:.1} %", 100.0 * value),
        Some(Figure { value, interval: Some([low, high]) }) => {
            format!("{:.1} % [{:.1}, {:.1}]", 100.0 * value, 100.0 * low, 100.0 * high)
        }
    };
    for r in results {
        let f = &r.frame.figures;
        let rates = [f.false_alarms, f.detected, f.misses].map(percent).join(" | ");
        writeln!(out, "| {} | {rates} |", safe(&r.set))?;
    }
    writeln!(out)
}

fn weaknesses(
    out: &mut String,
    evaluation: &Evaluation,
    model: &ModelRecord,
    results: &[&SetResult],
) -> std::fmt::Result {
    writeln!(out, "## What it is not good for\n")?;
    for r in results {
        let f = &r.frame.figures;
        let standing = Standing::of(f.auc.as_ref());
        match standing {
            Standing::Better => {}
            _ if f.auc.is_none() => {}
            _ => {
                writeln!(out, "- **{}: it is {}** (AUC of frames {}).", safe(&r.set), standing.words(), figure(f.auc))?
            }
        }
        if let Some(alarms) = f.false_alarms
            && alarms.value > 0.05
        {
            let share = 100.0 * alarms.value;
            writeln!(out, "- {}: {share:.1} % of the genuine faces are called fake.", safe(&r.set))?;
        }
        if let Some(ece) = f.calibration_error
            && ece.value > 0.1
        {
            let off = ece.value;
            writeln!(
                out,
                "- {}: scores are no probabilities there; they are off by {off:.2} on average.",
                safe(&r.set)
            )?;
        }
    }
    let collapses = evaluation.results.iter().filter(|r| r.model == model.name).filter_map(|r| {
        let standing = Standing::of(r.frame.figures.auc.as_ref());
        let clean = evaluation.distorted(&model.name, &r.set, "none", 0)?;
        let fell = Standing::of(clean.frame.figures.auc.as_ref()) == Standing::Better && standing != Standing::Better;
        let d = r.distortion.as_ref().filter(|d| d.level > 0 && fell && r.frame.figures.auc.is_some())?;
        Some(format!("{} of level {} on {}", d.name, d.level, safe(&r.set)))
    });
    let collapses: Vec<String> = collapses.collect();
    if !collapses.is_empty() {
        writeln!(out, "- No longer better than chance under: {}.", collapses.join("; "))?;
    }
    writeln!(out, "- Kinds of forgery that are in none of the sets above: nothing is known about them.")?;
    writeln!(out, "- Decisions about persons. A score is no proof; the thresholds say nothing about your material.")?;
    writeln!(out, "- Fairness between groups of people was not measured.\n")
}

/// Text in Markdown: nothing in it is markup.
fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' | '\r' => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Text between backticks in a table.
fn code(text: &str) -> String {
    text.replace('`', "'").replace('|', "/").replace(['\n', '\r'], " ")
}

/// A word for a shell.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let text = text.replace("```", "'''");
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
