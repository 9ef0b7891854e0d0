//! The view service's data directory: what a crash, damage or a mistake may leave in it.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests of a shell")]

use std::fs;
use std::path::Path;

use standin_core::entry::Index;
use standin_core::identity::{
    BootId, ClusterId, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{REPLICAS_MAX, TokenDead};
use standin_core::poison::{SKIPS_MAX, Skip};
use standin_core::time::{Duration, Instant};
use standin_core::view::{Member, Reason, ViewNumber, ViewRecord};
use standin_viewservice::store::{FileStore, StoreError};
use standin_viewservice::{
    History, LeaseTerm, Registered, STATE_FORMAT_VERSION, StateError, StoredState, Tenure,
    ViewService,
};

const GOLDEN: &[u8] = include_bytes!("golden/v5/state");
const GOLDEN_V4: &[u8] = include_bytes!("golden/v4/state");
const GOLDEN_V3: &[u8] = include_bytes!("golden/v3/state");
const GOLDEN_V2: &[u8] = include_bytes!("golden/v2/state");
const GOLDEN_V1: &[u8] = include_bytes!("golden/v1/state");

fn sample() -> StoredState {
    let name = ReplicaName::new("a").unwrap();
    let first = Identity {
        name: name.clone(),
        store: StoreId(0x5706e),
        life: Life {
            boot: BootId(7),
            incarnation: Incarnation {
                start: 3,
                nonce: 0xabcd,
            },
        },
        clean_lives: Vec::new(),
    };
    let mut record = ViewRecord::bootstrap(ClusterId(0xc1), &first, 1000).activate(&first);
    record.skips.push(Skip {
        index: Index(4),
        view: ViewNumber(1),
    });
    StoredState {
        cluster: ClusterId(0xc1),
        record: Some(record),
        replicas: vec![
            Registered {
                name,
                store: first.store,
            },
            Registered {
                name: ReplicaName::new("b").unwrap(),
                store: StoreId(2),
            },
        ],
        term_max_ms: 2500,
        dead_tokens: vec![TokenDead {
            store: StoreId(2),
            boot: BootId(9),
        }],
        served: Some(Member::of(&first)),
        poison: Some(Skip {
            index: Index(9),
            view: ViewNumber(1),
        }),
        tenures: vec![Tenure {
            from: ViewNumber(1),
            store: first.store,
            first: 3,
            last: 3,
        }],
    }
}

/// The same after its record was lost: since version 4.
fn rebuilt() -> StoredState {
    let mut state = sample();
    if let Some(record) = &mut state.record {
        (record.active, record.reason) = (false, Reason::Rebuilt);
    }
    state
}

fn open(dir: &Path) -> Result<FileStore, StoreError> {
    FileStore::open(dir, ClusterId(0xc1))
}

/// A directory that holds the sample.
fn stored() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().store(&sample()).unwrap();
    dir
}

#[test]
fn files_of_every_version_are_read_for_ever() {
    // Who served is known from an active record.
    let mut second = StoredState {
        poison: None,
        ..sample()
    };
    second.record.as_mut().unwrap().skips.clear();
    let first = StoredState {
        dead_tokens: Vec::new(),
        ..second.clone()
    };
    assert_eq!(StoredState::decode(GOLDEN_V1), Ok(first));
    assert_eq!(StoredState::decode(GOLDEN_V2), Ok(second));
    if std::env::var("STANDIN_REGENERATE_GOLDEN").is_ok_and(|value| value == "1") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v5/state");
        fs::write(path, rebuilt().encode()).unwrap();
    }
    let untold = |state| StoredState {
        tenures: Vec::new(),
        ..state
    };
    assert_eq!(StoredState::decode(GOLDEN_V3), Ok(untold(sample())));
    assert_eq!(StoredState::decode(GOLDEN_V4), Ok(untold(rebuilt())));
    assert_eq!(StoredState::decode(GOLDEN), Ok(rebuilt()));
    assert_eq!(rebuilt().encode(), GOLDEN, "the format changed");
}

#[test]
fn a_new_directory_is_formatted_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/there/yet");
    let store = open(&path).unwrap();
    assert_eq!(store.state(), &StoredState::new(ClusterId(0xc1)));
    drop(store);
    let again = FileStore::open(&path, ClusterId(99)).unwrap();
    assert_eq!(
        again.state().cluster,
        ClusterId(0xc1),
        "not formatted again"
    );
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let dir = stored();
    assert_eq!(open(dir.path()).unwrap().state(), &sample());
}

#[test]
fn two_processes_never_share_a_directory() {
    let dir = stored();
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn damage_anywhere_is_an_error_and_never_a_fresh_start() {
    let dir = stored();
    let file = dir.path().join("state");
    let good = fs::read(&file).unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(StoredState::decode(&bad).is_err(), "bit {bit} of byte {at}");
        }
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&file, &bad).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
    for length in 0..good.len() {
        fs::write(&file, &good[..length]).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
    let mut long = good.clone();
    long.push(0);
    assert_eq!(StoredState::decode(&long), Err(StateError::Length));
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    assert!(open(dir.path()).is_err());
    fs::write(&file, &good).unwrap();
    assert_eq!(open(dir.path()).unwrap().state(), &sample());
}

#[test]
fn a_newer_format_is_named() {
    let mut newer = sample().encode();
    newer[8] = 6;
    assert_eq!(StoredState::decode(&newer), Err(StateError::Version(6)));
    assert_eq!(
        StateError::Version(6).to_string(),
        "its format 6 is unknown; this version reads formats 1 to 5"
    );
}

#[test]
fn impossible_states_are_refused_though_their_checksum_is_good() {
    let mut twice = sample();
    twice.replicas[1].store = twice.replicas[0].store;
    let mut unsorted = sample();
    unsorted.replicas.swap(0, 1);
    let mut other_cluster = sample();
    other_cluster.cluster = ClusterId(2);
    let mut term = sample();
    term.term_max_ms = 999;
    let mut dead = sample();
    dead.dead_tokens = vec![dead.dead_tokens[0]; REPLICAS_MAX + 3];
    let mut skips = sample();
    let record = skips.record.as_mut().unwrap();
    record.skips = vec![record.skips[0]; SKIPS_MAX + 1];
    for state in [twice, unsorted, other_cluster, term, dead, skips] {
        assert_eq!(
            StoredState::decode(&unchecked(&state)),
            Err(StateError::Field),
            "{state:?}"
        );
        let is_written = std::panic::catch_unwind(|| state.encode()).is_ok();
        assert!(!is_written, "{state:?}");
    }
    assert_eq!(StoredState::decode(&unchecked(&sample())), Ok(sample()));
}

/// The file of a state that is not looked at first.
fn unchecked(state: &StoredState) -> Vec<u8> {
    let mut payload = Vec::new();
    standin_core::message::encode_payload(state, &mut payload);
    let mut file = b"STANDVSV".to_vec();
    file.extend_from_slice(&STATE_FORMAT_VERSION.to_le_bytes());
    file.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file);
    hasher.update(&payload);
    file.extend_from_slice(&hasher.finalize().to_le_bytes());
    file.extend_from_slice(&payload);
    file
}

#[test]
fn a_lost_state_file_is_never_taken_for_a_new_directory() {
    let dir = stored();
    fs::remove_file(dir.path().join("state")).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }), "{error}");
}

#[test]
fn a_directory_that_waits_is_formatted_by_what_is_stored_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = FileStore::open_unformatted(dir.path()).unwrap();
    assert!(!store.is_formatted());
    let names = |dir: &Path| fs::read_dir(dir).unwrap().count();
    assert_eq!(names(dir.path()), 1, "the lock alone");
    drop(store);
    store = FileStore::open_unformatted(dir.path()).unwrap();
    store.store(&rebuilt()).unwrap();
    assert!(store.is_formatted());
    drop(store);
    assert_eq!(open(dir.path()).unwrap().state(), &rebuilt());
    let again = FileStore::open_unformatted(dir.path()).unwrap();
    assert_eq!((again.is_formatted(), again.state()), (true, &rebuilt()));
    drop(again);
    // It died before the mark was written; and what was lost is not taken for what waits.
    fs::remove_file(dir.path().join("cluster")).unwrap();
    drop(FileStore::open_unformatted(dir.path()).unwrap());
    fs::remove_file(dir.path().join("state")).unwrap();
    let error = FileStore::open_unformatted(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }), "{error}");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("meta"), b"a replica's").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("holds meta"), "{error}");
    assert!(!dir.path().join("state").exists());
}

#[test]
fn a_crash_at_any_point_of_formatting_or_writing_is_survived() {
    // While the first state was written beside.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lock"), b"").unwrap();
    fs::write(dir.path().join("state.new"), b"half").unwrap();
    assert_eq!(open(dir.path()).unwrap().state().record, None);
    // Between the first state and the mark.
    let dir = stored();
    fs::remove_file(dir.path().join("cluster")).unwrap();
    assert_eq!(open(dir.path()).unwrap().state(), &sample());
    let mark = fs::read_to_string(dir.path().join("cluster")).unwrap();
    assert_eq!(mark, format!("{}\n", ClusterId(0xc1)));
    // While a later state was written beside.
    fs::write(dir.path().join("state.new"), &sample().encode()[..30]).unwrap();
    assert_eq!(open(dir.path()).unwrap().state(), &sample());
}

#[test]
fn a_failed_write_is_final() {
    let dir = stored();
    let path = dir.path().join("inner");
    let mut store = open(&path).unwrap();
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    let error = store.store(&sample()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    fs::rename(&aside, &path).unwrap();
    let error = store.store(&sample()).unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
}

#[test]
fn a_view_that_falls_is_never_written() {
    let dir = stored();
    let mut store = open(dir.path()).unwrap();
    let mut lower = sample();
    lower.record = None;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.store(&lower)));
    assert!(outcome.is_err());
    drop(store);
    assert_eq!(open(dir.path()).unwrap().state(), &sample());
}

fn history_of(state: &StoredState) -> History {
    let term = LeaseTerm::new(Duration::from_millis(1000)).unwrap();
    let service = ViewService::new(state.clone(), term, Instant::ZERO);
    let service = service.with_history(History::default(), None);
    service.history().clone()
}

#[test]
fn a_history_of_every_version_is_read_for_ever() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1/history");
    let now = history_of(&sample());
    if std::env::var("STANDIN_REGENERATE_GOLDEN").is_ok_and(|value| value == "1") {
        fs::write(path, now.encode()).unwrap();
    }
    let golden = fs::read(path).unwrap();
    assert_eq!(History::decode(&golden).as_ref(), Ok(&now));
    assert_eq!(now.encode(), golden, "the format changed");
}

#[test]
fn whatever_is_wrong_with_the_history_the_record_is_served_and_it_is_said() {
    let dir = stored();
    let file = dir.path().join("history");
    let look = || {
        let store = open(dir.path()).unwrap();
        assert_eq!(store.state(), &sample());
        store.history()
    };
    let (history, remark) = look();
    assert_eq!(history, History::default());
    assert!(remark.unwrap().contains("history is not there"));

    let kept = history_of(&sample());
    open(dir.path()).unwrap().keep_history(&kept).unwrap();
    assert_eq!(look(), (kept.clone(), None));

    let good = fs::read(&file).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(History::decode(&bad).is_err(), "byte {at}");
        assert!(History::decode(&good[..at]).is_err(), "cut at {at}");
    }
    for bad in [&good[..good.len() - 1], b"", b"STANDHIS and nothing"] {
        fs::write(&file, bad).unwrap();
        let (history, remark) = look();
        assert_eq!(history, History::default());
        assert!(remark.unwrap().contains("history is bad"));
    }
    // It cannot even be read or written; the state still can.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let (history, remark) = look();
    assert_eq!(history, History::default());
    assert!(remark.unwrap().contains("history cannot be read"));
    let mut store = open(dir.path()).unwrap();
    assert!(store.keep_history(&kept).is_err());
    store.store(&sample()).unwrap();
}

#[test]
fn a_history_that_knows_more_than_the_record_is_another_ones() {
    let dir = stored();
    let mut later = sample();
    let record = later.record.as_mut().unwrap();
    record.view = record.view.next();
    let mut store = open(dir.path()).unwrap();
    store.keep_history(&history_of(&later)).unwrap();
    let (history, remark) = store.history();
    assert_eq!(history, History::default());
    assert!(remark.unwrap().contains("later views than there were"));
}
