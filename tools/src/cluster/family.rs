//! A process and those that it has started: a replica is two, one that serves and its parent.

use std::fs;
use std::io;
use std::process::{Child, ExitStatus};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_io::clock;

use super::{READY_PATIENCE, after, pause};

/// The processes that process `pid` has started and that it has not reaped.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = all.flatten().map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    numbers
        .filter(|number| parent_of(*number) == Some(pid))
        .collect()
}

/// Kills a process and its children at once, as a pulled plug would, and reaps it: when this returns, all
/// of them are dead. The parent is signalled first: it tells nobody what it has seen.
///
/// # Errors
/// Those of the operating system.
pub fn kill_family(child: &mut Child) -> io::Result<ExitStatus> {
    let dying = signal_family(child)?;
    let status = child.wait()?;
    wait_for_end(&dying)?;
    Ok(status)
}

/// Kills a process and its children without waiting for their end; returns the children.
pub(super) fn signal_family(child: &mut Child) -> io::Result<Vec<u32>> {
    let dying = children_of(child.id());
    child.kill()?;
    for pid in &dying {
        match signal(*pid, Signal::SIGKILL) {
            // The kernel was quicker, as it is asked to be where nothing may be left behind.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(dying)
}

/// Waits until processes are dead whose parent is: somebody else reaps them.
///
/// # Errors
/// One of time, if they live on.
pub(super) fn wait_for_end(dying: &[u32]) -> io::Result<()> {
    let end = after(READY_PATIENCE);
    while dying.iter().any(|pid| is_alive(*pid)) {
        if clock::boot() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        pause();
    }
    Ok(())
}

pub(super) fn signal(pid: u32, signal: Signal) -> nix::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    kill(Pid::from_raw(pid), signal)
}

/// Whether any thread of a process is more than a remainder.
fn is_alive(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    let mut threads = threads.flatten();
    threads.any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = behind_name(&stat).next();
        !matches!(state, None | Some("Z" | "X"))
    })
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    behind_name(&stat).nth(1)?.parse().ok()
}

/// The words of a `stat` behind the name, which stands in brackets and may hold anything.
fn behind_name(stat: &str) -> impl Iterator<Item = &str> {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_dies_with_its_children() {
        let script = "sleep 1000 & sleep 1000 & wait";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let end = after(READY_PATIENCE);
        let children = loop {
            let children = children_of(child.id());
            if children.len() == 2 {
                break children;
            }
            assert!(clock::boot() < end, "{children:?}");
            pause();
        };
        assert!(children.iter().all(|pid| is_alive(*pid)));
        kill_family(&mut child).unwrap();
        assert!(!children.iter().any(|pid| is_alive(*pid)));
    }
}
