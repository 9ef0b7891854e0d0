//! What each request passes, piece by piece: `cargo bench --bench hot`.
//!
//! To compare two commits: `cargo bench --bench hot -- --save-baseline before` at the one, `-- --baseline before` at the
//! other. It judges nothing.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it takes times"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime as Clock;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use standin::machines::kv::{KeyValue, arguments};
use standin_core::digest::DigestChain;
use standin_core::entry::{Batch, BatchBuilder, BatchStamp, Command, EntryKind, Index, LogTip};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame};
use standin_core::message::{DirectRequest, Seen};
use standin_core::session::{SessionTable, Verdict};
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;
use standin_resp::request::{Limits, RequestParser};

use support::sure;

/// Entries of a batch: what a wake-up of a primary brings at 50 connections x 16 in flight, about.
const BATCH_ENTRIES: u64 = 300;
/// Bytes of each, about.
const ENTRY_BYTES: usize = 100;
const SESSIONS: u64 = 50;
/// Requests of one session that come together.
const RUN: u64 = 16;
const REQUEST: &[u8] = b"*2\r\n$4\r\nINCR\r\n$16\r\nkey:000000000000\r\n";
const REPLY: &[u8] = b":123456\r\n";

fn command() -> Vec<u8> {
    let words = [&b"INCR"[..], b"key:000000000000"];
    arguments::command(Version::Resp2, DatabaseId::default(), &words)
}

/// The batch that follows the entry at `index`.
fn batch(index: u64, command: &[u8]) -> Batch {
    let view = ViewNumber(1);
    let before = LogTip {
        index: Index(index),
        view,
        ..LogTip::default()
    };
    let stamp = BatchStamp {
        view,
        time: WallTime(1_000_000 * index),
        seed: 7,
        commit: Index(index),
    };
    let mut builder = BatchBuilder::new(before, stamp);
    builder.reserve(ENTRY_BYTES * usize::try_from(BATCH_ENTRIES).expect("small"));
    for _ in 0..BATCH_ENTRIES {
        builder.push(EntryKind::Direct, |out| out.extend_from_slice(command));
    }
    builder.finish().expect("it has entries")
}

fn group<'a>(all: &'a mut Criterion, name: &str, each: u64) -> BenchmarkGroup<'a, Clock> {
    let mut group = all.benchmark_group(name);
    group.throughput(Throughput::Elements(each));
    group
}

fn requests(all: &mut Criterion) {
    let mut group = group(all, "requests", RUN);
    let plain = REQUEST.repeat(usize::try_from(RUN).expect("small"));
    group.bench_function("parse (Redis's protocol)", |bencher| {
        let mut parser = RequestParser::new();
        let limits = Limits::default();
        bencher.iter(|| {
            let mut at = 0;
            while let Some(request) = sure(parser.parse(black_box(&plain[at..]), &limits)) {
                at += request.consumed();
            }
            assert_eq!(at, plain.len());
        });
    });
    let command = command();
    let mut frames = Vec::new();
    for id in 0..RUN {
        let request = DirectRequest {
            id,
            seen: Seen::default(),
            bytes: &command,
        };
        request.encode(&mut frames);
    }
    group.bench_function("decode and check (native)", |bencher| {
        bencher.iter(|| {
            let mut at = 0;
            while let Some(frame) = sure(Frame::decode(
                &black_box(&frames)[at..],
                FRAME_PAYLOAD_BYTES_MAX,
            )) {
                at += frame.len();
                black_box(sure(DirectRequest::decode(&frame)));
            }
        });
    });
    group.finish();
}

fn entries(all: &mut Criterion) {
    let mut group = group(all, "entries", BATCH_ENTRIES);
    let command = command();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| batch(1, black_box(&command)))
    });
    let encoded = batch(1, &command);
    let before = LogTip {
        index: Index(1),
        view: ViewNumber(1),
        ..LogTip::default()
    };
    group.bench_function("check and chain", |bencher| {
        bencher.iter(|| sure(Batch::verify(black_box(encoded.bytes()).to_vec(), before)));
    });
    group.bench_function("apply", |bencher| {
        bencher.iter_custom(|count| {
            let mut state = Replicated::<KeyValue>::default();
            state.begin(1);
            let mut reply = Vec::new();
            let mut time = Duration::ZERO;
            for _ in 0..count {
                let batch = batch(state.applied().0, &command);
                let begun = Instant::now();
                for entry in batch.entries() {
                    reply.clear();
                    state
                        .apply(&entry, &mut reply)
                        .expect("the machine does not fail");
                }
                time += begun.elapsed();
            }
            time
        });
    });
    group.bench_function("digest of replies", |bencher| {
        let mut chain = DigestChain::default();
        bencher.iter(|| {
            for index in 0..BATCH_ENTRIES {
                chain.add(index, 0, black_box(REPLY));
            }
            chain
        });
    });
    group.finish();
}

fn sessions(all: &mut Criterion) {
    let mut group = group(all, "sessions", SESSIONS * RUN);
    let command = command();
    group.bench_function("check and remember", |bencher| {
        let mut table = SessionTable::default();
        let mut now = 1;
        for id in 1..=SESSIONS {
            assert!(table.open(id, WallTime(now)));
        }
        let mut sequence = 0;
        bencher.iter(|| {
            now += 1;
            let time = WallTime(now);
            for id in 1..=SESSIONS {
                for number in 1..=RUN {
                    let request = Command {
                        session: id,
                        sequence: sequence + number,
                        acknowledged: sequence,
                        bytes: &command,
                    };
                    table.expire(time);
                    let verdict = table.admit(id, request.sequence, request.acknowledged, time);
                    assert_eq!(verdict, Verdict::Execute);
                    table.remember(id, request.sequence, REPLY);
                }
            }
            sequence += RUN;
        });
    });
    group.finish();
}

criterion_group!(hot, requests, entries, sessions);
criterion_main!(hot);
