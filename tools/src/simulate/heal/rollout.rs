//! A newer program is rolled out, one replica after the other.

use standin_core::entry::Index;
use standin_core::machine::VersionRange;
use standin_core::time::Duration;

use super::Process;
use crate::simulate::draw::Draw as _;
use crate::simulate::watched::{Subject, Watched};
use crate::simulate::world::World;

impl<M: Subject> World<M> {
    /// The operator starts a replica again with the newer program; false if it has it already.
    pub(crate) fn renew(&mut self, host: usize, length: Duration) -> bool {
        let newest = VersionRange::of::<Watched<M>>();
        let machine = self.machine(host);
        if machine.program == newest {
            return false;
        }
        machine.program = newest;
        match self.random.chance(500) {
            true => self.stop_for(host, length),
            false => self.kill_for(&[host], false, length),
        };
        true
    }

    /// What is started from now on has the newer program.
    pub(crate) fn renew_idle(&mut self) {
        for host in 0..self.plan.replicas {
            if !self.hosts[host].is_up() {
                self.machine(host).program = VersionRange::of::<Watched<M>>();
            }
        }
    }

    /// The operator sees in the status that a replica lacks the version that the others execute.
    pub(crate) fn renew_left_behind(&mut self) {
        let nodes = self.nodes().into_iter();
        let executing = nodes.map(|(_, node)| node.replica.state());
        let executing =
            executing.filter(|state| !state.is_poisoned() && state.applied() > Index::ZERO);
        let Some(newest) = executing.map(|state| state.version()).max() else {
            return;
        };
        for host in 0..self.plan.replicas {
            let lacks = match &self.hosts[host].process {
                Process::Replica(node) => !node.program.contains(newest),
                _ => !self.machines[host].program.contains(newest),
            };
            if lacks && self.is_healed() && !self.is_broken(host) {
                self.renew_at_once(host);
            }
        }
    }

    fn renew_at_once(&mut self, host: usize) {
        self.machine(host).program = VersionRange::of::<Watched<M>>();
        self.kill_for(&[host], false, Duration::ZERO);
    }
}
