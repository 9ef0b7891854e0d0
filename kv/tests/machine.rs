//! The machine by itself: what it answers, and what its state is made of.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use standin_core::machine::StateMachine as _;
use standin_kv::KeyValue;
use standin_kv::arguments::{self, Watch};
use standin_kv::keyspace::{DatabaseId, Sight};
use standin_resp::Version;
use support::Shop;

#[test]
fn strings_are_kept_and_counted() {
    let mut shop = Shop::default();
    assert_eq!(shop.ask("GET k"), "$-1\r\n");
    assert_eq!(shop.ask("SET k hello"), "+OK\r\n");
    assert_eq!(shop.ask("get k"), "$5\r\nhello\r\n");
    assert_eq!(shop.ask("INCR n"), ":1\r\n");
    assert_eq!(shop.ask("INCRBY n 41"), ":42\r\n");
    assert_eq!(shop.ask("GET n"), "$2\r\n42\r\n");
    assert_eq!(
        shop.ask("INCR k"),
        "-ERR value is not an integer or out of range\r\n"
    );
    assert_eq!(shop.ask("DEL k n x"), ":2\r\n");
    assert_eq!(shop.ask("DBSIZE"), ":0\r\n");
}

#[test]
fn what_is_missing_is_unknown() {
    let mut shop = Shop::default();
    assert_eq!(
        shop.ask("nosuch a b"),
        "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' \r\n"
    );
    assert_eq!(
        shop.ask("GET"),
        "-ERR wrong number of arguments for 'get' command\r\n"
    );
}

#[test]
fn a_key_is_gone_once_its_time_has_passed_and_not_before() {
    let mut shop = Shop::default();
    shop.ask("SET k v");
    assert_eq!(shop.ask("PEXPIRE k 100"), ":1\r\n");
    assert_eq!(shop.ask("PTTL k"), ":100\r\n");
    shop.pass_ms(100);
    assert_eq!(shop.ask("PTTL k"), ":0\r\n");
    assert_eq!(shop.ask("GET k"), "$1\r\nv\r\n");
    shop.pass_ms(1);
    // The timer has not been looked at yet: the key counts as gone all the same.
    assert_eq!(shop.query("GET k"), "$1\r\nv\r\n"); // as of the last entry
    assert_eq!(shop.ask("TTL k"), ":-2\r\n");
    assert_eq!(shop.query("GET k"), "$-1\r\n");
    assert_eq!(shop.ask("DBSIZE"), ":0\r\n");
}

#[test]
fn the_timer_removes_what_nobody_asks_for() {
    let mut shop = Shop::default();
    for number in 0..1000 {
        shop.ask(&format!("SET k{number} v PX {}", 10 + number / 10));
    }
    assert_eq!(shop.ask("DBSIZE"), ":1000\r\n");
    shop.pass_ms(60);
    shop.fire_timers();
    assert_eq!(shop.ask("DBSIZE"), ":500\r\n");
    shop.pass_ms(1000);
    shop.fire_timers();
    assert_eq!(shop.ask("DBSIZE"), ":0\r\n");
    assert_eq!(shop.alarm(), None);
}

#[test]
fn a_state_is_the_same_bytes_whatever_led_to_it_and_goes_on_when_it_is_read_back() {
    let mut shop = Shop::default();
    for number in 0..3000 {
        shop.ask(&format!("SET k{number} {}", "v".repeat(number % 50)));
        shop.ask(&format!(
            "EXPIREAT k{number} {}",
            10_000_000_000u64 + 3 * number as u64
        ));
    }
    shop.ask("APPEND k1 x");
    shop.ask("DEL k2");
    // The timer stays set for what no key waits for any more.
    shop.ask("PEXPIRE k3 5000");
    shop.ask("PERSIST k3");
    let bytes = shop.capture();
    let mut again = Shop::restore(&bytes).unwrap();
    assert!(again.capture() == bytes, "it reads back as it was written");
    again.adopt_time(&shop);
    // What cannot be seen is there as well: both go on alike.
    for step in 0..3000_u64 {
        let key = step * 7919 % 3001;
        let line = match step % 5 {
            0 => format!("INCR k{key}"),
            1 => format!("PEXPIRE k{key} {}", key * 10),
            2 => format!("RENAME k{key} k{step}"),
            3 => "RANDOMKEY".to_owned(),
            _ => format!("OBJECT ENCODING k{key}"),
        };
        for each in [&mut shop, &mut again] {
            each.pass_ms(step % 40);
            each.fire_timers();
        }
        assert_eq!(shop.ask(&line), again.ask(&line), "{line}");
        assert_eq!(shop.alarm(), again.alarm(), "{line}");
    }
    assert!(shop.capture() == again.capture());
    for length in (0..bytes.len()).step_by(997) {
        assert!(Shop::restore(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Shop::restore(&longer).is_err());
}

#[test]
fn the_timer_is_set_for_whatever_comes_first() {
    let mut shop = Shop::default();
    shop.ask("SET late v PX 5000");
    let late = shop.alarm();
    shop.ask("SET soon v PX 50");
    assert!(shop.alarm() < late);
    shop.ask("SET later v PX 9000");
    shop.pass_ms(51);
    shop.fire_timers();
    assert_eq!(shop.ask("DBSIZE"), ":2\r\n");
    assert_eq!(shop.alarm(), late);
    // What was taken back before it came, the timer finds nothing of.
    shop.ask("PERSIST late");
    shop.pass_ms(5000);
    shop.fire_timers();
    assert_eq!(shop.ask("DBSIZE"), ":2\r\n");
    assert!(shop.alarm() > late);
}

/// Watches a key as a connection does, and says then whether a transaction that rests on it is executed.
struct Watched(Watch);

impl Watched {
    fn begin(shop: &Shop, key: &str) -> Self {
        let query = arguments::command(shop.version, shop.database, &["WATCH", key]);
        let mut reply = Vec::new();
        shop.machine.query(&query, &mut reply);
        Self(Watch {
            database: shop.database,
            key: key.as_bytes().to_vec(),
            sight: arguments::read_sights(&reply).unwrap()[0],
        })
    }

    fn is_executed(&self, shop: &mut Shop) -> bool {
        let mut command = Vec::new();
        let watches = std::slice::from_ref(&self.0);
        arguments::begin_transaction(&mut command, shop.version, shop.database, watches);
        match shop.apply(&command).as_slice() {
            b"*0\r\n" => true,
            b"*-1\r\n" => false,
            other => panic!("{}", other.escape_ascii()),
        }
    }
}

#[test]
fn who_watches_a_key_learns_that_its_time_has_passed() {
    let mut shop = Shop::default();
    shop.ask("SET k v PX 100");
    let watched = Watched::begin(&shop, "k");
    assert!(watched.is_executed(&mut shop));
    shop.pass_ms(101);
    // Removed or not.
    assert!(!watched.is_executed(&mut shop.clone()));
    shop.fire_timers();
    assert!(!watched.is_executed(&mut shop));
}

#[test]
fn a_key_that_was_gone_when_it_was_watched_may_be_removed() {
    let mut shop = Shop::default();
    shop.ask("SET k v PX 100");
    shop.pass_ms(101);
    shop.ask("PING");
    let watched = Watched::begin(&shop, "k");
    shop.fire_timers();
    assert_eq!(shop.ask("DBSIZE"), ":0\r\n");
    assert!(watched.is_executed(&mut shop));
}

#[test]
fn a_key_that_came_and_went_was_not_left_alone() {
    let ways: [&[&str]; 8] = [
        // Gone at once, and nobody has come upon it.
        &["SET k v PXAT 1"],
        &["SET k v EX 5", "EXPIRE k -1"],
        &["SET k v", "DEL k"],
        &["SET k v", "RENAME k other"],
        &["SET k v", "FLUSHDB"],
        &["SET k v", "FLUSHALL"],
        &["SET k v", "GETDEL k"],
        &["SET k v", "PEXPIREAT k 1"],
    ];
    for way in ways {
        let mut shop = Shop::default();
        shop.ask("SET another v");
        let watched = Watched::begin(&shop, "k");
        way.iter().for_each(|line| drop(shop.ask(line)));
        assert!(!watched.is_executed(&mut shop), "{way:?}");
    }
    let mut shop = Shop::default();
    let watched = Watched::begin(&shop, "k");
    shop.ask("SET k v PX 10");
    shop.pass_ms(11);
    // Removed or not.
    assert!(!watched.is_executed(&mut shop.clone()));
    shop.fire_timers();
    assert!(!watched.is_executed(&mut shop));
}

#[test]
fn a_large_database_that_is_flushed_is_known_to_have_been_there() {
    let mut shop = Shop::default();
    for number in 0..5000 {
        shop.ask(&format!("SET k{number} v"));
    }
    let watched = Watched::begin(&shop, "new");
    shop.ask("SET new v");
    shop.ask("FLUSHALL");
    assert!(!watched.is_executed(&mut shop));
    assert_eq!(shop.ask("DBSIZE"), ":0\r\n");
}

#[test]
fn what_is_no_command_is_refused_and_changes_nothing() {
    let mut shop = Shop::default();
    shop.ask("SET k v");
    let good = arguments::command(shop.version, shop.database, &["SET", "k", "w"]);
    let mut bad = vec![
        vec![],
        vec![2],
        vec![2, 0],
        vec![2, 16, 1, b'x'],
        vec![4, 0, 4, b'P'],
        vec![34, 0],
        vec![18, 0, 1, 0, 2],
        vec![18, 0, 0, 0],
        vec![18, 0, 0, 1, 200],
        vec![2, 0, 255, 255, 255, 255, 1],
    ];
    bad.extend((3..good.len()).map(|length| good[..length].to_vec()));
    for bytes in bad {
        let reply = String::from_utf8(shop.apply(&bytes)).unwrap();
        assert!(reply.starts_with("-ERR "), "{bytes:?}: {reply}");
    }
    assert_eq!(shop.ask("GET k"), "$1\r\nv\r\n");
}

#[test]
fn a_reply_that_would_be_too_long_is_an_error() {
    let mut shop = Shop::default();
    let value = "v".repeat(600_000);
    shop.ask(&format!("SET a {value}"));
    shop.ask(&format!("SET b {value}"));
    assert!(
        shop.ask("MGET a b")
            .starts_with("-ERR the reply would be longer")
    );
    assert!(
        shop.query("MGET a b")
            .starts_with("-ERR the reply would be longer")
    );
    assert!(shop.ask("GET a").starts_with("$600000\r\n"));
    assert_eq!(
        shop.ask(&format!("APPEND a {value}")),
        "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
    );
    let mut command = Vec::new();
    arguments::begin_transaction(&mut command, shop.version, shop.database, &[]);
    for words in [["GET", "a"], ["GET", "b"], ["INCR", "n"]] {
        arguments::begin_queued(&mut command, 2);
        words
            .iter()
            .for_each(|word| arguments::put_argument(&mut command, word.as_bytes()));
    }
    let reply = String::from_utf8(shop.apply(&command)).unwrap();
    assert!(
        reply.starts_with("-ERR the transaction was executed, but"),
        "{reply}"
    );
    assert_eq!(shop.ask("GET n"), "$1\r\n1\r\n");
}

#[test]
fn what_is_quick_and_answered_shortly_may_share_an_entry() {
    let shop = Shop::default();
    for (line, shares) in [
        ("INCR a", true),
        ("set a 1", true),
        ("SET a 1 EX 9", true),
        ("SET a 1 GET", false),
        ("SET a 1 EX 9 get", false),
        ("GETSET a 1", false),
        ("SUNIONSTORE d a b", false),
        ("FLUSHALL", false),
        ("NOSUCH a", false),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let command = arguments::command(shop.version, shop.database, &words);
        assert_eq!(KeyValue::shares_entry(&command), shares, "{line}");
    }
    for bytes in [&b""[..], &[2, 0], &[18, 0, 0, 1, 1, b'x'], &[9, 9, 9]] {
        assert!(!KeyValue::shares_entry(bytes), "{bytes:?}");
    }
}

#[test]
fn several_queries_are_answered_as_if_each_were_alone() {
    let mut shop = Shop::default();
    let value = "v".repeat(600_000);
    shop.ask(&format!("SET a {value}"));
    shop.ask("LPUSH l x");
    let lines = ["GET a", "GET l", "GET a", "EXISTS a l", "SET a 1", "TTL a"];
    let mut query = Vec::new();
    arguments::begin_transaction(&mut query, shop.version, shop.database, &[]);
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        arguments::begin_queued(&mut query, words.len());
        for word in words {
            arguments::put_argument(&mut query, word.as_bytes());
        }
    }
    let mut answer = Vec::new();
    shop.machine.answer(&query, &mut answer);
    let alone: String = lines.iter().map(|line| shop.query(line)).collect();
    assert!(
        alone.len() > 1_200_000 && alone.contains("-WRONGTYPE"),
        "longer than a reply, and errors"
    );
    let expected = format!("*{}\r\n{alone}", lines.len());
    assert_eq!(String::from_utf8(answer).unwrap(), expected);

    // One that rests on watched keys changes something if it is executed: whether they were seen since.
    let sight = Watch {
        database: shop.database,
        key: b"a".to_vec(),
        sight: Sight {
            is_present: true,
            index: 1,
        },
    };
    let mut watched = Vec::new();
    arguments::begin_transaction(&mut watched, shop.version, shop.database, &[sight]);
    watched.extend_from_slice(&query[3..]);
    let mut answer = Vec::new();
    shop.machine.answer(&watched, &mut answer);
    assert!(answer.starts_with(b"-ERR "), "{}", answer.escape_ascii());
}

#[test]
fn a_step_of_a_walk_has_room_for_what_it_hands_out() {
    let mut shop = Shop::default();
    for number in 0..20 {
        let key = format!("{number}{}", "k".repeat(200_000));
        shop.ask(&format!("SET {key} v"));
    }
    let (mut cursor, mut found, mut steps) = ("0".to_owned(), 0, 0);
    loop {
        let reply = shop.ask(&format!("SCAN {cursor} COUNT 1000000000"));
        let lines: Vec<&str> = reply.split("\r\n").collect();
        found += lines[3][1..].parse::<usize>().unwrap();
        steps += 1;
        cursor = lines[2].to_owned();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!((found, steps), (20, 20));
}

#[test]
fn what_is_for_connections_is_in_no_entry() {
    let mut shop = Shop::default();
    for line in ["WATCH k", "INFO", "EXEC"] {
        assert!(
            shop.ask(line).contains("is answered by a connection"),
            "{line}"
        );
    }
    for line in ["SET k v", "RANDOMKEY", "TTL k"] {
        assert!(shop.query(line).contains("must be ordered"), "{line}");
    }
}

#[test]
fn a_capture_stays_as_it_was() {
    let mut shop = Shop::default();
    for number in 0..2000 {
        shop.ask(&format!("SET k{number} {number}"));
    }
    let capture = shop.machine.capture();
    let before = shop.capture();
    for number in 0..2000 {
        shop.ask(&format!("INCR k{number}"));
        shop.ask(&format!("APPEND k{number} x"));
        shop.ask(&format!("DEL k{}", number / 2));
    }
    let mut after = Vec::new();
    KeyValue::write_capture(&capture, &mut after).unwrap();
    assert!(after == before, "what was captured has changed");
    assert!(shop.capture() != before);
}

#[test]
fn keys_are_prefetched_only_of_a_large_database_and_nothing_comes_of_it() {
    let mut shop = Shop::default();
    let written = |shop: &Shop| {
        let mut bytes = Vec::new();
        KeyValue::write_capture(&shop.machine.capture(), &mut bytes).unwrap();
        bytes
    };
    let command = |words: &[&str]| arguments::command(Version::Resp2, DatabaseId::default(), words);
    let incr = command(&["INCR", "k1"]);
    let mut commands = vec![
        incr.clone(),
        command(&["MSET", "k1", "a", "k2", "b"]),
        command(&["nosuch"]),
        arguments::command(Version::Resp2, DatabaseId::new(7).unwrap(), &["GET", "k1"]),
        vec![2, 0, 200],
        vec![],
    ];
    let mut run = Vec::new();
    arguments::begin_transaction(&mut run, Version::Resp2, DatabaseId::default(), &[]);
    for _ in 0..300 {
        arguments::begin_queued(&mut run, 2);
        arguments::put_argument(&mut run, b"GET");
        arguments::put_argument(&mut run, b"k1");
    }
    commands.push(run);
    commands.extend(vec![incr; 1000]);
    let taken = |shop: &Shop| {
        let mut taken = 0;
        let commands = commands.iter().map(Vec::as_slice);
        (shop.machine).prefetch(&mut commands.inspect(|_| taken += 1));
        taken
    };
    assert_eq!(taken(&shop), 0, "all of it is in the caches anyway");
    for number in 0..20_000 {
        shop.ask(&format!("SET k{number} v"));
    }
    let before = written(&shop);
    // One key, two, none, one, none, none, three hundred, and then one of each.
    assert_eq!(taken(&shop), 7 + 512 - 304);
    assert!(written(&shop) == before);
}
