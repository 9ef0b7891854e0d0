//! Snapshots with real processes: taken while the service serves, started from, and handed to a spare that
//! has nothing, over a connection that breaks.

use std::fs;

use standin_core::message::InspectReply;

use crate::support::scene::{Pair, Scene};
use crate::support::tables::{
    self, check, client, fetched_bytes, files, fill_until_forgotten, put, tables,
};
use crate::support::{sure, tell};

fn inspected(scene: &mut Scene, names: &[&str]) -> Vec<InspectReply> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    scene.until("replicas that agree", |scene| {
        // One that puts a state that was fetched in its place answers a little later.
        let all = names.iter().map(|name| scene.inspect(name).ok());
        let all: Vec<_> = all.collect::<Option<_>>()?;
        let at = |one: &InspectReply| (one.standing.applied, one.state_digest);
        let is_at_rest = all
            .iter()
            .all(|one| at(one) == at(&all[0]) && one.standing.applied == one.standing.last.index);
        is_at_rest.then_some(all)
    })
}

#[test]
fn state_and_log_stay_small_and_a_replica_starts_from_its_snapshot() {
    let mut scene = tables("snapshots", 100);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    let mut client = client(&scene);
    fill_until_forgotten(&mut scene, &mut client);
    for name in ["a", "b"] {
        let snapshots = files(&scene, name, "snapshots");
        let segments = files(&scene, name, "log");
        tell(format_args!(
            "{name}: snapshots {snapshots:?}, segments from {segments:?}"
        ));
        assert!(
            (1..=3).contains(&snapshots.len()),
            "one may be being written"
        );
    }
    let before = inspected(&mut scene, &["a", "b"]);

    sure(scene.kill_together(&["a", "b"]));
    sure(scene.start("a"));
    sure(scene.start("b"));
    scene.until_pair();
    check(&mut client, 0..10);
    for name in ["a", "b"] {
        let log = sure(fs::read_to_string(scene.log_path(name)));
        assert!(log.contains("going on from the snapshot of entry"), "{log}");
    }
    put(&mut client, 10);
    let after = inspected(&mut scene, &["a", "b"]);
    assert!(after[0].standing.applied > before[0].standing.applied);
}

#[test]
fn a_spare_with_nothing_fetches_the_state_and_goes_on_where_it_was_interrupted() {
    const STATE_BYTES: u64 = 128 << 20;
    let mut scene = tables("fetching", 100);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    let mut client = client(&scene);
    tables::weigh(&mut client, STATE_BYTES);
    fill_until_forgotten(&mut scene, &mut client);

    sure(scene.spawn("c"));
    scene.until("a part is here", |scene| {
        (fetched_bytes(scene, "c") > 8 << 20).then_some(())
    });
    sure(scene.kill("c"));
    let part = fetched_bytes(&scene, "c");
    assert!(part < STATE_BYTES, "it was killed in the midst of it");
    put(&mut client, 10);
    sure(scene.start("c"));
    let all = inspected(&mut scene, &["a", "b", "c"]);
    assert!(
        all.iter()
            .all(|one| one.state_digest == all[0].state_digest)
    );
    let log = sure(fs::read_to_string(scene.log_path("c")));
    let begun: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("fetching the state"))
        .collect();
    tell(format_args!("{begun:#?}"));
    assert!(begun.len() >= 2, "{log}");
    assert!(
        begun
            .iter()
            .any(|line| !line.contains("of which 192 are here")),
        "what came before the kill was not asked for again: {begun:#?}"
    );
    check(&mut client, 0..11);

    // And it is as good as the others: the next two to die leave it alone with everything.
    let pair = scene.until_pair();
    sure(scene.kill(&pair.backup));
    scene.until_record("c is the backup", |record| {
        Pair::of(record).filter(|pair| pair.backup == "c")
    });
    sure(scene.kill(&pair.primary));
    put(&mut client, 11);
    check(&mut client, 0..12);
}
