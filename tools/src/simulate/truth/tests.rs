use standin_core::entry::{Batch, BatchBuilder, BatchStamp};
use standin_core::identity::{BootId, ClusterId, Durability, Incarnation, Life, ReplicaName};
use standin_core::message::encode_payload;
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;

use super::*;

fn identity(store: u128) -> Identity {
    Identity {
        name: ReplicaName::new("a").expect("a name"),
        store: StoreId(store),
        life: Life {
            boot: BootId(1),
            incarnation: Incarnation { start: 1, nonce: 1 },
        },
        clean_lives: Vec::new(),
    }
}

fn start(truth: &mut Truth, store: u128) {
    truth.note(&Fact::Started {
        host: 0,
        identity: &identity(store),
        adopted: ViewId::default(),
        snapshot: None,
        base: LogTip::default(),
        log: &[],
    });
}

#[test]
fn a_damaged_copy_is_excused_until_another_store_has_taken_its_place() {
    let mut truth = Truth::new(1);
    let store = Some(StoreId(7));
    truth.note(&Fact::Restored { host: 0, store });
    truth.note(&Fact::DamagedSetAside {
        host: 0,
        view: ViewId::default(),
        store: StoreId(7),
    });
    let is_excused = |truth: &Truth| truth.replicas[0].is_tampered();
    assert!(is_excused(&truth), "its disk may fail in the midst of it");
    let mut failed = truth;
    start(&mut failed, 7);
    assert!(is_excused(&failed), "nothing was set aside");
    failed.note(&Fact::DamagedSetAside {
        host: 0,
        view: ViewId::default(),
        store: StoreId(7),
    });
    start(&mut failed, 8);
    assert!(!is_excused(&failed), "a store of its own");
}

#[test]
fn a_forced_takeover_is_forgotten_only_if_no_disk_knows_of_it() {
    let identity = identity(7);
    let first = ViewRecord::bootstrap(ClusterId(1), &identity, 500).activate(&identity);
    let forced = first.force(&identity);
    let rebuilt = ViewRecord {
        view: ViewNumber(1_000_000_000),
        ..first.clone()
    };
    let mut truth = Truth::new(2);
    assert!(!truth.has_forgotten_force(&rebuilt), "there was none");
    truth.accept_loss(&forced);
    let view = forced.id();
    truth.note(&Fact::Adopted { host: 1, view });
    assert!(
        !truth.has_forgotten_force(&rebuilt),
        "it is down, and knows"
    );
    truth.note(&Fact::Wiped { host: 1 });
    assert!(truth.has_forgotten_force(&rebuilt));
    assert!(!truth.has_forgotten_force(&forced), "of its own data epoch");
}

/// The ViewStart of a data epoch, as a log's first entry.
fn view_start(data_epoch: DataEpoch) -> Batch {
    let start = ViewStart {
        data_epoch,
        primary: ReplicaName::new("a").expect("a name"),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: 1000,
        sessions_max: 10,
        replies_bytes_max: 1000,
        session_idle_min_ms: 10,
        skips: Vec::new(),
        machine_version: Some(1),
    };
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(0),
        seed: 1,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
    builder.finish().expect("one entry")
}

#[test]
fn who_has_adopted_a_new_data_epoch_is_of_the_old_one_until_its_log_is_another() {
    let identity = identity(7);
    let first = ViewRecord::bootstrap(ClusterId(1), &identity, 500).activate(&identity);
    let mut truth = Truth::new(1);
    let append = |truth: &mut Truth, batch: &Batch| {
        truth.note(&Fact::Appended {
            host: 0,
            batch,
            is_primary: true,
        });
    };
    truth.record = Some(first.clone());
    assert!(truth.is_of_data_epoch(0), "there is one data epoch only");
    append(&mut truth, &view_start(DataEpoch(0)));
    let forced = first.force(&identity);
    let view = forced.id();
    truth.record = Some(forced);
    assert!(!truth.is_of_data_epoch(0));
    truth.note(&Fact::Adopted { host: 0, view });
    assert!(!truth.is_of_data_epoch(0), "its log is that of before");
    truth.replicas[0].log.clear();
    append(&mut truth, &view_start(DataEpoch(1)));
    assert!(truth.is_of_data_epoch(0));
}
