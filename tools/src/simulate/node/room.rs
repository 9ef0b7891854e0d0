//! Room for a replica's log: what `src/replica/host.rs` does when there is none, in virtual time; and a watch
//! over what the primary makes of it.

use std::collections::BTreeMap;

use standin_core::conn::ConnId;
use standin_core::entry::{Batch, EntryKind, Index};
use standin_core::frame::{Frame, FrameKind};
use standin_core::identity::StoreId;
use standin_core::message::{Ack, Follow, Message as _, Room, Swap};
use standin_core::time::{Instant, Now};
use standin_core::view::{Reason, ViewRecord};
use standin_io::log::{LogError, SegmentLog};
use standin_io::log_thread::ROOM_RETRY;
use standin_replica::{Event, Limits, LogRoom};

use super::death::log_failed;
use super::{Death, FollowUp, Node, SEGMENT_BYTES};
use crate::simulate::disk::SimDisk;
use crate::simulate::marks::Mark;
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

/// What a process knows of the room for its log.
#[derive(Debug, Default)]
pub(super) struct RoomState {
    /// What the disk said when there was none.
    why: Option<String>,
    /// When it is tried again.
    retry_at: Option<Instant>,
    /// What the core was told: which segment is in use, whether the next is ready, and whether there was no room.
    told: (Index, bool, bool),
    /// The stores that follow, by connection.
    pub(super) followers: BTreeMap<ConnId, StoreId>,
    /// What each has said last, and since when it says so.
    heard: BTreeMap<StoreId, (Room, Instant)>,
    /// Since when there is a connection to the view service.
    linked_at: Instant,
    /// The swap that was proposed last.
    proposed: Option<ViewRecord>,
    /// Input was refused since, for want of room.
    has_refused: bool,
}

impl RoomState {
    /// At the beginning of a process it is seen at once whether there is room.
    pub(super) fn at(now: Instant) -> Self {
        Self {
            retry_at: Some(now),
            ..Self::default()
        }
    }
}

/// The bounds of a plan as they are for segments that are so short: what is sent at a time fits one.
pub(super) fn limits_of(limits: Limits) -> Limits {
    let bytes_max = usize::try_from(SEGMENT_BYTES / 2).expect("it is small");
    let mut limits = limits;
    limits.room_reserve_bytes = standin_io::log::reserve_bytes(SEGMENT_BYTES);
    limits.primary.log_read_bytes = limits.primary.log_read_bytes.min(bytes_max);
    limits
}

pub(super) fn room_of(log: &SegmentLog<SimDisk>) -> LogRoom {
    let room = log.room();
    LogRoom {
        here: room.here,
        next: room.next,
        is_lacking: room.is_lacking,
    }
}

impl<M: Subject> Node<M> {
    /// The log ends elsewhere than before.
    pub(super) fn begin_room(&mut self, now: Now) {
        self.room.retry_at = Some(now.boot);
        self.follow_ups.push_back(FollowUp::Room);
    }

    /// What the log needs at every durability level.
    pub(super) fn keep_up(&mut self, stage: &mut Stage<'_, M>, now: Now) -> Result<(), Death> {
        if let Some(request) = self.log.sync_upkeep() {
            self.ask_for_sync(stage, request);
        }
        if let Some(request) = self.log.prepare_request() {
            match request.run() {
                Ok(segment) => {
                    self.log.take_prepared(segment);
                    self.dir.keep_ballast();
                }
                Err(error) => {
                    let error = self.log.lack_room(error).map_err(log_failed)?;
                    self.lack_room(now, error);
                }
            }
        }
        let error = self.log.secure_room().map_err(log_failed)?;
        self.lack_room(now, error);
        self.note_room();
        Ok(())
    }

    fn lack_room(&mut self, now: Now, error: Option<LogError>) {
        if let Some(error) = error {
            self.room.why = Some(error.to_string());
            self.room.retry_at = Some(now.boot.plus(ROOM_RETRY));
        }
    }

    fn note_room(&mut self) {
        let room = self.log.room();
        let is = (room.segment, room.next > 0, room.is_lacking);
        if std::mem::replace(&mut self.room.told, is) != is {
            self.follow_ups.push_back(FollowUp::Room);
        }
    }

    pub(super) fn room_deadline(&self) -> Option<Instant> {
        self.room.retry_at
    }

    /// Looks whether there is room again, if it is time for that.
    pub(super) fn retry_room(&mut self, stage: &mut Stage<'_, M>, now: Now) -> Result<(), Death> {
        if self.room.retry_at.is_none_or(|at| now.boot < at) {
            return Ok(());
        }
        self.room.retry_at = None;
        self.log.retry_room();
        self.keep_up(stage, now)?;
        self.carry_out(stage, now)
    }

    pub(super) fn tell_room(&mut self, now: Now) {
        let room = room_of(&self.log);
        self.replica
            .handle(now, Event::Room(room, self.room.why.as_deref()));
    }

    /// Notes what a follower says of its room.
    pub(super) fn hear_room(&mut self, stage: &Stage<'_, M>, conn: ConnId, frame: &Frame<'_>) {
        match frame.kind {
            FrameKind::Follow => {
                if let Ok(follow) = Follow::decode(frame) {
                    // Of one store only the newest stream counts.
                    let store = follow.identity.store;
                    self.room.followers.retain(|_, known| *known != store);
                    self.room.followers.insert(conn, store);
                    self.room.heard.remove(&store);
                }
            }
            FrameKind::Ack => {
                let store = self.room.followers.get(&conn);
                if let (Some(store), Ok(ack)) = (store, Ack::decode(frame)) {
                    let heard = self
                        .room
                        .heard
                        .entry(*store)
                        .or_insert((ack.room, stage.now));
                    if (heard.0 == Room::Enough) != (ack.room == Room::Enough) {
                        heard.1 = stage.now;
                    }
                    heard.0 = ack.room;
                }
            }
            _ => {}
        }
    }

    /// The view service is there from here on.
    pub(super) fn link_is_up(&mut self, stage: &Stage<'_, M>) {
        self.room.linked_at = stage.now;
    }

    /// Nobody is joined who has said to have no room.
    pub(super) fn watch_proposal(&mut self, stage: &mut Stage<'_, M>, swap: &Swap) {
        let is_new = self.room.proposed.as_ref() != Some(&swap.proposed);
        self.room.proposed = Some(swap.proposed.clone());
        if swap.proposed.reason != Reason::Joined || !is_new {
            return;
        }
        // What was decided on while the view service was away is asked when it is back, or a quarter of a term
        // after it was decided on, whatever was heard meanwhile.
        let linked_at = self.room.linked_at.plus(self.plan.term / 2);
        let is_roomless = |store: StoreId| {
            let heard = self.room.heard.get(&store);
            heard.is_some_and(|(room, since)| *room > Room::Enough && *since > linked_at)
        };
        let mut holders = swap.proposed.holders.iter();
        if let Some(holder) = holders.find(|it| is_roomless(it.token.store())) {
            let what = format!("{} is joined, and its log has no room", holder.name);
            stage.checks.fail("room", what);
        }
    }

    /// Nothing is handed over to who has said to have no room.
    pub(super) fn watch_order(&mut self, stage: &mut Stage<'_, M>, batch: &Batch) {
        let mut entries = batch.entries();
        if !entries.any(|entry| entry.header.kind == EntryKind::Handover) {
            return;
        }
        let record = self.replica.record();
        let mut holders = record.iter().flat_map(|record| &record.holders);
        let own_store = self.dir.meta().store;
        let backup = holders.find(|holder| holder.token.store() != own_store);
        let Some(backup) = backup else { return };
        let heard = self.room.heard.get(&backup.token.store());
        if heard.is_some_and(|(room, _)| *room > Room::Enough) {
            let what = format!("{} is handed to, and its log has no room", backup.name);
            stage.checks.fail("room", what);
        } else if self.replica.room() > Room::Enough {
            stage.mark(Mark::HandedOverForRoom);
        }
    }

    /// Notes that input was refused for want of room, or that some is answered again since.
    pub(super) fn watch_refusals(&mut self, stage: &mut Stage<'_, M>, is_refused: bool) {
        if is_refused {
            self.room.has_refused = true;
            stage.mark(Mark::RefusedForRoom);
        } else if self.replica.room() == Room::Enough && std::mem::take(&mut self.room.has_refused)
        {
            stage.mark(Mark::RoomAgain);
        }
    }
}
