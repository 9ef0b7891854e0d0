//! `standin replay-run`: one of the replays that `standin replay --diff` compares, in a process of its own.

use std::path::PathBuf;

use clap::Args;
use standin_core::entry::Index;
use standin_core::machine::StateMachine;
use standin_core::poison::Skip;
use standin_core::view::ViewNumber;
use standin_io::log::LogReader;
use standin_tools::replay::run::{Point, RunRequest, run as replay};

use super::super::{EXIT_NO, output};
use super::{Failure, unknown_machine};
use crate::machines::{counter::Counter, kv::KeyValue};

/// The arguments of `standin replay-run`. People do not type them.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[arg(long)]
    from: u64,
    #[arg(long)]
    after: u64,
    #[arg(long)]
    until: u64,
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    step: u64,
    #[arg(long, value_name = "INDEX:VIEW", value_parser = skip)]
    skip: Vec<Skip>,
    #[arg(long)]
    parts: bool,
}

fn skip(text: &str) -> Result<Skip, String> {
    let parts = text.split_once(':');
    let numbers = parts.and_then(|(index, view)| Some((index.parse().ok()?, view.parse().ok()?)));
    let (index, view) = numbers.ok_or("an entry is an index and a view, such as 19:1")?;
    Ok(Skip {
        index: Index(index),
        view: ViewNumber(view),
    })
}

/// Prints what the replay comes to, a line for each point.
pub(crate) fn run<M: StateMachine>(args: &RunArgs) -> u8 {
    let told = points::<M>(args).and_then(|points| {
        let mut text = Vec::new();
        for point in &points {
            serde_json::to_writer(&mut text, point)
                .map_err(|error| (EXIT_NO, error.to_string()))?;
            text.push(b'\n');
        }
        output::write(text).map_err(|error| (EXIT_NO, error.to_string()))
    });
    match told {
        Ok(()) => 0,
        Err((status, why)) => {
            output::error(format_args!("{why}"));
            status
        }
    }
}

fn points<M: StateMachine>(args: &RunArgs) -> Result<Vec<Point>, Failure> {
    let request = RunRequest {
        dir: args.dir.clone(),
        from: Index(args.from),
        after: Index(args.after),
        until: Index(args.until),
        step: args.step,
        skips: args.skip.clone(),
        tells_parts: args.parts,
    };
    let failed = |error: &dyn std::error::Error| (EXIT_NO, error.to_string());
    let reader = LogReader::open(&args.dir).map_err(|error| failed(&error))?;
    let points = match reader.header().machine.name() {
        name if name == M::NAME => replay::<M>(&request),
        Counter::NAME => replay::<Counter>(&request),
        KeyValue::NAME => replay::<KeyValue>(&request),
        name => return Err(unknown_machine(name)),
    };
    points.map_err(|error| failed(&error))
}
