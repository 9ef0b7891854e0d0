//! Version 2: counts payments, too, and a fare may be set, which is asked for.

use std::io;

use standin::RandomStream;
use standin::machine::{Context, StateMachine, Successor};
use standin::machines::counter::{Counter, REPLY_VALUE, decode_command};
use standin::simulate::Subject;

use super::v1::TariffV1;

/// First byte of the command that sets the fare; the fare follows, a little-endian `i64`. It is answered with
/// the one before.
const OP_SET_FARE: u8 = 3;
/// The query for the fare.
const OP_FARE: u8 = 4;
/// The query for how many payments there were since this version is executed.
const OP_PAYMENTS: u8 = 5;

/// Adds up what is paid, counts payments, and knows a fare.
#[derive(Debug, Default)]
pub(crate) struct TariffV2 {
    paid: Counter,
    payments: u64,
    fare: i64,
}

/// All that is kept of what was: nobody counted payments before.
impl Successor<TariffV1> for TariffV2 {
    fn succeed(old: TariffV1) -> Self {
        Self {
            paid: old.paid,
            ..Self::default()
        }
    }
}

impl StateMachine for TariffV2 {
    const NAME: &'static str = "tariff";
    const VERSION: u32 = 2;
    type Capture = (<Counter as StateMachine>::Capture, u64, i64);

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        if let [OP_SET_FARE, fare @ ..] = command
            && let Ok(fare) = fare.try_into()
        {
            put(reply, self.fare);
            self.fare = i64::from_le_bytes(fare);
            return;
        }
        self.payments += u64::from(decode_command(command).is_some());
        self.paid.apply(ctx, command, reply);
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        match query {
            [OP_FARE] => put(reply, self.fare),
            [OP_PAYMENTS] => put(reply, i64::try_from(self.payments).unwrap_or(i64::MAX)),
            _ => self.paid.query(query, reply),
        }
    }

    fn capture(&self) -> Self::Capture {
        (self.paid.capture(), self.payments, self.fare)
    }

    fn write_capture(capture: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()> {
        let (paid, payments, fare) = capture;
        out.write_all(&payments.to_le_bytes())?;
        out.write_all(&fare.to_le_bytes())?;
        Counter::write_capture(paid, out)
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut field = || {
            let mut bytes = [0; 8];
            input.read_exact(&mut bytes).map(|()| bytes)
        };
        let payments = u64::from_le_bytes(field()?);
        let fare = i64::from_le_bytes(field()?);
        let paid = Counter::restore(input)?;
        Ok(Self {
            paid,
            payments,
            fare,
        })
    }
}

impl Subject for TariffV2 {
    fn draw_command(random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        Counter::draw_command(random, None)
    }

    fn draw_query(random: &mut RandomStream) -> Vec<u8> {
        Counter::draw_query(random)
    }
}

/// A value, as the counter's replies have it.
fn put(reply: &mut Vec<u8>, value: i64) {
    reply.push(REPLY_VALUE);
    reply.extend_from_slice(&value.to_le_bytes());
}
