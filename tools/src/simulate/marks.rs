//! Situations that runs must reach (`protocol.md` section 14): what was never reached was never
//! tested.

use standin_core::entry::EntryKind;
use standin_core::identity::Token;
use standin_core::message::ReplyStatus;
use standin_core::time::Instant;
use standin_core::view::{Member, Reason, ViewRecord};

use super::fact::{Asked, Fact};
use super::truth::{Truly, Truth};

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident: $words:literal,)*) => {
        /// A situation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark {
            $($(#[$doc])* $name,)*
        }

        impl Mark {
            /// All situations.
            pub const ALL: [Self; [$($words),*].len()] = [$(Self::$name),*];

            /// Whether many runs must reach it. That a known limit is met is nothing to demand.
            #[must_use]
            pub fn is_demanded(self) -> bool {
                self != Self::BeyondHelp
            }

            /// What it is, in words.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

marks! {
    /// A candidate activated a view after somebody else's.
    Takeover: "takeover",
    /// While a Join had been asked and not answered.
    TakeoverDuringJoin: "takeover while a Join is under way",
    /// A candidate did not activate in time, and another one did.
    TakeoverFromInactive: "takeover from an inactive view",
    /// A spare became the backup.
    Join: "a spare joins",
    /// A backup was dropped.
    Drop: "a backup is dropped",
    /// A Join was given up and fenced.
    JoinFenced: "a Join that was given up is fenced by a Drop",
    /// It came after its fence.
    LateJoinRefused: "a fenced Join comes late and is refused",
    /// A divergent tail was cut.
    Cut: "a log is cut",
    /// Section 7: both die at once.
    BothDie: "section 7: both die at once",
    /// Section 7: B dies, P dies before Drop lands.
    PrimaryDiesBeforeDrop: "section 7: B dies, P dies before Drop lands",
    /// Section 7: B dies, Drop, P dies.
    PrimaryDiesAfterDrop: "section 7: B dies, Drop, P dies",
    /// Section 7: P dies, B dies before Activate.
    CandidateDies: "section 7: P dies, B dies before Activate",
    /// Section 7: P dies, B activates, B dies.
    SuccessorDies: "section 7: P dies, B activates, B dies",
    /// Section 7: both lose power while paired at `os` or `memory`.
    BothLosePower: "section 7: both lose power while paired at os or memory",
    /// Section 7: disk replaced, image restored, damage found.
    HolderUnfit: "section 7: a holder's disk is replaced, restored or damaged",
    /// A client heard that its session is unknown.
    SessionExpired: "a session expires",
    /// The same, after a takeover.
    ExpiryAfterTakeover: "a session expires after a takeover",
    /// A client heard that no session is idle enough to give way to the one it wants to open.
    OpenRefused: "an open is refused, since all sessions are at work",
    /// A command came once more, long after it had been answered.
    SentAgain: "a client's command comes again over another connection",
    /// A timer of the machine fired.
    Timer: "a timer fires",
    /// A read was answered by a lone primary.
    SoloAnswer: "a lone primary answers",
    /// A pair answered.
    PairedAnswer: "a pair answers",
    /// A client was told that the outcome is unknown.
    OutcomeUnknown: "an outcome is unknown",
    /// A candidate of a view that somebody else held before had entries to commit with its ViewStart.
    TailInherited: "a new primary commits entries of an earlier view",
    /// Its replies differed from the primary's.
    WrongDropped: "a backup that replies wrongly is dropped",
    /// A client has a wrong reply: nobody can know before a follower's replies are compared.
    WrongServes: "a primary that replies wrongly serves",
    /// The known limit of section 7, see `docs/testing.md`.
    BeyondHelp: "an older copy of a disk serves: the view service forgot that it had seen more",
    /// Nobody may serve by the rules.
    Lost: "no holder is left, and nobody serves",
}

/// How often each situation was reached.
#[derive(Clone, Debug)]
pub struct Marks {
    counts: [u64; Mark::ALL.len()],
    /// A Join was proposed from this record.
    join_from: Option<ViewRecord>,
    /// When the life that is in a role ended, by role: primary and backup.
    died_at: [Option<(Member, Instant)>; 2],
    has_taken_over: bool,
    has_falsified: bool,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            counts: [0; Mark::ALL.len()],
            join_from: None,
            died_at: [None, None],
            has_taken_over: false,
            has_falsified: false,
        }
    }
}

impl Marks {
    /// The situation was reached.
    pub(crate) fn reach(&mut self, mark: Mark) {
        self.counts[mark as usize] += 1;
    }

    /// How often a situation was reached.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u64 {
        self.counts[mark as usize]
    }

    /// The demanded situations that were never reached.
    pub fn missing(&self) -> impl Iterator<Item = Mark> + '_ {
        let demanded = Mark::ALL.into_iter().filter(|mark| mark.is_demanded());
        demanded.filter(|mark| self.count(*mark) == 0)
    }

    /// Adds what another run reached.
    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// Looks at a fact that `truth` has taken in.
    pub(crate) fn look(&mut self, now: Instant, truth: &Truth, fact: &Fact<'_>) {
        match fact {
            Fact::Recorded {
                before: Some(before),
                after,
            } => self.on_record(truth, before, after),
            Fact::Proposed { swap, .. } if swap.proposed.reason == Reason::Joined => {
                self.join_from = Some(swap.expected.clone());
            }
            Fact::Ended { host, .. } if *host < truth.replicas.len() => {
                self.on_end(now, truth, *host);
            }
            Fact::Appended {
                host,
                batch,
                is_primary,
            } => {
                for entry in batch.entries().filter(|_| *is_primary) {
                    match entry.header.kind {
                        EntryKind::Timer => self.reach(Mark::Timer),
                        EntryKind::ViewStart => {
                            let log = &truth.replicas[*host].log;
                            let place = usize::try_from(entry.header.index.0).unwrap_or(0);
                            let before = place.checked_sub(2).and_then(|at| log.get(at));
                            if before.is_some_and(|link| entry.header.commit < link.header.index) {
                                self.reach(Mark::TailInherited);
                            }
                        }
                        _ => {}
                    }
                }
            }
            Fact::Answered(answered) => match answered.status {
                ReplyStatus::Done => {
                    if truth.is_falsified && !std::mem::replace(&mut self.has_falsified, true) {
                        self.reach(Mark::WrongServes);
                    }
                    let record = truth.record.as_ref();
                    let is_paired = record.is_some_and(|record| record.backup.is_some());
                    self.reach(if is_paired {
                        Mark::PairedAnswer
                    } else {
                        Mark::SoloAnswer
                    });
                }
                ReplyStatus::OutcomeUnknown => self.reach(Mark::OutcomeUnknown),
                ReplyStatus::SessionUnknown => {
                    self.reach(Mark::SessionExpired);
                    if self.has_taken_over {
                        self.reach(Mark::ExpiryAfterTakeover);
                    }
                }
                ReplyStatus::Overloaded if answered.asked == Asked::Open => {
                    self.reach(Mark::OpenRefused);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn on_record(&mut self, truth: &Truth, before: &ViewRecord, after: &ViewRecord) {
        let is_join_open = self.join_from.as_ref() == Some(before);
        match after.reason {
            Reason::Activated if before.reason != Reason::Bootstrap => {
                self.reach(Mark::Takeover);
                self.has_taken_over = true;
            }
            Reason::Joined => self.reach(Mark::Join),
            Reason::Dropped if before.backup.is_none() => self.reach(Mark::JoinFenced),
            Reason::Dropped => {
                self.reach(Mark::Drop);
                let is_it = |one: &&Truly| {
                    let identity = one.identity.as_ref();
                    identity.is_some_and(|it| {
                        before.backup.as_ref().is_some_and(|backup| backup.is(it))
                    })
                };
                if truth
                    .replicas
                    .iter()
                    .find(is_it)
                    .is_some_and(|one| truth.has_erred(one))
                {
                    self.reach(Mark::WrongDropped);
                }
            }
            _ => {}
        }
        if !after.active && !before.active && before.reason != Reason::Bootstrap {
            self.reach(Mark::TakeoverFromInactive);
        }
        if !after.active && before.active && is_join_open {
            self.reach(Mark::TakeoverDuringJoin);
        }
    }

    fn on_end(&mut self, now: Instant, truth: &Truth, host: usize) {
        let (Some(record), Some(identity)) = (&truth.record, &truth.replicas[host].identity) else {
            return;
        };
        let roles = [Some(&record.primary), record.backup.as_ref()];
        for (role, member) in roles.into_iter().enumerate() {
            if let Some(member) = member.filter(|member| member.is(identity)) {
                self.died_at[role] = Some((member.clone(), now));
            }
        }
        let died = |role: usize| {
            let (member, at) = self.died_at[role].as_ref()?;
            (roles[role] == Some(member)).then_some(*at)
        };
        let is_primary = record.primary.is(identity);
        let (primary, backup) = (died(0), died(1));
        let tokens_are_dead = record.holders.len() == 2
            && record.holders.iter().all(|holder| {
                let found = truth.holder(holder);
                !matches!(holder.token, Token::Disk { .. })
                    && found.is_some_and(|(_, one)| !one.satisfies(holder.token))
            });
        match (record.active, primary, backup) {
            (true, Some(primary), Some(backup)) if primary == backup => self.reach(Mark::BothDie),
            (true, Some(primary), Some(backup)) if backup < primary && is_primary => {
                self.reach(Mark::PrimaryDiesBeforeDrop);
            }
            (true, Some(_), None) if record.backup.is_none() && is_primary => match record.reason {
                Reason::Dropped => self.reach(Mark::PrimaryDiesAfterDrop),
                Reason::Activated => self.reach(Mark::SuccessorDies),
                _ => {}
            },
            (false, Some(_), _) if is_primary && record.holders.len() == 2 => {
                self.reach(Mark::CandidateDies);
            }
            _ => {}
        }
        if tokens_are_dead {
            self.reach(Mark::BothLosePower);
        }
    }

    /// A holder's disk was replaced, put back or damaged, if this replica is one.
    pub(crate) fn tampered(&mut self, truth: &Truth, replica: &Truly) {
        let is_holder = truth.record.as_ref().zip(replica.identity.as_ref());
        let is_holder = is_holder.is_some_and(|(record, it)| {
            let mut holders = record.holders.iter();
            holders.any(|holder| holder.token.store() == it.store)
        });
        if is_holder {
            self.reach(Mark::HolderUnfit);
        }
    }
}
