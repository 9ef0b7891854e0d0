//! What came out of it: for people, and as one line for programs.

use serde::Serialize;
use standin_core::time::Duration;

use super::audit::Audit;
use super::copies::{self, Copy};
use super::crowd::Figures;
use super::machine::{DemoMachine, Numbers};
use super::story::{Seconds, Story, count, thousands};

/// Everything that the demo found out.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) machine: DemoMachine,
    pub(super) audit: Audit,
    /// Each number's final value.
    pub(super) values: Vec<u64>,
    /// For each pull, the longest wait that a client saw.
    pub(super) gaps: Vec<Duration>,
    pub(super) copies: Vec<Copy>,
    pub(super) figures: Figures,
    pub(super) clients: u32,
    pub(super) lease: Duration,
    pub(super) elapsed: Duration,
}

/// The last line with `--json`. Fields are a promise to scripts: append, never reorder.
#[derive(Debug, Serialize)]
struct Line {
    plugs: usize,
    acknowledged: u64,
    value: u64,
    lost: u64,
    executed_twice: u64,
    gaps_ms: Vec<u64>,
    replicas_agree: bool,
    digest: String,
    unknown: u64,
    out_of_order: u64,
    clients: u32,
    lease_ms: u64,
    elapsed_ms: u64,
    latency_p50_us: u64,
    latency_p99_us: u64,
    sent_again: u64,
}

impl Outcome {
    pub(super) fn replicas_agree(&self) -> bool {
        copies::agree(&self.copies, &self.values)
    }

    /// Two replicas whose copies are not the same, if there are any.
    pub(super) fn differing(&self) -> Option<[&str; 2]> {
        let mut pairs = self.copies.windows(2);
        let pair = pairs.find(|pair| !copies::agree(pair, &self.values))?;
        Some([&pair[0].name, &pair[1].name])
    }

    /// Whether the demo shows what it is there to show.
    pub(super) fn is_good(&self) -> bool {
        self.audit.is_clean() && self.replicas_agree()
    }

    /// The outcome as one line of JSON.
    pub(super) fn json(&self) -> String {
        let audit = &self.audit;
        let digest = self
            .copies
            .first()
            .map(|copy| format!("{:032x}", copy.state_digest));
        let line = Line {
            plugs: self.gaps.len(),
            acknowledged: audit.acknowledged,
            value: audit.value,
            lost: audit.lost,
            executed_twice: audit.executed_twice,
            gaps_ms: self.gaps.iter().map(|&gap| millis_up(gap)).collect(),
            replicas_agree: self.replicas_agree(),
            digest: digest.unwrap_or_default(),
            unknown: audit.unknown,
            out_of_order: audit.out_of_order,
            clients: self.clients,
            lease_ms: millis_up(self.lease),
            elapsed_ms: millis_up(self.elapsed),
            latency_p50_us: self.figures.latencies.value_at_quantile(0.5),
            latency_p99_us: self.figures.latencies.value_at_quantile(0.99),
            sent_again: self.figures.sent_again,
        };
        serde_json::to_string(&line).expect("numbers and texts are always JSON")
    }

    /// Explains the outcome.
    pub(super) fn tell(&self, story: &Story) {
        story.print("");
        story.heading("THE AUDIT");
        let audit = &self.audit;
        let request = self.machine.request();
        let added = "adds of 1 were answered, each with the value that it led to";
        let (answered, value_is, lost) = match self.machine {
            DemoMachine::Numbers(numbers) => {
                let value_is = match numbers {
                    Numbers::Counter => "is the counter's value now",
                    Numbers::Kv => "is the sum of all numbers now",
                };
                (added, value_is, "nothing is there of them")
            }
            DemoMachine::Own(_) => (
                "commands were answered, each with its reply",
                "were executed, as a replay of the primary's log shows",
                "the replay has no such reply to them",
            ),
        };
        let lines = [
            (audit.acknowledged, answered.to_owned()),
            (audit.value, value_is.to_owned()),
            (audit.lost, format!("answered {request}s are lost: {lost}")),
            (
                audit.executed_twice,
                format!("{request}s were executed twice"),
            ),
        ];
        for (number, words) in lines {
            story.print(&format!("{:>12}  {words}", thousands(number)));
        }
        for (number, words) in [
            (
                audit.unknown,
                "requests ended without an answer: they may or may not have been executed",
            ),
            (
                audit.out_of_order,
                "answers were not above the same client's answer before",
            ),
        ] {
            if number > 0 {
                story.print(&format!("{:>12}  {words}", thousands(number)));
            }
        }
        self.tell_copies(story);
        self.tell_waits(story);
        story.print("");
        story.heading(&self.verdict());
    }

    fn tell_copies(&self, story: &Story) {
        story.print("\n  Each replica's own copy, asked one by one:");
        for copy in &self.copies {
            let label = format!("{} ({})", copy.name, copy.role.word());
            let sum = thousands(copy.values.iter().sum());
            let value = match self.machine {
                DemoMachine::Numbers(Numbers::Counter) => format!("counter {sum}, "),
                DemoMachine::Numbers(Numbers::Kv) => format!("sum {sum}, "),
                DemoMachine::Own(_) => String::new(),
            };
            story.print(&format!(
                "    {label:<11}  {value}after log entry {}, digest of the state {:032x}",
                thousands(copy.applied.0),
                copy.state_digest,
            ));
        }
    }

    fn tell_waits(&self, story: &Story) {
        let longest = self.gaps.iter().max().copied().unwrap_or_default();
        let shortest = self.gaps.iter().min().copied().unwrap_or_default();
        let latencies = &self.figures.latencies;
        let millis = |quantile| Millis(latencies.value_at_quantile(quantile));
        story.print(&format!(
            "\n  At a pull, the client that waited longest waited {} (the lease is {}).\n  \
             Half of all {}s took less than {}, 99 of 100 less than {}; {} had to be sent again.",
            if self.gaps.len() == 1 {
                Seconds(longest).to_string()
            } else {
                format!("{} to {}", Seconds(shortest), Seconds(longest))
            },
            Seconds(self.lease),
            self.machine.request(),
            millis(0.5),
            millis(0.99),
            thousands(self.figures.sent_again),
        ));
    }

    fn verdict(&self) -> String {
        if self.is_good() {
            return format!(
                "The primary died {}. Nothing was lost, nothing ran twice, and all {} copies are the \
                 same.",
                times(self.gaps.len()),
                self.copies.len(),
            );
        }
        let mut faults = Vec::new();
        let answered = format!("answered {}", self.machine.request());
        for (number, what, fault) in [
            (self.audit.lost, answered.as_str(), "lost"),
            (self.audit.executed_twice, "execution", "too many"),
            (self.audit.out_of_order, "answer", "out of order"),
        ] {
            if number > 0 {
                faults.push(format!("{} {fault}", count(number, what)));
            }
        }
        if !self.replicas_agree() {
            faults.push("the replicas' copies differ".to_owned());
        }
        let whose = match self.machine {
            DemoMachine::Numbers(_) => "This is a bug in Standin",
            DemoMachine::Own(_) => "The machine is not deterministic, or this is a bug in Standin",
        };
        format!("THE AUDIT FAILED: {}. {whose}.", faults.join("; "))
    }
}

fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{number} times"),
    }
}

/// Whole milliseconds, rounded up: a wait is never told shorter than it was.
fn millis_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Microseconds, told as milliseconds.
struct Millis(u64);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02} ms", self.0 / 1000, self.0 % 1000 / 10)
    }
}

#[cfg(test)]
mod tests {
    use standin_core::entry::Index;
    use standin_core::message::RoleName;

    use super::*;

    fn outcome() -> Outcome {
        let copy = Copy {
            name: "a".to_owned(),
            role: RoleName::Primary,
            applied: Index(9),
            values: vec![5],
            state_digest: 10,
            reply_digest: 2,
        };
        Outcome {
            machine: DemoMachine::Numbers(Numbers::Counter),
            values: vec![5],
            audit: Audit {
                acknowledged: 5,
                value: 5,
                ..Audit::default()
            },
            gaps: vec![Duration::from_micros(900_001), Duration::from_millis(7)],
            copies: vec![
                copy.clone(),
                Copy {
                    name: "b".to_owned(),
                    ..copy
                },
            ],
            figures: Figures::new(),
            clients: 4,
            lease: Duration::from_secs(1),
            elapsed: Duration::from_secs(3),
        }
    }

    #[test]
    fn the_line_of_json_begins_as_promised() {
        let promised = r#"{"plugs":2,"acknowledged":5,"value":5,"lost":0,"executed_twice":0,"#;
        let promised = format!(
            r#"{promised}"gaps_ms":[901,7],"replicas_agree":true,"digest":"{:032x}""#,
            10
        );
        let json = outcome().json();
        assert!(json.starts_with(&promised), "{json}");
        assert!(json.ends_with('}') && !json.contains('\n'), "{json}");
    }

    #[test]
    fn the_verdict_names_every_fault() {
        assert!(outcome().is_good());
        assert!(
            outcome().verdict().contains("died twice"),
            "{}",
            outcome().verdict()
        );
        let mut bad = outcome();
        bad.audit.lost = 1;
        bad.audit.executed_twice = 2;
        bad.audit.out_of_order = 3;
        bad.copies[1].state_digest = 11;
        assert!(!bad.is_good());
        let verdict = bad.verdict();
        for fault in [
            "1 answered add lost",
            "2 executions too many",
            "3 answers out of order",
            "copies differ",
        ] {
            assert!(verdict.contains(fault), "{verdict}");
        }
    }
}
