//! How connections end.

use standin_core::conn::ConnId;

use super::Net;
use super::conn::Stage;
use super::event::CloseReason;
use super::warnings::Complaint;

impl Net {
    /// Ends a connection: closes its socket, and reports the end to an owner who knows of it, after
    /// the whole frames that are left.
    pub(super) fn finish(&mut self, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if let Some(mut stream) = conn.stream.take() {
            // Fails only if the kernel has forgotten the socket, which is what is wanted.
            let _ = self.poll.registry().deregister(&mut stream);
        }
        conn.output.clear(&mut self.pool);
        if std::mem::take(&mut conn.awaits_more) {
            conn.whole = 0; // of what has begun nothing comes any more
        }
        conn.deadline = None;
        let timer = conn.armed.take();
        if let Some(at) = timer {
            self.timers.remove(&(at, id));
        }
        self.handshaking.remove(&id);
        self.lingering.remove(&id);
        self.recount(id);
        self.log_end(id, &reason);
        match self.conns.get_mut(id) {
            Some(conn) if conn.whole > 0 => {
                conn.end = Some(reason);
                self.ended.push(id);
                self.list_input(id);
            }
            _ => self.remove(id, Some(reason)),
        }
    }

    /// Ends a connection at once, with all that was not consumed, to free what it holds.
    pub(super) fn drop_conn(&mut self, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.whole = 0;
        if conn.end.is_none() {
            self.finish(id, reason);
        } else {
            self.ended.retain(|&ended| ended != id);
            self.remove(id, None);
        }
    }

    /// Takes a connection out of the table and has its end reported if its owner knows of it.
    pub(super) fn remove(&mut self, id: ConnId, reason: Option<CloseReason>) {
        self.leave_place(id);
        let Some(mut conn) = self.conns.remove(id) else {
            return;
        };
        conn.input.clear(&mut self.pool);
        if conn.is_known()
            && let Some(reason) = reason.or(conn.end)
        {
            self.closed.push((id, reason));
        }
    }

    /// Reports a connection as closed, and keeps its socket until the other side has been told why.
    pub(super) fn linger(&mut self, id: ConnId, reason: CloseReason) {
        self.log_end(id, &reason);
        self.leave_place(id);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.is_known() {
            self.closed.push((id, reason));
        }
        conn.stage = Stage::Lingering;
        conn.whole = 0;
        conn.is_paused = false;
        conn.input.clear(&mut self.pool);
        self.handshaking.remove(&id);
        self.set_deadline(id, self.now.plus(self.config.limits.linger_timeout));
        self.queue_read(id);
        self.lingering.insert(id);
        if self.lingering.len() > self.config.limits.lingering_max
            && let Some(&oldest) = self.lingering.first()
        {
            self.finish(oldest, CloseReason::Here);
        }
    }

    fn log_end(&mut self, id: ConnId, reason: &CloseReason) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if matches!(conn.stage, Stage::Lingering) {
            return;
        }
        let side = if conn.is_accepted { "from" } else { "to" };
        let peer = conn
            .peer
            .map_or_else(|| "nowhere".to_owned(), |peer| peer.to_string());
        match Complaint::of(reason) {
            None => log::debug!("the connection {side} {peer} ended: {reason}"),
            Some(complaint) if self.warnings.admit(complaint, self.now) => {
                log::warn!("the connection {side} {peer} was closed: {reason}");
            }
            Some(_) => {}
        }
    }
}
