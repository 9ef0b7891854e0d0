//! Room for the log (`protocol.md` section 12): how much there is, who is told of it, and what is done when there is
//! none.
//!
//! Whoever keeps the log says what may be appended ([`Event::Room`](crate::Event::Room)); what is appended
//! since is counted here, so that nothing is ever handed out that does not fit. Until it has said so, there is
//! room for everything.

use standin_backup as backup;
use standin_core::entry::{COMMAND_HEADER_BYTES, ENTRY_HEADER_BYTES, Index};
use standin_core::machine::StateMachine;
use standin_core::message::{ReplyStatus, Room, Switchover};
use standin_core::planted::Bug;
use standin_core::time::{Duration, Instant, Now};
use standin_primary as primary;
use standin_primary::{Input, Waiter};

use crate::event::{Action, Level};
use crate::handover::Cause;
use crate::replica::{Replica, Role};

/// Bytes of a segment that are kept for what a change of view needs, unless configured otherwise.
pub const ROOM_RESERVE_BYTES: u64 = 16 << 20;
/// How long after a view could not be handed over for want of room that is tried again, at least.
const HAND_OVER_PAUSE_MIN: Duration = Duration::from_secs(1);
/// How long after a snapshot that was to make room the next one may be taken.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(10);

/// What may be appended to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRoom {
    /// Bytes that the segment in use still takes.
    pub here: u64,
    /// Bytes that the next segment takes; 0 if it is not ready.
    pub next: u64,
    /// There was no room for the next segment when it was last tried.
    pub is_lacking: bool,
}

/// What is known of the room for the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomWatch {
    /// `None`: nobody has said, and everything fits.
    known: Option<LogRoom>,
    /// What the disk said when there was none.
    why: String,
    /// Something was refused since there is no room: from then on nothing more is taken.
    has_refused: bool,
    /// What the role was told.
    told: Room,
    /// A batch of the primary did not fit: nobody is followed before there is room.
    is_awaited: bool,
    /// When a view may be handed over for want of room again.
    hand_over_at: Instant,
    /// When a snapshot may be taken for it again.
    snapshot_at: Instant,
}

impl RoomWatch {
    pub(crate) fn level(&self, reserve: u64) -> Room {
        match self.known {
            Some(room) if room.is_lacking && (room.here < reserve || self.has_refused) => Room::Out,
            Some(room) if room.is_lacking => Room::Lacking,
            Some(_) | None => Room::Enough,
        }
    }

    /// What the role was told.
    pub(crate) fn told(&self) -> Room {
        self.told
    }

    /// Something is appended: what is left of the segment in use is not used if it does not fit there.
    pub(crate) fn take(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        let Some(room) = &mut self.known else { return };
        if bytes > room.here && room.next > 0 {
            (room.here, room.next) = (room.next, 0);
        }
        room.here = room.here.saturating_sub(bytes);
    }

    /// Whether a batch of the primary can be taken, with half of the reserve left.
    fn fits(&self, bytes: usize, reserve: u64) -> bool {
        self.known.is_none_or(|room| {
            !room.is_lacking || room.next > 0 || bytes as u64 + reserve / 2 <= room.here
        })
    }

    /// Bytes of input that may be ordered, with the whole reserve left. Without a want of room the next segment
    /// is there in time, and is as long as it must be.
    fn bytes_for_input(&self, reserve: u64) -> u64 {
        match self.known {
            Some(room) if room.is_lacking => room.here.saturating_sub(reserve),
            Some(_) | None => u64::MAX,
        }
    }
}

/// Input of one wake-up that there is room for.
#[derive(Debug)]
pub(crate) struct Admission {
    bytes: u64,
    /// Something was refused: what comes after it is, too, so that nothing overtakes.
    has_refused: bool,
}

impl<M: StateMachine> Replica<M> {
    fn reserve(&self) -> u64 {
        self.config.limits.room_reserve_bytes
    }

    /// Whether the log has room, as it is told to others.
    #[must_use]
    pub fn room(&self) -> Room {
        self.room.level(self.reserve())
    }

    pub(crate) fn on_room(&mut self, room: LogRoom, why: Option<&str>) {
        let was_lacking = self.room.known.is_some_and(|known| known.is_lacking);
        if was_lacking && !room.is_lacking && self.planted.has(Bug::RoomUnnoticed) {
            return;
        }
        self.room.known = Some(room);
        self.room.has_refused &= room.is_lacking;
        if let Some(why) = why {
            why.clone_into(&mut self.room.why);
        }
    }

    /// How much of the input that comes now may be ordered.
    pub(crate) fn admission(&self) -> Admission {
        let is_out = matches!(&self.role, Role::Primary(primary) if primary.is_out_of_room());
        let bytes = if is_out {
            0
        } else {
            self.room.bytes_for_input(self.reserve())
        };
        Admission {
            bytes,
            has_refused: false,
        }
    }

    /// Answers an input that there is no room for; whether there is.
    pub(crate) fn admits(
        &mut self,
        admission: &mut Admission,
        waiter: Waiter,
        input: &Input<'_>,
    ) -> bool {
        let bytes = match input {
            Input::Command(_, command) => command.bytes.len(),
            Input::Direct(_, bytes) => bytes.len(),
            Input::Open(_) | Input::Close(..) | Input::Timer(_) => 0,
        };
        let bytes = (ENTRY_HEADER_BYTES + COMMAND_HEADER_BYTES + bytes) as u64;
        if admission.has_refused || bytes > admission.bytes {
            admission.has_refused = true;
            self.room.has_refused = true;
            let words = self.refusal();
            self.answer(waiter, ReplyStatus::NoRoom, words.as_bytes());
            return false;
        }
        admission.bytes -= bytes;
        true
    }

    /// Whether timers may become entries.
    pub(crate) fn has_room_for_timers(&self) -> bool {
        self.admission().bytes > 0
    }

    /// What clients are told whose input there is no room for.
    fn refusal(&self) -> String {
        let name = &self.config.identity.name;
        let backup = self.record.as_ref().and_then(|it| it.backup.as_ref());
        match backup {
            Some(backup) => format!(
                "neither {name}, the primary, nor {}, its backup, has room for more log; make room on the disk \
                 of one of them, and the service goes on by itself",
                backup.name
            ),
            None => format!(
                "{name}, the primary, has no room for more log, and no backup that has; make room on its disk, \
                 and the service goes on by itself"
            ),
        }
    }

    /// What people are told, if there is no room.
    pub(crate) fn want_of_room(&self) -> Option<String> {
        let what = match self.room() {
            Room::Enough => return None,
            Room::Lacking => "its log goes on for a while in the room that it has",
            Room::Out => "its log takes nothing more",
        };
        Some(format!(
            "there is no room for the next segment of its log ({}); {what}; make room on its disk, and it goes \
             on by itself",
            self.room.why
        ))
    }

    /// Takes a batch of the primary, or nothing more from it before there is room.
    pub(crate) fn takes_batch(&mut self, now: Now, bytes: usize) -> bool {
        if self.room.fits(bytes, self.reserve()) {
            return true;
        }
        self.room.is_awaited = true;
        self.tell_backup(now, backup::Event::Primary(None));
        false
    }

    /// The primary that is to be followed, if there is room for what it sends.
    pub(crate) fn followed_address(&self) -> Option<String> {
        self.primary_address().filter(|_| !self.room.is_awaited)
    }

    /// Tells the role, and people, when there comes to be room or want of it; does what may make some.
    pub(crate) fn look_after_room(&mut self, now: Now) {
        let (was, is) = (self.room.told, self.room());
        if is != was {
            self.room.told = is;
            self.say_room(was, is);
            self.room.snapshot_at = now.boot;
            match &self.role {
                Role::Primary(_) => self.tell_primary(now, primary::Event::Room(is)),
                Role::Backup(_) => self.tell_backup(now, backup::Event::Room(is)),
                Role::Between | Role::Quarantined => {}
            }
            if is == Room::Enough && std::mem::take(&mut self.room.is_awaited) {
                let address = self.followed_address();
                self.tell_backup(now, backup::Event::Primary(address));
            }
            self.dialog.hurry_for_a_word(now.boot);
        }
        if is > Room::Enough {
            self.snapshot_for_room(now.boot);
            self.hand_over_for_room(now);
        }
    }

    fn say_room(&mut self, was: Room, is: Room) {
        let line = match self.want_of_room() {
            Some(words) if is > was => (Level::Warn, words),
            Some(_) => return,
            None => (Level::Info, "there is room for its log again".to_owned()),
        };
        self.actions.push_back(Action::Log(line.0, line.1));
    }

    /// What a snapshot covers need not be kept, so taking one may make room, if there is room for it.
    fn snapshot_for_room(&mut self, now: Instant) {
        if now >= self.room.snapshot_at {
            self.room.snapshot_at = now.plus(SNAPSHOT_PAUSE);
            self.snapshots.want_for_room();
        }
        let is_even = self.state.applied() == self.log.tip.index;
        if is_even && self.log.tip.index > Index::ZERO && !self.state.is_poisoned() {
            self.snapshot_if_wanted(self.log.tip);
        }
    }

    fn hand_over_for_room(&mut self, now: Now) {
        let should = matches!(&self.role, Role::Primary(primary) if primary.should_hand_over());
        let is_busy = self.planned.is_some() || self.leaving.is_some();
        if !should || is_busy || now.boot < self.room.hand_over_at {
            return;
        }
        if let Ok(to) = self.check_switchover(now, &Switchover { to: None }) {
            let pause = (self.term() * 2).max(HAND_OVER_PAUSE_MIN);
            self.room.hand_over_at = now.boot.plus(pause);
            self.begin_switchover(now, Cause::Room, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(here: u64, next: u64, is_lacking: bool) -> RoomWatch {
        RoomWatch {
            known: Some(LogRoom {
                here,
                next,
                is_lacking,
            }),
            ..RoomWatch::default()
        }
    }

    #[test]
    fn what_is_appended_is_counted_as_the_log_does() {
        let mut watch = watch(100, 1000, false);
        watch.take(60);
        assert_eq!(watch.known.map(|it| (it.here, it.next)), Some((40, 1000)));
        watch.take(60);
        assert_eq!(watch.known.map(|it| (it.here, it.next)), Some((940, 0)));
        watch.take(2000);
        assert_eq!(watch.known.map(|it| (it.here, it.next)), Some((0, 0)));
    }

    #[test]
    fn the_reserve_is_kept_from_input_and_half_of_it_from_the_primary() {
        let short = watch(150, 0, true);
        assert_eq!(short.bytes_for_input(100), 50);
        assert!(short.fits(100, 100) && !short.fits(101, 100));
        assert_eq!(short.level(100), Room::Lacking);
        assert_eq!(watch(99, 0, true).level(100), Room::Out);
        assert_eq!(watch(99, 0, true).bytes_for_input(100), 0);
        let fresh = watch(10, 1000, false);
        assert_eq!(fresh.bytes_for_input(100), u64::MAX);
        assert!(fresh.fits(5000, 100), "a segment is as long as its batch");
        assert_eq!(RoomWatch::default().bytes_for_input(100), u64::MAX);
    }
}
