//! Redis clients that talk to the replicas themselves.

mod failover;
mod programs;
mod raw;
mod reads;
use std::time::Duration;

use crate::support::resp::RespClient;
use crate::support::scene::Scene;
use crate::support::sure;

/// Long enough that a busy machine seldom parts a pair.
const LEASE: Duration = Duration::from_secs(2);

/// Starts replicas that serve Redis clients, and waits for a pair.
fn start(title: &str, replicas: &[&str]) -> Scene {
    start_with(title, replicas, LEASE, &[])
}

fn start_with(title: &str, replicas: &[&str], lease: Duration, more: &[&str]) -> Scene {
    Scene::databases_with(title, lease, replicas, |config| {
        config.serves_resp = true;
        config.replica_arguments = more.iter().map(|word| (*word).to_owned()).collect();
    })
}

fn address(scene: &Scene, name: &str) -> String {
    sure(scene.resp_address(name)).to_owned()
}

fn connect(scene: &Scene, name: &str) -> RespClient {
    RespClient::connect(sure(scene.resp_address(name)))
}
