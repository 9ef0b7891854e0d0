//! What replicas say to Redis clients, looked at byte by byte and over several connections.

use std::io::Write as _;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use standin_core::time::Duration as Span;
use standin_io::clock;
use standin_kv::conversation::{key_slot, node_id};
use standin_resp::reply::Reply;

use super::{LEASE, Scene, address, connect, start, start_with};
use crate::support::resp::{RespClient, put, text, write_until_stuck};
use crate::support::scene::Pair;
use crate::support::{PATIENCE, sure};

/// How long nothing is read of what is written before it counts as not being read.
const STUCK: Duration = Duration::from_secs(2);

#[track_caller]
fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) => items,
        other => panic!("no array: {other:?}"),
    }
}

/// A client of the backup, once that knows the primary.
#[track_caller]
fn at_backup(scene: &mut Scene, pair: &Pair) -> RespClient {
    let mut client = connect(scene, &pair.backup);
    scene.until("the backup to know the primary", |_| {
        let reply = text(&client.ask(&["GET", "k"]));
        reply.starts_with("MOVED ").then_some(())
    });
    client
}

#[test]
fn a_backup_sends_clients_to_the_primary() {
    let mut scene = start("moved", &["a", "b"]);
    let pair = scene.until_pair();
    let primary = address(&scene, &pair.primary);
    let mut client = at_backup(&mut scene, &pair);
    for key in ["foo", "bar", "a{foo}b", ""] {
        let moved = format!("MOVED {} {primary}", key_slot(key.as_bytes()));
        for words in [&["GET", key][..], &["SET", key, "v"], &["INCR", key]] {
            assert_eq!(text(&client.ask(words)), moved, "{words:?}");
        }
    }
    // From the documents of Redis.
    let moved = format!("MOVED 12182 {primary}");
    assert_eq!(text(&client.ask(&["GET", "foo"])), moved);
    assert_eq!(text(&client.ask(&["READONLY"])), "OK");
    assert_eq!(text(&client.ask(&["GET", "foo"])), moved);
    assert_eq!(text(&client.ask(&["PING"])), "PONG");
    assert!(client.ask(&["WAIT", "1", "0"]).is_error());
    let mut client = connect(&scene, &pair.primary);
    assert!(client.call(&["GET", "foo"]).is_null(), "nothing was set");
}

/// What CLUSTER SLOTS says of a replica.
fn slots_line(scene: &Scene, name: &str) -> Reply {
    let address = address(scene, name);
    let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
    Reply::Array(vec![
        Reply::Bulk(host.into()),
        Reply::Integer(sure(port.parse())),
        Reply::Bulk(node_id(name).into_bytes()),
        Reply::Array(Vec::new()),
    ])
}

#[test]
fn every_replica_says_where_the_cluster_is() {
    let mut scene = start("cluster", &["a", "b"]);
    let pair = scene.until_pair();
    let slots = Reply::Array(vec![Reply::Array(vec![
        Reply::Integer(0),
        Reply::Integer(16_383),
        slots_line(&scene, &pair.primary),
        slots_line(&scene, &pair.backup),
    ])]);
    let at_primary = connect(&scene, &pair.primary);
    let at_backup = at_backup(&mut scene, &pair);
    for (mut client, name) in [(at_primary, &pair.primary), (at_backup, &pair.backup)] {
        assert_eq!(client.call(&["CLUSTER", "SLOTS"]), slots, "of {name}");
        let myid = text(&client.call(&["CLUSTER", "MYID"]));
        assert_eq!(myid, node_id(name));

        let nodes = text(&client.call(&["CLUSTER", "NODES"]));
        let lines: Vec<Vec<&str>> = nodes
            .lines()
            .map(|line| line.split(' ').collect())
            .collect();
        assert_eq!(lines.len(), 2, "{nodes}");
        for (line, (node, part)) in lines
            .iter()
            .zip([(&pair.primary, "master"), (&pair.backup, "slave")])
        {
            assert_eq!(line[0], node_id(node));
            assert_eq!(line[1], format!("{}@0", address(&scene, node)));
            let myself = if node == name { "myself," } else { "" };
            assert_eq!(line[2], format!("{myself}{part}"));
            let follows = match part {
                "master" => "-".to_owned(),
                _ => node_id(&pair.primary),
            };
            assert_eq!(line[3], follows);
            assert_eq!(line.last() == Some(&"0-16383"), part == "master");
        }

        let shards = client.call(&["CLUSTER", "SHARDS"]);
        let [shard] = items(&shards) else {
            panic!("not one shard: {shards:?}")
        };
        let [_, range, _, nodes] = items(shard) else {
            panic!("{shard:?}")
        };
        let all = [Reply::Integer(0), Reply::Integer(16_383)];
        assert_eq!(items(range), all);
        let field = |node: &Reply, name: &str| {
            let mut pairs = items(node).chunks(2);
            let found = pairs.find(|pair| text(&pair[0]) == name);
            text(&found.expect("it is there")[1])
        };
        for (node, (name, role)) in items(nodes)
            .iter()
            .zip([(&pair.primary, "master"), (&pair.backup, "replica")])
        {
            assert_eq!(field(node, "id"), node_id(name));
            assert_eq!(field(node, "role"), role);
            assert_eq!(field(node, "health"), "online");
        }
        assert_eq!(items(nodes).len(), 2);
    }
}

#[test]
fn a_replica_that_lost_its_primary_goes_on_naming_it_and_then_names_itself() {
    let mut scene = start("takeover", &["a", "b"]);
    let pair = scene.until_pair();
    let mut client = at_backup(&mut scene, &pair);
    let named = |client: &mut RespClient| {
        let slots = client.call(&["CLUSTER", "SLOTS"]);
        let [range] = items(&slots) else {
            panic!("nobody is named: {slots:?}")
        };
        items(range)[2..].to_vec()
    };
    let both = [&pair.primary, &pair.backup].map(|name| slots_line(&scene, name));
    assert_eq!(named(&mut client), both);
    sure(scene.kill(&pair.primary));
    scene.until("the backup to take over", |_| {
        let nodes = named(&mut client);
        assert_eq!(nodes.len(), 2, "both are named all the time: {nodes:?}");
        (nodes[0] == both[1]).then_some(())
    });
    // Its primary was there lately, and may be next again.
    assert_eq!(named(&mut client), [both[1].clone(), both[0].clone()]);
}

#[test]
fn wait_says_whether_a_second_copy_exists() {
    let mut scene = start("waiting", &["a", "b"]);
    let pair = scene.until_pair();
    let mut client = connect(&scene, &pair.primary);
    client.call(&["SET", "k", "v"]);
    assert_eq!(client.integer(&["WAIT", "1", "0"]), 1);
    scene.kill_one(|pair| &pair.backup);
    let waits = |client: &mut RespClient, timeout: &str| {
        let begun = clock::boot();
        let copies = client.integer(&["WAIT", "1", timeout]);
        (copies, clock::boot().since(begun))
    };
    scene.until("the primary to be alone", |_| {
        (client.integer(&["WAIT", "0", "0"]) == 0).then_some(())
    });
    assert_eq!(client.integer(&["INCR", "n"]), 1, "alone it serves");
    let (copies, took) = waits(&mut client, "100");
    assert_eq!(copies, 0);
    assert!(took >= Span::from_millis(100), "after {took:?}");
    let mut bytes = Vec::new();
    put(&mut bytes, &["WAIT", "1", "0"]);
    client.send(&bytes);
    sure(scene.start(&pair.backup));
    assert_eq!(client.reply(), Reply::Integer(1), "the other has caught up");
}

#[test]
fn thousands_in_one_write_are_answered_in_order_and_queries_see_what_came_before() {
    const EACH: i64 = 3_000;
    let mut scene = start("pipelining", &["a", "b"]);
    let pair = scene.until_pair();
    let mut client = connect(&scene, &pair.primary);
    let mut bytes = Vec::new();
    for at in 0..EACH {
        let value = at.to_string();
        put(&mut bytes, &["SET", "k", &value]);
        put(&mut bytes, &["GET", "k"]);
        put(&mut bytes, &["ECHO", &value]);
        put(&mut bytes, &["INCR", "count"]);
        put(&mut bytes, &["INCR", "k"]);
    }
    let mut writer = client.writer();
    let writing = thread::spawn(move || sure(writer.write_all(&bytes)));
    for at in 0..EACH {
        let value = at.to_string();
        assert_eq!(client.reply(), Reply::Simple(b"OK".to_vec()), "SET {at}");
        assert_eq!(text(&client.reply()), value, "GET");
        assert_eq!(text(&client.reply()), value, "ECHO");
        assert_eq!(client.reply(), Reply::Integer(at + 1), "INCR");
        assert_eq!(client.reply(), Reply::Integer(at + 1), "INCR after GET");
    }
    writing.join().expect("all was written");
}

#[test]
fn a_pipeline_of_long_values_is_answered_though_not_at_once() {
    // Three times what the answers to one event may be together.
    const VALUE: usize = 1_000_000;
    const READS: usize = 50;
    let mut scene = start("long values", &["a", "b"]);
    let pair = scene.until_pair();
    let mut client = connect(&scene, &pair.primary);
    client.call(&["SET", "long", &"x".repeat(VALUE)]);
    let mut bytes = Vec::new();
    for _ in 0..READS {
        put(&mut bytes, &["GET", "long"]);
    }
    client.send(&bytes);
    for at in 0..READS {
        let reply = client.reply();
        let length = reply.text().map_or(0, <[u8]>::len);
        assert_eq!(length, VALUE, "of reply {at}");
    }
}

#[test]
fn who_leaves_or_is_out_of_step_is_answered_first() {
    let mut scene = start("ends", &["a", "b"]);
    let pair = scene.until_pair();
    let cases: [(&[u8], &str); 4] = [
        (b"QUIT\r\n", "OK"),
        (b"*1\r\n:5\r\n", "ERR Protocol error: expected '$', got ':'"),
        (
            b"*1048577000\r\n",
            "ERR Protocol error: invalid multibulk length",
        ),
        (b"*1\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
    ];
    for (count, (end, words)) in (1..).zip(cases) {
        let mut client = connect(&scene, &pair.primary);
        let mut bytes = Vec::new();
        put(&mut bytes, &["INCR", "count"]);
        bytes.extend_from_slice(end);
        put(&mut bytes, &["INCR", "count"]);
        client.send(&bytes);
        assert_eq!(client.reply(), Reply::Integer(count), "what came before");
        assert_eq!(text(&client.reply()), words);
        assert_eq!(client.reply_or_end(), None, "the connection ends");
    }
    let mut client = connect(&scene, &pair.primary);
    assert_eq!(
        text(&client.call(&["GET", "count"])),
        "4",
        "nothing after it"
    );
}

#[test]
fn a_password_is_asked_for() {
    let more = ["--resp-password", "secret"];
    let mut scene = start_with("password", &["a", "b"], LEASE, &more);
    let pair = scene.until_pair();
    let mut client = connect(&scene, &pair.primary);
    let refused = "NOAUTH Authentication required.";
    assert_eq!(text(&client.ask(&["SET", "k", "v"])), refused);
    assert_eq!(text(&client.ask(&["CLUSTER", "SLOTS"])), refused);
    let wrong = text(&client.ask(&["AUTH", "secre"]));
    assert!(wrong.starts_with("WRONGPASS "), "{wrong}");
    assert_eq!(text(&client.ask(&["GET", "k"])), refused);
    client.call(&["AUTH", "secret"]);
    assert!(client.call(&["GET", "k"]).is_null());
}

#[test]
fn after_a_switchover_the_old_primary_sends_its_clients_on() {
    let mut scene = start("switchover", &["a", "b"]);
    let pair = scene.until_pair();
    let mut client = connect(&scene, &pair.primary);
    assert_eq!(client.integer(&["INCR", "k"]), 1);
    let ran = scene.cli(&["switchover"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let moved = format!("MOVED {} {}", key_slot(b"k"), address(&scene, &pair.backup));
    // Each is answered at once; until it follows the new primary it does not know where that is.
    scene.until("the old primary to know the new one", |_| {
        let reply = text(&client.ask(&["INCR", "k"]));
        let first = reply.split(' ').next().unwrap_or_default();
        assert!(["MOVED", "CLUSTERDOWN"].contains(&first), "{reply}");
        (first == "MOVED").then(|| assert_eq!(reply, moved))
    });
    let mut client = connect(&scene, &pair.backup);
    assert_eq!(client.integer(&["INCR", "k"]), 2, "none was done there");
}

#[test]
fn who_has_said_all_it_will_say_is_answered() {
    const EACH: i64 = 2_000;
    let mut scene = start("half closed", &["a", "b"]);
    let pair = scene.until_pair();
    let mut client = connect(&scene, &pair.primary);
    let writer = client.writer();
    let mut bytes = Vec::new();
    for _ in 0..EACH {
        put(&mut bytes, &["INCR", "count"]);
        put(&mut bytes, &["PING"]);
        put(&mut bytes, &["GET", "count"]);
    }
    put(&mut bytes, &["CLIENT", "ID"]);
    put(&mut bytes, &["WAIT", "1", "0"]);
    bytes.extend_from_slice(b"half a request");
    let mut writing = client.writer();
    let written = thread::spawn(move || {
        sure(writing.write_all(&bytes));
        sure(writer.shutdown(Shutdown::Write));
    });
    for count in 1..=EACH {
        assert_eq!(client.reply(), Reply::Integer(count));
        assert_eq!(text(&client.reply()), "PONG");
        assert_eq!(text(&client.reply()), count.to_string());
    }
    assert!(matches!(client.reply(), Reply::Integer(_)));
    assert_eq!(client.reply(), Reply::Integer(1), "WAIT");
    assert_eq!(client.reply_or_end(), None, "and that is all");
    written.join().expect("all was written");
}

#[test]
fn told_to_stop_a_replica_answers_what_it_has_taken() {
    const SENT: i64 = 5_000;
    let mut scene = start("stopping", &["a"]);
    let mut client = connect(&scene, "a");
    let mut bytes = Vec::new();
    for _ in 0..SENT {
        put(&mut bytes, &["INCR", "count"]);
    }
    let mut writer = client.writer();
    // It need not take all.
    let writing = thread::spawn(move || {
        let _ = writer.write_all(&bytes);
    });
    assert_eq!(client.reply(), Reply::Integer(1));
    sure(scene.terminate("a"));
    let (mut answered, mut not) = (1, 0);
    while let Some(reply) = client.reply_or_end() {
        match reply {
            Reply::Integer(count) => {
                answered += 1;
                assert_eq!((count, not), (answered, 0));
            }
            error => {
                assert!(error.is_error(), "{error:?}");
                not += 1;
            }
        }
    }
    writing.join().expect("the writer ends");
    assert!(sure(scene.wait("a", PATIENCE)).success());
    sure(scene.start("a"));
    let mut client = connect(&scene, "a");
    let count = scene.until("it to serve", |_| {
        let reply = client.ask(&["GET", "count"]);
        let is_served = !reply.is_error();
        is_served.then(|| sure(text(&reply).parse::<i64>()))
    });
    assert!(
        (answered..=answered + not).contains(&count),
        "{count} after {answered} answers and {not} errors"
    );
}

#[test]
fn clients_see_each_other_and_may_be_ended() {
    let mut scene = start("clients", &["a", "b"]);
    let pair = scene.until_pair();
    let mut clients: Vec<RespClient> = (0..4).map(|_| connect(&scene, &pair.primary)).collect();
    let ids: Vec<String> = clients
        .iter_mut()
        .zip(["zero", "one", "two", "three"])
        .map(|(client, name)| {
            client.call(&["CLIENT", "SETNAME", name]);
            client.integer(&["CLIENT", "ID"]).to_string()
        })
        .collect();
    let list = |client: &mut RespClient| text(&client.call(&["CLIENT", "LIST"]));
    let seen = list(&mut clients[0]);
    assert_eq!(seen.lines().count(), 4, "{seen}");
    for (id, name) in ids.iter().zip(["zero", "one", "two", "three"]) {
        let mut lines = seen.lines();
        let line = lines.find(|line| line.starts_with(&format!("id={id} ")));
        let line = line.unwrap_or_else(|| panic!("{id} in {seen}"));
        assert!(line.contains(&format!(" name={name} ")), "{line}");
        assert!(
            line.contains(&format!(" laddr={} ", address(&scene, &pair.primary))),
            "{line}"
        );
    }
    let addr = seen.lines().find(|line| line.contains(" name=two "));
    let addr = addr.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix("addr=")));
    let addr = addr.expect("it has one").to_owned();

    assert_eq!(clients[0].integer(&["CLIENT", "KILL", "ID", &ids[1]]), 1);
    assert_eq!(clients[0].integer(&["CLIENT", "KILL", "ID", "999999"]), 0);
    assert_eq!(clients[1].reply_or_end(), None, "it is ended");
    clients[0].call(&["CLIENT", "KILL", &addr]);
    assert_eq!(clients[2].reply_or_end(), None, "it is ended");
    let gone = clients[0].ask(&["CLIENT", "KILL", &addr]);
    assert_eq!(text(&gone), "ERR No such client");
    let seen = list(&mut clients[0]);
    assert_eq!(seen.lines().count(), 2, "{seen}");
    let all = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"];
    assert_eq!(clients[3].integer(&all), 2, "itself, too");
    assert_eq!(clients[3].reply_or_end(), None);
    assert_eq!(clients[0].reply_or_end(), None);
}

#[test]
fn a_client_that_never_reads_holds_up_itself_alone() {
    const VALUE: usize = 20_000;
    let mut scene = start("never reads", &["a", "b"]);
    let pair = scene.until_pair();
    let mut other = connect(&scene, &pair.primary);
    other.call(&["SET", "large", &"x".repeat(VALUE)]);
    let client = connect(&scene, &pair.primary);
    let mut bytes = Vec::new();
    while bytes.len() < 32 << 20 {
        put(&mut bytes, &["GET", "large"]);
    }
    // Its answers would be more than 20 GB.
    let written = write_until_stuck(&mut client.writer(), &bytes, STUCK);
    assert!(
        written < bytes.len(),
        "all requests were read though nobody reads the answers"
    );
    for count in 1..=100 {
        assert_eq!(
            other.integer(&["INCR", "count"]),
            count,
            "others are served"
        );
    }
    let now = scene.until_pair();
    assert_eq!(now, pair, "nobody took it for dead");
}
