//! Whatever is typed, it is either understood or refused in one line. Nothing is run here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::collection::vec;
use proptest::prelude::*;
use standin::cli::misuse;

/// Checks what a person is told, if it is a misuse.
fn check(arguments: &[OsString]) -> Result<(), TestCaseError> {
    let program = [OsString::from("standin")];
    let Some(line) = misuse(program.iter().chain(arguments)) else {
        return Ok(());
    };
    prop_assert_eq!(line.lines().count(), 1, "{:?}", line);
    prop_assert!(line.starts_with("standin: "), "{:?}", line);
    prop_assert!(line.contains("; see 'standin"), "{:?}", line);
    prop_assert!(line.ends_with(" --help'"), "{:?}", line);
    Ok(())
}

/// A word of the command line's own, or anything.
fn word() -> impl Strategy<Value = OsString> {
    let known = prop::sample::select(vec![
        "demo",
        "viewservice",
        "replica",
        "client",
        "status",
        "bench",
        "counter",
        "add",
        "get",
        "kv",
        "set",
        "del",
        "incr",
        "--listen",
        "--data",
        "--lease",
        "--name",
        "--viewservice",
        "--machine",
        "--durability",
        "--resp-reads",
        "--sessions-max",
        "lease",
        "--replace",
        "--timeout",
        "--json",
        "--watch",
        "--expect",
        "--plot",
        "--help",
        "--",
        "-",
        "-h",
        "-V",
        "127.0.0.1:7000",
        "h:1,h:2",
        "a",
        "backup",
        "1s",
        "250ms",
        "-3",
        "--timeout=",
        "",
    ]);
    prop_oneof![
        6 => known.prop_map(OsString::from),
        1 => "\\PC{0,20}".prop_map(OsString::from),
        1 => vec(1..=255_u8, 0..20).prop_map(OsString::from_vec),
        1 => "[\n\r\t a-z:.-]{0,20}".prop_map(OsString::from),
    ]
}

proptest! {
    #[test]
    fn any_words_are_understood_or_refused_in_one_line(words in vec(word(), 0..8)) {
        check(&words)?;
    }

    #[test]
    fn a_good_line_with_one_bad_value_is_refused_in_one_line(
        at in any::<prop::sample::Index>(),
        bad in word(),
    ) {
        let line = "replica --name a --listen 127.0.0.1:0 --viewservice h:1 --data d \
                    --machine counter --durability os";
        let mut words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let at = at.index(words.len());
        words[at] = bad;
        check(&words)?;
    }
}

#[test]
fn what_is_understood_or_asks_for_help_is_no_misuse() {
    for line in [
        "standin demo",
        "standin --help",
        "standin replica --help",
        "standin --version",
        "standin client --viewservice h:1 counter add -3",
        "standin client --viewservice h:1 kv set k -3",
        "standin status --viewservice h:1 --name a --expect backup",
    ] {
        assert_eq!(misuse(line.split(' ')), None, "{line}");
    }
    for line in [
        "standin",
        "standin nonsense",
        "standin client --viewservice h:1",
    ] {
        assert!(misuse(line.split(' ')).is_some(), "{line}");
    }
}
