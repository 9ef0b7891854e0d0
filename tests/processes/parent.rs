//! A replica is two processes, one that serves and its parent. When the one that serves dies, its parent
//! proves that to the view service, and a takeover need not wait for the lease.

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_io::clock;
use standin_tools::cluster::{POLL_PAUSE, VIEW_SERVICE, children_of, kill_family};

use crate::support::cli::STANDIN;
use crate::support::load::{Load, LoadConfig};
use crate::support::scene::{Scene, TRIES, is_standing_still, names};
use crate::support::{PATIENCE, SLACK, ms, sure, tell};

/// The default.
const LEASE: Duration = Duration::from_secs(1);
/// How many takeovers of each kind are measured, if it is not said.
const ROUNDS: usize = 5;
/// How many are wanted: `.ci/takeovers` and docs/performance.md ask for more, of a release build.
const ROUNDS_VARIABLE: &str = "STANDIN_TAKEOVER_ROUNDS";
/// What the C library's allocator is asked for.
const ALLOCATOR: &str = "GLIBC_TUNABLES";

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
    let views = scene.cli(&["history", "--json"]).stdout;
    let caused = views
        .matches(&format!("\"cause\":\"{cause}\",\"gap_ms\":"))
        .count();
    let untold = views
        .matches(&format!("\"cause\":\"{cause}\",\"gap_ms\":null"))
        .count();
    assert!(caused >= rounds, "{title}: {caused} of {rounds}\n{views}");
    assert_eq!(untold, 0, "{title}: a takeover without a gap\n{views}");
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
fn round(scene: &mut Scene, load: &Load, take_away: impl Fn(&mut Scene, &str)) -> Option<Duration> {
    let pair = scene.until_pair();
    scene.until_answers(load);
    let killed = clock::boot();
    take_away(scene, &pair.primary);
    sure(scene.wait(&pair.primary, PATIENCE));
    let record = scene.until_record(
        "somebody else to be primary, or to be a holder no more",
        |record| {
            let is_alone = names(record) == [pair.primary.as_str()];
            let is_next = record.active && record.primary.name.as_str() != pair.primary;
            (is_alone || is_next).then(|| record.clone())
        },
    );
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

/// A `standin replica` whose processes are the test's own business: it does not die with the test's thread,
/// so that only its parent decides.
struct Replica {
    child: Child,
    directory: PathBuf,
    /// The one that serves, once it does.
    serving: Option<u32>,
}

impl Replica {
    fn start(scene: &Scene, name: &str, more: &[&str]) -> Self {
        Self::start_within(&[], scene, name, more)
    }

    /// With these variables in its environment.
    fn start_within(
        environment: &[(&str, &str)],
        scene: &Scene,
        name: &str,
        more: &[&str],
    ) -> Self {
        let directory = scene.directory().join(name);
        let open = |end: &str| {
            sure(fs::File::create(
                scene.directory().join(format!("{name}.{end}")),
            ))
        };
        let mut command = Command::new(STANDIN);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("STANDIN_") {
                command.env_remove(variable);
            }
        }
        command
            .env_remove(ALLOCATOR)
            .envs(environment.iter().copied())
            .args(["replica", "--listen", "127.0.0.1:0", "--machine", "counter"])
            .args([
                "--name",
                name,
                "--viewservice",
                sure(scene.address(VIEW_SERVICE)),
            ])
            .arg("--data")
            .arg(&directory)
            .args(more)
            .stdin(Stdio::null())
            .stdout(open("out"))
            .stderr(open("err"))
            .process_group(0);
        let mut replica = Self {
            child: sure(command.spawn()),
            directory,
            serving: None,
        };
        replica.until("it is ready", |replica| {
            let out = sure(fs::read_to_string(replica.file("out")));
            out.starts_with("ready replica ").then_some(())
        });
        replica.serving = replica.processes().last().copied();
        replica
    }

    fn file(&self, end: &str) -> PathBuf {
        self.directory.with_extension(end)
    }

    fn errors(&self) -> String {
        sure(fs::read_to_string(self.file("err")))
    }

    #[track_caller]
    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = clock::boot().plus(PATIENCE);
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(
                clock::boot() < end,
                "waited in vain until {what}: {}",
                self.errors()
            );
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// The processes that it consists of: the parent, and the one that serves.
    fn processes(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        all.extend(children_of(self.child.id()));
        all
    }

    fn parent(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    fn serving(&self) -> u32 {
        match self.processes().as_slice() {
            [_, serving] => *serving,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        self.until("it ends", |replica| sure(replica.child.try_wait()))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It fails only if it has ended already.
        let _ = kill_family(&mut self.child);
        // One whose parent was killed may live on where what is tested here fails.
        let Some(serving) = self.serving else { return };
        let arguments = text_of(&format!("/proc/{serving}/cmdline"));
        if arguments.contains(&self.directory.display().to_string()) {
            let pid = i32::try_from(serving).expect("process ids are no longer");
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = sure(i32::try_from(pid));
    sure(kill(Pid::from_raw(pid), signal));
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
        || text_of(&format!("/proc/{pid}/stat")).contains(") Z ")
}

fn text_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A view service, and nothing else yet.
fn view_service(title: &str) -> Scene {
    let config = standin_tools::cluster::ClusterConfig {
        lease: LEASE,
        ..standin_tools::cluster::ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with(title, config);
    sure(scene.start(VIEW_SERVICE));
    scene
}

fn status_of(scene: &Scene) -> String {
    scene
        .status()
        .map(|status| status.unavailable.unwrap_or_default())
        .unwrap_or_default()
}

#[test]
fn what_a_killed_process_leaves_is_its_signal_as_a_status_one_line_and_the_proof() {
    let mut scene = view_service("killed");
    let mut replica = Replica::start(&scene, "a", &[]);
    signal(replica.serving(), Signal::SIGKILL);
    let status = replica.end();
    assert_eq!(status.code(), Some(128 + 9), "{status}");
    let errors = replica.errors();
    let lines = errors.lines().filter(|line| line.starts_with("standin: "));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 1, "{errors}");
    assert!(
        lines[0].contains("was killed by SIGKILL (signal 9)"),
        "{errors}"
    );
    assert!(
        errors.contains("the view service knows that this life of a has died"),
        "{errors}"
    );
    scene.until("the status to say so", |scene| {
        status_of(scene)
            .contains("a, the primary of view 1, has died")
            .then_some(())
    });
    // The next life goes on where this one was.
    let mut replica = Replica::start(&scene, "a", &[]);
    scene.until("it to be primary", |scene| {
        scene.cli_expects("a", "primary").then_some(())
    });
    signal(replica.parent(), Signal::SIGTERM);
    assert_eq!(replica.end().code(), Some(0));
}

#[test]
fn nobody_who_can_be_told_delays_the_end_for_long() {
    let mut scene = view_service("nobody to tell");
    let mut replica = Replica::start(&scene, "a", &[]);
    sure(scene.kill(VIEW_SERVICE));
    let killed = clock::boot();
    signal(replica.serving(), Signal::SIGKILL);
    assert_eq!(replica.end().code(), Some(128 + 9));
    let took = clock::boot().since(killed);
    let bounds =
        standin::replica::parent::PROOF_PATIENCE..standin::replica::parent::PROOF_PATIENCE + SLACK;
    assert!(bounds.contains(&took), "{took:?}");
    assert!(
        replica.errors().contains("was not told that a has died"),
        "{}",
        replica.errors()
    );
    // Whoever has to wait for that may cut it short.
    sure(scene.start(VIEW_SERVICE));
    let mut replica = Replica::start(&scene, "a", &[]);
    sure(scene.kill(VIEW_SERVICE));
    signal(replica.serving(), Signal::SIGKILL);
    replica.until("it says how it ended", |replica| {
        replica.errors().contains("was killed by").then_some(())
    });
    signal(replica.parent(), Signal::SIGTERM);
    assert_eq!(replica.end().code(), Some(128 + 9));
}

#[test]
fn when_its_parent_is_killed_the_process_that_serves_stops_cleanly() {
    let mut scene = view_service("parent killed");
    for is_frozen in [false, true] {
        let replica = Replica::start(&scene, "a", &[]);
        scene.until("it to be primary", |scene| {
            scene.cli_expects("a", "primary").then_some(())
        });
        let serving = replica.serving();
        if is_frozen {
            // The kernel wakes a group that nobody is left to wake.
            signal(serving, Signal::SIGSTOP);
            scene.until("it to stand still", |_| {
                is_standing_still(serving).then_some(())
            });
        }
        signal(replica.parent(), Signal::SIGKILL);
        scene.until("the other to end", |_| is_gone(serving).then_some(()));
        // It has given its lease back, and left the mark of a clean stop.
        scene.until("the release to be known", |scene| {
            status_of(scene)
                .contains("a, the primary of view")
                .then_some(())
        });
        let why = status_of(&scene);
        assert!(why.contains("has stopped"), "{why}");
    }
}

#[test]
fn without_a_parent_a_replica_is_one_process() {
    let mut scene = view_service("no parent");
    for (more, count) in [(&["--no-parent"][..], 1), (&[][..], 2)] {
        let mut replica = Replica::start(&scene, "a", more);
        assert_eq!(replica.processes().len(), count, "{more:?}");
        let serving = *replica.processes().last().unwrap();
        let holder = sure(fs::read_to_string(replica.directory.join("lock")));
        assert_eq!(
            holder.trim(),
            serving.to_string(),
            "only it holds the directory"
        );
        signal(replica.parent(), Signal::SIGTERM);
        let status = replica.end();
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(is_gone(serving));
    }
    let mut replica = Replica::start(&scene, "a", &["--no-parent"]);
    signal(replica.parent(), Signal::SIGKILL);
    assert_eq!(replica.end().signal(), Some(9));
    // Nobody has reaped it but the test: it is missed when its lease runs out.
    scene.until("its silence to be noticed", |scene| {
        status_of(scene)
            .contains("does not renew its lease")
            .then_some(())
    });
}

#[test]
fn the_process_that_serves_asks_for_huge_pages_unless_somebody_has_said_otherwise() {
    let scene = view_service("huge pages");
    let mine = "glibc.malloc.arena_max=3";
    for (environment, expected) in [
        (&[][..], "glibc.malloc.hugetlb=1"),
        (&[(ALLOCATOR, mine)][..], mine),
        (&[(ALLOCATOR, "")][..], ""),
    ] {
        let mut replica = Replica::start_within(environment, &scene, "a", &[]);
        let told = sure(fs::read(format!("/proc/{}/environ", replica.serving())));
        let variable = format!("{ALLOCATOR}=");
        let told = told.split(|byte| *byte == 0);
        let told: Vec<_> = told
            .filter_map(|it| it.strip_prefix(variable.as_bytes()))
            .collect();
        assert_eq!(told, [expected.as_bytes()]);
        signal(replica.parent(), Signal::SIGTERM);
        assert_eq!(replica.end().code(), Some(0));
    }
}

#[test]
fn signals_are_passed_on_and_statuses_come_back() {
    let mut scene = view_service("signals");
    for each in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        if standin_io::signals::is_ignored(each).unwrap() {
            continue;
        }
        let mut replica = Replica::start(&scene, "a", &[]);
        let serving = replica.serving();
        // Twice at once: each is passed on, and the second does no harm.
        signal(replica.parent(), each);
        signal(replica.parent(), each);
        let status = replica.end();
        assert_eq!(
            status.code(),
            Some(0),
            "{each}: {status} {}",
            replica.errors()
        );
        assert!(is_gone(serving));
    }
    // One that ends by itself leaves its own status: here that its name is taken.
    let mut first = Replica::start(&scene, "a", &[]);
    let data = first.directory.join("other");
    let arguments = [
        "replica",
        "--name",
        "a",
        "--listen",
        "127.0.0.1:0",
        "--machine",
        "counter",
        "--data",
    ];
    let data = data.display().to_string();
    let ran = scene.cli(&[&arguments[..], &[data.as_str()]].concat());
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("the name is taken"), "{ran:?}");
    // Suspended and resumed, both stand still and go on.
    let serving = first.serving();
    signal(first.parent(), Signal::SIGTSTP);
    for pid in [first.parent(), serving] {
        first.until("both stand still", |_| {
            text_of(&format!("/proc/{pid}/stat"))
                .contains(") T ")
                .then_some(())
        });
    }
    signal(first.parent(), Signal::SIGCONT);
    first.until("both go on", |_| {
        (!text_of(&format!("/proc/{serving}/stat")).contains(") T ")).then_some(())
    });
    scene.until("it to serve", |scene| {
        scene.cli_expects("a", "primary").then_some(())
    });
}
