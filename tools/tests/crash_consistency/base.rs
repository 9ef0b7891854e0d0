//! A log that goes on from snapshots, on the same disk: wherever the process dies or the power fails, the
//! next start finds a snapshot and a log that go together, and in them all that was synced.

use std::path::Path;

use standin_core::digest::DigestChain;
use standin_core::entry::{Batch, BatchBuilder, BatchStamp, Entry, EntryKind, Index, LogTip};
use standin_core::identity::{BootId, ClusterId, StoreId};
use standin_core::machine::MachineId;
use standin_core::random::RandomStream;
use standin_core::snapshot::{SnapshotHeader, SnapshotPoint, encode_snapshot};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::data_dir::DataDir;
use standin_io::install::{finish_install, install};
use standin_io::log::{LogBase, LogConfig, SegmentIds, SegmentLog};
use standin_io::snapshots::{SnapshotIds, Snapshots};
use standin_io::storage::Storage as _;
use standin_tools::simulate::disk::{Lie, SimDisk};

use crate::world::{REPLICA, name};

/// What happened to a history of the log, as it should be.
#[derive(Clone, Debug)]
struct History {
    data_epoch: DataEpoch,
    /// The log's end before its first entry, and after each.
    tips: Vec<LogTip>,
    entries: Vec<Vec<u8>>,
    /// Everything up to here must be found: it was synced, or is in a snapshot.
    synced: Index,
    /// The newest snapshot that is certainly there.
    snapshot: Index,
}

impl History {
    fn after(before: LogTip, data_epoch: u32) -> Self {
        Self {
            data_epoch: DataEpoch(data_epoch),
            tips: vec![before],
            entries: Vec::new(),
            synced: before.index,
            snapshot: before.index,
        }
    }

    fn before(&self) -> Index {
        self.tips[0].index
    }

    fn tip(&self) -> LogTip {
        self.tips[self.tips.len() - 1]
    }

    /// So many entries come before the one after `index`.
    fn place(&self, index: Index) -> usize {
        usize::try_from(index.0 - self.before().0).unwrap()
    }

    fn tip_at(&self, index: Index) -> LogTip {
        self.tips[self.place(index)]
    }

    /// The next entry, by a primary that knows this to be committed.
    fn batch(&mut self, commit: Index) -> Batch {
        let tip = self.tip();
        let is_new_view = tip.view.0.is_multiple_of(50) || tip.index.0.is_multiple_of(7);
        let stamp = BatchStamp {
            view: ViewNumber(tip.view.0 + u64::from(is_new_view)),
            time: WallTime(tip.time.0 + 1),
            seed: 3,
            commit,
        };
        let mut builder = BatchBuilder::new(tip, stamp);
        let kind = if is_new_view {
            EntryKind::ViewStart
        } else {
            EntryKind::OpenSession
        };
        let length = 400 + usize::try_from(tip.index.0 % 5).unwrap() * 90;
        builder.push(kind, |out| out.resize(out.len() + length, 0xa5));
        let batch = builder.finish().unwrap();
        self.tips.push(batch.tip());
        self.entries.push(batch.bytes().to_vec());
        batch
    }

    /// What was found after a restart is what counts from now on.
    fn found(&mut self, tip: LogTip) {
        assert!(
            tip.index >= self.synced,
            "{tip:?}, and {} was synced",
            self.synced
        );
        let place = self.place(tip.index);
        assert_eq!(self.tips[place], tip, "another history");
        self.tips.truncate(place + 1);
        self.entries.truncate(place);
        self.synced = tip.index;
    }

    fn point(&self, index: Index) -> SnapshotPoint {
        let tip = self.tip_at(index);
        let views = self.tips.iter().position(|one| one.view == tip.view);
        SnapshotPoint {
            cluster: ClusterId(1),
            machine: machine(),
            data_epoch: self.data_epoch,
            failed_version: 0,
            tip,
            view_first: Index(self.before().0.max(1) + views.unwrap() as u64).min(index),
            reply_digest: DigestChain(index.0.into()),
        }
    }
}

fn machine() -> MachineId {
    MachineId::new("counter", 1).unwrap()
}

fn ids() -> SegmentIds {
    SegmentIds {
        cluster: ClusterId(1),
        store: StoreId(9),
        machine: machine(),
    }
}

/// A replica with its own history, and the one of which it is given a snapshot.
struct Replica {
    disk: SimDisk,
    own: History,
    /// Begins with the snapshot that is received.
    given: History,
    /// Whether `given` counts: certainly not, perhaps, certainly.
    is_tried: bool,
    is_given: bool,
    /// Snapshots are taken of what may not be synced yet, as in a pair that does not wait for its disks.
    is_hasty: bool,
    has_lost_writes: bool,
    boot: u128,
    superseded: u64,
    left_over: u64,
    /// How often a start has put what was given in the place of all others.
    finished: u64,
    /// How often it writes and takes a snapshot before it is given one.
    rounds: u64,
}

/// How many rounds, and at which entry the snapshot stands that is given then: beyond the log's end, in the
/// midst of it, where it has one itself, right at the end; and in a log of a single segment. Each twice: of a later data
/// epoch than what there is, and of an earlier one, as after a forced takeover to who has less.
const WAYS: [(u64, u64); 6] = [(3, 45), (3, 20), (3, 27), (3, 31), (0, 45), (0, 2)];

struct Process {
    dir: DataDir<SimDisk>,
    snapshots: Snapshots<SimDisk>,
    log: SegmentLog<SimDisk>,
}

type Done = Result<(), String>;

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl Replica {
    fn new(is_hasty: bool, draw: u64) -> Self {
        let way = usize::try_from(draw).unwrap() % (2 * WAYS.len());
        let (rounds, index) = WAYS[way / 2];
        let (data_epoch, view) = [(2, 100), (0, 1)][way % 2];
        let given = LogTip {
            index: Index(index),
            view: ViewNumber(view),
            chain: 77,
            time: WallTime(1 << 40),
        };
        Self {
            disk: SimDisk::new(),
            own: History::after(LogTip::default(), 1),
            given: History::after(given, data_epoch),
            is_tried: false,
            is_given: false,
            is_hasty,
            has_lost_writes: false,
            boot: 1,
            superseded: 0,
            left_over: 0,
            finished: 0,
            rounds,
        }
    }

    /// Starts, and holds what is found against what must be there.
    fn start(&mut self) -> Result<Process, String> {
        let path = Path::new(REPLICA);
        let opened = DataDir::open_in(self.disk.clone(), path, &name(), &machine(), StoreId(9));
        let (mut dir, _) = opened.map_err(text)?;
        let of = SnapshotIds {
            cluster: ClusterId(1),
            machine: machine(),
        };
        let snapshots = Snapshots::open_in(self.disk.clone(), path, of).map_err(text)?;
        let finished = finish_install(&self.disk, path, &snapshots, &ids(), self.config());
        let finished = finished.map_err(text)?;
        assert!(finished.damaged.is_empty(), "{:?}", finished.damaged);
        self.finished += u64::from(finished.index.is_some());
        let newest = snapshots.newest().map_err(text)?;
        assert!(newest.damaged.is_empty(), "{:?}", newest.damaged);
        let base = newest
            .snapshot
            .map(|file| LogBase::of(&file.header().point));
        let is_given = base.is_some_and(|base| base.data_epoch == self.given.data_epoch);
        assert!(is_given || !self.is_given, "it was forgotten");
        assert!(!is_given || self.is_tried, "it never was");
        let log = self.open_log(base)?;
        let history = if is_given {
            &mut self.given
        } else {
            &mut self.own
        };
        let index = base.map_or(Index::ZERO, |base| base.tip.index);
        assert!(
            index >= history.snapshot,
            "{index}, and {} was written",
            history.snapshot
        );
        history.snapshot = index;
        history.synced = history.synced.max(index);
        history.found(log.tip());
        assert!(log.first() <= index.next(), "a gap behind {index}");
        check_read(history, &log);
        self.is_given = is_given;
        self.is_tried = is_given;
        dir.begin_life(BootId(self.boot), 1).map_err(text)?;
        self.has_lost_writes = false;
        Ok(Process {
            dir,
            snapshots,
            log,
        })
    }

    fn config(&self) -> LogConfig {
        LogConfig {
            segment_bytes: 4096,
            may_have_lost_writes: self.has_lost_writes,
            ..LogConfig::default()
        }
    }

    fn open_log(&mut self, base: Option<LogBase>) -> Result<SegmentLog<SimDisk>, String> {
        let config = LogConfig {
            base,
            ..self.config()
        };
        let opened = SegmentLog::open_in(self.disk.clone(), Path::new(REPLICA), ids(), config);
        let (log, found) = opened.map_err(text)?;
        self.superseded += u64::from(found.superseded.is_some());
        self.left_over += found.left_over.len() as u64;
        Ok(log)
    }

    fn script(&mut self) -> Done {
        let mut process = self.start()?;
        for _ in 0..self.rounds {
            append(&mut self.own, &mut process, 9)?;
            self.own_snapshot(&mut process)?;
        }
        append(&mut self.own, &mut process, 4)?;
        self.receive(&mut process)?;
        for _ in 0..2 {
            append(&mut self.given, &mut process, 9)?;
            sync(&mut self.given, &mut process)?;
            snapshot(&mut self.given, &mut process)?;
        }
        process.log.sync_now().map_err(text)?;
        process.dir.note_clean_stop().map_err(text)
    }

    fn own_snapshot(&mut self, process: &mut Process) -> Done {
        if !self.is_hasty {
            sync(&mut self.own, process)?;
        }
        snapshot(&mut self.own, process)
    }

    /// Is given a snapshot of another history, and goes on from it.
    fn receive(&mut self, process: &mut Process) -> Done {
        let bytes = encode_snapshot(self.given.point(self.given.before()), &[7; 3000]);
        let header = SnapshotHeader::decode(&bytes).unwrap();
        let mut receiving = process.snapshots.receive(&header).map_err(text)?;
        let at = usize::try_from(receiving.at()).unwrap();
        receiving.put(receiving.at(), &bytes[at..]).map_err(text)?;
        self.is_tried = true;
        let checked = receiving.check().map_err(text)?;
        let (snapshots, log) = (&process.snapshots, &mut process.log);
        install(snapshots, log, checked, Index::ZERO).map_err(text)?;
        self.is_given = true;
        assert_eq!(process.log.tip(), self.given.tip());
        Ok(())
    }

    /// If the newest snapshot were damaged, the one before it and the log would do; but for a log that ended
    /// before the newest snapshot, and has begun anew behind it.
    fn check_the_one_before(&mut self) {
        if self.is_hasty {
            return;
        }
        let disk = self.disk.snapshot();
        let dir = Path::new(REPLICA).join("snapshots");
        let mut names = self.disk.list(&dir).unwrap();
        names.retain(|name| name.to_string_lossy().ends_with(".snap"));
        names.sort();
        let history = if self.is_given {
            &self.given
        } else {
            &self.own
        };
        let newest = format!("{:020}.snap", history.snapshot.0);
        let indexes = names
            .iter()
            .map(|name| name.to_string_lossy()[..20].parse::<u64>());
        let before = indexes
            .map(Result::unwrap)
            .filter(|one| *one < history.snapshot.0);
        let is_ours = |index: &u64| *index >= history.before().0;
        let Some(before) = before.filter(is_ours).max() else {
            return;
        };
        assert!(self.disk.flip_bit(&dir.join(newest), 8 * 191));
        let base = LogBase::of(&history.point(Index(before)));
        let log = self.open_log(Some(base)).unwrap();
        let history = if self.is_given {
            &self.given
        } else {
            &self.own
        };
        assert!(log.tip().index >= history.synced);
        check_read(history, &log);
        drop(log);
        self.disk.restore(&disk);
    }
}

fn check_read(history: &History, log: &SegmentLog<SimDisk>) {
    let mut next = log.first();
    while next <= log.tip().index {
        let bytes = log.read(next, 2000).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = Entry::decode(rest).unwrap().header.length;
            let (entry, behind) = rest.split_at(usize::try_from(length).unwrap());
            let place = history.place(next);
            assert!(
                entry == history.entries[place - 1],
                "entry {next} is another"
            );
            next = next.next();
            rest = behind;
        }
    }
}

fn append(history: &mut History, process: &mut Process, count: u64) -> Done {
    for number in 0..count {
        let batch = history.batch(process.log.durable());
        process.log.append(&batch).map_err(text)?;
        if number == 5
            && let Some(request) = process.log.sync_request()
        {
            request.run().map_err(text)?;
            history.synced = request.complete().unwrap();
        }
        if let Some(request) = process.log.prepare_request() {
            let prepared = request.run().map_err(text)?;
            process.log.take_prepared(prepared);
        }
    }
    Ok(())
}

fn sync(history: &mut History, process: &mut Process) -> Done {
    process.log.sync_now().map_err(text)?;
    history.synced = process.log.durable();
    Ok(())
}

/// Takes a snapshot of all that there is, and forgets what is not needed any more.
fn snapshot(history: &mut History, process: &mut Process) -> Done {
    let index = history.tip().index;
    let state = vec![9; 5000];
    let snapshots = &process.snapshots;
    let point = history.point(index);
    let written = snapshots.write(snapshots.ticket(), point, |out| out.write_all(&state));
    written.map_err(text)?;
    history.snapshot = index;
    history.synced = index;
    let listed = snapshots.list().map_err(text)?;
    let Some(older) = listed.len().checked_sub(2) else {
        return Ok(());
    };
    let through = listed[older].point.tip.index;
    let ticket = snapshots.ticket();
    snapshots.forget_before(ticket, through).map_err(text)?;
    process.log.forget(through).map_err(text)
}

/// Ends the script after so many operations, and starts again three times. Says whether that was before its
/// end.
fn end_after(replica: &mut Replica, operations: u64, draw: u64, has_power: bool) -> bool {
    let mut random = RandomStream::new(draw, operations);
    replica
        .disk
        .stop(operations, RandomStream::new(draw, operations + 1));
    let result = replica.script();
    let is_cut_short = replica.disk.is_stopped();
    assert_eq!(result.is_err(), is_cut_short, "{result:?}");
    let mut end = |replica: &mut Replica, has_power: bool| {
        if has_power {
            replica.disk.kill();
        } else {
            replica.disk.power_loss(&mut random);
            replica.has_lost_writes = true;
            replica.boot += 1;
        }
    };
    end(replica, has_power);
    for has_power in [true, false] {
        let before = (replica.superseded, replica.left_over);
        let process = replica.start().unwrap();
        drop(process);
        end(replica, has_power);
        replica.check_the_one_before();
        let process = replica.start().unwrap();
        let after = (replica.superseded, replica.left_over);
        assert!(after.0 <= before.0 + 1, "it began anew twice");
        drop(process);
        end(replica, true);
    }
    // And once more in the midst of what a start does.
    replica.disk.stop(draw % 40, RandomStream::new(draw, 3));
    let started = replica.start().map(drop);
    assert!(started.is_ok() || replica.disk.is_stopped(), "{started:?}");
    end(replica, has_power);
    let mut process = replica.start().unwrap();
    let history = if replica.is_given {
        &mut replica.given
    } else {
        &mut replica.own
    };
    append(history, &mut process, 9).unwrap();
    sync(history, &mut process).unwrap();
    snapshot(history, &mut process).unwrap();
    drop(process);
    end(replica, has_power);
    replica.start().unwrap();
    is_cut_short
}

/// How often a new log was begun by a start, how many files were left over, and how often a start put what was given in
/// its place.
fn try_every_end(is_hasty: bool, has_power: bool, names_unordered: bool, draws: u64) -> [u64; 3] {
    let (mut operations, mut superseded, mut left_over, mut finished) = (0, 0, 0, 0);
    loop {
        let mut is_cut_short = false;
        for draw in 0..draws {
            let mut replica = Replica::new(is_hasty, draw);
            replica.disk.set_names_unordered(names_unordered);
            let end = || end_after(&mut replica, operations, draw, has_power);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(end));
            is_cut_short |= outcome
                .unwrap_or_else(|_| panic!("failed after {operations} operations, draw {draw}"));
            superseded += replica.superseded;
            left_over += replica.left_over;
            finished += replica.finished;
        }
        if !is_cut_short {
            break;
        }
        operations += 1;
    }
    assert!(operations > 200, "only {operations}");
    [superseded, left_over, finished]
}

#[test]
fn log_and_snapshot_go_together_after_the_death_of_the_process_at_any_operation() {
    let [_, _, finished] = try_every_end(false, true, false, 12);
    assert!(finished > 0);
}

#[test]
fn log_and_snapshot_go_together_after_a_power_loss_at_any_operation() {
    let [_, _, finished] = try_every_end(false, false, false, 24);
    assert!(finished > 0);
}

#[test]
fn log_and_snapshot_go_together_though_names_reach_the_disk_out_of_order() {
    let [_, left_over, finished] = try_every_end(false, false, true, 24);
    assert!(finished > 0 && left_over > 0, "{finished}, {left_over}");
}

#[test]
fn a_snapshot_of_what_the_log_has_not_synced_stands_in_for_it() {
    let [superseded, _, finished] = try_every_end(true, false, true, 24);
    assert!(superseded > 0 && finished > 0, "{superseded}, {finished}");
}

#[test]
fn a_disk_that_only_says_that_it_syncs_is_found_out_by_a_log_behind_a_snapshot() {
    for lie in [Lie::Names, Lie::Bytes] {
        let is_found = (0..300).any(|operations| {
            let mut replica = Replica::new(false, operations);
            replica.disk.set_lie(Some(lie));
            let end = || end_after(&mut replica, operations, operations, false);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(end)).is_err()
        });
        assert!(is_found, "{lie:?}");
    }
}
