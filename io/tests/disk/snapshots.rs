//! Snapshot files: written, found, received and removed, and what is made of each kind of damage, on real
//! files.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::sample::snapshots::{ids, open, point, put_in_place, snapshot_path, state_of, write};
use standin_core::entry::Index;
use standin_core::identity::{ClusterId, ReplicaName, StoreId};
use standin_core::machine::MachineId;
use standin_core::snapshot::{
    SNAPSHOT_BLOCK_BYTES, SNAPSHOT_BLOCK_HEADER_BYTES, SNAPSHOT_HEADER_BYTES, SnapshotFlaw,
    encode_snapshot,
};
use standin_io::data_dir::DataDir;
use standin_io::snapshots::{
    DAMAGED_SNAPSHOTS_MAX, SnapshotFile, SnapshotIds, Snapshots, SnapshotsError, newest_in,
    restore_data_dir,
};

fn names(dir: &Path) -> Vec<String> {
    let listed = fs::read_dir(dir.join("snapshots")).unwrap();
    let mut names: Vec<String> = listed
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn name(index: u64, suffix: &str) -> String {
    format!("{index:020}.{suffix}")
}

fn picture(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let bytes = fs::read(dir.join("snapshots").join(&name)).unwrap();
        (name, bytes)
    };
    names(dir).into_iter().map(read).collect()
}

fn state_in(file: &SnapshotFile) -> Vec<u8> {
    let mut state = Vec::new();
    file.state().unwrap().read_to_end(&mut state).unwrap();
    state
}

/// The index of the newest whole one, and those of damaged ones.
fn found(snapshots: &Snapshots) -> (Option<u64>, Vec<u64>) {
    let newest = snapshots.newest().unwrap();
    let index = |file: SnapshotFile| file.header().point.tip.index.0;
    let damaged = newest.damaged.iter().map(|one| one.index.0).collect();
    (newest.snapshot.map(index), damaged)
}

#[test]
fn what_was_written_is_found_and_reads_back() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    assert_eq!(found(&snapshots), (None, Vec::new()));
    for index in [5, 70, 9] {
        let header = write(&snapshots, 1, index, 1000);
        assert_eq!(header.point, point(1, index));
        assert_eq!(header.state_bytes, 1000);
    }
    assert_eq!(
        names(root.path()),
        [5, 9, 70].map(|index| name(index, "snap"))
    );
    let listed = snapshots.list().unwrap();
    let indexes: Vec<u64> = listed
        .iter()
        .map(|header| header.point.tip.index.0)
        .collect();
    assert_eq!(indexes, [5, 9, 70]);

    let newest = open(root.path()).newest().unwrap().snapshot.unwrap();
    assert_eq!(newest.header(), listed.last().unwrap());
    assert_eq!(newest.path(), snapshot_path(root.path(), 70));
    assert_eq!(state_in(&newest), state_of(70, 1000));
    let bytes = fs::read(newest.path()).unwrap();
    assert!(bytes == encode_snapshot(point(1, 70), &state_of(70, 1000)));
    assert_eq!(newest.bytes(), bytes.len() as u64);
    assert_eq!(newest.read_at(100, 50).unwrap(), bytes[100..150]);
    assert_eq!(newest.read_at(0, 1 << 20).unwrap(), bytes);
    assert_eq!(newest.read_at(newest.bytes(), 50).unwrap(), []);
    assert_eq!(newest.read_at(u64::MAX, 50).unwrap(), []);
    // It is still read by whoever has begun to.
    fs::remove_file(newest.path()).unwrap();
    assert_eq!(state_in(&newest), state_of(70, 1000));
    assert_eq!(newest.read_at(100, 50).unwrap(), bytes[100..150]);
}

#[test]
fn a_state_that_cannot_be_written_leaves_nothing() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    let error = snapshots.write(snapshots.ticket(), point(1, 5), |out| {
        out.write_all(&[7; 100_000])?;
        Err(std::io::ErrorKind::StorageFull.into())
    });
    let error = error.unwrap_err();
    assert!(matches!(&error, SnapshotsError::Io { .. }), "{error}");
    assert!(!error.may_have_lost_writes());
    assert_eq!(names(root.path()), Vec::<String>::new());
}

#[test]
fn what_was_being_written_is_removed_at_the_start_and_nothing_else_is() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    write(&snapshots, 1, 5, 10);
    for name in [
        name(6, "tmp"),
        name(5, "bad"),
        name(7, "part"),
        "notes.tmp".to_owned(),
    ] {
        fs::write(root.path().join("snapshots").join(name), "x").unwrap();
    }
    open(root.path());
    let left = [
        name(5, "bad"),
        name(5, "snap"),
        name(7, "part"),
        "notes.tmp".to_owned(),
    ];
    assert_eq!(names(root.path()), left);
}

#[test]
fn those_before_an_entry_are_let_go_of() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    for index in [5, 9, 12] {
        write(&snapshots, 1, index, 10);
    }
    let ticket = snapshots.ticket();
    snapshots.forget_before(ticket, Index(9)).unwrap();
    assert_eq!(names(root.path()), [name(9, "snap"), name(12, "snap")]);
    assert!(snapshots.file_of(Index(5)).unwrap().is_none());
    let file = snapshots.file_of(Index(9)).unwrap().unwrap();
    assert_eq!(file.header().point.tip.index, Index(9));

    // Those of a history that began later are not meant, low as their indexes may be.
    snapshots.discard().unwrap();
    write(&snapshots, 2, 3, 10);
    snapshots.forget_before(ticket, Index(9)).unwrap();
    assert_eq!(names(root.path()), [name(3, "snap")]);
}

/// What is being written meanwhile is of the history that was let go of.
#[test]
fn all_are_let_go_of_with_what_is_being_written() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    write(&snapshots, 1, 5, 10);
    let other = snapshots.clone();
    let written = snapshots.write(snapshots.ticket(), point(1, 9), |out| {
        other.discard().unwrap();
        out.write_all(b"state")
    });
    assert_eq!(written.unwrap(), None);
    assert_eq!(names(root.path()), Vec::<String>::new());
    write(&snapshots, 1, 7, 10);
    assert_eq!(found(&snapshots), (Some(7), Vec::new()));
}

#[test]
fn a_higher_data_epoch_goes_before_a_higher_index() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    write(&snapshots, 1, 40, 10);
    write(&snapshots, 1, 100, 10);
    write(&snapshots, 2, 75, 10);
    assert_eq!(found(&snapshots), (Some(75), Vec::new()));
}

/// What may happen to a snapshot of `bytes` bytes: at places in each of its parts.
fn mishaps(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let block = SNAPSHOT_HEADER_BYTES + SNAPSHOT_BLOCK_HEADER_BYTES + SNAPSHOT_BLOCK_BYTES;
    let end = bytes.len() - SNAPSHOT_BLOCK_HEADER_BYTES;
    let places = [0, 12, 16, 50, 100, 140, 191, 192, 196, 200, 5000];
    let places = places
        .into_iter()
        .chain([block - 1, block, block + 9, end, end + 7]);
    let mut harmed = Vec::new();
    for at in places.filter(|at| *at < bytes.len()) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0x20;
        harmed.push((format!("byte {at} flipped"), flipped));
        harmed.push((format!("cut at {at}"), bytes[..at].to_vec()));
        let mut blank = bytes.to_vec();
        blank[at..].fill(0);
        harmed.push((format!("zeros from {at}"), blank));
    }
    harmed.push(("a byte too much".to_owned(), [bytes, &[0]].concat()));
    harmed.retain(|(_, harmed)| harmed != bytes);
    harmed
}

#[test]
fn row_damaged_snapshot_with_an_older_good_one() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    write(&snapshots, 1, 5, 300);
    write(&snapshots, 1, 9, SNAPSHOT_BLOCK_BYTES + 500);
    let path = snapshot_path(root.path(), 9);
    let good = fs::read(&path).unwrap();
    for (what, harmed) in mishaps(&good) {
        fs::write(&path, &harmed).unwrap();
        let newest = snapshots.newest().unwrap();
        let header = newest.snapshot.unwrap().header().clone();
        assert_eq!(header.point, point(1, 5), "{what}");
        let [damaged] = &newest.damaged[..] else {
            panic!("{what}: {:?}", newest.damaged);
        };
        assert_eq!(damaged.index, Index(9));
        let text = damaged.to_string();
        assert!(
            text.contains("entry 9 ") && text.contains(" byte "),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
        // It is kept for people, and counts for nothing any more.
        assert!(fs::read(&damaged.file).unwrap() == harmed, "{what}");
        assert_eq!(names(root.path()), [name(5, "snap"), name(9, "bad")]);
        assert_eq!(found(&snapshots), (Some(5), Vec::new()), "{what}");
    }
}

#[test]
fn row_damaged_only_snapshot_is_reported_and_set_aside() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    write(&snapshots, 1, 9, 700);
    let path = snapshot_path(root.path(), 9);
    let good = fs::read(&path).unwrap();
    for (what, harmed) in mishaps(&good) {
        fs::write(&path, harmed).unwrap();
        assert_eq!(found(&snapshots), (None, vec![9]), "{what}");
        assert_eq!(names(root.path()), [name(9, "bad")]);
    }
}

#[test]
fn of_damaged_snapshots_the_newest_few_are_kept() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    for index in 1..=6 {
        write(&snapshots, 1, index, 10);
        fs::write(snapshot_path(root.path(), index), "rot").unwrap();
    }
    let (newest, mut damaged) = found(&snapshots);
    damaged.sort_unstable();
    assert_eq!((newest, damaged), (None, vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(DAMAGED_SNAPSHOTS_MAX, 2);
    assert_eq!(names(root.path()), [name(5, "bad"), name(6, "bad")]);
}

#[test]
fn row_snapshot_of_another_cluster_machine_or_name_is_refused_unchanged() {
    let others = [
        SnapshotIds {
            cluster: ClusterId(9),
            ..ids()
        },
        SnapshotIds {
            machine: MachineId::new("kv", 1).unwrap(),
            ..ids()
        },
    ];
    let root = crate::sample::root();
    let snapshots = open(root.path());
    write(&snapshots, 1, 9, 10);
    fs::write(snapshot_path(root.path(), 3), "rot").unwrap();
    let before = picture(root.path());
    let refused = |snapshots: &Snapshots| {
        let error = snapshots.newest().unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&name(9, "snap")) || text.contains(&name(11, "snap")),
            "{text}"
        );
        assert!(snapshots.list().is_err());
        error
    };
    for other in others {
        let error = refused(&Snapshots::open(root.path(), other).unwrap());
        assert!(matches!(error, SnapshotsError::Foreign { .. }), "{error}");
        assert!(picture(root.path()) == before);
    }
    let path = snapshot_path(root.path(), 9);
    fs::rename(&path, snapshot_path(root.path(), 11)).unwrap();
    let error = refused(&snapshots);
    assert!(matches!(error, SnapshotsError::Foreign { .. }), "{error}");
    fs::rename(snapshot_path(root.path(), 11), &path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    fs::write(&path, &bytes).unwrap();
    let error = refused(&snapshots);
    assert!(matches!(error, SnapshotsError::Version { .. }), "{error}");
    assert!(fs::read(&path).unwrap() == bytes);
}

/// A snapshot to be sent, and its header.
fn sent(length: usize) -> (standin_core::snapshot::SnapshotHeader, Vec<u8>) {
    let bytes = encode_snapshot(point(2, 80), &state_of(80, length));
    let header = standin_core::snapshot::SnapshotHeader::decode(&bytes).unwrap();
    (header, bytes)
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

const LONG: usize = 2 * SNAPSHOT_BLOCK_BYTES + 5000;

/// Otherwise the sync at the end keeps the disk from everybody else for as long as all of it takes.
#[test]
fn what_comes_of_a_snapshot_is_to_be_synced_every_few_mebibytes_and_never_twice() {
    const MIB: usize = 1 << 20;
    let (header, bytes) = sent(20 * MIB);
    let root = crate::sample::root();
    let mut receiving = open(root.path()).receive(&header).unwrap();
    let mut asked_at = Vec::new();
    while !receiving.is_whole() {
        let at = place(receiving.at());
        let end = bytes.len().min(at + MIB);
        receiving.put(receiving.at(), &bytes[at..end]).unwrap();
        if let Some(request) = receiving.sync_request() {
            request.run().unwrap();
            asked_at.push(end / MIB);
        }
        assert!(
            receiving.sync_request().is_none(),
            "that is asked for already"
        );
    }
    assert_eq!(asked_at, [8, 16]);
    receiving.check().unwrap();
}

#[test]
fn a_snapshot_is_received_in_pieces_across_cut_connections_and_restarts() {
    for length in [0, 700, LONG] {
        let (header, bytes) = sent(length);
        for piece in [100, 65_536, bytes.len()] {
            let root = crate::sample::root();
            write(&open(root.path()), 1, 5, 10);
            let mut pieces = 0;
            let mut receiving = open(root.path()).receive(&header).unwrap();
            assert_eq!(receiving.at(), SNAPSHOT_HEADER_BYTES as u64);
            while !receiving.is_whole() {
                let at = place(receiving.at());
                let end = bytes.len().min(at + piece);
                receiving.put(receiving.at(), &bytes[at..end]).unwrap();
                assert_eq!(receiving.at(), end as u64);
                pieces += 1;
                if [1, 2, 6, 2700].contains(&pieces) {
                    // Another life: what is good of it stays, up to the last whole block.
                    let before = receiving.at();
                    drop(receiving);
                    receiving = open(root.path()).receive(&header).unwrap();
                    let block = SNAPSHOT_BLOCK_HEADER_BYTES + SNAPSHOT_BLOCK_BYTES;
                    assert!(receiving.at() <= before);
                    assert!(before - receiving.at() < block as u64);
                }
            }
            let snapshots = open(root.path());
            assert_eq!(
                found(&snapshots),
                (Some(5), Vec::new()),
                "not before it is done"
            );
            let checked = receiving.check().unwrap();
            assert_eq!(names(root.path()), [name(5, "snap"), name(80, "part")]);
            assert_eq!(
                found(&snapshots),
                (Some(5), Vec::new()),
                "it does not count before it is put in the place of the others"
            );
            let file = put_in_place(&snapshots, checked).unwrap();
            assert_eq!(file.header(), &header);
            assert!(state_in(&file) == state_of(80, length));
            assert_eq!(names(root.path()), [name(80, "snap")]);
            assert!(fs::read(file.path()).unwrap() == bytes);
            assert_eq!(found(&snapshots), (Some(80), Vec::new()));
        }
    }
}

#[test]
fn a_damaged_piece_is_noticed_at_once_and_can_come_again() {
    let (header, bytes) = sent(LONG);
    let root = crate::sample::root();
    let mut receiving = open(root.path()).receive(&header).unwrap();
    let first = SNAPSHOT_HEADER_BYTES;
    let second = first + SNAPSHOT_BLOCK_HEADER_BYTES + SNAPSHOT_BLOCK_BYTES;
    receiving
        .put(first as u64, &bytes[first..second + 10])
        .unwrap();
    let mut damaged = bytes[second + 10..].to_vec();
    damaged[100] ^= 1;
    let error = receiving.put(receiving.at(), &damaged).unwrap_err();
    let SnapshotsError::Unsound { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (source.at, source.flaw),
        (second as u64, SnapshotFlaw::BlockChecksum)
    );
    assert!(!receiving.is_whole());
    assert_eq!(receiving.at(), second as u64);
    // A piece that does not continue, before or behind, changes nothing.
    for at in [0, second as u64 - 1, second as u64 + 1] {
        let error = receiving.put(at, &bytes[second..]).unwrap_err();
        assert!(matches!(error, SnapshotsError::Offset { .. }), "{error}");
    }
    receiving.put(receiving.at(), &bytes[second..]).unwrap();
    let error = receiving.put(receiving.at(), &[0]).unwrap_err();
    assert!(
        matches!(error, SnapshotsError::Unsound { .. }),
        "more than all: {error}"
    );
    assert!(receiving.is_whole());
    let checked = receiving.check().unwrap();
    let file = put_in_place(&open(root.path()), checked).unwrap();
    assert!(fs::read(file.path()).unwrap() == bytes);
}

#[test]
fn what_has_come_is_only_believed_when_it_was_read_back() {
    let (header, bytes) = sent(LONG);
    let first = SNAPSHOT_HEADER_BYTES as u64;
    let block = (SNAPSHOT_BLOCK_HEADER_BYTES + SNAPSHOT_BLOCK_BYTES) as u64;
    let half = SNAPSHOT_HEADER_BYTES + 2 * place(block);
    let root = crate::sample::root();
    let part = root.path().join("snapshots").join(name(80, "part"));
    let begin = || {
        let mut receiving = open(root.path()).receive(&header).unwrap();
        let at = place(receiving.at());
        if at < half {
            receiving.put(receiving.at(), &bytes[at..half]).unwrap();
        }
        receiving
    };
    type Loss = fn(&mut Vec<u8>);
    // What a power loss may leave of it, each time: where it goes on.
    let rows: [(Loss, u64); 5] = [
        (|part| part.truncate(100), first),
        (|part| part[..8].fill(0), first),
        (|part| part[250_000..].fill(0), first),
        (|part| part[300_000] ^= 1, first + block),
        (|part| part.resize(1 << 20, 0), first + 2 * block),
    ];
    for (lose, at) in rows {
        drop(begin());
        let mut left = fs::read(&part).unwrap();
        lose(&mut left);
        fs::write(&part, left).unwrap();
        let receiving = open(root.path()).receive(&header).unwrap();
        assert_eq!(receiving.at(), at);
        assert_eq!(fs::metadata(&part).unwrap().len(), at);
    }
    // Not whole yet.
    let error = begin().check().unwrap_err();
    assert!(matches!(error, SnapshotsError::Unsound { .. }), "{error}");
    assert_eq!(names(root.path()), [name(80, "part")]);
    // The disk keeps something else than what came: it begins anew.
    let mut receiving = begin();
    receiving.put(receiving.at(), &bytes[half..]).unwrap();
    let mut kept = fs::read(&part).unwrap();
    kept[70_000] ^= 1;
    fs::write(&part, kept).unwrap();
    let error = receiving.check().unwrap_err();
    assert!(matches!(error, SnapshotsError::Unsound { .. }), "{error}");
    assert_eq!(names(root.path()), Vec::<String>::new());
    assert_eq!(open(root.path()).receive(&header).unwrap().at(), first);
}

#[test]
fn what_has_come_of_another_snapshot_is_removed() {
    let (header, bytes) = sent(LONG);
    let root = crate::sample::root();
    let snapshots = open(root.path());
    let mut receiving = snapshots.receive(&header).unwrap();
    receiving.put(receiving.at(), &bytes[192..]).unwrap();
    drop(receiving);
    // Of the same entry, but another.
    let mut same_entry = header.clone();
    same_entry.state_digest ^= 1;
    assert_eq!(snapshots.receive(&same_entry).unwrap().at(), 192);
    let mut receiving = snapshots.receive(&header).unwrap();
    receiving.put(receiving.at(), &bytes[192..]).unwrap();
    drop(receiving);
    let mut other = header.clone();
    other.point.tip.index = Index(81);
    assert_eq!(snapshots.receive(&other).unwrap().at(), 192);
    assert_eq!(names(root.path()), [name(81, "part")]);
    // One of another cluster does not even begin.
    let mut foreign = header;
    foreign.point.cluster = ClusterId(9);
    let error = snapshots.receive(&foreign).unwrap_err();
    assert!(matches!(error, SnapshotsError::Foreign { .. }), "{error}");
    assert_eq!(names(root.path()), [name(81, "part")]);
}

#[test]
fn a_directory_in_the_place_of_a_snapshot_is_an_error_that_names_it() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    fs::create_dir(snapshot_path(root.path(), 4)).unwrap();
    let error = snapshots.newest().unwrap_err();
    assert!(matches!(&error, SnapshotsError::Io { .. }), "{error}");
    assert!(error.to_string().contains(&name(4, "snap")), "{error}");
}

/// The replica may run: what is damaged is its own to set aside.
#[test]
fn the_newest_whole_one_is_copied_and_nothing_is_changed() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    for index in [5, 9, 12] {
        write(&snapshots, 1, index, 10);
    }
    for index in [9, 12] {
        let path = snapshot_path(root.path(), index);
        let mut bytes = fs::read(&path).unwrap();
        let at = if index == 9 { 0 } else { bytes.len() - 1 };
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let before = picture(root.path());
    let (newest, damaged) = newest_in(root.path(), &ids()).unwrap();
    assert_eq!(damaged.len(), 2, "{damaged:?}");
    let to = root.path().join("copy");
    let copy = newest.unwrap().copy_to(&to).unwrap();
    assert_eq!(copy.header().point.tip.index, Index(5));
    assert_eq!(
        fs::read(&to).unwrap(),
        fs::read(snapshot_path(root.path(), 5)).unwrap()
    );
    assert!(copy.copy_to(&to).is_err(), "what is there stays");
    let damaged = SnapshotFile::open(&snapshot_path(root.path(), 12)).unwrap();
    let (other, beside) = (root.path().join("other"), root.path().join("other.tmp"));
    let error = damaged.copy_to(&other).unwrap_err();
    assert!(matches!(error, SnapshotsError::Unsound { .. }), "{error}");
    assert!(!other.exists() && !beside.exists(), "nothing is left of it");
    assert_eq!(picture(root.path()), before);
}

#[test]
fn a_data_directory_is_made_of_a_snapshot_or_is_not_there() {
    let root = crate::sample::root();
    let snapshots = open(root.path());
    write(&snapshots, 1, 9, 10);
    let file = snapshots.file_of(Index(9)).unwrap().unwrap();
    let name: ReplicaName = "c".parse().unwrap();
    let restore = |file: &SnapshotFile, dir: &Path| {
        restore_data_dir(file, dir, &name, StoreId(7)).map_err(|error| error.to_string())
    };
    let dir = root.path().join("c");
    let beside = root.path().join("c.restoring");

    fs::create_dir(&beside).unwrap();
    let error = restore(&file, &dir).unwrap_err();
    assert!(error.contains("c.restoring was left"), "{error}");
    fs::remove_dir(&beside).unwrap();

    let bad = root.path().join("bad");
    let bytes = fs::read(file.path()).unwrap();
    fs::write(&bad, &bytes[..bytes.len() - 1]).unwrap();
    let error = restore(&SnapshotFile::open(&bad).unwrap(), &dir).unwrap_err();
    assert!(error.contains("no whole snapshot"), "{error}");
    assert!(!dir.exists() && !beside.exists());

    fs::create_dir(&dir).unwrap();
    restore(&file, &dir).unwrap();
    let meta = DataDir::look(&dir).unwrap().unwrap();
    assert_eq!((&meta.name, meta.store), (&name, StoreId(7)));
    assert_eq!(meta.cluster, Some(ids().cluster));
    let point = &file.header().point;
    assert_eq!(
        (meta.adopted.data_epoch, meta.adopted.view),
        (point.data_epoch, point.tip.view)
    );
    let first = format!("{:020}.log", 10);
    assert_eq!(crate::sample::segments(&dir), [dir.join("log").join(first)]);
    assert!(meta.has_log && meta.holds.is_none());
    assert!(DataDir::open(&dir, &name, &ids().machine, StoreId(8)).is_ok());
    let error = restore(&file, &dir).unwrap_err();
    assert!(error.contains("is there and not empty; name a"), "{error}");
}
