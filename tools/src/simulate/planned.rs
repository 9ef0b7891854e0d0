//! What operators do as planned, in the midst of faults: switch over, stop a replica that hands over first.

use standin_core::time::Duration;

use super::draw::Draw as _;
use super::fault::FaultKind;
use super::watched::Subject;
use super::world::{Process, World};

impl<M: Subject> World<M> {
    /// An operator asks the primary to hand over; now and then somebody who is no primary.
    pub(crate) fn switch_over(&mut self, any: usize) -> bool {
        let host = match self.pair().first() {
            Some(primary) if self.random.chance(950) => *primary,
            _ => any,
        };
        let is_awake = self.hosts[host].paused_until <= self.now;
        let mut is_asked = false;
        if is_awake {
            self.with_process(host, |process, stage| match process {
                Process::Replica(node) => {
                    is_asked = true;
                    node.switch_over(stage)
                }
                _ => Ok(()),
            });
        }
        is_asked
    }

    /// Tells a replica to stop once nobody waits for it any more.
    pub(crate) fn leave(&mut self, host: usize) {
        self.with_process(host, |process, stage| match process {
            Process::Replica(node) => node.leave(stage),
            _ => Ok(()),
        });
    }

    /// A replica has left; many are back before anybody misses them, some after a reboot of their machine.
    pub(crate) fn come_back(&mut self, host: usize) {
        let within = if self.is_healed() {
            self.plan.term / 8
        } else {
            self.plan.fault_length
        };
        self.machine(host).boot += u64::from(self.random.chance(300));
        let wait = self.random.between(Duration::ZERO, within);
        self.start_at(host, self.now.plus(wait));
    }

    /// A primary has asked for a swap: in a run with that fault it is cut off now, often for long enough
    /// that it gives up, fences what it has asked, and tries another connection.
    pub(crate) fn harry(&mut self, host: usize, kind: FaultKind) {
        let is_planned = self.plan.faults.contains(&kind);
        if !is_planned || self.is_healed() || !self.random.chance(500) {
            return;
        }
        let term = self.plan.term;
        let until = self.now.plus(self.random.between(term / 2, term * 5 / 4));
        for other in 0..self.hosts.len() {
            self.block(host, other, until);
            self.block(other, host, until);
        }
        self.faults.happened(kind);
        self.trace
            .remark(self.now, || format!("fault: h{host}: {}", kind.words()));
    }
}
