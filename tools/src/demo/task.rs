//! What one client sends, and what it makes of the answers.

use standin_core::random::RandomStream;
use standin_io::entropy;

use super::crowd::{Notes, lock};
use super::machine::{DemoMachine, Numbers, Own};

/// What one client does.
#[derive(Debug)]
pub(super) enum Task {
    /// It adds 1, at the next number each time if there are several.
    Add {
        numbers: Numbers,
        at: usize,
        /// What it was answered last, of each number.
        values: Vec<u64>,
    },
    /// It sends what the machine draws.
    Draw {
        own: Own,
        number: usize,
        random: RandomStream,
        /// What it was answered last.
        last: Option<Vec<u8>>,
    },
}

/// What the client with this number, from 0, does.
pub(super) fn task_of(machine: DemoMachine, number: usize) -> Task {
    match machine {
        DemoMachine::Numbers(numbers) => Task::Add {
            numbers,
            at: number % numbers.numbers(),
            values: vec![0; numbers.numbers()],
        },
        DemoMachine::Own(own) => Task::Draw {
            own,
            number,
            random: RandomStream::new(entropy::u64(), number as u64),
            last: None,
        },
    }
}

impl Task {
    /// The next command.
    pub(super) fn next(&mut self) -> Vec<u8> {
        match self {
            Self::Add {
                numbers,
                at,
                values,
            } => {
                *at = (*at + 1) % values.len();
                numbers.add_one(*at)
            }
            Self::Draw {
                own, random, last, ..
            } => (own.draw_command)(random, last.as_deref()),
        }
    }

    /// Notes the answer to it; `None` if it is none.
    pub(super) fn answered(
        &mut self,
        notes: &Notes,
        session: u64,
        command: &[u8],
        reply: &[u8],
    ) -> Option<()> {
        match (self, notes) {
            (
                Self::Add {
                    numbers,
                    at,
                    values,
                },
                Notes::Numbers(tallies),
            ) => {
                let value = numbers.value(reply)?;
                let before = std::mem::replace(&mut values[*at], value);
                lock(tallies)[*at].answered(value, before);
            }
            (Self::Draw { number, last, .. }, Notes::Own(records)) => {
                *last = Some(reply.to_vec());
                lock(&records[*number]).answered(session, command, reply);
            }
            _ => unreachable!("all clients speak to the same machine"),
        }
        Some(())
    }

    /// Nobody knows what became of the command.
    pub(super) fn unknown(&self, notes: &Notes) {
        if let (Self::Add { at, .. }, Notes::Numbers(tallies)) = (self, notes) {
            lock(tallies)[*at].unknown();
        }
    }
}
