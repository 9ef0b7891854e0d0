//! `standin status`: the view, the lease and every replica.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use standin_client::ViewServices;
use standin_core::identity::ReplicaName;
use standin_core::message::{RoleName, StatusReply, UNSEEN_DEAD_MS};
use standin_core::time::Duration;

use super::{EXIT_MISUSED, EXIT_NO, duration, output};
use crate::status::{Account, LeaseAccount, ReplicaAccount, ViewAccount, role};

/// How often `--watch` looks.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Moves a terminal's cursor to its corner and clears the screen.
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

/// The arguments of `standin status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin status --viewservice 127.0.0.1:7000 --name a --expect backup\n\n\
    Exit status: 0 shown, or it is what was expected; 1 it is not; 2 misused; 3 no view service \
    was reached in time."
)]
pub(crate) struct StatusArgs {
    /// Address of the view service; several are separated by commas
    #[arg(long, env = "STANDIN_VIEWSERVICE", value_name = "ADDR")]
    viewservice: ViewServices,
    /// How long to try
    #[arg(long, env = "STANDIN_TIMEOUT", default_value = "2s", value_parser = duration::parse)]
    timeout: Duration,
    /// Print JSON, on one line
    #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
    /// Look again every half second, until Ctrl-C
    #[arg(long, env = "STANDIN_WATCH", value_parser = BoolishValueParser::new())]
    watch: bool,
    /// The replica that --expect asks about
    #[arg(long, env = "STANDIN_NAME")]
    name: Option<ReplicaName>,
    /// Print nothing; answer by exit status whether the replica is this
    #[arg(long, env = "STANDIN_EXPECT", requires = "name")]
    expect: Option<Expected>,
}

/// The roles that can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Expected {
    /// The primary of an active view
    Primary,
    /// The backup
    Backup,
    /// In no role
    Spare,
}

impl Expected {
    fn role(self) -> RoleName {
        match self {
            Self::Primary => RoleName::Primary,
            Self::Backup => RoleName::Backup,
            Self::Spare => RoleName::Spare,
        }
    }
}

/// Shows the status, once or again and again, or answers what is expected.
pub(crate) fn run(args: StatusArgs) -> u8 {
    // Not left to clap, for which a variable that says no is a flag that is given.
    for (is_given, flag) in [(args.json, "--json"), (args.watch, "--watch")] {
        if is_given && args.expect.is_some() {
            output::error(format_args!(
                "the argument '--expect' cannot be used with '{flag}'; see 'standin status --help'"
            ));
            return EXIT_MISUSED;
        }
    }
    if args.watch {
        return watch(&args);
    }
    let reply = match standin_client::status(&args.viewservice, args.timeout) {
        Ok(reply) => reply,
        Err(error) => return super::not_told(&error),
    };
    if let (Some(name), Some(expected)) = (&args.name, args.expect) {
        return match check(&reply, name, expected) {
            Ok(()) => 0,
            Err(what) => {
                output::error(format_args!("{what}"));
                EXIT_NO
            }
        };
    }
    output::written(output::write(render(&Account::of(&reply), args.json)))
}

/// Says in words what the replica is instead, if it isn't what is expected.
fn check(reply: &StatusReply, name: &ReplicaName, expected: Expected) -> Result<(), String> {
    let expected = expected.role();
    let mut replicas = reply.replicas.iter();
    let Some(replica) = replicas.find(|replica| replica.peer.identity.name == *name) else {
        return Err(format!(
            "asked whether {name} is {}, but the cluster has no replica of that name",
            expected.word()
        ));
    };
    match role(reply.record.as_ref(), replica) {
        Some(role) if role == expected => Ok(()),
        Some(role) => Err(format!(
            "{name} is {}, not {}",
            role.word(),
            expected.word()
        )),
        None if replica.peer.unseen_ms == UNSEEN_DEAD_MS => {
            let expected = expected.word();
            Err(format!("{name} is not {expected}: its process has died"))
        }
        None => Err(format!(
            "{name} is not {}: it was last heard of {} ms ago",
            expected.word(),
            replica.peer.unseen_ms
        )),
    }
}

fn watch(args: &StatusArgs) -> u8 {
    let is_screen = !args.json && io::stdout().is_terminal();
    let mut shown = None;
    loop {
        let news = standin_client::status(&args.viewservice, args.timeout)
            .map(|reply| Account::of(&reply))
            .map_err(|error| error.to_string());
        let written = if is_screen {
            let text = match &news {
                Ok(account) => render(account, false),
                Err(error) => format!("{error}\n"),
            };
            output::write(format!("{CLEAR_SCREEN}{text}"))
        } else {
            show_news(news, &mut shown, args.json)
        };
        if written.is_err() {
            return output::written(written);
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// Prints what differs from what was shown before. The time left of the lease alone is no news.
fn show_news(
    news: Result<Account, String>,
    shown: &mut Option<Result<Account, String>>,
    is_json: bool,
) -> io::Result<()> {
    let text = news.as_ref().map(|account| render(account, is_json));
    let text = text.map_err(String::clone);
    let steady = Some(news.map(Account::without_time));
    if *shown == steady {
        return Ok(());
    }
    *shown = steady;
    match text {
        Ok(text) => output::write(&text),
        Err(error) => {
            output::error(format_args!("{error}"));
            Ok(())
        }
    }
}

fn render(account: &Account, is_json: bool) -> String {
    if is_json {
        return account.json();
    }
    account.table()
}

impl Account {
    fn without_time(mut self) -> Self {
        self.lease.remaining_ms = None;
        for replica in &mut self.replicas {
            replica.behind_ms = None;
        }
        self
    }

    fn table(&self) -> String {
        let mut text = String::new();
        match &self.view {
            Some(view) => view.words(&mut text),
            None => text.push_str("view    none yet: no replica has been seen\n"),
        }
        self.lease.words(&mut text);
        if let Some(versions) = self.versions_words() {
            push_line(&mut text, format_args!("machine {versions}"));
        }
        if let Some(reason) = &self.unavailable {
            push_line(&mut text, format_args!("unavailable: {reason}"));
        }
        if let Some(trouble) = &self.viewservice_trouble {
            push_line(&mut text, format_args!("view service: {trouble}"));
        }
        text.push('\n');
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(self.replicas.iter().map(ReplicaAccount::row));
        push_table(&mut text, &rows);
        for replica in &self.replicas {
            if let Some(trouble) = &replica.trouble {
                push_line(&mut text, format_args!("{}: {trouble}", replica.name));
            }
        }
        text
    }

    /// Which version of the machine each replica executes and supports; `None` if none supports another than the one
    /// that all execute.
    fn versions_words(&self) -> Option<String> {
        let known =
            |replica: &ReplicaAccount| replica.machine_version.zip(replica.machine_versions);
        let newest = self
            .replicas
            .iter()
            .filter_map(known)
            .map(|it| it.0)
            .max()?;
        let mut is_settled = true;
        let mut words = format!("version {newest}");
        for replica in &self.replicas {
            let Some((executing, supported)) = known(replica) else {
                continue;
            };
            is_settled &= executing == newest && supported == [newest; 2];
            let [oldest, newest_supported] = supported;
            let _ = write!(words, "; {} executes {executing}", replica.name);
            let _ = match oldest == newest_supported {
                true => write!(words, ", supports {oldest}"),
                false => write!(words, ", supports {oldest} to {newest_supported}"),
            };
        }
        (!is_settled).then_some(words)
    }
}

const HEAD: [&str; 11] = [
    "NAME",
    "ROLE",
    "ADDRESS",
    "VIEW",
    "LAST",
    "COMMIT",
    "APPLIED",
    "BEHIND",
    "LAG",
    "DIGEST",
    "INCARNATION",
];

/// Every column as wide as its widest cell, with two spaces between.
fn push_table(text: &mut String, rows: &[[String; HEAD.len()]]) {
    let mut widths = [0; HEAD.len()];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::new();
        for (&width, cell) in widths.iter().zip(row) {
            write!(line, "{cell:<width$}  ").expect("writing to memory cannot fail");
        }
        push_line(text, format_args!("{}", line.trim_end()));
    }
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to memory cannot fail");
}

impl ViewAccount {
    fn words(&self, text: &mut String) {
        let primary = &self.primary;
        let role = if self.active { "primary" } else { "candidate" };
        let backup = self.backup.as_deref().unwrap_or("none");
        let (number, cause) = (self.number, self.cause);
        let view = format_args!("view    {number}: {role} {primary}, backup {backup} ({cause})");
        push_line(text, view);
    }
}

impl LeaseAccount {
    fn words(&self, text: &mut String) {
        let term_ms = self.term_ms;
        match (&self.holder, self.remaining_ms) {
            (Some(holder), Some(left)) => {
                push_line(
                    text,
                    format_args!("lease   {holder}, {left} of {term_ms} ms left"),
                );
            }
            _ => push_line(text, format_args!("lease   nobody holds it ({term_ms} ms)")),
        }
    }
}

impl ReplicaAccount {
    fn row(&self) -> [String; HEAD.len()] {
        let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |n| n.to_string());
        let digest = self.digest.as_deref().and_then(|digest| digest.get(..8));
        [
            self.name.clone(),
            self.role.unwrap_or("dead").to_owned(),
            self.address.clone(),
            number(self.view),
            number(self.last_index),
            number(self.commit_index),
            number(self.applied_index),
            number(self.behind),
            self.behind_ms
                .map_or_else(|| "-".into(), |ms| format!("{ms} ms")),
            digest.unwrap_or("-").to_owned(),
            self.incarnation.clone(),
        ]
    }
}

#[cfg(test)]
mod tests;
