//! Signals as something the event loop can wait for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGTERM and SIGINT, taken away from their default action and read from a file descriptor.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks both signals in the calling thread, and in every thread that it spawns from now on.
    ///
    /// To be called before other threads exist: one that does not block them dies of them, and the
    /// process with it.
    ///
    /// # Errors
    /// When the kernel gives no more file descriptors.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
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
