//! Who and what is where in the cluster.

use std::collections::BTreeMap;

use standin_core::view::Member;

use super::{Process, World};
use crate::simulate::disk::SimDisk;
use crate::simulate::node::{Machine, Node};
use crate::simulate::watched::Subject;

impl<M: Subject> World<M> {
    pub(crate) fn disk(&self, host: usize) -> SimDisk {
        match self.machines.get(host) {
            Some(machine) => machine.disk.clone(),
            None => self.service_disk.clone(),
        }
    }

    pub(crate) fn machine(&mut self, host: usize) -> &mut Machine {
        &mut self.machines[host]
    }

    /// The host whose living replica is this member of a view.
    pub(crate) fn host_of(&self, member: &Member) -> Option<usize> {
        let mut replicas = self.checks.truth.replicas.iter();
        replicas.position(|replica| {
            let identity = replica.identity.as_ref();
            replica.is_running && identity.is_some_and(|identity| member.is(identity))
        })
    }

    /// The replicas whose processes run.
    pub(crate) fn nodes(&self) -> BTreeMap<usize, &Node<M>> {
        let hosts = self.hosts.iter().enumerate();
        hosts
            .filter_map(|(host, it)| match &it.process {
                Process::Replica(node) => Some((host, &**node)),
                _ => None,
            })
            .collect()
    }
}
