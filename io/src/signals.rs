//! Signals as something the event loop can wait for.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// The signals that ask a process to stop, taken away from their default action and read from a file
/// descriptor: SIGTERM, SIGINT (Ctrl-C) and SIGHUP (its terminal was closed).
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    echoes: Echoes,
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
            echoes: Echoes::default(),
        })
    }

    /// From now on process `parent` passes on what it is sent. A service manager may send a signal to this
    /// process as well, and means it once.
    pub fn passed_on_by(&mut self, parent: Pid) {
        self.echoes.parent = u32::try_from(parent.as_raw()).ok();
    }

    /// Takes the next signal that has arrived, if any.
    ///
    /// # Errors
    /// When the file descriptor cannot be read.
    pub fn next(&self) -> io::Result<Option<i32>> {
        while let Some(info) = self.fd.read_signal()? {
            if !self.echoes.hears(info.ssi_pid) {
                return Ok(i32::try_from(info.ssi_signo).ok());
            }
        }
        Ok(None)
    }
}

/// Tells a signal that comes a second time, over another way, from one that is meant a second time.
#[derive(Debug, Default)]
struct Echoes {
    /// The process that passes signals on, if one does.
    parent: Option<u32>,
    /// Whether one has come from it, and from anybody else.
    has_come: [Cell<bool>; 2],
}

impl Echoes {
    /// Whether what comes from process `sender` is the first of its way, and had come over the other.
    fn hears(&self, sender: u32) -> bool {
        let Some(parent) = self.parent else {
            return false;
        };
        let way = usize::from(sender == parent);
        let is_first = !self.has_come[way].replace(true);
        is_first && self.has_come[1 - way].get()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_over_two_ways_is_meant_once() {
        const PARENT: u32 = 7;
        const MANAGER: u32 = 1;
        let heard = |senders: &[u32]| {
            let echoes = Echoes {
                parent: Some(PARENT),
                ..Echoes::default()
            };
            senders
                .iter()
                .filter(|sender| !echoes.hears(**sender))
                .count()
        };
        assert_eq!(heard(&[PARENT]), 1);
        assert_eq!(heard(&[PARENT, PARENT]), 2, "meant twice");
        assert_eq!(heard(&[MANAGER, MANAGER]), 2);
        for once in [[PARENT, MANAGER], [MANAGER, PARENT]] {
            assert_eq!(heard(&once), 1, "{once:?}");
        }
        assert_eq!(heard(&[MANAGER, PARENT, MANAGER, PARENT]), 3);
        let alone = Echoes::default();
        assert!(!alone.hears(PARENT) && !alone.hears(MANAGER));
    }
}
