//! What must hold for any damage to a data directory's files: nothing panics, nothing that was not
//! written is read, and nothing that still stands there is lost.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::path::{Path, PathBuf};

use crate::sample::{contents, fill, segments, try_open};
use proptest::collection::vec;
use proptest::prelude::*;
use standin_core::entry::{Batch, Entry, Index, LogTip};
use standin_core::identity::{BootId, ClusterId, Incarnation, Life, ReplicaName, StoreId, Token};
use standin_core::machine::MachineId;
use standin_core::mark::FatalEntry;

use standin_core::poison::{Poison, Skip};
use standin_core::view::{DataEpoch, ViewId, ViewNumber};
use standin_io::data_dir::{META_BYTES_MAX, MetaError, ReplicaMeta};
use standin_io::log::{LogBase, LogConfig, SegmentLog};

prop_compose! {
    fn any_life()(boot: u128, start: u64, nonce: u64) -> Life {
        Life { boot: BootId(boot), incarnation: Incarnation { start, nonce } }
    }
}

prop_compose! {
    fn any_meta()(
        cluster in proptest::option::of(any::<u128>()),
        names in ("[a-z0-9][a-z0-9_-]{0,31}", "[!-~]{1,32}"),
        store: u128,
        version: u32,
        adopted: (u32, u64),
        starts: u64,
        lives in vec(any_life(), 0..=8),
        life in proptest::option::of(any_life()),
        quarantine in proptest::option::of("\\PC{0,40}"),
        has_log: bool,
        disk_failures: u64,
        holds in proptest::option::of(any::<u128>()),
        poison in proptest::option::of((any::<u64>(), any::<u64>(), "\\PC{0,40}")),
    ) -> ReplicaMeta {
        ReplicaMeta {
            cluster: cluster.map(ClusterId),
            name: ReplicaName::new(names.0).unwrap(),
            store: StoreId(store),
            machine: MachineId::new(&names.1, version).unwrap(),
            starts,
            adopted: ViewId {
                data_epoch: DataEpoch(adopted.0),
                view: ViewNumber(adopted.1),
            },
            life,
            clean_lives: lives,
            clean_stop: life,
            quarantine,
            has_log,
            disk_failures,
            holds: holds.map(|boot| Token::Os { store: StoreId(store), boot: BootId(boot) }),
            kept: None,
            fatal: (starts > 1).then_some(FatalEntry {
                entry: Skip { index: Index(starts), view: ViewNumber(starts) },
                since: starts / 2,
                deaths: version.max(1),
            }),
            poison: poison.map(|(index, view, words)| Poison {
                skip: Skip { index: Index(index), view: ViewNumber(view) },
                life: Incarnation { start: starts, nonce: index },
                words,
            }),
        }
    }
}

/// Something that happens to a file.
#[derive(Clone, Debug)]
enum Mishap {
    Flip(prop::sample::Index, u8),
    Zero(prop::sample::Index, usize),
    Blank(prop::sample::Index),
    Truncate(prop::sample::Index),
}

impl Mishap {
    fn any() -> impl Strategy<Value = Self> {
        let place = any::<prop::sample::Index>;
        prop_oneof![
            (place(), 1..=255_u8).prop_map(|(at, bits)| Self::Flip(at, bits)),
            (place(), 1..600_usize).prop_map(|(at, count)| Self::Zero(at, count)),
            place().prop_map(Self::Blank),
            place().prop_map(Self::Truncate),
        ]
    }

    /// Lets it happen, more often to the part of the file that is in use than its share would be.
    fn strike(&self, bytes: &mut Vec<u8>) {
        let used = crate::sample::used(bytes).max(1).min(bytes.len());
        if used == 0 {
            return;
        }
        match self {
            Self::Flip(at, bits) => bytes[at.index(used)] ^= bits,
            Self::Zero(at, count) => {
                let at = at.index(used);
                let end = bytes.len().min(at + count);
                bytes[at..end].fill(0);
            }
            Self::Blank(at) => bytes[at.index(used)..].fill(0),
            Self::Truncate(at) => bytes.truncate(at.index(used)),
        }
    }
}

/// All files of the log and their bytes.
fn picture(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |file: PathBuf| (file.clone(), fs::read(file).unwrap());
    segments(dir).into_iter().map(read).collect()
}

/// Whether an entry of a log stands in one of its files as it was written.
fn stands(files: &[(PathBuf, Vec<u8>)], harmed: &[(PathBuf, Vec<u8>)], entry: &[u8]) -> bool {
    let place = files.iter().find_map(|(file, bytes)| {
        let found = bytes.windows(entry.len()).position(|bytes| bytes == entry);
        found.map(|at| (file, at))
    });
    let (file, at) = place.expect("it was written");
    let now = harmed.iter().find(|(harmed, _)| harmed == file);
    now.is_some_and(|(_, bytes)| bytes.get(at..at + entry.len()) == Some(entry))
}

fn bytes_of<'a>(entry: &Entry<'_>, all: &'a [u8], at: &mut usize) -> &'a [u8] {
    let start = *at;
    *at += usize::try_from(entry.header.length).unwrap();
    &all[start..*at]
}

proptest! {
    #[test]
    fn a_meta_file_reads_back_and_neither_its_beginnings_nor_its_damaged_forms_do(
        meta in any_meta(),
    ) {
        let bytes = meta.encode();
        prop_assert!(bytes.len() <= META_BYTES_MAX);
        prop_assert_eq!(ReplicaMeta::decode(&bytes), Ok(meta));
        for cut in 0..bytes.len() {
            prop_assert!(ReplicaMeta::decode(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
        let mut longer = bytes.clone();
        longer.push(0);
        prop_assert_eq!(ReplicaMeta::decode(&longer), Err(MetaError::Length));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(ReplicaMeta::decode(&damaged).is_err(), "bit {}", bit);
        }
    }

    #[test]
    fn any_bytes_may_be_offered_as_a_meta_file(bytes in vec(any::<u8>(), 0..600)) {
        prop_assert!(ReplicaMeta::decode(&bytes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_harmed_log_is_refused_unchanged_or_is_a_beginning_that_lost_nothing_whole(
        batches in 1..40_usize,
        harm in vec((any::<prop::sample::Index>(), Mishap::any()), 1..4),
        gone in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let root = crate::sample::root();
        let (mut log, _) = crate::sample::open(root.path());
        fill(&mut log, batches);
        let all = Batch::verify(contents(&log), LogTip::default()).unwrap();
        drop(log);
        let good = picture(root.path());
        for (file, mishap) in harm {
            let (path, _) = &good[file.index(good.len())];
            let mut bytes = fs::read(path).unwrap();
            mishap.strike(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        if let Some(file) = gone {
            fs::remove_file(&good[file.index(good.len())].0).unwrap();
        }
        let harmed = picture(root.path());
        let Ok((log, recovered)) = try_open(root.path()) else {
            prop_assert!(picture(root.path()) == harmed, "a log was changed and refused");
            return Ok(());
        };
        let kept = contents(&log);
        prop_assert!(all.bytes().starts_with(&kept), "not a beginning of what was written");
        let mut at = 0;
        for entry in all.entries() {
            let bytes = bytes_of(&entry, all.bytes(), &mut at);
            let index = entry.header.index;
            let is_lost = index > recovered.tip.index && stands(&good, &harmed, bytes);
            prop_assert!(!is_lost, "entry {} was whole and is lost", index);
        }
        drop(log);
        let (log, again) = try_open(root.path()).unwrap();
        prop_assert_eq!((again.tip, again.torn), (recovered.tip, None));
        prop_assert_eq!(contents(&log), kept);
    }

    #[test]
    fn a_harmed_log_behind_a_snapshot_is_refused_unchanged_or_lost_nothing_whole_beyond_it(
        batches in 1..40_usize,
        base in any::<prop::sample::Index>(),
        harm in vec((any::<prop::sample::Index>(), Mishap::any()), 0..3),
        gone in vec(any::<prop::sample::Index>(), 0..3),
        forgotten in any::<prop::sample::Index>(),
    ) {
        let root = crate::sample::root();
        let (mut log, _) = crate::sample::open(root.path());
        let tips = fill(&mut log, batches);
        let all = Batch::verify(contents(&log), LogTip::default()).unwrap();
        drop(log);
        let good = picture(root.path());
        for (file, mishap) in harm {
            let (path, _) = &good[file.index(good.len())];
            let mut bytes = fs::read(path).unwrap();
            mishap.strike(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        let gone = gone.iter().map(|file| file.index(good.len()));
        for number in gone.chain(0..forgotten.index(good.len())) {
            let _ = fs::remove_file(&good[number].0);
        }
        let base = 1 + base.index(tips.len() - 1);
        let view_first = tips.iter().position(|tip| tip.view == tips[base].view).unwrap();
        let covered = Index(base as u64);
        let config = LogConfig {
            base: Some(LogBase {
                tip: tips[base],
                view_first: Index(view_first as u64),
                data_epoch: DataEpoch(0),
            }),
            ..crate::sample::CONFIG
        };
        let harmed = picture(root.path());
        let open = || SegmentLog::open(root.path(), crate::sample::ids(), config);
        let Ok((log, recovered)) = open() else {
            prop_assert!(picture(root.path()) == harmed, "a log was changed and refused");
            return Ok(());
        };
        let tip = recovered.tip;
        prop_assert!(log.first() <= covered.next() && tip.index >= covered);
        prop_assert_eq!(tip, tips[usize::try_from(tip.index.0).unwrap()]);
        let mut at = 0;
        for entry in all.entries() {
            let bytes = bytes_of(&entry, all.bytes(), &mut at);
            let index = entry.header.index;
            if log.first() <= index && index <= tip.index {
                prop_assert_eq!(&log.read(index, 1).unwrap()[..], bytes);
            }
            let is_lost = index > tip.index && stands(&good, &harmed, bytes);
            prop_assert!(!is_lost, "entry {} was whole and is lost", index);
        }
        let first = log.first();
        drop(log);
        let (log, again) = open().unwrap();
        prop_assert_eq!((again.tip, again.torn, again.superseded), (tip, None, None));
        prop_assert_eq!((log.first(), again.left_over), (first, Vec::new()));
    }
}
