//! The rules that must hold in every state and at every step (`protocol.md` section 13), each in a
//! function of its own. They know nothing of how the cores work inside.

use std::collections::BTreeSet;
use std::fmt;

use standin_core::entry::{Batch, ENTRY_HEADER_BYTES, Entry, EntryKind, Index};
use standin_core::identity::Token;
use standin_core::message::{Ack, ReplyStatus, RoleName, Standing, Swap};
use standin_core::view::{Holder, Reason, ViewId, ViewNumber, ViewRecord};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cluster::Cluster;
use super::links::name_of;
use super::node::store_of;
use super::notes::note;
use super::past::{Answered, Fact, Past, Wish};

/// A rule that did not hold.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) rule: &'static str,
    pub(super) what: String,
}

impl Broken {
    pub(super) fn new(rule: &'static str, what: String) -> Self {
        Self { rule, what }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

type Verdict = Result<(), Broken>;

macro_rules! demand {
    ($rule:literal, $holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(Broken::new($rule, format!($($what)+)));
        }
    };
}

/// Looks at what a step brought about, takes it into the past, and looks at the state.
pub(super) fn look(cluster: &mut Cluster, facts: &[Fact]) -> Verdict {
    for fact in facts {
        judge(cluster, fact)?;
        note(cluster, fact);
    }
    s4_holders_hold(cluster)
}

fn judge(cluster: &Cluster, fact: &Fact) -> Verdict {
    let past = &*cluster.past;
    match fact {
        Fact::Appended {
            host,
            batch,
            is_primary,
        } => {
            if *is_primary {
                s1_no_view_begins_twice(past, *host, batch)?;
                s2_one_maker(past, *host, batch)?;
                s5_inherits(cluster, *host, batch)?;
            }
            s3_logs_match(cluster, *host, batch)
        }
        Fact::Cut {
            host,
            after,
            standing,
            removed,
        } => s9_cuts(past, *host, (*after, standing), removed),
        Fact::Adopted { host, before, view } => s7_adopts(*host, *before, *view),
        Fact::Acked { host, ack, adopted } => s7_acknowledges(*host, ack, *adopted),
        Fact::Proposed(_) => Ok(()),
        Fact::Answered { host, answered } => {
            s13_speaks(cluster, *host, answered)?;
            s11_sessions(answered)?;
            if answered.status != ReplyStatus::Done {
                return Ok(());
            }
            if answered.asked.wish != Wish::Read {
                s6_one_entry(cluster, *host, answered)?;
                s15_gated(cluster, *host, answered.seen.index)?;
            }
            s11_same_reply(past, answered)?;
            s12_linearizable(past, answered)
        }
        Fact::Quarantined { host, why } => Err(Broken::new(
            "S18",
            format!("{} is out of service without cause: {why}", name_of(*host)),
        )),
        Fact::Turned {
            host,
            before,
            after,
            journal,
        } => {
            s8_commits(past, *host, before, after)?;
            s10_agree(past, *host, after)?;
            s11_once(*host, journal)
        }
        Fact::Recorded { before, after } => {
            s1_views_rise(before.as_deref(), after)?;
            s14_holders_only(cluster, before.as_deref(), after)
        }
    }
}

/// S1: the view rises by one per change; Activate keeps it.
fn s1_views_rise(before: Option<&ViewRecord>, after: &ViewRecord) -> Verdict {
    let was = before.map_or(ViewNumber(0), |before| before.view);
    let is_activate = after.view == was && after.active && before.is_some_and(|it| !it.active);
    demand!(
        "S1",
        after.view == was.next() || is_activate,
        "view {} came after {was}",
        after.view
    );
    Ok(())
}

/// S1: no incarnation starts a view twice, and no two do.
fn s1_no_view_begins_twice(past: &Past, host: usize, batch: &Batch) -> Verdict {
    for (view, _) in batch.view_starts() {
        demand!(
            "S1",
            !past.begun.contains_key(view),
            "{} begins view {view} once more",
            name_of(host)
        );
    }
    Ok(())
}

/// S2: entries of a view are created by one replica; ViewStart is its first.
fn s2_one_maker(past: &Past, host: usize, batch: &Batch) -> Verdict {
    for entry in batch.entries() {
        let view = entry.header.view;
        let is_good = match past.begun.get(&view) {
            Some((maker, ..)) => *maker == host,
            None => {
                entry.header.kind == EntryKind::ViewStart
                    || batch.view_starts().iter().any(|(begun, _)| *begun == view)
            }
        };
        demand!(
            "S2",
            is_good,
            "{} makes entry {} of view {view}",
            name_of(host),
            entry.header.index
        );
    }
    Ok(())
}

/// S3: equal (index, view) in two logs: equal logs up to there.
fn s3_logs_match(cluster: &Cluster, host: usize, batch: &Batch) -> Verdict {
    for (place, hash) in places(cluster, host, batch) {
        let known = cluster.past.made.get(&place);
        demand!(
            "S3",
            known.is_none_or(|known| *known == hash),
            "the log of {} differs from another one up to entry {} of view {}",
            name_of(host),
            place.0,
            place.1
        );
    }
    Ok(())
}

/// (Index, view) of each entry of a batch, and the hash of the log that ends with it.
pub(super) fn places(cluster: &Cluster, host: usize, batch: &Batch) -> Vec<((u64, u64), u64)> {
    let before = Index(batch.first().0 - 1);
    let mut hash = match before {
        Index::ZERO => 0,
        before => cluster.nodes[host].disk.hash_at(before, false).unwrap_or(0),
    };
    let mut rest = batch.bytes();
    let mut found = Vec::new();
    for entry in batch.entries() {
        let (bytes, after) = rest.split_at(length(&entry));
        rest = after;
        hash = xxh3_64_with_seed(bytes, hash);
        found.push(((entry.header.index.0, entry.header.view.0), hash));
    }
    found
}

fn length(entry: &Entry<'_>) -> usize {
    ENTRY_HEADER_BYTES + entry.payload.len()
}

/// S4: every answered entry is, within its durability level, in the log of every holder in the record.
fn s4_holders_hold(cluster: &Cluster) -> Verdict {
    let (Some(record), Some((index, hash))) =
        (&cluster.service.stored.record, cluster.past.answered_last())
    else {
        return Ok(());
    };
    for holder in &record.holders {
        let Some(host) = host_of(cluster, holder).filter(|host| stands(cluster, *host, holder))
        else {
            continue;
        };
        let is_on_disk = matches!(holder.token, Token::Disk { .. });
        let has = cluster.nodes[host].disk.hash_at(index, is_on_disk);
        demand!(
            "S4",
            has == Some(hash),
            "entry {index} was answered, and {}, a holder in view {}, lacks it",
            name_of(host),
            record.view
        );
    }
    Ok(())
}

fn host_of(cluster: &Cluster, holder: &Holder) -> Option<usize> {
    (0..cluster.bounds.replicas).find(|host| store_of(*host) == holder.token.store())
}

/// Whether what a holder acknowledged is still there.
fn stands(cluster: &Cluster, host: usize, holder: &Holder) -> bool {
    let is_up = cluster.is_up(host);
    cluster.nodes[host].disk.stands_for(holder.token, is_up)
}

/// Whether a holder in the record still has what it acknowledged.
pub(super) fn has_holder(cluster: &Cluster) -> bool {
    let record = cluster.service.stored.record.as_ref();
    let mut holders = record.iter().flat_map(|record| &record.holders);
    holders.any(|holder| host_of(cluster, holder).is_some_and(|host| stands(cluster, host, holder)))
}

/// S5: an active primary has every entry answered in lower views, at the same index.
fn s5_inherits(cluster: &Cluster, host: usize, batch: &Batch) -> Verdict {
    let Some((view, _)) = batch.view_starts().first() else {
        return Ok(());
    };
    // One that was deposed without knowing may still begin a view, and owes nothing to later ones.
    let Some((index, hash)) = cluster.past.answered_below(*view) else {
        return Ok(());
    };
    demand!(
        "S5",
        cluster.nodes[host].disk.hash_at(index, false) == Some(hash),
        "{} begins view {view} without entry {index}, which was answered",
        name_of(host)
    );
    Ok(())
}

/// S6: no index is answered with two different entries.
fn s6_one_entry(cluster: &Cluster, host: usize, answered: &Answered) -> Verdict {
    let index = answered.seen.index;
    let own = cluster.nodes[host].disk.hash_at(index, false);
    demand!(
        "S4",
        own.is_some(),
        "{} answers entry {index}, which is not in its log",
        name_of(host)
    );
    let before = cluster.past.answered.get(&index.0);
    demand!(
        "S6",
        before.is_none_or(|(hash, _)| own == Some(*hash)),
        "{} answers entry {index}, and another one was answered there",
        name_of(host)
    );
    Ok(())
}

/// S7: the adopted view never falls, across crashes.
fn s7_adopts(host: usize, before: ViewId, view: ViewId) -> Verdict {
    demand!(
        "S7",
        view > before,
        "{} adopts view {view} after {before}",
        name_of(host)
    );
    Ok(())
}

/// S7: a replica acknowledges only its adopted view.
fn s7_acknowledges(host: usize, ack: &Ack, adopted: ViewId) -> Verdict {
    demand!(
        "S7",
        ack.view == adopted,
        "{} acknowledges in view {} and has adopted {adopted}",
        name_of(host),
        ack.view
    );
    Ok(())
}

/// S8: commit never falls; applied <= commit <= last; backup's applied <= primary's applied in a view.
fn s8_commits(past: &Past, host: usize, before: &Standing, after: &Standing) -> Verdict {
    demand!(
        "S8",
        after.applied <= after.commit && after.commit <= after.last.index,
        "{} stands at {after:?}",
        name_of(host)
    );
    demand!(
        "S8",
        before.commit <= after.commit && before.applied <= after.applied,
        "{} went back from {before:?} to {after:?}",
        name_of(host)
    );
    let is_new = before.view == after.view && before.applied < after.applied;
    let primary = past.applied_in.get(&after.view);
    demand!(
        "S8",
        after.role != RoleName::Backup
            || before.role != RoleName::Backup
            || !is_new
            || primary.is_none_or(|primary| after.applied <= *primary),
        "backup {} has applied entry {}, its primary {primary:?}",
        name_of(host),
        after.applied
    );
    Ok(())
}

/// S9: a cut removes nothing committed, or applied anywhere, and so nothing answered.
fn s9_cuts(
    past: &Past,
    host: usize,
    (after, standing): (Index, &Standing),
    removed: &[(Index, u64)],
) -> Verdict {
    let was_applied = |(index, hash): &&(Index, u64)| past.applied.get(&index.0) == Some(hash);
    demand!(
        "S9",
        after >= standing.commit && after >= standing.applied,
        "{} cuts after entry {after} and stands at {standing:?}",
        name_of(host)
    );
    let lost = removed.iter().find(was_applied);
    demand!(
        "S9",
        lost.is_none(),
        "{} cuts {lost:?}, which was applied somewhere",
        name_of(host)
    );
    Ok(())
}

/// S10: equal applied index: equal replies.
fn s10_agree(past: &Past, host: usize, standing: &Standing) -> Verdict {
    let known = past.digests.get(&standing.applied.0);
    demand!(
        "S10",
        known.is_none_or(|known| *known == standing.reply_digest),
        "{} has other replies up to entry {} than another replica",
        name_of(host),
        standing.applied
    );
    Ok(())
}

/// S11: a call takes effect at most once.
fn s11_once(host: usize, journal: &[u8]) -> Verdict {
    let different: BTreeSet<&u8> = journal.iter().collect();
    demand!(
        "S11",
        different.len() == journal.len(),
        "{} has executed {journal:?}",
        name_of(host)
    );
    Ok(())
}

/// S11: a session that was opened is remembered.
fn s11_sessions(answered: &Answered) -> Verdict {
    demand!(
        "S11",
        answered.status != ReplyStatus::SessionUnknown,
        "an open session is not known any more"
    );
    Ok(())
}

/// S11: a repeat gets the same reply.
fn s11_same_reply(past: &Past, answered: &Answered) -> Verdict {
    let Wish::Write(call) = answered.asked.wish else {
        return Ok(());
    };
    let before = past.replies.get(&call);
    demand!(
        "S11",
        before.is_none_or(|before| *before == answered.bytes),
        "call {call} is answered {:?}, and was {before:?}",
        answered.bytes
    );
    Ok(())
}

/// S12: the history is linearizable. Each answer is the list of all calls executed so far, so all must
/// be beginnings of one list, and each at least as long as what was answered before it was asked.
fn s12_linearizable(past: &Past, answered: &Answered) -> Verdict {
    let (list, floor) = (&answered.bytes, &answered.asked.floor);
    let is_of_one = |one: &[u8], other: &[u8]| one.iter().zip(other).all(|(a, b)| a == b);
    let is_complete = match answered.asked.wish {
        Wish::Open => return Ok(()),
        Wish::Read => list.len() >= floor.len(),
        Wish::Write(call) => list.last() == Some(&call) && list.len() > floor.len(),
    };
    demand!(
        "S12",
        is_complete && is_of_one(list, &past.longest),
        "{:?} is answered {list:?}; before it was asked {floor:?} had been answered, and {:?} before \
         it was answered",
        answered.asked.wish,
        past.longest
    );
    Ok(())
}

/// S13: only an active primary answers, and rule R3: only once the ViewStart of the view that it
/// activated is applied.
fn s13_speaks(cluster: &Cluster, host: usize, answered: &Answered) -> Verdict {
    let is_refusal = matches!(
        answered.status,
        ReplyStatus::NotPrimary
            | ReplyStatus::OutcomeUnknown
            | ReplyStatus::Refused
            | ReplyStatus::Overloaded
            | ReplyStatus::NoRoom
    );
    if is_refusal {
        return Ok(());
    }
    let standing = &answered.standing;
    // The record of its view was active once, with this very life as its primary.
    let own = cluster.nodes[host].disk.life;
    let primary = cluster.past.active.get(&standing.view);
    let is_recorded = own.zip(primary).is_some_and(|(own, primary)| {
        primary.name.as_str() == name_of(host) && primary.incarnation == own.incarnation
    });
    let start = cluster.past.activated[host].and_then(|view| cluster.past.begun.get(&view));
    let has_begun = start.is_some_and(|(_, _, start)| *start <= standing.applied);
    demand!(
        "S13",
        standing.role == RoleName::Primary && is_recorded && has_begun,
        "{} answers as {standing:?}",
        name_of(host)
    );
    Ok(())
}

/// S14: only holders become primary.
fn s14_holders_only(cluster: &Cluster, before: Option<&ViewRecord>, after: &ViewRecord) -> Verdict {
    let Some(before) = before.filter(|before| before.primary != after.primary) else {
        return Ok(());
    };
    let is_it = |host: &usize| {
        // A life that has ended since it was last heard of is named in vain and does no harm.
        let life = cluster.nodes[*host].disk.life;
        cluster.is_up(*host)
            && name_of(*host) == after.primary.name.as_str()
            && life.is_some_and(|life| life.incarnation == after.primary.incarnation)
    };
    let Some(host) = (0..cluster.bounds.replicas).find(is_it) else {
        return Ok(());
    };
    let is_of = |holder: &&Holder| holder.token.store() == store_of(host);
    let mut own = before.holders.iter().filter(is_of);
    demand!(
        "S14",
        own.any(|holder| stands(cluster, host, holder)),
        "{} becomes primary of view {} and is no holder of {:?}",
        name_of(host),
        after.view,
        before.holders
    );
    Ok(())
}

/// S15: while another replica is a holder or a Join for it may land: nothing is answered beyond its
/// acknowledgement.
fn s15_gated(cluster: &Cluster, host: usize, index: Index) -> Verdict {
    let Some(record) = &cluster.service.stored.record else {
        return Err(Broken::new("S15", "answered before any view".to_owned()));
    };
    // Of a record that names somebody else nothing follows for this one: what it has committed before
    // stays true (section 4.6), and S4 watches over the rest.
    let is_own = record.active
        && record.primary.name.as_str() == name_of(host)
        && cluster.nodes[host]
            .disk
            .life
            .is_some_and(|life| life.incarnation == record.primary.incarnation);
    if !is_own {
        return Ok(());
    }
    let is_join = |swap: &&Swap| swap.proposed.reason == Reason::Joined && swap.expected == *record;
    let joins = cluster.past.proposed.iter().filter(is_join);
    let waits_for = record
        .holders
        .iter()
        .chain(joins.flat_map(|swap| &swap.proposed.holders));
    for holder in waits_for {
        let Some(other) = host_of(cluster, holder).filter(|other| *other != host) else {
            continue;
        };
        // Only what was acknowledged under this very token counts (section 2), and also if the token
        // has died meanwhile.
        let acknowledged = cluster.past.acknowledged.get(&holder.token);
        demand!(
            "S15",
            acknowledged.is_some_and(|through| *through >= index.0),
            "{} answers entry {index}, which {} has not acknowledged",
            name_of(host),
            name_of(other)
        );
    }
    Ok(())
}
