//! Version 1: a counter.

use std::io;

use standin::RandomStream;
use standin::machine::{Context, StateMachine};
use standin::machines::counter::Counter;
use standin::simulate::Subject;

/// Adds up what is paid.
#[derive(Debug, Default)]
pub(crate) struct TariffV1 {
    pub(crate) paid: Counter,
}

impl StateMachine for TariffV1 {
    const NAME: &'static str = "tariff";
    const VERSION: u32 = 1;
    type Capture = <Counter as StateMachine>::Capture;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        self.paid.apply(ctx, command, reply);
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        self.paid.query(query, reply);
    }

    fn capture(&self) -> Self::Capture {
        self.paid.capture()
    }

    fn write_capture(capture: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()> {
        Counter::write_capture(capture, out)
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let paid = Counter::restore(input)?;
        Ok(Self { paid })
    }
}

impl Subject for TariffV1 {
    fn draw_command(random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        Counter::draw_command(random, None)
    }

    fn draw_query(random: &mut RandomStream) -> Vec<u8> {
        Counter::draw_query(random)
    }
}
