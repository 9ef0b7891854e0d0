//! A replicated counter: the smallest machine that shows a lost or a doubled command.
//!
//! # Bytes
//! | What | Bytes |
//! |---|---|
//! | command `add N` | [`OP_ADD`], N as a little-endian `i64` |
//! | query `get` | [`OP_GET`] |
//! | reply: a value | [`REPLY_VALUE`], the value as a little-endian `i64` |
//! | reply: an error | [`REPLY_ERROR`], what is wrong, as text |

use std::io::{self, Read, Write};

use standin_client::{Client, ClientConfig, ClientError, Consistency};
use standin_core::machine::{Context, StateMachine, bytes_in_words};
use standin_core::random::RandomStream;
use standin_tools::simulate::Subject;

/// First byte of the command `add N`.
pub const OP_ADD: u8 = 1;
/// The one byte of the query `get`.
pub const OP_GET: u8 = 2;
/// First byte of a reply that holds a value.
pub const REPLY_VALUE: u8 = 0;
/// First byte of a reply that says what is wrong.
pub const REPLY_ERROR: u8 = 1;

const OVERFLOW: &str = "the counter would leave the range of 64-bit integers; it is unchanged";
const UNKNOWN: &str =
    "the counter knows 'add N' as a command and 'get' as a query, and nothing else";

/// A counter, beginning at zero.
///
/// ```
/// use standin::machine::StateMachine;
/// use standin::machines::counter::{Counter, decode_reply, encode_get};
///
/// let counter = Counter::default();
/// let mut reply = Vec::new();
/// counter.query(&encode_get(), &mut reply);
/// assert_eq!(decode_reply(&reply), Some(Ok(0)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    value: i64,
}

impl StateMachine for Counter {
    const NAME: &'static str = "counter";
    const VERSION: u32 = 1;

    type Capture = i64;

    fn shares_entry(_: &[u8]) -> bool {
        true
    }

    fn apply(&mut self, _ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        self.execute(command, reply);
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        if query == [OP_GET] {
            put_value(reply, self.value);
        } else {
            put_error(reply, UNKNOWN);
        }
    }

    fn capture(&self) -> i64 {
        self.value
    }

    fn write_capture(capture: &i64, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&capture.to_le_bytes())
    }

    fn restore(input: &mut dyn Read) -> io::Result<Self> {
        let mut value = [0; 8];
        input.read_exact(&mut value)?;
        if input.read(&mut [0])? != 0 {
            let error = "the counter's state has 8 bytes, and more were there";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        let value = i64::from_le_bytes(value);
        Ok(Self { value })
    }

    fn command_words(command: &[u8]) -> String {
        words(command)
    }

    fn parse_command(words: &str) -> Result<Vec<u8>, String> {
        let n = words.trim().strip_prefix("add ").map(str::trim);
        let n = n.and_then(|n| n.parse().ok()).ok_or(UNKNOWN)?;
        Ok(encode_add(n).to_vec())
    }

    fn parse_query(words: &str) -> Result<Vec<u8>, String> {
        match words.trim() {
            "get" => Ok(encode_get().to_vec()),
            _ => Err(UNKNOWN.to_owned()),
        }
    }

    fn state_words(&self, tell: &mut dyn FnMut(&str, &str)) {
        tell("value", &self.value.to_string());
    }

    fn refusal_words(reply: &[u8]) -> Option<String> {
        decode_reply(reply)?.err()
    }

    fn reply_words(reply: &[u8]) -> String {
        match decode_reply(reply) {
            Some(Ok(value)) => value.to_string(),
            Some(Err(text)) => text,
            None => bytes_in_words(reply),
        }
    }
}

impl Subject for Counter {
    fn draw_command(random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        let n = i64::try_from(random.below(10)).expect("it is below 10");
        encode_add(n).to_vec()
    }

    fn draw_query(_random: &mut RandomStream) -> Vec<u8> {
        encode_get().to_vec()
    }
}

impl Counter {
    fn execute(&mut self, command: &[u8], reply: &mut Vec<u8>) {
        match decode_command(command).map(|n| self.value.checked_add(n)) {
            Some(Some(value)) => {
                self.value = value;
                put_value(reply, value);
            }
            Some(None) => put_error(reply, OVERFLOW),
            None => put_error(reply, UNKNOWN),
        }
    }
}

fn put_value(reply: &mut Vec<u8>, value: i64) {
    reply.push(REPLY_VALUE);
    reply.extend_from_slice(&value.to_le_bytes());
}

fn put_error(reply: &mut Vec<u8>, text: &str) {
    reply.push(REPLY_ERROR);
    reply.extend_from_slice(text.as_bytes());
}

/// The command that adds `n`.
#[must_use]
pub fn encode_add(n: i64) -> [u8; 9] {
    let mut command = [OP_ADD; 9];
    command[1..].copy_from_slice(&n.to_le_bytes());
    command
}

/// The query for the value.
#[must_use]
pub fn encode_get() -> [u8; 1] {
    [OP_GET]
}

/// What a command adds; `None` if it is no command of the counter's.
#[must_use]
pub fn decode_command(command: &[u8]) -> Option<i64> {
    match command {
        [OP_ADD, n @ ..] => n.try_into().ok().map(i64::from_le_bytes),
        _ => None,
    }
}

/// The value that a reply holds, or the counter's words on what is wrong; `None` if it is no reply of
/// the counter's.
#[must_use]
pub fn decode_reply(reply: &[u8]) -> Option<Result<i64, String>> {
    match reply {
        [REPLY_VALUE, value @ ..] => {
            let value = value.try_into().ok()?;
            Some(Ok(i64::from_le_bytes(value)))
        }
        [REPLY_ERROR, text @ ..] => Some(Err(String::from_utf8_lossy(text).into_owned())),
        _ => None,
    }
}

/// A command in the counter's own words, for people.
#[must_use]
pub fn words(command: &[u8]) -> String {
    match decode_command(command) {
        Some(n) => format!("add {n}"),
        None => format!("no command: {}", bytes_in_words(command)),
    }
}

/// Why a request to the counter has no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CounterError {
    /// The request did not get through; it may have been executed only if this says so.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The counter executed nothing, and says why.
    #[error("the counter refused: {0}")]
    Refused(String),
    /// The reply is none of the counter's.
    #[error("the reply is none of the counter's; check which machine the replicas run")]
    OtherMachine,
}

/// A client of a replicated counter.
///
/// ```no_run
/// use standin::client::ClientConfig;
/// use standin::machines::counter::CounterClient;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut counter = CounterClient::connect("127.0.0.1:7000", ClientConfig::default())?;
/// let value = counter.add(2)?;
/// assert!(counter.get()? >= value);
/// counter.into_client().close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CounterClient {
    client: Client,
}

impl CounterClient {
    /// A client of the cluster whose view service is at `addresses`, as for [`Client::connect`].
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub fn connect(addresses: &str, config: ClientConfig) -> Result<Self, ClientError> {
        Client::connect(addresses, config).map(Self::new)
    }

    /// Speaks to a counter through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Adds `n`, once, and returns the new value.
    ///
    /// # Errors
    /// [`CounterError`]; the counter refuses what would leave the range of `i64`.
    pub fn add(&mut self, n: i64) -> Result<i64, CounterError> {
        value_of(&self.client.command(&encode_add(n))?.bytes)
    }

    /// The value, with every addition answered before.
    ///
    /// # Errors
    /// [`CounterError`], when nobody who may answer is reached in time.
    pub fn get(&mut self) -> Result<i64, CounterError> {
        let answer = self.client.query(&encode_get(), Consistency::Confirmed)?;
        value_of(&answer.bytes)
    }

    /// The client inside.
    #[must_use]
    pub fn into_client(self) -> Client {
        self.client
    }
}

fn value_of(reply: &[u8]) -> Result<i64, CounterError> {
    let reply = decode_reply(reply).ok_or(CounterError::OtherMachine)?;
    reply.map_err(CounterError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execute(counter: &mut Counter, command: &[u8]) -> Option<Result<i64, String>> {
        let mut reply = Vec::new();
        counter.execute(command, &mut reply);
        decode_reply(&reply)
    }

    fn get(counter: &Counter) -> i64 {
        let mut reply = Vec::new();
        counter.query(&encode_get(), &mut reply);
        decode_reply(&reply).unwrap().unwrap()
    }

    #[test]
    fn it_adds_and_tells() {
        let mut counter = Counter::default();
        assert_eq!(execute(&mut counter, &encode_add(5)), Some(Ok(5)));
        assert_eq!(execute(&mut counter, &encode_add(-7)), Some(Ok(-2)));
        assert_eq!(get(&counter), -2);
    }

    #[test]
    fn what_would_overflow_changes_nothing_and_is_told() {
        let mut counter = Counter { value: i64::MAX };
        assert!(matches!(
            execute(&mut counter, &encode_add(1)),
            Some(Err(_))
        ));
        assert_eq!(get(&counter), i64::MAX);
        assert_eq!(execute(&mut counter, &encode_add(i64::MIN)), Some(Ok(-1)));
        let mut counter = Counter { value: i64::MIN };
        assert!(matches!(
            execute(&mut counter, &encode_add(-1)),
            Some(Err(_))
        ));
        assert_eq!(get(&counter), i64::MIN);
    }

    #[test]
    fn any_other_bytes_are_answered_with_an_error_and_change_nothing() {
        let mut counter = Counter { value: 3 };
        let add = encode_add(1);
        let mut long = add.to_vec();
        long.push(0);
        let unknown: [&[u8]; 5] = [b"", &add[..8], &long, &[OP_GET], b"add 1"];
        for command in unknown {
            assert!(
                matches!(execute(&mut counter, command), Some(Err(_))),
                "{command:?}"
            );
            assert!(words(command).starts_with("no command"), "{command:?}");
        }
        let mut reply = Vec::new();
        counter.query(&add, &mut reply);
        assert!(
            matches!(decode_reply(&reply), Some(Err(_))),
            "an add is no query"
        );
        assert_eq!(counter, Counter { value: 3 });
        assert_eq!(words(&encode_add(-3)), "add -3");
    }

    #[test]
    fn a_captured_state_is_restored_and_nothing_else_is() {
        let counter = Counter { value: -9 };
        let mut bytes = Vec::new();
        Counter::write_capture(&counter.capture(), &mut bytes).unwrap();
        let restored = Counter::restore(&mut bytes.as_slice()).unwrap();
        assert_eq!(restored, counter);
        assert_eq!(restored.capture(), counter.capture());
        assert_ne!(Counter::default().capture(), counter.capture());
        assert!(Counter::restore(&mut &bytes[1..]).is_err());
        bytes.push(0);
        assert!(Counter::restore(&mut bytes.as_slice()).is_err());
    }

    #[test]
    fn replies_of_other_machines_are_told_apart() {
        for reply in [b"".as_slice(), &[REPLY_VALUE], &[9; 9]] {
            assert_eq!(decode_reply(reply), None, "{reply:?}");
        }
    }

    #[test]
    fn the_encoding_stands_still() {
        assert_eq!(encode_add(258), [1, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode_get(), [2]);
        let mut reply = Vec::new();
        put_value(&mut reply, -1);
        assert_eq!(reply, [0, 255, 255, 255, 255, 255, 255, 255, 255]);
    }
}
