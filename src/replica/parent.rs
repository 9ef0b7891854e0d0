//! The parent of a replica's process. It does nothing but wait for that process's end, and then it tells
//! the view service: what it has reaped is dead, so nobody need wait for its lease to run out
//! (`protocol.md` section 3).
//!
//! The parent opens no file of the replica and holds no lock. It starts the same binary anew rather than to
//! fork: nothing of what the child is lives in it. Signals that ask the replica to stop are passed on, each
//! as often as it comes. If the parent is killed, the kernel asks the child to stop, so that nobody starts a
//! second one beside one that goes on unseen.

use std::env;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::unistd::{Pid, getpid};
use standin_core::conn::ConnId;
use standin_core::message::{Died, DiedReply, Message as _, Party, Refusal};
use standin_core::time::{Duration, Instant, earliest};
use standin_io::clock;
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_io::signals::{Signals, is_ignored};
use standin_tools::cluster::PARENT_VARIABLE;
use standin_tools::output;

use super::host::{CONNECT_TIMEOUT, ViewServiceLink};
use super::will::{Will, WillReader};

/// How long the view service is tried to be told of a death: a few lease terms. After that its own
/// patience is over, too, at all but very long terms.
pub const PROOF_PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer is waited for before another connection is tried.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);
/// What the C library's allocator reads as the child starts, and what it is asked for: memory in huge pages, since a
/// large state is searched in a quarter less time then (`docs/performance.md`). Other allocators do not read it.
const ALLOCATOR_VARIABLE: &str = "GLIBC_TUNABLES";
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";
/// What a shell adds to the number of the signal that ended a process.
const KILLED: u8 = 128;

/// Why a replica cannot be given a parent, in words; it may run without one.
#[derive(Debug)]
pub struct NoParent(String);

impl std::fmt::Display for NoParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Starts this very command once more, as a child, and stays until it ends; returns the exit status that
/// it leaves. If it was killed or fails, the view services at `viewservice` are told of its death. To be
/// called before there are other threads.
///
/// # Errors
/// [`NoParent`], and nothing was started.
pub fn run(viewservice: &[String]) -> Result<u8, NoParent> {
    let failed =
        |doing: &'static str| move |error: io::Error| NoParent(format!("{doing} failed: {error}"));
    if is_ignored(Signal::SIGCHLD).map_err(failed("looking for ignored signals"))? {
        // The kernel reaps by itself then, and tells nobody.
        return Err(NoParent("it was started with SIGCHLD ignored".to_owned()));
    }
    let signals = watched().map_err(failed("looking for ignored signals"))?;
    let program = env::current_exe().map_err(failed("finding the program"))?;
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // A signal from the terminal comes to the child through its parent alone, and so only once.
    command.args(arguments).process_group(0);
    if env::var_os(PARENT_VARIABLE).is_some() {
        command.env(PARENT_VARIABLE, getpid().to_string());
    }
    if env::var_os(ALLOCATOR_VARIABLE).is_none() {
        command.env(ALLOCATOR_VARIABLE, HUGE_PAGES);
    }
    let (will, for_child) = WillReader::for_child(&mut command).map_err(failed("making a pipe"))?;
    let blocked = signals.thread_block();
    blocked.map_err(|errno| failed("blocking signals")(errno.into()))?;
    let child = command.spawn();
    drop(for_child);
    let mut child = child.map_err(|error| {
        // It goes on by itself, and must hear what is said to it.
        let _ = signals.thread_unblock();
        failed("starting the child")(error)
    })?;
    let status = wait(&mut child, &signals);
    Ok(bury(status, child.id(), will, viewservice))
}

/// The signals that are passed on, and the one that says that a child has changed its state.
fn watched() -> io::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        signals.add(signal);
    }
    for signal in [Signal::SIGHUP, Signal::SIGTSTP] {
        if !is_ignored(signal)? {
            signals.add(signal);
        }
    }
    Ok(signals)
}

/// Waits for the child's end, and passes on what comes meanwhile.
fn wait(child: &mut Child, signals: &SigSet) -> ExitStatus {
    let pid = i32::try_from(child.id()).expect("process ids are no longer");
    // It is not reaped yet, so the number is its own.
    let pass = |signal| {
        if let Err(errno) = kill(Pid::from_raw(pid), signal) {
            log::warn!("cannot pass {signal} on to process {pid}: {errno}");
        }
    };
    loop {
        match signals.wait().expect("the signals were blocked") {
            Signal::SIGCHLD => {
                let status = child.try_wait();
                if let Some(status) = status.expect("nobody else waits for it") {
                    return status;
                }
            }
            // Suspended from a terminal: both stand still until both go on.
            Signal::SIGTSTP => {
                pass(Signal::SIGSTOP);
                if let Err(errno) = raise(Signal::SIGSTOP) {
                    log::warn!("cannot stand still: {errno}");
                }
                pass(Signal::SIGCONT);
            }
            signal => pass(signal),
        }
    }
}

/// Does what is left to do after the end of process `pid`, and says how it ended.
fn bury(status: ExitStatus, pid: u32, will: WillReader, viewservice: &[String]) -> u8 {
    if status.success() {
        return 0; // it has given back what it had
    }
    if let Some(signal) = status.signal() {
        let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
        let dumped = if status.core_dumped() {
            ", core dumped"
        } else {
            ""
        };
        output::error(format_args!(
            "the replica's process {pid} was killed by {name} (signal {signal}{dumped}); if nobody \
             here did that, look at the kernel's log, and start the replica again"
        ));
    }
    if let Some(will) = will.read() {
        let name = will.member.name.clone();
        match tell(&will, viewservice) {
            Ok(()) => log::info!("the view service knows that this life of {name} has died"),
            Err(why) => log::warn!(
                "the view service was not told that {name} has died ({why}): it finds out by itself \
                 when the lease has run out"
            ),
        }
    }
    let signal = status.signal().and_then(|signal| u8::try_from(signal).ok());
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(KILLED + signal.unwrap_or(0))
}

/// Tells a view service that a life has died.
fn tell(will: &Will, viewservice: &[String]) -> Result<(), String> {
    let in_words = |error: io::Error| error.to_string();
    let mut net = Net::new(NetConfig {
        party: Party::Replica,
        cluster: Some(will.cluster),
        machine: None,
        limits: NetLimits::default(),
    })
    .map_err(in_words)?;
    net.watch_signals(Signals::block().map_err(in_words)?)
        .map_err(in_words)?;
    let mut link = ViewServiceLink::new(viewservice.to_vec());
    let end = clock::boot().plus(PROOF_PATIENCE);
    let mut patient_until: Option<Instant> = None;
    let mut events = Vec::new();
    loop {
        link.keep(&mut net, clock::boot(), CONNECT_TIMEOUT);
        let next = earliest(link.deadline(), patient_until);
        let polled = net.poll(earliest(next, Some(end)), &mut events);
        let now = polled.map_err(in_words)?.boot;
        for event in events.drain(..) {
            match event {
                NetEvent::Ready { conn, hello, .. } if link.is(conn) => {
                    if hello.party == Party::ViewService {
                        let died = Died {
                            member: will.member.clone(),
                        };
                        net.send(conn, |out| died.encode(out));
                        patient_until = Some(now.plus(ANSWER_PATIENCE));
                    } else {
                        net.refuse(conn, Refusal::Protocol);
                    }
                }
                NetEvent::Input { conn } if link.is(conn) => {
                    if is_heard(&mut net, conn, will) {
                        return Ok(());
                    }
                }
                NetEvent::Closed { conn, reason } if link.is(conn) => {
                    link.lost(&reason, now);
                    patient_until = None;
                }
                NetEvent::Signal(signal) => return Err(format!("stopped by signal {signal}")),
                NetEvent::Ready { .. }
                | NetEvent::Input { .. }
                | NetEvent::Closed { .. }
                | NetEvent::Woken => {}
            }
        }
        if patient_until.is_some_and(|until| now >= until) {
            patient_until = None;
            if let Some(conn) = link.conn() {
                net.close(conn);
            }
        }
        if now >= end {
            return Err(format!("no answer in {} s", PROOF_PATIENCE.as_secs()));
        }
    }
}

/// Whether the view service says that it knows.
fn is_heard(net: &mut Net, conn: ConnId, will: &Will) -> bool {
    let mut bytes = 0;
    let mut is_heard = false;
    for frame in net.frames(conn) {
        bytes += frame.len();
        is_heard |= DiedReply::decode(&frame).is_ok_and(|reply| reply.member == will.member);
    }
    net.consume(conn, bytes);
    is_heard
}
