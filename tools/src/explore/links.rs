//! Connections, and what is on its way over each of them: in order, in each direction.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use standin_core::conn::ConnId;
use xxhash_rust::xxh3::xxh3_64;

/// Somebody who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Service,
    Replica(usize),
    /// A client; each request has a connection of its own.
    Client,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("the view service"),
            Self::Replica(host) => f.write_str(name_of(*host)),
            Self::Client => f.write_str("the client"),
        }
    }
}

/// The name of a replica.
pub(super) fn name_of(host: usize) -> &'static str {
    ["a", "b", "c"][host]
}

/// A whole frame.
#[derive(Clone)]
pub(super) struct Bytes {
    pub(super) bytes: Arc<[u8]>,
    hash: u64,
}

impl Bytes {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            hash: xxh3_64(bytes),
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.fmt(f)
    }
}

/// Something on its way.
#[derive(Clone, Debug)]
pub(super) enum Letter {
    /// The other side has accepted the connection.
    Ready,
    Frame(Bytes),
    /// The connection is gone.
    Closed,
}

/// Until when something is held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    #[default]
    No,
    /// Until nothing else is left to do.
    UntilQuiet,
    /// Until so many quarters of a term have gone by.
    Until(u32),
}

impl Hold {
    pub(super) fn is_on(self) -> bool {
        self != Self::No
    }

    pub(super) fn expire(&mut self, elapsed: u32) {
        if matches!(self, Self::Until(at) if *at <= elapsed) {
            *self = Self::No;
        }
    }
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) party: Party,
    is_open: bool,
    /// What is on its way to here.
    pub(super) letters: VecDeque<Letter>,
    pub(super) hold: Hold,
}

/// One connection: the end that dialled, the end that accepted.
#[derive(Clone, Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) ends: [End; 2],
}

impl Conn {
    fn end_of(&self, party: Party) -> Option<usize> {
        self.ends.iter().position(|end| end.party == party)
    }

    /// An end lets go; the other hears of it after all that was sent before.
    fn close(&mut self, at: usize) {
        self.ends[at].is_open = false;
        self.ends[at].letters.clear();
        if self.ends[1 - at].is_open {
            self.ends[1 - at].letters.push_back(Letter::Closed);
        }
    }
}

/// All connections, the oldest first.
#[derive(Clone, Debug)]
pub(super) struct Links {
    next: u64,
    pub(super) conns: Vec<Conn>,
}

impl Links {
    pub(super) fn new() -> Self {
        Self {
            next: 1,
            conns: Vec::new(),
        }
    }

    /// Connects; nobody is there if not `is_up`.
    pub(super) fn dial(&mut self, from: Party, to: Party, is_up: bool) -> ConnId {
        let id = ConnId(self.next);
        self.next += 1;
        let first = match (is_up, from) {
            (false, _) => Some(Letter::Closed),
            (true, Party::Client) => None,
            (true, _) => Some(Letter::Ready),
        };
        let end = |party, is_open, letters| End {
            party,
            is_open,
            letters,
            hold: Hold::No,
        };
        self.conns.push(Conn {
            id,
            ends: [
                end(from, true, first.into_iter().collect()),
                end(to, is_up, VecDeque::new()),
            ],
        });
        id
    }

    pub(super) fn find(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|conn| conn.id == id)
    }

    pub(super) fn send(&mut self, from: Party, id: ConnId, frame: &[u8]) {
        let Some(conn) = self.find(id) else { return };
        let Some(at) = conn.end_of(from) else { return };
        if conn.ends[at].is_open && conn.ends[1 - at].is_open {
            let letter = Letter::Frame(Bytes::new(frame));
            conn.ends[1 - at].letters.push_back(letter);
        }
    }

    pub(super) fn close(&mut self, party: Party, id: ConnId) {
        if let Some(conn) = self.find(id)
            && let Some(at) = conn.end_of(party)
            && conn.ends[at].is_open
        {
            conn.close(at);
        }
        self.sweep();
    }

    /// A connection that has served its purpose leaves no trace.
    pub(super) fn forget(&mut self, id: ConnId) {
        self.conns.retain(|conn| conn.id != id);
    }

    /// A process has ended. If `is_mute`, what it sent last is lost with it.
    pub(super) fn end(&mut self, party: Party, is_mute: bool) {
        for conn in &mut self.conns {
            let Some(at) = conn.end_of(party) else {
                continue;
            };
            if conn.ends[at].is_open {
                if is_mute {
                    conn.ends[1 - at].letters.clear();
                }
                conn.close(at);
            }
        }
        self.sweep();
    }

    /// A connection breaks, and all on it is lost.
    pub(super) fn reset(&mut self, id: ConnId) {
        if let Some(conn) = self.find(id) {
            for end in conn.ends.iter_mut().filter(|end| end.is_open) {
                end.letters.clear();
                end.letters.push_back(Letter::Closed);
            }
        }
    }

    /// Takes the next letter to one end.
    pub(super) fn take(&mut self, id: ConnId, at: usize) -> Option<(Party, Letter)> {
        let conn = self.find(id)?;
        let letter = conn.ends[at].letters.pop_front()?;
        let party = conn.ends[at].party;
        if matches!(letter, Letter::Closed) {
            conn.ends[at].is_open = false;
            // What the other side sent before it heard of the break.
            conn.ends[at].letters.clear();
            self.sweep();
        }
        Some((party, letter))
    }

    fn sweep(&mut self) {
        self.conns
            .retain(|conn| conn.ends.iter().any(|end| end.is_open));
    }
}
