//! More than a process can or wants to take.

use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::thread;

use standin::machines::counter::{encode_add, encode_get};
use standin_core::entry::COMMAND_BYTES_MAX;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind, encode_frame};
use standin_core::message::{
    Consistency, Inspect, OpenSession, Party, Reply, ReplyStatus, Seen, StatusRequest,
};
use standin_tools::cluster::VIEW_SERVICE;

use crate::arena::Arena;
use crate::samples::{frame_of, raw_frame, sample_command, sample_query};
use crate::{GROWTH_MAX, GROWTH_UNDER_LOAD_MAX, REPLICAS};

#[test]
fn a_request_that_is_too_large_is_refused_in_words() {
    let arena = Arena::start();
    let large = vec![0; COMMAND_BYTES_MAX + 1];
    let mut guest = arena.guest(&arena.primary(), Party::Client);
    for _ in 0..20 {
        guest.throw(&raw_frame(|out| sample_command(&large).encode(out)));
        guest.throw(&raw_frame(|out| {
            sample_query(&large, Consistency::Confirmed).encode(out);
        }));
        for what in ["command", "query"] {
            let (kind, payload) = guest.hear().expect("it is answered");
            let frame = Frame {
                kind,
                payload: &payload,
            };
            let reply = Reply::decode(&frame).unwrap();
            assert_eq!(reply.status, ReplyStatus::Refused);
            let words = String::from_utf8_lossy(reply.bytes).into_owned();
            assert!(words.contains(what) && words.contains("bytes"), "{words}");
        }
    }
    // As large as may be is no offence.
    let largest = vec![0; COMMAND_BYTES_MAX];
    guest.throw(&raw_frame(|out| sample_command(&largest).encode(out)));
    let (kind, payload) = guest.hear().expect("it is answered");
    let frame = Frame {
        kind,
        payload: &payload,
    };
    assert_eq!(
        Reply::decode(&frame).unwrap().status,
        ReplyStatus::SessionUnknown
    );
    arena.ends_unharmed(GROWTH_UNDER_LOAD_MAX);
}

#[test]
fn clients_that_ask_and_never_read_are_slowed_down() {
    /// Sent by each stranger at most; none takes so much.
    const MOST: usize = 256 << 20;
    let arena = Arena::start();
    let batch = |frame: Vec<u8>, count: usize| frame.repeat(count);
    let session = OpenSession {
        id: 1,
        seen: Seen::default(),
    };
    let stale = sample_query(b"what nobody knows", Consistency::Stale);
    let get = encode_get();
    let confirmed = sample_query(&get, Consistency::Confirmed);
    let floods = [
        ("queries", batch(raw_frame(|out| stale.encode(out)), 1000)),
        (
            "confirmed queries",
            batch(raw_frame(|out| confirmed.encode(out)), 1000),
        ),
        (
            "commands",
            batch(
                raw_frame(|out| sample_command(&encode_add(1)).encode(out)),
                1000,
            ),
        ),
        ("sessions", batch(frame_of(&session), 1000)),
        ("inspections", batch(frame_of(&Inspect), 1000)),
    ];
    let asks = [("questions", batch(frame_of(&StatusRequest), 1000))];
    thread::scope(|scope| {
        for (name, floods) in [(VIEW_SERVICE, &asks[..]), (&arena.primary(), &floods[..])] {
            for (what, bytes) in floods {
                let mut guest = arena.guest(name, Party::Client);
                let name = name.to_owned();
                scope.spawn(move || {
                    let taken = guest.stuff(bytes, MOST);
                    assert!(taken < MOST, "{name} took {taken} bytes of {what}");
                    let _ = guest.stream.shutdown(Shutdown::Both);
                });
            }
        }
    });
    arena.ends_unharmed(GROWTH_UNDER_LOAD_MAX);
}

#[test]
fn large_frames_in_masses_are_taken_one_by_one() {
    const EACH: usize = 48 << 20;
    let arena = Arena::start();
    let mut large = Vec::new();
    encode_frame(&mut large, FrameKind::Entries, |out| {
        out.resize(FRAME_PAYLOAD_BYTES_MAX, 0);
    });
    // Unknown to the counter and of no session: answered with an error.
    let command = vec![9; COMMAND_BYTES_MAX];
    let command = raw_frame(|out| sample_command(&command).encode(out));
    let query = raw_frame(|out| {
        sample_query(&vec![9; COMMAND_BYTES_MAX], Consistency::Confirmed).encode(out);
    });
    let primary = arena.primary();
    thread::scope(|scope| {
        for (name, party, bytes) in [
            (VIEW_SERVICE, Party::Client, &large),
            ("a", Party::Client, &large),
            ("b", Party::Replica, &large),
            ("c", Party::Replica, &large),
            (&primary, Party::Client, &command),
            (&primary, Party::Client, &query),
        ] {
            let mut guest = arena.guest(name, party);
            scope.spawn(move || {
                guest.stuff(bytes, EACH);
                let _ = guest.stream.shutdown(Shutdown::Both);
            });
        }
    });
    arena.ends_unharmed(GROWTH_UNDER_LOAD_MAX);
}

/// Many frames that are nearly whole: all together they take no more than they may.
#[test]
fn frames_that_do_not_end_take_bounded_memory_however_many_there_are() {
    const EACH: usize = 1 << 20;
    let arena = Arena::start();
    let mut large = Vec::new();
    encode_frame(&mut large, FrameKind::Command, |out| out.resize(EACH, 7));
    let primary = arena.primary();
    let mut guests = Vec::new();
    for name in [VIEW_SERVICE, &primary] {
        for _ in 0..400 {
            let mut guest = arena.guest(name, Party::Client);
            guest.throw(&large[..large.len() - 1]);
            guests.push(guest);
        }
        arena.witness.is_answered();
        let grown = arena.rss(name).saturating_sub(arena.rss_before[name]);
        assert!(
            grown < GROWTH_UNDER_LOAD_MAX,
            "{name} grew by {grown} bytes"
        );
    }
    let log = arena.log(&primary);
    assert!(log.contains("too many bytes wait"), "{log}");
    drop(guests);
    arena.ends_unharmed(GROWTH_UNDER_LOAD_MAX);
}

/// What is of no session is answered, and takes no room in the log.
#[test]
fn commands_of_sessions_that_never_were_are_not_logged() {
    const COMMANDS: usize = 20_000;
    let arena = Arena::start();
    let primary = arena.primary();
    let last = || {
        arena
            .cluster
            .inspect(&primary)
            .unwrap()
            .standing
            .last
            .index
            .0
    };
    let answered = || arena.witness.answered.load(Ordering::Relaxed);
    let (answered_before, last_before) = (answered(), last());
    let mut guest = arena.guest(&primary, Party::Client);
    let command = raw_frame(|out| sample_command(&encode_add(1)).encode(out));
    for _ in 0..COMMANDS / 1000 {
        guest.throw(&command.repeat(1000));
        for _ in 0..1000 {
            let (kind, payload) = guest.hear().expect("it is answered");
            let frame = Frame {
                kind,
                payload: &payload,
            };
            let status = Reply::decode(&frame).unwrap().status;
            assert_eq!(status, ReplyStatus::SessionUnknown);
        }
    }
    // The ordinary client has one command on its way at a time.
    let (last, answered) = (last(), answered());
    let logged = last - last_before;
    assert!(logged <= answered - answered_before + 2, "{logged} entries");
    drop(guest);
    arena.ends_unharmed(GROWTH_MAX);
}

/// Reads that nobody can confirm wait, but only so many bytes of them.
#[test]
fn reads_that_cannot_be_confirmed_take_bounded_memory() {
    const MOST: usize = 512 << 20;
    let mut arena = Arena::start();
    let primary = arena.primary();
    // Without the view service the backup cannot be dropped, so the reads go on waiting for it.
    arena.cluster.pause(VIEW_SERVICE).unwrap();
    for name in REPLICAS.iter().filter(|name| **name != primary) {
        arena.cluster.kill(name).unwrap();
    }
    let query = vec![9; COMMAND_BYTES_MAX];
    let query = raw_frame(|out| sample_query(&query, Consistency::Confirmed).encode(out));
    let mut guest = arena.guest(&primary, Party::Client);
    let taken = guest.stuff(&query, MOST);
    let grown = arena.rss(&primary) - arena.rss_before[primary.as_str()];
    assert!(taken < MOST, "it took {taken} bytes");
    assert!(grown < GROWTH_MAX, "it grew by {grown} bytes");
    drop(guest);
    arena.cluster.resume(VIEW_SERVICE).unwrap();
    for name in REPLICAS.iter().filter(|name| **name != primary) {
        arena.cluster.start(name).unwrap();
    }
    arena.witness.is_answered();
    arena.cluster.check().unwrap();
    arena.is_right();
}
