//! The parents of replicas' processes, as far as the view service hears of them: what they say, and when.
//! A word may come at once, late, or twice; now and then it is of a life that ended long before.

use standin_core::message::{Died, Message as _};
#[cfg(feature = "planted-bugs")]
use standin_core::planted::Bug;
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant};
use standin_core::view::Member;

use super::draw::Draw as _;
use super::fault::FaultKind;
use super::network::Arrival;
use super::queue::Coming;
use super::watched::Subject;
use super::world::{NO_CONN, World};

/// How long a parent tries to be heard, and how soon it tries again.
const PATIENCE: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(50);
/// Most lives that are remembered, to be spoken of once more.
const REMEMBERED_MAX: usize = 64;

/// What parents have seen.
#[derive(Debug)]
pub(crate) struct Mourning {
    /// Of its own, so that runs without deaths are as they would be without parents.
    random: RandomStream,
    dead: Vec<Member>,
    /// There are no parents: only what a script does happens.
    is_off: bool,
}

impl Mourning {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: RandomStream::new(seed, 8),
            dead: Vec::new(),
            is_off: false,
        }
    }
}

impl<M: Subject> World<M> {
    /// From here on every plug is pulled for the parent, too.
    pub(crate) fn without_parents(mut self) -> Self {
        self.mourning.is_off = true;
        self
    }

    /// The process of a replica is about to end, and its parent may be there to see it.
    pub(crate) fn mourn(&mut self, host: usize, lose_power: bool) {
        if self.mourning.is_off {
            return;
        }
        let Some(replica) = self.checks.truth.replicas.get(host) else {
            return;
        };
        let identity = replica.identity.as_ref();
        let Some(member) = identity.filter(|_| replica.is_running).map(Member::of) else {
            return;
        };
        let (term, random) = (self.plan.term, &mut self.mourning.random);
        let mut words = Vec::new();
        // In half of the deaths the plug is pulled for both.
        if !lose_power && random.chance(500) {
            let soon = Duration::from_millis(2);
            let within = if random.chance(700) { soon } else { term * 4 };
            words.push((member.clone(), random.between(Duration::ZERO, within)));
            if random.chance(200) {
                words.push((member.clone(), random.between(Duration::ZERO, term * 4)));
            }
        }
        if self.mourning.dead.len() < REMEMBERED_MAX {
            self.mourning.dead.push(member);
        }
        for (member, wait) in words {
            let at = self.now.plus(wait);
            self.queue.at(at, Coming::Proof(member, at.plus(PATIENCE)));
        }
    }

    /// A parent says that a life has died. If nobody listens it tries again, for a while.
    pub(crate) fn on_proof(&mut self, member: Member, until: Instant) {
        let service = self.plan.service();
        if self.hosts[service].is_up() {
            let mut frame = Vec::new();
            self.trace.line(self.now, service, || {
                let (name, life) = (&member.name, member.incarnation);
                format!("a parent says that life {life} of {name} has died")
            });
            Died { member }.encode(&mut frame);
            self.arrived(Some((service, NO_CONN, Arrival::Proof(frame))));
        } else if self.now < until {
            let at = self.now.plus(RETRY);
            self.queue.at(at, Coming::Proof(member, until));
        }
    }

    /// Something has befallen a replica. If it is not heard for a while, a word of an earlier life of the
    /// primary may come just then: that life is dead, and this one is not.
    pub(crate) fn mourn_again(&mut self, kind: FaultKind) {
        let is_quiet = matches!(
            kind,
            FaultKind::Pause | FaultKind::Isolate | FaultKind::CutOff
        );
        let Some(record) = self.checks.truth.record.as_ref().filter(|_| is_quiet) else {
            return;
        };
        let primary = record.primary.clone();
        let dead = self.mourning.dead.iter();
        let older: Vec<Member> = dead.filter(|it| it.name == primary.name).cloned().collect();
        let random = &mut self.mourning.random;
        if !older.is_empty() && random.chance(300) {
            let member = random.pick(&older).clone();
            let wait = random.between(Duration::ZERO, self.plan.term / 2);
            let at = self.now.plus(wait);
            self.queue.at(at, Coming::Proof(member, at.plus(PATIENCE)));
        }
        #[cfg(feature = "planted-bugs")]
        if self.plan.planted.has(Bug::DeathUnproven) {
            self.queue.at(self.now, Coming::Proof(primary, self.now));
        }
    }
}
