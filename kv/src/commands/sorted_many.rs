//! Commands of sorted sets that make one of many: what is in any, in all, or in the first alone. Sets count as
//! sorted ones whose scores are all 1.

use std::collections::BTreeMap;
use std::ops::Deref;

use crate::call::{Call, Outcome, Read, Refusal, Write};
use crate::commands::bounds::at_least;
use crate::commands::sorted::{Shape, store, write_members};
use crate::double;
use crate::keyspace::Keyspace;
use crate::set::Set;
use crate::sorted::Sorted;
use crate::text::Text;
use crate::value::Value;

/// Which members are in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What is done with the result, which decides what options there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Reply,
    Store,
    Count,
}

/// What becomes of the scores of one member.
#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, score: f64, other: f64) -> f64 {
        match self {
            // Both infinities together are nothing.
            Self::Sum if (score + other).is_nan() => 0.0,
            Self::Sum => score + other,
            Self::Min if other < score => other,
            Self::Max if other > score => other,
            Self::Min | Self::Max => score,
        }
    }
}

/// One of many.
#[derive(Clone, Copy, Debug)]
struct Source<'k> {
    members: Members<'k>,
    weight: f64,
}

#[derive(Clone, Copy, Debug)]
enum Members<'k> {
    Absent,
    Set(&'k Set),
    Sorted(&'k Sorted),
}

impl<'k> Members<'k> {
    fn of(value: Option<&'k Value>) -> Outcome<Self> {
        match value {
            None => Ok(Self::Absent),
            Some(Value::Set(set)) => Ok(Self::Set(set)),
            Some(Value::Sorted(sorted)) => Ok(Self::Sorted(sorted)),
            Some(Value::Integer(_) | Value::Text(_) | Value::List(_) | Value::Hash(_)) => {
                Err(Refusal::WRONG_TYPE)
            }
        }
    }
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self.members {
            Members::Absent => 0,
            Members::Set(set) => set.len(),
            Members::Sorted(sorted) => sorted.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self.members {
            Members::Absent => None,
            Members::Set(set) => set.contains(member).then_some(1.0),
            Members::Sorted(sorted) => sorted.score(member),
        }
    }

    /// All members with their scores, as long as `each` says so.
    fn each(&self, mut each: impl FnMut(Text, f64) -> bool) {
        match self.members {
            Members::Absent => {}
            Members::Set(set) => {
                set.iter().all(|it| each(Text::new(it.as_bytes()), 1.0));
            }
            Members::Sorted(sorted) => {
                let mut members = sorted.iter_from(0);
                members.all(|(score, member)| each(member.clone(), score));
            }
        }
    }

    /// A score times the weight, where an infinity times nothing is nothing.
    fn weighted(&self, score: f64) -> f64 {
        let score = self.weight * score;
        if score.is_nan() { 0.0 } else { score }
    }
}

/// What is asked for.
struct Wanted<'k> {
    sources: Vec<Source<'k>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members after which nothing more is counted; 0 for all.
    limit: usize,
}

impl<'k> Wanted<'k> {
    /// Reads keys, whose number stands at `place`, and the options after them.
    fn parse<K>(
        call: &'k Call<'_, K>,
        place: usize,
        operation: Operation,
        purpose: Use,
    ) -> Outcome<Self>
    where
        K: Deref<Target = Keyspace>,
    {
        let number = call.integer(place)?;
        if number < 1 {
            let name = call.name();
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(Refusal::quoting(text.into()));
        }
        let first = place + 1;
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if number > call.args.len() - first {
            return Err(Refusal::SYNTAX);
        }
        let source = |at| -> Outcome<Source<'k>> {
            let record = call.get(call.args.key(at));
            Ok(Source {
                members: Members::of(record.map(|record| &record.value))?,
                weight: 1.0,
            })
        };
        let sources: Outcome<Vec<Source<'k>>> = (first..first + number).map(source).collect();
        let mut wanted = Self {
            sources: sources?,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let mut at = first + number;
        while at < call.args.len() {
            at = wanted.option(call, at, operation, purpose)?;
        }
        Ok(wanted)
    }

    /// Reads the option at `at`; says where the next one is.
    fn option<K>(
        &mut self,
        call: &Call<'_, K>,
        at: usize,
        operation: Operation,
        purpose: Use,
    ) -> Outcome<usize> {
        let rest = call.args.len() - at;
        let has_weights = operation != Operation::Diff && purpose != Use::Count;
        if has_weights && rest > self.sources.len() && call.is_word(at, "weights") {
            for (source, text) in self.sources.iter_mut().zip(call.args.from(at + 1)) {
                let weight = double::parse(text);
                source.weight = weight.ok_or(Refusal::of("ERR weight value is not a float"))?;
            }
            return Ok(at + 1 + self.sources.len());
        }
        if has_weights && rest >= 2 && call.is_word(at, "aggregate") {
            let aggregates = [
                ("sum", Aggregate::Sum),
                ("min", Aggregate::Min),
                ("max", Aggregate::Max),
            ];
            let named = aggregates
                .iter()
                .find(|(word, _)| call.is_word(at + 1, word));
            self.aggregate = named.ok_or(Refusal::SYNTAX)?.1;
            return Ok(at + 2);
        }
        if purpose == Use::Reply && call.is_word(at, "withscores") {
            self.with_scores = true;
            return Ok(at + 1);
        }
        if purpose == Use::Count && rest >= 2 && call.is_word(at, "limit") {
            self.limit = at_least(call, at + 1, 0, "ERR LIMIT can't be negative")?;
            return Ok(at + 2);
        }
        Err(Refusal::SYNTAX)
    }

    /// What comes of it, in order.
    fn result(mut self, operation: Operation) -> Vec<(f64, Text)> {
        if operation != Operation::Diff {
            // As Redis has it: in which order scores are added up can be seen in the last digits.
            self.sources.sort_by_key(Source::len);
        }
        let mut result = match operation {
            Operation::Union => self.union(),
            Operation::Inter => self.inter(),
            Operation::Diff => self.diff(),
        };
        result.sort_by(|(a, a_member), (b, b_member)| {
            let order = a.partial_cmp(b).expect("a score is a number");
            order.then_with(|| a_member.cmp(b_member))
        });
        result
    }

    fn union(&self) -> Vec<(f64, Text)> {
        let mut scores: BTreeMap<Text, f64> = BTreeMap::new();
        for source in &self.sources {
            source.each(|member, score| {
                let score = source.weighted(score);
                let aggregate = self.aggregate;
                (scores.entry(member))
                    .and_modify(|it| *it = aggregate.of(*it, score))
                    .or_insert(score);
                true
            });
        }
        scores
            .into_iter()
            .map(|(member, score)| (score, member))
            .collect()
    }

    fn inter(&self) -> Vec<(f64, Text)> {
        let mut result = Vec::new();
        let (first, others) = self.sources.split_first().expect("at least one key");
        first.each(|member, score| {
            let score = first.weighted(score);
            let score = others.iter().try_fold(score, |score, other| {
                let value = other.score(member.as_bytes())? * other.weight;
                Some(self.aggregate.of(score, value))
            });
            result.extend(score.map(|score| (score, member)));
            self.limit == 0 || result.len() < self.limit
        });
        result
    }

    fn diff(&self) -> Vec<(f64, Text)> {
        let mut result = Vec::new();
        let (first, others) = self.sources.split_first().expect("at least one key");
        first.each(|member, score| {
            let mut others = others.iter();
            if !others.any(|other| other.score(member.as_bytes()).is_some()) {
                result.push((score, member));
            }
            true
        });
        result
    }
}

fn reply(call: &mut Read<'_>, operation: Operation) -> Outcome {
    let wanted = Wanted::parse(call, 1, operation, Use::Reply)?;
    let shape = Shape::of(call.reply.version(), wanted.with_scores);
    let result = wanted.result(operation);
    let members = result.iter().map(|(score, member)| (*score, member));
    write_members(&mut call.reply, call.reply_at, shape, result.len(), members)
}

fn store_result(call: &mut Write<'_>, operation: Operation) -> Outcome {
    for place in 3..call.args.len() {
        // Perhaps it is no key, but an option: then at most something is removed that is gone anyway.
        call.keys
            .remove_if_gone(call.database, call.args.key(place));
    }
    let wanted = Wanted::parse(call, 2, operation, Use::Store)?;
    let sorted = Sorted::of(wanted.result(operation));
    store(call, call.args.key(1), sorted);
    Ok(())
}

pub(super) fn zunion(call: &mut Read<'_>) -> Outcome {
    reply(call, Operation::Union)
}

pub(super) fn zinter(call: &mut Read<'_>) -> Outcome {
    reply(call, Operation::Inter)
}

pub(super) fn zdiff(call: &mut Read<'_>) -> Outcome {
    reply(call, Operation::Diff)
}

pub(super) fn zintercard(call: &mut Read<'_>) -> Outcome {
    let wanted = Wanted::parse(call, 1, Operation::Inter, Use::Count)?;
    let count = wanted.result(Operation::Inter).len();
    call.reply.count(count);
    Ok(())
}

pub(super) fn zunionstore(call: &mut Write<'_>) -> Outcome {
    store_result(call, Operation::Union)
}

pub(super) fn zinterstore(call: &mut Write<'_>) -> Outcome {
    store_result(call, Operation::Inter)
}

pub(super) fn zdiffstore(call: &mut Write<'_>) -> Outcome {
    store_result(call, Operation::Diff)
}
