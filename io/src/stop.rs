//! Asking an event loop to stop from another thread of its process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

/// Asks one event loop to stop, as a SIGTERM would. Clones ask the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    times: AtomicU32,
    /// Of the loop that listens now.
    waker: Mutex<Option<Arc<Waker>>>,
}

impl Stop {
    /// Asks, and does not wait. If the loop has not begun yet, it stops as soon as it does; asked a second time, it stops
    /// without whatever it would still do first.
    pub fn ask(&self) {
        self.0.times.fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker().as_ref() {
            // It fails only if the loop is gone.
            let _ = waker.wake();
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Arc<Waker>>> {
        self.0.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `waker` wakes the loop that is to stop, and no other one.
    pub(crate) fn wake_with(&self, waker: Arc<Waker>) {
        *self.waker() = Some(waker);
        if self.0.times.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    /// How often it was asked since this was looked at last.
    pub(crate) fn take(&self) -> u32 {
        self.0.times.swap(0, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll, Token};

    use super::*;

    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
    const AT_ONCE: std::time::Duration = std::time::Duration::ZERO;

    /// A loop, and what wakes it.
    fn event_loop() -> (Poll, Arc<Waker>) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        (poll, Arc::new(waker))
    }

    fn is_woken(poll: &mut Poll, patience: std::time::Duration) -> bool {
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(patience)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn a_loop_is_woken_by_each_copy_and_sees_how_often_it_was_asked() {
        let (mut poll, waker) = event_loop();
        let stop = Stop::default();
        stop.wake_with(waker);
        assert!(!is_woken(&mut poll, AT_ONCE));
        assert_eq!(stop.take(), 0);
        stop.clone().ask();
        stop.ask();
        assert!(is_woken(&mut poll, PATIENCE));
        assert_eq!((stop.take(), stop.take()), (2, 0));
    }

    #[test]
    fn a_loop_that_begins_when_it_was_asked_already_is_woken() {
        let stop = Stop::default();
        stop.ask();
        let (mut poll, waker) = event_loop();
        stop.wake_with(waker);
        assert!(is_woken(&mut poll, PATIENCE));
        assert_eq!(stop.take(), 1);
    }

    #[test]
    fn of_two_loops_only_the_later_one_is_woken() {
        let [(mut first, first_waker), (mut second, second_waker)] = [event_loop(), event_loop()];
        let stop = Stop::default();
        stop.wake_with(first_waker);
        stop.wake_with(second_waker);
        stop.ask();
        assert!(is_woken(&mut second, PATIENCE));
        assert!(!is_woken(&mut first, AT_ONCE));
    }
}
