//! A replica is two processes, one that serves and its parent. When the one that serves dies, its parent
//! proves that to the view service, and a takeover need not wait for the lease.

mod support;

use std::fs;

use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_io::clock;
use standin_tools::cluster::VIEW_SERVICE;

use support::load::{Load, LoadConfig};
use support::scene::{Scene, TRIES, names};
use support::{PATIENCE, SLACK, ms, sure, tell};

/// The default.
const LEASE: Duration = Duration::from_secs(1);
/// How many takeovers of each kind are measured, if it is not said.
const ROUNDS: usize = 5;
/// How many are wanted: `.ci/takeovers` and docs/performance.md ask for more, of a release build.
const ROUNDS_VARIABLE: &str = "STANDIN_TAKEOVER_ROUNDS";

fn rounds() -> usize {
    let wanted = std::env::var(ROUNDS_VARIABLE).ok();
    wanted.map_or(ROUNDS, |wanted| sure(wanted.parse()))
}

/// Takes one primary after the other away in a way, and returns how long the clients waited each time.
fn measure(
    title: &str,
    rounds: usize,
    take_away: impl Fn(&mut Scene, &str),
    cause: &str,
) -> Vec<Duration> {
    let mut scene = Scene::start(title, LEASE, Durability::Os, &["a", "b", "c"]);
    let load = scene.load(LoadConfig::default());
    let mut gaps = Vec::new();
    let mut tries = 0;
    while gaps.len() < rounds {
        tries += 1;
        assert!(tries < rounds + TRIES as usize, "{title}: no pair lasts");
        gaps.extend(round(&mut scene, &load, &take_away));
    }
    let views = sure(fs::read_to_string(scene.log_path(VIEW_SERVICE)));
    let caused = views.matches(cause).count();
    assert!(caused >= rounds, "{title}: {caused} of {rounds}\n{views}");
    scene.audit(load);
    gaps.sort();
    let at = |per_cent: usize| gaps[(gaps.len() * per_cent).div_ceil(100).max(1) - 1];
    tell(format_args!(
        "{title}: {rounds} rounds, clients waited {} (p50), {} (p99), {} at most",
        ms(at(50)),
        ms(at(99)),
        ms(at(100))
    ));
    gaps
}

/// One takeover; `None` if the pair had just parted, and nobody may take over.
fn round(
    scene: &mut Scene,
    load: &Load,
    take_away: impl Fn(&mut Scene, &str),
) -> Option<Duration> {
    let pair = scene.until_pair();
    scene.until_answers(load);
    let killed = clock::boot();
    take_away(scene, &pair.primary);
    sure(scene.wait(&pair.primary, PATIENCE));
    let record = scene.until_record("somebody else to be primary, or to be a holder no more", |record| {
        let is_alone = names(record) == [pair.primary.as_str()];
        let is_next = record.active && record.primary.name.as_str() != pair.primary;
        (is_alone || is_next).then(|| record.clone())
    });
    let counts = record.primary.name.as_str() != pair.primary;
    if counts {
        scene.until_answers(load);
    }
    let gap = counts.then(|| load.longest_wait(killed));
    sure(scene.start(&pair.primary));
    gap
}

#[test]
fn a_takeover_from_a_process_that_is_proven_dead_does_not_wait_for_the_lease() {
    let title = "process killed, parent alive";
    let kill = |scene: &mut Scene, name: &str| sure(scene.kill_serving(name));
    let gaps = measure(title, rounds(), kill, "the primary's process died");
    // A machine that is busy with other tests may take long over anything, but not every time.
    assert!(gaps[0] < LEASE / 2, "{gaps:?}");
}

#[test]
fn a_pulled_plug_still_waits_for_the_lease() {
    let title = "process and parent killed";
    let kill = |scene: &mut Scene, name: &str| sure(scene.kill(name));
    let gaps = measure(title, rounds(), kill, "the primary's lease ran out");
    assert!(gaps.iter().all(|gap| *gap < LEASE + SLACK), "{gaps:?}");
    assert!(gaps[0] > LEASE / 2, "{gaps:?}");
}
