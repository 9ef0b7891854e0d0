//! How the replies to a request are compared.

use std::ops::RangeInclusive;

/// How the replies to a request are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Byte for byte.
    Exact,
    /// As elements of which so many belong together: in any order where Redis has that of its hash tables.
    Unordered(usize),
    /// As milliseconds that tell of time: as near as the two clocks are.
    Millis,
    /// The same in seconds.
    Seconds,
    /// A walk by cursor, of elements of which so many belong together. Where the cursor stands is given.
    Walk(usize, usize),
    /// Picked at random: of the same kind, and as many.
    Picked,
    /// Of the same kind alone.
    Kind,
}

impl Rule {
    pub(crate) fn of(request: &[Vec<u8>]) -> Self {
        let name = request[0].to_ascii_lowercase();
        match name.as_slice() {
            b"smembers" | b"sinter" | b"sunion" | b"sdiff" | b"hkeys" | b"hvals" | b"keys" => {
                Self::Unordered(1)
            }
            b"hgetall" | b"config" => Self::Unordered(2),
            b"ttl" | b"expiretime" => Self::Seconds,
            b"pttl" | b"pexpiretime" => Self::Millis,
            b"scan" => Self::walk(request, 1, 1),
            b"sscan" => Self::walk(request, 2, 1),
            b"hscan" | b"zscan" => Self::walk(request, 2, 2),
            b"spop" | b"srandmember" | b"hrandfield" | b"zrandmember" | b"randomkey" => {
                Self::Picked
            }
            b"time" => Self::Kind,
            _ => Self::Exact,
        }
    }

    /// A walk from its beginning. What is no cursor is refused; any other says something to the server alone that
    /// gave it.
    fn walk(request: &[Vec<u8>], place: usize, together: usize) -> Self {
        let Some(cursor) = request.get(place) else {
            return Self::Exact;
        };
        // As C reads it: up to a zero byte, with a sign, and nothing at all is 0.
        let cursor = cursor.split(|byte| *byte == 0).next().unwrap_or_default();
        let digits = cursor.strip_prefix(b"-").or(cursor.strip_prefix(b"+"));
        let digits = digits.unwrap_or(cursor);
        match digits.iter().all(u8::is_ascii_digit) {
            true if digits.is_empty() != cursor.is_empty() => Self::Exact,
            true if digits.iter().all(|digit| *digit == b'0') => Self::Walk(place, together),
            true if digits.len() < 20 => Self::Kind,
            _ => Self::Exact,
        }
    }
}

/// The integer that a reply is.
pub(crate) fn integer(reply: &[u8]) -> Option<i64> {
    let text = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether two replies are integers that differ by no more than this, or the same.
pub(crate) fn are_near(ours: &[u8], theirs: &[u8], apart_max: i64) -> bool {
    const TIMES: RangeInclusive<i64> = 0..=i64::MAX;
    match (integer(ours), integer(theirs)) {
        (Some(ours), Some(theirs)) if TIMES.contains(&ours) && TIMES.contains(&theirs) => {
            ours.abs_diff(theirs) <= apart_max.unsigned_abs()
        }
        _ => ours == theirs,
    }
}

/// What a reply begins with: its kind and its length.
pub(crate) fn head(reply: &[u8]) -> &[u8] {
    &reply[..line_end(reply)]
}

fn line_end(reply: &[u8]) -> usize {
    let end = reply.windows(2).position(|it| it == b"\r\n");
    end.expect("a reply has a line") + 2
}

fn is_aggregate(reply: &[u8]) -> bool {
    matches!(reply[0], b'*' | b'~' | b'%') && reply[1] != b'-'
}

/// Bytes of the first whole reply.
pub(crate) fn length(reply: &[u8]) -> usize {
    let mut at = line_end(reply);
    let number = std::str::from_utf8(&reply[1..at - 2]).ok();
    let number: usize = number.and_then(|it| it.parse().ok()).unwrap_or(0);
    match reply[0] {
        b'$' | b'=' | b'!' if reply[1] != b'-' => at += number + 2,
        b'*' | b'~' => (0..number).for_each(|_| at += length(&reply[at..])),
        b'%' => (0..2 * number).for_each(|_| at += length(&reply[at..])),
        _ => {}
    }
    at
}

/// The parts of an aggregate, as they are written; of a map, keys and values. None of anything else.
pub(crate) fn parts(reply: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    if is_aggregate(reply) {
        let mut rest = &reply[line_end(reply)..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(length(rest));
            parts.push(part);
            rest = after;
        }
    }
    parts
}

/// The parts of an aggregate, and of those in it; anything else is the only part of itself.
pub(crate) fn leaves(reply: &[u8]) -> Vec<&[u8]> {
    match is_aggregate(reply) {
        true => parts(reply).into_iter().flat_map(leaves).collect(),
        false => vec![reply],
    }
}

/// What so many leaves together make, in order of their bytes.
pub(crate) fn groups(reply: &[u8], together: usize) -> Vec<Vec<u8>> {
    let leaves = leaves(reply);
    let mut groups: Vec<Vec<u8>> = leaves.chunks(together).map(|it| it.concat()).collect();
    groups.sort();
    groups
}

/// Whether two replies are the same, but for the order of their elements.
pub(crate) fn are_unordered(ours: &[u8], theirs: &[u8], together: usize) -> bool {
    ours == theirs
        || is_aggregate(ours)
            && head(ours) == head(theirs)
            && groups(ours, together) == groups(theirs, together)
}

/// The cursor of a step of a walk, and what it handed out.
pub(crate) fn walked(reply: &[u8]) -> Option<(&[u8], &[u8])> {
    match parts(reply).as_slice() {
        [cursor, found] => Some((*cursor, *found)),
        _ => None,
    }
}

/// The text of a bulk string.
pub(crate) fn bulk(reply: &[u8]) -> &[u8] {
    &reply[line_end(reply)..reply.len() - 2]
}

/// Whether two replies are whole walks that have come upon the same. Redis may hand something out twice.
pub(crate) fn are_walks(ours: &[u8], theirs: &[u8], together: usize) -> bool {
    let (Some(mine), Some(other)) = (walked(ours), walked(theirs)) else {
        return ours == theirs;
    };
    let mut once = groups(other.1, together);
    once.dedup();
    mine.0 == other.0 && groups(mine.1, together) == once
}

/// Whether two replies are of one kind and have as many elements.
pub(crate) fn are_alike(ours: &[u8], theirs: &[u8]) -> bool {
    let is_bulk = |it: &[u8]| it[0] == b'$' && it[1] != b'-';
    ours == theirs
        || is_bulk(ours) && is_bulk(theirs)
        || is_aggregate(ours) && head(ours) == head(theirs)
}
