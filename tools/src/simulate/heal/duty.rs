//! What must be done about the replica that stays broken for good, and since when (L3).

use standin_core::entry::Index;
use standin_core::message::RoleName;
use standin_core::time::Instant;
use standin_core::view::{Member, ViewId, ViewRecord};

use super::{Broken, Healing};
use crate::simulate::watched::Subject;
use crate::simulate::world::World;

/// What must be done about the replica that is broken for good, while it is in a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It is the backup and acknowledges nothing: it is to be dropped.
    DropSilent,
    /// It is the backup and the view service does not see it: it is to be dropped.
    DropUnseen,
    /// It is the primary and does not renew its lease: it is to be deposed.
    DeposeSilent,
    /// It is the primary and gets on with nothing: it is to be deposed.
    DeposeStalled,
}

impl Duty {
    /// It, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::DropSilent => "a backup that acknowledges nothing is to be dropped",
            Self::DropUnseen => "a backup that the view service does not see is to be dropped",
            Self::DeposeSilent => "a primary that does not renew its lease is to be deposed",
            Self::DeposeStalled => "a primary that gets on with nothing is to be deposed",
        }
    }
}

impl<M: Subject> World<M> {
    /// What is to be done about who is broken for good, if it is in a role, and since when.
    pub(super) fn duty(
        &self,
        healing: &Healing,
        record: Option<&ViewRecord>,
    ) -> Option<(Duty, ViewId, Index, Instant)> {
        // One that replies wrongly is neither silent nor unseen: `look_at_replies` is about it.
        let (host, how) = healing.broken.filter(|(_, how)| *how != Broken::Wrong)?;
        let record = record.filter(|record| record.active)?;
        let is_hanging = how == Broken::StalledDisk;
        let duty = match self.role_of(host, record)? {
            RoleName::Primary if is_hanging => Duty::DeposeStalled,
            RoleName::Primary => Duty::DeposeSilent,
            _ if how == Broken::Unseen => Duty::DropUnseen,
            _ => Duty::DropSilent,
        };
        let is_drop = matches!(duty, Duty::DropSilent | Duty::DropUnseen);
        let may_begin = if is_drop {
            self.is_heard(&record.primary, healing.at) && self.leads(record)
        } else {
            // Before it has heard anybody, the view service must take itself to be cut off.
            let heard = &self.checks.truth.heard_at;
            heard.values().any(|at| *at > healing.at)
        };
        if !may_begin {
            return None;
        }
        if is_hanging && !self.is_outstanding(host, record) {
            return None;
        }
        // What one that cannot be heard acknowledges is no progress.
        let vouched = if is_hanging {
            self.vouched(host)
        } else {
            Index::ZERO
        };
        let is_same = |it: &(Duty, ViewId, Index, Instant)| {
            (it.0, it.1, it.2) == (duty, record.id(), vouched)
        };
        let mut since = healing.duty.filter(is_same).map_or(self.now, |it| it.3);
        if duty == Duty::DropUnseen {
            // What a link held up when the faults ended comes late, and is heard all the same.
            let truth = &self.checks.truth;
            let identity = truth.replicas[host].identity.as_ref();
            let heard = identity.and_then(|identity| truth.heard_at.get(&identity.store));
            since = heard.map_or(since, |heard| since.max(*heard));
        }
        Some((duty, record.id(), vouched, since))
    }

    /// Whether the view service has heard from a member since: one whose connection to it hung with the
    /// faults can have no swap done before it has a new one.
    fn is_heard(&self, member: &Member, since: Instant) -> bool {
        let truth = &self.checks.truth;
        let host = self.host_of(member);
        let identity = host.and_then(|host| truth.replicas[host].identity.as_ref());
        let heard = identity.and_then(|identity| truth.heard_at.get(&identity.store));
        heard.is_some_and(|at| *at > since)
    }

    /// Whether the primary of a record knows that it leads in that view, and whom it has as backup.
    fn leads(&self, record: &ViewRecord) -> bool {
        let host = self.host_of(&record.primary);
        let standing = host.and_then(|host| self.checks.truth.replicas[host].standing.as_ref());
        standing.is_some_and(|standing| standing.view == record.id())
    }

    /// Whether a replica is the primary of a record, or its backup.
    fn role_of(&self, host: usize, record: &ViewRecord) -> Option<RoleName> {
        let identity = self.checks.truth.replicas[host].identity.as_ref()?;
        let mut others = record
            .holders
            .iter()
            .filter(|holder| holder.name != record.primary.name);
        if record.primary.is(identity) {
            Some(RoleName::Primary)
        } else if others.any(|holder| holder.token.store() == identity.store) {
            Some(RoleName::Backup)
        } else {
            None
        }
    }

    /// How far a replica's store has acknowledged, or applied.
    fn vouched(&self, host: usize) -> Index {
        let truth = &self.checks.truth;
        let vouched = truth.vouched(&truth.replicas[host]);
        vouched.map_or(Index::ZERO, |(index, _)| index)
    }

    /// Whether a replica that is in a role has something to do on its disk.
    fn is_outstanding(&self, host: usize, record: &ViewRecord) -> bool {
        let replicas = &self.checks.truth.replicas;
        let ordered = self
            .host_of(&record.primary)
            .map_or(0, |primary| replicas[primary].log.len());
        let done = match self.role_of(host, record) {
            Some(RoleName::Primary) => replicas[host].synced,
            _ => usize::try_from(self.vouched(host).0).expect("a log in memory"),
        };
        done < ordered
    }

    /// Whether somebody's disk hangs and nobody can know: there is nothing to be put on it.
    pub(super) fn is_unnoticed(&self, healing: &Healing, record: Option<&ViewRecord>) -> bool {
        let Some((host, Broken::StalledDisk)) = healing.broken else {
            return false;
        };
        record.filter(|record| record.active).is_some_and(|record| {
            self.role_of(host, record).is_some() && !self.is_outstanding(host, record)
        })
    }
}
