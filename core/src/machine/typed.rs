//! The state machine for people: commands, queries and replies are types of their own.

mod nested;

use std::fmt;
use std::io;

use ron::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use nested::NESTING_MAX;

use super::{Context, StateMachine, bytes_in_words, cut_words};
use crate::capture::invalid;
use crate::message::{decode_payload, encode_payload};
use crate::random::RandomStream;

/// First byte of a reply of the machine's.
const REPLY: u8 = 0;
/// First byte of a reply that says, as text, why nothing was executed.
const REFUSED: u8 = 1;

/// A deterministic state machine whose commands, queries and replies are Rust types.
///
/// Whoever implements it has a [`StateMachine`], and with it all that there is for one: replicas, clients, replays, the
/// demo, the simulator. Commands, queries, replies and the state are encoded as postcard, and for people as RON
/// (`Add(5)`). The whole state is copied at each snapshot: implement [`StateMachine`] itself where that takes too long, or
/// where the encoding should be another.
///
/// `Command` and `Query` come from whoever reaches the port. They may contain themselves (`Box<Self>`), and what nests deeper
/// than [`NESTING_MAX`] levels is refused as no command. They should not hold sequences of things that take no bytes (`Vec<()>`).
///
/// What a machine must not do is told in [`crate::machine`]. Its state is what serde sees of it, so a field with
/// `#[serde(skip)]` is lost when a snapshot is restored, and a `HashMap` in it makes replicas differ.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use standin_core::machine::{Context, Machine};
/// use standin_core::random::RandomStream;
/// use standin_core::solo::Solo;
/// use standin_core::time::Duration;
///
/// /// Counts, and begins again when nobody has counted for a minute.
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Visits(u64);
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Add(u64),
/// }
///
/// #[derive(Serialize, Deserialize)]
/// enum Query {
///     Count,
/// }
///
/// impl Machine for Visits {
///     const NAME: &'static str = "visits";
///     const VERSION: u32 = 1;
///     type Command = Command;
///     type Query = Query;
///     type Reply = u64;
///
///     fn apply(&mut self, ctx: &mut Context<'_>, command: Command) -> u64 {
///         let Command::Add(n) = command;
///         self.0 = self.0.saturating_add(n);
///         ctx.set_timer(1, ctx.now().plus(Duration::from_secs(60)));
///         self.0
///     }
///     fn timer(&mut self, _ctx: &mut Context<'_>, _id: u64) {
///         self.0 = 0;
///     }
///     fn query(&self, query: Query) -> u64 {
///         let Query::Count = query;
///         self.0
///     }
///     fn draw_command(random: &mut RandomStream, _last: Option<&u64>) -> Command {
///         Command::Add(random.below(10))
///     }
///     fn draw_query(_random: &mut RandomStream) -> Query {
///         Query::Count
///     }
/// }
///
/// let mut visits = Solo::<Visits>::new();
/// assert_eq!(visits.command(&Command::Add(2)), 2);
/// assert_eq!(visits.command(&Command::Add(3)), 5);
/// visits.pass(Duration::from_secs(60));
/// assert_eq!(visits.query(&Query::Count), 0);
/// ```
pub trait Machine: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The machine's name: 1 to 32 visible ASCII characters. Replicas of different machines refuse each other.
    const NAME: &'static str;
    /// The machine's version: to be raised when `apply` or `timer` come to do something else, or the state's type changes.
    /// [`super::Versions`] rolls the new one out.
    const VERSION: u32;

    /// The oldest version whose clients this one understands, and is understood by. If it is below `VERSION`, then `Command`, `Query`
    /// and `Reply` have only got new variants since, at their ends, and nothing else: no variant and no field was
    /// changed, moved or taken away. Others are refused, in words, rather than taken for something that they do not mean. Clients of
    /// a later version are refused, too: give people the new one when all replicas have gone over.
    const CLIENTS_SINCE: u32 = Self::VERSION;
    /// Whether commands may share an entry: see [`StateMachine::shares_entry`]. For machines whose commands all take little time.
    const SHARES_ENTRIES: bool = false;

    /// What changes the state. The encoded form has at most [`crate::entry::COMMAND_BYTES_MAX`] bytes.
    type Command: Serialize + DeserializeOwned;
    /// What is asked about the state.
    type Query: Serialize + DeserializeOwned;
    /// What both are answered with, at most [`crate::entry::COMMAND_BYTES_MAX`] bytes when encoded.
    type Reply: Serialize + DeserializeOwned;

    /// Executes a command: the same ones in the same order on every replica.
    ///
    /// A panic, here or in [`Machine::timer`], costs the replica its role and its state: the command is skipped on all
    /// replicas, and its client is told so. It is no way to refuse a command: make the refusal a part of `Reply`.
    fn apply(&mut self, ctx: &mut Context<'_>, command: Self::Command) -> Self::Reply;

    /// A timer set with [`Context::set_timer`] is due.
    fn timer(&mut self, _ctx: &mut Context<'_>, _id: u64) {}

    /// Answers a question about the state.
    fn query(&self, query: Self::Query) -> Self::Reply;

    /// A command such as clients send, drawn with `random`: the demo and the simulator send these. The more of them meet
    /// the same parts of the state the better. `last` is what the client was answered last, if that is known: a number that a
    /// reply gave out can so come back in a command.
    fn draw_command(random: &mut RandomStream, last: Option<&Self::Reply>) -> Self::Command;

    /// A query such as clients send.
    fn draw_query(random: &mut RandomStream) -> Self::Query;
}

impl<M: Machine> StateMachine for M {
    const NAME: &'static str = M::NAME;
    const VERSION: u32 = M::VERSION;
    type Capture = M;

    fn shares_entry(_: &[u8]) -> bool {
        M::SHARES_ENTRIES
    }

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        match decode::<M, _>("command", command) {
            Ok(command) => put_reply(reply, &Machine::apply(self, ctx, command)),
            Err(words) => put_refusal(reply, &words),
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
        Machine::timer(self, ctx, id);
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        match decode::<M, _>("query", query) {
            Ok(query) => put_reply(reply, &Machine::query(self, query)),
            Err(words) => put_refusal(reply, &words),
        }
    }

    fn capture(&self) -> M {
        self.clone()
    }

    fn write_capture(capture: &M, out: &mut dyn io::Write) -> io::Result<()> {
        let mut out = Noting { out, failed: None };
        match postcard::to_io(capture, &mut out) {
            Ok(_) => Ok(()),
            Err(error) => Err(out.failed.unwrap_or_else(|| {
                panic!(
                    "the state of the machine {} cannot be encoded: {error}",
                    M::NAME
                )
            })),
        }
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<M> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        decode_payload(&bytes).ok_or_else(|| invalid("the machine cannot decode it"))
    }

    fn command_words(command: &[u8]) -> String {
        let decoded = decode::<M, M::Command>("command", command).ok();
        let words = decoded.and_then(|command| in_words(&command));
        words.map_or_else(|| bytes_in_words(command), cut_words)
    }

    fn parse_command(words: &str) -> Result<Vec<u8>, String> {
        parsed::<M, M::Command>(words)
    }

    fn parse_query(words: &str) -> Result<Vec<u8>, String> {
        parsed::<M, M::Query>(words)
    }

    /// Each number, text and so on in the state by its place: `jobs.17.attempts`.
    fn state_words(&self, tell: &mut dyn FnMut(&str, &str)) {
        let words = ron::to_string(self).unwrap_or_default();
        match ron::from_str(&words) {
            Ok(value) => tell_parts(&mut String::new(), &value, tell),
            // RON has values that can be told from others only by their type.
            Err(_) => tell("state", &cut_words(words)),
        }
    }

    fn refusal_words(reply: &[u8]) -> Option<String> {
        let (&REFUSED, text) = reply.split_first()? else {
            return None;
        };
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// The whole of it, however long.
    fn reply_words(reply: &[u8]) -> String {
        match reply.split_first() {
            Some((&REPLY, bytes)) => said::<M::Reply>(bytes),
            _ => M::refusal_words(reply).unwrap_or_else(|| bytes_in_words(reply)),
        }
    }
}

/// A command or a query as the machine `M` is sent it: the version of the client's types, then the value.
///
/// # Panics
/// If its `Serialize` fails, or writes sequences whose length it does not tell.
#[must_use]
pub fn encode<M: Machine, T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_payload(&M::VERSION, &mut bytes);
    encode_payload(value, &mut bytes);
    bytes
}

/// What [`encode`] wrote for a version that `M` understands; in words, why it is no command or query of it.
fn decode<M: Machine, T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, String> {
    let (name, executed) = (M::NAME, M::VERSION);
    // What a command is answered is a reply like any other: a log that was applied holds replicas to these very words.
    let none = || {
        format!(
            "that is no {what} of the machine {name}, version {executed}, or it nests deeper than {NESTING_MAX} levels"
        )
    };
    let (version, rest) = postcard::take_from_bytes::<u32>(bytes).map_err(|_| none())?;
    if !(M::CLIENTS_SINCE..=executed).contains(&version) {
        return Err(format!(
            "the {what} is one of version {version}, and version {executed} of the machine {name} is executed: use a client \
             of that version"
        ));
    }
    nested::decode(rest).ok_or_else(none)
}

/// The reply of the machine `M`, or why it executed nothing, in words; `None` if these bytes are no reply of that machine's.
#[must_use]
pub fn decode_reply<M: Machine>(bytes: &[u8]) -> Option<Result<M::Reply, String>> {
    match bytes.split_first()? {
        (&REPLY, bytes) => decode_payload(bytes).map(Ok),
        (&REFUSED, text) => Some(Err(String::from_utf8_lossy(text).into_owned())),
        _ => None,
    }
}

fn put_reply<T: Serialize>(reply: &mut Vec<u8>, value: &T) {
    reply.push(REPLY);
    encode_payload(value, reply);
}

fn put_refusal(reply: &mut Vec<u8>, words: &str) {
    reply.push(REFUSED);
    reply.extend_from_slice(words.as_bytes());
}

/// A value as RON, on one line and with the names of structures: `Give(5)`, and not `(5)`.
fn in_words<T: Serialize>(value: &T) -> Option<String> {
    let style = ron::ser::PrettyConfig::new()
        .depth_limit(0)
        .separator("")
        .struct_names(true);
    ron::ser::to_string_pretty(value, style).ok()
}

/// Encoded bytes as RON.
fn said<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> String {
    let value = decode_payload::<T>(bytes);
    let words = value.and_then(|value| ron::to_string(&value).ok());
    words.unwrap_or_else(|| bytes_in_words(bytes))
}

/// Tells what is in `value` and has no parts, each by its path.
fn tell_parts(path: &mut String, value: &Value, tell: &mut dyn FnMut(&str, &str)) {
    let mut tell_part = |name: &str, part| {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        tell_parts(path, part, tell);
        path.truncate(length);
    };
    match value {
        Value::Map(parts) if !parts.is_empty() => {
            for (key, part) in parts.iter() {
                tell_part(&key_words(key), part);
            }
        }
        Value::Seq(parts) if !parts.is_empty() => {
            for (place, part) in parts.iter().enumerate() {
                tell_part(&place.to_string(), part);
            }
        }
        _ => {
            let name = if path.is_empty() { "state" } else { path };
            tell(name, &cut_words(value_words(value)));
        }
    }
}

fn key_words(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        _ => value_words(key),
    }
}

fn value_words(value: &Value) -> String {
    ron::to_string(value).unwrap_or_else(|error| error.to_string())
}

/// RON as encoded bytes.
fn parsed<M: Machine, T: Serialize + DeserializeOwned>(words: &str) -> Result<Vec<u8>, String> {
    let value: T = ron::from_str(words).map_err(|error| error.to_string())?;
    Ok(encode::<M, T>(&value))
}

/// Passes on what is written, and keeps the error that ended it: postcard has no place for one.
struct Noting<'a> {
    out: &'a mut dyn io::Write,
    failed: Option<io::Error>,
}

impl fmt::Debug for Noting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noting")
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl io::Write for Noting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        written.map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::solo::Solo;

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Stock(BTreeMap<String, u64>);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Command {
        Put { item: String, count: u64 },
        Clear,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct CountOf(String);

    impl Machine for Stock {
        const NAME: &'static str = "stock";
        const VERSION: u32 = 3;
        const CLIENTS_SINCE: u32 = 2;
        type Command = Command;
        type Query = CountOf;
        type Reply = Option<u64>;

        fn apply(&mut self, _ctx: &mut Context<'_>, command: Command) -> Option<u64> {
            match command {
                Command::Put { item, count } => self.0.insert(item, count),
                Command::Clear => {
                    self.0.clear();
                    None
                }
            }
        }

        fn query(&self, CountOf(item): CountOf) -> Option<u64> {
            self.0.get(&item).copied()
        }

        fn draw_command(random: &mut RandomStream, _last: Option<&Option<u64>>) -> Command {
            match random.below(10) {
                0 => Command::Clear,
                count => Command::Put {
                    item: format!("i{}", random.below(3)),
                    count,
                },
            }
        }

        fn draw_query(random: &mut RandomStream) -> CountOf {
            CountOf(format!("i{}", random.below(3)))
        }
    }

    fn put(item: &str, count: u64) -> Command {
        let item = item.to_owned();
        Command::Put { item, count }
    }

    #[test]
    fn commands_and_queries_are_executed_and_answered() {
        let mut stock = Solo::<Stock>::new();
        assert_eq!(stock.command(&put("nails", 3)), None);
        assert_eq!(stock.command(&put("nails", 4)), Some(3));
        assert_eq!(stock.query(&CountOf("nails".to_owned())), Some(4));
        assert_eq!(stock.command(&Command::Clear), None);
        assert_eq!(stock.query(&CountOf("nails".to_owned())), None);
    }

    #[test]
    fn a_command_that_is_a_structure_is_said_with_its_name() {
        #[derive(Serialize)]
        struct Give(u64);
        #[derive(Serialize)]
        struct Move {
            from: Give,
            all: Vec<Option<u8>>,
        }
        assert_eq!(in_words(&Give(5)).as_deref(), Some("Give(5)"));
        let all = vec![Some(1), None];
        let said = in_words(&Move { from: Give(5), all });
        let expected = "Move(from:Give(5),all:[Some(1),None])";
        assert_eq!(said.as_deref(), Some(expected));
    }

    #[test]
    fn they_are_said_and_read_as_ron() {
        let command = encode::<Stock, _>(&put("a \"b\"\n", 7));
        let words = Stock::command_words(&command);
        assert_eq!(words, r#"Put(item:"a \"b\"\n",count:7)"#);
        assert_eq!(Stock::parse_command(&words), Ok(command));
        assert_eq!(
            Stock::parse_query("( \"x\" )"),
            Ok(encode::<Stock, _>(&CountOf("x".to_owned())))
        );
        for (words, why) in [("Put(item:\"a\")", "count"), ("Take", "Take"), ("", "1:1")] {
            let refused = Stock::parse_command(words).unwrap_err();
            assert!(refused.contains(why), "{words}: {refused}");
        }
        let mut reply = Vec::new();
        put_reply(&mut reply, &Some(9_u64));
        assert_eq!(Stock::reply_words(&reply), "Some(9)");
        assert_eq!(decode_reply::<Stock>(&reply), Some(Ok(Some(9))));
        let long = Stock::command_words(&encode::<Stock, _>(&put(&"ü".repeat(10_000), 1)));
        assert!(
            long.len() < 2_000 && long.contains(".."),
            "{} bytes",
            long.len()
        );
    }

    fn parts<M: Machine>(machine: &M) -> Vec<(String, String)> {
        let mut parts = Vec::new();
        machine.state_words(&mut |name, words| parts.push((name.to_owned(), words.to_owned())));
        parts
    }

    #[test]
    fn a_state_is_told_part_by_part() {
        let counts = [("nails", 3), ("screws", 0)];
        let counts = counts.map(|(item, count)| (item.to_owned(), count));
        let told = parts(&Stock(BTreeMap::from(counts)));
        let told = told
            .iter()
            .map(|(name, words)| (name.as_str(), words.as_str()));
        let told: BTreeMap<&str, &str> = told.collect();
        let expected = [("0.nails", "3"), ("0.screws", "0")];
        assert_eq!(told, BTreeMap::from(expected));
        assert_eq!(parts(&Stock::default()).len(), 1);
    }

    #[test]
    fn what_is_no_command_changes_nothing_and_is_told() {
        let mut stock = Solo::<Stock>::new();
        stock.command(&put("nails", 3));
        let mut long = encode::<Stock, _>(&Command::Clear);
        long.push(0);
        for bytes in [&[][..], &[3], &[3, 9], &[3, 0, 5, b'a'], &long] {
            let reply = stock.command_bytes(bytes);
            let why = decode_reply::<Stock>(&reply).unwrap().unwrap_err();
            let expected = "that is no command of the machine stock, version 3, or it nests deeper than 128 levels";
            assert_eq!(why, expected);
            assert_eq!(Stock::reply_words(&reply), why);
        }
        assert_eq!(stock.query(&CountOf("nails".to_owned())), Some(3));
        assert_eq!(decode_reply::<Stock>(&[]), None);
        assert_eq!(decode_reply::<Stock>(&[7, 1]), None);
        assert_eq!(decode_reply::<Stock>(&[REPLY, 9]), None);
    }

    #[test]
    fn a_client_of_a_version_that_is_not_understood_is_told_so() {
        let mut stock = Solo::<Stock>::new();
        for (version, is_understood) in [(0, false), (1, false), (2, true), (3, true), (4, false)] {
            let mut command = vec![version];
            encode_payload(&put("nails", 3), &mut command);
            let reply = stock.command_bytes(&command);
            let refused = Stock::refusal_words(&reply);
            assert_eq!(refused.is_none(), is_understood, "{version}: {refused:?}");
            let words = format!("one of version {version}, and version 3");
            assert!(is_understood || refused.is_some_and(|it| it.contains(&words)));
        }
    }

    #[test]
    fn a_state_is_restored_from_its_bytes_and_from_no_others() {
        let stock = Stock(BTreeMap::from([("nails".to_owned(), 3)]));
        let mut bytes = Vec::new();
        Stock::write_capture(&StateMachine::capture(&stock), &mut bytes).unwrap();
        assert_eq!(Stock::restore(&mut bytes.as_slice()).unwrap(), stock);
        bytes.push(0);
        let error = Stock::restore(&mut bytes.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_error_of_what_it_is_written_to_is_passed_on() {
        struct Full;
        impl io::Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::other("no room"))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = Stock::write_capture(&Stock::default(), &mut Full).unwrap_err();
        assert_eq!(error.to_string(), "no room");
    }

    proptest! {
        #[test]
        fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut stock = Solo::<Stock>::new();
            let reply = stock.command_bytes(&bytes);
            prop_assert!(decode_reply::<Stock>(&reply).is_some());
            let _ = (Stock::command_words(&bytes), Stock::reply_words(&bytes));
            let mut state = Vec::new();
            if let Ok(stock) = Stock::restore(&mut bytes.as_slice()) {
                Stock::write_capture(&stock, &mut state).unwrap();
                prop_assert_eq!(Stock::restore(&mut state.as_slice()).unwrap(), stock);
            }
        }

        #[test]
        fn words_of_a_drawn_command_are_that_command(seed: u64) {
            let command = Stock::draw_command(&mut RandomStream::new(seed, 0), None);
            let command = encode::<Stock, _>(&command);
            prop_assert_eq!(Stock::parse_command(&Stock::command_words(&command)), Ok(command));
        }
    }
}
