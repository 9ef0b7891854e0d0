//! What a host is told to do, and what no Redis has.

use standin_kv::conversation::{
    Ask, ClientChoice, ClientKind, Conversation, REQUEST_BYTES_MAX, Role, Step, Then,
    WATCH_BYTES_MAX,
};

use crate::support::{Client, Facts, Server, follower, node};

fn client() -> (Client, Server) {
    let server = Server::default();
    (Client::new(5, &server), server)
}

/// A request in its plain form.
fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[test]
fn each_command_goes_the_way_that_the_table_says() {
    let (mut client, mut server) = client();
    let cases = [
        ("SET a 1", Step::Order(Then::Join)),
        ("GET a", Step::Query(Then::Join)),
        ("TTL a", Step::Order(Then::Pass)),
        ("TIME", Step::Order(Then::Pass)),
        ("PING", Step::Replied),
        ("WATCH a", Step::Query(Then::Hear)),
        ("MULTI", Step::Replied),
        ("GET a", Step::Replied),
        ("EXEC", Step::Order(Then::Pass)),
        ("WATCH b", Step::Query(Then::Hear)),
        ("WATCH b", Step::Replied),
        ("MULTI", Step::Replied),
        ("SELECT 2", Step::Replied),
        ("EXEC", Step::Order(Then::Hear)),
        ("GET", Step::Replied),
        ("QUIT", Step::Close),
    ];
    for (line, step) in cases {
        client.line(&mut server, line);
        assert_eq!(client.step, step, "{line}");
    }
}

#[test]
fn what_others_have_to_answer_is_handed_to_the_host() {
    let (mut client, mut server) = client();
    let choice = ClientChoice::default;
    let cases = [
        (
            "WAIT 1 50",
            Ask::Wait {
                replicas: 1,
                timeout_ms: 50,
            },
        ),
        ("CLIENT LIST", Ask::Clients(choice())),
        (
            "CLIENT INFO",
            Ask::Clients(ClientChoice {
                ids: Some(vec![5]),
                ..choice()
            }),
        ),
        (
            "CLIENT LIST ID 1 2",
            Ask::Clients(ClientChoice {
                ids: Some(vec![1, 2]),
                ..choice()
            }),
        ),
        (
            "CLIENT LIST TYPE replica",
            Ask::Clients(ClientChoice {
                kind: Some(ClientKind::Other),
                ..choice()
            }),
        ),
        (
            "CLIENT KILL 1.2.3.4:5",
            Ask::Kill {
                choice: ClientChoice {
                    addr: Some(b"1.2.3.4:5".to_vec()),
                    ..choice()
                },
                is_one: true,
            },
        ),
        (
            "CLIENT KILL ID 9 TYPE normal USER default LADDR x",
            Ask::Kill {
                choice: ClientChoice {
                    ids: Some(vec![9]),
                    kind: Some(ClientKind::Normal),
                    local_addr: Some(b"x".to_vec()),
                    except: Some(5),
                    ..choice()
                },
                is_one: false,
            },
        ),
    ];
    for (line, ask) in cases {
        client.line(&mut server, line);
        assert_eq!(client.step, Step::Ask(Box::new(ask)), "{line}");
    }
    let choices = [
        ("CLIENT KILL ID 5", ":0\r\n"),
        ("CLIENT KILL ID 5 SKIPME no", ":1\r\n"),
        ("CLIENT KILL TYPE pubsub SKIPME no", ":0\r\n"),
        ("CLIENT KILL ADDR 127.0.0.1:5000 SKIPME no", ":1\r\n"),
        ("CLIENT KILL ADDR 127.0.0.1:5001 SKIPME no", ":0\r\n"),
        ("CLIENT KILL LADDR 127.0.0.1:6379 SKIPME no", ":1\r\n"),
        ("CLIENT KILL LADDR 127.0.0.1:6380 SKIPME no", ":0\r\n"),
        ("CLIENT KILL 127.0.0.1:5000", "+OK\r\n"),
    ];
    for (line, reply) in choices {
        assert_eq!(client.line(&mut server, line), reply, "{line}");
    }
}

#[test]
fn clients_of_a_replica_that_is_not_the_primary_are_sent_to_it() {
    let (mut client, mut server) = client();
    server.facts.elsewhere = Some("10.0.0.2:6379".into());
    let moved = [
        ("GET foo", "-MOVED 12182 10.0.0.2:6379\r\n"),
        ("SET {foo}x 1", "-MOVED 12182 10.0.0.2:6379\r\n"),
        ("DBSIZE", "-MOVED 0 10.0.0.2:6379\r\n"),
        ("WATCH foo", "-MOVED 12182 10.0.0.2:6379\r\n"),
        ("PING", "+PONG\r\n"),
        ("MULTI", "+OK\r\n"),
        ("PING", "+QUEUED\r\n"),
        ("GET foo", "-MOVED 12182 10.0.0.2:6379\r\n"),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
        ),
        ("MULTI", "+OK\r\n"),
        ("PING", "+QUEUED\r\n"),
        ("EXEC", "-MOVED 0 10.0.0.2:6379\r\n"),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
    ];
    for (line, reply) in moved {
        assert_eq!(client.line(&mut server, line), reply, "{line}");
    }
    let said = client.line(&mut server, "WAIT 0 0");
    assert!(
        said.starts_with("-ERR WAIT cannot be used with replica instances."),
        "{said}"
    );

    // It was the primary when the commands were queued.
    server.facts.elsewhere = None;
    client.line(&mut server, "MULTI");
    assert_eq!(client.line(&mut server, "GET foo"), "+QUEUED\r\n");
    server.facts.elsewhere = Some("10.0.0.2:6379".into());
    assert_eq!(
        client.line(&mut server, "EXEC"),
        "-MOVED 12182 10.0.0.2:6379\r\n"
    );

    server.facts.elsewhere = Some(String::new());
    assert_eq!(
        client.line(&mut server, "GET a"),
        "-CLUSTERDOWN The cluster is down\r\n"
    );
}

#[test]
fn clients_of_a_cluster_are_told_where_its_nodes_are() {
    let (mut client, mut server) = client();
    let (a, b) = ("a".repeat(40), "b".repeat(40));
    server.facts.nodes = Some(vec![node(&a, 7001, false), node(&b, 7002, true)]);
    let slots = format!(
        "*1\r\n*4\r\n:0\r\n:16383\r\n*4\r\n$8\r\n10.0.0.1\r\n:7002\r\n$40\r\n{b}\r\n*0\r\n\
         *4\r\n$8\r\n10.0.0.1\r\n:7001\r\n$40\r\n{a}\r\n*0\r\n"
    );
    assert_eq!(client.line(&mut server, "CLUSTER SLOTS"), slots);
    let lines = format!(
        "{b} 10.0.0.1:7002@0 master - 0 0 4 connected 0-16383\n\
         {a} 10.0.0.1:7001@0 myself,slave {b} 0 0 4 connected\n"
    );
    let nodes = client.line(&mut server, "CLUSTER NODES");
    assert_eq!(nodes, format!("${}\r\n{lines}\r\n", lines.len()));
    assert_eq!(
        client.line(&mut server, "CLUSTER MYID"),
        format!("$40\r\n{a}\r\n")
    );
    assert_eq!(
        client.line(&mut server, "CLUSTER KEYSLOT foo"),
        ":12182\r\n"
    );
    let info = client.line(&mut server, "CLUSTER INFO");
    assert!(
        info.contains("cluster_current_epoch:4")
            && info.contains("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"),
        "{info}"
    );
    assert_eq!(client.line(&mut server, "READONLY"), "+OK\r\n");
    assert!(
        client
            .line(&mut server, "INFO cluster")
            .contains("cluster_enabled:1")
    );
    assert!(
        client
            .line(&mut server, "HELLO 3")
            .contains("$4\r\nmode\r\n$7\r\ncluster\r\n")
    );
    let shards = client.line(&mut server, "CLUSTER SHARDS");
    assert!(
        shards.starts_with("*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n"),
        "{shards}"
    );
    assert!(shards.contains("$18\r\nreplication-offset\r\n:9\r\n$6\r\nhealth\r\n$6\r\nonline\r\n"));
    let replicas = client.line(&mut server, &format!("CLUSTER REPLICAS {b}"));
    assert!(
        replicas.starts_with("*1\r\n") && replicas.contains(&a),
        "{replicas}"
    );
    let refused = client.line(&mut server, &format!("CLUSTER REPLICAS {a}"));
    assert_eq!(refused, "-ERR The specified node is not a master\r\n");

    // Nobody is primary, and one has gone.
    let mut gone = node(&b, 7002, false);
    gone.is_alive = false;
    server.facts.nodes = Some(vec![node(&a, 7001, false), gone]);
    assert_eq!(client.line(&mut server, "CLUSTER SLOTS"), "*0\r\n");
    assert!(
        client
            .line(&mut server, "CLUSTER INFO")
            .contains("cluster_state:fail")
    );
    let nodes = client.line(&mut server, "CLUSTER NODES");
    assert!(
        nodes.contains("10.0.0.1:7002@0 myself,slave,fail - 0 0 4 disconnected\n"),
        "{nodes}"
    );
}

#[test]
fn the_role_is_told_in_redis_words() {
    let (mut client, mut server) = client();
    server.facts.role = Role::Primary {
        index: 9,
        followers: vec![follower(6380)],
    };
    let role =
        "*3\r\n$6\r\nmaster\r\n:9\r\n*1\r\n*3\r\n$8\r\n10.0.0.2\r\n$4\r\n6380\r\n$1\r\n8\r\n";
    assert_eq!(client.line(&mut server, "ROLE"), role);
    let info = client.line(&mut server, "INFO replication");
    assert!(info.contains("role:master\r\nconnected_slaves:1\r\nslave0:ip=10.0.0.2,port=6380,state=online,offset=8,lag=0\r\n"), "{info}");
    server.facts.role = Role::Follower {
        host: "10.0.0.2".into(),
        port: 6380,
        is_connected: true,
        index: 8,
    };
    let role = "*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.2\r\n:6380\r\n$9\r\nconnected\r\n:8\r\n";
    assert_eq!(client.line(&mut server, "ROLE"), role);
    assert!(
        client
            .line(&mut server, "INFO")
            .contains("role:slave\r\nmaster_host:10.0.0.2\r\n")
    );
    server.facts.elsewhere = Some("10.0.0.2:6380".into());
    assert!(
        client
            .line(&mut server, "HELLO")
            .contains("$4\r\nrole\r\n$7\r\nreplica\r\n")
    );
}

#[test]
fn libraries_may_say_what_they_are() {
    let (mut client, mut server) = client();
    assert_eq!(
        client.line(&mut server, "CLIENT SETINFO LIB-NAME redis-py"),
        "+OK\r\n"
    );
    assert_eq!(
        client.line(&mut server, "CLIENT SETINFO lib-ver 8.0"),
        "+OK\r\n"
    );
    let refused = client.line(&mut server, "CLIENT SETINFO lib-name \"a b\"");
    assert_eq!(
        refused,
        "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n"
    );
    let refused = client.line(&mut server, "CLIENT SETINFO foo x");
    assert_eq!(refused, "-ERR Unrecognized option 'foo'\r\n");
    let list = client.line(&mut server, "CLIENT LIST");
    assert!(
        list.contains(" cmd=client|list ") && list.contains(" lib-name=redis-py lib-ver=8.0\n"),
        "{list}"
    );
}

#[test]
fn what_could_not_be_carried_is_refused_at_once() {
    let (mut client, mut server) = client();
    let long = vec![b'v'; 1 << 20];
    let too_long = b"-ERR the command is longer than a command may be: 1048576 bytes\r\n";
    assert_eq!(
        client.say(&mut server, &request(&[b"SET", b"a", &long])),
        too_long
    );
    let unknown = client.say(&mut server, &request(&[&long]));
    assert!(unknown.starts_with(b"-ERR unknown command 'vvv") || unknown == too_long);
    let fits = &long[..(1 << 20) - 20];
    assert_eq!(
        client.say(&mut server, &request(&[b"GET", fits])),
        b"$-1\r\n"
    );
    assert!(!client.is_closed);

    // A queue.
    let part = &long[..400 << 10];
    client.line(&mut server, "MULTI");
    for reply in [
        "+QUEUED",
        "+QUEUED",
        "-ERR the transaction is longer than a transaction may be: 983032 bytes",
    ] {
        let said = client.say(&mut server, &request(&[b"SET", b"a", part]));
        assert_eq!(said, format!("{reply}\r\n").as_bytes());
    }
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    assert_eq!(client.line(&mut server, "EXEC"), aborted);

    // Watched keys, and a queue beside as many of them as there may be: to the byte.
    let key = vec![b'k'; WATCH_BYTES_MAX - 2 * 16 - 1];
    let too_many = "-ERR more keys would be watched than a transaction can carry: 65536 bytes\r\n";
    let watched = client.say(&mut server, &request(&[b"WATCH", &key, b"kk"]));
    assert_eq!(watched, too_many.as_bytes());
    let watched = client.say(&mut server, &request(&[b"WATCH", &key, b"k"]));
    assert_eq!(watched, b"+OK\r\n");
    assert_eq!(client.line(&mut server, "WATCH x"), too_many);
    client.line(&mut server, "MULTI");
    // Ten bytes say how long what is, and hold the other words.
    let part = &long[..983_032 - 10];
    let queued = client.say(&mut server, &request(&[b"SET", b"a", part]));
    assert_eq!(queued, b"+QUEUED\r\n");
    assert_eq!(client.line(&mut server, "EXEC"), "*1\r\n+OK\r\n");
    client.line(&mut server, "MULTI");
    let part = &long[..983_032 - 9];
    let queued = client.say(&mut server, &request(&[b"SET", b"a", part]));
    assert!(queued.starts_with(b"-ERR the transaction is longer"));
    client.line(&mut server, "DISCARD");
    // Nothing is watched any more.
    assert_eq!(client.line(&mut server, "WATCH x"), "+OK\r\n");
    client.line(&mut server, "UNWATCH");
    let watched = client.say(&mut server, &request(&[b"WATCH", &key, b"k"]));
    assert_eq!(watched, b"+OK\r\n");

    // Replies.
    let said = client.say(&mut server, &request(&[b"ECHO", &long]));
    let text = String::from_utf8(said).unwrap();
    assert!(
        text.starts_with("-ERR the reply would be longer than 1 MiB"),
        "{text}"
    );
    let names: Vec<&[u8]> = [b"COMMAND", &b"INFO"[..]]
        .into_iter()
        .chain(std::iter::repeat_n(&b"get"[..], 1_025))
        .collect();
    let too_many = b"-ERR more is asked for at once than 1024 things\r\n";
    assert_eq!(client.say(&mut server, &request(&names)), too_many);
    assert!(
        client
            .say(&mut server, &request(&names[..1_026]))
            .starts_with(b"*1024\r\n")
    );
    let said = client.say(
        &mut server,
        &request(&[b"CLIENT", b"SETNAME", &[b'n'; 1_025]]),
    );
    assert_eq!(
        said,
        b"-ERR Client names cannot be longer than 1024 bytes.\r\n"
    );

    // A request that isn't worth reading.
    let said = client.say(
        &mut server,
        format!("*2\r\n${REQUEST_BYTES_MAX}\r\n").as_bytes(),
    );
    assert_eq!(said, b"-ERR Protocol error: too big request\r\n");
    assert!(client.is_closed);
}

#[test]
fn what_a_transaction_cannot_hold_is_refused_and_ends_it() {
    for line in [
        "HELLO 3",
        "AUTH x",
        "CLIENT ID",
        "CONFIG GET save",
        "COMMAND",
        "INFO",
        "ROLE",
        "WAIT 0 0",
        "CLUSTER INFO",
    ] {
        let (mut client, mut server) = client();
        client.line(&mut server, "MULTI");
        let refused = "-ERR Command not allowed inside a transaction\r\n";
        assert_eq!(client.line(&mut server, line), refused, "{line}");
        let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        assert_eq!(client.line(&mut server, "EXEC"), aborted);
    }
}

#[test]
fn an_answer_that_does_not_come_leaves_nothing_behind() {
    let facts = Facts::default();
    let mut conversation = Conversation::new(1, String::new(), String::new(), &facts);
    let mut parser = standin_resp::request::RequestParser::new();
    let (mut replies, mut command) = (Vec::new(), Vec::new());
    let mut take = |conversation: &mut Conversation, line: &[u8]| {
        let request = parser.parse(line, &conversation.limits()).unwrap().unwrap();
        replies.clear();
        command.clear();
        let step = conversation.take(&request, &facts, &mut replies, &mut command);
        (step, replies.clone(), command.clone())
    };
    let (step, _, query) = take(&mut conversation, b"WATCH a b\r\n");
    assert_eq!(step, Step::Query(Then::Hear));
    assert_eq!(query, b"\x02\x00\x05WATCH\x01a\x01b");
    assert!(conversation.is_waiting());
    for (answer, reply) in [
        (&b"-ERR gone\r\n"[..], &b"-ERR gone\r\n"[..]),
        (
            b"",
            b"-ERR what the keys are could not be found out, none is watched\r\n",
        ),
        (
            b"\x01\0\0\0\0\0\0\0\0",
            b"-ERR what the keys are could not be found out, none is watched\r\n",
        ),
    ] {
        let mut replies = Vec::new();
        conversation.hear(answer, &mut replies);
        assert_eq!(replies, reply);
        assert!(!conversation.is_waiting());
        let _ = take(&mut conversation, b"WATCH a b\r\n");
    }
    conversation.hear(
        &[&b"\x01\x09\0\0\0\0\0\0\0"[..], b"\0\x08\0\0\0\0\0\0\0"].concat(),
        &mut Vec::new(),
    );
    let _ = take(&mut conversation, b"MULTI\r\n");
    let _ = take(&mut conversation, b"PING\r\n");
    let (step, _, transaction) = take(&mut conversation, b"EXEC\r\n");
    assert_eq!(step, Step::Order(Then::Pass));
    let expected = [
        &b"\x12\x00\x02"[..],
        b"\x00\x01\x09\0\0\0\0\0\0\0\x01a",
        b"\x00\x00\x08\0\0\0\0\0\0\0\x01b",
        b"\x01\x04PING",
    ];
    assert_eq!(transaction, expected.concat());
}

#[test]
fn what_is_held_for_a_client_is_counted() {
    let (mut client, mut server) = client();
    assert_eq!(client.conversation.held_bytes(), 0);
    client.line(&mut server, "WATCH k");
    assert_eq!(client.conversation.held_bytes(), 17);
    client.line(&mut server, "MULTI");
    let value = vec![b'v'; 400 << 10];
    client.say(&mut server, &request(&[b"SET", b"a", &value]));
    assert!(client.conversation.held_bytes() > 17 + (400 << 10));
    client.line(&mut server, "EXEC");
    assert_eq!(client.conversation.held_bytes(), 0);
}
