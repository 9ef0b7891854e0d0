//! What a thread and those who give it work share.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Something that a thread and those who give it work look at in turn.
#[derive(Debug, Default)]
pub(crate) struct Desk<T> {
    on_it: Mutex<T>,
    work: Condvar,
}

impl<T> Desk<T> {
    /// What lies on it, for one at a time.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Nobody panics while holding it; were it so, what lies there would still be whole.
        self.on_it.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is work: the thread looks again.
    pub(crate) fn call(&self) {
        self.work.notify_one();
    }

    /// Lets the others have it until [`Desk::call`].
    pub(crate) fn wait<'a>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.work
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner)
    }
}
