//! A gateway as a process.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_tools::cluster::{PARENT_VARIABLE, VIEW_SERVICE};
use tempfile::NamedTempFile;

use crate::support::cli::STANDIN;
use crate::support::resp::RespClient;
use crate::support::scene::Scene;
use crate::support::{sure, tell};

/// A gateway; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    /// What it says to people.
    log: NamedTempFile,
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
        let log = sure(NamedTempFile::new());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(sure(log.reopen()));
        let mut child = sure(command.spawn());
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        sure(BufReader::new(stdout).read_line(&mut line));
        let address = line.trim().strip_prefix("ready gateway ");
        let address = address.unwrap_or_else(|| panic!("the gateway says: {line:?}"));
        let address = address.to_owned();
        Self {
            child,
            log,
            address,
        }
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

    /// All that it has said to people.
    pub(crate) fn log(&self) -> String {
        sure(std::fs::read_to_string(self.log.path()))
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
        if std::thread::panicking() {
            tell(format_args!("{}", self.log()));
        }
    }
}
