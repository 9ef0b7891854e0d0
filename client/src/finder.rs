//! Asking the view service who is primary: several addresses, tried in turn, one question at a time.

use std::collections::VecDeque;

use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant};

use crate::address::ViewServices;
use crate::backoff::Backoff;
use crate::core::{Action, ConnectionId};

/// A view service that was asked, or is being connected to, for this long is given up for the next.
pub const LOOKUP_PATIENCE: Duration = Duration::from_millis(300);

/// The connection to one of the view services, and the question that is open there.
#[derive(Debug)]
pub(crate) struct Finder {
    services: ViewServices,
    /// Which of them is asked.
    nth: usize,
    link: Option<FinderLink>,
    /// Since when an answer is awaited, connecting included.
    ///
    /// Invariant: `None` or a link exists.
    asked: Option<Instant>,
    /// No question before this moment.
    not_before: Instant,
    backoff: Backoff,
}

#[derive(Debug)]
struct FinderLink {
    connection: ConnectionId,
    is_ready: bool,
}

impl Finder {
    pub(crate) fn new(services: ViewServices) -> Self {
        Self {
            services,
            nth: 0,
            link: None,
            asked: None,
            not_before: Instant::ZERO,
            backoff: Backoff::default(),
        }
    }

    /// Asks, if no question is open and it is time to.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        new_connection: impl FnOnce() -> ConnectionId,
        actions: &mut VecDeque<Action>,
    ) {
        if self.asked.is_some() || now < self.not_before {
            return;
        }
        self.asked = Some(now);
        match &self.link {
            Some(link) => {
                assert!(link.is_ready, "while connecting, a question is open");
                let connection = link.connection;
                actions.push_back(Action::SendLookup { connection });
            }
            None => {
                let connection = new_connection();
                let nth = self.nth;
                self.link = Some(FinderLink {
                    connection,
                    is_ready: false,
                });
                actions.push_back(Action::ConnectViewService { connection, nth });
            }
        }
    }

    /// The view service is connected. What it was connected for is asked now.
    pub(crate) fn connected(&mut self, connection: ConnectionId, actions: &mut VecDeque<Action>) {
        if let Some(link) = &mut self.link
            && link.connection == connection
            && !link.is_ready
        {
            link.is_ready = true;
            actions.push_back(Action::SendLookup { connection });
        }
    }

    /// The connection is gone: the next address is asked next. False: it was given up before.
    pub(crate) fn closed(
        &mut self,
        connection: ConnectionId,
        now: Instant,
        random: &mut RandomStream,
    ) -> bool {
        let is_ours = self.is_connected_by(connection);
        if is_ours {
            let was_asked = self.asked.is_some();
            self.link = None;
            self.asked = None;
            // A connection that nobody waited for says nothing about the address.
            if was_asked {
                self.turn();
                self.put_off(now, random);
            }
        }
        is_ours
    }

    /// Whether an answer on this connection answers the open question; it is then closed.
    pub(crate) fn answered(&mut self, connection: ConnectionId) -> bool {
        self.is_connected_by(connection) && self.asked.take().is_some()
    }

    /// Gives up a view service that says nothing, for the next; true if it did.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        random: &mut RandomStream,
        actions: &mut VecDeque<Action>,
    ) -> bool {
        let is_silent = self.patience_ends().is_some_and(|end| end <= now);
        if is_silent {
            self.hang_up(actions);
            self.turn();
            self.put_off(now, random);
        }
        is_silent
    }

    /// Closes the connection, for instance because what it says is out of date.
    pub(crate) fn hang_up(&mut self, actions: &mut VecDeque<Action>) {
        self.asked = None;
        if let Some(FinderLink { connection, .. }) = self.link.take() {
            actions.push_back(Action::CloseViewService { connection });
        }
    }

    /// The next question goes to the next address.
    pub(crate) fn turn(&mut self) {
        self.nth = (self.nth + 1) % self.services.as_slice().len();
    }

    /// The next question waits: at once after success, then longer and longer.
    pub(crate) fn put_off(&mut self, now: Instant, random: &mut RandomStream) {
        self.not_before = self.backoff.next(now, random);
    }

    /// The next question waits, for a moment at least.
    pub(crate) fn put_off_later(&mut self, now: Instant, random: &mut RandomStream) {
        self.not_before = self.backoff.next_later(now, random);
    }

    /// The next question waits until then.
    pub(crate) fn put_off_until(&mut self, moment: Instant) {
        self.not_before = moment;
    }

    /// A request was answered: what comes next begins without delay.
    pub(crate) fn succeeded(&mut self) {
        self.backoff.succeeded();
    }

    /// The address that is asked now, or will be next.
    pub(crate) fn address(&self) -> &str {
        &self.services.as_slice()[self.nth]
    }

    /// Whether this is the present connection.
    pub(crate) fn is_connected_by(&self, connection: ConnectionId) -> bool {
        self.link
            .as_ref()
            .is_some_and(|link| link.connection == connection)
    }

    fn patience_ends(&self) -> Option<Instant> {
        Some(self.asked?.plus(LOOKUP_PATIENCE))
    }

    /// When this has something to do, if a question is wanted from `wanted_at` on.
    pub(crate) fn wake(&self, wanted_at: Instant) -> Instant {
        self.patience_ends()
            .unwrap_or(self.not_before.max(wanted_at))
    }
}
