//! What is read of a record, which is one line of JSON a frame.

use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    /// In nanoseconds.
    pts: Option<u64>,
    /// In nanoseconds.
    running_time: Option<u64>,
    /// Why the frame has no results at all.
    pub(crate) missing: Option<String>,
    pub(crate) faces: Option<Vec<Face>>,
    pub(crate) model: Option<Model>,
}

impl Record {
    /// When a player shows the frame: from the beginning of the video, whatever its timestamps begin with.
    pub(crate) fn time(&self) -> Option<Duration> {
        self.running_time.or(self.pts).map(Duration::from_nanos)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Face {
    pub(crate) track: u64,
    pub(crate) score: Option<f64>,
    pub(crate) frame_score: Option<f64>,
    pub(crate) verdict: Verdict,
    pub(crate) not_scored: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Fake,
    Undecided,
    Real,
}

impl Verdict {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fake => "fake",
            Self::Undecided => "undecided",
            Self::Real => "real",
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) provider: String,
}

/// Minutes, seconds and tenths.
pub(crate) fn clock(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}
