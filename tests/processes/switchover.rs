//! Planned changes of the primary, on real processes under load: no request fails, none is executed twice.

use standin_core::identity::Durability;
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_tools::cluster::VIEW_SERVICE;

use crate::support::counter_history::History;
use crate::support::load::LoadConfig;
use crate::support::scene::{Scene, TRIES, replica};
use crate::support::{PATIENCE, ms, sure, tell};

const LEASE: Duration = Duration::from_secs(1);
/// A quarter of it is how long a backup may take to come to the Handover entry.
const LONG_LEASE: Duration = Duration::from_secs(60);
const CLIENTS: usize = 16;
/// How many switchovers in a row, unless the variable says otherwise.
const SWITCHOVERS: usize = 20;
const SWITCHOVERS_VARIABLE: &str = "STANDIN_SWITCHOVERS";
/// How often a primary is told to stop.
const STOPS: usize = 5;

fn load() -> LoadConfig {
    LoadConfig {
        clients: CLIENTS,
        readers: 2,
        ..LoadConfig::default()
    }
}

/// Switches over once, whatever becomes of it on a busy machine at first; from when to when.
fn switch_over(scene: &mut Scene) -> (Instant, Instant) {
    for _ in 0..TRIES {
        let before = scene.until_pair();
        let begun = clock::boot();
        let ran = scene.cli(&["switchover", "--timeout", "100s"]);
        let span = (begun, clock::boot());
        if ran.status == Some(0) {
            let view = ran.stdout.split_ascii_whitespace().nth(5);
            let view = view.map(|view| view.trim_end_matches(',').to_owned());
            let expected = format!(
                "{} is primary of view {}, {} its backup\n",
                before.backup,
                view.unwrap_or_default(),
                before.primary
            );
            assert_eq!(ran.stdout, expected, "{ran:?}");
            return span;
        }
        // The machine may be so busy that the backup fell silent, and it may not be known what came of it.
        assert!(matches!(ran.status, Some(1 | 3)), "{ran:?}");
        tell(format_args!("not switched over: {}", ran.stderr.trim_end()));
    }
    panic!("no switchover succeeds")
}

/// The longest that each client waited for an answer in each of these spans, the shortest first.
fn pauses(history: &History, spans: &[(Instant, Instant)]) -> Vec<Duration> {
    let mut pauses = Vec::new();
    for (begun, ended) in spans {
        let mut longest = vec![Duration::ZERO; CLIENTS];
        let overlaps = history
            .operations
            .iter()
            .filter(|op| op.client < CLIENTS && op.returned > *begun && op.invoked < *ended);
        for op in overlaps {
            let pause = &mut longest[op.client];
            *pause = (*pause).max(op.returned.since(op.invoked));
        }
        pauses.extend(longest);
    }
    pauses.sort();
    pauses
}

fn tell_pauses(what: &str, history: &History, spans: &[(Instant, Instant)]) {
    let pauses = pauses(history, spans);
    let at = |per_cent: usize| ms(pauses[(pauses.len() * per_cent).div_ceil(100) - 1]);
    tell(format_args!(
        "{what}: {} times, {CLIENTS} clients, each one's longest wait: p50 {}, p99 {}, at most {}",
        spans.len(),
        at(50),
        at(99),
        at(100)
    ));
}

#[test]
fn under_load_no_request_fails_and_none_is_executed_twice() {
    let times = std::env::var(SWITCHOVERS_VARIABLE);
    let times = times.map_or(SWITCHOVERS, |times| sure(times.parse()));
    let mut scene = Scene::start("switchover", LEASE, Durability::Os, &["a", "b", "c"]);
    scene.until_pair();
    let load = scene.load(load());
    scene.until_answers(&load);
    let mut spans = Vec::new();
    for _ in 0..times {
        spans.push(switch_over(&mut scene));
    }
    scene.until_answers(&load);
    let (history, _) = scene.audit(load);
    tell_pauses("switchover", &history, &spans);
}

#[test]
fn a_primary_that_is_told_to_stop_hands_over_first() {
    let mut scene = Scene::start("stop", LEASE, Durability::Os, &["a", "b", "c"]);
    scene.until_pair();
    let load = scene.load(load());
    scene.until_answers(&load);
    let (mut spans, mut handed_over) = (Vec::new(), 0);
    for _ in 0..STOPS {
        let pair = scene.until_pair();
        let begun = clock::boot();
        sure(scene.terminate(&pair.primary));
        let status = sure(scene.wait(&pair.primary, PATIENCE));
        assert!(status.success(), "{}: {status}", pair.primary);
        scene.until_answers(&load);
        spans.push((begun, clock::boot()));
        handed_over += usize::from(
            scene
                .last_words(&pair.primary)
                .contains(&format!("has handed over to {}", pair.backup)),
        );
        sure(scene.start(&pair.primary));
    }
    assert!(handed_over > 0, "nobody handed over");
    let (history, _) = scene.audit(load);
    tell_pauses("primary stopped", &history, &spans);
    tell(format_args!("{handed_over} of {STOPS} handed over"));
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line() {
    let mut scene = Scene::start("refused", LEASE, Durability::Os, &["a"]);
    let refused = |scene: &Scene, arguments: &[&str], words: &str| {
        let mut line = vec!["switchover"];
        line.extend(arguments);
        let ran = scene.cli(&line);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(ran.stderr.contains(words), "{ran:?}");
    };
    scene.until_record("a primary", |record| record.active.then_some(()));
    scene.until("a to serve", |scene| {
        let ran = scene.cli(&["client", "counter", "get"]);
        (ran.status == Some(0)).then_some(())
    });
    refused(&scene, &[], "there is no backup");
    refused(&scene, &["--to", "b"], "no replica is named b");

    sure(scene.start("b"));
    let pair = scene.until_pair();
    sure(scene.start("c"));
    scene.until_in_line("c", "spare", pair.view);
    let line = "c is a spare; only the backup can take over now, which is b";
    scene.until("a to have heard of c", |scene| {
        let ran = scene.cli(&["switchover", "--to", "c"]);
        (!ran.stderr.contains("no replica is named c")).then_some(())
    });
    refused(&scene, &["--to", "c"], line);
    refused(&scene, &["--to", "a"], "a is the primary already");
    let ran = scene.cli(&["switchover", "--to", "b", "--json"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let view = scene.until_pair().view;
    let expected =
        format!("{{\"view\":{{\"number\":{view},\"primary\":\"b\",\"backup\":\"a\"}}}}\n");
    assert_eq!(ran.stdout, expected);
    assert!(scene.cli_expects("b", "primary") && scene.cli_expects("c", "spare"));

    // Nobody is there to ask.
    sure(scene.kill(VIEW_SERVICE));
    let ran = scene.cli(&["switchover", "--timeout", "200ms"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
}

/// Its backup stands still, so that a primary would wait for long before it gives up handing over.
#[test]
fn told_twice_to_stop_a_primary_waits_for_nothing() {
    let lease = LONG_LEASE;
    let mut scene = Scene::start("told twice", lease, Durability::Os, &["a", "b"]);
    let pair = scene.until_pair();
    // Once it answers in the pair's view, the backup follows in that, and can be handed over to.
    scene.until_status("the primary to be in the pair's view", |status| {
        let standing = replica(status, &pair.primary)?.standing.as_ref()?;
        (standing.view.view >= pair.view).then_some(())
    });
    assert_eq!(scene.cli(&["client", "counter", "add"]).status, Some(0));
    scene.freeze(&pair.backup);
    sure(scene.terminate(&pair.primary));
    scene.until("it to hand over", |scene| {
        let words = scene.last_words(&pair.primary);
        words.contains("hands over to").then_some(())
    });
    assert!(scene.is_running(&pair.primary), "it waits for its backup");
    let told_again = clock::boot();
    sure(scene.terminate(&pair.primary));
    let status = sure(scene.wait(&pair.primary, lease / 8));
    assert!(status.success(), "{status}");
    let took = clock::boot().since(told_again);
    tell(format_args!("told twice to stop: ended after {}", ms(took)));
    sure(scene.resume(&pair.backup));
}
