//! A follower whose program lacks a version of the machine stops right before the entry from which on it is executed.

use std::slice;

use standin_backup::{Action, Backup, Config, Event};
use standin_core::conn::ConnId;
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, EntryKind, Index, LogTip, Upgrade, ViewStart,
};
use standin_core::identity::{
    BootId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{Entries, Resume, Room, encode_payload};
use standin_core::poison::Skip;
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::version::VersionRange;
use standin_core::view::{DataEpoch, ViewId, ViewNumber};

const PRIMARY: ConnId = ConnId(1);
const VIEW: ViewId = ViewId {
    data_epoch: DataEpoch(0),
    view: ViewNumber(1),
};

/// A ViewStart, a command, an Upgrade to version 2, a command.
fn batch(begins_with: u32) -> Batch {
    let stamp = BatchStamp {
        view: VIEW.view,
        time: WallTime(1),
        seed: 1,
        commit: Index::ZERO,
    };
    let name = ReplicaName::new("a").expect("a good name");
    let start = ViewStart {
        data_epoch: DataEpoch(0),
        primary: name,
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: 1000,
        sessions_max: 10,
        replies_bytes_max: 1000,
        session_idle_min_ms: 0,
        skips: Vec::new(),
        machine_version: Some(begins_with),
    };
    let upgrade = Upgrade { version: 2 };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
    builder.push(EntryKind::Direct, |out| out.push(1));
    builder.push(EntryKind::Upgrade, |out| encode_payload(&upgrade, out));
    builder.push(EntryKind::Direct, |out| out.push(2));
    builder.finish().expect("some entries")
}

struct Bench {
    backup: Backup,
    now: Now,
}

impl Bench {
    /// A follower without a log, to which entries flow.
    fn new(versions: VersionRange, skips: &[Skip]) -> Self {
        let now = Now {
            boot: Instant::from_nanos(1),
            wall: WallTime(1),
        };
        let config = Config {
            identity: Identity {
                name: ReplicaName::new("b").expect("a good name"),
                store: StoreId(2),
                life: Life {
                    boot: BootId(7),
                    incarnation: Incarnation { start: 1, nonce: 1 },
                },
                clean_lives: Vec::new(),
            },
            view: VIEW,
            primary: Some("primary".to_owned()),
            base: LogTip::default(),
            tip: LogTip::default(),
            view_starts: Vec::new(),
            versions,
            is_log_outdated: false,
            written: Index::ZERO,
            synced: Index::ZERO,
            commit: Index::ZERO,
            applied: Index::ZERO,
            reply_digest: 0,
            piece_bytes: 1,
            room: Room::Enough,
            state_digest: None,
        };
        let backup = Backup::new(config, now.boot);
        let mut bench = Self { backup, now };
        bench.event(Event::Deadline);
        bench.connect(skips);
        bench
    }

    fn connect(&mut self, skips: &[Skip]) {
        let follows = self.event(Event::Connected(PRIMARY));
        let [Action::Follow(PRIMARY, follow)] = follows.as_slice() else {
            panic!("{follows:?}");
        };
        let last = self.backup.tip();
        assert_eq!(follow.last, last);
        let resume = Resume {
            view: VIEW,
            nonce: 9,
            common: last,
            durability: Durability::Os,
            silence_ms: 500,
            skips: skips.to_vec(),
            resp: None,
        };
        self.event(Event::Resume(PRIMARY, &resume));
    }

    fn event(&mut self, event: Event<'_>) -> Vec<Action> {
        self.backup.handle(self.now, event);
        std::iter::from_fn(|| self.backup.next_action()).collect()
    }

    fn entries(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.event(Event::Entries(
            PRIMARY,
            &Entries {
                nonce: 9,
                view: VIEW,
                round: 1,
                commit: Index(4),
                bytes,
            },
        ))
    }
}

#[test]
fn it_takes_what_comes_before_and_asks_again_later() {
    let mut bench = Bench::new(VersionRange::only(1), &[]);
    let batch = batch(1);
    let actions = bench.entries(batch.bytes());
    let [
        Action::Append(taken),
        Action::LacksVersion(lacking),
        Action::Hang,
    ] = actions.as_slice()
    else {
        panic!("{actions:?}");
    };
    assert_eq!((taken.first(), taken.last()), (Index(1), Index(2)));
    assert_eq!((lacking.at.index, lacking.version), (Index(3), 2));
    assert_eq!(bench.backup.tip().index, Index(2));
    assert_eq!(bench.backup.commit(), Index::ZERO, "nothing is committed");
    // Not at once: nothing has changed by then.
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(900));
    assert_eq!(bench.event(Event::Deadline), []);
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(200));
    let dials = bench.event(Event::Deadline);
    assert_eq!(dials, [Action::Dial("primary".to_owned())]);
    // The primary may be another, which never had the Upgrade: it says where the logs part, and goes on.
    bench.connect(&[]);
    let from = batch.bytes_from(Index(3));
    let actions = bench.entries(from);
    assert!(
        matches!(actions.as_slice(), [Action::LacksVersion(_), Action::Hang]),
        "{actions:?}"
    );
    assert_eq!(bench.backup.tip().index, Index(2));
}

#[test]
fn an_upgrade_that_is_skipped_is_an_entry_like_any_other() {
    let batch = batch(1);
    let skip = Skip {
        index: Index(3),
        view: VIEW.view,
    };
    let mut bench = Bench::new(VersionRange::only(1), slice::from_ref(&skip));
    let actions = bench.entries(batch.bytes());
    assert!(
        matches!(&actions[..], [Action::Append(all), Action::Commit(Index(4))] if all.last() == Index(4)),
        "{actions:?}"
    );
}

#[test]
fn a_program_that_supports_all_versions_of_the_log_takes_all_of_it() {
    let batch = batch(1);
    let both = VersionRange {
        oldest: 1,
        newest: 2,
    };
    let mut bench = Bench::new(both, &[]);
    bench.entries(batch.bytes());
    assert_eq!(bench.backup.tip(), batch.tip());
}

#[test]
fn a_program_that_is_too_new_for_the_beginning_of_the_log_takes_nothing_of_it() {
    let mut bench = Bench::new(VersionRange::only(2), &[]);
    let actions = bench.entries(batch(1).bytes());
    let [Action::LacksVersion(lacking), Action::Hang] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    assert_eq!((lacking.at.index, lacking.version), (Index(1), 1));
    assert_eq!(bench.backup.tip(), LogTip::default());
}
