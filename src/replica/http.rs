//! HTTP beside the event loop: what asks it how the replica fares.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use standin_client::ViewServices;
use standin_core::time::Duration;
use standin_io::http::{HTTP_CONNECTIONS_MAX, HttpListener, HttpServer};
use standin_io::net::Net;
use standin_io::questions::Asked;
use standin_replica::Account;

use super::ReplicaError;
use super::start::{cannot_listen, resolve};
use crate::http::LOOP_PATIENCE;
use crate::http::replica::{Moment, answer};

/// How long the view service may take to say how everybody is.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// HTTP, as it is served.
#[derive(Debug)]
pub(super) struct Http {
    address: SocketAddr,
    asked: Asked<Box<Account>>,
    /// The event loop runs, and answers.
    is_running: Arc<AtomicBool>,
    _server: HttpServer,
}

impl Http {
    /// Serves HTTP from now on. Until [`Http::answers`] it says that the replica is starting.
    pub(super) fn begin(
        listen: &str,
        net: &Net,
        viewservices: ViewServices,
    ) -> Result<Self, ReplicaError> {
        let bound = HttpListener::bind(resolve(listen, "--http")?);
        let listener = bound.map_err(cannot_listen(listen, "--http"))?;
        let address = listener.address();
        let (asker, asked) = net.questions(HTTP_CONNECTIONS_MAX);
        let is_running = Arc::new(AtomicBool::new(false));
        let runs = Arc::clone(&is_running);
        let served = listener.serve(move |request| {
            let moment = || match runs.load(Ordering::Acquire) {
                false => Moment::Starting,
                true => asker
                    .ask(LOOP_PATIENCE)
                    .map_or(Moment::Stuck, Moment::Running),
            };
            let cluster = || standin_client::status(&viewservices, STATUS_PATIENCE);
            answer(request, moment, cluster)
        });
        Ok(Self {
            address,
            asked,
            is_running,
            _server: served.map_err(ReplicaError::io("serving HTTP"))?,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The event loop runs from now on.
    pub(super) fn answers(&self) {
        self.is_running.store(true, Ordering::Release);
    }

    /// Tells whoever waits for it.
    pub(super) fn tell(&self, account: impl Fn() -> Account) {
        self.asked.answer(|| Box::new(account()));
    }
}
