//! What is gathered, and that whatever was gathered can be drawn.

use hdrhistogram::Histogram;
use standin_core::time::{Duration, Instant};

use super::figures::{Failover, Point, TAILS, Tail};
use super::*;

const BUSY: Shape = Shape {
    connections: 50,
    pace: Pace::Closed(16),
};
const QUIET: Shape = Shape {
    connections: 1,
    pace: Pace::Closed(1),
};

/// A round whose requests took 1, 2, 3 microseconds and so on.
fn round(throughput: f64, requests: u64) -> LoadResult {
    let mut latencies = Histogram::new(3).unwrap();
    (1..=requests).for_each(|us| latencies.record(us).unwrap());
    LoadResult {
        requests,
        seconds: 1.0,
        throughput,
        p50_us: 0,
        p99_us: 0,
        p999_us: 0,
        max_us: 0,
        latencies,
        errors: 0,
        first_error: None,
    }
}

fn at(millis: u64) -> Instant {
    Instant::ZERO.plus(Duration::from_millis(millis))
}

fn failover(answered: &[Instant]) -> Failover {
    let (before, after) = (Duration::from_millis(100), Duration::from_millis(300));
    Failover::new("lease".to_owned(), at(1000), answered, before, after)
}

fn sample() -> Figures {
    let services = ["relay", "<redis & co>", "standin"];
    let mut rounds = Rounds::default();
    for (service, throughput) in services.into_iter().zip([1e6, 3e5, 5e5]) {
        for (nth, shape) in [BUSY, QUIET].into_iter().enumerate() {
            for share in [0.5, 1.0, 0.9] {
                rounds.add(
                    shape,
                    service,
                    &round(share * throughput / (1 + nth) as f64, 20_000),
                );
            }
        }
    }
    let curves = |shape| {
        let curves = services.iter().map(|name| rounds.latencies(shape, name));
        (shape.to_string(), curves.collect())
    };
    let throughput = services
        .iter()
        .map(|name| rounds.throughput(&[QUIET, BUSY], name));
    Figures {
        facts: vec!["a fact".to_owned(), "another".to_owned()],
        services: services.to_vec(),
        sweep: "16 in flight".to_owned(),
        throughput: throughput.collect(),
        latencies: [BUSY, QUIET].map(curves).to_vec(),
        failover: failover(&[at(950), at(990), at(1005), at(1205), at(1206)]),
    }
}

/// The values of an attribute, everywhere.
fn values(svg: &str, name: &str) -> Vec<f64> {
    let begin = format!(" {name}=\"");
    let found = svg.split(&begin).skip(1);
    let words = found.map(|rest| rest.split('"').next().unwrap());
    words.map(|word| word.parse().unwrap()).collect()
}

/// Everything lies in the drawing, and the marks of Standin, which are circles, between the axes.
fn check(figures: &Figures) -> String {
    let svg = drawing::draw(figures);
    let svg = svg.as_str();
    let (width, height) = (values(svg, "width")[0], values(svg, "height")[0]);
    let lists = svg.split(" points=\"").skip(1);
    let lists = lists.flat_map(|rest| rest.split('"').next().unwrap().split_whitespace());
    let pairs = lists.map(|pair| pair.split_once(',').unwrap());
    let pairs: Vec<(f64, f64)> = pairs
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect();
    let mut xs: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let mut ys: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    for name in ["x", "x1", "x2"] {
        xs.extend(values(svg, name));
    }
    for name in ["y", "y1", "y2"] {
        ys.extend(values(svg, name));
    }
    assert!(xs.iter().all(|x| (0.0..=width).contains(x)), "{xs:?}");
    assert!(ys.iter().all(|y| (0.0..=height).contains(y)), "{ys:?}");
    let (_, top) = drawing::layout(figures);
    let frames = drawing::FRAMES.map(|(from, to)| f64::from(top + from)..=f64::from(top + to));
    let mut marks = values(svg, "cx").into_iter().zip(values(svg, "cy"));
    let _legend = marks.next();
    for (x, y) in marks {
        assert!(
            frames.iter().any(|frame| frame.contains(&y)),
            "{y}: {frames:?}"
        );
        assert!((80.0..=width - 20.0).contains(&x), "{x}");
    }
    svg.to_owned()
}

#[test]
fn all_parts_and_all_services_are_drawn() {
    let svg = check(&sample());
    for words in [
        "(a) Throughput",
        "(b) Latency",
        "(c) The primary",
        "relay",
        "standin",
    ] {
        assert!(svg.contains(words), "{words}");
    }
    assert!(svg.contains("&lt;redis &amp; co&gt;") && !svg.contains("<redis"));
    assert!(svg.contains("a fact") && svg.contains("another"));
    assert!(svg.contains("50 connections x 16 in flight") && svg.contains("1 connection x 1"));
    assert!(svg.contains("200 ms without an answer"), "{svg}");
    // Standin's marks: one in the legend, two of throughput, and two curves.
    assert_eq!(values(&svg, "cx").len(), 1 + 2 + 2 * TAILS.len());
}

#[test]
fn whatever_was_measured_can_be_drawn() {
    let whole = sample();
    let empty = Figures {
        throughput: vec![Vec::new(); 3],
        latencies: Vec::new(),
        failover: failover(&[]),
        ..whole.clone()
    };
    check(&empty);
    let nobody = Figures {
        services: Vec::new(),
        throughput: Vec::new(),
        latencies: vec![("nothing".to_owned(), Vec::new())],
        ..empty
    };
    check(&nobody);
    let mut partly = whole.clone();
    partly.throughput[1].clear();
    partly.latencies[0].1[2].clear();
    check(&partly);
    let many = Figures {
        services: ["a"; 17].to_vec(),
        ..whole.clone()
    };
    check(&many);
    for (value, us) in [(0.0, 0), (f64::NAN, 1), (1e12, 60_000_000), (0.3, u64::MAX)] {
        let mut odd = whole.clone();
        odd.throughput[2] = [1, 4096]
            .map(|connections| Point {
                connections,
                median: value,
                least: value,
                most: value,
            })
            .to_vec();
        let tail = |one_in: u32| Tail {
            one_in,
            median: us,
            least: us,
            most: us,
        };
        odd.latencies[0].1[2] = TAILS.map(tail).to_vec();
        match value.is_nan() || us > 60_000_000 {
            true => drop(drawing::draw(&odd)),
            false => drop(check(&odd)),
        }
    }
}

#[test]
fn medians_and_ranges_are_of_rounds_and_latencies_ascend() {
    let mut rounds = Rounds::default();
    for (throughput, requests) in [(300.0, 1000), (100.0, 5000), (200.0, 3000)] {
        rounds.add(BUSY, "standin", &round(throughput, requests));
    }
    rounds.add(BUSY, "relay", &round(7.0, 10));
    assert!(rounds.has(BUSY) && !rounds.has(QUIET));
    let points = rounds.throughput(&[QUIET, BUSY], "standin");
    let expected = Point {
        connections: 50,
        median: 200.0,
        least: 100.0,
        most: 300.0,
    };
    assert_eq!(points, [expected]);
    let tails = rounds.latencies(BUSY, "standin");
    // One of 2000 cannot be told of by a round of 1000 requests.
    assert_eq!(tails.last().unwrap().one_in, 1000);
    assert_eq!(tails.len(), 9);
    assert!(
        tails.windows(2).all(|pair| pair[0].median < pair[1].median),
        "{tails:?}"
    );
    assert!(
        tails
            .iter()
            .all(|tail| tail.least < tail.median && tail.median < tail.most)
    );
    let middle = Tail {
        one_in: 2,
        median: 1500,
        least: 500,
        most: 2501,
    };
    assert_eq!(tails[0], middle);
    assert_eq!(rounds.latencies(BUSY, "relay").len(), 3);
    assert_eq!(rounds.latencies(QUIET, "standin"), []);
}

#[test]
fn the_gap_is_the_longest_time_without_an_answer_that_ends_after_the_pull() {
    // Unsorted; some lie beyond what is drawn.
    let times = [1002, 990, 100, 1199, 1200, 2000, 995, 905, 1299];
    let seen = failover(&times.map(at));
    assert_eq!(seen.from_us, -100_000);
    assert_eq!(seen.answers.len(), 40);
    let expected = [(0, 1), (9, 2), (10, 1), (29, 1), (30, 1), (39, 1)];
    let some = seen
        .answers
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0);
    assert_eq!(
        some.map(|(at, count)| (at, *count)).collect::<Vec<_>>(),
        expected
    );
    // Those beyond are no part of it.
    assert_eq!(seen.gap_us, Some((2_000, 199_000)));
    let peace = [100, 900, 990].map(at);
    assert_eq!(failover(&peace).gap_us, None);
}

#[test]
fn connections_end_with_those_that_were_asked_for() {
    assert_eq!(counts(None), SWEEP);
    assert_eq!(counts(Some(1)), [1]);
    assert_eq!(counts(Some(3)), [1, 2, 3]);
    assert_eq!(counts(Some(50)), [1, 2, 5, 10, 20, 50]);
    assert_eq!(counts(Some(210)), [1, 2, 5, 10, 20, 50, 100, 210]);
    assert_eq!(counts(Some(4096)).last(), Some(&4096));
}

#[test]
fn the_busiest_load_and_the_quietest_one_are_drawn() {
    assert_eq!(extremes(&SHAPES), [BUSY, QUIET]);
    assert_eq!(extremes(&[BUSY]), [BUSY]);
    assert_eq!(extremes(&[]), []);
}
