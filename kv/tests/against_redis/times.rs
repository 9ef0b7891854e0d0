//! Deadlines and how long there is to them: far ones that no test lives to see, near ones that are waited for, and
//! what is none.

use crate::both::Request;
use crate::chance::Chance;

/// No test lives to see a deadline that is so far away, in milliseconds.
pub(crate) const FAR_MS: u64 = 1_000_000;

/// Deadlines that are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Soon {
    /// The moment that they are counted from, in milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// How long after it they are, in milliseconds: whole seconds, if any are to be told in seconds.
    pub(crate) after_ms: u64,
}

impl Soon {
    fn seconds(self) -> Option<u64> {
        self.after_ms
            .is_multiple_of(1000)
            .then_some(self.after_ms / 1000)
    }
}

/// The deadlines that are waited for, if one of them is to be drawn.
fn soon(chance: &mut Chance) -> Option<Soon> {
    let soon = chance.soon?;
    chance.once_in(2).then_some(soon)
}

/// Seconds from now. No two far ones are the same: of the same ones, which is later would be chance.
pub(crate) fn seconds(chance: &mut Chance) -> Vec<u8> {
    if let Some(seconds) = soon(chance).and_then(Soon::seconds) {
        return seconds.to_string().into_bytes();
    }
    match chance.below(6) {
        0 => chance.word(&[
            "0",
            "-1",
            "x",
            "",
            "1.5",
            "9223372036854775807",
            "9223372036854775",
            "-9223372036854775808",
        ]),
        _ => (1_000 + 10 * chance.span()).to_string().into_bytes(),
    }
}

/// Milliseconds from now; as [`seconds`].
pub(crate) fn millis(chance: &mut Chance) -> Vec<u8> {
    if let Some(soon) = soon(chance) {
        return soon.after_ms.to_string().into_bytes();
    }
    match chance.below(6) {
        0 => chance.word(&[
            "0",
            "-1",
            "x",
            "",
            "1.5",
            "9223372036854775807",
            "9223372036854775000",
            "-9223372036854775808",
        ]),
        _ => {
            let millis = 1_000_000 + 10_000 * chance.span() + chance.below(1_000) as u64;
            millis.to_string().into_bytes()
        }
    }
}

/// A moment in seconds since 1970. A near one is before all that are counted from now by as much.
pub(crate) fn at_seconds(chance: &mut Chance) -> Vec<u8> {
    if let Some(soon) = soon(chance)
        && soon.seconds().is_some()
    {
        return ((soon.now_ms + soon.after_ms - 1) / 1000)
            .to_string()
            .into_bytes();
    }
    match chance.below(5) {
        0 => chance.word(&[
            "0",
            "-5",
            "x",
            "",
            "9223372036854775807",
            "-9223372036854775808",
        ]),
        1 => chance.word(&["1", "1600000000"]),
        _ => (2_000_000_000 + 1_000_000 * chance.below(5))
            .to_string()
            .into_bytes(),
    }
}

/// A moment in milliseconds since 1970; as [`at_seconds`].
pub(crate) fn at_millis(chance: &mut Chance) -> Vec<u8> {
    if let Some(soon) = soon(chance) {
        return (soon.now_ms + soon.after_ms - 1).to_string().into_bytes();
    }
    match chance.below(5) {
        0 => chance.word(&[
            "0",
            "-5",
            "x",
            "",
            "9223372036854775807",
            "-9223372036854775808",
        ]),
        1 => chance.word(&["1", "1600000000000"]),
        _ => {
            let millis = 2_000_000_000_000 + 1_000_000_000 * chance.below(5) + chance.below(1_000);
            millis.to_string().into_bytes()
        }
    }
}

/// Whether a request may set a deadline that passes in the midst of a test, when either server comes to it.
pub(crate) fn is_soon(request: &Request) -> bool {
    let number = |word: Option<&Vec<u8>>| {
        let word = std::str::from_utf8(word?).ok()?;
        word.parse::<u64>().ok()
    };
    let is_near = |number: Option<u64>, unit_ms: u64| {
        number.is_some_and(|number| number > 0 && number.saturating_mul(unit_ms) < FAR_MS)
    };
    match request[0].to_ascii_lowercase().as_slice() {
        b"setex" | b"expire" => is_near(number(request.get(2)), 1000),
        b"psetex" | b"pexpire" => is_near(number(request.get(2)), 1),
        b"set" | b"getex" => request.windows(2).any(|pair| {
            let unit_ms = match pair[0].to_ascii_lowercase().as_slice() {
                b"ex" => 1000,
                b"px" => 1,
                _ => return false,
            };
            is_near(number(pair.get(1)), unit_ms)
        }),
        _ => false,
    }
}
