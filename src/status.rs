//! How a cluster is, as its view service tells it: what `standin status` shows and HTTP serves.

use serde::Serialize;
use standin_core::message::{ReplicaStatus, RoleName, Room, StatusReply};
use standin_core::view::{Member, ViewRecord};

/// What `status --json` and `/status` print. The fields are a promise; more may be added.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Account {
    pub(crate) view: Option<ViewAccount>,
    pub(crate) lease: LeaseAccount,
    pub(crate) replicas: Vec<ReplicaAccount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unavailable: Option<String>,
    pub(crate) cluster: String,
    /// What is wrong with the view service itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) viewservice_trouble: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ViewAccount {
    pub(crate) number: u64,
    pub(crate) primary: String,
    pub(crate) backup: Option<String>,
    pub(crate) active: bool,
    pub(crate) data_epoch: u32,
    pub(crate) cause: &'static str,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LeaseAccount {
    pub(crate) holder: Option<String>,
    pub(crate) term_ms: u32,
    pub(crate) remaining_ms: Option<u64>,
}

/// One replica. What it has not reported itself is null.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ReplicaAccount {
    pub(crate) name: String,
    /// Null for one that is not alive: it is in no role.
    pub(crate) role: Option<&'static str>,
    pub(crate) address: String,
    pub(crate) incarnation: String,
    pub(crate) alive: bool,
    pub(crate) view: Option<u64>,
    pub(crate) last_index: Option<u64>,
    pub(crate) commit_index: Option<u64>,
    pub(crate) applied_index: Option<u64>,
    /// The chain over all replies up to `applied_index`.
    pub(crate) digest: Option<String>,
    /// How many entries the primary has more; null if either end is unknown.
    pub(crate) behind: Option<u64>,
    /// How long ago the primary sent what this one has not dealt with yet; null if the primary does not say.
    pub(crate) behind_ms: Option<u64>,
    /// Whether its log has room: `enough`, `lacking` or `out`.
    pub(crate) room: Option<&'static str>,
    /// Which version of its machine it executes.
    pub(crate) machine_version: Option<u32>,
    /// The oldest and the newest version that its program supports.
    pub(crate) machine_versions: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
}

/// What a living replica is by the record; `None` for one that is not alive.
pub(crate) fn role(record: Option<&ViewRecord>, replica: &ReplicaStatus) -> Option<RoleName> {
    if !replica.is_alive {
        return None;
    }
    let own_word = replica.standing.map(|standing| standing.role);
    if own_word == Some(RoleName::Quarantined) {
        return Some(RoleName::Quarantined);
    }
    let Some(record) = record else {
        return Some(RoleName::Spare);
    };
    let identity = &replica.peer.identity;
    // A backup is who has what was acknowledged, also in another life: it may come back before it
    // is missed. A primary is not; rule R4 gives it another view.
    let is_backup = |backup: &Member| backup.name == identity.name && record.is_holder(identity);
    let role = if record.primary.is(identity) && record.active {
        RoleName::Primary
    } else if record.primary.is(identity) {
        RoleName::Candidate
    } else if record.backup.as_ref().is_some_and(is_backup) {
        RoleName::Backup
    } else {
        RoleName::Spare
    };
    Some(role)
}

impl Account {
    pub(crate) fn of(reply: &StatusReply) -> Self {
        let record = reply.record.as_ref();
        let primary = reply
            .replicas
            .iter()
            .find(|replica| record.is_some_and(|record| record.primary.is(&replica.peer.identity)));
        let primary_last = primary
            .and_then(|primary| primary.standing)
            .map(|standing| standing.last.index.0);
        let holder = reply.lease_remaining_ms.and(record);
        Self {
            view: record.map(ViewAccount::of),
            lease: LeaseAccount {
                holder: holder.map(|record| record.primary.name.to_string()),
                term_ms: reply.term_ms,
                remaining_ms: reply.lease_remaining_ms,
            },
            replicas: reply
                .replicas
                .iter()
                .map(|replica| ReplicaAccount::of(record, replica, primary_last))
                .collect(),
            unavailable: reply.unavailable.clone(),
            cluster: reply.cluster.to_string(),
            viewservice_trouble: reply.trouble.clone(),
        }
    }

    /// One line.
    pub(crate) fn json(&self) -> String {
        let json = serde_json::to_string(self).expect("plain structs become JSON");
        format!("{json}\n")
    }
}

impl ViewAccount {
    fn of(record: &ViewRecord) -> Self {
        Self {
            number: record.view.0,
            primary: record.primary.name.to_string(),
            backup: record.backup.as_ref().map(|backup| backup.name.to_string()),
            active: record.active,
            data_epoch: record.data_epoch.0,
            cause: record.reason.words(),
        }
    }
}

impl ReplicaAccount {
    fn of(record: Option<&ViewRecord>, replica: &ReplicaStatus, primary_last: Option<u64>) -> Self {
        let identity = &replica.peer.identity;
        let standing = replica.standing;
        let last = standing.map(|standing| standing.last.index.0);
        let behind = primary_last.zip(last);
        Self {
            name: identity.name.to_string(),
            role: role(record, replica).map(RoleName::word),
            address: replica.peer.address.clone(),
            incarnation: identity.life.incarnation.to_string(),
            alive: replica.is_alive,
            view: standing.map(|standing| standing.view.view.0),
            last_index: last,
            commit_index: standing.map(|standing| standing.commit.0),
            applied_index: standing.map(|standing| standing.applied.0),
            digest: standing.map(|standing| format!("{:032x}", standing.reply_digest)),
            behind: behind.map(|(primary, own)| primary.saturating_sub(own)),
            behind_ms: replica.behind_ms,
            room: replica.room.map(Room::word),
            machine_version: replica.versions.map(|it| it.executing),
            machine_versions: (replica.versions)
                .map(|it| [it.supported.oldest, it.supported.newest]),
            trouble: replica.trouble.clone(),
        }
    }
}
