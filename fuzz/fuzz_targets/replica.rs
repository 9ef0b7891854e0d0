//! A replica stands whatever clients, followers and primaries say to it: its log goes on without gaps,
//! and it applies nothing else than what stands there. Its view service and its disk are sound.
#![no_main]

use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin::machines::counter::{Counter, encode_add, encode_get};
use standin_core::capture::{Captured, SnapshotMark};
use standin_core::conn::ConnId;
use standin_core::digest::DigestChain;
use standin_core::entry::{Batch, Entry, Index, LogTip, ViewStarts};
use standin_core::evidence::Evidence;
use standin_core::identity::{Identity, ReplicaName};
use standin_core::message::{
    Ack, CloseSession, CommandRequest, Consistency, DirectRequest, Entries, EntriesRead, Follow,
    HigherView, Leave, Message, OpenSession, Peer, QueryRequest, REPLICAS_MAX, Refusal, Reply,
    ReportReply, Resume, RoleName, Room, SNAPSHOT_PIECE_BYTES_MAX, Seen, SnapshotOffer,
    SnapshotPiece, SnapshotRead, StateDigest, SwapReply, Switchover,
};
use standin_core::poison::Skip;
use standin_core::session::SessionLimits;
use standin_core::state::Replicated;
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::version::VersionRange;
use standin_core::view::{Reason, ViewId, ViewNumber, ViewRecord};
use standin_fuzz::{any_batch, parties, seal_entries};
use standin_primary::Payload;
use standin_replica::{
    Action, Answers, Config, Event, KeptSnapshot, ReadFor, Recovered, Replica, Request,
    RequestBody, SnapshotConfig,
};

const EVENTS_MAX: usize = 150;

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

struct World {
    replica: Replica<Counter>,
    identity: Identity,
    now: Instant,
    /// The entry before the first in the log.
    base: LogTip,
    /// Each entry's bytes.
    log: Vec<Vec<u8>>,
    /// The bytes of some state, for snapshots that others offer.
    state: Vec<u8>,
    /// The snapshot that is being fetched, and how much of it has come.
    fetching: Option<(SnapshotOffer, u64)>,
    /// The last one that was offered to a follower.
    offered: Option<SnapshotOffer>,
    /// As the view service has it.
    record: Option<ViewRecord>,
    follow_ups: VecDeque<FollowUp>,
    dial: Option<ConnId>,
    dials: u64,
    /// The last stream that was begun to a follower.
    stream: Option<(ConnId, Resume)>,
    /// What the last entries were sent under: round and the log's end.
    sent: (u64, Index),
    sessions: Vec<u64>,
}

impl World {
    fn new(identity: Identity) -> Self {
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

    fn tip(&self) -> LogTip {
        self.log.last().map_or(self.base, |bytes| {
            Entry::decode(bytes).expect("a good entry").tip()
        })
    }

    fn view_starts(&self) -> ViewStarts {
        let mut starts = ViewStarts::new();
        for bytes in &self.log {
            let header = Entry::decode(bytes).expect("a good entry").header;
            if starts.last().is_none_or(|(view, _)| *view < header.view) {
                starts.push((header.view, header.index));
            }
        }
        starts
    }

    fn wall(&self) -> WallTime {
        WallTime(self.now.as_nanos())
    }

    /// Hands in an event and all that comes of it.
    fn handle(&mut self, event: Event<'_>) {
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

    fn hand_in(&mut self, event: Event<'_>) {
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
    fn install(&mut self, offer: &SnapshotOffer) {
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

    fn drain(&mut self) {
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

    fn note_reply(&mut self, reply: &Reply<'_>) {
        reply.encode(&mut Vec::new());
        if let (Ok(session), true) = (reply.bytes.try_into(), self.sessions.len() < 10) {
            self.sessions.push(u64::from_le_bytes(session));
        }
    }

    fn carry_out(&mut self, action: Action) {
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

    fn report_reply(&self, number: u64, granted: bool) -> ReportReply {
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

    fn append(&mut self, batch: &Batch) {
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

    fn read_log(&mut self, read: ReadFor, from: Index, bytes_max: usize) {
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

    fn note_entries(&mut self, round: u64, payload: &Payload) {
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

fn peer_identity(name: &str, start: u64) -> Identity {
    let mut input = Unstructured::new(&[]);
    let mut identity = parties::identity(&mut input).expect("zeros are enough");
    identity.name = ReplicaName::new(name).expect("a good name");
    identity.store.0 = u128::from(name.as_bytes()[0] - b'a');
    identity.life.incarnation.start = start;
    identity.life.incarnation.nonce = start;
    identity
}

/// The view service moves on: to this replica, to another, or to a pair.
fn news(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let own = world.identity.clone();
    let record = match world.record.take() {
        None => ViewRecord::bootstrap(parties::CLUSTER, &own, 1000),
        Some(record) => match input.arbitrary::<u8>()? % 4 {
            0 if record.is_holder(&own) => record.depose(&own, Reason::LeaseExpired),
            1 if !record.active && !record.primary.is(&own) => record.activate(&peer_identity(
                record.primary.name.as_str(),
                record.primary.incarnation.start,
            )),
            2 | 3 => {
                // Another life that is a holder too takes over, and may have gone on alone.
                let other = peer_identity(["b", "c"][input.choose_index(2)?], 1);
                let mut next = record.clone();
                next.view = ViewNumber(next.view.0 + 1 + u64::from(input.arbitrary::<u8>()? % 3));
                next.primary = standin_core::view::Member::of(&other);
                next.backup = None;
                next.active = input.arbitrary()?;
                next
            }
            _ => record,
        },
    };
    world.record = Some(record);
    let reply = world.report_reply(0, false);
    world.handle(Event::ReportReply(&reply));
    Ok(())
}

fn view(input: &mut Unstructured<'_>, world: &World) -> Result<ViewId> {
    match input.ratio(7, 8)? {
        true => Ok(world.replica.standing().view),
        false => parties::view(input),
    }
}

fn tip(input: &mut Unstructured<'_>, world: &World) -> Result<LogTip> {
    Ok(match input.arbitrary::<u8>()? % 4 {
        0 => parties::tip(input)?,
        1 if !world.log.is_empty() => {
            let bytes = input.choose(&world.log)?;
            Entry::decode(bytes).expect("a good entry").tip()
        }
        _ => world.tip(),
    })
}

fn follow(input: &mut Unstructured<'_>, world: &World) -> Result<Follow> {
    let mut view_starts = world.view_starts();
    match input.arbitrary::<u8>()? % 4 {
        0 => view_starts.push((
            ViewNumber(parties::number(input)?),
            Index(parties::number(input)?),
        )),
        1 => view_starts.truncate(usize::from(input.arbitrary::<u8>()? % 4)),
        _ => {}
    }
    Ok(Follow {
        identity: parties::identity(input)?,
        view: view(input, world)?,
        last: tip(input, world)?,
        view_starts,
        resp: parties::resp(input)?,
        versions: VersionRange {
            oldest: input.int_in_range(0..=2)?,
            newest: input.int_in_range(0..=3)?,
        },
    })
}

fn ack(input: &mut Unstructured<'_>, world: &World) -> Result<(ConnId, Ack)> {
    let stream = world.stream.as_ref();
    let stream = stream.filter(|_| input.ratio(15, 16) == Ok(true));
    let (conn, nonce) = stream.map_or((ConnId(1), 0), |(conn, resume)| (*conn, resume.nonce));
    let (round, durable) = world.sent;
    let through = |input: &mut Unstructured<'_>| match input.arbitrary::<u8>()? % 8 {
        0 => parties::number(input).map(Index),
        1 => Ok(world
            .stream
            .as_ref()
            .map_or(Index::ZERO, |(_, resume)| resume.common.index)),
        2 => Ok(world.replica.state().applied()),
        _ => Ok(durable),
    };
    let ack = Ack {
        nonce,
        view: view(input, world)?,
        round: match input.ratio(7, 8)? {
            true => round,
            false => parties::number(input)?,
        },
        durable: through(input)?,
        applied: through(input)?,
        reply_digest: match input.ratio(7, 8)? {
            true => world.replica.state().reply_digest().0,
            false => input.arbitrary()?,
        },
        room: *input.choose(&[Room::Enough, Room::Lacking, Room::Out])?,
    };
    Ok((conn, ack))
}

fn requests(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let adds = [
        encode_add(1).to_vec(),
        encode_add(i64::MAX).to_vec(),
        input.arbitrary()?,
    ];
    let query = encode_get();
    let mut requests = Vec::new();
    for id in 0..input.int_in_range(1..=4)? {
        let seen = Seen {
            view: view(input, world)?,
            index: Index(parties::number(input)? % 16),
        };
        let session = match world.sessions.as_slice() {
            [] => parties::number(input)?,
            some => *input.choose(some)?,
        };
        let consistency = [
            Consistency::Confirmed,
            Consistency::Lease,
            Consistency::Stale,
        ];
        let body = match input.arbitrary::<u8>()? % 8 {
            0 => RequestBody::Open(OpenSession { id, seen }),
            1 => RequestBody::Direct(DirectRequest {
                id,
                seen,
                bytes: input.choose(&adds)?,
            }),
            2 => RequestBody::Close(CloseSession { id, seen, session }),
            3 | 4 => RequestBody::Query(QueryRequest {
                id,
                seen,
                consistency: *input.choose(&consistency)?,
                bytes: &query,
            }),
            _ => RequestBody::Command(CommandRequest {
                id,
                seen,
                session,
                sequence: parties::number(input)?,
                acknowledged: parties::number(input)?,
                bytes: input.choose(&adds)?,
            }),
        };
        let conn = ConnId(u64::from(input.arbitrary::<u8>()? % 4));
        requests.push(Request { conn, body });
    }
    world.handle(Event::Requests(&requests));
    Ok(())
}

/// What a primary sends: entries that follow, entries that do not, or any bytes with good checksums.
fn entries(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let Some(conn) = world.dial else {
        return Ok(());
    };
    let before = tip(input, world)?;
    let mut bytes = match input.arbitrary::<u8>()? % 4 {
        0 => Vec::new(),
        1 => input.arbitrary()?,
        _ if before.index.0 < u64::MAX - 100 && before.view.0 < u64::MAX => {
            any_batch(input, before)?.bytes().to_vec()
        }
        _ => Vec::new(),
    };
    if input.ratio(1, 4)? && !bytes.is_empty() {
        let at = input.choose_index(bytes.len())?;
        bytes[at] ^= input.arbitrary::<u8>()?;
        seal_entries(&mut bytes, before.chain);
    }
    let entries = Entries {
        nonce: 7,
        view: view(input, world)?,
        round: parties::number(input)?,
        commit: Index(parties::number(input)?),
        bytes: &bytes,
    };
    world.handle(Event::Entries(conn, &entries));
    Ok(())
}

fn skip(input: &mut Unstructured<'_>, world: &World) -> Result<Skip> {
    Ok(Skip {
        index: Index(parties::number(input)? % 16),
        view: view(input, world)?.view,
    })
}

fn resume(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let Some(conn) = world.dial else {
        return Ok(());
    };
    let resume = Resume {
        view: view(input, world)?,
        nonce: 7,
        common: tip(input, world)?,
        durability: parties::durability(input)?,
        silence_ms: input.arbitrary()?,
        skips: (0..input.int_in_range(0..=2)?)
            .map(|_| skip(input, world))
            .collect::<Result<_>>()?,
        resp: parties::resp(input)?,
    };
    world.handle(Event::Resume(conn, &resume));
    Ok(())
}

fn state_bytes(captured: &Captured<Counter>) -> Vec<u8> {
    let mut bytes = Vec::new();
    captured.write(&mut bytes).expect("writing to memory");
    bytes
}

/// A primary offers a snapshot.
fn offer(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let Some(conn) = world.dial else {
        return Ok(());
    };
    let tip = tip(input, world)?;
    let view = view(input, world)?;
    if tip.index.0 > u64::MAX - 1000 || tip.view.0 > u64::MAX - 1000 {
        return Ok(());
    }
    let offer = SnapshotOffer {
        view,
        nonce: 7,
        mark: SnapshotMark {
            data_epoch: view.data_epoch,
            tip,
            view_first: Index(parties::number(input)?),
            reply_digest: input.arbitrary()?,
            machine_version: input.int_in_range(0..=2)?,
            failed_version: input.int_in_range(0..=3)?,
        },
        state_digest: input.arbitrary()?,
        state_bytes: u64::from(input.arbitrary::<u16>()?),
    };
    world.handle(Event::Offer(conn, &offer));
    Ok(())
}

/// And sends a piece of it, mostly the right one.
fn piece(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let (Some(conn), Some((offer, have))) = (world.dial, world.fetching) else {
        return Ok(());
    };
    let left = offer.file_bytes().expect("it was taken") - have;
    let length = match input.ratio(3, 4)? {
        true => left.min(SNAPSHOT_PIECE_BYTES_MAX.into()),
        false => input.arbitrary::<u8>()?.into(),
    };
    let piece = SnapshotPiece {
        nonce: 7,
        index: offer.mark.tip.index,
        offset: if input.ratio(7, 8)? {
            have
        } else {
            parties::number(input)?
        },
        bytes: &vec![0; usize::try_from(length).expect("short")],
    };
    world.handle(Event::Piece(conn, &piece));
    Ok(())
}

/// A follower asks for a piece, or tells of its state.
fn snapshot_request(input: &mut Unstructured<'_>, world: &mut World, conn: ConnId) -> Result<()> {
    let index = match world.offered.filter(|_| input.ratio(3, 4).unwrap_or(true)) {
        Some(offer) => offer.mark.tip.index,
        None => Index(parties::number(input)?),
    };
    let nonce = world.offered.map_or(0, |offer| offer.nonce);
    if input.arbitrary()? {
        let read = SnapshotRead {
            nonce,
            index,
            offset: parties::number(input)?,
            length: input.arbitrary()?,
        };
        world.handle(Event::SnapshotRead(conn, &read));
    } else {
        let told = StateDigest {
            nonce: world.stream.as_ref().map_or(0, |(_, resume)| resume.nonce),
            view: view(input, world)?,
            index,
            digest: input.arbitrary()?,
        };
        world.handle(Event::StateDigest(conn, &told));
    }
    Ok(())
}

fn step(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let conn = ConnId(u64::from(input.arbitrary::<u8>()? % 4));
    match input.arbitrary::<u8>()? % 37 {
        36 => {
            let after = tip(input, world)?;
            world.handle(Event::EntriesRead(conn, &EntriesRead { after }));
        }
        32 => offer(input, world)?,
        33 | 34 => piece(input, world)?,
        35 => snapshot_request(input, world, conn)?,
        0 | 1 => news(input, world)?,
        2..=5 => {
            let follow = follow(input, world)?;
            world.handle(Event::Follow(conn, &follow));
        }
        6..=11 => {
            let (conn, ack) = ack(input, world)?;
            world.handle(Event::Ack(conn, &ack));
        }
        12..=16 => requests(input, world)?,
        17..=20 => entries(input, world)?,
        21..=23 => resume(input, world)?,
        24 => {
            let view = view(input, world)?;
            world.handle(Event::HigherView(HigherView { view }));
        }
        25 => world.handle(Event::Closed(conn)),
        26 => world.handle(Event::Inspect(conn)),
        27 if world.dial.take().is_some() => match input.arbitrary::<bool>()? {
            true => world.handle(Event::DialClosed),
            false => world.handle(Event::DialRefused(&Refusal::RepliesDiffer)),
        },
        30 => {
            let to = input
                .arbitrary::<bool>()?
                .then(|| peer_identity("b", 1).name);
            world.handle(Event::Switchover(conn, &Switchover { to }));
        }
        31 if input.arbitrary::<bool>()? => world.handle(Event::Leave),
        31 => {
            let (conn, ack) = ack(input, world)?;
            let nonce = ack.nonce;
            world.handle(Event::FollowerLeaves(conn, Leave { nonce }));
        }
        28 | 29 => {
            if let Some(at) = world.replica.deadline() {
                world.now = world.now.max(at);
            }
            world.handle(Event::Deadline);
        }
        _ => {
            let elapsed = Duration::from_millis(input.arbitrary::<u8>()?.into());
            world.now = world.now.plus(elapsed);
            world.handle(Event::Deadline);
        }
    }
    world.handle(Event::Flush);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let mut world = World::new(peer_identity("a", 1));
    world.handle(Event::ViewServiceUp);
    for _ in 0..EVENTS_MAX {
        // The end of the input ends the story.
        if input.is_empty() || step(&mut input, &mut world).is_err() {
            return;
        }
    }
});
