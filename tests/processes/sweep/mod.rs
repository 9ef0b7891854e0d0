//! Every byte of a small data directory is damaged, one after the other, and every file cut short at every length: it ends
//! in full service with the right answer, or in words that say why not; never in a wrong answer.
//!
//! `STANDIN_SWEEP=full` tries each byte and each length, and more of them with real processes.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

mod classify;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use standin::machines::counter::{Counter, CounterClient};
use standin_client::{Client, ClientConfig};
use standin_core::entry::{Index, LogTip};
use standin_core::identity::ReplicaName;
use standin_core::machine::MachineId;
use standin_core::message::RoleName;
use standin_core::state::Replicated;
use standin_core::time::Duration;
use standin_io::clock;
use standin_io::data_dir::DataDir;
use standin_io::log::{LogBase, LogConfig, SegmentIds, SegmentLog};
use standin_io::snapshots::{SnapshotIds, Snapshots};
use standin_tools::cluster::{ClusterConfig, POLL_PAUSE, VIEW_SERVICE};

use crate::support::cli::STANDIN;
use crate::support::scene::{Scene, replica};
use crate::support::{PATIENCE, sure, tell};
use classify::{End, SEGMENT_BYTES, start};

const LEASE: Duration = Duration::from_millis(500);
/// What is added, one after the other: at least so often, and until there are two snapshots.
const ADDS_MIN: i64 = 320;
const ADDS_MAX: i64 = 5000;
/// Real processes are tried on so many damaged directories; in full, on so many.
const SAMPLES: usize = 10;
const SAMPLES_FULL: usize = 120;

fn is_full() -> bool {
    std::env::var("STANDIN_SWEEP").is_ok_and(|value| value == "full")
}

/// What stood in the directories of a pair when both were killed at once.
struct Sample {
    scene: Scene,
    added: i64,
    root: tempfile::TempDir,
    /// The files of the replica to be damaged, by their paths in it.
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// The state's digest after each entry, from entry 1 on.
    digests: Vec<u128>,
    tip: LogTip,
}

const WHOLE: &str = "a";
const DAMAGED: &str = "b";

impl Sample {
    fn new() -> Self {
        let words = [
            "--segment-bytes",
            "4096",
            "--snapshot-every",
            "150",
            "--keep-log",
        ];
        let config = ClusterConfig {
            lease: LEASE,
            replica_arguments: words.map(str::to_owned).to_vec(),
            ..ClusterConfig::new(STANDIN)
        };
        let mut scene = Scene::with("a sweep", config);
        sure(scene.start_all(&[WHOLE, DAMAGED]));
        scene.until_pair();
        let mut client = CounterClient::new(client(&scene));
        // One snapshot is written at a time, so it takes as many entries as it takes.
        let mut added = 0;
        while added < ADDS_MIN || snapshots_of(&scene) < 2 {
            assert!(added < ADDS_MAX, "no two snapshots after {added} entries");
            sure(client.add(1));
            added += 1;
            // It is written by a thread that gives way to whoever serves.
            std::thread::sleep(POLL_PAUSE);
        }
        scene.until_agreement();
        sure(scene.kill_together(&[WHOLE, DAMAGED, VIEW_SERVICE]));
        let root =
            tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        for name in [WHOLE, DAMAGED, VIEW_SERVICE] {
            copy(&scene.directory().join(name), &root.path().join(name));
        }
        let (digests, tip) = whole_log(&root.path().join(WHOLE));
        forget(&root.path().join(DAMAGED));
        let files = read_all(&root.path().join(DAMAGED));
        assert!(files.len() >= 7, "{:?}", files.keys());
        Self {
            scene,
            added,
            root,
            files,
            digests,
            tip,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The last segment, whose end may pass for a torn write.
    fn last_segment(&self) -> &Path {
        let segments = self.files.keys().filter(|path| path.starts_with("log"));
        segments.max().unwrap()
    }
}

fn snapshots_of(scene: &Scene) -> usize {
    let dir = scene.directory().join(DAMAGED).join("snapshots");
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_one = |it: &fs::DirEntry| it.path().extension().is_some_and(|it| it == "snap");
    names.filter(is_one).count()
}

fn client(scene: &Scene) -> Client {
    let config = ClientConfig { timeout: PATIENCE };
    sure(Client::new(sure(scene.view_services()), config))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn read_all(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

fn write_all(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    let _ = fs::remove_dir_all(dir);
    for room in ["log", "cut", "snapshots"] {
        fs::create_dir_all(dir.join(room)).unwrap();
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn ids(dir: &Path, name: &str) -> SegmentIds {
    let machine = MachineId::of::<Counter>();
    let name = ReplicaName::new(name).unwrap();
    let store = standin_core::identity::StoreId(1);
    let (data, _) = DataDir::open(dir, &name, &machine, store).unwrap();
    SegmentIds {
        cluster: data.meta().cluster.unwrap(),
        store: data.meta().store,
        machine,
    }
}

fn config(base: Option<LogBase>, keeps_covered: bool) -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        may_have_lost_writes: false,
        may_be_holder: true,
        base,
        keeps_covered,
    }
}

/// The digests after each entry of a whole log, and its end.
fn whole_log(dir: &Path) -> (Vec<u128>, LogTip) {
    let (log, _) = SegmentLog::open(dir, ids(dir, WHOLE), config(None, true)).unwrap();
    assert_eq!(log.first(), Index(1));
    let digests = classify::replay(&log, &mut Replicated::default());
    (digests, log.tip())
}

/// Lets go of the log that the older of two snapshots covers, as a replica does that does not keep it.
fn forget(dir: &Path) {
    let ids = ids(dir, DAMAGED);
    let of = SnapshotIds {
        cluster: ids.cluster,
        machine: ids.machine.clone(),
    };
    let snapshots = Snapshots::open(dir, of).unwrap();
    let listed = snapshots.list().unwrap();
    let [.., older, newest] = &listed[..] else {
        panic!("{listed:?}");
    };
    let (older, newest) = (&older.point, &newest.point);
    let base = Some(LogBase::of(newest));
    let (mut log, _) = SegmentLog::open(dir, ids, config(base, false)).unwrap();
    log.forget(older.tip.index).unwrap();
    snapshots
        .forget_before(snapshots.ticket(), older.tip.index)
        .unwrap();
    assert!(log.first() > Index(1), "something was forgotten");
}

/// What came of all cases.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    whole: u64,
    torn: u64,
    mended: u64,
    ordered: u64,
    beyond: u64,
    refused: u64,
    /// Of files, how many.
    words: BTreeMap<String, u64>,
}

impl Tally {
    /// Tries a damaged directory, which differs from the good one in this file.
    fn try_one(&mut self, sample: &Sample, dir: &Path, file: &Path, what: &str) {
        self.cases += 1;
        let other = sample.path(WHOLE);
        let ended = catch_unwind(AssertUnwindSafe(|| start(dir, DAMAGED, &other)));
        let end = ended.unwrap_or_else(|_| panic!("{what}: it panics"));
        match end {
            End::Serves {
                tip,
                digest,
                mended,
                ordered,
            } => {
                let place = usize::try_from(tip.index.0).unwrap() - 1;
                assert!(tip.index <= sample.tip.index, "{what}: {tip:?}");
                assert_eq!(digest, sample.digests[place], "{what}: another state");
                let is_whole = tip == sample.tip;
                assert!(
                    is_whole || file == sample.last_segment(),
                    "{what}: it ends with {tip:?}"
                );
                match (is_whole, mended, ordered) {
                    (false, ..) => self.torn += 1,
                    (true, 0, 0) => self.whole += 1,
                    (true, 0, _) => self.ordered += 1,
                    (true, ..) => self.mended += 1,
                }
            }
            End::Beyond(words) => {
                self.beyond += 1;
                self.note(what, file, words);
            }
            End::Refused(words) => {
                self.refused += 1;
                self.note(what, file, words);
            }
        }
    }

    fn note(&mut self, what: &str, file: &Path, words: String) {
        assert!(
            words.len() > 20 && !words.contains('\n'),
            "{what}: {words:?}"
        );
        let room = file.parent().filter(|room| *room != Path::new(""));
        let room = room.unwrap_or(file).display();
        *self.words.entry(room.to_string()).or_default() += 1;
    }
}

/// Whether a byte is tried when not all are: all of small files, all of a segment's header and of the first entries'
/// fields, others here and there. Of the mark file what is not always zero.
fn is_tried(file: &Path, at: usize) -> bool {
    if file == Path::new("mark") && at >= 80 {
        return false;
    }
    let is_segment = file.starts_with("log");
    is_full() || !is_segment || at < 300 || at.is_multiple_of(5)
}

#[test]
fn whatever_is_damaged_it_serves_rightly_or_says_why_not() {
    let sample = Sample::new();
    let work = sample.path("work");
    let mut flips = Tally::default();
    let mut cuts = Tally::default();
    for (file, good) in &sample.files {
        if file == Path::new("lock") {
            continue; // it says who runs, and nobody reads it but people
        }
        for at in (0..good.len()).filter(|at| is_tried(file, *at)) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            write_all(&work, &sample.files);
            fs::write(work.join(file), bytes).unwrap();
            let what = format!("a flipped bit in byte {at} of {}", file.display());
            flips.try_one(&sample, &work, file, &what);
        }
        for length in (0..good.len()).filter(|at| is_tried(file, *at)) {
            write_all(&work, &sample.files);
            fs::write(work.join(file), &good[..length]).unwrap();
            let what = format!("{length} bytes left of {}", file.display());
            cuts.try_one(&sample, &work, file, &what);
        }
    }
    // Whole files that are gone.
    let mut gone = Tally::default();
    for file in sample
        .files
        .keys()
        .filter(|file| *file != Path::new("lock"))
    {
        write_all(&work, &sample.files);
        fs::remove_file(work.join(file)).unwrap();
        gone.try_one(&sample, &work, file, &format!("{} is gone", file.display()));
    }
    tell(format_args!(
        "{} files, {} entries\nflips: {flips:?}\ncuts: {cuts:?}\ngone: {gone:?}",
        sample.files.len(),
        sample.tip.index
    ));
    for tally in [&flips, &cuts] {
        assert!(
            tally.whole > 0 && tally.mended > 0 && tally.torn > 0,
            "{tally:?}"
        );
        assert!(tally.refused > 0, "{tally:?}");
    }
    assert!(flips.ordered > 0 && cuts.beyond > 0);
}

/// What became of a damaged replica beside a whole one.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    /// It is in service, with the same state.
    Served,
    /// It ended, and said why.
    Ended,
}

/// Starts real processes on the sample's directories, with this one in place of the damaged replica's.
fn run_on(sample: &mut Sample, damaged: &Path, what: &str) -> Became {
    let (root, added) = (sample.root.path().to_owned(), sample.added);
    let scene = &mut sample.scene;
    for name in [WHOLE, VIEW_SERVICE] {
        let dir = scene.directory().join(name);
        fs::remove_dir_all(&dir).unwrap();
        copy(&root.join(name), &dir);
    }
    let dir = scene.directory().join(DAMAGED);
    fs::remove_dir_all(&dir).unwrap();
    copy(damaged, &dir);
    sure(scene.start(VIEW_SERVICE));
    sure(scene.spawn(DAMAGED));
    sure(scene.spawn(WHOLE));
    let end = clock::boot().plus(PATIENCE);
    let became = loop {
        let status = scene.status().ok();
        let role = status.as_ref().and_then(|status| {
            let one = replica(status, DAMAGED).filter(|one| one.is_alive)?;
            one.standing.map(|standing| standing.role)
        });
        if matches!(role, Some(RoleName::Primary | RoleName::Backup)) {
            break Became::Served;
        }
        if !scene.is_running(DAMAGED) {
            assert!(!sure(scene.wait(DAMAGED, PATIENCE)).success(), "{what}");
            let words = scene.last_words(DAMAGED);
            assert!(
                words.contains("standin: ") && words.contains("; "),
                "{what}: {words}"
            );
            break Became::Ended;
        }
        let words = scene.last_words(DAMAGED);
        assert!(clock::boot() < end, "{what}: {status:?} {words}");
        std::thread::sleep(POLL_PAUSE);
    };
    // Whoever serves has the right answer, and so has the one that came back.
    let mut counter = CounterClient::new(client(scene));
    assert_eq!(sure(counter.get()), added, "{what}");
    assert_eq!(sure(counter.add(1)), added + 1, "{what}");
    if became == Became::Served {
        scene.until_agreement();
    }
    let mut running = vec![WHOLE, VIEW_SERVICE];
    running.extend((became == Became::Served).then_some(DAMAGED));
    sure(scene.kill_together(&running));
    became
}

#[test]
fn real_processes_on_damaged_directories_serve_rightly_or_say_why_not() {
    let mut sample = Sample::new();
    let files = sample.files.clone();
    let mut places = Vec::new();
    for (file, bytes) in files.iter().filter(|(file, _)| *file != Path::new("lock")) {
        // Most of a segment is zeros.
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        places.extend((0..used).map(|at| (file, at)));
    }
    let samples = if is_full() { SAMPLES_FULL } else { SAMPLES };
    let (mut served, mut ended) = (0, 0);
    for number in 0..samples {
        let (file, at) = places[(number * places.len() + places.len() / 2) / samples];
        let mut bytes = files[file].clone();
        let what = match number % 3 {
            0 => {
                bytes.truncate(at);
                format!("{at} bytes left of {}", file.display())
            }
            _ => {
                bytes[at] ^= 1 << (at % 8);
                format!("a flipped bit in byte {at} of {}", file.display())
            }
        };
        let work = sample.path("work");
        write_all(&work, &files);
        fs::write(work.join(file), bytes).unwrap();
        match run_on(&mut sample, &work, &what) {
            Became::Served => served += 1,
            Became::Ended => ended += 1,
        }
    }
    // And each kind of file that is lost as a whole, the meta file among them.
    for lost in ["log", "snapshots", "meta"] {
        let work = sample.path("work");
        let mut left = files.clone();
        left.retain(|file, _| !file.starts_with(lost));
        write_all(&work, &left);
        match run_on(&mut sample, &work, &format!("{lost} is gone")) {
            Became::Served => served += 1,
            Became::Ended => ended += 1,
        }
    }
    tell(format_args!("{served} served, {ended} ended with a reason"));
    assert!(served > 0 && ended > 0);
}
