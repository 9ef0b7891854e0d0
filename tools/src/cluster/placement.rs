//! Where the processes of a cluster stand, and with what they are started.

use super::{ClusterConfig, VIEW_SERVICE};

/// Where a process listens in its first life: on any free port.
const ANY_ADDRESS: &str = "127.0.0.1:0";

/// Where a process stands, if that is not plainly on loopback: there may be something between it and
/// the others.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The words before the binary's own, such as `ip netns exec NAME`: a program that becomes the
    /// binary, by exec, under the same process id.
    pub launcher: Vec<String>,
    /// Where it listens in its first life, `HOST:PORT`; later it comes back there.
    pub listen: Option<String>,
    /// The address that it tells others to reach it at (replicas only).
    pub advertise: Option<String>,
    /// Where it finds the view service (replicas only).
    pub view_service: Option<String>,
}

impl Placement {
    /// Whether it listens where its owner could listen as well.
    pub(super) fn is_beside_owner(&self) -> bool {
        self.launcher.is_empty() && self.listen.is_none()
    }

    pub(super) fn listen_first(&self) -> &str {
        self.listen.as_deref().unwrap_or(ANY_ADDRESS)
    }
}

/// The arguments of a process in all its lives, but for the address it listens on and its data
/// directory. `view_service` is where that listens.
pub(super) fn arguments(
    config: &ClusterConfig,
    name: &str,
    placement: &Placement,
    view_service: &str,
) -> Vec<String> {
    if name == VIEW_SERVICE {
        let lease = format!("{}ms", config.lease.as_millis());
        return words(&["viewservice", "--lease", &lease]);
    }
    let view_service = placement.view_service.as_deref().unwrap_or(view_service);
    let durability = config.durability.to_string();
    let mut arguments = words(&["replica", "--name", name, "--viewservice", view_service]);
    arguments.extend(words(&["--machine", &config.machine]));
    arguments.extend(words(&["--durability", &durability]));
    if let Some(address) = &placement.advertise {
        arguments.extend(words(&["--advertise", address]));
    }
    arguments.extend(config.replica_arguments.iter().cloned());
    arguments
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
