//! What goes wrong next: drawn from a seed, but so that everything gets its turn.

use std::fmt;

use standin_core::random::RandomStream;
use standin_core::time::Duration;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillReplica,
    KillServing,
    KillViewService,
    KillBoth,
    StopCleanly,
    FreezeReplica,
    FreezeViewService,
    CutBothWays,
    CutOneWay,
    Isolate,
    HalfOpen,
    Delay,
    Slow,
    Reset,
    Switchover,
    LoseDisk,
    Rot,
    Poison,
    CopySnapshot,
    FillDisk,
    LoseRecord,
}

impl Kind {
    pub(crate) const ALL: [Self; 21] = [
        Self::KillReplica,
        Self::KillServing,
        Self::KillViewService,
        Self::KillBoth,
        Self::StopCleanly,
        Self::FreezeReplica,
        Self::FreezeViewService,
        Self::CutBothWays,
        Self::CutOneWay,
        Self::Isolate,
        Self::HalfOpen,
        Self::Delay,
        Self::Slow,
        Self::Reset,
        Self::Switchover,
        Self::LoseDisk,
        Self::Rot,
        Self::Poison,
        Self::CopySnapshot,
        Self::FillDisk,
        Self::LoseRecord,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::KillReplica => "pull a replica's plug",
            Self::KillServing => "kill a replica's process",
            Self::KillViewService => "kill the view service",
            Self::KillBoth => "kill primary and backup at once",
            Self::StopCleanly => "stop one cleanly",
            Self::FreezeReplica => "freeze a replica",
            Self::FreezeViewService => "freeze the view service",
            Self::CutBothWays => "cut a link both ways",
            Self::CutOneWay => "cut a link one way",
            Self::Isolate => "cut one off, but for clients",
            Self::HalfOpen => "half-open link",
            Self::Delay => "delay on a link",
            Self::Slow => "slow link",
            Self::Reset => "connections reset",
            Self::Switchover => "change places as planned",
            Self::LoseDisk => "give a spare an empty disk",
            Self::Rot => "a bit of a spare's disk rots",
            Self::Poison => "an input that the machine fails at",
            Self::CopySnapshot => "copy a snapshot and check it",
            Self::FillDisk => "a disk is full",
            Self::LoseRecord => "the view record is lost",
        })
    }
}

/// Draws from a seed.
///
/// The seed fixes what is drawn, in which order. When it happens also rests on how long the processes
/// take, so that a second run with the same seed is a similar one, and no equal one.
#[derive(Debug)]
pub(crate) struct Plan {
    random: RandomStream,
    kinds: Vec<Kind>,
    /// What is left of this round, in which each kind comes once.
    round: Vec<Kind>,
    /// Rounds that were begun.
    pub(crate) rounds: u32,
}

impl Plan {
    pub(crate) fn new(seed: u64, kinds: Vec<Kind>) -> Self {
        Self {
            random: RandomStream::new(seed, 0),
            kinds,
            round: Vec::new(),
            rounds: 0,
        }
    }

    pub(crate) fn next_kind(&mut self) -> Kind {
        if self.round.is_empty() {
            self.round = self.kinds.clone();
            self.rounds += 1;
        }
        let place = self.place(self.round.len());
        self.round.swap_remove(place)
    }

    /// Whether the last of a round has been drawn.
    pub(crate) fn is_round_over(&self) -> bool {
        self.round.is_empty()
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let place = self.place(from.len());
        Some(from[place].clone())
    }

    /// How long something stays wrong: less than a lease, about a lease, or some.
    pub(crate) fn length(&mut self, lease: Duration) -> Duration {
        let percent = match self.random.next_u64() % 3 {
            0 => self.between(20, 90),
            1 => self.between(90, 150),
            _ => self.between(150, 450),
        };
        lease * percent / 100
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.random.next_u64().is_multiple_of(2)
    }

    /// A number from `from` to below `to`.
    pub(crate) fn between(&mut self, from: u32, to: u32) -> u32 {
        let drawn = self.random.next_u64() % u64::from(to - from);
        from + u32::try_from(drawn).expect("less than a number that fits")
    }

    fn place(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).expect("a length");
        usize::try_from(self.random.next_u64() % length).expect("less than a length")
    }
}
