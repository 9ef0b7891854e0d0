//! Writing sockets.

use std::io::{self, Write as _};
use std::net::Shutdown;

use standin_core::conn::ConnId;

use super::Net;
use super::conn::{Conn, Stage};
use super::event::CloseReason;

impl Net {
    /// Writes what is unsent, one write for each connection.
    pub fn flush(&mut self) {
        // Replicas first: one that has something to do does it while the answers to many clients are written.
        self.flush_all_but_clients();
        self.flush_those(|_| true);
    }

    /// Writes what is unsent to others than clients, one write for each connection.
    pub fn flush_all_but_clients(&mut self) {
        self.flush_those(|conn| !conn.is_client());
    }

    fn flush_those(&mut self, is_meant: impl Fn(&Conn) -> bool) {
        // Writing may find more to do, which comes behind; the list's memory is kept.
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|&id| {
            let is_left = self.conns.get(id).is_some_and(|conn| !is_meant(conn));
            if !is_left {
                self.write_socket(id);
            }
            is_left
        });
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    /// Has the connection's unsent bytes written by the next flush.
    pub(super) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !conn.is_dirty
            && !conn.output.is_empty()
        {
            conn.is_dirty = true;
            self.dirty.push(id);
        }
    }

    pub(super) fn write_socket(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.is_dirty = false;
        if !conn.is_writable || conn.output.is_empty() {
            return;
        }
        let unsent_before = conn.output.len();
        match write_once(conn) {
            Ok(count) => {
                conn.output.consume(count, &mut self.pool);
                self.recount(id);
            }
            Err(error) => {
                self.break_off(id, error);
                return;
            }
        }
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if conn.output.is_empty() && matches!(conn.stage, Stage::Lingering) {
            self.end_lingering_output(id);
        } else {
            let high = self.config.limits.output_bytes_high;
            if unsent_before >= high && conn.output.len() < high {
                self.release(id);
            }
        }
    }

    /// Writing failed: reads what may still be there, since it may say why, before the end.
    fn break_off(&mut self, id: ConnId, error: io::Error) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.output.clear(&mut self.pool);
        conn.is_writable = false;
        conn.is_readable = true;
        conn.broken = Some(error);
        self.recount(id);
        if self.conns.get(id).is_some_and(|conn| self.may_read(conn)) {
            self.queue_read(id);
        } else if let Some(conn) = self.conns.get_mut(id)
            && let Some(error) = conn.broken.take()
        {
            self.finish(id, CloseReason::Failed(error));
        }
    }

    /// All is said to a side that was refused. What it sends is read until it has closed: closing
    /// first would make the kernel answer its bytes with a reset, which can overtake the refusal.
    pub(super) fn end_lingering_output(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let outcome = conn.stream.as_ref().map(|s| s.shutdown(Shutdown::Write));
        if let Some(Err(error)) = outcome {
            self.finish(id, CloseReason::Failed(error));
        }
    }
}

/// Writes once, and returns how many bytes the kernel took.
fn write_once(conn: &mut Conn) -> io::Result<usize> {
    let Some(stream) = &mut conn.stream else {
        return Ok(0);
    };
    let bytes = conn.output.as_slice();
    match stream.write(bytes) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(count) => {
            // A short write has filled the socket: the kernel says when it has room again.
            conn.is_writable = count == bytes.len();
            Ok(count)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            conn.is_writable = false;
            Ok(0)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}
