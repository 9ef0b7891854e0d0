//! A process that keeps a log, a data directory and a view service's state on a disk that fails, and
//! that is started again each time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use standin_core::entry::{Batch, BatchBuilder, BatchStamp, EntryKind, Index, LogTip};
use standin_core::identity::{
    BootId, ClusterId, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::machine::MachineId;
use standin_core::random::RandomStream;
use standin_core::time::WallTime;
use standin_core::view::{Reason, ViewNumber, ViewRecord};
use standin_io::data_dir::{DataDir, DataDirError};
use standin_io::log::{LogConfig, LogError, PrepareRequest, PreparedSegment};
use standin_io::log::{SegmentIds, SegmentLog, SyncRequest};
use standin_io::storage::Storage as _;
use standin_tools::simulate::disk::SimDisk;
use standin_viewservice::store::{FileStore, StoreError};

use crate::shadow::{Rising, ShadowLog, count, entries_in};

const REPLICA: &str = "/replica";
const VIEW_SERVICE: &str = "/service";
/// The shortest segments, so that the log rolls soon.
const CONFIG: LogConfig = LogConfig {
    segment_bytes: 4096,
};

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
    pub(crate) cuts: u64,
    pub(crate) cuts_cut_short: u64,
    pub(crate) segments_max: usize,
    /// Recovery found the log damaged.
    pub(crate) halted: u64,
}

/// Why a life ended early.
#[derive(Debug)]
enum End {
    /// What was asked of the disk failed.
    Failed(String),
    /// Recovery refuses the log.
    Halted(LogError),
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Io { .. } | LogError::Failed => Self::Failed(error.to_string()),
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
struct Process {
    dir: DataDir<SimDisk>,
    log: SegmentLog<SimDisk>,
    service: FileStore<SimDisk>,
    sync: Option<SyncRequest<SimDisk>>,
    synced: Option<SyncRequest<SimDisk>>,
    prepare: Option<PrepareRequest<SimDisk>>,
    prepared: Option<PreparedSegment<SimDisk>>,
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    random: RandomStream,
    faults: Faults,
    log: ShadowLog,
    starts: Rising,
    adopted: Rising,
    view: Rising,
    /// The machine's boots.
    boot: u64,
    /// Makes every batch another.
    batches: u64,
    /// Since the last start that succeeded power was lost, or a sync failed: of what was not synced
    /// anything may be missing.
    has_lost_writes: bool,
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
            marks: Marks::default(),
            trace: String::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn place_below(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap())).unwrap()
    }

    /// A stream for something that draws by itself.
    pub(crate) fn stream(&mut self) -> RandomStream {
        RandomStream::new(self.random.next_u64(), 2)
    }

    fn note(&mut self, what: impl AsRef<str>) {
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
            Err(End::Failed(why)) => self.note(format!("failed: {why}")),
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

    fn end_life(&mut self) {
        self.disk.set_capacity(None);
        if self.faults.power_loss && self.below(2) == 0 {
            self.note("power loss");
            self.disk.power_loss(&mut self.random);
            self.has_lost_writes = true;
            self.boot += 1;
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
        let (name, machine) = (name(), machine());
        let path = Path::new(REPLICA);
        let (mut dir, _) = DataDir::open_in(self.disk.clone(), path, &name, &machine, StoreId(9))?;
        self.adopted
            .found("the adopted view", dir.meta().adopted.view.0);
        self.starts.found("the count of starts", dir.meta().starts);
        let ids = SegmentIds {
            cluster: ClusterId(1),
            store: dir.meta().store,
            machine,
        };
        let (log, recovered) = SegmentLog::open_in(self.disk.clone(), path, ids, CONFIG)?;
        self.note(format!("found {:?}", recovered.tip));
        let before = self.log.len();
        self.log.found(recovered.tip);
        assert_eq!(log.tip(), recovered.tip);
        self.check_read(&log, 0, self.log.len());
        self.starts.tried += 1;
        dir.begin_life(BootId(u128::from(self.boot)), self.boot)?;
        self.starts.stored = self.starts.tried;
        self.marks.starts += 1;
        self.marks.entries_lost += u64::try_from(before - self.log.len()).unwrap();
        self.marks.torn += u64::from(recovered.torn.is_some());
        self.has_lost_writes = false;
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

    /// The log is refused: there must be a reason, and nothing that was synced is lost.
    fn check_halt(&mut self, error: &LogError) {
        assert!(self.has_lost_writes, "{error}");
        let (synced, appended) = (self.log.synced, self.log.len());
        assert!(synced < appended, "everything was synced, and yet: {error}");
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

    fn check_read(&self, log: &SegmentLog<SimDisk>, before: usize, entries: usize) {
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

    fn work(&mut self, mut process: Process, steps: u64) -> Result<(), End> {
        for _ in 0..steps {
            if self.faults.errors && self.below(40) == 0 {
                self.break_disk();
            }
            self.step(&mut process)?;
            // Whoever prepares a segment goes on without it.
            if self.disk.is_stopped() {
                return Err(End::Failed("died".to_owned()));
            }
        }
        Ok(())
    }

    fn break_disk(&mut self) {
        match self.below(3) {
            0 => {
                let random = self.stream();
                self.disk.fail_sync(0, random);
                self.has_lost_writes = true;
            }
            1 => self.disk.fail_write(0),
            _ => {
                let room = self.below(10_000);
                self.disk.set_capacity(Some(self.disk.used() + room));
            }
        }
    }

    fn step(&mut self, process: &mut Process) -> Result<(), End> {
        match self.below(24) {
            0..=9 => self.append(process)?,
            10..=12 => self.ask_for_sync(process),
            13..=15 => self.run_log_thread(process)?,
            16..=17 => self.poll_log_thread(process),
            18 => {
                process.log.sync_now()?;
                self.log.note_synced(process.log.durable());
                assert_eq!(self.log.synced, self.log.len());
            }
            19 => self.cut(process)?,
            20 => self.adopt(process)?,
            21 => self.change_view(process)?,
            22 => self.read(process),
            _ => self.stop_cleanly(process)?,
        }
        let segments = self.disk.list(&Path::new(REPLICA).join("log"));
        let segments = segments.map_or(0, |names| names.len());
        self.marks.segments_max = self.marks.segments_max.max(segments);
        Ok(())
    }

    fn append(&mut self, process: &mut Process) -> Result<(), End> {
        let (entries, bytes) = match self.below(20) {
            0 => (1, 5000),
            1..=4 => (3, 700),
            _ => (self.below(3) + 1, 20),
        };
        let batch = self.batch(process.log.tip(), entries, bytes);
        self.log.append(&batch);
        process.log.append(&batch)?;
        if let Some(request) = process.log.sync_upkeep() {
            desk_sync(process, request);
        }
        if let Some(request) = process.log.prepare_request() {
            process.prepare = Some(request);
        }
        Ok(())
    }

    fn batch(&mut self, tip: LogTip, entries: u64, bytes_max: u64) -> Batch {
        self.batches += 1;
        let is_new_view = tip.index == Index::ZERO || self.below(8) == 0;
        let stamp = BatchStamp {
            view: ViewNumber(tip.view.0 + u64::from(is_new_view)),
            time: WallTime(tip.time.0 + 1),
            seed: self.batches,
            commit: tip.index,
        };
        let mut builder = BatchBuilder::new(tip, stamp);
        for number in 0..entries {
            let kind = match number {
                0 if is_new_view => EntryKind::ViewStart,
                _ => EntryKind::Command,
            };
            let mut payload =
                vec![0xa5; 24 + self.place_below(usize::try_from(bytes_max).unwrap())];
            payload[..8].copy_from_slice(&self.batches.to_le_bytes());
            builder.push(kind, |out| out.extend_from_slice(&payload));
        }
        builder.finish().unwrap()
    }

    fn ask_for_sync(&mut self, process: &mut Process) {
        if let Some(request) = process.log.sync_request() {
            desk_sync(process, request);
        }
    }

    fn run_log_thread(&mut self, process: &mut Process) -> Result<(), End> {
        if let Some(request) = process.sync.take() {
            request.run()?;
            process.synced = Some(request);
        } else if let Some(request) = process.prepare.take() {
            // Without room the log goes on.
            process.prepared = request.run().ok();
        }
        Ok(())
    }

    fn poll_log_thread(&mut self, process: &mut Process) {
        if let Some(through) = process.synced.take().and_then(SyncRequest::complete) {
            assert!(process.log.durable() >= through);
            self.log.note_synced(process.log.durable());
        }
        if let Some(segment) = process.prepared.take() {
            process.log.take_prepared(segment);
        }
    }

    fn cut(&mut self, process: &mut Process) -> Result<(), End> {
        let length = self.log.len();
        let after = self.place_below(length + 1);
        self.note(format!("cutting {length} entries after {after}"));
        let tail = self.log.bytes(after, length - after);
        self.log.begin_cut(after);
        let result = process.log.cut(Index(u64::try_from(after).unwrap()));
        if result.is_err() {
            self.marks.cuts_cut_short += 1;
        }
        let tip = result?;
        assert_eq!(count(tip.index), after);
        self.log.shorten(after);
        self.marks.cuts += 1;
        if !tail.is_empty() {
            let kept = self.disk.read(&self.newest_tail(), u64::MAX).unwrap();
            assert_eq!(&kept[160..], tail, "the tail is kept for people");
        }
        Ok(())
    }

    fn newest_tail(&self) -> PathBuf {
        let dir = Path::new(REPLICA).join("cut");
        let names = self.disk.list(&dir).unwrap();
        dir.join(names.iter().max().unwrap())
    }

    fn adopt(&mut self, process: &mut Process) -> Result<(), End> {
        let mut meta = process.dir.meta().clone();
        meta.cluster = Some(ClusterId(1));
        meta.adopted.view = meta.adopted.view.next();
        self.adopted.tried = meta.adopted.view.0;
        process.dir.store(meta)?;
        self.adopted.stored = self.adopted.tried;
        Ok(())
    }

    fn change_view(&mut self, process: &mut Process) -> Result<(), End> {
        let mut state = process.service.state().clone();
        let (cluster, me) = (state.cluster, identity());
        let record = match state.record {
            None => ViewRecord::bootstrap(cluster, &me, 1000),
            Some(record) => record.depose(&me, Reason::LeaseExpired),
        };
        self.view.tried = record.view.0;
        state.record = Some(record);
        state.term_max_ms = 1000;
        process.service.store(&state)?;
        self.view.stored = self.view.tried;
        Ok(())
    }

    fn read(&mut self, process: &Process) {
        let before = self.place_below(self.log.len() + 1);
        let entries = self.place_below(self.log.len() - before + 1);
        self.check_read(&process.log, before, entries.min(10));
    }

    /// Everything on disk, and noted: after that, no power loss may take anything.
    fn stop_cleanly(&mut self, process: &mut Process) -> Result<(), End> {
        process.log.sync_now()?;
        self.log.note_synced(process.log.durable());
        process.dir.note_clean_stop()?;
        Err(End::Failed("stopped cleanly".to_owned()))
    }
}

fn desk_sync(process: &mut Process, request: SyncRequest<SimDisk>) {
    match &mut process.sync {
        Some(waiting) => waiting.merge(request),
        None => process.sync = Some(request),
    }
}

fn name() -> ReplicaName {
    ReplicaName::new("a").unwrap()
}

fn machine() -> MachineId {
    MachineId::new("counter", 1).unwrap()
}

fn identity() -> Identity {
    Identity {
        name: name(),
        store: StoreId(9),
        life: Life {
            boot: BootId(1),
            incarnation: Incarnation { start: 1, nonce: 1 },
        },
        clean_lives: Vec::new(),
    }
}
