//! The blocking client: a [`Driver`] with an event loop of its own, for one thread.

use std::io;

use standin_core::message::{Consistency, Party, StatusReply};
use standin_core::time::Duration;
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_io::{clock, entropy};

use crate::address::ViewServices;
use crate::ask::{self, AskError};
use crate::core::{Answer, CoreConfig, WithoutRoom};
use crate::driver::Driver;
use crate::error::ClientError;
use crate::requests::{Request, Work};

/// How a client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// How long a request is tried before it ends in an error.
    pub timeout: Duration,
}

impl Default for ClientConfig {
    /// Five seconds: several lease terms.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
        }
    }
}

/// A client of one cluster, with a session of its own. Blocks; one for each thread.
///
/// Nothing is connected to before the first request. The first command opens a session; commands are
/// executed in it exactly once, however often they must be sent.
#[derive(Debug)]
pub struct Client {
    driver: Driver,
    net: Net,
    timeout: Duration,
    /// The number of the last request.
    id_last: u64,
    /// Used again for each poll.
    events: Vec<NetEvent>,
}

impl Client {
    /// A client of the cluster whose view service is at `addresses`: HOST:PORT, or several with
    /// commas between them, which are tried in turn.
    ///
    /// # Errors
    /// [`ClientError::Address`] if they are none, [`ClientError::Local`] if this process can have no
    /// more descriptors. Whether anybody is there shows with the first request.
    pub fn connect(addresses: &str, config: ClientConfig) -> Result<Self, ClientError> {
        let view_services = ViewServices::parse(addresses)?;
        Self::new(view_services, config)
    }

    /// Like [`Client::connect`], with addresses that were parsed before.
    ///
    /// # Errors
    /// [`ClientError::Local`] if this process can have no more descriptors.
    pub fn new(view_services: ViewServices, config: ClientConfig) -> Result<Self, ClientError> {
        let net = new_net().map_err(|source| ClientError::Local {
            doing: "make an event loop",
            source,
        })?;
        Ok(Self {
            driver: Driver::new(CoreConfig {
                view_services,
                jitter_seed: entropy::u64(),
                without_room: WithoutRoom::Wait,
            }),
            net,
            timeout: config.timeout,
            id_last: 0,
            events: Vec::new(),
        })
    }

    /// Executes a command of the machine once, and returns the machine's reply.
    ///
    /// # Errors
    /// [`ClientError`]; its variants tell whether the command may have been executed all the same.
    pub fn command(&mut self, bytes: &[u8]) -> Result<Answer, ClientError> {
        self.request(Work::Command(bytes.to_vec()))
    }

    /// Asks the machine something, and returns its reply.
    ///
    /// # Errors
    /// [`ClientError`], when nobody who may answer is reached in time.
    pub fn query(&mut self, bytes: &[u8], consistency: Consistency) -> Result<Answer, ClientError> {
        let bytes = bytes.to_vec();
        self.request(Work::Query { bytes, consistency })
    }

    /// Closes the session, if one is open, and all connections. Without it the session stays until
    /// it expires, which costs the replicas some memory and nothing else.
    ///
    /// # Errors
    /// [`ClientError`], when nobody who could close it is reached in time.
    pub fn close(mut self) -> Result<(), ClientError> {
        self.request(Work::CloseSession).map(|_| ())
    }

    /// The view service's account of all replicas, over a connection of its own.
    ///
    /// # Errors
    /// [`AskError`], when no view service answers in time.
    pub fn status(&self) -> Result<StatusReply, AskError> {
        ask::status(self.driver.view_services(), self.timeout)
    }

    /// The session in which commands are sent, if one is open.
    #[must_use]
    pub fn session(&self) -> Option<u64> {
        self.driver.core().session()
    }

    /// Changes how long each of the following requests is tried.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn request(&mut self, work: Work) -> Result<Answer, ClientError> {
        self.id_last += 1;
        let now = clock::boot();
        let request = Request {
            id: self.id_last,
            deadline: now.plus(self.timeout),
            work,
        };
        self.driver.submit(&mut self.net, now, request);
        loop {
            // A request that ended in a local error before may still end here as well.
            while let Some((id, outcome)) = self.driver.next_outcome() {
                if id == self.id_last {
                    return outcome;
                }
            }
            self.turn().map_err(|source| ClientError::Local {
                doing: "wait for an answer",
                source,
            })?;
        }
    }

    /// Waits once, and takes in what has happened.
    fn turn(&mut self) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let now = self.net.poll(self.driver.deadline(), &mut events)?.boot;
        for event in events.drain(..) {
            self.driver.on_net_event(&mut self.net, now, &event);
        }
        self.events = events;
        self.driver.on_time(&mut self.net, now);
        Ok(())
    }
}

/// A loop for the connections of one client.
///
/// # Errors
/// When this process can have no more descriptors.
pub(crate) fn new_net() -> io::Result<Net> {
    Net::new(NetConfig {
        party: Party::Client,
        cluster: None,
        machine: None,
        limits: NetLimits::default(),
    })
}
