//! A machine of one's own with a bug: the same program as `standin`, but for the machine.
//!
//! It adds up, and there is a number at which it panics. So it shows what becomes of such an input.
//!
//! ```text
//! brittle viewservice --listen 127.0.0.1:7000 --data vs
//! brittle replica --name a --listen 127.0.0.1:7101 --viewservice 127.0.0.1:7000 --data a --machine brittle
//! ```

use std::io;
use std::process::ExitCode;

use standin::machine::{Context, StateMachine};
use standin::machines::counter::{Counter, decode_command, encode_add};

/// It panics when this is added.
const UNLUCKY: i64 = 13;

/// A counter with a bug.
#[derive(Default)]
struct Brittle(Counter);

impl StateMachine for Brittle {
    const NAME: &'static str = "brittle";
    const VERSION: u32 = 1;
    type Capture = <Counter as StateMachine>::Capture;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        // What is done before the panic must not be seen by anybody.
        self.0.apply(ctx, command, reply);
        assert!(
            decode_command(command) != Some(UNLUCKY),
            "{UNLUCKY} is unlucky"
        );
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

fn main() -> ExitCode {
    standin::cli::main_with::<Brittle>()
}
