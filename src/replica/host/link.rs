//! The connection to the view service.

use std::fmt::Display;

use standin_core::conn::ConnId;
use standin_core::message::{Party, Refusal};
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_io::net::{CloseReason, Net};

use crate::replica::ReplicaError;

/// How long after a connection to the view service was lost the next is tried.
const VIEW_SERVICE_RETRY: Duration = Duration::from_millis(50);
/// How long a replica that has taken its own name over, as another store, waits for it to be free: the view service
/// may take the life before for one that runs.
const NAME_PATIENCE: Duration = Duration::from_secs(10);

/// The connection to the view service, kept up as long as the process lives.
#[derive(Debug)]
pub(in crate::replica) struct ViewServiceLink {
    addresses: Vec<String>,
    next: usize,
    pub(super) conn: Option<ConnId>,
    retry_at: Instant,
    /// The loss was reported in the log; said once until a view service answers again.
    is_loss_told: bool,
    /// That it refuses whoever is of this cluster was reported in the log; said once, likewise.
    is_refusal_told: bool,
    /// A view service has answered a report of this life.
    pub(super) is_accepted: bool,
    /// Until when a name that is taken may still be this replica's own, of the store whose place it has taken.
    name_expected_until: Instant,
    /// The operator has said that this replica takes over the name of a lost directory.
    pub(in crate::replica) replaces: bool,
}

impl ViewServiceLink {
    pub(in crate::replica) fn new(addresses: Vec<String>) -> Self {
        assert!(
            !addresses.is_empty(),
            "the command line asks for one at least"
        );
        Self {
            addresses,
            next: 0,
            conn: None,
            retry_at: Instant::ZERO,
            is_loss_told: false,
            is_refusal_told: false,
            is_accepted: false,
            name_expected_until: Instant::ZERO,
            replaces: false,
        }
    }

    pub(in crate::replica) fn is(&self, conn: ConnId) -> bool {
        self.conn == Some(conn)
    }

    /// Connects if there is no connection and it is time to.
    pub(in crate::replica) fn keep(&mut self, net: &mut Net, now: Instant, timeout: Duration) {
        if self.conn.is_none() && now >= self.retry_at {
            self.conn = Some(net.connect(self.address(), now, timeout));
        }
    }

    pub(in crate::replica) fn deadline(&self) -> Option<Instant> {
        self.conn.is_none().then_some(self.retry_at)
    }

    pub(in crate::replica) fn closed(&mut self, now: Instant) {
        self.conn = None;
        self.retry_at = now;
    }

    pub(in crate::replica) fn lost(&mut self, reason: &impl Display, now: Instant) {
        if !std::mem::replace(&mut self.is_loss_told, true) {
            log::warn!(
                "no view service at {}: {reason}; trying again",
                self.address()
            );
        }
        self.conn = None;
        self.retry_at = now.plus(VIEW_SERVICE_RETRY);
        self.next = (self.next + 1) % self.addresses.len();
    }

    /// The name is this replica's own, which now is another store: it will be free in a moment.
    pub(in crate::replica) fn expect_name(&mut self, now: Instant) {
        self.name_expected_until = now.plus(NAME_PATIENCE);
    }

    pub(in crate::replica) fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    /// Deals with somebody at the other end who is no view service. The address may be a mistake, and
    /// then no waiting mends it. Once a view service has accepted this replica, it is not: whoever
    /// has come to listen there since must not end what serves.
    pub(in crate::replica) fn misled(
        &mut self,
        net: &mut Net,
        party: Party,
        now: Instant,
    ) -> Result<(), ReplicaError> {
        if !self.is_accepted {
            return Err(ReplicaError::NoViewService {
                address: self.address().to_owned(),
                party,
            });
        }
        if let Some(conn) = self.conn.take() {
            net.close(conn);
        }
        self.lost(&format_args!("it is a {}", party.words()), now);
        Ok(())
    }

    /// A report was answered. A connection alone proves nothing: it may end with a refusal.
    pub(in crate::replica) fn answered(&mut self) {
        self.is_accepted = true;
        self.is_refusal_told = false;
        if std::mem::replace(&mut self.is_loss_told, false) {
            log::info!("the view service at {} is there", self.address());
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.addresses[self.next]
    }

    /// Whether the view service's refusal is one that no waiting mends.
    pub(in crate::replica) fn check_refusal(
        &mut self,
        reason: &CloseReason,
    ) -> Result<(), ReplicaError> {
        let CloseReason::RefusedByPeer(refusal) = reason else {
            return Ok(());
        };
        let advice = match refusal {
            Refusal::Busy
            | Refusal::Protocol
            | Refusal::RepliesDiffer
            | Refusal::MachineVersion { .. } => return Ok(()),
            Refusal::NameTaken { .. } if clock::boot() < self.name_expected_until => return Ok(()),
            // The answer to a hello of whoever listens there, as in `misled`.
            Refusal::Version { .. }
            | Refusal::OtherCluster { .. }
            | Refusal::OtherMachine { .. }
                if self.is_accepted =>
            {
                if !std::mem::replace(&mut self.is_refusal_told, true) {
                    log::error!(
                        "the view service at {} turns this replica away: {refusal}; it goes on without one as long \
                         as it may: if the view service has lost its data directory, start it with --rebuild on an \
                         empty --data",
                        self.address()
                    );
                }
                return Ok(());
            }
            Refusal::Version { .. } => "run the same version of standin everywhere",
            Refusal::OtherCluster { .. } => {
                "its data directory belongs to another cluster: name that cluster's view service \
                 or another --data (a view service that has lost its data directory is started with --rebuild on \
                 an empty one)"
            }
            Refusal::OtherMachine { .. } => "run the same --machine everywhere",
            Refusal::NameTaken { .. } if self.replaces => {
                "a replica runs on it: stop that one first, and wait until 'standin status' no longer says that it is \
                 alive, or choose another --name"
            }
            Refusal::NameTaken { .. } => {
                "choose another --name, or, if that directory is lost for good, add --replace"
            }
            Refusal::TooManyReplicas => "run fewer replicas",
            Refusal::NamesTaken { .. } => {
                "if one of them is gone for good, take its place: start with its --name, on an empty \
                 --data, with --replace"
            }
            Refusal::Superseded => {
                "a newer process runs on the same data directory: let that one run"
            }
            Refusal::TokenDead => "its data directory says so from now on: start it again",
        };
        let address = self.address().to_owned();
        Err(ReplicaError::Refused {
            address,
            refusal: refusal.clone(),
            advice,
        })
    }
}
