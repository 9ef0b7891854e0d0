//! Who may report under which name.

use standin_core::conn::ConnId;
use standin_core::identity::{Durability, Identity, ReplicaName, StoreId};
use standin_core::message::{REPLICAS_MAX, Refusal, Report};
use standin_core::time::{Instant, Now};

use super::ViewService;
use crate::roster::Life;
use crate::stored::Registered;

/// A name is given up to a new one only if its replica was not heard of for this many lease terms.
const FORGET_TERMS_MIN: u32 = 10;

/// Whether a report may be taken in.
pub(super) enum Admission {
    Welcome,
    /// Not answered now; the replica will report again.
    NotYet,
    Refused(Refusal),
}

impl ViewService {
    /// Whether the sender of a report is who may report under its name.
    pub(super) fn admit(&self, now: Now, conn: ConnId, report: &Report) -> Admission {
        let identity = &report.identity;
        match self.roster.life(identity, conn) {
            Life::Current => {}
            Life::EarlierConnection => return Admission::NotYet,
            Life::Superseded => return Admission::Refused(Refusal::Superseded),
        }
        let mut replicas = self.state.replicas.iter();
        if replicas.any(|other| other.store == identity.store && other.name != identity.name)
            || self.is_other_name_waiting(identity)
        {
            return Admission::Refused(Refusal::Protocol);
        }
        if self.is_of_dead_boot(identity) {
            return Admission::Refused(Refusal::TokenDead);
        }
        match self.state.store_of(&identity.name) {
            Some(store) if store != identity.store => self.admit_other_store(now, store, report),
            Some(_) => Admission::Welcome,
            None if self.is_full() && self.forgettable(now.boot).is_none() => {
                let names = self.state.replicas.iter();
                let names = names.map(|replica| replica.name.clone()).collect();
                Admission::Refused(Refusal::NamesTaken { names })
            }
            // It has lost its record, and registers nobody.
            None if self.state.record.is_none() && self.roster.is_full_for(&identity.name) => {
                Admission::Refused(Refusal::TooManyReplicas)
            }
            None => Admission::Welcome,
        }
    }

    /// Takes note of a life that is not let in since a token of its store is dead, right before it is turned
    /// away: it is the newest of that store, and shows what that has. A later life with less is an older copy
    /// of the disk (`protocol.md` section 7), which this process might not know otherwise.
    pub(super) fn note_refused(&mut self, conn: ConnId, report: Report) {
        let identity = &report.identity;
        if self.state.store_of(&identity.name) == Some(identity.store) {
            self.roster.note(report, conn, self.now);
        }
    }

    /// Whether a new name has room only if another one gives way.
    pub(super) fn is_full(&self) -> bool {
        self.state.replicas.len() >= REPLICAS_MAX
    }

    /// The name that gives way to a new one: of those that the record does not name, the one that was
    /// not heard of for the longest time, and for a long time at least. None as long as silence proves
    /// nothing, and none while this service may be the one that is wrong: who says so must be
    /// remembered.
    ///
    /// Nothing rests on such a name. Its store is no holder, so no copy of it may become primary
    /// (section 7); to be one it has to report, and be registered, again.
    pub(super) fn forgettable(&self, now: Instant) -> Option<&ReplicaName> {
        let record = self.state.record.as_ref()?;
        if self.is_behind() || self.grantor.hold_remaining(now).is_some() {
            return None;
        }
        let is_named = |replica: &Registered| {
            let mut members = std::iter::once(&record.primary).chain(&record.backup);
            let mut holders = record.holders.iter();
            members.any(|member| member.name == replica.name)
                || holders.any(|holder| {
                    holder.name == replica.name || holder.token.store() == replica.store
                })
        };
        let seen_at = |name: &ReplicaName| {
            let replica = self.roster.by_name(name);
            replica.map_or(self.started_at, |replica| replica.seen_at)
        };
        let replicas = self.state.replicas.iter();
        replicas
            .filter(|replica| !is_named(replica))
            .map(|replica| (seen_at(&replica.name), &replica.name))
            .filter(|(seen_at, _)| now.since(*seen_at) >= self.view_term() * FORGET_TERMS_MIN)
            .min()
            .map(|(_, name)| name)
    }

    /// Whether what a replica acknowledges out of its page cache would count under a token that is dead.
    /// It must begin a life in another boot, as it does once it has noted itself that its disk failed.
    fn is_of_dead_boot(&self, identity: &Identity) -> bool {
        self.state.is_dead(identity.token(Durability::Os))
    }

    /// A known name on another data directory: only if the operator says so, and never while the
    /// directory that has the name is in use.
    fn admit_other_store(&self, now: Now, store: StoreId, report: &Report) -> Admission {
        let term = self.view_term();
        let is_in_use = self
            .roster
            .by_store(store)
            .is_some_and(|replica| replica.is_alive(now.boot, term));
        if !report.replace || is_in_use {
            Admission::Refused(Refusal::NameTaken { store })
        } else if self.grantor.hold_remaining(now.boot).is_some() {
            // The other directory's replica may live and not have been able to report yet.
            Admission::NotYet
        } else {
            Admission::Welcome
        }
    }
}
