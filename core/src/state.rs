//! The replicated state: a machine, its sessions, its timers and the chain over its replies.
//!
//! Applying an entry is a function of the state and the entry alone. Primary, backup, replay and the
//! simulator all go through [`Replicated::apply`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::bytes::put_u64;
use crate::capture::{Captured, invalid, read_count, read_u64};
use crate::digest::DigestChain;
use crate::entry::{
    COMMAND_BYTES_MAX, CloseSession, Command, Entry, EntryKind, Index, Run, RunReplies, TimerFired,
    Upgrade, ViewStart,
};
use crate::machine::{Context, StateMachine, TIMERS_MAX, TimerChange};
use crate::mark::ApplyMark;
use crate::message::{ReplyStatus, decode_payload};
use crate::planted::{Bug, Planted};
use crate::poison::{self, LOG_SKIPS_MAX, MachineFault, Skip};
use crate::random::RandomStream;
use crate::session::{KeptOutcome, SessionError, SessionTable, Verdict};
use crate::time::WallTime;
use crate::version::VersionRange;

/// Most bytes around the answers to several queries that a machine takes as one.
pub const QUERIES_HEAD_BYTES_MAX: usize = 64;

/// A machine with everything around it that must be the same on every replica.
#[derive(Clone, Debug)]
pub struct Replicated<M> {
    machine: M,
    /// The version of the machine that is executed. Never falls.
    version: u32,
    sessions: SessionTable,
    timers: Timers,
    applied: Index,
    reply_digest: DigestChain,
    /// Used again for each entry, so that applying allocates nothing by itself.
    timer_changes: Vec<TimerChange>,
    /// The machine's reply to the present entry, apart from all others.
    machine_reply: Vec<u8>,
    /// Entries to come that are to be skipped: they make the machine fail. At most [`LOG_SKIPS_MAX`].
    skips: BTreeSet<Skip>,
    /// The machine failed. Its state was half changed and is gone; nothing of this is used any more.
    is_poisoned: bool,
    /// Is told of each entry that the machine executes.
    mark: Option<Arc<dyn ApplyMark>>,
    marking: Marking,
    planted: Planted,
}

/// When the mark is told that an entry is behind the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marking {
    /// When the machine returns.
    Each,
    /// Not before all commands of the run that is being applied have had their turn. None of them has reached the machine
    /// yet, so there is nothing to tell.
    Run,
    /// The same, and the machine has executed one of them.
    RunBegun,
}

impl<M: StateMachine> Default for Replicated<M> {
    fn default() -> Self {
        Self::around(M::default())
    }
}

impl<M: StateMachine> Replicated<M> {
    /// The state at the beginning, around a machine that is at its own.
    #[must_use]
    pub fn around(machine: M) -> Self {
        Self {
            machine,
            version: M::VERSION,
            sessions: SessionTable::default(),
            timers: Timers::default(),
            applied: Index::ZERO,
            reply_digest: DigestChain::default(),
            timer_changes: Vec::new(),
            machine_reply: Vec::new(),
            skips: BTreeSet::new(),
            is_poisoned: false,
            mark: None,
            marking: Marking::Each,
            planted: Planted::default(),
        }
    }

    /// Says which version of the machine a log begins with whose first entry does not say it: one that is older
    /// than log format 5.
    ///
    /// # Panics
    /// If something was applied already, or the machine fails.
    pub fn begin(&mut self, version: u32) {
        let began = self.try_begin(version);
        began.expect("the machine fails before the first entry");
    }

    fn try_begin(&mut self, version: u32) -> Result<(), String> {
        assert_eq!(self.applied, Index::ZERO, "it has begun already");
        let machine = &mut self.machine;
        poison::call(|| machine.begin(version))?;
        self.version = version;
        Ok(())
    }

    /// Plants a bug.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// From now on `mark` is told of each entry that the machine executes.
    pub fn mark_with(&mut self, mark: Arc<dyn ApplyMark>) {
        self.mark = Some(mark);
    }

    /// Another state in the place of this one, under the same mark.
    pub fn exchange(&mut self, mut other: Self) {
        other.mark = self.mark.take();
        *self = other;
    }

    /// Takes note of an entry that is to be skipped, before it is applied. The machine will not see it:
    /// the reply names it as skipped, and all else goes on as if it had been executed. What was applied
    /// already is not undone.
    pub fn skip(&mut self, skip: Skip) {
        if skip.index > self.applied {
            self.skips.insert(skip);
            assert!(self.skips.len() <= LOG_SKIPS_MAX, "too many skips");
        }
    }

    /// Whether the machine has failed: then nothing of this may be applied, asked or digested any more.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// The version of the machine that is executed.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The version that is to be executed from `entry` on, the next one, if this program does not support it: then it
    /// must not be applied.
    #[must_use]
    pub fn lacks_version(&self, entry: &Entry<'_>) -> Option<u32> {
        let start = entry.version_start()?;
        let is_heeded = start.is_upgrade || self.applied == Index::ZERO;
        let is_lacking = is_heeded && !VersionRange::of::<M>().contains(start.version);
        (is_lacking && !self.is_skipped(entry)).then_some(start.version)
    }

    /// Lets the machine look at what entries to come will need, but for those that are to be skipped. Changes nothing. The
    /// entries must be sound: whatever panics in here is taken for the machine's fault, and nothing comes of it.
    pub fn prefetch<'e>(&self, entries: impl Iterator<Item = Entry<'e>>) {
        assert!(!self.is_poisoned, "the machine has failed");
        let entries = entries.filter(|entry| !self.is_skipped(entry));
        let mut commands = entries.flat_map(|entry| commands_of(&entry));
        // If it matters it happens again when the entry is applied.
        let _ = poison::call(|| self.machine.prefetch(&mut commands));
    }

    /// Applies the next entry, appends its reply to `reply` and says how it went.
    ///
    /// # Errors
    /// [`MachineFault`] if the machine panics, or breaks a limit. The entry then counts as not applied,
    /// nothing was appended to `reply`, and the state is of no more use.
    ///
    /// # Panics
    /// If the entry is not the next, this program lacks the version that is to be executed, or the machine has failed
    /// before: those are bugs of the caller's.
    pub fn apply(
        &mut self,
        entry: &Entry<'_>,
        reply: &mut Vec<u8>,
    ) -> Result<ReplyStatus, MachineFault> {
        assert!(!self.is_poisoned, "the machine has failed");
        assert_eq!(
            entry.header.index,
            self.applied.next(),
            "entries are applied in order"
        );
        assert_eq!(self.lacks_version(entry), None, "no such version");
        let reply_at = reply.len();
        // A ViewStart counts as activity for all sessions, so it expires none: nobody could send
        // requests before it.
        if entry.header.kind != EntryKind::ViewStart {
            self.sessions.expire(entry.header.time);
        }
        let status = match self.dispatch(entry, reply) {
            Ok(status) => status,
            Err(words) => {
                self.poison();
                reply.truncate(reply_at);
                let skip = skip_of(entry);
                return Err(MachineFault { skip, words });
            }
        };
        self.applied = entry.header.index;
        self.reply_digest
            .add(entry.header.index.0, status as u8, &reply[reply_at..]);
        while self
            .skips
            .first()
            .is_some_and(|it| it.index <= self.applied)
        {
            self.skips.pop_first();
        }
        Ok(status)
    }

    /// The machine has failed in the midst of an entry. What is left of it is not even dropped: who knows
    /// what that would do.
    fn poison(&mut self) {
        self.is_poisoned = true;
        std::mem::forget(std::mem::take(&mut self.machine));
    }

    fn is_skipped(&self, entry: &Entry<'_>) -> bool {
        !self.skips.is_empty() && self.skips.contains(&skip_of(entry))
    }

    fn dispatch(&mut self, entry: &Entry<'_>, reply: &mut Vec<u8>) -> Result<ReplyStatus, String> {
        let time = entry.header.time;
        Ok(match entry.header.kind {
            EntryKind::ViewStart => {
                let start = ViewStart::decode(entry.payload).expect(SOUND_PAYLOAD);
                if let (Index::ZERO, Some(version)) = (self.applied, start.machine_version) {
                    self.try_begin(version)?;
                }
                self.sessions.start_view(time, start.session_limits());
                ReplyStatus::Done
            }
            EntryKind::OpenSession => {
                let id = entry.header.index.0;
                if !self.sessions.open(id, time) {
                    return Ok(ReplyStatus::Overloaded);
                }
                put_u64(reply, id);
                ReplyStatus::Done
            }
            EntryKind::CloseSession => {
                let close: CloseSession = payload_of(entry);
                self.sessions.close(close.session);
                ReplyStatus::Done
            }
            EntryKind::Handover => ReplyStatus::Done,
            EntryKind::Upgrade if self.is_skipped(entry) => {
                put_u64(reply, entry.header.index.0);
                ReplyStatus::Skipped
            }
            EntryKind::Upgrade => {
                let Upgrade { version } = payload_of(entry);
                if version > self.version {
                    let mut random = random_of(entry);
                    self.execute(entry, None, &mut random, |machine, ctx, _| {
                        machine.upgrade(ctx, version);
                    })?;
                    self.version = version;
                }
                ReplyStatus::Done
            }
            EntryKind::Command => {
                let command = Command::decode(entry.payload).expect(SOUND_PAYLOAD);
                let mut random = random_of(entry);
                self.apply_command(entry, command, &mut random, reply)?
            }
            EntryKind::Run => {
                let run = Run::decode(entry.payload).expect(SOUND_PAYLOAD);
                let mut random = random_of(entry);
                self.marking = Marking::Run;
                let applied: Result<(), String> = run.commands().try_for_each(|command| {
                    let at = RunReplies::begin(reply);
                    let status = self.apply_command(entry, command, &mut random, reply)?;
                    RunReplies::end(reply, at, status);
                    Ok(())
                });
                if self.marking == Marking::RunBegun {
                    self.mark_end();
                }
                self.marking = Marking::Each;
                applied?;
                ReplyStatus::Done
            }
            EntryKind::Direct if self.is_skipped(entry) => {
                put_u64(reply, entry.header.index.0);
                ReplyStatus::Skipped
            }
            EntryKind::Direct => {
                let mut random = random_of(entry);
                self.execute(entry, None, &mut random, |machine, ctx, reply| {
                    machine.apply(ctx, entry.payload, reply);
                })?;
                reply.extend_from_slice(&self.machine_reply);
                ReplyStatus::Done
            }
            EntryKind::Timer => {
                let fired: TimerFired = payload_of(entry);
                let is_set = self.timers.take(fired);
                if is_set && self.is_skipped(entry) && !self.planted.has(Bug::TimerUnskipped) {
                    put_u64(reply, entry.header.index.0);
                    return Ok(ReplyStatus::Skipped);
                }
                if is_set {
                    let mut random = random_of(entry);
                    self.execute(entry, None, &mut random, |machine, ctx, _| {
                        machine.timer(ctx, fired.id);
                    })?;
                }
                ReplyStatus::Done
            }
        })
    }

    /// Applies a command of a session: all that the entry holds, or one of a run, whose random numbers are one stream.
    fn apply_command(
        &mut self,
        entry: &Entry<'_>,
        command: Command<'_>,
        random: &mut RandomStream,
        reply: &mut Vec<u8>,
    ) -> Result<ReplyStatus, String> {
        let Command {
            session,
            sequence,
            acknowledged,
            bytes,
        } = command;
        match self
            .sessions
            .admit(session, sequence, acknowledged, entry.header.time)
        {
            Verdict::Execute => {}
            Verdict::Repeat(_) if self.planted.has(Bug::RepeatExecuted) => {
                self.execute(entry, Some(session), random, |machine, ctx, reply| {
                    machine.apply(ctx, bytes, reply);
                })?;
                reply.extend_from_slice(&self.machine_reply);
                return Ok(ReplyStatus::Done);
            }
            Verdict::Repeat(kept) => {
                reply.extend_from_slice(kept);
                return Ok(ReplyStatus::Done);
            }
            Verdict::RepeatSkipped(index) => {
                put_u64(reply, index);
                return Ok(ReplyStatus::Skipped);
            }
            Verdict::Refuse(error) => return Ok(refusal(error)),
        }
        if self.is_skipped(entry) {
            let index = entry.header.index.0;
            self.sessions.remember_skipped(session, sequence, index);
            put_u64(reply, index);
            return Ok(ReplyStatus::Skipped);
        }
        self.execute(entry, Some(session), random, |machine, ctx, reply| {
            machine.apply(ctx, bytes, reply);
        })?;
        reply.extend_from_slice(&self.machine_reply);
        self.sessions
            .remember(session, sequence, &self.machine_reply);
        Ok(ReplyStatus::Done)
    }

    /// Lets the machine execute an entry, or a command of a run; its reply is then in `machine_reply`.
    ///
    /// Whatever goes wrong in here is the machine's fault, so nothing else is done in here: an assertion of
    /// our own must not be taken for it.
    ///
    /// # Errors
    /// How the machine failed, in words.
    fn execute(
        &mut self,
        entry: &Entry<'_>,
        session: Option<u64>,
        random: &mut RandomStream,
        call: impl FnOnce(&mut M, &mut Context<'_>, &mut Vec<u8>),
    ) -> Result<(), String> {
        self.machine_reply.clear();
        let mut context = Context {
            now: entry.header.time,
            index: entry.header.index,
            session,
            version: match self.planted.has(Bug::NewestExecuted) {
                true => M::VERSION,
                false => self.version,
            },
            random,
            timers: &mut self.timer_changes,
        };
        let (machine, reply) = (&mut self.machine, &mut self.machine_reply);
        if let Some(mark) = &self.mark {
            mark.begin(skip_of(entry));
        }
        let outcome = poison::call(|| call(machine, &mut context, reply));
        match self.marking {
            Marking::Each => self.mark_end(),
            Marking::Run | Marking::RunBegun => self.marking = Marking::RunBegun,
        }
        outcome?;
        check_reply(&self.machine_reply, COMMAND_BYTES_MAX)?;
        for change in self.timer_changes.drain(..) {
            self.timers.change(change);
        }
        if self.timers.len() > TIMERS_MAX {
            return Err(format!("it has set over {TIMERS_MAX} timers"));
        }
        Ok(())
    }

    fn mark_end(&self) {
        if let Some(mark) = &self.mark {
            mark.end();
        }
    }

    /// Asks the machine, and appends its answer to `reply`.
    ///
    /// # Errors
    /// In words, if the machine panics or its answer is too long; nothing was appended. A query changes
    /// nothing, so the state is as good as before.
    pub fn query(&self, query: &[u8], reply: &mut Vec<u8>) -> Result<(), String> {
        self.queries(query, 1, reply)
    }

    /// The same for `count` queries that the machine takes as one: the answer may be as long as theirs together, and
    /// [`QUERIES_HEAD_BYTES_MAX`] more.
    ///
    /// # Errors
    /// As [`Replicated::query`].
    pub fn queries(&self, query: &[u8], count: usize, reply: &mut Vec<u8>) -> Result<(), String> {
        assert!(!self.is_poisoned, "the machine has failed");
        let mut answer = Vec::new();
        poison::call(|| self.machine.query(query, &mut answer))?;
        let head = if count > 1 { QUERIES_HEAD_BYTES_MAX } else { 0 };
        check_reply(&answer, count * COMMAND_BYTES_MAX + head)?;
        reply.extend_from_slice(&answer);
        Ok(())
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &M {
        assert!(!self.is_poisoned, "the machine has failed");
        &self.machine
    }

    /// Index of the last entry that was applied.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The chain over all replies so far.
    #[must_use]
    pub fn reply_digest(&self) -> DigestChain {
        self.reply_digest
    }

    /// The whole state as it is now, for another thread to write or digest. Quick: what is large in it is
    /// shared until it changes.
    #[must_use]
    pub fn capture(&self) -> Captured<M> {
        assert!(!self.is_poisoned, "the machine has failed");
        Captured {
            machine: self.machine.capture(),
            sessions: self.sessions.capture(),
            timers: self.timers.by_deadline.iter().copied().collect(),
            applied: self.applied,
            reply_digest: self.reply_digest,
            version: self.version,
        }
    }

    /// The state that [`Captured::write`] wrote, as of the entry `applied`, where the chain over all replies
    /// is `reply_digest` and `version` of the machine is executed. Reads `input` to its end.
    ///
    /// # Errors
    /// Those of `input`, `Unsupported` if this program does not support that version, and `InvalidData` if the
    /// bytes are no such state.
    pub fn restore(
        input: &mut dyn io::Read,
        applied: Index,
        reply_digest: DigestChain,
        version: u32,
    ) -> io::Result<Self> {
        let range = VersionRange::of::<M>();
        if !range.contains(version) {
            let words = format!("it is of version {version}, and this program supports {range}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, words));
        }
        let sessions = SessionTable::restore(input)?;
        let timers = Timers::restore(input)?;
        let machine = M::restore_version(version, input)?;
        if input.read(&mut [0])? != 0 {
            return Err(invalid("there is more than the machine has read"));
        }
        Ok(Self {
            sessions,
            timers,
            applied,
            reply_digest,
            version,
            ..Self::around(machine)
        })
    }

    /// The same state with a machine that has something more than its state, such as a handle to the world
    /// around it. `change` must not change its state.
    #[must_use]
    pub fn map_machine(self, change: impl FnOnce(M) -> M) -> Self {
        Self {
            machine: change(self.machine),
            ..self
        }
    }

    /// The digest of the whole state: of the bytes that [`Captured::write`] writes. Costs time in proportion to
    /// the state.
    #[must_use]
    pub fn state_digest(&self) -> u128 {
        self.capture().digest()
    }

    /// The timers that are due at `now`, in order, at most `most`.
    #[must_use]
    pub fn timers_due(&self, now: WallTime, most: usize) -> Vec<TimerFired> {
        let due = self
            .timers
            .by_deadline
            .iter()
            .take_while(|(deadline, _)| *deadline <= now);
        due.take(most)
            .map(|&(deadline, id)| TimerFired { id, deadline })
            .collect()
    }

    /// When the next timer is due.
    #[must_use]
    pub fn timer_next(&self) -> Option<WallTime> {
        self.timers
            .by_deadline
            .first()
            .map(|(deadline, _)| *deadline)
    }

    /// Whether a session is gone for good: never opened, closed, expired or pushed out by what was
    /// applied. No entry to come can open it, since its id is the index of the entry that opened it.
    /// One that a later entry opens is not gone, it is still to come.
    #[must_use]
    pub fn is_session_gone(&self, session: u64) -> bool {
        session <= self.applied.0 && !self.sessions.is_open(session)
    }

    /// What a command came to which was applied before, if that is kept.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] if its session is not open, be it [gone](Self::is_session_gone) or still to come.
    pub fn kept_reply(
        &self,
        session: u64,
        sequence: u64,
    ) -> Result<Option<KeptOutcome<'_>>, SessionError> {
        let kept = self.sessions.kept_reply(session, sequence)?;
        Ok(kept.filter(|_| !self.planted.has(Bug::RepeatExecuted)))
    }

    /// The number of the next request that a session executes; `None` if it is not open. There is no
    /// [kept reply](Self::kept_reply) of this one and those after it.
    #[must_use]
    pub fn next_sequence(&self, session: u64) -> Option<u64> {
        self.sessions.next_sequence(session)
    }

    /// Number of open sessions.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }
}

/// The primary encoded it, and the checksum vouches for it.
const SOUND_PAYLOAD: &str = "an entry with a good checksum has a good payload";

fn payload_of<T: serde::de::DeserializeOwned>(entry: &Entry<'_>) -> T {
    decode_payload(entry.payload).expect(SOUND_PAYLOAD)
}

/// What the machine will be given to execute for this entry, if nothing prevents it.
fn commands_of<'e>(entry: &Entry<'e>) -> impl Iterator<Item = &'e [u8]> + use<'e> {
    let (alone, run) = match entry.header.kind {
        EntryKind::Direct => (Some(entry.payload), None),
        EntryKind::Command => (Command::decode(entry.payload).map(|it| it.bytes), None),
        EntryKind::Run => (None, Run::decode(entry.payload)),
        _ => (None, None),
    };
    let run = run.into_iter().flat_map(|run| run.commands());
    alone.into_iter().chain(run.map(|it| it.bytes))
}

fn random_of(entry: &Entry<'_>) -> RandomStream {
    RandomStream::new(entry.header.seed, entry.header.index.0)
}

fn skip_of(entry: &Entry<'_>) -> Skip {
    Skip {
        index: entry.header.index,
        view: entry.header.view,
    }
}

fn check_reply(reply: &[u8], most: usize) -> Result<(), String> {
    if reply.len() > most {
        let length = reply.len();
        return Err(format!(
            "it gave a reply of {length} bytes, and {most} are allowed"
        ));
    }
    Ok(())
}

fn refusal(error: SessionError) -> ReplyStatus {
    match error {
        SessionError::Unknown => ReplyStatus::SessionUnknown,
        SessionError::Gap => ReplyStatus::SequenceGap,
        SessionError::Acknowledged => ReplyStatus::SequenceAcknowledged,
    }
}

/// The machine's timers, in order of (deadline, id).
#[derive(Clone, Debug, Default)]
struct Timers {
    by_id: BTreeMap<u64, WallTime>,
    by_deadline: BTreeSet<(WallTime, u64)>,
}

impl Timers {
    fn change(&mut self, change: TimerChange) {
        let (TimerChange::Set { id, .. } | TimerChange::Cancel { id }) = change;
        if let Some(deadline) = self.by_id.remove(&id) {
            self.by_deadline.remove(&(deadline, id));
        }
        if let TimerChange::Set { id, deadline } = change {
            self.by_id.insert(id, deadline);
            self.by_deadline.insert((deadline, id));
        }
    }

    /// Removes a timer that fires; `false` if it was set anew or taken back since.
    fn take(&mut self, fired: TimerFired) -> bool {
        let is_set = self.by_deadline.remove(&(fired.deadline, fired.id));
        if is_set {
            self.by_id.remove(&fired.id);
        }
        is_set
    }

    fn len(&self) -> usize {
        self.by_id.len()
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut timers = Self::default();
        for _ in 0..read_count(input, TIMERS_MAX as u64)? {
            let deadline = WallTime(read_u64(input)?);
            let id = read_u64(input)?;
            let follows = timers.by_deadline.last() < Some(&(deadline, id));
            if !follows || timers.by_id.insert(id, deadline).is_some() {
                return Err(invalid("its timers are out of order"));
            }
            timers.by_deadline.insert((deadline, id));
        }
        Ok(timers)
    }
}
