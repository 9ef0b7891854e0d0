//! A primary on the bench: events go in, actions are sorted into what a test asks about.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::entry::{Batch, Command, Index, LogTip, ViewStarts};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{Ack, Consistency, Follow, Lag, Refusal, Resume, Room};
use standin_core::session::SessionLimits;
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::version::{VersionRange, VersionStarts};
use standin_core::view::{Reason, ViewId, ViewRecord};
use standin_primary::{
    Action, Config, Event, HandOverFailure, Input, Payload, Primary, Query, Waiter,
};

/// The lease term of every test.
pub(crate) const TERM: Duration = Duration::from_secs(1);
/// The client's connection.
pub(crate) const CLIENT: ConnId = ConnId(1000);

pub(crate) fn identity(name: &str, start: u64) -> Identity {
    Identity {
        name: ReplicaName::new(name).expect("a good name"),
        store: StoreId(u128::from(name.as_bytes()[0])),
        life: Life {
            boot: BootId(7),
            incarnation: Incarnation {
                start,
                nonce: start,
            },
        },
        clean_lives: Vec::new(),
    }
}

/// What a primary has asked for and the test has not looked at yet.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) appended: Vec<Arc<Batch>>,
    pub(crate) syncs: usize,
    pub(crate) commits: Vec<Index>,
    pub(crate) sends: Vec<(ConnId, u64, u64, Payload)>,
    pub(crate) resumes: Vec<(ConnId, Resume)>,
    pub(crate) swaps: Vec<(ViewRecord, ViewRecord)>,
    pub(crate) answers: Vec<Query>,
    pub(crate) higher_views: Vec<(ConnId, ViewId)>,
    pub(crate) closed: Vec<ConnId>,
    pub(crate) refused: Vec<ConnId>,
    /// Who was turned away since it lacks this version of the machine.
    pub(crate) lacking: Vec<(ConnId, u32)>,
    pub(crate) offers: Vec<ConnId>,
    /// Who is to be sent entries from which one on.
    pub(crate) log_reads: Vec<(ConnId, Index)>,
    pub(crate) record_reads: usize,
    pub(crate) failures: Vec<HandOverFailure>,
    pub(crate) too_slow: Vec<(ReplicaName, Lag)>,
}

pub(crate) struct Bench {
    pub(crate) primary: Primary,
    pub(crate) now: Now,
    pub(crate) asked: Asked,
    pub(crate) identity: Identity,
    /// The versions of the machine that whoever follows says it supports.
    pub(crate) versions: VersionRange,
    nonces: BTreeMap<ConnId, u64>,
    /// Whether what is appended counts as written to the page cache at once, as on a good machine.
    pub(crate) writes_at_once: bool,
}

impl Bench {
    /// A candidate of view 1 with an empty log.
    pub(crate) fn candidate(durability: Durability) -> Self {
        let identity = identity("a", 1);
        let record = ViewRecord::bootstrap(ClusterId(1), &identity, 1000);
        Self::candidate_of(record, durability)
    }

    pub(crate) fn candidate_of(record: ViewRecord, durability: Durability) -> Self {
        Self::new(record, durability, LogTip::default(), Vec::new())
    }

    /// A candidate whose log was written and not synced.
    pub(crate) fn candidate_with_log(
        record: ViewRecord,
        tip: LogTip,
        view_starts: ViewStarts,
    ) -> Self {
        Self::new(record, Durability::Os, tip, view_starts)
    }

    /// A candidate of view 1 with an empty log whose program supports these versions of the machine.
    pub(crate) fn supporting(versions: VersionRange) -> Self {
        let record = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
        Self::with(record, Durability::Os, LogTip::default(), |config| {
            config.versions = versions;
            config.version_starts = VersionStarts::default();
            config.began_with = versions.newest;
        })
    }

    fn new(
        record: ViewRecord,
        durability: Durability,
        tip: LogTip,
        view_starts: ViewStarts,
    ) -> Self {
        Self::with(record, durability, tip, |config| {
            config.view_starts = view_starts;
        })
    }

    /// The same, with another configuration.
    pub(crate) fn with(
        record: ViewRecord,
        durability: Durability,
        tip: LogTip,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let identity = identity("a", 1);
        let now = Now {
            boot: Instant::from_nanos(1_000_000_000),
            wall: WallTime(1_000_000_000_000),
        };
        let mut config = Config {
            shares_entry: |_| false,
            identity: identity.clone(),
            record,
            durability,
            session_limits: SessionLimits {
                sessions_max: 1000,
                ..SessionLimits::default()
            },
            base: LogTip::default(),
            tip,
            view_starts: ViewStarts::new(),
            skips: Vec::new(),
            versions: VersionRange::only(1),
            version_starts: version_starts(),
            began_with: 1,
            written: tip.index,
            synced: Index::ZERO,
            commit: Index::ZERO,
            applied: Index::ZERO,
            seed: 1,
            limits: standin_primary::Limits::default(),
            room: Room::Enough,
        };
        change(&mut config);
        let mut bench = Self {
            primary: Primary::candidate(config, now),
            now,
            asked: Asked::default(),
            identity,
            versions: VersionRange::only(1),
            nonces: BTreeMap::new(),
            writes_at_once: true,
        };
        bench.drain();
        bench
    }

    /// The same, and commands of a session may share an entry.
    pub(crate) fn sharing(durability: Durability, shares_entry: fn(&[u8]) -> bool) -> Self {
        let identity = identity("a", 1);
        let record = ViewRecord::bootstrap(ClusterId(1), &identity, 1000);
        let change = |config: &mut Config| config.shares_entry = shares_entry;
        let mut bench = Self::with(record, durability, LogTip::default(), change);
        bench.serve();
        bench
    }

    /// An active primary that serves alone, its lease held for a long time.
    pub(crate) fn solo(durability: Durability) -> Self {
        let mut bench = Self::candidate(durability);
        bench.serve();
        bench
    }

    /// A candidate comes to serve alone, its lease held for a long time.
    pub(crate) fn serve(&mut self) {
        self.activate();
        self.hold_lease(Duration::from_secs(3600));
        self.sync_all();
        assert!(self.primary.is_serving());
        self.asked = Asked::default();
    }

    /// An active primary with `b` as its backup on connection 1, everything acknowledged.
    pub(crate) fn paired(durability: Durability) -> Self {
        let mut bench = Self::solo(durability);
        bench.pair();
        bench.ack_all(ConnId(1));
        bench.asked = Asked::default();
        bench
    }

    /// One that serves alone gets `b` as its backup on connection 1, which has asked to follow in the new view.
    pub(crate) fn pair(&mut self) {
        let b = self.spare_in_sync("b", ConnId(1));
        self.pass(Duration::from_millis(1));
        self.ack_all(ConnId(1));
        let (_, proposed) = self.asked.swaps.pop().expect("a Join is asked");
        self.record(&proposed);
        self.follow(ConnId(1), &b);
    }

    pub(crate) fn activate(&mut self) {
        let (_, proposed) = self.asked.swaps.pop().expect("Activate is asked");
        assert_eq!(proposed.reason, Reason::Activated);
        self.record(&proposed);
    }

    pub(crate) fn event(&mut self, event: Event<'_>) {
        self.primary.handle(self.now, event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.primary.next_action() {
            match action {
                Action::Append(batch) => {
                    let last = batch.last();
                    self.asked.appended.push(batch);
                    if self.writes_at_once {
                        // As a shell does: told only when all actions were taken.
                        let rest: Vec<Action> =
                            std::iter::from_fn(|| self.primary.next_action()).collect();
                        for action in rest {
                            self.sort(action);
                        }
                        self.primary.handle(self.now, Event::Written(last));
                    }
                }
                other => self.sort(other),
            }
        }
    }

    fn sort(&mut self, action: Action) {
        match action {
            Action::Append(batch) => self.asked.appended.push(batch),
            Action::Sync => self.asked.syncs += 1,
            Action::Send {
                conn,
                nonce,
                round,
                payload,
                ..
            } => self.asked.sends.push((conn, nonce, round, payload)),
            Action::Resume(conn, resume) => {
                self.nonces.insert(conn, resume.nonce);
                self.asked.resumes.push((conn, resume));
            }
            Action::Offer(conn, ..) => self.asked.offers.push(conn),
            Action::HigherView(conn, view) => self.asked.higher_views.push((conn, view)),
            Action::CloseFollower(conn) => self.asked.closed.push(conn),
            Action::RefuseFollower(conn, refusal) => match refusal {
                Refusal::RepliesDiffer => self.asked.refused.push(conn),
                Refusal::MachineVersion { executing } => {
                    self.asked.lacking.push((conn, executing));
                }
                other => panic!("{other}"),
            },
            Action::ReadLog { conn, from, .. } => self.asked.log_reads.push((conn, from)),
            Action::Commit(through) => {
                self.asked.commits.push(through);
                // The machine of a test applies at once, when all actions were taken.
                let rest: Vec<Action> = std::iter::from_fn(|| self.primary.next_action()).collect();
                for action in rest {
                    self.sort(action);
                }
                self.primary.handle(self.now, Event::Applied(through));
            }
            Action::Answer(queries) => self.asked.answers.extend(queries),
            Action::Swap { expected, proposed } => self.asked.swaps.push((*expected, *proposed)),
            Action::ReadRecord => self.asked.record_reads += 1,
            Action::HandOverFailed(failure) => self.asked.failures.push(failure),
            Action::TooSlow(name, lag) => self.asked.too_slow.push((name, lag)),
        }
    }

    pub(crate) fn record(&mut self, record: &ViewRecord) {
        let wall = self.now.wall;
        self.event(Event::Record(record, wall));
    }

    pub(crate) fn hold_lease(&mut self, term: Duration) {
        let until = self.now.boot.plus(term);
        self.event(Event::Lease(Some(until)));
    }

    pub(crate) fn sync_all(&mut self) {
        let tip = self.primary.tip().index;
        self.event(Event::Synced(tip));
    }

    /// Lets time pass, from deadline to deadline, as it does for a process that is awake.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.boot.plus(time);
        let mut steps = 0;
        while let Some(at) = self.primary.deadline().filter(|at| *at < end) {
            self.wait_until(at.max(self.now.boot));
            steps += 1;
            assert!(steps < 10_000, "it asks for deadlines that lead nowhere");
        }
        self.wait_until(end);
    }

    fn wait_until(&mut self, at: Instant) {
        self.now.wall = self.now.wall.plus(at.since(self.now.boot));
        self.now.boot = at;
        self.event(Event::Deadline);
    }

    /// A client's command; the index that it got.
    pub(crate) fn command(&mut self) -> Index {
        self.command_of(b"x")
    }

    pub(crate) fn command_of(&mut self, bytes: &[u8]) -> Index {
        let waiter = Waiter {
            conn: CLIENT,
            id: 1,
        };
        let command = Command {
            session: 1,
            sequence: 1,
            acknowledged: 0,
            bytes,
        };
        self.event(Event::Inputs(&[Input::Command(waiter, command)]));
        self.primary.tip().index
    }

    pub(crate) fn read(&mut self) {
        self.read_as(Consistency::Confirmed);
    }

    pub(crate) fn read_by_lease(&mut self) {
        self.read_as(Consistency::Lease);
    }

    fn read_as(&mut self, consistency: Consistency) {
        self.read_together(&[consistency]);
    }

    /// Reads of one wake-up, whose ids are their places.
    pub(crate) fn read_together(&mut self, consistencies: &[Consistency]) {
        let query = |(id, consistency): (u64, &Consistency)| Query {
            count: 1,
            waiter: Waiter { conn: CLIENT, id },
            consistency: *consistency,
            bytes: b"q".to_vec(),
        };
        let queries = (0..).zip(consistencies).map(query).collect();
        self.event(Event::Reads(queries));
        self.event(Event::Flush);
    }

    pub(crate) fn is_committed(&self, index: Index) -> bool {
        self.primary.commit() >= index
    }

    /// `identity` asks to follow in the present view, with this primary's whole log.
    pub(crate) fn follow(&mut self, conn: ConnId, identity: &Identity) {
        self.follow_from(conn, identity, self.primary.tip());
    }

    /// `identity` asks to follow in the present view, with a log that ends at `last`.
    pub(crate) fn follow_from(&mut self, conn: ConnId, identity: &Identity, last: LogTip) {
        let follow = Follow {
            identity: identity.clone(),
            view: self.primary.record().id(),
            last,
            view_starts: (self.primary.view_starts().iter().copied())
                .filter(|(_, first)| *first <= last.index)
                .collect(),
            resp: None,
            versions: self.versions,
        };
        self.event(Event::Follow(conn, &follow));
    }

    /// A spare that follows and has acknowledged everything.
    pub(crate) fn spare_in_sync(&mut self, name: &str, conn: ConnId) -> Identity {
        let identity = identity(name, 1);
        self.follow(conn, &identity);
        self.ack(conn, self.primary.tip().index, 0);
        identity
    }

    /// Acknowledges everything that was sent to a follower.
    pub(crate) fn ack_all(&mut self, conn: ConnId) {
        let round = self.round(conn);
        self.ack(conn, self.primary.tip().index, round);
    }

    /// The last round sent to a follower since its last resume.
    pub(crate) fn round(&self, conn: ConnId) -> u64 {
        let nonce = self.nonce(conn);
        let sends = self
            .asked
            .sends
            .iter()
            .filter(|(to, of, ..)| (*to, *of) == (conn, nonce));
        sends.map(|(_, _, round, _)| *round).max().unwrap_or(0)
    }

    fn nonce(&self, conn: ConnId) -> u64 {
        *self.nonces.get(&conn).expect("the follower has a stream")
    }

    pub(crate) fn ack(&mut self, conn: ConnId, durable: Index, round: u64) {
        let ack = Ack {
            round,
            ..self.ack_for(conn, durable)
        };
        self.event(Event::Ack(conn, &ack));
    }

    /// A good acknowledgement up to `durable`.
    pub(crate) fn ack_for(&self, conn: ConnId, durable: Index) -> Ack {
        Ack {
            nonce: self.nonce(conn),
            view: self.primary.record().id(),
            round: 0,
            durable,
            applied: durable.min(self.primary.commit()),
            reply_digest: 0,
            room: Room::Enough,
        }
    }

    /// A follower acknowledges everything, and says whether its log has room.
    pub(crate) fn ack_with_room(&mut self, conn: ConnId, room: Room) {
        let ack = Ack {
            round: self.round(conn),
            room,
            ..self.ack_for(conn, self.primary.tip().index)
        };
        self.event(Event::Ack(conn, &ack));
    }
}

/// Those of a log that began with version 1 of the machine.
fn version_starts() -> VersionStarts {
    let mut starts = VersionStarts::default();
    starts.note(standin_core::version::VersionStart {
        at: standin_core::poison::Skip {
            index: Index(1),
            view: standin_core::view::ViewNumber(1),
        },
        version: 1,
        is_upgrade: false,
    });
    starts
}
