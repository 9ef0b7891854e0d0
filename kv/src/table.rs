//! The table of commands: what each is called, how many arguments it takes, where its keys are, who answers it.

use crate::call::{Outcome, Read, Refusal, Write, until_zero};
use crate::commands;

/// Who answers a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It changes what is stored: it is ordered as an entry.
    Write,
    /// It changes nothing, but needs logged time or randomness: it is ordered as an entry all the same.
    Entry,
    /// It changes nothing: a query answers it.
    Query,
    /// The connection answers it by itself, or asks its host.
    Connection,
}

/// What executes a command.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Nothing yet: to clients the command is unknown.
    Missing,
    /// The machine never sees it: the connection answers it, or its host.
    Connection,
    /// It changes nothing, and is only ever asked: its answer is not for clients.
    Look(fn(&mut Read<'_>) -> Outcome),
    /// It changes nothing.
    Read(fn(&mut Read<'_>) -> Outcome),
    /// It may change what is stored.
    Write(fn(&mut Write<'_>) -> Outcome),
}

/// Where a command has its keys: the first, the last (from the end if negative) and the step from one to the
/// next; all 0 if it has none, or they cannot be told so (`movablekeys`).
pub type KeyPlaces = [i8; 3];

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name, in lower case.
    pub name: &'static str,
    /// How many arguments it takes, its name among them; if negative, at least so many.
    pub arity: i8,
    /// Its flags as COMMAND INFO shows them, separated by spaces.
    pub flags: &'static str,
    /// Where its keys are.
    pub keys: KeyPlaces,
    /// Its ACL categories as COMMAND INFO shows them, but without `@`, separated by spaces.
    pub categories: &'static str,
    /// Who answers it.
    pub way: Way,
    /// What executes it.
    pub handler: Handler,
    /// Whether it may be executed as one with others that come right before or after it: it takes little time. A command
    /// also is answered shortly, `SET` unless it is asked for the old value.
    pub is_quick: bool,
}

impl Spec {
    /// Whether it takes so many arguments, its name among them.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        match self.arity < 0 {
            true => arguments >= arity,
            false => arguments == arity,
        }
    }

    /// Whether it is executed as one with its neighbours, with these arguments behind its name: `SET key value GET` is answered with what was there before.
    pub fn joins<'a>(&self, arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> bool {
        let is_short = arguments.len() <= 2 || self.name != "set";
        let is_told = |it: &[u8]| it.eq_ignore_ascii_case(b"get");
        self.is_quick && (is_short || !arguments.skip(2).any(is_told))
    }

    /// Whether it has this flag.
    #[must_use]
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(' ').any(|it| it == flag)
    }

    /// Where its keys are among so many arguments, as far as the table can tell.
    pub fn key_places(&self, arguments: usize) -> impl Iterator<Item = usize> + use<> {
        let [first, last, step] = self.keys;
        let end = match last < 0 {
            true => (arguments + 1).saturating_sub(usize::from(last.unsigned_abs())),
            false => usize::from(last.unsigned_abs()) + 1,
        };
        let end = if first == 0 { 0 } else { end.min(arguments) };
        let step = usize::from(step.unsigned_abs()).max(1);
        (usize::from(first.unsigned_abs())..end).step_by(step)
    }

    /// Whether a transaction may hold it.
    #[must_use]
    pub fn may_be_queued(&self) -> bool {
        matches!(self.handler, Handler::Read(_) | Handler::Write(_))
    }
}

/// A command whose handler is a function that changes nothing.
pub(crate) const fn read(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    keys: KeyPlaces,
    categories: &'static str,
    handler: Handler,
) -> Spec {
    spec(name, arity, flags, keys, categories, Way::Query, handler)
}

/// A command that needs logged time or randomness.
pub(crate) const fn entry(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    keys: KeyPlaces,
    categories: &'static str,
    handler: Handler,
) -> Spec {
    spec(name, arity, flags, keys, categories, Way::Entry, handler)
}

/// A command that changes what is stored.
pub(crate) const fn write(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    keys: KeyPlaces,
    categories: &'static str,
    handler: Handler,
) -> Spec {
    spec(name, arity, flags, keys, categories, Way::Write, handler)
}

/// A command that the connection answers; its handler is for transactions.
pub(crate) const fn connection(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    keys: KeyPlaces,
    categories: &'static str,
    handler: Handler,
) -> Spec {
    spec(
        name,
        arity,
        flags,
        keys,
        categories,
        Way::Connection,
        handler,
    )
}

const fn spec(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    keys: KeyPlaces,
    categories: &'static str,
    way: Way,
    handler: Handler,
) -> Spec {
    Spec {
        name,
        arity,
        flags,
        keys,
        categories,
        way,
        handler,
        is_quick: is_listed_as_quick(name),
    }
}

/// Commands that take little time: they may be executed as one with their neighbours.
const QUICK: [&str; 39] = [
    "append",
    "decr",
    "decrby",
    "exists",
    "expire",
    "expireat",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hincrby",
    "hincrbyfloat",
    "hset",
    "hsetnx",
    "hstrlen",
    "incr",
    "incrby",
    "incrbyfloat",
    "llen",
    "lpush",
    "lpushx",
    "persist",
    "pexpire",
    "pexpireat",
    "psetex",
    "rpush",
    "rpushx",
    "sadd",
    "scard",
    "set",
    "setex",
    "setnx",
    "sismember",
    "srem",
    "strlen",
    "zadd",
    "zcard",
    "zincrby",
    "zscore",
];

const fn is_listed_as_quick(name: &str) -> bool {
    let mut at = 0;
    while at < QUICK.len() {
        if is_same(QUICK[at].as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Each family of commands, in files of their own.
const FAMILIES: [&[Spec]; 8] = [
    commands::connection::COMMANDS,
    commands::keys::COMMANDS,
    commands::expiry::COMMANDS,
    commands::strings::COMMANDS,
    commands::lists::COMMANDS,
    commands::sets::COMMANDS,
    commands::sorted::COMMANDS,
    commands::hashes::COMMANDS,
];

/// All commands.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 24;
const NAME_WORDS: usize = NAME_BYTES_MAX / 8;
const SLOTS: usize = 1024;

/// A name as whole words, padded with zeros: short ones, as most are, are hashed and compared in a few steps.
type NameWords = [u64; NAME_WORDS];

/// The command in each slot, with its name. Made when the program is.
static INDEX: [Option<(NameWords, &Spec)>; SLOTS] = build_index();

/// The word at the front of some bytes, padded with zeros.
const fn word_of(bytes: &[u8]) -> u64 {
    if let Some(whole) = bytes.first_chunk() {
        return u64::from_le_bytes(*whole);
    }
    // What is shorter is put together of two pieces, which may overlap.
    if let (Some(front), Some(back)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let back = (u32::from_le_bytes(*back) as u64) << (8 * (bytes.len() - 4));
        return u32::from_le_bytes(*front) as u64 | back;
    }
    if let (Some(front), Some(back)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let back = (u16::from_le_bytes(*back) as u64) << (8 * (bytes.len() - 2));
        return u16::from_le_bytes(*front) as u64 | back;
    }
    match bytes.first() {
        Some(byte) => *byte as u64,
        None => 0,
    }
}

/// The same with its letters in lower case: all eight bytes at a time.
const fn lower(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let ascii = word & (0x7f * ONES);
    // The highest bit of a byte shows whether what is added to it carries: whether it is `A` at least, or above `Z`.
    let from_a = ascii + (0x80 - b'A' as u64) * ONES;
    let above_z = ascii + (0x7f - b'Z' as u64) * ONES;
    let is_upper = (from_a ^ above_z) & !word & (0x80 * ONES);
    word | is_upper >> 2
}

/// A name in lower case; `None`: it is longer than any.
const fn name_words(name: &[u8]) -> Option<NameWords> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut words = [lower(word_of(name)), 0, 0];
    if let Some((_, rest)) = name.split_at_checked(8) {
        words[1] = lower(word_of(rest));
        if let Some((_, rest)) = rest.split_at_checked(8) {
            words[2] = lower(word_of(rest));
        }
    }
    Some(words)
}

const fn slot_of(name: &NameWords) -> usize {
    // Odd numbers without a pattern; the upper bits of a product depend on all bits below.
    let mixed = name[0].wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ name[1].wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        ^ name[2].wrapping_mul(0x1656_67b1_9e37_79f9);
    (mixed >> 32) as usize % SLOTS
}

const fn build_index() -> [Option<(NameWords, &'static Spec)>; SLOTS] {
    let mut index = [None; SLOTS];
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut place = 0;
        while place < FAMILIES[family].len() {
            let spec = &FAMILIES[family][place];
            let name = spec.name.as_bytes();
            let mut at = 0;
            while at < name.len() {
                assert!(!name[at].is_ascii_uppercase() && name[at] != 0);
                at += 1;
            }
            let words = name_words(name).expect("no name is longer");
            let mut slot = slot_of(&words);
            while index[slot].is_some() {
                slot = (slot + 1) % SLOTS;
            }
            index[slot] = Some((words, spec));
            place += 1;
        }
        family += 1;
    }
    index
}

/// The command of this name, whatever its case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    // Zeros stand behind the end, so a name that ends with one would be taken for a shorter one.
    let words = name_words(name).filter(|_| name.last() != Some(&0))?;
    let mut slot = slot_of(&words);
    loop {
        let (found, spec) = INDEX[slot]?;
        let differences = found.iter().zip(&words).map(|(one, other)| one ^ other);
        if differences.fold(0, |all, some| all | some) == 0 {
            return Some(spec);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// The command, if it takes so many arguments, its name among them.
pub(crate) fn takes_or_refuse(spec: &'static Spec, arguments: usize) -> Outcome<&'static Spec> {
    match spec.takes(arguments) {
        true => Ok(spec),
        false => Err(Refusal::arity(spec.name)),
    }
}

/// Bytes of a name and of its arguments that are quoted for a command that is unknown.
const QUOTED_BYTES_MAX: usize = 128;

/// The error for a command that does not exist.
#[cold]
pub(crate) fn unknown<'a>(name: &'a [u8], arguments: impl Iterator<Item = &'a [u8]>) -> Refusal {
    let cut = |bytes: &'a [u8], most: usize| until_zero(&bytes[..bytes.len().min(most)]);
    let mut text = b"ERR unknown command '".to_vec();
    text.extend(cut(name, QUOTED_BYTES_MAX));
    text.extend(b"', with args beginning with: ");
    let start = text.len();
    for argument in arguments {
        let quoted = text.len() - start;
        if quoted >= QUOTED_BYTES_MAX {
            break;
        }
        text.push(b'\'');
        text.extend(cut(argument, QUOTED_BYTES_MAX - quoted));
        text.extend(b"' ");
    }
    Refusal::quoting(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_alone() {
        assert!(all().count() > 140);
        for spec in all() {
            let upper = spec.name.to_ascii_uppercase();
            for name in [spec.name, &upper] {
                let found = find(name.as_bytes()).map(|it| it.name);
                assert_eq!(found, Some(spec.name));
            }
            assert!(find(&spec.name.as_bytes()[1..]).is_none_or(|it| it.name != spec.name));
            for byte in [0, b'@', b'[', 0xe1] {
                let longer = [spec.name.as_bytes(), &[byte]].concat();
                assert!(find(&longer).is_none(), "{byte} behind {}", spec.name);
                for at in 0..spec.name.len() {
                    let mut other = upper.as_bytes().to_vec();
                    other[at] = byte;
                    assert!(find(&other).is_none(), "{byte} in {}", spec.name);
                }
            }
            for at in 0..spec.name.len() {
                // Where the letters of the two cases differ, and other bytes as well.
                let mut other = upper.as_bytes().to_vec();
                other[at] ^= 0x20;
                let is_letter = upper.as_bytes()[at].is_ascii_alphabetic();
                let found = find(&other).map(|it| it.name);
                assert_eq!(found == Some(spec.name), is_letter, "{at} of {}", spec.name);
            }
        }
        assert!(find(b"").is_none() && find(&[0; 8]).is_none());
        assert!(find(&[b'x'; NAME_BYTES_MAX + 1]).is_none() && find(&[b'x'; 1000]).is_none());
    }

    #[test]
    fn flags_and_ways_agree() {
        for spec in all() {
            let writes = spec.way == Way::Write;
            assert_eq!(spec.has_flag("write"), writes, "{}", spec.name);
            if let Handler::Write(_) = spec.handler {
                assert!(writes, "{} writes", spec.name);
            }
        }
    }

    #[test]
    fn keys_are_where_redis_has_them() {
        let places = |name: &str, arguments| -> Vec<usize> {
            let spec = find(name.as_bytes()).unwrap();
            spec.key_places(arguments).collect()
        };
        assert_eq!(places("get", 2), [1]);
        assert_eq!(places("mset", 5), [1, 3]);
        assert_eq!(places("del", 4), [1, 2, 3]);
        assert_eq!(places("rename", 3), [1, 2]);
        assert_eq!(places("ping", 2), []);
        assert_eq!(places("zunion", 4), []);
    }
}
