//! Resolving names on a thread of their own: the operating system takes as long as it likes.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use mio::Waker;
use standin_core::time::{Duration, Instant};

use crate::clock;
use crate::desk::Desk;

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
struct Tasks {
    waiting: VecDeque<String>,
    /// The name that is being resolved.
    current: Option<String>,
    answers: VecDeque<Answer>,
    is_stopping: bool,
}

/// Resolves names, one after the other, on one thread, which begins with the first name.
pub(super) struct Resolver {
    resolve: Arc<Resolve>,
    waker: Arc<Waker>,
    desk: Arc<Desk<Tasks>>,
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
            desk: Arc::default(),
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
        let mut tasks = self.desk.lock();
        let is_asked = tasks.current.as_deref() == Some(name)
            || tasks.waiting.iter().any(|waiting| waiting == name);
        if is_asked {
            return Ok(());
        }
        if tasks.waiting.len() == NAMES_WAITING_MAX {
            tasks.waiting.pop_front();
        }
        tasks.waiting.push_back(name.to_owned());
        self.desk.call();
        Ok(())
    }

    /// Takes an answer to one of the names that `is_wanted`, if there is one.
    pub(super) fn take(
        &self,
        now: Instant,
        mut is_wanted: impl FnMut(&str) -> bool,
    ) -> Option<Answer> {
        let mut tasks = self.desk.lock();
        let answers = &mut tasks.answers;
        answers.retain(|answer| now < answer.at.plus(ANSWER_AGE_MAX));
        let at = answers.iter().position(|answer| is_wanted(&answer.name))?;
        answers.remove(at)
    }

    /// The names that wait for the thread.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> Vec<String> {
        self.desk.lock().waiting.iter().cloned().collect()
    }

    fn begin(&mut self) -> io::Result<()> {
        let (resolve, waker) = (Arc::clone(&self.resolve), Arc::clone(&self.waker));
        let desk = Arc::clone(&self.desk);
        std::thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || run(&desk, &*resolve, &waker))?;
        self.has_begun = true;
        Ok(())
    }
}

impl Drop for Resolver {
    /// Does not wait for the thread: the operating system may take long. It ends with what it does.
    fn drop(&mut self) {
        self.desk.lock().is_stopping = true;
        self.desk.call();
    }
}

fn run(desk: &Desk<Tasks>, resolve: &Resolve, waker: &Waker) {
    while let Some(name) = next_name(desk) {
        let addrs = resolve(&name);
        let at = clock::boot();
        let mut tasks = desk.lock();
        tasks.current = None;
        tasks.answers.retain(|answer| answer.name != name);
        if tasks.answers.len() == ANSWERS_KEPT_MAX {
            tasks.answers.pop_front();
        }
        tasks.answers.push_back(Answer { name, addrs, at });
        drop(tasks);
        // It fails only if the loop is gone, and then nobody needs to be woken.
        let _ = waker.wake();
    }
}

/// Waits for the next name. `None`: stop.
fn next_name(desk: &Desk<Tasks>) -> Option<String> {
    let mut tasks = desk.lock();
    loop {
        if tasks.is_stopping {
            return None;
        }
        if let Some(name) = tasks.waiting.pop_front() {
            tasks.current = Some(name.clone());
            return Some(name);
        }
        tasks = desk.wait(tasks);
    }
}
