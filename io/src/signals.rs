//! Signals as something the event loop can wait for.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that ask a process to stop, taken away from their default action and read from a file
/// descriptor: SIGTERM, SIGINT (Ctrl-C) and SIGHUP (its terminal was closed).
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks these signals in the calling thread, and in every thread that it spawns from now on.
    ///
    /// To be called before other threads exist: one that does not block them dies of them, and the
    /// process with it. SIGHUP is left alone where the process was started to ignore it, as `nohup`
    /// does: once blocked it would arrive all the same.
    ///
    /// # Errors
    /// When the kernel gives no more file descriptors, or does not tell what is ignored.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        if !is_ignored(Signal::SIGHUP)? {
            set.add(Signal::SIGHUP);
        }
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            fd: SignalFd::with_flags(&set, flags)?,
        })
    }

    /// Takes the next signal that has arrived, if any.
    ///
    /// # Errors
    /// When the file descriptor cannot be read.
    pub fn next(&self) -> io::Result<Option<i32>> {
        let Some(info) = self.fd.read_signal()? else {
            return Ok(None);
        };
        Ok(i32::try_from(info.ssi_signo).ok())
    }
}

/// Whether this process ignores a signal, as the processes that it starts do then.
///
/// # Errors
/// Those of reading `/proc/self/status`. To ask the system call would be unsafe code.
pub fn is_ignored(signal: Signal) -> io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let ignored = ignored.ok_or_else(|| io::Error::other("no SigIgn in /proc/self/status"))?;
    Ok(ignored >> (signal as i32 - 1) & 1 == 1)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
