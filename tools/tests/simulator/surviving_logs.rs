//! What is left of logs is replayed at the end of each run of the simulator (property `REPLAY`): here somebody has changed
//! them behind everybody's back, in ways that no checksum shows.

use standin_core::identity::Durability::{Disk, Os};
use standin_tools::simulate::{Ledger, Scene};

type Cluster = Scene<Ledger>;

/// A pair of which `b` has died, with the command that was answered last as the last entry of its log.
fn with_a_dead_backup() -> Cluster {
    let mut scene = Cluster::new(2, Disk);
    scene.command();
    scene.kill("b");
    scene
}

#[test]
fn a_log_that_nobody_has_touched_is_what_it_was() {
    for name in ["a", "b"] {
        let mut scene = Cluster::new(2, Os);
        scene.command();
        scene.kill(name);
        assert_eq!(scene.last_look(), None);
    }
}

#[test]
fn another_entry_in_a_log_is_found() {
    // In a log that runs, and in one that is left of a replica.
    for name in ["a", "b"] {
        let scene = with_a_dead_backup();
        scene.exchange_last_entry(name);
        let violation = scene.last_look().expect("it is found");
        assert_eq!(violation.property, "REPLAY");
        assert!(
            violation.what.contains("was never ordered"),
            "{violation}, in the log of {name}"
        );
    }
}

#[test]
fn an_entry_that_is_missing_is_found() {
    for (name, words) in [("a", "the log goes to entry"), ("b", "is on the platter")] {
        let scene = with_a_dead_backup();
        scene.lose_last_entry(name);
        let violation = scene.last_look().expect("it is found");
        assert_eq!(violation.property, "REPLAY");
        assert!(
            violation.what.contains(words),
            "{violation}, in the log of {name}"
        );
    }
}
