//! A log without room (`protocol.md` section 12): hand over to a backup that has some, do without a backup that has
//! none, and refuse input when nobody has.

use standin_core::message::Room;
use standin_core::planted::Bug;
use standin_core::time::Instant;

use crate::follower::{Follower, Phase};
use crate::gate::Gate;
use crate::primary::Primary;

impl Primary {
    /// Whether a spare's log has the room that a backup needs.
    pub(crate) fn may_join(&self, follower: &Follower) -> bool {
        follower.room == Room::Enough || self.planted.has(Bug::RoomlessJoined)
    }

    /// Whether the log of the backup that answers wait for has room, if it has said so in this view.
    fn backup_room(&self) -> Option<Room> {
        if !matches!(self.gate, Gate::Paired { .. }) {
            return None;
        }
        let gate = self.gate_follower()?;
        (gate.phase == Phase::Streaming).then_some(gate.room)
    }

    /// Whether a view would be handed over to who has no room for what comes.
    pub(crate) fn is_backup_roomless(&self) -> bool {
        self.backup_room().is_some_and(|room| room > Room::Enough)
            && !self.planted.has(Bug::RoomlessHandedTo)
    }

    /// Whether this primary's log has no room, and its backup's has.
    #[must_use]
    pub fn should_hand_over(&self) -> bool {
        let can_be = self.is_serving() && self.swap.is_none() && self.hand_over.is_none();
        let is_backup_there = self.backup_room().is_some() && !self.is_backup_roomless();
        can_be && self.room > Room::Enough && is_backup_there
    }

    /// Whether no more input may be ordered, since nobody has room for it. A backup alone that has none is
    /// done without.
    #[must_use]
    pub fn is_out_of_room(&self) -> bool {
        let is_backup_out = self.backup_room() == Some(Room::Out);
        self.room == Room::Out || (self.room == Room::Lacking && is_backup_out)
    }

    /// Drops a backup whose log has no room, while the own one has: as soon as there is a spare to take its
    /// place, and at the latest when it takes no more.
    pub(crate) fn watch_room(&mut self, now: Instant) {
        let is_changing = self.swap.is_some() || self.hand_over.is_some();
        if is_changing || !self.is_serving() || self.room > Room::Enough {
            return;
        }
        let is_to_go = match self.backup_room() {
            Some(Room::Out) => true,
            Some(Room::Lacking) => self
                .candidates()
                .any(|spare| now >= self.flapping.join_at(spare.identity.store)),
            Some(Room::Enough) | None => false,
        };
        if is_to_go {
            self.drop_backup(now);
        }
    }
}
