//! Which faces stand together in which batch.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::SliceRandom;

use super::{Face, Label};
use crate::seeded;

/// Whom a real face shares its batch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// A fake of the same source video; of any where the source has none.
    Source,
    /// Any fake.
    None,
}

/// The order of an epoch: a function of seed and epoch alone.
#[derive(Debug)]
pub struct Order {
    real: Vec<usize>,
    fake: Vec<usize>,
    /// For each of `real`, the fakes of its source.
    partners: Vec<Vec<usize>>,
    /// Fakes that are nobody's partner.
    strangers: Vec<usize>,
    pairing: Pairing,
    seed: u64,
}

impl Order {
    /// Both classes must be there, as [`super::split`] sees to.
    pub fn new(faces: &[Face], pairing: Pairing, seed: u64) -> Self {
        let of = |label| (0..faces.len()).filter(|&i| faces[i].label == label).collect::<Vec<_>>();
        let (real, fake) = (of(Label::Real), of(Label::Fake));
        let mut by_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for &i in &fake {
            by_source.entry(&faces[i].source).or_default().push(i);
        }
        let partners: Vec<Vec<usize>> =
            real.iter().map(|&i| by_source.get(faces[i].source.as_str()).cloned().unwrap_or_default()).collect();
        for &i in &real {
            by_source.remove(faces[i].source.as_str());
        }
        let strangers = by_source.into_values().flatten().collect();
        Self { real, fake, partners, strangers, pairing, seed }
    }

    /// Steps of an epoch: every real face once, a last incomplete batch left out (unless it is the only one).
    pub fn steps(&self, batch: usize) -> usize {
        (self.real.len() / (batch / 2)).max(1)
    }

    /// Fakes that no epoch shows, because no real face of their source is there and every real face has a partner.
    pub fn unseen(&self) -> usize {
        let every_one_has = self.partners.iter().all(|p| !p.is_empty());
        if self.pairing == Pairing::Source && every_one_has { self.strangers.len() } else { 0 }
    }

    /// The batches of an epoch: first all real faces of a batch, then, in the same order, their fakes.
    pub fn epoch(&self, epoch: usize, batch: usize) -> Vec<Vec<usize>> {
        let mut rng = seeded::generator(self.seed, "order", &[epoch as u64]);
        let mut reals: Vec<usize> = (0..self.real.len()).collect();
        reals.shuffle(&mut rng);
        let mut fakes = self.fake.clone();
        fakes.shuffle(&mut rng);
        let mut strangers = if self.strangers.is_empty() { fakes.clone() } else { self.strangers.clone() };
        strangers.shuffle(&mut rng);
        let mut stranger = strangers.iter().cycle();
        let mut any = fakes.iter().cycle();
        let pairs: Vec<(usize, usize)> = reals
            .into_iter()
            .filter_map(|r| {
                let partners = &self.partners[r];
                let fake = match self.pairing {
                    Pairing::None => any.next().copied(),
                    Pairing::Source if partners.is_empty() => stranger.next().copied(),
                    Pairing::Source => Some(partners[rng.random_range(0..partners.len())]),
                };
                fake.map(|f| (self.real[r], f))
            })
            .collect();
        let half = (batch / 2).min(pairs.len());
        pairs.chunks_exact(half).map(|c| c.iter().map(|p| p.0).chain(c.iter().map(|p| p.1)).collect()).collect()
    }
}
