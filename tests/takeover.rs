//! The pulled plug: SIGKILL to the primary, to the backup, and to both in turn under load.

mod support;

use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_io::clock;
use standin_tools::cluster::VIEW_SERVICE;

use support::load::LoadConfig;
use support::scene::{Pair, Scene};
use support::{SLACK, ms, sure, tell};

const LEASE: Duration = Duration::from_millis(500);
/// Long enough for a backup to be killed and started again before it is dropped.
const LONG_LEASE: Duration = Duration::from_secs(2);

fn add(scene: &Scene) -> i64 {
    scene
        .cli(&["client", "--timeout", "100s", "counter", "add"])
        .number()
}

/// Adds one through the command line, and holds the time since the plug was pulled against what the
/// interface promises, with much to spare.
fn add_after(scene: &Scene, what: &str, promised: Duration) -> i64 {
    let begun = clock::boot();
    let value = add(scene);
    let took = clock::boot().since(begun);
    tell(format_args!(
        "{what}: the next add answered after {}",
        ms(took)
    ));
    assert!(took < promised + SLACK, "{what}: {took:?}");
    value
}

#[test]
fn when_the_primary_is_killed_the_backup_answers_and_the_dead_one_comes_back_as_a_spare() {
    let mut scene = Scene::start("primary killed", LEASE, Durability::Os, &["a", "b", "c"]);
    let pair = scene.until_pair();
    assert_eq!((add(&scene), add(&scene)), (1, 2));

    sure(scene.kill(&pair.primary));
    let value = add_after(&scene, "primary killed", LEASE + Duration::from_millis(500));
    assert_eq!(value, 3);
    let dead = pair.primary;
    for role in ["primary", "backup", "spare"] {
        assert!(
            !scene.cli_expects(&dead, role),
            "{dead} is dead, and no {role}"
        );
    }
    let next = scene.until_pair();
    assert!(next.view > pair.view && next.primary != dead && next.backup != dead);
    scene.until("status to name the primary", |scene| {
        scene.cli_expects(&next.primary, "primary").then_some(())
    });
    scene.until("status to name the backup", |scene| {
        scene.cli_expects(&next.backup, "backup").then_some(())
    });

    // Plugged in again: a spare, as long as the other two are a pair.
    sure(scene.start(&dead));
    let is_spare = scene.until("the restarted replica to be in line", |scene| {
        let is_spare = scene.cli_expects(&dead, "spare");
        (is_spare || scene.cli_expects(&dead, "backup")).then_some(is_spare)
    });
    let now = scene.until_pair();
    assert!(
        is_spare || now.view > next.view,
        "{dead} pushed {} out",
        next.backup
    );
    assert_eq!(add(&scene), 4);

    // The backup dies: the spare takes its place with nobody doing anything.
    sure(scene.kill(&now.backup));
    let value = add_after(
        &scene,
        "backup killed",
        LEASE / 2 + Duration::from_millis(200),
    );
    assert_eq!(value, 5);
    let last = scene.until("the spare to become the backup", |scene| {
        let pair = scene.until_pair();
        (pair.backup != now.backup).then_some(pair)
    });
    scene.until("status to name the new backup", |scene| {
        scene.cli_expects(&last.backup, "backup").then_some(())
    });

    // And it has everything: alone, it goes on from there.
    sure(scene.kill(&last.primary));
    assert_eq!(add(&scene), 6);
    let ran = scene.cli(&["client", "--timeout", "100s", "counter", "get"]);
    assert_eq!(ran.number(), 6);
    assert!(
        scene.cli_expects(&last.backup, "primary"),
        "{:?}",
        scene.status()
    );
}

#[test]
fn of_two_replicas_the_dead_one_comes_back_as_the_backup_by_itself() {
    let mut scene = Scene::start("two replicas", LEASE, Durability::Os, &["a", "b"]);
    let mut expected = 0;
    for nth in 0..4 {
        let pair = scene.until_pair();
        expected += 1;
        assert_eq!(add(&scene), expected);
        let dead = if nth % 2 == 0 {
            pair.primary
        } else {
            pair.backup
        };
        sure(scene.kill(&dead));
        let what = format!("two replicas, {dead} killed");
        expected += 1;
        assert_eq!(
            add_after(&scene, &what, LEASE + Duration::from_millis(500)),
            expected
        );
        sure(scene.start(&dead));
        scene.until("the dead one to have a role again", |scene| {
            let has_role = ["backup", "primary"].map(|role| scene.cli_expects(&dead, role));
            has_role.contains(&true).then_some(())
        });
    }
    scene.until_agreement();
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
    let mut scene = Scene::start("plugs under load", LEASE, Durability::Os, &["a", "b", "c"]);
    scene.until_pair();
    let load = scene.load(LoadConfig::default());
    for nth in 0..6 {
        let pair = scene.until_pair();
        scene.until_answers(&load);
        let (dead, promised) = if nth % 2 == 0 {
            (pair.primary.clone(), LEASE + Duration::from_millis(500))
        } else {
            (pair.backup.clone(), LEASE / 2 + Duration::from_millis(200))
        };
        let pulled = clock::boot();
        sure(scene.kill(&dead));
        scene.until_answers(&load);
        let gap = load.longest_wait(pulled);
        let what = if nth % 2 == 0 { "primary" } else { "backup" };
        tell(format_args!(
            "plugs under load: {what} {dead} killed: longest wait {}",
            ms(gap)
        ));
        assert!(gap < promised + SLACK, "{gap:?}");
        // With it gone the pair is made of the others, and it comes back behind them.
        scene.until_record("a pair without the dead one", |record| {
            let now = Pair::of(record).filter(|now| now.view > pair.view)?;
            (now.primary != dead && now.backup != dead).then_some(())
        });
        sure(scene.start(&dead));
    }
    scene.audit(load);
    for name in [VIEW_SERVICE, "a", "b", "c"] {
        assert!(scene.is_running(name), "{name}");
    }
}
