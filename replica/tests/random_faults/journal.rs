//! The machine: it remembers all that it executed.

use std::io;

use standin_core::digest::digest;
use standin_core::machine::{Context, StateMachine};

/// Keeps the commands in the order in which it executed them.
#[derive(Debug, Default)]
pub(crate) struct Journal(Vec<u64>);

impl StateMachine for Journal {
    const NAME: &'static str = "journal";
    const VERSION: u32 = 1;
    type Capture = ();

    fn apply(&mut self, _ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        self.0
            .push(u64::from_le_bytes(command.try_into().expect("a number")));
        self.query(&[], reply);
    }
    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        match query {
            [] => reply.extend_from_slice(&(self.0.len() as u64).to_le_bytes()),
            _ => self
                .0
                .iter()
                .for_each(|one| reply.extend_from_slice(&one.to_le_bytes())),
        }
    }
    fn capture(&self) {}
    fn write_capture((): (), _out: &mut dyn io::Write) -> io::Result<()> {
        unreachable!("no snapshots yet")
    }
    fn restore(_input: &mut dyn io::Read) -> io::Result<Self> {
        unreachable!("no snapshots yet")
    }
    fn digest(&self) -> u128 {
        let bytes: Vec<u8> = self.0.iter().flat_map(|one| one.to_le_bytes()).collect();
        digest(&bytes)
    }
}
