//! Disks without room, with real processes on small file systems (`protocol.md` section 12): nothing acknowledged is
//! lost, the messages say what to do, and the service resumes by itself once there is room.
//!
//! Mounting them takes root. Where that cannot be done the tests fail, unless `STANDIN_WITHOUT_MOUNTS` is set.

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use standin_client::{Client, ClientConfig, ViewServices};
use standin_core::message::{Room, StatusReply};
use standin_core::time::Duration;
use standin_core::view::Reason;
use standin_io::clock;
use standin_tools::cluster::{ClusterConfig, VIEW_SERVICE};

use support::cli::STANDIN;
use support::load::{Load, LoadConfig};
use support::scene::{Scene, replica};
use support::tmpfs::Tmpfs;
use support::{sure, tell};

const LEASE: Duration = Duration::from_millis(500);
/// Room for the first segment of a log, for the next one, and for little else.
const DISK_BYTES: u64 = 12 << 20;
/// Bytes of a command that the counter does not understand: it is logged all the same.
const FLOOD_BYTES: usize = 64 << 10;

/// A scene in which nothing runs yet, and in which these parties have a file system of their own.
fn scene(title: &str, disks: &[(&str, &Tmpfs)]) -> Scene {
    let words = ["--segment-bytes", "4194304"].map(str::to_owned);
    let config = ClusterConfig {
        lease: LEASE,
        replica_arguments: words.to_vec(),
        ..ClusterConfig::new(STANDIN)
    };
    let scene = Scene::with(title, config);
    for (name, disk) in disks {
        sure(symlink(disk.path(), scene.directory().join(name)));
    }
    scene
}

/// Fills logs: a client that sends large commands, whatever comes of them.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn begin(view_services: ViewServices) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let timeout = Duration::from_secs(1);
            let mut client = sure(Client::new(view_services, ClientConfig { timeout }));
            let command = [0xff; FLOOD_BYTES];
            while !theirs.load(Ordering::Relaxed) {
                // Refused for want of room, in the end.
                let _ = client.command(&command);
            }
            let _ = client.close();
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("the flood does not panic");
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn flood(scene: &Scene) -> Flood {
    Flood::begin(sure(scene.view_services()))
}

fn load(scene: &Scene) -> Load {
    scene.load(LoadConfig::default())
}

fn room(status: &StatusReply, name: &str) -> Option<Room> {
    replica(status, name)?.room
}

/// Waits until a replica says in the status that it has no room, and what to do.
#[track_caller]
fn until_roomless(scene: &mut Scene, name: &str, least: Room) -> String {
    scene.until_status(&format!("{name} to have no room"), |status| {
        let trouble = replica(status, name)?.trouble.clone()?;
        (room(status, name)? >= least).then_some(trouble)
    })
}

#[track_caller]
fn until_room(scene: &mut Scene, name: &str) {
    scene.until_status(&format!("{name} to have room"), |status| {
        (room(status, name)? == Room::Enough).then_some(())
    });
}

fn log_of(scene: &Scene, name: &str) -> String {
    sure(std::fs::read_to_string(scene.log_path(name)))
}

#[track_caller]
fn check_words(words: &str) {
    assert!(words.contains("no room"), "{words}");
    assert!(words.contains("make room on its disk"), "{words}");
}

#[test]
fn a_primary_whose_disk_is_full_hands_over_and_nobody_notices() {
    let Some(disk) = Tmpfs::mount(DISK_BYTES) else {
        return;
    };
    let mut scene = scene("full disk of the primary", &[("a", &disk)]);
    sure(scene.start_all(&["a", "b"]));
    let pair = scene.until_pair();
    assert_eq!(pair.primary, "a");
    let load = load(&scene);
    scene.until_answers(&load);
    disk.fill();
    let flood = flood(&scene);
    scene.until_record("b to be primary", |record| {
        (record.active && record.primary.name.as_str() == "b").then_some(())
    });
    flood.end();
    check_words(&until_roomless(&mut scene, "a", Room::Lacking));
    let log = log_of(&scene, "a");
    assert!(
        log.contains("hands over to b, for its log has no room"),
        "{log}"
    );
    scene.until_answers(&load);
    let json = scene.cli(&["status", "--json"]);
    let says = |room: &str| json.stdout.contains(&format!(r#""room":"{room}""#));
    assert!(says("lacking") || says("out"), "{json:?}");

    disk.make_room();
    until_room(&mut scene, "a");
    scene.until_pair();
    // Every operation was answered in the end, and none was refused for good.
    scene.audit(load);
}

#[test]
fn a_backup_whose_disk_is_full_gives_way_to_a_spare_and_comes_back() {
    let Some(disk) = Tmpfs::mount(DISK_BYTES) else {
        return;
    };
    let mut scene = scene("full disk of the backup", &[("b", &disk)]);
    sure(scene.start_all(&["a", "b"]));
    let pair = scene.until_pair();
    assert_eq!((pair.primary.as_str(), pair.backup.as_str()), ("a", "b"));
    let load = load(&scene);
    scene.until_answers(&load);
    disk.fill();
    let flood_of_two = flood(&scene);
    // Alone it goes on only when its backup takes nothing more.
    scene.until_record("b to be dropped", |record| {
        let is_alone = record.active && record.backup.is_none();
        (is_alone && record.primary.name.as_str() == "a").then_some(())
    });
    flood_of_two.end();
    check_words(&until_roomless(&mut scene, "b", Room::Out));
    scene.until_answers(&load);
    let dropped_in = scene.until_record("the view", |record| Some(record.view));

    // It is no backup for anybody as long as it has no room: another one is.
    sure(scene.start("c"));
    let pair = scene.until_pair();
    assert_eq!((pair.primary.as_str(), pair.backup.as_str()), ("a", "c"));
    scene.until_answers(&load);
    assert_eq!(pair.view.0, dropped_in.0 + 1, "b was not tried in between");

    disk.make_room();
    until_room(&mut scene, "b");
    scene.until_answers(&load);
    scene.audit(load);
}

#[test]
fn with_both_disks_full_writes_are_refused_and_reads_go_on_until_there_is_room() {
    let (Some(of_a), Some(of_b)) = (Tmpfs::mount(DISK_BYTES), Tmpfs::mount(DISK_BYTES)) else {
        return;
    };
    let mut scene = scene("full disks of both", &[("a", &of_a), ("b", &of_b)]);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    let load = load(&scene);
    scene.until_answers(&load);
    of_a.fill();
    of_b.fill();
    let flood = flood(&scene);
    let refused = scene.until("a write to be refused", |scene| {
        let ran = scene.cli(&["client", "--timeout", "500ms", "counter", "add", "0"]);
        ran.stderr.contains("room for more log").then_some(ran)
    });
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("neither"), "{refused:?}");
    assert!(
        refused.stderr.contains("make room on the disk"),
        "{refused:?}"
    );
    for name in ["a", "b"] {
        check_words(&until_roomless(&mut scene, name, Room::Lacking));
    }
    // Reads go on, with the value that is.
    let value = scene.cli(&["client", "counter", "get"]).number();
    assert!(value > 0);
    flood.end();
    let pair = scene.until_pair();
    scene.until_moment(clock::boot().plus(LEASE * 4));
    let record = scene.until_record("the record", |record| Some(record.clone()));
    assert_eq!(record.view, pair.view, "nothing is to be had by a change");
    let said = format!("neither {}, the primary, nor {}", pair.primary, pair.backup);
    let refused = scene.cli(&["client", "--timeout", "500ms", "counter", "add", "0"]);
    assert!(refused.stderr.contains(&said), "{refused:?}");

    // Room for one of them is enough, and everybody who waited gets an answer.
    let (first, second) = match pair.backup.as_str() {
        "a" => (&of_a, &of_b),
        _ => (&of_b, &of_a),
    };
    first.make_room();
    scene.until_record("the backup to be primary", |record| {
        (record.active && record.primary.name.as_str() == pair.backup).then_some(())
    });
    scene.until_answers(&load);
    second.make_room();
    until_room(&mut scene, &pair.primary);
    scene.until_pair();
    scene.audit(load);
}

#[test]
fn a_lone_primary_refuses_writes_until_there_is_room_for_its_own_log() {
    let Some(disk) = Tmpfs::mount(DISK_BYTES) else {
        return;
    };
    let mut scene = scene("full disk of a lone primary", &[("a", &disk)]);
    sure(scene.start_all(&["a"]));
    let load = load(&scene);
    scene.until_answers(&load);
    disk.fill();
    let flood = flood(&scene);
    check_words(&until_roomless(&mut scene, "a", Room::Out));
    flood.end();
    let refused = scene.cli(&["client", "--timeout", "500ms", "counter", "add", "0"]);
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(
        refused.stderr.contains("a, the primary, has no room"),
        "{refused:?}"
    );
    assert!(scene.cli(&["client", "counter", "get"]).number() > 0);
    // A restart finds the same want of room, and begins with all that was answered.
    sure(scene.restart("a"));
    check_words(&until_roomless(&mut scene, "a", Room::Out));
    assert!(scene.cli(&["client", "counter", "get"]).number() > 0);
    disk.make_room();
    scene.until_answers(&load);
    scene.audit(load);
}

#[test]
fn a_view_service_whose_disk_is_full_lets_the_pair_go_on_and_resumes() {
    let Some(disk) = Tmpfs::mount(1 << 20) else {
        return;
    };
    let title = "full disk of the view service";
    let mut scene = scene(title, &[(VIEW_SERVICE, &disk)]);
    sure(scene.start_all(&["a", "b"]));
    let pair = scene.until_pair();
    let load = load(&scene);
    scene.until_answers(&load);
    disk.fill();

    // A new replica would have to be noted: it is not let in, and the pair does not notice.
    sure(scene.spawn("c"));
    let trouble = scene.until_status("the view service to say so", |status| {
        status.trouble.clone()
    });
    assert!(trouble.contains("make room there"), "{trouble}");
    let words = scene.cli(&["status"]).stdout;
    assert!(
        words.contains("view service: its disk has no room"),
        "{words}"
    );
    assert!(!sure(scene.is_ready("c")));
    scene.until_answers(&load);
    let log = log_of(&scene, VIEW_SERVICE);
    assert!(log.contains("no room in data directory"), "{log}");
    assert!(log.contains("make room on that disk"), "{log}");

    // Nobody can be named in place of a primary that dies, and nobody is, before that can be stored.
    sure(scene.kill(&pair.primary));
    scene.until_status("nobody to serve", |status| status.unavailable.clone());
    let end = clock::boot().plus(LEASE * 4);
    scene.until_moment(end);
    let record = scene.until_record("the record as it was", |record| Some(record.clone()));
    assert_eq!(record.view, pair.view);
    sure(scene.restart(VIEW_SERVICE));
    disk.make_room();
    scene.until_record("a takeover", |record| {
        let is_it = record.active && record.primary.name.as_str() == pair.backup;
        is_it.then_some(())
    });
    scene.until_answers(&load);
    sure(scene.start(&pair.primary));
    scene.until("c to be let in", |scene| {
        sure(scene.is_ready("c")).then_some(())
    });
    scene.until_pair();
    let record = scene.until_record("the record", |record| Some(record.clone()));
    assert_ne!(record.reason, Reason::Forced);
    tell(format_args!("{title}: view {} in the end", record.view));
    scene.audit(load);
}
