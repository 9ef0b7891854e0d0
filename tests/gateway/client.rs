//! A client that speaks RESP over one TCP connection, and a gateway as a process.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_resp::reply::Reply;
use standin_tools::cluster::{PARENT_VARIABLE, VIEW_SERVICE};

use crate::support::cli::STANDIN;
use crate::support::scene::Scene;
use crate::support::{PATIENCE, sure};

/// A gateway; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: String,
}

impl Gateway {
    /// Starts one, and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn start(scene: &Scene) -> Self {
        let view_service = sure(scene.address(VIEW_SERVICE)).to_owned();
        Self::start_with(&view_service, &[])
    }

    #[track_caller]
    pub(crate) fn start_with(view_service: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(STANDIN);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("STANDIN_") {
                command.env_remove(variable);
            }
        }
        command.args(["gateway", "--listen", "127.0.0.1:0", "--viewservice"]);
        command.arg(view_service);
        command.env(PARENT_VARIABLE, std::process::id().to_string());
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = sure(command.spawn());
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        sure(BufReader::new(stdout).read_line(&mut line));
        let address = line.trim().strip_prefix("ready gateway ");
        let address = address.unwrap_or_else(|| panic!("the gateway says: {line:?}"));
        let address = address.to_owned();
        Self { child, address }
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> RespClient {
        RespClient::connect(&self.address)
    }

    /// Tells it to stop.
    #[track_caller]
    pub(crate) fn terminate(&self) {
        sure(kill(self.pid(), Signal::SIGTERM));
    }

    /// Waits for its end, and returns the exit status.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> i32 {
        let status = sure(self.child.wait());
        status
            .code()
            .unwrap_or_else(|| panic!("it ended by signal {:?}", status.signal()))
    }

    /// The most memory that it has had at once, in bytes.
    #[track_caller]
    pub(crate) fn memory_peak(&self) -> u64 {
        let status = sure(std::fs::read_to_string(format!(
            "/proc/{}/status",
            self.pid()
        )));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let words = line.map(str::split_whitespace);
        let kib = words.and_then(|mut words| words.next()?.parse::<u64>().ok());
        kib.expect("the kernel tells it") * 1024
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process number"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client on one connection. It never connects again: what it can't do on that fails the test.
#[derive(Debug)]
pub(crate) struct RespClient {
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
}

impl RespClient {
    #[track_caller]
    pub(crate) fn connect(address: &str) -> Self {
        let stream = sure(TcpStream::connect(address));
        sure(stream.set_nodelay(true));
        sure(stream.set_read_timeout(Some(PATIENCE)));
        Self {
            stream,
            input: Vec::new(),
            at: 0,
        }
    }

    /// A second handle, to write with while this one reads.
    #[track_caller]
    pub(crate) fn writer(&self) -> TcpStream {
        sure(self.stream.try_clone())
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        sure(self.stream.write_all(bytes));
    }

    /// Asks, and returns the answer, which is no error.
    #[track_caller]
    pub(crate) fn call<T: AsRef<[u8]>>(&mut self, request: &[T]) -> Reply {
        let mut bytes = Vec::new();
        put(&mut bytes, request);
        self.send(&bytes);
        let reply = self.reply();
        assert!(!reply.is_error(), "{reply:?}");
        reply
    }

    #[track_caller]
    pub(crate) fn integer<T: AsRef<[u8]>>(&mut self, request: &[T]) -> i64 {
        match self.call(request) {
            Reply::Integer(value) => value,
            other => panic!("no integer: {other:?}"),
        }
    }

    /// The next reply.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_or_end().expect("the connection stays open")
    }

    /// The next reply, or `None` if the connection ends where one would begin.
    #[track_caller]
    pub(crate) fn reply_or_end(&mut self) -> Option<Reply> {
        loop {
            if let Some((reply, length)) = sure(Reply::parse(&self.input[self.at..])) {
                self.at += length;
                return Some(reply);
            }
            self.input.drain(..self.at);
            self.at = 0;
            let mut piece = [0; 65_536];
            let length = sure(self.stream.read(&mut piece));
            if length == 0 {
                assert!(
                    self.input.is_empty(),
                    "it ends within a reply: {:?}",
                    self.input
                );
                return None;
            }
            self.input.extend_from_slice(&piece[..length]);
        }
    }
}

/// Appends a request.
pub(crate) fn put<T: AsRef<[u8]>>(out: &mut Vec<u8>, request: &[T]) {
    out.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
    for argument in request {
        let argument = argument.as_ref();
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes until nobody has read anything for this long, or until all is written; says how much was.
#[track_caller]
pub(crate) fn write_until_stuck(stream: &mut TcpStream, bytes: &[u8], patience: Duration) -> usize {
    sure(stream.set_write_timeout(Some(patience)));
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(length) => written += length,
            Err(error) if is_timeout(&error) => break,
            Err(error) => fail(error),
        }
    }
    sure(stream.set_write_timeout(None));
    written
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

#[track_caller]
fn fail(error: impl Display) -> ! {
    panic!("{error}")
}
