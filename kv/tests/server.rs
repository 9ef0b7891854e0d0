//! What clients ask about the server and the cluster: the shapes of Redis's own replies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use standin_kv::server::{Facts, Node, answer};
use standin_resp::Version;
use standin_resp::request::{Limits, RequestParser};
use standin_resp::writer::ReplyWriter;

/// A cluster of two, asked on one side or the other.
struct Pair {
    own_id: String,
    has_primary: bool,
}

fn node(letter: &str, port: u16) -> Node {
    Node {
        id: letter.repeat(40),
        host: "10.0.0.1".to_owned(),
        port,
        index: 42,
        is_online: true,
    }
}

impl Facts for Pair {
    fn primary(&self) -> Option<Node> {
        self.has_primary.then(|| node("a", 6379))
    }
    fn others(&self) -> Vec<Node> {
        vec![node("b", 6380)]
    }
    fn own_id(&self) -> String {
        self.own_id.clone()
    }
    fn view(&self) -> u64 {
        3
    }
    fn in_sync(&self) -> usize {
        1
    }
    fn info(&self) -> Vec<(&'static str, Vec<(String, String)>)> {
        let line = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        vec![
            ("Server", line("redis_version", "7.0.15")),
            ("Replication", line("role", "master")),
        ]
    }
    fn parameters(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![pair("save", ""), pair("appendonly", "yes")]
    }
    fn clients(&self) -> Vec<String> {
        vec!["id=1 name=".to_owned()]
    }
}

fn ask_of(facts: &Pair, version: Version, line: &str) -> String {
    let mut parser = RequestParser::new();
    let input = format!("{line}\r\n");
    let request = parser.parse(input.as_bytes(), &Limits::default());
    let mut out = Vec::new();
    let mut reply = ReplyWriter::new(&mut out, version);
    if let Err(refusal) = answer(request.unwrap().unwrap(), facts, &mut reply) {
        reply.error(refusal.text());
    }
    String::from_utf8(out).unwrap()
}

fn ask(line: &str) -> String {
    let facts = Pair {
        own_id: "a".repeat(40),
        has_primary: true,
    };
    ask_of(&facts, Version::Resp2, line)
}

#[test]
fn the_cluster_is_one_shard() {
    let (a, b) = ("a".repeat(40), "b".repeat(40));
    assert_eq!(
        ask("CLUSTER SLOTS"),
        format!(
            "*1\r\n*4\r\n:0\r\n:16383\r\n\
             *4\r\n$8\r\n10.0.0.1\r\n:6379\r\n$40\r\n{a}\r\n*0\r\n\
             *4\r\n$8\r\n10.0.0.1\r\n:6380\r\n$40\r\n{b}\r\n*0\r\n"
        )
    );
    let shards = ask("cluster shards");
    assert!(shards.starts_with(
        "*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*2\r\n*14\r\n$2\r\nid\r\n"
    ));
    let nodes = ask("CLUSTER NODES");
    assert!(nodes.contains(&format!(
        "{a} 10.0.0.1:6379@0 myself,master - 0 0 3 connected 0-16383\n{b} 10.0.0.1:6380@0 slave {a} 0 0 3 connected\n"
    )));
    assert!(ask("CLUSTER INFO").contains("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"));
    assert_eq!(ask("CLUSTER MYID"), format!("$40\r\n{a}\r\n"));
    assert_eq!(ask("CLUSTER KEYSLOT foo"), ":12182\r\n");
    assert_eq!(
        ask("CLUSTER NOSUCH"),
        "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.\r\n"
    );
    assert_eq!(
        ask("CLUSTER KEYSLOT"),
        "-ERR wrong number of arguments for 'cluster|keyslot' command\r\n"
    );
}

#[test]
fn without_a_primary_there_are_no_slots() {
    let facts = Pair {
        own_id: "b".repeat(40),
        has_primary: false,
    };
    let ask = |line: &str| ask_of(&facts, Version::Resp3, line);
    assert_eq!(ask("CLUSTER SLOTS"), "*0\r\n");
    assert!(ask("CLUSTER INFO").contains("cluster_state:fail"));
    assert_eq!(
        ask("ROLE"),
        "*5\r\n$5\r\nslave\r\n$0\r\n\r\n:0\r\n$7\r\nconnect\r\n:42\r\n"
    );
}

#[test]
fn the_server_tells_of_itself_as_redis_does() {
    assert_eq!(
        ask("ROLE"),
        "*3\r\n$6\r\nmaster\r\n:42\r\n*1\r\n*3\r\n$8\r\n10.0.0.1\r\n$4\r\n6380\r\n$2\r\n42\r\n"
    );
    assert_eq!(ask("WAIT 1 0"), ":1\r\n");
    assert_eq!(ask("WAIT 1 -1"), "-ERR timeout is negative\r\n");
    assert_eq!(
        ask("WAIT x 1"),
        "-ERR value is not an integer or out of range\r\n"
    );
    assert_eq!(ask("CONFIG GET save"), "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
    assert_eq!(ask("CONFIG GET a* S*").matches("\r\n$").count(), 4);
    assert_eq!(
        ask("CONFIG SET save x"),
        "-ERR unknown subcommand 'SET'. Try CONFIG HELP.\r\n"
    );
    let all = "# Server\r\nredis_version:7.0.15\r\n\r\n# Replication\r\nrole:master\r\n";
    assert_eq!(ask("INFO"), format!("${}\r\n{all}\r\n", all.len()));
    assert!(ask("INFO server").ends_with("# Server\r\nredis_version:7.0.15\r\n\r\n"));
    assert_eq!(ask("CLIENT LIST"), "$11\r\nid=1 name=\n\r\n");
}
