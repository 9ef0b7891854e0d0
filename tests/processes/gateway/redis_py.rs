//! The same with the Redis client that most programs in Python use.

use std::time::Duration;

use standin_core::time::Instant;
use standin_io::clock;

use super::client::Gateway;
use crate::support::python::Clients;
use crate::support::sure;

/// How often the plug is pulled, if [`SECONDS_VARIABLE`] does not say how long.
const PULLS: u64 = 3;
/// Time from one pull to the next, at least.
const PULL_EVERY: Duration = Duration::from_secs(3);
/// How long the plug is pulled again and again, in seconds.
const SECONDS_VARIABLE: &str = "STANDIN_GATEWAY_SECONDS";

#[test]
fn redis_py_sees_no_error_and_no_reconnect_while_the_plug_is_pulled() {
    let mut scene = super::start("redis-py");
    let gateways = [Gateway::start(&scene), Gateway::start(&scene)];
    let addresses = gateways.iter().map(|gateway| &gateway.address);
    let clients = Clients::start("gateway.py", addresses);
    let seconds = std::env::var(SECONDS_VARIABLE).ok();
    let seconds = seconds.map(|text| sure(text.parse::<u64>()));
    let pulls = seconds.map_or(PULLS, |seconds| seconds / PULL_EVERY.as_secs());
    clients.until_answers(&mut scene);
    let mut next: Instant = clock::boot();
    for _ in 0..pulls {
        scene.until_moment(next);
        let (pair, killed) = scene.kill_one(|pair| &pair.primary);
        next = killed.plus(PULL_EVERY);
        clients.until_answers(&mut scene);
        sure(scene.start(&pair.primary));
    }
    clients.until_answers(&mut scene);
    clients.end(&format!("redis-py, {pulls} pulls"));
    scene.until_agreement();
}
