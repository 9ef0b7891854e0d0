//! A replica on the bench: events go in, actions and answers are kept for the test to look at.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io;
use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::entry::{Batch, LogTip, ViewStart};
use standin_core::frame::Frame;
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::machine::{Context, StateMachine};
use standin_core::message::{
    CommandRequest, Consistency, OpenSession, Peer, QueryRequest, ReplyStatus, Report, ReportReply,
    Resume, RoleName, Seen, Swap, SwapReply,
};
use standin_core::session::SessionLimits;
use standin_core::time::{Instant, Now, WallTime};
use standin_core::view::{DataEpoch, Holder, ViewId, ViewNumber, ViewRecord};
use standin_replica::{
    Action, Answers, Config, Event, Recovered, Replica, Request, RequestBody, Side, SnapshotConfig,
};

/// Bytes of a big answer.
pub(crate) const BIG: usize = 1 << 20;
pub(crate) const CLIENT: ConnId = ConnId(50);

/// Counts the commands that it was given. To what begins with "big" it has a big answer.
#[derive(Debug, Default)]
pub(crate) struct Tally(u64);

impl StateMachine for Tally {
    const NAME: &'static str = "tally";
    const VERSION: u32 = 1;
    type Capture = u64;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        self.0 += 1;
        if command == TIMER {
            ctx.set_timer(1, ctx.now());
        }
        if command == POISON {
            // As a panic, but for the words on standard error.
            std::panic::resume_unwind(Box::new("poison"));
        }
        self.query(command, reply);
    }
    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(&self.0.to_le_bytes());
        if query.starts_with(b"big") {
            reply.resize(reply.len() + BIG - 8, 0);
        }
    }
    fn capture(&self) -> u64 {
        self.0
    }
    fn write_capture(capture: &u64, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&capture.to_le_bytes())
    }
    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

/// The machine fails at this command.
pub(crate) const POISON: &[u8] = b"poison";
/// The machine sets a timer at this command, which is due at once.
pub(crate) const TIMER: &[u8] = b"timer";

/// What a primary says as a stream begins that has nothing in common with the follower's log.
pub(crate) fn resume(view: ViewId) -> Resume {
    Resume {
        view,
        nonce: 1,
        common: LogTip::default(),
        durability: Durability::Os,
        silence_ms: 500,
        skips: Vec::new(),
        resp: None,
    }
}

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

pub(crate) fn view(number: u64) -> ViewId {
    ViewId {
        data_epoch: DataEpoch(0),
        view: ViewNumber(number),
    }
}

/// What begins view 1 of `a` in the log.
pub(crate) fn view_start() -> ViewStart {
    let a = identity("a", 1);
    ViewStart {
        data_epoch: DataEpoch(0),
        primary: a.name,
        incarnation: a.life.incarnation,
        durability: Durability::Os,
        session_timeout_ms: 1_000_000,
        sessions_max: 10,
        replies_bytes_max: 1000,
        session_idle_min_ms: 0,
        skips: Vec::new(),
        machine_version: Some(1),
    }
}

/// Every ten entries.
pub(crate) const SNAPSHOTS: SnapshotConfig = SnapshotConfig {
    every: 10,
    log_bytes: 1 << 20,
    makes_room: true,
};

pub(crate) fn config(identity: Identity, adopted: ViewId, recovered: Recovered) -> Config {
    Config {
        identity,
        address: "127.0.0.1:1".to_owned(),
        data_dir: "/data/a".to_owned(),
        program: "standin".to_owned(),
        durability: Durability::Os,
        versions: standin_core::version::VersionRange::only(1),
        session_limits: SessionLimits {
            sessions_max: 1000,
            ..SessionLimits::default()
        },
        seed: 1,
        adopted,
        holds: None,
        kept: None,
        recovered,
        replace: false,
        quarantine: None,
        poison: None,
        fatal: None,
        limits: standin_replica::Limits::default(),
        snapshots: SNAPSHOTS,
    }
}

/// A replica on the bench. What is appended is written at once; what is to be adopted or synced is
/// left to the test.
pub(crate) struct Bench {
    pub(crate) replica: Replica<Tally>,
    pub(crate) now: Now,
    pub(crate) actions: Vec<Action>,
    pub(crate) answers: Vec<(u64, ReplyStatus, ViewId)>,
    /// The bytes of each answer.
    pub(crate) replies: Vec<Vec<u8>>,
    /// The most bytes that one event's answers had.
    pub(crate) answers_bytes_most: usize,
    pub(crate) reports: u64,
    /// All that was appended to the log.
    pub(crate) appended: Vec<Arc<Batch>>,
}

impl Bench {
    pub(crate) fn new(identity: Identity, adopted: ViewId, recovered: Recovered) -> Self {
        Self::of(config(identity, adopted, recovered))
    }

    pub(crate) fn of(config: Config) -> Self {
        let now = Now {
            boot: Instant::from_nanos(1_000_000_000),
            wall: WallTime(1_000_000_000_000),
        };
        let replica = Replica::new(config, now);
        let mut bench = Self {
            replica,
            now,
            actions: Vec::new(),
            answers: Vec::new(),
            replies: Vec::new(),
            answers_bytes_most: 0,
            reports: 0,
            appended: Vec::new(),
        };
        bench.event(Event::ViewServiceUp);
        bench
    }

    pub(crate) fn fresh(name: &str) -> Self {
        Self::new(identity(name, 1), ViewId::default(), Recovered::default())
    }

    /// The active, solo, serving primary of view 1.
    pub(crate) fn primary() -> Self {
        let mut bench = Self::fresh("a");
        let record = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
        bench.tell(&record);
        bench.adopted(1);
        bench.accept_swap();
        bench.sync();
        assert_eq!(bench.replica.role_name(), RoleName::Primary);
        bench.actions.clear();
        bench
    }

    /// The primary of view 2, whose backup `b` has not said a word.
    pub(crate) fn with_backup() -> Self {
        let mut bench = Self::primary();
        let (a, b) = (identity("a", 1), identity("b", 1));
        let own = Holder {
            name: a.name.clone(),
            token: a.token(Durability::Os),
        };
        let record = bench.replica.record().expect("a record").clone();
        let record = record.join(own, (&b, b.token(Durability::Os)));
        bench.tell(&record);
        bench.adopted(2);
        bench.sync();
        bench.reports = bench.last_report().number;
        bench.tell(&record);
        bench
    }

    /// A follower `b` in view 1 of `a`, on its way to dial it.
    pub(crate) fn follower() -> Self {
        let mut bench = Self::fresh("b");
        let a = identity("a", 1);
        bench.tell(&ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a));
        bench.adopted(1);
        bench.event(Event::Flush);
        bench.actions.clear();
        bench
    }

    pub(crate) fn event(&mut self, event: Event<'_>) {
        self.replica.handle(self.now, event);
        self.drain();
        self.apply();
    }

    /// A frame has come, of which nothing may be wrong.
    pub(crate) fn frame(&mut self, side: Side, conn: ConnId, frame: &Frame<'_>) {
        let taken = self.replica.handle_frame(self.now, side, conn, frame);
        taken.expect("that side may send it");
        self.drain();
        self.apply();
    }

    /// What ends each wake-up.
    fn apply(&mut self) {
        self.replica.handle(self.now, Event::Apply);
        self.drain();
    }

    fn drain(&mut self) {
        let mut written = None;
        while let Some(action) = self.replica.next_action() {
            if let Action::Append(batch) = &action {
                written = Some(batch.last());
                self.appended.push(Arc::clone(batch));
            }
            self.actions.push(action);
        }
        let mut answers = Answers::default();
        self.replica.take_answers(&mut answers);
        let heads = answers
            .iter()
            .map(|(answer, _)| (answer.id, answer.status, answer.seen.view));
        self.answers.extend(heads);
        let bytes: Vec<_> = answers
            .iter()
            .map(|(_, reply)| reply.bytes.to_vec())
            .collect();
        let total = bytes.iter().map(Vec::len).sum();
        self.answers_bytes_most = self.answers_bytes_most.max(total);
        self.replies.extend(bytes);
        if let Some(through) = written {
            self.event(Event::Written(through));
        }
        let digests = self.take(|action| matches!(action, Action::Digest(_)));
        for action in digests {
            if let Action::Digest(image) = action {
                self.event(Event::Digested(image.0.digest()));
            }
        }
    }

    /// The view service has news.
    pub(crate) fn tell(&mut self, record: &ViewRecord) {
        let peer = |name: &str| Peer {
            identity: identity(name, 1),
            address: format!("address of {name}"),
            unseen_ms: 0,
        };
        let reply = ReportReply {
            number: self.reports,
            record: Some(record.clone()),
            granted: false,
            wall: self.now.wall,
            peers: vec![peer("a"), peer("b")],
        };
        self.event(Event::ReportReply(&reply));
    }

    pub(crate) fn adopted(&mut self, number: u64) {
        let wanted = view(number);
        let is_it = |action: &Action| matches!(action, Action::Adopt(view, ..) if *view == wanted);
        assert_eq!(self.take(is_it).len(), 1);
        self.event(Event::Adopted(view(number)));
    }

    pub(crate) fn take(&mut self, wanted: impl Fn(&Action) -> bool) -> Vec<Action> {
        self.actions
            .extract_if(.., |action| wanted(action))
            .collect()
    }

    pub(crate) fn swaps(&mut self) -> Vec<Swap> {
        let swaps = self
            .take(|action| matches!(action, Action::Swap(_)))
            .into_iter();
        let swap = |action| match action {
            Action::Swap(swap) => *swap,
            other => panic!("{other:?}"),
        };
        swaps.map(swap).collect()
    }

    pub(crate) fn accept_swap(&mut self) {
        let swap = self.swaps().pop().expect("a swap is asked");
        let reply = SwapReply {
            number: swap.number,
            accepted: true,
            record: Some(swap.proposed),
            wall: self.now.wall,
        };
        self.event(Event::SwapReply(&reply));
    }

    pub(crate) fn sync(&mut self) {
        let last = self.replica.standing().last.index;
        self.event(Event::Synced(last));
    }

    pub(crate) fn command(&mut self, id: u64, seen: Seen) {
        self.command_of(id, seen, b"x");
    }

    pub(crate) fn command_of(&mut self, id: u64, seen: Seen, bytes: &[u8]) {
        let request = CommandRequest {
            id,
            seen,
            session: 2,
            sequence: id,
            acknowledged: 0,
            bytes,
        };
        let body = RequestBody::Command(request);
        self.event(Event::Requests(&[Request { conn: CLIENT, body }]));
    }

    pub(crate) fn open(&mut self, id: u64) {
        let body = RequestBody::Open(OpenSession {
            id,
            seen: Seen::default(),
        });
        self.event(Event::Requests(&[Request { conn: CLIENT, body }]));
    }

    /// Asks the state as it is here; what is answered.
    pub(crate) fn ask_stale(&mut self) -> ReplyStatus {
        let body = RequestBody::Query(QueryRequest {
            id: 9,
            seen: Seen::default(),
            consistency: Consistency::Stale,
            bytes: b"",
        });
        self.answers.clear();
        self.event(Event::Requests(&[Request { conn: CLIENT, body }]));
        self.answers[0].1
    }

    /// A new connection to the view service, which hears the next report at once. What was to be done before is left.
    pub(crate) fn reconnect(&mut self) {
        self.event(Event::ViewServiceDown);
        self.actions.clear();
        self.event(Event::ViewServiceUp);
    }

    pub(crate) fn last_report(&mut self) -> Report {
        let mut reports = self.take(|action| matches!(action, Action::Report(_)));
        match reports.pop().expect("a report was sent") {
            Action::Report(report) => *report,
            other => panic!("{other:?}"),
        }
    }
}
