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
