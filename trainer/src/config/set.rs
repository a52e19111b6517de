//! A data set as its owners lay it out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::wrong;
use crate::data::Part;
use crate::error::Result;

/// One data set. Which files are expected where, its module in [`crate::data::sets`] tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// How it is laid out. Default: seen from what is in `root`.
    #[serde(default)]
    pub kind: Option<SetKind>,
    /// Its folder.
    pub root: PathBuf,
    /// What it is called in manifests and reports. Default: its kind.
    #[serde(default)]
    pub name: Option<String>,
    /// Which of the compressed versions of FaceForensics++ (also of the originals for DeeperForensics-1.0). Default `c23`.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// Only this side of the owners' split. Default: all, each with its side.
    #[serde(default)]
    pub split: Option<Part>,
    /// Only these forgeries (FaceForensics++) or variants (DeeperForensics-1.0, default `end_to_end`). Default: all that are there.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Folder of FaceForensics++, for the real videos of DeeperForensics-1.0.
    #[serde(default)]
    pub originals: Option<PathBuf>,
}

/// A layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum SetKind {
    #[serde(rename = "faceforensics")]
    FaceForensics,
    Dfdc,
    #[serde(rename = "deeperforensics")]
    DeeperForensics,
    /// Version 1 or 2.
    #[serde(alias = "celeb_df_v1", alias = "celeb_df_v2")]
    CelebDf,
    #[serde(rename = "wilddeepfake")]
    WildDeepfake,
    Ffiw,
    Uadfv,
    /// `real/` and `fake/`.
    Folders,
}

impl SetKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::FaceForensics,
        Self::Dfdc,
        Self::DeeperForensics,
        Self::CelebDf,
        Self::WildDeepfake,
        Self::Ffiw,
        Self::Uadfv,
        Self::Folders,
    ];

    /// As configurations have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FaceForensics => "faceforensics",
            Self::Dfdc => "dfdc",
            Self::DeeperForensics => "deeperforensics",
            Self::CelebDf => "celeb_df",
            Self::WildDeepfake => "wilddeepfake",
            Self::Ffiw => "ffiw",
            Self::Uadfv => "uadfv",
            Self::Folders => "folders",
        }
    }
}

/// A version of FaceForensics++.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Compression {
    Raw,
    C23,
    C40,
}

impl Compression {
    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::C23 => "c23",
            Self::C40 => "c40",
        }
    }
}

impl Set {
    /// A set of which no more is said.
    pub fn new(kind: Option<SetKind>, root: PathBuf) -> Self {
        Self { kind, root, name: None, compression: None, split: None, methods: Vec::new(), originals: None }
    }

    pub(super) fn check(&self) -> Result<()> {
        let is = |kinds: &[SetKind]| self.kind.is_none_or(|k| kinds.contains(&k));
        let both = [SetKind::FaceForensics, SetKind::DeeperForensics];
        if self.compression.is_some() && !is(&both) {
            return wrong("data.sets.compression", "is for FaceForensics++ and DeeperForensics-1.0 only");
        }
        if !self.methods.is_empty() && !is(&both) {
            return wrong("data.sets.methods", "is for FaceForensics++ and DeeperForensics-1.0 only");
        }
        if self.originals.is_some() && !is(&[SetKind::DeeperForensics]) {
            return wrong("data.sets.originals", "is for DeeperForensics-1.0 only");
        }
        if self.name.as_ref().is_some_and(|n| n.is_empty() || n.contains(['/', '\\'])) {
            return wrong("data.sets.name", "must be a name without slashes");
        }
        Ok(())
    }
}
