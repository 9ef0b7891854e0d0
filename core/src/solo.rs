//! A state machine by itself, for its own tests: no replica, no log, no clock.

use crate::entry::{
    BatchBuilder, BatchStamp, COMMAND_BYTES_MAX, Command, EntryKind, Index, LogTip,
};
use crate::machine::typed::{decode_reply, encode};
use crate::machine::{Machine, StateMachine, cut_words};
use crate::message::{ReplyStatus, encode_payload};
use crate::state::Replicated;
use crate::time::{Duration, WallTime};
use crate::view::ViewNumber;

/// When it begins, in logged time: 14 November 2023.
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);

/// The machine `M` under test: commands, queries and the passing of time, one after another.
///
/// Each entry is applied twice: by the machine, and by a twin that was restored from a snapshot of it. So a test also
/// fails, with a panic that says so, if the machine is not deterministic in a way that shows between the two (the order of
/// a `HashMap`, a clock, a thread), or has a state that is not whole in its snapshot.
/// (`standin::simulate` looks harder, with faults.)
///
/// ```
/// # use standin_core::machine::{Context, StateMachine};
/// # use standin_core::solo::Solo;
/// # use std::io;
/// # #[derive(Default)]
/// # struct Journal(Vec<u8>);
/// # impl StateMachine for Journal {
/// #     const NAME: &'static str = "journal";
/// #     const VERSION: u32 = 1;
/// #     type Capture = Vec<u8>;
/// #     fn apply(&mut self, _ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
/// #         self.0.extend_from_slice(command);
/// #         reply.push(self.0.len() as u8);
/// #     }
/// #     fn query(&self, _query: &[u8], reply: &mut Vec<u8>) { reply.extend_from_slice(&self.0); }
/// #     fn capture(&self) -> Vec<u8> { self.0.clone() }
/// #     fn write_capture(capture: &Vec<u8>, out: &mut dyn io::Write) -> io::Result<()> { out.write_all(capture) }
/// #     fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
/// #         let mut text = Vec::new();
/// #         input.read_to_end(&mut text)?;
/// #         Ok(Self(text))
/// #     }
/// # }
/// let mut journal = Solo::<Journal>::new();
/// assert_eq!(journal.command_bytes(b"abc"), [3]);
/// assert_eq!(journal.query_bytes(b""), b"abc");
/// ```
#[derive(Debug)]
pub struct Solo<M> {
    state: Replicated<M>,
    twin: Replicated<M>,
    log: LogTip,
    session: u64,
    sequence: u64,
}

impl<M: StateMachine> Default for Solo<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: StateMachine> Solo<M> {
    /// A machine at its beginning.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Replicated::default(),
            twin: Replicated::default(),
            log: LogTip {
                view: ViewNumber(1),
                time: BEGIN,
                ..LogTip::default()
            },
            session: 0,
            sequence: 0,
        }
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &M {
        self.state.machine()
    }

    /// The time, as [`crate::machine::Context::now`] tells it.
    #[must_use]
    pub fn now(&self) -> WallTime {
        self.log.time
    }

    /// Executes a command in its encoded form, and returns the encoded reply.
    ///
    /// # Panics
    /// If the machine panics, breaks a limit, is longer than a command may be, or is found not to be deterministic.
    pub fn command_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len();
        assert!(
            length <= COMMAND_BYTES_MAX,
            "a command of {length} bytes; {COMMAND_BYTES_MAX} are allowed"
        );
        if self.session != 0
            && let (ReplyStatus::Done, reply) = self.command_in_session(bytes)
        {
            return reply;
        }
        // The first one, or the last one has expired.
        self.apply(EntryKind::OpenSession, |_| {});
        (self.session, self.sequence) = (self.log.index.0, 0);
        self.command_in_session(bytes).1
    }

    fn command_in_session(&mut self, bytes: &[u8]) -> (ReplyStatus, Vec<u8>) {
        self.sequence += 1;
        let command = Command {
            session: self.session,
            sequence: self.sequence,
            acknowledged: self.sequence - 1,
            bytes,
        };
        self.apply(EntryKind::Command, |out| command.encode(out))
    }

    /// Asks the machine in the encoded form, and returns the encoded reply.
    ///
    /// # Panics
    /// If the machine panics, or its answer is too long.
    #[must_use]
    pub fn query_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut reply = Vec::new();
        let asked = self.state.query(bytes, &mut reply);
        asked.unwrap_or_else(|words| panic!("the machine failed at a query: {words}"));
        reply
    }

    /// Lets time pass. Timers fire on the way, each at its deadline.
    ///
    /// # Panics
    /// As [`Solo::command_bytes`].
    pub fn pass(&mut self, time: Duration) {
        let end = self.log.time.plus(time);
        while let Some(&fired) = self.state.timers_due(end, 1).first() {
            self.log.time = self.log.time.max(fired.deadline);
            self.apply(EntryKind::Timer, |out| encode_payload(&fired, out));
        }
        self.log.time = end;
    }

    /// Applies one entry to both, and holds them against each other.
    fn apply(
        &mut self,
        kind: EntryKind,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> (ReplyStatus, Vec<u8>) {
        let stamp = BatchStamp {
            view: self.log.view,
            time: self.log.time,
            seed: self.log.index.0,
            commit: Index::ZERO,
        };
        let mut builder = BatchBuilder::new(self.log, stamp);
        builder.push(kind, write);
        let batch = builder.finish().expect("one entry");
        self.log = batch.tip();
        let entry = batch.entries().next().expect("one entry");
        let index = entry.header.index;
        let applied = [&mut self.state, &mut self.twin].map(|state| {
            let mut reply = Vec::new();
            match state.apply(&entry, &mut reply) {
                Ok(status) => (status, reply),
                Err(fault) => panic!("the machine failed at entry {index}: {}", fault.words),
            }
        });
        let [(status, reply), (_, twins)] = applied;
        assert!(
            reply == twins,
            "not deterministic: entry {index} was answered {}, and by a second copy {}",
            cut_words(M::reply_words(&reply)),
            cut_words(M::reply_words(&twins))
        );
        let (bytes, twins) = (bytes_of(&self.state), bytes_of(&self.twin));
        assert!(
            bytes == twins,
            "not deterministic: the state after entry {index} is another one in a second copy, which was restored from a \
             snapshot; docs/determinism.md (and `standin::machine`) tell what a machine must not do"
        );
        let digest = self.state.reply_digest();
        let version = self.state.version();
        let restored = Replicated::restore(&mut bytes.as_slice(), index, digest, version);
        self.twin = restored.expect("a state can be restored from its own bytes");
        assert!(
            bytes == bytes_of(&self.twin),
            "the state after entry {index} is another one when it is restored from its bytes: equal states must write \
             equal bytes"
        );
        (status, reply)
    }
}

impl<M: Machine> Solo<M> {
    /// Executes a command, and returns the reply.
    ///
    /// # Panics
    /// As [`Solo::command_bytes`].
    pub fn command(&mut self, command: &M::Command) -> M::Reply {
        reply_of::<M>(&self.command_bytes(&encode::<M, _>(command)))
    }

    /// Asks the machine.
    ///
    /// # Panics
    /// As [`Solo::query_bytes`].
    #[must_use]
    pub fn query(&self, query: &M::Query) -> M::Reply {
        reply_of::<M>(&self.query_bytes(&encode::<M, _>(query)))
    }
}

fn reply_of<M: Machine>(reply: &[u8]) -> M::Reply {
    let decoded = decode_reply::<M>(reply).expect("it is the machine's own");
    decoded.unwrap_or_else(|words| panic!("what was encoded could not be decoded: {words}"))
}

fn bytes_of<M: StateMachine>(state: &Replicated<M>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = state.capture().write(&mut bytes);
    written.expect("the machine writes its state");
    bytes
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::panic::catch_unwind;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::machine::Context;

    /// Executes what its commands say: a letter, and numbers after it.
    #[derive(Debug, Default)]
    struct Puppet {
        state: Vec<u8>,
        /// No part of the bytes.
        hidden: u8,
    }

    /// The timer that sets itself again.
    const EVERY_TWO_SECONDS: u64 = 9;

    /// Something that is no part of any state.
    static OUTSIDE: AtomicU64 = AtomicU64::new(0);

    impl StateMachine for Puppet {
        const NAME: &'static str = "puppet";
        const VERSION: u32 = 1;
        type Capture = Vec<u8>;

        fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
            let outside = OUTSIDE.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            match command {
                [b't', id, seconds] => {
                    let deadline = ctx.now().plus(Duration::from_secs((*seconds).into()));
                    ctx.set_timer((*id).into(), deadline);
                }
                b"hidden" => {
                    self.hidden += 1;
                    reply.push(self.hidden);
                }
                b"reply" => reply.extend_from_slice(&outside),
                b"state" => self.state.extend_from_slice(&outside),
                b"panic" => panic!("as it was told"),
                _ => self.state.extend_from_slice(command),
            }
        }

        fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
            self.state.extend_from_slice(&id.to_le_bytes()[..1]);
            if id == EVERY_TWO_SECONDS {
                ctx.set_timer(id, ctx.now().plus(Duration::from_secs(2)));
            }
        }

        fn query(&self, _query: &[u8], reply: &mut Vec<u8>) {
            reply.extend_from_slice(&self.state);
        }

        fn capture(&self) -> Vec<u8> {
            self.state.clone()
        }

        fn write_capture(capture: &Vec<u8>, out: &mut dyn io::Write) -> io::Result<()> {
            out.write_all(capture)
        }

        /// What follows an `x` is lost.
        fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
            let mut state = Vec::new();
            input.read_to_end(&mut state)?;
            if let Some(at) = state.iter().position(|byte| *byte == b'x') {
                state.truncate(at);
            }
            Ok(Self { state, hidden: 0 })
        }
    }

    fn after(commands: &[&[u8]]) -> Solo<Puppet> {
        let mut puppet = Solo::new();
        for command in commands {
            puppet.command_bytes(command);
        }
        puppet
    }

    #[test]
    fn timers_fire_in_their_order_each_at_its_time() {
        let mut puppet = after(&[b"t\x01\x05", b"t\x02\x03", b"t\x03\x09", b"t\x02\x07"]);
        let begun = puppet.now();
        puppet.pass(Duration::from_secs(4));
        assert_eq!(puppet.query_bytes(b""), b"");
        puppet.pass(Duration::from_secs(3));
        assert_eq!(puppet.query_bytes(b""), b"\x01\x02");
        assert_eq!(puppet.now(), begun.plus(Duration::from_secs(7)));
        // Longer than any session lasts.
        puppet.pass(Duration::from_secs(1_000_000));
        assert_eq!(puppet.query_bytes(b""), b"\x01\x02\x03");
        puppet.command_bytes(b"a");
        assert_eq!(puppet.machine().state, b"\x01\x02\x03a");
    }

    #[test]
    fn a_timer_that_sets_itself_again_fires_as_often_as_time_allows() {
        let mut puppet = after(&[b"t\x09\x02"]);
        puppet.pass(Duration::from_secs(7));
        assert_eq!(puppet.query_bytes(b""), b"\x09\x09\x09");
    }

    /// What is said of a machine that does this.
    fn panic_of(commands: &[&[u8]]) -> String {
        let ended = catch_unwind(|| after(commands));
        let words = ended.expect_err("it is no machine").downcast::<String>();
        *words.expect("it says what is wrong")
    }

    #[test]
    fn what_comes_from_elsewhere_is_found() {
        let words = panic_of(&[b"a", b"reply"]);
        assert!(
            words.starts_with("not deterministic: entry 3 was answered"),
            "{words}"
        );
        let words = panic_of(&[b"a", b"state"]);
        assert!(
            words.starts_with("not deterministic: the state after entry 3"),
            "{words}"
        );
    }

    #[test]
    fn a_state_that_a_snapshot_does_not_hold_is_found() {
        let words = panic_of(&[b"a", b"x"]);
        assert!(
            words.starts_with("the state after entry 3 is another one when it is restored"),
            "{words}"
        );
    }

    #[test]
    fn what_is_remembered_beside_the_state_is_found_once_it_shows() {
        let words = panic_of(&[b"a", b"hidden", b"hidden"]);
        assert!(
            words.starts_with("not deterministic: entry 4 was answered"),
            "{words}"
        );
    }

    #[test]
    fn a_panic_is_told_with_its_entry() {
        let words = panic_of(&[b"panic"]);
        assert_eq!(
            words,
            "the machine failed at entry 2: it panicked: as it was told"
        );
    }
}
