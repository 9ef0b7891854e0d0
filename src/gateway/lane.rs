//! One session's worth of requests: a client of the cluster, and what waits for it.

use std::collections::BTreeMap;

use standin_client::{
    Answer, ClientError, CoreConfig, Driver, NO_DEADLINE, REQUESTS_MAX, Request, Trouble,
    ViewServices, WithoutRoom, Work,
};
use standin_core::conn::ConnId;
use standin_core::time::{Duration, Instant, earliest};
use standin_core::turns::Turns;
use standin_io::entropy;
use standin_io::net::{Net, NetEvent};

/// A session in which no command was sent for this long is closed; the next command opens another. Shorter than any
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

/// A request that the driver has.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    owner: Owner,
    bytes: usize,
    is_command: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Lane {
    driver: Driver,
    /// Of each client, who come in turn; and of nobody.
    waiting: Turns<Option<ConnId>, Waiting>,
    /// Whose the requests are that the driver has.
    owners: BTreeMap<u64, UnderWay>,
    id_last: u64,
    /// Commands that have no outcome. Queries leave no trace in the session, so it may expire among any number of them.
    commands: usize,
    /// When the last of these was sent, or the session was last asked to be closed.
    used_at: Instant,
    is_closing: bool,
}

impl Lane {
    pub(super) fn new(view_services: ViewServices) -> Self {
        Self {
            driver: Driver::new(CoreConfig {
                view_services,
                jitter_seed: entropy::u64(),
                without_room: WithoutRoom::Fail,
            }),
            waiting: Turns::default(),
            owners: BTreeMap::new(),
            id_last: 0,
            commands: 0,
            is_closing: false,
            used_at: Instant::ZERO,
        }
    }

    /// Takes a request, which comes after all that were taken of the same client before.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.commands += usize::from(matches!(waiting.work, Work::Command(_)));
        let client = match waiting.owner {
            Owner::Client(conn, _) => Some(conn),
            Owner::Probe | Owner::Close => None,
        };
        self.waiting.push(client, waiting);
    }

    /// Hands the driver as much as it takes.
    pub(super) fn feed(&mut self, net: &mut Net, now: Instant) {
        while self.pending() < REQUESTS_MAX {
            let Some(Waiting { owner, work }) = self.waiting.pop() else {
                return;
            };
            self.submit(net, now, owner, work);
        }
    }

    /// Says how another request ended: whose it was, how many bytes it had, and the answer or why there is none.
    pub(super) fn next_outcome(&mut self) -> Option<(Owner, usize, Result<Answer, ClientError>)> {
        let (id, result) = self.driver.next_outcome()?;
        let under_way = self.owners.remove(&id).expect("each ends once");
        self.commands -= usize::from(under_way.is_command);
        self.is_closing &= under_way.owner != Owner::Close;
        Some((under_way.owner, under_way.bytes, result))
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
        if self.has_session() && !std::mem::replace(&mut self.is_closing, true) {
            self.submit(net, now, Owner::Close, Work::CloseSession);
        }
    }

    pub(super) fn has_session(&self) -> bool {
        self.driver.core().session().is_some()
    }

    /// Requests that the driver has.
    pub(super) fn pending(&self) -> usize {
        self.driver.core().pending()
    }

    pub(super) fn trouble(&self) -> Trouble {
        self.driver.core().trouble()
    }

    pub(super) fn seen(&self) -> standin_client::Seen {
        self.driver.core().seen()
    }

    pub(super) fn connections(&self) -> usize {
        self.driver.connections()
    }

    /// When the session is closed, if no command comes before.
    fn idle_until(&self) -> Option<Instant> {
        let is_idle = self.has_session() && self.commands == 0 && !self.is_closing;
        is_idle.then(|| self.used_at.plus(SESSION_IDLE))
    }

    fn submit(&mut self, net: &mut Net, now: Instant, owner: Owner, work: Work) {
        let bytes = match &work {
            Work::Command(bytes) | Work::Query { bytes, .. } => bytes.len(),
            Work::CloseSession => 0,
        };
        self.id_last += 1;
        let is_command = matches!(work, Work::Command(_));
        if is_command || owner == Owner::Close {
            self.used_at = now;
        }
        let under_way = UnderWay {
            owner,
            bytes,
            is_command,
        };
        self.owners.insert(self.id_last, under_way);
        let request = Request {
            id: self.id_last,
            deadline: NO_DEADLINE,
            work,
        };
        self.driver.submit(net, now, request);
    }
}
