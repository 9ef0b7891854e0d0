//! A machine of one's own that can be made slow while it runs: the same program as `standin`, but for the machine.
//!
//! It adds up, and for each entry it sleeps as many microseconds as a file says that lies beside its data directory. So it
//! shows what becomes of a replica that cannot keep up. (A machine must not look at the world for what it replies; how
//! long it takes is its own affair.)
//!
//! ```text
//! sluggish viewservice --listen 127.0.0.1:7000 --data vs
//! sluggish replica --name a --listen 127.0.0.1:7101 --viewservice 127.0.0.1:7000 --data a --machine sluggish
//! echo 20000 > a.sluggish
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io, thread};

use standin::machines::counter::Counter;
use standin::simulate::Subject;
use standin::{Context, RandomStream, StateMachine};

/// A counter that takes its time.
#[derive(Default)]
struct Sluggish(Counter);

impl StateMachine for Sluggish {
    const NAME: &'static str = "sluggish";
    const VERSION: u32 = 1;
    type Capture = <Counter as StateMachine>::Capture;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        if let Some(nap) = nap() {
            thread::sleep(nap);
        }
        self.0.apply(ctx, command, reply);
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
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

impl Subject for Sluggish {
    fn draw_command(random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        Counter::draw_command(random, None)
    }

    fn draw_query(random: &mut RandomStream) -> Vec<u8> {
        Counter::draw_query(random)
    }
}

/// How long an entry is to take, if it is to be slow.
fn nap() -> Option<Duration> {
    let data = env::args_os().skip_while(|word| word != "--data").nth(1)?;
    let file = PathBuf::from(data).with_extension("sluggish");
    let micros = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Some(Duration::from_micros(micros))
}

fn main() -> ExitCode {
    standin::cli::main_with::<Sluggish>()
}
