//! Redis clients at gateways, while the plug is pulled.

mod client;
mod redis_py;
mod troubles;

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use standin_resp::reply::Reply;
use standin_tools::cluster::VIEW_SERVICE;

use crate::support::resp::{RespClient, put, write_until_stuck};
use crate::support::scene::Scene;
use crate::support::{sure, tell};
use client::Gateway;

const LEASE: Duration = Duration::from_millis(500);
/// How often the plug is pulled while clients count.
const PULLS: usize = 3;
/// Clients at each gateway.
const CLIENTS: usize = 3;
/// Answers that each client gets at least between one pull and the next.
const ANSWERS_BETWEEN: u64 = 20;
/// How long nothing is read of what is written before it counts as not being read.
const STUCK: Duration = Duration::from_secs(2);
/// Memory that a gateway may take, whatever clients do that hold it up: some times the few MiB that one connection may
/// have in its buffers.
const MEMORY_MAX: u64 = 128 << 20;

fn start(title: &str) -> Scene {
    start_with(title, &["a", "b", "c"])
}

fn start_with(title: &str, replicas: &[&str]) -> Scene {
    Scene::databases(title, LEASE, replicas)
}

/// What a client was answered.
#[derive(Debug, Default)]
struct Answered {
    counts: Vec<i64>,
    /// The length of the list with each item.
    pushed: Vec<(i64, String)>,
}

/// Counts and pushes items of its own until it is told to stop.
fn count_and_push(address: &str, name: &str, answers: &AtomicU64, stop: &AtomicBool) -> Answered {
    let mut client = RespClient::connect(address);
    let id = client.integer(&["CLIENT", "ID"]);
    let mut answered = Answered::default();
    while !stop.load(Ordering::Relaxed) {
        answered.counts.push(client.integer(&["INCR", "count"]));
        let item = format!("{name}-{}", answered.pushed.len());
        let length = client.integer(&["LPUSH", "items", &item]);
        answered.pushed.push((length, item));
        answers.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(client.integer(&["CLIENT", "ID"]), id);
    answered
}

/// Checks that each number was answered once, and returns how many there are.
#[track_caller]
fn check_once(what: &str, all: impl Iterator<Item = i64>) -> i64 {
    let mut seen = BTreeSet::new();
    for value in all {
        assert!(seen.insert(value), "{what}: {value} was answered twice");
    }
    let count = i64::try_from(seen.len()).expect("few");
    assert_eq!(
        seen.last().copied(),
        Some(count),
        "{what}: a number was never answered"
    );
    count
}

#[test]
fn clients_of_two_gateways_see_no_error_while_the_plug_is_pulled_and_the_state_is_what_was_answered()
 {
    let mut scene = start("counting");
    let gateways = [Gateway::start(&scene), Gateway::start(&scene)];
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for at in 0..CLIENTS * gateways.len() {
        let address = gateways[at % gateways.len()].address.clone();
        let answers = Arc::new(AtomicU64::new(0));
        let stop = Arc::clone(&stop);
        let counted = Arc::clone(&answers);
        let count = move || count_and_push(&address, &format!("c{at}"), &counted, &stop);
        clients.push((answers, thread::spawn(count)));
    }
    let progress = |scene: &mut Scene| {
        let now = |(answers, _): &(Arc<AtomicU64>, _)| answers.load(Ordering::Relaxed);
        let before: Vec<u64> = clients.iter().map(now).collect();
        scene.until("answers for every client", |_| {
            let mut both = clients.iter().map(now).zip(&before);
            assert!(
                !clients.iter().any(|(_, thread)| thread.is_finished()),
                "a client has failed"
            );
            both.all(|(now, before)| now >= before + ANSWERS_BETWEEN)
                .then_some(())
        });
    };
    progress(&mut scene);
    for _ in 0..PULLS {
        let (pair, _) = scene.kill_one(|pair| &pair.primary);
        progress(&mut scene);
        sure(scene.start(&pair.primary));
        progress(&mut scene);
    }
    stop.store(true, Ordering::Relaxed);
    let answered: Vec<Answered> = clients
        .into_iter()
        .map(|(_, thread)| thread.join().expect("no client failed"))
        .collect();
    for one in &answered {
        assert!(
            one.counts.is_sorted(),
            "a later answer is older: {:?}",
            one.counts
        );
    }
    let counts = answered.iter().flat_map(|one| &one.counts).copied();
    let count = check_once("INCR", counts);
    let pushed = answered.iter().flat_map(|one| &one.pushed);
    let length = check_once("LPUSH", pushed.clone().map(|(length, _)| *length));
    let mut last = gateways[0].connect();
    assert_eq!(
        last.call(&["GET", "count"]).text(),
        Some(count.to_string().as_bytes())
    );
    assert_eq!(last.integer(&["LLEN", "items"]), length);
    for (place, item) in pushed {
        // The first item stands last.
        let found = last.call(&["LINDEX", "items", &(length - place).to_string()]);
        assert_eq!(
            found.text(),
            Some(item.as_bytes()),
            "at {place} of {length}"
        );
    }
    scene.until_agreement();
    tell(format_args!(
        "{PULLS} pulls: {count} INCR, {length} LPUSH, each once"
    ));
}

#[test]
fn thousands_in_one_write_are_answered_in_order_through_a_failover() {
    const EACH: i64 = 2_000;
    let mut scene = start("pipelining");
    let gateway = Gateway::start(&scene);
    let mut client = gateway.connect();
    let mut bytes = Vec::new();
    for at in 1..=EACH {
        put(&mut bytes, &["INCR", "count"]);
        // Each change of kind waits for what was before: few of them, among many commands.
        if at % 50 == 0 {
            put(&mut bytes, &["GET", "count"]);
            put(&mut bytes, &["ECHO", &at.to_string()]);
        }
    }
    let mut writer = client.writer();
    let writing = thread::spawn(move || sure(std::io::Write::write_all(&mut writer, &bytes)));
    let mut killed = None;
    for at in 1..=EACH {
        assert_eq!(client.reply(), Reply::Integer(at));
        if at % 50 == 0 {
            let text = at.to_string();
            assert_eq!(client.reply().text(), Some(text.as_bytes()), "GET");
            assert_eq!(client.reply().text(), Some(text.as_bytes()), "ECHO");
        }
        if at == EACH / 10 {
            killed = Some(scene.kill_one(|pair| &pair.primary).0);
        }
    }
    writing.join().expect("all was written");
    assert_eq!(client.integer(&["INCR", "count"]), EACH + 1);
    assert!(killed.is_some());
}

#[test]
fn a_transaction_sees_what_it_watched_through_a_failover() {
    let mut scene = start("transaction");
    let gateways = [Gateway::start(&scene), Gateway::start(&scene)];
    let [mut one, mut other] = [gateways[0].connect(), gateways[1].connect()];
    one.call(&["SET", "k", "1"]);
    one.call(&["WATCH", "k"]);
    let (pair, _) = scene.kill_one(|pair| &pair.primary);
    one.call(&["MULTI"]);
    one.call(&["INCR", "k"]);
    one.call(&["GET", "k"]);
    let exec = one.call(&["EXEC"]);
    let expected = [Reply::Integer(2), Reply::Bulk(b"2".to_vec())];
    assert_eq!(exec, Reply::Array(expected.to_vec()));

    sure(scene.start(&pair.primary));
    one.call(&["WATCH", "k"]);
    other.call(&["SET", "k", "5"]);
    scene.kill_one(|pair| &pair.primary);
    one.call(&["MULTI"]);
    one.call(&["SET", "k", "9"]);
    assert!(one.call(&["EXEC"]).is_null(), "it was changed after WATCH");
    assert_eq!(one.call(&["GET", "k"]).text(), Some(&b"5"[..]));
}

#[test]
fn told_to_stop_it_answers_what_is_under_way_closes_its_session_and_ends_well() {
    const SENT: i64 = 5_000;
    let mut scene = start("stopping");
    let mut gateway = Gateway::start(&scene);
    let other = Gateway::start(&scene);
    let mut client = gateway.connect();
    let mut bytes = Vec::new();
    for _ in 0..SENT {
        put(&mut bytes, &["INCR", "count"]);
    }
    let mut writer = client.writer();
    // It need not take all.
    let writing = thread::spawn(move || {
        let _ = std::io::Write::write_all(&mut writer, &bytes);
    });
    assert_eq!(client.reply(), Reply::Integer(1));
    gateway.terminate();
    let mut answered = 1;
    while let Some(reply) = client.reply_or_end() {
        answered += 1;
        assert_eq!(reply, Reply::Integer(answered));
    }
    assert_eq!(gateway.wait(), 0);
    writing.join().expect("the writer ends");
    assert!(
        TcpStream::connect(&gateway.address).is_err(),
        "it listens no more"
    );
    let mut last = other.connect();
    let count = last.call(&["GET", "count"]);
    assert_eq!(
        count.text(),
        Some(answered.to_string().as_bytes()),
        "what was executed was answered"
    );
    let primary = scene.until_pair().primary;
    assert_eq!(
        sure(scene.inspect(&primary)).sessions,
        0,
        "its sessions are closed"
    );
}

#[test]
fn a_client_out_of_step_is_told_so_and_nobody_else_is_disturbed() {
    let scene = start("out of step");
    let gateway = Gateway::start(&scene);
    let mut other = gateway.connect();
    assert_eq!(other.integer(&["INCR", "count"]), 1);
    let mut client = gateway.connect();
    let mut bytes = Vec::new();
    put(&mut bytes, &["INCR", "count"]);
    bytes.extend_from_slice(b"*1\r\n:5\r\n");
    put(&mut bytes, &["INCR", "count"]);
    client.send(&bytes);
    assert_eq!(
        client.reply(),
        Reply::Integer(2),
        "what came before is answered first"
    );
    let error = client.reply();
    assert_eq!(
        error.text(),
        Some(&b"ERR Protocol error: expected '$', got ':'"[..])
    );
    assert_eq!(client.reply_or_end(), None, "the connection ends");
    assert_eq!(
        other.integer(&["INCR", "count"]),
        3,
        "nothing after it was executed"
    );
}

#[test]
fn a_client_that_never_reads_holds_up_itself_alone() {
    // What one connection may have under way stays below what may be unsent to it.
    const VALUE: usize = 20_000;
    let scene = start("never reads");
    let gateway = Gateway::start(&scene);
    let mut other = gateway.connect();
    other.call(&["SET", "large", &"x".repeat(VALUE)]);
    let client = gateway.connect();
    let mut bytes = Vec::new();
    let mut asked = 0;
    while bytes.len() < 32 << 20 {
        put(&mut bytes, &["GET", "large"]);
        asked += 1;
    }
    // Its answers would be 11 GB.
    let written = write_until_stuck(&mut client.writer(), &bytes, STUCK);
    assert!(
        written < bytes.len(),
        "all {asked} requests were read though nobody reads the answers"
    );
    assert_eq!(other.integer(&["INCR", "count"]), 1, "others are served");
    let memory = gateway.memory_peak();
    tell(format_args!(
        "never reads: the gateway took {} MiB",
        memory >> 20
    ));
    assert!(memory < MEMORY_MAX, "{memory} bytes");
}

#[test]
fn clients_wait_for_a_primary_as_long_as_it_takes_within_bounds() {
    const SENT: usize = 3_000;
    let mut scene = start_with("no primary", &["a", "b"]);
    let gateway = Gateway::start(&scene);
    let mut client = gateway.connect();
    assert_eq!(client.integer(&["RPUSH", "list", "first"]), 1);
    sure(scene.kill_together(&["a", "b"]));
    let mut bytes = Vec::new();
    for at in 0..SENT {
        put(&mut bytes, &["RPUSH", "list", &format!("{at:>10000}")]);
    }
    let mut writer = client.writer();
    let written = write_until_stuck(&mut writer, &bytes, STUCK);
    assert!(
        written < bytes.len(),
        "all of it was read though nobody takes it"
    );
    let memory = gateway.memory_peak();
    tell(format_args!(
        "no primary: the gateway took {} MiB",
        memory >> 20
    ));
    assert!(memory < MEMORY_MAX, "{memory} bytes");
    sure(scene.start("a"));
    sure(scene.start("b"));
    let writing = thread::spawn(move || {
        sure(std::io::Write::write_all(&mut writer, &bytes[written..]));
    });
    for at in 0..SENT {
        assert_eq!(
            client.reply(),
            Reply::Integer(2 + i64::try_from(at).expect("few"))
        );
    }
    writing.join().expect("all was written");
}

#[test]
fn wait_says_whether_a_second_copy_exists() {
    let mut scene = start_with("waiting", &["a", "b"]);
    let gateway = Gateway::start(&scene);
    let mut client = gateway.connect();
    client.call(&["SET", "k", "v"]);
    assert_eq!(client.integer(&["WAIT", "1", "0"]), 1);
    let (pair, _) = scene.kill_one(|pair| &pair.primary);
    client.call(&["SET", "k", "w"]);
    assert_eq!(
        client.integer(&["WAIT", "0", "0"]),
        0,
        "one replica is left"
    );
    let mut bytes = Vec::new();
    put(&mut bytes, &["WAIT", "1", "0"]);
    client.send(&bytes);
    sure(scene.start(&pair.primary));
    assert_eq!(client.reply(), Reply::Integer(1), "the other has caught up");
}

#[test]
fn a_password_is_asked_for() {
    let scene = start("password");
    let view_service = sure(scene.address(VIEW_SERVICE)).to_owned();
    let gateway = Gateway::start_with(&view_service, &[("STANDIN_RESP_PASSWORD", "secret")]);
    let mut client = gateway.connect();
    let mut bytes = Vec::new();
    put(&mut bytes, &["GET", "k"]);
    client.send(&bytes);
    assert_eq!(
        client.reply().text(),
        Some(&b"NOAUTH Authentication required."[..])
    );
    client.call(&["AUTH", "secret"]);
    assert!(client.call(&["GET", "k"]).is_null());
}
