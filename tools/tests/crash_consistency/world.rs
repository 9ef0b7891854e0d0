//! A process that keeps a log, a data directory and a view service's state on a disk that fails, and
//! that is started again each time.

use std::fmt::Write as _;
use std::path::Path;

use standin_core::entry::Index;
use standin_core::identity::{BootId, ClusterId, ReplicaName, StoreId};
use standin_core::machine::MachineId;
use standin_core::random::RandomStream;
use standin_io::data_dir::{DataDir, DataDirError};
use standin_io::log::{LogConfig, LogError, PrepareRequest, PreparedSegment, Recovered};
use standin_io::log::{SegmentIds, SegmentLog, SyncRequest};
use standin_io::storage::Storage as _;
use standin_tools::simulate::disk::SimDisk;
use standin_viewservice::store::{FileStore, StoreError};

use crate::shadow::{Rising, ShadowLog, entries_in};

pub(crate) const REPLICA: &str = "/replica";
const VIEW_SERVICE: &str = "/service";
const STORE: StoreId = StoreId(9);
/// The shortest segments, so that the log rolls soon.
const SEGMENT_BYTES: u64 = 4096;

/// Which faults a world has besides the death of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) power_loss: bool,
    pub(crate) names_unordered: bool,
    /// Failing syncs and writes, full disks.
    pub(crate) errors: bool,
}

/// What a world has been through, so that a test can see that it tries what it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) starts: u64,
    pub(crate) starts_cut_short: u64,
    pub(crate) entries_lost: u64,
    pub(crate) torn: u64,
    /// The end that was torn had whole entries in it.
    pub(crate) gaps: u64,
    pub(crate) cuts: u64,
    pub(crate) cuts_cut_short: u64,
    pub(crate) segments_max: usize,
    /// Recovery found the log damaged.
    pub(crate) halted: u64,
}

/// Why a life ended early.
#[derive(Debug)]
pub(crate) enum End {
    /// What was asked of the disk failed, and took nothing away.
    Failed(String),
    /// The disk failed, and what was not synced may be gone.
    DiskFailed(String),
    /// Recovery refuses the log.
    Halted(LogError),
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::DiskFailed(error.to_string())
    }
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        match error {
            error if error.may_have_lost_writes() => Self::DiskFailed(error.to_string()),
            LogError::Io { .. } => Self::Failed(error.to_string()),
            other => Self::Halted(other),
        }
    }
}

impl From<DataDirError> for End {
    fn from(error: DataDirError) -> Self {
        assert!(matches!(error, DataDirError::Io { .. }), "{error}");
        Self::Failed(error.to_string())
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        let is_io = matches!(error, StoreError::Io { .. } | StoreError::Failed { .. });
        assert!(is_io, "{error}");
        Self::Failed(error.to_string())
    }
}

/// A process, and the desk of the log thread that it does not have.
pub(crate) struct Process {
    pub(crate) dir: DataDir<SimDisk>,
    pub(crate) log: SegmentLog<SimDisk>,
    pub(crate) service: FileStore<SimDisk>,
    pub(crate) sync: Option<SyncRequest<SimDisk>>,
    pub(crate) synced: Option<SyncRequest<SimDisk>>,
    pub(crate) prepare: Option<PrepareRequest<SimDisk>>,
    pub(crate) prepared: Option<PreparedSegment<SimDisk>>,
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    random: RandomStream,
    pub(crate) faults: Faults,
    pub(crate) log: ShadowLog,
    starts: Rising,
    pub(crate) adopted: Rising,
    pub(crate) view: Rising,
    /// The machine's boots.
    boot: u64,
    /// Makes every batch another.
    pub(crate) batches: u64,
    /// Since the last start that succeeded power was lost, or a sync failed: of what was not synced
    /// anything may be missing.
    pub(crate) has_lost_writes: bool,
    /// The disk failed since, and that could not be noted.
    pub(crate) is_unnoted: bool,
    /// The primary is one that says of no entry that it is committed: nothing tells what was synced.
    pub(crate) calls_nothing_committed: bool,
    pub(crate) marks: Marks,
    pub(crate) trace: String,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let disk = SimDisk::new();
        disk.set_names_unordered(faults.names_unordered);
        Self {
            disk,
            random: RandomStream::new(seed, 1),
            faults,
            log: ShadowLog::new(),
            starts: Rising::default(),
            adopted: Rising::default(),
            view: Rising::default(),
            boot: 1,
            batches: 0,
            has_lost_writes: false,
            is_unnoted: false,
            calls_nothing_committed: false,
            marks: Marks::default(),
            trace: String::new(),
        }
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    pub(crate) fn place_below(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap())).unwrap()
    }

    /// A stream for something that draws by itself.
    pub(crate) fn stream(&mut self) -> RandomStream {
        RandomStream::new(self.random.next_u64(), 2)
    }

    pub(crate) fn note(&mut self, what: impl AsRef<str>) {
        let operations = self.disk.counts().operations;
        let line = format!("{operations:>6} {}", what.as_ref());
        if std::env::var("TRACE").is_ok() {
            eprintln!("{line}");
        }
        writeln!(self.trace, "{line}").unwrap();
    }

    /// Starts the process, lets it work `steps` steps at most, and ends it. Says whether it can be
    /// started again.
    pub(crate) fn live(&mut self, steps: u64) -> bool {
        match self.start().and_then(|process| self.work(process, steps)) {
            Ok(()) => self.note("killed"),
            Err(End::Failed(why) | End::DiskFailed(why)) => self.note(format!("failed: {why}")),
            Err(End::Halted(error)) => {
                self.check_halt(&error);
                self.note(format!("halted: {error}"));
                self.marks.halted += 1;
                return false;
            }
        }
        self.end_life();
        true
    }

    /// Starts the process, lets it work off the script, and takes its power after so many operations
    /// with what `loss` draws. Says whether that was before the script's end.
    pub(crate) fn lose_power_after(&mut self, operations: u64, loss: &mut RandomStream) -> bool {
        self.disk.stop(operations, loss.clone());
        let result = self.start().and_then(|process| self.script(process));
        let is_cut_short = self.disk.is_stopped();
        assert!(
            !matches!(result, Err(End::Halted(_))),
            "a new log is good: {result:?}"
        );
        self.lose_power(loss);
        is_cut_short
    }

    fn lose_power(&mut self, random: &mut RandomStream) {
        self.note("power loss");
        self.disk.power_loss(random);
        self.has_lost_writes = true;
        self.boot += 1;
    }

    fn end_life(&mut self) {
        self.disk.set_capacity(None);
        if self.faults.power_loss && self.below(2) == 0 {
            let mut random = self.stream();
            self.lose_power(&mut random);
            return;
        }
        self.disk.kill();
        if self.below(4) == 0 {
            self.disk.evict();
        }
    }

    fn start(&mut self) -> Result<Process, End> {
        let result = self.try_start();
        if result.is_err() && self.disk.is_stopped() {
            self.marks.starts_cut_short += 1;
        }
        result
    }

    /// In the order in which a replica starts.
    fn try_start(&mut self) -> Result<Process, End> {
        let service = FileStore::open_in(self.disk.clone(), Path::new(VIEW_SERVICE), ClusterId(1))?;
        let view = service.state().record.as_ref().map_or(0, |one| one.view.0);
        self.view.found("the view service's view", view);
        let path = Path::new(REPLICA);
        let opened = DataDir::open_in(self.disk.clone(), path, &name(), &machine(), STORE);
        let (mut dir, _) = opened?;
        self.adopted
            .found("the adopted view", dir.meta().adopted.view.0);
        self.starts.found("the count of starts", dir.meta().starts);
        let boot = BootId(u128::from(self.boot));
        let opened = self.open_log(dir.may_have_lost_writes(boot));
        if let Err(error) = &opened
            && error.may_have_lost_writes()
        {
            self.is_unnoted |= dir.note_disk_failure().is_err();
        }
        let (log, recovered) = opened?;
        self.note(format!("found {:?}", recovered.tip));
        let before = self.log.len();
        self.log.found(recovered.tip);
        assert_eq!(log.tip(), recovered.tip);
        self.check_read(&log, 0, self.log.len());
        self.starts.tried += 1;
        dir.begin_life(boot, self.boot)?;
        self.starts.stored = self.starts.tried;
        self.marks.starts += 1;
        self.marks.entries_lost += u64::try_from(before - self.log.len()).unwrap();
        self.marks.torn += u64::from(recovered.torn.is_some());
        self.marks.gaps += u64::from(recovered.torn.is_some_and(|torn| torn.entries > 0));
        self.has_lost_writes = false;
        self.is_unnoted = false;
        Ok(Process {
            dir,
            log,
            service,
            sync: None,
            synced: None,
            prepare: None,
            prepared: None,
        })
    }

    fn open_log(
        &self,
        may_have_lost_writes: bool,
    ) -> Result<(SegmentLog<SimDisk>, Recovered), LogError> {
        let ids = SegmentIds {
            cluster: ClusterId(1),
            store: STORE,
            machine: machine(),
        };
        let config = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            may_have_lost_writes,
            may_be_holder: true,
            ..LogConfig::default()
        };
        SegmentLog::open_in(self.disk.clone(), Path::new(REPLICA), ids, config)
    }

    /// Works for a while and syncs everything; then a bit of the log flips. Says how many entries are
    /// missing afterwards, or nothing if the log is refused.
    pub(crate) fn rot(mut self) -> Option<usize> {
        let mut process = self.start().expect("nothing fails");
        for _ in 0..60 {
            self.append(&mut process).expect("nothing fails");
        }
        self.sync_now(&mut process).expect("nothing fails");
        self.disk.kill();
        self.flip_a_bit();
        self.lost_of(self.log.len(), false)
    }

    /// Works for a while as a lone primary does, and loses power; then a bit of the log flips. Says how
    /// many of the entries are missing that were called committed, or nothing if the log is refused.
    pub(crate) fn rot_after_power_loss(mut self) -> Option<usize> {
        let mut process = self.start().expect("nothing fails");
        for _ in 0..30 {
            self.append(&mut process).expect("nothing fails");
            if self.below(4) == 0 {
                self.sync_now(&mut process).expect("nothing fails");
            }
        }
        // The last that was synced is called committed by what comes behind it.
        self.sync_now(&mut process).expect("nothing fails");
        let committed = self.log.synced;
        self.append(&mut process).expect("nothing fails");
        self.sync_now(&mut process).expect("nothing fails");
        for _ in 0..self.below(5) {
            self.append(&mut process).expect("nothing fails");
        }
        let mut random = self.stream();
        self.lose_power(&mut random);
        self.flip_a_bit();
        self.lost_of(committed, true)
    }

    fn flip_a_bit(&mut self) {
        let dir = Path::new(REPLICA).join("log");
        let names = self.disk.list(&dir).unwrap();
        let path = dir.join(&names[self.place_below(names.len())]);
        let bytes = self.disk.read(&path, u64::MAX).unwrap();
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        if used > 0 {
            let bit = self.place_below(used * 8);
            assert!(self.disk.flip_bit(&path, u64::try_from(bit).unwrap()));
        }
    }

    /// How many of the first `count` entries are missing, or nothing if the log is refused.
    fn lost_of(&mut self, count: usize, may_have_lost_writes: bool) -> Option<usize> {
        match self.open_log(may_have_lost_writes) {
            Err(LogError::Io { source, .. }) => panic!("{source}"),
            Err(_) => None,
            Ok((log, recovered)) => {
                self.log.synced = 0;
                self.log.found(recovered.tip);
                self.check_read(&log, 0, self.log.len());
                Some(count.saturating_sub(self.log.len()))
            }
        }
    }

    /// The log is refused: there must be a reason, and nothing that was synced is lost.
    fn check_halt(&mut self, error: &LogError) {
        // A lone primary's log is never refused for what was not synced, unless it cannot know.
        assert!(self.has_lost_writes && self.is_unnoted, "{error}");
        let synced = self.log.synced;
        assert!(
            self.log.reached < self.log.len(),
            "everything was synced, and yet: {error}"
        );
        assert!(error.to_string().contains("nothing was changed"), "{error}");
        let whole = self.whole_entries();
        assert!(
            whole >= synced,
            "{whole} of {synced} synced are there: {error}"
        );
    }

    /// The entries that stand in the segment files, from the first on.
    fn whole_entries(&self) -> usize {
        let dir = Path::new(REPLICA).join("log");
        let mut whole = 0;
        for name in self.disk.list(&dir).unwrap() {
            let digits = name.to_str().unwrap().trim_end_matches(".log").parse();
            if digits == Ok(whole + 1) {
                let bytes = self.disk.read(&dir.join(name), u64::MAX).unwrap();
                whole += self
                    .log
                    .matching(bytes.get(160..).unwrap_or_default(), whole);
            }
        }
        whole
    }

    pub(crate) fn check_read(&self, log: &SegmentLog<SimDisk>, before: usize, entries: usize) {
        let mut read = Vec::new();
        let mut next = before;
        while next < before + entries {
            let from = Index(u64::try_from(next).unwrap() + 1);
            let bytes = log.read(from, 500).expect("what is there can be read");
            next += entries_in(&bytes);
            read.extend_from_slice(&bytes);
        }
        let expected = self.log.bytes(before, next - before);
        assert!(read == expected, "entries {before} to {next} are others");
    }
}

pub(crate) fn name() -> ReplicaName {
    ReplicaName::new("a").unwrap()
}

fn machine() -> MachineId {
    MachineId::new("counter", 1).unwrap()
}
