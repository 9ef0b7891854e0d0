//! Whole talks of two clients, each through a conversation of its own, beside two connections to Redis.

use standin_core::machine::StateMachine as _;
use standin_kv::conversation::{Conversation, Next, Output, Terms};
use standin_resp::Version;
use standin_resp::request::{Limits, RequestParser};

use crate::both::{Request, Step, wall_ms, words};
use crate::chance::Chance;
use crate::redis::{Connection, Server};
use crate::support::Shop;
use crate::{keys, seeds, strings};

/// Requests of each talk, and how many are shown when replies differ.
const REQUESTS: usize = 600;
const SHOWN: usize = 50;

pub(crate) fn compare_all() {
    let Some(redis) = Server::start() else {
        eprintln!("talks: not compared, since there is no redis-server on the path");
        return;
    };
    let mut executed = 0;
    for seed in 1..=seeds() {
        executed += talk(&redis, seed);
    }
    assert!(
        executed > 10 * usize::try_from(seeds()).unwrap(),
        "{executed}"
    );
}

/// One talk; how many transactions were executed in it.
fn talk(redis: &Server, seed: u64) -> usize {
    let mut chance = Chance::new(5000 + seed);
    let mut shop = Shop::default();
    let mut sides: Vec<(Conversation, Connection)> = (1..=2)
        .map(|id| {
            let conversation = Conversation::new(id, Terms::default());
            (conversation, redis.connect(Version::Resp2))
        })
        .collect();
    sides[0].1.ask(&words("FLUSHALL"));
    let mut history: Vec<String> = Vec::new();
    let mut executed = 0;
    for _ in 0..REQUESTS {
        let side = chance.below(2);
        let (conversation, connection) = &mut sides[side];
        let request = request(&mut chance, conversation.is_in_transaction());
        let shown = request.iter().map(|it| format!("{}", it.escape_ascii()));
        history.push(format!(
            "{side}: {}",
            shown.collect::<Vec<String>>().join(" ")
        ));
        shop.now_ms = shop.now_ms.max(wall_ms());
        let theirs = connection.ask(&request);
        let ours = answer(&mut shop, conversation, &request);
        if ours != theirs {
            let recent = history[history.len().saturating_sub(SHOWN)..].join("\n");
            panic!(
                "talks, seed {seed}\n{recent}\nours:  {}\nredis: {}",
                ours.escape_ascii(),
                theirs.escape_ascii()
            );
        }
        let is_exec = request[0].eq_ignore_ascii_case(b"exec");
        executed += usize::from(is_exec && ours[0] == b'*' && ours != b"*-1\r\n");
    }
    executed
}

/// What a client gets from a conversation with a machine behind it.
fn answer(shop: &mut Shop, conversation: &mut Conversation, request: &Request) -> Vec<u8> {
    let mut input = format!("*{}\r\n", request.len()).into_bytes();
    for word in request {
        input.extend(format!("${}\r\n", word.len()).into_bytes());
        input.extend(word);
        input.extend(b"\r\n");
    }
    let mut parser = RequestParser::new();
    let parsed = parser.parse(&input, &Limits::default()).unwrap().unwrap();
    let (mut reply, mut bytes, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    let mut output = Output {
        reply: &mut reply,
        bytes: &mut bytes,
    };
    match conversation.take(parsed, &mut output) {
        Next::Query | Next::QueryFirst => shop.machine.query(&bytes, &mut answer),
        Next::Command | Next::CommandFirst => answer = shop.apply(&bytes),
        Next::Reply => {}
        other => panic!("{other:?}"),
    }
    match conversation.is_waiting() {
        true => conversation.answered(&answer, &mut reply),
        false => reply.extend(answer),
    }
    reply
}

fn request(chance: &mut Chance, is_in_transaction: bool) -> Request {
    let word = match (is_in_transaction, chance.below(10)) {
        (true, 0 | 1) => "exec",
        (true, 2) => chance.of(&["discard", "multi", "watch", "unwatch", "nosuch"]),
        (false, 0) => "multi",
        (false, 1) => "watch",
        (false, 2) => chance.of(&["unwatch", "exec", "discard", "setname", "getname", "hello"]),
        _ => "",
    };
    let mut request = match word {
        "" => return any(chance),
        "watch" => {
            let keys = (0..=chance.below(3)).map(|_| chance.key()).collect();
            [vec![chance.cased("watch")], keys].concat()
        }
        "setname" => [
            words("client setname"),
            vec![chance.word(&["me", "a b", "you"])],
        ]
        .concat(),
        "getname" => words("CLIENT GETNAME"),
        "hello" => [words("hello"), vec![chance.word(&["x", "1", "4", "-1"])]].concat(),
        word => vec![chance.cased(word)],
    };
    if chance.once_in(30) {
        request.push(chance.string());
    }
    if chance.once_in(200) {
        request = words("RESET");
    }
    request
}

/// A command whose reply is the same whenever it is given.
fn any(chance: &mut Chance) -> Request {
    loop {
        let step = match chance.below(2) {
            0 => Step::Exact(strings::request(chance)),
            _ => keys::step(chance),
        };
        if let Step::Exact(request) = step {
            return request;
        }
    }
}
