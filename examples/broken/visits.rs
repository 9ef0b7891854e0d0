//! A visitors' book: who came, and since when it is open.

use std::time::SystemTime;

use standin::machine::Context;

/// The book.
#[derive(Clone, Default)]
pub(crate) struct Visits {
    /// Who came, and when.
    visits: Vec<(String, u64)>,
    /// When it was opened.
    opened: Option<u128>,
}

impl Visits {
    pub(crate) fn execute(
        &mut self,
        ctx: &mut Context<'_>,
        verb: &str,
        rest: &[&str],
    ) -> Option<String> {
        match (verb, rest) {
            ("note", [name]) => {
                // As it should be: this is the entry's time, the same on every replica.
                self.visits.push(((*name).to_owned(), ctx.now().0));
                Some(self.visits.len().to_string())
            }
            ("stamp", []) => Some(Self::time().to_string()),
            ("open", []) => {
                self.opened = Some(Self::time());
                Some("done".to_owned())
            }
            _ => None,
        }
    }

    /// Nanoseconds since 1970.
    fn time() -> u128 {
        // The bug: each replica has a clock of its own, and executes the entry at another moment.
        // Instead: `ctx.now()`.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_nanos()
    }

    pub(crate) fn parts(&self) -> Vec<(String, String)> {
        let visits = self.visits.iter().enumerate();
        let visits =
            visits.map(|(number, (name, at))| (format!("visits {number}"), format!("{at} {name}")));
        let opened = self.opened.iter();
        let opened = opened.map(|at| ("visits opened".to_owned(), at.to_string()));
        visits.chain(opened).collect()
    }

    pub(crate) fn take_part(&mut self, name: &str, words: &str) -> Option<()> {
        match words.split_once(' ') {
            Some((at, visitor)) => self.visits.push((visitor.to_owned(), at.parse().ok()?)),
            None => self.opened = Some(words.parse().ok().filter(|_| name == "opened")?),
        }
        Some(())
    }
}
