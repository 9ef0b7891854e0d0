//! The world of a replica that is fuzzed: its disk, its clock and its view service, all sound.

use std::collections::VecDeque;

use standin::machines::counter::Counter;
use standin_core::capture::Captured;
use standin_core::conn::ConnId;
use standin_core::digest::DigestChain;
use standin_core::entry::{Batch, Entry, Index, LogTip, ViewStarts};
use standin_core::evidence::Evidence;
use standin_core::identity::Identity;
use standin_core::message::{
    Message, Peer, REPLICAS_MAX, Reply, ReportReply, Resume, RoleName, SNAPSHOT_PIECE_BYTES_MAX,
    SnapshotOffer, SwapReply,
};
use standin_core::session::SessionLimits;
use standin_core::state::Replicated;
use standin_core::time::{Instant, Now, WallTime};
use standin_core::version::VersionRange;
use standin_core::view::{ViewId, ViewRecord};
use standin_primary::Payload;
use standin_replica::{
    Action, Answers, Config, Event, KeptSnapshot, ReadFor, Recovered, Replica, SnapshotConfig,
};

use crate::peer_identity;

/// What comes of an action, handed in when the actions are done, as the host does.
enum FollowUp {
    Written(Index),
    Synced(Index),
    LogRead(ReadFor, Vec<u8>),
    Cut(LogTip),
    Adopted(ViewId),
    SnapshotTaken(KeptSnapshot),
    Digested(u128),
    Forgotten(LogTip),
    FetchBegun(u64),
    Fetched(Index, bool),
    Install(SnapshotOffer),
    ReportReply(ReportReply),
    SwapReply(SwapReply),
    Dialled(ConnId),
    Redialled,
}

pub(crate) struct World {
    pub(crate) replica: Replica<Counter>,
    pub(crate) identity: Identity,
    pub(crate) now: Instant,
    /// The entry before the first in the log.
    pub(crate) base: LogTip,
    /// Each entry's bytes.
    pub(crate) log: Vec<Vec<u8>>,
    /// The bytes of some state, for snapshots that others offer.
    pub(crate) state: Vec<u8>,
    /// The snapshot that is being fetched, and how much of it has come.
    pub(crate) fetching: Option<(SnapshotOffer, u64)>,
    /// The last one that was offered to a follower.
    pub(crate) offered: Option<SnapshotOffer>,
    /// As the view service has it.
    pub(crate) record: Option<ViewRecord>,
    follow_ups: VecDeque<FollowUp>,
    pub(crate) dial: Option<ConnId>,
    pub(crate) dials: u64,
    /// The last stream that was begun to a follower.
    pub(crate) stream: Option<(ConnId, Resume)>,
    /// What the last entries were sent under: round and the log's end.
    pub(crate) sent: (u64, Index),
    pub(crate) sessions: Vec<u64>,
}

impl World {
    pub(crate) fn new(identity: Identity) -> Self {
        let config = Config {
            identity: identity.clone(),
            address: "h:1".to_owned(),
            data_dir: String::new(),
            program: String::new(),
            durability: Default::default(),
            versions: VersionRange::of::<Counter>(),
            session_limits: SessionLimits {
                sessions_max: 10,
                ..SessionLimits::default()
            },
            seed: 1,
            adopted: ViewId::default(),
            holds: None,
            kept: None,
            recovered: Recovered::default(),
            replace: false,
            quarantine: None,
            poison: None,
            fatal: None,
            limits: Default::default(),
            snapshots: SnapshotConfig {
                every: 5,
                log_bytes: 2000,
                makes_room: true,
            },
        };
        let now = Instant::from_nanos(1_000_000_000);
        let wall = WallTime(now.as_nanos());
        Self {
            replica: Replica::new(config, Now { boot: now, wall }),
            identity,
            now,
            base: LogTip::default(),
            log: Vec::new(),
            state: state_bytes(&Replicated::<Counter>::default().capture()),
            fetching: None,
            offered: None,
            record: None,
            follow_ups: VecDeque::new(),
            dial: None,
            dials: 0,
            stream: None,
            sent: (0, Index::ZERO),
            sessions: Vec::new(),
        }
    }

    pub(crate) fn tip(&self) -> LogTip {
        self.log.last().map_or(self.base, |bytes| {
            Entry::decode(bytes).expect("a good entry").tip()
        })
    }

    pub(crate) fn view_starts(&self) -> ViewStarts {
        let mut starts = ViewStarts::new();
        for bytes in &self.log {
            let header = Entry::decode(bytes).expect("a good entry").header;
            if starts.last().is_none_or(|(view, _)| *view < header.view) {
                starts.push((header.view, header.index));
            }
        }
        starts
    }

    pub(crate) fn wall(&self) -> WallTime {
        WallTime(self.now.as_nanos())
    }

    /// Hands in an event and all that comes of it.
    pub(crate) fn handle(&mut self, event: Event<'_>) {
        self.hand_in(event);
        while let Some(follow_up) = self.follow_ups.pop_front() {
            match follow_up {
                FollowUp::Written(through) => self.hand_in(Event::Written(through)),
                FollowUp::Synced(through) => self.hand_in(Event::Synced(through)),
                FollowUp::LogRead(read, bytes) => self.hand_in(Event::LogRead(read, bytes)),
                FollowUp::Cut(tip) => self.hand_in(Event::Cut(tip)),
                FollowUp::Adopted(view) => self.hand_in(Event::Adopted(view)),
                FollowUp::SnapshotTaken(kept) => self.hand_in(Event::SnapshotTaken(kept)),
                FollowUp::Digested(digest) => self.hand_in(Event::Digested(digest)),
                FollowUp::Forgotten(base) => self.hand_in(Event::Forgotten(base)),
                FollowUp::FetchBegun(have) => self.hand_in(Event::FetchBegun(have)),
                FollowUp::Fetched(index, is_whole) => {
                    self.hand_in(Event::Fetched(index, is_whole));
                }
                FollowUp::Install(offer) => self.install(&offer),
                FollowUp::ReportReply(reply) => self.hand_in(Event::ReportReply(&reply)),
                FollowUp::SwapReply(reply) => self.hand_in(Event::SwapReply(&reply)),
                FollowUp::Dialled(conn) if self.dial == Some(conn) => {
                    self.hand_in(Event::Dialled(conn));
                }
                FollowUp::Dialled(_) => {}
                FollowUp::Redialled => {
                    self.hand_in(Event::ViewServiceDown);
                    self.hand_in(Event::ViewServiceUp);
                }
            }
        }
    }

    pub(crate) fn hand_in(&mut self, event: Event<'_>) {
        let (boot, wall) = (self.now, self.wall());
        self.replica.handle(Now { boot, wall }, event);
        self.drain();
        assert!(self.replica.followers().count() <= REPLICAS_MAX);
        let leads = matches!(
            self.replica.role_name(),
            RoleName::Primary | RoleName::Candidate
        );
        if leads {
            assert_eq!(self.replica.primary_resp(), None, "this one answers none");
        }
    }

    /// Goes on from a snapshot that somebody has made up, with a state that is one.
    pub(crate) fn install(&mut self, offer: &SnapshotOffer) {
        let (boot, wall) = (self.now, self.wall());
        let mark = offer.mark;
        let digest = DigestChain(mark.reply_digest);
        let version = mark.machine_version;
        let state =
            Replicated::restore(&mut self.state.as_slice(), mark.tip.index, digest, version);
        self.base = mark.tip;
        self.log.clear();
        let state = state.expect("it was written by one");
        self.replica.install(Now { boot, wall }, state, offer);
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        while let Some(action) = self.replica.next_action() {
            self.carry_out(action);
        }
        let mut answers = Answers::default();
        self.replica.take_answers(&mut answers);
        for (_, reply) in answers.iter() {
            self.note_reply(&reply);
        }
        assert!(self.replica.state().applied() <= self.tip().index);
    }

    pub(crate) fn note_reply(&mut self, reply: &Reply<'_>) {
        reply.encode(&mut Vec::new());
        if let (Ok(session), true) = (reply.bytes.try_into(), self.sessions.len() < 10) {
            self.sessions.push(u64::from_le_bytes(session));
        }
    }

    pub(crate) fn carry_out(&mut self, action: Action) {
        match action {
            Action::Report(report) => {
                report.encode(&mut Vec::new());
                let record = self.record.as_ref();
                let granted = record.is_some_and(|record| {
                    record.active
                        && report.renew == Some(record.id())
                        && record.primary.is(&report.identity)
                });
                let reply = self.report_reply(report.number, granted);
                self.follow_ups.push_back(FollowUp::ReportReply(reply));
            }
            Action::Swap(swap) => {
                let current = self.record.as_ref().expect("only a record can be swapped");
                let accepted = swap.expected == *current;
                if accepted {
                    let is_move = current.check_move(&swap.proposed, &swap.identity);
                    assert_eq!(is_move, Ok(()), "{current:?} {:?}", swap.proposed);
                    self.record = Some(swap.proposed);
                }
                let reply = SwapReply {
                    number: swap.number,
                    accepted,
                    record: self.record.clone(),
                    wall: self.wall(),
                };
                self.follow_ups.push_back(FollowUp::SwapReply(reply));
            }
            Action::RedialViewService => self.follow_ups.push_back(FollowUp::Redialled),
            Action::NotePoison(poison) => panic!("a counter never fails: {poison:?}"),
            Action::Poisoned(_) | Action::Fatal(_) => unreachable!("nothing was noted"),
            Action::Witness(witness) => assert!(witness.is_bounded(), "{witness:?}"),
            Action::Adopt(view, ..) => self.follow_ups.push_back(FollowUp::Adopted(view)),
            Action::Append(batch) => self.append(&batch),
            Action::Sync => {
                let through = self.tip().index;
                self.follow_ups.push_back(FollowUp::Synced(through));
            }
            Action::ReadLog(read, from, bytes_max) => self.read_log(read, from, bytes_max),
            Action::Cut(after) => {
                if after == Index::ZERO {
                    self.base = LogTip::default();
                    self.log.clear();
                }
                assert!(after >= self.base.index, "cut below a snapshot");
                let kept = usize::try_from(after.0 - self.base.index.0).expect("a short log");
                assert!(kept <= self.log.len(), "cut beyond the end");
                self.log.truncate(kept);
                self.follow_ups.push_back(FollowUp::Cut(self.tip()));
            }
            Action::TakeSnapshot(mark, image) => {
                let state_digest = image.0.digest();
                self.state.clear();
                image.0.write(&mut self.state).expect("writing to memory");
                self.follow_ups
                    .push_back(FollowUp::SnapshotTaken(KeptSnapshot {
                        mark,
                        state_digest,
                        state_bytes: self.state.len() as u64,
                    }));
            }
            Action::Digest(image) => {
                let digest = image.0.digest();
                self.follow_ups.push_back(FollowUp::Digested(digest));
            }
            Action::Forget(index) => {
                assert!(index >= self.base.index, "forgotten twice");
                let gone = usize::try_from(index.0 - self.base.index.0).expect("a short log");
                if let Some(last) = self.log.drain(..gone).next_back() {
                    self.base = Entry::decode(&last).expect("a good entry").tip();
                }
                self.follow_ups.push_back(FollowUp::Forgotten(self.base));
            }
            Action::ReadSnapshot(_, read) => {
                assert!(read.length <= SNAPSHOT_PIECE_BYTES_MAX);
                let offered = self.offered.map(|offer| offer.mark.tip.index);
                assert_eq!(Some(read.index), offered, "nobody was offered another");
            }
            Action::BeginFetch(offer) => {
                self.fetching = Some((*offer, 0));
                self.follow_ups.push_back(FollowUp::FetchBegun(0));
            }
            Action::StorePiece(offset, bytes) => {
                let (_, have) = self.fetching.as_mut().expect("it has begun");
                assert_eq!(offset, *have);
                *have += bytes.len() as u64;
            }
            Action::CheckFetched => {
                let (offer, have) = self.fetching.expect("it has begun");
                assert_eq!(offer.file_bytes(), Some(have));
                let index = offer.mark.tip.index;
                self.follow_ups.push_back(FollowUp::Fetched(index, true));
            }
            Action::Install(offer) => self.follow_ups.push_back(FollowUp::Install(*offer)),
            Action::Offer(_, offer) => {
                offer.encode(&mut Vec::new());
                self.offered = Some(*offer);
            }
            Action::EntriesPiece(_, after, bytes) => {
                let mut rest = &bytes[..];
                let mut last = after;
                while let Ok(entry) = Entry::decode(rest) {
                    last = last.next();
                    assert_eq!(entry.header.index, last);
                    rest = &rest[entry.header.length as usize..];
                }
                assert!(rest.is_empty(), "whole entries are lent");
            }
            Action::SnapshotRead(_, read) => read.encode(&mut Vec::new()),
            Action::StateDigest(_, told) => told.encode(&mut Vec::new()),
            Action::Dial(_) => {
                self.dials += 1;
                let conn = ConnId(1000 + self.dials);
                self.dial = Some(conn);
                self.follow_ups.push_back(FollowUp::Dialled(conn));
            }
            Action::Hang => self.dial = None,
            Action::Follow(_, follow) => assert!(follow.is_bounded()),
            Action::Ack(_, ack) => ack.encode(&mut Vec::new()),
            Action::Resume(conn, resume) => self.stream = Some((conn, resume)),
            Action::Entries { round, payload, .. } => self.note_entries(round, &payload),
            Action::Inspected(_, reply) => reply.encode(&mut Vec::new()),
            Action::Switched(_, reply) => reply.encode(&mut Vec::new()),
            Action::Leave(_, leave) => leave.encode(&mut Vec::new()),
            Action::Release(_)
            | Action::Quarantine(_)
            | Action::HigherView(..)
            | Action::CloseFollower(_)
            | Action::RefuseFollower(..)
            | Action::Log(..) => {}
            Action::KeepEvidence(evidence) => {
                let read = Evidence::decode(&evidence.encode());
                assert_eq!(read, Ok(*evidence));
            }
        }
    }

    pub(crate) fn report_reply(&self, number: u64, granted: bool) -> ReportReply {
        let peer = |name: &str, start| Peer {
            identity: peer_identity(name, start),
            address: "h:2".to_owned(),
            unseen_ms: 0,
        };
        let primary = self.record.as_ref().map(|record| &record.primary);
        let start = primary.map_or(1, |primary| primary.incarnation.start);
        ReportReply {
            number,
            record: self.record.clone(),
            granted,
            wall: self.wall(),
            peers: vec![peer("b", start), peer("c", start)],
        }
    }

    pub(crate) fn append(&mut self, batch: &Batch) {
        let before = self.tip();
        let verified = Batch::verify(batch.bytes().to_vec(), before);
        assert_eq!(
            verified.map(|batch| batch.tip()),
            Ok(batch.tip()),
            "a gap in the log"
        );
        for entry in batch.entries() {
            assert!(entry.has_sound_payload(), "an entry that cannot be applied");
            let length = entry.header.length as usize;
            self.log
                .push(batch.bytes_from(entry.header.index)[..length].to_vec());
        }
        self.follow_ups.push_back(FollowUp::Written(batch.last()));
    }

    pub(crate) fn read_log(&mut self, read: ReadFor, from: Index, bytes_max: usize) {
        let skip = from.0.checked_sub(self.base.index.0 + 1);
        let skip = usize::try_from(skip.expect("read where the log is not")).expect("a short log");
        let mut bytes = Vec::new();
        for entry in self.log.iter().skip(skip) {
            if !bytes.is_empty() && bytes.len() + entry.len() > bytes_max {
                break;
            }
            bytes.extend_from_slice(entry);
        }
        self.follow_ups.push_back(FollowUp::LogRead(read, bytes));
    }

    pub(crate) fn note_entries(&mut self, round: u64, payload: &Payload) {
        let bytes = match payload {
            Payload::Nothing => &[],
            Payload::Batch(batch) => batch.bytes(),
            Payload::Bytes(bytes) => bytes.as_slice(),
        };
        let mut rest = bytes;
        self.sent.0 = round;
        while !rest.is_empty() {
            let header = Entry::decode(rest)
                .expect("only good entries are sent")
                .header;
            self.sent.1 = header.index;
            rest = &rest[header.length as usize..];
        }
    }
}

fn state_bytes(captured: &Captured<Counter>) -> Vec<u8> {
    let mut bytes = Vec::new();
    captured.write(&mut bytes).expect("writing to memory");
    bytes
}
