//! What SCAN and its like have in common: their options, and the shape of their reply.

use std::borrow::Cow;
use std::ops::Deref;

use crate::call::{Call, Outcome, REPLY_BYTES_MAX, Refusal, until_zero};
use crate::glob;
use crate::keyspace::Keyspace;
use crate::value::Kind;

/// How many elements a step visits if it isn't told.
const COUNT_DEFAULT: usize = 10;
/// Most elements that a step visits, however many it is told to.
const VISITED_MAX: usize = 1 << 16;
/// Bytes of elements after which a step has room for no more: far from what a reply may have.
const STEP_BYTES_MAX: usize = REPLY_BYTES_MAX / 4;
/// No fewer than a reply has around each element.
const FRAME_BYTES: usize = 16;

/// The options of SCAN, HSCAN, SSCAN and ZSCAN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanOptions<'a> {
    /// Where to go on: see [`crate::members::Members::scan`].
    pub(crate) cursor: u64,
    /// How many elements to visit. At least 1, and at most [`VISITED_MAX`].
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
                options.count =
                    usize::try_from(count).map_or(VISITED_MAX, |it| it.min(VISITED_MAX));
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
    pub(crate) fn reply<K>(&self, call: &mut Call<'_, K>, next: u64, found: &Found<'_>) -> Outcome {
        call.reply.array(2);
        call.reply.bulk(next.to_string());
        call.reply.array(found.elements.len());
        for element in &found.elements {
            call.reply.bulk(element);
            call.check_reply()?;
        }
        Ok(())
    }
}

/// What a step has found.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    elements: Vec<Cow<'a, [u8]>>,
    bytes: usize,
}

impl<'a> Found<'a> {
    /// Adds what belongs together; whether there was room for it, or it must be added.
    pub(crate) fn add<const N: usize>(&mut self, elements: [Cow<'a, [u8]>; N], must: bool) -> bool {
        let lengths = elements.iter().map(|it| it.len() + FRAME_BYTES);
        let bytes = self.bytes + lengths.sum::<usize>();
        if bytes > STEP_BYTES_MAX && !must {
            return false;
        }
        self.bytes = bytes;
        self.elements.extend(elements);
        true
    }
}

/// Reads a cursor as Redis does, with C's `strtoul`: a sign may stand before the digits, a zero byte ends it, and
/// nothing at all is 0.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (is_negative, digits) = match until_zero(text) {
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
