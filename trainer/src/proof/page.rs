//! What an experiment came to, as Markdown with figures.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::analysis::{Ranked, deviation, difference_over, mean};
use super::figure;
use super::power;
use super::results::{Attention, Labels, Outcome, Results};
use super::trial::recipe;
use crate::config::{Config, Direction, Proof, Trial};
use crate::error::{Error, Result};
use crate::evaluate::{Difference, Figure, Standing};

/// A page and its figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Markdown.
    pub text: String,
    /// Name and SVG document of each figure, which the page looks for in the folder of the results.
    pub figures: Vec<(String, String)>,
}

/// The runs of one direction and backbone, by arm; only arms all of whose seeds are there.
struct Table<'a> {
    direction: &'a Direction,
    backbone: &'a str,
    arms: Vec<(&'a str, Vec<Outcome>)>,
    /// Runs that are there, of those that were asked for.
    count: [usize; 2],
    /// Names of the test sets with their labels.
    sets: Vec<(String, Labels)>,
}

/// One arm on one set.
struct Cell {
    frame: Ranked,
    video: Ranked,
}

/// Tells what `results` hold of the runs of `proof`; `folder` is where the page looks for its figures, relative to itself. Runs that
/// are missing or were made otherwise (by another configuration, of other faces, by other maps, on another state of a set) are said to be missing.
///
/// # Errors
///
/// Results or notes that cannot be read.
pub fn page(proof: &Proof, trials: &[Trial], results: &Results, folder: &str) -> Result<Page> {
    let first_seed = proof.seeds.first().copied().unwrap_or_default();
    let mut tables = Vec::new();
    for direction in &proof.directions {
        for backbone in proof.networks(direction) {
            tables.push(table(proof, direction, &backbone.name, trials, results, first_seed)?);
        }
    }
    let mut out = Page::default();
    // Writing to a text does not fail.
    let _ = write(&mut out, proof, &tables, results, folder)?;
    Ok(out)
}

fn table<'a>(
    proof: &'a Proof,
    direction: &'a Direction,
    backbone: &'a str,
    trials: &[Trial],
    results: &Results,
    first_seed: u64,
) -> Result<Table<'a>> {
    let mut count = [0; 2];
    let mut arms = Vec::new();
    let mut sets: Vec<(String, Labels)> = Vec::new();
    let mut alike = Alike::default();
    for arm in &proof.arms {
        let of: Vec<&Trial> = trials
            .iter()
            .filter(|t| t.direction == direction.name && t.backbone == backbone && t.arm == arm.name)
            .collect();
        let mut found = Vec::new();
        for trial in &of {
            if sets.is_empty() {
                for set in &trial.config.evaluate.sets {
                    if let Some(labels) = results.labels(&set.name)? {
                        sets.push((set.name.clone(), labels));
                    }
                }
            }
            let measured =
                |o: &Outcome| sets.iter().all(|(name, labels)| o.scores.get(name).is_some_and(|s| s.set == labels.set));
            let outcome = results.outcome(trial)?.filter(|o| o.recipe == recipe(&trial.config, first_seed));
            let outcome = outcome.filter(|o| measured(o) && alike.fits(&trial.config, o));
            found.extend(outcome);
        }
        count[0] += found.len();
        count[1] += of.len();
        if !of.is_empty() && found.len() == of.len() {
            arms.push((arm.name.as_str(), found));
        }
    }
    Ok(Table { direction, backbone, arms, count, sets })
}

/// What runs that are compared must have in common.
#[derive(Default)]
struct Alike {
    /// Faces, by what is said of the data.
    faces: BTreeMap<String, String>,
    /// Maps, by the recipe of the zoo and of the maps.
    maps: BTreeMap<String, Option<String>>,
}

impl Alike {
    /// Whether a run has them; the first one of each kind says what they are.
    fn fits(&mut self, config: &Config, outcome: &Outcome) -> bool {
        let data = format!("{:?}", config.data);
        let maps = format!("{data} {:?} {:?}", config.zoo, config.localize);
        *self.faces.entry(data).or_insert_with(|| outcome.faces.clone()) == outcome.faces
            && (outcome.maps.is_none()
                || *self.maps.entry(maps).or_insert_with(|| outcome.maps.clone()) == outcome.maps)
    }
}

impl Table<'_> {
    fn cell(&self, outcomes: &[Outcome], set: &str, labels: &Labels) -> Option<Cell> {
        let outcomes: Vec<&Outcome> = outcomes.iter().collect();
        let ranked = |by_video| Ranked::new(set, labels, &outcomes, by_video);
        Some(Cell { frame: ranked(false)?, video: ranked(true)? })
    }

    /// Of each arm, by set.
    fn cells(&self) -> Vec<(&str, BTreeMap<&str, Cell>)> {
        let of = |outcomes: &[Outcome]| {
            self.sets
                .iter()
                .filter_map(|(set, labels)| Some((set.as_str(), self.cell(outcomes, set, labels)?)))
                .collect()
        };
        self.arms.iter().map(|(arm, outcomes)| (*arm, of(outcomes))).collect()
    }

    /// Test sets that say whether what was learned holds elsewhere.
    fn across(&self) -> Vec<&str> {
        let sets = self.sets.iter().map(|(name, _)| name.as_str());
        sets.filter(|s| !self.direction.within.iter().any(|w| w == s)).collect()
    }
}

fn write(
    out: &mut Page,
    proof: &Proof,
    tables: &[Table<'_>],
    results: &Results,
    folder: &str,
) -> Result<std::fmt::Result> {
    let plan = results.plan()?;
    let notes = match &proof.notes {
        Some(path) => Some(std::fs::read_to_string(path).map_err(Error::io(path))?),
        None => None,
    };
    let mut body = String::new();
    let mut verdicts = String::new();
    let told = (|| {
        for table in tables {
            result(&mut body, &mut verdicts, &mut out.figures, proof, table, folder)?;
        }
        let text = &mut out.text;
        writeln!(text, "# Does it help? {}\n", proof.name)?;
        writeln!(
            text,
            "Written by `deepfake-trainer proof` out of the runs' scores, which lie in `{folder}/`; every figure is one of them. AUC is the \
             probability that a fake scores above a real face: 0.5 is chance, 1 is without a mistake.\n"
        )?;
        writeln!(text, "## Verdict\n")?;
        if verdicts.is_empty() {
            writeln!(text, "None: it takes an arm beside the first, and two seeds, all of whose runs are done.\n")?;
        } else {
            writeln!(
                text,
                "Points of AUC, of faces, by which an arm is ahead of another, with the 95 % interval: *better* or *worse* where that leaves out 0, \
             *not shown* to differ where it does not.\n"
            )?;
        }
        text.push_str(&verdicts);
        writeln!(
            text,
            "The primary set of a direction was settled before the runs; the mean over sets from elsewhere is there for the whole picture. An interval is \
             of draws over source videos and over {} seeds: with so few seeds, and with sets of few source videos, the truth is less certain than it \
             says. Nothing is corrected for the number of arms.\n",
            proof.seeds.len()
        )?;
        if let Some(notes) = &notes {
            writeln!(text, "{}\n", notes.trim())?;
        }
        setup(text, proof, tables, plan.as_ref())?;
        text.push_str(&body);
        Ok(())
    })();
    Ok(told)
}

fn setup(text: &mut String, proof: &Proof, tables: &[Table<'_>], plan: Option<&super::Plan>) -> std::fmt::Result {
    writeln!(text, "## What was compared\n")?;
    writeln!(text, "Arms, the same but for what is said here:\n")?;
    for arm in &proof.arms {
        writeln!(text, "- `{}`: {}", arm.name, arm.about)?;
    }
    writeln!(text, "\nDirections:\n")?;
    for direction in &proof.directions {
        writeln!(text, "- `{}`: {} Primary set: `{}`.", direction.name, direction.about, direction.primary)?;
    }
    if proof.backbones.iter().any(|b| !b.about.is_empty()) {
        writeln!(text, "\nNetworks:\n")?;
        for network in proof.backbones.iter().filter(|b| !b.about.is_empty()) {
            let of = network.directions.iter().map(|d| format!("`{d}`")).collect::<Vec<_>>().join(", ");
            let of = if of.is_empty() { of } else { format!(" ({of})") };
            writeln!(text, "- `{}`{of}: {}", network.name, network.about)?;
        }
    }
    let seeds = proof.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    writeln!(
        text,
        "\nSeeds: {seeds}. All runs of a network in a direction share their split into training and validation faces; those that erase share one zoo \
         and its maps where nothing else is said. The epoch whose weights are measured is chosen by the validation faces of what is learned from, never by a test set.\n"
    )?;
    let mut sets: BTreeMap<&str, &Labels> = BTreeMap::new();
    for table in tables {
        sets.extend(table.sets.iter().map(|(name, labels)| (name.as_str(), labels)));
    }
    writeln!(
        text,
        "| test set | real faces | fakes | real videos | fake videos | sources | least difference, faces | videos |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for (name, labels) in &sets {
        let ([real, fake], [real_videos, fake_videos]) = (labels.faces(), labels.videos());
        let power = plan.and_then(|p| p.power.get(*name));
        let power = power.map_or_else(|| "? | ?".to_owned(), |p| format!("{:.3} | {:.3}", p.faces, p.videos));
        let sources = labels.sources();
        writeln!(text, "| `{name}` | {real} | {fake} | {real_videos} | {fake_videos} | {sources} | {power} |")?;
    }
    for (name, labels) in sets.iter().filter(|(_, l)| l.left_out > 0) {
        writeln!(
            text,
            "\n{} pictures of `{name}` are left out because one of the runs learns from them.",
            labels.left_out
        )?;
    }
    writeln!(
        text,
        "\nThe least difference is the one that such an experiment finds four times out of five, worked out before the first run, supposing {}. \
         Where faces are of few videos, the truth lies nearer to the videos' figure.\n",
        power::supposed()
    )
}

fn result(
    text: &mut String,
    verdicts: &mut String,
    figures: &mut Vec<(String, String)>,
    proof: &Proof,
    table: &Table<'_>,
    folder: &str,
) -> std::fmt::Result {
    let (direction, backbone) = (&table.direction.name, table.backbone);
    let [there, all] = table.count;
    if there == 0 {
        return Ok(());
    }
    let parameters = table.arms.first().map_or(0, |(_, o)| o[0].parameters);
    writeln!(text, "## `{direction}`, `{backbone}`\n")?;
    writeln!(text, "{there} of {all} runs are done; the network learns {parameters} numbers.")?;
    if there < all {
        writeln!(text, "Arms whose seeds are not all done are left out.")?;
    }
    let cells = table.cells();
    if !cells.iter().any(|(arm, _)| *arm == proof.reference()) {
        writeln!(text)?;
        return Ok(());
    }
    means(text, table, &cells, proof.bootstrap)?;
    let mut found = String::new();
    for base in proof.bases() {
        let rows = differences(text, &mut found, proof, table, &cells, base)?;
        if !rows.is_empty() {
            let name = format!("{direction}-{backbone}-to-{base}.svg");
            writeln!(text, "![Differences to {base} with their intervals]({folder}/{name})\n")?;
            figures.push((name, figure::differences(&rows)));
        }
    }
    if !found.is_empty() {
        let (primary, across) = (&table.direction.primary, table.across().len());
        writeln!(verdicts, "Trained on `{direction}`, `{backbone}`:\n")?;
        writeln!(
            verdicts,
            "| arm | beside | `{primary}` (primary) | its own AUC there | mean of {across} sets from elsewhere |"
        )?;
        writeln!(verdicts, "|---|---|---|---|---|\n{found}")?;
    }
    attention(text, figures, table, folder)
}

/// What stands in a figure of differences.
type Rows = Vec<(String, f64, Option<[f64; 2]>)>;

/// How much better the arms are than `base`; nothing where that is not there or has nothing to be compared with.
fn differences(
    text: &mut String,
    verdicts: &mut String,
    proof: &Proof,
    table: &Table<'_>,
    cells: &[(&str, BTreeMap<&str, Cell>)],
    base: &str,
) -> Result<Rows, std::fmt::Error> {
    let mut rows = Vec::new();
    let Some((_, than)) = cells.iter().find(|(arm, _)| *arm == base) else { return Ok(rows) };
    let others = || cells.iter().filter(|(arm, _)| proof.compares(arm, base));
    if others().next().is_none() {
        return Ok(rows);
    }
    writeln!(
        text,
        "Differences to `{base}`, of faces (AUC, 95 % interval, share of draws in which the arm is better):\n"
    )?;
    let across = table.across();
    let names: Vec<&str> = table.sets.iter().map(|(n, _)| n.as_str()).collect();
    let heads = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" | ");
    writeln!(text, "| arm | {heads} | mean from elsewhere |")?;
    writeln!(text, "|---|{}---|", "---|".repeat(names.len()))?;
    for (arm, own) in others() {
        write!(text, "| `{arm}` |")?;
        let mut primary = None;
        for set in &names {
            let pair = own.get(set).zip(than.get(set));
            let gap = pair.and_then(|(a, b)| a.frame.difference(&b.frame, proof.bootstrap));
            write!(text, " {} |", gap.as_ref().map_or_else(|| "?".to_owned(), said))?;
            if let (Some(gap), Some((cell, _))) = (gap, pair) {
                rows.push((format!("{arm}: {set}"), gap.auc.value, gap.auc.interval));
                if *set == table.direction.primary {
                    primary = Some((gap, cell.frame.auc(proof.bootstrap)));
                }
            }
        }
        let pairs: Option<Vec<(&Ranked, &Ranked)>> =
            across.iter().map(|s| Some((&own.get(s)?.frame, &than.get(s)?.frame))).collect();
        let over = pairs.filter(|p| !p.is_empty()).and_then(|p| difference_over(&p, proof.bootstrap));
        writeln!(text, " {} |", over.as_ref().map_or_else(|| "?".to_owned(), said))?;
        if let Some(gap) = &over {
            rows.push((format!("{arm}: from elsewhere"), gap.auc.value, gap.auc.interval));
        }
        // One seed says nothing about another.
        if proof.seeds.len() > 1 {
            verdict(verdicts, [arm, base], primary, over.as_ref())?;
        }
    }
    writeln!(text)?;
    Ok(rows)
}

/// AUCs by set and arm.
fn means(
    text: &mut String,
    table: &Table<'_>,
    cells: &[(&str, BTreeMap<&str, Cell>)],
    rounds: usize,
) -> std::fmt::Result {
    writeln!(text, "\nMean over the seeds, with its 95 % interval over sources and seeds:\n")?;
    writeln!(text, "| set | arm | AUC of faces | from seed to seed | EER | AUC of videos |")?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for (set, _) in &table.sets {
        for (arm, own) in cells {
            let Some(cell) = own.get(set.as_str()) else { continue };
            let none = || "?".to_owned();
            let spread = deviation(&cell.frame.aucs()).map_or_else(none, |d| format!("{d:.3}"));
            let eer = cell.frame.eer().map_or_else(none, |e| format!("{e:.3}"));
            let auc = |r: &Ranked| r.auc(rounds).map_or_else(none, |f| f.to_string());
            writeln!(text, "| `{set}` | `{arm}` | {} | {spread} | {eer} | {} |", auc(&cell.frame), auc(&cell.video))?;
        }
    }
    let auc = |outcomes: &[Outcome]| mean(&outcomes.iter().map(|o| o.best.auc).collect::<Vec<_>>());
    let chosen = table.arms.iter().filter_map(|(arm, o)| Some(format!("`{arm}` {:.3}", auc(o)?)));
    writeln!(
        text,
        "\nAUC on the validation faces of what was learned from: {}.\n",
        chosen.collect::<Vec<_>>().join(", ")
    )
}

/// A row about the differences on the primary set and over those from elsewhere, and what the arm itself comes to on the primary one.
fn verdict(
    out: &mut String,
    [arm, base]: [&str; 2],
    primary: Option<(Difference, Option<Figure>)>,
    over: Option<&Difference>,
) -> std::fmt::Result {
    let none = || "?".to_owned();
    let (gap, own) = primary.map_or((None, None), |(gap, own)| (Some(gap), own));
    let (gap, over) = (gap.as_ref().map_or_else(none, found), over.map_or_else(none, found));
    let own = own.map_or_else(none, standing);
    writeln!(out, "| `{arm}` | `{base}` | {gap} | {own} | {over} |")
}

/// What a difference shows, and how large it is.
fn found(gap: &Difference) -> String {
    let word = match gap.auc.interval {
        Some([low, _]) if low > 0.0 => "better",
        Some([_, high]) if high < 0.0 => "worse",
        _ => "not shown",
    };
    format!("{word}: {}", points(gap))
}

/// An AUC, and what it is where that is not better than chance.
fn standing(auc: Figure) -> String {
    match Standing::of(Some(&auc)) {
        Standing::Better => auc.to_string(),
        other => format!("{auc}, {}", other.words()),
    }
}

/// In hundredths.
fn points(gap: &Difference) -> String {
    let of = |v: f64| 100.0 * v;
    match gap.auc.interval {
        Some([low, high]) => format!("{:+.1} [{:+.1}, {:+.1}]", of(gap.auc.value), of(low), of(high)),
        None => format!("{:+.1}, without an interval", of(gap.auc.value)),
    }
}

fn said(gap: &Difference) -> String {
    format!("{}, {:.0} %", gap.auc, 100.0 * gap.better)
}

/// Where an arm looks.
struct Looked<'a> {
    arm: &'a str,
    /// Means over the seeds.
    attention: Attention,
    spread: f64,
    deviation: Option<f64>,
    support: Option<f64>,
}

impl<'a> Looked<'a> {
    /// `None` where there are no maps, or those of one seed are of another size.
    fn of(arm: &'a str, outcomes: &[Outcome]) -> Option<Self> {
        let first = &outcomes.first()?.attention;
        if first.faces == 0 || outcomes.iter().any(|o| o.attention.size != first.size) {
            return None;
        }
        let over = |class: usize| -> Vec<f64> {
            let field =
                |i: usize| outcomes.iter().map(|o| o.attention.mean[class][i]).sum::<f64>() / outcomes.len() as f64;
            (0..first.mean[class].len()).map(field).collect()
        };
        let spreads: Vec<f64> = outcomes.iter().map(|o| o.attention.spread).collect();
        Some(Self {
            arm,
            attention: Attention { mean: [over(0), over(1)], ..first.clone() },
            spread: mean(&spreads)?,
            deviation: deviation(&spreads),
            support: outcomes.first()?.support,
        })
    }
}

/// Where the arms look.
fn attention(
    text: &mut String,
    figures: &mut Vec<(String, String)>,
    table: &Table<'_>,
    folder: &str,
) -> std::fmt::Result {
    let all: Vec<Looked<'_>> = table.arms.iter().filter_map(|(arm, o)| Looked::of(arm, o)).collect();
    if all.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "Where they look, on `{}`: the share of the map that the evidence for a face's own label is spread over, 1 where every field says as \
         much (mean over faces and seeds, deviation from seed to seed).\n",
        table.direction.primary
    )?;
    writeln!(text, "| arm | spread | from seed to seed | maps cover |")?;
    writeln!(text, "|---|---|---|---|")?;
    for looked in &all {
        let by = looked.deviation.map_or_else(|| "?".to_owned(), |d| format!("{d:.3}"));
        let support = looked.support.map_or_else(|| "-".to_owned(), |s| format!("{:.1} %", 100.0 * s));
        writeln!(text, "| `{}` | {:.3} | {by} | {support} |", looked.arm, looked.spread)?;
    }
    let name = format!("{}-{}-maps.svg", table.direction.name, table.backbone);
    writeln!(
        text,
        "\n![Mean evidence maps of the arms]({folder}/{name})\n\nMean maps of the evidence for the face's own label, of real faces above, of fakes \
         below, each drawn up to its own strongest field.\n"
    )?;
    let drawn: Vec<(&str, &Attention)> = all.iter().map(|l| (l.arm, &l.attention)).collect();
    figures.push((name, figure::maps(&drawn)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_called_so_only_where_its_interval_leaves_out_nothing() {
        let of = |value, interval| found(&Difference { auc: Figure { value, interval }, better: 0.5 });
        assert_eq!(of(0.05, Some([0.01, 0.1])), "better: +5.0 [+1.0, +10.0]");
        assert_eq!(of(-0.05, Some([-0.1, -0.01])), "worse: -5.0 [-10.0, -1.0]");
        for interval in [Some([-0.1, 0.2]), Some([0.0, 0.1]), Some([-0.1, 0.0]), None] {
            assert!(of(0.05, interval).starts_with("not shown: +5.0"), "{interval:?}");
        }
    }

    #[test]
    fn an_auc_that_is_not_better_than_chance_says_what_it_is() {
        let of = |value, interval| standing(Figure { value, interval });
        assert_eq!(of(0.6, Some([0.55, 0.7])), "0.600 [0.550, 0.700]");
        assert_eq!(of(0.52, Some([0.45, 0.6])), "0.520 [0.450, 0.600], no better than chance");
        assert_eq!(of(0.4, Some([0.3, 0.45])), "0.400 [0.300, 0.450], worse than chance");
        assert!(of(0.6, None).ends_with(", not known to be better than chance"));
    }
}
