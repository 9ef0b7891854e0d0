//! A machine that counts how often each call took effect, around the machine under test.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use standin_core::entry::Index;
use standin_core::machine::{Context, StateMachine};
use standin_core::time::Duration;

use super::doom::Doom;

pub use standin_core::subject::{RegisterCall, Subject};

/// Bytes before the machine's own in every command: the number of the call.
const CALL_BYTES: usize = 8;

/// The machine fails at a call with this bit in its number, wherever it is executed.
pub(crate) const POISONOUS: u64 = 1 << 63;

/// A call with this bit in its number sets a timer at which the machine fails.
pub(crate) const POISONOUS_TIMER: u64 = 1 << 62;

/// Longest time from such a call to its timer, in milliseconds of logged time.
const FUSE_MS_MAX: u64 = 50;

/// A call that nobody ever made: what has executed it is in a state that no other machine comes to, and no reply
/// shows it.
const STRAY: u64 = u64::MAX;

/// What is wrong with the last byte of a wrong reply.
const WRONG: u8 = 0xBA;

/// The machine under test, and the numbers of all calls that it has executed.
///
/// Each call of a client has a number that no other has, however often it is sent. So a number that
/// comes twice is a call that took effect twice (S11), seen where it does harm: in the machine.
#[derive(Debug)]
pub(crate) struct Watched<M> {
    machine: M,
    executed: BTreeSet<u64>,
    twice: Option<u64>,
    fault: Falsehood,
}

/// From which entry on the machine of one host replies wrongly, or comes to another state; nobody else's does.
#[derive(Clone, Debug)]
pub(crate) struct Falsehood {
    replies: Arc<AtomicU64>,
    states: Arc<AtomicU64>,
    /// The first entry whose command came to another state.
    strayed: Arc<AtomicU64>,
    /// What ends the processes of that host.
    pub(crate) doom: Doom,
}

impl Default for Falsehood {
    fn default() -> Self {
        Self::with(Doom::default())
    }
}

impl Falsehood {
    /// None yet, on a host with a doom of its own.
    pub(crate) fn with(doom: Doom) -> Self {
        let never = || Arc::new(AtomicU64::new(u64::MAX));
        Self {
            replies: never(),
            states: never(),
            strayed: never(),
            doom,
        }
    }

    /// Replies are wrong from an entry on, whoever applies it on this host, and how often.
    pub(crate) fn begin(&self, from: Index) {
        self.replies.store(from.0, Ordering::Relaxed);
    }

    /// The same of the state that the first command from an entry on comes to.
    pub(crate) fn begin_straying(&self, from: Index) {
        self.states.store(from.0, Ordering::Relaxed);
        self.strayed.store(u64::MAX, Ordering::Relaxed);
    }

    /// Whether this host's state after an entry is another than it should be by its own machine: also to be asked when that
    /// has failed since.
    pub(crate) fn has_strayed_by(&self, index: Index) -> bool {
        index.0 >= self.strayed.load(Ordering::Relaxed)
    }

    fn holds(&self, index: Index) -> bool {
        index.0 >= self.replies.load(Ordering::Relaxed)
    }

    fn strays(&self, index: Index) -> bool {
        index.0 >= self.states.load(Ordering::Relaxed)
    }
}

impl<M: Default> Default for Watched<M> {
    fn default() -> Self {
        Self::with(Falsehood::default())
    }
}

impl<M: Default> Watched<M> {
    /// A machine of a host with a fault of its own.
    pub(crate) fn with(fault: Falsehood) -> Self {
        Self {
            machine: M::default(),
            executed: BTreeSet::new(),
            twice: None,
            fault,
        }
    }
}

impl<M> Watched<M> {
    /// The same machine on a host with a fault of its own.
    pub(crate) fn with_fault(self, fault: Falsehood) -> Self {
        Self { fault, ..self }
    }

    /// The first call that took effect twice.
    pub(crate) fn twice(&self) -> Option<u64> {
        self.twice
    }

    /// Whether its state has come to be another than it should be.
    pub(crate) fn has_strayed(&self) -> bool {
        self.has_executed(STRAY)
    }

    /// Whether a call took effect.
    pub(crate) fn has_executed(&self, call: u64) -> bool {
        self.executed.contains(&call)
    }
}

/// The command of a call.
pub(crate) fn command(call: u64, bytes: &[u8]) -> Vec<u8> {
    let mut command = call.to_le_bytes().to_vec();
    command.extend_from_slice(bytes);
    command
}

/// The number of the call in a command, and the machine's own bytes.
pub(crate) fn split(command: &[u8]) -> Option<(u64, &[u8])> {
    let (call, bytes) = command.split_at_checked(CALL_BYTES)?;
    let call = call.try_into().expect("as long as it was split");
    Some((u64::from_le_bytes(call), bytes))
}

impl<M: StateMachine> StateMachine for Watched<M> {
    const NAME: &'static str = M::NAME;
    const VERSION: u32 = M::VERSION;
    const OLDEST_VERSION: u32 = M::OLDEST_VERSION;
    type Capture = (M::Capture, BTreeSet<u64>);

    fn shares_entry(bytes: &[u8]) -> bool {
        split(bytes).is_some_and(|(_, command)| M::shares_entry(command))
    }

    fn begin(&mut self, version: u32) {
        self.machine.begin(version);
    }

    fn upgrade(&mut self, ctx: &mut Context<'_>, version: u32) {
        self.machine.upgrade(ctx, version);
    }

    fn apply(&mut self, ctx: &mut Context<'_>, bytes: &[u8], reply: &mut Vec<u8>) {
        let Some((call, bytes)) = split(bytes) else {
            return;
        };
        if !self.executed.insert(call) {
            self.twice.get_or_insert(call);
        }
        let reply_at = reply.len();
        self.machine.apply(ctx, bytes, reply);
        if call & POISONOUS != 0 {
            // As a panic, but for the words on standard error. What it has done by now stays done.
            resume_unwind(Box::new("a poisonous call"));
        }
        if self.fault.doom.strikes(call) {
            // The process is dead: its shell lets nothing come of this.
            resume_unwind(Box::new("a deadly call"));
        }
        if call & POISONOUS_TIMER != 0 {
            let fuse = Duration::from_millis(call % FUSE_MS_MAX);
            ctx.set_timer(call, ctx.now().plus(fuse));
        }
        if self.fault.strays(ctx.index()) {
            self.executed.insert(STRAY);
            (self.fault.strayed).fetch_min(ctx.index().0, Ordering::Relaxed);
        }
        if self.fault.holds(ctx.index()) {
            // As long as the right one: only the reply is wrong, not what a session keeps.
            if let Some(last) = reply[reply_at..].last_mut() {
                *last ^= WRONG;
            }
        }
    }

    fn prefetch(&self, commands: &mut dyn Iterator<Item = &[u8]>) {
        let mut commands = commands.filter_map(|bytes| Some(split(bytes)?.1));
        self.machine.prefetch(&mut commands);
    }

    fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
        if id & POISONOUS_TIMER != 0 && self.executed.contains(&id) {
            // What it has done by now stays done.
            self.executed.insert(!id);
            resume_unwind(Box::new("a poisonous timer"));
        }
        self.machine.timer(ctx, id);
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        self.machine.query(query, reply);
    }

    fn capture(&self) -> Self::Capture {
        (self.machine.capture(), self.executed.clone())
    }

    fn write_capture(capture: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()> {
        let (machine, executed) = capture;
        out.write_all(&(executed.len() as u64).to_le_bytes())?;
        for call in executed {
            out.write_all(&call.to_le_bytes())?;
        }
        M::write_capture(machine, out)
    }

    fn restore(input: &mut dyn Read) -> io::Result<Self> {
        Self::restore_version(Self::VERSION, input)
    }

    fn restore_version(version: u32, input: &mut dyn Read) -> io::Result<Self> {
        let mut number = [0; 8];
        input.read_exact(&mut number)?;
        let mut executed = BTreeSet::new();
        for _ in 0..u64::from_le_bytes(number) {
            input.read_exact(&mut number)?;
            executed.insert(u64::from_le_bytes(number));
        }
        Ok(Self {
            machine: M::restore_version(version, input)?,
            executed,
            twice: None,
            fault: Falsehood::default(),
        })
    }
}
