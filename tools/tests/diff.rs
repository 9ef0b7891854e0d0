//! Two data directories that were made by hand: where they part, and by what that is known.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, too, end the test by it"
)]

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::Path;

use standin_core::digest::DigestChain;
use standin_core::entry::{Batch, BatchBuilder, BatchStamp, Entry, EntryKind, Index, ViewStart};
use standin_core::evidence::{Evidence, KeptReply, RecordedState};
use standin_core::identity::{ClusterId, Durability, Incarnation, ReplicaName, StoreId};
use standin_core::machine::{Context, MachineId, StateMachine};
use standin_core::message::encode_payload;
use standin_core::poison::Skip;
use standin_core::snapshot::SnapshotPoint;
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::evidence::keep_evidence;
use standin_io::log::{LogConfig, SegmentIds, SegmentLog};
use standin_io::snapshots::{SnapshotIds, Snapshots};
use standin_tools::replay::diff::{By, Diff, DiffError, Parting, Verdict, diff};
use standin_tools::replay::run::{Point, RunRequest, run};
use standin_tools::replay::search::{DifferingPart, Runs};
use standin_tools::replay::{ReplayError, ReplayOptions, replay};

thread_local! {
    /// What a machine should not look at.
    static WORLD: Cell<u64> = const { Cell::new(0) };
}

/// Adds up bytes. At 100 it adds what the world shows, at 101 it only says that, at 103 whether that is odd; at 102 it fails in
/// world 3.
#[derive(Debug, Default)]
struct Wavering(u64);

impl StateMachine for Wavering {
    const NAME: &'static str = "wavering";
    const VERSION: u32 = 1;
    type Capture = u64;

    fn apply(&mut self, _: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        let world = WORLD.get();
        assert!(command != [102] || world != 3, "it fails at 102");
        self.0 += match command {
            [100] => world,
            _ => command.iter().map(|byte| u64::from(*byte)).sum(),
        };
        if command == [103] {
            reply.extend_from_slice((world % 2).to_string().as_bytes());
        }
        if command == [101] {
            reply.extend_from_slice(world.to_string().as_bytes());
        }
    }

    fn query(&self, _: &[u8], _: &mut Vec<u8>) {}

    fn capture(&self) -> u64 {
        self.0
    }

    fn write_capture(capture: &u64, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&capture.to_le_bytes())
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }

    fn state_words(&self, tell: &mut dyn FnMut(&str, &str)) {
        tell("sum", &self.0.to_string());
        tell("is", "a sum");
    }
}

/// A replica of its own, whose world shows a number.
struct Made {
    root: tempfile::TempDir,
    state: Replicated<Wavering>,
    log: SegmentLog,
    store: Snapshots,
    number: u64,
    view: ViewNumber,
    replies: Vec<KeptReply>,
    states: Vec<RecordedState>,
}

impl Made {
    fn new(number: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = LogConfig {
            segment_bytes: 4096,
            ..LogConfig::default()
        };
        let machine = MachineId::of::<Wavering>();
        let ids = SegmentIds {
            cluster: ClusterId(1),
            store: StoreId(u128::from(number)),
            machine: machine.clone(),
        };
        let (log, _) = SegmentLog::open(root.path(), ids, config).unwrap();
        let cluster = ClusterId(1);
        let store = Snapshots::open(root.path(), SnapshotIds { cluster, machine }).unwrap();
        let mut made = Self {
            root,
            state: Replicated::default(),
            log,
            store,
            number,
            view: ViewNumber(0),
            replies: Vec::new(),
            states: Vec::new(),
        };
        made.begin_view(Vec::new());
        made
    }

    /// Begins the next view, which skips these entries.
    fn begin_view(&mut self, skips: Vec<Skip>) {
        self.view = ViewNumber(self.view.0 + 1);
        let start = ViewStart {
            data_epoch: DataEpoch(0),
            primary: ReplicaName::new("a").unwrap(),
            incarnation: Incarnation { start: 1, nonce: 1 },
            durability: Durability::Os,
            session_timeout_ms: 1000,
            sessions_max: 10,
            replies_bytes_max: 1000,
            session_idle_min_ms: 10,
            skips,
            machine_version: Some(1),
        };
        self.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
    }

    /// Appends an entry, and does not apply it.
    fn append(&mut self, kind: EntryKind, payload: impl FnOnce(&mut Vec<u8>)) -> Batch {
        let stamp = BatchStamp {
            view: self.view,
            time: WallTime(self.log.tip().index.0),
            seed: 1,
            commit: self.log.tip().index,
        };
        let mut builder = BatchBuilder::new(self.log.tip(), stamp);
        builder.push(kind, payload);
        let batch = builder.finish().unwrap();
        self.log.append(&batch).unwrap();
        batch
    }

    fn push(&mut self, kind: EntryKind, payload: impl FnOnce(&mut Vec<u8>)) {
        let batch = self.append(kind, payload);
        let entry = Entry::decode(batch.bytes()).unwrap();
        WORLD.set(self.number);
        let mut reply = Vec::new();
        let status = self.state.apply(&entry, &mut reply).unwrap();
        self.replies.push(KeptReply {
            chain: self.state.reply_digest(),
            status: status as u8,
            length: u32::try_from(reply.len()).unwrap(),
            bytes: Some(reply),
        });
    }

    /// These commands, and a snapshot after each entry that `every` divides.
    fn commands(mut self, commands: impl IntoIterator<Item = u8>, every: u64) -> Self {
        for command in commands {
            self.push(EntryKind::Direct, |out| out.push(command));
            if self.log.tip().index.0.is_multiple_of(every) {
                self.snapshot();
            }
        }
        self
    }

    fn snapshot(&mut self) {
        let point = SnapshotPoint {
            cluster: ClusterId(1),
            machine: MachineId::of::<Wavering>(),
            data_epoch: DataEpoch(0),
            failed_version: 0,
            tip: self.log.tip(),
            view_first: Index(1),
            reply_digest: self.state.reply_digest(),
        };
        let captured = self.state.capture();
        let written = self
            .store
            .write(self.store.ticket(), point, |out| captured.write(out));
        self.states.push(RecordedState {
            index: self.log.tip().index,
            reply_digest: self.state.reply_digest().0,
            state_digest: written.unwrap().unwrap().state_digest,
        });
    }

    /// Keeps what it remembers of the entries behind `before`.
    fn remembers(self, before: u64) -> Self {
        let at = usize::try_from(before).unwrap();
        let evidence = Evidence {
            store: StoreId(u128::from(self.number)),
            before: Index(before),
            chain: at
                .checked_sub(1)
                .map_or(DigestChain::default(), |at| self.replies[at].chain),
            replies: self.replies[at..].to_vec(),
            states: self.states.clone(),
        };
        keep_evidence(self.root.path(), &evidence).unwrap();
        self
    }

    fn dir(&self) -> &Path {
        self.root.path()
    }

    fn forget_snapshot(&self, index: u64) {
        let path = self
            .dir()
            .join("snapshots")
            .join(format!("{index:020}.snap"));
        fs::remove_file(path).unwrap();
    }
}

/// Replays in this process, in worlds that show these numbers.
struct InWorlds {
    worlds: [u64; 2],
    /// What was asked for.
    asked: Vec<RunRequest>,
}

impl Runs for InWorlds {
    type Error = ReplayError;

    fn pair(&mut self, requests: [&RunRequest; 2]) -> Result<[Vec<Point>; 2], ReplayError> {
        let mut all = Vec::new();
        for (world, request) in self.worlds.iter().zip(requests) {
            WORLD.set(*world);
            self.asked.push(request.clone());
            all.push(run::<Wavering>(request)?);
        }
        Ok(all.try_into().unwrap())
    }
}

fn compared_in(worlds: [u64; 2], one: &Made, other: &Made) -> (Result<Diff, DiffError>, InWorlds) {
    let mut runs = InWorlds {
        worlds,
        asked: Vec::new(),
    };
    let dirs = [one.dir(), other.dir()];
    (diff::<Wavering, _>(dirs, 2, &mut runs), runs)
}

fn verdict(worlds: [u64; 2], one: &Made, other: &Made) -> Verdict {
    compared_in(worlds, one, other).0.unwrap().verdict
}

fn parted(worlds: [u64; 2], one: &Made, other: &Made) -> Parting {
    match verdict(worlds, one, other) {
        Verdict::Parted(parting) => *parting,
        other => panic!("{other:?}"),
    }
}

fn sums(one: u64, other: u64) -> [DifferingPart; 1] {
    [DifferingPart {
        name: "sum".to_owned(),
        words: [one, other].map(|sum| Some(sum.to_string())),
    }]
}

/// Commands of which the one at entry `at` is `which`, and all others add 1. The first is entry 2.
fn with(which: u8, at: u64, last: u64) -> impl Iterator<Item = u8> {
    (2..=last).map(move |index| if index == at { which } else { 1 })
}

#[test]
fn logs_that_are_the_same_as_far_as_both_go_are_replayed_from_the_last_record_that_agrees() {
    let one = Made::new(1).commands(with(1, 0, 300), 100);
    let other = Made::new(2).commands(with(1, 0, 250), 100);
    let (found, runs) = compared_in([1, 2], &one, &other);
    let found = found.unwrap();
    let same = Verdict::Same {
        before: Index::ZERO,
        last: Index(250),
        replays: Ok((Index(200), 1)),
    };
    assert_eq!((&found.verdict, found.compared), (&same, 2));
    let dirs: Vec<&Path> = runs.asked.iter().map(|it| it.dir.as_path()).collect();
    assert_eq!(dirs, [one.dir(), other.dir()], "each from its own");
    // Nothing is left to be replayed.
    let third = Made::new(3).commands(with(1, 0, 200), 100);
    let (found, runs) = compared_in([1, 2], &one, &third);
    assert!(matches!(
        found.unwrap().verdict,
        Verdict::Same {
            replays: Ok((_, 0)),
            ..
        }
    ));
    assert!(runs.asked.is_empty());
}

#[test]
fn the_first_entry_that_is_not_the_same_is_found_in_whatever_segment_it_is() {
    let one = Made::new(1).commands(with(1, 0, 700), 10_000);
    assert!(fs::read_dir(one.dir().join("log")).unwrap().count() > 5);
    for at in [2, 3, 60, 61, 62, 300, 699, 700] {
        for last in [at, 700] {
            let other = Made::new(2).commands(with(7, at, last), 10_000);
            let Verdict::Logs { entries, is_first } = verdict([1, 2], &one, &other) else {
                panic!("they differ at {at}");
            };
            let indexes = entries.each_ref().map(|it| it.header.index.0);
            assert_eq!((indexes, is_first), ([at, at], true));
            let payloads = entries.each_ref().map(|it| it.payload.clone());
            assert_eq!(payloads, [vec![1], vec![7]]);
        }
    }
    let other = Made::new(2).commands(with(7, 650, 640), 10_000);
    assert!(matches!(
        verdict([1, 2], &one, &other),
        Verdict::Same { .. }
    ));
}

/// Removes the segments of a log before the one that has entry `index`; says with which entry it begins now.
fn forget_log(made: &Made, index: u64) -> u64 {
    let mut files: Vec<_> = fs::read_dir(made.dir().join("log"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let first = |path: &Path| -> u64 {
        let name = path.file_stem().unwrap().to_str().unwrap();
        name.parse().unwrap()
    };
    let beyond = files.partition_point(|path| first(path) <= index);
    for path in &files[..beyond - 1] {
        fs::remove_file(path).unwrap();
    }
    first(&files[beyond - 1])
}

#[test]
fn logs_without_their_beginnings_are_compared_as_far_as_they_go() {
    let one = Made::new(1).commands(with(1, 0, 700), 300);
    let begins = forget_log(&one, 310);
    assert!(begins > 60, "{begins}");
    // They parted before what the one has.
    let other = Made::new(2).commands(with(7, 50, 700), 300);
    let Verdict::Logs { entries, is_first } = verdict([1, 2], &one, &other) else {
        panic!("they differ");
    };
    assert_eq!((entries[0].header.index.0, is_first), (begins, false));
    // They are the same there.
    let other = Made::new(2).commands(with(1, 0, 700), 300);
    let Verdict::Same {
        before, replays, ..
    } = verdict([1, 2], &one, &other)
    else {
        panic!("they are the same");
    };
    assert_eq!((before, replays), (Index(begins - 1), Ok((Index(600), 1))));
    // The other ended before.
    let other = Made::new(2).commands(with(1, 0, begins - 1), 300);
    let apart = compared_in([1, 2], &one, &other).0;
    assert!(matches!(apart, Err(DiffError::Apart(_))), "{apart:?}");
}

#[test]
fn a_state_that_parts_is_found_between_the_snapshots_by_replays_that_part() {
    for at in [2, 101, 150, 199, 200] {
        let [one, other] = [1, 2].map(|world| Made::new(world).commands(with(100, at, 320), 100));
        let found = parted([1, 2], &one, &other);
        assert_eq!((found.until, found.by), (Index(at), By::Replays));
        assert_eq!(
            (found.is_reply, found.reply_at, found.replies),
            (false, None, None)
        );
        assert_eq!(found.entry.unwrap().payload, [100]);
        let sum = at - 2;
        assert_eq!(found.parts, sums(sum + 1, sum + 2));
        assert_eq!(found.parts_of, Some((Index(at), false)));
        assert_eq!(found.confirmed, [true, true]);
        assert_eq!(found.unlike, Some((Index(at - 1), Index(at))));
        assert_eq!(found.after, (at > 100).then_some(Index(100)));
    }
}

/// Whoever failed at an entry ended before the view that skips it, so its own log does not say that it is skipped.
#[test]
fn what_the_other_log_says_is_skipped_is_skipped_in_both_replays() {
    let mut failed = Made::new(1).commands(with(1, 0, 18), 100);
    failed.append(EntryKind::Direct, |out| out.push(102));
    let skip = Skip {
        index: Index(19),
        view: ViewNumber(1),
    };
    let mut other = Made::new(2).commands(with(1, 0, 18), 100);
    other.state.skip(skip);
    let mut other = other.commands([102], 100);
    other.begin_view(vec![skip]);
    let other = other.commands(with(1, 0, 30), 100);
    let same = Verdict::Same {
        before: Index::ZERO,
        last: Index(19),
        replays: Ok((Index::ZERO, 1)),
    };
    for (one, other) in [(&failed, &other), (&other, &failed)] {
        // In world 3 the machine fails at that entry.
        let (found, runs) = compared_in([3, 3], one, other);
        assert_eq!(found.unwrap().verdict, same);
        assert!(runs.asked.iter().all(|it| it.skips == [skip]));
    }
}

#[test]
fn replays_that_do_not_part_tell_whose_record_they_confirm() {
    let [one, other] = [1, 2].map(|world| Made::new(world).commands(with(100, 150, 320), 100));
    for (world, confirmed) in [(1, [true, false]), (2, [false, true]), (3, [false, false])] {
        let found = parted([world, world], &one, &other);
        assert_eq!((found.after, found.until), (Some(Index(100)), Index(200)));
        assert!(!found.is_exact() && !found.is_reply);
        assert_eq!((found.by, found.confirmed), (By::Snapshots, confirmed));
        assert_eq!(found.unlike, None);
        assert_eq!(found.replays, Ok(2));
        // Those of the replicas themselves.
        assert_eq!(found.parts, sums(199, 200));
        assert_eq!(found.parts_of, Some((Index(200), true)));
    }
}

/// One of them comes to what a replica recorded, or none does: that tells nothing of who was wrong.
#[test]
fn replays_that_part_are_unlike_whomever_they_confirm() {
    let [one, other] = [1, 2].map(|world| Made::new(world).commands(with(100, 150, 320), 100));
    for (worlds, confirmed) in [([1, 3], [true, false]), ([3, 4], [false, false])] {
        let found = parted(worlds, &one, &other);
        assert_eq!((found.until, found.by), (Index(150), By::Replays));
        assert_eq!(found.confirmed, confirmed);
        assert_eq!(found.unlike, Some((Index(149), Index(150))));
    }
}

#[test]
fn a_reply_that_parts_is_known_exactly_by_what_both_remember() {
    let [one, other] = [1, 2].map(|world| {
        Made::new(world)
            .commands(with(101, 150, 320), 100)
            .remembers(120)
    });
    // Whatever replays show.
    for worlds in [[1, 2], [1, 1], [3, 3]] {
        let found = parted(worlds, &one, &other);
        assert_eq!((found.until, found.by), (Index(150), By::Replies));
        assert!(found.is_exact() && found.is_reply);
        let replies = ["\"1\"", "\"2\""].map(str::to_owned);
        assert_eq!(
            (found.replies, found.reply_at),
            (Some(replies), Some(Index(150)))
        );
        assert_eq!(found.parts, []);
        let [first, second] = worlds.map(|world| world < 3);
        assert_eq!(found.confirmed, [first, second && worlds[1] == 2]);
        let unlike = (worlds == [1, 2]).then_some((Index(149), Index(150)));
        assert_eq!(found.unlike, unlike);
    }
}

#[test]
fn a_state_that_parts_before_a_reply_shows_it_comes_first() {
    let commands = || {
        with(100, 130, 320)
            .enumerate()
            .map(|(at, it)| if at == 148 { 101 } else { it })
    };
    let [one, other] =
        [1, 2].map(|world| Made::new(world).commands(commands(), 100).remembers(120));
    let found = parted([1, 2], &one, &other);
    assert_eq!(
        (found.until, found.by, found.is_reply),
        (Index(130), By::Replays, false)
    );
    assert_eq!(found.reply_at, Some(Index(150)));
    let found = parted([1, 1], &one, &other);
    assert_eq!(
        (found.until, found.by, found.is_reply),
        (Index(150), By::Replies, true)
    );
}

/// The machine has another bug besides, at which these replicas happened to come to the same.
#[test]
fn a_reply_that_parts_in_replays_alone_is_not_the_one() {
    let commands = || {
        with(103, 130, 320)
            .enumerate()
            .map(|(at, it)| if at == 148 { 101 } else { it })
    };
    let [one, other] =
        [1, 3].map(|world| Made::new(world).commands(commands(), 100).remembers(120));
    let found = parted([1, 2], &one, &other);
    assert_eq!(
        (found.until, found.by, found.is_reply),
        (Index(150), By::Replies, true)
    );
    let replies = ["\"1\"", "\"3\""].map(str::to_owned);
    assert_eq!(
        (found.replies, found.reply_at),
        (Some(replies), Some(Index(150)))
    );
}

#[test]
fn replies_that_parted_before_what_is_remembered_are_looked_for_by_replays() {
    let [one, other] = [1, 2].map(|world| {
        Made::new(world)
            .commands(with(101, 150, 190), 100)
            .remembers(160)
    });
    let found = parted([1, 2], &one, &other);
    assert_eq!(
        (found.until, found.by, found.is_reply),
        (Index(150), By::Replays, true)
    );
    assert_eq!(found.replies, Some(["\"1\"", "\"2\""].map(str::to_owned)));
    let found = parted([1, 1], &one, &other);
    assert_eq!((found.after, found.until), (Some(Index(100)), Index(160)));
    assert_eq!((found.is_exact(), found.is_reply), (false, true));
    assert_eq!((found.by, found.confirmed), (By::Snapshots, [true, false]));
}

#[test]
fn one_directory_may_lack_the_snapshot_that_both_once_had() {
    let [one, other] = [1, 2].map(|world| {
        Made::new(world)
            .commands(with(100, 250, 320), 100)
            .remembers(310)
    });
    // The one went on, and let go of it; what it recorded is in its evidence.
    forget_log(&one, 290);
    one.forget_snapshot(100);
    one.forget_snapshot(200);
    let (found, runs) = compared_in([1, 2], &one, &other);
    let Verdict::Parted(found) = found.unwrap().verdict else {
        panic!("they differ");
    };
    assert_eq!((found.after, found.until), (Some(Index(200)), Index(250)));
    assert!(
        runs.asked
            .iter()
            .all(|it| it.dir == other.dir() && it.from == Index(200))
    );
    // Neither has: the log goes back to the beginning.
    other.forget_snapshot(200);
    let (found, runs) = compared_in([1, 2], &one, &other);
    assert!(matches!(found.unwrap().verdict, Verdict::Parted(it) if it.until == Index(250)));
    assert!(runs.asked.iter().all(|it| it.from == Index::ZERO));
    // Nor does it.
    forget_log(&other, 290);
    other.forget_snapshot(100);
    let found = parted([1, 2], &one, &other);
    assert_eq!((found.after, found.until), (Some(Index(200)), Index(300)));
    let why = found.replays.unwrap_err();
    assert!(why.contains("--keep-log"), "{why}");
    assert_eq!(found.parts_of, Some((Index(300), true)));
}

#[test]
fn a_machine_that_fails_in_one_replay_is_found_there() {
    let [one, other] = [1, 2].map(|world| Made::new(world).commands(with(102, 150, 320), 400));
    let found = parted([1, 3], &one, &other);
    assert_eq!(
        (found.until, found.by, found.is_reply),
        (Index(150), By::Replays, true)
    );
    let [first, second] = found.replies.unwrap();
    assert_eq!(first, "done, with an empty reply");
    assert!(second.contains("it fails at 102"), "{second}");
}

#[test]
fn a_damaged_snapshot_of_one_is_no_other_state() {
    let [one, other] = [1, 1].map(|world| Made::new(world).commands(with(100, 150, 320), 100));
    let path = other
        .dir()
        .join("snapshots")
        .join(format!("{:020}.snap", 200));
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = compared_in([1, 1], &one, &other).0.unwrap();
    assert!(matches!(found.verdict, Verdict::Same { .. }), "{found:?}");
    assert_eq!(found.damaged.len(), 1);
    assert!(found.damaged[0].contains(".snap"), "{:?}", found.damaged);
}

#[test]
fn what_has_nothing_to_do_with_each_other_is_not_compared() {
    let one = Made::new(1).commands(with(1, 0, 10), 100);
    let machine = MachineId::new("other", 1).unwrap();
    for (cluster, machine) in [
        (ClusterId(2), MachineId::of::<Wavering>()),
        (ClusterId(1), machine),
    ] {
        let root = tempfile::tempdir().unwrap();
        let store = StoreId(3);
        let is_other_machine = machine != MachineId::of::<Wavering>();
        let ids = SegmentIds {
            cluster,
            store,
            machine,
        };
        drop(SegmentLog::open(root.path(), ids, LogConfig::default()).unwrap());
        let mut runs = InWorlds {
            worlds: [1, 1],
            asked: Vec::new(),
        };
        let error = diff::<Wavering, _>([one.dir(), root.path()], 1, &mut runs).unwrap_err();
        let is_it = match error {
            DiffError::OtherMachine(_) => is_other_machine,
            DiffError::OtherCluster(_) => !is_other_machine,
            _ => false,
        };
        assert!(is_it, "{error}");
    }
}

#[test]
fn nothing_is_changed_and_a_replay_verifies_as_before() {
    let one = Made::new(1).commands(with(100, 150, 320), 100);
    let files = |dir: &Path| -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            for file in fs::read_dir(dir).unwrap() {
                let path = file.unwrap().path();
                match path.is_dir() {
                    true => dirs.push(path),
                    false => all.push((path.clone(), fs::read(path).unwrap())),
                }
            }
        }
        all.sort();
        all
    };
    let other = Made::new(2).commands(with(100, 150, 320), 100).remembers(0);
    let before = [files(one.dir()), files(other.dir())];
    parted([1, 2], &one, &other);
    assert_eq!([files(one.dir()), files(other.dir())], before);
    WORLD.set(1);
    let options = ReplayOptions {
        until: None,
        verifies: true,
    };
    replay::<Wavering>(one.dir(), options, &mut |_, _| {}).unwrap();
}

#[test]
fn a_replay_is_held_against_the_replies_that_its_replica_remembered() {
    let one = Made::new(1)
        .commands(with(101, 150, 320), 1000)
        .remembers(120);
    let options = ReplayOptions {
        until: None,
        verifies: true,
    };
    let verify = |world: u64| {
        WORLD.set(world);
        replay::<Wavering>(one.dir(), options, &mut |_, _| {})
    };
    assert_eq!(
        verify(1).unwrap().verified,
        201,
        "the chain at 120 and each behind it"
    );
    let ReplayError::Differs(found) = verify(2).unwrap_err() else {
        panic!("it goes another way");
    };
    assert_eq!((found.index, found.agreed), (Index(150), Index(149)));
    let name = format!("evidence/{:020}.evidence", 320);
    assert_eq!(found.file, Path::new(&name));
    // What another replica's directory remembered, and was copied here, says nothing of this one.
    let other = Made::new(2).commands(with(101, 150, 320), 1000);
    fs::create_dir(other.dir().join("evidence")).unwrap();
    fs::copy(one.dir().join(&name), other.dir().join(&name)).unwrap();
    WORLD.set(2);
    let replayed = replay::<Wavering>(other.dir(), options, &mut |_, _| {}).unwrap();
    assert_eq!(replayed.verified, 0);
}
