//! `standin log`: what stands in a replica's log.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;
use standin_core::entry::{
    CloseSession, Command, Entry, EntryKind, Handover, Index, Run, TimerFired, Upgrade, ViewStart,
};
use standin_core::machine::{StateMachine, bytes_in_words};
use standin_core::message::decode_payload;
use standin_io::log::{LogReader, ReadError};

use super::moment::utc;
use super::{EXIT_MISUSED, EXIT_NO, output};
use crate::machines;

/// The arguments of `standin log`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  standin log data-a --from 100 --to 200\n\n\
    One line for each entry: index, view, logged time (UTC), kind, session, the request's number in it, and the \
    input in the machine's own words. Changes nothing; the replica may run. A log begins where the older of the \
    replica's two snapshots ends, unless it is kept with --keep-log.\n\n\
    Exit status: 0 shown up to --to or to the log's end; 1 the log cannot be read, or not to its end; 2 misused.")]
pub(crate) struct LogArgs {
    /// Data directory of a replica
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// First entry
    #[arg(long, env = "STANDIN_FROM", value_name = "INDEX")]
    from: Option<u64>,
    /// Last entry
    #[arg(long, env = "STANDIN_TO", value_name = "INDEX")]
    to: Option<u64>,
    /// Print JSON, one line for each entry
    #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

/// What `--json` prints of an entry. The fields are a promise; more may be added.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Account {
    pub(super) index: u64,
    view: u64,
    time: String,
    /// Logged time in nanoseconds since 1970.
    time_ns: u64,
    kind: &'static str,
    /// Null where an entry belongs to no session.
    session: Option<u64>,
    /// Of several commands, the first.
    sequence: Option<u64>,
    /// How many commands of the session it has; null where it has none.
    commands: Option<u64>,
    input: String,
    /// Header and payload.
    bytes: u32,
}

/// Why nothing more is shown.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read the log of {dir}: {source}", dir = dir.display())]
    Read { dir: PathBuf, source: ReadError },
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Shows the log.
pub(crate) fn run<M: StateMachine>(args: &LogArgs) -> u8 {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        output::error(format_args!(
            "cannot show a log from entry {from} to entry {to}: --from comes after --to"
        ));
        return EXIT_MISUSED;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = show::<M>(args, &mut out).and_then(|()| Ok(out.flush()?));
    match shown {
        Ok(()) => 0,
        Err(Failure::Output(error)) => output::written(Err(error)),
        Err(failure) => {
            // What was read is shown first.
            drop(out);
            output::error(format_args!("{failure}"));
            EXIT_NO
        }
    }
}

fn show<M: StateMachine>(args: &LogArgs, out: &mut impl Write) -> Result<(), Failure> {
    let failed = |source| read_failed(&args.dir, source);
    let mut reader = LogReader::open(&args.dir).map_err(failed)?;
    let words = machines::command_words::<M>(reader.header().machine.name());
    let begins = reader.tip().index.next();
    if let Some(from) = args.from.filter(|from| *from < begins.0) {
        output::error(format_args!(
            "the log of {} begins at entry {begins}: entry {from} was let go of, since snapshots cover it, or never was",
            args.dir.display()
        ));
    }
    let from = args.from.unwrap_or(0).max(begins.0);
    reader.go_near(Index(from)).map_err(failed)?;
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        let index = entry.header.index.0;
        if args.to.is_some_and(|to| index > to) {
            return Ok(());
        }
        if index < from {
            continue;
        }
        let account = Account::of(&entry, words);
        match args.json {
            true => {
                serde_json::to_writer(&mut *out, &account).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            false => account.put(out)?,
        }
    }
    if let Some(unfinished) = reader.unfinished() {
        output::error(format_args!(
            "behind entry {} {unfinished}; a replica that runs may be at it",
            reader.tip().index
        ));
    }
    Ok(())
}

fn read_failed(dir: &Path, source: ReadError) -> Failure {
    Failure::Read {
        dir: dir.to_owned(),
        source,
    }
}

impl Account {
    /// Of an entry of the log of a machine whose commands these words are of.
    pub(super) fn of(entry: &Entry<'_>, words: fn(&[u8]) -> String) -> Self {
        let header = &entry.header;
        let (mut session, mut sequence, mut commands) = (None, None, None);
        let (kind, input) = match header.kind {
            EntryKind::ViewStart => ("view", view_words(entry.payload)),
            EntryKind::OpenSession => {
                session = Some(header.index.0);
                ("open", None)
            }
            EntryKind::CloseSession => {
                let close: Option<CloseSession> = decode_payload(entry.payload);
                session = close.map(|close| close.session);
                ("close", close.map(|_| String::new()))
            }
            EntryKind::Command => {
                let command = Command::decode(entry.payload);
                session = command.map(|command| command.session);
                sequence = command.map(|command| command.sequence);
                commands = command.map(|_| 1);
                ("command", command.map(|command| words(command.bytes)))
            }
            EntryKind::Run => {
                let run = Run::decode(entry.payload);
                session = run.map(|run| run.session);
                sequence = run.map(|run| run.sequence);
                commands = run.map(|run| run.commands().count() as u64);
                let said = |run: Run<'_>| {
                    let commands = run.commands().map(|command| words(command.bytes));
                    commands.collect::<Vec<_>>().join("; ")
                };
                ("run", run.map(said))
            }
            EntryKind::Direct => ("direct", Some(words(entry.payload))),
            EntryKind::Timer => {
                let fired: Option<TimerFired> = decode_payload(entry.payload);
                let said = |it: TimerFired| format!("timer {} of {}", it.id, utc(it.deadline));
                ("timer", fired.map(said))
            }
            EntryKind::Handover => {
                let handover: Option<Handover> = decode_payload(entry.payload);
                ("handover", handover.map(|it| format!("to {}", it.to)))
            }
            EntryKind::Upgrade => {
                let upgrade: Option<Upgrade> = decode_payload(entry.payload);
                let said = |it: Upgrade| format!("to version {} of the machine", it.version);
                ("upgrade", upgrade.map(said))
            }
        };
        let is_bare = header.kind == EntryKind::OpenSession;
        let input = input.unwrap_or_else(|| match is_bare {
            true => String::new(),
            false => format!("cannot be read: {}", bytes_in_words(entry.payload)),
        });
        Self {
            index: header.index.0,
            view: header.view.0,
            time: utc(header.time),
            time_ns: header.time.0,
            kind,
            session,
            sequence,
            commands,
            input,
            bytes: header.length,
        }
    }

    fn put(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.line())
    }

    /// In words, without columns.
    pub(super) fn words(&self) -> String {
        let Self {
            index,
            view,
            kind,
            input,
            ..
        } = self;
        let number = self.sequence_words().map(|it| format!(" {it}"));
        let number = number.unwrap_or_default();
        let session = self.session.map(|it| format!(" of session {it}"));
        let session = session.unwrap_or_default();
        let text = format!("{index} of view {view}, {kind}{number}{session}: {input}");
        text.trim_end_matches(": ").to_owned()
    }

    /// The number of its command in the session, or those of the first and the last.
    fn sequence_words(&self) -> Option<String> {
        let first = self.sequence?;
        let last = first.saturating_add(self.commands?.saturating_sub(1));
        Some(match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
    }

    fn line(&self) -> String {
        let or_dash = |number: Option<u64>| number.map_or("-".to_owned(), |it| it.to_string());
        let Self {
            index,
            view,
            time,
            kind,
            input,
            ..
        } = self;
        let session = or_dash(self.session);
        let sequence = self.sequence_words().unwrap_or_else(|| "-".to_owned());
        let line =
            format!("{index:>10} {view:>4} {time} {kind:<8} {session:>10} {sequence:>8} {input}");
        line.trim_end().to_owned()
    }
}

/// What begins with a view.
fn view_words(payload: &[u8]) -> Option<String> {
    let start = ViewStart::decode(payload)?;
    let mut text = format!("primary {}, level {}", start.primary, start.durability);
    if start.data_epoch.0 > 0 {
        text += &format!(", data epoch {}", start.data_epoch.0);
    }
    if !start.skips.is_empty() {
        let skips: Vec<String> = start
            .skips
            .iter()
            .map(|skip| skip.index.to_string())
            .collect();
        text += &format!(", skips {}", skips.join(", "));
    }
    Some(text)
}
