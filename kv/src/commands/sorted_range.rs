//! Commands of sorted sets that are about a range: of ranks, of scores, or of members.

use std::ops::{Deref, Range};

use crate::call::{Call, Outcome, Read, Refusal, Write};
use crate::commands::bounds::places;
use crate::commands::sorted::{
    Shape, remove_ranks, sorted_of, sorted_to_change, store, write_members,
};
use crate::double;
use crate::keyspace::Keyspace;
use crate::sorted::Sorted;

/// What a range is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug)]
struct ScoreLimit {
    score: f64,
    /// Whether the score itself is out of the range.
    is_open: bool,
}

impl ScoreLimit {
    fn parse(text: &[u8]) -> Outcome<Self> {
        let (is_open, text) = match text {
            [b'(', text @ ..] => (true, text),
            text => (false, text),
        };
        let score = double::parse_limit(text);
        Ok(Self {
            score: score.ok_or(Refusal::of("ERR min or max is not a float"))?,
            is_open,
        })
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug)]
enum MemberLimit<'a> {
    /// Before all of them.
    Least,
    /// After all of them.
    Greatest,
    /// Up to this one, and it too.
    With(&'a [u8]),
    /// Up to this one, but without it.
    Without(&'a [u8]),
}

impl<'a> MemberLimit<'a> {
    fn parse(text: &'a [u8]) -> Outcome<Self> {
        match text {
            // Redis's strings end at a zero byte, as far as this is concerned.
            [b'-'] | [b'-', 0, ..] => Ok(Self::Least),
            [b'+'] | [b'+', 0, ..] => Ok(Self::Greatest),
            [b'[', member @ ..] => Ok(Self::With(member)),
            [b'(', member @ ..] => Ok(Self::Without(member)),
            _ => Err(Refusal::of("ERR min or max not valid string range item")),
        }
    }

    /// Whether a member comes after this end, seen as the lower one.
    fn is_below(self, member: &[u8]) -> bool {
        match self {
            Self::Least => true,
            Self::Greatest => false,
            Self::With(limit) => limit <= member,
            Self::Without(limit) => limit < member,
        }
    }

    /// Whether a member comes before this end, seen as the upper one.
    fn is_above(self, member: &[u8]) -> bool {
        match self {
            Self::Least => false,
            Self::Greatest => true,
            Self::With(limit) => member <= limit,
            Self::Without(limit) => member < limit,
        }
    }
}

/// A range.
#[derive(Clone, Copy, Debug)]
enum Bounds<'a> {
    /// Counted from the end if negative; both included.
    Ranks(i64, i64),
    Scores(ScoreLimit, ScoreLimit),
    Members(MemberLimit<'a>, MemberLimit<'a>),
}

impl<'a> Bounds<'a> {
    /// Reads the two arguments from `place` on, the lower end first, unless it is `is_swapped`.
    fn parse<K>(call: &Call<'a, K>, place: usize, by: By, is_swapped: bool) -> Outcome<Self> {
        let (low, high) = match is_swapped {
            true => (place + 1, place),
            false => (place, place + 1),
        };
        let (low_text, high_text) = (call.args.at(low), call.args.at(high));
        Ok(match by {
            By::Rank => Self::Ranks(call.integer(low)?, call.integer(high)?),
            By::Score => Self::Scores(ScoreLimit::parse(low_text)?, ScoreLimit::parse(high_text)?),
            By::Member => Self::Members(
                MemberLimit::parse(low_text)?,
                MemberLimit::parse(high_text)?,
            ),
        })
    }

    /// The ranks of what is in the range; ranks are counted from the last one if `is_reverse`.
    fn ranks(self, sorted: &Sorted, is_reverse: bool) -> Range<usize> {
        let range = match self {
            Self::Ranks(start, end) => {
                let range = places(start, end, sorted.len());
                match is_reverse {
                    true => sorted.len() - range.end..sorted.len() - range.start,
                    false => range,
                }
            }
            Self::Scores(min, max) => {
                let before = |score: f64, _: &[u8]| match min.is_open {
                    true => score <= min.score,
                    false => score < min.score,
                };
                let until = |score: f64, _: &[u8]| match max.is_open {
                    true => score < max.score,
                    false => score <= max.score,
                };
                sorted.count_before(before)..sorted.count_before(until)
            }
            Self::Members(min, max) => {
                let start = sorted.count_before_by_rank(|member| !min.is_below(member));
                start..sorted.count_before_by_rank(|member| max.is_above(member))
            }
        };
        // One whose ends are the wrong way round is empty.
        if range.start < range.end { range } else { 0..0 }
    }
}

/// What ZRANGE and its like ask for.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    bounds: Bounds<'a>,
    is_reverse: bool,
    with_scores: bool,
    offset: i64,
    limit: i64,
}

impl<'a> Wanted<'a> {
    /// Reads the two ends from `place` on, and the options after them. What `by` and `is_reverse` leave open,
    /// options decide.
    fn parse<K>(
        call: &Call<'a, K>,
        place: usize,
        mut by: Option<By>,
        mut is_reverse: Option<bool>,
        stores: bool,
    ) -> Outcome<Self> {
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut at = place + 2;
        while at < call.args.len() {
            if !stores && call.is_word(at, "withscores") {
                with_scores = true;
            } else if call.is_word(at, "limit") && at + 2 < call.args.len() {
                (offset, limit) = (call.integer(at + 1)?, call.integer(at + 2)?);
                at += 2;
            } else if is_reverse.is_none() && call.is_word(at, "rev") {
                is_reverse = Some(true);
            } else if by.is_none() && call.is_word(at, "bylex") {
                by = Some(By::Member);
            } else if by.is_none() && call.is_word(at, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(Refusal::SYNTAX);
            }
            at += 1;
        }
        let (by, is_reverse) = (by.unwrap_or(By::Rank), is_reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(Refusal::of(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Member {
            return Err(Refusal::of(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let is_swapped = is_reverse && by != By::Rank;
        Ok(Self {
            bounds: Bounds::parse(call, place, by, is_swapped)?,
            is_reverse,
            with_scores,
            offset: if by == By::Rank { 0 } else { offset },
            limit,
        })
    }

    /// The ranks of what is asked for.
    fn ranks(&self, sorted: &Sorted) -> Range<usize> {
        let range = self.bounds.ranks(sorted, self.is_reverse);
        // A negative offset leaves nothing, a negative limit everything.
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let skipped = skipped.min(range.len());
        let count = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let count = count.min(range.len() - skipped);
        match self.is_reverse {
            true => range.end - skipped - count..range.end - skipped,
            false => range.start + skipped..range.start + skipped + count,
        }
    }
}

fn reply_range<K>(call: &mut Call<'_, K>, by: Option<By>, is_reverse: Option<bool>) -> Outcome
where
    K: Deref<Target = Keyspace>,
{
    let wanted = Wanted::parse(call, 2, by, is_reverse, false)?;
    let Some(sorted) = sorted_of(call.keys.get(call.database, call.args.key(1)))? else {
        call.reply.array(0);
        return Ok(());
    };
    let ranks = wanted.ranks(sorted);
    let members = match wanted.is_reverse {
        true => sorted.iter_back_from(ranks.end.saturating_sub(1)),
        false => sorted.iter_from(ranks.start),
    };
    let shape = Shape::of(call.reply.version(), wanted.with_scores);
    write_members(&mut call.reply, call.reply_at, shape, ranks.len(), members)
}

pub(super) fn zrange(call: &mut Read<'_>) -> Outcome {
    reply_range(call, None, None)
}

pub(super) fn zrevrange(call: &mut Read<'_>) -> Outcome {
    reply_range(call, Some(By::Rank), Some(true))
}

pub(super) fn zrangebyscore(call: &mut Read<'_>) -> Outcome {
    reply_range(call, Some(By::Score), Some(false))
}

pub(super) fn zrevrangebyscore(call: &mut Read<'_>) -> Outcome {
    reply_range(call, Some(By::Score), Some(true))
}

pub(super) fn zrangebylex(call: &mut Read<'_>) -> Outcome {
    reply_range(call, Some(By::Member), Some(false))
}

pub(super) fn zrevrangebylex(call: &mut Read<'_>) -> Outcome {
    reply_range(call, Some(By::Member), Some(true))
}

pub(super) fn zrangestore(call: &mut Write<'_>) -> Outcome {
    let wanted = Wanted::parse(call, 3, None, None, true)?;
    let (to, from) = (call.args.key(1), call.args.key(2));
    let mut result = Sorted::default();
    if let Some(sorted) = sorted_to_change(call, from)? {
        let ranks = wanted.ranks(sorted);
        for (score, member) in sorted.iter_from(ranks.start).take(ranks.len()) {
            result.set(member.as_bytes(), score);
        }
    }
    store(call, to, result);
    Ok(())
}

fn count(call: &mut Read<'_>, by: By) -> Outcome {
    let bounds = Bounds::parse(call, 2, by, false)?;
    let sorted = sorted_of(call.keys.get(call.database, call.args.key(1)))?;
    let count = sorted.map_or(0, |sorted| bounds.ranks(sorted, false).len());
    call.reply.count(count);
    Ok(())
}

pub(super) fn zcount(call: &mut Read<'_>) -> Outcome {
    count(call, By::Score)
}

pub(super) fn zlexcount(call: &mut Read<'_>) -> Outcome {
    count(call, By::Member)
}

fn remove_range(call: &mut Write<'_>, by: By) -> Outcome {
    let bounds = Bounds::parse(call, 2, by, false)?;
    let key = call.args.key(1);
    let sorted = sorted_to_change(call, key)?;
    let ranks = sorted.map_or(0..0, |sorted| bounds.ranks(sorted, false));
    call.reply.count(ranks.len());
    if !ranks.is_empty() {
        remove_ranks(call, key, ranks);
    }
    Ok(())
}

pub(super) fn zremrangebyrank(call: &mut Write<'_>) -> Outcome {
    remove_range(call, By::Rank)
}

pub(super) fn zremrangebyscore(call: &mut Write<'_>) -> Outcome {
    remove_range(call, By::Score)
}

pub(super) fn zremrangebylex(call: &mut Write<'_>) -> Outcome {
    remove_range(call, By::Member)
}
