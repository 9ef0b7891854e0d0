//! A state of any size, in a process of one's own: a table whose copy costs nothing until it changes.
//!
//! ```text
//! cargo run --release --example ballast -- replica --name a --listen 127.0.0.1:7101 \
//!     --viewservice 127.0.0.1:7000 --data a --machine ballast
//! ```
//!
//! It shows how a machine's `capture()` stays quick however much it holds, and how a program of one's own has
//! the whole command line. The project measures snapshots with it.

use std::io::{self, Read, Write};
use std::ops::Deref;
use std::process::ExitCode;
use std::sync::Arc;

use standin::simulate::Subject;
use standin::{Context, RandomStream, StateMachine};

/// Numbered values.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ballast {
    /// A clone shares everything with the original, and the two part a few dozen keys at a time.
    values: imbl::OrdMap<u64, Value>,
}

/// Longest value that lies in the table itself.
const SHORT_BYTES_MAX: usize = 64;

/// Short ones are copied when a part of the table is: that is quicker than to count who shares them.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Short(u8, [u8; SHORT_BYTES_MAX]),
    Long(Arc<[u8]>),
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        let mut short = [0; SHORT_BYTES_MAX];
        match short.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Self::Short(length, short)
            }
            None => Self::Long(bytes.into()),
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl StateMachine for Ballast {
    const NAME: &'static str = "ballast";
    const VERSION: u32 = 1;
    type Capture = Self;

    /// `1 from to length`: a value of that length for each key from `from` up to `to`, all as u64. `2 key`, then bytes:
    /// that value for this key. `3 keys length`: a value of that length for a key below `keys` that is drawn. The reply
    /// is the number of keys.
    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        match command.split_first() {
            Some((1, rest)) if rest.len() == 24 => {
                let [from, to, length] = [0, 8, 16].map(|at| number(&rest[at..at + 8]));
                for key in from..to {
                    self.values.insert(key, drawn(ctx.random(), length));
                }
            }
            Some((3, rest)) if rest.len() == 16 => {
                let [keys, length] = [0, 8].map(|at| number(&rest[at..at + 8]));
                let key = ctx.random() % keys.max(1);
                self.values.insert(key, drawn(ctx.random(), length));
            }
            Some((2, rest)) if rest.len() >= 8 => {
                let (key, value) = rest.split_at(8);
                self.values.insert(number(key), value.into());
            }
            _ => {}
        }
        reply.extend_from_slice(&(self.values.len() as u64).to_le_bytes());
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        if query.len() == 8
            && let Some(value) = self.values.get(&number(query))
        {
            reply.extend_from_slice(value);
        }
    }

    fn capture(&self) -> Self {
        self.clone()
    }

    fn write_capture(capture: &Self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&(capture.values.len() as u64).to_le_bytes())?;
        for (key, value) in &capture.values {
            out.write_all(&key.to_le_bytes())?;
            out.write_all(&(value.len() as u64).to_le_bytes())?;
            out.write_all(value)?;
        }
        Ok(())
    }

    fn restore(input: &mut dyn Read) -> io::Result<Self> {
        let mut next = || {
            let mut bytes = [0; 8];
            input
                .read_exact(&mut bytes)
                .map(|()| u64::from_le_bytes(bytes))
        };
        let count = next()?;
        let mut ballast = Self::default();
        for _ in 0..count {
            let mut head = [0; 16];
            input.read_exact(&mut head)?;
            let length = number(&head[8..]);
            let mut value = Vec::new();
            input.take(length).read_to_end(&mut value)?;
            if value.len() as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            ballast
                .values
                .insert(number(&head[..8]), value.as_slice().into());
        }
        Ok(ballast)
    }
}

impl Subject for Ballast {
    fn draw_command(random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        let mut command = vec![3];
        command.extend_from_slice(&100_u64.to_le_bytes());
        command.extend_from_slice(&random.below(200).to_le_bytes());
        command
    }

    fn draw_query(random: &mut RandomStream) -> Vec<u8> {
        random.below(100).to_le_bytes().to_vec()
    }
}

/// A value of that length.
fn drawn(word: u64, length: u64) -> Value {
    let bytes = word.to_le_bytes().into_iter().cycle();
    let bytes: Vec<u8> = bytes.take(usize::try_from(length).unwrap_or(0)).collect();
    bytes.as_slice().into()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

fn main() -> ExitCode {
    standin::cli::main_with::<Ballast>()
}
