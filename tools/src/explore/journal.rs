//! The machine under exploration: it lists the calls that it has executed, in order.
//!
//! Every answer is the whole list. So a call that takes effect twice, one that was answered and is
//! lost, and a read of an old state all show in what is answered.

use std::io::{self, Read};

use standin_core::machine::{Context, StateMachine};

/// The calls that took effect, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(Vec<u8>);

impl StateMachine for Journal {
    const NAME: &'static str = "journal";
    const VERSION: u32 = 1;
    type Capture = Vec<u8>;

    fn apply(&mut self, _ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        self.0.extend_from_slice(command);
        reply.extend_from_slice(&self.0);
    }

    fn query(&self, _query: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(&self.0);
    }

    fn capture(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn write_capture(capture: &Vec<u8>, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(capture)
    }

    fn restore(input: &mut dyn Read) -> io::Result<Self> {
        let mut list = Vec::new();
        input.read_to_end(&mut list)?;
        Ok(Self(list))
    }
}
