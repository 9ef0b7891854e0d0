//! `standin bench --plot`: throughput against connections, latencies, and what clients see of a pulled plug, in one drawing.
//!
//! What is drawn was measured in this run. The rounds that are told as figures are drawn, too; what else the drawing needs is
//! measured after them, so that they stand whatever becomes of it.

mod axis;
mod drawing;
mod failover;
mod figures;
mod file;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use standin_io::signals::Signals;

use super::peer::Peer;
use super::report::Shape;
use super::{BenchArgs, BenchError, SHAPES, Spoken, WARM_UP, measure_once};
use crate::cluster::ClusterError;
use crate::load::{LoadResult, Pace};
use figures::{Figures, Rounds};
use file::NewFile;

/// The connections that throughput is drawn against, or those of them that `--connections` allows.
const SWEEP: [u32; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];

/// A drawing to be.
#[derive(Debug)]
pub(super) struct Plot {
    path: PathBuf,
    file: NewFile,
    rounds: Rounds,
    /// The loads that are told as figures, in the order in which they were measured.
    told: Vec<Shape>,
}

impl Plot {
    /// Finds out whether the drawing can be written, before anything is measured for it.
    pub(super) fn begin(path: &Path) -> Result<Self, BenchError> {
        let file = NewFile::begin(path).map_err(|source| BenchError::NoPlot {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            rounds: Rounds::default(),
            told: Vec::new(),
        })
    }

    /// Adds a round that is told as figures.
    pub(super) fn add(&mut self, shape: Shape, service: &'static str, result: &LoadResult) {
        if !self.told.contains(&shape) {
            self.told.push(shape);
        }
        self.rounds.add(shape, service, result);
    }

    /// Measures what is missing, draws it all and writes it.
    pub(super) fn finish(
        self,
        peers: Vec<Peer>,
        args: &BenchArgs,
        signals: &Signals,
    ) -> Result<(), BenchError> {
        let path = self.path.clone();
        self.drawn(peers, args, signals).map_err(|source| {
            let source = match source {
                // Something was measured to the end.
                BenchError::Interrupted => BenchError::Cluster(ClusterError::Interrupted),
                source => source,
            };
            BenchError::NotDrawn {
                path,
                source: Box::new(source),
            }
        })
    }

    fn drawn(
        mut self,
        mut peers: Vec<Peer>,
        args: &BenchArgs,
        signals: &Signals,
    ) -> Result<(), BenchError> {
        let services: Vec<_> = peers.iter().map(Peer::name).collect();
        let shapes = sweep(args);
        self.measure(&mut peers, &shapes, args, signals)?;
        // Nobody else has a part in what follows.
        drop(peers);
        progress("the pulled plug", failover::SECONDS);
        let program = std::env::current_exe().map_err(BenchError::Program)?;
        let failover = failover::run(&program, args.durability, signals)?;
        let throughput = services
            .iter()
            .map(|name| self.rounds.throughput(&shapes, name));
        let curves = |shape: Shape| {
            let curves = services
                .iter()
                .map(|name| self.rounds.latencies(shape, name));
            (shape.to_string(), curves.collect())
        };
        let figures = Figures {
            facts: facts(args),
            throughput: throughput.collect(),
            sweep: format!("{} in flight on each connection", depth(args)),
            latencies: extremes(&self.told).into_iter().map(curves).collect(),
            failover,
            services,
        };
        let written = self.file.write(&drawing::draw(&figures));
        written.map_err(BenchError::PlotNotWritten)
    }

    fn measure(
        &mut self,
        peers: &mut [Peer],
        shapes: &[Shape],
        args: &BenchArgs,
        signals: &Signals,
    ) -> Result<(), BenchError> {
        let missing = shapes.iter().filter(|shape| !self.rounds.has(**shape));
        let missing: Vec<Shape> = missing.copied().collect();
        let mut left = missing.len() as u64 * u64::from(args.rounds) * peers.len() as u64;
        for shape in missing {
            for round in 1..=args.rounds {
                for peer in &mut *peers {
                    let seconds = left * (args.seconds + WARM_UP.as_secs()) + failover::SECONDS;
                    let (name, rounds) = (peer.name(), args.rounds);
                    progress(
                        &format!("{shape}: round {round} of {rounds}: {name}"),
                        seconds,
                    );
                    let result = measure_once(peer, shape, args, signals)?;
                    self.rounds.add(shape, name, &result);
                    left -= 1;
                }
            }
        }
        Ok(())
    }
}

/// Requests in flight on each connection, however many there are.
fn depth(args: &BenchArgs) -> u64 {
    let [busy, ..] = SHAPES;
    args.depth.or(busy.depth()).unwrap_or(1)
}

/// The loads under which throughput is drawn.
fn sweep(args: &BenchArgs) -> Vec<Shape> {
    let pace = Pace::Closed(depth(args));
    let counts = counts(args.connections).into_iter();
    counts
        .map(|connections| Shape { connections, pace })
        .collect()
}

/// How many connections, in order: what was asked for is the most, and what lies close to it is left out.
fn counts(most: Option<u32>) -> Vec<u32> {
    let Some(most) = most else {
        return SWEEP.to_vec();
    };
    let fewer = SWEEP.into_iter().filter(|count| 4 * count <= 3 * most);
    fewer.chain([most]).collect()
}

/// The busiest load and the quietest one.
fn extremes(told: &[Shape]) -> Vec<Shape> {
    let in_flight = |shape: &&Shape| u64::from(shape.connections) * shape.depth().unwrap_or(1);
    let busiest = told.iter().max_by_key(in_flight);
    let quietest = told.iter().min_by_key(in_flight);
    let quietest = quietest.filter(|shape| Some(*shape) != busiest);
    busiest.into_iter().chain(quietest).copied().collect()
}

/// How it was measured, for whoever sees nothing but the drawing.
fn facts(args: &BenchArgs) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or_else(
        |_| "an unknown number of cores".to_owned(),
        |count| match count.get() {
            1 => "1 core".to_owned(),
            count => format!("{count} cores"),
        },
    );
    let rounds = match args.rounds {
        1 => "1 round".to_owned(),
        count => format!("Medians of {count} rounds"),
    };
    let value = args.request.to_possible_value();
    let request = value.map_or_else(String::new, |it| it.get_name().to_uppercase());
    let protocol = match args.protocol {
        Spoken::Resp => "Redis's protocol",
        Spoken::Native => "the native protocol, in sessions",
    };
    vec![
        format!(
            "{request} over {protocol}. Durability of Standin: {}.",
            args.durability
        ),
        format!(
            "{rounds}, {} s counted in each. Services and load generator share one machine with {cores}.",
            args.seconds
        ),
    ]
}

/// Says on a terminal what is going on, and how long it will take.
fn progress(what: &str, seconds: u64) {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let left = match seconds {
            0..120 => format!("{seconds} s"),
            _ => format!("{} min", seconds.div_ceil(60)),
        };
        // A line that is erased first; losing it loses nothing.
        let _ = write!(err, "\r\x1b[K{what}; about {left} to go for the drawing\r");
    }
}

#[cfg(test)]
mod tests;
