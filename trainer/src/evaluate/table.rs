//! From the scores of single pictures to samples of frames and of videos.

use std::collections::BTreeMap;

use deepfake_scoring::contract::ScoreKeys;

use super::figures::{Figure, Figures, Sample, Unit};
use super::ledger::Ledger;
use super::outcome::Level;
use super::set::Set;
use crate::data::Label;
use crate::error::{Error, Result};
use crate::metrics::video_means;

/// A picture or frame with a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Index of the item in its set.
    pub item: usize,
    /// Number of the frame in the video; 0 for a picture.
    pub frame: u64,
    /// Of fake, uncalibrated.
    pub logit: f64,
}

/// What a ledger says of some items: the scores, and how many pictures or frames have none.
///
/// # Errors
///
/// An item that the ledger lacks.
pub fn scored(ledger: &Ledger, items: &[usize]) -> Result<(Vec<Scored>, usize)> {
    let (mut all, mut failed) = (Vec::new(), 0);
    for &item in items {
        let lacks = || Error::Data(format!("item {item} has not been scored"));
        for shot in &ledger.get(item).ok_or_else(lacks)?.shots {
            match shot.logit {
                Some(logit) => all.push(Scored { item, frame: shot.frame, logit: f64::from(logit) }),
                None => failed += 1,
            }
        }
    }
    Ok((all, failed))
}

/// Samples of one model on one set: of frames and of videos.
#[derive(Clone, Debug)]
pub struct Samples {
    /// One unit a score.
    pub frame: Sample,
    /// One unit a video.
    pub video: Sample,
    /// Source videos with a score.
    pub sources: usize,
}

impl Samples {
    /// Of scores of a set.
    ///
    /// # Errors
    ///
    /// No score at all.
    pub fn new(set: &Set, scored: &[Scored], score: &ScoreKeys) -> Result<Self> {
        if scored.is_empty() {
            return Err(Error::Data(format!("the set `{}` has no score at all", set.said.name)));
        }
        let (source_of, _) = set.sources();
        let mut sources = BTreeMap::new();
        let mut videos = BTreeMap::new();
        let mut units = Vec::with_capacity(scored.len());
        let mut of_video = Vec::with_capacity(scored.len());
        let mut video_sources = Vec::new();
        for s in scored {
            let face = &set.items[s.item];
            let next = sources.len();
            let source = *sources.entry(source_of[s.item]).or_insert(next);
            units.push(Unit { logit: s.logit, fake: face.label == Label::Fake, source });
            let next = videos.len();
            let video = *videos.entry((face.label, &face.source, &face.video)).or_insert(next);
            if video == next {
                video_sources.push(source);
            }
            of_video.push(video);
        }
        let logits: Vec<f64> = units.iter().map(|u| u.logit).collect();
        let fake: Vec<bool> = units.iter().map(|u| u.fake).collect();
        let (means, fakes) = video_means(&logits, &fake, &of_video);
        let videos = means.into_iter().zip(fakes).zip(video_sources);
        let videos = videos.map(|((logit, fake), source)| Unit { logit, fake, source }).collect();
        let none = || Error::Data(format!("the set `{}` has a score that is not a number", set.said.name));
        Ok(Self {
            frame: Sample::new(units, sources.len(), score).ok_or_else(none)?,
            video: Sample::new(videos, sources.len(), score).ok_or_else(none)?,
            sources: sources.len(),
        })
    }
}

/// Counts and figures of a sample.
pub(super) fn level(sample: &Sample, rounds: usize) -> Level {
    let fake = sample.units().iter().filter(|u| u.fake).count();
    let figures: Figures<Figure> = sample.figures(rounds);
    Level { real: sample.units().len() - fake, fake, figures }
}
