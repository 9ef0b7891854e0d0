//! What is drawn, out of what was measured.

use standin_core::time::{Duration, Instant};

use super::super::report::{Shape, median, middle};
use crate::load::LoadResult;

/// Where a curve of latencies has its points: one of so many requests takes longer. 2 is the median, 100 is 99 %.
pub(super) const TAILS: [u32; 12] = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
/// The time over which answers are counted together.
pub(super) const BIN: Duration = Duration::from_millis(10);

/// Everything that stands in the drawing.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    /// How it was measured, in words: lines.
    pub(super) facts: Vec<String>,
    /// All services, in the order of their colours; the lists below have a place for each.
    pub(super) services: Vec<&'static str>,
    /// What stayed the same while the connections became more.
    pub(super) sweep: String,
    /// Throughput against connections, for each service.
    pub(super) throughput: Vec<Vec<Point>>,
    /// Latencies: the load in words, and the curve of each service.
    pub(super) latencies: Vec<(String, Vec<Vec<Tail>>)>,
    /// The pulled plug.
    pub(super) failover: Failover,
}

/// The throughput of some connections: the median of the rounds, and their range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) connections: u32,
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// A point on a curve of latencies: the median of the rounds, and their range, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// One of so many requests took longer.
    pub(super) one_in: u32,
    pub(super) median: u64,
    pub(super) least: u64,
    pub(super) most: u64,
}

/// All rounds that were measured.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    all: Vec<(Shape, &'static str, Vec<Round>)>,
}

#[derive(Clone, Debug)]
struct Round {
    throughput: f64,
    /// At each of [`TAILS`] that so many requests can tell of.
    latencies_us: Vec<u64>,
}

impl Rounds {
    pub(super) fn add(&mut self, shape: Shape, service: &'static str, result: &LoadResult) {
        let told = TAILS
            .iter()
            .filter(|one_in| result.requests >= u64::from(**one_in));
        let at = |one_in: &u32| {
            result
                .latencies
                .value_at_quantile(1.0 - 1.0 / f64::from(*one_in))
        };
        let round = Round {
            throughput: result.throughput,
            latencies_us: told.map(at).collect(),
        };
        let mut all = self.all.iter_mut();
        match all.find(|(of, name, _)| (*of, *name) == (shape, service)) {
            Some((.., rounds)) => rounds.push(round),
            None => self.all.push((shape, service, vec![round])),
        }
    }

    /// Whether there are rounds of this shape.
    pub(super) fn has(&self, shape: Shape) -> bool {
        self.all.iter().any(|(of, ..)| *of == shape)
    }

    fn of(&self, shape: Shape, service: &str) -> &[Round] {
        let found = self
            .all
            .iter()
            .find(|(of, name, _)| *of == shape && *name == service);
        found.map_or(&[], |(.., rounds)| rounds)
    }

    /// A service's throughput under those of the shapes that it was measured under.
    pub(super) fn throughput(&self, shapes: &[Shape], service: &str) -> Vec<Point> {
        let point = |shape: &Shape| {
            let rounds = self.of(*shape, service).iter();
            let values: Vec<f64> = rounds.map(|round| round.throughput).collect();
            (!values.is_empty()).then(|| Point {
                connections: shape.connections,
                median: median(&values),
                least: values.iter().copied().fold(f64::INFINITY, f64::min),
                most: values.iter().copied().fold(0.0, f64::max),
            })
        };
        shapes.iter().filter_map(point).collect()
    }

    /// A service's latencies under a shape, as far into the tail as every round tells.
    pub(super) fn latencies(&self, shape: Shape, service: &str) -> Vec<Tail> {
        let rounds = self.of(shape, service);
        let tail = |(at, one_in): (usize, &u32)| {
            let values = rounds
                .iter()
                .map(|round| round.latencies_us.get(at).copied());
            let values: Vec<u64> = values.collect::<Option<_>>()?;
            Some(Tail {
                one_in: *one_in,
                median: middle(&values),
                least: *values.iter().min()?,
                most: *values.iter().max()?,
            })
        };
        TAILS.iter().enumerate().map_while(tail).collect()
    }
}

/// What clients saw of a pulled plug. Times are counted from the pull, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failover {
    /// In words: who died, who asked.
    pub(super) words: String,
    /// When the first bin begins.
    pub(super) from_us: i64,
    /// Answers to all clients in each [`BIN`] of time.
    pub(super) answers: Vec<u32>,
    /// The longest time without an answer to anybody that ended after the pull, within what is drawn: the last answer before
    /// it and the first one after.
    pub(super) gap_us: Option<(i64, i64)>,
}

impl Failover {
    /// Out of the moments at which answers came, in any order, from `before` the pull to `after` it.
    pub(super) fn new(
        words: String,
        pulled: Instant,
        answered: &[Instant],
        before: Duration,
        after: Duration,
    ) -> Self {
        let mut times: Vec<i64> = answered.iter().map(|at| from(pulled, *at)).collect();
        times.sort_unstable();
        let (from_us, until_us) = (-micros(before), micros(after));
        let bin_us = micros(BIN);
        let count = usize::try_from((until_us - from_us) / bin_us).unwrap_or(0);
        let mut answers = vec![0; count];
        for at in &times {
            let bin = usize::try_from((at - from_us).div_euclid(bin_us)).ok();
            if let Some(answers) = bin.and_then(|bin| answers.get_mut(bin)) {
                *answers += 1;
            }
        }
        let gaps = times.windows(2).map(|pair| (pair[0], pair[1]));
        let gaps = gaps.filter(|(_, until)| (1..until_us).contains(until));
        Self {
            words,
            from_us,
            answers,
            gap_us: gaps.max_by_key(|(from, until)| until - from),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// From the pull to a moment before it or after it.
fn from(pulled: Instant, at: Instant) -> i64 {
    match at >= pulled {
        true => micros(at.since(pulled)),
        false => -micros(pulled.since(at)),
    }
}
