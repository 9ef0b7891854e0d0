//! Both replicas die: who may come back alone, row by row of the table in section 7 of the protocol,
//! and what is said where nobody may.

use std::fs;
use std::path::PathBuf;

use standin::machines::counter::{CounterClient, CounterError};
use standin_client::{Client, ClientConfig, ClientError};
use standin_core::digest::DigestChain;
use standin_core::entry::Index;
use standin_core::evidence::Evidence;
use standin_core::identity::{Durability, StoreId};
use standin_core::time::{Duration, Instant};
use standin_core::view::Reason;
use standin_io::clock;
use standin_io::evidence::{EVIDENCE_DIR, evidence_in, keep_evidence};
use standin_tools::cluster::VIEW_SERVICE;

use crate::support::load::{Load, LoadConfig};
use crate::support::scene::{Pair, Scene, TRIES, names, replica};
use crate::support::{PATIENCE, ms, sure, tell};

const LEASE: Duration = Duration::from_millis(500);
/// Where the view service must still count a replica as alive that was frozen a moment ago, while
/// another is started: the next is tried if the machine was too slow for the one before.
const CANDIDATE_LEASES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(16),
    Duration::from_secs(32),
];
/// How long it is watched that nobody serves, in lease terms.
const TERMS_WATCHED: u32 = 3;
/// How long a command tries that cannot succeed.
const IN_VAIN: &str = "400ms";

/// Two replicas and a load on them.
fn begin(title: &str, durability: Durability) -> (Scene, Load) {
    let title = format!("{title} ({durability})");
    let mut scene = Scene::start(&title, LEASE, durability, &["a", "b"]);
    let load = scene.load(LoadConfig::default());
    scene.until_pair();
    scene.until_answers(&load);
    (scene, load)
}

/// Waits until this replica serves alone, and has answered every client.
fn until_serves(scene: &mut Scene, load: &Load, name: &str) {
    scene.until_record(&format!("{name} to be primary"), |record| {
        (record.active && record.primary.name.as_str() == name).then_some(())
    });
    scene.until_answers(load);
}

/// `name` lives, but only `missing` has every answered entry: nobody serves, and the status says why
/// and what to do.
fn check_nobody_serves(scene: &mut Scene, name: &str, missing: &str) {
    let start = format!("start {missing}");
    let record = scene.until_status("the status to say why nobody serves", |status| {
        let why = status.unavailable.as_ref()?;
        let is_alive = replica(status, name).is_some_and(|one| one.is_alive);
        (is_alive && why.contains(&start)).then(|| status.record.clone())
    });
    let end = clock::boot().plus(scene.lease() * TERMS_WATCHED);
    scene.until("some lease terms to pass with nobody serving", |scene| {
        if let Ok(status) = scene.status() {
            assert_eq!(status.record, record, "{name} must not become primary");
            assert_eq!(status.lease_remaining_ms, None);
            assert!(status.unavailable.is_some());
        }
        (clock::boot() >= end).then_some(())
    });
    let ran = scene.cli(&["client", "--timeout", IN_VAIN, "counter", "add"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    let why = unavailable_in_json(scene);
    for words in [&start, "standin recover --primary", "--accept-loss"] {
        assert!(why.contains(words), "{words:?} is not said: {why}");
    }
    tell(format_args!("with {name} alone: {why}"));
}

/// What `standin status --json` says about why nobody serves.
fn unavailable_in_json(scene: &Scene) -> String {
    let ran = scene.cli(&["status", "--json"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let status: serde_json::Value = sure(serde_json::from_str(&ran.stdout));
    let why = status["unavailable"].as_str().unwrap_or_default();
    assert!(!why.is_empty(), "{status}");
    why.to_owned()
}

fn both_die_at_once(durability: Durability) {
    let (mut scene, load) = begin("both die at once", durability);
    let mut orders = vec![["primary", "backup"], ["backup", "primary"], ["both", ""]];
    orders.extend_from_within(..);
    let mut tries = 0;
    while let Some(order) = orders.last().copied() {
        assert!(tries < TRIES, "both are never holders");
        tries += 1;
        let pair = scene.until_pair();
        scene.until_answers(&load);
        sure(scene.kill_together(&[&pair.primary, &pair.backup]));
        let dead = clock::boot();
        let record = scene.record_after_death(&["a", "b"]);
        if names(&record).len() != 2 {
            // The backup was just being dropped for its silence: another story.
            start_both(&mut scene, &pair);
            continue;
        }
        let (first, second) = match order[0] {
            "primary" => (&pair.primary, &pair.backup),
            "backup" => (&pair.backup, &pair.primary),
            _ => {
                start_both(&mut scene, &pair);
                scene.until_answers(&load);
                orders.pop();
                continue;
            }
        };
        sure(scene.start(first));
        until_serves(&mut scene, &load, first);
        let wait = ms(clock::boot().since(dead));
        tell(format_args!(
            "both dead, the {} alone: serves after {wait}",
            order[0]
        ));
        sure(scene.start(second));
        scene.until_pair();
        orders.pop();
    }
    scene.audit(load);
}

fn start_both(scene: &mut Scene, pair: &Pair) {
    sure(scene.spawn(&pair.primary));
    sure(scene.spawn(&pair.backup));
    for name in [&pair.primary, &pair.backup] {
        scene.until("a replica to be ready", |scene| {
            sure(scene.is_ready(name)).then_some(())
        });
    }
    scene.until_pair();
}

#[test]
fn both_die_at_once_and_either_serves_alone_at_os() {
    both_die_at_once(Durability::Os);
}

#[test]
fn both_die_at_once_and_either_serves_alone_at_disk() {
    both_die_at_once(Durability::Disk);
}

/// The view service is away, so that the Drop can't land: the primary must not go on alone, and so
/// either of the two may come back alone.
fn the_primary_dies_before_its_drop_lands(durability: Durability) {
    let (mut scene, load) = begin("the Drop does not land", durability);
    let mut silences: Vec<(Instant, Instant)> = Vec::new();
    for _ in 0..TRIES {
        let pair = scene.until_pair();
        scene.until_answers(&load);
        sure(scene.kill(VIEW_SERVICE));
        sure(scene.kill(&pair.backup));
        let alone = clock::boot();
        scene.until_moment(alone.plus(LEASE * TERMS_WATCHED));
        sure(scene.kill(&pair.primary));
        let dead = clock::boot();
        sure(scene.start(VIEW_SERVICE));
        let record = scene.until_record("the record", |record| Some(record.clone()));
        if names(&record).len() != 2 {
            // Dropped for its silence before it died: another story.
            start_both(&mut scene, &pair);
            continue;
        }
        let first = if silences.is_empty() {
            &pair.backup
        } else {
            &pair.primary
        };
        silences.push((alone, dead));
        sure(scene.start(first));
        until_serves(&mut scene, &load, first);
        sure(scene.start(&pair.other(first)));
        if silences.len() == 2 {
            break;
        }
    }
    assert_eq!(silences.len(), 2, "both are never holders");
    scene.until_pair();
    let (history, _) = scene.audit(load);
    for (from, until) in silences {
        let mut operations = history.operations.iter();
        let broken = operations.find(|op| op.invoked > from && op.returned < until);
        assert_eq!(broken, None, "answered before the Drop was read");
    }
}

#[test]
fn before_its_drop_lands_the_primary_answers_nothing_alone_at_os() {
    the_primary_dies_before_its_drop_lands(Durability::Os);
}

#[test]
fn before_its_drop_lands_the_primary_answers_nothing_alone_at_disk() {
    the_primary_dies_before_its_drop_lands(Durability::Disk);
}

/// One replica goes on alone after the other's death, so it alone may come back.
fn the_survivor_dies_too(durability: Durability, is_primary_first: bool) {
    let first = if is_primary_first {
        "primary"
    } else {
        "backup"
    };
    let (mut scene, load) = begin(&format!("first the {first} dies"), durability);
    let (pair, _) = scene.kill_one(|pair| {
        if is_primary_first {
            &pair.primary
        } else {
            &pair.backup
        }
    });
    let (first, survivor) = if is_primary_first {
        (&pair.primary, &pair.backup)
    } else {
        (&pair.backup, &pair.primary)
    };
    scene.until_record("the survivor to be alone", |record| {
        (record.active && names(record) == [survivor]).then_some(())
    });
    scene.until_answers(&load);
    sure(scene.kill(survivor));
    let dead = clock::boot();

    sure(scene.start(first));
    check_nobody_serves(&mut scene, first, survivor);
    assert_eq!(load.any_answer_since(dead), None);

    sure(scene.start(survivor));
    until_serves(&mut scene, &load, survivor);
    scene.until_pair();
    scene.audit(load);
}

#[test]
fn after_a_drop_only_the_primary_may_come_back_alone_at_os() {
    the_survivor_dies_too(Durability::Os, false);
}

#[test]
fn after_a_drop_only_the_primary_may_come_back_alone_at_disk() {
    the_survivor_dies_too(Durability::Disk, false);
}

#[test]
fn after_a_takeover_only_the_new_primary_may_come_back_alone_at_os() {
    the_survivor_dies_too(Durability::Os, true);
}

#[test]
fn after_a_takeover_only_the_new_primary_may_come_back_alone_at_disk() {
    the_survivor_dies_too(Durability::Disk, true);
}

/// Brings about a view that its candidate, the old backup, never activated, and kills both.
/// `None`: the moment was missed.
fn die_before_activate(scene: &mut Scene, pair: &Pair) -> Option<()> {
    scene.until_status("the backup to report all that the primary has", |status| {
        let last = |name| {
            replica(status, name)?
                .standing
                .map(|standing| standing.last)
        };
        (last(&pair.primary).is_some() && last(&pair.primary) == last(&pair.backup)).then_some(())
    });
    scene.freeze(&pair.backup);
    sure(scene.kill(&pair.primary));
    // Its restart is proof that it died, so that the frozen backup is asked to take over at once.
    sure(scene.start(&pair.primary));
    let is_named = scene.until_record("the restart to be noticed", |record| {
        let is_moved = record.view > pair.view;
        is_moved.then(|| !record.active && record.primary.name.as_str() == pair.backup)
    });
    sure(scene.kill_together(&[&pair.backup, &pair.primary]));
    let record = scene.record_after_death(&["a", "b"]);
    let is_inactive = !record.active
        && record.primary.name.as_str() == pair.backup
        && record.reason == Reason::PrimaryRestarted;
    (is_named && is_inactive && names(&record).len() == 2).then_some(())
}

#[test]
fn the_candidate_dies_before_it_served_and_the_deposed_one_serves_alone() {
    the_candidate_dies(|pair| &pair.primary);
}

#[test]
fn the_candidate_dies_before_it_served_and_comes_back_alone() {
    the_candidate_dies(|pair| &pair.backup);
}

fn the_candidate_dies(pick: fn(&Pair) -> &str) {
    let is_hit = CANDIDATE_LEASES.into_iter().any(|lease| {
        let mut scene = Scene::start("the candidate dies", lease, Durability::Os, &["a", "b"]);
        let pair = scene.until_pair();
        assert_eq!(add(&scene), 1);
        if die_before_activate(&mut scene, &pair).is_none() {
            return false;
        }
        let first = pick(&pair);
        sure(scene.start(first));
        scene.until_record("the only one that runs to be primary", |record| {
            (record.active && record.primary.name.as_str() == first).then_some(())
        });
        assert_eq!(add(&scene), 2);
        sure(scene.start(&pair.other(first)));
        scene.until_pair();
        scene.until_agreement();
        true
    });
    assert!(is_hit, "the moment was never hit");
}

fn add(scene: &Scene) -> i64 {
    let timeout = format!("{}s", PATIENCE.as_secs());
    scene
        .cli(&["client", "--timeout", &timeout, "counter", "add"])
        .number()
}

#[test]
fn at_memory_nobody_comes_back_when_both_have_died() {
    let (mut scene, load) = begin("both die", Durability::Memory);
    scene.audit(load);
    let mut tries = 0;
    let record = loop {
        assert!(tries < TRIES, "both are never holders");
        tries += 1;
        let pair = scene.until_pair();
        sure(scene.kill_together(&[&pair.primary, &pair.backup]));
        let record = scene.record_after_death(&["a", "b"]);
        sure(scene.start(&pair.primary));
        sure(scene.start(&pair.backup));
        if names(&record).len() == 2 {
            break record;
        }
    };
    scene.until_status("the status to say why nobody serves", |status| {
        let why = status.unavailable.as_ref()?;
        let words = ["acknowledged in memory only", "standin recover --primary"];
        words.iter().all(|words| why.contains(words)).then_some(())
    });
    let end = clock::boot().plus(LEASE * TERMS_WATCHED);
    scene.until("some lease terms to pass with nobody serving", |scene| {
        if let Ok(status) = scene.status() {
            assert_eq!(status.record.as_ref(), Some(&record));
        }
        (clock::boot() >= end).then_some(())
    });
    let ran = scene.cli(&["client", "--timeout", IN_VAIN, "counter", "get"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    tell(format_args!("at memory: {}", unavailable_in_json(&scene)));
}

/// A client with a session, unlike one on the command line: it has seen something.
fn client(scene: &Scene) -> CounterClient {
    let config = ClientConfig { timeout: PATIENCE };
    CounterClient::new(sure(Client::new(sure(scene.view_services()), config)))
}

/// `a` and `b` have lost what they acknowledged in memory; `c`, which missed the last three of five
/// answered additions, lives.
fn nobody_may_serve(scene: &mut Scene, counter: &mut CounterClient) {
    for tries in 0.. {
        assert!(tries < TRIES, "the pair is never whole when it dies");
        let pair = scene.until_pair();
        let spare = ["a", "b", "c"].map(str::to_owned).into_iter();
        let spare = spare.filter(|name| *name != pair.primary && *name != pair.backup);
        let spare = sure(spare.collect::<Vec<_>>().pop().ok_or("there are three"));
        let before = sure(counter.add(2));
        scene.until_agreement();
        sure(scene.kill(&spare));
        for _ in 0..3 {
            sure(counter.add(1));
        }
        sure(scene.kill_together(&[&pair.primary, &pair.backup]));
        let record = scene.record_after_death(&["a", "b", "c"]);
        for name in [&spare, &pair.primary, &pair.backup] {
            sure(scene.start(name));
        }
        if names(&record).len() == 2 && Pair::of(&record) == Some(pair) {
            tell(format_args!(
                "{spare} has {before}, and 3 more were answered"
            ));
            return;
        }
    }
}

fn directory(scene: &Scene, name: &str) -> PathBuf {
    scene.directory().join(name)
}

/// Writes evidence of an entry into the data directories.
fn keep_evidence_of(scene: &Scene, entry: u64) {
    let evidence = Evidence {
        store: StoreId(1),
        before: Index(entry),
        chain: DigestChain::default(),
        replies: Vec::new(),
        states: Vec::new(),
    };
    for name in ["a", "b", "c"] {
        sure(keep_evidence(&directory(scene, name), &evidence));
    }
}

/// Of which entries a replica has evidence.
fn evidence_of(scene: &Scene, name: &str) -> Vec<u64> {
    let (good, _) = sure(evidence_in(&directory(scene, name)));
    good.iter().map(|it| it.last().0).collect()
}

/// The names of the evidence of a replica that was set aside.
fn evidence_aside_of(scene: &Scene, name: &str) -> Vec<String> {
    let files = sure(fs::read_dir(directory(scene, name).join(EVIDENCE_DIR)));
    let names = files.map(|file| sure(file).file_name().to_string_lossy().into_owned());
    let mut asides: Vec<String> = names.filter(|name| name.ends_with(".aside")).collect();
    asides.sort();
    asides
}

#[test]
fn at_memory_the_operator_goes_on_with_what_is_left_and_the_client_is_told() {
    let mut scene = Scene::start("recover", LEASE, Durability::Memory, &["a", "b", "c"]);
    let mut counter = client(&scene);
    // What is kept of entries that a log has no more is set aside at the start, and with a log that is set aside all of it.
    scene.until_pair();
    keep_evidence_of(&scene, 1);
    keep_evidence_of(&scene, 1 << 40);
    nobody_may_serve(&mut scene, &mut counter);
    scene.until_status("the status to say why nobody serves", |status| {
        let why = status.unavailable.as_ref()?;
        why.contains("standin recover --primary").then_some(())
    });
    // Whoever has the shortest log missed the most: it is named, to see what is lost by it.
    let name = scene.until_status("all to report", |status| {
        let alive = status.replicas.iter().filter(|one| one.is_alive);
        let mut logs: Vec<_> = alive
            .filter_map(|one| Some((one.standing?.last.index, one.peer.identity.name.to_string())))
            .collect();
        logs.sort();
        (logs.len() == 3).then(|| logs[0].1.clone())
    });
    let aside = |entry: u64, number: u32| format!("{entry:020}.evidence.{number:06}.aside");
    for name in ["a", "b", "c"] {
        assert_eq!(evidence_of(&scene, name), [1], "{name}");
        let asides = evidence_aside_of(&scene, name);
        assert_eq!(asides, [aside(1 << 40, 1)], "{name}");
    }
    let recover = ["recover", "--primary", &name];
    let ran = scene.cli(&recover);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    for words in ["goes on with the log that it has", "name it to lose less"] {
        assert!(ran.stdout.contains(words), "{words}: {ran:?}");
    }
    assert!(
        !ran.stdout.contains("cut off"),
        "all who could be report: {ran:?}"
    );
    assert!(ran.stderr.contains("--accept-loss"), "{ran:?}");
    let record = sure(scene.status()).record;
    assert!(
        record.is_some_and(|record| record.data_epoch.0 == 0),
        "nothing was done"
    );
    let ran = scene.cli(&[&recover[..], &["--accept-loss"]].concat());
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("data epoch 1"), "{ran:?}");
    tell(format_args!("{}", ran.stdout.trim()));
    scene.until_record("the named one to serve", |record| {
        (record.active && record.primary.name.as_str() == name).then_some(())
    });
    // What it sent on the connection that it had is not known to have come to nothing; a question is.
    let told = counter.get();
    assert!(
        matches!(
            told,
            Err(CounterError::Client(ClientError::AnswerLost { .. }))
        ),
        "{told:?}"
    );
    // Said once; then it goes on from what is left.
    let left = sure(counter.get());
    assert_eq!(sure(counter.add(1)), left + 1);
    let pair = scene.until_pair();
    scene.until_agreement();
    assert_eq!(sure(counter.get()), left + 1);
    assert_eq!(evidence_of(&scene, &name), [1], "it goes on with its log");
    assert_eq!(evidence_of(&scene, &pair.backup), [0; 0]);
    let asides = evidence_aside_of(&scene, &pair.backup);
    assert_eq!(asides, [aside(1, 2), aside(1 << 40, 1)]);
    let status = sure(scene.status());
    assert_eq!(status.unavailable, None);
    let ran = scene.cli(&["recover", "--primary", &name, "--accept-loss"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains("there is nothing to recover"),
        "{ran:?}"
    );
}
