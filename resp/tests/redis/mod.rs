//! A real redis-server to compare with: in a directory of its own, on a socket there, and ended with the test.
//!
//! A socket in a directory rather than a port: nobody else can have taken it, whatever runs beside. Tests of other
//! crates include this file by its path. A test that needs a Redis fails without one, unless the variable
//! `STANDIN_WITHOUT_REDIS` says that it may be done without.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use standin_resp::Version;
use standin_resp::reply::ReplyScanner;
use standin_resp::writer::ReplyWriter;
use tempfile::TempDir;

/// How long anything may take before the test fails: generous, since nothing is judged by it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before looking again.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// The variable that says that there need be no redis-server.
const WITHOUT: &str = "STANDIN_WITHOUT_REDIS";

/// A redis-server that ends when this is dropped.
pub(crate) struct Redis {
    process: Child,
    dir: TempDir,
}

impl Redis {
    /// Starts one with these further options; `None` where the environment says that there need be none.
    pub(crate) fn start(test: &str, options: &[&str]) -> Option<Redis> {
        if std::env::var_os(WITHOUT).is_some() {
            eprintln!("{test}: not compared with a redis-server, as {WITHOUT} demands");
            return None;
        }
        let version = Command::new("redis-server").arg("--version").output();
        let version = version.unwrap_or_else(|error| {
            panic!(
                "{test}: redis-server cannot be started ({error}): install Redis 7 (`apt-get install redis-server`), \
                 or set {WITHOUT} to do without the comparison"
            )
        });
        assert!(
            version.stdout.starts_with(b"Redis server v=7."),
            "{test}: the redis-server on the path is no Redis 7: {}",
            version.stdout.escape_ascii()
        );
        let dir = TempDir::new().expect("a directory");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "socket"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(dir.path())
            .args(options)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it could be started a moment ago");
        let mut redis = Redis { process, dir };
        redis.wait();
        Some(redis)
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while self.connect().is_err() {
            let ended = self.process.try_wait().expect("a child");
            assert_eq!(ended, None, "redis-server ended");
            assert!(start.elapsed() < PATIENCE, "redis-server does not answer");
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.dir.path().join("socket"))
    }

    /// A connection of its own, whose reads fail rather than wait for ever.
    pub(crate) fn stream(&self) -> UnixStream {
        let stream = self.connect().expect("it is up");
        let patience = Some(PATIENCE);
        stream.set_read_timeout(patience).expect("it can be set");
        stream
    }

    /// A connection on which one thing is said after the other.
    pub(crate) fn talk(&self) -> Talk {
        Talk {
            stream: self.stream(),
            ahead: Vec::new(),
        }
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("socket")
    }

    /// All that the server says to these bytes on a connection of their own, when nothing follows.
    pub(crate) fn says(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        send(&mut stream, bytes);
        // A server that closed it already is not there to be told.
        let _ = stream.shutdown(Shutdown::Write);
        read_to_end(&mut stream)
    }

    /// All that the server says to these bytes before it closes the connection by itself, which it
    /// has to do.
    pub(crate) fn says_and_closes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        send(&mut stream, bytes);
        read_to_end(&mut stream)
    }
}

/// A connection on which one thing is said after the other.
pub(crate) struct Talk {
    stream: UnixStream,
    /// What came behind the reply that was returned last.
    ahead: Vec<u8>,
}

impl Talk {
    /// Says something that gets one reply, and returns that reply's bytes; `None` if the server closes
    /// the connection instead.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        send(&mut self.stream, bytes);
        let mut scanner = ReplyScanner::new();
        let mut piece = [0; 1 << 16];
        loop {
            if let Some(len) = scanner.scan(&self.ahead).expect("well formed") {
                return Some(self.ahead.drain(..len).collect());
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.ahead.extend_from_slice(&piece[..count]),
                Err(error) => {
                    assert!(
                        is_gone(error.kind()),
                        "{error}, after {}",
                        bytes.escape_ascii()
                    );
                    return None;
                }
            }
        }
    }

    /// Says what gets so many replies, all at once, and returns the bytes of each. The server takes all of it and
    /// keeps what it answers, so that neither waits for the other.
    pub(crate) fn say_many(&mut self, bytes: &[u8], count: usize) -> Vec<Vec<u8>> {
        assert!(self.ahead.is_empty(), "a reply was not taken");
        send(&mut self.stream, bytes);
        let mut piece = vec![0; 1 << 16];
        let (mut scanner, mut at) = (ReplyScanner::new(), 0);
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            if let Some(len) = scanner.scan(&self.ahead[at..]).expect("well formed") {
                replies.push(self.ahead[at..at + len].to_vec());
                (scanner, at) = (ReplyScanner::new(), at + len);
                continue;
            }
            let read = self.stream.read(&mut piece).expect("the server answers");
            assert_ne!(read, 0, "the server has closed the connection");
            self.ahead.extend_from_slice(&piece[..read]);
        }
        assert_eq!(at, self.ahead.len(), "more replies than requests");
        self.ahead.clear();
        replies
    }

    /// Asks one request, and returns the bytes of its reply.
    pub(crate) fn ask(&mut self, request: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_request(&mut bytes, request);
        self.say(&bytes).expect("the server answers")
    }

    /// Whether the server closes the connection by itself, which has to be known by now or soon.
    pub(crate) fn is_closed(&mut self) -> bool {
        read_to_end(&mut self.stream).is_empty() && self.ahead.is_empty()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Appends a request as clients send it.
pub(crate) fn put_request(out: &mut Vec<u8>, request: &[Vec<u8>]) {
    let mut writer = ReplyWriter::new(out, Version::Resp2);
    writer.array(request.len());
    request.iter().for_each(|argument| writer.bulk(argument));
}

/// Writes, unless the server closes the connection before it has read everything.
fn send(stream: &mut UnixStream, bytes: &[u8]) {
    match stream.write_all(bytes) {
        Ok(()) => {}
        Err(error) => assert!(is_gone(error.kind()), "{error}"),
    }
}

fn read_to_end(stream: &mut UnixStream) -> Vec<u8> {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        // It closed without having read everything.
        Err(error) => assert!(
            is_gone(error.kind()),
            "{error}, after {}",
            said.escape_ascii()
        ),
    }
    said
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}
