//! Single questions: how is everybody, and what is this replica's state?

use std::io;

use standin_core::conn::ConnId;
use standin_core::message::{
    Force, ForceReply, HistoryReply, HistoryRequest, Inspect, InspectReply, Message, Party,
    Rebuild, Refusal, StatusReply, StatusRequest, Switchover, SwitchoverReply,
};
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_io::net::{Net, NetEvent};

use crate::address::{AddressError, ViewServices, check_address};
use crate::blocking::new_net;
use crate::driver::refusal_of;

/// How long one address may take to answer, if there are others.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait after no address answered.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody answered in time.
    #[error(
        "asked {address} for {waited:?} without an answer ({reason}): check that it runs and that \
         the address is right"
    )]
    Unreachable {
        /// Whom: the last address that was tried.
        address: String,
        /// How long.
        waited: Duration,
        /// What went wrong last.
        reason: String,
    },
    /// The other side closed the connection for a reason that will not go away.
    #[error("asked {address}, which refused: {refusal}; check the address and the versions")]
    Refused {
        /// Whom.
        address: String,
        /// Its reason.
        refusal: Refusal,
    },
    /// Somebody else is there.
    #[error("asked {address}, which is a {}, not a {}; check the address", is.words(), wanted.words())]
    OtherParty {
        /// Whom.
        address: String,
        /// What it is.
        is: Party,
        /// What was asked.
        wanted: Party,
    },
    /// What came back is no answer to this question.
    #[error("asked {address}, but what it answered is not understood; check the address")]
    Protocol {
        /// Whom.
        address: String,
    },
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// This machine refused something: sockets, descriptors, memory.
    #[error("could not wait for an answer: {0}")]
    Local(#[from] io::Error),
}

/// The view service's account of all replicas. The addresses are tried in turn, again and again,
/// until one answers or `timeout` is over.
///
/// # Errors
/// [`AskError`], when none answers in time.
pub fn status(view_services: &ViewServices, timeout: Duration) -> Result<StatusReply, AskError> {
    let addresses = view_services.as_slice();
    ask(addresses, Party::ViewService, &StatusRequest, timeout)
}

/// The views that there were, as the view service saw them.
///
/// # Errors
/// [`AskError`], when none answers in time.
pub fn history(view_services: &ViewServices, timeout: Duration) -> Result<HistoryReply, AskError> {
    let addresses = view_services.as_slice();
    ask(addresses, Party::ViewService, &HistoryRequest, timeout)
}

/// An operator's word to the view service: make this replica primary, though it may lack what was answered.
/// The addresses are tried in turn, again and again, until one answers or `timeout` is over. If none did, it
/// may have been done all the same: the status tells.
///
/// # Errors
/// [`AskError`], when none answers in time.
pub fn force(
    view_services: &ViewServices,
    force: &Force,
    timeout: Duration,
) -> Result<ForceReply, AskError> {
    ask(view_services.as_slice(), Party::ViewService, force, timeout)
}

/// An operator's word to a view service that was started without the record that it had: make it again from what
/// these replicas know. As [`force`] is.
///
/// # Errors
/// [`AskError`], when none answers in time.
pub fn rebuild(
    view_services: &ViewServices,
    rebuild: &Rebuild,
    timeout: Duration,
) -> Result<ForceReply, AskError> {
    ask(
        view_services.as_slice(),
        Party::ViewService,
        rebuild,
        timeout,
    )
}

/// A replica's own account of itself, with the digest of its whole state, which takes it time in
/// proportion to the state.
///
/// # Errors
/// [`AskError`], when it does not answer in time.
pub fn inspect(address: &str, timeout: Duration) -> Result<InspectReply, AskError> {
    check_address(address)?;
    ask(&[address.to_owned()], Party::Replica, &Inspect, timeout)
}

/// An operator's word to the primary, whoever that is: hand over to your backup. The answer comes when the
/// outcome is known. A primary that is not there yet is waited for until `timeout` is over.
///
/// It is asked of one replica at most once: asked again, it might be handed back. If nothing came back, that
/// is [`SwitchoverReply::Unknown`].
///
/// # Errors
/// [`AskError`], when no view service and no primary is reached in time.
pub fn switchover(
    view_services: &ViewServices,
    switchover: &Switchover,
    timeout: Duration,
) -> Result<SwitchoverReply, AskError> {
    let mut net = new_net()?;
    let end = clock::boot().plus(timeout);
    let mut reason = "no replica serves as primary".to_owned();
    loop {
        let now = clock::boot();
        let status = status(view_services, end.since(now))?;
        if let Some((name, address)) = primary_of(&status) {
            let asked = ask_one(&mut net, address, Party::Replica, switchover, end)?;
            match asked {
                Ok(SwitchoverReply::NotPrimary) => {
                    reason = format!("{name} at {address} does not serve as primary");
                }
                Ok(reply) => return Ok(reply),
                Err(why) => {
                    let reason = format!(
                        "{name} at {address} was asked, and did not answer ({why}); ask for the status"
                    );
                    return Ok(SwitchoverReply::Unknown { reason });
                }
            }
        } else if let Some(unavailable) = status.unavailable {
            reason = unavailable;
        }
        let now = clock::boot();
        if now >= end {
            return Err(AskError::Unreachable {
                address: view_services.as_slice().join(","),
                waited: timeout,
                reason,
            });
        }
        wait_until(&mut net, end.min(now.plus(PAUSE)))?;
    }
}

/// The name and address of the active primary, if it is known.
fn primary_of(status: &StatusReply) -> Option<(&str, &str)> {
    let record = status.record.as_ref().filter(|record| record.active)?;
    let mut peers = status.replicas.iter().map(|replica| &replica.peer);
    let peer = peers.find(|peer| record.primary.is(&peer.identity))?;
    Some((record.primary.name.as_str(), peer.address.as_str()))
}

fn ask<Q: Message, A: Message>(
    addresses: &[String],
    wanted: Party,
    question: &Q,
    timeout: Duration,
) -> Result<A, AskError> {
    let mut net = new_net()?;
    let end = clock::boot().plus(timeout);
    loop {
        let mut last_failure = None;
        for address in addresses {
            let now = clock::boot();
            let patience = if addresses.len() == 1 {
                end
            } else {
                end.min(now.plus(ANSWER_PATIENCE))
            };
            match ask_one(&mut net, address, wanted, question, patience)? {
                Ok(answer) => return Ok(answer),
                Err(reason) => last_failure = Some((address, reason)),
            }
        }
        let now = clock::boot();
        if now >= end {
            let (address, reason) = last_failure.expect("there is at least one address");
            return Err(AskError::Unreachable {
                address: address.clone(),
                waited: timeout,
                reason,
            });
        }
        wait_until(&mut net, end.min(now.plus(PAUSE)))?;
    }
}

/// Asks at one address until `end`. The inner error is one that may go away.
fn ask_one<Q: Message, A: Message>(
    net: &mut Net,
    address: &str,
    wanted: Party,
    question: &Q,
    end: Instant,
) -> Result<Result<A, String>, AskError> {
    let now = clock::boot();
    let conn = net.connect(address, now, end.since(now));
    let mut events = Vec::new();
    loop {
        let now = net.poll(Some(end), &mut events)?.boot;
        for event in events.drain(..) {
            match event {
                NetEvent::Ready {
                    conn: ready, hello, ..
                } if ready == conn => {
                    if hello.party != wanted {
                        return Err(AskError::OtherParty {
                            address: address.to_owned(),
                            is: hello.party,
                            wanted,
                        });
                    }
                    net.send(conn, |out| question.encode(out));
                }
                NetEvent::Input { conn: from } if from == conn => {
                    let answer = take_answer(net, conn);
                    net.close(conn);
                    let address = address.to_owned();
                    return answer.ok_or(AskError::Protocol { address }).map(Ok);
                }
                NetEvent::Closed {
                    conn: closed,
                    reason,
                } if closed == conn => {
                    return match refusal_of(&reason) {
                        Some(refusal) if refusal != Refusal::Busy => Err(AskError::Refused {
                            address: address.to_owned(),
                            refusal,
                        }),
                        _ => Ok(Err(reason.to_string())),
                    };
                }
                // Left over from an address that was given up.
                NetEvent::Ready { .. }
                | NetEvent::Input { .. }
                | NetEvent::Closed { .. }
                | NetEvent::Woken
                | NetEvent::Signal(_) => {}
            }
        }
        if now >= end {
            net.close(conn);
            return Ok(Err("it does not answer".to_owned()));
        }
    }
}

fn take_answer<A: Message>(net: &Net, conn: ConnId) -> Option<A> {
    let frame = net.frames(conn).next()?;
    A::decode(&frame).ok()
}

fn wait_until(net: &mut Net, end: Instant) -> io::Result<()> {
    let mut events = Vec::new();
    while net.poll(Some(end), &mut events)?.boot < end {}
    Ok(())
}
