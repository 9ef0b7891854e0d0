//! What must hold for any bytes: nothing panics, and nothing damaged passes for something else.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

mod any;
mod messages;

use any::*;
use proptest::collection::vec;
use proptest::prelude::*;
use standin_core::entry::{Batch, Command, Entry, LogTip, Run, RunReplies};
use standin_core::evidence::Evidence;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind, encode_frame};
use standin_core::identity::{ClusterId, StoreId};
use standin_core::machine::MachineId;
use standin_core::message::*;
use standin_core::segment::{SEGMENT_HEADER_BYTES, ScanEnd, SegmentHeader, scan};

fn decode(bytes: &[u8]) -> Option<Frame<'_>> {
    Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX).ok().flatten()
}

/// Decodes a frame as every message there is, and says how many it can be read as.
fn decode_as_everything(frame: &Frame<'_>) -> usize {
    fn one<T: Message>(frame: &Frame<'_>) -> usize {
        usize::from(T::decode(frame).is_ok())
    }
    let control = one::<Hello>(frame)
        + one::<Refusal>(frame)
        + one::<Report>(frame)
        + one::<ReportReply>(frame)
        + one::<Swap>(frame)
        + one::<SwapReply>(frame)
        + one::<Release>(frame)
        + one::<TokenDead>(frame)
        + one::<TokenDeadReply>(frame)
        + one::<Lookup>(frame)
        + one::<LookupReply>(frame)
        + one::<StatusRequest>(frame)
        + one::<Force>(frame)
        + one::<ForceReply>(frame)
        + one::<Switchover>(frame)
        + one::<SwitchoverReply>(frame)
        + one::<Leave>(frame)
        + one::<StatusReply>(frame)
        + one::<Follow>(frame)
        + one::<Resume>(frame)
        + one::<HigherView>(frame)
        + one::<OpenSession>(frame)
        + one::<CloseSession>(frame)
        + one::<Inspect>(frame)
        + one::<InspectReply>(frame)
        + one::<SnapshotOffer>(frame)
        + one::<SnapshotRead>(frame)
        + one::<StateDigest>(frame)
        + one::<EntriesRead>(frame);
    // These look at the payload only: who calls them has looked at the kind.
    let _ = CommandRequest::decode(frame);
    let _ = DirectRequest::decode(frame);
    let _ = QueryRequest::decode(frame);
    let _ = Reply::decode(frame);
    let _ = CommandRequests::decode(frame).map(|it| it.iter().count());
    let _ = QueryRequests::decode(frame).map(|it| it.iter().count());
    let _ = Replies::decode(frame).map(|it| it.iter().count());
    assert!(requests_in(frame) > 0);
    let _ = Entries::decode(frame);
    let _ = Ack::decode(frame);
    let _ = SnapshotPiece::decode(frame);
    let _ = EntriesPiece::decode(frame);
    control
}

const KINDS: [FrameKind; 40] = [
    FrameKind::Hello,
    FrameKind::Refusal,
    FrameKind::Report,
    FrameKind::ReportReply,
    FrameKind::Swap,
    FrameKind::SwapReply,
    FrameKind::Release,
    FrameKind::TokenDead,
    FrameKind::TokenDeadReply,
    FrameKind::Lookup,
    FrameKind::LookupReply,
    FrameKind::StatusRequest,
    FrameKind::Force,
    FrameKind::ForceReply,
    FrameKind::Switchover,
    FrameKind::SwitchoverReply,
    FrameKind::Leave,
    FrameKind::StatusReply,
    FrameKind::Follow,
    FrameKind::Resume,
    FrameKind::Entries,
    FrameKind::Ack,
    FrameKind::HigherView,
    FrameKind::SnapshotOffer,
    FrameKind::SnapshotRead,
    FrameKind::SnapshotPiece,
    FrameKind::StateDigest,
    FrameKind::EntriesRead,
    FrameKind::EntriesPiece,
    FrameKind::OpenSession,
    FrameKind::CloseSession,
    FrameKind::Command,
    FrameKind::Query,
    FrameKind::Reply,
    FrameKind::Inspect,
    FrameKind::InspectReply,
    FrameKind::Direct,
    FrameKind::Commands,
    FrameKind::Queries,
    FrameKind::Replies,
];

proptest! {
    #[test]
    fn any_bytes_may_be_offered_to_any_decoder(bytes in vec(any::<u8>(), 0..600)) {
        if let Some(frame) = decode(&bytes) {
            decode_as_everything(&frame);
        }
        let _ = Frame::decode_again(&bytes);
        let _ = Entry::decode(&bytes);
        let _ = Batch::verify(bytes.clone(), LogTip::default());
        let _ = Command::decode(&bytes);
        if let Some(run) = Run::decode(&bytes) {
            prop_assert!(run.commands().count() > 0);
        }
        let _ = RunReplies::of(&bytes).count();
        let _ = SegmentHeader::decode(&bytes);
        scan(&bytes, LogTip::default(), |_| {});
    }

    #[test]
    fn any_payload_may_come_in_a_good_frame(
        kind in 0..KINDS.len(),
        payload in vec(any::<u8>(), 0..600),
    ) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KINDS[kind], |out| out.extend_from_slice(&payload));
        let frame = decode(&bytes).unwrap();
        prop_assert_eq!(frame.payload, &payload);
        // Small numbers are what postcard takes for variants and short lengths.
        prop_assert!(decode_as_everything(&frame) <= 1, "read as two messages");
    }

    #[test]
    fn payloads_of_small_numbers_get_further_and_no_worse(
        kind in 0..KINDS.len(),
        payload in vec(0..4_u8, 0..600),
    ) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KINDS[kind], |out| out.extend_from_slice(&payload));
        prop_assert!(decode_as_everything(&decode(&bytes).unwrap()) <= 1);
    }

    #[test]
    fn a_frame_reads_back_and_neither_its_beginnings_nor_its_damaged_forms_do(
        kind in 0..KINDS.len(),
        payload in vec(any::<u8>(), 0..100),
        after in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KINDS[kind], |out| out.extend_from_slice(&payload));
        let length = bytes.len();
        bytes.extend_from_slice(&after);
        let frame = decode(&bytes).unwrap();
        prop_assert_eq!((frame.kind, frame.payload, frame.len()), (KINDS[kind], &*payload, length));
        for cut in 0..length {
            let is_waiting = matches!(Frame::decode(&bytes[..cut], FRAME_PAYLOAD_BYTES_MAX), Ok(None));
            prop_assert!(is_waiting, "cut at {}", cut);
        }
        for bit in 0..length * 8 {
            let mut damaged = bytes[..length].to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&damaged).is_none(), "bit {}", bit);
        }
    }

    #[test]
    fn evidence_reads_back_and_neither_its_beginnings_nor_its_damaged_forms_do(
        evidence in any_evidence(),
    ) {
        let bytes = evidence.encode();
        prop_assert_eq!(&Evidence::decode(&bytes).unwrap(), &evidence);
        for cut in 0..bytes.len() {
            prop_assert!(Evidence::decode(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Evidence::decode(&damaged).is_err(), "bit {}", bit);
        }
    }

    #[test]
    fn what_passes_for_evidence_is_what_could_have_been_written(
        evidence in any_evidence(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = evidence.encode();
        for (at, value) in changes {
            let at = 16 + at.index(bytes.len() - 16);
            bytes[at] = value;
        }
        let checksum = crc32fast::hash(&bytes[16..]).to_le_bytes();
        bytes[12..16].copy_from_slice(&checksum);
        if let Ok(other) = Evidence::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }

    #[test]
    fn a_batch_reads_back_and_neither_its_beginnings_nor_its_damaged_forms_do(
        (before, batch) in any_batch(),
    ) {
        let bytes = batch.bytes();
        prop_assert_eq!(&Batch::verify(bytes.to_vec(), before).unwrap(), &batch);
        let mut ends = vec![0];
        for entry in batch.entries() {
            ends.push(ends.last().unwrap() + usize::try_from(entry.header.length).unwrap());
        }
        for cut in 0..bytes.len() {
            match Batch::verify(bytes[..cut].to_vec(), before) {
                Ok(shorter) => {
                    prop_assert!(ends.contains(&cut));
                    prop_assert_eq!(shorter.bytes(), &bytes[..cut]);
                }
                Err(_) => prop_assert!(cut == 0 || !ends.contains(&cut)),
            }
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Batch::verify(damaged, before).is_err(), "bit {}", bit);
        }
    }

    #[test]
    fn a_scan_never_finds_other_entries_than_were_written(
        (before, batch) in any_batch(),
        bit in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        zeros in 0..100_usize,
    ) {
        let bytes = batch.bytes();
        let beginning = |found: &[u8]| bytes.starts_with(found);
        let mut damaged = bytes.to_vec();
        let bit = bit.index(bytes.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged.resize(damaged.len() + zeros, 0);
        let found = scan(&damaged, before, |_| {});
        prop_assert!(beginning(&damaged[..found.bytes]));
        prop_assert!(found.bytes <= bit / 8);
        prop_assert_ne!(found.end, ScanEnd::Clean, "a changed entry is no clean end");

        let cut = cut.index(bytes.len());
        let mut torn = bytes[..cut].to_vec();
        torn.resize(bytes.len() + zeros, 0);
        let found = scan(&torn, before, |_| {});
        prop_assert!(beginning(&torn[..found.bytes]));
        prop_assert!(!matches!(found.end, ScanEnd::Gap(..) | ScanEnd::Damaged(_)), "cutting short is not damage");
    }

    #[test]
    fn a_segment_header_reads_back_and_its_beginnings_do_not(
        cluster: u128,
        store: u128,
        name in "[!-~]{1,32}",
        version: u32,
        before in any_start(),
    ) {
        let header = SegmentHeader {
            cluster: ClusterId(cluster),
            store: StoreId(store),
            machine: MachineId::new(&name, version).unwrap(),
            before,
        };
        let bytes = header.encode();
        prop_assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
        prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for cut in 0..bytes.len() {
            prop_assert!(SegmentHeader::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn frames_are_the_same_however_their_bytes_are_cut(
        payloads in vec((0..KINDS.len(), vec(any::<u8>(), 0..60)), 1..5),
        pieces in vec(1..40_usize, 1..5),
        after in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        for (kind, payload) in &payloads {
            encode_frame(&mut bytes, KINDS[*kind], |out| out.extend_from_slice(payload));
        }
        bytes.extend_from_slice(&after);
        let (mut arrived, mut taken, mut found) = (0, 0, Vec::new());
        for piece in pieces.iter().cycle() {
            arrived = bytes.len().min(arrived + piece);
            while let Some(frame) = decode(&bytes[taken..arrived]) {
                taken += frame.len();
                found.push((frame.kind, frame.payload.to_vec()));
            }
            if arrived == bytes.len() {
                break;
            }
        }
        let sent: Vec<_> =
            payloads.into_iter().map(|(kind, payload)| (KINDS[kind], payload)).collect();
        prop_assert!(found.starts_with(&sent), "{:?}", found);
        prop_assert_eq!(found.len(), sent.len(), "random bytes have no checksum that fits");
    }

    #[test]
    fn an_entry_that_still_stands_in_a_segment_is_found_or_reported_as_damage(
        (before, batch) in any_batch(),
        changes in vec((any::<prop::sample::Index>(), 1..=255_u8, 1..300_usize), 1..4),
        zeros in 0..100_usize,
    ) {
        let good = batch.bytes();
        let mut bytes = good.to_vec();
        bytes.resize(good.len() + zeros, 0);
        for (at, bits, blank) in changes {
            let at = at.index(bytes.len());
            if bits % 2 == 0 {
                bytes[at] ^= bits;
            } else {
                let end = bytes.len().min(at + blank);
                bytes[at..end].fill(0);
            }
        }
        let mut visited = Vec::new();
        let found = scan(&bytes, before, |entry| visited.push(entry.tip()));
        prop_assert!(good.starts_with(&bytes[..found.bytes]));
        let tips: Vec<LogTip> = batch.entries().map(|entry| entry.tip()).collect();
        prop_assert!(tips.starts_with(&visited), "an entry that was never written");
        let mut at = 0;
        for (number, entry) in batch.entries().enumerate() {
            let place = at..at + usize::try_from(entry.header.length).unwrap();
            at = place.end;
            if number >= visited.len() && bytes[place.clone()] == good[place] {
                let is_damage = matches!(found.end, ScanEnd::Damaged(_) | ScanEnd::Gap(..));
                prop_assert!(is_damage, "entry {} of {:?} is lost", number, found);
            }
        }
    }
}
