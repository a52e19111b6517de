//! What is done to pictures before they are scored.

use super::outcome::Distorted;
use crate::distort::Distortion;
use crate::error::Result;

/// A distortion with its level from 1 to 5, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition(pub Option<(Distortion, u8)>);

impl Condition {
    /// What a set is measured under: as it is, and with `robustness` under every distortion at every level.
    pub fn all(robustness: bool) -> Vec<Self> {
        let levels = |d: Distortion| (1..=Distortion::LEVELS).map(move |level| Self(Some((d, level))));
        let distorted = Distortion::ALL.into_iter().filter(|_| robustness).flat_map(levels);
        std::iter::once(Self(None)).chain(distorted).collect()
    }

    /// As files and tables call it.
    pub fn name(self) -> String {
        self.0.map_or_else(|| "clean".to_owned(), |(d, level)| format!("{}-{level}", d.name()))
    }

    /// Whether pictures stay as they are.
    pub fn is_clean(self) -> bool {
        self.0.is_none()
    }

    /// For the outcome.
    ///
    /// # Errors
    ///
    /// A level that is none.
    pub fn record(self) -> Result<Option<Distorted>> {
        let record = |(d, level): (Distortion, u8)| {
            Ok(Distorted { name: d.name().to_owned(), level, parameter: d.parameter(level)? })
        };
        self.0.map(record).transpose()
    }
}
