//! The machine's executing version: it is part of the state, changes by an entry alone, and a program that supports more
//! than one executes each as its own program did.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods)] // decision code opens no file; its tests do

use std::io;

use standin_core::entry::{BatchBuilder, BatchStamp, EntryKind, Index, LogTip, Upgrade, ViewStart};
use standin_core::identity::{Durability, Incarnation, ReplicaName};
use standin_core::machine::{Context, StateMachine, Successor, VersionRange, Versions};
use standin_core::message::{ReplyStatus, encode_payload};
use standin_core::poison::{MachineFault, Skip};
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};

const SECOND: u64 = 1_000_000_000;

/// What all three versions keep: a text.
trait Text: Default + Send + 'static {
    const MADE_OF: &'static str;
    fn text(&self) -> &Vec<u8>;
    fn text_mut(&mut self) -> &mut Vec<u8>;
    fn of(text: Vec<u8>) -> Self;
}

macro_rules! text {
    ($name:ident, $version:literal) => {
        #[derive(Default)]
        struct $name(Vec<u8>);

        impl Text for $name {
            const MADE_OF: &'static str = stringify!($name);
            fn text(&self) -> &Vec<u8> {
                &self.0
            }
            fn text_mut(&mut self) -> &mut Vec<u8> {
                &mut self.0
            }
            fn of(text: Vec<u8>) -> Self {
                Self(text)
            }
        }

        impl StateMachine for $name {
            const NAME: &'static str = "text";
            const VERSION: u32 = $version;
            type Capture = Vec<u8>;

            fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
                assert_eq!(ctx.version(), Self::VERSION);
                apply(self, ctx, command, reply);
            }
            fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
                assert_eq!(ctx.version(), Self::VERSION);
                self.text_mut().extend_from_slice(&id.to_le_bytes());
            }
            fn query(&self, _: &[u8], reply: &mut Vec<u8>) {
                reply.extend_from_slice(Self::MADE_OF.as_bytes());
            }
            fn capture(&self) -> Vec<u8> {
                self.text().clone()
            }
            fn write_capture(capture: &Vec<u8>, out: &mut dyn io::Write) -> io::Result<()> {
                // Each in a form of its own.
                out.write_all(Self::MADE_OF.as_bytes())?;
                out.write_all(capture)
            }
            fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
                let mut bytes = Vec::new();
                input.read_to_end(&mut bytes)?;
                let text = bytes.strip_prefix(Self::MADE_OF.as_bytes());
                let text = text.ok_or(io::ErrorKind::InvalidData)?;
                Ok(Self::of(text.to_vec()))
            }
        }
    };
}

/// Writes the command down with the version's name before it, and sets a timer.
fn apply<T: Text>(text: &mut T, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
    text.text_mut().extend_from_slice(T::MADE_OF.as_bytes());
    text.text_mut().extend_from_slice(command);
    let deadline = WallTime(ctx.now().0 + 3 * SECOND);
    ctx.set_timer(command.len() as u64, deadline);
    reply.extend_from_slice(T::MADE_OF.as_bytes());
}

text!(One, 1);
text!(Two, 2);
text!(Three, 3);

impl Successor<One> for Two {
    fn succeed(old: One) -> Self {
        assert!(!old.0.ends_with(b"indigestible"), "what is that?");
        Self([old.0.as_slice(), b"-"].concat())
    }
}

impl Successor<Two> for Three {
    fn succeed(old: Two) -> Self {
        Self([old.0.as_slice(), b"+"].concat())
    }
}

type OneTwo = Versions<One, Two>;
type OneTwoThree = Versions<OneTwo, Three>;

/// A log; what comes of it is up to whoever applies it.
#[derive(Default)]
struct Log {
    tip: LogTip,
    entries: Vec<Vec<u8>>,
}

impl Log {
    fn beginning_with(version: Option<u32>) -> Self {
        let mut log = Self::default();
        log.view(version);
        log
    }

    fn view(&mut self, machine_version: Option<u32>) {
        let start = ViewStart {
            data_epoch: DataEpoch(0),
            primary: ReplicaName::new("a").unwrap(),
            incarnation: Incarnation { start: 1, nonce: 1 },
            durability: Durability::Os,
            session_timeout_ms: 60_000,
            sessions_max: 10,
            replies_bytes_max: 1000,
            session_idle_min_ms: 0,
            skips: Vec::new(),
            machine_version,
        };
        self.tip.view = self.tip.view.next();
        let tip = LogTip {
            view: ViewNumber(self.tip.view.0 - 1),
            ..self.tip
        };
        self.push(tip, EntryKind::ViewStart, |out| encode_payload(&start, out));
    }

    fn command(&mut self, bytes: &[u8]) {
        self.push(self.tip, EntryKind::Direct, |out| {
            out.extend_from_slice(bytes);
        });
    }

    fn upgrade(&mut self, version: u32) -> Skip {
        let upgrade = Upgrade { version };
        self.push(self.tip, EntryKind::Upgrade, |out| {
            encode_payload(&upgrade, out);
        });
        Skip {
            index: self.tip.index,
            view: self.tip.view,
        }
    }

    fn push(&mut self, tip: LogTip, kind: EntryKind, write: impl FnOnce(&mut Vec<u8>)) {
        let stamp = BatchStamp {
            view: self.tip.view,
            time: WallTime(tip.time.0 + SECOND),
            seed: 7,
            commit: tip.index,
        };
        let mut builder = BatchBuilder::new(tip, stamp);
        builder.push(kind, write);
        let batch = builder.finish().unwrap();
        self.tip = batch.tip();
        self.entries.push(batch.bytes().to_vec());
    }

    fn entry(&self, index: u64) -> standin_core::entry::Entry<'_> {
        let at = usize::try_from(index - 1).unwrap();
        standin_core::entry::Entry::decode(&self.entries[at]).unwrap()
    }

    /// What comes of it from where a state stands; it is written and read back after each entry.
    fn apply<M: StateMachine>(
        &self,
        state: &mut Replicated<M>,
    ) -> Result<Vec<(ReplyStatus, Vec<u8>, u128)>, MachineFault> {
        let mut outcomes = Vec::new();
        while state.applied() < self.tip.index {
            let mut reply = Vec::new();
            let entry = self.entry(state.applied().0 + 1);
            let status = state.apply(&entry, &mut reply)?;
            let digest = state.state_digest();
            *state = read_back(state);
            assert_eq!(state.state_digest(), digest);
            outcomes.push((status, reply, digest));
        }
        Ok(outcomes)
    }

    fn all<M: StateMachine>(&self) -> Vec<(ReplyStatus, Vec<u8>, u128)> {
        self.apply(&mut Replicated::<M>::default()).unwrap()
    }
}

fn read_back<M: StateMachine>(state: &Replicated<M>) -> Replicated<M> {
    let captured = state.capture();
    let mut bytes = Vec::new();
    captured.write(&mut bytes).unwrap();
    let (applied, digest) = (captured.applied(), captured.reply_digest());
    Replicated::restore(&mut bytes.as_slice(), applied, digest, captured.version()).unwrap()
}

fn made_of<M: StateMachine>(state: &Replicated<M>) -> String {
    let mut reply = Vec::new();
    state.query(&[], &mut reply).unwrap();
    String::from_utf8(reply).unwrap()
}

#[test]
fn a_program_of_two_versions_executes_the_old_one_as_its_own_program_did() {
    let mut log = Log::beginning_with(Some(1));
    for command in [&b"a"[..], b"bc", b"def"] {
        log.command(command);
    }
    let one = log.all::<One>();
    assert_eq!(log.all::<OneTwo>(), one);
    assert_eq!(log.all::<OneTwoThree>(), one);
}

#[test]
fn an_upgrade_changes_what_is_executed_from_the_next_entry_on() {
    let mut log = Log::beginning_with(Some(1));
    log.command(b"a");
    log.upgrade(2);
    log.command(b"b");
    let two = log.all::<OneTwo>();
    assert_eq!(log.all::<OneTwoThree>(), two);
    assert_eq!((&two[1].1[..], &two[3].1[..]), (&b"One"[..], &b"Two"[..]));

    let mut state = Replicated::<OneTwoThree>::default();
    log.apply(&mut state).unwrap();
    assert_eq!((state.version(), made_of(&state)), (2, "Two".to_owned()));
    log.upgrade(3);
    log.command(b"c");
    log.apply(&mut state).unwrap();
    assert_eq!((state.version(), made_of(&state)), (3, "Three".to_owned()));
    let text = state.machine().capture();
    let mut bytes = Vec::new();
    OneTwoThree::write_capture(&text, &mut bytes).unwrap();
    assert_eq!(bytes, b"ThreeOnea-Twob+Threec");
}

#[test]
fn an_upgrade_may_leave_versions_out() {
    let mut log = Log::beginning_with(Some(1));
    log.command(b"a");
    log.upgrade(3);
    let mut state = Replicated::<OneTwoThree>::default();
    log.apply(&mut state).unwrap();
    let mut bytes = Vec::new();
    OneTwoThree::write_capture(&state.machine().capture(), &mut bytes).unwrap();
    assert_eq!((state.version(), &bytes[..]), (3, &b"ThreeOnea-+"[..]));
}

#[test]
fn what_was_set_before_an_upgrade_fires_after_it() {
    let mut log = Log::beginning_with(Some(1));
    log.command(b"a");
    log.upgrade(2);
    let mut state = Replicated::<OneTwo>::default();
    log.apply(&mut state).unwrap();
    let due = state.timers_due(WallTime(u64::MAX), 10);
    assert_eq!(due.len(), 1);
    log.push(log.tip, EntryKind::Timer, |out| {
        encode_payload(&due[0], out);
    });
    log.apply(&mut state).unwrap();
    assert_eq!(state.timer_next(), None);
}

#[test]
fn the_executing_version_never_falls_and_views_change_nothing() {
    let mut log = Log::beginning_with(Some(1));
    log.upgrade(2);
    log.view(Some(2));
    log.upgrade(1);
    log.view(Some(1));
    log.upgrade(2);
    let mut state = Replicated::<OneTwo>::default();
    log.apply(&mut state).unwrap();
    assert_eq!((state.version(), made_of(&state)), (2, "Two".to_owned()));
}

#[test]
fn a_log_begins_with_the_version_that_its_first_entry_says() {
    for (version, name) in [(1, "One"), (2, "Two"), (3, "Three")] {
        let mut log = Log::beginning_with(Some(version));
        log.command(b"a");
        let mut state = Replicated::<OneTwoThree>::default();
        log.apply(&mut state).unwrap();
        assert_eq!(
            (state.version(), made_of(&state)),
            (version, name.to_owned())
        );
    }
    // One that does not say it begins with what is said otherwise.
    let mut log = Log::beginning_with(None);
    log.command(b"a");
    let mut state = Replicated::<OneTwoThree>::default();
    state.begin(2);
    log.apply(&mut state).unwrap();
    assert_eq!((state.version(), made_of(&state)), (2, "Two".to_owned()));
}

#[test]
fn a_program_says_which_version_it_lacks_before_it_applies_anything() {
    let mut log = Log::beginning_with(Some(1));
    log.upgrade(2);
    log.view(Some(2));
    let mut state = Replicated::<One>::default();
    assert_eq!(state.lacks_version(&log.entry(1)), None);
    state.apply(&log.entry(1), &mut Vec::new()).unwrap();
    assert_eq!(state.lacks_version(&log.entry(2)), Some(2));
    // Skipped, it changes nothing.
    let entry = log.entry(2);
    state.skip(Skip {
        index: entry.header.index,
        view: entry.header.view,
    });
    assert_eq!(state.lacks_version(&entry), None);
    let state = Replicated::<Two>::default();
    assert_eq!(state.lacks_version(&log.entry(1)), Some(1));
    let range = VersionRange::of::<OneTwoThree>();
    assert_eq!(range.to_string(), "versions 1 to 3");
}

#[test]
fn a_state_is_read_only_by_a_program_that_supports_its_version() {
    let mut log = Log::beginning_with(Some(1));
    log.command(b"a");
    let mut state = Replicated::<OneTwo>::default();
    log.apply(&mut state).unwrap();
    let captured = state.capture();
    let mut bytes = Vec::new();
    captured.write(&mut bytes).unwrap();
    let (index, digest) = (captured.applied(), captured.reply_digest());
    assert!(Replicated::<One>::restore(&mut bytes.as_slice(), index, digest, 1).is_ok());
    let restored = Replicated::<Two>::restore(&mut bytes.as_slice(), index, digest, 1);
    let error = restored.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "it is of version 1, and this program supports version 2"
    );
    // Nor is it taken for one of another version that the program supports.
    assert!(Replicated::<OneTwo>::restore(&mut bytes.as_slice(), index, digest, 2).is_err());
}

#[test]
fn an_upgrade_at_which_the_machine_fails_is_skipped_and_the_version_stays() {
    let mut log = Log::beginning_with(Some(1));
    log.command(b"indigestible");
    let at = log.upgrade(2);
    log.command(b"b");
    let mut state = Replicated::<OneTwo>::default();
    let fault = log.apply(&mut state).unwrap_err();
    assert_eq!((fault.skip, fault.skip.index), (at, Index(3)));
    assert!(state.is_poisoned());

    let mut state = Replicated::<OneTwo>::default();
    state.skip(at);
    let outcomes = log.apply_skipping(&mut state, at);
    assert_eq!(outcomes[2].0, ReplyStatus::Skipped);
    assert_eq!((state.version(), made_of(&state)), (1, "One".to_owned()));
    assert_eq!(outcomes[3].1, b"One");
}

impl Log {
    /// The same, where an entry is skipped.
    fn apply_skipping<M: StateMachine>(
        &self,
        state: &mut Replicated<M>,
        skip: Skip,
    ) -> Vec<(ReplyStatus, Vec<u8>)> {
        let mut outcomes = Vec::new();
        while state.applied() < self.tip.index {
            state.skip(skip);
            let mut reply = Vec::new();
            let entry = self.entry(state.applied().0 + 1);
            let status = state.apply(&entry, &mut reply).unwrap();
            outcomes.push((status, reply));
        }
        outcomes
    }
}
