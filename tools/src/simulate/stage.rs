//! What a simulated process has to work with while its loop comes round once.

use standin_core::address::Address;
use standin_core::conn::ConnId;
use standin_core::message::{Party, Refusal};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant, Now};
use standin_core::view::Member;

use super::check::Checks;
use super::clock::Clock;
use super::draw::Draw as _;
use super::fact::Fact;
use super::marks::{Mark, Marks};
use super::network::Network;
use super::record::Recorder;
use super::trace::Trace;
use super::watched::Subject;

/// What a turn sends. It leaves when the turn ends, in this order.
#[derive(Debug)]
pub(crate) enum Output {
    Knock(ConnId),
    Accept(ConnId),
    Send(ConnId, Vec<u8>),
    Close(ConnId, Option<Refusal>),
}

/// The surroundings of one turn.
pub(crate) struct Stage<'a, M> {
    pub(crate) host: usize,
    pub(crate) life: u64,
    /// True time.
    pub(crate) now: Instant,
    pub(crate) clock: Clock,
    /// How long the turn has waited for the disk, or stood still.
    pub(crate) waited: Duration,
    /// How long a process may stand still between two things that it does.
    pub(crate) slow: Duration,
    /// How long one sync takes just now.
    pub(crate) sync_time: Duration,
    /// How long an entry takes to be applied.
    pub(crate) apply_time: Duration,
    pub(crate) network: &'a mut Network,
    pub(crate) random: &'a mut RandomStream,
    pub(crate) checks: &'a mut Checks<M>,
    pub(crate) marks: &'a mut Marks,
    pub(crate) trace: &'a mut Trace,
    pub(crate) recorder: &'a mut Recorder,
    pub(crate) outputs: Vec<Output>,
    /// The log thread began a sync.
    pub(crate) sync_started: bool,
    /// A Join was asked for.
    pub(crate) join_asked: bool,
    /// Hand over was asked in this turn.
    pub(crate) hand_over_asked: bool,
}

impl<M: Subject> Stage<'_, M> {
    /// The host's clocks as the turn began.
    pub(crate) fn read_clock(&self) -> Now {
        self.clock.read(self.now)
    }

    /// The host's clocks after what the turn has waited for.
    pub(crate) fn read_clock_again(&self) -> Now {
        self.clock.read(self.now.plus(self.waited))
    }

    /// A slow process may stand still anywhere.
    pub(crate) fn stall(&mut self) {
        if self.slow > Duration::ZERO && self.random.chance(20) {
            self.waited += self.random.between(Duration::ZERO, self.slow / 4);
        }
    }

    /// The turn waits for a sync.
    pub(crate) fn wait_for_disk(&mut self) {
        self.waited += self.random.between(Duration::ZERO, self.sync_time * 2);
    }

    pub(crate) fn saw(&mut self, fact: &Fact<'_>) {
        let watchers = Watchers {
            checks: self.checks,
            marks: self.marks,
            trace: self.trace,
            recorder: self.recorder,
        };
        observe(self.now, watchers, fact);
    }

    pub(crate) fn mark(&mut self, mark: Mark) {
        self.marks.reach(mark);
    }

    pub(crate) fn dial(&mut self, to: usize, party: Party) -> ConnId {
        let conn = self.network.dial((self.host, self.life), to, party);
        self.outputs.push(Output::Knock(conn));
        conn
    }

    pub(crate) fn send(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = Vec::new();
        write(&mut frame);
        self.outputs.push(Output::Send(conn, frame));
    }

    pub(crate) fn close(&mut self, conn: ConnId, why: Option<Refusal>) {
        self.outputs.push(Output::Close(conn, why));
    }
}

/// All that watch a run.
pub(crate) struct Watchers<'a, M> {
    pub(crate) checks: &'a mut Checks<M>,
    pub(crate) marks: &'a mut Marks,
    pub(crate) trace: &'a mut Trace,
    pub(crate) recorder: &'a mut Recorder,
}

/// Shows a fact to whoever watches.
pub(crate) fn observe<M: Subject>(now: Instant, watchers: Watchers<'_, M>, fact: &Fact<'_>) {
    watchers.trace.fact(now, fact);
    if let Fact::Recorded {
        before: Some(before),
        after,
    } = fact
        && before.data_epoch < after.data_epoch
    {
        let kept = watchers.checks.accept_loss(after);
        watchers.recorder.accept_loss(after.data_epoch, kept);
    }
    watchers.recorder.look(fact);
    watchers.checks.truth.now = now;
    watchers.checks.saw(fact);
    watchers.marks.look(now, &watchers.checks.truth, fact);
}

/// The address under which a host is known to the others.
pub(crate) fn address_of(host: usize) -> String {
    format!("host-{host}:7000")
}

/// Where a life of a replica answers Redis clients: each life elsewhere.
pub(crate) fn resp_of(life: &Member) -> Address {
    let text = format!("{}-{}:6379", life.name.as_str(), life.incarnation);
    Address::new(text).expect("a short name")
}

/// The host that has an address.
pub(crate) fn host_at(address: &str) -> Option<usize> {
    address
        .strip_prefix("host-")?
        .strip_suffix(":7000")?
        .parse()
        .ok()
}
