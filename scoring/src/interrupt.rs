//! Ends what a thread waits for, from another thread: the run of a model, or a result that others work on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Goes with a run, and ends it early. After [`RunOptions::terminate`] each run that it goes with fails at once, until
/// [`RunOptions::unterminate`].
pub struct RunOptions {
    inner: ort::session::RunOptions,
    bell: Arc<Bell>,
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").field("bell", &self.bell).finish_non_exhaustive()
    }
}

impl RunOptions {
    /// Ends nothing yet.
    ///
    /// # Errors
    ///
    /// Where ONNX Runtime has no memory.
    pub fn new() -> ort::Result<Self> {
        Ok(Self { inner: ort::session::RunOptions::new()?, bell: Arc::default() })
    }

    /// Ends what runs and what is waited for. Does not wait.
    ///
    /// # Errors
    ///
    /// What ONNX Runtime says.
    pub fn terminate(&self) -> ort::Result<()> {
        self.bell.end(true);
        self.inner.terminate()
    }

    /// From now on runs go on to their end again.
    ///
    /// # Errors
    ///
    /// What ONNX Runtime says.
    pub fn unterminate(&self) -> ort::Result<()> {
        self.bell.end(false);
        self.inner.unterminate()
    }

    /// For a run of ONNX Runtime's.
    pub(crate) fn inner(&self) -> &ort::session::RunOptions {
        &self.inner
    }

    /// For a result that others work on.
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }
}

/// Wakes a thread that waits for a result, because the result is there or because nobody wants it any more.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    ended: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, bool> {
        // Nothing is left half done in it.
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ended: bool) {
        *self.lock() = ended;
        self.rung.notify_all();
    }

    /// Makes who waits look again.
    pub(crate) fn ring(&self) {
        // Whoever has looked in vain and does not wait yet holds the lock.
        drop(self.lock());
        self.rung.notify_all();
    }

    /// Waits until `look` finds something; `None` where it was ended before.
    pub(crate) fn wait<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let mut ended = self.lock();
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            if *ended {
                return None;
            }
            ended = self.rung.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_waits_hears_of_the_result_and_of_the_end() {
        let bell = Arc::new(Bell::default());
        let (tell, looked) = channel();
        let result = Arc::new(Mutex::new(None));
        let waiting = std::thread::spawn({
            let (bell, result) = (Arc::clone(&bell), Arc::clone(&result));
            move || {
                bell.wait(|| {
                    tell.send(()).unwrap();
                    result.lock().unwrap().take()
                })
            }
        });
        looked.recv().unwrap();
        bell.ring();
        looked.recv().unwrap();
        *result.lock().unwrap() = Some(7);
        bell.ring();
        assert_eq!(waiting.join().unwrap(), Some(7));
        bell.end(true);
        assert_eq!(bell.wait(|| None::<()>), None);
        assert_eq!(bell.wait(|| Some(1)), Some(1), "a result that is there is taken all the same");
    }
}
