//! Two connections each to a real redis-server and to conversations before the machine. Both are told the same, many
//! requests at once, and time is what Redis says it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use standin_core::time::WallTime;

use crate::both::{Request, words};
use crate::conversation::{Client, Server};
use crate::redis::{Redis, Talk, put_request};
use crate::rule::{Rule, are_alike, are_near, are_unordered, are_walks, bulk, integer, parts};
use crate::shown;
use crate::tally::Tally;
use crate::times;

/// Requests that are kept, to be shown when replies differ.
const HISTORY: usize = 40;
/// How long Redis's clock may take to get anywhere.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nanoseconds in a millisecond.
const MILLI: u64 = 1_000_000;

/// One connection to each.
struct Link {
    ours: Client,
    theirs: Talk,
    /// What is queued in a transaction.
    queue: Vec<Request>,
}

/// What both answered, and when it was on Redis's clock.
pub(crate) struct Exchange {
    ours: Vec<Vec<u8>>,
    theirs: Vec<Vec<u8>>,
    pub(crate) until_ms: u64,
}

/// Both servers, and two connections to each.
pub(crate) struct Pair {
    pub(crate) server: Server,
    clock: Talk,
    links: [Link; 2],
    /// By how much moments that are counted from now may differ, in milliseconds: the longest that Redis took for
    /// what the machine took at one moment.
    apart_ms: i64,
    /// Whether the last reply was the same deadline in milliseconds: then it is the same in seconds.
    is_same_deadline: bool,
    title: String,
    history: VecDeque<Request>,
    pub(crate) tally: Tally,
}

impl Pair {
    /// With a state that is empty.
    pub(crate) fn new(redis: &Redis, title: String) -> Self {
        let mut clock = redis.talk();
        clock.ask(&words("FLUSHALL"));
        let server = Server::default();
        let links = [0, 1].map(|_| {
            let mut theirs = redis.talk();
            // The numbers of connections are in some replies.
            let id = integer(&theirs.ask(&words("CLIENT ID"))).unwrap();
            Link {
                ours: Client::new(u64::try_from(id).unwrap(), &server),
                theirs,
                queue: Vec::new(),
            }
        });
        Self {
            server,
            clock,
            links,
            apart_ms: 0,
            is_same_deadline: false,
            title,
            history: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// What Redis's clock shows, in milliseconds since 1970.
    pub(crate) fn redis_ms(&mut self) -> u64 {
        let reply = self.clock.ask(&words("TIME"));
        let [seconds, micros] = parts(&reply)
            .iter()
            .map(|part| std::str::from_utf8(bulk(part)).unwrap().parse().unwrap())
            .collect::<Vec<u64>>()[..]
        else {
            panic!("{}", reply.escape_ascii());
        };
        seconds * 1000 + micros / 1000
    }

    /// Waits until Redis's clock is past a moment, and has the machine's show the same as it then does.
    pub(crate) fn wait_past(&mut self, millis: u64) {
        let begin = Instant::now();
        loop {
            let now = self.redis_ms();
            if now > millis {
                self.server.now = WallTime(now * MILLI);
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "Redis's clock stands at {now}");
            std::thread::yield_now();
        }
    }

    /// Tells both the same, on the first or second connection.
    pub(crate) fn exchange(&mut self, at: usize, requests: &[Request]) -> Exchange {
        let mut bytes = Vec::new();
        for request in requests {
            put_request(&mut bytes, request);
        }
        let from_ms = self.redis_ms();
        let theirs = self.links[at].theirs.say_many(&bytes, requests.len());
        let until_ms = self.redis_ms();
        self.server.now = self.server.now.max(WallTime(from_ms * MILLI));
        let said = self.links[at].ours.say(&mut self.server, &bytes);
        let mut ours = Vec::with_capacity(requests.len());
        let mut rest = &said[..];
        while !rest.is_empty() {
            let (reply, after) = rest.split_at(crate::rule::length(rest));
            ours.push(reply.to_vec());
            rest = after;
        }
        let apart = until_ms - self.server.now.0 / MILLI;
        self.apart_ms = self.apart_ms.max(i64::try_from(apart).unwrap() + 1);
        crate::count(requests.len());
        Exchange {
            ours,
            theirs,
            until_ms,
        }
    }

    /// Tells both the same, and holds that they answer the same.
    pub(crate) fn say(&mut self, at: usize, requests: &[Request]) -> Vec<Vec<u8>> {
        let exchange = self.exchange(at, requests);
        self.compare(at, requests, &exchange);
        exchange.theirs
    }

    /// Holds that both answered the same.
    pub(crate) fn compare(&mut self, at: usize, requests: &[Request], exchange: &Exchange) {
        for (place, request) in requests.iter().enumerate() {
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(request.clone());
            let ours = exchange.ours.get(place).map_or(&b""[..], Vec::as_slice);
            let theirs = exchange.theirs[place].as_slice();
            self.compare_one(at, request, ours, theirs);
        }
        assert_eq!(exchange.ours.len(), exchange.theirs.len(), "{}", self.title);
    }

    fn compare_one(&mut self, at: usize, request: &Request, ours: &[u8], theirs: &[u8]) {
        let is_exec = request[0].eq_ignore_ascii_case(b"exec");
        if theirs == b"+QUEUED\r\n" {
            self.links[at].queue.push(request.clone());
        } else if request[0].eq_ignore_ascii_case(b"multi") && theirs == b"+OK\r\n" {
            self.links[at].queue.clear();
        } else if is_exec && theirs[0] == b'*' && theirs[1] != b'-' {
            let queue = std::mem::take(&mut self.links[at].queue);
            self.tally.executed += 1;
            self.tally.note(request, theirs);
            let (mine, other) = (parts(ours), parts(theirs));
            let is_whole = mine.len() == queue.len() && other.len() == queue.len();
            if !is_whole {
                self.fail(request, ours, theirs);
            }
            for ((request, mine), other) in queue.iter().zip(mine).zip(other) {
                self.compare_reply(request, mine, other);
            }
            return;
        } else if is_exec && theirs[0] != b'-' {
            self.tally.aborted += 1;
        }
        let is_queued = theirs == b"+QUEUED\r\n";
        match is_queued && ours == theirs {
            true => {}
            false => self.compare_reply(request, ours, theirs),
        }
    }

    fn compare_reply(&mut self, request: &Request, ours: &[u8], theirs: &[u8]) {
        let was_same_deadline = std::mem::take(&mut self.is_same_deadline);
        let apart = 2 * self.apart_ms;
        let is_same = !ours.is_empty()
            && match Rule::of(request) {
                Rule::Exact => ours == theirs,
                Rule::Unordered(together) => are_unordered(ours, theirs, together),
                Rule::Seconds if was_same_deadline => ours == theirs,
                Rule::Seconds => are_near(ours, theirs, 1 + apart / 1000),
                Rule::Millis => {
                    self.is_same_deadline =
                        ours == theirs && request[0].eq_ignore_ascii_case(b"pexpiretime");
                    are_near(ours, theirs, apart)
                }
                Rule::Walk(_, together) => are_walks(ours, theirs, together),
                Rule::Picked | Rule::Kind => are_alike(ours, theirs),
            };
        if !is_same {
            self.fail(request, ours, theirs);
        }
        self.tally.note(request, theirs);
    }

    fn fail(&self, request: &Request, ours: &[u8], theirs: &[u8]) -> ! {
        let history: Vec<Request> = self.history.iter().cloned().collect();
        shown::fail(&self.title, &history, request, ours, theirs)
    }

    /// Fails if a deadline comes near, for which server it passes first would be chance.
    pub(crate) fn hold_that_none_is_soon(&self) {
        let now = self.server.now;
        let soon = WallTime(now.0 + times::FAR_MS / 2 * MILLI);
        let is_soon = |at: WallTime| at > now && at < soon;
        let history: Vec<String> = self.history.iter().map(shown::request).collect();
        assert!(
            !self.server.alarm.is_some_and(is_soon),
            "{}: a deadline that passes soon\n{}",
            self.title,
            history.join("\n")
        );
    }

    /// Has a connection of either closed, and holds that both close it.
    pub(crate) fn quit(&mut self, at: usize) {
        self.say(at, &[words("QUIT")]);
        let is_closed = self.links[at].ours.is_closed && self.links[at].theirs.is_closed();
        assert!(is_closed, "{}: QUIT", self.title);
    }

    /// Holds that all databases hold the same, deadlines among it. Timers must have fired, if any were due.
    pub(crate) fn compare_states(&mut self, keys: &[String]) {
        self.say(0, &[words("DISCARD")]);
        for database in 0..16 {
            let mut asked = vec![words(&format!("SELECT {database}")), words("KEYS *")];
            // What is gone is removed when somebody comes upon it, and counts until then.
            for key in keys {
                asked.push(words(&format!("PTTL {key}")));
                asked.push(words(&format!("TYPE {key}")));
            }
            // So are keys of other names, by a walk.
            asked.push(words("SCAN 0 COUNT 10000"));
            asked.push(words("DBSIZE"));
            let replies = self.say(0, &asked);
            let types = replies[2..].chunks(2).map(|pair| pair.get(1));
            let mut asked = Vec::new();
            for (key, kind) in keys.iter().zip(types) {
                let what = match kind.map_or(&b""[..], Vec::as_slice) {
                    b"+string\r\n" => format!("GET {key}"),
                    b"+list\r\n" => format!("LRANGE {key} 0 -1"),
                    b"+set\r\n" => format!("SMEMBERS {key}"),
                    b"+hash\r\n" => format!("HGETALL {key}"),
                    b"+zset\r\n" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
                    _ => continue,
                };
                asked.push(words(&what));
                asked.push(words(&format!("OBJECT ENCODING {key}")));
                asked.push(words(&format!("PEXPIRETIME {key}")));
                asked.push(words(&format!("EXPIRETIME {key}")));
            }
            self.say(0, &asked);
        }
    }
}
