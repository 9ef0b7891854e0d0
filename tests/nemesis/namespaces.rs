//! A network of namespaces: each process in one of its own, on a bridge that stands in another one
//! with the clients. Packets are lost in the kernel and TCP does what it does then, which no proxy can
//! show. Needs root, `ip`, `iptables` and `tc`.
//!
//! Nothing leaves these namespaces: the one with the bridge belongs to the thread that made it and its
//! children, and has no way out.

use std::collections::BTreeMap;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use standin_io::entropy;
use standin_tools::cluster::{Placement, VIEW_SERVICE};

use crate::network::{Network, Trouble};
use crate::party::{CLIENTS, Direction, Party, REPLICAS};
use crate::support::sure;

/// Every process has its namespace's ports to itself.
const PORT: u16 = 7000;
/// The packets that may be sent at once on a slow link, and that wait.
const SLOW_BURST: &str = "4kb";
const SLOW_WAIT: &str = "10s";

/// The namespaces, and the rules that are in force in them.
#[derive(Debug)]
pub(crate) struct Namespaces {
    names: BTreeMap<Party, String>,
    rules: BTreeMap<Direction, Vec<Rule>>,
    rules_made: u32,
}

/// What is wrong in one party's namespace: the command that puts it right.
#[derive(Debug)]
struct Rule {
    party: Party,
    undo: Vec<String>,
}

impl Namespaces {
    /// Makes the namespaces, for this thread and its children. The error says why there can be none
    /// on this machine.
    pub(crate) fn make() -> Result<Self, String> {
        for command in ["ip -V", "iptables -V", "tc -V"] {
            run(&words(command))?;
        }
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no namespace: {errno}"))?;
        let mut namespaces = Self {
            names: BTreeMap::new(),
            rules: BTreeMap::new(),
            rules_made: 0,
        };
        for command in [
            "ip link set lo up".to_owned(),
            "ip link add bridge type bridge".to_owned(),
            format!("ip addr add {}/24 dev bridge", ip(CLIENTS)),
            "ip link set bridge up".to_owned(),
        ] {
            run(&words(&command))?;
        }
        let unique = entropy::u64() >> 32;
        for party in REPLICAS.into_iter().chain([VIEW_SERVICE]) {
            let name = format!("standin-{}-{unique:x}-{party}", std::process::id());
            run(&words(&format!("ip netns add {name}")))?;
            namespaces.names.insert(party, name.clone());
            let (inside, outside) = (
                format!("ip netns exec {name}"),
                format!("v{}", number(party)),
            );
            for command in [
                format!("ip link add {outside} type veth peer name eth0 netns {name}"),
                format!("ip link set {outside} master bridge up"),
                format!("{inside} ip addr add {}/24 dev eth0", ip(party)),
                format!("{inside} ip link set eth0 up"),
                format!("{inside} ip link set lo up"),
                // Shows whether the kernel has the filter at all.
                format!("{inside} iptables -w -L"),
            ] {
                run(&words(&command))?;
            }
        }
        Ok(namespaces)
    }

    /// Runs a command in a party's namespace.
    fn inside(&self, party: Party, command: &[String]) {
        let mut all = words(&format!("ip netns exec {}", self.names[party]));
        all.extend_from_slice(command);
        sure(run(&all));
    }

    /// The party whose namespace the rule goes into, and the filter's words for the direction there.
    fn filter(direction: Direction) -> (Party, String) {
        let Direction { from, to } = direction;
        if from == CLIENTS {
            (to, format!("INPUT -s {}", ip(from)))
        } else {
            (from, format!("OUTPUT -d {}", ip(to)))
        }
    }

    fn add(&mut self, direction: Direction, party: Party, rule: [&str; 2], rest: &str) {
        let [make, undo] = rule.map(|start| words(&format!("{start} {rest}")));
        self.inside(party, &make);
        self.rules_made += 1;
        let rules = self.rules.entry(direction).or_default();
        rules.push(Rule { party, undo });
    }
}

impl Network for Namespaces {
    fn placement(&self, name: &str) -> Placement {
        let namespace = self.names.get(name);
        let namespace = namespace.expect("every process has its namespace");
        Placement {
            launcher: words(&format!("ip netns exec {namespace}")),
            listen: Some(format!("{}:{PORT}", ip(name))),
            ..Placement::default()
        }
    }

    fn reached_at(&mut self, _name: &'static str, _address: &str) {}

    fn started(&mut self, _name: &'static str, _pid: u32) {}

    fn view_service(&self) -> String {
        format!("{}:{PORT}", ip(VIEW_SERVICE))
    }

    fn can(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::Cut | Trouble::Slow(_) | Trouble::Reset => true,
            // The kernels that this runs on have no netem; and a machine that vanishes without a
            // word is one that was cut off and killed, which comes by itself.
            Trouble::Delay(_) | Trouble::HalfOpen => false,
        }
    }

    fn afflict(&mut self, direction: Direction, trouble: Trouble) {
        let (party, filter) = Self::filter(direction);
        let iptables = ["iptables -w -A", "iptables -w -D"];
        match trouble {
            Trouble::Cut => self.add(direction, party, iptables, &format!("{filter} -j DROP")),
            Trouble::Reset => {
                let reset = "-p tcp -j REJECT --reject-with tcp-reset";
                self.add(direction, party, iptables, &format!("{filter} {reset}"));
            }
            Trouble::Slow(rate) => {
                // Slows all that the party sends: there is one queue for each device. When both
                // directions of two links are slow, the first rule stays in force.
                if self.rules.values().flatten().any(|rule| {
                    rule.party == party && rule.undo.first().is_some_and(|word| word == "tc")
                }) {
                    return;
                }
                let queue = format!(
                    "dev eth0 root tbf rate {}bit burst {SLOW_BURST} latency {SLOW_WAIT}",
                    u64::from(rate) * 8
                );
                let tc = ["tc qdisc add", "tc qdisc del"];
                self.add(direction, party, tc, &queue);
            }
            Trouble::Delay(_) | Trouble::HalfOpen => {}
        }
    }

    fn heal(&mut self, direction: Direction) {
        for rule in self.rules.remove(&direction).unwrap_or_default() {
            self.inside(rule.party, &rule.undo);
        }
    }

    fn account(&self) -> String {
        format!("{} rules for packets", self.rules_made)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // The devices go with them, and the bridge with the thread.
        for name in self.names.values() {
            if let Err(error) = run(&words(&format!("ip netns del {name}"))) {
                crate::support::tell(error);
            }
        }
    }
}

/// The last number of a party's address.
fn number(party: &str) -> usize {
    let all = || [CLIENTS, VIEW_SERVICE].into_iter().chain(REPLICAS);
    let place = all().position(|name| name == party);
    1 + place.expect("all parties are known")
}

fn ip(party: &str) -> String {
    format!("10.99.0.{}", number(party))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn run(command: &[String]) -> Result<(), String> {
    let text = command.join(" ");
    let output = Command::new(&command[0]).args(&command[1..]).output();
    let output = output.map_err(|error| format!("{text}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{text}: {}", error.trim()))
}
