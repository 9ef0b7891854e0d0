//! Situations that runs must reach (`protocol.md` section 14): what was never reached was never
//! tested.

use std::collections::BTreeSet;

use standin_core::entry::{EntryKind, Index};
use standin_core::identity::{ReplicaName, StoreId, Token};
use standin_core::message::ReplyStatus;
use standin_core::poison::Skip;
use standin_core::session::KEPT_REPLIES_BYTES_MAX;
use standin_core::time::{Duration, Instant};
use standin_core::view::{Member, Reason, ViewNumber, ViewRecord};

use super::fact::{Answered, Asked, Fact};
use super::plan::Plan;
use super::truth::{Truly, Truth};

/// No run is as long.
const LONG: Duration = Duration::from_secs(600);
/// No run opens as many sessions.
const SESSIONS_ENOUGH: usize = 1000;

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

            /// Whether many runs must reach it. That a known limit is met is nothing to demand, nor is what
            /// a thousand seeds may do without: that Hand over comes late, and after its fence, or that a backup is
            /// not silent and too slow.
            #[must_use]
            pub fn is_demanded(self) -> bool {
                !matches!(
                    self,
                    Self::BeyondHelp
                        | Self::FailureUntold
                        | Self::LateHandOverRefused
                        | Self::InstallFinished
                        | Self::LeftOutAhead
                        | Self::ForceForgotten
                        | Self::StrayLeads
                        | Self::SlowDropped
                )
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
    /// Another replica than the one that served last has activated a view.
    Takeover: "takeover",
    /// The parent of the process that served had proved its death.
    TakeoverByProof: "takeover by proof of death",
    /// From a primary that had asked for a Join and did not know yet what came of it.
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
    /// Section 7: disk replaced.
    HolderReplaced: "section 7: a holder's disk is replaced",
    /// Section 7: image restored.
    HolderRestored: "section 7: an older copy of a holder's disk is put back",
    /// Section 7: damage found.
    HolderDamaged: "section 7: damage is found in a holder's log",
    /// A request was answered that its session is unknown, for it had expired.
    SessionExpired: "a session expires",
    /// The same, and the session was opened before a takeover.
    ExpiryAfterTakeover: "a session expires after a takeover",
    /// A client heard that no session is idle enough to give way to the one it wants to open.
    OpenRefused: "an open is refused, since all sessions are at work",
    /// A request was answered that its session is unknown, for there was no room for so many.
    SessionEvicted: "a session gives way to others",
    /// A command came once more, long after it had been answered, and got the reply that was kept.
    SentAgain: "a client's command comes again and gets the same reply",
    /// The same, and its session was gone.
    SentAfterExpiry: "a client's command comes again after its session has ended",
    /// A command that belongs to no session was answered.
    DirectDone: "a command that belongs to no session is executed",
    /// A primary orders a run.
    Run: "commands of a session share an entry",
    /// A primary orders an Upgrade.
    Upgrade: "a primary and its backup go over to a newer version of the machine",
    /// A primary turns a follower away that lacks the version that it executes.
    LeftBehind: "a replica lacks the version that is executed",
    /// The same, and whoever sent it does not know whether it was executed.
    DirectUnknown: "what became of a command that belongs to no session is unknown",
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
    /// Section 7: nobody may come back alone, and an operator forces a takeover.
    Forced: "section 7: an operator forces a takeover",
    /// A replica's log of an earlier data epoch gave way to that of the new one.
    SetAside: "a log of an earlier data epoch is set aside",
    /// A client heard that what it had been answered may be lost.
    AnswerLost: "a client hears that an answer may be lost by a forced takeover",
    /// What a damaged log lacked came from another replica.
    Mended: "a damaged log is mended from another replica",
    /// Nothing was missing in a damaged log.
    MendedAlone: "a damaged log is put in order, and no entry was missing",
    /// A damaged log that nobody could mend, or of a store that nobody counted on.
    DamagedSetAside: "a damaged log is set aside, and its replica joins anew",
    /// A snapshot covers the beginning of the log, which is gone.
    Forgotten: "the beginning of a log is forgotten",
    /// A replica's process began with the state of a snapshot.
    Restored: "a replica starts from a snapshot",
    /// A follower lacked entries that were gone, and fetched a snapshot.
    Fetched: "a follower fetches a snapshot",
    /// Its process ended in the midst of it.
    InstallFinished: "a start puts a fetched snapshot in the place of all others, where the process before ended",
    /// It could not keep up with what it was asked, and less was let in.
    SlowWaitedFor: "a primary waits for a backup that is behind",
    /// And that did not help.
    SlowDropped: "a backup that is too slow is dropped",
    /// Its replies differed from the primary's.
    WrongDropped: "a backup that replies wrongly is dropped",
    /// Its state differed from the primary's, as snapshots of one entry showed.
    StrayDropped: "a follower whose state differs is found at a snapshot, and dropped",
    /// The same, and it was the primary's state that was not what it should be: nobody can know.
    StrayLeads: "a primary whose state is wrong finds that a follower's differs, and drops it",
    /// A client has a wrong reply: nobody can know before a follower's replies are compared.
    WrongServes: "a primary that replies wrongly serves",
    /// The known limit of section 7, see `docs/testing.md`.
    BeyondHelp: "an older copy of a disk serves: the view service forgot that it had seen more",
    /// A disk failed, and its process had to leave it to the view service to keep that.
    FailureTold: "a disk fails and cannot note it, and the view service keeps it",
    /// The known limit of section 12, see `docs/testing.md`.
    FailureUntold: "a replica serves whose disk failed: its process was killed before anybody could know",
    /// A primary handed over as planned, and its backup serves.
    Switchover: "a switchover is done",
    /// The Handover entry was ordered, and nothing was asked.
    SwitchoverGivenUp: "a switchover is given up",
    /// Hand over was asked, and then fenced.
    SwitchoverFenced: "the outcome of a switchover is unknown, and it is fenced by a Drop",
    /// It came after its fence.
    LateHandOverRefused: "a fenced Hand over comes late and is refused",
    /// An entry ended the processes that executed it, until that was known.
    DeadlySkipped: "an entry that kills whoever executes it is skipped",
    /// A process was killed in the midst of an entry, or by one that others outlive; others have executed it.
    DeadlyOutlived: "a process dies in the midst of an entry that is executed by others or later",
    /// An entry made the machine of a primary fail, and was skipped by the next.
    Skip: "an entry that makes the machine fail is skipped",
    /// The same of a timer, of which no client hears.
    SkipTimer: "a timer that makes the machine fail is skipped",
    /// The same, and the next primary was a later life of the one that failed, with nobody else.
    SkipByItself: "a lone primary whose machine failed comes back and skips the entry",
    /// A primary whose log had no room ordered a Handover to a backup that had some.
    HandedOverForRoom: "a primary without room hands over to its backup",
    /// A client was told that there is no room for what it asks.
    RefusedForRoom: "a write is refused for want of room",
    /// The view service's disk had no room for a record.
    RecordUnstored: "the view service has no room for its record",
    /// And a primary that did so answers others since it has room again.
    RoomAgain: "a primary that refused writes for want of room takes some again",
    /// The view service had lost its record, and it was made again from what the replicas know.
    Rebuilt: "a lost view record is made again",
    /// It could not be known who has every answered entry.
    RebuildRefused: "a lost view record is not made again, for it is not certain who holds",
    /// The known limit of a record that is lost twice, see `docs/testing.md`.
    LeftOutAhead: "a replica was left out as the record was made again, and is ahead of it",
    /// The known limit: nobody who is left knows whom an operator has named, and who has served alone since.
    ForceForgotten: "a lost view record is made again, and with a disk went all that was known of a takeover that was forced",
    /// Nobody may serve by the rules.
    Lost: "no holder is left, and nobody serves",
    /// See the words.
    Replayed: "the log of a replica is replayed in the end",
    /// See the words.
    ReplayedFromSnapshot: "such a replay begins with a snapshot",
    /// See the words.
    ReplayedDead: "such a replay is of a log whose replica does not run",
    /// See the words.
    ReplayedUnfinished: "such a replay comes to a write that is not whole",
    /// See the words.
    ReplayedApart: "such a replay is of a log that has parted from what goes on",
}

/// Why a session may be unknown in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unknown {
    /// Sessions may expire, or have to give way: which of the two it was is not asked.
    #[default]
    Either,
    /// There is room for all.
    Expired,
    /// None lives long enough to expire.
    Evicted,
}

/// How often each situation was reached.
#[derive(Clone, Debug)]
pub struct Marks {
    counts: [u64; Mark::ALL.len()],
    unknown: Unknown,
    /// A Join was asked, from the first record to the second, and its sender has not adopted that view.
    join: Option<(ViewRecord, ViewRecord)>,
    /// When the life that is in a role ended, not cleanly, by role: primary and backup.
    died_at: [Option<(Member, Instant)>; 2],
    /// The primary of the newest active view.
    served: Option<Member>,
    /// It had died when it was deposed.
    has_served_died: bool,
    /// The last depose was for a proof of death.
    is_proven: bool,
    /// It had asked for a Join whose outcome it did not know when it was deposed.
    has_served_joined: bool,
    /// The candidates since then, by name.
    candidates: BTreeSet<ReplicaName>,
    /// The present view is one in which somebody else took over.
    is_takeover: bool,
    /// The backup had died when it was dropped, and that Drop made the present view.
    is_dropped_dead: bool,
    /// Holders of the present record that lost their power, and with it their token.
    powerless: BTreeSet<StoreId>,
    /// Entries at which processes died.
    deaths: Vec<Skip>,
    /// The first entry of the newest view in which somebody else took over.
    taken_over_from: Option<Index>,
    has_falsified: bool,
    /// The timers that were skipped somewhere.
    timers_skipped: BTreeSet<Skip>,
    /// The record from which Hand over was asked last.
    hand_over: Option<ViewRecord>,
    /// The view in which a Handover was the last entry to be ordered.
    handing_over: Option<ViewNumber>,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            counts: [0; Mark::ALL.len()],
            unknown: Unknown::default(),
            join: None,
            died_at: [None, None],
            served: None,
            has_served_died: false,
            is_proven: false,
            has_served_joined: false,
            candidates: BTreeSet::new(),
            is_takeover: false,
            is_dropped_dead: false,
            powerless: BTreeSet::new(),
            deaths: Vec::new(),
            taken_over_from: None,
            has_falsified: false,
            timers_skipped: BTreeSet::new(),
            hand_over: None,
            handing_over: None,
        }
    }
}

impl Marks {
    /// Nothing was reached yet in the run of a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let limits = &plan.session_limits;
        let can_expire = limits.timeout < LONG;
        let is_enough =
            usize::try_from(limits.sessions_max).is_ok_and(|max| max >= SESSIONS_ENOUGH);
        let must_give_way = !is_enough || limits.replies_bytes_max < KEPT_REPLIES_BYTES_MAX;
        let unknown = match (can_expire, must_give_way) {
            (true, false) => Unknown::Expired,
            (false, true) => Unknown::Evicted,
            _ => Unknown::Either,
        };
        Self {
            unknown,
            ..Self::default()
        }
    }

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
                self.join = Some((swap.expected.clone(), swap.proposed.clone()));
            }
            Fact::Proposed { swap, .. } if swap.proposed.reason == Reason::HandedOver => {
                self.hand_over = Some(swap.expected.clone());
            }
            Fact::DiedAt { entry, .. } => self.deaths.push(*entry),
            Fact::Applied { through, .. } if !self.deaths.is_empty() => {
                let is_executed = |it: &Skip| it.index <= *through && !truth.skips.contains(it);
                if self.deaths.iter().any(is_executed) {
                    self.reach(Mark::DeadlyOutlived);
                    self.deaths.retain(|it| !is_executed(it));
                }
            }
            Fact::TokenKept { .. } => self.reach(Mark::FailureTold),
            Fact::Adopted { host, view } => {
                let identity = truth.replicas[*host].identity.as_ref();
                let is_told = |(from, to): &mut (ViewRecord, ViewRecord)| {
                    *view >= to.id() && identity.is_some_and(|identity| from.primary.is(identity))
                };
                self.join.take_if(is_told);
            }
            Fact::Ended {
                host, lost_power, ..
            } if *host < truth.replicas.len() => {
                self.on_end(now, truth, *host, *lost_power);
            }
            Fact::Unstartable { host, why }
                if why.contains("damaged") && is_holder(truth, &truth.replicas[*host]) =>
            {
                self.reach(Mark::HolderDamaged);
            }
            Fact::Appended {
                host,
                batch,
                is_primary,
            } => {
                for entry in batch.entries().filter(|_| *is_primary) {
                    self.on_ordered(entry.header.kind, entry.header.view);
                    match entry.header.kind {
                        EntryKind::Timer => self.reach(Mark::Timer),
                        EntryKind::Upgrade => self.reach(Mark::Upgrade),
                        EntryKind::Run => self.reach(Mark::Run),
                        EntryKind::ViewStart if self.is_takeover => {
                            self.taken_over_from = Some(entry.header.index);
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
            Fact::Applied { host, through, .. } => self.on_applied(truth, *host, *through),
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
                ReplyStatus::AnswerLost => self.reach(Mark::AnswerLost),
                ReplyStatus::SessionUnknown => self.on_unknown_session(answered),
                ReplyStatus::Skipped => self.reach(Mark::Skip),
                ReplyStatus::Overloaded if answered.asked == Asked::Open => {
                    self.reach(Mark::OpenRefused);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// A replica has applied its log so far: what is skipped of it was skipped.
    fn on_applied(&mut self, truth: &Truth, host: usize, through: Index) {
        for skip in truth.skips.iter().filter(|skip| skip.index <= through) {
            let header = truth.replicas[host].link(skip.index, false);
            let header = header.map(|link| link.header);
            let is_timer =
                header.is_some_and(|it| (it.kind, it.view) == (EntryKind::Timer, skip.view));
            if is_timer && self.timers_skipped.insert(*skip) {
                self.reach(Mark::SkipTimer);
            }
        }
    }

    fn on_ordered(&mut self, kind: EntryKind, view: ViewNumber) {
        let before = self.handing_over.take();
        let is_asked = |record: &ViewRecord| record.view == view;
        if before == Some(view) && !self.hand_over.as_ref().is_some_and(is_asked) {
            self.reach(Mark::SwitchoverGivenUp);
        }
        self.handing_over = (kind == EntryKind::Handover).then_some(view);
    }

    fn on_unknown_session(&mut self, answered: &Answered<'_>) {
        let Asked::Command { session, .. } = answered.asked else {
            return;
        };
        match self.unknown {
            Unknown::Either => {}
            Unknown::Evicted => self.reach(Mark::SessionEvicted),
            Unknown::Expired => {
                self.reach(Mark::SessionExpired);
                if self.taken_over_from.is_some_and(|from| session < from.0) {
                    self.reach(Mark::ExpiryAfterTakeover);
                }
            }
        }
    }

    fn on_record(&mut self, truth: &Truth, before: &ViewRecord, after: &ViewRecord) {
        self.powerless.clear();
        let mut new = after.skips.iter().filter(|it| !before.skips.contains(it));
        if new.any(|it| self.deaths.contains(it)) {
            self.reach(Mark::DeadlySkipped);
        }
        if after.skips.iter().any(|skip| !before.skips.contains(skip))
            && after.primary.name == before.primary.name
        {
            self.reach(Mark::SkipByItself);
        }
        let had_died = |role: usize, member: &Member| {
            let died = self.died_at[role].as_ref();
            died.is_some_and(|(dead, _)| dead == member)
        };
        let is_backup_dead = before.backup.as_ref().is_some_and(|it| had_died(1, it));
        if before.active && !after.active {
            self.has_served_died = had_died(0, &before.primary);
            let mut join = self.join.iter();
            self.has_served_joined = join.any(|(from, to)| before == from || before == to);
            self.served = Some(before.primary.clone());
            self.candidates.clear();
        }
        if !after.active {
            self.is_proven = after.reason == Reason::Died;
            self.candidates.insert(after.primary.name.clone());
        }
        let is_activation = after.reason == Reason::Activated;
        let is_other = |served: &Member| served.name != after.primary.name;
        self.is_takeover = is_activation && self.served.as_ref().is_some_and(is_other);
        self.is_dropped_dead = after.reason == Reason::Dropped && is_backup_dead;
        if is_activation && before.reason == Reason::HandedOver {
            self.reach(Mark::Switchover);
        } else if self.is_takeover {
            self.reach(Mark::Takeover);
            if self.is_proven {
                self.reach(Mark::TakeoverByProof);
            }
            if self.has_served_joined {
                self.reach(Mark::TakeoverDuringJoin);
            }
        }
        if is_activation && self.candidates.len() > 1 {
            self.reach(Mark::TakeoverFromInactive);
        }
        match after.reason {
            Reason::Joined => self.reach(Mark::Join),
            Reason::Forced => self.reach(Mark::Forced),
            Reason::Dropped if before.backup.is_none() => self.reach(Mark::JoinFenced),
            Reason::Dropped if self.hand_over.as_ref() == Some(before) => {
                self.reach(Mark::SwitchoverFenced);
            }
            Reason::Dropped => {
                self.reach(Mark::Drop);
                let backup = before.backup.as_ref();
                let is_it = |one: &&Truly| {
                    let identity = one.identity.as_ref().zip(backup);
                    identity.is_some_and(|(identity, backup)| backup.is(identity))
                };
                let backup = truth.replicas.iter().find(is_it);
                if backup.is_some_and(|one| truth.has_erred(one)) {
                    self.reach(Mark::WrongDropped);
                }
            }
            _ => {}
        }
    }

    fn on_end(&mut self, now: Instant, truth: &Truth, host: usize, lost_power: bool) {
        let replica = &truth.replicas[host];
        let (Some(record), Some(identity)) = (&truth.record, &replica.identity) else {
            return;
        };
        if lost_power {
            self.lose_power(record, replica);
        }
        let roles = [Some(&record.primary), record.backup.as_ref()];
        let role = roles.map(|member| member.is_some_and(|member| member.is(identity)));
        // A clean stop is no death.
        let Some(role) = role
            .iter()
            .position(|is_it| *is_it)
            .filter(|_| !replica.is_end_unsure)
        else {
            return;
        };
        let member = roles[role].expect("it was found there");
        self.died_at[role] = Some((member.clone(), now));
        let died = |role: usize| {
            let (member, at) = self.died_at[role].as_ref()?;
            (roles[role] == Some(member)).then_some(*at)
        };
        let is_primary = role == 0;
        let (primary, backup) = (died(0), died(1));
        match (record.active, primary, backup) {
            (true, Some(primary), Some(backup)) if primary == backup => self.reach(Mark::BothDie),
            (true, Some(primary), Some(backup)) if backup < primary && is_primary => {
                self.reach(Mark::PrimaryDiesBeforeDrop);
            }
            (true, Some(_), None) if is_primary && self.is_dropped_dead => {
                self.reach(Mark::PrimaryDiesAfterDrop);
            }
            (true, Some(_), None) if is_primary && self.is_takeover && self.has_served_died => {
                self.reach(Mark::SuccessorDies);
            }
            (false, Some(_), _) if self.has_served_died && record.holders.len() == 2 => {
                let mut served = self.served.iter();
                if served.any(|served| served.name != record.primary.name) {
                    self.reach(Mark::CandidateDies);
                }
            }
            _ => {}
        }
    }

    /// A replica has lost its power. If that made it a holder no more, and the other one before it in
    /// the same view, nobody may come back.
    fn lose_power(&mut self, record: &ViewRecord, replica: &Truly) {
        let store = replica.identity.as_ref().map(|identity| identity.store);
        let is_paired = record.active && record.backup.is_some();
        let mut holders = record.holders.iter();
        let holder = holders.find(|holder| Some(holder.token.store()) == store);
        let Some(holder) = holder.filter(|_| is_paired) else {
            return;
        };
        let is_of_record = [Some(&record.primary), record.backup.as_ref()]
            .into_iter()
            .flatten()
            .any(|member| replica.identity.as_ref().is_some_and(|it| member.is(it)));
        let is_dead =
            !matches!(holder.token, Token::Disk { .. }) && !replica.satisfies(holder.token);
        if is_of_record && is_dead && self.powerless.insert(holder.token.store()) {
            let mut holders = record.holders.iter();
            if holders.all(|holder| self.powerless.contains(&holder.token.store())) {
                self.reach(Mark::BothLosePower);
            }
        }
    }

    /// The disk of a replica was replaced or put back.
    pub(crate) fn tampered(&mut self, truth: &Truth, replica: &Truly, mark: Mark) {
        if is_holder(truth, replica) {
            self.reach(mark);
        }
    }
}

/// Whether the record names a replica's store among the holders.
fn is_holder(truth: &Truth, replica: &Truly) -> bool {
    let is_it = truth.record.as_ref().zip(replica.identity.as_ref());
    is_it.is_some_and(|(record, it)| {
        let mut holders = record.holders.iter();
        holders.any(|holder| holder.token.store() == it.store)
    })
}
