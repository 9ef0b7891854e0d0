//! Snapshots on the same disk: what was said to be on it stays, and nothing half-written ever passes for
//! a snapshot, wherever the process dies or the power fails.

use std::io::Read as _;
use std::path::Path;

use standin_core::digest::DigestChain;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::ClusterId;
use standin_core::machine::MachineId;
use standin_core::random::RandomStream;
use standin_core::snapshot::{SnapshotHeader, SnapshotPoint, encode_snapshot};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::snapshots::{SnapshotIds, Snapshots, SnapshotsError};
use standin_io::storage::Storage as _;
use standin_tools::simulate::disk::{Lie, SimDisk};

/// Short states and one of several blocks.
const LENGTHS: [usize; 4] = [40, 5000, 600_000, 0];

fn state_of(index: u64) -> Vec<u8> {
    let length = LENGTHS[usize::try_from(index).unwrap() % LENGTHS.len()];
    let mix = |number: u64| (number ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let byte = |number: u64| mix(number).to_le_bytes()[7] | 1;
    (0..).map(byte).take(length).collect()
}

fn point(index: u64) -> SnapshotPoint {
    SnapshotPoint {
        cluster: ClusterId(1),
        machine: MachineId::new("counter", 1).unwrap(),
        data_epoch: DataEpoch(1),
        failed_version: 0,
        tip: LogTip {
            index: Index(index),
            view: ViewNumber(1),
            chain: 2,
            time: WallTime(3),
        },
        view_first: Index(1),
        reply_digest: DigestChain(4),
    }
}

fn open(disk: &SimDisk) -> Result<Snapshots<SimDisk>, SnapshotsError> {
    let ids = SnapshotIds {
        cluster: ClusterId(1),
        machine: point(1).machine,
    };
    let snapshots = Snapshots::open_in(disk.clone(), Path::new("/replica"), ids)?;
    // As a start does, before it looks for the newest. There is no log here to be begun anew.
    if let Some(placed) = snapshots.placed()?.snapshot {
        snapshots.settle(placed)?;
    }
    Ok(snapshots)
}

/// What is known of the disk from outside.
#[derive(Default)]
struct Known {
    /// The newest snapshot that is certainly there.
    done: u64,
    /// The newest that may be.
    tried: u64,
}

/// Writes snapshots and receives one, with a cut connection. Before, the one of entry `before` was the
/// newest.
fn script(disk: &SimDisk, before: u64, known: &mut Known) -> Result<(), SnapshotsError> {
    for index in before + 1..=before + 4 {
        let snapshots = open(disk)?;
        known.tried = index;
        if index % 4 == 2 {
            let bytes = encode_snapshot(point(index), &state_of(index));
            let header = SnapshotHeader::decode(&bytes).unwrap();
            receive(&snapshots, &header, &bytes[..bytes.len() / 3])?;
            receive(&snapshots, &header, &bytes)?;
        } else {
            let state = state_of(index);
            let pieces = state.chunks(70_000);
            snapshots.write(snapshots.ticket(), point(index), |out| {
                pieces
                    .into_iter()
                    .try_for_each(|piece| out.write_all(piece))
            })?;
        }
        known.done = index;
        snapshots.forget_before(snapshots.ticket(), Index(index - 1))?;
    }
    Ok(())
}

/// Receives so much of a snapshot, and all of it in the end.
fn receive(
    snapshots: &Snapshots<SimDisk>,
    header: &SnapshotHeader,
    bytes: &[u8],
) -> Result<(), SnapshotsError> {
    let mut receiving = snapshots.receive(header)?;
    let at = usize::try_from(receiving.at()).unwrap();
    for piece in bytes.get(at..).unwrap_or_default().chunks(100_000) {
        receiving.put(receiving.at(), piece)?;
    }
    if receiving.is_whole() {
        snapshots.settle(snapshots.place(receiving.check()?)?)?;
    }
    Ok(())
}

/// What is found must be what is known, and must stay.
fn check(disk: &SimDisk, known: &Known) -> u64 {
    let snapshots = open(disk).unwrap();
    let newest = snapshots.newest().unwrap();
    assert!(newest.damaged.is_empty(), "{:?}", newest.damaged);
    let found = newest.snapshot.map_or(0, |file| {
        let mut state = Vec::new();
        file.state().unwrap().read_to_end(&mut state).unwrap();
        let index = file.header().point.tip.index.0;
        assert!(state == state_of(index), "the state of {index} is another");
        assert_eq!(file.header().point, point(index));
        index
    });
    let (done, tried) = (known.done, known.tried);
    assert!(
        (done..=tried).contains(&found),
        "{found}, not {done} to {tried}"
    );
    for name in disk.list(Path::new("/replica/snapshots")).unwrap() {
        let name = name.into_string().unwrap();
        assert!(name.ends_with(".snap") || name.ends_with(".part"), "{name}");
    }
    // The one before is there, too, unless the newest was received.
    let indexes: Vec<u64> = (snapshots.list().unwrap().iter())
        .map(|header| header.point.tip.index.0)
        .collect();
    let least = if found % 4 == 2 { 1 } else { found.min(2) };
    assert!(indexes.len() as u64 >= least, "{indexes:?}");
    found
}

/// Ends the script after so many operations, and looks at what is there, twice. Says whether that was
/// before its end.
fn end_after(disk: &SimDisk, operations: u64, draw: u64, has_power: bool) -> bool {
    let mut random = RandomStream::new(draw, operations);
    disk.stop(operations, RandomStream::new(draw, operations + 1));
    let mut known = Known::default();
    let result = script(disk, 0, &mut known);
    let is_cut_short = disk.is_stopped();
    assert_eq!(result.is_err(), is_cut_short, "{result:?}");
    if has_power {
        disk.kill();
    } else {
        disk.power_loss(&mut random);
    }
    check(disk, &known);
    disk.power_loss(&mut random);
    let found = check(disk, &known);
    // And it goes on from there.
    script(disk, found, &mut known).unwrap();
    assert_eq!(check(disk, &known), found + 4);
    is_cut_short
}

fn try_every_end(has_power: bool, names_unordered: bool, draws: u64) {
    let mut operations = 0;
    loop {
        let mut is_cut_short = false;
        for draw in 0..draws {
            let disk = SimDisk::new();
            disk.set_names_unordered(names_unordered);
            let end = || end_after(&disk, operations, draw, has_power);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(end));
            is_cut_short = outcome
                .unwrap_or_else(|_| panic!("failed after {operations} operations, draw {draw}"));
        }
        if !is_cut_short {
            break;
        }
        operations += 1;
    }
    assert!(operations > 50, "only {operations}");
}

#[test]
fn a_snapshot_survives_the_death_of_the_process_at_any_operation() {
    try_every_end(true, false, 4);
}

#[test]
fn a_snapshot_survives_a_power_loss_after_any_operation() {
    try_every_end(false, false, 20);
}

#[test]
fn a_snapshot_survives_names_that_reach_the_disk_out_of_order() {
    try_every_end(false, true, 20);
}

#[test]
fn a_disk_that_only_says_that_it_syncs_is_found_out_by_snapshots() {
    for lie in [Lie::Names, Lie::Bytes] {
        let is_found = (0..100).any(|operations| {
            let disk = SimDisk::new();
            disk.set_lie(Some(lie));
            let end = || end_after(&disk, operations, operations, false);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(end)).is_err()
        });
        assert!(is_found, "{lie:?}");
    }
}

/// A disk that is full or fails takes nothing that was there, and lets go of what was half-written.
#[test]
fn a_snapshot_that_finds_no_room_leaves_the_others() {
    for room in [0, 100, 300, 200_000, 599_000] {
        let disk = SimDisk::new();
        let mut known = Known::default();
        let snapshots = open(&disk).unwrap();
        let write = |index| {
            let state = state_of(index);
            snapshots.write(snapshots.ticket(), point(index), |out| {
                out.write_all(&state)
            })
        };
        write(1).unwrap();
        disk.set_capacity(Some(disk.used() + room));
        let error = write(2).unwrap_err();
        assert!(!error.may_have_lost_writes(), "{error}");
        known.done = 1;
        known.tried = 1;
        let before = disk.used();
        check(&disk, &known);
        assert_eq!(disk.used(), before);
        disk.set_capacity(None);
        write(2).unwrap();
        disk.fail_sync(0, RandomStream::new(room, 1));
        let error = write(4).unwrap_err();
        assert!(error.may_have_lost_writes(), "{error}");
        disk.power_loss(&mut RandomStream::new(room, 2));
        let (done, tried) = (2, 2);
        check(&disk, &Known { done, tried });
    }
}
