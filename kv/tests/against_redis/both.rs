//! A machine and a Redis server that are asked the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;

use crate::redis::{Connection, Server};
use crate::support::Shop;

/// By how much times in replies may differ, in milliseconds.
const CLOCK_TOLERANCE_MS: i64 = 5_000;
/// Requests that are shown when replies differ.
const SHOWN: usize = 40;

/// A request, as its words.
pub(crate) type Request = Vec<Vec<u8>>;

/// One step, and how its replies are compared.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Byte for byte.
    Exact(Request),
    /// As arrays whose order does not count.
    Unordered(Request),
    /// As integers that tell of times in milliseconds.
    Near(Request),
    /// The same in seconds.
    NearSeconds(Request),
    /// A whole walk by cursor: everything that it hands out, but for its order. The cursor's place is given.
    Walk(Request, usize),
}

/// Words as a request.
pub(crate) fn words(line: &str) -> Request {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// A machine and a Redis server.
pub(crate) struct Both {
    pub(crate) shop: Shop,
    pub(crate) redis: Connection,
    title: String,
    history: Vec<Request>,
}

impl Both {
    pub(crate) fn new(server: &Server, version: Version, title: String) -> Self {
        let mut redis = server.connect(version);
        redis.ask(&words("FLUSHALL"));
        let mut shop = Shop::default();
        shop.version = version;
        shop.now_ms = wall_ms();
        Self {
            shop,
            redis,
            title,
            history: Vec::new(),
        }
    }

    /// Asks both, and holds their replies against each other.
    pub(crate) fn take(&mut self, step: &Step) {
        match step {
            Step::Exact(request) => {
                let (ours, theirs) = self.ask(request);
                self.check(request, &ours, &theirs, ours == theirs);
            }
            Step::Unordered(request) => {
                let (ours, theirs) = self.ask(request);
                let is_same = sorted(&ours) == sorted(&theirs);
                self.check(request, &ours, &theirs, is_same);
            }
            Step::Near(request) => self.near(request, CLOCK_TOLERANCE_MS),
            Step::NearSeconds(request) => self.near(request, CLOCK_TOLERANCE_MS / 1000),
            Step::Walk(request, place) => self.walk(request, *place),
        }
    }

    fn near(&mut self, request: &Request, tolerance: i64) {
        let (ours, theirs) = self.ask(request);
        let is_near = match (integer(&ours), integer(&theirs)) {
            (Some(ours), Some(theirs)) if ours > 0 && theirs > 0 => {
                (ours - theirs).abs() <= tolerance
            }
            _ => ours == theirs,
        };
        self.check(request, &ours, &theirs, is_near);
    }

    fn walk(&mut self, request: &Request, place: usize) {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        let mut request = request.clone();
        self.history.push(request.clone());
        // Values of HSCAN and scores of ZSCAN may be equal: they are kept together with what they belong to.
        let has_pairs = [b"hscan", b"zscan"]
            .iter()
            .any(|name| request[0].eq_ignore_ascii_case(*name));
        let each = if has_pairs { 2 } else { 1 };
        loop {
            let reply = self.shop.ask_bytes(&request);
            let (cursor, elements) = scanned(&reply);
            ours.extend(elements.chunks(each).map(|it| it.concat()));
            if cursor.is_empty() || cursor == b"0" {
                break;
            }
            request[place] = cursor;
        }
        request[place] = b"0".to_vec();
        loop {
            let reply = self.redis.ask(&request);
            let (cursor, elements) = scanned(&reply);
            theirs.extend(elements.chunks(each).map(|it| it.concat()));
            if cursor.is_empty() || cursor == b"0" {
                break;
            }
            request[place] = cursor;
        }
        ours.sort();
        theirs.sort();
        theirs.dedup();
        let is_same = ours == theirs;
        self.check(&request, &ours.concat(), &theirs.concat(), is_same);
    }

    /// The replies of both.
    pub(crate) fn ask(&mut self, request: &Request) -> (Vec<u8>, Vec<u8>) {
        self.history.push(request.clone());
        self.shop.now_ms = self.shop.now_ms.max(wall_ms());
        let theirs = self.redis.ask(request);
        let ours = self.shop.ask_bytes(request);
        if request[0].eq_ignore_ascii_case(b"select") && ours == b"+OK\r\n" {
            let number = std::str::from_utf8(&request[1]).unwrap();
            self.shop.database = DatabaseId::new(number.parse().unwrap()).unwrap();
        }
        (ours, theirs)
    }

    /// Fails unless replies are the same.
    pub(crate) fn check(&self, request: &Request, ours: &[u8], theirs: &[u8], is_same: bool) {
        if is_same {
            return;
        }
        let shown = |request: &Request| {
            let words = request
                .iter()
                .map(|word| format!("\"{}\"", word.escape_ascii()));
            words.collect::<Vec<String>>().join(" ")
        };
        let recent = self.history.iter().rev().take(SHOWN).rev();
        let recent: Vec<String> = recent.map(shown).collect();
        panic!(
            "{}\n{}\nasked: {}\nours:  {}\nredis: {}",
            self.title,
            recent.join("\n"),
            shown(request),
            ours.escape_ascii(),
            theirs.escape_ascii()
        );
    }

    /// Notes what was asked otherwise.
    pub(crate) fn note(&mut self, request: Request) {
        self.history.push(request);
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since: Duration = since.expect("it is later than 1970");
    u64::try_from(since.as_millis()).unwrap()
}

fn integer(reply: &[u8]) -> Option<i64> {
    let text = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The elements of an aggregate as they are written, and what is before them.
fn elements(reply: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let end = line_end(reply);
    let mut found = Vec::new();
    let mut rest = &reply[end..];
    if !matches!(reply[0], b'*' | b'~' | b'%') {
        return (reply.to_vec(), found);
    }
    while !rest.is_empty() {
        let length = reply_length(rest);
        found.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    (reply[..end].to_vec(), found)
}

fn sorted(reply: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (head, mut elements) = elements(reply);
    elements.sort();
    (head, elements)
}

/// The cursor and the elements of a reply of SCAN; all of an error as an element.
fn scanned(reply: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (head, parts) = elements(reply);
    let [cursor, found] = parts.as_slice() else {
        return (Vec::new(), vec![head]);
    };
    let text = &cursor[line_end(cursor)..cursor.len() - 2];
    (text.to_vec(), elements(found).1)
}

fn line_end(reply: &[u8]) -> usize {
    reply.windows(2).position(|it| it == b"\r\n").unwrap() + 2
}

/// Bytes of the first whole reply.
fn reply_length(reply: &[u8]) -> usize {
    let mut at = line_end(reply);
    let number: i64 = std::str::from_utf8(&reply[1..at - 2])
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(-1);
    let number = usize::try_from(number.max(0)).unwrap();
    match reply[0] {
        b'$' | b'=' if reply[1] != b'-' => at += number + 2,
        b'*' | b'~' => (0..number).for_each(|_| at += reply_length(&reply[at..])),
        b'%' => (0..2 * number).for_each(|_| at += reply_length(&reply[at..])),
        _ => {}
    }
    at
}
