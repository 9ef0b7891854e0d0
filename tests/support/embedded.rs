//! Replicas of the database on threads of this process, so that what they allocate can be counted.

use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use standin::Stop;
use standin::replica::{self, Listening, ReplicaConfig, ReplicaError, RespConfig};
use standin_core::identity::Durability;
use standin_core::message::Consistency;
use standin_tools::cluster::{Cluster, ClusterConfig, VIEW_SERVICE};

use super::cli::STANDIN;
use super::{PATIENCE, sure};

/// Does something beside a pair of databases in this process, whose allocations are counted, given where the primary listens.
pub(crate) fn beside_counted_pair(work: impl FnOnce(Listening)) {
    let profiler = dhat::Profiler::builder().testing().build();
    let mut cluster = sure(Cluster::new(ClusterConfig::new(STANDIN)));
    let directory = sure(tempfile::tempdir());
    let replicas = pair(&mut cluster, directory.path());
    work(replicas[0].listening);
    for replica in replicas {
        replica.stop();
    }
    drop(profiler);
}

/// A replica on a thread of its own.
#[derive(Debug)]
struct Embedded {
    stop: Stop,
    thread: JoinHandle<Result<(), ReplicaError>>,
    listening: Listening,
}

impl Embedded {
    fn start(name: &str, cluster: &Cluster, dir: &Path) -> Self {
        let stop = Stop::default();
        let name = name.parse().expect("a name");
        let services = sure(cluster.view_services());
        let listen = "127.0.0.1:0".to_owned();
        let config = ReplicaConfig {
            takes_signals: false,
            stop: stop.clone(),
            ..ReplicaConfig::new(
                name,
                listen.clone(),
                services,
                dir.to_owned(),
                Durability::Os,
            )
        };
        let resp = RespConfig {
            listen,
            advertise: None,
            password: None,
            reads: Consistency::Confirmed,
        };
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let told = move |listening| ready.send(listening).unwrap_or_default();
            replica::run_with_resp(&config, &resp, told)
        });
        let listening = sure(is_ready.recv_timeout(PATIENCE));
        Self {
            stop,
            thread,
            listening,
        }
    }

    /// Stops it, and waits for its end.
    fn stop(self) {
        self.stop.ask();
        sure(self.thread.join().expect("it does not panic"));
    }
}

/// Starts two replicas of the database in a directory, with a view service beside them, and waits for a pair: the
/// primary comes first.
fn pair(cluster: &mut Cluster, directory: &Path) -> [Embedded; 2] {
    sure(cluster.start(VIEW_SERVICE));
    let mut replicas = ["a", "b"].map(|name| Embedded::start(name, cluster, &directory.join(name)));
    let status = sure(cluster.wait_for_pair(PATIENCE));
    let record = status.record.expect("there is a pair");
    if record.primary.name.as_str() == "b" {
        replicas.reverse();
    }
    replicas
}
