//! Services that cannot start, are refused, wait, or are told to stop.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use standin_core::identity::{ReplicaName, StoreId};
use standin_core::machine::MachineId;
use standin_io::data_dir::DataDir;
use standin_io::signals::is_ignored;
use standin_tools::cluster::{Cluster, ClusterConfig, VIEW_SERVICE, children_of};

use super::process::*;

#[test]
fn a_service_that_is_not_there_is_reported_when_the_time_is_over() {
    // One that refuses connections, and one that takes them and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for (address, verb) in [
        (NOBODY, "client counter add 1"),
        (NOBODY, "client counter get"),
        (NOBODY, "status"),
        (NOBODY, "status --name a --expect backup"),
        (&silent, "client counter add 1"),
        (&silent, "status"),
        ("name.invalid:7000", "status"),
    ] {
        let asked = Duration::from_millis(700);
        let (command, rest) = verb.split_once(' ').unwrap_or((verb, ""));
        let line = format!("{command} --viewservice {address} --timeout 700ms {rest}");
        let ended = goes_wrong(&line, NOT_REACHED, &[address, "700ms", "check"]);
        assert!(
            ended.took >= asked,
            "{line}: gave up after {:?}",
            ended.took
        );
        assert!(
            ended.took < asked + LATE_MAX,
            "{line}: took {:?}",
            ended.took
        );
        if verb.contains("add") {
            assert!(ended.err.contains("nothing was executed"), "{}", ended.err);
        }
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_refused_and_left_alone() {
    let (_dir, path) = scratch();
    fs::write(path("file"), b"text").unwrap();
    fs::create_dir(path("foreign")).unwrap();
    fs::write(path("foreign/photo.jpg"), b"photo").unwrap();
    let (file, foreign) = (path("file"), path("foreign"));
    let below = path("file/below");
    let unwritable = "/proc/standin-data";
    for (data, words) in [
        (file.as_str(), ["not a directory", "--data"]),
        (below.as_str(), ["not a directory", "--data"]),
        (foreign.as_str(), ["photo.jpg", "choose an empty --data"]),
        (unwritable, ["creating it", "choose another --data"]),
    ] {
        for line in [
            viewservice_line("127.0.0.1:0", data),
            replica_line("a", NOBODY, data),
        ] {
            goes_wrong(&line, NO, &[&[data], words.as_slice()].concat());
        }
    }
    let left: Vec<_> = fs::read_dir(&foreign).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read(&file).unwrap(), b"text");

    // Ours, but another party's.
    let vs = path("vs");
    let mut service = start(&viewservice_line("127.0.0.1:0", &vs));
    let address = service.ready();
    let a = path("a");
    let mut replica = start(&replica_line("a", &address, &a));
    replica.ready();
    let pid = service.child.id().to_string();
    goes_wrong(
        &viewservice_line("127.0.0.1:0", &vs),
        NO,
        &[&vs, "holds it", &pid],
    );
    // The one that serves, and not its parent, which has nothing to do with the directory.
    let pid = children_of(replica.child.id())[0].to_string();
    goes_wrong(
        &replica_line("a", &address, &a),
        NO,
        &[&a, "holds it", &pid],
    );
    drop((service, replica));
    goes_wrong(
        &viewservice_line("127.0.0.1:0", &a),
        NO,
        &[&a, "not a view service's"],
    );
    goes_wrong(
        &replica_line("a", &address, &vs),
        NO,
        &[&vs, "choose an empty --data"],
    );
    let words = [a.as_str(), "belongs to replica a, not b", "--name a"];
    goes_wrong(&replica_line("b", &address, &a), NO, &words);
}

#[test]
fn a_replica_that_the_cluster_refuses_ends_and_says_what_to_do() {
    let (_dir, path) = scratch();
    let mut first = start(&viewservice_line("127.0.0.1:0", &path("first")));
    let mut second = start(&viewservice_line("127.0.0.1:0", &path("second")));
    let (first_address, second_address) = (first.ready(), second.ready());
    let mut replica = start(&replica_line("a", &first_address, &path("a")));
    replica.ready();
    until("the first view", || {
        let line = format!("status --viewservice {first_address} --name a --expect primary");
        (start(&line).end().status == Some(0)).then_some(())
    });

    // None of them says that it is ready before.
    let taken = replica_line("a", &first_address, &path("other"));
    goes_wrong(&taken, NO, &["name is taken", "--name", "--replace"]);

    drop(replica);
    let stray = replica_line("a", &second_address, &path("a"));
    let words = [second_address.as_str(), "another cluster", "--data"];
    goes_wrong(&stray, NO, &words);
}

#[test]
fn a_replica_that_is_given_a_replica_as_view_service_ends_and_says_so() {
    let (_dir, path) = scratch();
    let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
    let right = service.ready();
    let mut a = start(&replica_line("a", &right, &path("a")));
    let wrong = a.ready();
    let line = |view_service: &str| replica_line("b", view_service, &path("b"));
    let words = [wrong.as_str(), "is a replica", "--viewservice"];
    goes_wrong(&line(&wrong), NO, &words);
    // Its directory belongs to no cluster yet: a view service of another one takes it.
    let mut other = start(&viewservice_line("127.0.0.1:0", &path("other")));
    let right = other.ready();
    let mut c = start(&replica_line("c", &right, &path("c")));
    let wrong = c.ready();
    start(&line(&right)).ready();
    // Nor does it stay if it belongs to one.
    let words = [wrong.as_str(), "is a replica", "--viewservice"];
    goes_wrong(&line(&wrong), NO, &words);
}

#[test]
fn a_replica_that_was_accepted_outlives_whoever_is_taken_for_its_view_service() {
    let (_dir, path) = scratch();
    let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
    let address = service.ready();
    let debug = [("RUST_LOG", "debug")];
    let mut fellow = start_with(&replica_line("b", &address, &path("b")), &debug);
    let addresses = format!("{address},{}", fellow.ready());
    let line = replica_line("a", &addresses, &path("a"));
    let mut a = start_with(&line, &[("RUST_LOG", "info")]);
    a.ready();
    let mut other = start(&viewservice_line("127.0.0.1:0", &path("other")));
    let line = replica_line("x", &other.ready(), &path("x")).replace("127.0.0.1:0", &address);
    drop(service);

    // A replica of another cluster listens where the view service did, and one of its own where
    // it is told that another may be.
    let mut stray = start_with(&line, &debug);
    stray.ready();
    for (who, words) in [(&stray, "another cluster"), (&fellow, "connection from")] {
        until("a to come along", || {
            who.err().contains(words).then_some(())
        });
    }
    drop(stray);
    let mut service = start(&viewservice_line(&address, &path("vs")));
    service.ready();
    until("the replica to be back", || {
        let line = format!("status --viewservice {address} --json");
        let status = start(&line).end().out;
        let is_alive = status.matches("\"alive\":true").count() == 2;
        (is_alive && status.contains("\"name\":\"a\"")).then_some(())
    });
    let err = a.err();
    assert_eq!(err.matches("no view service at").count(), 1, "{err}");
}

#[test]
fn a_replica_is_ready_when_the_view_service_has_accepted_it_also_when_it_comes_back() {
    let (_dir, path) = scratch();
    let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
    let address = service.ready();
    let line = replica_line("a", &address, &path("a"));
    start(&line).ready();
    drop(service);
    let mut again = start_with(&line, &[("RUST_LOG", "info")]);
    let waiting = format!("no view service at {address}");
    until("a word about the view service", || {
        again.err().contains(&waiting).then_some(())
    });
    assert_eq!(again.out(), "", "it is not ready");
    let mut service = start(&viewservice_line(&address, &path("vs")));
    service.ready();
    again.ready();
}

#[test]
fn an_address_that_cannot_be_listened_on_is_refused() {
    let (_dir, path) = scratch();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = holder.local_addr().unwrap().to_string();
    // Reserved for documentation, so no machine has it; and a name that can never exist.
    for (address, word) in [
        (held.as_str(), "in use"),
        ("192.0.2.1:0", ""),
        ("name.invalid:0", ""),
    ] {
        let line = viewservice_line(address, &path("vs"));
        goes_wrong(&line, NO, &["cannot listen on", address, word, "--listen"]);
        let line = replica_line("a", NOBODY, &path("a"));
        let line = line.replace("127.0.0.1:0", address);
        goes_wrong(&line, NO, &["cannot listen on", address, word, "--listen"]);
    }
}

#[test]
fn an_address_that_others_cannot_reach_is_misuse_and_nothing_is_touched() {
    let (_dir, path) = scratch();
    let data = path("a");
    let good = replica_line("a", NOBODY, &data);
    for (line, address) in [
        (good.replace("127.0.0.1:0", "0.0.0.0:0"), "0.0.0.0:0"),
        (good.replace("127.0.0.1:0", "[::]:0"), "[::]:0"),
        (format!("{good} --advertise 0.0.0.0:5"), "0.0.0.0:5"),
        (format!("{good} --advertise [::]:5"), "[::]:5"),
    ] {
        goes_wrong(&line, MISUSED, &[address, "--advertise HOST:PORT"]);
        assert!(!Path::new(&data).exists(), "{line}");
    }
}

#[test]
fn a_new_replica_waits_for_its_view_service_and_says_so_once() {
    let (_dir, path) = scratch();
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap().to_string();
    drop(place);
    let line = replica_line("a", &address, &path("a"));
    let mut replica = start_with(&line, &[("RUST_LOG", "info")]);
    let waiting = format!("no view service at {address}");
    until("a word about the view service", || {
        replica.err().contains(&waiting).then_some(())
    });
    assert_eq!(replica.out(), "", "it is not ready");
    let mut service = start(&viewservice_line(&address, &path("vs")));
    service.ready();
    replica.ready();
    until("the replica to serve", || {
        let line = format!("status --viewservice {address} --name a --expect primary");
        (start(&line).end().status == Some(0)).then_some(())
    });
    let err = replica.err();
    assert_eq!(err.matches(&waiting).count(), 1, "{err}");

    // One that waits can be told to stop.
    let line = replica_line("b", NOBODY, &path("b"));
    let waits = start_with(&line, &[("RUST_LOG", "info")]);
    until("a word about the view service", || {
        waits.err().contains("no view").then_some(())
    });
    waits.signal(Signal::SIGTERM);
    assert_eq!(waits.end().status, Some(0));
}

#[test]
fn what_the_counter_and_the_status_deny_is_told_by_exit_status_1() {
    let config = ClusterConfig::new(STANDIN);
    let mut cluster = Cluster::new(config).unwrap();
    cluster.start_all(&["a"]).unwrap();
    let service = cluster.address(VIEW_SERVICE).unwrap().to_owned();
    let client = format!("client --viewservice {service} --timeout 20s counter");
    let add = |n: &str| start(&format!("{client} add {n}")).end();
    let max = add(&i64::MAX.to_string());
    assert_eq!(
        (max.status, max.out.as_str()),
        (Some(0), "9223372036854775807\n"),
        "{max:?}"
    );
    goes_wrong(
        &format!("{client} add 1"),
        NO,
        &["refused", "64-bit", "unchanged"],
    );
    assert_eq!(add("-9223372036854775808").out, "-1\n");
    let get = start(&format!("{client} get")).end();
    assert_eq!((get.status, get.out.as_str()), (Some(0), "-1\n"), "{get:?}");

    let status = format!("status --viewservice {service}");
    let expected = start(&format!("{status} --name a --expect primary")).end();
    assert_eq!(
        (expected.status, expected.out, expected.err),
        (Some(0), String::new(), String::new())
    );
    goes_wrong(
        &format!("{status} --name a --expect spare"),
        NO,
        &["a is primary, not spare"],
    );
    goes_wrong(
        &format!("{status} --name z --expect spare"),
        NO,
        &["no replica of that name"],
    );
    // A replica is no view service, and says so.
    let replica = cluster.address("a").unwrap();
    for (command, rest) in [
        ("status", ""),
        ("client", "counter get"),
        ("client", "counter add 1"),
        ("recover", "--primary a --accept-loss"),
    ] {
        let line = format!("{command} --viewservice {replica} {rest}");
        let words = &[
            replica,
            "a replica, not a view service",
            "check the address",
        ];
        let ended = goes_wrong(&line, NO, words);
        assert!(ended.took < LATE_MAX, "{line} took {:?}", ended.took);
    }
    // And the operator has nothing to recover.
    for name in ["a", "z"] {
        goes_wrong(
            &format!("recover --viewservice {service} --primary {name} --accept-loss"),
            NO,
            &["a holds the lease", "nothing was done"],
        );
    }
}

#[test]
fn a_process_that_is_told_to_stop_does_so_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // As where `nohup` started the tests: what they start ignores it, too.
        if is_ignored(signal).unwrap() {
            continue;
        }
        let (_dir, path) = scratch();
        let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
        let address = service.ready();
        let mut a = start(&replica_line("a", &address, &path("a")));
        a.ready();
        let status = format!("status --viewservice {address} --name");
        let is = |name: &str, role: &str| {
            until("a role", || {
                let line = format!("{status} {name} --expect {role}");
                (start(&line).end().status == Some(0)).then_some(())
            });
        };
        is("a", "primary");
        let mut b = start(&replica_line("b", &address, &path("b")));
        b.ready();
        is("b", "backup");
        for process in [a, b, service] {
            let asked = Instant::now();
            process.signal(signal);
            let line = process.line.clone();
            let ended = process.end();
            assert_eq!(ended.status, Some(0), "{signal}: {line}: {ended:?}");
            assert_eq!(ended.err, "", "{line}");
            assert!(
                asked.elapsed() < LATE_MAX,
                "{line} took {:?}",
                asked.elapsed()
            );
        }
    }
}

#[test]
fn a_service_that_nohup_started_outlives_its_terminal() {
    let (_dir, path) = scratch();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", STANDIN]);
    let line = viewservice_line("127.0.0.1:0", &path("vs"));
    let mut service = launch(shell, &line, &[("RUST_LOG", "info")], None);
    service.ready();
    service.signal(Signal::SIGHUP);
    service.signal(Signal::SIGTERM);
    // Had it taken the first, it would have stopped on that: signals are told in order of number.
    let ended = service.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.err.contains("stopping on signal 15"), "{}", ended.err);
}

#[test]
fn a_replica_that_is_out_of_service_says_so_when_it_is_started() {
    let (_dir, path) = scratch();
    let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
    let address = service.ready();
    let data = path("a");
    drop({
        let mut replica = start(&replica_line("a", &address, &data));
        replica.ready();
        replica
    });
    let why = "quarantined: its log contradicts the primary's; start with an empty --data";
    let machine = MachineId::new("counter", 1).unwrap();
    let name = ReplicaName::new("a").unwrap();
    let opened = DataDir::open(Path::new(&data), &name, &machine, StoreId(1));
    let (mut dir, _) = opened.unwrap();
    let mut meta = dir.meta().clone();
    meta.quarantine = Some(why.to_owned());
    dir.store(meta).unwrap();
    drop(dir);
    let mut replica = start_with(&replica_line("a", &address, &data), &[("RUST_LOG", "warn")]);
    replica.ready();
    let err = replica.err();
    assert!(err.contains("out of service") && err.contains(why), "{err}");
    until("the status to show it", || {
        let status = start(&format!("status --viewservice {address}")).end();
        status.out.contains(why).then_some(())
    });
}
