//! A lost view record is made again from what the replicas know. `ARCHITECTURE.md`, "When the view record is
//! lost", has the argument; this is the decision, and nothing else.
//!
//! In short: a replica acts on a record only after it has kept it durably (rule R5). So if nobody has adopted
//! anything above view w, whatever the lost record said beyond w was never acted on, and the one who was primary
//! in w, or the backup that gated it, has every answered entry. (But for whom an operator has named in a Force that nobody
//! else has adopted: the operator must see to it that it is heard.) The record that is made is what a Depose of w
//! to one of those two would have been, but for its number, which is far above any that there may have been.

use standin_core::identity::{ReplicaName, Token};
use standin_core::message::{JoinAsked, Witness};
use standin_core::planted::{Bug, Planted};
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewId, ViewNumber, ViewRecord};

use crate::candidates::is_copy;
use crate::roster::Replica;

/// How far above the highest view that any replica has adopted the rebuilt one is at least. The lost record may
/// have gone on since, unread; one that changed ten times a second without anybody acting on it would take three
/// years to come that far. At most it is twice as far above, at random: another record may have been made again from
/// the same view, and lost with nobody having read it. There is room for nine thousand million rebuilds.
pub(crate) const VIEWS_SKIPPED: u64 = 1_000_000_000;
/// The same for the data epoch, if loss is accepted: it rises with an operator's word alone.
pub(crate) const DATA_EPOCHS_SKIPPED: u32 = 100;

/// A replica that reports, and what it knows of the record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) replica: &'a Replica,
    /// Its present life's word on the view in which it stands; `None`: it has not said it yet.
    pub(crate) witness: Option<&'a Witness>,
}

impl Heard<'_> {
    fn name(&self) -> &ReplicaName {
        &self.replica.identity.name
    }

    fn record(&self) -> Option<&ViewRecord> {
        let kept = self.witness?.kept.as_ref()?;
        Some(&kept.record)
    }

    fn adopted(&self) -> ViewId {
        self.replica.standing.view
    }

    fn last(&self) -> (ViewNumber, standin_core::entry::Index) {
        let last = self.replica.standing.last;
        (last.view, last.index)
    }
}

/// The record as it is to be made again, with a lease term that is the longest that anybody may still hold;
/// otherwise why nobody can know for certain, in words.
///
/// `named` are the replicas that the operator knows of, `heard` those that live and report here. The number of the
/// view is drawn from `random`.
pub(crate) fn certain(
    named: &[ReplicaName],
    heard: &[Heard<'_>],
    (random, planted): (u64, Planted),
) -> Result<ViewRecord, String> {
    if !planted.has(Bug::RebuiltUnheard) {
        all_are_heard(named, heard)?;
    }
    let newest = newest_record(heard)?;
    if planted.has(Bug::RebuiltByLog) {
        let longest = heard.iter().max_by_key(|it| it.last());
        let chosen = longest.expect("somebody has told of a record");
        let store = chosen.replica.identity.store;
        let holders = vec![holder(chosen, Token::Disk { store })];
        return Ok(rebuilt(
            newest,
            chosen,
            holders,
            next_view(heard, (random, planted))?,
        ));
    }
    if !planted.has(Bug::RebuiltUnheard) {
        holders_are_heard(newest, heard)?;
        joined_are_heard(newest, heard)?;
    }
    let mut unfit = Vec::new();
    let mut fit = Vec::new();
    for member in std::iter::once(&newest.primary).chain(&newest.backup) {
        match stands(newest, member, heard, planted) {
            Ok(able) => fit.push(able),
            Err(why) => unfit.push(why),
        }
    }
    let is_primary = |heard: &Heard<'_>| *heard.name() == newest.primary.name;
    let best = (fit.iter()).max_by_key(|(it, _)| (it.last(), is_primary(it)));
    let Some((chosen, token)) = best else {
        return Err(format!(
            "{} of view {}, the newest that anybody has adopted, {} have every answered entry, and none of \
             them can go on: {}",
            members(newest),
            newest.id(),
            if newest.backup.is_some() {
                "may"
            } else {
                "alone may"
            },
            unfit.join("; ")
        ));
    };
    // With a backup, who holds has not changed since (R2). A lone candidate may have activated its view.
    let holders = match newest.backup {
        Some(_) => newest.holders.clone(),
        None => vec![holder(chosen, *token)],
    };
    Ok(rebuilt(
        newest,
        chosen,
        holders,
        next_view(heard, (random, planted))?,
    ))
}

/// The record if an operator names who goes on, whatever is lost by it; otherwise why that cannot be done.
pub(crate) fn forced(
    chosen: &Heard<'_>,
    heard: &[Heard<'_>],
    random: u64,
) -> Result<ViewRecord, String> {
    let Some(own) = chosen.record() else {
        let name = chosen.name();
        return Err(format!(
            "{name} does not know of which cluster it is: it has adopted no view, or kept none; name another"
        ));
    };
    let view = next_view(heard, (random, Planted::NONE))?;
    let epochs = heard.iter().map(|it| it.adopted().data_epoch);
    let epoch = epochs.max().unwrap_or_default();
    let epoch = epoch.0.checked_add(DATA_EPOCHS_SKIPPED);
    let epoch = epoch.ok_or("there are no more data epochs")?;
    Ok(ViewRecord {
        data_epoch: DataEpoch(epoch),
        view,
        ..own.force(&chosen.replica.identity)
    })
}

/// The longest lease term that anybody who reports may hold a lease for, in milliseconds.
pub(crate) fn longest_term_ms(heard: &[Heard<'_>]) -> u32 {
    let records = heard.iter().filter_map(Heard::record);
    records.map(|record| record.term_ms).max().unwrap_or(0)
}

/// Everybody whom the operator knows is heard, and nobody else.
fn all_are_heard(named: &[ReplicaName], heard: &[Heard<'_>]) -> Result<(), String> {
    let reports = |name: &&ReplicaName| heard.iter().any(|it| it.name() == *name);
    let missing: Vec<&str> = named
        .iter()
        .filter(|name| !reports(name))
        .map(ReplicaName::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "{} not heard here, and may know of a later view: start what is down, with this view service's \
             address, and leave out whose data directory is gone for good",
            listed_are(&missing)
        ));
    }
    let unnamed: Vec<&str> = heard
        .iter()
        .filter(|it| !named.contains(it.name()))
        .map(|it| it.name().as_str())
        .collect();
    if !unnamed.is_empty() {
        return Err(format!(
            "{} heard here and not named: name every replica that the cluster has",
            listed_are(&unnamed)
        ));
    }
    // Without a view it knows nothing, and says nothing.
    let silent = (heard.iter()).find(|it| it.witness.is_none() && it.adopted() > ViewId::default());
    silent.map_or(Ok(()), |silent| {
        Err(format!(
            "{} has not told yet what it knows; try again in a moment",
            silent.name()
        ))
    })
}

/// The newest record that anybody has acted on.
fn newest_record<'a>(heard: &[Heard<'a>]) -> Result<&'a ViewRecord, String> {
    let known = heard.iter().filter_map(|it| {
        let kept = it.witness?.kept.as_ref()?;
        Some((&kept.record, it.replica))
    });
    let newest = known
        .clone()
        .max_by_key(|(record, _)| (record.id(), record.active));
    let ahead = heard.iter().max_by_key(|it| it.adopted());
    let (newest, ahead) = match (newest, ahead) {
        (Some((newest, _)), Some(ahead)) => (newest, ahead),
        (_, Some(ahead)) if ahead.adopted() > ViewId::default() => {
            return Err(unkept(ahead));
        }
        _ => {
            return Err("no replica that is heard has been in any view, so there is no record to make again: \
                 nothing was ever answered; start the view service without --rebuild, and replicas on empty data \
                 directories"
                .to_owned());
        }
    };
    let mut others = known.filter(|(record, _)| record.cluster != newest.cluster);
    if let Some((record, other)) = others.next() {
        return Err(format!(
            "{} belongs to cluster {}, and {} to cluster {}: stop those that are not of this one",
            newest.primary.name, newest.cluster, other.identity.name, record.cluster
        ));
    }
    if newest.id() < ahead.adopted() {
        return Err(unkept(ahead));
    }
    Ok(newest)
}

fn unkept(ahead: &Heard<'_>) -> String {
    format!(
        "{} has adopted view {} and does not know any more who was in it",
        ahead.name(),
        ahead.adopted()
    )
}

/// Whoever took over from the newest record was one of its holders, whoever they were told by: each of them must
/// say that it has not.
fn holders_are_heard(newest: &ViewRecord, heard: &[Heard<'_>]) -> Result<(), String> {
    let is_heard = |holder: &&Holder| {
        let mut stores = heard.iter().map(|it| it.replica.identity.store);
        stores.any(|store| store == holder.token.store())
    };
    let missing = newest.holders.iter().find(|holder| !is_heard(holder));
    missing.map_or(Ok(()), |missing| {
        Err(format!(
            "{} may have taken over from view {}, and is not heard with the data directory that it had: name and \
             start it",
            missing.name,
            newest.id()
        ))
    })
}

/// A lone primary may have asked for a Join that landed, though it never read so, and whoever joined may have
/// taken over since. So those for whom it has asked must say that they have not. A primary with a backup asks for
/// none.
fn joined_are_heard(newest: &ViewRecord, heard: &[Heard<'_>]) -> Result<(), String> {
    if newest.backup.is_some() {
        return Ok(());
    }
    let asked = heard.iter().filter_map(|it| {
        let kept = it.witness?.kept.as_ref()?;
        let is_primary = *it.name() == newest.primary.name && kept.record.id() == newest.id();
        is_primary.then_some(&kept.joins)
    });
    let is_heard = |asked: &&JoinAsked| {
        let mut stores = heard.iter().map(|it| it.replica.identity.store);
        stores.any(|store| store == asked.store)
    };
    let missing = asked.flatten().find(|asked| !is_heard(asked));
    missing.map_or(Ok(()), |missing| {
        Err(format!(
            "{} may have joined after view {} and taken over, and is not heard with the data directory that it had: \
             name and start it",
            missing.name,
            newest.id()
        ))
    })
}

/// Whether a member of the newest record has every answered entry and can go on; the token under which.
fn stands<'a>(
    newest: &ViewRecord,
    member: &Member,
    heard: &[Heard<'a>],
    planted: Planted,
) -> Result<(Heard<'a>, Token), String> {
    let name = &member.name;
    let mut holders = newest.holders.iter();
    let Some(named) = holders.find(|holder| holder.name == *name) else {
        return Err(format!("{name} is no holder in it"));
    };
    let store = named.token.store();
    let mut all = heard.iter();
    let Some(heard) = all.find(|it| it.replica.identity.store == store) else {
        return Err(format!(
            "{name} is not heard with the data directory that it had"
        ));
    };
    let identity = &heard.replica.identity;
    // Who has that view alone syncs its log before it asks for an Activate, which it notes, and whatever it answers
    // since (section 4.7). Entries of the view in its log say as much.
    let disk = Token::Disk { store };
    let has_asked = heard
        .witness
        .is_some_and(|witness| witness.adopted == newest.id() && witness.holds == Some(disk));
    let was_alone = newest.backup.is_none()
        && (newest.active || has_asked || heard.replica.standing.last.view >= newest.view);
    let token = if was_alone { disk } else { named.token };
    if heard.replica.is_quarantined() {
        return Err(format!("{name} is out of service"));
    }
    if is_copy(newest, heard.replica) || heard.replica.is_old_copy() {
        return Err(format!("the data directory of {name} is an old copy"));
    }
    if !identity.satisfies(token) && !planted.has(Bug::RebuiltDeadToken) {
        return Err(match token {
            Token::Memory { .. } => {
                format!("{name} was restarted, and entries were acknowledged in memory only")
            }
            Token::Os { .. } | Token::Disk { .. } => format!(
                "the machine of {name} was rebooted, or its disk failed, and entries were acknowledged in its \
                 page cache only"
            ),
        });
    }
    Ok((*heard, token))
}

fn next_view(heard: &[Heard<'_>], (random, planted): (u64, Planted)) -> Result<ViewNumber, String> {
    let adopted = heard.iter().map(|it| it.adopted().view);
    let highest = adopted.max().unwrap_or_default();
    let skipped = match planted.has(Bug::RebuiltViewReused) {
        true => 1,
        false => VIEWS_SKIPPED + random % VIEWS_SKIPPED,
    };
    // Nobody who speaks the truth comes near the end of them.
    let next = highest
        .0
        .checked_add(skipped)
        .filter(|next| *next < u64::MAX / 2);
    next.map(ViewNumber)
        .ok_or_else(|| "there are no more view numbers".to_owned())
}

fn holder(heard: &Heard<'_>, token: Token) -> Holder {
    Holder {
        name: heard.name().clone(),
        token,
    }
}

fn rebuilt(
    newest: &ViewRecord,
    chosen: &Heard<'_>,
    holders: Vec<Holder>,
    view: ViewNumber,
) -> ViewRecord {
    ViewRecord {
        view,
        primary: Member::of(&chosen.replica.identity),
        backup: None,
        holders,
        active: false,
        reason: Reason::Rebuilt,
        ..newest.clone()
    }
}

fn members(record: &ViewRecord) -> String {
    let primary = &record.primary.name;
    match &record.backup {
        Some(backup) => format!("{primary} and {}", backup.name),
        None => primary.to_string(),
    }
}

fn listed_are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}
