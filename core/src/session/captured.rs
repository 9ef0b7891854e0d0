//! The table of sessions at one moment: taken quickly, written in the background, read back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::capture::{check_count, invalid, read_count, read_u32, read_u64, write_u32, write_u64};
use crate::entry::COMMAND_BYTES_MAX;
use crate::session::kept::KeptReply;
use crate::session::{SESSION_WINDOW, Session, SessionLimits, SessionTable};
use crate::time::{Duration, WallTime, nanos};

/// Stands in place of a reply's length if the request was skipped; the index of its entry follows.
const SKIPPED: u64 = u64::MAX;

/// All that the sessions to come depend on.
///
/// The sessions themselves are shared with the table, which copies those that change.
#[derive(Debug)]
pub(crate) struct CapturedSessions {
    /// In no particular order: to follow that of activity would take the loop too long.
    sessions: Vec<(u64, Arc<Session>)>,
    active_since: WallTime,
    limits: SessionLimits,
}

impl CapturedSessions {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Writes the sessions in order of activity, which is the order in which they will end.
    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        write_u64(out, nanos(self.limits.timeout))?;
        write_u32(out, self.limits.sessions_max)?;
        write_u64(out, self.limits.replies_bytes_max)?;
        write_u64(out, nanos(self.limits.idle_min))?;
        write_u64(out, self.active_since.0)?;
        let mut sessions: Vec<&(u64, Arc<Session>)> = self.sessions.iter().collect();
        sessions.sort_unstable_by_key(|(_, session)| session.rank);
        write_u64(out, sessions.len() as u64)?;
        for (id, session) in sessions {
            write_u64(out, *id)?;
            session.write(out)?;
        }
        Ok(())
    }
}

impl SessionTable {
    /// The table as it is now. 100,000 sessions take a few milliseconds.
    pub(crate) fn capture(&self) -> CapturedSessions {
        let sessions = self.sessions.iter();
        CapturedSessions {
            sessions: sessions
                .map(|(id, session)| (id, Arc::clone(session)))
                .collect(),
            active_since: self.active_since,
            limits: self.limits,
        }
    }

    /// The table that [`CapturedSessions::write`] wrote. Ranks count anew from 0: only their order shows.
    pub(crate) fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let limits = SessionLimits {
            timeout: Duration::from_nanos(read_u64(input)?),
            sessions_max: read_u32(input)?,
            replies_bytes_max: read_u64(input)?,
            idle_min: Duration::from_nanos(read_u64(input)?),
        };
        let active_since = WallTime(read_u64(input)?);
        let mut table = Self {
            active_since,
            limits,
            ..Self::default()
        };
        let share = limits.replies_bytes_share();
        let mut last_active = WallTime::default();
        for rank in 0..read_count(input, limits.sessions_max.into())? {
            let id = read_u64(input)?;
            let session = Session::read(input, rank)?;
            if session.last_active < last_active {
                return Err(invalid("its sessions are not in order of activity"));
            }
            last_active = session.last_active;
            table.replies_bytes += session.replies_bytes;
            if session.replies_bytes > share {
                table.greedy.insert(rank, id);
            }
            let place = table.sessions.push(id, Arc::new(session));
            if table.places.insert(id, place).is_some() {
                return Err(invalid("it has a session twice"));
            }
        }
        table.rank_next = table.len() as u64;
        Ok(table)
    }
}

impl Session {
    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        write_u64(out, self.next)?;
        write_u64(out, self.last_active.0)?;
        write_u64(out, self.replies.len() as u64)?;
        for reply in &self.replies {
            if let KeptReply::Skipped(index) = reply {
                write_u64(out, SKIPPED)?;
                write_u64(out, *index)?;
                continue;
            }
            write_u64(out, reply.bytes().len() as u64)?;
            out.write_all(reply.bytes())?;
        }
        Ok(())
    }

    fn read(input: &mut dyn io::Read, rank: u64) -> io::Result<Self> {
        let next = read_u64(input)?;
        let last_active = WallTime(read_u64(input)?);
        let count = read_count(input, SESSION_WINDOW)?;
        if count >= next {
            return Err(invalid("a session keeps more replies than it has had"));
        }
        let mut replies = VecDeque::new();
        let mut replies_bytes = 0;
        let mut bytes = Vec::new();
        for _ in 0..count {
            let length = read_u64(input)?;
            if length == SKIPPED {
                replies.push_back(KeptReply::Skipped(read_u64(input)?));
                continue;
            }
            let length = check_count(length, COMMAND_BYTES_MAX as u64)?;
            bytes.resize(usize::try_from(length).expect("within the bound"), 0);
            input.read_exact(&mut bytes)?;
            replies.push_back(KeptReply::new(&bytes));
            replies_bytes += length;
        }
        Ok(Self {
            next,
            replies,
            replies_bytes,
            last_active,
            rank,
        })
    }
}
