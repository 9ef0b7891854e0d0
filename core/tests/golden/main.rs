//! The formats held still: fixed contents must encode to the stored bytes, and the stored bytes decode
//! to those contents, for ever. What version 2 changed is in a directory of its own, and what stands
//! in that of version 1 is read as well.
//!
//! A format that is meant to change gets a new version and a directory of its own. To write the files
//! of a new version, run this once with `STANDIN_REGENERATE_GOLDEN=1` and look at the difference.
#![allow(clippy::disallowed_methods)] // decision code opens no file; its tests do
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

mod files;
mod messages;
mod samples;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use standin_core::address::Address;
use standin_core::capture::SnapshotMark;
use standin_core::digest::{DigestChain, digest};
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, CloseSession as CloseSessionEntry, Command, Entry, EntryKind,
    Handover, Index, LogTip, Run, TimerFired, Upgrade, ViewStart,
};
use standin_core::evidence::{
    Evidence, EvidenceError, KeptReply, REPLY_KEPT_BYTES_MAX, RecordedState,
};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameError, FrameKind};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId, Token,
};
use standin_core::machine::MachineId;
use standin_core::mark::{Fatal, FatalEntry};
use standin_core::message::*;
use standin_core::poison::{Poison, Skip};
use standin_core::segment::{SEGMENT_HEADER_BYTES, ScanEnd, SegmentHeader, scan};
use standin_core::snapshot::{
    SNAPSHOT_BLOCK_BYTES, SnapshotHeader, SnapshotPoint, SnapshotReader, encode_snapshot,
};
use standin_core::time::WallTime;
use standin_core::version::{VersionRange, VersionStanding};
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewId, ViewNumber, ViewRecord};

/// What version 2 changed: refusals, messages and statuses of replies came to it, and limits to ViewStart.
const CHANGED_IN_2: [&str; 9] = [
    "frames/Switchover",
    "frames/SwitchoverReply",
    "frames/Leave",
    "frames/Died",
    "frames/DiedReply",
    "frames/Refusal",
    "frames/TokenDead",
    "frames/TokenDeadReply",
    "frames/Force",
];

/// What version 3 changed: skipped entries came to the record, to ViewStart and to Resume.
const CHANGED_IN_3: [&str; 17] = [
    "frames/Entries",
    "frames/ForceReply",
    "frames/HistoryRequest",
    "frames/HistoryReply",
    "frames/Poisoned",
    "frames/ReportReply",
    "frames/Resume",
    "frames/Swap",
    "frames/SwapReply",
    "handover",
    "frames/SnapshotOffer",
    "frames/SnapshotRead",
    "frames/SnapshotPiece",
    "frames/StateDigest",
    "frames/EntriesRead",
    "frames/EntriesPiece",
    "segment",
];

/// What version 4 changed: whether a log has room, and how far followers are behind, came to what replicas say; and a
/// lost view record can be made again.
const CHANGED_IN_4: [&str; 8] = [
    "frames/Ack",
    "frames/Fatal",
    "frames/Hello",
    "frames/Rebuild",
    "frames/Reply",
    "frames/Report",
    "frames/StatusReply",
    "frames/Witness",
];

/// What version 5 changed: commands that belong to no session; and where replicas answer Redis clients came to what
/// begins a stream.
const CHANGED_IN_5: [&str; 6] = [
    "direct",
    "frames/Direct",
    "frames/Follow",
    "frames/Hello",
    "frames/Resume",
    "segment",
];

/// What version 6 changed: replicas whose programs support different versions of the machine work together.
const CHANGED_IN_6: [&str; 11] = [
    "direct",
    "frames/Entries",
    "frames/Follow",
    "frames/Hello",
    "frames/Refusal",
    "frames/Report",
    "frames/SnapshotOffer",
    "frames/StatusReply",
    "handover",
    "segment",
    "upgrade",
];

/// What version 7 changed: commands of one session may share an entry.
const CHANGED_IN_7: [&str; 4] = ["frames/Hello", "frames/Refusal", "run", "segment"];

/// What version 8 changed: several requests, and several outcomes, may share a frame.
const CHANGED_IN_8: [&str; 5] = [
    "frames/Commands",
    "frames/Hello",
    "frames/Queries",
    "frames/Refusal",
    "frames/Replies",
];

fn path(name: &str) -> PathBuf {
    let version = if CHANGED_IN_8.contains(&name) {
        "v8"
    } else if CHANGED_IN_7.contains(&name) {
        "v7"
    } else if CHANGED_IN_6.contains(&name) {
        "v6"
    } else if CHANGED_IN_5.contains(&name) {
        "v5"
    } else if CHANGED_IN_4.contains(&name) {
        "v4"
    } else if CHANGED_IN_3.contains(&name) {
        "v3"
    } else if CHANGED_IN_2.contains(&name) {
        "v2"
    } else {
        "v1"
    };
    path_in(version).join(name)
}

fn path_in(version: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")).join(version)
}

/// The stored bytes, after comparing them with what the fixed contents encode to now.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = path(name);
    if std::env::var("STANDIN_REGENERATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, now).unwrap();
    }
    let stored = std::fs::read(&path).unwrap();
    let differs = stored.iter().zip(now).position(|(one, other)| one != other);
    assert!(
        stored == now,
        "{name} is encoded otherwise than it was, from byte {differs:?}: {} bytes, were {}",
        now.len(),
        stored.len()
    );
    stored
}

/// The frames in some bytes.
fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX)
            .unwrap()
            .unwrap();
        bytes = &bytes[frame.len()..];
        frames.push(frame);
    }
    frames
}

/// Holds one kind of frame still, and notes that it was.
struct Frames(BTreeSet<u16>);

impl Frames {
    fn check<T: PartialEq + Debug>(
        &mut self,
        kind: FrameKind,
        values: &[T],
        encode: impl Fn(&T, &mut Vec<u8>),
        agrees: impl Fn(&Frame<'_>, &T) -> bool,
    ) {
        let mut now = Vec::new();
        for value in values {
            encode(value, &mut now);
        }
        let stored = golden(&format!("frames/{kind:?}"), &now);
        let frames = frames(&stored);
        assert_eq!(frames.len(), values.len(), "{kind:?}");
        for (frame, value) in frames.iter().zip(values) {
            assert_eq!(frame.kind, kind);
            assert!(
                agrees(frame, value),
                "{kind:?} decodes to other than {value:?}"
            );
        }
        self.0.insert(kind as u16);
    }

    fn messages<T: Message + PartialEq + Debug>(&mut self, values: &[T]) {
        let agrees = |frame: &Frame<'_>, value: &T| T::decode(frame).as_ref() == Ok(value);
        self.check(T::KIND, values, T::encode, agrees);
    }
}
