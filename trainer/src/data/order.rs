//! Which faces stand together in which batch.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::{Face, Label};
use crate::config::{Balance, Data};
use crate::seeded;

/// The order of an epoch: a function of seed and epoch alone.
#[derive(Debug)]
pub struct Order {
    /// Where `Balance::Even`; else every face of an epoch is drawn from `all`.
    halves: Option<Halves>,
    all: Vec<Vec<usize>>,
    weights: Option<(f64, f64)>,
    per_video: usize,
    seed: u64,
}

/// Real faces with the fakes that may stand beside them.
#[derive(Debug)]
struct Halves {
    /// Real faces by video.
    real: Vec<Vec<usize>>,
    /// For each face, the place in `decks` of the fakes that are its partners.
    partners: BTreeMap<usize, usize>,
    /// Fakes by method, video and face.
    decks: Vec<Deck>,
    /// Which of `decks` those draw from who have no partner.
    rest: usize,
    unseen: usize,
}

impl Order {
    /// For the faces of a training split, in which both classes must be, as [`super::split`] sees to.
    pub fn new(faces: &[Face], data: &Data, seed: u64) -> Self {
        let halves = (data.balance == Balance::Even).then(|| Halves::new(faces, data.pairs));
        let all = by_video(faces, |_| true);
        let mut order = Self { halves, all, weights: None, per_video: data.faces_per_video, seed };
        if data.balance == Balance::Weighted {
            let count = |label| {
                let videos = order.all.iter().filter(|v| faces[v[0]].label == label);
                videos.map(|v| order.shown(v.len())).sum::<usize>() as f64
            };
            let (real, fake) = (count(Label::Real), count(Label::Fake));
            let half = (real + fake) / 2.0;
            order.weights = Some((half / real, half / fake));
        }
        order
    }

    /// By what the losses of real and fake faces are to be multiplied so that both classes count alike, where batches are as
    /// uneven as the data.
    pub fn class_weights(&self) -> Option<(f64, f64)> {
        self.weights
    }

    /// Faces of an epoch that decide how long it is, and how many of them a batch holds.
    fn lengths(&self, batch: usize) -> (usize, usize) {
        let count = |videos: &[Vec<usize>]| videos.iter().map(|v| self.shown(v.len())).sum::<usize>();
        match &self.halves {
            Some(halves) => (count(&halves.real), batch / 2),
            None => (count(&self.all), batch),
        }
    }

    /// How many of the faces of a video an epoch shows.
    fn shown(&self, faces: usize) -> usize {
        if self.per_video == 0 { faces } else { faces.min(self.per_video) }
    }

    /// Steps of an epoch: a last incomplete batch is left out (unless it is the only one).
    pub fn steps(&self, batch: usize) -> usize {
        let (faces, a_batch) = self.lengths(batch);
        (faces / a_batch).max(1)
    }

    /// Fakes that no epoch shows, because no real face of their source is there and every real face has a partner.
    pub fn unseen(&self) -> usize {
        self.halves.as_ref().map_or(0, |h| h.unseen)
    }

    /// The batches of an epoch. Where both classes are to be even, first all real faces of a batch, then, in the same order, their
    /// fakes.
    pub fn epoch(&self, epoch: usize, batch: usize) -> Vec<Vec<usize>> {
        let mut rng = seeded::generator(self.seed, "order", &[epoch as u64]);
        let videos = self.halves.as_ref().map_or(&self.all, |h| &h.real);
        let mut faces = Vec::new();
        for video in videos {
            let shown = self.shown(video.len());
            // Each epoch goes on in the video where the last one stopped, and begins anew where too few are left.
            let epochs = video.len() / shown;
            let first = epoch / epochs * video.len() + epoch % epochs * shown;
            let mut deck = Shuffled::new(video, self.seed, &[0, video[0] as u64]);
            faces.extend((first..first + shown).map(|number| *deck.draw(number)));
        }
        faces.shuffle(&mut rng);
        let a_batch = self.lengths(batch).1.min(faces.len());
        let Some(halves) = &self.halves else {
            return faces.chunks_exact(a_batch).map(<[usize]>::to_vec).collect();
        };
        // Who draws how often from a deck is the same in every epoch but for the faces that are left out of long videos.
        let fakes = halves.fakes(&faces, epoch, self.seed);
        let batches = faces.chunks_exact(a_batch).zip(fakes.chunks_exact(a_batch));
        batches.map(|(real, fake)| real.iter().chain(fake).copied().collect()).collect()
    }
}

impl Halves {
    fn new(faces: &[Face], pairs: bool) -> Self {
        let real = by_video(faces, |f| f.label == Label::Real);
        let mut by_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let fakes: Vec<usize> = (0..faces.len()).filter(|&i| faces[i].label == Label::Fake).collect();
        for &i in &fakes {
            by_source.entry(&faces[i].source).or_default().push(i);
        }
        if !pairs {
            let decks = vec![Deck::new(faces, &fakes)];
            return Self { real, partners: BTreeMap::new(), decks, rest: 0, unseen: 0 };
        }
        let mut decks = Vec::new();
        let mut partners = BTreeMap::new();
        let mut place: BTreeMap<&str, usize> = BTreeMap::new();
        let mut alone = false;
        for &i in real.iter().flatten() {
            let source = faces[i].source.as_str();
            match by_source.get(source) {
                Some(own) => {
                    let at = *place.entry(source).or_insert_with(|| {
                        decks.push(Deck::new(faces, own));
                        decks.len() - 1
                    });
                    partners.insert(i, at);
                }
                None => alone = true,
            }
        }
        by_source.retain(|source, _| !place.contains_key(source));
        let strangers: Vec<usize> = by_source.into_values().flatten().collect();
        let unseen = if alone { 0 } else { strangers.len() };
        let rest = decks.len();
        decks.push(Deck::new(faces, if strangers.is_empty() { &fakes } else { &strangers }));
        Self { real, partners, decks, rest, unseen }
    }

    /// A fake for each of these real faces.
    fn fakes(&self, faces: &[usize], epoch: usize, seed: u64) -> Vec<usize> {
        let of = |face: &usize| self.partners.get(face).copied().unwrap_or(self.rest);
        let mut drawing = vec![0usize; self.decks.len()];
        for face in faces {
            drawing[of(face)] += 1;
        }
        let mut hands: BTreeMap<usize, (Hand<'_>, usize)> = BTreeMap::new();
        let draw = |face: &usize| {
            let at = of(face);
            let (hand, next) =
                hands.entry(at).or_insert_with(|| (Hand::new(&self.decks[at], seed, at as u64), epoch * drawing[at]));
            *next += 1;
            hand.draw(*next - 1)
        };
        faces.iter().map(draw).collect()
    }
}

/// The faces of a kind, by the video that they were taken from.
fn by_video(faces: &[Face], kind: impl Fn(&Face) -> bool) -> Vec<Vec<usize>> {
    let mut videos: BTreeMap<(Label, &str), Vec<usize>> = BTreeMap::new();
    for (i, face) in faces.iter().enumerate().filter(|(_, f)| kind(f)) {
        videos.entry((face.label, &face.video)).or_default().push(i);
    }
    videos.into_values().collect()
}

/// Fakes by method and, within it, by video: each method is drawn as often as every other, each of its videos too, and each face of
/// a video.
#[derive(Debug)]
struct Deck {
    methods: Vec<Vec<Vec<usize>>>,
}

impl Deck {
    fn new(faces: &[Face], of: &[usize]) -> Self {
        let mut methods: BTreeMap<&str, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
        for &i in of {
            methods.entry(&faces[i].method).or_default().entry(&faces[i].video).or_default().push(i);
        }
        Self { methods: methods.into_values().map(|videos| videos.into_values().collect()).collect() }
    }
}

/// Draws from a [`Deck`].
struct Hand<'a> {
    methods: Shuffled<'a, Vec<Vec<usize>>>,
    videos: BTreeMap<usize, Shuffled<'a, Vec<usize>>>,
    faces: BTreeMap<(usize, usize), Shuffled<'a, usize>>,
    seed: u64,
    deck: u64,
}

impl<'a> Hand<'a> {
    fn new(deck: &'a Deck, seed: u64, number: u64) -> Self {
        let methods = Shuffled::new(&deck.methods, seed, &[1, number]);
        Self { methods, videos: BTreeMap::new(), faces: BTreeMap::new(), seed, deck: number }
    }

    /// The draw of that number, counted from the beginning of the training.
    fn draw(&mut self, number: usize) -> usize {
        let method = self.methods.place(number);
        let number = number / self.methods.items.len();
        let videos = self
            .videos
            .entry(method)
            .or_insert_with(|| Shuffled::new(&self.methods.items[method], self.seed, &[2, self.deck, method as u64]));
        let video = videos.place(number);
        let number = number / videos.items.len();
        let numbers = [3, self.deck, method as u64, video as u64];
        let faces = self
            .faces
            .entry((method, video))
            .or_insert_with(|| Shuffled::new(&videos.items[video], self.seed, &numbers));
        *faces.draw(number)
    }
}

/// Items in a random order, again and again in another one: after any number of draws each was drawn as often as every other, but
/// for one.
struct Shuffled<'a, T> {
    items: &'a [T],
    seed: u64,
    numbers: Vec<u64>,
    /// The order of the round that was last drawn from.
    round: Option<(usize, Vec<usize>)>,
}

impl<'a, T> Shuffled<'a, T> {
    fn new(items: &'a [T], seed: u64, numbers: &[u64]) -> Self {
        Self { items, seed, numbers: numbers.to_vec(), round: None }
    }

    /// Where the item of that draw stands.
    fn place(&mut self, number: usize) -> usize {
        let n = self.items.len();
        let round = number / n;
        if self.round.as_ref().is_none_or(|(r, _)| *r != round) {
            let mut order: Vec<usize> = (0..n).collect();
            self.numbers.push(round as u64);
            order.shuffle(&mut seeded::generator(self.seed, "deck", &self.numbers));
            self.numbers.pop();
            self.round = Some((round, order));
        }
        self.round.as_ref().map_or(0, |(_, order)| order[number % n])
    }

    fn draw(&mut self, number: usize) -> &'a T {
        &self.items[self.place(number)]
    }
}
