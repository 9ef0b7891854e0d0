//! Requests typed as a line: words between blanks, with Redis's rules of quoting.

/// Where an argument stands: its first byte and its length.
pub(crate) type Place = (u32, u32);

/// What separates words at their front. A word ends only at the four of [`ends_word`].
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The quotes did not fit: one was left open, or its end was followed by something but a blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced;

/// Splits `line` into words, as `sdssplitargs` does. Their bytes, quotes and escapes resolved, are
/// appended to `text`, and `places` says where in it they are.
///
/// Inside `"` the escapes are `\n \r \t \b \a`, `\xHH`, and a backslash before any other byte, which
/// stands for that byte; inside `'` only `\'`. A quote may begin within a word.
pub(crate) fn split(
    line: &[u8],
    text: &mut Vec<u8>,
    places: &mut Vec<Place>,
) -> Result<(), Unbalanced> {
    let mut rest = line;
    while let Some(start) = rest.iter().position(|byte| !is_blank(*byte)) {
        let from = text.len();
        rest = word(&rest[start..], text)?;
        places.push((offset(from), offset(text.len() - from)));
    }
    Ok(())
}

/// Lines have at most 64 KiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a line is short")
}

/// Takes the word that `rest` begins with and returns what follows it.
fn word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    while let [first, after @ ..] = rest {
        match first {
            b'"' => return double_quoted(after, text),
            b'\'' => return single_quoted(after, text),
            byte if ends_word(*byte) => return Ok(after),
            byte => text.push(*byte),
        }
        rest = after;
    }
    Ok(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, after) = match rest {
            [] => return Err(Unbalanced),
            [b'"', after @ ..] => return closed(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (digit(*high) << 4 | digit(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescaped(*escaped), after),
            [byte, after @ ..] => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, after) = match rest {
            [] => return Err(Unbalanced),
            [b'\'', after @ ..] => return closed(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

/// Behind a closing quote only a blank or the end may stand.
fn closed(after: &[u8]) -> Result<&[u8], Unbalanced> {
    match after {
        [byte, ..] if !is_blank(*byte) => Err(Unbalanced),
        after => Ok(after),
    }
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        b'a'..=b'f' => hex - b'a' + 10,
        hex => hex - b'A' + 10,
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        byte => byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let (mut text, mut places) = (Vec::new(), Vec::new());
        split(line.as_bytes(), &mut text, &mut places).ok()?;
        let word = |(at, len): Place| {
            let bytes = &text[at as usize..][..len as usize];
            bytes.iter().map(|byte| char::from(*byte)).collect()
        };
        Some(places.into_iter().map(word).collect())
    }

    #[test]
    fn words_stand_between_blanks() {
        let cases: [(&str, &[&str]); 12] = [
            ("", &[]),
            (" \t\r \x0b\x0c", &[]),
            ("PING", &["PING"]),
            ("  SET  a\tb  ", &["SET", "a", "b"]),
            ("a\rb", &["a", "b"]),
            ("a\x0bb", &["a\x0bb"]),
            (r#""" ''"#, &["", ""]),
            (r#"a"b c"'d'"#, &[]),
            (r#"a"b c" d"#, &["ab c", "d"]),
            (
                r#""\x41\xfF\xg\n\r\t\b\a\q\\\"""#,
                &["A\u{ff}xg\n\r\t\x08\x07q\\\""],
            ),
            (r"'\'\n\x41'", &[r"'\n\x41"]),
            (r"\n'", &[]),
        ];
        for (line, expected) in cases {
            let got = words(line);
            let expected: Vec<String> = expected.iter().map(|word| (*word).to_owned()).collect();
            let is_refused = expected.is_empty() && !line.trim().is_empty();
            assert_eq!(got, (!is_refused).then_some(expected), "{line:?}");
        }
    }

    #[test]
    fn quotes_that_do_not_fit_are_refused() {
        for line in [
            r#"""#, "'", r#""a"#, "'a", r#""a"b"#, "'a'b", r#"a"b"c"#, r#""a\""#, r"'\'",
        ] {
            assert_eq!(words(line), None, "{line:?}");
        }
        assert_eq!(words("\"a\"\x0bb"), Some(vec!["a".into(), "b".into()]));
    }
}
