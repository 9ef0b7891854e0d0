//! Resolving names on a thread of their own: the operating system takes as long as it likes.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mio::Waker;
use standin_core::time::{Duration, Instant};

use crate::clock;

/// Most names that wait to be resolved; the one that has waited the longest gives way.
pub(super) const NAMES_WAITING_MAX: usize = 16;
/// Most answers that are kept; the oldest gives way.
pub(super) const ANSWERS_KEPT_MAX: usize = 16;
/// How long an answer is of use. Whoever asked first may have given up before it came, and asks again:
/// were it not kept, a name that takes longer than anybody waits would never be reached.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(10);

/// What finds the addresses that `HOST:PORT` stands for.
type Resolve = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) addrs: io::Result<Vec<SocketAddr>>,
    at: Instant,
}

/// What the loop and the thread tell each other. Every list here is bounded.
#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<String>,
    /// The name that is being resolved.
    current: Option<String>,
    answers: VecDeque<Answer>,
    is_stopping: bool,
}

#[derive(Debug, Default)]
struct Shared {
    desk: Mutex<Desk>,
    work: Condvar,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nobody panics while holding it; were it so, the desk would still be whole.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves names, one after the other, on one thread, which begins with the first name.
pub(super) struct Resolver {
    resolve: Arc<Resolve>,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
    has_begun: bool,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// One that asks the operating system, and wakes the loop when there is an answer.
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            resolve: Arc::new(|name| name.to_socket_addrs().map(Iterator::collect)),
            waker,
            shared: Arc::default(),
            has_begun: false,
        }
    }

    /// Asks something else than the operating system.
    #[cfg(test)]
    pub(super) fn set(
        &mut self,
        resolve: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) {
        assert!(!self.has_begun, "set it before it is asked");
        self.resolve = Arc::new(resolve);
    }

    /// Has a name resolved, unless it is about to be. [`Resolver::take`] finds the answer once the
    /// loop is woken, or at once if there is a recent one.
    ///
    /// # Errors
    /// When the system can start no thread.
    pub(super) fn ask(&mut self, name: &str) -> io::Result<()> {
        if !self.has_begun {
            self.begin()?;
        }
        let mut desk = self.shared.desk();
        let is_asked = desk.current.as_deref() == Some(name)
            || desk.waiting.iter().any(|waiting| waiting == name);
        if is_asked {
            return Ok(());
        }
        if desk.waiting.len() == NAMES_WAITING_MAX {
            desk.waiting.pop_front();
        }
        desk.waiting.push_back(name.to_owned());
        self.shared.work.notify_one();
        Ok(())
    }

    /// Takes an answer to one of the names that `is_wanted`, if there is one.
    pub(super) fn take(
        &self,
        now: Instant,
        mut is_wanted: impl FnMut(&str) -> bool,
    ) -> Option<Answer> {
        let mut desk = self.shared.desk();
        let answers = &mut desk.answers;
        answers.retain(|answer| now < answer.at.plus(ANSWER_AGE_MAX));
        let at = answers.iter().position(|answer| is_wanted(&answer.name))?;
        answers.remove(at)
    }

    /// The names that wait for the thread.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> Vec<String> {
        self.shared.desk().waiting.iter().cloned().collect()
    }

    fn begin(&mut self) -> io::Result<()> {
        let (resolve, waker) = (Arc::clone(&self.resolve), Arc::clone(&self.waker));
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || run(&shared, &*resolve, &waker))?;
        self.has_begun = true;
        Ok(())
    }
}

impl Drop for Resolver {
    /// Does not wait for the thread: the operating system may take long. It ends with what it does.
    fn drop(&mut self) {
        self.shared.desk().is_stopping = true;
        self.shared.work.notify_one();
    }
}

fn run(shared: &Shared, resolve: &Resolve, waker: &Waker) {
    while let Some(name) = next_name(shared) {
        let addrs = resolve(&name);
        let at = clock::boot();
        let mut desk = shared.desk();
        desk.current = None;
        desk.answers.retain(|answer| answer.name != name);
        if desk.answers.len() == ANSWERS_KEPT_MAX {
            desk.answers.pop_front();
        }
        desk.answers.push_back(Answer { name, addrs, at });
        drop(desk);
        // It fails only if the loop is gone, and then nobody needs to be woken.
        let _ = waker.wake();
    }
}

/// Waits for the next name. `None`: stop.
fn next_name(shared: &Shared) -> Option<String> {
    let mut desk = shared.desk();
    loop {
        if desk.is_stopping {
            return None;
        }
        if let Some(name) = desk.waiting.pop_front() {
            desk.current = Some(name.clone());
            return Some(name);
        }
        desk = shared
            .work
            .wait(desk)
            .unwrap_or_else(PoisonError::into_inner);
    }
}
