//! The replicas that have reported since the view service started.

use std::collections::BTreeMap;

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::{Identity, Incarnation, ReplicaName, StoreId};
use standin_core::message::{
    Lag, Peer, REPLICAS_MAX, Report, RoleName, Room, Standing, UNSEEN_DEAD_MS,
};
use standin_core::planted::Planted;
use standin_core::time::{Duration, Instant};
use standin_core::version::VersionStanding;
use standin_core::view::{Member, ViewId, ViewRecord};

/// Longest remark of a replica on what keeps it from serving, in bytes; the rest is cut off.
pub const TROUBLE_BYTES_MAX: usize = 1024;

/// What is known of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    /// Its newest life.
    pub(crate) identity: Identity,
    /// Where others reach it.
    pub(crate) address: String,
    /// Its last word on where it stands.
    pub(crate) standing: Standing,
    /// What keeps it from serving, in its own words.
    pub(crate) trouble: Option<String>,
    /// Whether its log has room, in its own word.
    pub(crate) room: Room,
    /// How far its followers are behind, if it is primary.
    pub(crate) lags: Vec<Lag>,
    /// Which versions of its machine it executes and supports, if it says so.
    pub(crate) versions: Option<VersionStanding>,
    /// When it was last heard of.
    pub(crate) seen_at: Instant,
    /// Its newest connection, while that is open.
    pub(crate) conn: Option<ConnId>,
    /// Its newest connection, open or not.
    ///
    /// What comes over an earlier one was sent earlier, however late it comes.
    conn_newest: ConnId,
    /// Its newest life has died: its parent has reaped it.
    has_died: bool,
    /// What its store was seen to have.
    had: Had,
    /// What its newest life was seen to have.
    ///
    /// Within a life only this is compared: a report that left before the primary made it its backup
    /// may come after that, and shows no new loss.
    had_in_life: Had,
    /// The life in which its store came back with less than it was seen to have, as an old copy of a
    /// disk does. It does not get better by adopting the newest view or by following for a while:
    /// only the primary that makes it its backup anew can say that it has everything again
    /// ([`Roster::vouch`]).
    regressed_in: Option<Incarnation>,
}

/// The most that a store was seen to have, over all its lives.
#[derive(Clone, Copy, Debug, Default)]
struct Had {
    view: ViewId,
    /// Committed, so never lost while its token lives, and in the store itself.
    committed: Index,
}

impl Had {
    fn of(standing: &Standing) -> Self {
        Self {
            view: standing.view,
            // A spare hears of commits beyond the end of its own log.
            committed: standing.commit.min(standing.last.index),
        }
    }

    /// Whether a store that stands there has lost something of it.
    fn is_more_than(self, standing: &Standing) -> bool {
        standing.view < self.view
            || (standing.view.data_epoch == self.view.data_epoch
                && standing.last.index < self.committed)
    }

    fn and(self, other: Self) -> Self {
        // A forced takeover sets logs aside, so a new data epoch begins anew.
        let committed = match self.view.data_epoch.cmp(&other.view.data_epoch) {
            std::cmp::Ordering::Less => other.committed,
            std::cmp::Ordering::Equal => self.committed.max(other.committed),
            std::cmp::Ordering::Greater => self.committed,
        };
        Self {
            view: self.view.max(other.view),
            committed,
        }
    }
}

/// A replica's words as they may be printed: bounded, and nothing in them moves a terminal's cursor.
fn remark(words: &str) -> String {
    let words = &words[..words.floor_char_boundary(TROUBLE_BYTES_MAX)];
    words.replace(char::is_control, " ")
}

impl Replica {
    fn new(report: Report, conn: ConnId, now: Instant) -> Self {
        let trouble = report.trouble.as_deref().map(remark);
        let had = Had::of(&report.standing);
        Self {
            had,
            had_in_life: had,
            has_died: false,
            regressed_in: None,
            identity: report.identity,
            address: report.address,
            standing: report.standing,
            trouble,
            room: report.room,
            lags: report.lags,
            versions: report.versions,
            seen_at: now,
            conn: Some(conn),
            conn_newest: conn,
        }
    }

    /// Whether it is connected and was heard of within a lease term, and nobody knows better.
    pub(crate) fn is_alive(&self, now: Instant, term: Duration) -> bool {
        self.conn.is_some() && now.since(self.seen_at) <= term && !self.has_died
    }

    /// Whether its newest life has died: its parent has reaped it.
    pub(crate) fn has_died(&self) -> bool {
        self.has_died
    }

    /// Whether its store came back with less than it was seen to have.
    pub(crate) fn is_old_copy(&self) -> bool {
        self.regressed_in.is_some()
    }

    /// Whether it has taken part in any view.
    pub(crate) fn has_history(&self) -> bool {
        has_history(&self.standing)
    }

    /// Whether it was put out of service until an operator has looked at it.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.standing.role == RoleName::Quarantined
    }

    pub(crate) fn peer(&self, now: Instant) -> Peer {
        Peer {
            identity: self.identity.clone(),
            address: self.address.clone(),
            unseen_ms: match self.has_died {
                true => UNSEEN_DEAD_MS,
                false => millis(now.since(self.seen_at)),
            },
        }
    }
}

/// Whether a replica that stands there has taken part in any view.
pub(crate) fn has_history(standing: &Standing) -> bool {
    standing.view != ViewId::default() || standing.last.index > Index::ZERO
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a report is, next to what is known of its replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The newest life, on its newest connection.
    Current,
    /// The newest life, on a connection that it has since replaced: it was sent earlier.
    EarlierConnection,
    /// Not the newest life of that store.
    Superseded,
}

/// All replicas that have reported, by name.
///
/// Invariant: at most [`REPLICAS_MAX`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    replicas: BTreeMap<ReplicaName, Replica>,
    pub(crate) planted: Planted,
}

impl Roster {
    /// Takes in a report of a current life.
    pub(crate) fn note(&mut self, report: Report, conn: ConnId, now: Instant) {
        let mut replica = Replica::new(report, conn, now);
        if let Some(before) = self.replicas.get(&replica.identity.name)
            && before.identity.store == replica.identity.store
        {
            let life = replica.identity.life.incarnation;
            let is_same_life = before.identity.life.incarnation == life;
            replica.has_died = is_same_life && before.has_died;
            let had = if is_same_life {
                before.had_in_life
            } else {
                before.had
            };
            // Who is out of service may not even have read its log. What it has will show when it is in service again.
            let has_regressed = !replica.is_quarantined() && had.is_more_than(&replica.standing);
            replica.regressed_in = has_regressed.then_some(life).or(before.regressed_in);
            replica.had = before.had.and(replica.had);
            if is_same_life {
                replica.had_in_life = before.had_in_life.and(replica.had_in_life);
            }
        }
        self.replicas.insert(replica.identity.name.clone(), replica);
        assert!(
            self.replicas.len() <= REPLICAS_MAX,
            "{} replicas",
            self.replicas.len()
        );
    }

    /// The primary has made a pair of itself and a backup: both have everything again. That is said
    /// of the lives that the record names. One that came back as an old copy while the Join was on
    /// its way has lost again what was vouched for.
    pub(crate) fn vouch(&mut self, record: &ViewRecord) {
        for member in std::iter::once(&record.primary).chain(&record.backup) {
            let Some(replica) = self.replicas.get_mut(&member.name) else {
                continue;
            };
            let store = replica.identity.store;
            let is_holder = (record.holders.iter()).any(|holder| holder.token.store() == store);
            let has_lost_it = (replica.regressed_in)
                .is_some_and(|regressed_in| regressed_in.is_newer_than(member.incarnation));
            if is_holder && !has_lost_it {
                replica.regressed_in = None;
            }
        }
    }

    /// A life has died. Whether that is news, and the newest life of its replica that is known.
    pub(crate) fn died(&mut self, member: &Member) -> bool {
        let replica = self.replicas.get_mut(&member.name);
        let replica = replica.filter(|replica| member.is(&replica.identity));
        replica.is_some_and(|replica| !std::mem::replace(&mut replica.has_died, true))
    }

    /// An operator has named a replica, with what it has now: what it had before is given up.
    pub(crate) fn accept(&mut self, name: &ReplicaName) {
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.regressed_in = None;
            replica.had = Had::of(&replica.standing);
            replica.had_in_life = replica.had;
        }
    }

    /// A name was given up, and with it all that was known of its store. That it had come back with less
    /// than it had makes no difference any more: it is no holder, and becomes one only by a Join, which
    /// vouches for it.
    pub(crate) fn forget(&mut self, name: &ReplicaName) {
        self.replicas.remove(name);
    }

    /// A connection is gone.
    pub(crate) fn disconnect(&mut self, conn: ConnId) {
        for replica in self.replicas.values_mut() {
            if replica.conn == Some(conn) {
                replica.conn = None;
            }
        }
    }

    /// Which life of its replica speaks as `identity` on `conn`.
    pub(crate) fn life(&self, identity: &Identity, conn: ConnId) -> Life {
        let Some(known) = self.replicas.get(&identity.name) else {
            return Life::Current;
        };
        let (newest, speaks) = (known.identity.life.incarnation, identity.life.incarnation);
        if known.identity.store != identity.store || speaks.is_newer_than(newest) {
            Life::Current
        } else if speaks != newest {
            Life::Superseded
        } else if known.conn_newest > conn {
            Life::EarlierConnection
        } else {
            Life::Current
        }
    }

    /// Whether one more replica of that name would be too many.
    pub(crate) fn is_full_for(&self, name: &ReplicaName) -> bool {
        self.replicas.len() >= REPLICAS_MAX && !self.replicas.contains_key(name)
    }

    pub(crate) fn by_name(&self, name: &ReplicaName) -> Option<&Replica> {
        self.replicas.get(name)
    }

    pub(crate) fn by_store(&self, store: StoreId) -> Option<&Replica> {
        self.iter().find(|replica| replica.identity.store == store)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.values()
    }
}
