//! Commands and queries as bytes: what a client asked for, on its way into the machine.
//!
//! | What | Bytes |
//! |---|---|
//! | a command | version (2 or 3), database (0 to 15), arguments to the end |
//! | a transaction | version + 16, database, watches, then commands to the end |
//! | an argument | its length as a varint, its bytes |
//! | watches | their number as a varint, then each: database, 1 if the key was there else 0, index (8 bytes, little-endian), the key as an argument |
//! | a command of a transaction | the number of its arguments as a varint, the arguments |
//!
//! A varint has seven bits in each byte, the lowest first; all bytes but the last have the eighth bit set.

use standin_core::entry::COMMAND_BYTES_MAX;
use standin_resp::Version;

use crate::keyspace::{DatabaseId, Sight};
use crate::members::Key;

/// Longest argument, in bytes; so also longest key, member and value. A little less than a whole command, so
/// that a value which came in by a command also goes out in a reply.
pub const ARGUMENT_BYTES_MAX: usize = COMMAND_BYTES_MAX - 64;

/// Most commands that are executed as one because they came one after the other.
pub const RUN_COMMANDS_MAX: usize = 16;
/// Most bytes of them.
const RUN_BYTES_MAX: usize = 4 << 10;

const TRANSACTION: u8 = 16;
/// Version and database.
const HEAD_BYTES: usize = 2;
/// Arguments that are found without an allocation.
const RANGES_INLINE: usize = 16;

/// Appends the head of a command; its arguments follow, each by [`put_argument`].
pub fn begin_command(out: &mut Vec<u8>, version: Version, database: DatabaseId) {
    out.extend_from_slice(&[version.number(), database.number()]);
}

/// Appends one argument.
pub fn put_argument(out: &mut Vec<u8>, argument: &[u8]) {
    put_varint(out, argument.len());
    out.extend_from_slice(argument);
}

/// A whole command.
#[must_use]
pub fn command<A: AsRef<[u8]>>(version: Version, database: DatabaseId, arguments: &[A]) -> Vec<u8> {
    let mut out = Vec::new();
    begin_command(&mut out, version, database);
    for argument in arguments {
        put_argument(&mut out, argument.as_ref());
    }
    out
}

/// A key that a transaction rests on, and what was known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The database it is in.
    pub database: DatabaseId,
    /// The key.
    pub key: Vec<u8>,
    /// What was known of it.
    pub sight: Sight,
}

/// Appends the head of a transaction; its commands follow, each as [`begin_queued`] and its arguments.
pub fn begin_transaction(
    out: &mut Vec<u8>,
    version: Version,
    database: DatabaseId,
    watches: &[Watch],
) {
    out.extend_from_slice(&[version.number() + TRANSACTION, database.number()]);
    put_varint(out, watches.len());
    for watch in watches {
        out.push(watch.database.number());
        out.push(u8::from(watch.sight.is_present));
        out.extend_from_slice(&watch.sight.index.to_le_bytes());
        put_argument(out, &watch.key);
    }
}

/// Appends the head of one command of a transaction; so many arguments follow, each by [`put_argument`].
pub fn begin_queued(out: &mut Vec<u8>, arguments: usize) {
    put_varint(out, arguments);
}

/// Commands of one client that follow each other and are executed as one: a transaction without watches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Where it begins.
    from: usize,
    /// Where it ends.
    end: usize,
    /// How many commands it has.
    commands: usize,
    /// How many arguments the first one has.
    arguments: u8,
}

impl Run {
    /// The command that stands in `bytes` from `from` on to the end. `None`: it is too long to be joined by another.
    pub(crate) fn begin(bytes: &[u8], from: usize, arguments: usize) -> Option<Self> {
        Self::takes(bytes.len() - from, arguments).map(|arguments| Self {
            from,
            end: bytes.len(),
            commands: 1,
            arguments,
        })
    }

    /// Makes the command that stands in `bytes` from `next` on to the end the last of these, which end where it begins. Says
    /// whether it could be.
    pub(crate) fn join(&mut self, bytes: &mut Vec<u8>, next: usize, arguments: usize) -> bool {
        let Some(arguments) = Self::takes(bytes.len() - next, arguments) else {
            return false;
        };
        let is_one = self.commands == 1;
        let head = bytes[self.from] - if is_one { 0 } else { TRANSACTION };
        let is_alike = [head, bytes[self.from + 1]] == bytes[next..next + HEAD_BYTES];
        let is_full = self.commands == RUN_COMMANDS_MAX || bytes.len() - self.from > RUN_BYTES_MAX;
        if !is_alike || is_full || self.end != next {
            return false;
        }
        let from = self.from;
        if is_one {
            // The head, no watches, and the number of arguments; the same number takes the place of the next one's head.
            let end = bytes.len();
            bytes.push(0);
            bytes.copy_within(next + HEAD_BYTES..end, next + HEAD_BYTES + 1);
            bytes.copy_within(from + HEAD_BYTES..next, from + HEAD_BYTES + 2);
            bytes[from] += TRANSACTION;
            bytes[from + HEAD_BYTES] = 0;
            bytes[from + HEAD_BYTES + 1] = self.arguments;
            bytes[next + HEAD_BYTES] = arguments;
        } else {
            bytes.copy_within(next + HEAD_BYTES.., next + 1);
            bytes[next] = arguments;
            bytes.pop();
        }
        self.commands += 1;
        self.end = bytes.len();
        true
    }

    /// The number of arguments of a command that may be in a run: as a varint it is one byte.
    fn takes(length: usize, arguments: usize) -> Option<u8> {
        let count = u8::try_from(arguments).ok().filter(|&it| it < 0x80);
        count.filter(|_| length <= RUN_BYTES_MAX)
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
    out.push(number as u8);
}

/// The bytes are neither a command nor a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl Malformed {
    pub(crate) const TRANSACTION_AS_QUERY: Self =
        Self("a transaction must be ordered, and was asked");

    /// What is wrong.
    #[must_use]
    pub fn what(self) -> &'static str {
        self.0
    }
}

const ENDS_EARLY: Malformed = Malformed("it ends in the midst of an argument");

/// Reads bytes from the front.
#[derive(Clone, Copy, Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(ENDS_EARLY)?;
        self.at += 1;
        Ok(byte)
    }

    /// A number of things that take at least one byte each, so that it is no larger than what is there.
    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed(
            "it has a length that is longer than a command may be",
        ))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at + length;
        let taken = self.bytes.get(self.at..end).ok_or(ENDS_EARLY)?;
        self.at = end;
        Ok(taken)
    }

    fn argument(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint()?;
        self.take(length)
    }

    fn database(&mut self) -> Result<DatabaseId, Malformed> {
        DatabaseId::new(i64::from(self.u8()?)).ok_or(Malformed("there is no such database"))
    }
}

/// The arguments of one command, the first of them its name.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    bytes: &'a [u8],
    ranges: &'a [(u32, u32)],
}

impl<'a> Arguments<'a> {
    /// How many there are, the command's name among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `place`, which must be there: a command's arity is checked before it is executed.
    #[must_use]
    pub fn at(&self, place: usize) -> &'a [u8] {
        let (start, end) = self.ranges[place];
        &self.bytes[start as usize..end as usize]
    }

    /// The argument at `place`, if there are so many.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&'a [u8]> {
        (place < self.ranges.len()).then(|| self.at(place))
    }

    /// The argument at `place`, which must be there, as a key.
    #[must_use]
    pub fn key(&self, place: usize) -> Key<'a> {
        Key::new(self.at(place))
    }

    /// All arguments from `place` on.
    pub fn from(&self, place: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        let ranges = self.ranges.get(place..).unwrap_or_default();
        ranges
            .iter()
            .map(move |(start, end)| &bytes[*start as usize..*end as usize])
    }
}

/// Where the arguments of a command are: in place for most commands.
#[derive(Debug, Default)]
pub struct Ranges {
    count: usize,
    inline: [(u32, u32); RANGES_INLINE],
    /// All of them, once they are too many.
    spilled: Vec<(u32, u32)>,
}

impl Ranges {
    fn push(&mut self, range: (u32, u32)) {
        match self.inline.get_mut(self.count) {
            Some(place) => *place = range,
            None => {
                if self.spilled.is_empty() {
                    self.spilled.extend_from_slice(&self.inline);
                }
                self.spilled.push(range);
            }
        }
        self.count += 1;
    }

    fn clear(&mut self) {
        self.count = 0;
        self.spilled.clear();
    }

    fn as_slice(&self) -> &[(u32, u32)] {
        match self.inline.get(..self.count) {
            Some(ranges) => ranges,
            None => &self.spilled,
        }
    }

    fn of<'a>(&'a self, bytes: &'a [u8]) -> Arguments<'a> {
        Arguments {
            bytes,
            ranges: self.as_slice(),
        }
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let argument = reader.argument()?;
        let end = u32::try_from(reader.at).map_err(|_| ENDS_EARLY)?;
        let length = u32::try_from(argument.len()).map_err(|_| ENDS_EARLY)?;
        self.push((end - length, end));
        Ok(())
    }
}

/// What the head of some bytes says.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// One command.
    Command(Head, CommandBytes<'a>),
    /// A transaction.
    Transaction(Head, TransactionBytes<'a>),
}

/// Version and database, with which each command begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The version that the reply is to be in.
    pub version: Version,
    /// The database that is selected.
    pub database: DatabaseId,
}

/// Reads the head of a command or a transaction.
///
/// # Errors
/// It has none.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    let first = reader.u8()?;
    let is_transaction = first >= TRANSACTION;
    let version = Version::from_number(i64::from(first % TRANSACTION))
        .filter(|_| first < 2 * TRANSACTION)
        .ok_or(Malformed("it begins with no version that exists"))?;
    let database = reader.database()?;
    let head = Head { version, database };
    Ok(match is_transaction {
        false => Decoded::Command(head, CommandBytes(reader)),
        true => Decoded::Transaction(head, TransactionBytes(reader)),
    })
}

/// One command, its head read.
#[derive(Debug)]
pub struct CommandBytes<'a>(Reader<'a>);

impl<'a> CommandBytes<'a> {
    /// Finds the arguments.
    ///
    /// # Errors
    /// They are cut short, or there is none.
    pub fn arguments<'r>(mut self, ranges: &'r mut Ranges) -> Result<Arguments<'r>, Malformed>
    where
        'a: 'r,
    {
        ranges.clear();
        while !self.0.is_at_end() {
            ranges.read(&mut self.0)?;
        }
        if ranges.count == 0 {
            return Err(Malformed("it has no arguments"));
        }
        Ok(ranges.of(self.0.bytes))
    }
}

/// One transaction, its head read.
#[derive(Debug)]
pub struct TransactionBytes<'a>(Reader<'a>);

impl<'a> TransactionBytes<'a> {
    /// Reads all watches, hands each to `each`, and goes on to the commands.
    ///
    /// # Errors
    /// They are cut short or wrong.
    pub fn watches(
        mut self,
        mut each: impl FnMut(DatabaseId, &'a [u8], Sight),
    ) -> Result<QueuedBytes<'a>, Malformed> {
        let reader = &mut self.0;
        for _ in 0..reader.varint()? {
            let database = reader.database()?;
            let is_present = match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed("a watched key was neither there nor absent")),
            };
            let index = reader.take(8)?.try_into().expect("eight bytes");
            let sight = Sight {
                is_present,
                index: u64::from_le_bytes(index),
            };
            each(database, reader.argument()?, sight);
        }
        // All of them are looked at before the first one is executed.
        let mut check = *reader;
        let mut count = 0;
        while !check.is_at_end() {
            let arguments = check.varint()?;
            if arguments == 0 {
                return Err(Malformed("it has a command without arguments"));
            }
            for _ in 0..arguments {
                check.argument()?;
            }
            count += 1;
        }
        Ok(QueuedBytes {
            reader: *reader,
            count,
        })
    }
}

/// The commands of a transaction.
#[derive(Debug)]
pub struct QueuedBytes<'a> {
    reader: Reader<'a>,
    count: usize,
}

impl<'a> QueuedBytes<'a> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The arguments of the next one.
    pub fn next<'r>(&mut self, ranges: &'r mut Ranges) -> Option<Arguments<'r>>
    where
        'a: 'r,
    {
        if self.reader.is_at_end() {
            return None;
        }
        ranges.clear();
        let sound = "commands of a transaction were looked at before";
        for _ in 0..self.reader.varint().expect(sound) {
            ranges.read(&mut self.reader).expect(sound);
        }
        Some(ranges.of(self.reader.bytes))
    }
}

/// What the query `WATCH key ..` has answered: what is known of each key, in order.
#[must_use]
pub fn read_sights(reply: &[u8]) -> Option<Vec<Sight>> {
    let sight = |bytes: &[u8]| {
        let (first, index) = bytes.split_first()?;
        let is_present = [false, true].get(usize::from(*first)).copied()?;
        let index = u64::from_le_bytes(index.try_into().ok()?);
        Some(Sight { is_present, index })
    };
    reply.chunks(9).map(sight).collect()
}
