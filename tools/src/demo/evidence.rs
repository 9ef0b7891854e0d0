//! The audit of any machine: what clients were answered, held against a replay of the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use standin_core::entry::Command;
use standin_core::machine::StateMachine;
use standin_core::mark::ApplyMark;
use standin_core::message::ReplyStatus;
use standin_core::poison::Skip;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::audit::Audit;
use crate::replay::{Replay, ReplayError};

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
    let executions = Arc::new(Executions::default());
    let mut replay = Replay::<M>::open(dir, false)?;
    replay.mark_with(Arc::clone(&executions) as Arc<dyn ApplyMark>);
    let mut findings = Findings::new(records);
    let mut before = 0;
    while let Some(step) = replay.advance()? {
        let count = executions.count();
        let replies = step.entry.replies(step.status, step.reply);
        let mut is_command = false;
        for (command, told) in step.entry.commands().zip(replies) {
            is_command = true;
            let reply = (told.status == ReplyStatus::Done).then_some(told.bytes);
            findings.see(&command, reply);
        }
        findings.executed += if is_command { count - before } else { 0 };
        before = count;
    }
    Ok(findings.audit())
}

/// What a replay has shown so far.
#[derive(Debug)]
struct Findings<'a> {
    records: &'a [Record],
    by_session: BTreeMap<u64, &'a Record>,
    /// The last sequence number of each session.
    last: BTreeMap<u64, u64>,
    /// Commands, each counted once however often it was sent.
    commands: u64,
    /// How often the machine executed one.
    executed: u64,
    /// Answers that clients had and the replay came to as well.
    found: u64,
}

impl<'a> Findings<'a> {
    fn new(records: &'a [Record]) -> Self {
        let by_session = records.iter().filter_map(|it| Some((it.session?, it)));
        Self {
            records,
            by_session: by_session.collect(),
            last: BTreeMap::new(),
            commands: 0,
            executed: 0,
            found: 0,
        }
    }

    /// The next command in the log, and its reply if it has one.
    fn see(&mut self, command: &Command<'_>, reply: Option<&[u8]>) {
        let last = self.last.entry(command.session).or_default();
        if command.sequence != *last + 1 {
            return; // sent again
        }
        *last = command.sequence;
        self.commands += 1;
        let place = usize::try_from(command.sequence - 1).expect("a place in memory");
        let record = self.by_session.get(&command.session);
        let told = record.and_then(|record| record.told.get(place));
        let found = reply.map(|reply| mark_of(command.bytes, reply));
        self.found += u64::from(told.is_some() && told == found.as_ref());
    }

    fn audit(&self) -> Audit {
        let acknowledged = self.records.iter().map(|it| it.told.len() as u64).sum();
        Audit {
            acknowledged,
            value: self.executed,
            lost: acknowledged - self.found,
            executed_twice: self.executed.saturating_sub(self.commands),
            ..Audit::default()
        }
    }
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

#[cfg(test)]
mod tests {
    use std::io;

    use standin_core::entry::{BatchBuilder, BatchStamp, EntryKind, TimerFired, ViewStart};
    use standin_core::identity::{ClusterId, Durability, Incarnation, ReplicaName, StoreId};
    use standin_core::machine::{Context, MachineId};
    use standin_core::message::encode_payload;
    use standin_core::time::WallTime;
    use standin_core::view::{DataEpoch, ViewNumber};
    use standin_io::log::{LogConfig, SegmentIds, SegmentLog};

    use super::*;

    /// Session, sequence, command, reply, executions.
    type Row = (u64, u64, &'static [u8], &'static [u8], u64);

    /// Two clients, each with two commands.
    const LOG: [Row; 5] = [
        (3, 1, b"a", b"A", 1),
        (4, 1, b"b", b"B", 1),
        (3, 2, b"c", b"C", 1),
        (3, 2, b"c", b"C", 0), // sent again
        (4, 2, b"d", b"D", 1),
    ];

    fn records() -> Vec<Record> {
        let mut records = vec![Record::default(); 3]; // the third was never answered
        for (session, sequence, command, reply, executions) in LOG {
            if executions > 0 {
                let record = &mut records[if session == 3 { 0 } else { 1 }];
                record.answered(session, command, reply);
                assert_eq!(record.told.len() as u64, sequence);
            }
        }
        records
    }

    fn audit(
        records: &[Record],
        change: impl Fn(usize, &mut Command<'_>, &mut Option<&[u8]>, &mut u64) -> bool,
    ) -> Audit {
        let mut findings = Findings::new(records);
        for (at, (session, sequence, bytes, reply, mut executed)) in LOG.into_iter().enumerate() {
            let mut command = Command {
                session,
                sequence,
                acknowledged: 0,
                bytes,
            };
            let mut reply = Some(reply);
            if change(at, &mut command, &mut reply, &mut executed) {
                findings.executed += executed;
                findings.see(&command, reply);
            }
        }
        findings.audit()
    }

    fn lost_and_twice(audit: Audit) -> (u64, u64) {
        (audit.lost, audit.executed_twice)
    }

    #[test]
    fn all_that_was_answered_is_found() {
        let whole = audit(&records(), |_, _, _, _| true);
        assert!(whole.is_clean(), "{whole:?}");
        assert_eq!((whole.acknowledged, whole.value), (4, 4));
    }

    #[test]
    fn a_command_that_is_missing_is_lost() {
        let audit = audit(&records(), |at, _, _, _| at != 4);
        assert_eq!(lost_and_twice(audit), (1, 0));
    }

    #[test]
    fn one_that_is_another_or_has_another_reply_or_none_is_lost() {
        let records = records();
        let other = audit(&records, |at, command, _, _| {
            command.bytes = if at == 1 { b"x" } else { command.bytes };
            true
        });
        assert_eq!(lost_and_twice(other), (1, 0));
        let replied = audit(&records, |at, _, reply, _| {
            *reply = if at == 1 { Some(b"x") } else { *reply };
            true
        });
        assert_eq!(lost_and_twice(replied), (1, 0));
        let refused = audit(&records, |at, _, reply, _| {
            *reply = if at == 1 { None } else { *reply };
            true
        });
        assert_eq!(lost_and_twice(refused), (1, 0));
    }

    #[test]
    fn one_that_is_executed_when_it_is_sent_again_ran_twice() {
        let audit = audit(&records(), |_, _, _, executed| {
            *executed = 1;
            true
        });
        assert_eq!(lost_and_twice(audit), (0, 1));
        assert_eq!(audit.value, 5);
    }

    /// Replies with how many commands it has executed. Each sets a timer, and each timer sets itself once more.
    #[derive(Debug, Default)]
    struct Ticking(u64);

    impl StateMachine for Ticking {
        const NAME: &'static str = "ticking";
        const VERSION: u32 = 1;
        type Capture = u64;

        fn apply(&mut self, ctx: &mut Context<'_>, _: &[u8], reply: &mut Vec<u8>) {
            self.0 += 1;
            reply.extend_from_slice(&self.0.to_le_bytes());
            ctx.set_timer(1, WallTime(7));
        }

        fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
            ctx.set_timer(id + 1, WallTime(7));
        }

        fn query(&self, _: &[u8], _: &mut Vec<u8>) {}

        fn capture(&self) -> u64 {
            self.0
        }

        fn write_capture(_: &u64, _: &mut dyn io::Write) -> io::Result<()> {
            unreachable!("there is no snapshot")
        }

        fn restore(_: &mut dyn io::Read) -> io::Result<Self> {
            unreachable!("there is no snapshot")
        }
    }

    fn view_start(out: &mut Vec<u8>) {
        let start = ViewStart {
            data_epoch: DataEpoch(0),
            primary: ReplicaName::new("a").unwrap(),
            incarnation: Incarnation { start: 1, nonce: 1 },
            durability: Durability::Os,
            session_timeout_ms: 1000,
            sessions_max: 10,
            replies_bytes_max: 1000,
            session_idle_min_ms: 10,
            skips: Vec::new(),
            machine_version: Some(1),
        };
        encode_payload(&start, out);
    }

    /// The log of a primary at which session 2 gave two commands, the second of them twice, with timers in between.
    fn ticking_log(dir: &Path) {
        let ids = SegmentIds {
            cluster: ClusterId(1),
            store: StoreId(1),
            machine: MachineId::of::<Ticking>(),
        };
        let (mut log, _) = SegmentLog::open(dir, ids, LogConfig::default()).unwrap();
        let command = |sequence| Command {
            session: 2,
            sequence,
            acknowledged: 0,
            bytes: b"count",
        };
        let timer = |id| TimerFired {
            id,
            deadline: WallTime(7),
        };
        let mut push = |kind, payload: &dyn Fn(&mut Vec<u8>)| {
            let stamp = BatchStamp {
                view: ViewNumber(1),
                time: WallTime(10),
                seed: 1,
                commit: log.tip().index,
            };
            let mut builder = BatchBuilder::new(log.tip(), stamp);
            builder.push(kind, payload);
            log.append(&builder.finish().unwrap()).unwrap();
        };
        push(EntryKind::ViewStart, &view_start);
        push(EntryKind::OpenSession, &|_| {});
        push(EntryKind::Command, &|out| command(1).encode(out));
        push(EntryKind::Timer, &|out| encode_payload(&timer(1), out));
        push(EntryKind::Timer, &|out| encode_payload(&timer(2), out));
        push(EntryKind::Command, &|out| command(2).encode(out));
        push(EntryKind::Command, &|out| command(2).encode(out));
        // Whoever has no session may send whatever bytes it likes.
        push(EntryKind::Direct, &|out| command(3).encode(out));
        push(EntryKind::Timer, &|out| encode_payload(&timer(1), out));
    }

    #[test]
    fn of_a_log_only_what_sessions_asked_for_is_counted() {
        let root = tempfile::tempdir().unwrap();
        ticking_log(root.path());
        let mut record = Record::default();
        record.answered(2, b"count", &1_u64.to_le_bytes());
        record.answered(2, b"count", &2_u64.to_le_bytes());
        let told = audit_log::<Ticking>(root.path(), &[record.clone()]).unwrap();
        assert!(told.is_clean(), "{told:?}");
        assert_eq!((told.acknowledged, told.value), (2, 2));
        // One that was answered and that the log does not have.
        record.answered(2, b"count", &4_u64.to_le_bytes());
        let told = audit_log::<Ticking>(root.path(), &[record]).unwrap();
        assert_eq!(lost_and_twice(told), (1, 0));
    }

    #[test]
    fn what_another_session_was_answered_counts_for_nobody() {
        let mut records = records();
        records[0].session = Some(9);
        let audit = audit(&records, |_, _, _, _| true);
        assert_eq!(lost_and_twice(audit), (2, 0));
    }
}
