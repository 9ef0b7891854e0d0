//! Entries for a replica whose log is damaged (`protocol.md` section 12).
//!
//! Whoever has them sends them, in whatever role: a replica in none, too, and one that is out of service. Who gets them
//! finds out by itself whether they are what it lacks, so nothing here rests on what this replica is, and whether they
//! are committed makes no difference.

use standin_core::conn::ConnId;
use standin_core::entry::{ENTRY_BYTES_MAX, ENTRY_HEADER_BYTES, Entry, LogTip};
use standin_core::machine::StateMachine;
use standin_core::message::{ENTRIES_PIECE_BYTES_MAX, EntriesRead};

use crate::event::{Action, ReadFor};
use crate::replica::Replica;

impl<M: StateMachine> Replica<M> {
    /// Another replica asks for entries. It waits for an answer, so it gets one in any case.
    pub(crate) fn on_entries_read(&mut self, conn: ConnId, read: &EntriesRead) {
        let after = read.after;
        let (base, tip) = (self.log.base, self.log.tip);
        let is_here = (base.index..tip.index).contains(&after.index);
        let is_other_log = after.index == base.index && !is_same(after, base);
        if !is_here || is_other_log {
            return self.lend(conn, after, Vec::new());
        }
        let read = ReadFor::Lend(conn, after);
        if after.index == base.index {
            let first = after.index.next();
            let action = Action::ReadLog(read, first, ENTRIES_PIECE_BYTES_MAX);
            return self.actions.push_back(action);
        }
        // With the entry before, to see whether it is the same: then at least one more, whatever their lengths.
        let action = Action::ReadLog(read, after.index, ENTRY_BYTES_MAX + ENTRIES_PIECE_BYTES_MAX);
        self.actions.push_back(action);
    }

    /// They were read: the entry that they are to go on after first, if the log has it.
    pub(crate) fn on_lent(&mut self, conn: ConnId, after: LogTip, mut bytes: Vec<u8>) {
        let first = Entry::decode(&bytes).map(|entry| (entry.tip(), entry.payload.len()));
        let bytes = match first {
            Ok((tip, _)) if tip.index == after.index && !is_same(tip, after) => Vec::new(),
            Ok((tip, payload)) if tip.index == after.index => {
                bytes.split_off(ENTRY_HEADER_BYTES + payload)
            }
            Ok(_) => bytes,
            Err(_) => Vec::new(), // it was cut off meanwhile
        };
        self.lend(conn, after, bytes);
    }

    fn lend(&mut self, conn: ConnId, after: LogTip, mut bytes: Vec<u8>) {
        bytes.truncate(whole_entries(&bytes));
        let action = Action::EntriesPiece(conn, after.index, bytes);
        self.actions.push_back(action);
    }
}

/// Whether two ends of logs are the same entry, by all that vouches for it.
fn is_same(one: LogTip, other: LogTip) -> bool {
    (one.index, one.view, one.chain) == (other.index, other.view, other.chain)
}

/// Bytes of the first entries that a piece has room for.
fn whole_entries(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Ok(entry) = Entry::decode(&bytes[end..]) {
        let length = ENTRY_HEADER_BYTES + entry.payload.len();
        if end + length > ENTRIES_PIECE_BYTES_MAX {
            break;
        }
        end += length;
    }
    end
}
