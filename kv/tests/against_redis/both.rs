//! A machine and a Redis server that are asked the same, one request after the other.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_kv::keyspace::DatabaseId;
use standin_kv::table;
use standin_resp::Version;
use standin_resp::number::parse_integer;

use crate::redis::{Redis, Talk};
use crate::rule::{
    Rule, are_alike, are_near, are_unordered, bulk, groups, head, integer, leaves, parts, walked,
};
use crate::support::Shop;
use crate::{hello, shown};

/// By how much times in replies may differ, in milliseconds: how long a request may take.
const CLOCK_TOLERANCE_MS: i64 = 5_000;
/// Most members of a union of sets of integers that is one itself.
const INTSET_MAX: usize = 512;

/// A request, as its words.
pub(crate) type Request = Vec<Vec<u8>>;

/// Words as a request.
pub(crate) fn words(line: &str) -> Request {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// A machine and a Redis server.
pub(crate) struct Both {
    pub(crate) shop: Shop,
    pub(crate) redis: Talk,
    title: String,
    history: Vec<Request>,
}

impl Both {
    pub(crate) fn new(server: &Redis, version: Version, title: String) -> Self {
        let mut redis = server.talk();
        redis.ask(&hello(version));
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
    pub(crate) fn take(&mut self, request: &Request) {
        match Rule::of(request) {
            Rule::Exact => {
                if request[0].eq_ignore_ascii_case(b"dbsize") {
                    self.let_go();
                }
                self.judge(request, |ours, theirs| ours == theirs);
            }
            Rule::Unordered(together) => self.unordered(request, together),
            Rule::Millis => self.judge(request, |ours, theirs| {
                are_near(ours, theirs, CLOCK_TOLERANCE_MS)
            }),
            Rule::Seconds => self.judge(request, |ours, theirs| {
                are_near(ours, theirs, CLOCK_TOLERANCE_MS / 1000)
            }),
            Rule::Walk(place, together) => self.walk(request, place, together),
            Rule::Picked if request.len() < 2 && !request[0].eq_ignore_ascii_case(b"randomkey") => {
                self.judge(request, |ours, theirs| ours == theirs);
            }
            Rule::Picked if request[0].eq_ignore_ascii_case(b"spop") => self.pop(request),
            Rule::Picked => self.pick(request),
            Rule::Kind => self.judge(request, are_alike),
        }
    }

    fn judge(&mut self, request: &Request, is_same: impl Fn(&[u8], &[u8]) -> bool) {
        let (ours, theirs) = self.ask(request);
        self.check(request, &ours, &theirs, is_same(&ours, &theirs));
    }

    /// Comes upon all keys: what is gone is removed then, and counts no more.
    fn let_go(&mut self) {
        for number in 0..8 {
            self.ask(&words(&format!("TTL key:{number}")));
        }
    }

    /// The replies of both.
    pub(crate) fn ask(&mut self, request: &Request) -> (Vec<u8>, Vec<u8>) {
        self.history.push(request.clone());
        self.shop.now_ms = self.shop.now_ms.max(wall_ms());
        let theirs = self.redis.ask(request);
        let ours = self.shop.ask_bytes(request);
        crate::count(1);
        if request[0].eq_ignore_ascii_case(b"select") && ours == b"+OK\r\n" {
            let number = std::str::from_utf8(&request[1]).unwrap();
            self.shop.database = DatabaseId::new(number.parse().unwrap()).unwrap();
        }
        (ours, theirs)
    }

    /// Fails unless replies are the same.
    pub(crate) fn check(&self, request: &Request, ours: &[u8], theirs: &[u8], is_same: bool) {
        if !is_same {
            shown::fail(&self.title, &self.history, request, ours, theirs);
        }
    }

    /// Notes what was asked otherwise.
    pub(crate) fn note(&mut self, request: Request) {
        self.history.push(request);
    }

    /// Compares the encoding of a key; whether it is one of those that have an order.
    fn has_order(&mut self, key: &[u8]) -> bool {
        let request = vec![b"OBJECT".to_vec(), b"ENCODING".to_vec(), key.to_vec()];
        let (ours, theirs) = self.ask(&request);
        self.check(&request, &ours, &theirs, ours == theirs);
        !theirs.ends_with(b"hashtable\r\n")
    }

    /// A large sorted set is walked in the order of a hash table.
    fn is_skiplist(&mut self, key: &[u8]) -> bool {
        let request = [b"OBJECT".to_vec(), b"ENCODING".to_vec(), key.to_vec()];
        self.redis.ask(&request).ends_with(b"skiplist\r\n")
    }

    fn unordered(&mut self, request: &Request, together: usize) {
        let mut has_order = !request[0].eq_ignore_ascii_case(b"keys");
        let name = request[0].to_ascii_lowercase();
        let spec = table::find(&name).expect("it is known");
        for place in spec.key_places(request.len()) {
            has_order &= self.has_order(&request[place]);
        }
        let (ours, theirs) = self.ask(request);
        // Many integers may make a hash table together.
        has_order &= name != b"sunion" || parts(&theirs).len() <= INTSET_MAX;
        let is_same = match has_order {
            true => ours == theirs,
            false => are_unordered(&ours, &theirs, together),
        };
        self.check(request, &ours, &theirs, is_same);
    }

    /// Compares whole walks by cursor: all that they hand out.
    fn walk(&mut self, request: &Request, place: usize, together: usize) {
        let is_sorted_set = request[0].eq_ignore_ascii_case(b"zscan");
        if place == 2
            && self.has_order(&request[1])
            && !(is_sorted_set && self.is_skiplist(&request[1]))
        {
            return self.judge(request, |ours, theirs| ours == theirs);
        }
        let mut both = [Vec::new(), Vec::new()];
        let mut heads = [Vec::new(), Vec::new()];
        self.note(request.clone());
        for side in 0..2 {
            let mut next = request.clone();
            loop {
                let reply = match side {
                    0 => self.shop.ask_bytes(&next),
                    _ => self.redis.ask(&next),
                };
                crate::count(1);
                let Some((cursor, found)) = walked(&reply) else {
                    heads[side] = reply;
                    break;
                };
                both[side].extend(groups(found, together));
                next[place] = bulk(cursor).to_vec();
                if next[place] == b"0" {
                    break;
                }
            }
            both[side].sort();
        }
        // Redis may hand something out twice.
        both[1].dedup();
        let is_same = both[0] == both[1] && heads[0] == heads[1];
        let [ours, theirs] = [0, 1].map(|side| [both[side].concat(), heads[side].clone()].concat());
        self.check(request, &ours, &theirs, is_same);
    }

    /// Compares what is picked at random: as many, and each out of what there is.
    fn pick(&mut self, request: &Request) {
        let count = request.get(2).and_then(|count| {
            let count = std::str::from_utf8(count).ok()?;
            count.parse::<i64>().ok()
        });
        let want = if request.len() > 3 { 2 } else { 1 };
        let (all, have) = match request[0].to_ascii_lowercase().as_slice() {
            b"srandmember" => (vec![b"SMEMBERS".to_vec(), request[1].clone()], 1),
            b"hrandfield" => (vec![b"HGETALL".to_vec(), request[1].clone()], 2),
            b"zrandmember" => {
                let range = [b"ZRANGE".to_vec(), request[1].clone(), b"0".to_vec()];
                let rest = [b"-1".to_vec(), b"WITHSCORES".to_vec()];
                ([range.to_vec(), rest.to_vec()].concat(), 2)
            }
            _ => (words("KEYS *"), 1),
        };
        let (ours, theirs) = self.ask(request);
        if !are_alike(&ours, &theirs) {
            return self.check(request, &ours, &theirs, false);
        }
        if matches!(ours[0], b'-' | b'_') || ours == b"$-1\r\n" {
            return;
        }
        let everything = self.redis.ask(&all);
        let everything = leaves(&everything);
        let there: Vec<Vec<u8>> = everything
            .chunks(have)
            .map(|it| it[..want].concat())
            .collect();
        let picked = groups(&ours, want);
        let mut once = picked.clone();
        once.dedup();
        let repeats = count.is_some_and(|count| count < 0);
        let is_sound =
            picked.iter().all(|it| there.contains(it)) && (repeats || once.len() == picked.len());
        self.check(request, &ours, &theirs, is_sound);
    }

    /// Compares SPOP: what each takes is gone from its own set. Then both go on with the same set.
    fn pop(&mut self, request: &Request) {
        let count = request.get(2).map(|count| {
            let count = std::str::from_utf8(count).unwrap_or("");
            count.parse::<usize>().unwrap_or(0)
        });
        let key = request.get(1).cloned().unwrap_or_default();
        let has_order = self.has_order(&key);
        let all = vec![b"SMEMBERS".to_vec(), key.clone()];
        let before = self.redis.ask(&all);
        let (ours, theirs) = self.ask(request);
        let members = groups(&before, 1);
        if ours[0] == b'-' || before[0] == b'-' || count.is_some_and(|it| it >= members.len()) {
            let is_same = ours == theirs || !has_order && are_unordered(&ours, &theirs, 1);
            return self.check(request, &ours, &theirs, is_same);
        }
        let after = self.shop.ask_bytes(&all);
        let mut whole = groups(&ours, 1);
        if count.is_none() && members.is_empty() {
            whole.clear();
        }
        whole.extend(groups(&after, 1));
        whole.sort();
        let is_like = match count {
            Some(_) => head(&ours) == head(&theirs),
            None => are_alike(&ours, &theirs),
        };
        self.check(request, &ours, &theirs, is_like && whole == members);
        // An encoding stays when a set shrinks; where most of it goes, what stays decides, which is another here.
        let rest = parts(&after);
        let is_integer = |it: &&[u8]| parse_integer(bulk(it)).is_some();
        if !rest.is_empty()
            && (rest.len() * 5 > whole.len() - rest.len() || parts(&before).iter().all(is_integer))
        {
            self.has_order(&key);
        }
        let gone = vec![b"DEL".to_vec(), key.clone()];
        self.judge(&gone, |ours, theirs| ours == theirs);
        if !rest.is_empty() {
            let mut again = vec![b"SADD".to_vec(), key];
            again.extend(rest.iter().map(|member| bulk(member).to_vec()));
            let (ours, theirs) = self.ask(&again);
            let is_whole = integer(&ours) == i64::try_from(rest.len()).ok();
            self.check(&again, &ours, &theirs, ours == theirs && is_whole);
        }
    }
}

/// The wall clock, in milliseconds since 1970.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since: Duration = since.expect("it is later than 1970");
    u64::try_from(since.as_millis()).unwrap()
}
