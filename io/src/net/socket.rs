//! Options of sockets.

use std::io;

use mio::net::{TcpListener, TcpStream};
use nix::sys::socket::{self, Backlog, setsockopt, sockopt};
use standin_core::time::Duration;

/// Probes that fit into the time after which a silent host is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// Most connections that the kernel keeps for us until we accept them. It has a bound of its own too.
const LISTEN_BACKLOG: i32 = 4096;

/// Lets more connections wait than mio does.
///
/// After a takeover all clients connect at once. A connection that finds no place is tried again by
/// the client's kernel only after a second, which would make the takeover seem that much longer.
pub(super) fn widen_backlog(listener: &TcpListener) -> io::Result<()> {
    socket::listen(listener, Backlog::new(LISTEN_BACKLOG)?)?;
    Ok(())
}

/// Sends small frames at once, and has the kernel notice a host that vanished without a word.
///
/// Without the latter a connection to a host that lost its power stays open for about a quarter of
/// an hour: keepalive finds it when nothing is in flight, the user timeout when something is.
pub(super) fn prepare(stream: &TcpStream, peer_silence_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    probe(stream, peer_silence_timeout)
}

/// Has the kernel notice within so long that the host has vanished. Both times belong together: one probe that is lost ends a
/// connection whose user timeout is shorter than the time between two of them.
pub(super) fn probe(stream: &TcpStream, silence_timeout: Duration) -> io::Result<()> {
    let timeout_s = u32::try_from(silence_timeout.as_secs()).unwrap_or(u32::MAX);
    let interval_s = (timeout_s / (KEEPALIVE_PROBES + 1)).max(1);
    setsockopt(stream, sockopt::TcpKeepIdle, &interval_s)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &interval_s)?;
    let timeout_ms = u32::try_from(silence_timeout.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &timeout_ms)?;
    Ok(())
}
