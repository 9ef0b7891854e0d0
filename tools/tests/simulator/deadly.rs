//! Entries that end the process of whoever executes them, in virtual time (`protocol.md` section 12). All properties are
//! watched at every step. Whoever has died is started again, and nobody does anything else.

use standin_core::identity::Durability::{Disk, Memory, Os};
use standin_tools::simulate::{Ledger, Scene};

type Cluster = Scene<Ledger>;

#[test]
fn an_entry_that_kills_everybody_costs_two_lives_and_is_skipped() {
    for durability in [Os, Disk] {
        for replicas in [2, 3] {
            let mut scene = Cluster::new(replicas, durability);
            scene.call();
            scene.deadly_command(&["a", "b", "c"][..replicas]);
            assert_eq!((scene.deaths(), scene.skips()), (2, 1), "{durability:?}");
            scene.until("a pair", |scene| scene.backup().is_some());
            scene.call();
            scene.end();
        }
    }
}

#[test]
fn at_level_memory_the_tokens_of_a_pair_die_with_it_and_so_does_the_service() {
    // Section 7: what only processes had is gone with them, whatever they died of.
    let mut scene = Cluster::new(2, Memory);
    scene.call();
    scene.kill("b");
    scene.until_alone();
    scene.deadly_command(&["a", "b"]);
    assert_eq!((scene.deaths(), scene.skips()), (2, 1));
    scene.until_primary("a");
    scene.end();
}

#[test]
fn a_lone_primary_dies_twice_and_skips_it() {
    let mut scene = Cluster::new(2, Os);
    scene.kill("b");
    scene.until_alone();
    scene.deadly_command(&["a", "b"]);
    assert_eq!((scene.deaths(), scene.skips()), (2, 1));
    scene.until_primary("a");
    scene.start("b");
    scene.until_backup("b");
    scene.call();
    scene.end();
}

#[test]
fn an_entry_that_was_answered_is_not_skipped_however_often_others_die_of_it() {
    let mut scene = Cluster::new(2, Os);
    scene.call();
    let (primary, backup) = (scene.primary().unwrap(), scene.backup().unwrap());
    scene.deadly_command(&[&backup]);
    scene.run_for(scene.term() * 20);
    assert!(scene.deaths() > 4, "{}", scene.deaths());
    assert_eq!(scene.skips(), 0);
    assert_eq!(scene.primary(), Some(primary), "it has executed it");
    scene.call();
    // The other machine gets what it lacked.
    scene.spare();
    scene.until_backup(&backup);
    scene.call();
    scene.end();
}
