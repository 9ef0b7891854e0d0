//! A follower that fetches a snapshot.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use standin_backup::{Action, Backup, Config, Event, FETCH_WINDOW_PIECES_MAX};
use standin_core::capture::SnapshotMark;
use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{BootId, Identity, Incarnation, Life, ReplicaName, StoreId};
use standin_core::message::{
    Room, SNAPSHOT_PIECE_BYTES_MAX, SnapshotOffer, SnapshotPiece, SnapshotRead,
};
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::view::{DataEpoch, ViewId, ViewNumber};

const PRIMARY: ConnId = ConnId(5);
const PIECE: u64 = SNAPSHOT_PIECE_BYTES_MAX as u64;
/// Bytes that may be under way.
const WINDOW: u64 = FETCH_WINDOW_PIECES_MAX * PIECE;
/// So many that the file has ten pieces and five bytes.
const STATE_BYTES: u64 = 10 * PIECE + 5 - 192 - 11 * 8;

fn view(number: u64) -> ViewId {
    ViewId {
        data_epoch: DataEpoch(0),
        view: ViewNumber(number),
    }
}

fn offer() -> SnapshotOffer {
    SnapshotOffer {
        view: view(2),
        nonce: 77,
        mark: SnapshotMark {
            data_epoch: DataEpoch(0),
            tip: LogTip {
                index: Index(500),
                view: ViewNumber(1),
                chain: 9,
                time: WallTime(4),
            },
            view_first: Index(400),
            reply_digest: 3,
            machine_version: 1,
            failed_version: 0,
        },
        state_digest: 4,
        state_bytes: STATE_BYTES,
    }
}

struct Bench {
    backup: Backup,
    now: Now,
}

impl Bench {
    /// A follower in view 2 that has asked to follow.
    fn new(commit: Index) -> Self {
        let identity = Identity {
            name: ReplicaName::new("b").unwrap(),
            store: StoreId(2),
            life: Life {
                boot: BootId(7),
                incarnation: Incarnation { start: 1, nonce: 1 },
            },
            clean_lives: Vec::new(),
        };
        let now = Now {
            boot: Instant::from_nanos(1),
            wall: WallTime(1),
        };
        let tip = LogTip {
            index: commit,
            ..LogTip::default()
        };
        let config = Config {
            identity,
            view: view(2),
            primary: Some("primary".to_owned()),
            base: LogTip::default(),
            tip,
            view_starts: Vec::new(),
            versions: standin_core::version::VersionRange::only(1),
            is_log_outdated: false,
            written: commit,
            synced: commit,
            commit,
            applied: commit,
            reply_digest: 0,
            piece_bytes: SNAPSHOT_PIECE_BYTES_MAX,
            room: Room::Enough,
            state_digest: None,
        };
        let backup = Backup::new(config, now.boot);
        let mut bench = Self { backup, now };
        bench.connect();
        bench
    }

    fn connect(&mut self) {
        self.now.boot = self.now.boot.plus(Duration::from_secs(2));
        assert_eq!(
            self.event(Event::Deadline),
            [Action::Dial("primary".to_owned())]
        );
        self.event(Event::Connected(PRIMARY));
    }

    fn event(&mut self, event: Event<'_>) -> Vec<Action> {
        self.backup.handle(self.now, event);
        std::iter::from_fn(|| self.backup.next_action()).collect()
    }

    fn offer(&mut self, offer: &SnapshotOffer) -> Vec<Action> {
        self.event(Event::Offer(PRIMARY, offer))
    }

    fn begin(have: u64) -> (Self, Vec<SnapshotRead>) {
        let mut bench = Self::new(Index(3));
        let begun = bench.offer(&offer());
        assert_eq!(begun, [Action::BeginFetch(Box::new(offer()))]);
        let reads = reads(bench.event(Event::FetchBegun(have)));
        (bench, reads)
    }

    /// The primary sends what was asked.
    fn serve(&mut self, read: SnapshotRead) -> Vec<Action> {
        let bytes = vec![7; read.length as usize];
        let piece = SnapshotPiece {
            nonce: read.nonce,
            index: read.index,
            offset: read.offset,
            bytes: &bytes,
        };
        self.event(Event::Piece(PRIMARY, &piece))
    }
}

fn reads(actions: Vec<Action>) -> Vec<SnapshotRead> {
    let reads = actions.into_iter().filter_map(|action| match action {
        Action::SnapshotRead(PRIMARY, read) => Some(read),
        _ => None,
    });
    reads.collect()
}

#[test]
fn a_snapshot_is_fetched_in_order_within_the_window_and_then_checked_and_installed() {
    let (mut bench, first) = Bench::begin(0);
    let asked: u64 = first.iter().map(|read| u64::from(read.length)).sum();
    assert_eq!(asked, WINDOW);
    let mut pending: std::collections::VecDeque<SnapshotRead> = first.into();
    let mut at = 0;
    while let Some(read) = pending.pop_front() {
        assert_eq!(read.offset, at);
        at += u64::from(read.length);
        let actions = bench.serve(read);
        assert!(matches!(&actions[0], Action::StorePiece(offset, bytes)
                if *offset == read.offset && bytes.len() == read.length as usize));
        if at == offer().file_bytes().unwrap() {
            assert_eq!(actions[1..], [Action::CheckFetched]);
        }
        pending.extend(reads(actions));
        let under_way: u64 = pending.iter().map(|read| u64::from(read.length)).sum();
        assert!(under_way <= WINDOW);
    }
    assert_eq!(at, offer().file_bytes().unwrap());
    assert_eq!(
        bench.event(Event::Fetched(Index(499), true)),
        [],
        "another one"
    );
    let installed = bench.event(Event::Fetched(Index(500), true));
    assert_eq!(installed, [Action::Install(Box::new(offer()))]);
}

#[test]
fn a_fetch_goes_on_from_what_is_here() {
    let (mut bench, reads) = Bench::begin(9 * PIECE + 1);
    let lengths: Vec<u32> = reads.iter().map(|read| read.length).collect();
    assert_eq!(lengths, [SNAPSHOT_PIECE_BYTES_MAX, 4]);
    assert_eq!(reads[0].offset, 9 * PIECE + 1);
    let actions = bench.serve(reads[0]);
    assert_eq!(actions.len(), 1);
    assert!(bench.serve(reads[1]).contains(&Action::CheckFetched));

    let (mut bench, none) = Bench::begin(offer().file_bytes().unwrap());
    assert!(none.is_empty(), "all of it is here");
    let installed = bench.event(Event::Fetched(Index(500), true));
    assert_eq!(installed.len(), 1);
}

#[test]
fn a_snapshot_that_is_gone_or_not_what_was_asked_for_ends_the_connection() {
    let (mut bench, reads) = Bench::begin(0);
    let gone = SnapshotPiece {
        nonce: 77,
        index: Index(500),
        offset: 0,
        bytes: &[],
    };
    assert_eq!(bench.event(Event::Piece(PRIMARY, &gone)), [Action::Hang]);
    bench.connect();
    bench.offer(&offer());
    bench.event(Event::FetchBegun(0));
    assert_eq!(bench.serve(reads[1]), [Action::Hang], "one was left out");

    let (mut bench, mut reads) = Bench::begin(0);
    reads[0].nonce = 78;
    assert_eq!(bench.serve(reads[0]), [], "of another exchange");
    let long = vec![0; usize::try_from(WINDOW).unwrap() + 1];
    let more = SnapshotPiece {
        bytes: &long,
        ..gone
    };
    assert_eq!(bench.event(Event::Piece(PRIMARY, &more)), [Action::Hang]);
}

#[test]
fn a_snapshot_that_is_not_whole_is_not_installed() {
    let (mut bench, _) = Bench::begin(offer().file_bytes().unwrap());
    assert_eq!(
        bench.event(Event::Fetched(Index(500), false)),
        [Action::Hang]
    );
    assert_eq!(bench.event(Event::Fetched(Index(500), true)), []);
    assert!(bench.backup.deadline().is_some(), "it tries again");
}

#[test]
fn a_primary_that_sends_nothing_is_given_up() {
    let (mut bench, _) = Bench::begin(0);
    let at = bench.backup.deadline().unwrap();
    bench.now.boot = at;
    assert_eq!(bench.event(Event::Deadline), [Action::Hang]);
}

/// What is committed here is in the log of every primary: one that has neither it nor a snapshot of it is wrong.
#[test]
fn a_snapshot_of_less_than_is_committed_here_is_no_place_to_go_on_from() {
    let mut bench = Bench::new(Index(501));
    let actions = bench.offer(&offer());
    assert!(
        matches!(&actions[..], [Action::Quarantine(_)]),
        "{actions:?}"
    );
    let mut bench = Bench::new(Index(500));
    let actions = bench.offer(&offer());
    assert!(
        matches!(&actions[..], [Action::BeginFetch(_)]),
        "{actions:?}"
    );
}

#[test]
fn an_offer_that_cannot_be_true_or_is_of_another_view_is_not_taken() {
    let mut bench = Bench::new(Index(3));
    let mut lower = offer();
    lower.view = view(1);
    let told = bench.offer(&lower);
    assert_eq!(told, [Action::HigherView(PRIMARY, view(2))]);
    let mut other = offer();
    other.mark.view_first = Index(501);
    assert_eq!(bench.offer(&other), [Action::Hang]);
}

#[test]
fn a_snapshot_of_a_version_that_the_program_lacks_is_not_fetched() {
    let mut bench = Bench::new(Index(3));
    let mut newer = offer();
    newer.mark.machine_version = 2;
    let actions = bench.offer(&newer);
    let [Action::LacksVersion(lacking), Action::Hang] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    assert_eq!((lacking.at.index, lacking.version), (Index(500), 2));
}
