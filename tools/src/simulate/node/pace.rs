//! A replica whose machine is slow: what it costs it, and what its primary must do about it (L3, L5).

use std::collections::{BTreeMap, VecDeque};

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::StoreId;
use standin_core::message::RoleName;
use standin_core::time::{Duration, Instant, Now};
use standin_core::view::ViewId;

use super::Node;
use crate::simulate::marks::Mark;
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

/// What one wake-up takes in may come on top: calls of all clients, besides these for timers, and for the beginning of a view.
const ONE_WAKE_UP: u64 = 24;
/// After four the backup must go, however they are counted.
const HALVES_MAX: u32 = 7;
/// However short the lease, a backup is not slow that is behind by less: a slow disk alone may make it so.
const SLOW_MIN: Duration = Duration::from_millis(100);
/// More than any run leaves unapplied at a backup that is not dropped.
const APPLIED_MAX: usize = 4096;

/// What a primary's shell remembers to judge how it treats its backup.
#[derive(Debug, Default)]
pub(super) struct PaceWatch {
    /// Entries that were applied here as primary, and when.
    applied_at: VecDeque<(Index, Instant)>,
    /// Since when the backup of this view has been too far behind at every look.
    slow_since: Option<(ViewId, Instant)>,
    /// How it was waited for in this view, half a term after the other.
    waiting: Waiting,
    looked_at: Instant,
    /// While whoever is waited for says nothing for long more is let in, and this is how much too much of that is still there.
    let_in_silent: u64,
    silent: Silence,
    drops_told: u64,
    /// The state came from a snapshot as of this entry: no entry up to there took any time.
    restored: Index,
}

/// Halves of a term in each of which the backup was waited for two thirds of the time: then in any other half, too, for a third.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    view: ViewId,
    /// When the present one began.
    began: Instant,
    waited: Duration,
    /// It was waited for as of the last look.
    was_waited_for: bool,
    halves: u32,
}

/// When something came over which connection: last, and as of the last look.
#[derive(Debug, Default)]
struct Silence {
    heard: BTreeMap<ConnId, (Instant, Instant)>,
}

impl Silence {
    fn hear(&mut self, conn: ConnId, now: Instant) {
        let (last, _) = self.heard.entry(conn).or_insert((now, now));
        *last = now;
    }

    /// Whether nothing may have been heard there for a quarter of a term at some moment since the last look.
    fn is_silent(&self, conn: Option<ConnId>, now: Instant, term: Duration) -> bool {
        let heard = conn.and_then(|conn| self.heard.get(&conn));
        heard.is_none_or(|(_, before)| now.since(*before) > term / 5)
    }

    fn looked(&mut self) {
        for (last, before) in self.heard.values_mut() {
            *before = *last;
        }
    }
}

impl PaceWatch {
    /// Something came over this connection of another replica.
    pub(super) fn hear(&mut self, conn: ConnId, now: Instant) {
        self.silent.hear(conn, now);
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.silent.heard.remove(&conn);
    }

    /// That of a process whose state is as of this entry.
    pub(super) fn of(restored: Index) -> Self {
        Self {
            restored,
            ..Self::default()
        }
    }

    /// A snapshot took the place of the state.
    pub(super) fn restored(&mut self, through: Index) {
        self.restored = through;
    }

    /// How long ago the first entry was applied here that is not among those up to `applied`.
    fn behind(&self, applied: Index, now: Instant) -> Duration {
        let oldest = self.applied_at.iter().find(|(index, _)| *index > applied);
        oldest.map_or(Duration::ZERO, |(_, at)| now.since(*at))
    }
}

impl<M: Subject> Node<M> {
    /// Entries were applied, which takes as long as this machine is slow.
    pub(super) fn take_time(&mut self, stage: &mut Stage<'_, M>, before: Index, through: Index) {
        let before = before.max(self.pace.restored);
        let entries = through.0.saturating_sub(before.0);
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        stage.waited += stage.apply_time * entries;
        if self.replica.role_name() != RoleName::Primary {
            self.pace.applied_at.clear();
            return;
        }
        let now = stage.read_clock().boot;
        self.pace.applied_at.push_back((through, now));
        if self.pace.applied_at.len() > APPLIED_MAX {
            self.pace.applied_at.pop_front();
        }
    }

    /// How far behind the host of a store is in applying what was applied here.
    fn behind(&self, stage: &Stage<'_, M>, store: StoreId, now: Instant) -> Option<Duration> {
        let mut replicas = stage.checks.truth.replicas.iter();
        let of_store = replicas.find(|one| {
            let identity = one.identity.as_ref();
            identity.is_some_and(|identity| identity.store == store)
        });
        let standing = of_store?.standing.as_ref()?;
        Some(self.pace.behind(standing.applied, now))
    }

    /// A backup that is always far behind is dropped, and as long as it is behind not much is admitted.
    pub(super) fn watch_pace(&mut self, stage: &mut Stage<'_, M>, now: Now) {
        let slow_since = self.pace.slow_since.take();
        let looked_at = std::mem::replace(&mut self.pace.looked_at, now.boot);
        let (Some(pace), Some(record)) = (self.replica.backup_pace(), self.replica.record()) else {
            return;
        };
        if pace.drops > self.pace.drops_told {
            stage.mark(Mark::SlowDropped);
            // Much is asked of it, and nothing is wrong with it yet.
            if self.plan.faults.is_empty() && stage.now < self.plan.heals_at() {
                let what = format!("host {}: its backup was dropped as too slow", stage.host);
                stage.checks.fail("L3", what);
            }
        }
        self.pace.drops_told = pace.drops;
        if let Some((backlog, backlog_max)) = pace.waited_for {
            stage.mark(Mark::SlowWaitedFor);
            let calls = (self.plan.clients * self.plan.calls_open) as u64;
            let too_many = backlog.saturating_sub(backlog_max);
            let let_in = &mut self.pace.let_in_silent;
            *let_in = if self
                .pace
                .silent
                .is_silent(pace.waits_on, now.boot, self.plan.term)
            {
                too_many.max(*let_in)
            } else {
                too_many.min(*let_in)
            };
            if backlog > backlog_max + *let_in + calls + ONE_WAKE_UP {
                let what = format!(
                    "host {}: its backup is behind by {backlog} entries, and no more than {backlog_max} should \
                     have been let in",
                    stage.host
                );
                stage.checks.fail("L5", what);
            }
        } else {
            self.pace.let_in_silent = 0;
        }
        self.pace.silent.looked();
        let term = self.plan.term;
        let own_store = self.dir.meta().store;
        let mut holders = record.holders.iter();
        let backup = holders.find(|holder| holder.token.store() != own_store);
        let view = record.id();
        let behind = backup.and_then(|it| self.behind(stage, it.token.store(), now.boot));
        // A process that was away cannot know how long anything took.
        let was_there = now.boot.since(looked_at) < term / 8;
        let has_lease = (self.replica.lease_until()).is_some_and(|until| now.boot < until);
        // A primary that is slow itself asks less of its backup.
        let is_watched = self.plan.are_clocks_bounded
            && pace.is_heard
            && !pace.is_changing
            && has_lease
            && stage.apply_time == Duration::ZERO;
        let slow = (term / 4).max(SLOW_MIN);
        let is_slow = behind.is_some_and(|behind| behind > slow + term / 16);
        let mut waiting = self.pace.waiting;
        if !(was_there && is_watched && waiting.view == view) {
            waiting = Waiting {
                view,
                began: now.boot,
                ..Waiting::default()
            };
        } else if waiting.was_waited_for {
            waiting.waited += now.boot.since(looked_at);
        }
        let half = now.boot.since(waiting.began);
        if half >= term / 2 {
            let is_much = waiting.waited * 3 > half * 2;
            waiting.halves = if is_much { waiting.halves + 1 } else { 0 };
            (waiting.began, waiting.waited) = (now.boot, Duration::ZERO);
        }
        waiting.was_waited_for = pace.waited_for.is_some();
        self.pace.waiting = waiting;
        if waiting.halves >= HALVES_MAX {
            let what = format!(
                "host {}: clients have waited for its backup in view {view} for {} halves of a term",
                stage.host, waiting.halves
            );
            stage.checks.fail("L3", what);
        }
        if !(was_there && is_watched && is_slow) {
            return;
        }
        let slow_since = slow_since.filter(|(of, _)| *of == view);
        let (_, since) = *self
            .pace
            .slow_since
            .insert(slow_since.unwrap_or((view, now.boot)));
        let waited = now.boot.since(since);
        // Two terms, and what it takes to see that they are over, by a clock that may be slow.
        if waited > term * 11 / 4 {
            let what = format!(
                "host {}: its backup in view {view} has been behind by {behind:?} and the like for {waited:?}",
                stage.host
            );
            stage.checks.fail("L3", what);
        }
    }
}
