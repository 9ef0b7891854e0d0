//! A state that is fetched over a connection that breaks in the midst of it.

use std::fs;

use standin_tools::cluster::{ClusterConfig, VIEW_SERVICE};

use crate::network::{Network as _, Trouble};
use crate::party::{Direction, REPLICAS};
use crate::proxies::Proxies;
use crate::support::scene::Scene;
use crate::support::tables::{self, fetched_bytes, fill_until_forgotten};
use crate::support::{sure, tell};

const STATE_BYTES: u64 = 128 << 20;
/// So many bytes have come when the connection is cut.
const CUT_AT: u64 = 8 << 20;
/// Bytes in a second: it takes some seconds, however fast the machine is.
const RATE: u32 = 32 << 20;

#[test]
fn a_state_that_is_fetched_goes_on_where_its_connection_was_cut() {
    let mut network = Proxies::start();
    let names = || [VIEW_SERVICE].into_iter().chain(REPLICAS);
    let placements = names().map(|name| (name.to_owned(), network.placement(name)));
    let config = ClusterConfig {
        placements: placements.collect(),
        ..tables::config(100)
    };
    let mut scene = Scene::with("fetching over a broken line", config);
    let start = |scene: &mut Scene, network: &mut Proxies, name: &'static str| {
        sure(scene.spawn(name));
        network.started(name, scene.pid(name).expect("it was just started"));
        scene.until("a process to be ready", |scene| {
            sure(scene.is_ready(name)).then_some(())
        });
        network.reached_at(name, sure(scene.address(name)));
    };
    for name in [VIEW_SERVICE, "a", "b"] {
        start(&mut scene, &mut network, name);
    }
    let pair = scene.until_pair();
    let mut client = tables::client(&scene);
    tables::weigh(&mut client, STATE_BYTES);
    fill_until_forgotten(&mut scene, &mut client);

    // From whoever is primary now, or is next.
    let directions = ["a", "b"].map(|from| Direction { from, to: "c" });
    for direction in directions {
        network.afflict(direction, Trouble::Slow(RATE));
    }
    start(&mut scene, &mut network, "c");
    scene.until("a part to be here", |scene| {
        (fetched_bytes(scene, "c") > CUT_AT).then_some(())
    });
    for direction in directions {
        network.heal(direction);
        network.afflict(direction, Trouble::Reset);
    }
    scene.until("a connection to be reset", |_| {
        (!network.account().ends_with(" 0 reset")).then_some(())
    });
    for direction in directions {
        network.heal(direction);
    }
    scene.until_agreement();
    let log = sure(fs::read_to_string(scene.log_path("c")));
    let begun = log
        .lines()
        .filter(|line| line.contains("fetching the state"));
    let begun: Vec<&str> = begun.collect();
    tell(format_args!("{} was primary; {begun:#?}", pair.primary));
    let parts = begun.iter().skip(1).filter_map(|line| {
        let (_, part) = line.split_once("of which ")?;
        part.split(' ').next()?.parse::<u64>().ok()
    });
    assert!(
        parts.max().is_some_and(|part| part > CUT_AT / 2),
        "what had come was asked for again: {log}"
    );
}
