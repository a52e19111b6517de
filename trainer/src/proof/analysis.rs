//! From scores of runs to figures: means over seeds, paired differences between arms, and how far both may be off.
//!
//! Intervals are the 2.5th and 97.5th percentile over draws, with replacement, of source videos and of seeds at once. Two arms are drawn
//! alike, source by source and seed by seed, so that what makes a source hard or a seed lucky for both of them does not count.

use rand::RngExt;
use rayon::prelude::*;

use super::results::{Labels, Outcome};
use crate::evaluate::{Difference, Figure, Unit, interval};
use crate::metrics::Ranking;
use crate::seeded;

/// The scores of one arm on one set, ranked: one ranking a seed.
#[derive(Clone, Debug)]
pub struct Ranked {
    rankings: Vec<Ranking>,
    /// Number of the source video of each unit.
    source: Vec<usize>,
    sources: usize,
    set: String,
}

impl Ranked {
    /// Of the runs of an arm, in the order of their seeds; `None` where one of them has no scores of this set, or of another state of it.
    pub fn new(name: &str, labels: &Labels, outcomes: &[&Outcome], by_video: bool) -> Option<Self> {
        let units = |outcome: &&Outcome| -> Option<Vec<Unit>> {
            let scores = outcome.scores.get(name).filter(|s| s.set == labels.set)?;
            (scores.logits.len() == labels.fake.len()).then(|| labels.units(&scores.logits, by_video))
        };
        let all: Vec<Vec<Unit>> = outcomes.iter().map(units).collect::<Option<_>>()?;
        let ranking = |units: &Vec<Unit>| {
            let (logits, fake): (Vec<f64>, Vec<bool>) = units.iter().map(|u| (u.logit, u.fake)).unzip();
            Ranking::new(&logits, &fake)
        };
        Some(Self {
            rankings: all.iter().map(ranking).collect::<Option<_>>()?,
            source: all.first()?.iter().map(|u| u.source).collect(),
            sources: labels.sources(),
            set: name.to_owned(),
        })
    }

    /// AUC of each seed.
    pub fn aucs(&self) -> Vec<f64> {
        self.rankings.iter().filter_map(|r| Some(r.areas(|_| 1.0)?.auc)).collect()
    }

    /// Mean equal error rate over the seeds.
    pub fn eer(&self) -> Option<f64> {
        let all: Vec<f64> = self.rankings.iter().filter_map(|r| Some(r.areas(|_| 1.0)?.eer)).collect();
        mean(&all)
    }

    /// Mean AUC over the seeds with its interval.
    pub fn auc(&self, rounds: usize) -> Option<Figure> {
        let value = mean(&self.aucs())?;
        let drawn = self.drawn(rounds, |draw| self.drawn_auc(draw));
        Some(Figure { value, interval: interval(drawn, rounds, self.sources) })
    }

    /// How much better this arm is than `other`, of the same set and seeds.
    pub fn difference(&self, other: &Self, rounds: usize) -> Option<Difference> {
        let drawn = self.gaps(other, rounds)?;
        Some(Difference::of(mean(&self.aucs())? - mean(&other.aucs())?, drawn, rounds, self.sources))
    }

    /// The differences of all draws.
    fn gaps(&self, other: &Self, rounds: usize) -> Option<Vec<f64>> {
        let same = self.source == other.source && self.rankings.len() == other.rankings.len();
        same.then(|| self.drawn(rounds, |draw| Some(self.drawn_auc(draw)? - other.drawn_auc(draw)?)))
    }

    fn drawn_auc(&self, (counts, seeds): &(Vec<u32>, Vec<usize>)) -> Option<f64> {
        let weight = |i: usize| f64::from(counts[self.source[i]]);
        let all: Option<Vec<f64>> = seeds.iter().map(|&s| Some(self.rankings[s].areas(weight)?.auc)).collect();
        mean(&all?)
    }

    fn drawn(&self, rounds: usize, of: impl Fn(&(Vec<u32>, Vec<usize>)) -> Option<f64> + Sync) -> Vec<f64> {
        let words: Vec<u64> = self.set.bytes().map(u64::from).collect();
        let draw = |round: usize| {
            // Seeds by the round alone, so that one draw has the same seeds on all sets.
            let mut rng = seeded::generator(0, "proof seeds", &[round as u64]);
            let seeds = (0..self.rankings.len()).map(|_| rng.random_range(0..self.rankings.len())).collect();
            let mut rng = seeded::generator(round as u64, "proof sources", &words);
            let mut counts = vec![0; self.sources];
            for _ in 0..self.sources {
                counts[rng.random_range(0..self.sources)] += 1;
            }
            (counts, seeds)
        };
        // In the order of the rounds, where nothing is left out.
        (0..rounds).into_par_iter().filter_map(|round| of(&draw(round))).collect()
    }
}

/// How much better an arm is than another over several sets, each of which counts alike.
pub fn difference_over(pairs: &[(&Ranked, &Ranked)], rounds: usize) -> Option<Difference> {
    let gaps: Vec<Vec<f64>> = pairs.iter().map(|(a, b)| a.gaps(b, rounds)).collect::<Option<_>>()?;
    let values: Option<Vec<f64>> = pairs.iter().map(|(a, b)| Some(mean(&a.aucs())? - mean(&b.aucs())?)).collect();
    // A draw that lacks a class in one of the sets would shift the rounds of that set against the others.
    if gaps.iter().any(|g| g.len() != rounds) {
        return None;
    }
    let drawn = (0..rounds).map(|r| gaps.iter().map(|g| g[r]).sum::<f64>() / gaps.len() as f64).collect();
    let sources = pairs.iter().map(|(a, _)| a.sources).min()?;
    Some(Difference::of(mean(&values?)?, drawn, rounds, sources))
}

/// `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation of a sample; `None` of fewer than two.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::checkpoint::Best;
    use crate::proof::results::{Attention, Scores};

    fn labels(sources: usize) -> Labels {
        // A real and a fake face of each source.
        Labels {
            set: "d".to_owned(),
            fake: (0..2 * sources).map(|i| i % 2 == 1).collect(),
            source: (0..2 * sources).map(|i| i / 2).collect(),
            video: (0..2 * sources).collect(),
            left_out: 0,
        }
    }

    fn outcome(logits: Vec<f64>) -> Outcome {
        Outcome {
            recipe: String::new(),
            faces: String::new(),
            maps: None,
            support: None,
            parameters: 1,
            best: Best { epoch: 1, auc: 0.5 },
            scores: BTreeMap::from([("s".to_owned(), Scores { set: "d".to_owned(), logits })]),
            attention: Attention::default(),
        }
    }

    /// Scores whose fakes are `by` higher than real ones of the same noise.
    fn scores(sources: usize, seed: u64, by: f64) -> Vec<f64> {
        let mut rng = seeded::generator(seed, "test", &[]);
        (0..2 * sources).map(|i| seeded::normal(&mut rng) + if i % 2 == 1 { by } else { 0.0 }).collect()
    }

    fn ranked(by: f64) -> Ranked {
        let all: Vec<Outcome> = (1..=3).map(|seed| outcome(scores(300, seed, by))).collect();
        Ranked::new("s", &labels(300), &all.iter().collect::<Vec<_>>(), false).unwrap()
    }

    #[test]
    fn a_clear_gain_is_found_and_none_is_not() {
        let (plain, better) = (ranked(0.5), ranked(1.0));
        let gain = better.difference(&plain, 400).unwrap();
        let [low, high] = gain.auc.interval.unwrap();
        assert!(low > 0.0 && low < gain.auc.value && gain.auc.value < high && gain.better > 0.99, "{gain:?}");
        let nothing = plain.difference(&plain.clone(), 400).unwrap();
        assert_eq!((nothing.auc.value, nothing.better), (0.0, 0.5));
        // Over two sets that are the same one, the difference is that of one.
        let twice = difference_over(&[(&better, &plain), (&better, &plain)], 400).unwrap();
        assert!((twice.auc.value - gain.auc.value).abs() < 1e-12);
    }

    #[test]
    fn the_mean_auc_is_that_of_the_normal_distribution() {
        // Two normal distributions a distance d apart: AUC = Phi(d / sqrt 2), 0.7602 at d = 1.
        let auc = ranked(1.0).auc(400).unwrap();
        let [low, high] = auc.interval.unwrap();
        assert!((auc.value - 0.7602).abs() < 0.02 && low < 0.7602 && 0.7602 < high, "{auc:?}");
    }

    #[test]
    fn scores_of_another_state_of_the_set_are_not_taken() {
        let one = outcome(scores(3, 1, 1.0));
        let other = Labels { set: "e".to_owned(), ..labels(3) };
        assert!(Ranked::new("s", &other, &[&one], false).is_none());
        assert!(Ranked::new("s", &labels(4), &[&one], false).is_none());
        assert!(Ranked::new("s", &labels(3), &[&one], false).is_some());
    }
}
