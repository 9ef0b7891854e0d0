//! Time as it is handed to decision code.
//!
//! Two clocks exist. The *boot clock* ([`Instant`]) only ever runs forward, also through a suspend,
//! and leases and deadlines are counted on it. The *wall clock* ([`WallTime`]) is what people read;
//! it may step, and it enters the log only through [`crate::clock::LoggedClock`].

pub use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on the boot clock of one machine, in nanoseconds since that machine's boot.
///
/// Std's `Instant` cannot be invented, which is why decision code has a type of its own: a simulator
/// makes these up. Moments of different machines must not be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The machine's boot.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after boot.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `duration` later; stops at the end of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How much time lies between `earlier` and this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A moment on the wall clock, in nanoseconds since 1970-01-01 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash,
)]
pub struct WallTime(pub u64);

impl WallTime {
    /// The moment `duration` later; stops at the end of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How much time lies between `earlier` and this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks, read together by a shell when an event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The boot clock.
    pub boot: Instant,
    /// The wall clock.
    pub wall: WallTime,
}

/// A duration in whole nanoseconds; the end of the range if it is longer than 584 years.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The earlier of two optional deadlines.
#[must_use]
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
