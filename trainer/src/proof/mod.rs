//! Does a way to train help, by how much, at what cost? Runs of several seeds with and without it, measured on faces that they never
//! saw, each with its configuration and its scores kept ([`Results`]), compared face by face ([`analysis`]) and told ([`page()`]).
//!
//! What was done stays done: a call that is stopped is gone on with by the next one, on another machine too, as long as the results are there
//! and the faces that are measured on are the same to the byte.
//! Weights, zoos and maps are working material that may be thrown away.

pub mod analysis;
mod figure;
mod page;
pub mod power;
mod results;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use page::{Page, page};
pub use power::Power;
pub use results::{Attention, Labels, Outcome, Results, Scores};
pub use trial::recipe;

use crate::config::{Proof, TestKind, Trial};
use crate::data::sets::Media;
use crate::error::{Error, Result};
use crate::evaluate::{Digests, Set};
use crate::{data, hash, train};
use trial::{Bench, hold};

/// What was settled before the first run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Seeds of each arm.
    pub seeds: usize,
    /// The primary set of each direction.
    pub primary: BTreeMap<String, String>,
    /// How small a difference each test set can show.
    pub power: BTreeMap<String, Power>,
}

/// What a call did, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Runs that were up to date.
    pub kept: usize,
    /// Runs that this call did.
    pub done: usize,
    /// Runs that are still to be done, here or by other processes.
    pub left: usize,
}

/// Which runs a call does.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Only those whose `direction/backbone/arm-seed` contains one of these; all where there is none.
    pub only: Vec<String>,
    /// At most so many.
    pub runs: Option<usize>,
}

/// Does the runs of an experiment that `results` lacks, in the folder `work`. Several processes may do so at once: each takes what no other
/// one works on. Test pictures that are also learned from, in any of the runs, are left out.
///
/// # Errors
///
/// What the first run that fails does so with, after the others were done; a test set that is not made of face crops; primary sets or seeds
/// that are not those of the plan.
pub fn prove(proof: &Proof, trials: &[Trial], results: &Results, work: &Path, limits: &Limits) -> Result<State> {
    // What every process writes is written by one at a time.
    let beginning = hold(work, true)?;
    let learned = learned(trials)?;
    let mut sets: BTreeMap<&str, Vec<Set>> = BTreeMap::new();
    let mut digests = Digests::open(Some(work.join("files.json")))?;
    for direction in &proof.directions {
        let of = trials.iter().find(|t| t.direction == direction.name);
        let Some(trial) = of else { continue };
        let opened = trial.config.evaluate.sets.iter().map(|s| Set::open(s, "", &mut digests));
        let mut opened = opened.collect::<Result<Vec<_>>>()?;
        for set in &mut opened {
            crops(set)?;
            let labels = Labels { left_out: leave_out(set, &learned)?, ..Labels::of(set) };
            if labels.left_out > 0 {
                tracing::info!("`{}`: {} faces are also learned from and left out", set.said.name, labels.left_out);
            }
            if results.labels(&set.said.name)?.as_ref() != Some(&labels) {
                results.keep_labels(&set.said.name, &labels)?;
            }
        }
        sets.insert(&direction.name, opened);
    }
    plan(proof, trials, results)?;
    drop(beginning);
    let first_seed = proof.seeds.first().copied().unwrap_or_default();
    let bench = Bench { work, first_seed };
    let mut state = State::default();
    let mut failed = None;
    // Seed by seed, so that every arm has its first run early.
    let mut order: Vec<&Trial> = trials.iter().collect();
    order.sort_by_key(|t| proof.seeds.iter().position(|s| *s == t.seed));
    for trial in order {
        let of_direction = &sets[trial.direction.as_str()];
        if up_to_date(trial, of_direction, results, first_seed)? {
            state.kept += 1;
            continue;
        }
        let name = format!("{}/{}/{}-{}", trial.direction, trial.backbone, trial.arm, trial.seed);
        let wanted = limits.only.is_empty() || limits.only.iter().any(|o| name.contains(o.as_str()));
        if !wanted || limits.runs.is_some_and(|n| state.done >= n) {
            state.left += 1;
            continue;
        }
        let Some(_held) = hold(&bench.folder(trial), false)? else {
            tracing::info!("{name}: another process works on it");
            state.left += 1;
            continue;
        };
        // It may have been done while other runs were.
        if up_to_date(trial, of_direction, results, first_seed)? {
            state.kept += 1;
            continue;
        }
        tracing::info!("{name}");
        let primary = proof.directions.iter().find(|d| d.name == trial.direction).map_or("", |d| &d.primary);
        match bench.run(trial, of_direction, primary).and_then(|outcome| results.keep(trial, &outcome)) {
            Ok(()) => state.done += 1,
            Err(error) => {
                // The others can still be done.
                tracing::error!("{name}: {error}");
                state.left += 1;
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(state), Err)
}

/// Whether a run is there, of this configuration and on these sets. That its faces are the same is known by their names.
fn up_to_date(trial: &Trial, sets: &[Set], results: &Results, first_seed: u64) -> Result<bool> {
    let Some(outcome) = results.outcome(trial)? else { return Ok(false) };
    let measured = |s: &Set| outcome.scores.get(&s.said.name).is_some_and(|found| found.set == s.digest);
    Ok(outcome.recipe == recipe(&trial.config, first_seed)
        && sets.iter().all(measured)
        && outcome.faces == train::split(&trial.config, None)?.digest())
}

/// Every item must be a picture of one face: what is compared are models, not locators.
fn crops(set: &Set) -> Result<()> {
    let good = set.said.kind == TestKind::Crops && set.media.iter().all(|m| *m == Media::Picture);
    let text =
        "is not made of face crops: cut them first (deepfake-trainer faces), so that all runs see the same faces";
    if good { Ok(()) } else { Err(Error::Data(format!("the set `{}` {text}", set.said.name))) }
}

/// SHA-256 of all pictures that any of the runs learns from or chooses by.
fn learned(trials: &[Trial]) -> Result<BTreeSet<String>> {
    let mut folders = BTreeSet::new();
    let mut all = BTreeSet::new();
    for trial in trials {
        let data = &trial.config.data;
        if folders.insert(format!("{:?} {:?} {:?}", data.folders, data.sets, data.pseudo)) {
            let faces = data::faces(data)?;
            let hashes: Vec<String> = faces.par_iter().map(|f| hash::file(&f.path)).collect::<Result<_>>()?;
            all.extend(hashes);
        }
    }
    Ok(all)
}

/// Takes pictures that are also learned from out of a set: nothing may be measured on those. How many there were is returned.
fn leave_out(set: &mut Set, learned: &BTreeSet<String>) -> Result<usize> {
    let hashes: Vec<String> = set.items.par_iter().map(|f| hash::file(&f.path)).collect::<Result<_>>()?;
    let before = set.items.len();
    let mut at = hashes.iter();
    set.items.retain(|_| !at.next().is_some_and(|h| learned.contains(h)));
    let out = before - set.items.len();
    set.media.truncate(set.items.len());
    if out > 0 {
        let kept = hashes.iter().filter(|h| !learned.contains(*h)).cloned().collect::<Vec<_>>().join("\n");
        set.digest = hash::hex(Sha256::digest(format!("{}\n{kept}", set.digest)));
    }
    Ok(out)
}

/// Settles what is to be shown, unless that was done.
fn plan(proof: &Proof, trials: &[Trial], results: &Results) -> Result<()> {
    let primary = proof.directions.iter().map(|d| (d.name.clone(), d.primary.clone())).collect();
    let mut plan = Plan { seeds: proof.seeds.len(), primary, power: BTreeMap::new() };
    if let Some(settled) = results.plan()? {
        if (&settled.primary, settled.seeds) != (&plan.primary, plan.seeds) {
            let text = "the primary sets and the number of seeds were settled before the runs and are others now: begin another experiment, with another \
                        folder of results";
            return Err(Error::Data(text.to_owned()));
        }
        return Ok(());
    }
    for set in trials.iter().flat_map(|t| &t.config.evaluate.sets) {
        if let Some(labels) = results.labels(&set.name)? {
            let of = |units| power::least_difference(units, proof.seeds.len());
            let power = Power { faces: of(labels.faces()), videos: of(labels.videos()) };
            plan.power.insert(set.name.clone(), power);
        }
    }
    results.keep_plan(&plan)
}
