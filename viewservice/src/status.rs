//! The answer to "how is everybody?", above all why nobody serves and what to do about it.

use standin_core::identity::{BootId, ClusterId, Identity, Incarnation, Life, ReplicaName};
use standin_core::message::{Peer, ReplicaStatus, StatusReply};
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewRecord;

use crate::candidates::{HolderState, Unfit, best_candidate, holder_state, primary_restarted};
use crate::force;
use crate::lease::Grantor;
use crate::roster::{Replica, Roster, millis};
use crate::stored::StoredState;

/// All that a status is made of.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) state: &'a StoredState,
    pub(crate) roster: &'a Roster,
    pub(crate) grantor: &'a Grantor,
    pub(crate) now: Instant,
    /// Since when this process runs.
    pub(crate) started_at: Instant,
    /// The lease term of the present view.
    pub(crate) term_ms: u32,
    /// The data directory is an old copy.
    pub(crate) is_behind: bool,
    /// What is wrong with the view service itself, in words.
    pub(crate) trouble: Option<String>,
    /// The record was lost, and is to be made again.
    pub(crate) is_rebuilding: bool,
    /// A cluster whose replicas knock, which is not this one's.
    pub(crate) strangers: Option<ClusterId>,
    /// This view's primary gave its lease back.
    pub(crate) is_released: bool,
    /// This view's primary has died: its parent has reaped it.
    pub(crate) has_died: bool,
    /// The view is inactive, and its candidate has had its time.
    pub(crate) is_overdue: bool,
}

/// How a view service fares: for probes and metrics.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    /// What it tells anyone who asks.
    pub status: StatusReply,
    /// Why it can let nobody serve, whatever replicas there are, and what to do about it: its record is lost, or an old one.
    pub unfit: Option<String>,
}

/// The same for probes.
pub(crate) fn account(facts: &Facts<'_>) -> ServiceAccount {
    let status = reply(facts);
    let is_unfit = facts.is_rebuilding || facts.is_behind;
    let unfit = status.unavailable.clone().filter(|_| is_unfit);
    ServiceAccount { status, unfit }
}

/// The whole answer.
pub(crate) fn reply(facts: &Facts<'_>) -> StatusReply {
    let is_held = facts.holds_lease();
    let lease = facts.grantor.remaining(facts.now).filter(|_| is_held);
    StatusReply {
        cluster: facts.state.cluster,
        record: facts.state.record.clone(),
        term_ms: facts.term_ms,
        lease_remaining_ms: lease.map(millis),
        replicas: replicas(facts),
        unavailable: unavailable(facts),
        trouble: facts.trouble.clone(),
    }
}

/// Those that reported, and those that are only known by name, in the order of their names.
fn replicas(facts: &Facts<'_>) -> Vec<ReplicaStatus> {
    let unseen = facts.now.since(facts.started_at);
    let unreported = unreported(facts.state, facts.roster, unseen).map(|peer| ReplicaStatus {
        peer,
        standing: None,
        is_alive: false,
        trouble: None,
        room: None,
        behind_ms: None,
        versions: None,
    });
    let reported = facts.roster.iter().map(|replica| ReplicaStatus {
        peer: replica.peer(facts.now),
        standing: Some(replica.standing),
        is_alive: facts.is_alive(replica),
        trouble: replica.trouble.clone(),
        room: Some(replica.room),
        behind_ms: behind_ms(facts, replica),
        versions: replica.versions,
    });
    let mut all: Vec<ReplicaStatus> = reported.chain(unreported).collect();
    all.sort_by(|a, b| a.peer.identity.name.cmp(&b.peer.identity.name));
    all
}

/// How long ago that was sent to a replica which it has not dealt with yet, by the primary's last word.
fn behind_ms(facts: &Facts<'_>, replica: &Replica) -> Option<u64> {
    let record = facts.state.record.as_ref().filter(|record| record.active)?;
    if record.primary.is(&replica.identity) {
        return Some(0);
    }
    let primary = facts.roster.by_name(&record.primary.name)?;
    let is_it = record.primary.is(&primary.identity) && facts.is_alive(primary);
    let mut lags = primary.lags.iter().filter(|_| is_it);
    let lag = lags.find(|lag| lag.store == replica.identity.store)?;
    Some(lag.behind_ms())
}

/// Those that are known by name and have not reported since this process began, for so long: their
/// names and their stores. Lives and addresses are empty.
pub(crate) fn unreported<'a>(
    state: &'a StoredState,
    roster: &'a Roster,
    unseen: Duration,
) -> impl Iterator<Item = Peer> + 'a {
    let registered = state.replicas.iter();
    let silent = registered.filter(|registered| roster.by_name(&registered.name).is_none());
    silent.map(move |registered| Peer {
        identity: Identity {
            name: registered.name.clone(),
            store: registered.store,
            life: Life {
                boot: BootId(0),
                incarnation: Incarnation { start: 0, nonce: 0 },
            },
            clean_lives: Vec::new(),
        },
        address: String::new(),
        unseen_ms: millis(unseen),
    })
}

/// Why nobody serves, and the way out; `None` if somebody does.
fn unavailable(facts: &Facts<'_>) -> Option<String> {
    let Some(record) = &facts.state.record else {
        return Some(no_record(facts));
    };
    if facts.is_behind {
        return Some(behind(record, facts));
    }
    if facts.holds_lease() {
        return None;
    }
    let why = why(record, facts);
    Some(match outlook(record, facts) {
        Some(outlook) => format!("{why}; {outlook}"),
        None => format!("{why}, and {}", no_holder(record, facts)),
    })
}

/// Who is on the way to serve, if somebody who has every answered entry is.
pub(crate) fn outlook(record: &ViewRecord, facts: &Facts<'_>) -> Option<String> {
    in_view(record, facts).or_else(|| next_view(record, facts))
}

fn no_record(facts: &Facts<'_>) -> String {
    if facts.is_rebuilding {
        return rebuilding(facts);
    }
    if let Some(cluster) = facts.strangers
        && facts.roster.iter().next().is_none()
    {
        return format!(
            "replicas of another cluster ({cluster}) report here, and were turned away: if this is their view \
             service and its data directory was lost, start it with --rebuild on an empty --data, and then \
             `standin recover --rebuild NAMES`"
        );
    }
    match facts.roster.iter().find(|replica| replica.has_history()) {
        Some(replica) => format!(
            "this view service has lost its record: replica {} was in view {} and has {} entries, \
             and here there is no view; start the view service on the data directory that it had \
             before (if that is lost for good, with --rebuild on an empty one)",
            replica.identity.name, replica.standing.view, replica.standing.last.index
        ),
        None if facts.roster.iter().next().is_none() => {
            "no replica has started yet; start one with `standin replica`".to_owned()
        }
        None => "no replica that could begin the first view has started yet; start one on an \
                 empty data directory with `standin replica`"
            .to_owned(),
    }
}

/// The record was lost, and the view service was started to have it made again.
fn rebuilding(facts: &Facts<'_>) -> String {
    let living = facts.roster.iter().filter(|it| facts.is_alive(it));
    let names: Vec<&str> = living.map(|it| it.identity.name.as_str()).collect();
    let heard = match names.as_slice() {
        [] => "no replica is heard yet".to_owned(),
        names => format!("heard: {}", names.join(", ")),
    };
    let all = if names.is_empty() {
        "NAMES".to_owned()
    } else {
        names.join(",")
    };
    format!(
        "the view record is lost and is to be made again ({heard}); make sure that the view service before this \
         one never runs again, start every replica, and name them all: `standin recover --rebuild {all}`"
    )
}

pub(crate) fn behind(record: &ViewRecord, facts: &Facts<'_>) -> String {
    let ahead = facts
        .roster
        .iter()
        .max_by_key(|replica| replica.standing.view);
    let ahead = ahead.expect("some replica is ahead of the record");
    format!(
        "this view service's data directory is an old copy: it is at view {}, and replica {} was in \
         view {}; start the view service on the newest data directory that it had (if that is \
         lost for good, with --rebuild on an empty one)",
        record.id(),
        ahead.identity.name,
        ahead.standing.view
    )
}

/// What is wrong with the present primary.
fn why(record: &ViewRecord, facts: &Facts<'_>) -> String {
    let (primary, view) = (&record.primary.name, record.id());
    if !record.active {
        format!("view {view} is not active yet: {primary} is to be its primary")
    } else if primary_restarted(record, facts.roster).is_some() {
        format!("{primary}, the primary of view {view}, was restarted")
    } else if facts.has_died {
        format!("{primary}, the primary of view {view}, has died")
    } else if facts.is_released {
        format!("{primary}, the primary of view {view}, has stopped")
    } else {
        format!("{primary}, the primary of view {view}, does not renew its lease")
    }
}

/// What the primary of the present view may still do itself.
fn in_view(record: &ViewRecord, facts: &Facts<'_>) -> Option<String> {
    let replica = facts.roster.by_name(&record.primary.name)?;
    let is_at_it = record.primary.is(&replica.identity)
        && facts.is_alive(replica)
        && !replica.is_quarantined();
    // One whose time is over will hardly do it any more.
    if !is_at_it || record.active || facts.is_overdue {
        return None;
    }
    Some(match &replica.trouble {
        Some(trouble) => format!("it is taking over, but says: {trouble}"),
        None => "it is taking over; wait a moment".to_owned(),
    })
}

/// Who will be primary next, and when.
fn next_view(record: &ViewRecord, facts: &Facts<'_>) -> Option<String> {
    let next = best_candidate(facts.state, record, facts.roster, (facts.now, facts.term()))?;
    let name = &next.identity.name;
    Some(match facts.grantor.hold_remaining(facts.now) {
        Some(hold) => format!(
            "the view service was away and lets a lease that may still be held run out; {name} takes \
             over in {} ms",
            millis(hold)
        ),
        None => format!("{name} is about to take over; wait a moment"),
    })
}

/// No holder lives that could be primary: which would have to be started, or what to give up.
fn no_holder(record: &ViewRecord, facts: &Facts<'_>) -> String {
    let mut silent = Vec::new();
    let mut unfit = Vec::new();
    for holder in &record.holders {
        let at = (facts.now, facts.term());
        match holder_state(facts.state, record, holder, facts.roster, at) {
            // Its next process is not let in before its data directory says so, so it may be away.
            HolderState::Silent if facts.state.is_dead(holder.token) => unfit.push(format!(
                "the disk of {} failed, and entries were acknowledged in its page cache only",
                holder.name
            )),
            HolderState::Silent => silent.push(holder.name.as_str()),
            HolderState::Unfit(replica, reason) => unfit.push(unfit_words(replica, reason)),
            HolderState::Ready(replica) => unfit.push(stalled_words(replica)),
        }
    }
    let unfit = unfit.join("; ");
    let recover = format!(
        "`standin recover --primary {} --accept-loss`",
        best_survivor(record, facts).map_or("NAME", ReplicaName::as_str)
    );
    if silent.is_empty() {
        return format!(
            "no other replica has every answered entry: {unfit}; {recover} goes on with what is left"
        );
    }
    let start = silent.join(" or ");
    if unfit.is_empty() {
        format!(
            "no replica that has every answered entry is alive; start {start} (if that can never be \
             done again, {recover} goes on without what only it had)"
        )
    } else {
        format!(
            "only {start} may have every answered entry; start {start} ({unfit}; if {start} can never \
             be started again, {recover} goes on with what is left)"
        )
    }
}

fn unfit_words(replica: &Replica, reason: Unfit) -> String {
    let name = &replica.identity.name;
    match reason {
        Unfit::OtherStore => format!(
            "{name} runs on another data directory, which does not have them; if the one that it had is not lost, \
             stop {name} and start it on that one, with --replace"
        ),
        Unfit::Restarted => {
            format!("{name} was restarted, and entries were acknowledged in memory only")
        }
        Unfit::Rebooted => format!(
            "the machine of {name} was rebooted, and entries were acknowledged in its page cache only"
        ),
        Unfit::DiskFailed => {
            format!(
                "the disk of {name} failed, and entries were acknowledged in its page cache only"
            )
        }
        Unfit::OldCopy => format!("the data directory of {name} is an old copy"),
        Unfit::Quarantined => match &replica.trouble {
            Some(trouble) => format!("{name} is out of service: {trouble}"),
            None => format!("{name} is out of service until somebody has looked at it"),
        },
    }
}

/// The present primary lives, and yet it does not serve.
fn stalled_words(replica: &Replica) -> String {
    let name = &replica.identity.name;
    match &replica.trouble {
        Some(trouble) => format!("{name} is alive and says: {trouble}"),
        None => format!("{name} is alive and makes no progress; look at its log or restart it"),
    }
}

/// Of the living replicas that may be named the one with the longest log.
fn best_survivor<'a>(record: &ViewRecord, facts: &Facts<'a>) -> Option<&'a ReplicaName> {
    facts
        .roster
        .iter()
        .filter(|replica| facts.is_alive(replica) && !replica.is_quarantined())
        .filter(|replica| !force::is_whole(record, replica, facts))
        .max_by_key(|replica| (replica.standing.last.view, replica.standing.last.index))
        .map(|replica| &replica.identity.name)
}

impl Facts<'_> {
    /// Whether somebody serves, as far as the view service can tell.
    pub(crate) fn holds_lease(&self) -> bool {
        let record = self.state.record.as_ref();
        record
            .is_some_and(|record| record.active && primary_restarted(record, self.roster).is_none())
            && self.grantor.remaining(self.now).is_some()
            && !self.is_released
            && !self.has_died
    }

    /// How long a lease may still be held; `None` if nobody can hold one.
    pub(crate) fn lease_may_be_held_for(&self) -> Option<Duration> {
        let record = self.state.record.as_ref()?;
        if self.is_released || self.has_died || primary_restarted(record, self.roster).is_some() {
            return None;
        }
        let (remaining, hold) = (
            self.grantor.remaining(self.now),
            self.grantor.hold_remaining(self.now),
        );
        remaining.max(hold)
    }

    pub(crate) fn is_alive(&self, replica: &Replica) -> bool {
        replica.is_alive(self.now, self.term())
    }

    pub(crate) fn term(&self) -> Duration {
        Duration::from_millis(u64::from(self.term_ms))
    }
}
