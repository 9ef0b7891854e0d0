//! A follower's decisions: finding its place in the primary's log, cutting, appending, acknowledging.

use standin_backup::{Action, Backup, Config, Event};
use standin_core::conn::ConnId;
use standin_core::entry::{Batch, BatchBuilder, BatchStamp, EntryKind, Index, LogTip, ViewStart};
use standin_core::identity::{
    BootId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{Ack, Entries, Resume, Room, encode_payload};
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::view::{DataEpoch, ViewId, ViewNumber};

const PRIMARY: ConnId = ConnId(1);

fn view(number: u64) -> ViewId {
    ViewId {
        data_epoch: DataEpoch(0),
        view: ViewNumber(number),
    }
}

fn identity() -> Identity {
    Identity {
        name: ReplicaName::new("b").expect("a good name"),
        store: StoreId(2),
        life: Life {
            boot: BootId(7),
            incarnation: Incarnation { start: 1, nonce: 1 },
        },
        clean_lives: Vec::new(),
    }
}

fn view_start() -> ViewStart {
    ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("a").expect("a good name"),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: 1000,
        sessions_max: 10,
        replies_bytes_max: 1000,
        session_idle_min_ms: 0,
        skips: Vec::new(),
        machine_version: Some(1),
    }
}

/// `count` entries of a view, beginning with its ViewStart if `before` is of a lower one.
fn entries(before: LogTip, number: u64, count: usize, commit: Index) -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(number),
        time: WallTime(number),
        seed: number,
        commit,
    };
    let mut builder = BatchBuilder::new(before, stamp);
    for _ in 0..count {
        let is_first = builder.is_empty() && before.view < stamp.view;
        let kind = if is_first {
            EntryKind::ViewStart
        } else {
            EntryKind::OpenSession
        };
        builder.push(kind, |out| {
            if is_first {
                encode_payload(&view_start(), out);
            }
        });
    }
    builder.finish().expect("some entries")
}

struct Bench {
    backup: Backup,
    now: Now,
    actions: Vec<Action>,
}

impl Bench {
    /// A follower in view 2 whose log has `log`, of which everything up to `commit` is committed.
    fn new(log: &[Batch], commit: Index) -> Self {
        Self::with(log, commit, |_| {})
    }

    /// The same, with another configuration.
    fn with(log: &[Batch], commit: Index, change: impl Fn(&mut Config)) -> Self {
        let tip = log.last().map(Batch::tip).unwrap_or_default();
        let now = Now {
            boot: Instant::from_nanos(1),
            wall: WallTime(1),
        };
        let mut config = Config {
            identity: identity(),
            view: view(2),
            primary: Some("primary".to_owned()),
            base: LogTip::default(),
            tip,
            view_starts: log
                .iter()
                .flat_map(|batch| batch.view_starts().to_vec())
                .collect(),
            versions: standin_core::version::VersionRange::only(1),
            is_log_outdated: false,
            written: tip.index,
            synced: tip.index,
            commit,
            applied: Index::ZERO,
            reply_digest: 0,
            piece_bytes: 1,
            room: Room::Enough,
            state_digest: None,
        };
        change(&mut config);
        let mut bench = Self {
            backup: Backup::new(config, now.boot),
            now,
            actions: Vec::new(),
        };
        bench.event(Event::Deadline);
        assert_eq!(bench.take(), [Action::Dial("primary".to_owned())]);
        bench.event(Event::Connected(PRIMARY));
        assert!(matches!(
            bench.take().as_slice(),
            [Action::Follow(PRIMARY, _)]
        ));
        bench
    }

    fn event(&mut self, event: Event<'_>) {
        self.backup.handle(self.now, event);
        while let Some(action) = self.backup.next_action() {
            self.actions.push(action);
        }
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn resume(&mut self, common: LogTip, durability: Durability) {
        let resume = Resume {
            view: view(2),
            nonce: 9,
            common,
            durability,
            silence_ms: 500,
            skips: Vec::new(),
            resp: None,
        };
        self.event(Event::Resume(PRIMARY, &resume));
    }

    fn entries(&mut self, round: u64, commit: Index, bytes: &[u8]) {
        let entries = Entries {
            nonce: 9,
            view: view(2),
            round,
            commit,
            bytes,
        };
        self.event(Event::Entries(PRIMARY, &entries));
    }

    /// The acknowledgement that leaves at the end of a wake-up.
    fn ack(&mut self) -> Option<Ack> {
        self.event(Event::Flush);
        self.take().into_iter().find_map(|action| match action {
            Action::Ack(PRIMARY, ack) => Some(ack),
            _ => None,
        })
    }
}

fn is_quarantined(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Quarantine(_)))
}

#[test]
fn it_acknowledges_what_is_as_durable_as_the_level_says_once_a_wake_up() {
    let batch = entries(LogTip::default(), 1, 3, Index::ZERO);
    for (durability, expected) in [
        (Durability::Memory, [3, 3, 3]),
        (Durability::Os, [0, 3, 3]),
        (Durability::Disk, [0, 0, 3]),
    ] {
        let mut bench = Bench::new(&[], Index::ZERO);
        bench.resume(LogTip::default(), durability);
        bench.entries(1, Index::ZERO, batch.bytes());
        assert_eq!(
            bench.ack().map(|ack| ack.durable.0),
            Some(expected[0]),
            "{durability}"
        );
        bench.event(Event::Written(Index(3)));
        let durable = bench.ack().map_or(expected[0], |ack| ack.durable.0);
        assert_eq!(durable, expected[1], "{durability}, written");
        bench.event(Event::Synced(Index(3)));
        let durable = bench.ack().map_or(expected[1], |ack| ack.durable.0);
        assert_eq!(durable, expected[2], "{durability}, synced");
        assert_eq!(bench.ack(), None, "nothing new, nothing said");
    }
}

fn digests_told(bench: &mut Bench) -> Vec<(Index, u128)> {
    let actions = bench.take().into_iter();
    let told = actions.filter_map(|action| match action {
        Action::StateDigest(PRIMARY, told) => {
            assert_eq!((told.nonce, told.view), (9, view(2)));
            Some((told.index, told.digest))
        }
        _ => None,
    });
    told.collect()
}

/// Section 12: state digests are compared at each snapshot, so also at one that is taken between two streams.
#[test]
fn each_primary_is_told_the_digest_of_the_newest_snapshot_as_its_stream_begins() {
    let batch = entries(LogTip::default(), 1, 3, Index::ZERO);
    let mut bench = Bench::new(std::slice::from_ref(&batch), Index(3));
    bench.event(Event::StateDigest(Index(2), 22));
    bench.event(Event::StateDigest(Index(3), 33));
    assert_eq!(digests_told(&mut bench), [], "there is nobody to tell");
    bench.resume(batch.tip(), Durability::Os);
    assert_eq!(digests_told(&mut bench), [(Index(3), 33)]);
    bench.event(Event::StateDigest(Index(3), 34));
    assert_eq!(digests_told(&mut bench), [(Index(3), 34)]);
    bench.event(Event::Closed);
    bench.now.boot = bench.now.boot.plus(Duration::from_secs(9));
    bench.event(Event::Deadline);
    bench.event(Event::Connected(PRIMARY));
    bench.take();
    bench.resume(batch.tip(), Durability::Os);
    assert_eq!(digests_told(&mut bench), [(Index(3), 34)], "once more");
}

/// What an operator has put an end to by forcing a takeover is not what the primary has at that entry.
#[test]
fn the_digest_of_a_snapshot_that_goes_with_an_outdated_log_is_not_told() {
    let batch = entries(LogTip::default(), 1, 3, Index::ZERO);
    let mut bench = Bench::with(&[batch], Index::ZERO, |config| {
        config.is_log_outdated = true;
        config.state_digest = Some((Index(2), 22));
    });
    bench.resume(LogTip::default(), Durability::Os);
    bench.event(Event::Cut(LogTip::default()));
    assert!(bench.backup.is_streaming());
    assert_eq!(digests_told(&mut bench), []);
}

#[test]
fn it_repeats_the_round_of_a_heartbeat() {
    let mut bench = Bench::new(&[], Index::ZERO);
    bench.resume(LogTip::default(), Durability::Os);
    bench.ack();
    bench.entries(7, Index::ZERO, &[]);
    assert_eq!(bench.ack().map(|ack| ack.round), Some(7));
}

#[test]
fn it_says_by_itself_what_it_has_applied_only_when_that_is_all_there_is() {
    let batch = entries(LogTip::default(), 1, 3, Index::ZERO);
    let mut bench = Bench::new(&[], Index::ZERO);
    bench.resume(LogTip::default(), Durability::Os);
    bench.entries(1, Index(2), batch.bytes());
    bench.event(Event::Written(Index(3)));
    let applied = bench.ack().map(|ack| ack.applied);
    assert_eq!(applied, Some(Index::ZERO), "it says what it has first");
    bench.event(Event::Applied(Index(2), 22));
    assert_eq!(bench.take(), [], "the next acknowledgement says so");
    bench.entries(2, Index(3), &[]);
    let applied = bench.ack().map(|ack| (ack.applied, ack.reply_digest));
    assert_eq!(applied, Some((Index(2), 22)));
    bench.event(Event::Applied(Index(3), 33));
    let told = bench.take().into_iter().filter_map(|action| match action {
        Action::Ack(PRIMARY, ack) => Some((ack.applied, ack.reply_digest)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(Index(3), 33)]);
    assert_eq!(bench.ack(), None, "once");
}

#[test]
fn it_applies_only_what_the_primary_has_applied_and_it_has_itself() {
    let batch = entries(LogTip::default(), 1, 3, Index::ZERO);
    let mut bench = Bench::new(&[], Index::ZERO);
    bench.resume(LogTip::default(), Durability::Os);
    bench.entries(1, Index(1), batch.bytes());
    assert!(bench.take().contains(&Action::Commit(Index(1))));
    bench.entries(2, Index(9), &[]);
    assert!(
        bench.take().contains(&Action::Commit(Index(3))),
        "it has no more than three"
    );
}

#[test]
fn it_cuts_what_the_primary_never_had() {
    let shared = entries(LogTip::default(), 1, 4, Index::ZERO);
    let tail = entries(shared.tip(), 1, 2, Index::ZERO);
    let mut bench = Bench::new(&[shared.clone(), tail], Index(2));
    bench.resume(shared.tip(), Durability::Os);
    assert_eq!(
        bench.take(),
        [Action::ReadLog(Index(4))],
        "it looks before it cuts"
    );
    bench.event(Event::LogRead(shared.bytes_from(Index(4)).to_vec()));
    assert_eq!(bench.take(), [Action::Cut(Index(4))]);
    bench.event(Event::Cut(shared.tip()));
    assert_eq!(bench.ack().map(|ack| ack.durable), Some(Index(4)));
    let next = entries(shared.tip(), 2, 1, Index::ZERO);
    bench.entries(1, Index::ZERO, next.bytes());
    assert!(
        bench
            .take()
            .iter()
            .any(|action| matches!(action, Action::Append(_)))
    );
}

#[test]
fn it_cuts_nothing_that_is_committed() {
    let log = entries(LogTip::default(), 1, 4, Index::ZERO);
    let mut bench = Bench::new(std::slice::from_ref(&log), Index(3));
    let common = log.entries().nth(1).expect("four entries").tip();
    bench.resume(common, Durability::Os);
    bench.event(Event::LogRead(log.bytes_from(Index(2)).to_vec()));
    let actions = bench.take();
    assert!(is_quarantined(&actions), "{actions:?}");
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Cut(_)))
    );
}

#[test]
fn it_cuts_nothing_of_the_primarys_own_view() {
    let first = entries(LogTip::default(), 1, 2, Index::ZERO);
    let own = entries(first.tip(), 2, 3, Index::ZERO);
    let common = own.entries().next().expect("three entries").tip();
    let mut bench = Bench::new(&[first, own.clone()], Index::ZERO);
    bench.resume(common, Durability::Os);
    bench.event(Event::LogRead(own.bytes_from(common.index).to_vec()));
    assert!(is_quarantined(&bench.take()));
}

#[test]
fn a_log_that_contradicts_the_primarys_is_quarantined_not_cut() {
    let log = entries(LogTip::default(), 1, 4, Index::ZERO);
    let mut other = log.tip();
    other.chain ^= 1;
    let mut bench = Bench::new(std::slice::from_ref(&log), Index::ZERO);
    bench.resume(other, Durability::Os);
    assert!(is_quarantined(&bench.take()));

    let mut other = log.entries().nth(1).expect("four entries").tip();
    other.chain ^= 1;
    let mut bench = Bench::new(std::slice::from_ref(&log), Index::ZERO);
    bench.resume(other, Durability::Os);
    bench.event(Event::LogRead(log.bytes_from(Index(2)).to_vec()));
    assert!(is_quarantined(&bench.take()));
}

#[test]
fn what_does_not_continue_the_log_is_not_appended() {
    let first = entries(LogTip::default(), 1, 2, Index::ZERO);
    let later = entries(first.tip(), 1, 2, Index::ZERO);
    let mut bench = Bench::new(&[], Index::ZERO);
    bench.resume(LogTip::default(), Durability::Os);
    bench.take();
    bench.entries(1, Index::ZERO, later.bytes());
    assert_eq!(bench.take(), [Action::Hang], "it follows anew");
}

#[test]
fn an_entry_that_could_not_be_applied_is_not_appended() {
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(1),
        seed: 1,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    builder.push(EntryKind::ViewStart, |out| out.push(0xff));
    let batch = builder.finish().expect("one entry");
    let mut bench = Bench::new(&[], Index::ZERO);
    bench.resume(LogTip::default(), Durability::Os);
    bench.take();
    bench.entries(1, Index::ZERO, batch.bytes());
    assert_eq!(bench.take(), [Action::Hang]);
}

#[test]
fn a_message_of_another_stream_is_ignored() {
    let batch = entries(LogTip::default(), 1, 2, Index::ZERO);
    let mut bench = Bench::new(&[], Index::ZERO);
    bench.resume(LogTip::default(), Durability::Os);
    bench.ack();
    let entries = Entries {
        nonce: 8,
        view: view(2),
        round: 1,
        commit: Index::ZERO,
        bytes: batch.bytes(),
    };
    bench.event(Event::Entries(PRIMARY, &entries));
    assert_eq!(bench.take(), []);
    assert_eq!(bench.ack(), None);
}

#[test]
fn r7_nothing_of_a_lower_view_is_followed_or_appended() {
    let batch = entries(LogTip::default(), 1, 2, Index::ZERO);
    let mut bench = Bench::new(&[], Index::ZERO);
    let resume = Resume {
        view: view(1),
        nonce: 9,
        common: LogTip::default(),
        durability: Durability::Os,
        silence_ms: 500,
        skips: Vec::new(),
        resp: None,
    };
    bench.event(Event::Resume(PRIMARY, &resume));
    assert!(!bench.backup.is_streaming());
    assert_eq!(bench.take(), [Action::HigherView(PRIMARY, view(2))]);
    bench.resume(LogTip::default(), Durability::Os);
    bench.ack();
    let entries = Entries {
        nonce: 9,
        view: view(1),
        round: 1,
        commit: Index::ZERO,
        bytes: batch.bytes(),
    };
    bench.event(Event::Entries(PRIMARY, &entries));
    assert_eq!(bench.take(), [Action::HigherView(PRIMARY, view(2))]);
    assert_eq!(bench.ack(), None);
}

#[test]
fn a_silent_primary_is_dialled_again() {
    let mut bench = Bench::new(&[], Index::ZERO);
    bench.resume(LogTip::default(), Durability::Os);
    bench.take();
    let deadline = bench.backup.deadline().expect("it watches the stream");
    bench.now.boot = deadline;
    bench.event(Event::Deadline);
    assert_eq!(bench.take(), [Action::Hang]);
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(100));
    bench.event(Event::Deadline);
    assert_eq!(bench.take(), [Action::Dial("primary".to_owned())]);
}

#[test]
fn a_resume_that_names_an_entry_before_the_first_is_refused() {
    let log = entries(LogTip::default(), 1, 3, Index::ZERO);
    let mut bench = Bench::new(&[log], Index::ZERO);
    let odd = LogTip {
        chain: 5,
        ..LogTip::default()
    };
    bench.resume(odd, Durability::Os);
    assert_eq!(bench.take(), [Action::Hang]);
}

#[test]
fn a_primary_that_never_answers_a_follow_is_given_up() {
    let mut bench = Bench::new(&[], Index::ZERO);
    bench.now.boot = bench.backup.deadline().expect("it does not wait for ever");
    bench.event(Event::Deadline);
    assert_eq!(bench.take(), [Action::Hang]);
}
