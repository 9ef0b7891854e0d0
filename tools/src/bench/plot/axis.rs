//! Axes: from where to where, and what is written beside them. What lies on a logarithmic axis lies at [`log`] of its value.

use std::ops::Range;

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) range: Range<f64>,
    /// Where a line is drawn, and the words at it.
    pub(super) marks: Vec<(f64, String)>,
}

/// The least value on a logarithmic axis.
const LEAST: f64 = 1.0;
/// Most marks on an axis from 0, apart from 0.
const MARKS_MAX: u32 = 6;
/// Most marks on an axis of latencies.
const LATENCY_MARKS_MAX: usize = 12;
/// What is left free at the ends of the axis of connections, in decades.
const MARGIN: f64 = 0.08;

/// Where a value lies on a logarithmic axis. What is less than [`LEAST`] or no number lies at its beginning.
pub(super) fn log(value: f64) -> f64 {
    value.max(LEAST).log10()
}

impl Axis {
    /// From 0 to a round number, `most` or more.
    pub(super) fn counts(most: f64) -> Self {
        let most = if most.is_finite() {
            most.max(LEAST)
        } else {
            LEAST
        };
        let step = round_up(most / f64::from(MARKS_MAX)).max(LEAST);
        let count = (most / step).ceil();
        let marks = (0..=MARKS_MAX).map(f64::from).filter(|at| *at <= count);
        Self {
            range: 0.0..count * step,
            marks: marks
                .map(|at| (at * step, count_words(at * step)))
                .collect(),
        }
    }

    /// Logarithmic, with a mark at each of these counts.
    pub(super) fn connections(counts: &[u32]) -> Self {
        let at = |count: Option<&u32>| log(f64::from(*count.unwrap_or(&1)));
        let range = at(counts.iter().min()) - MARGIN..at(counts.iter().max()) + MARGIN;
        let marks = counts
            .iter()
            .map(|count| (log(f64::from(*count)), count.to_string()));
        Self {
            range,
            marks: marks.collect(),
        }
    }

    /// Logarithmic, in what share of requests takes longer, and with marks in percent.
    pub(super) fn percentiles() -> Self {
        let marks = [
            (2.0, "50 %"),
            (10.0, "90 %"),
            (100.0, "99 %"),
            (1000.0, "99.9 %"),
            (10_000.0, "99.99 %"),
        ];
        Self {
            range: log(2.0) - MARGIN..log(10_000.0) + MARGIN,
            marks: marks
                .map(|(at, words)| (log(at), words.to_owned()))
                .to_vec(),
        }
    }

    /// Logarithmic, from a round number of microseconds to another, with all of these between.
    pub(super) fn latencies(values_us: impl Iterator<Item = u64>) -> Self {
        let values: Vec<f64> = values_us.map(|us| (us as f64).max(LEAST)).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(LEAST, f64::max);
        let least = if least.is_finite() { least } else { LEAST };
        let rounds = (0..=8).flat_map(|power| [1.0, 2.0, 5.0].map(|it| it * 10_f64.powi(power)));
        let rounds: Vec<f64> = rounds.collect();
        let first = rounds.iter().rposition(|it| *it <= least).unwrap_or(0);
        let last = rounds.iter().position(|it| *it >= most);
        let last = last.unwrap_or(rounds.len() - 1).max(first + 1);
        let last = last.min(rounds.len() - 1);
        // All of them if there is room, or else the powers of ten.
        let step = if last - first < LATENCY_MARKS_MAX {
            1
        } else {
            3
        };
        let marks = (first..=last).filter(|at| at % step == 0);
        let marks = marks.map(|at| rounds[at]);
        Self {
            range: log(rounds[first])..log(rounds[last]),
            marks: marks.map(|us| (log(us), time_words(us))).collect(),
        }
    }

    /// Seconds, with a mark at each half, or at every five if there are many.
    pub(super) fn seconds(range: Range<f64>) -> Self {
        let step = if range.end - range.start <= 8.0 {
            0.5
        } else {
            5.0
        };
        let marks = (-20..=200).map(|at| f64::from(at) * step);
        let marks = marks.filter(|at| (range.start..=range.end).contains(at));
        Self {
            marks: marks.map(|at| (at, format!("{at} s"))).collect(),
            range,
        }
    }

    /// With more room at its end, that much of what there was.
    pub(super) fn with_room(self, share: f64) -> Self {
        let Range { start, end } = self.range;
        Self {
            range: start..end + (end - start) * share,
            ..self
        }
    }

    /// The words at a mark.
    pub(super) fn words(&self, at: f64) -> String {
        let found = self.marks.iter().find(|(mark, _)| (mark - at).abs() < 1e-9);
        found.map_or_else(String::new, |(_, words)| words.clone())
    }
}

/// The next of 1, 2, 5, 10, 20 and so on.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(10.0 * power)
}

fn count_words(count: f64) -> String {
    match count {
        0.0 => "0".to_owned(),
        1_000_000.0.. => format!("{} M", count / 1_000_000.0),
        1000.0.. => format!("{} k", count / 1000.0),
        _ => format!("{count}"),
    }
}

fn time_words(us: f64) -> String {
    match us {
        1_000_000.0.. => format!("{} s", us / 1_000_000.0),
        1000.0.. => format!("{} ms", us / 1000.0),
        _ => format!("{us} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|(_, words)| words.as_str()).collect()
    }

    #[test]
    fn counts_go_from_zero_to_a_round_number() {
        let axis = Axis::counts(1_314_000.0);
        assert_eq!(words(&axis), ["0", "500 k", "1 M", "1.5 M"]);
        assert_eq!(axis.range, 0.0..1_500_000.0);
        assert_eq!(words(&Axis::counts(10.0)), ["0", "2", "4", "6", "8", "10"]);
        for nothing in [0.0, -3.0, f64::NAN, f64::INFINITY] {
            assert_eq!(words(&Axis::counts(nothing)), ["0", "1"], "{nothing}");
        }
        for most in (1..2000).map(|it| f64::from(it) * 7.3) {
            let axis = Axis::counts(most);
            assert!(
                axis.range.end >= most && axis.range.end < 3.0 * most,
                "{axis:?}"
            );
            assert!((2..=7).contains(&axis.marks.len()), "{axis:?}");
        }
    }

    #[test]
    fn latencies_lie_between_round_numbers() {
        let axis = Axis::latencies([33, 4_343, 100].into_iter());
        let expected = [
            "20 us", "50 us", "100 us", "200 us", "500 us", "1 ms", "2 ms", "5 ms",
        ];
        assert_eq!(words(&axis), expected);
        assert_eq!(
            words(&Axis::latencies([50].into_iter())),
            ["50 us", "100 us"]
        );
        assert_eq!(words(&Axis::latencies([0].into_iter())), ["1 us", "2 us"]);
        assert_eq!(
            words(&Axis::latencies(std::iter::empty())),
            ["1 us", "2 us"]
        );
        let wide = Axis::latencies([33, 2_100_000].into_iter());
        assert_eq!(words(&wide), ["100 us", "1 ms", "10 ms", "100 ms", "1 s"]);
        let longest = Axis::latencies([60_000_000, 900_000_000].into_iter());
        assert_eq!(words(&longest), ["50 s", "100 s", "200 s", "500 s"]);
    }

    #[test]
    fn a_logarithm_of_nothing_is_the_beginning() {
        assert_eq!([0.0, -1.0, f64::NAN, 1.0].map(log), [0.0; 4]);
        assert_eq!(log(1000.0), 3.0);
        let alone = Axis::connections(&[3]);
        assert!(alone.range.start < log(3.0) && log(3.0) < alone.range.end);
        assert!(Axis::connections(&[]).range.end.is_finite());
    }

    #[test]
    fn seconds_are_marked_by_halves_or_fives() {
        let axis = Axis::seconds(-0.7..1.0);
        assert_eq!(words(&axis), ["-0.5 s", "0 s", "0.5 s", "1 s"]);
        assert_eq!(axis.words(0.5), "0.5 s");
        assert_eq!(axis.words(0.7), "");
        let long = Axis::seconds(-1.5..31.0);
        assert_eq!(words(&long).last(), Some(&"30 s"));
        assert_eq!(words(&long).len(), 7);
    }
}
