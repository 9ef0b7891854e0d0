//! What the machine costs: `cargo bench -p standin-kv --bench machine`, and `-- 10` for ten million keys.
//!
//! It prints; it judges nothing, for how long something takes is the machine's doing as well. Where page tables
//! are walked slowly, `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` before it shows what pages of 2 MiB make of it.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it takes times"
)]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]

use std::array::from_fn;
use std::fs;
use std::hint::black_box;
use std::time::Instant;

use standin_core::digest::Digester;
use standin_core::machine::StateMachine as _;
use standin_core::time::WallTime;
use standin_kv::arguments;
use standin_kv::keyspace::DatabaseId;
use standin_kv::{KeyValue, Moment};
use standin_resp::Version;

const MILLION: u64 = 1_000_000;
/// Operations of each measurement.
const OPERATIONS: u64 = 1_000_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let sizes: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1] } else { sizes };
    for millions in sizes {
        measure(millions * MILLION);
    }
}

/// A machine, and where its log stands.
#[derive(Default)]
struct Bench {
    machine: KeyValue,
    index: u64,
    command: Vec<u8>,
    reply: Vec<u8>,
    rest: u64,
}

impl Bench {
    fn command(&mut self, args: &[&[u8]]) {
        self.command.clear();
        arguments::begin_command(&mut self.command, Version::Resp2, DatabaseId::default());
        for arg in args {
            arguments::put_argument(&mut self.command, arg);
        }
    }

    fn apply(&mut self, args: &[&[u8]]) {
        self.command(args);
        self.index += 1;
        self.reply.clear();
        let moment = Moment {
            now: WallTime(1_700_000_000_000_000_000 + self.index * 1000),
            index: self.index,
        };
        let random = &mut || 4;
        let alarm = (self.machine).execute(moment, random, &self.command, &mut self.reply);
        black_box(alarm);
    }

    fn query(&mut self, args: &[&[u8]]) {
        self.command(args);
        self.reply.clear();
        self.machine.query(&self.command, &mut self.reply);
    }

    /// A number below `bound`, none like the one before.
    fn chance(&mut self, bound: u64) -> u64 {
        self.rest = self
            .rest
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.rest >> 20) % bound
    }
}

fn measure(count: u64) {
    println!("{count} keys of 16 bytes, values of 16 bytes");
    let before = resident_bytes();
    let mut bench = Bench::default();
    let begin = Instant::now();
    for number in 0..count {
        bench.apply(&[b"SET", key(number).as_bytes(), b"0123456789abcdef"]);
    }
    tell("SET, new keys", begin, count);
    let bytes = resident_bytes() - before;
    println!("  {} bytes a key, all told", bytes / count);
    time(&mut bench, "SET", |bench| {
        let key = key(bench.chance(count));
        bench.apply(&[b"SET", key.as_bytes(), b"0123456789abcdeg"]);
    });
    time(&mut bench, "GET, as a query", |bench| {
        let key = key(bench.chance(count));
        bench.query(&[b"GET", key.as_bytes()]);
    });
    time(&mut bench, "GET, as an entry", |bench| {
        let key = key(bench.chance(count));
        bench.apply(&[b"GET", key.as_bytes()]);
    });
    time(&mut bench, "INCR of one key", |bench| {
        bench.apply(&[b"INCR", b"counter"]);
    });
    time(&mut bench, "encoding alone", |bench| {
        bench.command(&[b"INCR", b"counter"]);
    });
    time(&mut bench, "PING", |bench| {
        bench.query(&[b"PING"]);
    });
    for number in 0..count {
        bench.apply(&[b"SET", key(number).as_bytes(), b"7"]);
    }
    time(&mut bench, "INCR", |bench| {
        let key = key(bench.chance(count));
        bench.apply(&[b"INCR", key.as_bytes()]);
    });
    time(
        &mut bench,
        "INCR, prefetched with fifteen others",
        |bench| {
            if bench.index.is_multiple_of(16) {
                let here = bench.rest;
                let commands: [Vec<u8>; 16] = from_fn(|_| {
                    let key = key(bench.chance(count));
                    bench.command(&[b"INCR", key.as_bytes()]);
                    bench.command.clone()
                });
                bench.rest = here;
                let mut commands = commands.iter().map(Vec::as_slice);
                bench.machine.prefetch(&mut commands);
            }
            let key = key(bench.chance(count));
            bench.apply(&[b"INCR", key.as_bytes()]);
        },
    );
    captures(&mut bench, count);
    time(&mut bench, "PEXPIRE", |bench| {
        let key = key(bench.chance(count));
        let millis = (100_000_000 + bench.chance(1_000_000)).to_string();
        bench.apply(&[b"PEXPIRE", key.as_bytes(), millis.as_bytes()]);
    });
    time(&mut bench, "INCR, many keys with deadlines", |bench| {
        let key = key(bench.chance(count));
        bench.apply(&[b"INCR", key.as_bytes()]);
    });
    let begin = Instant::now();
    bench.apply(&[b"FLUSHALL"]);
    println!("  FLUSHALL: {:.1} us", begin.elapsed().as_secs_f64() * 1e6);
}

fn captures(bench: &mut Bench, count: u64) {
    let begin = Instant::now();
    let capture = bench.machine.capture();
    println!("  capture(): {:.1} us", begin.elapsed().as_secs_f64() * 1e6);
    let mut slowest = 0_u64;
    let begin = Instant::now();
    for _ in 0..OPERATIONS / 10 {
        let key = key(bench.chance(count));
        let one = Instant::now();
        bench.apply(&[b"INCR", key.as_bytes()]);
        slowest = slowest.max(u64::try_from(one.elapsed().as_nanos()).unwrap());
    }
    tell("INCR, right after a capture", begin, OPERATIONS / 10);
    println!("  the slowest of them: {:.1} us", slowest as f64 / 1e3);
    let begin = Instant::now();
    let mut digester = Digester::default();
    let mut out = std::io::BufWriter::with_capacity(64 << 10, &mut digester);
    KeyValue::write_capture(&capture, &mut out).unwrap();
    drop(out);
    tell("write_capture, for each key", begin, count);
    let mut bytes = Vec::new();
    KeyValue::write_capture(&capture, &mut bytes).unwrap();
    drop(capture);
    let begin = Instant::now();
    let again = KeyValue::restore(&mut bytes.as_slice()).unwrap();
    tell("restore, for each key", begin, count);
    println!("  {} bytes a key, written", bytes.len() as u64 / count);
    drop(again);
}

fn time(bench: &mut Bench, what: &str, mut one: impl FnMut(&mut Bench)) {
    let begin = Instant::now();
    for _ in 0..OPERATIONS {
        one(bench);
    }
    tell(what, begin, OPERATIONS);
}

fn tell(what: &str, begin: Instant, operations: u64) {
    let nanos = begin.elapsed().as_secs_f64() * 1e9;
    println!("  {what}: {:.0} ns", nanos / operations as f64);
}

/// A key of 16 bytes, without an allocation.
fn key(number: u64) -> Name {
    let mut name = *b"key:000000000000";
    let mut rest = number;
    for place in (4..16).rev() {
        name[place] = b'0' + u8::try_from(rest % 10).unwrap();
        rest /= 10;
    }
    Name(name)
}

struct Name([u8; 16]);

impl Name {
    fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Memory of this process that is in use.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
