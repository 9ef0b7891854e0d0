//! The last words of a replica whose disk failed: see [`LastWords`].

use std::io;

use standin_core::conn::ConnId;
use standin_core::message::{Message as _, Refusal, TokenDead};
use standin_core::time::earliest;
use standin_io::clock;
use standin_io::net::{CloseReason, Net, NetEvent};
use standin_replica::{LastAction, LastWords};

use super::ReplicaError;
use super::host::{CONNECT_TIMEOUT, ViewServiceLink};

/// If a disk failure could not be noted, stays until the view service keeps what was lost with it.
pub(super) fn told(
    error: ReplicaError,
    dead: TokenDead,
    net: &mut Net,
    link: &mut ViewServiceLink,
) -> ReplicaError {
    if !matches!(error, ReplicaError::Unnoted { .. }) {
        return error;
    }
    log::error!("{error}; it stays, and does nothing, until the view service has been told");
    match (tell(dead, net, link), error) {
        (Ok(()), ReplicaError::Unnoted { failure, source }) => {
            ReplicaError::Told { failure, source }
        }
        (_, error) => error,
    }
}

/// Tells the view service, as long as it takes.
fn tell(dead: TokenDead, net: &mut Net, link: &mut ViewServiceLink) -> io::Result<()> {
    let mut words = LastWords::new(dead);
    let mut events = Vec::new();
    loop {
        link.keep(net, clock::boot(), CONNECT_TIMEOUT);
        let deadline = earliest(words.deadline(), link.deadline());
        let now = net.poll(deadline, &mut events)?.boot;
        for event in events.drain(..) {
            match event {
                NetEvent::Ready { conn, .. } if link.is(conn) => {
                    link.answered();
                    words.on_up(now);
                }
                NetEvent::Input { conn } if link.is(conn) => hear(net, conn, &mut words),
                NetEvent::Closed { conn, reason } if link.is(conn) => {
                    // Whom it refuses for that it knows of it.
                    if matches!(reason, CloseReason::RefusedByPeer(Refusal::TokenDead)) {
                        return Ok(());
                    }
                    link.lost(&reason, now);
                    words.on_down();
                }
                NetEvent::Signal(signal) => log::warn!(
                    "not stopping on signal {signal} before the view service knows that the disk \
                     failed; if this process is killed, reboot the machine before the next is started"
                ),
                NetEvent::Ready { conn, .. } | NetEvent::Input { conn } => net.close(conn),
                NetEvent::Closed { .. } | NetEvent::Woken => {}
            }
            if carry_out(&mut words, net, link) {
                return Ok(());
            }
        }
        words.on_deadline(now);
        carry_out(&mut words, net, link);
    }
}

/// Hands in what the view service says.
fn hear(net: &mut Net, conn: ConnId, words: &mut LastWords) {
    let mut bytes = 0;
    let mut is_good = true;
    for frame in net.frames(conn) {
        bytes += frame.len();
        is_good &= words.on_frame(&frame).is_ok();
    }
    net.consume(conn, bytes);
    if !is_good {
        net.refuse(conn, Refusal::Protocol);
    }
}

/// Whether all is said.
fn carry_out(words: &mut LastWords, net: &mut Net, link: &ViewServiceLink) -> bool {
    while let (Some(action), conn) = (words.next_action(), link.conn()) {
        match action {
            LastAction::Tell(dead) => {
                if let Some(conn) = conn {
                    net.send(conn, |out| dead.encode(out));
                }
            }
            LastAction::Redial => {
                if let Some(conn) = conn {
                    net.close(conn);
                }
            }
            LastAction::End => return true,
        }
    }
    false
}
