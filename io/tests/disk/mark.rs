//! The mark file: what of it is believed, and that it outlives whoever wrote it.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests of a shell")]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use standin_core::entry::Index;
use standin_core::identity::{BootId, Incarnation, Life, StoreId};
use standin_core::mark::{ApplyMark as _, Ended, LastEntry};
use standin_core::poison::Skip;
use standin_core::view::ViewNumber;
use standin_io::mark::{MARK_BYTES, MARK_FILE, MarkFile, decode, encode, how_it_ended};

const STORE: StoreId = StoreId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

fn life(start: u64) -> Life {
    Life {
        boot: BootId(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20),
        incarnation: Incarnation {
            start,
            nonce: 0x2122_2324_2526_2728,
        },
    }
}

fn entry(index: u64) -> Skip {
    Skip {
        index: Index(index),
        view: ViewNumber(70_000),
    }
}

fn at(index: u64, is_inside: bool) -> Option<Ended> {
    let entry = entry(index);
    Some(Ended::At(LastEntry { entry, is_inside }))
}

/// What the life after that of start 3 finds, in the same boot.
fn found(dir: &Path) -> Option<Ended> {
    how_it_ended(dir, STORE, life(3), life(3).boot)
}

#[test]
fn what_is_marked_is_there_for_the_next_life_at_each_moment() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(found(dir.path()), None, "no file");
    let mark = MarkFile::begin(dir.path(), STORE, life(3)).unwrap();
    assert_eq!(found(dir.path()), Some(Ended::Idle));
    for index in [1, 80_000, u64::MAX >> 1] {
        mark.begin(entry(index));
        assert_eq!(found(dir.path()), at(index, true));
        mark.end();
        assert_eq!(found(dir.path()), at(index, false));
    }
    let length = fs::metadata(dir.path().join(MARK_FILE)).unwrap().len();
    assert_eq!(length, MARK_BYTES as u64);

    // The next life begins anew, and what this one does says nothing of it.
    let next = MarkFile::begin(dir.path(), STORE, life(4)).unwrap();
    mark.begin(entry(7));
    assert_eq!(found(dir.path()), None);
    let found_next = || how_it_ended(dir.path(), STORE, life(4), life(4).boot);
    assert_eq!(found_next(), Some(Ended::Idle));
    next.begin(entry(9));
    assert_eq!(found_next(), at(9, true));
}

#[test]
fn the_mark_of_another_life_store_or_boot_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mark = MarkFile::begin(dir.path(), STORE, life(3)).unwrap();
    mark.begin(entry(9));
    assert_eq!(found(dir.path()), at(9, true));
    let boot = life(3).boot;
    assert_eq!(how_it_ended(dir.path(), STORE, life(2), boot), None);
    assert_eq!(how_it_ended(dir.path(), StoreId(1), life(3), boot), None);
    assert_eq!(
        how_it_ended(dir.path(), STORE, life(3), BootId(1)),
        None,
        "what is on the disk may be of any moment"
    );
}

#[test]
fn one_that_is_closed_is_gone_and_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let mark = MarkFile::begin(dir.path(), STORE, life(3)).unwrap();
    mark.begin(entry(9));
    mark.close().unwrap();
    mark.end();
    mark.begin(entry(10));
    mark.close().unwrap();
    assert_eq!(found(dir.path()), None);
    assert!(!dir.path().join(MARK_FILE).exists());
}

#[test]
fn where_it_cannot_be_made_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(MARK_FILE)).unwrap();
    assert!(MarkFile::begin(dir.path(), STORE, life(3)).is_err());
    assert_eq!(found(dir.path()), None);
}

#[test]
fn the_mark_file_is_as_it_was() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/v1/mark");
    let now = encode(STORE, life(300), 80_000 << 1 | 1, 70_000);
    if std::env::var("STANDIN_REGENERATE_GOLDEN").is_ok_and(|value| value == "1") {
        fs::write(&path, &now).unwrap();
    }
    let stored = fs::read(&path).unwrap();
    assert!(stored == now, "the format changed");
    assert_eq!(decode(&stored, STORE, life(300)), at(80_000, true));
    let dir = tempfile::tempdir().unwrap();
    let mark = MarkFile::begin(dir.path(), STORE, life(300)).unwrap();
    mark.begin(entry(80_000));
    assert!(fs::read(dir.path().join(MARK_FILE)).unwrap() == now);
}

proptest! {
    #[test]
    fn what_is_damaged_or_cut_short_says_nothing(
        byte in prop_oneof![0..64_usize, 80..MARK_BYTES],
        bit in 0..8_u8,
        length in 0..MARK_BYTES,
    ) {
        let good = encode(STORE, life(3), 19, 70_000);
        prop_assert_eq!(decode(&good, STORE, life(3)), at(9, true));
        let mut bad = good.clone();
        bad[byte] ^= 1_u8 << bit;
        prop_assert_eq!(decode(&bad, STORE, life(3)), None);
        prop_assert_eq!(decode(&good[..length], STORE, life(3)), None);
    }

    #[test]
    fn any_bytes_may_be_found(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        prop_assert_eq!(decode(&bytes, STORE, life(3)), None);
    }
}
