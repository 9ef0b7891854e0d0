//! What is no frame, or no hello, or a hello of somebody else's.

use std::collections::BTreeMap;

use standin_core::frame::{
    FRAME_PAYLOAD_BYTES_MAX, FrameKind, HELLO_PAYLOAD_BYTES_MAX, encode_frame,
};
use standin_core::identity::ClusterId;
use standin_core::machine::MachineId;
use standin_core::message::{Hello, Lookup, PROTOCOL_VERSION, Party, Refusal, StatusRequest};
use standin_tools::cluster::VIEW_SERVICE;

use crate::arena::Arena;
use crate::samples::frame_of;
use crate::stranger::{Stranger, header, random_bytes};
use crate::{ALL, GROWTH_MAX, REPLICAS};

/// What is no frame, or no first frame, or one of somebody else's: each closes its connection.
fn first_words(seed: u64) -> Vec<(&'static str, Vec<u8>)> {
    let hello = |party| Hello::new(party, None, None);
    let mut newer = hello(Party::Client);
    newer.version += 1;
    let mut damaged = frame_of(&hello(Party::Client));
    *damaged.last_mut().unwrap() ^= 1;
    let mut scrambled = Vec::new();
    encode_frame(&mut scrambled, FrameKind::Hello, |out| {
        out.extend(random_bytes(seed, 40))
    });
    let too_long = u32::try_from(HELLO_PAYLOAD_BYTES_MAX).unwrap() + 1;
    let other = Hello::new(Party::Client, Some(ClusterId(u128::from(seed))), None);
    let replica = Hello::new(Party::Replica, other.cluster, None);
    vec![
        ("a first frame of 4 GiB", header(u32::MAX, 1, 0)),
        ("a hello that is too long", header(too_long, 1, 0)),
        ("an unknown kind", header(0, 0xfffe, 0)),
        ("reserved bytes", header(0, 1, 7)),
        ("a damaged hello", damaged),
        ("a hello with other content", scrambled),
        ("no hello at all", frame_of(&Lookup)),
        ("a hello of another version", frame_of(&newer)),
        ("a client of another cluster", frame_of(&other)),
        ("a replica of another cluster", frame_of(&replica)),
        (
            "an HTTP request",
            b"GET / HTTP/1.1\r\nHost: standin\r\n\r\n".to_vec(),
        ),
    ]
}

/// The same after a good handshake.
fn next_words() -> Vec<(&'static str, Vec<u8>)> {
    let too_long = u32::try_from(FRAME_PAYLOAD_BYTES_MAX).unwrap() + 1;
    let mut damaged = frame_of(&StatusRequest);
    damaged[8] ^= 1;
    vec![
        ("4 GiB", header(u32::MAX, 52, 0)),
        ("one byte too long", header(too_long, 52, 0)),
        ("an unknown kind", header(0, 3, 0)),
        ("a retired kind", header(0, 0, 0)),
        ("reserved bytes", header(0, 17, 1)),
        ("a damaged frame", damaged),
        (
            "a second hello",
            frame_of(&Hello::new(Party::Client, None, None)),
        ),
    ]
}

#[test]
fn garbage_closes_its_own_connection_with_one_line_each() {
    const SEEDS: u64 = 40;
    let arena = Arena::start();
    let mut offenders = BTreeMap::from(ALL.map(|name| (name, 0)));
    for name in ALL {
        let mut offend = |mut stranger: Stranger, bytes: &[u8], what: &str| {
            stranger.throw(bytes);
            *offenders.get_mut(name).unwrap() += 1;
            stranger.is_closed(&format!("{what} to {name}"))
        };
        for seed in 0..SEEDS {
            let count = 12 + usize::try_from(seed * 97).unwrap();
            let bytes = random_bytes(seed, count);
            offend(arena.stranger(name), &bytes, "random bytes");
            offend(
                arena.guest(name, Party::Client),
                &bytes,
                "random bytes after a hello",
            );
        }
        for (what, bytes) in first_words(7) {
            let end = offend(arena.stranger(name), &bytes, what);
            let refusal = end.refusal();
            match what {
                "a hello of another version" | "a hello with other content" => {
                    assert_eq!(
                        refusal,
                        Some(Refusal::Version {
                            ours: PROTOCOL_VERSION
                        }),
                        "{what} to {name}"
                    );
                }
                "a client of another cluster" | "a replica of another cluster" => {
                    let ours = Refusal::OtherCluster { ours: arena.id };
                    assert_eq!(refusal, Some(ours), "{what} to {name}");
                }
                _ => assert!(end.received.is_empty(), "{what} to {name}"),
            }
        }
        for party in [Party::Client, Party::Replica] {
            for (what, bytes) in next_words() {
                offend(arena.guest(name, party), &bytes, what);
            }
        }
        arena.witness.is_answered();
    }
    let machine = MachineId::new("abacus", 1);
    for name in REPLICAS {
        let mut stranger = arena.stranger(name);
        stranger.say(&Hello::new(Party::Replica, Some(arena.id), machine.clone()));
        let end = stranger.is_closed("a replica with another machine");
        assert!(
            matches!(end.refusal(), Some(Refusal::OtherMachine { .. })),
            "{end:?}"
        );
        *offenders.get_mut(name).unwrap() += 1;
    }
    // And it says once that replicas of another cluster knock, which might be its own, whose record was lost.
    *offenders.get_mut(VIEW_SERVICE).unwrap() += 1;
    for (name, count) in offenders {
        arena.complains(name, count);
    }
    arena.ends_unharmed(GROWTH_MAX);
}
