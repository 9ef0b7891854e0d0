//! The view service's process: the real core, and the state that it has stored.

use std::collections::VecDeque;

use standin_core::conn::ConnId;
use standin_core::identity::ClusterId;
use standin_core::planted::Planted;
use standin_core::time::{Instant, Now};
use standin_viewservice::{Action, Event, LeaseTerm, StoredState, ViewService};

use super::TERM;
use super::links::{Letter, Links, Party};
use super::node::whole;
use super::past::Fact;

pub(super) const CLUSTER: ClusterId = ClusterId(1 << 96);

/// The view service's process.
#[derive(Clone, Debug)]
pub(super) struct Service {
    core: ViewService,
    pub(super) stored: StoredState,
}

fn begin(
    stored: &StoredState,
    #[cfg_attr(not(feature = "planted-bugs"), expect(unused_variables))] planted: Planted,
    now: Now,
) -> ViewService {
    let term = LeaseTerm::new(TERM).expect("the term is within the limits");
    #[cfg_attr(not(feature = "planted-bugs"), expect(unused_mut))]
    let mut core = ViewService::new(stored.clone(), term, now.boot);
    #[cfg(feature = "planted-bugs")]
    core.plant(planted);
    core
}

impl Service {
    pub(super) fn new(planted: Planted, now: Now) -> Self {
        let stored = StoredState::new(CLUSTER);
        Self {
            core: begin(&stored, planted, now),
            stored,
        }
    }

    /// The process dies and a new one begins on what was stored.
    pub(super) fn restart(&mut self, planted: Planted, now: Now) {
        self.core = begin(&self.stored, planted, now);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.core.deadline()
    }

    /// Something comes over a connection.
    pub(super) fn on_letter(
        &mut self,
        now: Now,
        (links, facts): (&mut Links, &mut Vec<Fact>),
        conn: ConnId,
        letter: &Letter,
    ) {
        let event = match letter {
            Letter::Ready => unreachable!("the view service calls nobody"),
            Letter::Frame(frame) => Event::from_frame(conn, true, &whole(&frame.bytes))
                .expect("our own messages are understood"),
            Letter::Closed => Event::Closed { conn },
        };
        self.handle(now, (links, facts), event);
        self.on_deadline(now, (links, facts));
    }

    pub(super) fn on_deadline(&mut self, now: Now, to: (&mut Links, &mut Vec<Fact>)) {
        if self.core.deadline().is_some_and(|at| at <= now.boot) {
            self.handle(now, to, Event::Deadline);
        }
    }

    fn handle(&mut self, now: Now, to: (&mut Links, &mut Vec<Fact>), event: Event) {
        let (links, facts) = to;
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.core.handle(now, event);
            while let Some(action) = self.core.next_action() {
                match action {
                    Action::Send { conn, answer } => {
                        let mut frame = Vec::new();
                        answer.encode(&mut frame);
                        links.send(Party::Service, conn, &frame);
                    }
                    // It is for people, and nothing rests on it.
                    Action::KeepHistory { .. } => {}
                    Action::Refuse { conn, .. } => links.close(Party::Service, conn),
                    Action::Store { state } => {
                        let before = std::mem::replace(&mut self.stored, state);
                        if let Some(after) = &self.stored.record
                            && before.record.as_ref() != Some(after)
                        {
                            facts.push(Fact::Recorded {
                                before: before.record.map(Box::new),
                                after: Box::new(after.clone()),
                            });
                        }
                        events.push_back(Event::Stored);
                    }
                }
            }
        }
    }
}
