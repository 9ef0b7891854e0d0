//! What SCAN and its like have in common: their options, and the shape of their reply.

use std::ops::Deref;

use crate::call::{Call, Outcome, Refusal};
use crate::glob;
use crate::keyspace::Keyspace;
use crate::value::Kind;

/// How many elements a step visits if it isn't told.
const COUNT_DEFAULT: usize = 10;

/// The options of SCAN, HSCAN, SSCAN and ZSCAN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanOptions<'a> {
    /// Where to go on: see [`crate::members::Members::scan`].
    pub(crate) cursor: u64,
    /// How many elements to visit. At least 1.
    pub(crate) count: usize,
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads the cursor at `place` and the options after it. Only where the cursor comes first, in SCAN
    /// itself, there is an option TYPE.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse<K>(call: &Call<'a, K>, place: usize) -> Outcome<Self>
    where
        K: Deref<Target = Keyspace>,
    {
        Self::at(call, place)?.and_options(call, place + 1)
    }

    /// Reads the options from `first` on, after the cursor.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn and_options<K>(self, call: &Call<'a, K>, first: usize) -> Outcome<Self>
    where
        K: Deref<Target = Keyspace>,
    {
        let mut options = self;
        let mut at = first;
        while at < call.args.len() {
            let Some(value) = call.args.get(at + 1) else {
                return Err(Refusal::SYNTAX);
            };
            if call.is_word(at, "count") {
                let count = call.integer(at + 1)?;
                if count < 1 {
                    return Err(Refusal::SYNTAX);
                }
                options.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if call.is_word(at, "match") {
                options.pattern = (value != b"*").then_some(value);
            } else if first == 2 && call.is_word(at, "type") {
                options.kind = Some(value);
            } else {
                return Err(Refusal::SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }

    /// Reads the cursor alone: HSCAN and its like look for their key before they look at options.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn at<K>(call: &Call<'a, K>, place: usize) -> Outcome<Self> {
        let cursor = parse_cursor(call.args.at(place));
        Ok(Self {
            cursor: cursor.ok_or(Refusal::of("ERR invalid cursor"))?,
            count: COUNT_DEFAULT,
            pattern: None,
            kind: None,
        })
    }

    /// Whether the pattern lets this element through.
    #[must_use]
    pub(crate) fn matches(&self, element: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::is_match(pattern, element))
    }

    /// Whether the option TYPE lets this type through.
    #[must_use]
    pub(crate) fn is_of_type(&self, kind: Kind) -> bool {
        self.kind
            .is_none_or(|it| it.eq_ignore_ascii_case(kind.name().as_bytes()))
    }

    /// Writes the reply: where to go on, and what was found.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn reply<'e, K>(
        &self,
        call: &mut Call<'_, K>,
        next: u64,
        found: impl ExactSizeIterator<Item = &'e [u8]>,
    ) -> Outcome {
        call.reply.array(2);
        call.reply.bulk(next.to_string());
        call.reply.array(found.len());
        for element in found {
            call.reply.bulk(element);
            call.check_reply()?;
        }
        Ok(())
    }
}

/// Reads a cursor as Redis does, with C's `strtoul`: a sign may stand before the digits, and nothing at all is 0.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (is_negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = is_number.then(|| std::str::from_utf8(digits).ok())??;
    let cursor: u64 = digits.parse().ok()?;
    Some(if is_negative {
        cursor.wrapping_neg()
    } else {
        cursor
    })
}
