//! Commands in words, as somebody would type them.

use std::fmt::Write as _;

use standin_core::machine::bytes_in_words;

use crate::arguments::{Arguments, Decoded, Malformed, Ranges, decode};
use crate::keyspace::DatabaseId;

/// Most arguments that are shown of a command, and most commands of a transaction.
const SHOWN_MAX: usize = 16;

/// A command, or a transaction with what it watches, on one line. Where another database than the first is meant, it
/// stands in front.
pub(crate) fn of(bytes: &[u8]) -> String {
    said(bytes).unwrap_or_else(|malformed| {
        let what = malformed.what();
        format!("no command ({what}): {}", bytes_in_words(bytes))
    })
}

fn said(bytes: &[u8]) -> Result<String, Malformed> {
    let mut ranges = Ranges::default();
    let mut text = String::new();
    match decode(bytes)? {
        Decoded::Command(head, command) => {
            put_database(&mut text, head.database);
            put_arguments(&mut text, &command.arguments(&mut ranges)?);
        }
        Decoded::Transaction(head, transaction) => {
            put_database(&mut text, head.database);
            let mut watched = 0;
            let mut queued = transaction.watches(|_, key, _| {
                watched += 1;
                if watched <= SHOWN_MAX {
                    text.push_str(if watched == 1 { "WATCH " } else { " " });
                    put_argument(&mut text, key);
                }
            })?;
            if watched > SHOWN_MAX {
                put(&mut text, format_args!(" .. ({watched} keys)"));
            }
            text.push_str(if watched > 0 { "; MULTI" } else { "MULTI" });
            let count = queued.count();
            for _ in 0..count.min(SHOWN_MAX) {
                let Some(arguments) = queued.next(&mut ranges) else {
                    break;
                };
                text.push_str("; ");
                put_arguments(&mut text, &arguments);
            }
            if count > SHOWN_MAX {
                put(&mut text, format_args!("; .. ({count} commands)"));
            }
            text.push_str("; EXEC");
        }
    }
    Ok(text)
}

fn put_database(text: &mut String, database: DatabaseId) {
    if database != DatabaseId::default() {
        put(text, format_args!("[{}] ", database.number()));
    }
}

fn put_arguments(text: &mut String, arguments: &Arguments<'_>) {
    for place in 0..arguments.len().min(SHOWN_MAX) {
        if place > 0 {
            text.push(' ');
        }
        put_argument(text, arguments.at(place));
    }
    if arguments.len() > SHOWN_MAX {
        put(text, format_args!(" .. ({} arguments)", arguments.len()));
    }
}

/// As it is if a person could type it without quotes.
fn put_argument(text: &mut String, argument: &[u8]) {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\;[]".contains(byte);
    let shown = bytes_in_words(argument);
    match !argument.is_empty() && argument.iter().all(is_plain) {
        true => text.push_str(&shown.replace('"', "")),
        false => text.push_str(&shown),
    }
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words)
        .expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use standin_resp::Version;

    use super::*;
    use crate::arguments::{Watch, begin_queued, begin_transaction, command, put_argument};
    use crate::keyspace::Sight;

    #[test]
    fn a_command_is_what_somebody_would_type() {
        let database = |number| DatabaseId::new(number).unwrap();
        let of =
            |number, arguments: &[&str]| of(&command(Version::Resp3, database(number), arguments));
        assert_eq!(of(0, &["SET", "a", "1"]), "SET a 1");
        assert_eq!(of(0, &["SET", "a b", ""]), r#"SET "a b" """#);
        assert_eq!(of(3, &["GET", "a\n\"\\"]), r#"[3] GET "a\n\"\\""#);
        let long = "x".repeat(500);
        let said = of(0, &["SET", "a", &long]);
        assert!(
            said.ends_with("x.. (500 bytes)") && said.len() < 200,
            "{said}"
        );
        let many = vec!["e"; 100];
        assert!(of(0, &many).ends_with(" e .. (100 arguments)"));
    }

    #[test]
    fn a_transaction_is_on_one_line() {
        let mut bytes = Vec::new();
        let watch = Watch {
            database: DatabaseId::default(),
            key: b"k".to_vec(),
            sight: Sight {
                is_present: true,
                index: 7,
            },
        };
        begin_transaction(&mut bytes, Version::Resp2, DatabaseId::default(), &[watch]);
        for queued in [&["INCR", "a"][..], &["SET", "b", "x y"]] {
            begin_queued(&mut bytes, queued.len());
            for argument in queued {
                put_argument(&mut bytes, argument.as_bytes());
            }
        }
        assert_eq!(of(&bytes), r#"WATCH k; MULTI; INCR a; SET b "x y"; EXEC"#);
    }

    #[test]
    fn what_is_no_command_is_said_to_be_none() {
        for bytes in [&b""[..], b"\x07x", b"\x02\x00\x05ab", b"\x12\x00\x01"] {
            assert!(of(bytes).starts_with("no command ("), "{}", of(bytes));
        }
    }
}
