//! The machine by itself: what it answers, and what its state is made of.

mod support;

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
    let bytes = shop.capture();
    let mut again = Shop::restore(&bytes).unwrap();
    assert!(again.capture() == bytes, "it reads back as it was written");
    shop.ask("INCR counter");
    again.adopt_time(&shop);
    for length in (0..bytes.len()).step_by(997) {
        assert!(Shop::restore(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Shop::restore(&longer).is_err());
}
