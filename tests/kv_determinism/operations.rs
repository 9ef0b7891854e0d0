//! Random operations of all families, each as the bytes of a command.

use standin::machines::kv::arguments::{
    Watch, begin_queued, begin_transaction, command, put_argument,
};
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;

/// What is drawn from, each as often as any other. A word with `$` stands for something that is drawn: see
/// [`Chance::word`].
const TEMPLATES: [&str; 128] = [
    // Strings.
    "set $k $v",
    "set $k $v px $t",
    "set $k $v ex $T nx",
    "set $k $v xx get keepttl",
    "setnx $k $v",
    "setex $k $T $v",
    "psetex $k $t $v",
    "getset $k $v",
    "getdel $k",
    "getex $k px $t",
    "getex $k persist",
    "mset $k $v $k $v $k $n",
    "msetnx $k $v $k $v",
    "incr $c",
    "decr $c",
    "incrby $c $n",
    "decrby $c $n",
    "incrbyfloat $c $x",
    "append $k $v",
    "setrange $k $i $v",
    "get $k",
    "mget $k $a $c",
    "strlen $k",
    "getrange $k 0 $i",
    // Keys.
    "del $a $a",
    "unlink $a",
    "rename $a $a",
    "renamenx $a $a",
    "copy $a $a replace",
    "copy $a $a db $d",
    "exists $a $a",
    "type $a",
    "object encoding $a",
    "randomkey",
    "randomkey",
    "scan $i count 20",
    "dbsize",
    "time",
    // Deadlines.
    "expire $a $T",
    "pexpire $a $t",
    "pexpire $a $t",
    "pexpire $a $t nx",
    "pexpire $a $t gt",
    "expire $a -1",
    "expireat $a 1900000000",
    "pexpireat $a 1900000000000 lt",
    "persist $a",
    "ttl $a",
    "pttl $a",
    "pexpiretime $a",
    // Lists.
    "lpush $l $v $v",
    "rpush $l $v $n $v",
    "lpushx $l $v",
    "rpushx $l $v",
    "lpop $l",
    "rpop $l 2",
    "lset $l $i $v",
    "linsert $l before $n $v",
    "lrem $l 1 $n",
    "ltrim $l 0 200",
    "lmove $l $l left right",
    "rpoplpush $l $l",
    "lmpop 2 $l $l left count 3",
    "llen $l",
    "lrange $l 0 10",
    "lpos $l $n",
    // Hashes.
    "hset $h $f $v $f $n",
    "hset $h $f $v $f $v $f $v $f $v",
    "hmset $h $f $v",
    "hsetnx $h $f $v",
    "hdel $h $f $f",
    "hincrby $h $g $n",
    "hincrbyfloat $h $g $x",
    "hrandfield $h",
    "hrandfield $h -3 withvalues",
    "hrandfield $h 5",
    "hgetall $h",
    "hget $h $f",
    "hscan $h 0",
    // Sets.
    "sadd $s $f $f $f",
    "sadd $s $n $n $n",
    "sadd $s $f $f $f $f $f $f",
    "srem $s $f $f",
    "smove $s $s $f",
    "spop $s",
    "spop $s",
    "spop $s 4",
    "srandmember $s",
    "srandmember $s -5",
    "srandmember $s 3",
    "sinterstore $s $s $s",
    "sunionstore $s $s $s",
    "sdiffstore $s $s $s",
    "sinter $s $s",
    "sunion $s $s",
    "scard $s",
    "sismember $s $f",
    "sscan $s 0 count 30",
    // Sorted sets.
    "zadd $z $x $f $x $f",
    "zadd $z $n $f $n $f $n $f $n $f",
    "zadd $z gt ch $x $f",
    "zadd $z incr $x $f",
    "zincrby $z $x $f",
    "zrem $z $f $f",
    "zrangestore $z $z 0 100",
    "zremrangebyrank $z 0 1",
    "zremrangebyscore $z (5 6",
    "zremrangebylex $z [f1 [f2",
    "zpopmin $z",
    "zpopmax $z 2",
    "zmpop 2 $z $z max count 2",
    "zrandmember $z",
    "zrandmember $z -4 withscores",
    "zrandmember $z 3",
    "zunionstore $z 2 $z $z weights 1 2",
    "zinterstore $z 2 $z $z aggregate max",
    "zdiffstore $z 2 $z $z",
    "zrange $z 0 5 withscores",
    "zrank $z $f",
    "zscore $z $f",
    "zcount $z -inf +inf",
    "zscan $z 0",
    // What has no meaning is answered the same everywhere, too.
    "incr $a",
    "lpush $a $v",
    "hset $a $f $v",
    "sadd $a $f",
    "zadd $a $x $f",
    "spop $a",
];

/// Of so many operations one is a transaction.
const TRANSACTION_EVERY: u64 = 16;
/// Of so many operations one empties a database, and of so many of those all of them.
const FLUSH_EVERY: u64 = 20_000;
const FLUSH_ALL_EVERY: u64 = 4;
/// Keys of each kind.
const KEYS: u64 = 24;
/// Fields and members: enough to make a small hash, set or sorted set a large one.
const MEMBERS: u64 = 700;

/// Makes choices, the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// The next operation: a command or a transaction.
    pub(crate) fn operation(&mut self) -> Vec<u8> {
        if self.below(TRANSACTION_EVERY) == 0 {
            return self.transaction(&[]);
        }
        let words = self.words();
        command(self.version(), self.database(), &words)
    }

    /// A transaction of a few commands, if these keys are as they were seen.
    pub(crate) fn transaction(&mut self, watches: &[Watch]) -> Vec<u8> {
        let mut out = Vec::new();
        let database = match watches.first() {
            Some(watch) => watch.database,
            None => self.database(),
        };
        begin_transaction(&mut out, self.version(), database, watches);
        for _ in 0..1 + self.below(4) {
            let words = self.words();
            begin_queued(&mut out, words.len());
            for word in &words {
                put_argument(&mut out, word);
            }
        }
        out
    }

    fn words(&mut self) -> Vec<Vec<u8>> {
        if self.below(FLUSH_EVERY) == 0 {
            let flush = match self.below(FLUSH_ALL_EVERY) {
                0 => "flushall",
                _ => "flushdb",
            };
            return vec![flush.as_bytes().to_vec()];
        }
        let count = TEMPLATES.len() as u64;
        let template = TEMPLATES[usize::try_from(self.below(count)).expect("below its length")];
        let words = template.split(' ');
        words.map(|word| self.word(word).into_bytes()).collect()
    }

    /// What a word of a template stands for.
    fn word(&mut self, word: &str) -> String {
        let Some(kind) = word.strip_prefix('$') else {
            return word.to_owned();
        };
        match kind {
            // A key that most often holds a string, a number, a list, a hash, a set, a sorted set; any key.
            "k" | "c" | "l" | "h" | "s" | "z" => format!("{kind}{}", self.below(KEYS)),
            "a" => {
                let kinds = ["k", "c", "l", "h", "s", "z"];
                let kind = kinds[usize::try_from(self.below(6)).expect("there are six")];
                format!("{kind}{}", self.below(KEYS))
            }
            "f" => format!("f{}", self.below(MEMBERS)),
            "g" => format!("g{}", self.below(5)),
            "v" => match self.below(8) {
                0 => "v".repeat(usize::try_from(self.below(200)).expect("it is short")),
                _ => format!("v{}", self.below(1000)),
            },
            "n" => self.below(1000).to_string(),
            "i" => self.below(100).to_string(),
            "d" => self.below(16).to_string(),
            "x" => format!("{}.{}", self.below(1000), self.below(1000)),
            // Soon, in milliseconds; and late, in seconds, so that nothing is gone meanwhile but by a jump of time.
            "t" => (1 + self.below(1500)).to_string(),
            "T" => (3600 + self.below(10_000)).to_string(),
            _ => unreachable!("no template has ${kind}"),
        }
    }

    fn version(&mut self) -> Version {
        match self.below(2) {
            0 => Version::Resp2,
            _ => Version::Resp3,
        }
    }

    /// A few databases most often, at times any.
    pub(crate) fn database(&mut self) -> DatabaseId {
        let number = match self.below(10) {
            0 => self.below(16),
            few => few % 3,
        };
        let number = i64::try_from(number).expect("it is small");
        DatabaseId::new(number).expect("there are sixteen")
    }

    /// A key of any kind.
    pub(crate) fn key(&mut self) -> Vec<u8> {
        self.word("$a").into_bytes()
    }
}

/// Whether all commands that change something, or need time or chance, may be drawn.
pub(crate) fn is_among_them(name: &str) -> bool {
    let mut names = TEMPLATES.iter().filter_map(|line| line.split(' ').next());
    names.any(|it| it == name) || ["flushdb", "flushall"].contains(&name)
}
