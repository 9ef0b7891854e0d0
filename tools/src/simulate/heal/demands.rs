//! What was demanded of runs once the faults had ended, counted.

use super::{Demand, Healing};

/// How many runs came to what once the faults had ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demands {
    serve: u64,
    say_why: u64,
    nothing: u64,
    broken: u64,
    forced: u64,
}

impl Demands {
    /// Those of a run that ended so; none if the faults never ended.
    pub(crate) fn of(healing: Option<&Healing>) -> Self {
        let mut demands = Self::default();
        let Some(healing) = healing else {
            return demands;
        };
        match healing.demand {
            Demand::Serve => demands.serve = 1,
            Demand::SayWhy => demands.say_why = 1,
            Demand::Nothing | Demand::Rebuild => demands.nothing = 1,
        }
        demands.broken = u64::from(healing.broken.is_some());
        demands.forced = u64::from(healing.is_forced);
        demands
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.serve += other.serve;
        self.say_why += other.say_why;
        self.nothing += other.nothing;
        self.broken += other.broken;
        self.forced += other.forced;
    }

    /// In words, with their counts.
    pub(crate) fn rows(&self) -> [(&'static str, u64); 5] {
        [
            (
                "a primary and a pair were demanded, and all answers",
                self.serve,
            ),
            (
                "nobody could serve, and words that say why were demanded",
                self.say_why,
            ),
            (
                "nothing was demanded: what the disks are worth could not be known",
                self.nothing,
            ),
            (
                "an operator forced a takeover then, and all of it was demanded after all",
                self.forced,
            ),
            ("one replica stayed broken for good", self.broken),
        ]
    }
}
