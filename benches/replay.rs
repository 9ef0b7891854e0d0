//! What a replay costs: `cargo bench --bench replay`, and `-- 8` for logs of eight million entries.
//!
//! It writes a log of the counter and one of the database as a primary does, in batches, and reads them with everything in
//! the page cache: the plain bytes, and then the replay, each in a process of its own, so that its memory can be
//! seen. What counts is processor time, of which others on the machine take little. It prints; it judges nothing.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Command as Process;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use standin::machines::counter::{Counter, encode_add};
use standin::machines::kv::{KeyValue, arguments};
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, Command, EntryKind, Index, LogTip, ViewStart,
};
use standin_core::identity::{ClusterId, Durability, Incarnation, ReplicaName, StoreId};
use standin_core::machine::{MachineId, StateMachine};
use standin_core::message::encode_payload;
use standin_core::random::RandomStream;
use standin_core::session::SessionLimits;
use standin_core::time::{Duration, WallTime};
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::log::{LogConfig, SegmentIds, SegmentLog};
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;
use standin_tools::replay::{ReplayOptions, replay};

use support::{sure, tell};

const MILLION: u64 = 1_000_000;
/// Entries of a log, unless something else is asked for, in millions.
const MILLIONS: u64 = 4;
/// Entries of a batch: what a wake-up of a primary brings at 50 connections x 16 in flight.
const BATCH_ENTRIES: u64 = 500;
/// Sessions that the counter's commands come from, with so many in flight each.
const SESSIONS: u64 = 50;
const DEPTH: u64 = 16;
/// Keys of the database, which are drawn.
const KEYS: u64 = 100_000;
/// How much of a file is read at a time.
const PIECE_BYTES: usize = 2 << 20;
/// The best of so many is told: the least that others on the machine took part of.
const ROUNDS: usize = 5;
/// Begins the arguments of a process that replays one log.
const REPLAYS: &str = "--replays";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, machine, dir] = words.as_slice()
        && first == REPLAYS
    {
        return match machine.as_str() {
            Counter::NAME => replay_here::<Counter>(Path::new(dir)),
            _ => replay_here::<KeyValue>(Path::new(dir)),
        };
    }
    let millions = words.iter().find_map(|word| word.parse().ok());
    let entries = millions.unwrap_or(MILLIONS) * MILLION;
    // What is left of a longer log's memory is the state, and what the replay needs beside it.
    for entries in [entries, entries * 2] {
        let mut sequences: Vec<u64> = (0..SESSIONS).map(|_| 0).collect();
        measure::<Counter>(entries, &mut |random, builder| {
            let session = random.next_u64() % SESSIONS;
            let place = usize::try_from(session).expect("few");
            sequences[place] += 1;
            let sequence = sequences[place];
            let command = Command {
                session: first_session() + session,
                sequence,
                acknowledged: sequence.saturating_sub(DEPTH),
                bytes: &encode_add(1),
            };
            builder.push(EntryKind::Command, |out| command.encode(out));
        });
        let mut number = 0_u64;
        measure::<KeyValue>(entries, &mut |random, builder| {
            number += 1;
            let key = format!("key:{:012}", random.next_u64() % KEYS);
            let value = format!("value:{number:010}");
            let counted: [&[u8]; 2] = [b"INCR", b"visits"];
            let set: [&[u8]; 3] = [b"SET", key.as_bytes(), value.as_bytes()];
            let words: &[&[u8]] = match number % 2 {
                0 => &counted,
                _ => &set,
            };
            let command = arguments::command(Version::Resp2, DatabaseId::default(), words);
            builder.push(EntryKind::Direct, |out| out.extend_from_slice(&command));
        });
    }
}

/// The entry that opens the first session: it comes after the ViewStart.
fn first_session() -> u64 {
    2
}

/// Writes a log with so many entries, each pushed by `push`, and reads it.
fn measure<M: StateMachine>(
    entries: u64,
    push: &mut dyn FnMut(&mut RandomStream, &mut BatchBuilder),
) {
    let root = sure(tempfile::tempdir());
    let bytes = write::<M>(root.path(), entries, push);
    // The first time it may come from the disk.
    let plain = (0..=ROUNDS).map(|_| read_all(&root.path().join("log")));
    let (plain, read) = plain.skip(1).min().expect("there are rounds");
    let rounds = (0..ROUNDS).map(|_| replay_apart::<M>(root.path()));
    let rounds: Vec<(u64, u64)> = rounds.collect();
    let best = rounds.iter().min().expect("there are rounds").0;
    let grown: Vec<u64> = rounds.iter().map(|round| round.1).collect();
    tell(format_args!(
        "{}: {entries} entries, {:.0} MB; read alone {:.0} MB/s; replayed {:.2} M entries/s, {:.0} MB/s; memory grew by {grown:?} KiB",
        M::NAME,
        bytes as f64 / 1e6,
        read as f64 / plain as f64,
        entries as f64 / best as f64,
        bytes as f64 / best as f64,
    ));
}

/// Says how many bytes the entries take.
fn write<M: StateMachine>(
    dir: &Path,
    entries: u64,
    push: &mut dyn FnMut(&mut RandomStream, &mut BatchBuilder),
) -> u64 {
    let ids = SegmentIds {
        cluster: ClusterId(1),
        store: StoreId(2),
        machine: MachineId::of::<M>(),
    };
    let (mut log, _) = sure(SegmentLog::open(dir, ids, LogConfig::default()));
    let mut random = RandomStream::new(1, 1);
    sure(log.append(&begin(log.tip())));
    let (mut time, mut bytes) = (1, 0);
    while log.tip().index.0 < entries {
        time += 500_000;
        let mut builder = BatchBuilder::new(log.tip(), stamp(log.tip(), time, &mut random));
        let left = entries - log.tip().index.0;
        for _ in 0..left.min(BATCH_ENTRIES) {
            push(&mut random, &mut builder);
        }
        let batch = builder.finish().expect("it has entries");
        bytes += batch.bytes().len() as u64;
        sure(log.append(&batch));
    }
    sure(log.sync_now());
    bytes
}

fn stamp(tip: LogTip, time: u64, random: &mut RandomStream) -> BatchStamp {
    BatchStamp {
        view: ViewNumber(1),
        time: WallTime(time),
        seed: random.next_u64(),
        commit: tip.index,
    }
}

/// A view begins, and sessions are opened.
fn begin(tip: LogTip) -> Batch {
    let limits = SessionLimits::default();
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).expect("short");
    let start = ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("a").expect("a good name"),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: milliseconds(limits.timeout),
        sessions_max: limits.sessions_max,
        replies_bytes_max: limits.replies_bytes_max,
        session_idle_min_ms: milliseconds(limits.idle_min),
        skips: Vec::new(),
        machine_version: Some(1),
    };
    let mut builder = BatchBuilder::new(tip, stamp(tip, 1, &mut RandomStream::new(1, 2)));
    builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
    for _ in 0..SESSIONS {
        builder.push(EntryKind::OpenSession, |_| {});
    }
    builder.finish().expect("it has entries")
}

/// Reads all segments in pieces: how many microseconds that took, and how many bytes they are, with the room that is
/// not used yet.
fn read_all(log: &Path) -> (u64, u64) {
    let begun = processor_us();
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    for file in sure(fs::read_dir(log)) {
        let mut file = sure(File::open(sure(file).path()));
        loop {
            let count = sure(file.read(&mut piece));
            bytes += count as u64;
            if count == 0 {
                break;
            }
        }
    }
    (processor_us() - begun, bytes)
}

/// The processor time that this process has taken so far, in microseconds.
fn processor_us() -> u64 {
    let usage = sure(getrusage(UsageWho::RUSAGE_SELF));
    let all = usage.user_time() + usage.system_time();
    u64::try_from(all.num_microseconds()).expect("time goes on")
}

/// Replays in a process of its own: how many microseconds that took, and by how many KiB its memory grew.
fn replay_apart<M: StateMachine>(dir: &Path) -> (u64, u64) {
    let program = sure(std::env::current_exe());
    let mut process = Process::new(program);
    process.arg(REPLAYS).arg(M::NAME).arg(dir);
    let output = sure(process.output());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace();
    let mut next = || words.next().expect("two figures");
    (sure(next().parse()), sure(next().parse()))
}

fn replay_here<M: StateMachine>(dir: &Path) {
    let before = memory_kib("VmRSS:");
    let begun = processor_us();
    let replayed = sure(replay::<M>(dir, ReplayOptions::default(), &mut |_, _| {}));
    let took = processor_us() - begun;
    assert_ne!(replayed.state.applied(), Index::ZERO);
    let grown = memory_kib("VmHWM:").saturating_sub(before);
    tell(format_args!("{took} {grown}"));
}

/// A figure of this process's memory in /proc.
fn memory_kib(name: &str) -> u64 {
    let status = sure(fs::read_to_string("/proc/self/status"));
    let mut lines = status.lines().filter_map(|line| line.strip_prefix(name));
    let figure = lines
        .next()
        .and_then(|line| line.trim().strip_suffix(" kB"));
    figure.and_then(|kib| kib.trim().parse().ok()).unwrap_or(0)
}
