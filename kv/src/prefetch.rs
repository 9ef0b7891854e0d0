//! What commands to come will look at, brought into the caches before they come.
//!
//! Among many keys none is in a cache, and a command waits for memory at each step on the way to its own. The keys of
//! commands that follow each other are sought side by side instead: [`Directory::prefetch`](crate::directory::Directory::prefetch).

use crate::arguments::{Arguments, Decoded, Malformed, Ranges, decode};
use crate::keyspace::{DatabaseId, Keyspace};
use crate::machine::look_up;

/// Keys that are sought together.
const KEYS_TOGETHER: usize = 32;
/// Most keys that are prefetched at a time: what more would bring in would push out what is there for the first ones.
const KEYS_MAX: usize = 512;

/// Keys of one database that are to be sought together.
pub(crate) struct Prefetch<'a> {
    keys: &'a Keyspace,
    database: DatabaseId,
    /// Of the first `count`; the rest means nothing.
    hashes: [u64; KEYS_TOGETHER],
    count: usize,
    /// How many more may follow.
    left: usize,
}

impl<'a> Prefetch<'a> {
    pub(crate) fn new(keys: &'a Keyspace) -> Self {
        Self {
            keys,
            database: DatabaseId::default(),
            hashes: [0; KEYS_TOGETHER],
            count: 0,
            left: KEYS_MAX,
        }
    }

    /// Prefetches the keys of these commands, up to [`KEYS_MAX`] of them. Bytes that are no command have none.
    pub(crate) fn commands(mut self, commands: &mut dyn Iterator<Item = &[u8]>) {
        let mut ranges = Ranges::default();
        while self.left > 0
            && let Some(command) = commands.next()
        {
            // What is malformed is told when it is executed.
            let _ = self.command(command, &mut ranges);
        }
        self.seek();
    }

    fn command(&mut self, command: &[u8], ranges: &mut Ranges) -> Result<(), Malformed> {
        match decode(command)? {
            Decoded::Command(head, command) => {
                self.add(head.database, command.arguments(ranges)?);
            }
            Decoded::Transaction(head, transaction) => {
                let mut queued = transaction.watches(|_, _, _| ())?;
                while self.left > 0
                    && let Some(args) = queued.next(ranges)
                {
                    self.add(head.database, args);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, database: DatabaseId, args: Arguments<'_>) {
        if self.database != database {
            self.seek();
            self.database = database;
        }
        let Ok(spec) = look_up(args) else {
            return;
        };
        for place in spec.key_places(args.len()).take(self.left) {
            self.hashes[self.count] = args.key(place).hash;
            self.count += 1;
            self.left -= 1;
            if self.count == KEYS_TOGETHER {
                self.seek();
            }
        }
    }

    fn seek(&mut self) {
        self.keys
            .prefetch(self.database, &self.hashes[..self.count]);
        self.count = 0;
    }
}
