//! The simulated disk by itself: what survives what.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use standin_core::random::RandomStream;
use standin_io::storage::{Storage, StorageFile};
use standin_tools::simulate::disk::{SECTOR_BYTES, SimDisk};

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
    let mut found = BTreeSet::new();
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

#[test]
fn sectors_reach_the_platter_in_any_order() {
    let sector = usize::try_from(SECTOR_BYTES).unwrap();
    let mut found = BTreeSet::new();
    for seed in 0..200 {
        let (disk, file) = disk_with(&vec![0; 3 * sector]);
        file.write_all_at(&vec![1; 3 * sector], 0).unwrap();
        disk.power_loss(&mut random(seed));
        let bytes = contents(&disk).unwrap();
        let sectors: Vec<&[u8]> = bytes.chunks(sector).collect();
        if sectors
            .iter()
            .all(|bytes| bytes.iter().all(|one| *one == bytes[0]))
        {
            found.insert([sectors[0][0], sectors[1][0], sectors[2][0]]);
        }
    }
    assert_eq!(found.len(), 8, "each combination of old and new: {found:?}");
}

#[test]
fn what_was_truncated_comes_back_only_if_the_file_grew_before_a_sync() {
    let mut has_come_back = false;
    for seed in 0..200 {
        for is_synced_between in [true, false] {
            let (disk, file) = disk_with(&[1; 2000]);
            file.set_len(100).unwrap();
            if is_synced_between {
                file.sync_all().unwrap();
            }
            file.allocate(2000).unwrap();
            disk.power_loss(&mut random(seed));
            let bytes = contents(&disk).unwrap();
            let is_back = bytes[100..].contains(&1);
            assert!(!is_back || !is_synced_between, "seed {seed}");
            has_come_back |= is_back && bytes[100..].contains(&0);
        }
    }
    assert!(has_come_back, "in part");
}

#[test]
fn names_survive_in_order_unless_told_otherwise() {
    let survivors = |are_unordered| -> BTreeSet<Vec<String>> {
        let survive = |seed| {
            let disk = SimDisk::new();
            disk.set_names_unordered(are_unordered);
            disk.create(Path::new("/a")).unwrap();
            disk.create(Path::new("/b")).unwrap();
            disk.power_loss(&mut random(seed));
            let names = disk.list(Path::new("/")).unwrap();
            names
                .iter()
                .map(|name| name.to_str().unwrap().to_owned())
                .collect()
        };
        (0..50).map(survive).collect()
    };
    assert_eq!(survivors(false).len(), 3, "none, a, a and b");
    assert_eq!(survivors(true).len(), 4);
}

#[test]
fn a_name_stands_for_the_old_file_or_the_new_one() {
    let mut found = BTreeSet::new();
    for seed in 0..50 {
        let (disk, _) = disk_with(b"old");
        let beside = disk.create(Path::new("/beside")).unwrap();
        beside.write_all_at(b"new", 0).unwrap();
        beside.sync_all().unwrap();
        disk.rename(Path::new("/beside"), Path::new(FILE)).unwrap();
        assert_eq!(contents(&disk).unwrap(), b"new");
        disk.power_loss(&mut random(seed));
        found.insert(contents(&disk).unwrap());
    }
    assert_eq!(found, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
}

#[test]
fn what_a_failing_sync_forgot_is_seen_until_it_is_evicted_and_never_written() {
    let mut was_seen = false;
    for seed in 0..50 {
        let (disk, file) = disk_with(b"old");
        file.write_all_at(b"new", 0).unwrap();
        disk.fail_sync(0, random(seed));
        file.sync_all().unwrap_err();
        file.sync_all().unwrap();
        let seen = contents(&disk).unwrap();
        disk.kill();
        disk.evict();
        let left = contents(&disk).unwrap();
        let is_forgotten = disk.counts().writes_forgotten == 1;
        assert_eq!(left == b"old", is_forgotten, "seed {seed}");
        was_seen |= seen != left;
        disk.power_loss(&mut random(seed));
        assert_eq!(contents(&disk).unwrap(), left);
    }
    assert!(was_seen, "the page cache showed what the platter had not");
}

#[test]
fn a_full_disk_takes_what_it_has_room_for() {
    let (disk, file) = disk_with(b"12345");
    disk.set_capacity(Some(8));
    let error = file.allocate(9).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let error = file.write_all_at(b"abcdef", 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(contents(&disk).unwrap(), b"12345abc");
    file.write_all_at(b"54321", 0).unwrap();
    disk.remove(Path::new(FILE)).unwrap();
    assert_eq!(disk.used(), 0);
    disk.create(Path::new(FILE)).unwrap().allocate(8).unwrap();
}

#[test]
fn a_write_fails_on_demand_and_the_next_one_does_not() {
    let (disk, file) = disk_with(b"old");
    disk.fail_write(1);
    file.write_all_at(b"1", 0).unwrap();
    file.write_all_at(b"2", 0).unwrap_err();
    file.write_all_at(b"3", 1).unwrap();
    assert_eq!(contents(&disk).unwrap(), b"13d");
}

#[test]
fn a_process_that_dies_in_a_write_leaves_a_beginning_of_it() {
    let mut found = BTreeSet::new();
    for seed in 0..100 {
        let (disk, file) = disk_with(b"");
        disk.stop(1, random(seed));
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(b"second", 5).unwrap_err();
        assert!(disk.is_stopped());
        file.write_all_at(b"third", 0).unwrap_err();
        disk.kill();
        let bytes = contents(&disk).unwrap();
        assert!(b"firstsecond".starts_with(&bytes), "{bytes:?}");
        found.insert(bytes.len());
    }
    assert_eq!(found, (5..=11).collect());
}

#[test]
fn rot_is_seen_where_nothing_newer_covers_it() {
    let (disk, file) = disk_with(b"aa");
    file.write_all_at(b"b", 1).unwrap();
    assert!(disk.flip_bit(Path::new(FILE), 1));
    assert!(disk.flip_bit(Path::new(FILE), 9));
    assert!(!disk.flip_bit(Path::new(FILE), 16), "beyond the end");
    assert_eq!(contents(&disk).unwrap(), b"cb");
    file.sync_all().unwrap();
    let (path, _) = disk.flip_any_bit(&mut random(1)).unwrap();
    assert_eq!(path, Path::new(FILE));
    assert_ne!(contents(&disk).unwrap(), b"cb");
    assert_eq!(SimDisk::new().flip_any_bit(&mut random(1)), None);
}

#[test]
fn an_old_copy_can_be_put_back_and_the_disk_be_replaced() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"wet", 0).unwrap();
    let copy = disk.snapshot();
    file.write_all_at(b"new", 0).unwrap();
    file.sync_all().unwrap();
    disk.restore(&copy);
    file.write_all_at(b"!", 0).unwrap_err();
    disk.power_loss(&mut random(1));
    assert_eq!(contents(&disk).unwrap(), b"wet", "as the copier saw it");
    disk.wipe();
    assert_eq!(disk.list(Path::new("/")).unwrap().len(), 0);
}
