//! Force: an operator names a replica that may lack what was answered (`protocol.md` section 2).
//!
//! The protocol allows it in any state of the record. It is granted only where nothing else is left: no
//! lease can be held, and nobody is about to take over with all that was answered. Those are the
//! states in which the status tells of it.

use standin_core::identity::{Durability, ReplicaName};
use standin_core::view::{DataEpoch, Holder, Reason, ViewRecord};

use crate::candidates::{HolderState, holder_state};
use crate::roster::{Replica, millis};
use crate::status::{self, Facts};

/// The replica that is to be primary, if it may be; otherwise why not, and what to do instead.
pub(crate) fn chosen<'a>(facts: &Facts<'a>, name: &ReplicaName) -> Result<&'a Replica, String> {
    let Some(record) = &facts.state.record else {
        return Err(
            "there is no view that could be recovered; 'standin status' says why".to_owned(),
        );
    };
    if facts.is_behind {
        return Err(status::behind(record, facts));
    }
    if facts.holds_lease() {
        let (primary, view) = (&record.primary.name, record.id());
        return Err(format!(
            "{primary} holds the lease of view {view}: there is nothing to recover; if it does not \
             answer, stop it"
        ));
    }
    if let Some(outlook) = status::outlook(record, facts) {
        return Err(format!("nothing need be lost: {outlook}"));
    }
    if let Some(left) = facts.lease_may_be_held_for() {
        return Err(format!(
            "a lease may still be held, for {} ms at most; try again then",
            millis(left)
        ));
    }
    let living = living(facts);
    let Some(replica) = facts.roster.by_name(name) else {
        return Err(format!("no replica {name} has been heard of; {living}"));
    };
    if !facts.is_alive(replica) {
        return Err(format!(
            "{name} is not running; start it, or name another: {living}"
        ));
    }
    if replica.is_quarantined() {
        let why = replica.trouble.as_deref().unwrap_or("quarantined");
        return Err(format!("{name} is out of service ({why}); {living}"));
    }
    if facts.state.is_dead(replica.identity.token(Durability::Os)) {
        return Err(format!(
            "the disk of {name} has failed, and it is about to end: start it again first; {living}"
        ));
    }
    if is_whole(record, replica, facts) {
        return Err(format!(
            "{name} has every answered entry, and nothing need be lost: restart it if it makes no \
             progress"
        ));
    }
    Ok(replica)
}

/// What came of an earlier wish to the same end, if it was granted: who asks again may not have heard.
pub(crate) fn done_before(record: &ViewRecord, name: &ReplicaName) -> Option<String> {
    let goes_on = matches!(record.reason, Reason::Forced | Reason::Activated);
    let is_it = record.data_epoch > DataEpoch(0) && record.primary.name == *name;
    (goes_on && is_it).then(|| {
        format!("nothing more was done: {name} had been named before, and goes on with the log that it had")
    })
}

/// Whether a replica is a holder that needs no force.
pub(crate) fn is_whole(record: &ViewRecord, replica: &Replica, facts: &Facts<'_>) -> bool {
    let at = (facts.now, facts.term());
    record.holders.iter().any(|holder| {
        holder.token.store() == replica.identity.store
            && matches!(
                holder_state(facts.state, record, holder, facts.roster, at),
                HolderState::Ready(_)
            )
    })
}

/// The replicas that may be named, in words.
fn living(facts: &Facts<'_>) -> String {
    let may_be_named = |replica: &&Replica| facts.is_alive(replica) && !replica.is_quarantined();
    let names: Vec<&str> = facts
        .roster
        .iter()
        .filter(may_be_named)
        .map(|replica| replica.identity.name.as_str())
        .collect();
    if names.is_empty() {
        "no replica that could be named is running".to_owned()
    } else {
        format!("running: {}", names.join(", "))
    }
}

/// What is lost if `chosen` goes on alone, as far as anybody has said, in words.
pub(crate) fn loss(record: &ViewRecord, chosen: &Replica, facts: &Facts<'_>) -> String {
    let (name, last) = (&chosen.identity.name, chosen.standing.last);
    let mut words = format!(
        "{name} goes on with the log that it has, up to entry {} (view {}); whatever else was answered \
         is lost",
        last.index, last.view
    );
    let is_other = |replica: &&Replica| replica.identity.name != chosen.identity.name;
    let others = facts.roster.iter().filter(is_other);
    let longest = others.max_by_key(|other| (other.standing.last.view, other.standing.last.index));
    if let Some(other) = longest
        && (other.standing.last.view, other.standing.last.index) > (last.view, last.index)
    {
        let (index, view) = (other.standing.last.index, other.standing.last.view);
        words += &format!(
            "; {} has said to have more, up to entry {index} (view {view})",
            other.identity.name
        );
        if facts.is_alive(other) && !other.is_quarantined() {
            words += match is_whole(record, other, facts) {
                true => ", and is running: restart it, and nothing need be lost",
                false => ", and is running: name it to lose less",
            };
        }
    }
    let is_silent = |holder: &&Holder| {
        let reported = facts.roster.by_name(&holder.name);
        !reported.is_some_and(|replica| facts.is_alive(replica))
    };
    let silent = record.holders.iter().filter(is_silent);
    let silent: Vec<&str> = silent.map(|holder| holder.name.as_str()).collect();
    if !silent.is_empty() {
        let silent = silent.join(" and ");
        words += &format!(
            "; make sure that {silent} cannot be reached by clients: merely cut off from the view \
             service, a pair goes on answering, and that is lost, too"
        );
    }
    words
}
