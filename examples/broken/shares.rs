//! A pot of many small shares, which two workers divide up.

use std::hint;
use std::sync::{Barrier, Mutex};
use std::thread;

/// Shares of one pot.
const SHARES: u64 = 20_000;
/// What it takes to take one: all together more than one thread is given at a time.
const STEPS: u64 = 1000;

/// What was put into the pot, and how it was divided.
#[derive(Clone, Default)]
pub(crate) struct Shares {
    put: u64,
    /// Who took what when it was settled.
    settled: Option<String>,
}

impl Shares {
    pub(crate) fn execute(&mut self, verb: &str, rest: &[&str]) -> Option<String> {
        match (verb, rest) {
            ("put", [count]) => {
                self.put = self.put.wrapping_add(count.parse().ok()?);
                Some(self.put.to_string())
            }
            ("split", []) => Some(self.split()),
            ("settle", []) => {
                self.settled = Some(self.split());
                Some("done".to_owned())
            }
            _ => None,
        }
    }

    /// How many shares each of two workers took, a number that stands for which, and how often one found the pot taken.
    fn split(&self) -> String {
        // The bug: which of two threads gets the next share is decided by the operating system.
        // Instead: one thread; or each does a part that was settled before, and the results are put together in the order of the
        // parts, not in that in which they were done.
        let pot = Mutex::new((0_u64, self.put));
        let start = Barrier::new(2);
        let work = |worker: u64| {
            start.wait();
            let (mut taken, mut waited) = (0_u64, 0_u64);
            loop {
                let Ok(mut left) = pot.try_lock() else {
                    waited += 1;
                    hint::spin_loop();
                    continue;
                };
                if left.0 == SHARES {
                    return (taken, waited);
                }
                left.0 += 1;
                for _ in 0..STEPS {
                    left.1 = left.1.wrapping_mul(31).wrapping_add(worker + 1);
                }
                taken += 1;
            }
        };
        let work = &work;
        let [one, other] = thread::scope(|scope| {
            let workers = [0, 1].map(|worker| scope.spawn(move || work(worker)));
            workers.map(|worker| worker.join().unwrap_or_default())
        });
        let order = pot.lock().map(|pot| pot.1).unwrap_or_default();
        let waited = one.1 + other.1;
        let (one, other) = (one.0, other.0);
        format!("{one} and {other}, in order {order:016x}, waited {waited} times")
    }

    pub(crate) fn parts(&self) -> Vec<(String, String)> {
        let put = (self.put > 0).then(|| ("shares put".to_owned(), self.put.to_string()));
        let settled = self.settled.iter();
        let settled = settled.map(|words| ("shares settled".to_owned(), words.clone()));
        put.into_iter().chain(settled).collect()
    }

    pub(crate) fn take_part(&mut self, name: &str, words: &str) -> Option<()> {
        match name {
            "put" => self.put = words.parse().ok()?,
            _ => self.settled = Some(words.to_owned()),
        }
        Some(())
    }
}
