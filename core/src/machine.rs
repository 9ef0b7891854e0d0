//! The state machine: what a user writes, and all that it may know of the world.
//!
//! [`Machine`] is the form for most: commands, queries and replies are types. [`StateMachine`] is the form below it, in
//! bytes: for machines that have a protocol of their own, or a large state. [`crate::solo::Solo`] runs one in a test.
//!
//! # What breaks determinism in Rust
//! Two replicas apply the same entries and must reach the same state, bit for bit. A machine must
//! therefore not look at anything but its own state, the command and the [`Context`]:
//! - iteration order of `HashMap` and `HashSet`, which differs from process to process: use
//!   `BTreeMap`, or sort, by all that distinguishes what is sorted;
//! - wall clocks and std's `Instant`: use [`Context::now`], and timers for what is to happen later;
//! - random numbers and `RandomState`: use [`Context::random`];
//! - threads whose order of finishing shows in the state: use one; or give each a part that is settled before, and put the
//!   results together in the order of the parts;
//! - addresses of memory, as keys or to sort by, and `usize` where its width could show: count up a number, or use
//!   [`Context::index`];
//! - floats across different targets or compiler versions, above all through `libm` functions, and their sums, which are
//!   others in another order: use integers, such as cents;
//! - text that a setting of the machine decides (language, decimal sign, time zone): write it in a way of your own;
//! - files, sockets, environment variables, the process id: what they say must come in a command.
//!
//! `examples/broken` has a small machine for each, with the bug. When it happens all the same, replicas notice: replies are
//! compared at once, states at each snapshot, the backup is dropped, and `standin replay --diff` finds the entry. It can
//! say what parts of the state differ if the machine has [`StateMachine::state_words`].

pub mod typed;
mod versions;

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::entry::Index;
use crate::random::RandomStream;
use crate::time::WallTime;

pub use crate::version::VersionRange;
pub use typed::Machine;
pub use versions::{Successor, Versions};

/// Longest name of a machine, in bytes.
pub const MACHINE_NAME_BYTES_MAX: usize = 32;
/// How much of a command [`bytes_in_words`] shows, in bytes.
pub const WORDS_BYTES_MAX: usize = 128;
/// How much of a command or a reply in words is shown, in bytes.
const CUT_BYTES_MAX: usize = 1024;
/// Most timers a machine may have set at one time.
pub const TIMERS_MAX: usize = 1 << 20;

/// A machine's name and version, as they stand in every log and handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedMachineId")]
pub struct MachineId {
    name: String,
    version: u32,
}

/// What is read as a [`MachineId`], before its name is checked.
#[derive(Deserialize)]
struct UncheckedMachineId {
    name: String,
    version: u32,
}

impl TryFrom<UncheckedMachineId> for MachineId {
    type Error = &'static str;

    fn try_from(id: UncheckedMachineId) -> Result<Self, Self::Error> {
        Self::new(&id.name, id.version)
            .ok_or("a machine's name has 1 to 32 visible ASCII characters")
    }
}

impl MachineId {
    /// Checks and takes a name: 1 to [`MACHINE_NAME_BYTES_MAX`] visible ASCII characters.
    #[must_use]
    pub fn new(name: &str, version: u32) -> Option<Self> {
        let is_valid = (1..=MACHINE_NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then(|| Self {
            name: name.to_owned(),
            version,
        })
    }

    /// The name and version of `M`.
    #[must_use]
    pub fn of<M: StateMachine>() -> Self {
        Self::new(M::NAME, M::VERSION)
            .expect("StateMachine::NAME must be 1 to 32 visible ASCII characters")
    }

    /// The same machine in another version.
    #[must_use]
    pub fn with_version(&self, version: u32) -> Self {
        Self {
            name: self.name.clone(),
            version,
        }
    }

    /// The machine's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.name, self.version)
    }
}

/// A deterministic state machine, in its bytes form. Each [`Machine`] is one.
///
/// ```
/// use std::io;
/// use standin_core::machine::{Context, StateMachine};
///
/// /// Appends every command to a text.
/// #[derive(Default)]
/// struct Journal(Vec<u8>);
///
/// impl StateMachine for Journal {
///     const NAME: &'static str = "journal";
///     const VERSION: u32 = 1;
///     type Capture = Vec<u8>;
///
///     fn apply(&mut self, _ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
///         self.0.extend_from_slice(command);
///         reply.extend_from_slice(&(self.0.len() as u64).to_le_bytes());
///     }
///     fn query(&self, _query: &[u8], reply: &mut Vec<u8>) {
///         reply.extend_from_slice(&self.0);
///     }
///     fn capture(&self) -> Vec<u8> {
///         self.0.clone()
///     }
///     fn write_capture(capture: &Vec<u8>, out: &mut dyn io::Write) -> io::Result<()> {
///         out.write_all(capture)
///     }
///     fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
///         let mut text = Vec::new();
///         input.read_to_end(&mut text)?;
///         Ok(Self(text))
///     }
/// }
/// ```
pub trait StateMachine: Default + Send + 'static {
    /// The machine's name: 1 to 32 visible ASCII characters. Replicas of different machines refuse
    /// each other.
    const NAME: &'static str;
    /// The machine's version: to be raised when `apply` comes to do something else. The newest one that this
    /// program supports.
    const VERSION: u32;
    /// The oldest version that this program can execute as well, just as its own program did: the same commands
    /// lead to the same replies and to the same state, written in the same bytes.
    ///
    /// Replicas whose programs have some version in common work together, and execute the one that is part of
    /// their state ([`Context::version`]). So a new version is rolled out by restarting one replica after the other with a
    /// program that supports both. [`Versions`] makes such a machine of an old and a new one.
    const OLDEST_VERSION: u32 = Self::VERSION;

    /// The state at one moment, cheap to take and ready to be serialised on another thread.
    type Capture: Send + Sync + 'static;

    /// The log begins, with this version, before anything else is called on a machine as [`Default`] makes it. Only
    /// for machines that support more than one version.
    fn begin(&mut self, _version: u32) {}

    /// From now on `version` is executed, which is above the one of before, [`Context::version`]. An entry of its own says so,
    /// on every replica in the same place. Only for machines that support more than one version.
    ///
    /// A panic is what it is in [`StateMachine::apply`]: the entry is skipped, so the version stays, and it is not tried
    /// again with this version as long as a primary knows of it: give a program that is mended a version of its own.
    fn upgrade(&mut self, _ctx: &mut Context<'_>, _version: u32) {}

    /// Executes one command and appends its reply, at most [`crate::entry::COMMAND_BYTES_MAX`] bytes, to
    /// `reply`, which is empty.
    ///
    /// A panic, here or in [`StateMachine::timer`], costs the replica its role and its state: the command is
    /// skipped on all replicas, and its client is told so. It is no way to refuse a command.
    ///
    /// Called for the same commands in the same order on every replica. Any bytes may come: what is
    /// no command of this machine is answered with a reply that says so.
    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>);

    /// Whether this command may be put into one entry with others of its session that come at once and may be, too, which
    /// costs much less. For commands that take little time, since nothing else is done until all of an entry are executed. They
    /// see the same [`Context::index`], so that it is no name for what one of them makes; their random numbers differ all the same.
    /// If the machine fails at one of them, all of them are skipped. Any bytes may come.
    #[must_use]
    fn shares_entry(_command: &[u8]) -> bool {
        false
    }

    /// These commands are executed next, unless something comes between. A machine whose state is larger than the
    /// processor's caches may look at what they will need, all together rather than one after the other, so that it is
    /// there when they come; it need not look at all of them. It must not change anything. Any bytes may come. A panic in here is
    /// ignored; but whatever ends the process (an abort, a stack that overflows) is not known for the command's fault, as it
    /// is in [`StateMachine::apply`].
    fn prefetch(&self, _commands: &mut dyn Iterator<Item = &[u8]>) {}

    /// A timer set with [`Context::set_timer`] is due.
    fn timer(&mut self, _ctx: &mut Context<'_>, _id: u64) {}

    /// Answers a question about the state without changing it, in at most
    /// [`crate::entry::COMMAND_BYTES_MAX`] bytes, in `reply`, which is empty.
    ///
    /// If it panics, whoever asked is told so, and nothing else happens. That rests on `&self`: a machine that
    /// changes something in here all the same, by a cell or a lock, may be left half changed, and then
    /// replicas differ.
    fn query(&self, query: &[u8], reply: &mut Vec<u8>);

    /// Hands back the state as it is now, quickly: no command is executed meanwhile. What takes time is
    /// done in [`StateMachine::write_capture`]. For a large state: a persistent map, or parts behind
    /// [`std::sync::Arc`] that are copied when they change.
    fn capture(&self) -> Self::Capture;

    /// Writes a captured state, on another thread, while commands are executed.
    ///
    /// Equal states write equal bytes, on every replica and whatever way led to them; different ones write
    /// different bytes: the digest by which replicas are compared is made of them. `out` is buffered.
    ///
    /// # Errors
    /// Those of `out`, and no others.
    fn write_capture(capture: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()>;

    /// The machine with the state that [`StateMachine::write_capture`] wrote. Reads `input` to its end.
    ///
    /// # Errors
    /// Those of `input`, and if the bytes are no state of this machine.
    fn restore(input: &mut dyn io::Read) -> io::Result<Self>;

    /// The same, if `version` was executed when it was written, and goes on being executed. Only for machines that
    /// support more than one version.
    ///
    /// # Errors
    /// Those of [`StateMachine::restore`].
    fn restore_version(_version: u32, input: &mut dyn io::Read) -> io::Result<Self> {
        Self::restore(input)
    }

    /// A command in words, for people who read a log; on one line, whatever the bytes are. Nothing rests on it.
    #[must_use]
    fn command_words(command: &[u8]) -> String {
        bytes_in_words(command)
    }

    /// A command that people give in words, as its bytes. Nothing rests on it.
    ///
    /// # Errors
    /// What is wrong with the words, for those who wrote them.
    fn parse_command(_words: &str) -> Result<Vec<u8>, String> {
        Err("it takes no commands in words".to_owned())
    }

    /// A query that people ask in words, as its bytes. Nothing rests on it.
    ///
    /// # Errors
    /// What is wrong with the words, for those who wrote them.
    fn parse_query(_words: &str) -> Result<Vec<u8>, String> {
        Err("it takes no queries in words".to_owned())
    }

    /// The state in words, part by part: `tell` hears the name of each part and what it is, in any order, one line each.
    /// `standin replay --diff` shows by it in what two states differ. Nothing rests on it; a machine need not.
    fn state_words(&self, _tell: &mut dyn FnMut(&str, &str)) {}

    /// Why nothing was executed or answered, in words, if that is what a reply says: `client command` and `client query` then
    /// fail. Nothing else rests on it.
    #[must_use]
    fn refusal_words(_reply: &[u8]) -> Option<String> {
        None
    }

    /// What a query was answered with, for people. Nothing rests on it.
    #[must_use]
    fn reply_words(reply: &[u8]) -> String {
        bytes_in_words(reply)
    }
}

/// Bytes in words, for people: escaped, and of long ones the beginning and how many there are.
///
/// ```
/// # use standin_core::machine::bytes_in_words;
/// assert_eq!(bytes_in_words(b"add 1\n"), r#""add 1\n""#);
/// assert_eq!(bytes_in_words(&[b'x'; 1000]).len(), WORDS_BYTES_MAX + 2 + ".. (1000 bytes)".len());
/// # use standin_core::machine::WORDS_BYTES_MAX;
/// ```
#[must_use]
pub fn bytes_in_words(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(WORDS_BYTES_MAX)];
    let cut = match shown.len() < bytes.len() {
        true => format!(".. ({} bytes)", bytes.len()),
        false => String::new(),
    };
    format!("\"{}\"{cut}", shown.escape_ascii())
}

/// Of long words the beginning, at most 1 KiB, and how long they are.
#[must_use]
pub fn cut_words(words: String) -> String {
    let mut end = words.len().min(CUT_BYTES_MAX);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    match end < words.len() {
        true => format!("{}.. ({} bytes)", &words[..end], words.len()),
        false => words,
    }
}

/// What a machine asks of its timers while it executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerChange {
    Set { id: u64, deadline: WallTime },
    Cancel { id: u64 },
}

/// All that a machine may know of the world while it executes an entry.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) now: WallTime,
    pub(crate) index: Index,
    pub(crate) session: Option<u64>,
    pub(crate) version: u32,
    pub(crate) random: &'a mut RandomStream,
    pub(crate) timers: &'a mut Vec<TimerChange>,
}

impl Context<'_> {
    /// The entry's logged time. Never runs backwards from one entry to the next.
    #[must_use]
    pub fn now(&self) -> WallTime {
        self.now
    }

    /// The entry's index. Every command has its own, unless it shares one: [`StateMachine::shares_entry`].
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    /// The session whose command this is; `None` when a timer fires, and for a command that belongs to none.
    #[must_use]
    pub fn session(&self) -> Option<u64> {
        self.session
    }

    /// The version of the machine that is executed, on every replica at this entry: [`StateMachine::VERSION`], or an
    /// older one from [`StateMachine::OLDEST_VERSION`] on.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The next random number, drawn from the logged seed: the same on every replica.
    pub fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A random number below `bound`, likewise.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn random_below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// Sets timer `id`, or sets it anew. [`StateMachine::timer`] is called in an entry of its own
    /// whose logged time is not before `deadline`.
    pub fn set_timer(&mut self, id: u64, deadline: WallTime) {
        self.timers.push(TimerChange::Set { id, deadline });
    }

    /// Takes timer `id` back, if it is set.
    pub fn cancel_timer(&mut self, id: u64) {
        self.timers.push(TimerChange::Cancel { id });
    }
}
