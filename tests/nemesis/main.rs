//! Real processes under random faults: a view service, three replicas and some clients, while a
//! nemesis kills, freezes, stops and parts them. Then all is put right, and the service must answer,
//! have a pair, and never have said anything that one counter could not have said.
//!
//! `STANDIN_NEMESIS_SECONDS` says for how long, `STANDIN_NEMESIS_SEED` what is drawn.

mod disks;
mod fetching;
mod links;
mod namespaces;
mod nemesis;
mod network;
mod owner;
mod party;
mod plan;
mod proxies;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod verdict;

use namespaces::Namespaces;
use proxies::Proxies;
use standin_client::Consistency;
use support::tell;

#[test]
fn with_proxies_in_between_what_is_answered_is_what_one_counter_would() {
    tell("by proxies: runs, on loopback");
    let reads = &[Consistency::Confirmed, Consistency::Lease];
    run::run("by proxies", Box::new(Proxies::start()), reads);
}

#[test]
fn in_namespaces_what_is_answered_is_what_one_counter_would() {
    match Namespaces::make() {
        Ok(namespaces) => {
            tell("in namespaces: runs");
            // By lease alone: a read by lease waits behind one that is to be confirmed, and so would
            // never be wrong if both were asked of the same primary.
            let reads = &[Consistency::Lease];
            run::run("in namespaces", Box::new(namespaces), reads);
        }
        // The same is shown by proxies, if less of TCP.
        Err(why) => tell(format_args!(
            "in namespaces: not run on this machine: {why}"
        )),
    }
}
