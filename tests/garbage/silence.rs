//! Connections that say nothing, or nothing more.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use standin::machines::counter::CounterClient;
use standin_client::{Client, ClientConfig};
use standin_core::frame::{FRAME_HEADER_BYTES, FrameKind, encode_frame};
use standin_core::message::{Hello, Party};
use standin_io::net::{HANDSHAKE_TIMEOUT, HANDSHAKING_MAX, PARTIAL_FRAME_TIMEOUT};

use crate::arena::Arena;
use crate::samples::frame_of;
use crate::stranger::Stranger;
use crate::{ALL, GROWTH_MAX, LATE_MAX, PATIENCE, REPLICAS, until};

/// Connections that each send what has no end, and then nothing; and how long they may stay.
fn unfinished(arena: &Arena, name: &str) -> Vec<(&'static str, Stranger, Duration)> {
    let hello = frame_of(&Hello::new(Party::Client, Some(arena.id), None));
    let mut large = Vec::new();
    encode_frame(&mut large, FrameKind::Command, |out| out.resize(1 << 20, 7));
    let mut left = Vec::new();
    for (what, bytes) in [
        ("a byte", &hello[..1]),
        ("half a header", &hello[..FRAME_HEADER_BYTES / 2]),
        ("half a hello", &hello[..hello.len() - 1]),
    ] {
        let mut stranger = arena.stranger(name);
        stranger.throw(bytes);
        left.push((what, stranger, HANDSHAKE_TIMEOUT));
    }
    for (what, party, bytes) in [
        ("a header's first byte", Party::Client, &large[..1]),
        (
            "a header without its payload",
            Party::Client,
            &large[..FRAME_HEADER_BYTES],
        ),
        ("half a frame", Party::Client, &large[..1 << 19]),
        (
            "half a frame of a replica's",
            Party::Replica,
            &large[..1 << 19],
        ),
        (
            "a frame but for a byte",
            Party::Client,
            &large[..large.len() - 1],
        ),
    ] {
        let mut guest = arena.guest(name, party);
        guest.begun = Instant::now();
        guest.throw(bytes);
        left.push((what, guest, PARTIAL_FRAME_TIMEOUT));
    }
    left
}

/// Opens 2,000 connections that say nothing; those that are left open.
#[track_caller]
fn crowd(arena: &Arena, name: &str) -> Vec<Stranger> {
    const CROWD: usize = 2000;
    let mut crowd: Vec<_> = (0..CROWD).map(|_| arena.stranger(name)).collect();
    until("most of the crowd to be turned out", || {
        crowd.retain_mut(|stranger| !stranger.is_over_now());
        (crowd.len() <= HANDSHAKING_MAX).then_some(())
    });
    arena.witness.is_answered();
    assert!(
        !arena.cluster.status().unwrap().replicas.is_empty(),
        "new ones are served"
    );
    crowd
}

#[test]
fn silence_is_not_waited_for_longer_than_the_named_time() {
    let arena = Arena::start();
    let mut left = Vec::new();
    let mut crowds = Vec::new();
    for name in ALL {
        crowds.extend(crowd(&arena, name));
        arena.has_not_grown(GROWTH_MAX);
        let unfinished = unfinished(&arena, name).into_iter();
        left.extend(unfinished.map(|(what, stranger, limit)| (name, what, stranger, limit)));
    }
    for stranger in &mut crowds {
        let end = stranger.is_closed("a connection that says nothing");
        assert!(
            end.after < HANDSHAKE_TIMEOUT + LATE_MAX * 2,
            "{:?}",
            end.after
        );
    }
    drop(crowds);

    // A frame that goes on byte by byte is not whole in time either.
    let mut large = Vec::new();
    encode_frame(&mut large, FrameKind::Query, |out| out.resize(100_000, 7));
    let mut drips: Vec<_> = ALL
        .map(|name| (name, arena.guest(name, Party::Client)))
        .into();
    for (_, drip) in &mut drips {
        drip.begun = Instant::now();
    }
    let mut at = 0;
    while !drips.is_empty() {
        drips.retain_mut(|(name, drip)| {
            drip.throw(&large[at..=at]);
            let is_over = drip.is_over();
            let age = drip.begun.elapsed();
            assert!(
                is_over || age < PARTIAL_FRAME_TIMEOUT + LATE_MAX,
                "a drip to {name}"
            );
            assert!(
                !is_over || age >= PARTIAL_FRAME_TIMEOUT,
                "{name} is impatient: {age:?}"
            );
            !is_over
        });
        at += 1;
    }
    for (name, what, mut stranger, limit) in left {
        let end = stranger.is_closed(what);
        assert!(
            end.after < limit + LATE_MAX * 2,
            "{what} to {name}: {:?}",
            end.after
        );
    }
    for name in ALL {
        arena.complains(name, 2000 + 8 + 1);
    }
    arena.ends_unharmed(GROWTH_MAX);
}

/// Opens 2,000 connections that say hello and nothing more.
fn idlers(arena: &Arena, name: &str, party: Party) -> Vec<Stranger> {
    let hello = frame_of(&Hello::new(party, Some(arena.id), None));
    let idler = |_| {
        let mut idler = arena.stranger(name);
        idler.throw(&hello);
        idler
    };
    (0..2000).map(idler).collect()
}

#[test]
fn two_thousand_that_only_say_hello_keep_nobody_out() {
    for party in [Party::Client, Party::Replica] {
        let mut arena = Arena::start();
        let mut crowd = Vec::new();
        for name in ALL {
            crowd.extend(idlers(&arena, name, party));
            arena.witness.is_answered();
            arena.has_not_grown(GROWTH_MAX);
        }
        // Newcomers of both kinds find a place: clients to ask, a replica that starts anew.
        for name in REPLICAS {
            assert_eq!(arena.cluster.inspect(name).unwrap().name.as_str(), name);
        }
        let primary = arena.primary();
        let backup = arena.member(|record| Some(record.backup.as_ref()?.name.to_string()));
        let is_spare = |name: &&str| **name != *primary && **name != *backup;
        let spare = REPLICAS.into_iter().find(is_spare).unwrap();
        assert_eq!(
            arena.cluster.status().unwrap().record.unwrap().id(),
            arena.view,
            "nobody who serves was turned out"
        );
        arena.cluster.kill(spare).unwrap();
        arena.cluster.start(spare).unwrap();
        let applied = arena.cluster.inspect(&primary).unwrap().standing.applied;
        until("the spare to catch up", || {
            let standing = arena.cluster.inspect(spare).ok()?.standing;
            (standing.applied >= applied).then_some(())
        });
        arena.cluster.kill(&primary).unwrap();
        arena
            .cluster
            .wait_for("the backup to take over", PATIENCE, |status| {
                let record = status.record.as_ref();
                record.is_some_and(|record| record.active && record.primary.name.as_str() == backup)
            })
            .unwrap();
        arena.cluster.start(&primary).unwrap();
        arena.cluster.wait_for_pair(PATIENCE).unwrap();
        arena.witness.is_answered();
        for name in ALL {
            let log = arena.log(name);
            assert!(!log.contains("panicked"), "{name}: {log}");
        }
        drop(crowd);
        arena.cluster.check().unwrap();
        arena.is_right();
    }
}

/// Few descriptors, as many machines give a process by default or less: connections may take them
/// all, but for those that a replica needs for its own files and for the others.
#[test]
fn connections_leave_the_descriptors_that_a_process_needs_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("standin-with-few-descriptors");
    let script = format!(
        "#!/bin/sh\nulimit -n 256\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_standin")
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut arena = Arena::with_program(program);
    let primary = arena.primary();
    let config = ClientConfig { timeout: PATIENCE };
    let client = Client::new(arena.cluster.view_services().unwrap(), config).unwrap();
    let mut idle = CounterClient::new(client);
    idle.add(0).unwrap();
    let mut guests = Vec::new();
    for name in REPLICAS {
        for _ in 0..400 {
            let mut guest = arena.stranger(name);
            guest.say(&Hello::new(Party::Client, Some(arena.id), None));
            guests.push(guest);
        }
    }
    arena.witness.is_answered();
    // An ordinary client that was turned out meanwhile comes back by itself, with its session.
    let is_evicted = || {
        let log = arena.log(&primary);
        log.contains("silent the longest").then_some(())
    };
    until("someone to give way", is_evicted);
    idle.add(0).unwrap();
    // A takeover needs files and connections of its own.
    arena.cluster.kill(&primary).unwrap();
    let what = "the backup to take over";
    arena
        .cluster
        .wait_for(what, PATIENCE, |status| {
            let record = status.record.as_ref();
            record.is_some_and(|record| record.active && record.primary.name.as_str() != primary)
        })
        .unwrap();
    drop(guests);
    arena.cluster.start(&primary).unwrap();
    arena.cluster.wait_for_pair(PATIENCE).unwrap();
    arena.witness.is_answered();
    for name in ALL {
        let log = arena.log(name);
        assert!(!log.contains("panicked"), "{name}: {log}");
    }
    arena.cluster.check().unwrap();
    arena.is_right();
}
