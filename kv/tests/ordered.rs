//! Lists and sorted sets by themselves: what a state keeps of them, what is picked at random, what is too long.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use support::Shop;

/// Keys of every form, and of a history that can be seen in none of them.
fn filled() -> Shop {
    let mut shop = Shop::default();
    shop.ask("RPUSH list a b c");
    for number in 0..1000 {
        shop.ask(&format!("LPUSH long {number}"));
        shop.ask(&format!("ZADD large {} member{number}", number % 37));
    }
    shop.ask("ZADD small -1.5 a 0 b inf c");
    shop.ask(&format!("ZADD wide -0 {}", "m".repeat(65)));
    // What has been large once stays so.
    for number in 0..130 {
        shop.ask(&format!("ZADD shrunk {number} m{number}"));
    }
    shop.ask("ZREMRANGEBYRANK shrunk 1 -1");
    shop
}

#[test]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
fn a_state_with_collections_reads_back_and_goes_on_alike() {
    let mut shop = filled();
    let bytes = shop.capture();
    let mut again = Shop::restore(&bytes).unwrap();
    assert!(again.capture() == bytes);
    again.adopt_time(&shop);
    for line in [
        "OBJECT ENCODING shrunk",
        "ZSCORE wide mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm",
        "ZRANDMEMBER large 10 WITHSCORES",
        "ZRANDMEMBER large -10",
        "ZRANGEBYLEX large [member3 (member7",
        "ZREMRANGEBYLEX large [member5 [member8",
        "ZSCAN large 0 COUNT 50",
        "LRANGE long 100 120",
        "LTRIM long 10 -200",
        "ZRANGE large 0 -1 WITHSCORES",
    ] {
        assert_eq!(shop.ask(line), again.ask(line), "{line}");
    }
    assert!(shop.capture() == again.capture());
    for length in (0..bytes.len()).step_by(211) {
        assert!(Shop::restore(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn who_is_taken_out_of_a_large_set_has_no_score_left() {
    let mut shop = filled();
    shop.ask("ZPOPMIN large 300");
    shop.ask("ZREMRANGEBYSCORE large 30 36");
    assert_eq!(shop.ask("ZSCORE large member0"), "$-1\r\n");
    assert_eq!(shop.ask("ZSCORE large member30"), "$-1\r\n");
    assert_eq!(shop.ask("ZADD large 1 member30"), ":1\r\n");
    assert_eq!(shop.ask("ZRANK shrunk m1"), "$-1\r\n");
}

#[test]
fn a_sorted_set_is_large_from_where_it_is_in_redis() {
    let mut shop = Shop::default();
    for (number, is_small) in [(127, true), (128, true), (129, false)] {
        for member in 0..number {
            shop.ask(&format!("ZADD k {member} m{member}"));
        }
        assert_eq!(
            shop.ask("OBJECT ENCODING k") == "$8\r\nlistpack\r\n",
            is_small
        );
        shop.ask("ZUNIONSTORE copy 1 k");
        assert_eq!(
            shop.ask("OBJECT ENCODING copy"),
            shop.ask("OBJECT ENCODING k")
        );
    }
    for (length, is_small) in [(64, true), (65, false)] {
        shop.ask("DEL k");
        shop.ask(&format!("ZADD k 1 {}", "m".repeat(length)));
        let encoding = shop.ask("OBJECT ENCODING k");
        assert_eq!(encoding == "$8\r\nlistpack\r\n", is_small);
    }
}

#[test]
fn a_capture_holds_still_while_the_machine_goes_on() {
    let mut shop = filled();
    let (before, held) = (shop.capture(), shop.machine.clone());
    for line in [
        "LPUSH list x",
        "LSET long 500 x",
        "LREM long 0 7",
        "ZADD small 5 a",
        "ZADD large 100 member5",
        "ZPOPMIN large 300",
        "LTRIM long 400 500",
    ] {
        shop.ask(line);
    }
    assert!(shop.capture() != before);
    shop.machine = held;
    assert!(shop.capture() == before);
}

#[test]
fn members_are_picked_evenly_and_by_what_the_log_says() {
    let mut shop = Shop::default();
    for number in 0..10 {
        shop.ask(&format!("ZADD k {number} {number}"));
    }
    let mut twin = shop.clone();
    let mut counts = [0; 10];
    for _ in 0..2000 {
        let reply = shop.ask("ZRANDMEMBER k 3");
        assert_eq!(reply, twin.ask("ZRANDMEMBER k 3"));
        let picked: Vec<&str> = reply.lines().skip(2).step_by(2).collect();
        assert_eq!(picked.len(), 3, "{reply}");
        for word in picked {
            counts[word.parse::<usize>().expect("a member")] += 1;
        }
    }
    // 600 each, with a deviation of 20.
    assert!(
        counts.iter().all(|it| (500..700).contains(it)),
        "{counts:?}"
    );
    assert!(shop.ask("ZRANDMEMBER k -25").starts_with("*25\r\n"));
    assert!(shop.ask("ZRANDMEMBER k 25").starts_with("*10\r\n"));
    // Which member is picked without a count is one of them.
    assert!(shop.ask("ZRANDMEMBER k").starts_with("$1\r\n"));
}

#[test]
fn what_is_too_long_to_answer_changes_nothing() {
    let mut shop = Shop::default();
    let element = "e".repeat(300_000);
    for number in 0..5 {
        shop.ask(&format!("RPUSH list {element}"));
        shop.ask(&format!("ZADD sorted 1 {number}{element}"));
    }
    let before = (shop.ask("LLEN list"), shop.ask("ZCARD sorted"));
    for line in [
        "LRANGE list 0 -1",
        "LPOP list 5",
        "LMPOP 1 list RIGHT COUNT 4",
        "ZRANGE sorted 0 -1",
        "ZPOPMAX sorted 5",
        "ZMPOP 1 sorted MIN COUNT 5",
        "ZUNION 1 sorted",
        "ZRANDMEMBER sorted -9999999999",
    ] {
        let reply = shop.ask(line);
        assert!(
            reply.starts_with("-ERR the reply would be longer"),
            "{line}"
        );
        assert!(reply.ends_with("\r\n") && reply.lines().count() == 1);
    }
    assert_eq!(before, (shop.ask("LLEN list"), shop.ask("ZCARD sorted")));
    assert_eq!(before.0, ":5\r\n");
}

#[test]
fn only_what_changes_counts_as_a_change() {
    let mut shop = filled();
    for (line, is_change) in [
        ("ZADD small -1.5 a", false),
        ("ZADD small XX 1 z", false),
        ("ZADD small GT -2 a", false),
        ("ZADD small LT -1 a", false),
        ("ZINCRBY small 0 a", false),
        ("ZREM small z", false),
        ("ZREMRANGEBYSCORE small 100 200", false),
        ("LREM list 0 z", false),
        ("LINSERT list BEFORE z y", false),
        ("ZADD small 7 a", true),
        ("LSET list 0 a", true),
        ("LREM list 0 b", true),
        ("LTRIM list 0 -1", true),
    ] {
        let key = line.split(' ').nth(1).expect("a key").to_owned();
        let before = shop.query(&format!("WATCH {key}"));
        shop.ask(line);
        let is_same = before == shop.query(&format!("WATCH {key}"));
        assert_eq!(is_same, !is_change, "{line}");
    }
}
