//! HTTP beside the event loop: what asks it how the replica fares.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standin_client::ViewServices;
use standin_core::message::StatusReply;
use standin_core::time::{Duration, Instant};
use standin_io::clock;
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

/// How long what the view service has said is told to others who ask.
const STATUS_AGE_MAX: Duration = Duration::from_millis(500);

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    /// The event loop answers.
    Running,
    /// It cannot go on, and stays as long as somebody has to be told of it.
    Ending,
}

/// A socket for HTTP; nobody is answered yet.
#[derive(Debug)]
pub(super) struct HttpSocket(HttpListener);

/// HTTP, as it is served.
#[derive(Debug)]
pub(super) struct Http {
    address: SocketAddr,
    asked: Asked<Box<Account>>,
    phase: Arc<Mutex<Phase>>,
    _server: HttpServer,
}

/// The view service, asked for everybody who asks this replica about it: by one at a time.
#[derive(Debug)]
struct Cluster {
    viewservices: ViewServices,
    /// What came of it last, and when.
    last: Mutex<Option<(Instant, Told)>>,
}

/// The status, or why there is none.
type Told = Result<StatusReply, String>;

impl Cluster {
    fn ask(&self) -> Told {
        // Whoever waits here is told what the one before came to know.
        let mut last = lock(&self.last);
        if let Some((at, told)) = &*last
            && clock::boot().since(*at) <= STATUS_AGE_MAX
        {
            return told.clone();
        }
        let asked = standin_client::status(&self.viewservices, STATUS_PATIENCE);
        let told = asked.map_err(|error| error.to_string());
        *last = Some((clock::boot(), told.clone()));
        told
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics while holding it; were it so, what is in it would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpSocket {
    /// Listens.
    pub(super) fn bind(listen: &str) -> Result<Self, ReplicaError> {
        let bound = HttpListener::bind(resolve(listen, "--http")?);
        bound.map(Self).map_err(cannot_listen(listen, "--http"))
    }

    /// Serves HTTP from now on. Until [`Http::answers`] it says that the replica is starting.
    pub(super) fn serve(self, net: &Net, viewservices: ViewServices) -> Result<Http, ReplicaError> {
        let address = self.0.address();
        let (asker, asked) = net.questions(HTTP_CONNECTIONS_MAX);
        let phase = Arc::new(Mutex::new(Phase::Starting));
        let now = Arc::clone(&phase);
        let cluster = Cluster {
            viewservices,
            last: Mutex::new(None),
        };
        let served = self.0.serve(move |request| {
            let moment = || match *lock(&now) {
                Phase::Starting => Moment::Starting,
                Phase::Ending => Moment::Ending,
                Phase::Running => Moment::Running,
            };
            let account = || asker.ask(LOOP_PATIENCE);
            answer(request, moment(), account, || cluster.ask())
        });
        Ok(Http {
            address,
            asked,
            phase,
            _server: served.map_err(ReplicaError::io("serving HTTP"))?,
        })
    }
}

impl Http {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The event loop answers from now on.
    pub(super) fn answers(&self) {
        *lock(&self.phase) = Phase::Running;
    }

    /// The event loop does not answer any more.
    pub(super) fn ends(&self) {
        *lock(&self.phase) = Phase::Ending;
    }

    /// Tells whoever waits for it.
    pub(super) fn tell(&self, account: impl Fn() -> Account) {
        self.asked.answer(|| Box::new(account()));
    }
}
