//! `standin replica --replace`: a new data directory under a name that the cluster knows. Each row of the table in
//! docs/format.md ("A name and its directory") is here: nothing starts empty under a known name unless that is said,
//! nothing is taken from a replica that runs, and what a lost directory alone held is never taken for lost silently.

use std::fs;
use std::path::Path;

use super::process::*;

const REPLACE: &str = " --replace";

/// A view service and replicas that run, each started when the one before has its role.
struct Cluster {
    _dir: tempfile::TempDir,
    base: String,
    address: String,
    _service: Running,
    replicas: Vec<(String, Running)>,
}

impl Cluster {
    fn start(names: &[&str]) -> Self {
        let (dir, path) = scratch();
        let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
        let mut cluster = Self {
            base: text(dir.path()),
            _dir: dir,
            address: service.ready(),
            _service: service,
            replicas: Vec::new(),
        };
        for (name, role) in names.iter().zip(["primary", "backup", "spare"]) {
            cluster.serve(name, &cluster.line(name, name));
            cluster.until_role(name, role);
        }
        cluster
    }

    fn data(&self, data: &str) -> String {
        format!("{}/{data}", self.base)
    }

    /// The line that starts a replica of this name on this data directory.
    fn line(&self, name: &str, data: &str) -> String {
        replica_line(name, &self.address, &self.data(data))
    }

    /// Starts a replica, which must be accepted.
    fn serve(&mut self, name: &str, line: &str) {
        let mut replica = start(line);
        replica.ready();
        self.replicas.push((name.to_owned(), replica));
    }

    /// Kills a replica, and waits until the view service has noticed.
    #[track_caller]
    fn kill(&mut self, name: &str) {
        self.replicas.retain(|(it, _)| it != name);
        until("the view service to notice", || {
            let status = self.ask("status", "--json").out;
            let (_, of_it) = status.split_once(&format!("\"name\":\"{name}\""))?;
            let (_, alive) = of_it.split_once("\"alive\":")?;
            alive.starts_with("false").then_some(())
        });
    }

    fn ask(&self, command: &str, rest: &str) -> Ended {
        start(&format!("{command} --viewservice {} {rest}", self.address)).end()
    }

    #[track_caller]
    fn until_role(&self, name: &str, role: &str) {
        until(&format!("{name} to be {role}"), || {
            let ended = self.ask("status", &format!("--name {name} --expect {role}"));
            (ended.status == Some(0)).then_some(())
        });
    }

    #[track_caller]
    fn counts(&self, value: i64) {
        let ended = self.ask("client", "--timeout 20s counter get");
        assert_eq!(ended.out.trim(), value.to_string(), "{ended:?}");
    }

    #[track_caller]
    fn add(&self, value: i64) {
        let ended = self.ask("client", &format!("--timeout 20s counter add {value}"));
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
}

/// Without `--replace`, and with it.
fn both(line: &str) -> [String; 2] {
    [line.to_owned(), line.to_owned() + REPLACE]
}

#[test]
fn an_empty_directory_under_a_new_name_starts_with_and_without_it() {
    let mut cluster = Cluster::start(&["a"]);
    cluster.add(5);
    for (name, line) in ["b", "c"].iter().zip(both("")) {
        let line = cluster.line(name, name) + &line;
        cluster.serve(name, &line);
    }
    cluster.until_role("b", "backup");
    cluster.counts(5);
}

#[test]
fn an_empty_directory_does_not_take_a_name_from_a_replica_that_runs() {
    let cluster = Cluster::start(&["a", "b", "c"]);
    cluster.add(5);
    for name in ["a", "b", "c"] {
        let line = cluster.line(name, "new");
        let words = ["name is taken", "another --name", "--replace"];
        goes_wrong(&line, NO, &words);
        let words = [
            "name is taken",
            "a replica runs on it",
            "stop that one first",
        ];
        goes_wrong(&(line + REPLACE), NO, &words);
        fs::remove_dir_all(cluster.data("new")).unwrap();
    }
    for (name, role) in [("a", "primary"), ("b", "backup"), ("c", "spare")] {
        cluster.until_role(name, role);
    }
    cluster.counts(5);
}

#[test]
fn the_directory_of_a_spare_that_is_gone_is_replaced_and_the_old_one_is_no_longer_let_in() {
    let mut cluster = Cluster::start(&["a", "b", "c"]);
    cluster.add(5);
    cluster.kill("c");
    let words = ["name is taken", "lost for good", "--replace"];
    goes_wrong(&cluster.line("c", "new"), NO, &words);
    // The name is free a few lease terms after it was heard of at last.
    let line = cluster.line("c", "new") + REPLACE;
    cluster.serve("c", &line);
    cluster.until_role("c", "spare");
    let [without, with] = both(&cluster.line("c", "c"));
    goes_wrong(&without, NO, &["name is taken", "--replace"]);
    goes_wrong(&with, NO, &["name is taken", "stop that one first"]);
    // What is there already is brought up to date like any other log.
    cluster.kill("c");
    cluster.add(1);
    cluster.serve("c", &with);
    cluster.until_role("c", "spare");
    cluster.counts(6);
}

#[test]
fn the_directory_of_a_backup_that_is_gone_is_replaced() {
    let mut cluster = Cluster::start(&["a", "b"]);
    cluster.add(5);
    cluster.kill("b");
    let line = cluster.line("b", "new");
    goes_wrong(&line, NO, &["name is taken", "--replace"]);
    cluster.serve("b", &(line + REPLACE));
    cluster.until_role("b", "backup");
    // It has everything: it is enough alone.
    cluster.kill("a");
    cluster.until_role("b", "primary");
    cluster.counts(5);
}

#[test]
fn the_directory_of_a_primary_that_is_gone_is_replaced_and_its_backup_serves() {
    let mut cluster = Cluster::start(&["a", "b"]);
    cluster.add(5);
    cluster.kill("a");
    let line = cluster.line("a", "new");
    goes_wrong(&line, NO, &["name is taken", "--replace"]);
    cluster.serve("a", &(line + REPLACE));
    cluster.until_role("b", "primary");
    cluster.until_role("a", "backup");
    cluster.counts(5);
}

#[test]
fn the_directory_of_a_lone_holder_is_not_replaced_silently() {
    let mut cluster = Cluster::start(&["a"]);
    cluster.add(5);
    cluster.kill("a");
    let line = cluster.line("a", "new");
    goes_wrong(&line, NO, &["name is taken", "--replace"]);
    cluster.serve("a", &(line + REPLACE));
    let words = until("words that say why nobody serves", || {
        let status = cluster.ask("status", "--json").out;
        status.contains("another data directory").then_some(status)
    });
    for word in [
        "the one that it had",
        "--replace",
        "standin recover --primary a",
    ] {
        assert!(words.contains(word), "no '{word}' in {words}");
    }
    let asked = cluster.ask("client", "--timeout 1s counter get");
    assert_eq!(
        asked.status,
        Some(NOT_REACHED),
        "an empty start answers nothing: {asked:?}"
    );
    // Nor does it come to serve if it is started again, or another one beside it.
    cluster.kill("a");
    cluster.serve("a", &cluster.line("a", "new"));
    cluster.serve("b", &cluster.line("b", "b"));
    let asked = cluster.ask("client", "--timeout 3s counter get");
    assert_eq!(asked.status, Some(NOT_REACHED), "{asked:?}");
    // The directory was not lost after all.
    cluster.kill("a");
    cluster.serve("a", &(cluster.line("a", "a") + REPLACE));
    cluster.until_role("a", "primary");
    cluster.counts(5);
    cluster.until_role("b", "backup");
}

#[test]
fn a_lost_lone_holder_is_given_up_only_if_the_operator_accepts_the_loss() {
    let mut cluster = Cluster::start(&["a"]);
    cluster.add(5);
    cluster.kill("a");
    cluster.serve("a", &(cluster.line("a", "new") + REPLACE));
    until("words that say why nobody serves", || {
        let status = cluster.ask("status", "--json").out;
        status.contains("another data directory").then_some(())
    });
    let told = cluster.ask("recover", "--primary a");
    assert_eq!(told.status, Some(NO), "{told:?}");
    until("the takeover to be granted", || {
        let ended = cluster.ask("recover", "--primary a --accept-loss");
        (ended.status == Some(0)).then_some(())
    });
    cluster.until_role("a", "primary");
    cluster.counts(0);
}

#[test]
fn a_directory_that_has_the_name_goes_on_with_and_without_it() {
    let mut cluster = Cluster::start(&["a"]);
    cluster.add(5);
    for line in both(&cluster.line("a", "a")) {
        cluster.kill("a");
        cluster.serve("a", &line);
        cluster.until_role("a", "primary");
        cluster.counts(5);
    }
}

#[test]
fn a_directory_that_is_another_s_or_damaged_is_refused_with_and_without_it() {
    let mut cluster = Cluster::start(&["a"]);
    let mut other = Cluster::start(&["a"]);
    cluster.add(5);
    other.kill("a");
    let stray = replica_line("a", &cluster.address, &other.data("a"));
    cluster.serve("b", &cluster.line("b", "b"));
    cluster.until_role("b", "backup");
    cluster.kill("b");
    let wrong_name = cluster.line("c", "b");
    for line in both(&stray) {
        goes_wrong(&line, NO, &["another cluster", "--data"]);
    }
    for line in both(&wrong_name) {
        goes_wrong(&line, NO, &["belongs to replica b, not c", "--name b"]);
    }
    fs::create_dir(cluster.data("foreign")).unwrap();
    fs::write(
        Path::new(&cluster.data("foreign")).join("photo.jpg"),
        b"photo",
    )
    .unwrap();
    for line in both(&cluster.line("d", "foreign")) {
        goes_wrong(&line, NO, &["photo.jpg", "choose an empty --data"]);
    }
    let meta = Path::new(&cluster.data("b")).join("meta");
    let mut bytes = fs::read(&meta).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&meta, &bytes).unwrap();
    for line in both(&cluster.line("b", "b")) {
        let words = [
            "its meta file is bad",
            "set the directory aside",
            "--replace",
        ];
        goes_wrong(&line, NO, &words);
    }
    assert_eq!(fs::read(&meta).unwrap(), bytes, "it is left as it is");
    cluster.counts(5);
}
