//! Connections: in order, late, or cut.

use super::*;

impl World {
    pub(crate) fn is_up(&self, party: usize) -> bool {
        match party {
            VIEW_SERVICE => self.service.is_some(),
            client if client > VIEW_SERVICE => true,
            node => self.nodes[node].replica.is_some(),
        }
    }

    pub(crate) fn delay(&mut self, from: usize, to: usize) -> Instant {
        let micros = match self.below(20) {
            0 if self.healed_at.is_none() => 1000 + self.below(200_000),
            _ => 50 + self.below(1000),
        };
        let blocked = self.blocked_until[from][to].max(self.now);
        blocked.plus(Duration::from_micros(micros))
    }

    pub(crate) fn connect(&mut self, from: usize, to: usize) -> ConnId {
        self.conn_number += 1;
        let id = ConnId(self.conn_number);
        let conn = Conn {
            ends: [from, to],
            lives: [self.lives[from], self.lives[to]],
            is_open: [true; 2],
            is_cut: false,
            is_lossy: false,
            last: [self.now; 2],
        };
        self.conns.insert(id, conn);
        let at = self.delay(from, to).max(self.delay(to, from));
        let patience = self.now.plus(millis(500));
        if self.is_up(to) && at < patience {
            self.at(at, Coming::Deliver(id, 0, Wire::Opened));
        } else {
            self.conns.get_mut(&id).expect("just made").is_cut = true;
            let at = if self.is_up(to) {
                patience
            } else {
                at.min(patience)
            };
            self.at(at, Coming::Deliver(id, 0, Wire::Closed));
        }
        id
    }

    pub(crate) fn send(&mut self, id: ConnId, from: usize, wire: Wire) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let end = usize::from(conn.ends[0] != from);
        if conn.is_cut || !conn.is_open[end] {
            return;
        }
        let at = self.delay(from, self.conns[&id].ends[1 - end]);
        let conn = self.conns.get_mut(&id).expect("looked up");
        conn.last[end] = conn.last[end].max(at);
        let at = conn.last[end];
        self.at(at, Coming::Deliver(id, 1 - end, wire));
    }

    /// A party closes its end; the other learns it after what was sent.
    pub(crate) fn close(&mut self, id: ConnId, from: usize) {
        self.send(id, from, Wire::Closed);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.is_open[usize::from(conn.ends[0] != from)] = false;
        }
    }

    /// The connection breaks. Each end notices by itself, one perhaps much later.
    pub(crate) fn cut(&mut self, id: ConnId) {
        let is_lossy = self.below(2) == 0;
        for end in 0..2 {
            let wait = match self.below(3) {
                0 => millis(self.below(2500)),
                _ => millis(self.below(50)),
            };
            self.after(wait, Coming::Deliver(id, end, Wire::Closed));
        }
        let conn = self.conns.get_mut(&id).expect("it exists");
        (conn.is_cut, conn.is_lossy) = (true, is_lossy);
    }

    pub(crate) fn on_deliver(&mut self, id: ConnId, end: usize, wire: Wire) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (party, is_closed) = (conn.ends[end], matches!(wire, Wire::Closed));
        let is_dropped = conn.is_lossy && !is_closed;
        if !conn.is_open[end] || conn.lives[end] != self.lives[party] || is_dropped {
            return;
        }
        if matches!(wire, Wire::Opened) && conn.lives[1] != self.lives[conn.ends[1]] {
            return self.on_deliver(id, end, Wire::Closed);
        }
        if is_closed {
            conn.is_open[end] = false;
            if !conn.is_open[1 - end]
                || conn.is_cut && conn.lives[1 - end] != self.lives[conn.ends[1 - end]]
            {
                self.conns.remove(&id);
            }
        }
        match party {
            VIEW_SERVICE => self.wire_to_service(id, wire),
            client if client > VIEW_SERVICE => {
                self.wire_to_client(client - VIEW_SERVICE - 1, id, wire)
            }
            node => self.wire_to_node(node, id, wire),
        }
    }
}
