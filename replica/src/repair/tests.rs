use standin_core::entry::{Batch, BatchBuilder, BatchStamp, Command, EntryKind, ViewStart};
use standin_core::frame::FRAME_PAYLOAD_BYTES_MAX;
use standin_core::gap::NextSegment;
use standin_core::identity::{
    BootId, ClusterId, Durability, Incarnation, Life, ReplicaName, Token,
};
use standin_core::message::{Kept, UNSEEN_DEAD_MS, encode_payload};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewNumber};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn identity(name: &str, store: u128) -> Identity {
    Identity {
        name: ReplicaName::new(name).unwrap(),
        store: StoreId(store),
        life: Life {
            boot: BootId(1),
            incarnation: Incarnation { start: 1, nonce: 1 },
        },
        clean_lives: Vec::new(),
    }
}

fn view(view: u64) -> ViewId {
    ViewId {
        data_epoch: DataEpoch(0),
        view: ViewNumber(view),
    }
}

/// Ten entries.
fn log() -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(5),
        seed: 9,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    let start = ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("b").unwrap(),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: 1,
        sessions_max: 1,
        replies_bytes_max: 1,
        session_idle_min_ms: 1,
        skips: Vec::new(),
        machine_version: Some(1),
    };
    builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
    for sequence in 1..10 {
        let command = Command {
            session: 1,
            sequence,
            acknowledged: 0,
            bytes: b"add",
        };
        builder.push(EntryKind::Command, |out| command.encode(out));
    }
    builder.finish().unwrap()
}

/// What stands there after entry `index`, and its end.
fn after(log: &Batch, index: u64) -> (LogTip, &[u8]) {
    let tips = log.entries().map(|entry| entry.tip());
    let tip = tips.last_before(index);
    (tip, log.bytes_from(Index(index + 1)))
}

trait LastBefore {
    fn last_before(self, index: u64) -> LogTip;
}

impl<T: Iterator<Item = LogTip>> LastBefore for T {
    fn last_before(self, index: u64) -> LogTip {
        self.take_while(|tip| tip.index.0 <= index)
            .last()
            .unwrap_or_default()
    }
}

/// A replica `a` whose entries 4 and 5 are damaged, and others that it may ask.
struct Rig {
    repair: Repair,
    now: Instant,
    log: Batch,
    peers: Vec<Peer>,
    record: ViewRecord,
}

impl Rig {
    fn new() -> Self {
        Self::with(true, true)
    }

    fn with(has_gap: bool, may_set_aside: bool) -> Self {
        let log = log();
        let (last, rest) = after(&log, 3);
        let mut bytes = rest.to_vec();
        bytes[20] ^= 1;
        let second = after(&log, 4).1.len();
        let at = bytes.len() - second + 20;
        bytes[at] ^= 1;
        let gap = Gap::find(last, &bytes, NextSegment::Unknown);
        let repair = Repair::new(RepairConfig {
            identity: identity("a", 1),
            address: "a:1".to_owned(),
            adopted: view(4),
            kept: None,
            holds: None,
            last,
            gap: has_gap.then_some(gap),
            words: "the log is damaged".to_owned(),
            may_set_aside,
            replace: false,
        });
        let peer = |name: &str, store| Peer {
            identity: identity(name, store),
            address: format!("{name}:1"),
            unseen_ms: 10,
        };
        let b = identity("b", 2);
        let record = ViewRecord {
            cluster: ClusterId(1),
            data_epoch: DataEpoch(0),
            view: ViewNumber(4),
            primary: Member::of(&b),
            backup: None,
            holders: vec![Holder {
                name: b.name.clone(),
                token: b.token(Durability::Disk),
            }],
            active: true,
            term_ms: 1000,
            reason: Reason::Dropped,
            skips: Vec::new(),
        };
        Self {
            repair,
            now: Instant::from_nanos(1_000_000_000),
            log,
            peers: vec![peer("a", 1), peer("c", 3), peer("b", 2)],
            record,
        }
    }

    fn hold(&mut self) {
        let token = Token::Disk { store: StoreId(1) };
        let name = ReplicaName::new("a").unwrap();
        self.record.holders.push(Holder { name, token });
    }

    /// The view service answers.
    fn hear(&mut self) -> Vec<RepairAction> {
        let record = self.record.clone();
        self.hear_of(Some(record))
    }

    fn hear_of(&mut self, record: Option<ViewRecord>) -> Vec<RepairAction> {
        let reply = ReportReply {
            number: u64::MAX,
            record,
            granted: false,
            wall: WallTime(1),
            peers: self.peers.clone(),
        };
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        let frame = Frame::decode(&bytes, FRAME_PAYLOAD_BYTES_MAX).unwrap();
        let heard = self.repair.on_view_service(self.now, &frame.unwrap());
        assert_eq!(heard, Ok(()));
        self.actions()
    }

    fn up(&mut self) -> Vec<RepairAction> {
        self.repair.on_up(self.now);
        self.actions()
    }

    fn dialled(&mut self) -> Vec<RepairAction> {
        self.repair.on_dialled(self.now, ConnId(7));
        self.actions()
    }

    /// Whoever is asked sends these bytes.
    fn piece(&mut self, after: u64, bytes: &[u8]) -> Vec<RepairAction> {
        let mut frame = Vec::new();
        let after = Index(after);
        EntriesPiece { after, bytes }.encode(&mut frame);
        let frame = Frame::decode(&frame, FRAME_PAYLOAD_BYTES_MAX).unwrap();
        let taken = self.repair.on_peer(self.now, ConnId(7), &frame.unwrap());
        assert_eq!(taken, Ok(()));
        self.actions()
    }

    /// But for what is told to people.
    fn actions(&mut self) -> Vec<RepairAction> {
        let actions = std::iter::from_fn(|| self.repair.next_action());
        let is_told = |action: &RepairAction| matches!(action, RepairAction::Log(..));
        actions.filter(|action| !is_told(action)).collect()
    }

    fn pass(&mut self, time: Duration) -> Vec<RepairAction> {
        self.now = self.now.plus(time);
        self.repair.on_deadline(self.now);
        self.actions()
    }
}

fn dial(name: &str) -> RepairAction {
    RepairAction::Dial(format!("{name}:1"))
}

fn reported(actions: &[RepairAction]) -> &Report {
    let report = actions.iter().find_map(|action| match action {
        RepairAction::Report(report) => Some(&**report),
        _ => None,
    });
    report.unwrap()
}

#[test]
fn it_reports_that_it_is_out_of_service_and_why() {
    let mut rig = Rig::new();
    let actions = rig.up();
    let report = reported(&actions);
    assert_eq!(report.standing.role, RoleName::Quarantined);
    assert_eq!(report.standing.last.index, Index(3));
    assert_eq!(report.standing.view, view(4));
    assert_eq!(report.renew, None);
    let trouble = report.trouble.as_ref().unwrap();
    assert!(trouble.starts_with("the log is damaged; "), "{trouble}");
}

#[test]
fn a_view_service_without_a_record_is_told_what_is_known_of_it() {
    let mut rig = Rig::new();
    let record = rig.record.clone();
    let kept = Kept {
        record: record.clone(),
        joins: Vec::new(),
    };
    let holds = Some(Token::Disk { store: StoreId(1) });
    let mut config = rig.repair.config.clone();
    (config.kept, config.holds) = (Some(kept.clone()), holds);
    rig.repair = Repair::new(config);
    rig.up();
    let is_told = |actions: &[RepairAction]| {
        actions.iter().find_map(|action| match action {
            RepairAction::Witness(witness) => Some((**witness).clone()),
            _ => None,
        })
    };
    let told = is_told(&rig.hear_of(None)).unwrap();
    assert_eq!((told.adopted, told.kept), (view(4), Some(kept)));
    assert_eq!((told.holds, told.last.index), (holds, Index(3)));
    assert_eq!(
        is_told(&rig.hear_of(Some(record.clone()))),
        None,
        "it has one"
    );
    // What was kept of an earlier view is not what it has adopted.
    let mut config = rig.repair.config.clone();
    config.adopted = view(5);
    rig.repair = Repair::new(config);
    rig.up();
    let told = is_told(&rig.hear_of(None)).unwrap();
    assert_eq!((told.adopted, told.kept), (view(5), None));
}

#[test]
fn the_primary_is_asked_first_and_what_fits_is_filled_in() {
    let mut rig = Rig::new();
    rig.up();
    assert_eq!(rig.hear(), [dial("b")]);
    let (before, rest) = after(&rig.log, 3);
    let rest = rest.to_vec();
    let read = EntriesRead { after: before };
    assert_eq!(rig.dialled(), [RepairAction::Ask(ConnId(7), read)]);
    let (fourth, others) = after(&rig.log, 4);
    let (first, others) = (rest[..rest.len() - others.len()].to_vec(), others.to_vec());
    let read = EntriesRead { after: fourth };
    assert_eq!(rig.piece(3, &first), [RepairAction::Ask(ConnId(7), read)]);
    let behind = after(&rig.log, 5).1.len();
    let missing = rest[..rest.len() - behind].to_vec();
    let filled = RepairAction::Fill(missing, Fit::Within);
    assert_eq!(rig.piece(4, &others), [RepairAction::Hang, filled]);
    // It is over.
    assert_eq!(rig.hear(), []);
}

#[test]
fn who_does_not_have_it_or_is_not_reached_is_left_for_the_next_and_asked_again_in_time() {
    let mut rig = Rig::new();
    rig.hold();
    rig.up();
    rig.hear();
    rig.dialled();
    assert_eq!(rig.piece(3, b""), [RepairAction::Hang, dial("c")]);
    rig.repair.on_closed(rig.now);
    assert_eq!(rig.actions(), []);
    // The next round begins.
    let asked = rig.pass(SECOND * 2);
    assert_eq!(asked[0], dial("b"));
    // One that does not answer is given up.
    let next = rig.pass(SECOND * 6);
    assert_eq!(next[..2], [RepairAction::Hang, dial("c")]);
}

#[test]
fn what_does_not_fit_is_not_taken_whoever_sends_it() {
    let mut rig = Rig::new();
    rig.hold();
    rig.up();
    rig.hear();
    rig.dialled();
    // It goes on after the last good entry, and the one behind the gap does not go on after it.
    let (before, _) = after(&rig.log, 3);
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(5),
        seed: 10,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(before, stamp);
    for _ in 0..6 {
        builder.push(EntryKind::OpenSession, |_| {});
    }
    let other = builder.finish().unwrap();
    assert_eq!(rig.piece(3, other.bytes()), [RepairAction::Hang, dial("c")]);
    // It has answered, and does not have what is missing: as if it had said so.
    rig.dialled();
    rig.record.holders.pop();
    rig.hear();
    let set_aside = RepairAction::SetAside(view(4));
    assert_eq!(rig.piece(3, b""), [RepairAction::Hang, set_aside]);
}

#[test]
fn a_piece_that_was_not_asked_for_is_passed_over() {
    let mut rig = Rig::new();
    rig.up();
    rig.hear();
    rig.dialled();
    let log = log();
    let (_, rest) = after(&log, 4);
    // One that was asked for before, or twice: what it holds does not go on after the last that is here.
    assert_eq!(rig.piece(4, rest), []);
    assert_eq!(rig.piece(2, b""), []);
    let (_, rest) = after(&log, 3);
    assert!(matches!(
        rig.piece(3, rest)[..],
        [RepairAction::Hang, RepairAction::Fill(..)]
    ));
    assert_eq!(rig.piece(3, rest), [], "it is over");
}

#[test]
fn the_log_is_set_aside_once_nobody_has_it_and_a_primary_serves_without_this_store() {
    let mut rig = Rig::new();
    rig.up();
    rig.hear();
    rig.dialled();
    assert_eq!(rig.piece(3, b""), [RepairAction::Hang, dial("c")]);
    rig.dialled();
    assert_eq!(
        rig.piece(3, b""),
        [RepairAction::Hang, RepairAction::SetAside(view(4))]
    );
}

#[test]
fn a_log_that_entries_cannot_mend_is_set_aside_at_once_if_it_may_be() {
    let mut rig = Rig::with(false, true);
    rig.up();
    assert_eq!(rig.hear(), [RepairAction::SetAside(view(4))]);
}

#[test]
fn a_holders_log_is_never_set_aside_and_it_says_what_people_can_do() {
    for is_active in [true, false] {
        let mut rig = Rig::with(false, true);
        rig.hold();
        rig.record.active = is_active;
        rig.up();
        for _ in 0..5 {
            assert!(!rig.hear().contains(&RepairAction::SetAside(view(4))));
            let actions = rig.pass(SECOND / 4);
            let trouble = reported(&actions).trouble.clone().unwrap();
            assert!(
                trouble.contains("view 4 counts on this replica"),
                "{trouble}"
            );
            assert!(trouble.contains("standin recover"), "{trouble}");
        }
        // Until the primary has dropped it.
        rig.record.active = true;
        rig.record.holders.pop();
        assert_eq!(rig.hear(), [RepairAction::SetAside(view(4))]);
    }
}

#[test]
fn nothing_is_set_aside_without_a_living_primary_nor_by_an_older_record() {
    let is_kept = |change: &dyn Fn(&mut Rig)| {
        let mut rig = Rig::with(false, true);
        change(&mut rig);
        rig.up();
        let actions = [rig.hear(), rig.pass(SECOND / 4)].concat();
        !actions.contains(&RepairAction::SetAside(rig.record.id()))
    };
    assert!(!is_kept(&|_| {}));
    assert!(is_kept(&|rig| rig.record.active = false));
    assert!(is_kept(&|rig| rig.record.view = ViewNumber(3)));
    assert!(is_kept(&|rig| rig.peers[2].unseen_ms = UNSEEN_DEAD_MS));
    assert!(is_kept(&|rig| rig.peers[2].unseen_ms = 5000));
    assert!(is_kept(&|rig| {
        rig.peers.pop();
    }));
    let mut rig = Rig::with(false, false);
    rig.up();
    assert_eq!(rig.hear(), [], "people have forbidden it");
}

#[test]
fn a_primary_that_was_not_reached_may_have_it_so_nothing_is_set_aside() {
    let mut rig = Rig::new();
    rig.up();
    rig.hear();
    rig.repair.on_closed(rig.now);
    assert_eq!(rig.actions(), [dial("c")]);
    rig.dialled();
    assert_eq!(rig.piece(3, b""), [RepairAction::Hang]);
}

#[test]
fn another_connection_to_the_view_service_is_tried_when_no_answer_comes() {
    let mut rig = Rig::new();
    rig.up();
    let actions = rig.pass(SECOND);
    assert!(actions.contains(&RepairAction::RedialViewService));
    assert_eq!(rig.pass(SECOND), [], "there is none");
    assert!(!rig.up().is_empty());
}
