//! What the events QOS of downstream say of how late frames come.

use std::time::Duration;

/// The last that was told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lateness {
    told: Option<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    proportion: f64,
    /// Nanoseconds; frames come too late where it is above 0.
    jitter: i64,
    /// The running time of the frame.
    at: gst::ClockTime,
}

/// How late, as a message QOS has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Late {
    /// Nanoseconds that this frame is before the first that can be in time.
    pub(super) jitter: i64,
    /// Time that frames take, beside the time that they should take.
    pub(super) proportion: f64,
}

impl Lateness {
    /// After a flush nothing is late.
    pub(super) fn reset(&mut self) {
        self.told = None;
    }

    /// Takes note of an event. Frames that are let go on purpose are not late.
    pub(super) fn note(&mut self, (kind, proportion, jitter, at): (gst::QOSType, f64, i64, Option<gst::ClockTime>)) {
        self.told = at.filter(|_| kind != gst::QOSType::Throttle).map(|at| Told { proportion, jitter, at });
    }

    /// Whether a frame of that running time will come too late. As GStreamer's other elements reckon: twice as far ahead as frames are late, and a frame more, is
    /// the first that can be in time.
    pub(super) fn is_late(&self, running_time: Option<gst::ClockTime>, frame_time: Option<Duration>) -> Option<Late> {
        let (told, time) = (self.told.filter(|t| t.jitter > 0)?, running_time?);
        let frame = frame_time.map_or(0, |t| i128::try_from(t.as_nanos()).unwrap_or(0));
        let in_time = i128::from(told.at.nseconds()) + 2 * i128::from(told.jitter) + frame;
        let jitter = in_time - i128::from(time.nseconds());
        (jitter > 0).then(|| Late { jitter: i64::try_from(jitter).unwrap_or(i64::MAX), proportion: told.proportion })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Option<Duration> = Some(Duration::from_millis(40));

    fn told(kind: gst::QOSType, jitter: i64) -> Lateness {
        let mut lateness = Lateness::default();
        lateness.note((kind, 1.5, jitter * 1_000_000, Some(gst::ClockTime::from_mseconds(1000))));
        lateness
    }

    fn late(lateness: &Lateness, ms: u64) -> Option<i64> {
        lateness.is_late(Some(gst::ClockTime::from_mseconds(ms)), FRAME).map(|l| l.jitter / 1_000_000)
    }

    #[test]
    fn frames_are_late_until_twice_the_jitter_and_a_frame_have_gone_by() {
        let lateness = told(gst::QOSType::Underflow, 100);
        assert_eq!([1040, 1239, 1240, 2000].map(|ms| late(&lateness, ms)), [Some(200), Some(1), None, None]);
        assert_eq!(lateness.is_late(None, FRAME), None, "without a time nothing is known");
    }

    #[test]
    fn what_is_early_or_let_go_on_purpose_or_flushed_is_not_late() {
        assert_eq!(late(&told(gst::QOSType::Overflow, -100), 900), None);
        assert_eq!(late(&told(gst::QOSType::Throttle, 100), 1040), None);
        let mut lateness = told(gst::QOSType::Underflow, 100);
        lateness.reset();
        assert_eq!(late(&lateness, 1040), None);
    }

    #[test]
    fn absurd_events_overflow_nothing() {
        let mut lateness = Lateness::default();
        let far = gst::ClockTime::MAX;
        lateness.note((gst::QOSType::Underflow, f64::NAN, i64::MAX, Some(far)));
        assert_eq!(lateness.is_late(Some(gst::ClockTime::ZERO), FRAME).map(|l| l.jitter), Some(i64::MAX));
    }
}
