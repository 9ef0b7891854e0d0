//! A replica's process: the real core with another shell around it. What `src/replica/host.rs` does with
//! sockets and files, this does with [`Links`] and a [`Disk`].

use std::collections::{BTreeMap, VecDeque};

use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame};
use standin_core::identity::{Identity, ReplicaName, StoreId};
use standin_core::message::{ReplyStatus, RoleName, Switchover};
use standin_core::session::SessionLimits;
use standin_core::time::{Duration, Instant, Now, earliest};
use standin_core::version::VersionRange;
use standin_core::view::ViewId;
use standin_replica::{
    Action, Answers, Config, Destination, Event, FromClient, ReadFor, Replica, Request, Side,
    SnapshotConfig, client_frame,
};

use super::Bounds;
use super::disk::Disk;
use super::journal::Journal;
use super::links::{Letter, Links, Party, name_of};
use super::past::{Answered, Asked, Fact};
use crate::output;

/// Whoever asks for a switchover, and does not hear what came of it.
const OPERATOR: ConnId = ConnId(u64::MAX);
const VIEW_SERVICE_RETRY: Duration = Duration::from_millis(50);
/// Far longer than any run.
const SESSION_TIMEOUT: Duration = Duration::from_secs(3600);

#[derive(Debug)]
enum FollowUp {
    Written(Index),
    Synced(Index),
    LogRead(ReadFor, Vec<u8>),
    Cut(LogTip),
    Adopted(ViewId),
}

/// What a turn of a process can reach.
pub(super) struct Stage<'a> {
    pub(super) host: usize,
    pub(super) now: Now,
    pub(super) links: &'a mut Links,
    /// Which replicas have a process.
    pub(super) are_up: &'a [bool],
    pub(super) facts: &'a mut Vec<Fact>,
}

/// What makes a process come round.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Its deadline.
    Deadline,
    Letter(ConnId, Letter),
    /// A request of a client, which comes with its connection.
    Asked(ConnId, Letter, Asked),
    /// The disk is done with a sync.
    SyncDone,
}

/// A running process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) replica: Replica<Journal>,
    link: Option<ConnId>,
    link_retry_at: Instant,
    dial: Option<ConnId>,
    /// Connections of followers.
    accepted: Vec<ConnId>,
    asked: BTreeMap<ConnId, Asked>,
    /// The view that this process adopted last.
    adopted: Option<ViewId>,
    /// A sync is under way up to so many entries.
    pub(super) syncing: Option<usize>,
    sync_waits: bool,
}

/// A replica's machine.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
}

pub(super) fn store_of(host: usize) -> StoreId {
    StoreId((host as u128 + 1) << 96)
}

pub(super) fn address_of(host: usize) -> String {
    name_of(host).to_owned()
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            disk: Disk::new(),
            process: None,
        }
    }

    /// Starts a process on what is on the disk.
    pub(super) fn start(&mut self, host: usize, bounds: Bounds, now: Now) {
        let life = self.disk.begin_life(host);
        let identity = Identity {
            name: ReplicaName::new(name_of(host)).expect("a letter is a name"),
            store: store_of(host),
            life,
            clean_lives: self.disk.clean_lives.clone(),
        };
        let config = Config {
            identity,
            address: address_of(host),
            data_dir: String::new(),
            program: output::program().to_owned(),
            durability: bounds.durability,
            versions: VersionRange::of::<Journal>(),
            session_limits: SessionLimits {
                timeout: SESSION_TIMEOUT,
                sessions_max: 4,
                idle_min: Duration::ZERO,
                ..SessionLimits::default()
            },
            seed: life.incarnation.nonce,
            adopted: self.disk.adopted,
            holds: self.disk.holds,
            // The view service never loses its record here, so nobody is asked for it.
            kept: None,
            recovered: self.disk.recovered(),
            replace: false,
            quarantine: None,
            poison: None,
            fatal: None,
            limits: standin_replica::Limits::default(),
            snapshots: SnapshotConfig {
                every: 0, // runs are short
                ..SnapshotConfig::default()
            },
        };
        #[cfg_attr(not(feature = "planted-bugs"), expect(unused_mut))]
        let mut replica = Replica::new(config, now);
        #[cfg(feature = "planted-bugs")]
        replica.plant(bounds.planted);
        self.process = Some(Process {
            replica,
            link: None,
            link_retry_at: now.boot,
            dial: None,
            accepted: Vec::new(),
            asked: BTreeMap::new(),
            adopted: None,
            syncing: None,
            sync_waits: false,
        });
    }

    /// The loop comes round once.
    pub(super) fn turn(&mut self, stage: &mut Stage<'_>, arrival: Arrival) {
        let Some(process) = &mut self.process else {
            return;
        };
        let mut turn = Turn {
            disk: &mut self.disk,
            process,
            stage,
            follow_ups: VecDeque::new(),
            closed: VecDeque::new(),
        };
        turn.come_round(arrival);
    }

    /// An operator asks this replica to hand over.
    pub(super) fn hand_over(&mut self, stage: &mut Stage<'_>) {
        let Some(process) = &mut self.process else {
            return;
        };
        let mut turn = Turn {
            disk: &mut self.disk,
            process,
            stage,
            follow_ups: VecDeque::new(),
            closed: VecDeque::new(),
        };
        turn.handle(Event::Switchover(OPERATOR, &Switchover { to: None }));
    }

    /// A clean stop: what was said leaves, the log is synced, and a mark says so.
    pub(super) fn stop(&mut self, stage: &mut Stage<'_>) {
        if let Some(process) = &mut self.process {
            let mut turn = Turn {
                disk: &mut self.disk,
                process,
                stage,
                follow_ups: VecDeque::new(),
                closed: VecDeque::new(),
            };
            turn.handle(Event::Stop);
            self.disk.note_clean_stop();
        }
        self.process = None;
    }

    /// When the loop must come round at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let process = self.process.as_ref()?;
        let link = process.link.is_none().then_some(process.link_retry_at);
        earliest(process.replica.deadline(), link)
    }
}

/// One turn of a process's loop.
struct Turn<'a, 'b> {
    disk: &'a mut Disk,
    process: &'a mut Process,
    stage: &'a mut Stage<'b>,
    follow_ups: VecDeque<FollowUp>,
    /// Connections that were closed here, and whose end is still to be reported.
    closed: VecDeque<ConnId>,
}

impl Turn<'_, '_> {
    fn come_round(&mut self, arrival: Arrival) {
        let now = self.stage.now;
        let before = self.process.replica.standing();
        if self.process.link.is_none() && now.boot >= self.process.link_retry_at {
            self.process.link = Some(self.dial(Party::Service, true));
        }
        match arrival {
            Arrival::Deadline => {}
            Arrival::Letter(conn, letter) => self.on_letter(conn, letter),
            Arrival::Asked(conn, letter, asked) => self.on_request(conn, &letter, asked),
            Arrival::SyncDone => self.on_sync_done(),
        }
        if self
            .process
            .replica
            .deadline()
            .is_some_and(|at| now.boot >= at)
        {
            self.handle(Event::Deadline);
        }
        self.end_wake_up();
        // The loop comes round at once to hear of what it has closed itself.
        while let Some(conn) = self.closed.pop_front() {
            self.on_closed(conn);
            self.end_wake_up();
        }
        let after = self.process.replica.standing();
        let mut journal = Vec::new();
        let asked = self.process.replica.state().query(&[], &mut journal);
        asked.expect("no machine fails here");
        self.stage.facts.push(Fact::Turned {
            host: self.stage.host,
            before,
            after,
            journal,
        });
    }

    fn party(&self) -> Party {
        Party::Replica(self.stage.host)
    }

    fn dial(&mut self, to: Party, is_up: bool) -> ConnId {
        let from = self.party();
        self.stage.links.dial(from, to, is_up)
    }

    fn end_wake_up(&mut self) {
        self.handle(Event::Flush);
        self.handle(Event::Apply);
    }

    fn handle(&mut self, event: Event<'_>) {
        self.process.replica.handle(self.stage.now, event);
        self.carry_out();
    }

    fn on_letter(&mut self, conn: ConnId, letter: Letter) {
        match letter {
            Letter::Ready if self.process.link == Some(conn) => self.handle(Event::ViewServiceUp),
            Letter::Ready if self.process.dial == Some(conn) => self.handle(Event::Dialled(conn)),
            Letter::Ready => {}
            Letter::Frame(frame) => self.on_frame(conn, &frame.bytes),
            Letter::Closed => self.on_closed(conn),
        }
    }

    fn on_frame(&mut self, conn: ConnId, bytes: &[u8]) {
        let side = if self.process.link == Some(conn) {
            Side::ViewService
        } else if self.process.dial == Some(conn) {
            Side::Primary
        } else {
            if !self.process.accepted.contains(&conn) {
                self.process.accepted.push(conn);
            }
            Side::Follower
        };
        let frame = whole(bytes);
        let handled = self
            .process
            .replica
            .handle_frame(self.stage.now, side, conn, &frame);
        handled.expect("our own messages are understood");
        self.carry_out();
    }

    fn on_closed(&mut self, conn: ConnId) {
        if self.process.link == Some(conn) {
            self.process.link = None;
            self.process.link_retry_at = self.stage.now.boot.plus(VIEW_SERVICE_RETRY);
            self.handle(Event::ViewServiceDown);
        } else if self.process.dial == Some(conn) {
            self.process.dial = None;
            self.handle(Event::DialClosed);
        } else if self.process.accepted.contains(&conn) {
            self.process.accepted.retain(|other| *other != conn);
            self.handle(Event::Closed(conn));
        } else {
            self.process.asked.remove(&conn);
        }
    }

    fn on_request(&mut self, conn: ConnId, letter: &Letter, asked: Asked) {
        let Letter::Frame(frame) = letter else { return };
        let frame = whole(&frame.bytes);
        let Ok(FromClient::Request(body)) = client_frame(&frame) else {
            unreachable!("our own requests are understood, and nobody asks for anything else");
        };
        self.process.asked.insert(conn, asked);
        let request = Request { conn, body };
        self.handle(Event::Requests(&[request]));
    }

    fn carry_out(&mut self) {
        loop {
            while let Some(action) = self.process.replica.next_action() {
                self.carry_out_one(action);
            }
            self.send_answers();
            let Some(follow_up) = self.follow_ups.pop_front() else {
                return;
            };
            let event = match follow_up {
                FollowUp::Written(through) => Event::Written(through),
                FollowUp::Synced(through) => Event::Synced(through),
                FollowUp::LogRead(read, bytes) => Event::LogRead(read, bytes),
                FollowUp::Cut(tip) => Event::Cut(tip),
                FollowUp::Adopted(view) => Event::Adopted(view),
            };
            self.process.replica.handle(self.stage.now, event);
        }
    }

    fn carry_out_one(&mut self, action: Action) {
        if let Some(destination) = action.destination() {
            return self.send(destination, &action);
        }
        let host = self.stage.host;
        match action {
            Action::RedialViewService => {
                if let Some(conn) = self.process.link {
                    self.close(conn);
                    self.closed.push_back(conn);
                }
            }
            Action::Adopt(view, holds, _) => {
                self.disk.holds = holds;
                let before = std::mem::replace(&mut self.disk.adopted, view);
                // A token may be kept anew in the view that it knows to have adopted.
                let known = self.process.adopted.replace(view);
                let is_known = known == Some(view) || self.process.replica.standing().view == view;
                if before != view || !is_known {
                    let fact = Fact::Adopted { host, before, view };
                    self.stage.facts.push(fact);
                }
                self.follow_ups.push_back(FollowUp::Adopted(view));
            }
            Action::NotePoison(poison) => panic!("the machine failed: {poison:?}"),
            Action::Quarantine(why) => self.stage.facts.push(Fact::Quarantined { host, why }),
            Action::Append(batch) => {
                self.disk.append(&batch);
                let last = batch.last();
                let is_primary = self.process.replica.role_name() == RoleName::Primary;
                self.stage.facts.push(Fact::Appended {
                    host,
                    batch,
                    is_primary,
                });
                self.follow_ups.push_back(FollowUp::Written(last));
            }
            Action::Sync => self.sync(),
            Action::ReadLog(read, from, bytes_max) => {
                let bytes = self.disk.read(from, bytes_max);
                self.follow_ups.push_back(FollowUp::LogRead(read, bytes));
            }
            Action::Cut(after) => self.cut(after),
            Action::Dial(address) => {
                self.hang();
                let to = (0..self.stage.are_up.len()).find(|host| address_of(*host) == address);
                let to = to.expect("replicas know each other's addresses");
                let is_up = self.stage.are_up[to];
                self.process.dial = Some(self.dial(Party::Replica(to), is_up));
            }
            Action::Hang => self.hang(),
            Action::CloseFollower(conn) | Action::RefuseFollower(conn, _) => {
                self.close(conn);
                self.closed.push_back(conn);
            }
            Action::Log(..) | Action::KeepEvidence(_) => {}
            _ => unreachable!("what sends a message was sent"),
        }
    }

    fn send(&mut self, destination: Destination, action: &Action) {
        let host = self.stage.host;
        match action {
            Action::Ack(_, ack) => self.stage.facts.push(Fact::Acked {
                host,
                ack: *ack,
                adopted: self.disk.adopted,
            }),
            Action::Swap(swap) => self.stage.facts.push(Fact::Proposed(swap.clone())),
            _ => {}
        }
        let conn = match destination {
            Destination::ViewService => self.process.link,
            Destination::Conn(conn) => Some(conn),
        };
        if let Some(conn) = conn {
            let mut frame = Vec::new();
            action.encode(&mut frame);
            self.stage.links.send(Party::Replica(host), conn, &frame);
        }
    }

    fn close(&mut self, conn: ConnId) {
        let party = self.party();
        self.stage.links.close(party, conn);
    }

    fn hang(&mut self) {
        if let Some(conn) = self.process.dial.take() {
            self.close(conn);
        }
    }

    fn cut(&mut self, after: Index) {
        let all = self.disk.log.iter();
        let removed = all
            .filter(|kept| kept.header.index > after)
            .map(|kept| (kept.header.index, kept.hash))
            .collect();
        self.stage.facts.push(Fact::Cut {
            host: self.stage.host,
            after,
            standing: self.process.replica.standing(),
            removed,
        });
        let tip = self.disk.cut(after);
        self.process.syncing = self.process.syncing.map(|end| end.min(self.disk.log.len()));
        self.follow_ups.push_back(FollowUp::Cut(tip));
    }

    fn sync(&mut self) {
        let end = self.disk.log.len();
        if self.process.syncing.is_some() {
            self.process.sync_waits = true;
        } else if self.disk.synced == end {
            self.follow_ups
                .push_back(FollowUp::Synced(self.disk.tip().index));
        } else {
            self.process.syncing = Some(end);
        }
    }

    fn on_sync_done(&mut self) {
        let Some(end) = self.process.syncing.take() else {
            return;
        };
        self.disk.synced = self.disk.synced.max(end);
        let through = self.disk.log[..end].last();
        let through = through.map_or(Index::ZERO, |kept| kept.header.index);
        if std::mem::take(&mut self.process.sync_waits) {
            self.sync();
        }
        self.handle(Event::Synced(through));
    }

    fn send_answers(&mut self) {
        let mut answers = Answers::default();
        self.process.replica.take_answers(&mut answers);
        for (answer, reply) in answers.iter() {
            let Some(asked) = self.process.asked.remove(&answer.conn) else {
                continue;
            };
            let is_late = answer
                .valid_until
                .is_some_and(|until| self.stage.now.boot >= until);
            assert!(
                !is_late || reply.status == ReplyStatus::Done,
                "no lease reads"
            );
            self.stage.facts.push(Fact::Answered {
                host: self.stage.host,
                answered: Box::new(Answered {
                    asked,
                    status: reply.status,
                    seen: reply.seen,
                    bytes: reply.bytes.to_vec(),
                    standing: self.process.replica.standing(),
                }),
            });
            let mut frame = Vec::new();
            reply.encode(&mut frame);
            let party = Party::Replica(self.stage.host);
            self.stage.links.send(party, answer.conn, &frame);
        }
    }
}

/// A frame that one of us has made.
pub(super) fn whole(bytes: &[u8]) -> Frame<'_> {
    Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX)
        .expect("our own frames are sound")
        .expect("our own frames are whole")
}
