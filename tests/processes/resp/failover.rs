//! A cluster-aware client finds the primary by itself, whoever that is.

use std::time::Duration;

use super::{address, start_with};
use crate::support::python::Clients;
use crate::support::sure;

const LEASE: Duration = Duration::from_millis(500);
const FAILOVERS: usize = 3;
const REPLICAS: [&str; 3] = ["a", "b", "c"];

#[test]
fn redis_py_follows_three_failovers_by_itself() {
    let mut scene = start_with("redis-py's RedisCluster", &REPLICAS, LEASE, &[]);
    let addresses = REPLICAS.map(|name| address(&scene, name));
    let clients = Clients::start("cluster.py", addresses);
    clients.until_answers(&mut scene);
    for _ in 0..FAILOVERS {
        let (pair, _) = scene.kill_one(|pair| &pair.primary);
        clients.until_answers(&mut scene);
        sure(scene.start(&pair.primary));
    }
    clients.until_answers(&mut scene);
    clients.end(&format!("RedisCluster, {FAILOVERS} failovers"));
    scene.until_agreement();
}
