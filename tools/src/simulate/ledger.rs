//! The machine that `standin simulate` runs: registers, a die, and timers.

use std::collections::BTreeMap;
use std::io::{self, Read};

use standin_core::machine::{Context, StateMachine};
use standin_core::random::RandomStream;
use standin_core::time::Duration;

use super::watched::{RegisterCall, Subject};
use crate::history::{RegisterInput, RegisterOutput};

/// Few, so that clients meet.
const KEYS: u64 = 3;
const VALUES: u64 = 5;

const SET: u8 = 1;
const COMPARE_AND_SET: u8 = 2;
const ROLL: u8 = 3;
const ARM: u8 = 4;
const DISARM: u8 = 5;

/// The timer of an Upgrade.
const UPGRADED: u64 = KEYS;

/// Registers that are set and compared, a die that is rolled with logged random numbers, and timers
/// that count how often they fired and when. So every input of a machine is in its state. There are two versions of it, which
/// roll the die differently.
#[derive(Debug)]
pub struct Ledger {
    registers: BTreeMap<u64, u64>,
    rolls: u64,
    fired: BTreeMap<u64, u64>,
    last_fired: u64,
    /// When it went over to version 2, in logged time; 0: it began with it. Version 1 knows nothing of it.
    upgraded: Option<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        let mut ledger = Self {
            registers: BTreeMap::new(),
            rolls: 0,
            fired: BTreeMap::new(),
            last_fired: 0,
            upgraded: None,
        };
        ledger.begin(Self::VERSION);
        ledger
    }
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    let chunks = bytes.chunks_exact(8);
    chunks
        .map(|chunk| u64::from_le_bytes(chunk.try_into().expect("eight bytes")))
        .collect()
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// A register's value as a number: 0 is none.
fn value_of(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

impl Ledger {
    fn read(&self, key: u64) -> u64 {
        self.registers.get(&key).copied().unwrap_or(0)
    }

    fn write(&mut self, key: u64, value: u64) {
        if value == 0 {
            self.registers.remove(&key);
        } else {
            self.registers.insert(key, value);
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, &[self.rolls, self.last_fired]);
        for map in [&self.registers, &self.fired] {
            put(&mut out, &[map.len() as u64]);
            for (key, value) in map {
                put(&mut out, &[*key, *value]);
            }
        }
        put(&mut out, self.upgraded.as_slice());
        out
    }
}

impl StateMachine for Ledger {
    const NAME: &'static str = "ledger";
    const VERSION: u32 = 2;
    const OLDEST_VERSION: u32 = 1;

    type Capture = Vec<u8>;

    fn shares_entry(_: &[u8]) -> bool {
        true
    }

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        let Some((kind, rest)) = command.split_first() else {
            return;
        };
        match (kind, numbers(rest).as_slice()) {
            (&SET, [key, value]) => self.write(*key, *value),
            (&COMPARE_AND_SET, [key, old, new]) => {
                let is_swapped = self.read(*key) == *old;
                if is_swapped {
                    self.write(*key, *new);
                }
                reply.push(u8::from(is_swapped));
            }
            (&ROLL, []) => {
                let rolled = ctx.random().rotate_left(ctx.version());
                self.rolls = self.rolls.wrapping_add(rolled);
                put(reply, &[rolled]);
            }
            (&ARM, [id, millis]) => {
                let deadline = ctx.now().plus(Duration::from_millis(*millis));
                ctx.set_timer(*id, deadline);
                put(reply, &[deadline.0]);
            }
            (&DISARM, [id]) => ctx.cancel_timer(*id),
            _ => reply.push(u8::MAX),
        }
    }

    fn begin(&mut self, version: u32) {
        self.upgraded = (version >= 2).then_some(0);
    }

    fn upgrade(&mut self, ctx: &mut Context<'_>, version: u32) {
        assert!(
            self.upgraded.is_none() && ctx.version() < version,
            "there are two versions"
        );
        self.upgraded = Some(ctx.now().0);
        ctx.set_timer(UPGRADED, ctx.now().plus(Duration::from_millis(50)));
    }

    fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
        *self.fired.entry(id).or_default() += 1;
        self.last_fired = ctx.now().0;
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        for key in numbers(query) {
            put(reply, &[self.read(key)]);
        }
    }

    fn capture(&self) -> Vec<u8> {
        self.encode()
    }

    fn write_capture(capture: &Vec<u8>, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(capture)
    }

    fn restore(input: &mut dyn Read) -> io::Result<Self> {
        Self::restore_version(Self::VERSION, input)
    }

    fn restore_version(version: u32, input: &mut dyn Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        let mut numbers = numbers(&bytes).into_iter();
        let mut next = || numbers.next().ok_or(io::ErrorKind::InvalidData);
        let mut ledger = Self {
            rolls: next()?,
            last_fired: next()?,
            ..Self::default()
        };
        for map in [&mut ledger.registers, &mut ledger.fired] {
            for _ in 0..next()? {
                map.insert(next()?, next()?);
            }
        }
        ledger.upgraded = match version {
            1 => None,
            _ => Some(next()?),
        };
        Ok(ledger)
    }
}

impl Subject for Ledger {
    fn draw_command(random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        let (key, value) = (random.below(KEYS), random.below(VALUES));
        let (kind, numbers) = match random.below(10) {
            0..4 => (SET, vec![key, value]),
            4..7 => (COMPARE_AND_SET, vec![key, random.below(VALUES), value]),
            7 => (ROLL, vec![]),
            8 => (ARM, vec![key, random.below(400)]),
            _ => (DISARM, vec![key]),
        };
        let mut command = vec![kind];
        put(&mut command, &numbers);
        command
    }

    fn draw_query(random: &mut RandomStream) -> Vec<u8> {
        random.below(KEYS).to_le_bytes().to_vec()
    }

    fn as_register(input: &[u8], is_query: bool, reply: Option<&[u8]>) -> Option<RegisterCall> {
        if is_query {
            let key = *numbers(input).first()?;
            let value = reply.and_then(|reply| numbers(reply).first().copied());
            let output = value.map(|value| RegisterOutput::Value(value_of(value)));
            return Some((RegisterInput::Get(key), output));
        }
        let (kind, rest) = input.split_first()?;
        match (kind, numbers(rest).as_slice()) {
            (&SET, [key, value]) => {
                let output = reply.map(|_| RegisterOutput::Done);
                Some((RegisterInput::Set(*key, value_of(*value)), output))
            }
            (&COMPARE_AND_SET, [key, old, new]) => {
                let output = reply.map(|reply| RegisterOutput::Swapped(reply == [1]));
                let input = RegisterInput::CompareAndSet {
                    key: *key,
                    old: value_of(*old),
                    new: value_of(*new),
                };
                Some((input, output))
            }
            _ => None,
        }
    }
}
