//! Framed connections over one event loop.
//!
//! [`Net`] owns the sockets of a process: it listens, connects, shakes hands, checks frames and
//! buffers both directions within bounds. It decides nothing about what the frames say.
//!
//! # Run loop
//! Call [`Net::poll`], handle its events (read [`Net::frames`], then [`Net::consume`] them, and
//! [`Net::send`] answers), call [`Net::flush`] once, repeat.

mod event;
mod limits;

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use standin_core::frame::Frame;
use standin_core::identity::ClusterId;
use standin_core::machine::MachineId;
use standin_core::message::{Party, Refusal};
use standin_core::time::{Duration, Instant, Now};

use crate::signals::Signals;

pub use event::{CloseReason, ConnId, NetEvent};
pub use limits::*;

/// Who this side is, and its bounds.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// What this process is.
    pub party: Party,
    /// The cluster it belongs to, if it knows.
    pub cluster: Option<ClusterId>,
    /// The machine it runs, if it is a replica.
    pub machine: Option<MachineId>,
    /// The bounds.
    pub limits: NetLimits,
}

/// The sockets of a process and the loop that waits for them.
#[derive(Debug)]
pub struct Net {
    config: NetConfig,
}

/// The whole frames that are buffered of one connection, oldest first.
#[derive(Debug)]
pub struct Frames<'a>(PhantomData<&'a ()>);

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        None
    }
}

#[allow(
    unused_variables,
    clippy::unimplemented,
    clippy::needless_pass_by_value
)]
impl Net {
    /// Makes an event loop without connections.
    ///
    /// # Errors
    /// When the kernel gives no more file descriptors.
    pub fn new(config: NetConfig) -> io::Result<Self> {
        Ok(Self { config })
    }

    /// Accepts connections at an address from now on, and returns the address: port 0 means any.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        unimplemented!()
    }

    /// Begins to connect to `HOST:PORT`. Resolving a name may block; a numeric address does not.
    ///
    /// The handshake must be done within `timeout`. Success shows as [`NetEvent::Ready`], failure as
    /// [`NetEvent::Closed`].
    pub fn connect(&mut self, addr: &str, now: Instant, timeout: Duration) -> ConnId {
        unimplemented!()
    }

    /// What other threads use to make [`Net::poll`] return with [`NetEvent::Woken`].
    #[must_use]
    pub fn waker(&self) -> Arc<mio::Waker> {
        unimplemented!()
    }

    /// Reports signals as [`NetEvent::Signal`] from now on.
    ///
    /// # Errors
    /// When the kernel does not let the loop wait for them.
    pub fn watch_signals(&mut self, signals: Signals) -> io::Result<()> {
        unimplemented!()
    }

    /// Names the cluster in every handshake from now on.
    pub fn set_cluster(&mut self, cluster: ClusterId) {
        self.config.cluster = Some(cluster);
    }

    /// Sleeps until there is something to report or `deadline` has come; clears `events`, then fills
    /// it. Everything that is ready is read once, within the bounds.
    ///
    /// Returns the clocks as they were *after* the last byte was read: a grantor of leases may count
    /// from it, because everything reported was sent before.
    ///
    /// # Errors
    /// When the kernel fails to wait, which leaves nothing to do but stop.
    pub fn poll(
        &mut self,
        deadline: Option<Instant>,
        events: &mut Vec<NetEvent>,
    ) -> io::Result<Now> {
        unimplemented!()
    }

    /// The whole frames that are buffered of a connection, without consuming them; none if it is
    /// gone. Their checksums have been checked.
    #[must_use]
    pub fn frames(&self, conn: ConnId) -> Frames<'_> {
        unimplemented!()
    }

    /// Drops bytes from the front of a connection's input: the sum of `frame.len()` of the frames
    /// that are done with.
    pub fn consume(&mut self, conn: ConnId, bytes: usize) {
        unimplemented!()
    }

    /// Lets `write` append whole frames to a connection's output. Nothing is sent before
    /// [`Net::flush`] or [`Net::poll`]. False: the connection is gone, and `write` was not called or
    /// what it wrote was dropped.
    pub fn send(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        unimplemented!()
    }

    /// Writes what is unsent, one write for each connection.
    pub fn flush(&mut self) {}

    /// Unsent bytes of a connection; zero if it is gone.
    #[must_use]
    pub fn output_bytes(&self, conn: ConnId) -> usize {
        unimplemented!()
    }

    /// Stops or continues reading and reporting a connection's input. Nothing is lost meanwhile.
    pub fn pause_input(&mut self, conn: ConnId, paused: bool) {}

    /// Stops or continues reading and reporting the input of all accepted connections whose hello
    /// said [`Party::Client`], those to come included.
    pub fn pause_client_input(&mut self, paused: bool) {}

    /// Says why to the other side, and closes the connection once that is sent.
    pub fn refuse(&mut self, conn: ConnId, refusal: Refusal) {}

    /// Closes a connection at once; what is unsent is dropped.
    pub fn close(&mut self, conn: ConnId) {}

    /// Connections that are open or being opened.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        unimplemented!()
    }

    /// The other side's address, if the connection has one.
    #[must_use]
    pub fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        unimplemented!()
    }
}
