//! How a replica fares, for people and their tools: probes, load balancers, metrics.

use std::collections::BTreeSet;

use standin_core::entry::Index;
use standin_core::machine::StateMachine;
use standin_core::message::{Room, Standing};
use standin_core::time::{Duration, Now};
use standin_core::version::VersionStanding;
use standin_primary::Following;

use crate::replica::{Replica, Role};

/// How a replica fares, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Where it stands.
    pub standing: Standing,
    /// Of an active primary: it answers requests, since it holds the lease or, while the view service is away, hears its backup.
    pub is_serving: bool,
    /// Of a primary: it answers alone.
    pub is_solo: bool,
    /// Of a follower: entries flow from the primary. It may still lack many.
    pub is_following: bool,
    /// Of a follower: the primary has answered it. Entries flow, or it fetches what it lacks of the state before.
    pub is_in_touch: bool,
    /// Its disk or its machine has had something to do, and done nothing of it, for longer than a lease term.
    pub is_stalled: bool,
    /// Entries that are committed, as far as the primary has told it, and that it has not applied.
    pub behind: u64,
    /// What is left of the lease; `None`: it is not primary, or holds none.
    pub lease_remaining: Option<Duration>,
    /// The view service answers.
    pub is_view_service_there: bool,
    /// Whether the log has room.
    pub room: Room,
    /// What keeps it from serving or wants looking after, in words.
    pub trouble: Option<String>,
    /// The versions of the machine; `None` while it has executed nothing.
    pub versions: Option<VersionStanding>,
    /// Who follows it, if it is primary.
    pub followers: Vec<FollowerAccount>,
    /// Replicas that this primary keeps out, for they came to other replies or states.
    pub parted: BTreeSet<String>,
    /// How often in this life another replica was found to have come to other replies or states.
    pub partings: u64,
    /// Sessions that are open.
    pub sessions: usize,
    /// Entries that are ordered and not applied yet, reads that are to be confirmed or answered, and requests that are held
    /// until it is clear who is primary.
    pub waiting: u64,
}

/// A follower, as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerAccount {
    /// Its name.
    pub name: String,
    /// Whether it is the view's backup.
    pub is_backup: bool,
    /// The last entry that it has acknowledged.
    pub acknowledged: Index,
}

impl FollowerAccount {
    fn of(following: Following<'_>) -> Self {
        Self {
            name: following.name.to_string(),
            is_backup: following.is_backup,
            acknowledged: following.acknowledged,
        }
    }
}

impl<M: StateMachine> Replica<M> {
    /// How it fares.
    #[must_use]
    pub fn account(&self, now: Now) -> Account {
        let standing = self.standing();
        let lease = self.lease_until().map(|until| until.since(now.boot));
        let lease = lease.filter(|left| *left > Duration::ZERO);
        let (is_serving, is_following, committed) = match &self.role {
            Role::Primary(primary) => {
                let may_answer = lease.is_some() || primary.hears_backup(now.boot, self.term());
                (primary.is_serving() && may_answer, false, standing.commit)
            }
            Role::Backup(backup) => {
                let there = backup.committed_there();
                (false, backup.is_streaming(), there.max(standing.commit))
            }
            Role::Between | Role::Quarantined => (false, false, standing.commit),
        };
        Account {
            standing,
            is_serving,
            is_solo: self.is_solo(),
            is_following,
            is_in_touch: self.is_in_touch(),
            is_stalled: (is_serving || is_following) && self.is_stalled(now.boot),
            behind: committed.0.saturating_sub(standing.applied.0),
            lease_remaining: lease,
            is_view_service_there: self.dialog.is_up
                && !self.dialog.is_unanswered(now.boot, self.term()),
            room: self.room(),
            trouble: self.remark(),
            versions: self.version_standing(),
            followers: self.followers().map(FollowerAccount::of).collect(),
            parted: self.kept_out().cloned().collect(),
            partings: self.parting.count,
            sessions: self.state.session_count(),
            waiting: self.waiting(),
        }
    }

    /// What is told to people, if anything: what keeps it from serving first.
    pub(crate) fn remark(&self) -> Option<String> {
        (self.trouble.clone())
            .or_else(|| self.parted_words().cloned())
            .or_else(|| self.want_of_room())
            .or_else(|| self.loss())
            .or_else(|| self.fatality())
    }

    /// The versions of its machine. One that has executed nothing begins with whatever version the log or a snapshot says.
    pub(crate) fn version_standing(&self) -> Option<VersionStanding> {
        let has_executed = self.state.applied() > Index::ZERO;
        has_executed.then(|| VersionStanding {
            executing: self.state.version(),
            supported: self.config.versions,
        })
    }

    fn waiting(&self) -> u64 {
        let (queues, _) = self.queues();
        let requests = queues.reads + self.held().0;
        queues.entries + u64::try_from(requests).unwrap_or(u64::MAX)
    }
}
