//! Who scores the crops of a stream: a model of its own, or one that it shares.

use crate::engine::{EngineError, Limits};
use crate::group::{Member, Watch};
use crate::interrupt::RunOptions;
use crate::score::{Card, Evidence, NotScored, Scorer};

#[derive(Debug)]
pub(crate) enum Judge {
    Own(Box<Scorer>),
    Shared(Box<Member>),
}

impl Judge {
    pub(crate) fn card(&self) -> &Card {
        match self {
            Self::Own(scorer) => scorer.card(),
            Self::Shared(member) => member.card(),
        }
    }

    /// Sees what the group does, if there is one.
    pub(crate) fn watch(&self) -> Option<Watch> {
        match self {
            Self::Own(_) => None,
            Self::Shared(member) => Some(member.watch()),
        }
    }

    /// A frame has come.
    pub(crate) fn begin(&mut self, limits: &Limits) {
        if let Self::Shared(member) = self {
            member.set_window(limits.batch_window);
            member.set_frame_time(limits.frame_time);
            member.begin();
        }
    }

    /// Nothing of it is to be scored.
    pub(crate) fn rest(&mut self) {
        if let Self::Shared(member) = self {
            member.rest();
        }
    }

    pub(crate) fn crop_mut(&mut self, index: usize) -> &mut [f32] {
        match self {
            Self::Own(scorer) => scorer.crop_mut(index),
            Self::Shared(member) => member.crop_mut(index),
        }
    }

    pub(crate) fn run(&mut self, n: usize, options: Option<&RunOptions>) -> Result<(), EngineError> {
        match self {
            Self::Own(scorer) => Ok(scorer.run(n, options)?),
            Self::Shared(member) => Ok(member.run(n, options)?),
        }
    }

    pub(crate) fn evidence(&self, index: usize) -> Result<Evidence<'_>, NotScored> {
        match self {
            Self::Own(scorer) => scorer.evidence(index),
            Self::Shared(member) => member.evidence(index),
        }
    }
}
