//! One session's worth of requests: a client of the cluster, and what waits for it.

use std::collections::{BTreeMap, VecDeque};

use standin_client::{
    Answer, ClientError, CoreConfig, Driver, NO_DEADLINE, REQUESTS_MAX, Request, ViewServices,
    WithoutRoom, Work,
};
use standin_core::conn::ConnId;
use standin_core::time::{Duration, Instant, earliest};
use standin_io::entropy;
use standin_io::net::{Net, NetEvent};

/// A session in which nothing was asked for this long is closed; the next command opens another. Shorter than any
/// time after which replicas may let go of a session ([`standin_core::session::SESSION_IDLE_MIN`]): a command is never sent in one that has expired
/// unnoticed, for if its answer were lost then, nobody could tell what became of it.
pub(super) const SESSION_IDLE: Duration = Duration::from_secs(5);
const _: () = assert!(
    SESSION_IDLE.as_secs() < standin_core::session::SESSION_IDLE_MIN.as_secs(),
    "a session is closed before it can expire"
);

/// Whose a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A client's, by its number there.
    Client(ConnId, u64),
    /// Nobody's: it is asked to learn whether there is a second copy.
    Probe,
    /// Nobody's: the session is being closed.
    Close,
}

/// A request that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) owner: Owner,
    pub(super) work: Work,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Lane {
    driver: Driver,
    waiting: VecDeque<Waiting>,
    /// Whose the requests are that the driver has.
    owners: BTreeMap<u64, (Owner, usize)>,
    id_last: u64,
    /// When something was last asked.
    used_at: Instant,
}

impl Lane {
    pub(super) fn new(view_services: ViewServices) -> Self {
        Self {
            driver: Driver::new(CoreConfig {
                view_services,
                jitter_seed: entropy::u64(),
                without_room: WithoutRoom::Fail,
            }),
            waiting: VecDeque::new(),
            owners: BTreeMap::new(),
            id_last: 0,
            used_at: Instant::ZERO,
        }
    }

    /// Takes a request, which comes after all that were taken before.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// Hands the driver as much as it takes.
    pub(super) fn feed(&mut self, net: &mut Net, now: Instant) {
        while self.driver.core().pending() < REQUESTS_MAX {
            let Some(Waiting { owner, work }) = self.waiting.pop_front() else {
                return;
            };
            self.submit(net, now, owner, work);
        }
    }

    /// Says how another request ended: whose it was, how many bytes it had, and the answer or why there is none.
    pub(super) fn next_outcome(&mut self) -> Option<(Owner, usize, Result<Answer, ClientError>)> {
        let (id, result) = self.driver.next_outcome()?;
        let (owner, bytes) = self.owners.remove(&id).expect("each ends once");
        Some((owner, bytes, result))
    }

    pub(super) fn on_net_event(&mut self, net: &mut Net, now: Instant, event: &NetEvent) -> bool {
        self.driver.on_net_event(net, now, event)
    }

    /// Does what time asks for.
    pub(super) fn on_time(&mut self, net: &mut Net, now: Instant) {
        self.driver.on_time(net, now);
        if self.idle_until().is_some_and(|until| until <= now) {
            self.close_session(net, now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        earliest(self.driver.deadline(), self.idle_until())
    }

    /// Closes the session, if one is open, after all that the driver has.
    pub(super) fn close_session(&mut self, net: &mut Net, now: Instant) {
        if self.has_session() {
            self.submit(net, now, Owner::Close, Work::CloseSession);
        }
    }

    pub(super) fn has_session(&self) -> bool {
        self.driver.core().session().is_some()
    }

    pub(super) fn seen(&self) -> standin_client::Seen {
        self.driver.core().seen()
    }

    pub(super) fn connections(&self) -> usize {
        self.driver.connections()
    }

    /// When the session is closed, if nothing is asked before.
    fn idle_until(&self) -> Option<Instant> {
        let is_idle = self.has_session() && self.owners.is_empty() && self.waiting.is_empty();
        is_idle.then(|| self.used_at.plus(SESSION_IDLE))
    }

    fn submit(&mut self, net: &mut Net, now: Instant, owner: Owner, work: Work) {
        let bytes = match &work {
            Work::Command(bytes) | Work::Query { bytes, .. } => bytes.len(),
            Work::CloseSession => 0,
        };
        self.id_last += 1;
        self.used_at = now;
        self.owners.insert(self.id_last, (owner, bytes));
        let request = Request {
            id: self.id_last,
            deadline: NO_DEADLINE,
            work,
        };
        self.driver.submit(net, now, request);
    }
}
