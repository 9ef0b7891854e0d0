//! A replica's data directory: formatting, refusals, lives, the lock.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use standin_core::entry::Index;
use standin_core::identity::{
    BootId, CLEAN_LIVES_MAX, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName,
    StoreId, Token,
};
use standin_core::machine::MachineId;
use standin_core::mark::FatalEntry;
use standin_core::message::{JoinAsked, Kept};
use standin_core::poison::{Poison, Skip};
use standin_core::view::{DataEpoch, ViewId, ViewNumber, ViewRecord};
use standin_io::data_dir::{
    DataDir, DataDirError, DirLock, LockError, MetaError, ReplicaMeta, boot_id,
};

fn name() -> ReplicaName {
    ReplicaName::new("a").unwrap()
}

fn machine() -> MachineId {
    MachineId::new("counter", 1).unwrap()
}

fn try_open(path: &Path) -> Result<(DataDir, bool), DataDirError> {
    DataDir::open(path, &name(), &machine(), StoreId(7))
}

fn open(path: &Path) -> DataDir {
    try_open(path).unwrap().0
}

fn view(number: u64) -> ViewId {
    ViewId {
        data_epoch: DataEpoch(0),
        view: ViewNumber(number),
    }
}

/// The refusal's text, which must be one line that names the directory.
fn refusal(path: &Path) -> (DataDirError, String) {
    let error = try_open(path).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    assert!(text.contains(&path.display().to_string()), "{text}");
    (error, text)
}

#[test]
fn an_absent_directory_is_formatted_once() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data/of/a");
    let (dir, is_fresh) = try_open(&path).unwrap();
    assert!(is_fresh);
    assert_eq!(dir.meta().store, StoreId(7));
    drop(dir);
    let (dir, is_fresh) = DataDir::open(&path, &name(), &machine(), StoreId(8)).unwrap();
    assert!(!is_fresh);
    assert_eq!(dir.meta().store, StoreId(7), "a store keeps its id");
}

#[test]
fn what_was_stored_is_there_after_reopening() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    let mut meta = dir.meta().clone();
    meta.cluster = Some(ClusterId(3));
    meta.adopted = view(9);
    meta.quarantine = Some("ü".repeat(2000));
    dir.store(meta.clone()).unwrap();
    drop(dir);
    meta.quarantine = Some("ü".repeat(512));
    assert_eq!(*open(root.path()).meta(), meta);
}

#[test]
fn each_start_is_another_life() {
    let root = tempfile::tempdir().unwrap();
    let first = open(root.path()).begin_life(BootId(1), 100).unwrap();
    let second = open(root.path()).begin_life(BootId(1), 100).unwrap();
    assert!(
        second
            .life
            .incarnation
            .is_newer_than(first.life.incarnation)
    );
    assert!(!second.satisfies(first.token(Durability::Memory)));
    assert!(second.satisfies(first.token(Durability::Os)));
}

#[test]
fn a_clean_stop_keeps_the_tokens_of_its_life() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    let first = dir.begin_life(BootId(1), 1).unwrap();
    dir.note_clean_stop().unwrap();
    drop(dir);
    let second = open(root.path()).begin_life(BootId(2), 2).unwrap();
    assert!(second.satisfies(first.token(Durability::Memory)));
    assert!(second.satisfies(first.token(Durability::Os)));
    // The mark was for one start: the second life does not end cleanly by it.
    let third = open(root.path()).begin_life(BootId(3), 3).unwrap();
    assert!(!third.satisfies(second.token(Durability::Os)));
    assert!(third.satisfies(first.token(Durability::Os)));
}

#[test]
fn a_power_failure_kills_the_token_of_a_boot_in_which_another_life_stopped_cleanly() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    dir.begin_life(BootId(1), 1).unwrap();
    dir.note_clean_stop().unwrap();
    drop(dir);
    // What the second life acknowledges at level `os` dies with boot 1.
    let second = open(root.path()).begin_life(BootId(1), 2).unwrap();
    let third = open(root.path()).begin_life(BootId(2), 3).unwrap();
    assert!(!third.satisfies(second.token(Durability::Os)));
}

#[test]
fn a_disk_failure_kills_the_tokens_of_its_boot_as_a_reboot_does() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    let first = dir.begin_life(BootId(1), 1).unwrap();
    dir.note_clean_stop().unwrap();
    drop(dir);
    let mut dir = open(root.path());
    let second = dir.begin_life(BootId(1), 2).unwrap();
    assert!(second.satisfies(first.token(Durability::Os)));
    dir.note_disk_failure().unwrap();
    dir.note_clean_stop().unwrap_err();
    drop(dir);

    // In the same boot of the machine.
    let third = open(root.path()).begin_life(BootId(1), 3).unwrap();
    for earlier in [&first, &second] {
        assert!(!third.satisfies(earlier.token(Durability::Os)));
        assert!(!third.satisfies(earlier.token(Durability::Memory)));
        assert!(third.satisfies(earlier.token(Durability::Disk)));
    }
    // What was acknowledged after the failure is held by those that come after it.
    let fourth = open(root.path()).begin_life(BootId(1), 4).unwrap();
    assert!(fourth.satisfies(third.token(Durability::Os)));
    let fifth = open(root.path()).begin_life(BootId(2), 5).unwrap();
    assert!(!fifth.satisfies(third.token(Durability::Os)));
}

#[test]
fn writes_may_be_lost_by_a_reboot_and_by_a_disk_failure_but_not_after_a_clean_stop() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    assert!(!dir.may_have_lost_writes(BootId(1)), "nothing was written");
    dir.begin_life(BootId(1), 1).unwrap();
    drop(dir);
    let mut dir = open(root.path());
    assert!(!dir.may_have_lost_writes(BootId(1)), "killed");
    assert!(dir.may_have_lost_writes(BootId(2)), "rebooted");
    dir.note_disk_failure().unwrap();
    drop(dir);
    let mut dir = open(root.path());
    assert!(dir.may_have_lost_writes(BootId(1)), "failed");
    dir.begin_life(BootId(1), 2).unwrap();
    dir.note_clean_stop().unwrap();
    drop(dir);
    let dir = open(root.path());
    assert!(!dir.may_have_lost_writes(BootId(1)));
    assert!(!dir.may_have_lost_writes(BootId(2)), "stopped cleanly");
}

#[test]
fn a_disk_failure_is_noted_even_if_it_was_the_meta_file_that_failed() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    dir.begin_life(BootId(1), 1).unwrap();
    let beside = root.path().join("meta.new");
    fs::create_dir(&beside).unwrap();
    let mut meta = dir.meta().clone();
    meta.adopted = view(3);
    dir.store(meta).unwrap_err();
    dir.note_disk_failure().unwrap_err();
    fs::remove_dir(&beside).unwrap();
    dir.note_disk_failure().unwrap();
    dir.store(dir.meta().clone()).unwrap_err();
    drop(dir);
    let dir = open(root.path());
    assert_eq!(dir.meta().adopted, view(0), "what failed is not repeated");
    assert!(dir.may_have_lost_writes(BootId(1)));
}

#[test]
fn a_log_whose_making_failed_is_not_missed_when_it_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    let log = root.path().join("log");
    fs::create_dir(&log).unwrap();
    fs::write(log.join("00000000000000000001.log"), "cut short").unwrap();
    dir.note_disk_failure().unwrap();
    drop(dir);
    fs::remove_dir_all(&log).unwrap();
    open(root.path());
}

#[test]
fn no_more_clean_lives_than_the_bound_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let lives = u64::try_from(CLEAN_LIVES_MAX).unwrap() + 3;
    let mut last = None;
    for nonce in 0..lives {
        let mut dir = open(root.path());
        last = Some(dir.begin_life(BootId(u128::from(nonce)), nonce).unwrap());
        dir.note_clean_stop().unwrap();
    }
    let identity = open(root.path()).begin_life(BootId(99), 99).unwrap();
    assert_eq!(identity.clean_lives.len(), CLEAN_LIVES_MAX);
    assert_eq!(identity.clean_lives.last(), Some(&last.unwrap().life));
}

#[test]
fn another_name_and_another_machine_are_refused() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    let other = ReplicaName::new("b").unwrap();
    let error = DataDir::open(root.path(), &other, &machine(), StoreId(1)).unwrap_err();
    assert!(matches!(error, DataDirError::OtherName { .. }), "{error}");
    let other = MachineId::new("kv", 1).unwrap();
    let error = DataDir::open(root.path(), &name(), &other, StoreId(1)).unwrap_err();
    assert!(
        matches!(error, DataDirError::OtherMachine { .. }),
        "{error}"
    );
}

#[test]
fn a_program_older_than_the_version_that_is_executed_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    assert_eq!(dir.meta().machine.version(), 0, "none is known to be");
    let mut meta = dir.meta().clone();
    meta.machine = machine().with_version(2);
    dir.store(meta).unwrap();
    drop(dir);
    let open = |version| {
        let program = machine().with_version(version);
        DataDir::open(root.path(), &name(), &program, StoreId(1))
    };
    let error = open(1).unwrap_err();
    assert!(
        matches!(error, DataDirError::NewerMachine { newest: 1, .. }),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        format!(
            "cannot use data directory {}: counter version 2 was executed in it, and this program supports no version \
             above 1; start a program that supports version 2, or set the directory aside and start with an empty --data \
             and --replace",
            root.path().display()
        )
    );
    assert!(open(2).is_ok());
    assert!(
        open(3).is_ok(),
        "whether it supports 2 as well its log says"
    );
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("thesis.txt"), "text").unwrap();
    let (error, text) = refusal(root.path());
    assert!(matches!(error, DataDirError::NotOurs { .. }), "{text}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_that_lost_its_meta_file_is_not_formatted_anew() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    fs::create_dir(root.path().join("log")).unwrap();
    fs::remove_file(root.path().join("meta")).unwrap();
    let (error, text) = refusal(root.path());
    assert!(matches!(error, DataDirError::NotOurs { .. }), "{text}");
}

#[test]
fn an_interrupted_formatting_is_begun_again() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("lock"), "").unwrap();
    fs::write(root.path().join("meta.new"), "STANM").unwrap();
    assert!(try_open(root.path()).unwrap().1);
}

#[test]
fn a_directory_that_lost_its_log_does_not_pass_for_a_new_one() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    let log = root.path().join("log");
    fs::create_dir(&log).unwrap();
    fs::write(log.join("00000000000000000001.log"), "").unwrap();
    let mut meta = dir.meta().clone();
    meta.adopted = view(4);
    dir.store(meta).unwrap();
    drop(dir);
    drop(open(root.path()));
    fs::remove_dir_all(&log).unwrap();
    let (error, text) = refusal(root.path());
    assert!(matches!(error, DataDirError::LogLost { .. }), "{text}");
    assert!(text.contains("view 4"), "{text}");
}

#[test]
fn a_directory_with_snapshots_and_without_a_log_has_lost_it() {
    for suffix in ["snap", "placed"] {
        let root = tempfile::tempdir().unwrap();
        let dir = open(root.path());
        dir.check_log().unwrap();
        fs::create_dir(root.path().join("snapshots")).unwrap();
        let file = format!("snapshots/00000000000000000009.{suffix}");
        fs::write(root.path().join(file), "").unwrap();
        let error = dir.check_log().unwrap_err();
        assert!(matches!(error, DataDirError::LogLost { .. }), "{error}");
    }
}

#[test]
fn a_damaged_meta_file_is_refused_whatever_the_damage() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    dir.begin_life(BootId(1), 2).unwrap();
    drop(dir);
    let file = root.path().join("meta");
    let good = fs::read(&file).unwrap();
    for bit in 0..good.len() * 8 {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &damaged).unwrap();
        let (error, text) = refusal(root.path());
        assert!(
            matches!(error, DataDirError::BadMeta { .. }),
            "bit {bit}: {text}"
        );
    }
    for length in 0..good.len() {
        fs::write(&file, &good[..length]).unwrap();
        let (error, text) = refusal(root.path());
        assert!(
            matches!(error, DataDirError::BadMeta { .. }),
            "{length} bytes: {text}"
        );
    }
    let mut newer = good.clone();
    newer[8] = 7;
    fs::write(&file, &newer).unwrap();
    let (error, text) = refusal(root.path());
    let is_version = matches!(
        error,
        DataDirError::BadMeta {
            source: MetaError::Version(7),
            ..
        }
    );
    assert!(is_version, "{text}");
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    refusal(root.path());
    fs::write(&file, &good).unwrap();
    open(root.path());
}

#[test]
fn a_failed_write_of_the_meta_file_is_final() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    // A directory where the new file would be written makes writing it fail, also for root.
    let beside = root.path().join("meta.new");
    fs::create_dir(&beside).unwrap();
    let before = dir.meta().clone();
    dir.begin_life(BootId(1), 1).unwrap_err();
    assert_eq!(*dir.meta(), before, "what is not on disk is not claimed");
    fs::remove_dir(&beside).unwrap();
    dir.begin_life(BootId(1), 1).unwrap_err();
    drop(dir);
    let identity = open(root.path()).begin_life(BootId(1), 1).unwrap();
    assert_eq!(identity.life.incarnation.start, 1);
}

#[test]
fn a_directory_in_use_is_refused_within_the_process() {
    let root = tempfile::tempdir().unwrap();
    let held = open(root.path());
    let (error, text) = refusal(root.path());
    assert!(matches!(error, DataDirError::Held { .. }), "{text}");
    let pid = std::process::id().to_string();
    assert!(text.contains(&pid), "{text}");
    drop(held);
    open(root.path());
}

const HOLD: &str = "STANDIN_TEST_HOLD_DIR";

/// Not a test of its own: the other process of the next one.
#[test]
fn hold_a_directory_if_asked_to() {
    if let Ok(path) = std::env::var(HOLD) {
        let _held = open(Path::new(&path));
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(b"held\n").unwrap();
        stdout.flush().unwrap();
        // Until the parent closes its end, or kills.
        let _ = std::io::stdin().read(&mut [0]);
    }
}

#[test]
fn a_directory_in_use_by_another_process_is_refused_until_that_process_is_dead() {
    let root = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "data_dir::hold_a_directory_if_asked_to",
            "--nocapture",
        ])
        .env(HOLD, root.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line.contains("held")));
    let (error, text) = refusal(root.path());
    assert!(matches!(error, DataDirError::Held { .. }), "{text}");
    assert!(text.contains(&other.id().to_string()), "{text}");
    // As a pulled plug does: the kernel lets the lock go.
    other.kill().unwrap();
    other.wait().unwrap();
    open(root.path());
}

#[test]
fn a_bare_lock_excludes_and_is_let_go() {
    let root = tempfile::tempdir().unwrap();
    let held = DirLock::take(root.path()).unwrap();
    let refused = DirLock::take(root.path()).unwrap_err();
    assert!(
        matches!(refused, LockError::Held { pid: Some(_) }),
        "{refused}"
    );
    drop(held);
    DirLock::take(root.path()).unwrap();
}

#[test]
fn the_boot_id_stays_the_same() {
    assert_eq!(boot_id().unwrap(), boot_id().unwrap());
}

/// What stands in the golden files, as the first version wrote it.
fn golden_meta() -> ReplicaMeta {
    let life = |start| Life {
        boot: BootId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        incarnation: Incarnation {
            start,
            nonce: 0x1112_1314_1516_1718,
        },
    };
    ReplicaMeta {
        cluster: Some(ClusterId(0x2122_2324_2526_2728_292a_2b2c_2d2e_2f30)),
        starts: 300,
        adopted: view(70_000),
        life: Some(life(300)),
        clean_lives: vec![life(298), life(299)],
        clean_stop: Some(life(300)),
        quarantine: Some("entry 9 killed the machine twice".to_owned()),
        has_log: true,
        // What it was a holder of was not written down: its disk may be all that counts.
        holds: Some(Token::Disk { store: StoreId(7) }),
        ..ReplicaMeta::fresh(&name(), StoreId(7), &machine())
    }
}

fn golden(version: u32) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    root.join(format!("v{version}/meta"))
}

#[test]
fn the_meta_files_of_earlier_versions_are_read() {
    let stored = fs::read(golden(1)).unwrap();
    assert_eq!(ReplicaMeta::decode(&stored), Ok(golden_meta()));
    let stored = fs::read(golden(2)).unwrap();
    let meta = ReplicaMeta {
        disk_failures: 200,
        ..golden_meta()
    };
    assert_eq!(ReplicaMeta::decode(&stored), Ok(meta));
    let stored = fs::read(golden(3)).unwrap();
    assert_eq!(ReplicaMeta::decode(&stored), Ok(golden_meta_of_version_3()));
    let stored = fs::read(golden(4)).unwrap();
    assert_eq!(ReplicaMeta::decode(&stored), Ok(golden_meta_of_version_4()));
    let stored = fs::read(golden(5)).unwrap();
    assert_eq!(ReplicaMeta::decode(&stored), Ok(golden_meta_of_version_5()));
}

fn golden_meta_of_version_3() -> ReplicaMeta {
    ReplicaMeta {
        disk_failures: 200,
        holds: Some(Token::Os {
            store: StoreId(7),
            boot: BootId(0x3132_3334_3536_3738_393a_3b3c_3d3e_3f40),
        }),
        ..golden_meta()
    }
}

fn golden_meta_of_version_4() -> ReplicaMeta {
    ReplicaMeta {
        poison: Some(Poison {
            skip: Skip {
                index: Index(80_000),
                view: ViewNumber(70_000),
            },
            life: Incarnation {
                start: 299,
                nonce: 0x4142_4344_4546_4748,
            },
            words: "it panicked: too many".to_owned(),
        }),
        ..golden_meta_of_version_3()
    }
}

fn golden_meta_of_version_5() -> ReplicaMeta {
    let mut meta = golden_meta_of_version_4();
    let first = Identity {
        name: name(),
        store: StoreId(7),
        life: Life {
            boot: BootId(0x5152),
            incarnation: Incarnation {
                start: 299,
                nonce: 5,
            },
        },
        clean_lives: Vec::new(),
    };
    let bootstrap = ViewRecord::bootstrap(ClusterId(0x6162), &first, 1000);
    let record = ViewRecord {
        data_epoch: meta.adopted.data_epoch,
        view: meta.adopted.view,
        ..bootstrap
    };
    meta.kept = Some(Kept {
        record,
        joins: vec![JoinAsked {
            name: name(),
            store: StoreId(9),
        }],
    });
    meta
}

/// Held still like `core`'s formats: see `core/tests/golden.rs`.
#[test]
fn the_meta_file_is_as_it_was() {
    let mut meta = golden_meta_of_version_5();
    meta.fatal = Some(FatalEntry {
        entry: Skip {
            index: Index(80_001),
            view: ViewNumber(70_000),
        },
        since: 298,
        deaths: 2,
    });
    let path = golden(6);
    if std::env::var("STANDIN_REGENERATE_GOLDEN").is_ok_and(|value| value == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, meta.encode()).unwrap();
    }
    let stored = fs::read(&path).unwrap();
    assert_eq!(stored, meta.encode());
    assert_eq!(ReplicaMeta::decode(&stored), Ok(meta));
}

#[test]
fn whether_a_replica_may_be_a_holder_rests_on_the_token_that_it_was_named_with() {
    let root = tempfile::tempdir().unwrap();
    let (mut dir, _) = DataDir::open(root.path(), &name(), &machine(), StoreId(7)).unwrap();
    let first = dir.begin_life(BootId(1), 1).unwrap();
    assert!(!dir.may_be_holder(BootId(1)), "it was never named");
    let named = |dir: &mut DataDir, durability| {
        let mut meta = dir.meta().clone();
        meta.holds = Some(first.token(durability));
        dir.store(meta).unwrap();
    };
    named(&mut dir, Durability::Disk);
    assert!(dir.may_be_holder(BootId(2)), "a disk does not forget");
    named(&mut dir, Durability::Os);
    assert!(dir.may_be_holder(BootId(1)), "only the process died");
    assert!(!dir.may_be_holder(BootId(2)), "the page cache is gone");
    named(&mut dir, Durability::Memory);
    assert!(!dir.may_be_holder(BootId(1)), "the process died");
    dir.note_clean_stop().unwrap();
    assert!(dir.may_be_holder(BootId(2)), "nothing was lost");
}

/// The names in a directory, in order.
fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A directory with files of a log and of snapshots.
fn with_files(root: &Path) -> DataDir {
    let mut dir = open(root);
    for folder in ["log", "snapshots"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in [
        "log/00000000000000000001.log",
        "log/00000000000000000009.log",
        "snapshots/00000000000000000009.snap",
        "snapshots/00000000000000000008.placed",
        "snapshots/00000000000000000007.bad",
    ] {
        fs::write(root.join(file), file).unwrap();
    }
    let mut meta = dir.meta().clone();
    meta.cluster = Some(ClusterId(3));
    meta.adopted = view(9);
    meta.holds = Some(Token::Disk { store: StoreId(7) });
    dir.store(meta).unwrap();
    dir.begin_life(BootId(1), 5).unwrap();
    dir.note_clean_stop().unwrap();
    dir
}

#[test]
fn what_is_set_aside_stays_for_people_and_no_token_of_its_store_lives_on() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = with_files(root.path());
    assert!(dir.meta().has_log && !dir.has_set_aside().unwrap());
    dir.set_aside(StoreId(8)).unwrap();
    let tag = format!("0000000001-{:032x}.aside", 7);
    assert_eq!(
        names(&root.path().join("log")),
        [
            format!("00000000000000000001.log.{tag}"),
            format!("00000000000000000009.log.{tag}")
        ]
    );
    assert_eq!(
        names(&root.path().join("snapshots")),
        [
            "00000000000000000007.bad".to_owned(),
            format!("00000000000000000008.placed.{tag}"),
            format!("00000000000000000009.snap.{tag}"),
        ]
    );
    drop(dir);
    let (mut dir, is_fresh) = DataDir::open(root.path(), &name(), &machine(), StoreId(9)).unwrap();
    assert!(!is_fresh && dir.has_set_aside().unwrap());
    let meta = dir.meta();
    assert_eq!((meta.store, meta.adopted), (StoreId(8), view(9)));
    assert_eq!((meta.has_log, meta.holds), (false, None));
    assert!(!dir.may_be_holder(BootId(1)));
    let identity = dir.begin_life(BootId(1), 6).unwrap();
    assert!(identity.clean_lives.is_empty());
    let old = [
        Token::Disk { store: StoreId(7) },
        Token::Os {
            store: StoreId(7),
            boot: BootId(1),
        },
    ];
    assert!(old.iter().all(|token| !identity.satisfies(*token)));
}

#[test]
fn what_a_crash_left_of_setting_aside_is_gone_on_with() {
    let files = [
        ("log", "00000000000000000001.log"),
        ("log", "00000000000000000009.log"),
        ("snapshots", "00000000000000000009.snap"),
    ];
    // Any of them may have its new name already, if names do not reach the disk in order.
    for done in 0_usize..8 {
        let root = tempfile::tempdir().unwrap();
        drop(with_files(root.path()));
        for (number, (folder, file)) in files.iter().enumerate() {
            if done >> number & 1 == 1 {
                let path = root.path().join(folder).join(file);
                let tag = format!("0000000001-{:032x}.aside", 7);
                fs::rename(&path, path.with_file_name(format!("{file}.{tag}"))).unwrap();
            }
        }
        let (dir, _) = DataDir::open(root.path(), &name(), &machine(), StoreId(9)).unwrap();
        let wanted = if done == 0 { StoreId(7) } else { StoreId(9) };
        assert_eq!(dir.meta().store, wanted, "{done}");
        let logs = names(&root.path().join("log"));
        let is_left = logs.iter().any(|name| name.ends_with(".log"));
        assert_eq!(is_left, done == 0, "{logs:?}");
    }
}

#[test]
fn the_stores_that_were_set_aside_last_are_kept_also_one_that_had_lost_its_log() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = with_files(root.path());
    for store in 8..12 {
        dir.set_aside(StoreId(store)).unwrap();
        dir.begin_life(BootId(1), 5).unwrap();
        assert!(dir.has_set_aside().unwrap());
    }
    let kept = names(&root.path().join("log"));
    let tags = [
        format!("nothing.0000000003-{:032x}.aside", 9),
        format!("nothing.0000000004-{:032x}.aside", 10),
    ];
    assert_eq!(kept, tags);
}

#[test]
fn a_process_that_only_repairs_is_counted_and_changes_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    dir.begin_life(BootId(1), 5).unwrap();
    let before = dir.meta().clone();
    let identity = dir.begin_repair(BootId(2), 6).unwrap();
    let mut after = dir.meta().clone();
    assert_eq!(after.starts, before.starts + 1);
    after.starts = before.starts;
    assert_eq!(after, before);
    assert!(dir.may_have_lost_writes(BootId(2)), "still");
    let life = identity.life.incarnation;
    assert!(life.is_newer_than(before.life.unwrap().incarnation));
    assert!(identity.clean_lives.is_empty());
}

#[test]
fn a_death_is_counted_in_the_step_that_counts_the_start() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = open(root.path());
    let first = dir.begin_life(BootId(1), 1).unwrap();
    let fatal = FatalEntry {
        entry: Skip {
            index: Index(9),
            view: ViewNumber(1),
        },
        since: first.life.incarnation.start,
        deaths: 1,
    };
    drop(dir);
    let mut dir = open(root.path());
    dir.begin_life_after(BootId(1), 2, Some(fatal)).unwrap();
    drop(dir);
    let mut dir = open(root.path());
    assert_eq!((dir.meta().fatal, dir.meta().starts), (Some(fatal), 2));
    // A start that finds nothing keeps nothing; one that only repairs changes nothing.
    dir.begin_repair(BootId(1), 3).unwrap();
    assert_eq!(dir.meta().fatal, Some(fatal));
    dir.begin_life(BootId(1), 4).unwrap();
    assert_eq!(dir.meta().fatal, None);
    // What cannot be true is not read.
    let mut meta = dir.meta().clone();
    let since = meta.starts;
    meta.fatal = Some(FatalEntry { since, ..fatal });
    assert!(ReplicaMeta::decode(&meta.encode()).is_err());
}
