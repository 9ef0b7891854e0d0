//! The search for the first entry after which two replays differ: pairs of runs, closer and closer.
//!
//! A machine that is not deterministic does another thing each time, and perhaps not each time. So nothing is concluded from
//! one run: what counts is where the two runs of a pair differ, and a pair that agrees is followed by another.

use std::collections::BTreeMap;

use standin_core::entry::Index;

use super::run::{Point, RunRequest, digits};

/// Bytes of states that one run digests, about.
const DIGESTED_BYTES_MAX: u64 = 4 << 30;
/// Points of one run, at most. Each is a line of text.
const POINTS_MAX: u64 = 1 << 16;
/// And at least, however large the state is.
const POINTS_MIN: u64 = 16;

/// How often it is looked closer, at most. Runs that differ in another place each time could go on for ever.
const ROUNDS_MAX: u32 = 40;

/// Two runs that are compared, in processes of their own.
pub trait Runs {
    /// Why there are no two runs.
    type Error;

    /// Runs both, and says what each came to.
    ///
    /// # Errors
    /// If one of them could not be made.
    fn pair(&mut self, requests: [&RunRequest; 2]) -> Result<[Vec<Point>; 2], Self::Error>;
}

/// What is searched, and where.
#[derive(Clone, Debug)]
pub struct Search {
    /// The runs' requests; `after`, `until`, `step` and `tells_parts` are the search's own.
    pub requests: [RunRequest; 2],
    /// The last entry after which both are known to be the same.
    pub after: Index,
    /// The entry at which the search ends.
    pub until: Index,
    /// How often a pair is run, at most, before it counts as always the same.
    pub attempts: u32,
    /// How large the state is, about, in bytes.
    pub state_bytes: u64,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where two runs differed.
    pub place: Place,
    /// What runs came to after the last entry of the search, each once.
    pub ends: Vec<End>,
    /// Pairs that were run.
    pub pairs: u32,
}

/// Where two runs differed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere.
    Nowhere,
    /// At this entry, and not before.
    Entry(Box<Differing>),
    /// After some entry behind the first of these, up to the second; not again when it was looked at closer.
    Between(Index, Index),
}

/// The entry, and what two runs came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// The entry.
    pub index: Index,
    /// The replies are not the same. Else the states after it are not.
    pub is_reply: bool,
    /// What each came to.
    pub points: [Point; 2],
    /// Parts of the states that differ, if the machine tells any, by name.
    pub parts: Vec<DifferingPart>,
}

/// A part of a state that is not the same in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferingPart {
    /// Its name.
    pub name: String,
    /// What it is in each; `None`: it is not there.
    pub words: [Option<String>; 2],
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The chain over all replies, in hexadecimal digits.
    pub replies: String,
    /// The state's digest, in hexadecimal digits.
    pub state: String,
}

impl Found {
    /// That of a search in which there was nothing to be run.
    pub(super) fn nowhere() -> Self {
        Self {
            place: Place::Nowhere,
            ends: Vec::new(),
            pairs: 0,
        }
    }

    /// Whether two runs differed: behind the first of these entries, up to the second. `searched` is from where to where
    /// all of them went.
    pub(super) fn unlike(&self, searched: (Index, Index)) -> Option<(Index, Index)> {
        match &self.place {
            Place::Entry(it) => Some((Index(it.index.0 - 1), it.index)),
            Place::Between(low, high) => Some((*low, *high)),
            // Each pair may have come to the same, and another one to something else.
            Place::Nowhere => (self.ends.len() > 1).then_some(searched),
        }
    }
}

impl End {
    /// Whether the chain over all replies is this.
    #[must_use]
    pub fn is_after_replies(&self, reply_digest: u128) -> bool {
        self.replies == digits(reply_digest)
    }

    /// Whether a snapshot has recorded the same.
    #[must_use]
    pub fn is(&self, reply_digest: u128, state_digest: u128) -> bool {
        self.replies == digits(reply_digest) && self.state == digits(state_digest)
    }
}

/// Where two runs differ first.
struct Step {
    /// What they came to there.
    points: [Point; 2],
    /// The last entry after which they agree.
    low: Index,
    /// The first after which they do not.
    high: Index,
}

impl Search {
    /// Searches.
    ///
    /// # Errors
    /// Those of the runs.
    pub fn go<R: Runs>(mut self, runs: &mut R) -> Result<Found, R::Error> {
        let (floor, end) = (self.after, self.until);
        let (mut ends, mut pairs, mut rounds) = (Vec::new(), 0, 0);
        loop {
            let pair = self.differing_pair(runs, (floor, end), &mut ends, &mut pairs)?;
            rounds += 1;
            let place = match pair {
                None if rounds > 1 => Place::Between(self.after, self.until),
                None => Place::Nowhere,
                Some(Step { points, low, high }) if low.next() == high => {
                    let parts = self.parts(runs, high, &mut pairs)?;
                    let is_reply = !points[0].is_same_reply(&points[1]);
                    Place::Entry(Box::new(Differing {
                        index: high,
                        is_reply,
                        points,
                        parts,
                    }))
                }
                Some(Step { low, high, .. }) if rounds == ROUNDS_MAX => Place::Between(low, high),
                Some(Step { low, high, .. }) => {
                    (self.after, self.until) = (low, high);
                    continue;
                }
            };
            return Ok(Found { place, ends, pairs });
        }
    }

    /// The first points at which two runs differ, and between which entries that came about; `None` if all pairs agree.
    fn differing_pair<R: Runs>(
        &self,
        runs: &mut R,
        (floor, end): (Index, Index),
        ends: &mut Vec<End>,
        pairs: &mut u32,
    ) -> Result<Option<Step>, R::Error> {
        for _ in 0..self.attempts {
            let requests = [self.request(0, false), self.request(1, false)];
            let pair = runs.pair([&requests[0], &requests[1]])?;
            *pairs += 1;
            for points in &pair {
                note_end(points, end, ends);
            }
            let found = first_difference(&pair, floor);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn request(&self, which: usize, tells_parts: bool) -> RunRequest {
        let entries = self.until.0 - self.after.0;
        let points = DIGESTED_BYTES_MAX / self.state_bytes.max(1);
        let points = points.clamp(POINTS_MIN, POINTS_MAX);
        RunRequest {
            after: self.after,
            until: self.until,
            step: entries.div_ceil(points).max(1),
            tells_parts,
            ..self.requests[which].clone()
        }
    }

    /// The parts of the state that differ after entry `index`.
    fn parts<R: Runs>(
        &self,
        runs: &mut R,
        index: Index,
        pairs: &mut u32,
    ) -> Result<Vec<DifferingPart>, R::Error> {
        let closer = Self {
            after: Index(index.0 - 1),
            until: index,
            ..self.clone()
        };
        for _ in 0..self.attempts {
            let requests = [closer.request(0, true), closer.request(1, true)];
            let [one, other] = runs.pair([&requests[0], &requests[1]])?;
            *pairs += 1;
            let told = |points: &[Point]| points.last().and_then(|point| point.parts.clone());
            let parts = differing_parts(
                &told(&one).unwrap_or_default(),
                &told(&other).unwrap_or_default(),
            );
            if !parts.is_empty() {
                return Ok(parts);
            }
        }
        Ok(Vec::new())
    }
}

fn note_end(points: &[Point], end: Index, ends: &mut Vec<End>) {
    let last = points.last().filter(|point| point.index == end.0);
    let Some(point) = last.filter(|point| !point.is_fault) else {
        return;
    };
    let end = End {
        replies: point.replies.clone(),
        state: point.state.clone(),
    };
    if !ends.contains(&end) {
        ends.push(end);
    }
}

/// Where two runs differ first, which were the same after the entry `floor`. A run that looks closer begins with the last
/// entry after which the ones before it agreed: these need not.
fn first_difference(pair: &[Vec<Point>; 2], floor: Index) -> Option<Step> {
    let mut low = floor;
    for (one, other) in pair[0].iter().zip(&pair[1]) {
        // The machine may have failed in one of them, before the next point.
        if one.index != other.index || !one.is_like(other) {
            return Some(Step {
                high: Index(one.index.min(other.index)),
                points: [one.clone(), other.clone()],
                low,
            });
        }
        low = Index(one.index);
    }
    None
}

/// The parts that two states have not in common.
#[must_use]
pub fn differing_parts(
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> Vec<DifferingPart> {
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    let both = names.into_iter().map(|name| DifferingPart {
        name: name.clone(),
        words: [one.get(name).cloned(), other.get(name).cloned()],
    });
    both.filter(|part| part.words[0] != part.words[1]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A machine whose state parts at one entry, and whose replies part at another, in each second run of those that are
    /// wrong.
    struct Wavering {
        state_at: u64,
        reply_at: u64,
        /// Of so many pairs one differs.
        one_in: u32,
        pairs: u32,
        points: Vec<usize>,
    }

    impl Wavering {
        fn run(&self, request: &RunRequest, is_wrong: bool) -> Vec<Point> {
            let first = request.after.0.max(request.from.0 + 1);
            let points = (first..=request.until.0).filter(|index| {
                (index - request.after.0).is_multiple_of(request.step) || *index == request.until.0
            });
            let word = |parted: bool| if parted { "wrong" } else { "right" }.to_owned();
            let points = points.map(|index| {
                let state = word(is_wrong && index >= self.state_at);
                Point {
                    index,
                    replies: word(is_wrong && index >= self.reply_at),
                    reply: word(is_wrong && index == self.reply_at),
                    is_fault: false,
                    parts: (request.tells_parts && index == request.until.0).then(|| {
                        [
                            ("same".to_owned(), "1".to_owned()),
                            ("it".to_owned(), state.clone()),
                        ]
                        .into()
                    }),
                    state,
                }
            });
            points.collect()
        }
    }

    impl Runs for Wavering {
        type Error = ();

        fn pair(&mut self, requests: [&RunRequest; 2]) -> Result<[Vec<Point>; 2], ()> {
            self.pairs += 1;
            let is_wrong = self.pairs.is_multiple_of(self.one_in);
            let pair = [
                self.run(requests[0], false),
                self.run(requests[1], is_wrong),
            ];
            self.points.push(pair[0].len());
            Ok(pair)
        }
    }

    /// A search among a hundred thousand entries.
    fn search<R: Runs<Error = ()>>(runs: &mut R, attempts: u32, state_bytes: u64) -> Found {
        let request = RunRequest {
            dir: PathBuf::new(),
            from: Index(100),
            after: Index::ZERO,
            until: Index::ZERO,
            step: 1,
            skips: Vec::new(),
            tells_parts: false,
        };
        let search = Search {
            requests: [request.clone(), request],
            after: Index(100),
            until: Index(100_100),
            attempts,
            state_bytes,
        };
        search.go(runs).expect("it always runs")
    }

    fn wavering(state_at: u64, reply_at: u64, one_in: u32) -> Wavering {
        Wavering {
            state_at,
            reply_at,
            one_in,
            pairs: 0,
            points: Vec::new(),
        }
    }

    #[test]
    fn the_first_entry_that_differs_is_found_however_large_the_state_is() {
        for state_bytes in [10, 1 << 20, 1 << 40] {
            for at in [101, 102, 50_000, 65_536, 99_999, 100_100] {
                for (state_at, reply_at) in [(at, u64::MAX), (u64::MAX, at), (at, at), (at, at + 1)]
                {
                    let mut machine = wavering(state_at, reply_at, 1);
                    let found = search(&mut machine, 1, state_bytes);
                    let Place::Entry(differing) = found.place else {
                        panic!("{at}, {state_bytes}: {found:?}");
                    };
                    assert_eq!(differing.index, Index(at), "{state_bytes}");
                    assert_eq!(differing.is_reply, reply_at == at);
                    let parts: Vec<&str> =
                        differing.parts.iter().map(|it| it.name.as_str()).collect();
                    let expected: &[&str] = if state_at == at { &["it"] } else { &[] };
                    assert_eq!(parts, expected);
                    let most = match state_bytes {
                        10 => 1 << 16,
                        0x10_0000 => 1 << 12,
                        _ => 16,
                    };
                    // And one where they begin.
                    assert!(machine.points.iter().all(|it| *it <= most + 1));
                }
            }
        }
    }

    #[test]
    fn runs_that_differ_earlier_than_those_before_them_are_followed_there() {
        struct Earlier(Wavering);
        impl Runs for Earlier {
            type Error = ();
            fn pair(&mut self, requests: [&RunRequest; 2]) -> Result<[Vec<Point>; 2], ()> {
                // From the second pair on.
                self.0.state_at = if self.0.pairs == 0 { 50_000 } else { 300 };
                self.0.pair(requests)
            }
        }
        let mut machine = Earlier(wavering(0, u64::MAX, 1));
        let found = search(&mut machine, 1, 1 << 40);
        assert!(matches!(found.place, Place::Entry(it) if it.index == Index(300)));
    }

    #[test]
    fn what_differs_seldom_is_tried_often_enough_or_not_found() {
        let found = search(&mut wavering(700, u64::MAX, 3), 3, 10);
        assert!(matches!(found.place, Place::Entry(it) if it.index == Index(700)));
        let found = search(&mut wavering(700, u64::MAX, 5), 3, 10);
        assert_eq!(found.unlike((Index(100), Index(100_100))), None);
        assert_eq!(found.ends.len(), 1);
        assert_eq!((found.place, found.pairs), (Place::Nowhere, 3));
        // The first pair, and none of those that look closer.
        let mut machine = wavering(700, u64::MAX, 6);
        machine.pairs = 5;
        let found = search(&mut machine, 3, 1 << 40);
        assert_eq!(found.ends.len(), 2);
        let unlike = found.unlike((Index(100), Index(100_100)));
        let Place::Between(low, high) = found.place else {
            panic!("{found:?}");
        };
        assert_eq!(unlike, Some((low, high)));
        assert!(low < Index(700) && Index(700) <= high, "{low} to {high}");
        assert!(high.0 - low.0 < 10_000);
    }

    /// What each process draws once, and then uses for all: the two of a pair may have drawn the same.
    #[test]
    fn pairs_that_come_to_the_same_and_to_something_else_than_each_other_are_unlike() {
        struct ByPairs(Wavering);
        impl Runs for ByPairs {
            type Error = ();
            fn pair(&mut self, requests: [&RunRequest; 2]) -> Result<[Vec<Point>; 2], ()> {
                self.0.pairs += 1;
                let is_wrong = self.0.pairs == 2;
                Ok(requests.map(|request| self.0.run(request, is_wrong)))
            }
        }
        let mut machine = ByPairs(wavering(700, u64::MAX, 1));
        let found = search(&mut machine, 2, 10);
        assert_eq!(found.place, Place::Nowhere);
        let searched = (Index(100), Index(100_100));
        assert_eq!(found.unlike(searched), Some(searched));
    }
}
