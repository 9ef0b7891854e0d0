//! The view service away: SIGKILL to it under load, alone and together with the primary.

use standin_client::Consistency;
use standin_core::identity::Durability;
use standin_core::message::ReplyStatus;
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewRecord;
use standin_io::clock;
use standin_tools::cluster::VIEW_SERVICE;

use crate::support::counter_history::{History, Operation};
use crate::support::load::{Load, LoadConfig};
use crate::support::raw::{Place, RawClient};
use crate::support::scene::{Scene, TRIES, names, replica};
use crate::support::{PATIENCE, SLACK, ms, sure, tell};

/// Where nothing at all may change: the next is tried if a busy machine kept the backup silent for
/// half of the one before.
const LONG_LEASES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(18),
];
const LEASE: Duration = Duration::from_millis(500);
/// How long the view service stays away, in lease terms.
const TERMS_AWAY: u32 = 3;
/// How long a command tries that cannot succeed.
const IN_VAIN: &str = "400ms";

fn record(scene: &mut Scene) -> ViewRecord {
    scene.until_record("a record", |record| Some(record.clone()))
}

/// No operation that was begun after `from` may have been answered before `until`.
fn check_silence(history: &History, from: Instant, until: Instant) {
    let broken = |op: &&Operation| op.invoked > from && op.value().is_some() && op.returned < until;
    if let Some(op) = history.operations.iter().find(broken) {
        panic!("answered while nobody could: {op}");
    }
}

#[test]
fn a_pair_goes_on_without_the_view_service_and_keeps_its_view_when_it_is_back() {
    let is_kept = LONG_LEASES.into_iter().any(keeps_its_view);
    assert!(is_kept, "the backup is dropped however long the lease is");
}

/// Whether the pair stayed one. A machine may be so busy that a backup is silent for half a lease, and
/// then it is dropped, and rightly so; the primary stays the same in any case.
fn keeps_its_view(lease: Duration) -> bool {
    let title = "view service away";
    let mut scene = Scene::start(title, lease, Durability::Os, &["a", "b"]);
    let load = scene.load(LoadConfig::default());
    scene.until_pair();
    scene.until_answers(&load);
    let before = record(&mut scene);

    sure(scene.kill(VIEW_SERVICE));
    let gone = clock::boot();
    scene.until_moment(gone.plus(lease * TERMS_AWAY));
    scene.until_answers(&load);
    let wait = load.longest_wait(gone);
    tell(format_args!(
        "{title}: longest wait of a client meanwhile {}",
        ms(wait)
    ));
    let ran = scene.cli(&["client", "--timeout", IN_VAIN, "counter", "add"]);
    assert_eq!(ran.status, Some(3), "a new client finds nobody: {ran:?}");
    assert!(ran.stderr.contains("nothing was executed"), "{ran:?}");

    sure(scene.start(VIEW_SERVICE));
    let back = clock::boot();
    scene.until_status("the view service to know everybody again", |status| {
        let is_alive = |name| replica(status, name).is_some_and(|one| one.is_alive);
        let is_complete = is_alive("a") && is_alive("b") && status.lease_remaining_ms.is_some();
        is_complete.then_some(())
    });
    // A takeover that is not needed would come once the new view service may depose at all.
    scene.until("two lease terms to pass without a takeover", |scene| {
        if let Some(now) = scene.status().ok().and_then(|status| status.record) {
            assert!(now.active && now.primary == before.primary, "{now:?}");
        }
        (clock::boot() >= back.plus(lease * 2)).then_some(())
    });
    scene.until_answers(&load);
    scene.audit(load);
    record(&mut scene) == before
}

#[test]
fn with_the_primary_killed_too_nothing_answers_until_the_view_service_is_back() {
    let title = "view service and primary away";
    let mut scene = Scene::start(title, LEASE, Durability::Os, &["a", "b"]);
    let load = scene.load(LoadConfig::default());
    let mut silences = Vec::new();
    let is_taken_over = (0..TRIES).any(|_| {
        let pair = scene.until_pair();
        scene.until_answers(&load);
        sure(scene.kill(VIEW_SERVICE));
        sure(scene.kill(&pair.primary));
        let dead = clock::boot();
        scene.until_moment(dead.plus(LEASE * TERMS_AWAY));
        check_declines(sure(scene.address(&pair.backup)));
        let ran = scene.cli(&["client", "--timeout", IN_VAIN, "counter", "add"]);
        assert_eq!(ran.status, Some(3), "{ran:?}");
        assert_eq!(load.any_answer_since(dead), None);

        let back = clock::boot();
        silences.push((dead, back));
        sure(scene.start(VIEW_SERVICE));
        let is_holder = is_holder(&mut scene, &pair.backup);
        if is_holder {
            until_taken_over(&mut scene, &load, &pair.backup, back);
        }
        sure(scene.start(&pair.primary));
        scene.until_pair();
        is_holder
    });
    assert!(is_taken_over, "no pair lasts");
    scene.until_answers(&load);
    let (history, _) = scene.audit(load);
    for (from, until) in silences {
        check_silence(&history, from, until);
    }
}

/// Whether the record has this replica as a holder. Right before the view service was killed a busy
/// machine may have parted the pair.
fn is_holder(scene: &mut Scene, name: &str) -> bool {
    names(&record(scene)).contains(&name)
}

fn until_taken_over(scene: &mut Scene, load: &Load, name: &str, back: Instant) {
    scene.until_record("the backup to take over", |record| {
        (record.active && record.primary.name.as_str() == name).then_some(())
    });
    scene.until_answers(load);
    let took = clock::boot().since(back);
    tell(format_args!(
        "view service and primary away: answers {} after the view service was started again",
        ms(took)
    ));
    assert!(took < LEASE * 2 + SLACK, "{took:?}");
}

/// A backup that nobody has made primary does not answer, whatever it is asked.
fn check_declines(address: &str) {
    let mut client = RawClient::connect(address);
    let place = Place {
        session: 1,
        sequence: 1,
    };
    let asked = [
        client.ask(Consistency::Confirmed),
        client.ask(Consistency::Lease),
        client.ask_for_session(),
        client.add(place),
    ];
    for id in asked {
        let reply = client.reply(id, PATIENCE);
        let status = reply.map(|reply| reply.status);
        assert_eq!(status, Some(ReplyStatus::NotPrimary), "request {id}");
    }
}

#[test]
fn a_lone_primary_stops_when_its_lease_ends_and_goes_on_in_its_view() {
    let title = "view service away, primary alone";
    let mut scene = Scene::start(title, LEASE, Durability::Os, &["a"]);
    let load = scene.load(LoadConfig::default());
    scene.until_answers(&load);
    let before = record(&mut scene);

    sure(scene.kill(VIEW_SERVICE));
    let lapsed = clock::boot().plus(LEASE);
    scene.until_moment(lapsed.plus(LEASE * TERMS_AWAY));
    assert_eq!(load.any_answer_since(lapsed), None);

    let back = clock::boot();
    sure(scene.start(VIEW_SERVICE));
    scene.until_answers(&load);
    assert_eq!(record(&mut scene), before, "granted again in the same view");
    let (history, _) = scene.audit(load);
    check_silence(&history, lapsed, back);
}
