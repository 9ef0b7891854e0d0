//! What a process does to its files, step by step.

use std::path::{Path, PathBuf};

use standin_core::entry::{Batch, BatchBuilder, BatchStamp, EntryKind, Index, LogTip};
use standin_core::identity::{BootId, ClusterId, Identity, Incarnation, Life, StoreId};
use standin_core::time::WallTime;
use standin_core::view::{Reason, ViewNumber, ViewRecord};
use standin_io::log::{SegmentLog, SyncRequest};
use standin_io::storage::Storage as _;
use standin_tools::simulate::disk::SimDisk;

use crate::shadow::count;
use crate::world::{End, Process, REPLICA, World, name};

impl World {
    pub(crate) fn work(&mut self, mut process: Process, steps: u64) -> Result<(), End> {
        let result = self.work_off(&mut process, steps);
        if let Err(End::DiskFailed(_)) = &result {
            let noted = process.dir.note_disk_failure();
            self.note(format!("noted: {noted:?}"));
            self.is_unnoted |= noted.is_err();
        }
        result
    }

    fn work_off(&mut self, process: &mut Process, steps: u64) -> Result<(), End> {
        for _ in 0..steps {
            if self.faults.errors && self.below(40) == 0 {
                self.break_disk();
            }
            self.step(process)?;
            // Whoever prepares a segment goes on without it.
            if self.disk.is_stopped() {
                return Err(End::Failed("died".to_owned()));
            }
        }
        Ok(())
    }

    /// A little of everything, the same each time.
    pub(crate) fn script(&mut self, mut process: Process) -> Result<(), End> {
        let process = &mut process;
        for _ in 0..14 {
            self.append(process)?;
            self.run_log_thread(process)?;
            self.poll_log_thread(process);
        }
        self.adopt(process)?;
        self.change_view(process)?;
        self.sync_now(process)?;
        self.cut(process, 9)?;
        for _ in 0..3 {
            self.append(process)?;
        }
        self.ask_for_sync(process);
        self.run_log_thread(process)?;
        self.cut(process, 8)?;
        self.append(process)?;
        self.stop_cleanly(process)
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
            18 => self.sync_now(process)?,
            19 => {
                let after = self.place_below(self.log.len() + 1);
                self.cut(process, after)?;
            }
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

    pub(crate) fn append(&mut self, process: &mut Process) -> Result<(), End> {
        let (entries, bytes) = match self.below(20) {
            0 => (1, 5000),
            1..=4 => (3, 700),
            _ => (self.below(3) + 1, 20),
        };
        let commit = self.commit(&process.log);
        let batch = self.batch(process.log.tip(), commit, entries, bytes);
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

    /// What a lone primary knows to be committed: what is synced.
    fn commit(&self, log: &SegmentLog<SimDisk>) -> Index {
        if self.calls_nothing_committed {
            return Index::ZERO;
        }
        log.durable()
    }

    fn batch(&mut self, tip: LogTip, commit: Index, entries: u64, bytes_max: u64) -> Batch {
        self.batches += 1;
        let is_new_view = tip.index == Index::ZERO || self.below(8) == 0;
        let stamp = BatchStamp {
            view: ViewNumber(tip.view.0 + u64::from(is_new_view)),
            time: WallTime(tip.time.0 + 1),
            seed: self.batches,
            commit,
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

    pub(crate) fn sync_now(&mut self, process: &mut Process) -> Result<(), End> {
        process.log.sync_now()?;
        self.log.note_synced(process.log.durable());
        assert_eq!(self.log.synced, self.log.len());
        Ok(())
    }

    fn cut(&mut self, process: &mut Process, after: usize) -> Result<(), End> {
        let length = self.log.len();
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
        self.sync_now(process)?;
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
