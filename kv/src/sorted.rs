//! Sorted sets: as values.

use std::cmp::Ordering;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::capture::{
    invalid, read_bytes, read_count, read_u8, read_u64, write_bytes, write_count, write_u8,
    write_u64,
};
use crate::members::{Key, Members};
use crate::text::Text;
use crate::tree::{Iter, IterBack, Major, Tree};
use crate::value::Value;

/// Most members of a small one (Redis's `zset-max-listpack-entries`).
const SMALL_MEMBERS_MAX: usize = 128;
/// Longest member of a small one, in bytes (Redis's `zset-max-listpack-value`).
const SMALL_MEMBER_BYTES_MAX: usize = 64;

/// A score: any double that is a number. Both zeros are equal, but stay what they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score(f64);

impl Major for Score {}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.0.partial_cmp(&other.0);
        order.expect("a score is a number")
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

/// Members, each with a score, ordered by (score, member).
#[derive(Clone, Debug)]
pub struct Sorted(Form);

#[derive(Clone, Debug)]
enum Form {
    /// At most [`SMALL_MEMBERS_MAX`] of at most [`SMALL_MEMBER_BYTES_MAX`], in order. No score is -0, which
    /// Redis does not keep apart in here.
    Small(Vec<(Score, Text)>),
    /// A set that has been too large once stays in this form. Both hold the same members and scores.
    Large {
        ranks: Tree<Score, Text>,
        scores: Members<(Text, Score)>,
    },
}

impl Default for Sorted {
    fn default() -> Self {
        Self(Form::Small(Vec::new()))
    }
}

fn order(member: &[u8]) -> impl Fn(&Text) -> Ordering {
    move |item| item.as_bytes().cmp(member)
}

impl Sorted {
    /// One of these members, which stand in order, each once.
    #[must_use]
    pub fn of(members: Vec<(f64, Text)>) -> Self {
        let is_small = members.len() <= SMALL_MEMBERS_MAX
            && (members.iter()).all(|(_, member)| member.len() <= SMALL_MEMBER_BYTES_MAX);
        // In a large one -0 stays what it is.
        let zero = if is_small { 0.0 } else { -0.0 };
        let members = members.into_iter();
        let members = members.map(|(score, member)| (Score(score + zero), member));
        Self(match is_small {
            true => Form::Small(members.collect()),
            false => large(members.collect()).expect("members are there once"),
        })
    }

    /// Gives a member a score, a number; adds it if it is not there. Says what its score was before.
    ///
    /// A score that is equal to the one before, if only as zeros are, changes nothing.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let before = self.score(member);
        match before {
            Some(before) if before == score => return Some(before),
            Some(_) => {}
            None => self.make_room(member),
        }
        let new = Score(score);
        match &mut self.0 {
            Form::Small(members) => {
                if before.is_some() {
                    members.retain(|(_, it)| it.as_bytes() != member);
                }
                let place = members.partition_point(|(it, text)| {
                    it.cmp(&new).then_with(|| text.as_bytes().cmp(member)) == Ordering::Less
                });
                members.insert(place, (Score(score + 0.0), Text::new(member)));
            }
            Form::Large { ranks, scores } => {
                let key = Key::new(member);
                let text = match before {
                    Some(before) => {
                        let (_, old) = scores.get_mut(key).expect("it has a score");
                        *old = new;
                        ranks.remove(Score(before), order(member))
                    }
                    None => None,
                };
                let text = text.unwrap_or_else(|| {
                    let text = Text::new(member);
                    scores.insert(key, (text.clone(), new));
                    text
                });
                ranks.insert(new, text, order(member));
            }
        }
        before
    }

    /// Becomes large if one more member, this one, does not fit into a small one.
    fn make_room(&mut self, member: &[u8]) {
        if let Form::Small(members) = &mut self.0
            && (members.len() == SMALL_MEMBERS_MAX || member.len() > SMALL_MEMBER_BYTES_MAX)
        {
            let members = std::mem::take(members);
            self.0 = large(members).expect("members are there once");
        }
    }

    /// Takes a member out; whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Small(members) => {
                let place = members.iter().position(|(_, it)| it.as_bytes() == member);
                place.map(|place| members.remove(place)).is_some()
            }
            Form::Large { ranks, scores } => {
                let key = Key::new(member);
                // Looked for first: what is not there must not cost copies of nodes that are shared.
                let Some((_, score)) = scores.get(key) else {
                    return false;
                };
                ranks.remove(*score, order(member));
                scores.remove(key).is_some()
            }
        }
    }

    /// Takes the members out that have these ranks, which must exist.
    pub fn remove_range(&mut self, range: Range<usize>) {
        match &mut self.0 {
            Form::Small(members) => drop(members.drain(range)),
            Form::Large { ranks, scores } => {
                for _ in range.clone() {
                    let (_, member) = ranks.remove_at(range.start).expect("such a rank");
                    scores.remove(Key::new(member.as_bytes()));
                }
            }
        }
    }

    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Small(members) => members.len(),
            Form::Large { ranks, .. } => ranks.len(),
        }
    }

    /// Whether it has none, which no sorted set under a key is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is in the small form, in which Redis keeps whole scores as integers.
    #[must_use]
    pub fn is_small(&self) -> bool {
        matches!(self.0, Form::Small(_))
    }

    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let score = match &self.0 {
            Form::Small(members) => {
                let found = members.iter().find(|(_, it)| it.as_bytes() == member);
                found.map(|(score, _)| score)
            }
            Form::Large { scores, .. } => scores.get(Key::new(member)).map(|(_, score)| score),
        };
        score.map(|score| score.0)
    }

    /// How many members stand before this one.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.0 {
            Form::Small(members) => members.iter().position(|(_, it)| it.as_bytes() == member),
            Form::Large { ranks, scores } => {
                let (_, score) = scores.get(Key::new(member))?;
                ranks.rank(*score, order(member)).ok()
            }
        }
    }

    /// How many members stand before the first one of which `is_before` does not hold. It must hold of
    /// some at the beginning, and of no others.
    pub fn count_before(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        let is_before = |score: Score, member: &Text| is_before(score.0, member.as_bytes());
        match &self.0 {
            Form::Small(members) => members.partition_point(|(score, it)| is_before(*score, it)),
            Form::Large { ranks, .. } => ranks.partition_point(is_before),
        }
    }

    /// The same where members may have scores of all kinds, and `is_before` looks at members alone: then it is
    /// some rank between one of which it holds and one of which it does not, and always the same one. What
    /// shape a tree has depends on what led to it, so that must not decide.
    pub fn count_before_by_rank(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let (_, member) = self.nth(middle).expect("such a rank");
            match is_before(member.as_bytes()) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// Members and scores in order, from the one of this rank on.
    pub fn iter_from(&self, rank: usize) -> Walk<'_> {
        Walk(match &self.0 {
            Form::Small(members) => Way::Small(members[rank.min(members.len())..].iter()),
            Form::Large { ranks, .. } => Way::Up(ranks.iter_from(rank)),
        })
    }

    /// Members and scores in reverse order, from the one of this rank on.
    pub fn iter_back_from(&self, rank: usize) -> Walk<'_> {
        Walk(match &self.0 {
            Form::Small(members) => {
                let end = rank.saturating_add(1).min(members.len());
                Way::SmallDown(members[..end].iter().rev())
            }
            Form::Large { ranks, .. } => Way::Down(ranks.iter_back_from(rank)),
        })
    }

    /// The member of this rank, and its score.
    #[must_use]
    pub fn nth(&self, rank: usize) -> Option<(f64, &Text)> {
        let (score, member) = match &self.0 {
            Form::Small(members) => members.get(rank).map(|(score, member)| (*score, member)),
            Form::Large { ranks, .. } => ranks.nth(rank),
        }?;
        Some((score.0, member))
    }

    /// One step of a walk over all members: see [`Members::scan`]. A small one is handed out at once.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut take: impl FnMut(&'a Text, f64, bool) -> bool,
    ) -> u64 {
        match &self.0 {
            Form::Small(members) => {
                for (score, member) in members {
                    take(member, score.0, true);
                }
                0
            }
            Form::Large { scores, .. } => scores.scan(cursor, count, |(member, score), must| {
                take(member, score.0, must)
            }),
        }
    }

    /// What OBJECT ENCODING answers.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self.is_small() {
            true => "listpack",
            false => "skiplist",
        }
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        write_u8(out, if self.is_small() { SMALL } else { LARGE })?;
        write_count(out, self.len())?;
        for (score, member) in self.iter_from(0) {
            write_u64(out, score.to_bits())?;
            write_bytes(out, member.as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn read(input: &mut dyn io::Read) -> io::Result<Self> {
        let is_small = match read_u8(input)? {
            SMALL => true,
            LARGE => false,
            _ => return Err(invalid("a sorted set is of a form that does not exist")),
        };
        let count = read_count(input)?;
        if count == 0 || (is_small && count > SMALL_MEMBERS_MAX as u64) {
            return Err(invalid(
                "a sorted set has more members than it may, or none",
            ));
        }
        let mut members: Vec<(Score, Text)> = Vec::new();
        for _ in 0..count {
            let score = f64::from_bits(read_u64(input)?);
            if score.is_nan() || (is_small && score == 0.0 && score.is_sign_negative()) {
                return Err(invalid("a score is none"));
            }
            let member = (Score(score), Text::new(&read_bytes(input)?));
            if members.last().is_some_and(|last| *last >= member) {
                return Err(invalid("members of a sorted set are out of order"));
            }
            if is_small && member.1.len() > SMALL_MEMBER_BYTES_MAX {
                return Err(invalid("a member of a small sorted set is too long"));
            }
            members.push(member);
        }
        let twice = || invalid("a member of a sorted set is there twice");
        let form = large(members.clone()).ok_or_else(twice)?;
        Ok(Self(if is_small { Form::Small(members) } else { form }))
    }
}

// Part of the format of captures: append, never reuse.
const SMALL: u8 = 1;
const LARGE: u8 = 2;

/// The large form of members that stand in order; `None` if one of them is there twice.
fn large(members: Vec<(Score, Text)>) -> Option<Form> {
    let mut ranks = Tree::default();
    let mut scores = Members::default();
    for (score, member) in members {
        let entry = (member.clone(), score);
        if (scores.insert(Key::new(member.as_bytes()), entry)).is_some() {
            return None;
        }
        ranks.push(score, member);
    }
    Some(Form::Large { ranks, scores })
}

/// Scores and members, one after the other.
#[derive(Debug)]
pub struct Walk<'a>(Way<'a>);

#[derive(Debug)]
enum Way<'a> {
    Small(std::slice::Iter<'a, (Score, Text)>),
    SmallDown(std::iter::Rev<std::slice::Iter<'a, (Score, Text)>>),
    Up(Iter<'a, Score, Text>),
    Down(IterBack<'a, Score, Text>),
}

impl<'a> Iterator for Walk<'a> {
    type Item = (f64, &'a Text);

    fn next(&mut self) -> Option<Self::Item> {
        let apart = |(score, member): &'a (Score, Text)| (*score, member);
        let (score, member) = match &mut self.0 {
            Way::Small(iter) => iter.next().map(apart),
            Way::SmallDown(iter) => iter.next().map(apart),
            Way::Up(iter) => iter.next(),
            Way::Down(iter) => iter.next(),
        }?;
        Some((score.0, member))
    }
}

impl Value {
    /// The sorted set, if it is one.
    #[must_use]
    pub fn as_sorted(&self) -> Option<&Sorted> {
        match self {
            Self::Sorted(sorted) => Some(sorted),
            Self::Integer(_) | Self::Text(_) | Self::List(_) | Self::Set(_) | Self::Hash(_) => None,
        }
    }

    /// The sorted set, if it is one, to be changed.
    pub fn as_sorted_mut(&mut self) -> Option<&mut Sorted> {
        match self {
            Self::Sorted(sorted) => Some(Arc::make_mut(sorted)),
            Self::Integer(_) | Self::Text(_) | Self::List(_) | Self::Set(_) | Self::Hash(_) => None,
        }
    }
}
