//! The clients: threads that add 1 to a number without pause.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use hdrhistogram::Histogram;
use standin_client::{Client, ClientConfig, ClientError, ViewServices};
use standin_core::time::Duration;
use standin_core::view::ViewId;
use standin_io::clock;

use super::DemoMachine;
use super::audit::Tally;
use super::waits::Waits;

/// How long a client tries one add: far longer than any takeover should last.
const ADD_PATIENCE: Duration = Duration::from_secs(30);
/// The longest time that the histogram tells apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 120_000_000;

/// Why a client stopped although it was not told to.
#[derive(Debug, thiserror::Error)]
pub(super) enum CrowdError {
    /// An add ended in an error.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer is no number.
    #[error("a client was answered something that is no number")]
    Answer,
    /// The system has no room for another thread.
    #[error("cannot start a client's thread: {0}")]
    Thread(std::io::Error),
}

/// What all clients share with the one who watches them.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    machine: DemoMachine,
    /// What was told of each number.
    tallies: Mutex<Vec<Tally>>,
    waits: Vec<Mutex<Waits>>,
}

/// How the adds went, apart from their outcome.
#[derive(Debug)]
pub(super) struct Figures {
    /// From request to answer, in microseconds.
    pub(super) latencies: Histogram<u64>,
    /// Adds that were sent more than once before they were answered.
    pub(super) sent_again: u64,
}

impl Figures {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3);
        Self {
            latencies: latencies.expect("the bounds are in order"),
            sent_again: 0,
        }
    }
}

/// Clients at work. Dropping it tells them to stop and does not wait.
#[derive(Debug)]
pub(super) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<Figures, CrowdError>>>,
}

impl Crowd {
    /// Sets `count` clients to work.
    pub(super) fn start(
        machine: DemoMachine,
        view_services: &ViewServices,
        count: usize,
    ) -> Result<Self, CrowdError> {
        let tallies = (0..machine.numbers()).map(|_| Tally::default()).collect();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            machine,
            tallies: Mutex::new(tallies),
            waits: (0..count).map(|_| Mutex::default()).collect(),
        });
        let mut crowd = Self {
            shared,
            threads: Vec::with_capacity(count),
        };
        for number in 0..count {
            let config = ClientConfig {
                timeout: ADD_PATIENCE,
            };
            let client = Client::new(view_services.clone(), config)?;
            let shared = Arc::clone(&crowd.shared);
            let builder = thread::Builder::new().name(format!("client {number}"));
            let started = builder.spawn(move || work(client, &shared, number));
            crowd.threads.push(started.map_err(CrowdError::Thread)?);
        }
        Ok(crowd)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        let tallies = lock(&self.shared.tallies);
        tallies.iter().map(Tally::acknowledged).sum()
    }

    /// Prepares for measuring the waits for the next primary.
    pub(super) fn forget_waits(&self) {
        for waits in &self.shared.waits {
            lock(waits).forget();
        }
    }

    /// Whether every client has an answer of `view` or of a later one.
    pub(super) fn has_seen(&self, view: ViewId) -> bool {
        self.shared
            .waits
            .iter()
            .all(|waits| lock(waits).has_seen(view))
    }

    /// The longest wait of any client for a new view since [`Crowd::forget_waits`].
    pub(super) fn longest_wait(&self) -> Duration {
        let waits = self.shared.waits.iter().map(|waits| lock(waits).longest());
        waits.max().unwrap_or_default()
    }

    /// Tells whether a client has given up; its panic goes on here.
    pub(super) fn check(&mut self) -> Result<(), CrowdError> {
        match self.threads.iter().position(JoinHandle::is_finished) {
            Some(at) => joined(self.threads.swap_remove(at)).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Tells all clients to stop once the add that they are waiting for is answered.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether all have stopped.
    pub(super) fn has_stopped(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// What all clients saw, once they have stopped; waits for those that have not.
    pub(super) fn join(mut self) -> Result<(Vec<Tally>, Figures), CrowdError> {
        self.stop();
        let mut figures = Figures::new();
        for thread in self.threads.drain(..) {
            let more = joined(thread)?;
            let added = figures.latencies.add(&more.latencies);
            added.expect("all histograms have the same bounds");
            figures.sent_again += more.sent_again;
        }
        let tallies = std::mem::take(&mut *lock(&self.shared.tallies));
        Ok((tallies, figures))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn joined(thread: JoinHandle<Result<Figures, CrowdError>>) -> Result<Figures, CrowdError> {
    thread
        .join()
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// A client that panicked is reported by its thread; what it counted before is still true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client: adds 1, waits for the answer, notes it, and again, at the next number if there are several.
fn work(mut client: Client, shared: &Shared, number: usize) -> Result<Figures, CrowdError> {
    let mut figures = Figures::new();
    let machine = shared.machine;
    let commands: Vec<Vec<u8>> = (0..machine.numbers())
        .map(|at| machine.add_one(at))
        .collect();
    let mut values = vec![0; commands.len()];
    let places = (0..commands.len()).cycle().skip(number % commands.len());
    for at in places {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let asked = clock::boot();
        let answer = match client.command(&commands[at]) {
            Ok(answer) => answer,
            Err(error) => {
                if error.is_outcome_unknown() {
                    lock(&shared.tallies)[at].unknown();
                }
                return Err(error.into());
            }
        };
        let now = clock::boot();
        let value = machine.value(&answer.bytes).ok_or(CrowdError::Answer)?;
        let before = std::mem::replace(&mut values[at], value);
        lock(&shared.tallies)[at].answered(value, before);
        lock(&shared.waits[number]).answered(now, answer.seen.view);
        let micros = u64::try_from(now.since(asked).as_micros()).unwrap_or(LATENCY_MICROS_MAX);
        figures.latencies.saturating_record(micros);
        figures.sent_again += u64::from(answer.attempts > 1);
    }
    // Tidy, no more: a session that stays open expires by itself.
    client.set_timeout(Duration::from_secs(1));
    if let Err(error) = client.close() {
        log::warn!("a client could not close its session: {error}");
    }
    Ok(figures)
}
