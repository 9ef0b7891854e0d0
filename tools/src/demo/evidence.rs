//! The audit of any machine: what clients were answered, held against a replay of the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use standin_core::entry::{Command, EntryKind};
use standin_core::machine::StateMachine;
use standin_core::mark::ApplyMark;
use standin_core::message::ReplyStatus;
use standin_core::poison::Skip;
use standin_core::state::Replicated;
use standin_io::log::LogReader;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::audit::Audit;
use crate::replay::ReplayError;

/// What one client was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Its session, once it has one.
    session: Option<u64>,
    /// For each of its commands, by sequence number from 1, what tells command and reply from others.
    told: Vec<u64>,
}

impl Record {
    /// The session's next command was answered.
    ///
    /// # Panics
    /// If the session is another one than before.
    pub(super) fn answered(&mut self, session: u64, command: &[u8], reply: &[u8]) {
        let before = self.session.replace(session);
        assert!(
            before.is_none_or(|before| before == session),
            "a client has one session"
        );
        self.told.push(mark_of(command, reply));
    }
}

fn mark_of(command: &[u8], reply: &[u8]) -> u64 {
    xxh3_64_with_seed(reply, xxh3_64(command))
}

/// Replays the log in `dir`, from its first entry on, and looks for everything that clients were answered.
///
/// # Errors
/// [`ReplayError`] if the log cannot be replayed.
pub(super) fn audit_log<M: StateMachine>(
    dir: &Path,
    records: &[Record],
) -> Result<Audit, ReplayError> {
    let by_session = records.iter().filter_map(|it| Some((it.session?, it)));
    let by_session: BTreeMap<u64, &Record> = by_session.collect();
    let executions = Arc::new(Executions::default());
    let mut state = Replicated::<M>::default();
    state.mark_with(Arc::clone(&executions) as Arc<dyn ApplyMark>);
    let mut reader = LogReader::open(dir)?;
    for skip in reader.skips()? {
        state.skip(skip);
    }
    let mut audit = Audit {
        acknowledged: records.iter().map(|it| it.told.len() as u64).sum(),
        ..Audit::default()
    };
    // The last sequence number of each session.
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut distinct, mut found) = (0, 0);
    let mut reply = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let before = executions.count();
        reply.clear();
        let status = state
            .apply(&entry, &mut reply)
            .map_err(ReplayError::Fault)?;
        let command = (entry.header.kind == EntryKind::Command)
            .then(|| Command::decode(entry.payload))
            .flatten();
        let Some(command) = command else {
            continue;
        };
        audit.value += executions.count() - before;
        let last = last.entry(command.session).or_default();
        if command.sequence != *last + 1 {
            continue; // sent again
        }
        *last = command.sequence;
        distinct += 1;
        let place = usize::try_from(command.sequence - 1).expect("a place in memory");
        let record = by_session.get(&command.session);
        let told = record.and_then(|record| record.told.get(place));
        let is_told = told == Some(&mark_of(command.bytes, &reply));
        found += u64::from(is_told && status == ReplyStatus::Done);
    }
    audit.lost = audit.acknowledged - found;
    audit.executed_twice = audit.value.saturating_sub(distinct);
    Ok(audit)
}

/// Counts how often the machine executed something.
#[derive(Debug, Default)]
struct Executions(AtomicU64);

impl Executions {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ApplyMark for Executions {
    fn begin(&self, _: Skip) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {}
}
