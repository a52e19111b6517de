//! The engine, in the thread of the stream or beside it.

use std::sync::Arc;
use std::time::Duration;

use deepfake_frames::{FrameFormat, MapError};
use deepfake_scoring::engine::{Engine, EngineError, Limits, ScoredFace, UpstreamFace};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::group::MemberError;
use deepfake_scoring::live::{Live, LiveError, SharedFrame};
use deepfake_scoring::session::RunOptions;

use crate::meta::Mode;

/// A buffer that live mode's worker reads.
pub(super) struct Held {
    buffer: gst::Buffer,
    format: Arc<FrameFormat>,
}

impl Held {
    /// Takes a reference to the buffer, after which nothing may be written to it any more by whoever lends it: others see that it
    /// is shared. No copy: only so does a buffer return to its pool not before it has been read.
    pub(super) fn new(buffer: &gst::BufferRef, format: Arc<FrameFormat>) -> Self {
        // SAFETY: the pointer is that of a living buffer; the reference that is added is this value's.
        let buffer = unsafe { glib::translate::from_glib_none(buffer.as_ptr()) };
        Self { buffer, format }
    }
}

impl SharedFrame for Held {
    fn with_view(&self, read: &mut dyn FnMut(&FrameView<'_>)) -> Result<(), String> {
        #[cfg(test)]
        super::tests::panic_where_asked(&self.buffer);
        self.format.with_view(&self.buffer, |view| read(view)).map_err(|e| e.to_string())
    }
}

/// Who works on the frames.
pub(super) enum Runner {
    /// The thread of the stream, on every frame.
    EveryFrame(Box<Engine>),
    /// A worker beside it, on the newest frame.
    Live(Box<Live<Held>>),
    /// There was one: while it changes from one kind to the other.
    Gone,
}

/// What became of a frame.
pub(super) struct Scored {
    /// Whether it is known which faces there are.
    pub(super) listed: bool,
    pub(super) mode: Mode,
    pub(super) failure: Option<Failure>,
}

/// What failed.
pub(super) struct Failure {
    /// As people read it.
    pub(super) text: String,
    /// A worker has panicked: no frame will be scored any more.
    pub(super) for_good: bool,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { text: error.to_string(), for_good: matches!(error, EngineError::Group(MemberError::Panicked(_))) }
    }
}

impl From<LiveError> for Failure {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::Engine(error) => error.into(),
            other => Self { text: other.to_string(), for_good: matches!(other, LiveError::Panicked(_)) },
        }
    }
}

/// What a frame comes with.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) upstream: &'a [UpstreamFace],
    pub(super) number: u64,
    pub(super) time: Option<Duration>,
}

impl Runner {
    /// Goes on beside the stream.
    pub(super) fn go_live(&mut self) -> Result<(), LiveError> {
        if let Self::EveryFrame(_) = self
            && let Self::EveryFrame(engine) = std::mem::replace(self, Self::Gone)
        {
            *self = Self::Live(Box::new(Live::new(*engine)?));
        }
        Ok(())
    }

    /// Scores the frame, or finds what is known of its faces.
    pub(super) fn score(
        &mut self,
        format: &FrameFormat,
        buffer: &gst::BufferRef,
        moment: Moment<'_>,
        options: &RunOptions,
    ) -> Result<Scored, MapError> {
        let Moment { upstream, number, time } = moment;
        format.with_view(buffer, |view| match self {
            Self::EveryFrame(engine) => {
                #[cfg(test)]
                super::tests::panic_where_asked(buffer);
                let failure = engine.process(view, upstream, time, Some(options)).err();
                // Where faces could not be looked for, no list of them is honest, not even an empty one.
                let listed = !matches!(failure, Some(EngineError::Locate(_)));
                Scored { listed, mode: Mode::EveryFrame, failure: failure.map(Into::into) }
            }
            Self::Live(live) => {
                let collected = live.collect(view, upstream, number, time);
                Scored {
                    listed: collected.listed,
                    mode: Mode::Live { skipped: collected.behind },
                    failure: collected.error.map(Into::into),
                }
            }
            Self::Gone => Scored { listed: false, mode: Mode::EveryFrame, failure: None },
        })
    }

    /// Lets a frame go by unscored, where the stream would wait for its scores.
    pub(super) fn skip(&mut self) -> bool {
        match self {
            Self::EveryFrame(engine) => {
                engine.skip();
                true
            }
            Self::Live(_) | Self::Gone => false,
        }
    }

    /// What there is to say of a frame whose pixels cannot be read.
    pub(super) fn unread(&self, error: &MapError) -> Scored {
        let mode = if matches!(self, Self::Live(_)) { Mode::Live { skipped: 0 } } else { Mode::EveryFrame };
        Scored { listed: false, mode, failure: Some(Failure { text: error.to_string(), for_good: false }) }
    }

    /// Hands the buffer to the worker, if there is one that wants it. Nothing may be written to the buffer afterwards.
    pub(super) fn hand_over(
        &mut self,
        buffer: &gst::BufferRef,
        format: &Arc<FrameFormat>,
        moment: Moment<'_>,
        frame_time: Option<Duration>,
    ) {
        if let Self::Live(live) = self
            && live.wants(frame_time)
        {
            live.hand_over(Held::new(buffer, Arc::clone(format)), moment.upstream, moment.number, moment.time);
        }
    }

    pub(super) fn faces(&self) -> &[ScoredFace] {
        match self {
            Self::EveryFrame(engine) => engine.faces(),
            Self::Live(live) => live.faces(),
            Self::Gone => &[],
        }
    }

    pub(super) fn map(&self, track: u64) -> Option<(usize, usize, &[f32])> {
        match self {
            Self::EveryFrame(engine) => engine.map(track),
            Self::Live(live) => live.map(track),
            Self::Gone => None,
        }
    }

    pub(super) fn is_followed(&self, track: u64) -> bool {
        match self {
            Self::EveryFrame(engine) => engine.is_followed(track),
            Self::Live(live) => live.is_followed(track),
            Self::Gone => false,
        }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        match self {
            Self::EveryFrame(engine) => engine.set_limits(limits),
            Self::Live(live) => live.set_limits(limits),
            Self::Gone => {}
        }
    }

    /// After a seek, a flush or a change of format.
    pub(super) fn reset(&mut self) {
        match self {
            Self::EveryFrame(engine) => engine.reset(),
            Self::Live(live) => live.flush(),
            Self::Gone => {}
        }
    }
}
