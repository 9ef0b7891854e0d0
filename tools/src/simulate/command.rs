//! `standin simulate`: runs seeds and tells what they came to.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, value_parser};
use serde::Serialize;

use super::fault::FaultKind;
use super::marks::Mark;
use super::plan::Plan;
use super::run::{Failure, Outcome, Summary, run, run_many, run_traced, shrink};
use super::watched::Subject;
use crate::output;

/// Something did not hold.
const EXIT_NO: u8 = 1;
/// The command was misused.
const EXIT_MISUSED: u8 = 2;
/// So many seeds reach every situation that is demanded.
const SEEDS_THAT_REACH_ALL: u64 = 1000;
/// So many failures are enough to look at.
const FAILURES_MAX: usize = 10;
/// So many of them are told in full.
const FAILURES_TOLD: usize = 3;

/// The arguments of `standin simulate`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  standin simulate --seeds 1000\n  standin simulate --seed 8127 --trace trace.txt\n\n\
    Exit status: 0 everything held; 1 something did not; 2 misused."
)]
pub struct SimulateArgs {
    /// How many seeds to run
    #[arg(long, env = "STANDIN_SEEDS", default_value_t = 100, value_name = "N",
        value_parser = value_parser!(u64).range(1..=100_000_000))]
    pub seeds: u64,
    /// The first of them
    #[arg(long, env = "STANDIN_FROM", default_value_t = 1, value_name = "N")]
    pub from: u64,
    /// Run this seed alone
    #[arg(long, env = "STANDIN_SEED", value_name = "N", conflicts_with_all = ["seeds", "from"])]
    pub seed: Option<u64>,
    /// With --seed: only these kinds of fault, separated by commas, or none
    #[arg(long, env = "STANDIN_FAULTS", value_name = "KIND", value_delimiter = ',', requires = "seed",
        value_parser = fault_kind)]
    pub faults: Option<Vec<Option<FaultKind>>>,
    /// With --seed: so many clients
    #[arg(long, env = "STANDIN_CLIENTS", value_name = "N", requires = "seed",
        value_parser = value_parser!(u8).range(1..=16))]
    pub clients: Option<u8>,
    /// With --seed: at most so many calls of each client before the faults end
    #[arg(long, env = "STANDIN_CALLS", value_name = "N", requires = "seed")]
    pub calls: Option<u32>,
    /// With --seed: so many calls of each client open at one time
    #[arg(long, env = "STANDIN_CALLS_OPEN", value_name = "N", requires = "seed",
        value_parser = value_parser!(u8).range(1..=16))]
    pub calls_open: Option<u8>,
    /// With --seed: if it fails, look for a smaller run that fails likewise
    #[arg(long, env = "STANDIN_SHRINK", requires = "seed", value_parser = BoolishValueParser::new())]
    pub shrink: bool,
    /// Write what happened, line by line, to FILE; needs --seed
    #[arg(long, env = "STANDIN_TRACE", value_name = "FILE", requires = "seed")]
    pub trace: Option<PathBuf>,
    /// End with the outcome as one line of JSON
    #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// Runs the command; its exit status.
#[must_use]
pub fn command<M: Subject>(args: &SimulateArgs) -> u8 {
    // An assertion that does not hold is reported with its seed, like every other property.
    std::panic::set_hook(Box::new(|_| {}));
    let summary = match args.seed {
        Some(seed) if args.shrink => return shrink_one::<M>(plan_of(seed, args)),
        Some(seed) => match one::<M>(plan_of(seed, args), args.trace.as_ref()) {
            Ok(summary) => summary,
            Err(error) => {
                let path = args.trace.as_deref().unwrap_or_else(|| "".as_ref());
                output::error(format_args!(
                    "cannot write the trace to {}: {error}; choose another --trace",
                    path.display()
                ));
                return EXIT_MISUSED;
            }
        },
        None => many::<M>(args),
    };
    let written = output::written(tell(&mut io::stdout().lock(), &summary, args.json));
    if let Some(seed) = irreproducible::<M>(&summary) {
        output::error(format_args!(
            "seed {seed}, run once more, came to something else: the machine is not deterministic (docs/determinism.md has the \
             usual reasons)"
        ));
    }
    if summary.failures.is_empty() && missing(&summary).is_empty() {
        written
    } else {
        EXIT_NO
    }
}

/// The first seed that failed, if it does not fail likewise once more: what a simulator does comes from the seed alone.
fn irreproducible<M: Subject>(summary: &Summary) -> Option<u64> {
    let failure = summary.failures.first()?;
    let again = run::<M>(failure.seed);
    let is_same = again.is_err_and(|it| it.violation == failure.violation);
    (!is_same).then_some(failure.seed)
}

/// Situations that so many runs should have reached and have not.
fn missing(summary: &Summary) -> Vec<&'static str> {
    if summary.runs < SEEDS_THAT_REACH_ALL {
        return Vec::new();
    }
    summary.all.marks.missing().map(Mark::words).collect()
}

/// A kind of fault by its name; "none" is none.
fn fault_kind(name: &str) -> Result<Option<FaultKind>, String> {
    if name == "none" {
        return Ok(None);
    }
    let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.map(Some).ok_or_else(|| {
        let names = FaultKind::ALL.map(FaultKind::name);
        format!("the kinds of fault are {}, and none", names.join(", "))
    })
}

/// The plan of a seed, with what the command line says otherwise.
fn plan_of(seed: u64, args: &SimulateArgs) -> Plan {
    let mut plan = Plan::draw(seed);
    if let Some(faults) = &args.faults {
        plan.faults = faults.iter().copied().flatten().collect();
    }
    if let Some(clients) = args.clients {
        plan.set_clients(usize::from(clients));
    }
    plan.calls = args.calls.or(plan.calls);
    plan.calls_open = args.calls_open.map_or(plan.calls_open, usize::from);
    plan
}

fn many<M: Subject>(args: &SimulateArgs) -> Summary {
    let summary = run_many::<M>(args.from, args.seeds, FAILURES_MAX, &progress(args.seeds));
    if summary.runs < summary.asked && io::stderr().is_terminal() {
        // The line that shows how far it is was to be written again.
        let _ = writeln!(io::stderr());
    }
    summary
}

fn one<M: Subject>(plan: Plan, trace: Option<&PathBuf>) -> io::Result<Summary> {
    let mut file = trace
        .map(std::fs::File::create)
        .transpose()?
        .map(io::BufWriter::new);
    let (result, lines) = run_traced::<M>(plan);
    if let Some(file) = &mut file {
        file.write_all(lines.as_bytes())?;
        file.flush()?;
    }
    let mut summary = Summary {
        asked: 1,
        ..Summary::default()
    };
    summary.add(result);
    Ok(summary)
}

fn shrink_one<M: Subject>(plan: Plan) -> u8 {
    let before = plan.flags();
    let Some((plan, failure)) = shrink::<M>(plan) else {
        return output::line(format_args!("everything holds: there is nothing to shrink"));
    };
    let flags = plan.flags();
    let came_of_it = match flags == before {
        true => "no smaller run was found that fails likewise",
        false => "the smallest run that was found and fails likewise",
    };
    let told = output::line(format_args!(
        "{} at {:.6} s\n{came_of_it}:\n  {} simulate {flags} --trace trace.txt",
        failure.violation,
        seconds(failure.nanos),
        output::program(),
    ));
    told.max(EXIT_NO)
}

/// Shows on a terminal how far the seeds are.
fn progress(seeds: u64) -> impl Fn(u64) + Sync {
    let is_shown = io::stderr().is_terminal();
    let step = (seeds / 200).max(1);
    move |done| {
        if is_shown && (done % step == 0 || done == seeds) {
            let end = if done == seeds { '\n' } else { '\r' };
            let _ = write!(io::stderr(), "  {done} of {seeds} seeds{end}");
        }
    }
}

/// The outcome as JSON. Names are promises to scripts.
#[derive(Serialize)]
struct Json<'a> {
    /// Those that were run.
    seeds: u64,
    failed: Vec<JsonFailure<'a>>,
    steps: u64,
    virtual_seconds: u64,
    answered: u64,
    unanswered: u64,
    faults: Vec<(&'static str, u64)>,
    situations: Vec<(&'static str, u64)>,
    demands: Vec<(&'static str, u64)>,
    /// Seeds that were asked for.
    asked: u64,
}

#[derive(Serialize)]
struct JsonFailure<'a> {
    seed: u64,
    property: &'static str,
    demands: &'static str,
    at_seconds: f64,
    what: &'a str,
    command: String,
}

fn reproduce(failure: &Failure) -> String {
    let (program, seed) = (output::program(), failure.seed);
    format!("{program} simulate --seed {seed} --trace trace.txt")
}

#[allow(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn tell(out: &mut impl io::Write, summary: &Summary, is_json: bool) -> io::Result<()> {
    if !is_json {
        tell_people(out, summary)?;
    }
    for words in missing(summary) {
        writeln!(
            out,
            "never reached: {words}; the runs prove less than they should"
        )?;
    }
    tell_failures(out, summary)?;
    match is_json {
        true => tell_json(out, summary),
        false => Ok(()),
    }
}

/// What is to be looked at comes last.
fn tell_failures(out: &mut impl io::Write, summary: &Summary) -> io::Result<()> {
    let failures = &summary.failures;
    if failures.is_empty() {
        return Ok(());
    }
    for failure in failures.iter().take(FAILURES_TOLD) {
        writeln!(out, "{failure}\n  {}", reproduce(failure))?;
    }
    let more = failures.iter().skip(FAILURES_TOLD);
    let more: Vec<String> = more.map(|failure| failure.seed.to_string()).collect();
    if !more.is_empty() {
        writeln!(out, "and likewise with --seed {}", more.join(", "))?;
    }
    let (count, runs) = (failures.len(), seeds(summary.runs));
    write!(out, "{count} of {runs} failed")?;
    if summary.runs < summary.asked {
        write!(
            out,
            "; these were enough, and the others of the {} that were asked for were not run",
            summary.asked
        )?;
    }
    writeln!(
        out,
        "; docs/determinism.md tells what S1 and the like mean for the author of a machine"
    )
}

fn seeds(count: u64) -> String {
    match count {
        1 => "1 seed".to_owned(),
        count => format!("{count} seeds"),
    }
}

fn tell_json(out: &mut impl io::Write, summary: &Summary) -> io::Result<()> {
    let all = &summary.all;
    let failed = summary.failures.iter().map(|failure| JsonFailure {
        seed: failure.seed,
        property: failure.violation.property,
        demands: failure.violation.demands(),
        at_seconds: seconds(failure.nanos),
        what: &failure.violation.what,
        command: reproduce(failure),
    });
    let json = Json {
        seeds: summary.runs,
        failed: failed.collect(),
        steps: all.steps,
        virtual_seconds: all.nanos / 1_000_000_000,
        answered: all.answered,
        unanswered: all.unanswered,
        faults: faults(all).collect(),
        situations: situations(all).collect(),
        demands: all.demands.rows().to_vec(),
        asked: summary.asked,
    };
    serde_json::to_writer(&mut *out, &json)?;
    writeln!(out)
}

fn faults(all: &Outcome) -> impl Iterator<Item = (&'static str, u64)> {
    FaultKind::ALL
        .into_iter()
        .map(|kind| (kind.words(), all.faults.count(kind)))
}

fn situations(all: &Outcome) -> impl Iterator<Item = (&'static str, u64)> {
    Mark::ALL
        .into_iter()
        .map(|mark| (mark.words(), all.marks.count(mark)))
}

/// What came of those seeds with which everything held.
fn tell_people(out: &mut impl io::Write, summary: &Summary) -> io::Result<()> {
    let all = &summary.all;
    let failed = summary.failures.len();
    write!(out, "{}, {failed} failed", seeds(summary.runs))?;
    if summary.runs == failed as u64 {
        return writeln!(out);
    }
    writeln!(
        out,
        "{}: {} steps, {} virtual seconds, {} calls answered, {} not",
        if failed > 0 { "; the others" } else { "" },
        all.steps,
        all.nanos / 1_000_000_000,
        all.answered,
        all.unanswered
    )?;
    for (title, rows) in [
        ("faults", faults(all).collect::<Vec<_>>()),
        ("situations reached", situations(all).collect()),
        ("once the faults had ended", all.demands.rows().to_vec()),
    ] {
        writeln!(out, "{title}:")?;
        for (words, count) in rows {
            writeln!(out, "{count:>12}  {words}")?;
        }
    }
    Ok(())
}
