//! The simulated disk by itself: what survives what.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use standin_core::random::RandomStream;
use standin_io::storage::{Storage, StorageFile};
use standin_tools::simulate::disk::SimDisk;

const FILE: &str = "/file";

fn random(seed: u64) -> RandomStream {
    RandomStream::new(seed, 0)
}

fn contents(disk: &SimDisk) -> Option<Vec<u8>> {
    disk.read(Path::new(FILE), u64::MAX).ok()
}

/// A disk with a file that holds `bytes`, all of it on the platter.
fn disk_with(bytes: &[u8]) -> (SimDisk, <SimDisk as Storage>::File) {
    let disk = SimDisk::new();
    let file = disk.create(Path::new(FILE)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (disk, file)
}

#[test]
fn what_is_synced_survives_a_power_loss() {
    for seed in 0..100 {
        let (disk, _) = disk_with(b"synced");
        disk.power_loss(&mut random(seed));
        assert_eq!(contents(&disk).as_deref(), Some(b"synced".as_slice()));
    }
}

#[test]
fn what_is_not_synced_survives_the_death_of_the_process_alone() {
    let (disk, file) = disk_with(b"");
    file.write_all_at(b"unsynced", 0).unwrap();
    disk.kill();
    assert_eq!(contents(&disk).unwrap(), b"unsynced");
    let mut found = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (disk, file) = disk_with(b"");
        file.write_all_at(b"unsynced", 0).unwrap();
        disk.power_loss(&mut random(seed));
        found.insert(contents(&disk).unwrap());
    }
    assert!(found.contains(b"".as_slice()), "{found:?}");
    assert!(found.contains(b"unsynced".as_slice()), "{found:?}");
    assert!(found.len() > 4, "torn in many places: {found:?}");
}

#[test]
fn a_file_whose_name_was_not_synced_may_vanish() {
    let mut found = [0, 0];
    for seed in 0..20 {
        let disk = SimDisk::new();
        let file = disk.create(Path::new(FILE)).unwrap();
        file.write_all_at(b"bytes", 0).unwrap();
        file.sync_all().unwrap();
        disk.power_loss(&mut random(seed));
        found[usize::from(contents(&disk).is_some())] += 1;
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}

#[test]
fn a_dead_process_can_do_nothing_with_what_it_had_open() {
    let (disk, file) = disk_with(b"old");
    let lock = disk.lock(Path::new("/")).unwrap();
    assert!(disk.lock(Path::new("/")).is_err(), "it is held");
    disk.kill();
    file.write_all_at(b"new", 0).unwrap_err();
    file.sync_all().unwrap_err();
    file.read_exact_at(&mut [0], 0).unwrap_err();
    let next = disk.lock(Path::new("/")).unwrap();
    drop(lock);
    assert!(disk.lock(Path::new("/")).is_err(), "the next life holds it");
    drop(next);
    disk.lock(Path::new("/")).unwrap();
    assert_eq!(contents(&disk).unwrap(), b"old");
}
