//! Snapshots to try things on.

use std::path::{Path, PathBuf};

use standin_core::digest::DigestChain;
use standin_core::entry::{Index, LogTip};
use standin_core::snapshot::{SnapshotHeader, SnapshotPoint};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::snapshots::{Checked, SnapshotFile, SnapshotIds, Snapshots, SnapshotsError};

pub(crate) fn ids() -> SnapshotIds {
    let log = super::ids();
    SnapshotIds {
        cluster: log.cluster,
        machine: log.machine,
    }
}

pub(crate) fn open(dir: &Path) -> Snapshots {
    Snapshots::open(dir, ids()).unwrap()
}

/// A point of view 3, which began at entry 1.
pub(crate) fn point(data_epoch: u32, index: u64) -> SnapshotPoint {
    let tip = LogTip {
        index: Index(index),
        view: ViewNumber(3),
        chain: 7,
        time: WallTime(9),
    };
    point_at(data_epoch, tip, Index(1))
}

pub(crate) fn point_at(data_epoch: u32, tip: LogTip, view_first: Index) -> SnapshotPoint {
    let ids = ids();
    SnapshotPoint {
        cluster: ids.cluster,
        machine: ids.machine,
        data_epoch: DataEpoch(data_epoch),
        failed_version: 0,
        tip,
        view_first,
        reply_digest: DigestChain(5),
    }
}

/// A state that is another for each index.
pub(crate) fn state_of(index: u64, length: usize) -> Vec<u8> {
    let mix = |number: u64| (number ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let byte = |number: u64| mix(number).to_le_bytes()[7];
    (0_u64..).map(byte).take(length).collect()
}

pub(crate) fn write(
    snapshots: &Snapshots,
    data_epoch: u32,
    index: u64,
    length: usize,
) -> SnapshotHeader {
    let state = state_of(index, length);
    snapshots
        .write(snapshots.ticket(), point(data_epoch, index), |out| {
            out.write_all(&state)
        })
        .unwrap()
        .unwrap()
}

/// Puts a snapshot that was received in the place of all others.
pub(crate) fn put_in_place(
    snapshots: &Snapshots,
    checked: Checked,
) -> Result<SnapshotFile, SnapshotsError> {
    snapshots.settle(snapshots.place(checked)?)
}

pub(crate) fn snapshot_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("snapshots/{index:020}.snap"))
}
