//! A till: prices, and what they come to.

use std::env;

/// What decides how this machine writes a number, as a language setting would: `,` or `.`.
const DECIMAL_VARIABLE: &str = "PRICES_DECIMAL";

/// The prices.
#[derive(Clone, Default)]
pub(crate) struct Prices {
    /// In cents.
    cents: Vec<u64>,
    /// The receipt that was printed last.
    printed: Option<String>,
}

impl Prices {
    pub(crate) fn execute(&mut self, verb: &str, rest: &[&str]) -> Option<String> {
        match (verb, rest) {
            ("add", [cents]) => {
                self.cents.push(cents.parse().ok()?);
                Some(self.cents.len().to_string())
            }
            ("total", []) => Some(self.total()),
            ("print", []) => {
                self.printed = Some(self.total());
                Some("done".to_owned())
            }
            _ => None,
        }
    }

    /// The sum, as text.
    fn total(&self) -> String {
        // The bug: text of numbers as the settings of this machine have it. It is the same in all replays on one machine, so
        // none of them shows it; what the replicas answered does.
        // Another one: a sum of floats is another one in another order, and `libm` is another one on another machine.
        // Instead: sum integers, and write them in a way of one's own.
        let sum: f64 = self.cents.iter().map(|cents| *cents as f64 / 100.0).sum();
        let decimal = env::var(DECIMAL_VARIABLE).unwrap_or_else(|_| ".".to_owned());
        format!("{sum:.2}").replace('.', &decimal)
    }

    pub(crate) fn parts(&self) -> Vec<(String, String)> {
        let cents = self.cents.iter().enumerate();
        let cents = cents.map(|(number, cents)| (format!("prices {number}"), cents.to_string()));
        let printed = self.printed.iter();
        let printed = printed.map(|text| ("prices printed".to_owned(), text.clone()));
        cents.chain(printed).collect()
    }

    pub(crate) fn take_part(&mut self, name: &str, words: &str) -> Option<()> {
        match name {
            "printed" => self.printed = Some(words.to_owned()),
            _ => self.cents.push(words.parse().ok()?),
        }
        Some(())
    }
}
