//! A view service on invented time, with replicas that do nothing but report.

use std::collections::BTreeMap;

use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{
    Refusal, Release, Report, ReportReply, RoleName, Room, Standing, StatusReply, Swap, SwapReply,
    TokenDead, TokenDeadReply,
};
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::view::{Holder, ViewId, ViewNumber, ViewRecord};
use standin_viewservice::{Action, Answer, Event, LeaseTerm, StoredState, ViewService};

/// The lease term of these tests, in milliseconds.
pub(crate) const TERM: u64 = 1000;
/// How often a replica reports, in milliseconds.
pub(crate) const REPORT_EVERY: u64 = 200;

pub(crate) fn identity(name: &str, start: u64) -> Identity {
    Identity {
        name: ReplicaName::new(name).unwrap(),
        store: StoreId(u128::from(name.as_bytes()[0])),
        life: Life {
            boot: BootId(7),
            incarnation: Incarnation {
                start,
                nonce: start * 100,
            },
        },
        clean_lives: Vec::new(),
    }
}

pub(crate) fn holder(identity: &Identity, durability: Durability) -> Holder {
    Holder {
        name: identity.name.clone(),
        token: identity.token(durability),
    }
}

/// A replica as far as the view service can see it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) conn: ConnId,
    /// The end of its log: view and index.
    pub(crate) last: (u64, u64),
    pub(crate) commit: u64,
    /// The view it says it has adopted; `None`: the record's.
    pub(crate) view: Option<ViewId>,
    pub(crate) role: RoleName,
    pub(crate) trouble: Option<String>,
    pub(crate) replace: bool,
    /// Whether it reports by itself.
    pub(crate) reports: bool,
    /// Whether it asks for renewals when it is primary.
    pub(crate) renews: bool,
}

pub(crate) struct Rig {
    pub(crate) service: ViewService,
    pub(crate) now_ms: u64,
    pub(crate) nodes: BTreeMap<&'static str, Node>,
    /// Stores are done only by [`Rig::stored`].
    pub(crate) disk_is_slow: bool,
    /// Stores find no room.
    pub(crate) disk_is_full: bool,
    number: u64,
    next_conn: u64,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(StoredState::new(ClusterId(1)), TERM, 0)
    }

    /// A view service that starts at `now_ms` with what was stored.
    pub(crate) fn on(state: StoredState, term_ms: u64, now_ms: u64) -> Self {
        let term = LeaseTerm::new(Duration::from_millis(term_ms)).unwrap();
        Self {
            service: ViewService::new(state, term, at(now_ms)),
            now_ms,
            nodes: BTreeMap::new(),
            disk_is_slow: false,
            disk_is_full: false,
            number: 0,
            next_conn: 1,
        }
    }

    /// Replica `a` is primary of view 1, alone; `b` and `c` report. Silence counts.
    pub(crate) fn solo() -> Self {
        let mut rig = Self::new();
        rig.start("a", 1);
        rig.report("a");
        let active = rig.record().activate(&rig.id("a"));
        assert!(accepted(&rig.swap("a", active)));
        for name in ["b", "c"] {
            rig.start(name, 1);
            rig.report(name);
        }
        rig.run(TERM + 100);
        rig
    }

    /// Replica `a` is primary of view 2, `b` its backup, `c` a spare.
    pub(crate) fn pair_at(durability: Durability) -> Self {
        let mut rig = Self::solo();
        let (a, b) = (rig.id("a"), rig.id("b"));
        let joined = rig
            .record()
            .join(holder(&a, durability), (&b, b.token(durability)));
        assert!(accepted(&rig.swap("a", joined)));
        rig.run(REPORT_EVERY);
        rig
    }

    pub(crate) fn pair() -> Self {
        Self::pair_at(Durability::Os)
    }

    /// The view service is killed and started again after `gap_ms`, without any connection.
    pub(crate) fn restart(&mut self, term_ms: u64, gap_ms: u64) {
        let state = self.service.state().clone();
        let bytes = state.encode();
        assert_eq!(StoredState::decode(&bytes), Ok(state.clone()));
        let fresh = Self::on(state, term_ms, self.now_ms + gap_ms);
        self.service = fresh.service;
        self.now_ms = fresh.now_ms;
    }

    /// A replica's process starts and connects.
    pub(crate) fn start(&mut self, name: &'static str, start: u64) {
        let conn = self.conn();
        let node = Node {
            identity: identity(name, start),
            conn,
            last: (0, 0),
            commit: 0,
            view: None,
            role: RoleName::Spare,
            trouble: None,
            replace: false,
            reports: true,
            renews: true,
        };
        let before = self.nodes.insert(name, node);
        let node = self.nodes.get_mut(name).unwrap();
        if let Some(before) = before {
            node.last = before.last;
            node.commit = before.commit;
        }
    }

    /// A replica loses its connection and opens another.
    pub(crate) fn reconnect(&mut self, name: &'static str) {
        let conn = self.conn();
        self.node(name).conn = conn;
    }

    /// A replica dies: its connection closes and it reports no more.
    pub(crate) fn kill(&mut self, name: &'static str) -> Vec<Action> {
        self.node(name).reports = false;
        let conn = self.node(name).conn;
        self.handle(Event::Closed { conn })
    }

    pub(crate) fn conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap()
    }

    pub(crate) fn id(&self, name: &str) -> Identity {
        self.nodes[name].identity.clone()
    }

    pub(crate) fn record(&self) -> ViewRecord {
        self.service.state().record.clone().unwrap()
    }

    /// View number, primary and whether it is active.
    pub(crate) fn view(&self) -> (u64, String, bool) {
        let record = self.record();
        (
            record.view.0,
            record.primary.name.to_string(),
            record.active,
        )
    }

    pub(crate) fn report(&mut self, name: &str) -> Vec<Action> {
        let renew = self.service.state().record.as_ref().and_then(|record| {
            let node = &self.nodes[name];
            let asks = record.active && record.primary.is(&node.identity) && node.renews;
            asks.then(|| record.id())
        });
        self.report_renewing(name, renew)
    }

    pub(crate) fn report_renewing(&mut self, name: &str, renew: Option<ViewId>) -> Vec<Action> {
        let report = self.make_report(name, renew);
        let conn = self.nodes[name].conn;
        self.handle(Event::Report {
            conn,
            report: Box::new(report),
        })
    }

    pub(crate) fn make_report(&mut self, name: &str, renew: Option<ViewId>) -> Report {
        self.number += 1;
        let node = &self.nodes[name];
        let record = self.service.state().record.as_ref();
        Report {
            number: self.number,
            identity: node.identity.clone(),
            address: format!("{name}:1"),
            standing: Standing {
                view: node.view.or(record.map(ViewRecord::id)).unwrap_or_default(),
                role: node.role,
                last: LogTip {
                    view: ViewNumber(node.last.0),
                    index: Index(node.last.1),
                    ..LogTip::default()
                },
                commit: Index(node.commit),
                applied: Index(node.commit),
                reply_digest: 0,
            },
            renew,
            replace: node.replace,
            trouble: node.trouble.clone(),
            room: Room::Enough,
            lags: Vec::new(),
            versions: None,
        }
    }

    /// Asks to swap the record as it is now.
    pub(crate) fn swap(&mut self, name: &str, proposed: ViewRecord) -> Vec<Action> {
        let expected = self.record();
        self.swap_from(name, expected, proposed)
    }

    pub(crate) fn swap_from(
        &mut self,
        name: &str,
        expected: ViewRecord,
        proposed: ViewRecord,
    ) -> Vec<Action> {
        self.number += 1;
        let node = &self.nodes[name];
        let swap = Swap {
            number: self.number,
            identity: node.identity.clone(),
            expected,
            proposed,
        };
        let conn = node.conn;
        self.handle(Event::Swap {
            conn,
            swap: Box::new(swap),
        })
    }

    pub(crate) fn release(&mut self, name: &str, view: ViewId) -> Vec<Action> {
        let node = &self.nodes[name];
        let release = Release {
            identity: node.identity.clone(),
            view,
        };
        let conn = node.conn;
        self.handle(Event::Release {
            conn,
            release: Box::new(release),
        })
    }

    /// A replica says that its disk failed; whether it is told that this is kept.
    pub(crate) fn tell_dead(&mut self, name: &str) -> bool {
        let node = &self.nodes[name];
        let (conn, store, boot) = (node.conn, node.identity.store, node.identity.life.boot);
        let dead = TokenDead { store, boot };
        let said = self.handle(Event::TokenDead { conn, dead });
        let answer = Answer::TokenDead(TokenDeadReply { dead });
        let kept = self.service.state().is_dead(dead.token());
        assert!(
            kept || !said.contains(&Action::Send {
                conn,
                answer: answer.clone()
            })
        );
        said.contains(&Action::Send { conn, answer })
    }

    pub(crate) fn status(&mut self) -> StatusReply {
        let conn = self.conn();
        match self.handle(Event::StatusRequest { conn }).as_slice() {
            [
                Action::Send {
                    answer: Answer::Status(status),
                    ..
                },
            ] => status.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn unavailable(&mut self) -> String {
        self.status().unavailable.unwrap_or_default()
    }

    /// What is left of the lease, in milliseconds.
    pub(crate) fn lease(&mut self) -> Option<u64> {
        self.status().lease_remaining_ms
    }

    /// Hands in an event and takes all actions. Unless the disk is slow, stores are done at once.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut next = Some(event);
        while let Some(event) = next.take() {
            self.service.handle(self.now(), event);
            while let Some(action) = self.service.next_action() {
                if matches!(action, Action::Store { .. }) && !self.disk_is_slow {
                    next = Some(match self.disk_is_full {
                        false => Event::Stored,
                        true => Event::NotStored {
                            why: "No space left on device".to_owned(),
                        },
                    });
                }
                actions.push(action);
            }
        }
        actions
    }

    /// The store in progress is done.
    pub(crate) fn stored(&mut self) -> Vec<Action> {
        self.handle(Event::Stored)
    }

    /// Time passes; deadlines are handed in and replicas report as they come due.
    pub(crate) fn run(&mut self, millis: u64) -> Vec<Action> {
        let end = self.now_ms + millis;
        let mut actions = Vec::new();
        loop {
            let deadline = self.service.deadline().map(to_millis).unwrap_or(u64::MAX);
            let report = (self.now_ms / REPORT_EVERY + 1) * REPORT_EVERY;
            let next = deadline.max(self.now_ms + 1).min(report);
            if next > end {
                self.now_ms = end;
                return actions;
            }
            self.now_ms = next;
            if deadline <= next {
                actions.extend(self.handle(Event::Deadline));
            }
            if next == report {
                let reporting: Vec<&str> = (self.nodes.iter())
                    .filter(|(_, node)| node.reports)
                    .map(|(name, _)| *name)
                    .collect();
                for name in reporting {
                    actions.extend(self.report(name));
                }
            }
        }
    }

    /// Time passes and nothing happens at all: the process is frozen.
    pub(crate) fn freeze(&mut self, millis: u64) {
        self.now_ms += millis;
    }

    fn now(&self) -> Now {
        Now {
            boot: at(self.now_ms),
            wall: WallTime(1_000_000 + self.now_ms),
        }
    }
}

pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn to_millis(instant: Instant) -> u64 {
    instant.as_nanos().div_ceil(1_000_000)
}

/// The answers to swaps among some actions.
pub(crate) fn swap_replies(actions: &[Action]) -> Vec<(ConnId, &SwapReply)> {
    (actions.iter())
        .filter_map(|action| match action {
            Action::Send {
                conn,
                answer: Answer::Swap(reply),
            } => Some((*conn, reply)),
            _ => None,
        })
        .collect()
}

/// Whether the one swap among some actions was accepted.
pub(crate) fn accepted(actions: &[Action]) -> bool {
    match swap_replies(actions).as_slice() {
        [(_, reply)] => reply.accepted,
        other => panic!("{other:?}"),
    }
}

/// The answers to reports (or, with number 0, the news) among some actions.
pub(crate) fn report_replies(actions: &[Action]) -> Vec<(ConnId, &ReportReply)> {
    (actions.iter())
        .filter_map(|action| match action {
            Action::Send {
                conn,
                answer: Answer::Report(reply),
            } => Some((*conn, reply)),
            _ => None,
        })
        .collect()
}

/// Whether the one report among some actions was granted a renewal.
pub(crate) fn granted(actions: &[Action]) -> bool {
    let replies = report_replies(actions);
    let answers: Vec<_> = (replies.iter())
        .filter(|(_, reply)| reply.number > 0)
        .collect();
    match answers.as_slice() {
        [(_, reply)] => reply.granted,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn refusals(actions: &[Action]) -> Vec<&Refusal> {
    (actions.iter())
        .filter_map(|action| match action {
            Action::Refuse { refusal, .. } => Some(refusal),
            _ => None,
        })
        .collect()
}

pub(crate) fn stores(actions: &[Action]) -> usize {
    (actions.iter())
        .filter(|action| matches!(action, Action::Store { .. }))
        .count()
}
