//! What is well said, but not by this party, or not to this one; and bad payloads of every kind.

use std::collections::BTreeMap;

use standin_core::frame::{FRAME_HEADER_BYTES, FrameKind, encode_frame};
use standin_core::message::{Hello, Party, Refusal};
use standin_tools::cluster::VIEW_SERVICE;

use crate::arena::Arena;
use crate::samples::{every_message, raw_frame};
use crate::{ALL, GROWTH_MAX};

#[test]
fn what_belongs_to_other_parties_closes_the_connection_and_changes_nothing() {
    let arena = Arena::start();
    let messages = every_message(&arena);
    assert_eq!(messages.len(), 36, "every kind but Hello and Refusal");
    let mut offenders = BTreeMap::from(ALL.map(|name| (name, 0)));
    for name in ALL {
        for party in [Party::Client, Party::Replica] {
            for (kind, message) in &messages {
                let mut cases = Vec::new();
                if !is_welcome(name, party, *kind) {
                    cases.push(message.clone());
                }
                // With a byte too few or too many, or with nothing but noise in it.
                let (_, payload) = message.split_at(FRAME_HEADER_BYTES);
                let (shorter, is_free) = match kind {
                    // Everything behind their fields is the machine's own.
                    FrameKind::Command | FrameKind::Entries | FrameKind::Reply => {
                        (&payload[..8], true)
                    }
                    FrameKind::Query | FrameKind::Direct => (&payload[..8], true),
                    FrameKind::Lookup
                    | FrameKind::StatusRequest
                    | FrameKind::HistoryRequest
                    | FrameKind::Inspect => (&b"longer"[..], false),
                    _ => (&payload[..payload.len() - 1], false),
                };
                cases.push(raw_frame(|out| {
                    encode_frame(out, *kind, |out| out.extend(shorter))
                }));
                if !is_free {
                    let longer = |out: &mut Vec<u8>| {
                        out.extend_from_slice(payload);
                        out.push(0);
                    };
                    cases.push(raw_frame(|out| encode_frame(out, *kind, longer)));
                    let noise = vec![0xff; 200];
                    cases.push(raw_frame(|out| {
                        encode_frame(out, *kind, |out| out.extend(noise))
                    }));
                }
                for bytes in cases {
                    let mut guest = arena.guest(name, party);
                    guest.throw(&bytes);
                    let what = format!("{kind:?} of a {party:?} to {name}");
                    let end = guest.is_closed(&what);
                    assert_eq!(end.refusal(), Some(Refusal::Protocol), "{what}");
                    *offenders.get_mut(name).unwrap() += 1;
                }
            }
            arena.witness.is_answered();
        }
        // The view service calls nobody, so nobody who calls is one.
        let mut guest = arena.stranger(name);
        guest.say(&Hello::new(Party::ViewService, Some(arena.id), None));
        guest.throw(&messages[1].1);
        guest.is_closed("a caller who claims to be the view service");
        *offenders.get_mut(name).unwrap() += 1;
    }
    for (name, count) in offenders {
        arena.complains(name, count);
    }
    arena.ends_unharmed(GROWTH_MAX);
}

/// What a party may say to a process; everything else closes its connection.
fn is_welcome(name: &str, party: Party, kind: FrameKind) -> bool {
    let is_asked = match (name == VIEW_SERVICE, party) {
        (_, Party::ViewService) => &[][..],
        (true, Party::Client) => &[
            FrameKind::Lookup,
            FrameKind::StatusRequest,
            FrameKind::HistoryRequest,
            FrameKind::Force,
        ],
        (true, Party::Replica) => &[
            FrameKind::Report,
            FrameKind::Swap,
            FrameKind::Release,
            FrameKind::TokenDead,
            FrameKind::Died,
            FrameKind::Lookup,
            FrameKind::StatusRequest,
            FrameKind::HistoryRequest,
        ],
        (false, Party::Client) => &[
            FrameKind::OpenSession,
            FrameKind::CloseSession,
            FrameKind::Command,
            FrameKind::Commands,
            FrameKind::Query,
            FrameKind::Queries,
            FrameKind::Direct,
            FrameKind::Inspect,
            FrameKind::Switchover,
        ],
        (false, Party::Replica) => &[
            FrameKind::Follow,
            FrameKind::Ack,
            FrameKind::HigherView,
            FrameKind::Leave,
        ],
    };
    is_asked.contains(&kind)
}
