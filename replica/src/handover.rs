//! A planned change of the primary, as the process that hosts the roles sees it: what clients ask
//! meanwhile is held, whoever asked for it hears what came of it, and a process that is about to stop
//! hands over first.

use standin_core::conn::ConnId;
use standin_core::frame::Frame;
use standin_core::identity::ReplicaName;
use standin_core::machine::StateMachine;
use standin_core::message::{ReplyStatus, RoleName, Switchover, SwitchoverReply};
use standin_core::time::{Duration, Instant, Now};
use standin_core::view::{Reason, ViewId, ViewRecord};
use standin_primary as primary;
use standin_primary::{HandOverFailure, Waiter, hand_over_max};

use crate::answers::{Request, RequestBody};
use crate::event::{Action, Level};
use crate::replica::{Replica, Role};
use crate::roles::RoleEvent;
use crate::wire::{FromClient, client_frame};

/// Requests that are held at one time, at most: two wake-ups' worth, and while any are held a shell reads
/// no more. Beyond it clients are asked to come again.
pub const HELD_REQUESTS_MAX: usize = 8192;
/// Bytes of those requests after which no more is held.
pub const HELD_BYTES_MAX: usize = 16 << 20;

/// Requests of clients that wait until it is clear who is primary.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Whose each request is, and how many it is of.
    owners: Vec<(ConnId, usize)>,
    /// The requests, as frames.
    frames: Vec<u8>,
    /// Whether requests are held, as of the last event.
    is_on: bool,
    /// Until when they may be, once this replica has stopped being primary or has still to become it.
    until: Option<Instant>,
}

impl Held {
    fn has_room(&self) -> bool {
        self.owners.len() < HELD_REQUESTS_MAX && self.frames.len() < HELD_BYTES_MAX
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| self.is_on)
    }

    /// Requests held, and their bytes.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.owners.len(), self.frames.len())
    }
}

/// A switchover that was begun here and whose outcome is still to be told.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// Who asked; `None`: this process itself.
    asker: Option<ConnId>,
    /// The view that is to be handed over.
    view: ViewId,
    to: ReplicaName,
    /// What went wrong after Hand over was asked, so that only the record can tell what came of it.
    failure: Option<HandOverFailure>,
    until: Instant,
}

/// Why a view is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody has asked for it.
    Asked(ConnId),
    /// The process is about to stop.
    Leaving,
    /// The log has no room, and the backup's has.
    Room,
}

/// A process that is about to stop, and what it waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    until: Instant,
    /// The primary was told that its backup goes.
    is_told: bool,
    is_done: bool,
}

impl<M: StateMachine> Replica<M> {
    /// Somebody asks this primary to hand over.
    pub(crate) fn on_switchover(&mut self, now: Now, conn: ConnId, request: &Switchover) {
        if !self.is_serving() {
            return self.answer_switchover(Some(conn), SwitchoverReply::NotPrimary);
        }
        match self.check_switchover(now, request) {
            Ok(to) => self.begin_switchover(now, Cause::Asked(conn), to),
            Err(reason) => {
                self.answer_switchover(Some(conn), SwitchoverReply::Refused { reason });
            }
        }
    }

    /// Whom to hand over to, or why not.
    pub(crate) fn check_switchover(
        &self,
        now: Now,
        request: &Switchover,
    ) -> Result<ReplicaName, String> {
        let backup = self.record.as_ref().and_then(|it| it.backup.as_ref());
        let refused = |failure: HandOverFailure| Err(failure.words().to_owned());
        if self.planned.is_some() {
            return refused(HandOverFailure::UnderWay);
        }
        if let Some(to) = &request.to
            && backup.is_none_or(|backup| backup.name != *to)
        {
            return Err(self.why_not(to, backup.map(|backup| &backup.name)));
        }
        let Some(backup) = backup else {
            return refused(HandOverFailure::NoBackup);
        };
        if !self.dialog.is_up || self.dialog.is_unanswered(now.boot, self.term()) {
            return Err(
                "the primary does not hear the view service, which has to agree; try again when \
                        it does"
                    .to_owned(),
            );
        }
        let mut peers = self.dialog.peers.iter();
        let is_seen = peers.any(|peer| {
            let unseen = Duration::from_millis(peer.unseen_ms);
            backup.is(&peer.identity) && self.dialog.unseen(unseen, now.boot) <= self.term()
        });
        if !is_seen {
            return refused(HandOverFailure::TurnedDown);
        }
        Ok(backup.name.clone())
    }

    /// Why `to`, which is not the backup, cannot take over.
    fn why_not(&self, to: &ReplicaName, backup: Option<&ReplicaName>) -> String {
        let can = match backup {
            Some(backup) => format!("only the backup can take over now, which is {backup}"),
            None => "only a backup can take over, and there is none".to_owned(),
        };
        let mut peers = self.dialog.peers.iter();
        if *to == self.config.identity.name {
            format!("{to} is the primary already; {can}")
        } else if peers.any(|peer| peer.identity.name == *to) {
            format!("{to} is a spare; {can}")
        } else {
            format!("no replica is named {to}; {can}")
        }
    }

    pub(crate) fn begin_switchover(&mut self, now: Now, cause: Cause, to: ReplicaName) {
        let (asker, why) = match cause {
            Cause::Asked(conn) => (Some(conn), "as it was asked to"),
            Cause::Leaving => (None, "for it is about to stop"),
            Cause::Room => (None, "for its log has no room"),
        };
        self.actions.push_back(Action::Log(
            Level::Info,
            format!("hands over to {to}, {why}"),
        ));
        self.planned = Some(Planned {
            asker,
            view: self.adopted,
            to,
            failure: None,
            until: now.boot.plus(self.term() * 2),
        });
        self.tell_primary(now, primary::Event::HandOver);
    }

    pub(crate) fn on_hand_over_failed(&mut self, failure: HandOverFailure) {
        if let Some(planned) = &mut self.planned {
            planned.failure = Some(failure);
        }
        if failure.is_certain() {
            let reason = failure.words().to_owned();
            self.end_switchover(SwitchoverReply::Refused { reason });
        }
    }

    fn end_switchover(&mut self, reply: SwitchoverReply) {
        let Some(planned) = self.planned.take() else {
            return;
        };
        let to = &planned.to;
        let (level, text) = match &reply {
            SwitchoverReply::Done { view, .. } => (
                Level::Info,
                format!("has handed over to {to}, in view {view}"),
            ),
            SwitchoverReply::Refused { reason } => (
                Level::Warn,
                format!("has not handed over to {to}: {reason}"),
            ),
            SwitchoverReply::Unknown { reason } => (
                Level::Warn,
                format!("may have handed over to {to}: {reason}"),
            ),
            SwitchoverReply::NotPrimary => unreachable!("it was when it began"),
        };
        self.actions.push_back(Action::Log(level, text));
        self.answer_switchover(planned.asker, reply);
    }

    fn answer_switchover(&mut self, asker: Option<ConnId>, reply: SwitchoverReply) {
        if let Some(conn) = asker {
            self.actions
                .push_back(Action::Switched(conn, Box::new(reply)));
        }
    }

    /// The process is to stop soon: a primary hands over first, a backup says so. [`Replica::has_left`]
    /// says when there is nothing more to wait for.
    pub(crate) fn on_leave(&mut self, now: Now) {
        if self.leaving.is_some() {
            return;
        }
        // A backup waits no longer than it would take its primary to drop it by itself.
        let wait = match &self.role {
            Role::Primary(_) => self.term(),
            Role::Backup(_) | Role::Between | Role::Quarantined => self.term() / 2,
        };
        self.leaving = Some(Leaving {
            until: now.boot.plus(wait),
            is_told: false,
            is_done: false,
        });
        if self.is_serving()
            && let Ok(to) = self.check_switchover(now, &Switchover { to: None })
        {
            self.begin_switchover(now, Cause::Leaving, to);
        }
    }

    /// Whether a process that was told to leave may stop now.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.leaving.is_some_and(|leaving| leaving.is_done)
    }

    pub(crate) fn handover_deadline(&self) -> Option<Instant> {
        let planned = self.planned.as_ref().map(|planned| planned.until);
        let leaving = self.leaving.filter(|it| !it.is_done).map(|it| it.until);
        [self.held.deadline(), planned, leaving]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what the event that was just taken in has made possible.
    pub(crate) fn look_after_handover(&mut self, now: Now) {
        self.look_after_planned(now.boot);
        self.look_after_leaving(now);
        self.held.until.take_if(|until| now.boot >= *until);
        self.held.is_on = self.must_hold(now.boot);
        if !self.held.is_on && !self.held.owners.is_empty() {
            self.release_held(now);
        }
    }

    fn look_after_planned(&mut self, now: Instant) {
        let Some(planned) = &self.planned else {
            return;
        };
        let reply = match &self.record {
            Some(record) if self.adopted > planned.view => self.outcome_of(planned, record),
            _ => None,
        };
        if let Some(reply) = reply {
            self.end_switchover(reply);
        } else if now >= planned.until {
            let reason =
                "nobody has said in time who is primary now; ask for the status".to_owned();
            self.end_switchover(SwitchoverReply::Unknown { reason });
        }
    }

    /// What came of a switchover, by the record of a later view.
    fn outcome_of(&self, planned: &Planned, record: &ViewRecord) -> Option<SwitchoverReply> {
        if record.primary.is(&self.config.identity) {
            let failure = planned.failure.unwrap_or(HandOverFailure::NoOutcome);
            let reason = failure.words().to_owned();
            return Some(SwitchoverReply::Refused { reason });
        }
        let is_next = record.view == planned.view.view.next();
        let own = &self.config.identity;
        let is_backup = record.backup.as_ref().is_some_and(|it| it.is(own));
        if record.primary.name != planned.to || !is_next || !is_backup {
            let reason = format!(
                "in view {} {} is primary; ask for the status",
                record.id(),
                record.primary.name
            );
            return Some(SwitchoverReply::Unknown { reason });
        }
        // What is committed here the new primary has applied, so it serves.
        let newest = self.log.view_starts.last();
        let is_served =
            newest.is_some_and(|(view, at)| *view == record.view && self.state.applied() >= *at);
        is_served.then(|| SwitchoverReply::Done {
            view: record.id(),
            primary: planned.to.clone(),
            backup: own.name.clone(),
        })
    }

    fn look_after_leaving(&mut self, now: Now) {
        let Some(leaving) = self.leaving.filter(|leaving| !leaving.is_done) else {
            return;
        };
        let is_waited_for =
            self.planned.is_some() || self.role_name() == RoleName::Backup && self.can_tell();
        if now.boot >= leaving.until || !is_waited_for {
            self.leaving = Some(Leaving {
                is_done: true,
                ..leaving
            });
        } else if self.planned.is_none() && !leaving.is_told {
            self.leaving = Some(Leaving {
                is_told: true,
                ..leaving
            });
            self.tell_backup(now, standin_backup::Event::Leave);
        }
    }

    /// Whether the primary can be told, or was, and would do something about it.
    fn can_tell(&self) -> bool {
        matches!(&self.role, Role::Backup(backup) if backup.is_streaming()) && self.dialog.is_up
    }

    /// Whether what clients ask is held back: it would be turned away, though it is about to be clear where
    /// it is answered.
    fn must_hold(&self, now: Instant) -> bool {
        let is_in_time = self.held.until.is_some_and(|until| now < until);
        let is_handed_over =
            |record: &ViewRecord| record.reason == Reason::HandedOver && !record.active;
        match &self.role {
            Role::Primary(primary) if primary.is_holding() => true,
            Role::Primary(primary) => primary.is_taking_over_as_planned() && is_in_time,
            Role::Between => is_in_time && self.adopting.as_ref().is_some_and(is_handed_over),
            Role::Backup(_) => is_in_time && self.record.as_ref().is_some_and(is_handed_over),
            Role::Quarantined => false,
        }
    }

    /// A record says that a view was handed over: by this replica, or to it.
    pub(crate) fn note_handed_over(&mut self, now: Instant, record: &ViewRecord) {
        let is_ours = record.primary.is(&self.config.identity)
            || matches!(&self.role, Role::Primary(primary) if primary.is_active());
        if record.reason == Reason::HandedOver && !record.active && is_ours {
            self.held.until = Some(now.plus(hand_over_max(self.term())));
        }
    }

    /// Keeps requests for later.
    pub(crate) fn hold(&mut self, requests: &[Request<'_>]) {
        for request in requests {
            if self.held.has_room() {
                let count = match &request.body {
                    RequestBody::Queries(_, count) => *count,
                    _ => 1,
                };
                self.held.owners.push((request.conn, count));
                encode(&request.body, &mut self.held.frames);
            } else {
                let (id, _) = request.body.id_and_seen();
                let waiter = Waiter {
                    conn: request.conn,
                    id,
                };
                self.answer(waiter, ReplyStatus::Overloaded, b"");
            }
        }
    }

    /// Takes in what was held, as if it came now: it is ordered, or told where to go.
    fn release_held(&mut self, now: Now) {
        let owners = std::mem::take(&mut self.held.owners);
        let frames = std::mem::take(&mut self.held.frames);
        let mut requests = Vec::with_capacity(owners.len());
        let mut rest = frames.as_slice();
        for (conn, count) in owners {
            let frame = Frame::decode_again(rest).expect("whole frames are held");
            rest = &rest[frame.len()..];
            if let Ok(FromClient::Request(body)) = client_frame(&frame) {
                let body = match body {
                    RequestBody::Query(query) => RequestBody::Queries(query, count),
                    body => body,
                };
                requests.push(Request { conn, body });
            }
        }
        self.on_requests(now, &requests);
        // The one of this wake-up may be over, and the reads among them wait for their round.
        self.tell_role(now, RoleEvent::Flush);
    }
}

fn encode(body: &RequestBody<'_>, out: &mut Vec<u8>) {
    use standin_core::message::Message as _;
    match body {
        RequestBody::Open(open) => open.encode(out),
        RequestBody::Close(close) => close.encode(out),
        RequestBody::Command(command) => command.encode(out),
        RequestBody::Direct(direct) => direct.encode(out),
        RequestBody::Query(query) | RequestBody::Queries(query, _) => query.encode(out),
    }
}
