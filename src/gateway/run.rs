//! The event loop: one thread, on which clients, view service and replicas are connected.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use standin_core::conn::ConnId;
use standin_core::machine::MachineId;
use standin_core::message::Party;
use standin_core::time::{Duration, Instant, Now, earliest};
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_io::signals::Signals;
use standin_kv::KeyValue;

use super::lanes::{Ended, Lanes};
use super::seat::Seat;
use super::stall::{Stall, Word};
use super::words::write_error;
use super::{GatewayConfig, GatewayError};
use crate::front::{Facts, Front};

/// How long a stop waits for what is under way to be answered.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long it then waits for its sessions to be closed, and for the last bytes to leave. A session that stays open
/// expires by itself.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

/// A running gateway.
#[derive(Debug)]
struct Gateway {
    net: Net,
    front: Front,
    lanes: Lanes,
    facts: Facts,
    /// Clients that have input in this wake-up.
    heard: Vec<ConnId>,
    stage: Stage,
    stall: Stall,
    /// Used again for each answer that is an error.
    error: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// What is under way is answered yet, until then at most.
    Stopping(Instant),
    /// Sessions are being closed, until then at most.
    Closing(Instant),
    Over,
}

/// Serves clients until SIGTERM, SIGINT or SIGHUP; a second one stops at once. `on_ready` is told where it listens.
///
/// # Errors
/// [`GatewayError`]: it cannot listen, or this machine refuses it something.
pub fn run(config: &GatewayConfig, on_ready: impl FnOnce(SocketAddr)) -> Result<(), GatewayError> {
    // Before there is any other thread.
    let signals = Signals::block().map_err(GatewayError::local("taking over signals"))?;
    let gateway = Gateway::new(config, signals)?;
    let listens_on = gateway.front.listens_on();
    log::info!("serves Redis clients on {listens_on}");
    on_ready(listens_on);
    gateway.run()
}

impl Gateway {
    fn new(config: &GatewayConfig, signals: Signals) -> Result<Self, GatewayError> {
        let limits = NetLimits::default()
            .within_descriptors()
            .map_err(GatewayError::local("raising the limit of open files"))?;
        let clients_max = limits.clients.connections_max;
        let mut net = Net::new(NetConfig {
            party: Party::Client,
            cluster: None,
            // A replica of another machine would take commands for something else.
            machine: Some(MachineId::of::<KeyValue>()),
            limits,
        })
        .map_err(GatewayError::local("making an event loop"))?;
        net.watch_signals(signals)
            .map_err(GatewayError::local("waiting for signals"))?;
        let listened = resolve(&config.listen).and_then(|address| net.listen_plain(address));
        let listens_on = listened.map_err(|source| GatewayError::Listen {
            address: config.listen.clone(),
            source,
        })?;
        let password = config.password.clone();
        let facts = Facts::new("gateway", listens_on.port(), password, clients_max);
        Ok(Self {
            net,
            front: Front::new(listens_on, false),
            lanes: Lanes::new(&config.view_services),
            facts,
            heard: Vec::new(),
            stage: Stage::Serving,
            stall: Stall::default(),
            error: Vec::new(),
        })
    }

    fn run(mut self) -> Result<(), GatewayError> {
        let mut events = Vec::new();
        let mut deadline = None;
        while self.stage != Stage::Over {
            let now = self
                .net
                .poll(deadline, &mut events)
                .map_err(GatewayError::local("waiting for something to do"))?;
            for event in events.drain(..) {
                self.on_net_event(now, &event);
            }
            deadline = self.turn(now);
        }
        self.net.flush();
        Ok(())
    }

    fn on_net_event(&mut self, now: Now, event: &NetEvent) {
        if self.lanes.on_net_event(&mut self.net, now.boot, event) {
            return;
        }
        match event {
            NetEvent::Input { conn } if self.net.is_plain(*conn) => self.heard.push(*conn),
            NetEvent::Closed { conn, reason } => {
                self.heard.retain(|heard| heard != conn);
                if self.front.closed(*conn) {
                    log::debug!("the client at {conn} is gone: {reason}");
                }
            }
            NetEvent::Signal(_) => {
                self.stage = match self.stage {
                    Stage::Serving => {
                        log::info!(
                            "stops: no more clients are taken, and what is under way is answered"
                        );
                        self.net.stop_listening();
                        self.net.pause_client_input(true);
                        self.front.end(&mut self.net);
                        Stage::Stopping(now.boot.plus(STOP_PATIENCE))
                    }
                    _ => Stage::Over,
                };
            }
            NetEvent::Ready { .. } | NetEvent::Input { .. } | NetEvent::Woken => {}
        }
    }

    /// Does all that can be done now, and says when there will be more.
    fn turn(&mut self, now: Now) -> Option<Instant> {
        self.lanes.on_time(&mut self.net, now.boot);
        let mut is_moving = self.answer();
        if self.stage == Stage::Serving {
            self.take(now);
        }
        self.heard.clear();
        let copies = self.lanes.copies();
        self.front.settle(&mut self.net, now.boot, copies, true);
        let mut deadline = None;
        if self.front.has_waits() {
            deadline = self.lanes.probe(now.boot);
        }
        self.lanes.feed(&mut self.net, now.boot);
        // Some end at once.
        is_moving |= self.answer();
        self.tell(now.boot, is_moving);
        self.stop(now.boot);
        let stop = match self.stage {
            Stage::Serving | Stage::Over => None,
            Stage::Stopping(until) | Stage::Closing(until) => Some(until),
        };
        // While nothing is taken, that somebody has something to be taken is no reason to wake up.
        let may_take = self.stage == Stage::Serving && !self.lanes.is_full();
        let front = self.front.deadline(now.boot);
        let front = front.filter(|&at| may_take || at > now.boot);
        [
            deadline,
            stop,
            front,
            self.lanes.deadline(),
            self.stall.deadline(),
        ]
        .into_iter()
        .fold(None, earliest)
    }

    /// Takes what clients have said, unless too much is under way: then it stays where it is.
    fn take(&mut self, now: Now) {
        let is_full = self.lanes.is_full();
        self.net.pause_client_input(is_full);
        if is_full {
            // They are told of again.
            self.heard.clear();
            return;
        }
        let seat = Seat {
            facts: &self.facts,
            counts: self.front.counts(),
            seen: self.lanes.seen(),
            now,
        };
        self.front.take(&mut self.net, &self.heard, &seat, now.boot);
        self.heard.clear();
        for task in self.front.tasks() {
            self.lanes.give(&task);
        }
    }

    /// Hands on what was answered; whether anything was.
    fn answer(&mut self) -> bool {
        let mut is_any = false;
        while let Some(Ended { conn, id, result }) = self.lanes.next_ended() {
            is_any = true;
            let reply = match &result {
                Ok(answer) => &answer.bytes,
                Err(error) => {
                    log::warn!("a client's request ended without an answer: {error}");
                    self.error.clear();
                    write_error(error, &mut self.error);
                    &self.error
                }
            };
            self.front.answer(&mut self.net, conn, id, reply);
        }
        is_any
    }

    /// Tells people if clients have been waiting for long, and when that is over.
    fn tell(&mut self, now: Instant, is_moving: bool) {
        let is_waiting = !self.lanes.is_empty();
        match self.stall.look(now, is_waiting, is_moving) {
            Some(Word::Begun(waited)) => log::warn!(
                "no client was answered for {waited:.1?}: {}; they wait on",
                self.lanes.trouble()
            ),
            Some(Word::Over(waited)) => {
                log::info!("clients are answered again, after {waited:.1?}");
            }
            None => {}
        }
    }

    /// Goes on with a stop, if it can.
    fn stop(&mut self, now: Instant) {
        if let Stage::Stopping(until) = self.stage
            && (self.lanes.is_empty() || now >= until)
        {
            self.lanes.close_sessions(&mut self.net, now);
            self.stage = Stage::Closing(now.plus(CLOSE_PATIENCE));
        }
        if let Stage::Closing(until) = self.stage
            && (self.is_parted() || now >= until)
        {
            self.stage = Stage::Over;
        }
    }
}

impl Gateway {
    /// Whether all sessions are closed, and all clients have been sent what they get and have taken it.
    fn is_parted(&self) -> bool {
        !self.lanes.has_sessions() && self.net.connection_count() <= self.lanes.connections()
    }
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    let none = io::ErrorKind::AddrNotAvailable;
    let mut all = address.to_socket_addrs()?;
    all.next().ok_or_else(|| none.into())
}
