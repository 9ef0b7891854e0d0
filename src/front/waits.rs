//! Clients that wait for others to have what they wrote.

use standin_core::conn::ConnId;
use standin_core::time::{Duration, Instant};

/// A client that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) conn: ConnId,
    /// The number of its request.
    pub(super) id: u64,
    /// How many replicas it waits for.
    pub(super) replicas: i64,
    /// How long, once all that it asked for before is answered; zero: as long as it takes.
    timeout: Duration,
    /// Until when. `None`: as long as it takes, or it has not begun.
    until: Option<Instant>,
}

/// What is to become of somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Something that it asked for before is not answered yet.
    Early,
    /// It has to wait on.
    Waits,
    /// It is answered, or gone.
    Done,
}

/// All that wait; each client at most once, since nothing more is taken of it meanwhile.
#[derive(Debug, Default)]
pub(super) struct Waits {
    all: Vec<Wait>,
}

impl Waits {
    pub(super) fn add(&mut self, conn: ConnId, id: u64, replicas: i64, timeout: Duration) {
        self.all.push(Wait {
            conn,
            id,
            replicas,
            timeout,
            until: None,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// When the first has waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.all.iter().filter_map(|wait| wait.until).min()
    }

    /// Lets go of those that are done; `judge` is told whether a client's time is over.
    pub(super) fn settle(&mut self, now: Instant, mut judge: impl FnMut(Wait, bool) -> Verdict) {
        self.all.retain_mut(|wait| {
            let is_late = wait.until.is_some_and(|until| now >= until);
            let verdict = judge(*wait, is_late);
            if verdict == Verdict::Waits && wait.timeout > Duration::ZERO {
                wait.until.get_or_insert(now.plus(wait.timeout));
            }
            verdict != Verdict::Done
        });
    }
}
