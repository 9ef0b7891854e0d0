//! A machine of one's own with a bug: the same program as `standin`, but for the machine.
//!
//! It adds up, and there are numbers at which it panics, or takes the whole process with it. So it shows what becomes
//! of such an input.
//!
//! ```text
//! brittle viewservice --listen 127.0.0.1:7000 --data vs
//! brittle replica --name a --listen 127.0.0.1:7101 --viewservice 127.0.0.1:7000 --data a --machine brittle
//! ```

use std::hint::black_box;
use std::io;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use standin::machines::counter::{Counter, decode_command, encode_add};
use standin::simulate::Subject;
use standin::time::WallTime;
use standin::{Context, RandomStream, StateMachine};

/// It panics when this is added.
const UNLUCKY: i64 = 13;
/// The process aborts when this is added.
const DEADLY: i64 = -13_001;
/// The stack overflows when this is added, which ends the process, too.
const BOTTOMLESS: i64 = -13_002;
/// When this is added a timer is set, and the process aborts when it is due.
const DOOMED: i64 = -13_003;
/// How long that is, in nanoseconds of logged time.
const DOOM_NS: u64 = 100_000_000;
/// It takes its time when this is added.
const SLOW: i64 = -13_004;
const SLOWNESS: Duration = Duration::from_millis(700);
/// Instead of adding this it does nothing, for a while.
const IDLE: i64 = -13_005;
const IDLENESS: Duration = Duration::from_millis(1);

/// A counter with a bug.
#[derive(Default)]
struct Brittle(Counter);

impl StateMachine for Brittle {
    const NAME: &'static str = "brittle";
    const VERSION: u32 = 1;
    type Capture = <Counter as StateMachine>::Capture;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        if decode_command(command) == Some(IDLE) {
            thread::sleep(IDLENESS);
            return self.0.apply(ctx, &encode_add(0), reply);
        }
        // What is done before the panic must not be seen by anybody.
        self.0.apply(ctx, command, reply);
        match decode_command(command) {
            Some(UNLUCKY) => panic!("{UNLUCKY} is unlucky"),
            Some(DEADLY) => process::abort(),
            Some(BOTTOMLESS) => drop(fall(1)),
            Some(SLOW) => thread::sleep(SLOWNESS),
            Some(DOOMED) => {
                let at = WallTime(ctx.now().0 + DOOM_NS);
                ctx.set_timer(1, at);
            }
            _ => {}
        }
    }

    fn timer(&mut self, _ctx: &mut Context<'_>, _id: u64) {
        process::abort();
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        assert!(query != encode_add(UNLUCKY), "that is no question");
        self.0.query(query, reply);
    }

    fn capture(&self) -> Self::Capture {
        self.0.capture()
    }

    fn write_capture(capture: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()> {
        Counter::write_capture(capture, out)
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        Counter::restore(input).map(Self)
    }
}

impl Subject for Brittle {
    fn draw_command(random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        Counter::draw_command(random, None)
    }

    fn draw_query(random: &mut RandomStream) -> Vec<u8> {
        Counter::draw_query(random)
    }
}

/// Calls itself until there is no stack left.
#[expect(unconditional_recursion, reason = "that is the bug")]
fn fall(depth: u64) -> Vec<u64> {
    let mut below = fall(black_box(depth + 1));
    below.push(depth);
    below
}

fn main() -> ExitCode {
    standin::cli::main_with::<Brittle>()
}
