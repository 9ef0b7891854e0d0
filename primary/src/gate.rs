//! What an answer waits for, and how that changes safely (`protocol.md` sections 2, 4 and rule R1).

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use standin_core::clock::{JUMP_MAX, LoggedClock};
use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::{Identity, StoreId, Token};
use standin_core::planted::Bug;
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::view::{Holder, Reason, ViewRecord};

use crate::follower::Follower;
use crate::primary::{Action, Primary, Stage};

/// While a Join is being prepared clients wait for two replicas; if the spare does not answer within
/// this time nothing was asked yet, and it is left for later.
pub(crate) const JOIN_WAIT_MAX: Duration = Duration::from_millis(50);
/// How long after a Join that came to nothing the next one may be tried.
pub(crate) const JOIN_RETRY: Duration = Duration::from_millis(200);
/// Each Join that comes to nothing doubles that time, at most so often: clients waited in vain.
const JOIN_BACKOFF_MAX: u32 = 5;
/// A spare with at most so many bytes on their way is close enough to be joined.
pub(crate) const JOIN_LAG_BYTES_MAX: usize = 1 << 20;

const FLAP_WINDOW: Duration = Duration::from_secs(60);
const FLAP_WAIT_MAX: Duration = Duration::from_secs(60);
/// Most stores whose drops are remembered, far more than a cluster has replicas; the one whose last
/// drop is the oldest is forgotten first, and at worst is joined again a little too early.
const FLAPPING_STORES_MAX: usize = 64;
/// Most drops of a store that are remembered: more in [`FLAP_WINDOW`] make it wait no longer.
const FLAPPING_DROPS_MAX: usize = 8;

/// What an answer waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The record names no backup and none may come to be named: the own disk, and the lease.
    Solo,
    /// The record names a backup, or did when it was last read: the pair's durability level here,
    /// and that backup's acknowledgement. Also while a Drop is on its way: rule R1 loosens only after
    /// the record was read.
    Paired {
        /// The backup as the record names it: only under this token do acknowledgements count.
        backup: Holder,
    },
    /// A spare is being made the backup. The record may already name it or may still not, so both
    /// what a solo view asks for, the lease included, and what a pair asks for must hold.
    Joining(Joining),
}

/// A Join under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joining {
    /// The stream of the spare.
    pub(crate) conn: ConnId,
    pub(crate) identity: Identity,
    /// The token under which it will be a holder.
    pub(crate) token: Token,
    /// Everything answered before answers began to wait for the spare is at or below this.
    pub(crate) barrier: Index,
    pub(crate) since: Instant,
    /// The Join was sent: it may land at any time from here on.
    pub(crate) is_asked: bool,
}

/// A swap of the record that was decided on.
#[derive(Clone, Debug)]
pub(crate) struct PendingSwap {
    pub(crate) proposed: ViewRecord,
    /// The log must be synced up to here before it is asked.
    pub(crate) after_sync: Index,
    /// When it was last asked. Asking again is safe: it is a compare-and-swap.
    pub(crate) asked_at: Option<Instant>,
}

/// Remembers how often each store was dropped, so that a flapping backup does not make every client
/// wait again and again: dropped twice in a minute, it waits 2, 4, .. 60 s before its next Join.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flapping {
    drops: BTreeMap<StoreId, VecDeque<Instant>>,
}

impl Flapping {
    pub(crate) fn dropped(&mut self, store: StoreId, now: Instant) {
        let drops = self.drops.entry(store).or_default();
        drops.push_back(now);
        if drops.len() > FLAPPING_DROPS_MAX {
            drops.pop_front();
        }
        if self.drops.len() > FLAPPING_STORES_MAX {
            let last_drop = |(_, drops): &(&StoreId, &VecDeque<Instant>)| drops.back().copied();
            let oldest = self.drops.iter().min_by_key(last_drop);
            if let Some(store) = oldest.map(|(&store, _)| store) {
                self.drops.remove(&store);
            }
        }
    }

    /// A store is about to be dropped since it is too slow: it waits as if it had been dropped before.
    pub(crate) fn slow(&mut self, store: StoreId, now: Instant) {
        if self.recent(store, now) == 0 {
            self.dropped(store, now);
        }
    }

    /// How often the store was dropped in the minute before `now`, as far as that is remembered.
    pub(crate) fn recent(&self, store: StoreId, now: Instant) -> usize {
        let drops = self.drops.get(&store).into_iter().flatten();
        drops.filter(|at| now.since(**at) < FLAP_WINDOW).count()
    }

    /// When the store may be joined again.
    pub(crate) fn join_at(&self, store: StoreId) -> Instant {
        let Some(last) = self.drops.get(&store).and_then(|drops| drops.back()) else {
            return Instant::ZERO;
        };
        let recent = self.recent(store, *last);
        match u32::try_from(recent.saturating_sub(1)) {
            Ok(0) | Err(_) => Instant::ZERO,
            Ok(again) => last.plus(Duration::from_secs(1 << again.min(6)).min(FLAP_WAIT_MAX)),
        }
    }
}

impl Primary {
    /// The follower that answers wait for, if it has a stream in this view.
    pub(crate) fn gate_follower(&self) -> Option<&Follower> {
        match &self.gate {
            Gate::Solo => None,
            Gate::Paired { backup } => self
                .followers
                .values()
                .find(|follower| self.counts_for(backup, &follower.identity)),
            Gate::Joining(joining) => self.followers.get(&joining.conn),
        }
    }

    /// Whether acknowledgements of this life count for the holder in the record: only under the very
    /// token that is there (section 2).
    ///
    /// A life that began after a clean stop still *is* that holder, for it has everything that the
    /// life before acknowledged. But what it acknowledges itself stands under its own token. Worked
    /// through: a backup stops cleanly, comes back after a reboot, acknowledges more in the page
    /// cache, and loses power. The token of the life that stopped cleanly would still stand, and with
    /// it a store that lacks what was answered since could become primary.
    fn counts_for(&self, backup: &Holder, identity: &Identity) -> bool {
        let is_same_store = identity.store == backup.token.store();
        identity.token(self.durability) == backup.token
            || (self.planted.has(Bug::RestartedGates) && is_same_store)
            || (self.planted.has(Bug::CleanStopGates) && backup.is(identity))
    }

    /// Whether the backup's store follows under another token than the record has: the life that is
    /// in the record has ended, and nothing will ever be acknowledged under its token again.
    fn is_backup_reborn(&self) -> bool {
        let Gate::Paired { backup } = &self.gate else {
            return false;
        };
        self.followers.values().any(|follower| {
            follower.identity.store == backup.token.store()
                && !self.counts_for(backup, &follower.identity)
        })
    }

    /// The store that answers wait for.
    pub(crate) fn gate_store(&self) -> Option<StoreId> {
        match &self.gate {
            Gate::Solo => None,
            Gate::Paired { backup } => Some(backup.token.store()),
            Gate::Joining(joining) => Some(joining.identity.store),
        }
    }

    pub(crate) fn gate_acked(&self) -> Index {
        self.gate_follower()
            .map_or(Index::ZERO, |follower| follower.acked)
    }

    /// What the spare whose Join is under way has acknowledged, though its stream may be gone.
    fn acked_by_spare(&self) -> Index {
        match &self.gate {
            Gate::Joining(joining) => (joining.barrier)
                .max(self.gate_acked())
                .max(self.gate_acked_before),
            Gate::Solo | Gate::Paired { .. } => Index::ZERO,
        }
    }

    /// The backup follows with a log that ends at `last`. If that is less than it has acknowledged,
    /// its store is an old copy, which nobody may trust before it was joined anew.
    pub(crate) fn notice_loss(&mut self, acked_before: Index, last: Index, now: Instant) {
        if last < acked_before.max(self.gate_joined_with) && self.swap.is_none() {
            self.drop_backup(now);
        }
    }

    /// If `identity` is the backup that answers wait for: since when it has been silent, and what it
    /// has acknowledged. A new stream of it goes on from there.
    pub(crate) fn gate_silence(
        &self,
        identity: &Identity,
        now: Instant,
    ) -> Option<(Instant, Index)> {
        let Gate::Paired { backup } = &self.gate else {
            return None;
        };
        let stream = self.gate_follower();
        self.counts_for(backup, identity).then(|| {
            stream.map_or(
                (self.gate_alone_since, self.gate_acked_before),
                |follower| (follower.silent_since(now), follower.best()),
            )
        })
    }

    /// This process was away (paused, or starved): what the backup sent meanwhile is still to be
    /// read, so its silence counts from now.
    pub(crate) fn notice_absence(&mut self, now: Instant) {
        let is_late = |at: Instant| now > at.plus(self.term() / 4);
        if !self.expected_at.is_some_and(is_late) {
            return;
        }
        self.gate_alone_since = now;
        self.slowness.excuse(now);
        for follower in self.followers.values_mut() {
            follower.excuse(now);
        }
    }

    /// A backup that gets on with nothing for this long is dropped (section 6).
    pub(crate) fn silence_max(&self) -> Duration {
        if self.planted.has(Bug::SilentKept) {
            return self.term() * 10;
        }
        self.term() / 2
    }

    pub(crate) fn silence_ends(&self) -> Option<Instant> {
        let is_watched = match &self.gate {
            Gate::Solo => false,
            Gate::Paired { .. } => true,
            Gate::Joining(joining) => joining.is_asked,
        };
        // A Drop that was decided on is pursued by itself.
        if !is_watched
            || self
                .swap
                .as_ref()
                .is_some_and(|swap| swap.proposed.backup.is_none())
        {
            return None;
        }
        match self.gate_follower() {
            Some(follower) => follower.silent_at(self.silence_max()),
            None => Some(self.gate_alone_since.plus(self.silence_max())),
        }
    }

    /// Drops a silent backup, gives up a Join that takes too long, begins one that can succeed.
    pub(crate) fn watch_gate(&mut self, now: Instant) {
        if !self.is_active() {
            return;
        }
        let is_silent = self.silence_ends().is_some_and(|at| now >= at);
        if is_silent || (self.swap.is_none() && self.is_backup_reborn()) {
            self.drop_backup(now);
        }
        match &self.gate {
            Gate::Solo => self.consider_join(now),
            Gate::Paired { .. } => {}
            Gate::Joining(joining) if !joining.is_asked => self.continue_join(now),
            Gate::Joining(_) => {}
        }
    }

    /// Decides on a Drop. Until the record is read the gate stays as it is (rule R1). It is also the
    /// fence for a Join that was asked and given up: it may still land, unless this lands first.
    pub(crate) fn drop_backup(&mut self, now: Instant) {
        if self.planted.has(Bug::JoinUnfenced) && matches!(self.gate, Gate::Joining(_)) {
            self.swap = None;
            self.gate = Gate::Solo;
            return;
        }
        let Some(store) = self.gate_store() else {
            return;
        };
        self.stop_handing_over();
        self.flapping.dropped(store, now);
        self.ask_to_drop();
    }

    fn ask_to_drop(&mut self) {
        let proposed = self.record.drop_backup(&self.identity);
        self.ask(proposed);
    }

    /// A Join that is turned down for good must not be asked for ever. An earlier copy of it may
    /// still be on its way, so it is fenced like one that was given up.
    pub(crate) fn on_swap_refused(&mut self, now: Instant) {
        if self.is_asked_to_hand_over() {
            return self.on_hand_over_refused(now);
        }
        let is_join = self
            .swap
            .as_ref()
            .is_some_and(|swap| swap.proposed.backup.is_some());
        if is_join {
            self.drop_backup(now);
        }
    }

    /// A follower is about to stop. Answers need not wait for the backup to be silent for long; that it
    /// goes is no sign that it flaps.
    pub(crate) fn on_leave(&mut self, conn: ConnId, nonce: u64, now: Instant) {
        let is_of_stream = self
            .followers
            .get(&conn)
            .is_some_and(|it| it.nonce == nonce);
        let is_gate = self.gate_follower().is_some_and(|gate| gate.conn == conn);
        if !is_of_stream || !is_gate || self.is_dropping() {
            return;
        }
        match &self.gate {
            Gate::Solo => {}
            Gate::Paired { .. } => {
                self.stop_handing_over();
                self.ask_to_drop();
            }
            Gate::Joining(joining) if joining.is_asked => self.drop_backup(now),
            // It is given up as if its connection had gone.
            Gate::Joining(_) => self.close_follower(conn),
        }
    }

    pub(crate) fn on_backup_unseen(&mut self, unseen: Duration, now: Instant) {
        let is_dropping = self.swap.is_some() || self.planted.has(Bug::UnseenKept);
        if matches!(self.gate, Gate::Paired { .. }) && !is_dropping && unseen > self.term() * 5 {
            self.drop_backup(now);
        }
    }

    /// Nothing more will come of the backup, so its silence is not waited for.
    pub(crate) fn on_backup_died(&mut self, now: Instant) {
        if matches!(self.gate, Gate::Paired { .. }) && self.swap.is_none() {
            self.drop_backup(now);
        }
    }

    pub(crate) fn join_tried_at(&self) -> Option<Instant> {
        let waits = self
            .candidates()
            .map(|follower| self.flapping.join_at(follower.identity.store));
        waits.min().map(|at| at.max(self.join_at))
    }

    pub(crate) fn candidates(&self) -> impl Iterator<Item = &Follower> {
        self.followers.values().filter(|follower| {
            let is_close = follower.is_caught_up(self.tip.index, JOIN_LAG_BYTES_MAX);
            (is_close && follower.keeps_up || self.planted.has(Bug::SpareUnsynced))
                && self.may_join(follower)
                && !self.excluded.contains(&follower.identity.store)
        })
    }

    /// Whether the record as it was last read leaves this primary alone and its lease has lapsed:
    /// then nothing is committed and no read confirmed until it is granted again (section 3).
    ///
    /// The acknowledgements of a spare whose Join is under way do not stand for it: they vouch for
    /// those of a holder, which the spare is only once that has landed.
    pub(crate) fn is_alone_without_lease(&self, now: Instant) -> bool {
        match &self.gate {
            Gate::Solo => !self.is_lease_held(now),
            Gate::Joining(_) => !self.is_lease_held(now) && !self.planted.has(Bug::JoinUnleased),
            Gate::Paired { .. } => false,
        }
    }

    /// First half of a Join: answers begin to wait for the spare before anything is asked (R1). Not
    /// without the lease: the view service that would have to agree is not heard either.
    pub(crate) fn consider_join(&mut self, now: Instant) {
        if self.swap.is_some()
            || !self.is_serving()
            || now < self.join_at
            || self.lease_until.is_none()
        {
            return;
        }
        let spare = self
            .candidates()
            .filter(|follower| now >= self.flapping.join_at(follower.identity.store))
            // One whose disk hangs keeps up with what is sent, but not with what it acknowledges. It
            // must not be tried again and again while another one could be had.
            .max_by_key(|follower| {
                // Of two that have everything, the one that gave less trouble.
                let drops = self.flapping.recent(follower.identity.store, now);
                let name = &follower.identity.name;
                (follower.acked, Reverse(drops), Reverse(name))
            });
        let Some(spare) = spare else { return };
        self.gate = Gate::Joining(Joining {
            conn: spare.conn,
            identity: spare.identity.clone(),
            token: spare.identity.token(self.durability),
            barrier: self.tip.index,
            since: now,
            is_asked: false,
        });
        self.reads.forget_rounds();
    }

    /// Second half: once the spare has all that may have been answered without it, ask.
    pub(crate) fn continue_join(&mut self, now: Instant) {
        let Gate::Joining(joining) = &self.gate else {
            return;
        };
        let stream = self.followers.get(&joining.conn);
        let is_in_sync = stream.is_some_and(|follower| {
            follower.acked >= joining.barrier || self.planted.has(Bug::SpareUnsynced)
        });
        let may_join = stream.is_some_and(|follower| self.may_join(follower));
        let is_late = now >= joining.since.plus(JOIN_WAIT_MAX);
        if is_in_sync && may_join {
            let own = Holder {
                name: self.identity.name.clone(),
                token: self.identity.token(self.durability),
            };
            let proposed = self.record.join(own, (&joining.identity, joining.token));
            if let Gate::Joining(joining) = &mut self.gate {
                joining.is_asked = true;
            }
            self.gate_alone_since = now;
            self.ask(proposed);
        } else if is_late || !may_join {
            // Nothing was asked yet, so nothing can land: answers may flow alone again.
            self.gate = Gate::Solo;
            self.join_at = now.plus(JOIN_RETRY * (1 << self.joins_in_vain.min(JOIN_BACKOFF_MAX)));
            self.joins_in_vain += 1;
            self.reads.forget_rounds();
        }
    }

    /// Decides on a swap. Every swap that makes this the lone holder waits for the own disk.
    pub(crate) fn ask(&mut self, proposed: ViewRecord) {
        let is_alone = proposed
            .holders
            .iter()
            .all(|holder| matches!(holder.token, Token::Disk { .. }) && holder.is(&self.identity));
        let after_sync = if is_alone {
            self.tip.index
        } else {
            Index::ZERO
        };
        self.is_sync_wanted |= is_alone;
        self.swap = Some(PendingSwap {
            proposed,
            after_sync,
            asked_at: None,
        });
    }

    pub(crate) fn pursue_swap(&mut self, now: Instant) {
        let again = self.term() / 4;
        let synced = self.synced;
        let Some(swap) = &mut self.swap else { return };
        let is_unsynced = match swap.proposed.reason {
            Reason::Activated => self.planted.has(Bug::ActivateUnsynced),
            _ => self.planted.has(Bug::DropUnsynced),
        };
        if synced < swap.after_sync && !is_unsynced {
            self.is_sync_wanted = true;
            return;
        }
        if swap.asked_at.is_some_and(|at| now < at.plus(again)) {
            return;
        }
        swap.asked_at = Some(now);
        self.actions.push_back(Action::Swap {
            expected: Box::new(self.record.clone()),
            proposed: Box::new(swap.proposed.clone()),
        });
    }

    pub(crate) fn on_record(&mut self, now: Now, record: &ViewRecord, wall: WallTime) {
        assert!(
            record.primary.is(&self.identity),
            "the role ends before such a record comes"
        );
        self.wall_of_viewservice = wall;
        if *record == self.record {
            return; // an outstanding swap has not landed yet, and is asked again in time
        }
        assert!(record.id() >= self.record.id(), "views rise");
        let is_first = self.stage == Stage::Candidate;
        self.record = record.clone();
        if !record.active {
            return;
        }
        self.swap = None;
        self.hand_over = None;
        self.has_given_lease_back = false;
        self.joins_in_vain = 0;
        self.gate_alone_since = now.boot;
        self.slowness.begin_anew(now.boot);
        self.gate_joined_with = self.acked_by_spare();
        self.gate_acked_before = Index::ZERO;
        self.gate = match record
            .holders
            .iter()
            .find(|holder| !holder.is(&self.identity))
            .filter(|_| record.backup.is_some() || !self.planted.has(Bug::DeposedKept))
            .filter(|_| !(is_first && self.planted.has(Bug::HandOverUngated)))
        {
            Some(backup) => Gate::Paired {
                backup: backup.clone(),
            },
            None => Gate::Solo,
        };
        self.reads.forget_rounds();
        if is_first {
            let ceiling = self.wall_of_viewservice.plus(JUMP_MAX);
            let floor = match self.tip.time {
                _ if self.planted.has(Bug::TimeFalls) => WallTime::default(),
                time => time,
            };
            self.clock = Some(LoggedClock::new(now, floor, Some(ceiling)));
        }
        // Streams belong to a view: followers ask anew in this one.
        self.followers.clear();
        self.start_view(now);
        if is_first {
            self.stage = Stage::Active {
                serves_from: self.view_start,
            };
        }
        for (conn, follow) in std::mem::take(&mut self.early) {
            self.on_follow(conn, &follow, now.boot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_is_dropped_again_and_again_waits_longer_each_time() {
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let store = StoreId(1);
        let mut flapping = Flapping::default();
        assert_eq!(flapping.join_at(store), Instant::ZERO);
        let mut waits = Vec::new();
        for second in 0..8 {
            flapping.dropped(store, at(second));
            waits.push(flapping.join_at(store).since(at(second)).as_secs());
        }
        assert_eq!(waits, [0, 2, 4, 8, 16, 32, 60, 60]);
        flapping.dropped(store, at(500));
        assert_eq!(
            flapping.join_at(store),
            Instant::ZERO,
            "one drop in a minute is no flapping"
        );
        assert_eq!(flapping.join_at(StoreId(2)), Instant::ZERO);
    }

    #[test]
    fn of_the_stores_that_were_dropped_only_the_newest_are_remembered() {
        let at = |number: u64| Instant::from_nanos(number);
        let mut flapping = Flapping::default();
        for number in 0..1000 {
            for _ in 0..2 {
                flapping.dropped(StoreId(u128::from(number)), at(number));
            }
            assert!(flapping.drops.len() <= FLAPPING_STORES_MAX);
        }
        let is_remembered = |number| flapping.join_at(StoreId(number)) > Instant::ZERO;
        assert!((0..1000).map(is_remembered).skip(1000 - 64).all(|is| is));
    }
}
