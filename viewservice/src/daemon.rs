//! The view service as a process: sockets, clocks, signals and the disk around [`ViewService`].
//!
//! One thread and one loop. A store waits for the disk on that loop: it is rare, nothing may be said
//! before it is done, and if the disk is slow the core notices that the loop was late.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a shell: sockets, clocks and files are what it is for"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use standin_core::conn::ConnId;
use standin_core::identity::ClusterId;
use standin_core::message::{Hello, Party, Refusal};
use standin_core::time::{Duration, Now};
use standin_core::view::ViewRecord;
use standin_io::http::{HTTP_CONNECTIONS_MAX, HttpListener, HttpRequest, HttpResponse, HttpServer};
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits, ShareLimits};
use standin_io::questions::Asked;
use standin_io::signals::Signals;
use standin_io::{clock, entropy};

use crate::event::{Action, Answer, Event};
use crate::history::History;
use crate::lease::{LeaseTerm, LeaseTermError};
use crate::service::ViewService;
use crate::status::ServiceAccount;
use crate::store::{FileStore, StoreError};

/// Most connections of clients.
pub const CLIENT_CONNECTIONS_MAX: usize = 1024;
/// Most bytes from clients, all together, that wait to be looked at.
pub const CLIENT_INPUT_BYTES_MAX: usize = 8 << 20;
/// Most unsent bytes to all clients, and to all replicas.
pub const SHARE_OUTPUT_BYTES_MAX: usize = 32 << 20;
/// Most unsent bytes of one connection; one that needs more is closed as too slow.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Most bytes read from one connection per wake-up.
const READ_BYTES_PER_CONN: usize = 64 << 10;
/// Most frames handled of one connection per wake-up, so that none starves the others' renewals.
const FRAMES_PER_WAKE_UP: usize = 32;

/// Where a view service serves HTTP, and how it answers.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where to listen, `HOST:PORT`; port 0 means any.
    pub listen: String,
    /// The answer to a request. The function that it is given asks the event loop how it fares; `None` if that does not
    /// answer in time. Called by several threads at once.
    pub answer: fn(&HttpRequest, &dyn Fn() -> Option<ServiceAccount>) -> HttpResponse,
    /// How long the event loop may take to answer.
    pub patience: Duration,
}

/// Where a view service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For replicas and clients.
    pub address: SocketAddr,
    /// For HTTP.
    pub http: Option<SocketAddr>,
}

/// How a view service is to run.
pub struct DaemonConfig {
    /// Where to listen, `HOST:PORT`; port 0 means any.
    pub listen: String,
    /// The data directory.
    pub data: PathBuf,
    /// The lease term of views that begin from now on: [`crate::LEASE_TERM_MIN`] to
    /// [`crate::LEASE_TERM_MAX`], in whole milliseconds.
    pub lease: Duration,
    /// The record was lost: wait until an operator has it made again from what the replicas know. A data
    /// directory that has a record makes it needless.
    pub rebuild: bool,
    /// Whether HTTP is served, too.
    pub http: Option<HttpConfig>,
    /// Called once, with the addresses that are listened on, when connections are accepted.
    pub on_ready: Box<dyn FnOnce(Listening) + Send>,
}

impl fmt::Debug for DaemonConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaemonConfig")
            .field("listen", &self.listen)
            .field("data", &self.data)
            .field("lease", &self.lease)
            .field("rebuild", &self.rebuild)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

/// Why a view service does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The lease term is out of range.
    #[error(transparent)]
    Lease(#[from] LeaseTermError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address is none of this machine's, or is taken.
    #[error("cannot listen on {addr}: {source}; choose another {flag}")]
    Listen {
        /// The address.
        addr: String,
        /// What names it.
        flag: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system gives no event loop.
    #[error("cannot wait for connections: {0}")]
    Loop(#[source] io::Error),
}

/// Runs a view service until it is sent SIGTERM, SIGINT or SIGHUP.
///
/// Must be called while the process has no other threads that do not block these signals.
///
/// # Errors
/// [`DaemonError`] if it cannot start, or if the disk or the event loop fails. A view service whose
/// disk has failed says nothing more: what is on it is unknown.
pub fn run(config: DaemonConfig) -> Result<(), DaemonError> {
    let term = LeaseTerm::new(config.lease)?;
    // While signals still end the process: a name may take its time.
    let addrs = resolve(&config.listen, "--listen")?;
    let http = config.http.map(HttpServing::bind).transpose()?;
    let signals = Signals::block().map_err(DaemonError::Loop)?;
    let store = match config.rebuild {
        true => FileStore::open_unformatted(&config.data)?,
        false => FileStore::open(&config.data, ClusterId(entropy::u128()))?,
    };
    let defaults = NetLimits::default();
    let limits = NetLimits {
        clients: ShareLimits {
            connections_max: CLIENT_CONNECTIONS_MAX,
            input_bytes_max: CLIENT_INPUT_BYTES_MAX,
            output_bytes_max: SHARE_OUTPUT_BYTES_MAX,
        },
        replicas: ShareLimits {
            output_bytes_max: SHARE_OUTPUT_BYTES_MAX,
            ..defaults.replicas
        },
        output_bytes_max: OUTPUT_BYTES_MAX,
        output_bytes_high: OUTPUT_BYTES_MAX / 2,
        read_bytes_per_conn: READ_BYTES_PER_CONN,
        ..defaults
    };
    let mut net = Net::new(NetConfig {
        party: Party::ViewService,
        // Until it is known which one it was, replicas of any are heard.
        cluster: store.is_formatted().then_some(store.state().cluster),
        machine: None,
        limits: limits.within_descriptors().map_err(DaemonError::Loop)?,
    })
    .map_err(DaemonError::Loop)?;
    net.watch_signals(signals).map_err(DaemonError::Loop)?;
    let addr = first_of(addrs, |addr| net.listen(addr))
        .map_err(cannot_listen(&config.listen, "--listen"))?;
    let http = http.map(|http| http.begin(&net)).transpose()?;
    log_start(&store, addr);
    let (history, remark) = store.history();
    if let Some(remark) = &remark {
        log::warn!("{remark}");
    }
    let service = match store.is_formatted() {
        true => ViewService::new(store.state().clone(), term, clock::boot()),
        false => ViewService::rebuilding(term, clock::boot(), entropy::u64()),
    };
    if config.rebuild && store.is_formatted() {
        log::warn!(
            "--rebuild is needless: {} has a record; if that is an old copy, start on an empty --data",
            config.data.display()
        );
    }
    let service = service.with_history(history, remark);
    (config.on_ready)(Listening {
        address: addr,
        http: http.as_ref().map(|http| http.address),
    });
    Daemon {
        net,
        store,
        service,
        http,
        replicas: BTreeMap::new(),
        strangers: None,
        history: None,
        is_history_failed: false,
        is_room_lacking: false,
    }
    .run()
}

fn resolve(addr: &str, flag: &'static str) -> Result<Vec<SocketAddr>, DaemonError> {
    let resolved = addr.to_socket_addrs().map_err(cannot_listen(addr, flag))?;
    Ok(resolved.collect())
}

/// The first of a name's addresses that can be used.
fn first_of<T>(
    addrs: Vec<SocketAddr>,
    mut used: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for addr in addrs {
        match used(addr) {
            Ok(used) => return Ok(used),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn cannot_listen(addr: &str, flag: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    let addr = addr.to_owned();
    move |source| DaemonError::Listen { addr, flag, source }
}

/// A socket for HTTP, and how it is to be served.
struct HttpServing {
    config: HttpConfig,
    listener: HttpListener,
}

impl HttpServing {
    fn bind(config: HttpConfig) -> Result<Self, DaemonError> {
        let addrs = resolve(&config.listen, "--http")?;
        let bound = first_of(addrs, HttpListener::bind);
        let listener = bound.map_err(cannot_listen(&config.listen, "--http"))?;
        Ok(Self { config, listener })
    }

    fn begin(self, net: &Net) -> Result<Http, DaemonError> {
        let (asker, asked) = net.questions(HTTP_CONNECTIONS_MAX);
        let (answer, patience) = (self.config.answer, self.config.patience);
        let address = self.listener.address();
        let served = self
            .listener
            .serve(move |request| answer(request, &|| asker.ask(patience)));
        Ok(Http {
            address,
            asked,
            _server: served.map_err(DaemonError::Loop)?,
        })
    }
}

/// HTTP, as it is served.
struct Http {
    address: SocketAddr,
    asked: Asked<ServiceAccount>,
    _server: HttpServer,
}

/// The loop and all that it owns.
struct Daemon {
    net: Net,
    store: FileStore,
    service: ViewService,
    http: Option<Http>,
    /// Connections whose hello said that they are a replica's, and of which cluster.
    replicas: BTreeMap<ConnId, Option<ClusterId>>,
    /// A cluster whose replicas were turned away, as was said.
    strangers: Option<ClusterId>,
    /// What is to be kept of the views that there were, when all that is to be sent has left.
    history: Option<History>,
    /// The disk did not take it, as was said.
    is_history_failed: bool,
    /// There was no room for a state, as was said.
    is_room_lacking: bool,
}

impl Daemon {
    fn run(mut self) -> Result<(), DaemonError> {
        let mut events = Vec::new();
        loop {
            let polled = self.net.poll(self.service.deadline(), &mut events);
            let now = polled.map_err(DaemonError::Loop)?;
            for event in events.drain(..) {
                match event {
                    NetEvent::Input { conn } => self.on_input(now, conn)?,
                    NetEvent::Closed { conn, reason } => {
                        log::debug!("{conn}: {reason}");
                        self.replicas.remove(&conn);
                        self.handle(now, Event::Closed { conn })?;
                    }
                    NetEvent::Signal(signal) => {
                        log::info!("stopping on signal {signal}");
                        return Ok(());
                    }
                    NetEvent::Ready { conn, hello, .. } => self.on_ready(conn, &hello),
                    NetEvent::Woken => {
                        if let Some(http) = &self.http {
                            http.asked.answer(|| self.service.account(now.boot));
                        }
                    }
                }
            }
            self.look_for_strangers(now)?;
            // After the input, so that a renewal that has arrived counts before silence does.
            if self.service.deadline().is_some_and(|due| due <= now.boot) {
                self.handle(now, Event::Deadline)?;
            }
            self.net.flush();
            self.keep_history();
        }
    }

    /// After everything else: nobody waits for it, and a takeover must not.
    fn keep_history(&mut self) {
        let Some(history) = self.history.take() else {
            return;
        };
        if let Err(error) = self.store.keep_history(&history)
            && !std::mem::replace(&mut self.is_history_failed, true)
        {
            log::warn!(
                "the history of views cannot be kept: {error}; what is not kept is forgotten with this \
                 process, and nothing else depends on it"
            );
        }
    }

    /// Replicas of another cluster knock: if this directory was made in place of one that was lost, somebody
    /// should be told.
    fn look_for_strangers(&mut self, now: Now) -> Result<(), DaemonError> {
        let Some(cluster) = self.net.take_stranger() else {
            return Ok(());
        };
        let before = self.strangers.replace(cluster);
        if before == Some(cluster) {
            return Ok(());
        }
        // Once: strangers may call themselves of a new cluster each time.
        if before.is_none() {
            log::warn!(
                "a replica of cluster {cluster} was turned away, for this is the view service of cluster {}: if its \
                 data directory was lost, start it with --rebuild on an empty --data",
                self.store.state().cluster
            );
        }
        self.handle(now, Event::Stranger { cluster })
    }

    /// The record is there again, and with it the cluster: whoever belongs to none yet, or to another one, has
    /// to introduce itself anew.
    fn begin_cluster(&mut self, cluster: ClusterId) {
        self.net.set_cluster(cluster);
        let others = self.replicas.iter().filter(|(_, of)| **of != Some(cluster));
        let others: Vec<ConnId> = others.map(|(conn, _)| *conn).collect();
        for conn in others {
            self.net.close(conn);
        }
    }

    fn on_ready(&mut self, conn: ConnId, hello: &Hello) {
        match hello.party {
            Party::Client => {}
            Party::Replica => _ = self.replicas.insert(conn, hello.cluster),
            Party::ViewService => self.net.refuse(conn, Refusal::Protocol),
        }
    }

    /// Hands the frames of a connection to the core, up to a bound; the rest come with the next
    /// wake-up.
    fn on_input(&mut self, now: Now, conn: ConnId) -> Result<(), DaemonError> {
        let is_replica = self.replicas.contains_key(&conn);
        for _ in 0..FRAMES_PER_WAKE_UP {
            // One by one: of a connection that is refused meanwhile there is no more.
            let Some(frame) = self.net.frames(conn).next() else {
                break;
            };
            let bytes = frame.len();
            let event = Event::from_frame(conn, is_replica, &frame);
            self.net.consume(conn, bytes);
            match event {
                Ok(event) => self.handle(now, event)?,
                Err(error) => {
                    // The event loop warns of every refusal, within bounds.
                    log::debug!("{conn} ({}): {error}", self.peer(conn));
                    self.net.refuse(conn, Refusal::Protocol);
                }
            }
        }
        Ok(())
    }

    /// Hands in an event, and those that carrying out its actions brings about.
    fn handle(&mut self, now: Now, event: Event) -> Result<(), DaemonError> {
        let mut next = Some((now, event));
        while let Some((now, event)) = next.take() {
            self.service.handle(now, event);
            while let Some(action) = self.service.next_action() {
                match action {
                    Action::Send { conn, answer } => self.send(conn, &answer),
                    Action::Refuse { conn, refusal } => {
                        self.net.refuse(conn, refusal);
                    }
                    Action::KeepHistory { history } => self.history = Some(history),
                    Action::Store { state } => {
                        let before = self.store.state().record.clone();
                        let was_formatted = self.store.is_formatted();
                        let stored = self.store.store(&state);
                        // The disk took its time: what is granted now counts from now.
                        next = Some((clock::read(), self.outcome(stored)?));
                        if !was_formatted && self.store.is_formatted() {
                            self.begin_cluster(state.cluster);
                        }
                        log_change(before.as_ref(), self.store.state().record.as_ref());
                    }
                }
            }
        }
        Ok(())
    }

    /// What came of a store. A want of room is said once, and its end.
    fn outcome(&mut self, stored: Result<(), StoreError>) -> Result<Event, DaemonError> {
        let Err(error) = stored else {
            if std::mem::take(&mut self.is_room_lacking) {
                log::info!("there is room for the record again");
            }
            return Ok(Event::Stored);
        };
        let StoreError::NoRoom { source, .. } = &error else {
            return Err(error.into());
        };
        let why = source.to_string();
        if !std::mem::replace(&mut self.is_room_lacking, true) {
            log::error!("{error}; until then nobody can take over, join or be dropped");
        }
        Ok(Event::NotStored { why })
    }

    /// Whoever is gone or does not read gets nothing; that its connection ended is reported by the
    /// next poll.
    fn send(&mut self, conn: ConnId, answer: &Answer) {
        self.net.send(conn, |out| answer.encode(out));
    }

    fn peer(&self, conn: ConnId) -> String {
        match self.net.peer_addr(conn) {
            Some(addr) => addr.to_string(),
            None => "gone".to_owned(),
        }
    }
}

fn log_start(store: &FileStore, addr: SocketAddr) {
    let state = store.state();
    if !store.is_formatted() {
        log::warn!(
            "on {addr}, without a view record: `standin recover --rebuild NAMES` makes it again, once all replicas \
             are heard"
        );
        return;
    }
    log::info!("cluster {} on {addr}", state.cluster);
    if let Some(record) = &state.record {
        log::info!("{}", describe(record));
    }
}

fn log_change(before: Option<&ViewRecord>, after: Option<&ViewRecord>) {
    if let Some(record) = after.filter(|_| before != after) {
        log::info!("{}", describe(record));
    }
}

/// A record in one line, for people.
fn describe(record: &ViewRecord) -> String {
    let backup = record.backup.as_ref();
    format!(
        "view {}: {} {}, backup {} ({})",
        record.id(),
        if record.active {
            "primary"
        } else {
            "candidate"
        },
        record.primary.name,
        backup.map_or("none", |backup| backup.name.as_str()),
        record.reason.words()
    )
}
