//! A vote: who has how many, and who leads.

use std::collections::{BTreeMap, HashMap};

/// The votes that each has.
#[derive(Clone, Default)]
pub(crate) struct Votes {
    votes: BTreeMap<String, u64>,
    /// The ranking when the vote was closed.
    closed: Option<String>,
}

impl Votes {
    pub(crate) fn execute(&mut self, verb: &str, rest: &[&str]) -> Option<String> {
        match (verb, rest) {
            ("for", [name]) => {
                let votes = self.votes.entry((*name).to_owned()).or_default();
                *votes += 1;
                Some(votes.to_string())
            }
            ("ranking", []) => Some(self.ranking()),
            ("close", []) => {
                self.closed = Some(self.ranking());
                Some("done".to_owned())
            }
            _ => None,
        }
    }

    /// Those with the most votes first.
    fn ranking(&self) -> String {
        // The bug: a `HashMap` has another order in each process, and a stable sort leaves those with as many votes in it.
        // Instead: go through the `BTreeMap`, or sort by the name as well.
        let votes: HashMap<&String, u64> = self
            .votes
            .iter()
            .map(|(name, count)| (name, *count))
            .collect();
        let mut ranking: Vec<(&String, u64)> = votes.into_iter().collect();
        ranking.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let names: Vec<&str> = ranking.iter().map(|(name, _)| name.as_str()).collect();
        names.join(",")
    }

    pub(crate) fn parts(&self) -> Vec<(String, String)> {
        let votes = self.votes.iter();
        let votes = votes.map(|(name, count)| (format!("votes for {name}"), count.to_string()));
        let closed = self.closed.iter();
        let closed = closed.map(|ranking| ("votes closed".to_owned(), ranking.clone()));
        votes.chain(closed).collect()
    }

    pub(crate) fn take_part(&mut self, name: &str, words: &str) -> Option<()> {
        match name.split_once(' ') {
            Some(("for", name)) => {
                self.votes.insert(name.to_owned(), words.parse().ok()?);
            }
            _ => self.closed = Some(words.to_owned()),
        }
        Some(())
    }
}
