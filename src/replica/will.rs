//! What a replica's process leaves to its parent: which life it is, so that the parent can name exactly that
//! one once it has reaped it.
//!
//! It goes through a pipe, before the process first reports to the view service. A data directory tells
//! less: what stands there may be the life before, or that of another process that has it since.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::process::Command;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{close, getpid, getppid};
use serde::{Deserialize, Serialize};
use standin_core::identity::{ClusterId, Identity};
use standin_core::message::{decode_payload, encode_payload};
use standin_core::view::Member;
use standin_tools::cluster::PARENT_VARIABLE;

/// The environment variable by which a process knows that it is the child: the parent's process id and the
/// number of the pipe's descriptor, with a comma between them.
const CHILD_VARIABLE: &str = "STANDIN_REPLICA_PARENT";
/// Most bytes of a will. Far less than a pipe holds, so writing one never waits.
const WILL_BYTES_MAX: usize = 256;

/// A life of a replica, and the cluster that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Will {
    pub(super) cluster: ClusterId,
    pub(super) member: Member,
}

/// The child's end of the pipe to its parent process.
#[derive(Clone, Debug)]
pub struct ParentLink {
    pipe: Arc<File>,
}

impl ParentLink {
    /// Finds the parent's pipe, if this process was started by one; the kernel asks it to stop, as SIGTERM
    /// does, when the parent dies. To be called before there are other threads.
    ///
    /// # Errors
    /// In words, if the parent is gone already or the pipe cannot be used.
    pub fn find() -> Result<Option<Self>, String> {
        let Some(named) = std::env::var_os(CHILD_VARIABLE) else {
            return Ok(None);
        };
        let numbers = named.to_str().and_then(|named| named.split_once(','));
        let parsed = numbers.and_then(|(pid, fd)| Some((pid.parse().ok()?, fd.parse().ok()?)));
        let (parent, fd): (i32, RawFd) = parsed.ok_or_else(|| {
            let named = named.display();
            format!("{CHILD_VARIABLE} is '{named}'; unset it, which standin sets by itself")
        })?;
        // Under one that must not outlive somebody itself, the kernel kills this process outright.
        if std::env::var_os(PARENT_VARIABLE).is_none() {
            let asked = prctl::set_pdeathsig(Signal::SIGTERM);
            asked.map_err(|errno| format!("the kernel does not watch its parent: {errno}"))?;
        }
        // It may have died before the kernel was asked: then this process has another one.
        if getppid().as_raw() != parent {
            return Err(format!(
                "its parent, process {parent} by {CHILD_VARIABLE}, is gone; unset that, which standin sets \
                 by itself, and start it again"
            ));
        }
        // It is in a process group of its own, and may write to the terminal all the same.
        let mut output = SigSet::empty();
        output.add(Signal::SIGTTOU);
        let blocked = output.thread_block();
        blocked.map_err(|errno| format!("cannot block a signal: {errno}"))?;
        // Opened anew, the descriptor belongs to a value that can be owned.
        let path = format!("/proc/self/fd/{fd}");
        let pipe = OpenOptions::new().write(true).open(&path);
        let pipe = pipe.map_err(|error| {
            format!("cannot open {path}, which {CHILD_VARIABLE} names: {error}; unset that")
        })?;
        close(fd).map_err(|errno| format!("cannot close {path}: {errno}"))?;
        Ok(Some(Self {
            pipe: Arc::new(pipe),
        }))
    }

    /// Says which life this process is.
    pub(super) fn leave(&self, cluster: ClusterId, identity: &Identity) -> io::Result<()> {
        let member = Member::of(identity);
        let mut bytes = Vec::new();
        encode_payload(&Will { cluster, member }, &mut bytes);
        assert!(bytes.len() <= WILL_BYTES_MAX, "{} bytes", bytes.len());
        (&*self.pipe).write_all(&bytes)
    }
}

/// The parent's end of the pipe.
#[derive(Debug)]
pub(super) struct WillReader {
    pipe: PipeReader,
}

impl WillReader {
    /// A pipe, whose other end a process that `command` starts will find. That end must be dropped here
    /// once it runs.
    pub(super) fn for_child(command: &mut Command) -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        fcntl(writer.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        let named = format!("{},{}", getpid(), writer.as_raw_fd());
        command.env(CHILD_VARIABLE, named);
        Ok((Self { pipe: reader }, writer))
    }

    /// What the child has left, if it came to that. To be called when it is dead: then the pipe has an end.
    pub(super) fn read(self) -> Option<Will> {
        let mut bytes = Vec::new();
        let bytes_max = u64::try_from(WILL_BYTES_MAX).expect("it is small");
        self.pipe.take(bytes_max).read_to_end(&mut bytes).ok()?;
        decode_payload(&bytes)
    }
}
