//! Which version of the machine is executed, and when it changes (`protocol.md` section 12).
//!
//! The executing version changes by an Upgrade entry, which is ordered as soon as this replica and the backup that
//! answers wait for both support a newer one. What is executed is committed, so the backup had it: a replica that
//! lacks a version that is executed is never sent the entries that need it, and so never counts as one that has them.

use standin_core::conn::ConnId;
use standin_core::entry::{EntryKind, Index, Upgrade};
use standin_core::message::{Follow, Refusal, Room, encode_payload};
use standin_core::time::{Instant, Now};

use crate::follower::{Follower, Phase};
use crate::gate::Gate;
use crate::primary::{Action, Primary};

impl Primary {
    /// The version of the machine that is executed from the log's end on.
    #[must_use]
    pub fn executing(&self) -> u32 {
        self.version_starts.executing().unwrap_or(self.began_with)
    }

    /// Orders an Upgrade if the pair supports a newer version. Whoever else follows and does not support it is sent away
    /// first: it stops where it is, and is of use again once its program is newer.
    pub(crate) fn consider_upgrade(&mut self, now: Now) {
        let Some(version) = self.version_in_common() else {
            return;
        };
        let lacks = |it: &&Follower| !it.versions.contains(version);
        let lacking = self.followers.values().filter(lacks);
        for conn in lacking.map(|it| it.conn).collect::<Vec<_>>() {
            self.refuse_version(conn, version);
        }
        if let Some(round) = self.gate_follower().map(|follower| follower.round_sent + 1) {
            self.reads.assign_round(round);
        }
        let mut builder = self.builder(now);
        let upgrade = Upgrade { version };
        builder.push(EntryKind::Upgrade, |out| encode_payload(&upgrade, out));
        self.order(builder, now.boot);
        assert_eq!(self.executing(), version, "it is ordered once");
    }

    /// The newest version that this replica and its backup support, if it is newer than the one that is executed, and
    /// the machine has not failed when it was to be executed.
    fn version_in_common(&self) -> Option<u32> {
        // What is left of a log without room is kept for what a change of view needs.
        let has_room = self.room == Room::Enough;
        let may_order = self.is_serving() && self.swap.is_none() && !self.is_holding() && has_room;
        let is_paired = matches!(self.gate, Gate::Paired { .. });
        if !may_order || !is_paired {
            return None;
        }
        let streams = |it: &&Follower| it.phase == Phase::Streaming;
        let backup = self.gate_follower().filter(streams)?;
        let version = backup.versions.newest.min(self.program.newest);
        let has_failed = self.version_starts.has_failed(version);
        (version > self.executing() && !has_failed).then_some(version)
    }

    /// Turns a follower away that does not support what is executed; says whether it did. Answers do not wait for it to
    /// be silent: in this life it comes no further.
    pub(crate) fn lacks_version(&mut self, conn: ConnId, follow: &Follow, now: Instant) -> bool {
        let executing = self.executing();
        if follow.versions.contains(executing) {
            return false;
        }
        self.refuse_version(conn, executing);
        let is_gate = self.gate_store() == Some(follow.identity.store);
        if is_gate && !self.is_dropping() {
            self.drop_backup(now);
        }
        true
    }

    fn refuse_version(&mut self, conn: ConnId, executing: u32) {
        self.followers.remove(&conn);
        let refusal = Refusal::MachineVersion { executing };
        self.actions
            .push_back(Action::RefuseFollower(conn, refusal));
    }

    /// From where on a follower can be fed, if its program supports what is executed now but not what was after
    /// `common`; `None`: from there on.
    pub(crate) fn needs_snapshot_of(&self, follow: &Follow, common: Index) -> Option<Index> {
        let starts = &self.version_starts;
        starts.needs_snapshot_of(follow.versions, common)
    }
}
