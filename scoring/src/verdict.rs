//! From the scores of single frames to the verdict on a track.

use std::fmt;

use crate::contract::ScoreKeys;

/// Frames that a track must have been scored in before it gets a verdict.
pub const MIN_FRAMES: u32 = 5;
/// The mean over a track is plain up to this many frames; from there on older frames fade with this constant, so that a
/// face that is swapped in the middle of a long programme is still noticed.
pub const MEMORY_FRAMES: u32 = 64;
/// A verdict is left only after the score has gone back over its threshold by this much.
pub const HYSTERESIS: f32 = 0.05;
/// Logits beyond it say nothing more (one in 10¹³); a single absurd frame must not outweigh a track.
pub const MAX_LOGIT: f32 = 30.0;

/// What the score of a track speaks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// At or above the threshold for fakes.
    Fake,
    /// At or below the threshold for genuine faces.
    Real,
    /// Neither, or too few frames.
    #[default]
    Undecided,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fake, Self::Real, Self::Undecided];

    /// As written in metadata and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fake => "fake",
            Self::Real => "real",
            Self::Undecided => "undecided",
        }
    }

    /// The verdict of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.name() == name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How logits become scores, and scores verdicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// The logit is divided by it.
    pub temperature: f32,
    /// Scores from here on speak for a fake.
    pub fake_above: f32,
    /// Scores up to here speak for a genuine face.
    pub real_below: f32,
}

impl From<&ScoreKeys> for Calibration {
    fn from(keys: &ScoreKeys) -> Self {
        Self { temperature: keys.temperature, fake_above: keys.fake_above, real_below: keys.real_below }
    }
}

impl Calibration {
    /// The probability of being fake that a logit stands for, in [0, 1].
    pub fn score(&self, logit: f32) -> f32 {
        1.0 / (1.0 + (-logit / self.temperature).exp())
    }
}

/// The running mean of a track's logits, and the verdict that follows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrackScore {
    mean: f32,
    frames: u32,
    verdict: Verdict,
}

impl TrackScore {
    /// Adds the logit of a frame; it must be finite.
    pub fn add(&mut self, logit: f32, calibration: &Calibration) {
        debug_assert!(logit.is_finite());
        self.frames = self.frames.saturating_add(1);
        let weight = 1.0 / self.frames.min(MEMORY_FRAMES) as f32;
        self.mean += (logit.clamp(-MAX_LOGIT, MAX_LOGIT) - self.mean) * weight;
        self.verdict = self.judge(calibration);
    }

    /// The mean logit, uncalibrated.
    pub fn logit(&self) -> f32 {
        self.mean
    }

    /// The frames that were scored.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// As of the newest frame.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn judge(&self, calibration: &Calibration) -> Verdict {
        if self.frames < MIN_FRAMES {
            return Verdict::Undecided;
        }
        let score = calibration.score(self.mean);
        let Calibration { fake_above, real_below, .. } = *calibration;
        match self.verdict {
            _ if score >= fake_above => Verdict::Fake,
            _ if score <= real_below => Verdict::Real,
            Verdict::Fake if score > fake_above - HYSTERESIS => Verdict::Fake,
            Verdict::Real if score < real_below + HYSTERESIS => Verdict::Real,
            _ => Verdict::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALIBRATION: Calibration = Calibration { temperature: 2.0, fake_above: 0.7, real_below: 0.3 };

    fn logit_of(score: f32) -> f32 {
        2.0 * (score / (1.0 - score)).ln()
    }

    #[test]
    fn a_score_is_the_sigmoid_of_the_tempered_logit() {
        assert!((CALIBRATION.score(2.0) - 0.731_058_6).abs() < 1e-6);
        assert_eq!(CALIBRATION.score(0.0), 0.5);
        assert_eq!(CALIBRATION.score(f32::MAX), 1.0);
        assert_eq!(CALIBRATION.score(f32::MIN), 0.0);
    }

    #[test]
    fn no_verdict_before_enough_frames() {
        let mut track = TrackScore::default();
        for frame in 1..=MIN_FRAMES {
            assert_eq!(track.verdict(), Verdict::Undecided);
            track.add(10.0, &CALIBRATION);
            assert_eq!(track.frames(), frame);
        }
        assert_eq!(track.verdict(), Verdict::Fake);
    }

    #[test]
    fn the_mean_is_plain_first_and_forgets_later() {
        let mut track = TrackScore::default();
        for logit in [1.0, 2.0, 6.0] {
            track.add(logit, &CALIBRATION);
        }
        assert!((track.logit() - 3.0).abs() < 1e-6);
        for _ in 0..1000 {
            track.add(-3.0, &CALIBRATION);
        }
        assert!((track.logit() + 3.0).abs() < 1e-3);
    }

    #[test]
    fn a_verdict_holds_until_the_score_has_clearly_left_it() {
        let mut track = TrackScore::default();
        let mut settle = |score: f32| {
            for _ in 0..2000 {
                track.add(logit_of(score), &CALIBRATION);
            }
            track.verdict()
        };
        assert_eq!(settle(0.68), Verdict::Undecided);
        assert_eq!(settle(0.71), Verdict::Fake);
        assert_eq!(settle(0.67), Verdict::Fake);
        assert_eq!(settle(0.64), Verdict::Undecided);
        assert_eq!(settle(0.29), Verdict::Real);
        assert_eq!(settle(0.34), Verdict::Real);
        assert_eq!(settle(0.36), Verdict::Undecided);
        assert_eq!(settle(0.9), Verdict::Fake);
    }

    #[test]
    fn one_absurd_frame_does_not_decide() {
        let mut track = TrackScore::default();
        for _ in 0..60 {
            track.add(-2.0, &CALIBRATION);
        }
        track.add(1e30, &CALIBRATION);
        assert_eq!(track.verdict(), Verdict::Real);
    }
}
