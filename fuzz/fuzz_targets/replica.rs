//! A replica stands whatever clients, followers and primaries say to it: its log goes on without gaps,
//! and it applies nothing else than what stands there. Its view service and its disk are sound.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin::machines::counter::{encode_add, encode_get};
use standin_core::capture::SnapshotMark;
use standin_core::conn::ConnId;
use standin_core::entry::{Entry, Index, LogTip};
use standin_core::identity::{Identity, ReplicaName};
use standin_core::message::{
    Ack, CloseSession, CommandRequest, Consistency, DirectRequest, Entries, EntriesRead, Follow,
    HigherView, Leave, OpenSession, QueryRequest, Refusal, Resume, Room, SNAPSHOT_PIECE_BYTES_MAX,
    Seen, SnapshotOffer, SnapshotPiece, SnapshotRead, StateDigest, Switchover,
};
use standin_core::poison::Skip;
use standin_core::time::Duration;
use standin_core::version::VersionRange;
use standin_core::view::{Reason, ViewId, ViewNumber, ViewRecord};
use standin_fuzz::{any_batch, parties, seal_entries};
use standin_replica::{Event, Request, RequestBody};

#[path = "replica/world.rs"]
mod world;

use world::World;

const EVENTS_MAX: usize = 150;

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
    world.handle(Event::Apply);
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
