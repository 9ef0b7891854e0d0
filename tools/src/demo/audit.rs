//! The audit: what the clients were told, held against what the machine says in the end.

/// Highest value of a number that is told apart from others.
const VALUES_MAX: u64 = 1 << 31;

/// What all clients together were told of one number.
///
/// Every add is of 1, and its answer is the number's value after it. So each answer must have a
/// value of its own, and all values up to the final one must have been somebody's answer, but for
/// those of adds that nobody knows the outcome of.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Adds that were answered.
    acknowledged: u64,
    /// Adds that may or may not have been executed.
    unknown: u64,
    /// Answers that were not above the same client's answer before.
    out_of_order: u64,
    /// Which values were answered, one bit each.
    values: Vec<u64>,
}

/// The outcome of an audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    pub(super) acknowledged: u64,
    pub(super) unknown: u64,
    /// The number's value in the end; the sum, if there are several.
    pub(super) value: u64,
    /// Answered adds without a place of their own among the values up to the final one.
    pub(super) lost: u64,
    /// Values up to the final one that nobody was answered, beyond the adds of unknown outcome.
    pub(super) executed_twice: u64,
    /// Answers that were not above the same client's answer before.
    pub(super) out_of_order: u64,
}

impl Tally {
    /// An add was answered with `value`; `before` is the same client's answer before it, or 0.
    pub(super) fn answered(&mut self, value: u64, before: u64) {
        self.acknowledged += 1;
        if value <= before {
            self.out_of_order += 1;
        }
        // An impossible value has no place, so the audit finds it missing.
        if (1..=VALUES_MAX).contains(&value) {
            let (word, bit) = place(value);
            if word >= self.values.len() {
                self.values.resize(word + 1, 0);
            }
            self.values[word] |= bit;
        }
    }

    /// Nobody knows what became of an add.
    pub(super) fn unknown(&mut self) {
        self.unknown += 1;
    }

    /// Holds everything against the number's final `value`.
    pub(super) fn audit(&self, value: u64) -> Audit {
        let placed = self.distinct_through(value);
        Audit {
            acknowledged: self.acknowledged,
            unknown: self.unknown,
            value,
            lost: self.acknowledged - placed,
            executed_twice: (value - placed).saturating_sub(self.unknown),
            out_of_order: self.out_of_order,
        }
    }

    /// How many different values from 1 to `last` were answered.
    fn distinct_through(&self, last: u64) -> u64 {
        let (end, next) = place(last.min(VALUES_MAX) + 1);
        let whole = self.values.iter().take(end);
        let whole: u64 = whole.map(|word| u64::from(word.count_ones())).sum();
        let rest = self.values.get(end).map_or(0, |word| word & (next - 1));
        whole + u64::from(rest.count_ones())
    }
}

/// Holds what was told of each number against its final value, and adds it all up.
pub(super) fn audit_all(tallies: &[Tally], values: &[u64]) -> Audit {
    assert_eq!(tallies.len(), values.len(), "each number has a tally");
    let audits = tallies
        .iter()
        .zip(values)
        .map(|(tally, value)| tally.audit(*value));
    audits.fold(Audit::default(), |sum, one| Audit {
        acknowledged: sum.acknowledged + one.acknowledged,
        unknown: sum.unknown + one.unknown,
        value: sum.value + one.value,
        lost: sum.lost + one.lost,
        executed_twice: sum.executed_twice + one.executed_twice,
        out_of_order: sum.out_of_order + one.out_of_order,
    })
}

impl Audit {
    /// Whether nothing was lost, nothing ran twice and every client's answers came in order.
    pub(super) fn is_clean(&self) -> bool {
        self.lost == 0 && self.executed_twice == 0 && self.out_of_order == 0
    }
}

/// The word that has the bit of `value`, and the bit.
fn place(value: u64) -> (usize, u64) {
    let word = usize::try_from(value / 64).expect("VALUES_MAX fits any usize");
    (word, 1 << (value % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(values: &[u64]) -> Tally {
        let mut tally = Tally::default();
        for &value in values {
            tally.answered(value, 0);
        }
        tally
    }

    fn lost_and_twice(tally: &Tally, value: u64) -> (u64, u64) {
        let audit = tally.audit(value);
        (audit.lost, audit.executed_twice)
    }

    #[test]
    fn every_answer_in_its_place_is_clean() {
        assert!(tally(&[]).audit(0).is_clean());
        for last in [1, 62, 63, 64, 65, 127, 128, 1000] {
            let all: Vec<u64> = (1..=last).rev().collect();
            let audit = tally(&all).audit(last);
            assert!(audit.is_clean(), "{audit:?}");
            assert_eq!((audit.acknowledged, audit.value), (last, last));
        }
    }

    #[test]
    fn answered_adds_that_the_number_does_not_have_are_lost() {
        let all: Vec<u64> = (1..=100).collect();
        for value in [0, 1, 62, 63, 64, 65, 99] {
            assert_eq!(
                lost_and_twice(&tally(&all), value),
                (100 - value, 0),
                "{value}"
            );
        }
    }

    #[test]
    fn values_that_nobody_was_answered_ran_twice_unless_an_outcome_is_unknown() {
        let mut tally = tally(&[1, 2, 4, 6]);
        assert_eq!(lost_and_twice(&tally, 6), (0, 2));
        tally.unknown();
        assert_eq!(lost_and_twice(&tally, 6), (0, 1));
        tally.unknown();
        assert_eq!(lost_and_twice(&tally, 6), (0, 0));
        // An unknown outcome may also mean that it was not executed.
        tally.unknown();
        assert!(tally.audit(6).is_clean());
    }

    #[test]
    fn a_loss_and_a_repeat_that_even_out_in_the_sum_are_both_found() {
        // The second 2 was answered after the first was forgotten; an add then ran as 4 and as 5.
        let tally = tally(&[1, 2, 2, 3, 5]);
        assert_eq!(tally.audit(5).acknowledged, 5);
        assert_eq!(lost_and_twice(&tally, 5), (1, 1));
    }

    #[test]
    fn each_number_is_looked_at_by_itself() {
        let tallies = [tally(&[1, 2, 3]), tally(&[1, 2])];
        let audit = audit_all(&tallies, &[3, 2]);
        assert!(audit.is_clean());
        assert_eq!((audit.acknowledged, audit.value), (5, 5));
        // An add to one of them became an add to the other: the sum is right, and both are wrong.
        let audit = audit_all(&tallies, &[2, 3]);
        assert_eq!((audit.value, audit.lost, audit.executed_twice), (5, 1, 1));
    }

    #[test]
    fn impossible_answers_are_no_crash() {
        let tally = tally(&[0, 1, u64::MAX, VALUES_MAX + 1]);
        assert_eq!(lost_and_twice(&tally, 1), (3, 0));
        assert_eq!(lost_and_twice(&tally, u64::MAX), (3, u64::MAX - 1));
    }

    #[test]
    fn a_clients_answers_must_rise() {
        let mut tally = Tally::default();
        tally.answered(2, 0);
        tally.answered(1, 2);
        let audit = tally.audit(2);
        assert_eq!(
            (audit.lost, audit.executed_twice, audit.out_of_order),
            (0, 0, 1)
        );
        assert!(!audit.is_clean());
    }
}
