//! Seats that people take.

/// Who has a seat.
#[derive(Clone, Default)]
pub(crate) struct Seats {
    /// Boxed, so that each has a place in memory of its own.
    taken: Vec<Box<str>>,
    /// All seats, as they were sorted last.
    sorted: Option<String>,
}

impl Seats {
    pub(crate) fn execute(&mut self, verb: &str, rest: &[&str]) -> Option<String> {
        match (verb, rest) {
            ("take", [name]) => {
                self.taken.push(Box::from(*name));
                Some(self.taken.len().to_string())
            }
            ("find", []) => Some(self.keys()),
            ("sort", []) => {
                self.sorted = Some(self.keys());
                Some("done".to_owned())
            }
            _ => None,
        }
    }

    /// Each name with the key by which it is found again.
    fn keys(&self) -> String {
        // The bug: an address as a key, or as what is sorted by. Each process has its memory elsewhere.
        // Instead: a number that is counted up, or the entry's index (`ctx.index()`).
        let keys = self.taken.iter().map(|name| {
            let at = name.as_ptr().addr();
            format!("{name}@{at:x}")
        });
        keys.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn parts(&self) -> Vec<(String, String)> {
        let taken = self.taken.iter().enumerate();
        let taken = taken.map(|(number, name)| (format!("seats {number}"), name.to_string()));
        let sorted = self.sorted.iter();
        let sorted = sorted.map(|text| ("seats sorted".to_owned(), text.clone()));
        taken.chain(sorted).collect()
    }

    pub(crate) fn take_part(&mut self, name: &str, words: &str) -> Option<()> {
        match name {
            "sorted" => self.sorted = Some(words.to_owned()),
            _ => self.taken.push(Box::from(words)),
        }
        Some(())
    }
}
