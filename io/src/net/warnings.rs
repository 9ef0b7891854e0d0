//! Warnings about connections: one line each, and in a flood few of each kind.

use standin_core::time::{Instant, earliest};

use super::event::CloseReason;
use crate::log_limit::LogLimit;

/// Most warnings of one kind per second; the rest of that kind are counted in one line. Kinds are
/// counted apart so that a flood of one leaves the others their lines.
pub(super) const WARNINGS_PER_SECOND_MAX: u32 = 10;

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// No hello came.
    NoHello,
    /// What came is no frame, or stands in the wrong place.
    Garbage,
    /// A frame began and did not end.
    PartialFrame,
    /// It was refused.
    Refused,
    /// It gave way to another.
    GaveWay,
    /// It, or its kind, held too much.
    TooMuch,
    /// Accepting failed.
    Accept,
}

const COMPLAINTS: [Complaint; 7] = [
    Complaint::NoHello,
    Complaint::Garbage,
    Complaint::PartialFrame,
    Complaint::Refused,
    Complaint::GaveWay,
    Complaint::TooMuch,
    Complaint::Accept,
];

impl Complaint {
    /// What to complain of when a connection ends so. `None`: it is not the other side's doing, or
    /// its owner is told and says more than could be said here.
    pub(super) fn of(reason: &CloseReason) -> Option<Self> {
        match reason {
            CloseReason::Here
            | CloseReason::Peer
            | CloseReason::Connect(_)
            | CloseReason::Failed(_)
            | CloseReason::RefusedByPeer(_) => None,
            CloseReason::HandshakeTimeout | CloseReason::HandshakeCrowded => Some(Self::NoHello),
            CloseReason::BadFrame(_) | CloseReason::OutOfPlace => Some(Self::Garbage),
            CloseReason::PartialFrameTimeout => Some(Self::PartialFrame),
            CloseReason::RefusedHere(_) => Some(Self::Refused),
            CloseReason::GaveWay => Some(Self::GaveWay),
            CloseReason::InputCrowded
            | CloseReason::OutputCrowded
            | CloseReason::OutputFull { .. } => Some(Self::TooMuch),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NoHello => "that said no hello",
            Self::Garbage => "that sent garbage",
            Self::PartialFrame => "that did not end a frame",
            Self::Refused => "that were refused",
            Self::GaveWay => "that gave way to others",
            Self::TooMuch => "that held too much",
            Self::Accept => "that could not be accepted",
        }
    }
}

/// Which warnings were held back.
#[derive(Debug)]
pub(super) struct Warnings {
    limits: [LogLimit; COMPLAINTS.len()],
}

impl Warnings {
    pub(super) fn new() -> Self {
        Self {
            limits: COMPLAINTS.map(|_| LogLimit::new(WARNINGS_PER_SECOND_MAX)),
        }
    }

    /// Whether a line may be written now; counts it if not.
    pub(super) fn admit(&mut self, complaint: Complaint, now: Instant) -> bool {
        self.limits[complaint as usize].admit(now)
    }

    /// Writes a line for those of each kind that were held back, once their second is over.
    pub(super) fn sum_up(&mut self, now: Instant) {
        for (complaint, limit) in COMPLAINTS.iter().zip(&mut self.limits) {
            if let Some(count) = limit.take_held_back(now) {
                let words = complaint.words();
                log::warn!("{count} more warnings about connections {words} in the last second");
            }
        }
    }

    /// When [`Self::sum_up`] has something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.limits.iter().map(LogLimit::deadline);
        deadlines.fold(None, earliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_complaint_has_a_limit_of_its_own() {
        for (at, &complaint) in COMPLAINTS.iter().enumerate() {
            assert_eq!(complaint as usize, at);
        }
        let mut warnings = Warnings::new();
        let admitted = |warnings: &mut Warnings, complaint| {
            let lines = (0..1000).filter(|_| warnings.admit(complaint, Instant::ZERO));
            lines.count()
        };
        for complaint in COMPLAINTS {
            assert_eq!(admitted(&mut warnings, complaint), 10, "{complaint:?}");
        }
    }
}
