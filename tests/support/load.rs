//! Clients at work: threads that add 1 and read without end, each noting what it saw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use standin::machines::counter::{decode_reply, encode_add, encode_get};
use standin_client::{Client, ClientConfig, ClientError, Consistency, ViewServices};
use standin_core::time::{Duration, Instant};
use standin_io::clock;

use super::counter_history::{History, Kind, Operation, Outcome};
use super::{PATIENCE, sure};

/// Of a client that does both, one operation in so many is a get.
const GET_EVERY: usize = 3;
/// How long the closing of a session may take, which nobody waits for the outcome of.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a load consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadConfig {
    pub(crate) clients: usize,
    /// How long each client tries an operation.
    pub(crate) timeout: Duration,
    /// How many of them only read.
    pub(crate) readers: usize,
    /// How clients read, one after the other. All of these promise the newest value. A client keeps
    /// to one: were a read that waits followed by another kind, that one would be asked elsewhere.
    pub(crate) reads: &'static [Consistency],
    /// How long a client rests between two operations, so that a load does not take the machine from
    /// those who serve it.
    pub(crate) rest: Duration,
}

impl Default for LoadConfig {
    /// Four patient clients: every operation ends with an answer, if the service comes back at all.
    fn default() -> Self {
        Self {
            clients: 4,
            timeout: PATIENCE,
            readers: 1,
            reads: &[Consistency::Confirmed],
            rest: Duration::from_millis(1),
        }
    }
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    history: Mutex<History>,
}

/// A load at work. Dropping it tells the clients to stop and does not wait for them.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Sets clients to work.
    pub(crate) fn start(view_services: &ViewServices, config: LoadConfig) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            history: Mutex::default(),
        });
        let mut threads = Vec::new();
        for number in 0..config.clients {
            let timeout = config.timeout;
            let client = sure(Client::new(view_services.clone(), ClientConfig { timeout }));
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || work(client, number, config, &shared)));
        }
        Self {
            shared,
            clients: config.clients,
            threads,
        }
    }

    /// What the clients have seen until now.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.shared.history)
    }

    /// Notes what somebody else saw.
    pub(crate) fn note(&self, operation: Operation) {
        self.history().push(operation);
    }

    /// Whether each client has had `more` answers to operations that it began after `since`.
    pub(crate) fn has_answers_since(&self, since: Instant, more: usize) -> bool {
        let mut answers = vec![0; self.clients];
        for op in &self.history().operations {
            if op.invoked > since && op.value().is_some() {
                // Others than the load's own clients may have noted what they saw.
                if let Some(count) = answers.get_mut(op.client) {
                    *count += 1;
                }
            }
        }
        answers.iter().all(|count| *count >= more)
    }

    /// An operation that was begun after `since` and answered by now, if there is one.
    pub(crate) fn any_answer_since(&self, since: Instant) -> Option<Operation> {
        let history = self.history();
        let mut operations = history.operations.iter();
        let found = operations.find(|op| op.invoked > since && op.value().is_some());
        found.cloned()
    }

    /// The longest time that any client was without an answer and that ended after `since`.
    pub(crate) fn longest_wait(&self, since: Instant) -> Duration {
        let history = self.history();
        history.longest_wait(self.clients, since, clock::boot())
    }

    /// Tells the clients to stop, waits until each has had its last answer, and returns what they
    /// saw.
    pub(crate) fn stop(mut self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        std::mem::take(&mut *self.history())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(mut client: Client, number: usize, config: LoadConfig, shared: &Shared) {
    let mut nth = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        nth += 1;
        let consistency = config.reads[number % config.reads.len()];
        let operation = operate(&mut client, number, kind(config, number, nth), consistency);
        lock(&shared.history).push(operation);
        thread::sleep(config.rest);
    }
    client.set_timeout(CLOSE_TIMEOUT);
    // A session that stays open expires by itself.
    let _ = client.close();
}

/// What a client does as its `nth` operation. The first client only adds and those after it only read:
/// were a read that waits the end of every client's work, an add that should wait too would not show.
fn kind(config: LoadConfig, client: usize, nth: usize) -> Kind {
    match client {
        0 => Kind::Add,
        _ if client <= config.readers => Kind::Get,
        _ if nth.is_multiple_of(GET_EVERY) => Kind::Get,
        _ => Kind::Add,
    }
}

/// One operation, from before its beginning to after its end.
///
/// `consistency` is how a get reads.
pub(crate) fn operate(
    client: &mut Client,
    number: usize,
    kind: Kind,
    consistency: Consistency,
) -> Operation {
    let invoked = clock::boot();
    let answer = match kind {
        Kind::Add => client.command(&encode_add(1)),
        Kind::Get => client.query(&encode_get(), consistency),
    };
    let returned = clock::boot();
    let outcome = match answer {
        Ok(answer) => match decode_reply(&answer.bytes) {
            Some(Ok(value)) => Outcome::Value(value, answer.seen.view),
            reply => panic!("the counter answered {kind:?} with {reply:?}"),
        },
        Err(error) if error.is_outcome_unknown() => Outcome::Unknown,
        Err(ClientError::Local { doing, source }) => panic!("could not {doing}: {source}"),
        Err(error) => Outcome::NotExecuted(error.to_string()),
    };
    Operation {
        client: number,
        kind,
        invoked,
        returned,
        outcome,
    }
}
