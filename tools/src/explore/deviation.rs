//! What may happen instead of the default: each of these is one deviation.
//!
//! Most are offered only right before a step at the place that they concern. Anywhere else between two
//! such steps they would come to the same, since nobody else can tell the difference.

use standin_core::conn::ConnId;

use super::cluster::{Cluster, Task};
use super::links::{Hold, Party};
use super::node::Node;
use super::past::Fact;
use super::rules::{self, Broken};

/// So many quarters of a term something lasts that outlasts a lease, and a takeover with it.
const LONG: u32 = 6;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// The process dies.
    Death,
    /// The machine loses its power, and with it all that was not synced.
    PowerLoss,
    /// It is stopped cleanly.
    Stop,
}

/// One deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deviation {
    /// What is on its way to one end of a connection is held back until nothing else is left to do in
    /// this instant, or for long.
    Hold {
        conn: ConnId,
        at: usize,
        is_long: bool,
    },
    /// A connection breaks; what is on its way over it is lost.
    Reset(ConnId),
    /// A process ends. It is started again at once, or after long.
    End {
        host: usize,
        how: Ending,
        is_back: bool,
        /// What it sent and has not arrived is lost too.
        is_mute: bool,
    },
    /// A dead process is started earlier than it would be.
    Return(usize),
    /// For long nothing reaches a replica or leaves it but requests and answers of clients.
    Isolate(usize),
    /// For long a process does not run.
    Pause(Party),
    /// A sync takes until nothing else is left to do in this instant, or long.
    Slow { host: usize, is_long: bool },
    /// The view service's process ends and begins anew.
    Restart { is_mute: bool },
    /// A client does not wait for the answer to the call before.
    Hurry(usize),
    /// An operator asks a primary to hand over.
    HandOver(usize),
}

/// What may come before `task`.
pub(super) fn deviations(cluster: &Cluster, task: Task) -> Vec<Deviation> {
    let mut all = Vec::new();
    match task {
        Task::Deliver { conn, at } => before_delivery(cluster, (conn, at), &mut all),
        Task::SyncDone(host) => {
            all.extend([false, true].map(|is_long| Deviation::Slow { host, is_long }));
            ends(host, &mut all);
        }
        Task::ComeRound(Party::Replica(host)) => {
            all.push(Deviation::Pause(Party::Replica(host)));
            all.push(Deviation::Isolate(host));
            if cluster.is_primary(host) {
                all.push(Deviation::HandOver(host));
            }
            ends(host, &mut all);
        }
        Task::ComeRound(party) => {
            all.push(Deviation::Pause(party));
            all.push(Deviation::Restart { is_mute: false });
        }
        Task::Elapse => {
            let is_down = |host: &usize| !cluster.is_up(*host);
            let down = (0..cluster.bounds.replicas).filter(is_down);
            all.extend(down.map(Deviation::Return));
        }
        Task::Call(_) | Task::Release => {}
    }
    all.extend(cluster.client.hurried().map(Deviation::Hurry));
    all
}

fn before_delivery(cluster: &Cluster, (id, at): (ConnId, usize), all: &mut Vec<Deviation>) {
    let Some(conn) = cluster.links.conns.iter().find(|conn| conn.id == id) else {
        return;
    };
    for is_long in [false, true] {
        all.push(Deviation::Hold {
            conn: id,
            at,
            is_long,
        });
    }
    all.push(Deviation::Reset(id));
    match conn.ends[at].party {
        Party::Service => {
            all.push(Deviation::Restart { is_mute: false });
            all.push(Deviation::Pause(Party::Service));
        }
        Party::Replica(host) => {
            ends(host, all);
            all.push(Deviation::Isolate(host));
            all.push(Deviation::Pause(Party::Replica(host)));
        }
        Party::Client => {}
    }
    match conn.ends[1 - at].party {
        Party::Service => all.push(Deviation::Restart { is_mute: true }),
        Party::Replica(host) => {
            for (how, is_back) in [(Ending::Death, false), (Ending::PowerLoss, true)] {
                all.push(Deviation::End {
                    host,
                    how,
                    is_back,
                    is_mute: true,
                });
            }
        }
        Party::Client => {}
    }
}

fn ends(host: usize, all: &mut Vec<Deviation>) {
    for (how, is_back) in [
        (Ending::Death, false),
        (Ending::Death, true),
        (Ending::PowerLoss, false),
        (Ending::PowerLoss, true),
        (Ending::Stop, false),
    ] {
        all.push(Deviation::End {
            host,
            how,
            is_back,
            is_mute: false,
        });
    }
}

impl Cluster {
    /// Lets a deviation happen.
    pub(super) fn deviate(&mut self, deviation: Deviation) -> Result<(), Broken> {
        let mut facts = Vec::new();
        let long = Hold::Until(self.elapsed + LONG);
        let hold = |is_long| if is_long { long } else { Hold::UntilQuiet };
        match deviation {
            Deviation::Hold { conn, at, is_long } => {
                if let Some(conn) = self.links.find(conn) {
                    conn.ends[at].hold = hold(is_long);
                }
            }
            Deviation::Reset(conn) => self.links.reset(conn),
            Deviation::End {
                host,
                how,
                is_back,
                is_mute,
            } => {
                self.end(host, how, is_mute, &mut facts);
                self.troubles[host].down = long;
                if is_back {
                    self.start(host);
                }
            }
            Deviation::Return(host) => self.start(host),
            Deviation::Isolate(host) => self.trouble(Party::Replica(host)).isolated = long,
            Deviation::Pause(party) => self.trouble(party).paused = long,
            Deviation::Slow { host, is_long } => {
                self.trouble(Party::Replica(host)).slow = hold(is_long);
            }
            Deviation::Restart { is_mute } => {
                let now = self.now();
                self.links.end(Party::Service, is_mute);
                self.service.edit().restart(self.bounds.planted, now);
            }
            Deviation::Hurry(call) => self.call(call),
            Deviation::HandOver(host) => self.on_stage(host, &mut facts, Node::hand_over),
        }
        rules::look(self, &facts)
    }

    fn end(&mut self, host: usize, how: Ending, is_mute: bool, facts: &mut Vec<Fact>) {
        if how == Ending::Stop {
            self.on_stage(host, facts, Node::stop);
        }
        let is_noticed = !self.bounds.boots_look_alike;
        let node = self.nodes[host].edit();
        node.process = None;
        if how == Ending::PowerLoss {
            node.disk.lose_power(is_noticed);
        }
        self.links.end(Party::Replica(host), is_mute);
        // A new process is not what the old one was held up by.
        self.troubles[host].paused = Hold::No;
        self.troubles[host].slow = Hold::No;
    }
}
