//! All sessions of a gateway, and what is under way in them.

use standin_client::{Answer, ClientError, Consistency, Seen, Trouble, ViewServices, Work};
use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::time::{Duration, Instant, earliest};
use standin_core::view::ViewId;
use standin_io::net::{Net, NetEvent};
use standin_kv::arguments::command;
use standin_kv::keyspace::DatabaseId;
use standin_kv::line::Kind;
use standin_resp::Version;

use super::lane::{Lane, Owner, Waiting};
use crate::front::Task;

/// How many sessions. Each has [`standin_core::session::SESSION_WINDOW`] commands at the replicas at most.
const LANES: usize = 8;
/// Most requests that are under way; beyond that no more input of clients is taken until half of them are answered. One
/// wake-up's may come on top.
const UNDER_WAY_MAX: usize = 16_384;
/// The same in bytes.
const UNDER_WAY_BYTES_MAX: usize = 64 << 20;
/// How often it is asked whether there is a second copy, while clients wait for one.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    under_way: usize,
    under_way_bytes: usize,
    copies: Copies,
    /// A question whether that is so is under way.
    is_probing: bool,
    probe_at: Instant,
    is_full: bool,
}

/// Whether there is a second copy of what was answered.
#[derive(Debug, Default)]
struct Copies {
    /// Whether the last that answered has a second copy of all it has.
    is_paired: bool,
    /// View and index of the answer that said so.
    as_of: (ViewId, Index),
}

impl Copies {
    /// Takes in an answer. Those of several lanes come in any order.
    fn learn(&mut self, seen: Seen, is_solo: bool) {
        let as_of = (seen.view, seen.index);
        if as_of >= self.as_of {
            self.is_paired = !is_solo;
            self.as_of = as_of;
        }
    }
}

/// How a client's request ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) conn: ConnId,
    pub(super) id: u64,
    pub(super) result: Result<Answer, ClientError>,
}

impl Lanes {
    pub(super) fn new(view_services: &ViewServices) -> Self {
        let lanes = (0..LANES).map(|_| Lane::new(view_services.clone()));
        Self {
            lanes: lanes.collect(),
            under_way: 0,
            under_way_bytes: 0,
            copies: Copies::default(),
            is_probing: false,
            probe_at: Instant::ZERO,
            is_full: false,
        }
    }

    /// Takes what a client wants done. What one client wants goes into one session, which keeps its order.
    pub(super) fn give(&mut self, task: &Task<'_>) {
        self.under_way += 1;
        self.under_way_bytes += task.bytes.len();
        let bytes = task.bytes.to_vec();
        let work = match task.kind {
            Kind::Command => Work::Command(bytes),
            Kind::Query => Work::Query {
                bytes,
                consistency: Consistency::Confirmed,
            },
        };
        let owner = Owner::Client(task.conn, task.id);
        let lane = usize::try_from(task.conn.0 % LANES as u64).expect("few lanes");
        self.lanes[lane].push(Waiting { owner, work });
    }

    /// Sends what can be sent.
    pub(super) fn feed(&mut self, net: &mut Net, now: Instant) {
        for lane in &mut self.lanes {
            lane.feed(net, now);
        }
    }

    /// How another request of a client ended. It may have been told of a second copy, or that there is none.
    pub(super) fn next_ended(&mut self) -> Option<Ended> {
        for lane in &mut self.lanes {
            while let Some((owner, bytes, result)) = lane.next_outcome() {
                if let Ok(answer) = &result
                    && owner != Owner::Close
                {
                    self.copies.learn(answer.seen, answer.is_solo);
                }
                match owner {
                    Owner::Client(conn, id) => {
                        self.under_way -= 1;
                        self.under_way_bytes -= bytes;
                        return Some(Ended { conn, id, result });
                    }
                    Owner::Probe => self.is_probing = false,
                    Owner::Close => {}
                }
            }
        }
        None
    }

    /// Takes in what the loop has reported; `false`: it is about none of these connections.
    pub(super) fn on_net_event(&mut self, net: &mut Net, now: Instant, event: &NetEvent) -> bool {
        let mut lanes = self.lanes.iter_mut();
        lanes.any(|lane| lane.on_net_event(net, now, event))
    }

    pub(super) fn on_time(&mut self, net: &mut Net, now: Instant) {
        for lane in &mut self.lanes {
            lane.on_time(net, now);
        }
    }

    /// Asks from time to time whether there is a second copy. Returns when it asks next.
    pub(super) fn probe(&mut self, now: Instant) -> Option<Instant> {
        if self.copies.is_paired || self.is_probing {
            return None;
        }
        if now >= self.probe_at {
            self.probe_at = now.plus(PROBE_INTERVAL);
            self.is_probing = true;
            let bytes = command(Version::default(), DatabaseId::default(), &["DBSIZE"]);
            let consistency = Consistency::Confirmed;
            let work = Work::Query { bytes, consistency };
            let owner = Owner::Probe;
            self.lanes[0].push(Waiting { owner, work });
            return None;
        }
        Some(self.probe_at)
    }

    /// How many replicas beside the one that answers have what was answered.
    pub(super) fn copies(&self) -> i64 {
        i64::from(self.copies.is_paired)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.lanes.iter().map(Lane::deadline);
        deadlines.fold(None, earliest)
    }

    /// Whether so much is under way that nothing more is taken.
    pub(super) fn is_full(&mut self) -> bool {
        let parts = if self.is_full { 2 } else { 1 };
        self.is_full = self.under_way >= UNDER_WAY_MAX / parts
            || self.under_way_bytes >= UNDER_WAY_BYTES_MAX / parts;
        self.is_full
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way == 0
    }

    /// Why nothing is answered, as far as it is known.
    pub(super) fn trouble(&self) -> Trouble {
        let busiest = self.lanes.iter().max_by_key(|lane| lane.pending());
        busiest.map(Lane::trouble).unwrap_or_default()
    }

    pub(super) fn close_sessions(&mut self, net: &mut Net, now: Instant) {
        for lane in &mut self.lanes {
            lane.close_session(net, now);
        }
    }

    pub(super) fn has_sessions(&self) -> bool {
        self.lanes.iter().any(Lane::has_session)
    }

    /// Connections to view services and replicas.
    pub(super) fn connections(&self) -> usize {
        self.lanes.iter().map(Lane::connections).sum()
    }

    /// The highest view and entry that were answered from.
    pub(super) fn seen(&self) -> Seen {
        let seen = self.lanes.iter().map(Lane::seen);
        seen.max_by_key(|seen| (seen.view, seen.index))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use standin_core::view::{DataEpoch, ViewNumber};

    use super::*;

    #[test]
    fn an_older_answer_does_not_say_whether_there_is_a_second_copy() {
        let seen = |view, index| Seen {
            view: ViewId {
                data_epoch: DataEpoch(0),
                view: ViewNumber(view),
            },
            index: Index(index),
        };
        let mut copies = Copies::default();
        copies.learn(seen(2, 10), false);
        assert!(copies.is_paired);
        copies.learn(seen(3, 12), true);
        copies.learn(seen(2, 11), false);
        assert!(!copies.is_paired, "the pair was of an earlier view");
        copies.learn(seen(4, 13), false);
        assert!(copies.is_paired);
    }
}
