//! One process of a cluster, through all its lives.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{self, Signal};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};
use nix::unistd::Pid;

use super::{ClusterError, PARENT_VARIABLE, Placement, family};

/// How much of the end of a log is quoted in an error, in bytes.
const LAST_WORDS_BYTES: u64 = 600;

/// What a process is started with, each time.
#[derive(Clone, Debug)]
pub(super) struct ProcessConfig {
    pub(super) name: String,
    pub(super) program: PathBuf,
    /// All but the address and the data directory.
    pub(super) arguments: Vec<String>,
    pub(super) placement: Placement,
    /// Whether it serves clients that speak RESP.
    pub(super) serves_resp: bool,
    /// Whether it serves HTTP.
    pub(super) serves_http: bool,
    /// The cluster's directory.
    pub(super) directory: PathBuf,
}

/// One process of a cluster: its present life, if any, and what stays the same in all of them.
#[derive(Debug)]
pub(super) struct Process {
    config: ProcessConfig,
    /// The present or the last life; not reaped as long as `ended` is `None`.
    child: Option<Child>,
    ended: Option<ExitStatus>,
    /// Children of it that were killed, and may still be on their way out.
    dying: Vec<u32>,
    /// Whether it was killed or asked to stop, so that its end is no surprise.
    may_end: bool,
    is_ready: bool,
    /// Known from the first `ready` line on.
    address: Option<String>,
    /// Where it serves clients that speak RESP, if it does; known from then on, too.
    resp_address: Option<String>,
    /// Where it serves HTTP, if it does; known from then on, too.
    http_address: Option<String>,
    /// Kept for those three, in this order, where it runs beside its owner.
    ports: Vec<ReservedPort>,
}

/// A port that is kept for one process through all its lives: while it is down nobody else is given it. The socket is bound
/// and does not listen, so that whoever else allows it (SO_REUSEADDR, as listening sockets do) may bind and listen there.
#[derive(Debug)]
struct ReservedPort {
    address: String,
    _socket: OwnedFd,
}

impl ReservedPort {
    fn new() -> io::Result<Self> {
        let socket = socket::socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        socket::bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
        let bound: SockaddrIn = socket::getsockname(socket.as_raw_fd())?;
        Ok(Self {
            address: SocketAddrV4::from(bound).to_string(),
            _socket: socket,
        })
    }
}

impl Process {
    pub(super) fn new(config: ProcessConfig) -> Self {
        Self {
            config,
            child: None,
            ended: None,
            dying: Vec::new(),
            may_end: false,
            is_ready: false,
            address: None,
            resp_address: None,
            http_address: None,
            ports: Vec::new(),
        }
    }

    pub(super) fn add_argument(&mut self, argument: &str) {
        self.config.arguments.push(argument.to_owned());
    }

    pub(super) fn set_program(&mut self, program: &Path) {
        program.clone_into(&mut self.config.program);
    }

    pub(super) fn spawn(&mut self, more: &[&str]) -> Result<(), ClusterError> {
        if self.is_running()? {
            return Err(ClusterError::Running {
                name: self.config.name.clone(),
            });
        }
        // Files and no pipes: nobody has to read them for the process to go on.
        let output = self.open(
            &self.output_path(),
            OpenOptions::new().write(true).truncate(true),
        )?;
        let log_path = log_path(&self.config.directory, &self.config.name);
        let log = self.open(&log_path, OpenOptions::new().append(true))?;
        let mut command = self.command();
        if self.ports.is_empty() && self.config.placement.is_beside_owner() {
            let ports = (0..3).map(|_| ReservedPort::new());
            let ports = ports.collect::<io::Result<_>>();
            self.ports = ports.map_err(|source| self.failed("find a port for", source))?;
        }
        let listen_first = self.config.placement.listen_first();
        let address = |known: &'_ Option<String>, at: usize| {
            let reserved = self.ports.get(at).map(|port| port.address.clone());
            let first = reserved.unwrap_or_else(|| listen_first.to_owned());
            known.clone().unwrap_or(first)
        };
        let listen = address(&self.address, 0);
        let serves = |is_it: bool, flag: &str, known, at| {
            is_it.then(|| [flag.to_owned(), address(known, at)])
        };
        let resp = serves(self.config.serves_resp, "--resp", &self.resp_address, 1);
        let http = serves(self.config.serves_http, "--http", &self.http_address, 2);
        // The flags given here are to hold, whatever the environment says.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("STANDIN_") {
                command.env_remove(variable);
            }
        }
        command
            .args(&self.config.arguments)
            .args(more)
            .args(["--listen", &listen])
            .args(resp.into_iter().chain(http).flatten())
            .arg("--data")
            .arg(self.config.directory.join(&self.config.name))
            .env(PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(log)
            // An interrupt from the terminal is for the owner of the cluster alone.
            .process_group(0);
        let child = command.spawn().map_err(|source| ClusterError::Spawn {
            name: self.config.name.clone(),
            program: self.config.program.clone(),
            source,
        })?;
        self.child = Some(child);
        self.ended = None;
        self.may_end = false;
        self.is_ready = false;
        Ok(())
    }

    pub(super) fn is_ready(&mut self) -> Result<bool, ClusterError> {
        self.check()?;
        if !self.is_running()? {
            return Ok(false);
        }
        if self.is_ready {
            return Ok(true);
        }
        let path = self.output_path();
        let output =
            fs::read_to_string(&path).map_err(|source| ClusterError::File { path, source })?;
        if let Some(address) = ready_address(&output) {
            self.address = Some(address.to_owned());
            self.resp_address = address_of(&output, "resp ").map(str::to_owned);
            self.http_address = address_of(&output, "http ").map(str::to_owned);
            self.is_ready = true;
        }
        Ok(self.is_ready)
    }

    /// How the last life ended; `None` if it goes on.
    pub(super) fn exit_status(&mut self) -> Result<Option<ExitStatus>, ClusterError> {
        let name = &self.config.name;
        let not_running = || ClusterError::NotRunning { name: name.clone() };
        if self.ended.is_none() {
            let child = self.child.as_mut().ok_or_else(not_running)?;
            let ended = child.try_wait();
            self.ended = ended.map_err(|source| self.failed("wait for", source))?;
        }
        Ok(self.ended)
    }

    pub(super) fn is_running(&mut self) -> Result<bool, ClusterError> {
        Ok(self.child.is_some() && self.exit_status()?.is_none())
    }

    /// Waits for the end of a process that was killed.
    pub(super) fn reap(&mut self) -> Result<(), ClusterError> {
        let child = self
            .child
            .as_mut()
            .expect("only a process that was started is killed");
        let ended = child.wait();
        self.ended = Some(ended.map_err(|source| self.failed("wait for", source))?);
        let dying = std::mem::take(&mut self.dying);
        family::wait_for_end(&dying).map_err(|source| self.failed("wait for", source))
    }

    /// Kills the process and its children, without waiting for their end.
    pub(super) fn kill(&mut self) -> Result<(), ClusterError> {
        let name = self.config.name.clone();
        if !self.is_running()? {
            return Err(ClusterError::NotRunning { name });
        }
        self.may_end = true;
        let child = self.child.as_mut().expect("it runs");
        let dying = family::signal_family(child);
        self.dying = dying.map_err(|source| self.failed("kill", source))?;
        Ok(())
    }

    /// Signals the process that serves: the child, if there is one.
    pub(super) fn signal_serving(
        &mut self,
        signal: Signal,
        doing: &'static str,
    ) -> Result<(), ClusterError> {
        if self.is_running()?
            && let Some(serving) = self.serving_pid()
        {
            self.may_end |= signal == Signal::SIGKILL;
            let signalled = family::signal(serving, signal);
            return signalled.map_err(|errno| self.failed(doing, errno.into()));
        }
        let name = self.config.name.clone();
        Err(ClusterError::NotRunning { name })
    }

    /// Signals the process by its id, which is its own as long as it is not reaped.
    pub(super) fn signal(
        &mut self,
        signal: Signal,
        doing: &'static str,
    ) -> Result<(), ClusterError> {
        let not_running = ClusterError::NotRunning {
            name: self.config.name.clone(),
        };
        if !self.is_running()? {
            return Err(not_running);
        }
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .ok_or(not_running)?;
        self.may_end |= matches!(signal, Signal::SIGKILL | Signal::SIGTERM);
        signal::kill(Pid::from_raw(pid), signal).map_err(|errno| self.failed(doing, errno.into()))
    }

    pub(super) fn set_may_end(&mut self, may_end: bool) {
        self.may_end = may_end;
    }

    /// Finds out whether the process has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), ClusterError> {
        if self.may_end || self.child.is_none() {
            return Ok(());
        }
        match self.exit_status()? {
            None => Ok(()),
            Some(status) => Err(ClusterError::Ended {
                name: self.config.name.clone(),
                status,
                words: self.last_words(),
            }),
        }
    }

    fn pid(&self) -> Option<u32> {
        let child = self.child.as_ref().filter(|_| self.ended.is_none());
        child.map(Child::id)
    }

    /// The id of the process that serves.
    pub(super) fn serving_pid(&self) -> Option<u32> {
        let pid = self.pid()?;
        Some(family::children_of(pid).first().copied().unwrap_or(pid))
    }

    pub(super) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    pub(super) fn resp_address(&self) -> Option<&str> {
        self.resp_address.as_deref()
    }

    pub(super) fn http_address(&self) -> Option<&str> {
        self.http_address.as_deref()
    }

    /// The end of the log, in one line.
    pub(super) fn last_words(&self) -> String {
        let path = log_path(&self.config.directory, &self.config.name);
        match end_of(&path) {
            Ok(words) if words.is_empty() => "none".to_owned(),
            Ok(words) => words,
            Err(error) => format!("not to be read: {error}"),
        }
    }

    /// The binary, or what becomes it.
    fn command(&self) -> Command {
        let Some((launcher, words)) = self.config.placement.launcher.split_first() else {
            return Command::new(&self.config.program);
        };
        let mut command = Command::new(launcher);
        command.args(words).arg(&self.config.program);
        command
    }

    fn output_path(&self) -> PathBuf {
        self.config
            .directory
            .join(format!("{}.out", self.config.name))
    }

    fn open(&self, path: &Path, options: &mut OpenOptions) -> Result<File, ClusterError> {
        let opened = options.create(true).open(path);
        opened.map_err(|source| ClusterError::File {
            path: path.to_owned(),
            source,
        })
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> ClusterError {
        ClusterError::Control {
            doing,
            name: self.config.name.clone(),
            source,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(child) = self.child.as_mut().filter(|_| self.ended.is_none()) else {
            return;
        };
        // It fails only if it is gone already.
        let _ = family::kill_family(child);
    }
}

/// The file with the log of all lives of the process `name`.
pub(super) fn log_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.log"))
}

/// The address in a whole `ready` line.
pub(crate) fn ready_address(output: &str) -> Option<&str> {
    address_of(output, "ready ")
}

/// The address in a whole line that begins like this: its last word.
fn address_of<'a>(output: &'a str, begins: &str) -> Option<&'a str> {
    let (lines, _unfinished) = output.rsplit_once('\n')?;
    let line = lines.lines().find(|line| line.starts_with(begins))?;
    line.rsplit(' ').next()
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    Ok(lines.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_taken_from_a_whole_ready_line() {
        assert_eq!(ready_address(""), None);
        assert_eq!(ready_address("ready replica a 127.0.0.1:71"), None);
        assert_eq!(
            ready_address("ready replica a 127.0.0.1:7101\n"),
            Some("127.0.0.1:7101")
        );
        let output = "hello\nready viewservice 127.0.0.1:7000\nmore\n";
        assert_eq!(ready_address(output), Some("127.0.0.1:7000"));
    }
}
