//! How connections come to be: accepting and connecting.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use nix::errno::Errno;
use standin_core::conn::ConnId;
use standin_core::message::{Hello, Message as _, Party, Refusal};
use standin_core::time::{Duration, Instant};

use super::conn::Stage;
use super::event::CloseReason;
use super::resolve::Answer;
use super::warnings::Complaint;
use super::{Net, socket, wait};

/// Most connections accepted per listener and wake-up.
const ACCEPTS_PER_POLL: usize = 64;
/// How long accepting rests when the process or the machine has no file descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A socket that accepts.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    /// Who connects speaks another protocol.
    is_plain: bool,
    /// Connections may be waiting: nothing has shown the contrary since the kernel last said so.
    pub(super) is_ready: bool,
}

impl Listener {
    pub(super) fn new(socket: TcpListener, is_plain: bool) -> Self {
        Self {
            socket,
            is_plain,
            is_ready: false,
        }
    }
}

impl Net {
    /// Accepts from every listener that is ready.
    pub(super) fn accept(&mut self) {
        if self.accept_after.is_some_and(|moment| self.now < moment) {
            return;
        }
        self.accept_after = None;
        // Each is read once before so many others have come that it must give way.
        let accepts_max = ACCEPTS_PER_POLL.min(self.config.limits.handshaking_max.div_ceil(2));
        for listener in 0..self.listeners.len() {
            for _ in 0..accepts_max {
                if !self.listeners[listener].is_ready || self.accept_after.is_some() {
                    break;
                }
                self.accept_one(listener);
            }
        }
    }

    fn accept_one(&mut self, listener: usize) {
        let listener = &mut self.listeners[listener];
        match listener.socket.accept() {
            Ok((stream, peer)) if listener.is_plain => self.accepted_plain(stream, peer),
            Ok((stream, peer)) => self.accepted(stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.is_ready = false,
            Err(error) if is_exhaustion(&error) => {
                // The connection stays in the kernel's queue, so trying again at once would spin.
                self.accept_after = Some(self.now.plus(ACCEPT_REST));
                if self.warnings.admit(Complaint::Accept, self.now) {
                    log::warn!("cannot accept a connection: {error}");
                }
            }
            // That one connection failed before it was accepted.
            Err(error) => log::debug!("a connection failed before it was accepted: {error}"),
        }
    }

    fn accepted(&mut self, stream: TcpStream, peer: SocketAddr) {
        let limits = &self.config.limits;
        if let Err(error) = socket::prepare(&stream, limits.peer_silence_timeout) {
            log::debug!("the connection from {peer} ended at once: {error}");
            return;
        }
        let deadline = self.now.plus(limits.handshake_timeout);
        let crowd = limits.handshaking_max;
        let id = self.conns.insert(true, Stage::AwaitHello, self.now);
        if let Err(error) = self.attach(id, stream, peer) {
            self.finish(id, CloseReason::Failed(error));
            return;
        }
        // The hello is often there already; if not, one read too many finds that out. A new socket
        // has room for ours.
        if let Some(conn) = self.conns.get_mut(id) {
            conn.is_readable = true;
            conn.is_writable = true;
        }
        self.set_deadline(id, deadline);
        self.queue_read(id);
        self.handshaking.insert(id);
        if self.handshaking.len() > crowd
            && let Some(&oldest) = self.handshaking.first()
        {
            self.finish(oldest, CloseReason::HandshakeCrowded);
        }
    }

    /// Somebody is there who says no hello.
    fn accepted_plain(&mut self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = socket::prepare(&stream, self.config.limits.peer_silence_timeout) {
            log::debug!("the connection from {peer} ended at once: {error}");
            return;
        }
        // Its owner does not know of it yet, and hears nothing of it should it end here.
        let id = self.conns.insert(true, Stage::AwaitHello, self.now);
        if let Err(error) = self.attach(id, stream, peer) {
            self.finish(id, CloseReason::Failed(error));
            return;
        }
        if !self.take_place(id, Party::Client) {
            self.finish(id, CloseReason::RefusedHere(Refusal::Busy));
            return;
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.stage = Stage::Ready;
            conn.is_plain = true;
            conn.is_readable = true;
            conn.is_writable = true;
        }
        self.queue_read(id);
    }

    /// Begins to connect to a numeric address, or to what a name stands for.
    pub(super) fn open(&mut self, addr: &str, now: Instant, timeout: Duration) -> ConnId {
        let stage = Stage::Resolving(addr.to_owned());
        let id = self.conns.insert(false, stage, now);
        let hello = self.own_hello();
        if let Some(conn) = self.conns.get_mut(id) {
            hello.encode(conn.output.tail(&mut self.pool));
        }
        self.set_deadline(id, now.plus(timeout));
        if let Ok(addr) = addr.parse() {
            self.try_addrs(id, [addr].into());
        } else if let Some(answer) = self.resolver.take(now, |name| name == addr) {
            self.hand_out(&answer);
        } else if let Err(error) = self.resolver.ask(addr) {
            self.finish(id, CloseReason::Connect(error));
        }
        id
    }

    /// Hands the answers that have come to the connections that wait for them.
    pub(super) fn take_resolved(&mut self) {
        let resolving = self.conns.resolving();
        let is_wanted = |wanted: &str| resolving.iter().any(|(_, name)| name == wanted);
        while let Some(answer) = self.resolver.take(self.now, is_wanted) {
            self.hand_out(&answer);
        }
    }

    /// Lets every connection that waits for an answer go on with it.
    fn hand_out(&mut self, answer: &Answer) {
        for (id, name) in self.conns.resolving() {
            if name != answer.name {
                continue;
            }
            match &answer.addrs {
                Ok(addrs) => self.try_addrs(id, addrs.iter().copied().collect()),
                Err(error) => {
                    let copy = io::Error::new(error.kind(), error.to_string());
                    self.finish(id, CloseReason::Connect(copy));
                }
            }
        }
    }

    /// Begins to connect to the first of these addresses that answers.
    fn try_addrs(&mut self, id: ConnId, addrs: VecDeque<SocketAddr>) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.stage = Stage::Connecting(addrs);
        }
        self.try_next_addr(id, io::Error::other("the name has no address"));
    }

    fn try_addr(&mut self, id: ConnId, addr: SocketAddr) {
        let attempt = TcpStream::connect(addr);
        if let Err(error) = attempt.and_then(|stream| self.attach(id, stream, addr)) {
            self.try_next_addr(id, error);
        }
    }

    /// Tries the next address, or gives up with the `error` of the one before.
    fn try_next_addr(&mut self, id: ConnId, error: io::Error) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if let Some(mut stream) = conn.stream.take() {
            // Fails only if the kernel has forgotten the socket, which is what is wanted.
            let _ = self.poll.registry().deregister(&mut stream);
        }
        let next = match &mut conn.stage {
            Stage::Connecting(rest) => rest.pop_front(),
            Stage::Resolving(_) | Stage::AwaitHello | Stage::Ready | Stage::Lingering => None,
        };
        match next {
            Some(addr) => self.try_addr(id, addr),
            None => self.finish(id, CloseReason::Connect(error)),
        }
    }

    /// Looks whether a connection that is being made has been made, or has failed.
    pub(super) fn check_connecting(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(stream) = &conn.stream else {
            return;
        };
        let outcome = match stream.take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            Ok(None) => stream.peer_addr(),
        };
        let silence = self.config.limits.peer_silence_timeout;
        match outcome.and_then(|_| socket::prepare(stream, silence)) {
            Ok(()) => {
                conn.stage = Stage::AwaitHello;
                conn.is_writable = true;
                conn.is_readable = true;
                self.mark_dirty(id);
                self.queue_read(id);
            }
            // The event was spurious: the kernel is still connecting.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => self.try_next_addr(id, error),
        }
    }

    fn attach(&mut self, id: ConnId, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = wait::conn_token(id);
        self.poll
            .registry()
            .register(&mut stream, token, interest)?;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.peer = Some(peer);
            conn.stream = Some(stream);
        }
        Ok(())
    }

    /// What this side says of itself.
    pub(super) fn own_hello(&self) -> Hello {
        let config = &self.config;
        Hello::new(config.party, config.cluster, config.machine.clone())
    }
}

/// Whether accepting failed for want of something that only time or other processes give back.
fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
    )
}
