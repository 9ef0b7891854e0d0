//! `standin replay --diff`: two replicas' data directories, and the entry at which they parted.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use standin_core::machine::StateMachine;
use standin_io::log::LogReader;
use standin_tools::replay::children::ChildRuns;
use standin_tools::replay::diff::{By, Diff, Parting, Verdict, diff};
use standin_tools::replay::logs::{Extent, FoundEntry};
use standin_tools::replay::search::DifferingPart;

use super::super::log::Account as EntryAccount;
use super::super::{EXIT_NO, output};
use super::{Failure, unknown_machine};
use crate::machines::{self, counter::Counter, kv::KeyValue};

/// Parts of the state that are shown to people; JSON has more.
const PARTS_SHOWN: usize = 10;
/// Parts of the state in JSON.
const PARTS_TOLD_MAX: usize = 1000;

/// What `--json` prints. The fields are a promise; more may be added.
#[derive(Debug, Serialize)]
struct Account {
    same: bool,
    machine: String,
    directories: [String; 2],
    logs: [Span; 2],
    /// What differs: `log`, `reply` or `state`; null if nothing does.
    what: Option<&'static str>,
    /// The entry, if it is known.
    index: Option<u64>,
    /// Else it is behind this one, and not behind that. Null: it may be any from the beginning on.
    after: Option<u64>,
    through: Option<u64>,
    /// How it is known: `log`, `replies`, `replays` or `snapshots`.
    by: Option<&'static str>,
    /// The entry; both of them where the logs differ.
    entries: Vec<EntryAccount>,
    /// Both replies, where one differs and they are known.
    replies: Option<[String; 2]>,
    /// The first entry whose replies the replicas remembered to differ.
    reply_index: Option<u64>,
    /// Both of them, if both are remembered.
    reply_words: Option<[String; 2]>,
    parts: Vec<Part>,
    /// How many parts differ.
    parts_count: usize,
    /// After which entry they are; and whose they are: `directories`, or two `replays`.
    parts_index: Option<u64>,
    parts_of: Option<&'static str>,
    /// Which directories recorded what some replay comes to.
    confirmed: [bool; 2],
    /// Where replays differ among themselves: behind the first of these entries, up to the second.
    unlike_after: Option<u64>,
    unlike_through: Option<u64>,
    /// Pairs of replays that were made.
    pairs: Option<u32>,
    not_replayed: Option<String>,
    /// After so many entries both recorded the same digests.
    compared: u64,
    replies_through: Option<u64>,
    damaged: Vec<String>,
}

/// The entries that a log has.
#[derive(Debug, Serialize)]
struct Span {
    first: u64,
    last: u64,
}

/// A part of the state that differs.
#[derive(Debug, Serialize)]
struct Part {
    name: String,
    values: [Option<String>; 2],
}

/// Compares, and says what differs.
pub(super) fn run<M: StateMachine>(dirs: [&Path; 2], attempts: u32, is_json: bool) -> u8 {
    match compare::<M>(dirs, attempts) {
        Ok((account, text)) => {
            let shown = match is_json {
                true => serde_json::to_string(&account).expect("names and numbers become JSON"),
                false => text,
            };
            let written = output::line(format_args!("{shown}"));
            match account.same {
                true => written,
                false => EXIT_NO,
            }
        }
        Err((status, why)) => {
            let [one, other] = dirs.map(Path::display);
            output::error(format_args!("cannot compare {one} and {other}: {why}"));
            status
        }
    }
}

/// By the machine whose logs they are.
fn compare<M: StateMachine>(dirs: [&Path; 2], attempts: u32) -> Result<(Account, String), Failure> {
    let reader = LogReader::open(dirs[0]).map_err(|error| (EXIT_NO, error.to_string()))?;
    let name = reader.header().machine.name().to_owned();
    let mut runs = ChildRuns::new().map_err(|error| (EXIT_NO, error.to_string()))?;
    let compared = match name.as_str() {
        name if name == M::NAME => diff::<M, _>(dirs, attempts, &mut runs),
        Counter::NAME => diff::<Counter, _>(dirs, attempts, &mut runs),
        KeyValue::NAME => diff::<KeyValue, _>(dirs, attempts, &mut runs),
        name => return Err(unknown_machine(name)),
    };
    let found = compared.map_err(|error| (EXIT_NO, error.to_string()))?;
    let words = machines::command_words::<M>(&name);
    let account = Account::of(&found, words);
    let text = account.render();
    Ok((account, text))
}

impl Account {
    fn of(found: &Diff, words: fn(&[u8]) -> String) -> Self {
        let entry = |it: &FoundEntry| EntryAccount::of(&it.entry(), words);
        let base = Self::base(found);
        match &found.verdict {
            Verdict::Same {
                before,
                last,
                replays,
            } => Self {
                same: true,
                after: Some(replays.as_ref().map_or(*before, |(after, _)| *after).0),
                through: Some(last.0),
                pairs: replays.as_ref().ok().map(|(_, pairs)| *pairs),
                not_replayed: replays.as_ref().err().cloned(),
                ..base
            },
            Verdict::Logs { entries, is_first } => {
                let index = entries[0].header.index.0;
                Self {
                    what: Some("log"),
                    index: is_first.then_some(index),
                    after: is_first.then_some(index - 1),
                    through: Some(index),
                    by: Some("log"),
                    entries: entries.iter().map(entry).collect(),
                    ..base
                }
            }
            Verdict::Parted(parting) => base.with(parting, entry),
        }
    }

    /// What is said whatever the answer is.
    fn base(found: &Diff) -> Self {
        let span = |it: &Extent| Span {
            first: it.before.0 + 1,
            last: it.last.0,
        };
        Self {
            same: false,
            machine: found.extents[0].header.machine.to_string(),
            directories: found.dirs.each_ref().map(|dir| dir.display().to_string()),
            logs: found.extents.each_ref().map(span),
            what: None,
            index: None,
            after: None,
            through: None,
            by: None,
            entries: Vec::new(),
            replies: None,
            reply_index: None,
            reply_words: None,
            parts: Vec::new(),
            parts_count: 0,
            parts_index: None,
            parts_of: None,
            confirmed: [false; 2],
            unlike_after: None,
            unlike_through: None,
            pairs: None,
            not_replayed: None,
            compared: found.compared,
            replies_through: found.replies_through.map(|it| it.0),
            damaged: found.damaged.clone(),
        }
    }

    fn with(self, parting: &Parting, entry: impl Fn(&FoundEntry) -> EntryAccount) -> Self {
        let is_exact = parting.is_exact();
        let part = |it: &DifferingPart| Part {
            name: it.name.clone(),
            values: it.words.clone(),
        };
        Self {
            what: Some(if parting.is_reply { "reply" } else { "state" }),
            index: is_exact.then_some(parting.until.0),
            after: match is_exact {
                true => Some(parting.until.0 - 1),
                false => parting.after.map(|it| it.0),
            },
            through: Some(parting.until.0),
            by: Some(match parting.by {
                By::Replies => "replies",
                By::Replays => "replays",
                By::Snapshots => "snapshots",
            }),
            entries: parting.entry.iter().map(entry).collect(),
            replies: parting.replies.clone(),
            reply_index: parting.reply_at.map(|it| it.0),
            reply_words: parting.replies_at.clone(),
            parts_count: parting.parts.len(),
            parts: parting
                .parts
                .iter()
                .take(PARTS_TOLD_MAX)
                .map(part)
                .collect(),
            parts_index: parting.parts_of.map(|(index, _)| index.0),
            parts_of: parting.parts_of.map(|(_, is_own)| match is_own {
                true => "directories",
                false => "replays",
            }),
            confirmed: parting.confirmed,
            unlike_after: parting.unlike.map(|(after, _)| after.0),
            unlike_through: parting.unlike.map(|(_, through)| through.0),
            pairs: parting.replays.as_ref().ok().copied(),
            not_replayed: parting.replays.as_ref().err().cloned(),
            ..self
        }
    }

    /// For people: one block, the answer first.
    fn render(&self) -> String {
        let mut text = self.headline();
        let mut line = |words: String| {
            let _infallible = write!(text, "\n  {words}");
        };
        let [one, other] = &self.directories;
        for (place, entry) in self.entries.iter().enumerate() {
            let whose = match self.entries.len() {
                1 => "entry".to_owned(),
                _ => format!("entry in {}", self.directories[place]),
            };
            line(format!("{whose}: {}", entry.words()));
        }
        if let Some(replies) = &self.replies {
            let whose = match self.by {
                Some("replies") => [format!("reply in {one}"), format!("reply in {other}")],
                _ => ["reply in one replay", "reply in another"].map(str::to_owned),
            };
            for (whose, reply) in whose.iter().zip(replies) {
                line(format!("{whose}: {reply}"));
            }
        }
        self.parts_words().into_iter().for_each(&mut line);
        if let Some(index) = self.reply_index.filter(|it| self.index != Some(*it)) {
            let both = self.reply_words.as_ref();
            let both = both.map_or_else(String::new, |[first, second]| {
                format!(": {first} in {one}, and {second} in {other}")
            });
            line(format!(
                "the first reply that differs is that of entry {index}{both}"
            ));
        }
        self.known_words().into_iter().for_each(&mut line);
        for damaged in &self.damaged {
            line(format!("of no use: {damaged}"));
        }
        text
    }

    fn headline(&self) -> String {
        let [one, other] = &self.directories;
        let Some(what) = self.what else {
            return format!("the same: {one} and {other}");
        };
        let what = match what {
            "log" => "the logs, ",
            "reply" => "a reply, ",
            _ => "the state, ",
        };
        match (self.index, self.after, self.through) {
            (Some(index), ..) => format!("different: {what}from entry {index} on"),
            (None, Some(after), Some(through)) => {
                format!(
                    "different: {what}from one of the entries {} to {through} on",
                    after + 1
                )
            }
            (None, None, through) => {
                format!(
                    "different: {what}from entry {} or an earlier one on",
                    through.unwrap_or(0)
                )
            }
            (None, Some(after), None) => format!("different: {what}behind entry {after}"),
        }
    }

    fn parts_words(&self) -> Vec<String> {
        let (Some(index), Some(of)) = (self.parts_index, self.parts_of) else {
            let hint = "no part of the state differs by itself, of those that the machine tells of: what differs is their order (is there a \
                        HashMap or HashSet in it?), or something that it does not tell of";
            let is_state = self.what == Some("state") && self.index.is_some();
            return is_state.then(|| hint.to_owned()).into_iter().collect();
        };
        let [one, other] = match of {
            "directories" => self.directories.clone(),
            _ => ["one replay", "another"].map(str::to_owned),
        };
        let mut lines = vec![format!(
            "state after entry {index}, in {one} and in {other}:"
        )];
        let words = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        for part in self.parts.iter().take(PARTS_SHOWN) {
            let [one, other] = part.values.each_ref().map(words);
            lines.push(format!("  {}: {one} | {other}", part.name));
        }
        if self.parts_count > PARTS_SHOWN {
            lines.push(format!("  and {} more", self.parts_count - PARTS_SHOWN));
        }
        lines
    }

    /// How it is known, and what is known besides.
    fn known_words(&self) -> Vec<String> {
        let [one, other] = &self.directories;
        let [first, second] = &self.logs;
        let mut lines = vec![format!(
            "logs: {one} has the entries {} to {}, {other} {} to {}",
            first.first, first.last, second.first, second.last
        )];
        if self.what == Some("log") {
            lines.push(
                "a tail that was never committed is cut when its replica follows again; if one of the two was restored from an \
                 old copy, or an operator forced a takeover, the logs part for good"
                    .to_owned(),
            );
            return lines;
        }
        lines.push(format!(
            "recorded: the same digests of state and replies after {} entries{}",
            self.compared,
            match self.replies_through {
                Some(through) => format!(
                    "; the same replies as far as both remember them, up to entry {through}"
                ),
                None => String::new(),
            }
        ));
        match self.by {
            Some("replies") => {
                lines.push("found by: the replies that both replicas remembered".to_owned())
            }
            Some("replays") => {
                lines.push("found by: replays in processes of their own, which differ".to_owned());
            }
            Some("snapshots") => {
                lines.push("found by: the digests that the replicas recorded".to_owned());
            }
            _ => {}
        }
        lines.push(self.replays_words());
        lines
    }

    fn replays_words(&self) -> String {
        if let Some(why) = &self.not_replayed {
            return format!("replays: none, {why}");
        }
        let pairs = self.pairs.unwrap_or(0);
        let pairs = match pairs {
            0 => return "replays: none was needed".to_owned(),
            1 => "one pair".to_owned(),
            pairs => format!("{pairs} pairs"),
        };
        let came_to = self.came_to();
        let advice = match (self.same, self.by, self.index) {
            (false, Some("snapshots"), None) => {
                "; they do not differ from each other: what the machine looks at is the same for all of them, such as a setting \
                 of one replica's machine. Run this in the environment of each replica, or with more --attempts"
            }
            _ => "",
        };
        format!("replays: {pairs}, {came_to}{advice}")
    }

    /// What replays came to. Whose record they confirm says who was wrong only if they are all the same.
    fn came_to(&self) -> String {
        let [one, other] = &self.directories;
        if self.same {
            let (first, last) = (self.after.unwrap_or(0) + 1, self.through.unwrap_or(0));
            return format!("the same from entry {first} to {last}");
        }
        if let (Some(after), Some(through)) = (self.unlike_after, self.unlike_through) {
            let place = match after + 1 == through {
                true => format!("entry {through}"),
                false => format!("one of the entries {} to {through}", after + 1),
            };
            return format!(
                "which differ among themselves from {place} on: the machine is not deterministic (docs/determinism.md has the \
                 usual reasons){}",
                match self.confirmed {
                    [true, true] =>
                        "; some come to what the one recorded, some to what the other did"
                            .to_owned(),
                    [true, false] => format!("; some come to what {one} recorded"),
                    [false, true] => format!("; some come to what {other} recorded"),
                    [false, false] => String::new(),
                }
            );
        }
        match self.confirmed {
            [true, _] => {
                format!("they come to what {one} recorded, so it was {other} that went another way")
            }
            [false, true] => {
                format!("they come to what {other} recorded, so it was {one} that went another way")
            }
            [false, false] => "which all come to the same, and to what neither recorded".to_owned(),
        }
    }
}
