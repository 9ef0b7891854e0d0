//! What followers tell of their states, watched (`protocol.md` section 12): one whose state differs is dropped at
//! the next snapshot that both have. That its store is not taken back is seen when the faults have ended.

use std::collections::{BTreeMap, BTreeSet};

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::frame::{Frame, FrameKind};
use standin_core::identity::StoreId;
use standin_core::message::{Message as _, RoleName, StateDigest};
use standin_core::view::ViewId;

use super::Node;
use crate::simulate::fact::Fact;
use crate::simulate::marks::Mark;
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

/// What a process knows of its followers' states, and has told of its own.
#[derive(Debug, Default)]
pub(super) struct StateWatch {
    /// The name of each follower's stream, as this primary gave it, and its view.
    streams: BTreeMap<ConnId, (u64, ViewId)>,
    /// What each follower's store told last: of an entry of which this one has no snapshot yet. It stays whatever becomes of
    /// the connection, and of the view.
    told: BTreeMap<StoreId, StateDigest>,
    /// Stores whose states were found to differ, since this one leads.
    differing: BTreeSet<StoreId>,
    /// The checkers were told that its own state is another than it should be.
    has_strayed: bool,
}

impl<M: Subject> Node<M> {
    /// Whether a store's state was found to differ, since this one leads.
    pub(crate) fn has_found_differing(&self, store: StoreId) -> bool {
        self.states.differing.contains(&store)
    }

    /// A follower's stream begins anew.
    pub(super) fn name_stream(&mut self, conn: ConnId, nonce: u64, view: ViewId) {
        self.states.streams.insert(conn, (nonce, view));
    }

    /// A follower's connection is gone.
    pub(super) fn forget_stream(&mut self, conn: ConnId) {
        self.states.streams.remove(&conn);
    }

    /// Notes what a follower tells of its state.
    pub(super) fn hear_state(&mut self, conn: ConnId, frame: &Frame<'_>) {
        if frame.kind != FrameKind::StateDigest {
            return;
        }
        let standing = self.replica.standing();
        if let Ok(told) = StateDigest::decode(frame)
            && standing.role == RoleName::Primary
            && told.view == standing.view
            && self.states.streams.get(&conn) == Some(&(told.nonce, told.view))
            && let Some(store) = self.room.followers.get(&conn)
        {
            self.states.told.insert(*store, told);
        }
    }

    /// Holds what followers have told against the snapshots that are here, as the loop has come round: the connection
    /// of one whose state differs is closed by then.
    pub(super) fn watch_states(&mut self, stage: &mut Stage<'_, M>) {
        if self.replica.standing().role != RoleName::Primary {
            let has_strayed = self.states.has_strayed;
            self.states = StateWatch {
                has_strayed,
                ..StateWatch::default()
            };
            return;
        }
        if self.states.told.is_empty() {
            return;
        }
        let Ok(own) = self.images.snapshots.list() else {
            return; // the disk fails, and the process ends of that
        };
        let newest = own.last().map_or(Index::ZERO, |own| own.point.tip.index);
        for (store, told) in std::mem::take(&mut self.states.told) {
            let own = own.iter().find(|own| own.point.tip.index == told.index);
            match own {
                Some(own) if own.state_digest == told.digest => {}
                Some(_) => self.on_differing(stage, store, told.index),
                None if told.index > newest => {
                    self.states.told.insert(store, told);
                }
                None => {}
            }
        }
    }

    fn on_differing(&mut self, stage: &mut Stage<'_, M>, store: StoreId, index: Index) {
        self.states.differing.insert(store);
        let of_store = |(conn, of): (&ConnId, &StoreId)| (*of == store).then_some(*conn);
        let mut conns = self.room.followers.iter().filter_map(of_store);
        let is_open =
            |conn: &ConnId| self.accepted.contains_key(conn) && !self.closed.contains(conn);
        // Who has no stream in this view yet is refused as it asks for one.
        let view = self.replica.standing().view;
        let has_stream = |conn: &ConnId| {
            let stream = self.states.streams.get(conn);
            stream.is_some_and(|(_, of)| *of == view)
        };
        if conns.any(|conn| has_stream(&conn) && is_open(&conn)) {
            let host = stage.host;
            let what = format!(
                "host {host} goes on with a follower whose state after entry {index} differs"
            );
            stage.checks.fail("S10", what);
        }
        stage.mark(if self.states.has_strayed {
            Mark::StrayLeads
        } else {
            Mark::StrayDropped
        });
    }

    /// Tells the checkers whether its state is another than it should be.
    pub(super) fn tell_strayed(&mut self, stage: &mut Stage<'_, M>) {
        let state = self.replica.state();
        // The machine that has failed is gone, and what it had applied is in the next snapshot.
        let has = match state.is_poisoned() {
            true => self.states.has_strayed || self.falsehood.has_strayed_by(state.applied()),
            false => state.machine().has_strayed(),
        };
        if std::mem::replace(&mut self.states.has_strayed, has) != has {
            let host = stage.host;
            stage.saw(&Fact::Strayed { host, has });
        }
    }
}
