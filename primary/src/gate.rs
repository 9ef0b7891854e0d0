//! What an answer waits for, and how that changes safely (`protocol.md` sections 2, 4 and rule R1).

use std::collections::{BTreeMap, VecDeque};

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::{Identity, StoreId, Token};
use standin_core::time::{Duration, Instant};
use standin_core::view::{Holder, ViewRecord};

/// While a Join is being prepared clients wait for two replicas; if the spare does not answer within
/// this time nothing was asked yet, and it is left for later.
pub(crate) const JOIN_WAIT_MAX: Duration = Duration::from_millis(50);
/// How long after a Join that came to nothing the next one may be tried.
pub(crate) const JOIN_RETRY: Duration = Duration::from_millis(200);
/// A spare with at most so many bytes on their way is close enough to be joined.
pub(crate) const JOIN_LAG_BYTES_MAX: usize = 1 << 20;

const FLAP_WINDOW: Duration = Duration::from_secs(60);
const FLAP_WAIT_MAX: Duration = Duration::from_secs(60);

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
    /// what a solo view asks for and what a pair asks for must hold.
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
#[derive(Debug, Default)]
pub(crate) struct Flapping {
    drops: BTreeMap<StoreId, VecDeque<Instant>>,
}

impl Flapping {
    pub(crate) fn dropped(&mut self, store: StoreId, now: Instant) {
        let drops = self.drops.entry(store).or_default();
        drops.push_back(now);
        if drops.len() > 8 {
            drops.pop_front();
        }
    }

    /// When the store may be joined again.
    pub(crate) fn join_at(&self, store: StoreId) -> Instant {
        let Some(last) = self.drops.get(&store).and_then(|drops| drops.back()) else {
            return Instant::ZERO;
        };
        let recent = self.drops[&store]
            .iter()
            .filter(|at| last.since(**at) < FLAP_WINDOW)
            .count();
        match u32::try_from(recent.saturating_sub(1)) {
            Ok(0) | Err(_) => Instant::ZERO,
            Ok(again) => last.plus(Duration::from_secs(1 << again.min(6)).min(FLAP_WAIT_MAX)),
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
}
