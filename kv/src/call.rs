//! One command that is being executed: what its handler is given, and how it refuses.

use std::borrow::Cow;
use std::ops::Deref;

use standin_core::entry::COMMAND_BYTES_MAX;
use standin_resp::number::parse_integer;
use standin_resp::writer::ReplyWriter;

use crate::arguments::Arguments;
use crate::keyspace::{DatabaseId, Deadline, Found, Keyspace, Record};
use crate::members::Key;
use crate::value::Value;

/// Longest reply, in bytes.
pub const REPLY_BYTES_MAX: usize = COMMAND_BYTES_MAX;

/// Why a command is not executed: the text of the error that the client gets, its code first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Cow<'static, [u8]>);

/// What comes of a command: its reply has been written, or it is refused. A handler that refuses has changed
/// nothing; what it has written of its reply is taken back.
pub type Outcome<T = ()> = Result<T, Refusal>;

impl Refusal {
    /// The key holds a value of another type.
    pub const WRONG_TYPE: Self =
        Self::of("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// Not the syntax of this command.
    pub const SYNTAX: Self = Self::of("ERR syntax error");
    /// No integer of 64 bits.
    pub const NOT_INTEGER: Self = Self::of("ERR value is not an integer or out of range");
    /// No float.
    pub const NOT_FLOAT: Self = Self::of("ERR value is not a valid float");
    /// There is no such key.
    pub const NO_KEY: Self = Self::of("ERR no such key");
    /// An index is beyond the end.
    pub const INDEX_RANGE: Self = Self::of("ERR index out of range");
    /// A string would become too long.
    pub const TOO_LONG: Self =
        Self::of("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// A transaction's reply would be longer than replies may be; all of it took effect.
    pub const EXECUTED_UNTOLD: Self =
        Self::of("ERR the transaction was executed, but its reply would be longer than 1 MiB");
    /// A reply would be longer than replies may be.
    pub const REPLY_TOO_LONG: Self = Self::of(
        "ERR the reply would be longer than 1 MiB: ask for less at a time, by a range or with SCAN",
    );

    /// No such user, or not this password.
    pub const WRONG_PASSWORD: Self =
        Self::of("WRONGPASS invalid username-password pair or user is disabled.");
    /// MULTI in a transaction.
    pub const NESTED_MULTI: Self = Self::of("ERR MULTI calls can not be nested");
    /// WATCH in a transaction.
    pub const WATCH_IN_MULTI: Self = Self::of("ERR WATCH inside MULTI is not allowed");

    /// An error of this text, which begins with its code.
    #[must_use]
    pub const fn of(text: &'static str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }

    /// An error of this text, which begins with its code, and may quote what the client sent.
    #[must_use]
    pub fn quoting(text: Vec<u8>) -> Self {
        Self(Cow::Owned(text))
    }

    /// The command was called with too few or too many arguments.
    #[must_use]
    pub fn arity(name: &str) -> Self {
        Self::quoting(format!("ERR wrong number of arguments for '{name}' command").into())
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.0
    }
}

/// What Redis quotes of a string in an error: up to the first zero byte, where strings of C end.
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// One command that is being executed.
pub struct Call<'a, K> {
    /// Its arguments, the name first. Their number was checked against the command's arity.
    pub args: Arguments<'a>,
    /// All that is stored.
    pub keys: K,
    /// Where its reply goes.
    pub reply: ReplyWriter<'a>,
    /// The database that is selected.
    pub database: DatabaseId,
    /// Where the reply begins.
    pub(crate) reply_at: usize,
    /// The name of the command as the table has it.
    pub(crate) name: &'static str,
    pub(crate) random: &'a mut dyn FnMut() -> u64,
}

/// A command that changes nothing.
pub type Read<'a> = Call<'a, &'a Keyspace>;
/// A command that may change what is stored.
pub type Write<'a> = Call<'a, &'a mut Keyspace>;

impl<K> std::fmt::Debug for Call<'_, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("name", &self.name)
            .field("args", &self.args)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl<K> Call<'_, K> {
    /// The command's name, as the table has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The argument at `place`, as an integer.
    ///
    /// # Errors
    /// It is none.
    pub fn integer(&self, place: usize) -> Outcome<i64> {
        parse_integer(self.args.at(place)).ok_or(Refusal::NOT_INTEGER)
    }

    /// Whether the argument at `place` is this word, whatever its case.
    #[must_use]
    pub fn is_word(&self, place: usize, word: &str) -> bool {
        (self.args.get(place)).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// A random number below `bound`, which must not be 0: the same on every replica.
    pub fn random_below(&mut self, bound: usize) -> usize {
        // The upper half of a product: as even as 64 bits of chance can make it.
        let product = u128::from((self.random)()) * bound as u128;
        usize::try_from(product >> 64).expect("below the bound")
    }

    /// Says if the reply has become longer than replies may be: to be asked in every loop over what has no
    /// other bound, before anything is changed.
    ///
    /// # Errors
    /// It is too long.
    pub fn check_reply(&self) -> Outcome {
        match self.reply.len_bytes() - self.reply_at <= REPLY_BYTES_MAX {
            true => Ok(()),
            false => Err(Refusal::REPLY_TOO_LONG),
        }
    }
}

impl<K: Deref<Target = Keyspace>> Call<'_, K> {
    /// The record of this key in the selected database, unless it is gone.
    #[must_use]
    pub fn get(&self, key: Key<'_>) -> Option<&Record> {
        self.keys.get(self.database, key)
    }
}

impl Write<'_> {
    /// The record of this key in the selected database, to be changed, unless it is gone.
    pub fn get_mut(&mut self, key: Key<'_>) -> Option<Found<'_>> {
        self.keys.get_mut(self.database, key)
    }

    /// Puts a value under this key in the selected database, whatever was there.
    pub fn put(&mut self, key: Key<'_>, value: Value, deadline: Deadline) {
        self.keys.put(self.database, key, value, deadline);
    }

    /// Puts a value under this key, of which [`Call::get_mut`] has just said that it is not there.
    pub fn put_new(&mut self, key: Key<'_>, value: Value) {
        (self.keys).put_new(self.database, key, value, Deadline::Never);
    }

    /// Removes this key from the selected database; whether it was there.
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        self.keys.discard(self.database, key)
    }
}
