//! Which failures are to be told: each once, in the way that `on-error` has it.

use super::runner::Failure;
use super::settings::OnError;

/// What has failed and was told.
pub(super) struct Failures {
    on_error: OnError,
    /// A failure was told and has not ended yet.
    failing: bool,
    /// The one that does not end.
    lost: Option<String>,
}

/// A failure of this frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told<'a> {
    pub(super) text: &'a str,
    pub(super) on_error: OnError,
    /// It was not told yet in this way: once, not for each frame of a broken day, whatever upstream makes of it.
    pub(super) first: bool,
}

impl Failures {
    pub(super) fn new(on_error: OnError) -> Self {
        Self { on_error, failing: false, lost: None }
    }

    /// What lasts is told anew in the other way.
    pub(super) fn set_on_error(&mut self, on_error: OnError) {
        if on_error != self.on_error {
            self.on_error = on_error;
            self.failing = false;
        }
    }

    /// No frame need be looked at any more.
    pub(super) fn refuses(&self) -> bool {
        self.lost.is_some() && self.on_error == OnError::Error
    }

    /// Takes note of what a frame failed with; `None` where nothing fails.
    pub(super) fn note<'a>(&'a mut self, failure: Option<&'a Failure>) -> Option<Told<'a>> {
        if let (None, Some(failure)) = (&self.lost, failure.filter(|f| f.for_good)) {
            // Worse than what may have been told before.
            self.failing = false;
            self.lost = Some(failure.text.clone());
        }
        let text = self.lost.as_deref().or(failure.map(|f| f.text.as_str()));
        let before = std::mem::replace(&mut self.failing, text.is_some());
        text.map(|text| Told { text, on_error: self.on_error, first: !before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str, for_good: bool) -> Failure {
        Failure { text: text.into(), for_good }
    }

    fn first(failures: &mut Failures, failure: Option<&Failure>) -> bool {
        failures.note(failure).unwrap().first
    }

    #[test]
    fn what_lasts_is_told_once_and_again_where_the_setting_changes() {
        let (mut failures, bad) = (Failures::new(OnError::Passthrough), failure("bad", false));
        assert!(first(&mut failures, Some(&bad)) && !first(&mut failures, Some(&bad)));
        failures.set_on_error(OnError::Passthrough);
        assert!(!first(&mut failures, Some(&bad)));
        failures.set_on_error(OnError::Error);
        assert_eq!(failures.note(Some(&bad)), Some(Told { text: "bad", on_error: OnError::Error, first: true }));
        assert!(!first(&mut failures, Some(&bad)) && !failures.refuses());
        assert_eq!(failures.note(None), None);
        assert!(first(&mut failures, Some(&bad)));
    }

    #[test]
    fn the_end_of_all_scores_is_told_though_something_fails_already() {
        for on_error in [OnError::Error, OnError::Passthrough] {
            let (bad, worse) = (failure("bad", false), failure("worse", true));
            let mut failures = Failures::new(on_error);
            assert!(first(&mut failures, Some(&bad)));
            assert_eq!(failures.note(Some(&worse)), Some(Told { text: "worse", on_error, first: true }));
            // Whatever comes after it, it stays so.
            for failure in [None, Some(&bad), Some(&worse)] {
                assert_eq!(failures.note(failure), Some(Told { text: "worse", on_error, first: false }));
            }
            assert_eq!(failures.refuses(), on_error == OnError::Error);
        }
    }

    #[test]
    fn the_end_of_all_scores_is_told_in_each_way_that_is_set() {
        let mut failures = Failures::new(OnError::Error);
        assert!(first(&mut failures, Some(&failure("worse", true))) && failures.refuses());
        failures.set_on_error(OnError::Passthrough);
        assert!(!failures.refuses() && first(&mut failures, None) && !first(&mut failures, None));
        failures.set_on_error(OnError::Error);
        assert!(failures.refuses() && first(&mut failures, None) && !first(&mut failures, None));
    }
}
