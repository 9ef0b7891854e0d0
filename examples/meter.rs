//! A state machine of one's own, whole: a parking meter. Coins buy time, a timer ends it, and every
//! ticket has a random number. Time, randomness and the timer are inputs from the log, so a second
//! replica that applies the same log prints the same tickets.
//!
//! `cargo run --example meter` applies a log to two replicas and compares them.
#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::io;

use standin::entry::{BatchBuilder, BatchStamp, Command, EntryKind, Index, LogTip};
use standin::machine::{Context, StateMachine};
use standin::state::Replicated;
use standin::time::{Duration, WallTime};
use standin::view::ViewNumber;

/// The parking meter. All of its state is in here, and it looks at nothing else.
#[derive(Default)]
struct Meter {
    coins: u64,
    paid_until: WallTime,
    expired: u64,
}

const EXPIRY: u64 = 1; // this machine's number for its one timer

impl StateMachine for Meter {
    const NAME: &'static str = "meter";
    const VERSION: u32 = 1;
    type Capture = [u64; 3];

    /// Each command is some coins; each coin is a minute. The reply is the ticket.
    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        let coins = command.len() as u64;
        self.coins += coins;
        self.paid_until = self
            .paid_until
            .max(ctx.now())
            .plus(Duration::from_secs(60 * coins));
        ctx.set_timer(EXPIRY, self.paid_until);
        reply.extend_from_slice(format!("ticket {:06}", ctx.random() % 1_000_000).as_bytes());
    }

    fn timer(&mut self, _ctx: &mut Context<'_>, _id: u64) {
        self.expired += 1;
    }

    fn query(&self, _query: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(format!("{} coins", self.coins).as_bytes());
    }

    fn capture(&self) -> Self::Capture {
        [self.coins, self.paid_until.0, self.expired]
    }

    fn write_capture(capture: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()> {
        capture
            .iter()
            .try_for_each(|field| out.write_all(&field.to_le_bytes()))
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut field = || {
            let mut bytes = [0; 8];
            input
                .read_exact(&mut bytes)
                .map(|()| u64::from_le_bytes(bytes))
        };
        Ok(Self {
            coins: field()?,
            paid_until: WallTime(field()?),
            expired: field()?,
        })
    }
}

fn main() {
    // A log as a primary writes it: here by hand, with one session and three commands.
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(1_700_000_000_000_000_000),
        seed: 42,
        commit: Index::ZERO,
    };
    let before = LogTip {
        view: ViewNumber(1),
        ..LogTip::default()
    };
    let mut builder = BatchBuilder::new(before, stamp);
    let session = builder.push(EntryKind::OpenSession, |_| {}).0;
    for sequence in 1..=3 {
        let command = Command {
            session,
            sequence,
            acknowledged: 0,
            bytes: b"cc",
        };
        builder.push(EntryKind::Command, |out| command.encode(out));
    }
    let log = builder.finish().expect("four entries");

    let mut replicas = [Replicated::<Meter>::default(), Replicated::default()];
    for replica in &mut replicas {
        for entry in log.entries() {
            let mut reply = Vec::new();
            let outcome = replica.apply(&entry, &mut reply);
            outcome.expect("this machine does not panic");
            if entry.header.kind == EntryKind::Command {
                println!("{}", String::from_utf8_lossy(&reply));
            }
        }
    }
    let [first, second] = replicas.map(|replica| replica.state_digest());
    assert_eq!(first, second, "the same log leads to the same state");
    println!("both replicas have the state {first:032x}");
}
