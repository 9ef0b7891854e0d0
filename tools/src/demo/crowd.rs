//! The clients: threads that send one request after another, without pause.

use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use hdrhistogram::Histogram;
use standin_client::{Client, ClientConfig, ClientError, ViewServices};
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewId;
use standin_io::clock;

use super::audit::Tally;
use super::evidence::Record;
use super::machine::{DemoMachine, Numbers};
use super::task::{Task, task_of};
use super::waits::Waits;

/// How long a client tries one request: far longer than any takeover should last.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest time that the histogram tells apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 120_000_000;

/// Why a client stopped although it was not told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CrowdError {
    /// A request ended in an error.
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
    /// Whether clients note when each answer came.
    keeps_times: bool,
    notes: Notes,
    acknowledged: AtomicU64,
    waits: Vec<Mutex<Waits>>,
}

/// What clients were told.
#[derive(Debug)]
pub(super) enum Notes {
    /// Of each number.
    Numbers(Mutex<Vec<Tally>>),
    /// Each of them.
    Own(Vec<Mutex<Record>>),
}

/// The same, when all have stopped.
#[derive(Debug)]
pub(super) enum Told {
    /// Of each number.
    Numbers(Vec<Tally>),
    /// Each client.
    Own(Vec<Record>),
}

/// How the requests went, apart from their outcome.
#[derive(Debug)]
pub(super) struct Figures {
    /// From request to answer, in microseconds.
    pub(super) latencies: Histogram<u64>,
    /// Requests that were sent more than once before they were answered.
    pub(super) sent_again: u64,
    /// When answers came, in no order, if that was to be noted.
    answered_at: Vec<Instant>,
}

impl Figures {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3);
        Self {
            latencies: latencies.expect("the bounds are in order"),
            sent_again: 0,
            answered_at: Vec::new(),
        }
    }
}

/// Clients at work. Dropping it tells them to stop and does not wait.
#[derive(Debug)]
pub(crate) struct Crowd {
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
        Self::start_with(machine, view_services, count, false)
    }

    /// Sets `count` clients to work on the database, who note when each answer came: see [`Crowd::times`].
    pub(crate) fn noting_times(
        view_services: &ViewServices,
        count: usize,
    ) -> Result<Self, CrowdError> {
        let machine = DemoMachine::Numbers(Numbers::Kv);
        Self::start_with(machine, view_services, count, true)
    }

    fn start_with(
        machine: DemoMachine,
        view_services: &ViewServices,
        count: usize,
        keeps_times: bool,
    ) -> Result<Self, CrowdError> {
        let notes = match machine {
            DemoMachine::Numbers(numbers) => {
                let tallies = (0..numbers.numbers()).map(|_| Tally::default());
                Notes::Numbers(Mutex::new(tallies.collect()))
            }
            DemoMachine::Own(_) => Notes::Own((0..count).map(|_| Mutex::default()).collect()),
        };
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            keeps_times,
            notes,
            acknowledged: AtomicU64::new(0),
            waits: (0..count).map(|_| Mutex::default()).collect(),
        });
        let mut crowd = Self {
            shared,
            threads: Vec::with_capacity(count),
        };
        for number in 0..count {
            let config = ClientConfig { timeout: PATIENCE };
            let client = Client::new(view_services.clone(), config)?;
            let shared = Arc::clone(&crowd.shared);
            let builder = thread::Builder::new().name(format!("client {number}"));
            let task = task_of(machine, number);
            let started = builder.spawn(move || work(client, task, &shared, number));
            crowd.threads.push(started.map_err(CrowdError::Thread)?);
        }
        Ok(crowd)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Prepares for measuring the waits for the next primary.
    pub(super) fn forget_waits(&self) {
        for waits in &self.shared.waits {
            lock(waits).forget();
        }
    }

    /// Whether every client has an answer of `view` or of a later one.
    pub(crate) fn has_seen(&self, view: ViewId) -> bool {
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
    pub(crate) fn check(&mut self) -> Result<(), CrowdError> {
        match self.threads.iter().position(JoinHandle::is_finished) {
            Some(at) => joined(self.threads.swap_remove(at)).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Tells all clients to stop once the request that they are waiting for is answered.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether all have stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// What all clients saw, once they have stopped; waits for those that have not.
    pub(super) fn join(mut self) -> Result<(Told, Figures), CrowdError> {
        self.stop();
        let mut figures = Figures::new();
        for thread in self.threads.drain(..) {
            let more = joined(thread)?;
            let added = figures.latencies.add(&more.latencies);
            added.expect("all histograms have the same bounds");
            figures.sent_again += more.sent_again;
            figures.answered_at.extend(more.answered_at);
        }
        let told = match &self.shared.notes {
            Notes::Numbers(tallies) => Told::Numbers(std::mem::take(&mut *lock(tallies))),
            Notes::Own(records) => Told::Own(records.iter().map(|it| lock(it).clone()).collect()),
        };
        Ok((told, figures))
    }

    /// When each answer came, in no order, once all have stopped; waits for those that have not.
    pub(crate) fn times(self) -> Result<Vec<Instant>, CrowdError> {
        Ok(self.join()?.1.answered_at)
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
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client: sends a request, waits for the answer, notes it, and again.
fn work(
    mut client: Client,
    mut task: Task,
    shared: &Shared,
    number: usize,
) -> Result<Figures, CrowdError> {
    let mut figures = Figures::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let command = task.next();
        let asked = clock::boot();
        let answer = match client.command(&command) {
            Ok(answer) => answer,
            Err(error) => {
                if error.is_outcome_unknown() {
                    task.unknown(&shared.notes);
                }
                return Err(error.into());
            }
        };
        let now = clock::boot();
        let session = client.session().expect("a command was answered in it");
        let noted = task.answered(&shared.notes, session, &command, &answer.bytes);
        noted.ok_or(CrowdError::Answer)?;
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        lock(&shared.waits[number]).answered(now, answer.seen.view);
        if shared.keeps_times {
            figures.answered_at.push(now);
        }
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
