//! A machine made of an old one and a new one, for rolling the new one out.

use std::io;

use super::{Context, StateMachine};

/// What an old machine becomes when a newer one takes its place.
pub trait Successor<Old>: StateMachine {
    /// Takes the old machine's state over. Like [`StateMachine::apply`] a function of that state alone.
    #[must_use]
    fn succeed(old: Old) -> Self;
}

/// Whoever succeeds a machine succeeds one that has come to be it.
impl<Older, Old, New> Successor<Versions<Older, Old>> for New
where
    Older: StateMachine,
    Old: Successor<Older>,
    New: Successor<Old>,
{
    fn succeed(old: Versions<Older, Old>) -> Self {
        Self::succeed(old.into_newest())
    }
}

/// A machine that is `Old` until the replicas go over to the version of `New`, which is then made of it.
///
/// The versions follow each other: `New::OLDEST_VERSION` is `Old::VERSION + 1`. A command goes to the one that
/// executes: `Old` answers those that it does not know in its own way. Nests: `Versions<Versions<V1, V2>, V3>`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use standin_core::machine::{Context, Machine, Successor, Versions};
/// # use standin_core::machine::StateMachine;
/// # use standin_core::random::RandomStream;
///
/// mod v1 {
/// #   use serde::{Deserialize, Serialize};
/// #   use standin_core::machine::{Context, Machine};
/// #   use standin_core::random::RandomStream;
///     #[derive(Clone, Default, Serialize, Deserialize)]
///     pub struct Visits(pub u64);
///
///     impl Machine for Visits {
///         const NAME: &'static str = "visits";
///         const VERSION: u32 = 1;
///         // as it always was
/// #       type Command = u64;
/// #       type Query = ();
/// #       type Reply = u64;
/// #       fn apply(&mut self, _: &mut Context<'_>, n: u64) -> u64 { self.0 += n; self.0 }
/// #       fn query(&self, (): ()) -> u64 { self.0 }
/// #       fn draw_command(random: &mut RandomStream, _last: Option<&u64>) -> u64 { random.below(9) }
/// #       fn draw_query(_: &mut RandomStream) {}
///     }
/// }
///
/// /// Remembers the greatest number as well.
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Visits {
///     sum: u64,
///     greatest: u64,
/// }
///
/// impl Machine for Visits {
///     const NAME: &'static str = "visits";
///     const VERSION: u32 = 2;
///     const CLIENTS_SINCE: u32 = 1; // the types have only got new variants, at their ends
///     // what is new
/// #   type Command = u64;
/// #   type Query = ();
/// #   type Reply = u64;
/// #   fn apply(&mut self, _: &mut Context<'_>, n: u64) -> u64 {
/// #       self.sum += n;
/// #       self.greatest = self.greatest.max(n);
/// #       self.sum
/// #   }
/// #   fn query(&self, (): ()) -> u64 { self.greatest }
/// #   fn draw_command(random: &mut RandomStream, _last: Option<&u64>) -> u64 { random.below(9) }
/// #   fn draw_query(_: &mut RandomStream) {}
/// }
///
/// impl Successor<v1::Visits> for Visits {
///     fn succeed(old: v1::Visits) -> Self {
///         Self { sum: old.0, greatest: 0 }
///     }
/// }
///
/// // The program of the next release: `standin::cli::main_with::<Both>()`.
/// type Both = Versions<v1::Visits, Visits>;
/// # assert_eq!((Both::OLDEST_VERSION, Both::VERSION), (1, 2));
/// ```
#[derive(Clone, Debug)]
pub struct Versions<Old, New>(Stage<Old, New>);

#[derive(Clone, Debug)]
enum Stage<Old, New> {
    Old(Old),
    New(New),
}

/// The state of one of two machines.
#[derive(Debug)]
pub struct EitherCapture<Old, New>(Stage<Old, New>);

impl<Old, New: Default> Default for Versions<Old, New> {
    fn default() -> Self {
        Self(Stage::New(New::default()))
    }
}

impl<Old: StateMachine, New: Successor<Old>> Versions<Old, New> {
    const FOLLOW_EACH_OTHER: () = {
        assert!(
            Old::VERSION + 1 == New::OLDEST_VERSION,
            "the new machine's OLDEST_VERSION must be the version after the old machine's"
        );
        assert!(is_same(Old::NAME, New::NAME), "both have the same NAME");
    };

    /// The new machine, made of the old one if that executes.
    #[must_use]
    pub fn into_newest(self) -> New {
        match self.0 {
            Stage::Old(old) => New::succeed(old),
            Stage::New(new) => new,
        }
    }

    /// The old machine comes to be the new one, of the oldest version that this has.
    fn go_over(old: &mut Old, ctx: &mut Context<'_>) -> New {
        if ctx.version < Old::VERSION {
            old.upgrade(ctx, Old::VERSION);
        }
        ctx.version = New::OLDEST_VERSION;
        New::succeed(std::mem::take(old))
    }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

impl<Old: StateMachine, New: Successor<Old>> StateMachine for Versions<Old, New> {
    const NAME: &'static str = New::NAME;
    const VERSION: u32 = New::VERSION;
    const OLDEST_VERSION: u32 = {
        let () = Self::FOLLOW_EACH_OTHER;
        Old::OLDEST_VERSION
    };

    type Capture = EitherCapture<Old::Capture, New::Capture>;

    fn shares_entry(command: &[u8]) -> bool {
        Old::shares_entry(command) && New::shares_entry(command)
    }

    fn begin(&mut self, version: u32) {
        self.0 = if version <= Old::VERSION {
            let mut old = Old::default();
            old.begin(version);
            Stage::Old(old)
        } else {
            let mut new = New::default();
            new.begin(version);
            Stage::New(new)
        };
    }

    fn upgrade(&mut self, ctx: &mut Context<'_>, version: u32) {
        match &mut self.0 {
            Stage::Old(old) if version <= Old::VERSION => old.upgrade(ctx, version),
            Stage::Old(old) => {
                let mut new = Self::go_over(old, ctx);
                if version > New::OLDEST_VERSION {
                    new.upgrade(ctx, version);
                }
                self.0 = Stage::New(new);
            }
            Stage::New(new) => new.upgrade(ctx, version),
        }
    }

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        match &mut self.0 {
            Stage::Old(old) => old.apply(ctx, command, reply),
            Stage::New(new) => new.apply(ctx, command, reply),
        }
    }

    fn prefetch(&self, commands: &mut dyn Iterator<Item = &[u8]>) {
        match &self.0 {
            Stage::Old(old) => old.prefetch(commands),
            Stage::New(new) => new.prefetch(commands),
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
        match &mut self.0 {
            Stage::Old(old) => old.timer(ctx, id),
            Stage::New(new) => new.timer(ctx, id),
        }
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        match &self.0 {
            Stage::Old(old) => old.query(query, reply),
            Stage::New(new) => new.query(query, reply),
        }
    }

    fn capture(&self) -> Self::Capture {
        EitherCapture(match &self.0 {
            Stage::Old(old) => Stage::Old(old.capture()),
            Stage::New(new) => Stage::New(new.capture()),
        })
    }

    fn write_capture(capture: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()> {
        // Nothing of which of the two it is: the old machine alone writes the same.
        match &capture.0 {
            Stage::Old(old) => Old::write_capture(old, out),
            Stage::New(new) => New::write_capture(new, out),
        }
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        Self::restore_version(Self::VERSION, input)
    }

    fn restore_version(version: u32, input: &mut dyn io::Read) -> io::Result<Self> {
        Ok(Self(if version <= Old::VERSION {
            Stage::Old(Old::restore_version(version, input)?)
        } else {
            Stage::New(New::restore_version(version, input)?)
        }))
    }

    fn command_words(command: &[u8]) -> String {
        New::command_words(command)
    }

    fn parse_command(words: &str) -> Result<Vec<u8>, String> {
        New::parse_command(words)
    }

    fn parse_query(words: &str) -> Result<Vec<u8>, String> {
        New::parse_query(words)
    }

    fn refusal_words(reply: &[u8]) -> Option<String> {
        New::refusal_words(reply)
    }

    fn state_words(&self, tell: &mut dyn FnMut(&str, &str)) {
        match &self.0 {
            Stage::Old(old) => old.state_words(tell),
            Stage::New(new) => new.state_words(tell),
        }
    }

    fn reply_words(reply: &[u8]) -> String {
        New::reply_words(reply)
    }
}
