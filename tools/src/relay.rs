//! The floor that Standin is measured against: a relay that does the least that replication can do.
//!
//! The front speaks the native protocol or Redis's to clients. All commands of one wake-up go to the echo, a
//! second process, as one message; it sends the message back; and only then the front answers. There
//! is no log, no session, no state and no view: what is left is the price of two processes and their
//! sockets. Both sides use the same [`Net`] that Standin does, with one read and one write per socket
//! and wake-up.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use clap::Args;
use standin_core::conn::ConnId;
use standin_core::entry::{BATCH_BYTES_MAX, COMMAND_BYTES_MAX, Index};
use standin_core::frame::{Frame, FrameKind};
use standin_core::message::{
    CommandRequest, CommandRequests, DecodeError, Entries, Message as _, OpenSession, Party,
    QueryRequest, QueryRequests, Refusal, Reply, ReplyStatus, Seen, encode_replies, requests_in,
};
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewId;
use standin_io::clock;
use standin_io::net::{BUSY_POLL_MICROS_MAX, Net, NetConfig, NetEvent, NetLimits};
use standin_io::signals::Signals;
use standin_resp::request::{Limits as RequestLimits, RequestParser};

use crate::cluster::die_with_parent_if_asked;
use crate::output;

/// How long the connection to the echo may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most commands that wait for the echo; while more do, no client is read.
const WAITING_MAX: usize = 1 << 16;

/// The reply to each request of Redis's protocol.
const PLAIN_REPLY: &[u8] = b":1\r\n";

/// The arguments of `standin relay-front`.
#[derive(Debug, Args)]
pub struct FrontArgs {
    /// Address to listen on for clients; port 0 means any
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Address of the echo
    #[arg(long, value_name = "ADDR")]
    echo: String,
    /// Bytes of each reply to a command; of Redis's protocol each is a small integer
    #[arg(long, default_value_t = 8, value_name = "BYTES")]
    reply_bytes: u32,
    /// Speak Redis's protocol to clients
    #[arg(long)]
    resp: bool,
    /// Under load, look for something to do for so many microseconds before each sleep; 0: never
    #[arg(long, default_value_t = 0, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(..=BUSY_POLL_MICROS_MAX))]
    busy_poll: u64,
}

/// The arguments of `standin relay-echo`.
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// Address to listen on for the front; port 0 means any
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Under load, look for something to do for so many microseconds before each sleep; 0: never
    #[arg(long, default_value_t = 0, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(..=BUSY_POLL_MICROS_MAX))]
    busy_poll: u64,
}

/// Why a relay's process ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another --listen address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The echo is not there, or no longer.
    #[error("the echo at {address} cannot be used: {reason}; start it first")]
    Echo {
        /// Its address.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// A reply would be longer than any may be.
    #[error("--reply-bytes {0} is too much: at most {COMMAND_BYTES_MAX} are allowed")]
    ReplyBytes(u32),
    /// The operating system refused something that an event loop cannot do without.
    #[error("the relay cannot go on: {0}")]
    Local(#[from] io::Error),
}

/// Runs the front until it is told to stop by a signal or the echo goes; returns the exit
/// status.
#[must_use]
pub fn run_front(args: &FrontArgs) -> u8 {
    ended(Front::start(args).and_then(Front::run))
}

/// Runs the echo until it is told to stop by a signal; returns the exit status.
#[must_use]
pub fn run_echo(args: &EchoArgs) -> u8 {
    ended(Echo::start(args).and_then(Echo::run))
}

fn ended(result: Result<(), RelayError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            output::error(format_args!("{error}"));
            1
        }
    }
}

fn ready(what: &str, address: SocketAddr) -> io::Result<()> {
    output::write(format!("ready {what} {address}\n"))
}

fn new_net(party: Party) -> io::Result<Net> {
    Net::new(NetConfig {
        party,
        cluster: None,
        machine: None,
        limits: NetLimits::default(),
    })
}

/// A listening loop that signals end, and that ends with the process that started it.
fn listening(
    party: Party,
    address: SocketAddr,
    is_plain: bool,
) -> Result<(Net, SocketAddr), RelayError> {
    die_with_parent_if_asked();
    let signals = Signals::block()?;
    let mut net = new_net(party)?;
    net.watch_signals(signals)?;
    let bound = match is_plain {
        true => net.listen_plain(address),
        false => net.listen(address),
    };
    let bound = bound.map_err(|source| RelayError::Listen { address, source })?;
    Ok((net, bound))
}

/// Commands that went to the echo in one message.
#[derive(Debug)]
struct Sent {
    round: u64,
    commands: usize,
}

/// The relay's first process: takes commands, forwards them, answers when they have come back.
#[derive(Debug)]
struct Front {
    net: Net,
    echo: ConnId,
    echo_address: String,
    /// Bytes of each reply.
    reply: Vec<u8>,
    sessions_opened: u64,
    /// Commands that wait for the echo, in the order in which they were forwarded.
    waiting: VecDeque<(ConnId, u64)>,
    /// The messages that they went in.
    ///
    /// Invariant: their commands and those in `batch` are the ones in `waiting`.
    sent: VecDeque<Sent>,
    /// The message of this wake-up; its memory is used again for the next.
    batch: Vec<u8>,
    /// Commands in it.
    batched: usize,
    round: u64,
    /// Clients that will say nothing more and wait for answers.
    over: Vec<ConnId>,
}

impl Front {
    fn start(args: &FrontArgs) -> Result<Self, RelayError> {
        let reply_bytes = usize::try_from(args.reply_bytes)
            .ok()
            .filter(|bytes| *bytes <= COMMAND_BYTES_MAX)
            .ok_or(RelayError::ReplyBytes(args.reply_bytes))?;
        let (mut net, bound) = listening(Party::Replica, args.listen, args.resp)?;
        net.set_busy_poll(Duration::from_micros(args.busy_poll));
        let mut front = Self::new(net, args.echo.clone(), reply_bytes);
        front.await_echo()?;
        ready("relay-front", bound)?;
        Ok(front)
    }

    fn new(mut net: Net, echo_address: String, reply_bytes: usize) -> Self {
        let echo = net.connect(&echo_address, clock::boot(), CONNECT_TIMEOUT);
        Self {
            net,
            echo,
            echo_address,
            reply: vec![0; reply_bytes],
            sessions_opened: 0,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            batch: Vec::new(),
            batched: 0,
            round: 0,
            over: Vec::new(),
        }
    }

    /// Waits until the echo has said hello: until then no client is told that the relay is ready.
    fn await_echo(&mut self) -> Result<(), RelayError> {
        let mut events = Vec::new();
        loop {
            self.net.poll(None, &mut events)?;
            for event in events.drain(..) {
                match event {
                    NetEvent::Ready { conn, .. } if conn == self.echo => return Ok(()),
                    NetEvent::Closed { conn, reason } if conn == self.echo => {
                        return Err(self.no_echo(reason.to_string()));
                    }
                    NetEvent::Signal(_) => {
                        return Err(self.no_echo("it was not waited for".to_owned()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn no_echo(&self, reason: String) -> RelayError {
        RelayError::Echo {
            address: self.echo_address.clone(),
            reason,
        }
    }

    fn run(mut self) -> Result<(), RelayError> {
        let mut events = Vec::new();
        while self.turn(None, &mut events)? {}
        Ok(())
    }

    /// One wake-up; false: told to stop.
    fn turn(
        &mut self,
        deadline: Option<Instant>,
        events: &mut Vec<NetEvent>,
    ) -> Result<bool, RelayError> {
        let is_full = self.waiting.len() > WAITING_MAX;
        self.net.pause_client_input(is_full);
        self.net.poll(deadline, events)?;
        for event in events.drain(..) {
            match event {
                NetEvent::Input { conn } if conn == self.echo => self.on_echo(),
                NetEvent::Input { conn } if self.net.is_plain(conn) => self.on_requests(conn),
                NetEvent::Input { conn } => self.on_commands(conn),
                NetEvent::Closed { conn, reason } if conn == self.echo => {
                    return Err(self.no_echo(reason.to_string()));
                }
                NetEvent::Signal(_) => return Ok(false),
                NetEvent::Ready { .. } | NetEvent::Closed { .. } | NetEvent::Woken => {}
            }
        }
        self.forward();
        Ok(true)
    }

    /// Takes the commands of one client into this wake-up's message. What would make it too long
    /// stays where it is, and is reported again by the next poll.
    fn on_commands(&mut self, conn: ConnId) {
        let mut bytes = 0;
        let mut sessions = Vec::new();
        let mut is_good = true;
        for frame in self.net.frames(conn) {
            if self.batch.len() + frame.payload.len() > BATCH_BYTES_MAX {
                break;
            }
            bytes += frame.len();
            match request_id(&frame) {
                Ok(Request::Work(id)) => {
                    self.batch.extend_from_slice(frame.payload);
                    let count = requests_in(&frame);
                    self.batched += usize::try_from(count).expect("few in a frame");
                    let ids = (0..count).map(|at| id.wrapping_add(at));
                    self.waiting.extend(ids.map(|id| (conn, id)));
                }
                Ok(Request::Open(id)) => sessions.push(id),
                Err(_) => is_good = false,
            }
        }
        self.net.consume(conn, bytes);
        for id in sessions {
            self.sessions_opened += 1;
            let session = self.sessions_opened.to_le_bytes();
            self.net
                .send(conn, |out| reply_of(id, &session).encode(out));
        }
        if !is_good {
            self.net.refuse(conn, Refusal::Protocol);
        }
    }

    /// The same for one that speaks Redis's protocol. The beginning of a request waits for the rest of it.
    fn on_requests(&mut self, conn: ConnId) {
        let input = self.net.input(conn);
        let mut parser = RequestParser::new();
        let (mut bytes, mut is_good) = (0, true);
        let is_hungry = loop {
            match parser.parse(&input[bytes..], &RequestLimits::default()) {
                Ok(Some(request)) => {
                    let length = request.consumed();
                    if self.batch.len() + length > BATCH_BYTES_MAX {
                        break false;
                    }
                    self.batch.extend_from_slice(&input[bytes..][..length]);
                    self.batched += 1;
                    self.waiting.push_back((conn, 0));
                    bytes += length;
                }
                Ok(None) => break true,
                Err(_) => {
                    is_good = false;
                    break false;
                }
            }
        };
        self.net.consume(conn, bytes);
        if !is_good {
            self.net.close(conn);
        } else if is_hungry && !self.net.await_more(conn) {
            self.over.push(conn);
            self.close_over();
        }
    }

    /// Closes those who will say nothing more and have all their answers.
    fn close_over(&mut self) {
        let (net, waiting) = (&mut self.net, &self.waiting);
        self.over.retain(|conn| {
            let has_all = waiting.iter().all(|(waits, _)| waits != conn);
            if has_all {
                net.close_when_sent(*conn);
            }
            !has_all
        });
    }

    /// Sends this wake-up's commands to the echo as one message.
    fn forward(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.round += 1;
        let message = Entries {
            nonce: 0,
            view: ViewId::default(),
            round: self.round,
            commit: Index::ZERO,
            bytes: &self.batch,
        };
        self.net.send(self.echo, |out| message.encode(out));
        self.sent.push_back(Sent {
            round: self.round,
            commands: self.batched,
        });
        self.batch.clear();
        self.batched = 0;
    }

    /// Answers the commands of the messages that have come back.
    fn on_echo(&mut self) {
        let mut bytes = 0;
        let mut answered = 0;
        for frame in self.net.frames(self.echo) {
            bytes += frame.len();
            let round = Entries::decode(&frame).map(|message| message.round);
            match self.sent.pop_front() {
                Some(sent) if round == Ok(sent.round) => answered += sent.commands,
                _ => {
                    self.net.close(self.echo);
                    return;
                }
            }
        }
        self.net.consume(self.echo, bytes);
        self.answer(answered);
        self.close_over();
    }

    /// Answers the first `count` commands that wait, those of one connection together.
    fn answer(&mut self, mut count: usize) {
        while count > 0
            && let Some(&(conn, _)) = self.waiting.front()
        {
            let run = self.waiting.iter().take(count);
            let run = run.take_while(|(other, _)| *other == conn).count();
            let (waiting, reply) = (&mut self.waiting, &self.reply);
            let mut ids = waiting.drain(..run);
            let is_plain = self.net.is_plain(conn);
            self.net.send(conn, |out| {
                if is_plain {
                    ids.by_ref()
                        .for_each(|_| out.extend_from_slice(PLAIN_REPLY));
                } else {
                    encode_replies(ids.by_ref().map(|(_, id)| reply_of(id, reply)), out);
                }
            });
            drop(ids);
            count -= run;
        }
    }
}

enum Request {
    /// One or several to be forwarded, the first of which has this number.
    Work(u64),
    Open(u64),
}

fn request_id(frame: &Frame<'_>) -> Result<Request, DecodeError> {
    match frame.kind {
        FrameKind::Command => Ok(Request::Work(CommandRequest::decode(frame)?.id)),
        FrameKind::Commands => Ok(Request::Work(CommandRequests::decode(frame)?.first_id())),
        // A read is forwarded like a write: no relay could know its answer.
        FrameKind::Query => Ok(Request::Work(QueryRequest::decode(frame)?.id)),
        FrameKind::Queries => Ok(Request::Work(QueryRequests::decode(frame)?.first_id())),
        FrameKind::OpenSession => Ok(Request::Open(OpenSession::decode(frame)?.id)),
        kind => Err(DecodeError { kind }),
    }
}

fn reply_of(id: u64, bytes: &[u8]) -> Reply<'_> {
    Reply {
        id,
        status: ReplyStatus::Done,
        seen: Seen::default(),
        is_solo: false,
        bytes,
    }
}

/// The relay's second process: sends back what it is sent.
#[derive(Debug)]
struct Echo {
    net: Net,
}

impl Echo {
    fn start(args: &EchoArgs) -> Result<Self, RelayError> {
        let (mut net, bound) = listening(Party::Replica, args.listen, false)?;
        net.set_busy_poll(Duration::from_micros(args.busy_poll));
        ready("relay-echo", bound)?;
        Ok(Self { net })
    }

    fn run(mut self) -> Result<(), RelayError> {
        let mut events = Vec::new();
        let mut message = Vec::new();
        loop {
            self.net.poll(None, &mut events)?;
            for event in events.drain(..) {
                match event {
                    NetEvent::Input { conn } => self.send_back(conn, &mut message),
                    NetEvent::Signal(_) => return Ok(()),
                    NetEvent::Ready { .. } | NetEvent::Closed { .. } | NetEvent::Woken => {}
                }
            }
        }
    }

    fn send_back(&mut self, conn: ConnId, message: &mut Vec<u8>) {
        message.clear();
        let mut bytes = 0;
        let mut is_good = true;
        for frame in self.net.frames(conn) {
            bytes += frame.len();
            match Entries::decode(&frame) {
                Ok(entries) => entries.encode(message),
                Err(_) => is_good = false,
            }
        }
        self.net.consume(conn, bytes);
        self.net.send(conn, |out| out.extend_from_slice(message));
        if !is_good {
            self.net.refuse(conn, Refusal::Protocol);
        }
    }
}

#[cfg(test)]
mod tests;
