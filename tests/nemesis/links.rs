//! What is wrong with which direction at this moment, and the connections that suffer from it.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use standin_core::time::{Duration, Instant};
use standin_io::clock;

use crate::network::Trouble;
use crate::party::Direction;

/// A connection through the proxy: two sockets, one to each side.
#[derive(Debug)]
pub(crate) struct Connection {
    /// From the one that connected to the one that accepted.
    pub(crate) direction: Direction,
    pub(crate) dialer: TcpStream,
    pub(crate) acceptor: TcpStream,
    /// Nothing gets through any more, and neither side is told.
    is_lost: AtomicBool,
}

impl Connection {
    pub(crate) fn new(direction: Direction, dialer: TcpStream, acceptor: TcpStream) -> Self {
        Self {
            direction,
            dialer,
            acceptor,
            is_lost: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::SeqCst)
    }

    /// Ends it on both sides. Who waits for one of the sockets stops waiting.
    pub(crate) fn end(&self) {
        // Both fail only if it has ended already.
        let _ = self.dialer.shutdown(Shutdown::Both);
        let _ = self.acceptor.shutdown(Shutdown::Both);
    }

    fn suffers_from(&self, direction: Direction) -> bool {
        self.direction == direction || self.direction.back() == direction
    }
}

#[derive(Debug, Default)]
struct State {
    troubles: BTreeMap<Direction, Trouble>,
    connections: Vec<Weak<Connection>>,
    carried: u64,
    lost: u64,
    reset: u64,
    is_over: bool,
}

/// All directions, shared by the threads that carry bytes.
#[derive(Debug, Default)]
pub(crate) struct Links {
    state: Mutex<State>,
    changed: Condvar,
}

impl Links {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn afflict(&self, direction: Direction, trouble: Trouble) {
        let mut state = self.state();
        state.troubles.insert(direction, trouble);
        let connections = std::mem::take(&mut state.connections);
        for connection in connections.iter().filter_map(Weak::upgrade) {
            if connection.suffers_from(direction) {
                state.hit(&connection, trouble);
            }
        }
        state.connections = connections;
        self.changed.notify_all();
    }

    pub(crate) fn heal(&self, direction: Direction) {
        self.state().troubles.remove(&direction);
        self.changed.notify_all();
    }

    /// Takes in a new connection, which suffers from what is wrong at this moment.
    pub(crate) fn add(&self, connection: &Arc<Connection>) {
        let mut state = self.state();
        state.carried += 1;
        for direction in [connection.direction, connection.direction.back()] {
            if let Some(trouble) = state.troubles.get(&direction).copied() {
                state.hit(connection, trouble);
            }
        }
        if state.is_over {
            connection.end();
        }
        state.connections.retain(|one| one.strong_count() > 0);
        state.connections.push(Arc::downgrade(connection));
    }

    /// Waits until `bytes` that have come on a connection may go on; false if they never will.
    pub(crate) fn let_through(
        &self,
        connection: &Connection,
        direction: Direction,
        bytes: usize,
    ) -> bool {
        let came = clock::boot();
        let mut state = self.state();
        loop {
            if connection.is_lost() || state.is_over {
                return false;
            }
            let due = match state.troubles.get(&direction) {
                None | Some(Trouble::HalfOpen | Trouble::Reset) => return true,
                Some(Trouble::Cut) => None,
                Some(Trouble::Delay(delay)) => Some(came.plus(*delay)),
                Some(Trouble::Slow(rate)) => Some(came.plus(time_of(bytes, *rate))),
            };
            state = match due.map(left_until) {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return true,
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Ends all connections, now and from now on.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.is_over = true;
        for connection in state.connections.iter().filter_map(Weak::upgrade) {
            connection.end();
        }
        self.changed.notify_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state().is_over
    }

    pub(crate) fn account(&self) -> String {
        let state = self.state();
        format!(
            "{} connections carried, {} of them lost half-open, {} reset",
            state.carried, state.lost, state.reset
        )
    }
}

impl State {
    fn hit(&mut self, connection: &Connection, trouble: Trouble) {
        match trouble {
            Trouble::HalfOpen => {
                let was_lost = connection.is_lost.swap(true, Ordering::SeqCst);
                self.lost += u64::from(!was_lost);
            }
            Trouble::Reset => {
                connection.end();
                self.reset += 1;
            }
            Trouble::Cut | Trouble::Delay(_) | Trouble::Slow(_) => {}
        }
    }
}

fn time_of(bytes: usize, rate: u32) -> Duration {
    let bytes = u64::try_from(bytes).expect("a buffer's length");
    Duration::from_micros(bytes * 1_000_000 / u64::from(rate.max(1)))
}

fn left_until(due: Instant) -> Duration {
    due.since(clock::boot().min(due))
}
