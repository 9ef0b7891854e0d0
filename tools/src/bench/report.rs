//! The figures: medians over rounds, for people and for scripts.

use std::fmt::{self, Write as _};

use serde::Serialize;
use standin_core::identity::Durability;

use super::work::{Asked, Request, VALUE_BYTES};
use crate::load::{LoadResult, Pace};

/// The service that all others are compared with.
const SUBJECT: &str = "standin";

/// How much load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Connections.
    pub(super) connections: u32,
    /// When requests are sent.
    pub(super) pace: Pace,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = match self.connections {
            1 => "connection",
            _ => "connections",
        };
        let count = self.connections;
        match self.pace {
            Pace::Closed(depth) => write!(f, "{count} {connections} x {depth} in flight"),
            Pace::Open(rate) => write!(f, "{count} {connections}, {rate} due in each second"),
        }
    }
}

impl Shape {
    /// Requests in flight on each connection, in a closed loop.
    pub(super) fn depth(self) -> Option<u64> {
        match self.pace {
            Pace::Closed(depth) => Some(depth),
            Pace::Open(_) => None,
        }
    }

    /// Requests due in each second, in an open loop.
    fn rate(self) -> Option<u64> {
        match self.pace {
            Pace::Closed(_) => None,
            Pace::Open(rate) => Some(rate),
        }
    }
}

/// Everything that a run of the benchmark found.
#[derive(Debug)]
pub(super) struct Report {
    durability: String,
    /// Seconds counted in each round.
    seconds: u64,
    rounds: u32,
    shapes: Vec<ShapeReport>,
    /// What was asked for.
    asked: Asked,
    idle: Vec<IdleMemory>,
}

/// What connections that say nothing cost one service.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct IdleMemory {
    pub(super) service: &'static str,
    /// So many connections.
    pub(super) connections: u32,
    /// Bytes of memory that its serving process had before they were made, and when all were there.
    pub(super) before_bytes: u64,
    pub(super) after_bytes: u64,
}

impl IdleMemory {
    fn per_connection_bytes(&self) -> u64 {
        let grown = self.after_bytes.saturating_sub(self.before_bytes);
        grown / u64::from(self.connections.max(1))
    }

    fn json(&self) -> serde_json::Value {
        let mut value = serde_json::json!(self);
        value["per_connection_bytes"] = self.per_connection_bytes().into();
        value
    }
}

#[derive(Debug)]
struct ShapeReport {
    shape: Shape,
    services: Vec<Service>,
}

/// One service's rounds under one shape of load, in order.
#[derive(Debug, Default, Serialize)]
struct Service {
    name: &'static str,
    throughput: Vec<f64>,
    p50_us: Vec<u64>,
    p99_us: Vec<u64>,
    p999_us: Vec<u64>,
}

/// The medians of a service's rounds.
#[derive(Debug, PartialEq, Serialize)]
struct Medians {
    throughput: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
}

/// Standin's figures divided by another service's, round by round.
#[derive(Debug, PartialEq, Serialize)]
struct Ratio {
    to: &'static str,
    /// Of the throughputs: the higher the better.
    #[serde(flatten)]
    throughput: Spread,
    /// Of the latencies: the lower the better.
    p50: Spread,
    p999: Spread,
}

/// A ratio of each round against the one beside it.
#[derive(Debug, PartialEq, Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Report {
    pub(super) fn new(
        durability: Durability,
        seconds: u64,
        rounds: u32,
        asked: Asked,
        shapes: &[Shape],
        services: &[&'static str],
    ) -> Self {
        let of_shape = |shape: &Shape| ShapeReport {
            shape: *shape,
            services: services.iter().map(|name| Service::new(name)).collect(),
        };
        Self {
            durability: durability.to_string(),
            seconds,
            rounds,
            shapes: shapes.iter().map(of_shape).collect(),
            asked,
            idle: Vec::new(),
        }
    }

    /// Adds what idle connections cost a service.
    pub(super) fn add_idle(&mut self, memory: IdleMemory) {
        self.idle.push(memory);
    }

    /// Adds a round of a service under the shape at place `shape`.
    pub(super) fn add(&mut self, shape: usize, name: &str, result: &LoadResult) {
        let mut services = self.shapes[shape].services.iter_mut();
        let service = services
            .find(|service| service.name == name)
            .expect("the report was made with all services");
        service.throughput.push(result.throughput);
        service.p50_us.push(result.p50_us);
        service.p99_us.push(result.p99_us);
        service.p999_us.push(result.p999_us);
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        let shapes = self.shapes.iter().map(|shape| {
            let services = shape.services.iter();
            let medians: serde_json::Map<_, _> = services
                .map(|service| {
                    (
                        service.name.to_owned(),
                        serde_json::json!(service.medians()),
                    )
                })
                .collect();
            serde_json::json!({
                "connections": shape.shape.connections,
                "depth": shape.shape.depth(),
                "rate": shape.shape.rate(),
                "medians": medians,
                "ratios": shape.ratios(),
                "services": shape.services,
            })
        });
        let report = serde_json::json!({
            "durability": self.durability,
            "seconds": self.seconds,
            "rounds": self.rounds,
            "request": self.asked.request.word(),
            "keys": self.asked.keys,
            "value_bytes": self.asked.value_bytes,
            "idle": self.idle.iter().map(IdleMemory::json).collect::<Vec<_>>(),
            "shapes": shapes.collect::<Vec<_>>(),
        });
        report.to_string()
    }

    /// A table for people.
    pub(super) fn table(&self) -> String {
        let rounds = match self.rounds {
            1 => "1 round".to_owned(),
            count => format!("medians of {count} rounds"),
        };
        let mut text = format!(
            "durability {}, {rounds}, {} s each",
            self.durability, self.seconds
        );
        // Writing to a string cannot fail.
        let _ = self.write_asked(&mut text);
        for shape in &self.shapes {
            let _ = shape.write(&mut text);
        }
        let _ = self.write_idle(&mut text);
        text
    }

    /// What was asked for, as far as it is not what is asked for by default.
    fn write_asked(&self, out: &mut String) -> fmt::Result {
        let Asked {
            request,
            keys,
            value_bytes,
        } = self.asked;
        if request != Request::default() {
            write!(out, ", {}", request.word())?;
        }
        if keys > 1 {
            write!(out, ", {keys} keys")?;
        }
        if value_bytes != VALUE_BYTES {
            write!(out, ", values of {value_bytes} bytes")?;
        }
        Ok(())
    }

    fn write_idle(&self, out: &mut String) -> fmt::Result {
        let Some(first) = self.idle.first() else {
            return Ok(());
        };
        write!(out, "\n\n{} idle connections\n", first.connections)?;
        let head = ("before KiB", "after KiB", "bytes each");
        write!(out, "{:20}{:>12}{:>12}{:>12}", "", head.0, head.1, head.2)?;
        for memory in &self.idle {
            write!(
                out,
                "\n  {:18}{:>12}{:>12}{:>12}",
                memory.service,
                memory.before_bytes / 1024,
                memory.after_bytes / 1024,
                memory.per_connection_bytes()
            )?;
        }
        Ok(())
    }
}

impl ShapeReport {
    fn write(&self, out: &mut String) -> fmt::Result {
        write!(out, "\n\n{}\n", self.shape)?;
        let head = ("requests/s", "p50 us", "p99 us", "p99.9 us");
        write!(
            out,
            "{:20}{:>12}{:>10}{:>10}{:>10}",
            "", head.0, head.1, head.2, head.3
        )?;
        for service in &self.services {
            let medians = service.medians();
            write!(
                out,
                "\n  {:18}{:>12.0}{:>10}{:>10}{:>10}",
                service.name, medians.throughput, medians.p50_us, medians.p99_us, medians.p999_us
            )?;
        }
        for ratio in self.ratios() {
            let name = format!("{SUBJECT}/{}", ratio.to);
            let (p50, p999) = (&ratio.p50, &ratio.p999);
            write!(
                out,
                "\n  {name:25} {}   p50 {p50}   p99.9 {p999}",
                ratio.throughput
            )?;
        }
        Ok(())
    }

    fn ratios(&self) -> Vec<Ratio> {
        let Some(subject) = self.services.iter().find(|service| service.name == SUBJECT) else {
            return Vec::new();
        };
        let others = self
            .services
            .iter()
            .filter(|service| service.name != SUBJECT);
        others.map(|other| Ratio::new(subject, other)).collect()
    }
}

impl Service {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    fn medians(&self) -> Medians {
        Medians {
            throughput: median(&self.throughput),
            p50_us: middle(&self.p50_us),
            p99_us: middle(&self.p99_us),
            p999_us: middle(&self.p999_us),
        }
    }
}

impl Ratio {
    fn new(subject: &Service, other: &Service) -> Self {
        let latency = |ours: &[u64], theirs: &[u64]| {
            let float = |values: &[u64]| values.iter().map(|us| *us as f64).collect::<Vec<_>>();
            Spread::of(&float(ours), &float(theirs))
        };
        Self {
            to: other.name,
            throughput: Spread::of(&subject.throughput, &other.throughput),
            p50: latency(&subject.p50_us, &other.p50_us),
            p999: latency(&subject.p999_us, &other.p999_us),
        }
    }
}

impl Spread {
    fn of(ours: &[f64], theirs: &[f64]) -> Self {
        let pairs = ours.iter().zip(theirs);
        let mut ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        ratios.sort_by(f64::total_cmp);
        Self {
            median: median(&ratios),
            min: ratios.first().copied().unwrap_or(f64::NAN),
            max: ratios.last().copied().unwrap_or(f64::NAN),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.min, self.max)
    }
}

/// The middle of the values, or the mean of the two middle ones; NaN if there are none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// The middle of the values, the lower of the two middle ones; 0 if there are none.
pub(super) fn middle(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    const BUSY: Shape = Shape {
        connections: 50,
        pace: Pace::Closed(16),
    };

    const ASKED: Asked = Asked {
        request: Request::Incr,
        keys: 1,
        value_bytes: VALUE_BYTES,
    };

    fn result(throughput: f64, p50_us: u64) -> LoadResult {
        LoadResult {
            requests: 1,
            seconds: 1.0,
            throughput,
            p50_us,
            p99_us: 2 * p50_us,
            p999_us: 3 * p50_us,
            max_us: 4 * p50_us,
            latencies: Histogram::new(1).unwrap(),
            errors: 0,
            first_error: None,
        }
    }

    fn sample() -> Report {
        let services = ["relay", "standin"];
        let mut report = Report::new(Durability::Os, 5, 3, ASKED, &[BUSY], &services);
        for (floor, ours) in [(900.0, 300.0), (1000.0, 500.0), (800.0, 320.0)] {
            report.add(0, "relay", &result(floor, 10));
            report.add(0, "standin", &result(ours, 30));
        }
        report
    }

    #[test]
    fn medians_are_of_rounds_and_ratios_of_pairs_of_rounds() {
        let report = sample();
        let shape = &report.shapes[0];
        let medians = shape.services[1].medians();
        assert_eq!(
            (medians.throughput, medians.p50_us, medians.p99_us),
            (320.0, 30, 60)
        );
        let [ratio] = shape.ratios().try_into().unwrap();
        let spread = &ratio.throughput;
        assert_eq!((ratio.to, spread.median, spread.max), ("relay", 0.4, 0.5));
        assert!((spread.min - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((ratio.p50.median, ratio.p999.max), (3.0, 3.0));
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(
            (middle(&[9, 1, 5]), middle(&[2, 1]), middle(&[])),
            (5, 1, 0)
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_service_and_one_for_the_ratio() {
        let table = sample().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "durability os, medians of 3 rounds, 5 s each");
        assert_eq!(lines[2], "50 connections x 16 in flight");
        assert!(
            lines[4].starts_with("  relay") && lines[4].contains("900"),
            "{table}"
        );
        assert!(
            lines[5].starts_with("  standin") && lines[5].contains("320"),
            "{table}"
        );
        let words = "0.40 (0.33 to 0.50)   p50 3.00 (3.00 to 3.00)   p99.9 3.00 (3.00 to 3.00)";
        assert!(
            lines[6].contains("standin/relay") && lines[6].ends_with(words),
            "{table}"
        );
        assert_eq!(lines.len(), 7);
    }

    #[test]
    fn the_json_is_one_line_with_the_medians_by_name() {
        let json = sample().json();
        assert!(!json.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let shape = &value["shapes"][0];
        assert_eq!(shape["connections"], 50);
        assert_eq!(shape["medians"]["standin"]["throughput"], 320.0);
        assert_eq!(
            (&shape["depth"], &shape["rate"]),
            (&16.into(), &serde_json::Value::Null)
        );
        let ratio = &shape["ratios"][0];
        assert_eq!(
            (&ratio["to"], &ratio["median"]),
            (&"relay".into(), &0.4.into())
        );
        assert_eq!(ratio["p50"]["median"], 3.0);
        assert_eq!(shape["services"][0]["p50_us"][2], 10);
    }

    #[test]
    fn what_is_asked_for_and_what_idle_connections_cost_is_told_if_there_is_any() {
        let mut report = sample();
        assert_eq!(report.asked, ASKED);
        assert!(!report.table().contains("idle"));
        let value: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(
            (&value["keys"], &value["idle"]),
            (&1.into(), &Vec::<u8>::new().into())
        );

        report.asked = Asked {
            request: Request::Get,
            keys: 1000,
            value_bytes: 100,
        };
        report.add_idle(IdleMemory {
            service: "standin",
            connections: 1000,
            before_bytes: 4 << 20,
            after_bytes: 5 << 20,
        });
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[0].ends_with(" s each, get, 1000 keys, values of 100 bytes"),
            "{table}"
        );
        let [.., title, _, costs] = lines.as_slice() else {
            panic!("{table}");
        };
        assert_eq!(*title, "1000 idle connections");
        let words: Vec<&str> = costs.split_whitespace().collect();
        assert_eq!(words, ["standin", "4096", "5120", "1048"]);
        let value: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(value["idle"][0]["per_connection_bytes"], 1048);
        assert_eq!(
            (&value["request"], &value["value_bytes"]),
            (&"get".into(), &100.into())
        );
    }
}
