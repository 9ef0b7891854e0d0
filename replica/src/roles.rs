//! The roles at work: handing them events and carrying out what they ask.

use standin_backup as backup;
use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::{ReplicaName, StoreId};
use standin_core::machine::StateMachine;
use standin_core::message::{Ack, Follow, Lag, Leave, Swap};
use standin_core::planted::Bug;
use standin_core::time::Now;
use standin_core::view::{Reason, ViewId, ViewRecord};
use standin_primary as primary;
use standin_primary::EXCLUDED_STORES_MAX;

use crate::event::{Action, Level, ReadFor};
use crate::replica::{Replica, Role};

impl<M: StateMachine> Replica<M> {
    pub(crate) fn on_follow(&mut self, now: Now, conn: ConnId, follow: &Follow) {
        self.on_higher_view(now, follow.view);
        match &self.role {
            Role::Primary(_) => self.tell_primary(now, primary::Event::Follow(conn, follow)),
            _ if follow.view < self.adopted => {
                self.actions
                    .push_back(Action::HigherView(conn, self.adopted));
            }
            _ => self.actions.push_back(Action::CloseFollower(conn)),
        }
    }

    /// The store of the follower whose stream this is; `None`: it is none of this primary's.
    pub(crate) fn store_of_stream(
        &self,
        conn: ConnId,
        nonce: u64,
        view: ViewId,
    ) -> Option<StoreId> {
        let Role::Primary(primary) = &self.role else {
            return None;
        };
        let is_stream = primary.has_stream(conn, nonce, view);
        primary.store_of(conn).filter(|_| is_stream)
    }

    pub(crate) fn on_ack(&mut self, now: Now, conn: ConnId, ack: &Ack) {
        let Some(store) = self.store_of_stream(conn, ack.nonce, ack.view) else {
            return; // of an earlier stream, or of nobody
        };
        if self.replies.contradicts(ack.applied, ack.reply_digest)
            && !self.planted.has(Bug::RepliesUncompared)
        {
            let what = format!("other replies up to entry {}", ack.applied);
            return self.on_parted(now, store, &what);
        }
        self.tell_primary(now, primary::Event::Ack(conn, ack));
    }

    pub(crate) fn warn_if_followers_are_not_taken(&mut self) {
        if let Role::Primary(primary) = &self.role
            && !primary.takes_followers()
        {
            let text = format!(
                "the replies of {EXCLUDED_STORES_MAX} followers differed from this replica's: it \
                 takes no more followers; find out whether it is the one that is wrong, and stop it \
                 if so"
            );
            self.set_trouble(Level::Error, text);
        }
    }

    /// How the backup gets on, if this is a primary.
    #[must_use]
    pub fn backup_pace(&self) -> Option<primary::BackupPace> {
        match &self.role {
            Role::Primary(primary) => Some(primary.backup_pace()),
            Role::Backup(_) | Role::Between | Role::Quarantined => None,
        }
    }

    pub(crate) fn tell_role(&mut self, now: Now, event: RoleEvent) {
        match &self.role {
            Role::Primary(_) => self.tell_primary(now, event.for_primary()),
            Role::Backup(_) => self.tell_backup(now, event.for_backup()),
            Role::Between | Role::Quarantined => {}
        }
    }

    pub(crate) fn tell_primary(&mut self, now: Now, event: primary::Event<'_>) {
        if let Role::Primary(primary) = &mut self.role {
            primary.handle(now, event);
            self.carry_out_primary(now);
        }
    }

    pub(crate) fn carry_out_primary(&mut self, now: Now) {
        while let Role::Primary(primary) = &mut self.role
            && let Some(action) = primary.next_action()
        {
            self.carry_out_primary_action(now, action);
        }
    }

    pub(crate) fn carry_out_primary_action(&mut self, now: Now, action: primary::Action) {
        match action {
            primary::Action::Append(batch) => self.append(batch),
            primary::Action::Sync => self.sync(),
            primary::Action::Send {
                conn,
                nonce,
                view,
                round,
                commit,
                payload,
            } => {
                let action = Action::Entries {
                    conn,
                    nonce,
                    view,
                    round,
                    commit,
                    payload,
                };
                self.actions.push_back(action);
            }
            primary::Action::Resume(conn, mut resume) => {
                // All of them: it may have the entry and not the ViewStart that lists it.
                resume.skips = self.log.skips.iter().copied().collect();
                resume.resp = self.resp.own();
                self.actions.push_back(Action::Resume(conn, resume));
            }
            primary::Action::Offer(conn, store, nonce, from) => {
                self.offer(conn, store, nonce, from);
            }
            primary::Action::HigherView(conn, view) => {
                self.actions.push_back(Action::HigherView(conn, view));
            }
            primary::Action::CloseFollower(conn) => {
                self.actions.push_back(Action::CloseFollower(conn));
            }
            primary::Action::RefuseFollower(conn, refusal) => {
                self.actions
                    .push_back(Action::RefuseFollower(conn, refusal));
            }
            primary::Action::ReadLog {
                conn,
                from,
                bytes_max,
            } => {
                let read = ReadFor::Follower(conn);
                self.actions
                    .push_back(Action::ReadLog(read, from, bytes_max));
            }
            primary::Action::Commit(through) => self.log.commit = self.log.commit.max(through),
            primary::Action::Answer(queries) => {
                queries.into_iter().for_each(|query| self.ready.push(query));
            }
            primary::Action::Swap { expected, proposed } => {
                self.swap(now, *expected, *proposed);
            }
            primary::Action::ReadRecord => self.dialog.hurry_for_a_word(now.boot),
            primary::Action::TooSlow(name, lag) => {
                let text = too_slow(&name, lag);
                self.actions.push_back(Action::Log(Level::Warn, text));
            }
            primary::Action::HandOverFailed(failure) => self.on_hand_over_failed(failure),
        }
    }

    pub(crate) fn swap(&mut self, now: Now, expected: ViewRecord, proposed: ViewRecord) {
        // A primary that can speak but not hear takes its backup for silent. If it were to drop it, it
        // would be the one holder, and nobody could take over from it. A candidate likewise.
        let is_alone = proposed.backup.is_none();
        let is_careful = matches!(proposed.reason, Reason::Dropped | Reason::Activated);
        let is_deaf = is_careful
            && self.dialog.is_unanswered(now.boot, self.term())
            && !self.planted.has(Bug::DeafDrops);
        if proposed.reason == Reason::HandedOver && !self.planted.has(Bug::HandOverLeased) {
            // Also if it does not leave: what was decided on is not taken back.
            self.dialog.lease.give_back();
        }
        if !self.dialog.is_up || is_deaf {
            return; // it is asked again in time
        }
        if proposed.reason == Reason::Joined {
            self.keep_join(&proposed);
        }
        if is_alone {
            // It may land, and make this disk the one holder, before it is read.
            self.keep_that_disk_may_hold();
        }
        let number = self.dialog.swap(now.boot, &proposed);
        let identity = self.config.identity.clone();
        let swap = Swap {
            number,
            identity,
            expected,
            proposed,
        };
        self.actions.push_back(Action::Swap(Box::new(swap)));
    }

    pub(crate) fn tell_backup(&mut self, now: Now, event: backup::Event<'_>) {
        if let Role::Backup(backup) = &mut self.role {
            backup.handle(now, event);
        }
        while let Role::Backup(backup) = &mut self.role
            && let Some(action) = backup.next_action()
        {
            self.carry_out_backup_action(now, action);
        }
    }

    pub(crate) fn carry_out_backup_action(&mut self, now: Now, action: backup::Action) {
        match action {
            backup::Action::Dial(address) => self.actions.push_back(Action::Dial(address)),
            backup::Action::Hang => self.actions.push_back(Action::Hang),
            backup::Action::Follow(conn, mut follow) => {
                follow.resp = self.resp.own();
                self.actions.push_back(Action::Follow(conn, follow));
            }
            backup::Action::Ack(conn, ack) => self.actions.push_back(Action::Ack(conn, ack)),
            backup::Action::HigherView(conn, view) => {
                self.actions.push_back(Action::HigherView(conn, view));
            }
            backup::Action::Leave(conn, nonce) => {
                self.actions.push_back(Action::Leave(conn, Leave { nonce }));
            }
            backup::Action::Append(batch) => self.append(batch),
            backup::Action::Sync => self.sync(),
            backup::Action::ReadLog(index) => {
                self.actions
                    .push_back(Action::ReadLog(ReadFor::Check, index, 1));
            }
            backup::Action::Cut(after) => self.actions.push_back(Action::Cut(after)),
            backup::Action::BeginFetch(offer) => self.actions.push_back(Action::BeginFetch(offer)),
            backup::Action::SnapshotRead(conn, read) => {
                self.actions.push_back(Action::SnapshotRead(conn, read));
            }
            backup::Action::StorePiece(offset, bytes) => {
                self.actions.push_back(Action::StorePiece(offset, bytes));
            }
            backup::Action::CheckFetched => self.actions.push_back(Action::CheckFetched),
            backup::Action::Install(offer) => self.actions.push_back(Action::Install(offer)),
            backup::Action::StateDigest(conn, told) => {
                self.actions.push_back(Action::StateDigest(conn, told));
            }
            backup::Action::Commit(through) => {
                self.log.commit = self.log.commit.max(through);
                self.known_applied = self.known_applied.max(through);
            }
            backup::Action::ReadRecord => self.dialog.hurry_for_a_word(now.boot),
            backup::Action::LacksVersion(start) => self.lacks_version(start),
            backup::Action::Quarantine(why) => self.quarantine(&why),
        }
    }
}

/// What people are told of a backup that is dropped since it is too slow.
fn too_slow(name: &ReplicaName, lag: Lag) -> String {
    let what = if lag.unapplied_ms > lag.unacknowledged_ms {
        format!(
            "it applies what it has up to {} ms late, and a takeover would take as long; look at the load of its machine",
            lag.unapplied_ms
        )
    } else {
        format!(
            "clients waited {} ms for its acknowledgement; look at its disk and at the network",
            lag.unacknowledged_ms
        )
    };
    format!(
        "the backup {name} is too slow, and is dropped: {what}. A spare that keeps up takes its place; it becomes \
         backup again only when it keeps up itself"
    )
}

/// Events that both roles know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RoleEvent {
    Deadline,
    Flush,
    Written(Index),
    Synced(Index),
}

impl RoleEvent {
    pub(crate) fn for_primary(self) -> primary::Event<'static> {
        match self {
            Self::Deadline => primary::Event::Deadline,
            Self::Flush => primary::Event::Flush,
            Self::Written(through) => primary::Event::Written(through),
            Self::Synced(through) => primary::Event::Synced(through),
        }
    }

    pub(crate) fn for_backup(self) -> backup::Event<'static> {
        match self {
            Self::Deadline => backup::Event::Deadline,
            Self::Flush => backup::Event::Flush,
            Self::Written(through) => backup::Event::Written(through),
            Self::Synced(through) => backup::Event::Synced(through),
        }
    }
}
