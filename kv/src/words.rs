//! Commands in words, as somebody would type them, and replies for people.

use std::fmt::Write as _;

use standin_core::machine::bytes_in_words;
use standin_resp::Version;
use standin_resp::reply::Reply;
use standin_resp::request::{Limits, Request, RequestParser};

use crate::arguments::{Arguments, Decoded, Malformed, Ranges, command, decode};
use crate::keyspace::DatabaseId;
use crate::table::{Handler, find};

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

/// A command that only reads, in database 0, as somebody would type it to `redis-cli`, quotes included.
pub(crate) fn query(line: &str) -> Result<Vec<u8>, String> {
    let line = format!("{}\n", line.replace('\n', " "));
    let mut parser = RequestParser::new();
    let request = parser.parse(line.as_bytes(), &Limits::default());
    let request = request.map_err(|error| error.to_string())?;
    let arguments: Vec<&[u8]> = request.iter().flat_map(Request::iter).collect();
    let name = arguments.first().copied().unwrap_or_default();
    let spec = find(&name.to_ascii_lowercase());
    match spec.map(|spec| &spec.handler) {
        Some(Handler::Read(_)) => Ok(command(
            Version::default(),
            DatabaseId::default(),
            &arguments,
        )),
        Some(_) => Err(format!(
            "{} is no command that only reads",
            bytes_in_words(name)
        )),
        None => Err(format!("it knows no command {}", bytes_in_words(name))),
    }
}

/// What a client would be shown.
pub(crate) fn of_reply(reply: &[u8]) -> String {
    match Reply::parse(reply) {
        Ok(Some((parsed, length))) if length == reply.len() => {
            let mut text = String::new();
            put_reply(&mut text, &parsed);
            text
        }
        _ => bytes_in_words(reply),
    }
}

fn put_reply(text: &mut String, reply: &Reply) {
    match reply {
        Reply::Bulk(bytes) => text.push_str(&bytes_in_words(bytes)),
        Reply::Integer(number) => put(text, format_args!("{number}")),
        Reply::Double(number) => put(text, format_args!("{number}")),
        Reply::Boolean(value) => put(text, format_args!("{value}")),
        Reply::NullBulk | Reply::NullArray | Reply::Null => text.push_str("(nil)"),
        Reply::Simple(bytes) | Reply::Error(bytes) | Reply::BigNumber(bytes) => {
            text.push_str(&bytes.escape_ascii().to_string());
        }
        Reply::Verbatim { text: bytes, .. } => text.push_str(&bytes_in_words(bytes)),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            put_items(text, items.iter(), items.len());
        }
        Reply::Map(pairs) => {
            let items = pairs.iter().flat_map(|(key, value)| [key, value]);
            put_items(text, items, pairs.len() * 2);
        }
    }
}

fn put_items<'a>(text: &mut String, items: impl Iterator<Item = &'a Reply>, count: usize) {
    text.push('[');
    for (place, item) in items.take(SHOWN_MAX).enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        put_reply(text, item);
    }
    if count > SHOWN_MAX {
        put(text, format_args!(", .. ({count} of them)"));
    }
    text.push(']');
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
    fn queries_are_what_only_reads_and_replies_are_shown() {
        assert_eq!(
            query(" get  a ").map(|bytes| of(&bytes)).as_deref(),
            Ok("get a")
        );
        let quoted = query(r#"get "a b""#).map(|bytes| of(&bytes));
        assert_eq!(quoted.as_deref(), Ok(r#"get "a b""#));
        for (words, why) in [
            ("SET a 1", r#""SET" is no command that only reads"#),
            ("nosuch", r#"no command "nosuch""#),
            ("", r#"no command """#),
            (r#"get "a"#, "unbalanced quotes"),
            ("*1", "no command"),
        ] {
            let refused = query(words).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        for (reply, shown) in [
            ("$3\r\na\nb\r\n", r#""a\nb""#),
            ("$-1\r\n", "(nil)"),
            (":7\r\n", "7"),
            ("-WRONGTYPE no\r\n", "WRONGTYPE no"),
            ("*2\r\n$1\r\na\r\n*1\r\n:1\r\n", r#"["a", [1]]"#),
            ("x", r#""x""#),
        ] {
            assert_eq!(of_reply(reply.as_bytes()), shown);
        }
        let many = format!("*20\r\n{}", ":1\r\n".repeat(20));
        assert!(of_reply(many.as_bytes()).ends_with(", 1, .. (20 of them)]"));
    }

    #[test]
    fn what_is_no_command_is_said_to_be_none() {
        for bytes in [&b""[..], b"\x07x", b"\x02\x00\x05ab", b"\x12\x00\x01"] {
            assert!(of(bytes).starts_with("no command ("), "{}", of(bytes));
        }
    }
}
