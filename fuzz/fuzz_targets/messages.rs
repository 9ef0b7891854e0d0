//! A message that decodes reads back as itself, and neither less nor more of its payload does.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind, encode_frame};
use standin_core::mark::Fatal;
use standin_core::message::*;

const KINDS: [FrameKind; 48] = [
    FrameKind::Hello,
    FrameKind::Refusal,
    FrameKind::Report,
    FrameKind::ReportReply,
    FrameKind::Swap,
    FrameKind::SwapReply,
    FrameKind::Release,
    FrameKind::TokenDead,
    FrameKind::TokenDeadReply,
    FrameKind::Died,
    FrameKind::DiedReply,
    FrameKind::HistoryRequest,
    FrameKind::HistoryReply,
    FrameKind::Poisoned,
    FrameKind::Fatal,
    FrameKind::Witness,
    FrameKind::Rebuild,
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
    FrameKind::OpenSession,
    FrameKind::CloseSession,
    FrameKind::Command,
    FrameKind::Query,
    FrameKind::Direct,
    FrameKind::Reply,
    FrameKind::Inspect,
    FrameKind::InspectReply,
    FrameKind::SnapshotOffer,
    FrameKind::SnapshotRead,
    FrameKind::SnapshotPiece,
    FrameKind::StateDigest,
    FrameKind::EntriesRead,
    FrameKind::EntriesPiece,
    FrameKind::Commands,
    FrameKind::Queries,
    FrameKind::Replies,
];

fn decode_frame(bytes: &[u8]) -> Frame<'_> {
    let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX);
    frame.expect("a good frame").expect("a whole frame")
}

/// Checks a message that is encoded with postcard.
fn message<T: Message + PartialEq + Debug>(frame: &Frame<'_>) -> Option<T> {
    let message = T::decode(frame).ok()?;
    let mut again = Vec::new();
    message.encode(&mut again);
    let again = decode_frame(&again);
    assert!(
        again.payload.len() <= frame.payload.len(),
        "the encoding is not the shortest: {message:?}"
    );
    assert_eq!(T::decode(&again).as_ref(), Ok(&message));
    let is_refused = |payload: &[u8]| {
        let kind = frame.kind;
        T::decode(&Frame { kind, payload }).is_err()
    };
    assert!(is_refused(&[frame.payload, &[0]].concat()), "{message:?}");
    if let [shorter @ .., _] = frame.payload {
        assert!(is_refused(shorter), "{message:?}");
    }
    Some(message)
}

/// Checks a message of fixed fields: its encoding must be the very bytes.
fn fixed<T: Debug>(
    frame: &Frame<'_>,
    decoded: Result<T, DecodeError>,
    encode: fn(&T, &mut Vec<u8>),
) {
    let Ok(message) = decoded else {
        return;
    };
    let mut again = Vec::new();
    encode(&message, &mut again);
    let again = decode_frame(&again);
    assert_eq!(
        (again.kind, again.payload),
        (frame.kind, frame.payload),
        "{message:?}"
    );
}

/// Checks several requests in a frame: together they are the very bytes, and each is one that could be by itself.
fn check_several(frame: &Frame<'_>) {
    let mut again = Vec::new();
    let mut count = 0;
    if frame.kind == FrameKind::Commands
        && let Ok(commands) = CommandRequests::decode(frame)
    {
        let all: Vec<_> = commands.iter().collect();
        let write = |at: usize, out: &mut Vec<u8>| out.extend_from_slice(all[at].bytes);
        CommandRequests::encode(&all[0], all.len(), write, &mut again);
        count = all.len();
    } else if frame.kind == FrameKind::Queries
        && let Ok(queries) = QueryRequests::decode(frame)
    {
        let all: Vec<_> = queries.iter().collect();
        let write = |at: usize, out: &mut Vec<u8>| out.extend_from_slice(all[at].bytes);
        QueryRequests::encode(&all[0], all.len(), write, &mut again);
        count = all.len();
    }
    if count > 0 {
        assert_eq!(requests_in(frame), count as u64);
        let again = decode_frame(&again);
        let same = (again.kind, again.payload) == (frame.kind, frame.payload);
        assert!(same, "several requests are encoded otherwise");
    }
}

/// Checks several replies in a frame: encoded again, in as many frames as it takes, they are the same.
fn check_replies(frame: &Frame<'_>) {
    let Ok(replies) = Replies::decode(frame) else {
        return;
    };
    let mut bytes = Vec::new();
    encode_replies(replies.iter(), &mut bytes);
    let mut rest = bytes.as_slice();
    let mut again = Vec::new();
    while !rest.is_empty() {
        let frame = decode_frame(rest);
        rest = &rest[frame.len()..];
        again.extend(Replies::decode(&frame).expect("our own replies").iter());
    }
    assert!(
        again.into_iter().eq(replies.iter()),
        "replies are encoded otherwise"
    );
}

fn check(frame: &Frame<'_>) {
    match frame.kind {
        FrameKind::Hello => {
            if let Some(hello) = message::<Hello>(frame) {
                assert_eq!(
                    hello.check(hello.cluster, hello.machine.as_ref()),
                    hello.check(None, None)
                );
            }
        }
        FrameKind::Refusal => {
            if let Some(refusal) = message::<Refusal>(frame) {
                let words = refusal.to_string();
                assert!(
                    !words.contains('\n'),
                    "a refusal in several lines: {words:?}"
                );
            }
        }
        FrameKind::Report => drop(message::<Report>(frame)),
        FrameKind::ReportReply => drop(message::<ReportReply>(frame)),
        FrameKind::Swap => drop(message::<Swap>(frame)),
        FrameKind::SwapReply => drop(message::<SwapReply>(frame)),
        FrameKind::Release => drop(message::<Release>(frame)),
        FrameKind::TokenDead => drop(message::<TokenDead>(frame)),
        FrameKind::TokenDeadReply => drop(message::<TokenDeadReply>(frame)),
        FrameKind::Died => drop(message::<Died>(frame)),
        FrameKind::Poisoned => drop(message::<Poisoned>(frame)),
        FrameKind::Fatal => drop(message::<Fatal>(frame)),
        FrameKind::Witness => drop(message::<Witness>(frame)),
        FrameKind::Rebuild => drop(message::<Rebuild>(frame)),
        FrameKind::DiedReply => drop(message::<DiedReply>(frame)),
        FrameKind::HistoryRequest => drop(message::<HistoryRequest>(frame)),
        FrameKind::HistoryReply => drop(message::<HistoryReply>(frame)),
        FrameKind::Lookup => drop(message::<Lookup>(frame)),
        FrameKind::LookupReply => drop(message::<LookupReply>(frame)),
        FrameKind::StatusRequest => drop(message::<StatusRequest>(frame)),
        FrameKind::Force => drop(message::<Force>(frame)),
        FrameKind::ForceReply => drop(message::<ForceReply>(frame)),
        FrameKind::Switchover => drop(message::<Switchover>(frame)),
        FrameKind::SwitchoverReply => drop(message::<SwitchoverReply>(frame)),
        FrameKind::Leave => drop(message::<Leave>(frame)),
        FrameKind::StatusReply => drop(message::<StatusReply>(frame)),
        FrameKind::Follow => drop(message::<Follow>(frame)),
        FrameKind::Resume => drop(message::<Resume>(frame)),
        FrameKind::HigherView => drop(message::<HigherView>(frame)),
        FrameKind::OpenSession => drop(message::<OpenSession>(frame)),
        FrameKind::CloseSession => drop(message::<CloseSession>(frame)),
        FrameKind::Inspect => drop(message::<Inspect>(frame)),
        FrameKind::InspectReply => drop(message::<InspectReply>(frame)),
        FrameKind::Command => fixed(frame, CommandRequest::decode(frame), CommandRequest::encode),
        FrameKind::Direct => fixed(frame, DirectRequest::decode(frame), DirectRequest::encode),
        FrameKind::Query => fixed(frame, QueryRequest::decode(frame), QueryRequest::encode),
        FrameKind::Commands | FrameKind::Queries => check_several(frame),
        FrameKind::Replies => check_replies(frame),
        FrameKind::Reply => fixed(frame, Reply::decode(frame), Reply::encode),
        FrameKind::Entries => fixed(frame, Entries::decode(frame), Entries::encode),
        FrameKind::Ack => fixed(frame, Ack::decode(frame), Ack::encode),
        FrameKind::SnapshotOffer => {
            if let Some(bytes) = message::<SnapshotOffer>(frame).and_then(|it| it.file_bytes()) {
                assert!(bytes > 0);
            }
        }
        FrameKind::SnapshotRead => drop(message::<SnapshotRead>(frame)),
        FrameKind::SnapshotPiece => {
            fixed(frame, SnapshotPiece::decode(frame), SnapshotPiece::encode);
        }
        FrameKind::StateDigest => drop(message::<StateDigest>(frame)),
        FrameKind::EntriesRead => drop(message::<EntriesRead>(frame)),
        FrameKind::EntriesPiece => {
            fixed(frame, EntriesPiece::decode(frame), EntriesPiece::encode);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [kind, payload @ ..] = data else {
        return;
    };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, kind, |out| out.extend_from_slice(payload));
    check(&decode_frame(&bytes));
});
