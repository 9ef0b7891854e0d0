//! What the accepted connections of one kind of party take together, and who gives way to whom.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use standin_core::conn::ConnId;
use standin_core::message::Party;
use standin_core::time::Instant;

use super::conn::Conn;
use super::event::CloseReason;
use super::limits::ShareLimits;
use super::{Net, socket};

/// Which share an accepted connection belongs to once it has said hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Client,
    Replica,
}

impl Kind {
    fn of(party: Party) -> Self {
        match party {
            Party::Replica => Self::Replica,
            // The view service calls nobody: who says so is a stranger like any other.
            Party::Client | Party::ViewService => Self::Client,
        }
    }
}

/// Bytes in buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) input: usize,
    pub(super) output: usize,
}

/// All connections of one kind.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Each connection under a moment up to which it was not silent, as it was last looked at: a
    /// connection that speaks is not moved with every word. Invariant: never later than its last
    /// word, unless it was found engaged at that moment.
    by_silence: BTreeSet<(Instant, ConnId)>,
    /// The sum of what the connections' `counted` say.
    held: Held,
}

/// What a connection is in its share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    /// Its key in `Share::by_silence`.
    queued_at: Instant,
    /// What the share has counted of it.
    counted: Held,
}

#[cfg(test)]
impl Share {
    pub(super) fn held(&self) -> Held {
        self.held
    }
}

impl Net {
    /// Gives a connection that has said hello a place among its kind. False: there is none, and
    /// nobody gives way.
    pub(super) fn take_place(&mut self, id: ConnId, party: Party) -> bool {
        let kind = Kind::of(party);
        if !self.make_room(kind) {
            return false;
        }
        let now = self.now;
        let seldom = self.config.limits.client_silence_timeout;
        let Some(conn) = self.conns.get_mut(id) else {
            return false;
        };
        if let (Kind::Client, Some(stream)) = (kind, &conn.stream)
            && let Err(error) = socket::probe(stream, seldom)
        {
            // It is probed more often than it would have to be, or has gone, which shows soon.
            log::debug!("the probes of a client's connection stay as they are: {error}");
        }
        conn.place = Some(Place {
            kind,
            queued_at: now,
            counted: Held::default(),
        });
        self.share(kind).by_silence.insert((now, id));
        self.recount(id);
        true
    }

    /// The connection needs its place no more.
    pub(super) fn leave_place(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(place) = conn.place.take() else {
            return;
        };
        let share = self.share(place.kind);
        share.by_silence.remove(&(place.queued_at, id));
        share.held.input -= place.counted.input;
        share.held.output -= place.counted.output;
    }

    /// Brings the totals up to date with a connection's buffers. To be called when they change.
    pub(super) fn recount(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(place) = &mut conn.place else {
            return;
        };
        let held = Held {
            input: conn.input.len(),
            output: conn.output.len(),
        };
        let before = std::mem::replace(&mut place.counted, held);
        let kind = place.kind;
        let total = &mut self.share(kind).held;
        total.input = total.input - before.input + held.input;
        total.output = total.output - before.output + held.output;
    }

    /// Closes connections of a connection's kind, perhaps itself, if the kind holds too much.
    pub(super) fn relieve_kind_of(&mut self, id: ConnId) {
        let place = self.conns.get(id).and_then(|conn| conn.place);
        if let Some(place) = place {
            self.relieve(place.kind);
        }
    }

    /// Closes connections of a kind that holds more bytes than it may.
    fn relieve(&mut self, kind: Kind) {
        let limits = self.share_limits(kind);
        let held = self.share(kind).held;
        if held.input > limits.input_bytes_max {
            // What began first goes first: an ordinary frame is whole after a moment. Whole frames
            // that the owner has not got round to have no such moment, and go last.
            self.shed(
                kind,
                |held| held.input <= limits.input_bytes_max / 4 * 3,
                |conn| (!conn.input.is_empty()).then_some((conn.deadline, conn.input.len())),
                |&(began, bytes)| (began.is_none(), began, Reverse(bytes)),
                || CloseReason::InputCrowded,
            );
        }
        if held.output > limits.output_bytes_max {
            self.shed(
                kind,
                |held| held.output <= limits.output_bytes_max / 4 * 3,
                |conn| (!conn.output.is_empty()).then_some(conn.output.len()),
                |&bytes| Reverse(bytes),
                || CloseReason::OutputCrowded,
            );
        }
    }

    /// Closes those connections of a kind that hold something, in an order, until it is enough.
    fn shed<T, K: Ord>(
        &mut self,
        kind: Kind,
        is_enough: impl Fn(Held) -> bool,
        what: impl Fn(&Conn) -> Option<T>,
        order: impl Fn(&T) -> K,
        reason: impl Fn() -> CloseReason,
    ) {
        let members = self.share(kind).by_silence.iter().map(|&(_, id)| id);
        let members: Vec<_> = members.collect();
        let holds = |id| Some((what(self.conns.get(id)?)?, id));
        let mut holders: Vec<_> = members.into_iter().filter_map(holds).collect();
        holders.sort_by_key(|(what, _)| order(what));
        for (_, id) in holders {
            if is_enough(self.share(kind).held) {
                return;
            }
            self.drop_conn(id, reason());
        }
    }

    /// Sees to it that one more of a kind finds a place. False: nobody gives way.
    fn make_room(&mut self, kind: Kind) -> bool {
        let places = self.share_limits(kind).connections_max;
        loop {
            let share = self.share(kind);
            if share.by_silence.len() < places {
                return true;
            }
            let Some(&(queued_at, id)) = share.by_silence.first() else {
                return false;
            };
            let conn = self.conns.get(id).expect("a connection leaves its share");
            if conn.heard_at > queued_at {
                self.queue_by_silence(id, conn.heard_at);
            } else if !self.is_engaged(conn) {
                self.drop_conn(id, CloseReason::GaveWay);
            } else if queued_at < self.now {
                self.queue_by_silence(id, self.now);
            } else {
                return false; // all were looked at: they are engaged
            }
        }
    }

    /// Whether a connection keeps its place though others want one.
    fn is_engaged(&self, conn: &Conn) -> bool {
        let is_waited_for = match conn.place.map(|place| place.kind) {
            Some(Kind::Client) => conn.answers_owed > 0 || !conn.output.is_empty(),
            Some(Kind::Replica) => conn.has_spoken,
            None => false,
        };
        let silence = self.now.since(conn.heard_at);
        is_waited_for && conn.end.is_none() && silence < self.config.limits.engaged_silence_max
    }

    fn queue_by_silence(&mut self, id: ConnId, at: Instant) {
        let Some(place) = self.conns.get_mut(id).and_then(|conn| conn.place.as_mut()) else {
            return;
        };
        let kind = place.kind;
        let before = std::mem::replace(&mut place.queued_at, at);
        let share = self.share(kind);
        share.by_silence.remove(&(before, id));
        share.by_silence.insert((at, id));
    }

    fn share(&mut self, kind: Kind) -> &mut Share {
        match kind {
            Kind::Client => &mut self.clients,
            Kind::Replica => &mut self.replicas,
        }
    }

    fn share_limits(&self, kind: Kind) -> ShareLimits {
        match kind {
            Kind::Client => self.config.limits.clients,
            Kind::Replica => self.config.limits.replicas,
        }
    }
}
