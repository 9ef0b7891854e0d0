//! HTTP for load balancers, probes and metrics, asked of real processes.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standin::client::{Client, ClientConfig, MachineClient};
use standin::{Context, Duration, Machine, RandomStream, Replica, Stop};
use standin_core::identity::Durability;
use standin_io::clock;
use standin_io::http::{HTTP_CONNECTIONS_MAX, HTTP_SOCKETS_MAX};
use standin_tools::cluster::{Cluster, ClusterConfig, VIEW_SERVICE};

use crate::support::http::{HttpAnswer, get, metric, try_get};
use crate::support::scene::Scene;
use crate::support::{PATIENCE, sure};

const STANDIN: &str = env!("CARGO_BIN_EXE_standin");
/// No takeover comes by itself, however slow the machine is.
const LEASE: Duration = Duration::from_secs(10);

fn scene(title: &str, lease: Duration) -> Scene {
    let config = ClusterConfig {
        lease,
        durability: Durability::Os,
        serves_http: true,
        ..ClusterConfig::new(STANDIN)
    };
    Scene::with(title, config)
}

fn ask(scene: &Scene, name: &str, target: &str) -> HttpAnswer {
    get(sure(scene.http_address(name)), target)
}

/// Waits until a replica answers with this status code.
#[track_caller]
fn until(scene: &mut Scene, name: &str, target: &str, status: u16) -> HttpAnswer {
    let what = format!("{status} from {name} at {target}");
    scene.until(&what, |scene| {
        let answer = ask(scene, name, target);
        (answer.status == status).then_some(answer)
    })
}

#[test]
fn probes_follow_the_roles_through_a_takeover() {
    let mut scene = scene("probes", Duration::from_secs(1));
    sure(scene.start_all(&["a", "b", "c"]));
    let pair = scene.until_pair();
    let spare = ["a", "b", "c"].into_iter().find(|name| {
        let name = (*name).to_owned();
        name != pair.primary && name != pair.backup
    });
    let spare = spare.expect("there are three");
    for name in ["a", "b", "c"] {
        until(&mut scene, name, "/readyz", 200);
        assert_eq!(ask(&scene, name, "/livez").status, 200);
    }
    for (name, primary, backup, replica) in [
        (pair.primary.as_str(), 200, 503, 503),
        (pair.backup.as_str(), 503, 200, 200),
        (spare, 503, 503, 200),
    ] {
        let statuses = ["/primary", "/backup", "/replica?max_behind=1000"]
            .map(|target| ask(&scene, name, target).status);
        assert_eq!(statuses, [primary, backup, replica], "{name}");
    }
    let words = ask(&scene, spare, "/primary").body;
    assert_eq!(words, "spare, not primary\n");
    let answer = ask(&scene, spare, "/replica?max_behind=far");
    assert_eq!(answer.status, 400, "{answer:?}");

    sure(scene.kill(&pair.primary));
    until(&mut scene, &pair.backup, "/primary", 200);
    until(&mut scene, spare, "/backup", 200);
    sure(scene.start(&pair.primary));
    until(&mut scene, &pair.primary, "/replica", 200);
    let verbose = until(&mut scene, &pair.primary, "/readyz?verbose", 200).body;
    for check in ["event loop", "role", "progress", "room", "view service"] {
        assert!(verbose.contains(&format!("[+] {check}: ok\n")), "{verbose}");
    }
}

#[test]
fn the_status_and_the_metrics_say_what_status_says() {
    let mut scene = scene("metrics", LEASE);
    sure(scene.start_all(&["a", "b"]));
    let pair = scene.until_pair();
    for _ in 0..5 {
        assert_eq!(scene.cli(&["client", "counter", "add"]).status, Some(0));
    }
    // All is applied everywhere, and nothing moves any more.
    let told = scene.until("an agreement", |scene| {
        let told: Value = sure(serde_json::from_str(
            &scene.cli(&["status", "--json"]).stdout,
        ));
        let replicas = told["replicas"].as_array()?;
        let is_same = replicas
            .iter()
            .all(|it| it["applied_index"] == told["replicas"][0]["last_index"]);
        is_same.then_some(told)
    });
    for name in ["a", "b", VIEW_SERVICE] {
        let answer = ask(&scene, name, "/status");
        assert_eq!(answer.status, 200, "{answer:?}");
        let served: Value = sure(serde_json::from_str(&answer.body));
        for part in ["view", "cluster"] {
            assert_eq!(served[part], told[part], "{name}");
        }
        let indexes = |told: &Value| told["replicas"][1]["applied_index"].clone();
        assert_eq!(indexes(&served), indexes(&told), "{name}");
    }
    let applied = told["replicas"][0]["applied_index"].as_f64();
    for name in ["a", "b"] {
        let address = sure(scene.http_address(name)).to_owned();
        assert_eq!(metric(&address, "standin_applied_index"), applied);
        let role = if name == pair.primary {
            "primary"
        } else {
            "backup"
        };
        let is_it = format!("standin_role{{role=\"{role}\"}}");
        assert_eq!(metric(&address, &is_it), Some(1.0));
        assert_eq!(
            metric(&address, "standin_role{role=\"quarantined\"}"),
            Some(0.0)
        );
        assert_eq!(metric(&address, "standin_partings_total"), Some(0.0));
    }
    let primary = sure(scene.http_address(&pair.primary)).to_owned();
    let follower = &pair.backup;
    let acknowledged = metric(
        &primary,
        &format!("standin_follower_acknowledged_index{{follower=\"{follower}\",role=\"backup\"}}"),
    );
    assert_eq!(acknowledged, applied);
    let service = sure(scene.http_address(VIEW_SERVICE)).to_owned();
    let of_primary = format!("{{replica=\"{}\"}}", pair.primary);
    let alive = metric(&service, &format!("standin_replica_alive{of_primary}"));
    assert_eq!(alive, Some(1.0));
    assert_eq!(metric(&service, "standin_unavailable"), Some(0.0));
    let answer = ask(&scene, VIEW_SERVICE, "/primary");
    assert_eq!(answer.status, 404, "{answer:?}");
    assert_eq!(ask(&scene, VIEW_SERVICE, "/readyz").status, 200);
}

#[test]
fn without_a_view_service_a_pair_is_as_ready_as_it_serves_and_one_alone_is_not() {
    let mut scene = scene("no view service", Duration::from_millis(500));
    sure(scene.start_all(&["a", "b"]));
    let pair = scene.until_pair();
    until(&mut scene, &pair.primary, "/readyz", 200);
    sure(scene.kill(VIEW_SERVICE));
    let noted = scene.until("it to be noticed", |scene| {
        let verbose = ask(scene, &pair.primary, "/readyz?verbose").body;
        let note = "[!] view service: it does not answer\n";
        verbose.contains(note).then_some(verbose)
    });
    assert!(noted.contains("[+] role: ok\n"), "{noted}");
    // Longer than a lease lasts: what it serves by now is its backup's acknowledgements.
    let primary = sure(scene.http_address(&pair.primary)).to_owned();
    scene.until("the lease to run out", |_| {
        (metric(&primary, "standin_lease_remaining_seconds") == Some(0.0)).then_some(())
    });
    until(&mut scene, &pair.primary, "/primary", 200);
    until(&mut scene, &pair.backup, "/backup", 200);
    assert_eq!(metric(&primary, "standin_serving"), Some(1.0));
    let answer = ask(&scene, &pair.primary, "/status");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("view service"), "{answer:?}");

    sure(scene.kill(&pair.backup));
    until(&mut scene, &pair.primary, "/primary", 503);
    until(&mut scene, &pair.primary, "/readyz", 503);
    assert_eq!(ask(&scene, &pair.primary, "/livez").status, 200);
}

/// Whether a door is open, which the machine below waits for.
static IS_OPEN: Mutex<bool> = Mutex::new(false);
static OPENED: Condvar = Condvar::new();
/// The machine waits for it.
static IS_WAITING: AtomicBool = AtomicBool::new(false);

/// A machine that takes as long with an entry as the test wants.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Door;

impl Machine for Door {
    const NAME: &'static str = "door";
    const VERSION: u32 = 1;
    type Command = ();
    type Query = ();
    type Reply = ();

    fn apply(&mut self, _ctx: &mut Context<'_>, (): ()) {
        IS_WAITING.store(true, Ordering::SeqCst);
        let open = sure(IS_OPEN.lock());
        let _open = sure(OPENED.wait_while(open, |is_open| !*is_open));
    }

    fn query(&self, (): ()) {}

    fn draw_command(_random: &mut RandomStream, _last: Option<&()>) {}

    fn draw_query(_random: &mut RandomStream) {}
}

#[test]
fn a_replica_whose_event_loop_is_stuck_is_not_alive() {
    let config = ClusterConfig {
        lease: LEASE,
        ..ClusterConfig::new(STANDIN)
    };
    let mut cluster = sure(Cluster::new(config));
    sure(cluster.start(VIEW_SERVICE));
    let services = sure(cluster.view_services());
    let stop = Stop::default();
    let builder = Replica::builder()
        .machine::<Door>()
        .name("a")
        .listen("127.0.0.1:0")
        .http("127.0.0.1:0")
        .viewservice(&services.as_slice().join(","))
        .data(cluster.directory().join("a"))
        .takes_signals(false)
        .stop(&stop);
    let (ready, is_ready) = mpsc::channel();
    let replica = thread::spawn(move || {
        let told = move |listening| ready.send(listening).unwrap_or_default();
        builder.on_ready(told).run()
    });
    let listening = sure(is_ready.recv_timeout(PATIENCE));
    let http = listening.http.expect("it was asked for").to_string();
    let config = ClientConfig { timeout: PATIENCE };
    let client = sure(Client::new(services, config));
    let command = thread::spawn(move || MachineClient::<Door>::new(client).command(&()));
    let end = std::time::Instant::now() + PATIENCE;
    while !IS_WAITING.load(Ordering::SeqCst) {
        assert!(
            std::time::Instant::now() < end,
            "the machine is never asked"
        );
        thread::yield_now();
    }
    for target in ["/livez", "/primary", "/metrics"] {
        let answer = get(&http, target);
        assert_eq!(answer.status, 503, "{target}: {answer:?}");
        assert!(answer.body.contains("event loop"), "{answer:?}");
    }
    *sure(IS_OPEN.lock()) = true;
    OPENED.notify_all();
    sure(command.join().expect("it does not panic"));
    assert_eq!(get(&http, "/livez").status, 200);
    stop.ask();
    sure(replica.join().expect("it does not panic"));
}

#[test]
fn however_many_ask_for_the_status_the_view_service_is_asked_by_one_at_a_time() {
    const ASKERS: usize = HTTP_CONNECTIONS_MAX;
    let mut scene = scene("a view service that hangs", LEASE);
    sure(scene.start_all(&["a", "b"]));
    let pair = scene.until_pair();
    let address = sure(scene.http_address(&pair.primary)).to_owned();
    assert_eq!(get(&address, "/status").status, 200);
    let descriptors = {
        let pid = scene.pid(&pair.primary).expect("it runs");
        move || sure(fs::read_dir(format!("/proc/{pid}/fd"))).count()
    };
    let before = descriptors();
    scene.freeze(VIEW_SERVICE);
    // What was told a moment ago is told again, at once. Everybody asks until it had to wait for the one that asks.
    let waits = move || {
        while {
            let begun = clock::boot();
            try_get(&address, "/status");
            clock::boot().since(begun) < Duration::from_secs(1)
        } {}
    };
    let askers: Vec<_> = (0..ASKERS).map(|_| thread::spawn(waits.clone())).collect();
    let mut most = 0;
    while !askers.iter().all(thread::JoinHandle::is_finished) {
        most = most.max(descriptors());
        thread::yield_now();
    }
    for asker in askers {
        asker.join().expect("it does not panic");
    }
    // Some are being closed, and the one that asks has some more. Were they to ask for themselves, each had four.
    assert!(
        most <= before + HTTP_SOCKETS_MAX + 6,
        "{before}, then {most}"
    );
}
