//! Each replica's own copy of the numbers, and whether they agree.

use std::io;

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::message::{
    Consistency, InspectReply, Party, QueryRequest, Reply, ReplyStatus, RoleName, Seen,
};
use standin_core::time::Duration;
use standin_io::clock;
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};

use super::machine::Numbers;

/// One replica's copy of all numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) name: String,
    pub(super) role: RoleName,
    /// Up to which entry the copy has executed everything.
    pub(super) applied: Index,
    pub(super) values: Vec<u64>,
    /// The digest of the whole state.
    pub(super) state_digest: u128,
    /// The chain over all replies from the beginning.
    pub(super) reply_digest: u128,
}

impl Copy {
    /// Puts a replica's account of itself and its answer to a query together; `None` if it executed
    /// something in between, so that they are not of the same moment.
    pub(super) fn new(inspected: &InspectReply, read: (Index, Vec<u64>)) -> Option<Self> {
        let (applied, values) = read;
        (applied == inspected.standing.applied).then(|| Self {
            name: inspected.name.to_string(),
            role: inspected.standing.role,
            applied,
            values,
            state_digest: inspected.state_digest,
            reply_digest: inspected.standing.reply_digest,
        })
    }
}

/// Whether all copies have executed the same entries.
pub(super) fn are_level(copies: &[Copy]) -> bool {
    copies
        .windows(2)
        .all(|pair| pair[0].applied == pair[1].applied)
}

/// Whether all copies are the same, and have these `values`.
pub(super) fn agree(copies: &[Copy], values: &[u64]) -> bool {
    let is_same = |pair: &[Copy]| {
        pair[0].state_digest == pair[1].state_digest && pair[0].reply_digest == pair[1].reply_digest
    };
    are_level(copies)
        && copies.windows(2).all(is_same)
        && copies.iter().all(|copy| copy.values == values)
}

/// Reads the numbers of the replica at `address`, whatever its role: the index as of which it
/// answers, and the values. `None` if it does not answer within `patience`.
pub(super) fn read(
    machine: Numbers,
    address: &str,
    patience: Duration,
) -> io::Result<Option<(Index, Vec<u64>)>> {
    let mut net = Net::new(NetConfig {
        party: Party::Client,
        cluster: None,
        machine: None,
        limits: NetLimits::default(),
    })?;
    let begun = clock::boot();
    let end = begun.plus(patience);
    let conn = net.connect(address, begun, patience);
    let question = machine.get();
    let query = QueryRequest {
        id: 1,
        seen: Seen::default(),
        consistency: Consistency::Stale,
        bytes: &question,
    };
    let mut events = Vec::new();
    loop {
        let now = net.poll(Some(end), &mut events)?.boot;
        for event in events.drain(..) {
            match event {
                NetEvent::Ready { .. } => {
                    net.send(conn, |out| query.encode(out));
                }
                NetEvent::Input { .. } => return Ok(answer(machine, &net, conn)),
                NetEvent::Closed { .. } => return Ok(None),
                NetEvent::Woken | NetEvent::Signal(_) => {}
            }
        }
        if now >= end {
            return Ok(None);
        }
    }
}

fn answer(machine: Numbers, net: &Net, conn: ConnId) -> Option<(Index, Vec<u64>)> {
    let frame = net.frames(conn).next()?;
    let reply = Reply::decode(&frame).ok()?;
    let values = machine.values(reply.bytes)?;
    (reply.status == ReplyStatus::Done).then_some((reply.seen.index, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(name: &str) -> Copy {
        Copy {
            name: name.to_owned(),
            role: RoleName::Spare,
            applied: Index(9),
            values: vec![5, 2],
            state_digest: 1,
            reply_digest: 2,
        }
    }

    #[test]
    fn copies_agree_only_if_everything_is_the_same() {
        let same = [copy("a"), copy("b"), copy("c")];
        assert!(agree(&same, &[5, 2]));
        assert!(!agree(&same, &[2, 5]));
        let changes: [fn(&mut Copy); 4] = [
            |copy| copy.applied = Index(8),
            |copy| copy.values[1] = 4,
            |copy| copy.state_digest = 3,
            |copy| copy.reply_digest = 3,
        ];
        for change in changes {
            for at in 0..3 {
                let mut copies = same.clone();
                change(&mut copies[at]);
                assert!(!agree(&copies, &[5, 2]), "{copies:?}");
            }
        }
    }
}
