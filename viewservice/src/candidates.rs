//! Who may become primary: a living holder, and which of them.

use standin_core::identity::{Incarnation, StoreId, Token};
use standin_core::planted::Bug;
use standin_core::time::{Duration, Instant};
use standin_core::view::{Holder, Member, ViewRecord};

use crate::roster::{Replica, Roster};
use crate::stored::StoredState;

/// What has become of a holder that the record names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HolderState<'a> {
    /// It lives and still is what the record names.
    Ready(&'a Replica),
    /// Nothing is heard of it.
    Silent,
    /// A replica of its name lives, but cannot stand for it.
    Unfit(&'a Replica, Unfit),
}

/// Why a living replica does not stand for the holder of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its data directory is another.
    OtherStore,
    /// Its process was restarted, and entries were acknowledged in memory.
    Restarted,
    /// Its machine was rebooted, and entries were acknowledged in the page cache.
    Rebooted,
    /// Its disk failed, and entries were acknowledged in the page cache.
    DiskFailed,
    /// It comes back with less than it had, or as a copy of an earlier state.
    OldCopy,
    /// It is out of service until an operator has looked at it.
    Quarantined,
}

/// What has become of a holder that the record in `state` names.
pub(crate) fn holder_state<'a>(
    state: &StoredState,
    record: &ViewRecord,
    holder: &Holder,
    roster: &'a Roster,
    (now, term): (Instant, Duration),
) -> HolderState<'a> {
    let replica = roster
        .by_store(holder.token.store())
        .or_else(|| roster.by_name(&holder.name));
    let Some(replica) = replica.filter(|replica| replica.is_alive(now, term)) else {
        return HolderState::Silent;
    };
    let counts_restarted =
        roster.planted.has(Bug::RestartedPromoted) && matches!(holder.token, Token::Memory { .. });
    let token_is_dead = !holder.is(&replica.identity) && !counts_restarted;
    let unfit = if replica.identity.store != holder.token.store() {
        Some(Unfit::OtherStore)
    } else if state.is_dead(holder.token) {
        Some(Unfit::DiskFailed)
    } else if token_is_dead {
        Some(match holder.token {
            Token::Memory { .. } => Unfit::Restarted,
            Token::Os { .. } | Token::Disk { .. } => Unfit::Rebooted,
        })
    } else if replica.is_quarantined() {
        Some(Unfit::Quarantined)
    } else if (replica.is_old_copy() || is_copy(record, replica))
        && !roster.planted.has(Bug::OldCopyPromoted)
    {
        Some(Unfit::OldCopy)
    } else {
        None
    };
    unfit.map_or(HolderState::Ready(replica), |unfit| {
        HolderState::Unfit(replica, unfit)
    })
}

/// Whether a replica is a life of a store that the record names in a role, but neither that life nor
/// a later one: the directory was copied or put back.
pub(crate) fn is_copy(record: &ViewRecord, replica: &Replica) -> bool {
    let speaks = replica.identity.life.incarnation;
    let conflicts = |member: &Member| {
        member.name == replica.identity.name
            && member.incarnation != speaks
            && !speaks.is_newer_than(member.incarnation)
    };
    conflicts(&record.primary) || record.backup.as_ref().is_some_and(conflicts)
}

/// The replica that should be primary next: a living holder, never the very life that is primary now.
///
/// Of several: the longest log; then not a later life of the present primary. In an inactive view the
/// latter comes first, so that a candidate that dies again and again cannot keep a healthy one out.
pub(crate) fn best_candidate<'a>(
    state: &StoredState,
    record: &ViewRecord,
    roster: &'a Roster,
    at: (Instant, Duration),
) -> Option<&'a Replica> {
    let primary_store = primary_store(record);
    record
        .holders
        .iter()
        .filter_map(
            |holder| match holder_state(state, record, holder, roster, at) {
                HolderState::Ready(replica) => Some(replica),
                HolderState::Silent | HolderState::Unfit(..) => None,
            },
        )
        .chain(roster.iter().filter(|replica| {
            roster.planted.has(Bug::NonHolderPromoted) && replica.is_alive(at.0, at.1)
        }))
        .filter(|replica| !record.primary.is(&replica.identity))
        .max_by_key(|replica| {
            let is_other = Some(replica.identity.store) != primary_store;
            let last = replica.standing.last;
            (
                !record.active && is_other,
                (last.view, last.index),
                is_other,
                std::cmp::Reverse(&replica.identity.name),
            )
        })
}

/// Whether whom the primary hands over to can take over: it lives, in the very life that `proposed` names,
/// and still is the holder that the record names.
///
/// Not that the view service judged who is in sync (rule R6). But somebody who is away would leave a view
/// without anybody to serve in it, while a primary is there that can.
pub(crate) fn can_be_handed_to(
    state: &StoredState,
    record: &ViewRecord,
    proposed: &ViewRecord,
    roster: &Roster,
    at: (Instant, Duration),
) -> bool {
    record.holders.iter().any(|holder| {
        holder.name == proposed.primary.name
            && matches!(
                holder_state(state, record, holder, roster, at),
                HolderState::Ready(replica) if proposed.primary.is(&replica.identity)
            )
    })
}

/// The later life of the primary's store that has reported, which proves the primary dead.
pub(crate) fn primary_restarted(record: &ViewRecord, roster: &Roster) -> Option<Incarnation> {
    let store = primary_store(record)?;
    let incarnation = roster.by_store(store)?.identity.life.incarnation;
    incarnation
        .is_newer_than(record.primary.incarnation)
        .then_some(incarnation)
}

/// The primary's store. A primary is always a holder, so the record names it.
fn primary_store(record: &ViewRecord) -> Option<StoreId> {
    record
        .holders
        .iter()
        .find(|holder| holder.name == record.primary.name)
        .map(|holder| holder.token.store())
}
