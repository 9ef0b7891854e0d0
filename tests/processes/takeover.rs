//! The pulled plug: SIGKILL to the primary, to the backup, and to both in turn under load.

use standin_core::identity::Durability;
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_tools::cluster::VIEW_SERVICE;

use crate::support::load::LoadConfig;
use crate::support::scene::{Pair, Scene};
use crate::support::{SLACK, ms, sure, tell};

const LEASE: Duration = Duration::from_millis(500);
/// How long an add may take at most after the primary was killed, and after the backup was.
const TAKEOVER_MAX: Duration = Duration::from_millis(500 + 500);
const DROP_MAX: Duration = Duration::from_millis(500 / 2 + 200);
/// Long enough for a backup to be killed and started again before it is dropped.
const LONG_LEASE: Duration = Duration::from_secs(2);

fn add(scene: &Scene) -> i64 {
    scene
        .cli(&["client", "--timeout", "100s", "counter", "add"])
        .number()
}

/// Adds one through the command line, and holds the time since `killed` against what the interface
/// promises, with much to spare.
fn add_after(scene: &Scene, what: &str, killed: Instant, promised: Duration) -> i64 {
    let value = add(scene);
    let took = clock::boot().since(killed);
    tell(format_args!("{what}: an add answered after {}", ms(took)));
    assert!(took < promised + SLACK, "{what}: {took:?}");
    value
}

#[test]
fn when_the_primary_is_killed_the_backup_answers_and_the_dead_one_comes_back_as_a_spare() {
    let mut scene = Scene::start("primary killed", LEASE, Durability::Os, &["a", "b", "c"]);
    scene.until_pair();
    assert_eq!((add(&scene), add(&scene)), (1, 2));

    let (pair, killed) = scene.kill_one(|pair| &pair.primary);
    let dead = pair.primary;
    assert_eq!(add_after(&scene, "primary killed", killed, TAKEOVER_MAX), 3);
    for role in ["primary", "backup", "spare"] {
        assert!(
            !scene.cli_expects(&dead, role),
            "{dead} is dead, and no {role}"
        );
    }
    let next = scene.until_pair();
    assert!(next.view > pair.view && next.primary != dead && next.backup != dead);
    for (name, role) in [(&next.primary, "primary"), (&next.backup, "backup")] {
        scene.until_in_line(name, role, next.view);
    }

    // Plugged in again: a spare, as long as the other two are a pair.
    sure(scene.start(&dead));
    scene.until_in_line(&dead, "spare", next.view);
    assert_eq!(add(&scene), 4);

    // The backup dies: the spare takes its place with nobody doing anything.
    let (pair, killed) = scene.kill_one(|pair| &pair.backup);
    assert_eq!(add_after(&scene, "backup killed", killed, DROP_MAX), 5);
    let last = scene.until_pair();
    assert!(last.backup != pair.backup && last.primary != pair.backup);
    scene.until_in_line(&last.backup, "backup", last.view);

    // And it has everything: alone, it goes on from there.
    let (pair, _) = scene.kill_one(|pair| &pair.primary);
    assert_eq!(add(&scene), 6);
    let ran = scene.cli(&["client", "--timeout", "100s", "counter", "get"]);
    assert_eq!(ran.number(), 6);
    assert!(
        scene.cli_expects(&pair.backup, "primary"),
        "{:?}",
        scene.status()
    );
}

#[test]
fn of_two_replicas_the_dead_one_comes_back_as_the_backup_by_itself() {
    let mut scene = Scene::start("two replicas", LEASE, Durability::Os, &["a", "b"]);
    let mut expected = 0;
    for nth in 0..4 {
        scene.until_pair();
        expected += 1;
        assert_eq!(add(&scene), expected);
        let is_primary = nth % 2 == 0;
        let (pair, killed) = scene.kill_one(|pair| victim(pair, is_primary));
        let (what, promised) = if is_primary {
            ("two replicas, primary killed", TAKEOVER_MAX)
        } else {
            ("two replicas, backup killed", DROP_MAX)
        };
        expected += 1;
        assert_eq!(add_after(&scene, what, killed, promised), expected);
        let dead = victim(&pair, is_primary);
        sure(scene.start(dead));
        let now = scene.until_pair();
        scene.until_in_line(dead, "backup", now.view);
    }
    scene.until_agreement();
}

fn victim(pair: &Pair, is_primary: bool) -> &str {
    if is_primary {
        &pair.primary
    } else {
        &pair.backup
    }
}

#[test]
fn a_backup_that_is_back_before_it_is_missed_is_still_the_backup() {
    let title = "backup back at once";
    let mut scene = Scene::start(title, LONG_LEASE, Durability::Os, &["a", "b"]);
    let load = scene.load(LoadConfig::default());
    for _ in 0..3 {
        let pair = scene.until_pair();
        scene.until_answers(&load);
        let killed = clock::boot();
        sure(scene.restart(&pair.backup));
        // In time, or dropped and joined again: either way it ends as the backup.
        scene.until("status to name the backup", |scene| {
            scene.cli_expects(&pair.backup, "backup").then_some(())
        });
        scene.until_answers(&load);
        let wait = load.longest_wait(killed);
        tell(format_args!("{title}: longest wait {}", ms(wait)));
        assert!(wait < LONG_LEASE + SLACK, "{wait:?}");
    }
    scene.audit(load);
}

#[test]
fn under_load_no_plug_that_is_pulled_shows_as_an_error() {
    let title = "plugs under load";
    let mut scene = Scene::start(title, LEASE, Durability::Os, &["a", "b", "c"]);
    scene.until_pair();
    let load = scene.load(LoadConfig::default());
    for nth in 0..6 {
        scene.until_answers(&load);
        let is_primary = nth % 2 == 0;
        let (pair, killed) = scene.kill_one(|pair| victim(pair, is_primary));
        let dead = victim(&pair, is_primary);
        let (what, promised) = if is_primary {
            ("primary", TAKEOVER_MAX)
        } else {
            ("backup", DROP_MAX)
        };
        scene.until_answers(&load);
        let gap = load.longest_wait(killed);
        tell(format_args!(
            "{title}: {what} killed: longest wait {}",
            ms(gap)
        ));
        assert!(gap < promised + SLACK, "{gap:?}");
        // With it gone the pair is made of the others, and it comes back behind them.
        let now = scene.until_pair();
        assert!(now.view > pair.view && now.primary != dead && now.backup != dead);
        sure(scene.start(dead));
    }
    scene.audit(load);
    for name in [VIEW_SERVICE, "a", "b", "c"] {
        assert!(scene.is_running(name), "{name}");
    }
}
