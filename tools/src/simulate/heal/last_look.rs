//! The last look: the states of all replicas, replays of their logs, and every call that was made.

use crate::simulate::check::Check as _;
use crate::simulate::check::replay::{Remains, Told};
use crate::simulate::watched::Subject;
use crate::simulate::world::{Process, World};

impl<M: Subject> World<M> {
    /// The last look: states, replays, and every call ever made. Whether all calls that were made
    /// after the faults must have been answered.
    pub(crate) fn finish(&mut self, are_answers_demanded: bool) {
        self.is_over = true;
        let states = self.compare_states();
        let logs = states.and_then(|()| self.replay_logs());
        if let Err((property, what)) = logs.and_then(|()| self.compare_calls()) {
            self.checks.fail(property, what);
        }
        if let Some(error) = self.failed_call().filter(|_| are_answers_demanded) {
            let what = format!("a call failed after the faults: {error}");
            self.checks.fail("L2", what);
        }
    }

    fn compare_states(&self) -> Result<(), (&'static str, String)> {
        let reference = self.checks.reference.state();
        for (host, node) in self.nodes() {
            let state = node.replica.state();
            let replica = &self.checks.truth.replicas[host];
            // A log that is to be set aside has a state that nobody is shown any more.
            let is_outdated = node.replica.standing().applied != state.applied();
            let is_of_data_epoch = self.checks.truth.is_of_data_epoch(host) && !is_outdated;
            let is_right = replica.wrong_from.is_none() && !replica.has_strayed;
            let is_comparable = is_right && is_of_data_epoch;
            let has_state = !state.is_poisoned() && !reference.is_poisoned();
            if !is_comparable || !has_state || state.applied() != reference.applied() {
                continue;
            }
            if state.state_digest() != reference.state_digest() {
                let what = format!("the state of host {host} differs from the reference's");
                return Err(("S10", what));
            }
        }
        Ok(())
    }

    /// What is left of each log is replayed.
    fn replay_logs(&mut self) -> Result<(), (&'static str, String)> {
        let nodes = self.nodes();
        let mut evidence = self.checks.evidence();
        for (host, machine) in self.machines.iter().enumerate() {
            let node = nodes.get(&host);
            let remains = Remains {
                host,
                disk: &machine.disk,
                state: node.map(|node| node.replica.state()),
                is_running: node.is_some(),
            };
            let looked = evidence.look(remains);
            looked.map_err(|what| (Told::PROPERTY, format!("host {host}: {what}")))?;
        }
        for mark in evidence.marks {
            self.marks.reach(mark);
        }
        Ok(())
    }

    /// How a call failed that was made after the faults had ended.
    pub(crate) fn failed_call(&self) -> Option<String> {
        self.hosts.iter().find_map(|host| match &host.process {
            Process::Client(caller) => caller.failed_since_healing.clone(),
            _ => None,
        })
    }

    fn compare_calls(&self) -> Result<(), (&'static str, String)> {
        let machine = self.checks.reference.state().machine();
        for (call, was_answered) in self.recorder.commands() {
            if machine.has_executed(call) != was_answered {
                let said = if was_answered {
                    "answered"
                } else {
                    "said not to be executed"
                };
                return Err((
                    "S11",
                    format!("call {call} was {said}, and the machine differs"),
                ));
            }
        }
        self.compare_history()
    }

    /// Whether what clients saw until now is linearizable.
    pub(super) fn compare_history(&self) -> Result<(), (&'static str, String)> {
        if self.checks.truth.is_falsified {
            return Ok(());
        }
        let verdict = self.recorder.judge::<M>(self.plan.are_clocks_bounded);
        if !verdict.is_linearizable() {
            return Err(("S12", verdict.to_string()));
        }
        Ok(())
    }
}
