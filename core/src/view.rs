//! The view record and the moves that may change it (`protocol.md` section 2).
//!
//! The record is one compare-and-swap register. Each move is a function from the current record to
//! the next one; [`ViewRecord::check_move`] is what the view service holds a proposed swap against.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::{ClusterId, Durability, Identity, Incarnation, ReplicaName, StoreId, Token};
use crate::poison::Skip;

/// Number of a view. Rises by one with each change of the record; never reused; 0 means none yet.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ViewNumber(pub u64);

impl ViewNumber {
    /// The view after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ViewNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Rises only when an operator forces a takeover and accepts loss.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct DataEpoch(pub u32);

impl DataEpoch {
    /// The data epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Data epoch and view together: what "higher view" means once an operator has forced a takeover.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ViewId {
    /// The data epoch.
    pub data_epoch: DataEpoch,
    /// The view's number.
    pub view: ViewNumber,
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.data_epoch.0 == 0 {
            write!(f, "{}", self.view)
        } else {
            write!(f, "{} (data epoch {})", self.view, self.data_epoch.0)
        }
    }
}

/// A replica in a role: its name and the process life that holds the role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The replica's name.
    pub name: ReplicaName,
    /// The life that was given the role.
    pub incarnation: Incarnation,
}

impl Member {
    /// This life of a replica as a member.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        Self {
            name: identity.name.clone(),
            incarnation: identity.life.incarnation,
        }
    }

    /// Whether `identity` is this very life.
    #[must_use]
    pub fn is(&self, identity: &Identity) -> bool {
        self.name == identity.name && self.incarnation == identity.life.incarnation
    }
}

/// A replica known to have every answered entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its name, for people.
    pub name: ReplicaName,
    /// What it must still be to count.
    pub token: Token,
}

impl Holder {
    /// Whether `identity` still is this holder.
    #[must_use]
    pub fn is(&self, identity: &Identity) -> bool {
        identity.satisfies(self.token)
    }
}

/// Why the record changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The cluster's first view.
    Bootstrap,
    /// The primary's lease ran out.
    LeaseExpired,
    /// The primary gave its lease back, as it does on a clean stop.
    Released,
    /// A newer life of the primary's store appeared, so the primary is dead.
    PrimaryRestarted,
    /// The primary of an inactive view did not activate it in time.
    NotActivated,
    /// The candidate activated its view.
    Activated,
    /// A spare in sync became the backup.
    Joined,
    /// The backup was removed.
    Dropped,
    /// An operator forced a takeover.
    Forced,
    /// The primary handed over.
    HandedOver,
    /// The primary's process died, as its parent has told, which has reaped it.
    Died,
    /// The record was lost, and an operator had it made again from what the replicas know. Since protocol
    /// version 4.
    Rebuilt,
}

impl Reason {
    /// The cause in a few words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Bootstrap => "first view",
            Self::LeaseExpired => "the primary's lease ran out",
            Self::Released => "the primary stopped",
            Self::PrimaryRestarted => "the primary's process was restarted",
            Self::NotActivated => "the candidate did not take over in time",
            Self::Activated => "the candidate took over",
            Self::Joined => "a spare became the backup",
            Self::Dropped => "the backup was dropped",
            Self::Forced => "an operator forced a takeover",
            Self::HandedOver => "the primary handed over",
            Self::Died => "the primary's process died",
            Self::Rebuilt => "the record was lost and made again",
        }
    }
}

/// The view record: the one register that says who is primary and who may become it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRecord {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Rises only by a forced takeover.
    pub data_epoch: DataEpoch,
    /// The view's number.
    pub view: ViewNumber,
    /// The one primary of this view. In an inactive view: the candidate.
    pub primary: Member,
    /// The backup whose acknowledgement each answer waits for. `None`: the primary is solo.
    pub backup: Option<Member>,
    /// The replicas known to have every answered entry: one or two, of different stores.
    ///
    /// Invariant: in an active view, exactly the primary and, if there is one, the backup.
    pub holders: Vec<Holder>,
    /// Whether the primary has taken up its role and may answer.
    pub active: bool,
    /// The lease term that the view service grants, in milliseconds.
    pub term_ms: u32,
    /// Why the record changed last.
    pub reason: Reason,
    /// Entries that made the machine of an earlier primary fail, before it had answered anything of them: the
    /// newest, oldest first. The primary of this view skips them, and has them in its log or lists them in its
    /// ViewStart. They change with the primary only; at most [`crate::poison::SKIPS_MAX`]. Since protocol version 3.
    pub skips: Vec<Skip>,
}

/// Why a proposed swap is not one of the protocol's moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MoveError {
    /// Somebody other than the record's primary asked.
    #[error("only this view's primary may ask for that")]
    NotThePrimary,
    /// The proposal is none of Activate, Join, Drop, Hand over.
    #[error("the proposed record is not one that the rules allow from the current one")]
    NotAMove,
}

impl ViewRecord {
    /// Bootstrap: the first record, naming `first` as the candidate.
    #[must_use]
    pub fn bootstrap(cluster: ClusterId, first: &Identity, term_ms: u32) -> Self {
        Self {
            cluster,
            data_epoch: DataEpoch(0),
            view: ViewNumber(1),
            primary: Member::of(first),
            backup: None,
            holders: vec![Holder {
                name: first.name.clone(),
                token: Token::Disk { store: first.store },
            }],
            active: false,
            term_ms,
            reason: Reason::Bootstrap,
            skips: Vec::new(),
        }
    }

    /// Data epoch and view.
    #[must_use]
    pub fn id(&self) -> ViewId {
        ViewId {
            data_epoch: self.data_epoch,
            view: self.view,
        }
    }

    /// Whether `identity` is among the holders.
    #[must_use]
    pub fn is_holder(&self, identity: &Identity) -> bool {
        self.holders.iter().any(|holder| holder.is(identity))
    }

    /// The token under which a store is a holder, if it is one.
    #[must_use]
    pub fn token_of(&self, store: StoreId) -> Option<Token> {
        let mut tokens = self.holders.iter().map(|holder| holder.token);
        tokens.find(|token| token.store() == store)
    }

    /// Depose: the next view has `candidate`, a holder, as its inactive primary. The holders stay
    /// (rule R2: if the candidate dies before it served, the deposed one may still come back).
    #[must_use]
    pub fn depose(&self, candidate: &Identity, reason: Reason) -> Self {
        assert!(
            self.is_holder(candidate),
            "{} is not a holder",
            candidate.name
        );
        self.depose_to(candidate, reason)
    }

    /// Depose for somebody who need not be a holder.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn depose_to_anybody(&self, candidate: &Identity, reason: Reason) -> Self {
        self.depose_to(candidate, reason)
    }

    fn depose_to(&self, candidate: &Identity, reason: Reason) -> Self {
        Self {
            view: self.view.next(),
            primary: Member::of(candidate),
            backup: None,
            active: false,
            reason,
            ..self.clone()
        }
    }

    /// Hand over: primary and backup change places, and both stay holders. The new primary waits for the
    /// old one from its first entry on. `None` without a backup: there is nobody to hand over to.
    #[must_use]
    pub fn hand_over(&self) -> Option<Self> {
        Some(Self {
            view: self.view.next(),
            primary: self.backup.clone()?,
            backup: Some(self.primary.clone()),
            active: false,
            reason: Reason::HandedOver,
            ..self.clone()
        })
    }

    /// Activate: the candidate takes up its role. It alone is the holder from here on, unless the view
    /// was handed over to it: then so is its backup.
    #[must_use]
    pub fn activate(&self, candidate: &Identity) -> Self {
        let holders = match &self.backup {
            Some(_) => self.holders.clone(),
            None => vec![lone_holder(candidate)],
        };
        Self {
            holders,
            active: true,
            reason: Reason::Activated,
            ..self.clone()
        }
    }

    /// Join: `backup`, which has every answered entry and is already waited for, becomes the backup.
    /// Both tokens are of the durability level at which the pair acknowledges.
    #[must_use]
    pub fn join(&self, primary: Holder, backup: (&Identity, Token)) -> Self {
        let (identity, token) = backup;
        Self {
            view: self.view.next(),
            backup: Some(Member::of(identity)),
            holders: vec![
                primary,
                Holder {
                    name: identity.name.clone(),
                    token,
                },
            ],
            reason: Reason::Joined,
            ..self.clone()
        }
    }

    /// Drop: the primary goes on alone. From a view without a backup this is the fence against a Join
    /// that was given up but may still land (rule R1).
    #[must_use]
    pub fn drop_backup(&self, primary: &Identity) -> Self {
        Self {
            view: self.view.next(),
            backup: None,
            holders: vec![lone_holder(primary)],
            reason: Reason::Dropped,
            ..self.clone()
        }
    }

    /// Force: an operator gives up what only others may have. The next view has `chosen`, who need not
    /// be a holder, as its inactive primary and only holder, in a new data epoch: what was answered
    /// and is not in its log is lost. Nobody knows how much of that log is on its disk before it activates
    /// the view, so until then the token dies with the machine's boot.
    #[must_use]
    pub fn force(&self, chosen: &Identity) -> Self {
        Self {
            data_epoch: self.data_epoch.next(),
            view: self.view.next(),
            primary: Member::of(chosen),
            backup: None,
            holders: vec![Holder {
                name: chosen.name.clone(),
                token: chosen.token(Durability::Os),
            }],
            active: false,
            reason: Reason::Forced,
            ..self.clone()
        }
    }

    /// Whether `proposed` follows from this record by a move that `asker` may ask for.
    ///
    /// Rule R6: who is in sync is not judged here; the primary's word is taken.
    ///
    /// # Errors
    /// [`MoveError`] says which rule the proposal breaks.
    pub fn check_move(&self, proposed: &Self, asker: &Identity) -> Result<(), MoveError> {
        if !self.primary.is(asker) {
            return Err(MoveError::NotThePrimary);
        }
        let expected = match proposed.reason {
            Reason::Activated if !self.active => self.activate(asker),
            Reason::Dropped if self.active => self.drop_backup(asker),
            Reason::HandedOver if self.active => self.hand_over().ok_or(MoveError::NotAMove)?,
            Reason::Joined if self.active && self.backup.is_none() => {
                return self.check_join(proposed, asker);
            }
            _ => return Err(MoveError::NotAMove),
        };
        if *proposed == expected {
            Ok(())
        } else {
            Err(MoveError::NotAMove)
        }
    }

    fn check_join(&self, proposed: &Self, asker: &Identity) -> Result<(), MoveError> {
        let [primary, backup] = proposed.holders.as_slice() else {
            return Err(MoveError::NotAMove);
        };
        let names_the_backup = proposed
            .backup
            .as_ref()
            .is_some_and(|member| member.name == backup.name);
        let expected = Self {
            view: self.view.next(),
            backup: proposed.backup.clone(),
            holders: proposed.holders.clone(),
            reason: Reason::Joined,
            ..self.clone()
        };
        let is_a_join = primary.is(asker)
            && primary.name == asker.name
            && names_the_backup
            && primary.token.store() != backup.token.store()
            && backup.name != asker.name;
        if is_a_join && *proposed == expected {
            Ok(())
        } else {
            Err(MoveError::NotAMove)
        }
    }
}

/// The holder that a lone primary is: its log is synced before it asks, so only its disk counts
/// (`protocol.md` section 4.7).
fn lone_holder(identity: &Identity) -> Holder {
    Holder {
        name: identity.name.clone(),
        token: Token::Disk {
            store: identity.store,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::identity;

    fn record() -> ViewRecord {
        ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000)
    }

    fn joined() -> ViewRecord {
        let (a, b) = (identity("a", 1), identity("b", 1));
        let holder = Holder {
            name: a.name.clone(),
            token: a.token(Durability::Os),
        };
        record()
            .activate(&a)
            .join(holder, (&b, b.token(Durability::Os)))
    }

    #[test]
    fn the_moves_lead_from_bootstrap_to_a_pair_and_back() {
        let (a, b) = (identity("a", 1), identity("b", 1));
        let first = record();
        let active = first.activate(&a);
        first.check_move(&active, &a).unwrap();
        assert_eq!(active.view, ViewNumber(1), "Activate keeps the view");
        let pair = joined();
        active.check_move(&pair, &a).unwrap();
        assert_eq!(pair.view, ViewNumber(2));
        let solo = pair.drop_backup(&a);
        pair.check_move(&solo, &a).unwrap();
        assert_eq!((solo.view, solo.holders.len()), (ViewNumber(3), 1));
        let taken = pair.depose(&b, Reason::LeaseExpired);
        assert_eq!(
            taken.holders, pair.holders,
            "R2: holders shrink only at activation"
        );
        taken.check_move(&taken.activate(&b), &b).unwrap();
    }

    #[test]
    fn force_makes_one_replica_the_only_holder_in_a_new_data_epoch() {
        let (a, c) = (identity("a", 1), identity("c", 4));
        let pair = joined();
        let forced = pair.force(&c);
        assert_eq!(
            forced.id(),
            ViewId {
                data_epoch: DataEpoch(1),
                view: ViewNumber(3)
            }
        );
        assert!(forced.primary.is(&c) && forced.backup.is_none() && !forced.active);
        assert!(forced.is_holder(&c) && forced.holders.len() == 1);
        forced.check_move(&forced.activate(&c), &c).unwrap();
        for asker in [&a, &c] {
            assert!(
                pair.check_move(&forced, asker).is_err(),
                "an operator's move, and no replica's"
            );
        }
    }

    #[test]
    fn to_hand_over_is_to_change_places_and_both_stay_holders() {
        let (a, b) = (identity("a", 1), identity("b", 1));
        let pair = joined();
        let handed = pair.hand_over().unwrap();
        pair.check_move(&handed, &a).unwrap();
        assert_eq!(handed.view, ViewNumber(3));
        assert!(handed.primary.is(&b) && !handed.active);
        assert!(handed.backup.as_ref().is_some_and(|it| it.is(&a)));
        assert_eq!(handed.holders, pair.holders);
        let active = handed.activate(&b);
        handed.check_move(&active, &b).unwrap();
        assert_eq!(active.holders, pair.holders, "both have every answer");
        let back = active.hand_over().unwrap();
        active.check_move(&back, &b).unwrap();
        for (from, asker) in [(&pair, &b), (&handed, &a), (&active, &a)] {
            let proposed = from.hand_over().unwrap();
            assert!(from.check_move(&proposed, asker).is_err(), "{from:?}");
        }
        assert_eq!(
            handed.check_move(&handed.hand_over().unwrap(), &b),
            Err(MoveError::NotAMove),
            "a view that nobody serves in is not handed over"
        );
        assert!(record().activate(&a).hand_over().is_none());
        let mut alone = handed;
        alone.backup = None;
        assert_eq!(pair.check_move(&alone, &a), Err(MoveError::NotAMove));
        let deposed = active.depose(&a, Reason::LeaseExpired);
        assert_eq!(deposed.activate(&a).holders.len(), 1);
    }

    #[test]
    fn only_the_views_primary_may_move_it() {
        let (a, b) = (identity("a", 1), identity("b", 1));
        let pair = joined();
        let refused = pair.check_move(&pair.drop_backup(&a), &b);
        assert_eq!(refused, Err(MoveError::NotThePrimary));
        let restarted = identity("a", 2);
        let refused = pair.check_move(&pair.drop_backup(&restarted), &restarted);
        assert_eq!(
            refused,
            Err(MoveError::NotThePrimary),
            "R4: a new life holds no old view"
        );
    }

    #[test]
    fn what_is_not_a_move_is_refused() {
        let a = identity("a", 1);
        let pair = joined();
        let mut cases = Vec::new();
        let mut skipped = pair.drop_backup(&a);
        skipped.view = ViewNumber(9);
        cases.push(skipped);
        let mut epoch = pair.drop_backup(&a);
        epoch.data_epoch = DataEpoch(1);
        cases.push(epoch);
        let mut keeps_both = pair.drop_backup(&a);
        keeps_both.holders = pair.holders.clone();
        cases.push(keeps_both);
        cases.push(pair.activate(&a));
        cases.push(pair.clone());
        for proposed in cases {
            assert_eq!(
                pair.check_move(&proposed, &a),
                Err(MoveError::NotAMove),
                "{proposed:?}"
            );
        }
        let mut with_itself = joined();
        with_itself.holders[1] = with_itself.holders[0].clone();
        let active = record().activate(&a);
        assert_eq!(
            active.check_move(&with_itself, &a),
            Err(MoveError::NotAMove)
        );
    }
}
