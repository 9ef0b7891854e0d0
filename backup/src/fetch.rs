//! Fetching a snapshot from the primary, piece by piece.

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::message::{SnapshotOffer, SnapshotPiece, SnapshotRead};
use standin_core::time::{Duration, Instant};

use crate::backup::{Action, Backup, Link};

/// Pieces of a snapshot that are asked for and have not come, at most.
pub const FETCH_WINDOW_PIECES_MAX: u64 = 4;
/// How long no piece may come before the connection is given up. The next one goes on from there.
const FETCH_PATIENCE: Duration = Duration::from_secs(5);

/// How far a snapshot has been fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch {
    conn: ConnId,
    offer: SnapshotOffer,
    /// Length of the snapshot's file, in bytes.
    bytes: u64,
    /// What is here, from the beginning on, in bytes.
    have: u64,
    /// What was asked for, from the beginning on, in bytes.
    asked: u64,
    heard_at: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is being looked up how much of it is here from an earlier connection.
    Beginning,
    /// Pieces come.
    Fetching,
    /// All of it is here and is being read.
    Checking,
    /// It is whole, and takes the place of the log.
    Installing,
}

impl Fetch {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.stage == Stage::Fetching).then(|| self.heard_at.plus(FETCH_PATIENCE))
    }

    /// The next piece to ask for, if the window has room for it.
    fn next_read(&mut self, piece_bytes: u32) -> Option<SnapshotRead> {
        let left = (self.bytes - self.asked).min(piece_bytes.into());
        let window = FETCH_WINDOW_PIECES_MAX * u64::from(piece_bytes);
        let is_in_window = self.asked + left - self.have <= window;
        let length = u32::try_from(left).expect("a piece is short");
        if length == 0 || !is_in_window {
            return None;
        }
        let read = SnapshotRead {
            nonce: self.offer.nonce,
            index: self.offer.mark.tip.index,
            offset: self.asked,
            length,
        };
        self.asked += left;
        Some(read)
    }
}

impl Backup {
    pub(crate) fn on_offer(&mut self, conn: ConnId, offer: &SnapshotOffer, now: Instant) {
        if !matches!(self.link, Link::Asked(asked, _) if asked == conn)
            || !self.accepts(conn, offer.view)
        {
            return;
        }
        let Some(bytes) = offer.file_bytes() else {
            return self.hang(now);
        };
        if !self.versions.contains(offer.mark.machine_version) {
            return self.turn_down(offer, now);
        }
        let index = offer.mark.tip.index;
        if index < self.commit.max(self.applied) {
            // It would have to forget what was committed, or do it again.
            let what =
                "is beyond the snapshot that the primary offers, and not in the primary's log";
            return self.quarantine(self.commit.max(self.applied), what);
        }
        let fetch = Fetch {
            conn,
            offer: *offer,
            bytes,
            have: 0,
            asked: 0,
            heard_at: now,
            stage: Stage::Beginning,
        };
        self.actions.push_back(Action::BeginFetch(Box::new(*offer)));
        self.link = Link::Fetching(fetch);
    }

    /// So much of the snapshot that was offered is here already.
    pub(crate) fn on_fetch_begun(&mut self, have: u64, now: Instant) {
        let Link::Fetching(fetch) = &mut self.link else {
            return;
        };
        if fetch.stage != Stage::Beginning {
            return;
        }
        assert!(have <= fetch.bytes, "no more than there is");
        (fetch.have, fetch.asked) = (have, have);
        fetch.stage = Stage::Fetching;
        fetch.heard_at = now;
        self.fetch_on();
    }

    pub(crate) fn on_piece(&mut self, conn: ConnId, piece: &SnapshotPiece<'_>, now: Instant) {
        let Link::Fetching(fetch) = &mut self.link else {
            return;
        };
        let is_of_this = fetch.conn == conn
            && fetch.stage == Stage::Fetching
            && piece.nonce == fetch.offer.nonce
            && piece.index == fetch.offer.mark.tip.index;
        if !is_of_this {
            return;
        }
        let end = fetch.have + piece.bytes.len() as u64;
        if piece.bytes.is_empty() || piece.offset != fetch.have || end > fetch.asked {
            // It is gone there, or the pieces are not what was asked for: begin with a new offer.
            return self.hang(now);
        }
        fetch.have = end;
        fetch.heard_at = now;
        self.actions
            .push_back(Action::StorePiece(piece.offset, piece.bytes.to_vec()));
        self.fetch_on();
    }

    fn fetch_on(&mut self) {
        let Link::Fetching(fetch) = &mut self.link else {
            return;
        };
        while let Some(read) = fetch.next_read(self.piece_bytes) {
            self.actions
                .push_back(Action::SnapshotRead(fetch.conn, read));
        }
        if fetch.have == fetch.bytes {
            fetch.stage = Stage::Checking;
            self.actions.push_back(Action::CheckFetched);
        }
    }

    /// The snapshot as of `index` was read from end to end and is whole; or it cannot be, or cannot be kept.
    pub(crate) fn on_fetched(&mut self, index: Index, is_whole: bool, now: Instant) {
        let Link::Fetching(fetch) = &mut self.link else {
            return;
        };
        if fetch.offer.mark.tip.index != index {
            return;
        }
        if !is_whole {
            self.hang(now);
        } else if fetch.stage == Stage::Checking {
            fetch.stage = Stage::Installing;
            let install = Action::Install(Box::new(fetch.offer));
            self.actions.push_back(install);
        }
    }
}
