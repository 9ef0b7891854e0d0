//! A real redis-server to compare with: on a socket in a directory of its own, and ended with the test.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use standin_resp::reply::ReplyScanner;
use tempfile::TempDir;

/// How long anything may take before the test fails: generous, since nothing is judged by it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before looking again.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// A redis-server that ends when this is dropped.
pub(crate) struct Redis {
    process: Child,
    dir: TempDir,
}

impl Redis {
    /// Starts one with these further options, or says in one line that there is none to compare with.
    pub(crate) fn start(test: &str, options: &[&str]) -> Option<Redis> {
        let dir = TempDir::new().expect("a directory");
        let spawned = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "socket"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(dir.path())
            .args(options)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        match spawned {
            Ok(process) => {
                let mut redis = Redis { process, dir };
                redis.wait();
                Some(redis)
            }
            Err(error) => {
                eprintln!("{test}: skipped, for redis-server cannot be started here: {error}");
                None
            }
        }
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
