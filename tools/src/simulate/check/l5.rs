//! L5: bounds held.
//!
//! The real ones no run could fill, so each draws its own, some of them very small.

use standin_core::view::ViewId;
use standin_primary::Queues;
use standin_replica::{Answers, HELD_BYTES_MAX, HELD_REQUESTS_MAX, Limits};

use super::Verdict;
use crate::simulate::heal::{Healing, Health};
use crate::simulate::plan::Plan;

/// Room is looked for before the input of a wake-up is taken in, which is bounded by itself: so many
/// entries and reads may come on top.
const ONE_WAKE_UP: u64 = 64;
/// Bytes of what one wake-up brings, of one batch, or of one answer.
const ONE_WAKE_UP_BYTES: usize = 16 << 10;

/// The bounds of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    limits: Limits,
    sessions_max: usize,
    /// The view that the replica is primary of, and how many entries it had still to apply when it became that: nobody
    /// let those in.
    inherited: Option<(ViewId, u64)>,
}

impl Bounds {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            limits: plan.limits,
            sessions_max: usize::try_from(plan.session_limits.sessions_max).expect("few"),
            inherited: None,
        }
    }

    /// Holds what waits at a replica against them, which is primary of this view, or not primary.
    pub(crate) fn look(
        &mut self,
        primary_of: Option<ViewId>,
        (queues, recent_bytes): (Queues, usize),
        (held, held_bytes): (usize, usize),
        sessions: usize,
    ) -> Verdict {
        let limits = &self.limits.primary;
        let reads_max = limits.reads_max as u64 + ONE_WAKE_UP;
        if self.inherited.map(|(view, _)| view) != primary_of {
            self.inherited = primary_of.map(|view| (view, queues.entries));
        }
        let inherited = self.inherited.map_or(0, |(_, entries)| entries);
        let entries_max = limits.pending_entries_max.max(inherited);
        let is_held = queues.entries <= entries_max + ONE_WAKE_UP
            && queues.entries_bytes <= limits.pending_bytes_max + ONE_WAKE_UP_BYTES
            && queues.reads as u64 <= reads_max
            && queues.reads_bytes <= limits.reads_bytes_max + ONE_WAKE_UP_BYTES
            && recent_bytes <= self.limits.recent_bytes_max + ONE_WAKE_UP_BYTES
            && held <= HELD_REQUESTS_MAX
            && held_bytes <= HELD_BYTES_MAX + ONE_WAKE_UP_BYTES
            && sessions <= self.sessions_max;
        if is_held {
            return Ok(());
        }
        Err(format!(
            "{queues:?}, {recent_bytes} bytes in memory, {held} requests held and {sessions} sessions, \
             with {self:?}"
        ))
    }

    /// Holds the answers of one event against them.
    pub(crate) fn look_at_answers(&self, answers: &Answers) -> Verdict {
        let bytes = answers.bytes_count();
        if bytes <= self.limits.answers_bytes_max + ONE_WAKE_UP_BYTES {
            return Ok(());
        }
        Err(format!("{bytes} bytes of answers at once, with {self:?}"))
    }
}

/// Things that happen in a term of a cluster that nobody asks anything, for each host: reports,
/// heartbeats and their answers.
const STEPS_PER_TERM_MAX: u64 = 400;

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    let Some((since, _, before)) = healing.settled else {
        return Ok(());
    };
    let terms = health.now.since(since).as_nanos() / health.term.as_nanos();
    let terms = u64::try_from(terms).unwrap_or(u64::MAX).saturating_add(1);
    let steps = health.steps - before;
    if steps > STEPS_PER_TERM_MAX * terms * health.hosts {
        return Err(format!("{steps} things happened in {terms} quiet terms"));
    }
    Ok(())
}
