//! A small HTTP/1.1 server for probes, load balancers and what collects metrics.
//!
//! A thread of its own accepts, and each connection has one: they are few, each asks one thing, and none of them is ever
//! in the way of the event loop. One request is answered per connection.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::thread::JoinHandle;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use standin_core::time::{Duration, Instant};

use crate::clock;
use crate::desk::Desk;

/// Most connections at a time. For one more that one is closed which has kept the server waiting for its request the longest.
pub const HTTP_CONNECTIONS_MAX: usize = 32;
/// Most sockets: of those connections, and of others that were closed a moment ago.
pub const HTTP_SOCKETS_MAX: usize = 2 * HTTP_CONNECTIONS_MAX;
/// Longest head of a request, in bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 << 10;
/// Most header fields of a request.
const FIELDS_MAX: usize = 64;
/// How long a request may take to come, from the beginning of its connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// How long one connection may take, from its beginning to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after a failure to accept that is tried again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a client is listened to after its answer, so that what it still sends does not break the answer off.
const LINGER: Duration = Duration::from_millis(500);

const LISTENER: Token = Token(0);
const STOP: Token = Token(1);

/// What is asked: always by GET or HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    path: String,
    query: String,
}

impl HttpRequest {
    /// The request for a target: a path, and perhaps a query after a question mark.
    #[must_use]
    pub fn to(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            path: path.to_owned(),
            query: query.to_owned(),
        }
    }

    /// The path, as it was sent.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a query's parameter, as it was sent; the empty string for one without.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (key == name).then_some(value)
        })
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl HttpResponse {
    /// Plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::of(status, "text/plain; charset=utf-8", body.into())
    }

    /// A body of some type.
    #[must_use]
    pub fn of(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type,
            body: body.into(),
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn encode(&self, has_body: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "",
        };
        let allow = match self.status {
            405 => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{allow}\
             Connection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        );
        let mut bytes = head.into_bytes();
        if has_body {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// A socket that is listened on; nobody is answered yet.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpListener {
    /// Listens.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on, until what this returns is dropped. `answer` is called by several threads at once.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn serve(
        self,
        answer: impl Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static,
    ) -> io::Result<HttpServer> {
        let poll = Poll::new()?;
        let stop = Arc::new(Waker::new(poll.registry(), STOP)?);
        let fd = self.listener.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), LISTENER, Interest::READABLE)?;
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || accept(&self.listener, poll, &Arc::new(answer)))?;
        Ok(HttpServer {
            stop,
            thread: Some(thread),
        })
    }
}

/// Answers as long as it is there. Dropping it closes the listening socket; answers that have begun end by themselves.
pub struct HttpServer {
    stop: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").finish_non_exhaustive()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // A thread that cannot be woken is left behind: it does no harm.
        if self.stop.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

type Answer = dyn Fn(&HttpRequest) -> HttpResponse + Send + Sync;

fn accept<A>(listener: &TcpListener, mut poll: Poll, answer: &Arc<A>)
where
    A: Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static,
{
    let open = Arc::new(Desk::<Open>::default());
    let mut events = Events::with_capacity(2);
    let mut timeout = None;
    loop {
        match poll.poll(&mut events, timeout.take()) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                log::error!("HTTP is not served any more: waiting for connections failed: {error}");
                return;
            }
            _ => {}
        }
        if events.iter().any(|event| event.token() == STOP) {
            return;
        }
        loop {
            match listener.accept() {
                Ok((stream, _)) => begin(stream, &open, answer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    log::debug!("an HTTP connection was not accepted: {error}");
                    timeout = Some(ACCEPT_RETRY);
                    break;
                }
            }
        }
    }
}

/// The connections that are open.
#[derive(Debug, Default)]
struct Open {
    count: usize,
    begun: u64,
    /// Those whose request has not come yet, the oldest first.
    waiting: BTreeMap<u64, Arc<TcpStream>>,
}

impl Open {
    /// Makes room for one more; false: there is none.
    fn make_room(&mut self) -> bool {
        if self.count >= HTTP_CONNECTIONS_MAX {
            let Some((_, oldest)) = self.waiting.pop_first() else {
                return false;
            };
            // Its thread reads the end then. It fails only if that has come already.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        self.count < HTTP_SOCKETS_MAX
    }

    fn begin(&mut self, stream: &Arc<TcpStream>) -> u64 {
        self.count += 1;
        self.begun += 1;
        self.waiting.insert(self.begun, Arc::clone(stream));
        self.begun
    }
}

/// A connection, counted as long as it is open.
struct Counted {
    open: Arc<Desk<Open>>,
    number: u64,
    stream: Arc<TcpStream>,
}

impl Counted {
    /// Its request has come: it is not in anybody's way any more.
    fn asked(&self) {
        self.open.lock().waiting.remove(&self.number);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        open.waiting.remove(&self.number);
        open.count -= 1;
    }
}

fn begin<A>(stream: TcpStream, open: &Arc<Desk<Open>>, answer: &Arc<A>)
where
    A: Fn(&HttpRequest) -> HttpResponse + Send + Sync + 'static,
{
    let stream = Arc::new(stream);
    let number = {
        let mut open = open.lock();
        if !open.make_room() {
            log::debug!("an HTTP connection was closed: there are {HTTP_CONNECTIONS_MAX}");
            return;
        }
        open.begin(&stream)
    };
    let counted = Counted {
        open: Arc::clone(open),
        number,
        stream,
    };
    let answer = Arc::clone(answer);
    let spawned = std::thread::Builder::new()
        .name("http-connection".to_owned())
        .spawn(move || {
            if let Err(error) = converse(&counted, &*answer) {
                log::debug!("an HTTP connection ended early: {error}");
            }
        });
    if let Err(error) = spawned {
        log::debug!("an HTTP connection was closed: {error}");
    }
}

/// Reads one request, answers it, and lets the client read that.
fn converse(connection: &Counted, answer: &Answer) -> io::Result<()> {
    let mut stream = &*connection.stream;
    let begun = clock::boot();
    stream.set_nonblocking(false)?;
    let Some(head) = read_head(stream, begun.plus(HEAD_PATIENCE))? else {
        return Ok(());
    };
    connection.asked();
    let (response, has_body) = match head {
        Ok((request, has_body)) => (answer(&request), has_body),
        Err(refusal) => (refusal, true),
    };
    stream.set_write_timeout(Some(left(begun.plus(PATIENCE))?))?;
    stream.write_all(&response.encode(has_body))?;
    stream.shutdown(Shutdown::Write)?;
    // What has come and is not read would break the answer off when the socket is closed.
    let until = clock::boot().plus(LINGER);
    let mut rest = [0; 1 << 10];
    while let Ok(left) = left(until) {
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut rest) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.since(clock::boot());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// The request and whether the answer is to have a body, or a refusal; `None` if the client hung up.
type Head = Option<Result<(HttpRequest, bool), HttpResponse>>;

fn read_head(mut stream: &TcpStream, until: Instant) -> io::Result<Head> {
    let mut head = Vec::new();
    let mut piece = [0; 1 << 10];
    loop {
        stream.set_read_timeout(Some(left(until)?))?;
        let got = match stream.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        head.extend_from_slice(&piece[..got]);
        if let Some(parsed) = parse(&head) {
            return Ok(Some(parsed));
        }
        if head.len() >= HTTP_HEAD_BYTES_MAX {
            return Ok(Some(Err(too_large())));
        }
    }
}

fn too_large() -> HttpResponse {
    let most = format!(
        "a request's head has at most {HTTP_HEAD_BYTES_MAX} bytes and {FIELDS_MAX} fields\n"
    );
    HttpResponse::text(431, most)
}

/// What the head of a request asks for; `None` if it is not there as a whole yet.
fn parse(head: &[u8]) -> Option<Result<(HttpRequest, bool), HttpResponse>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Some(Err(too_large())),
        Err(error) => {
            let why = format!("this is no HTTP request: {error}\n");
            return Some(Err(HttpResponse::text(400, why)));
        }
    }
    let request_to = HttpRequest::to(request.path.unwrap_or_default());
    Some(match request.method {
        Some("GET") => Ok((request_to, true)),
        Some("HEAD") => Ok((request_to, false)),
        _ => Err(HttpResponse::text(405, "use GET or HEAD\n")),
    })
}
