//! The sleep, and what is done around it.

use std::{io, thread};

use mio::{Events, Token};
use nix::sys::signal::Signal;
use standin_core::conn::ConnId;
use standin_core::time::{Duration, Instant, Now, earliest};

use super::Net;
use super::busy::Found;
use super::conn::Stage;
use super::event::{CloseReason, NetEvent};
use crate::clock;
use crate::stop::Stop;

/// Tokens of what is no connection. A connection's token is its id, which cannot be so high.
pub(super) const WAKER: Token = Token(usize::MAX);
pub(super) const SIGNALS: Token = Token(usize::MAX - 1);
/// What [`Stop`] stands for.
const STOP_SIGNAL: i32 = Signal::SIGTERM as i32;
const FIRST_LISTENER: usize = usize::MAX - 2;

pub(super) fn listener_token(listener: usize) -> Token {
    Token(FIRST_LISTENER - listener)
}

pub(super) fn conn_token(id: ConnId) -> Token {
    Token(usize::try_from(id.0).expect("usize has 64 bits on every target of ours"))
}

impl Net {
    /// Sleeps until there is something to report or `deadline` has come; clears `events`, then fills
    /// it. Everything that is ready is read once, within the bounds.
    ///
    /// A sleep may end up to a millisecond after the deadline, never before it for good: then it
    /// returns without events, to be called again.
    ///
    /// Returns the clocks as they were *after* the last byte was read: a grantor of leases may count
    /// from it, because everything reported was sent before.
    ///
    /// # Errors
    /// When the kernel fails to wait, which leaves nothing to do but stop.
    pub fn poll(
        &mut self,
        deadline: Option<Instant>,
        events: &mut Vec<NetEvent>,
    ) -> io::Result<Now> {
        events.clear();
        self.wake_ups += 1;
        self.flush();
        self.settle();
        let begun = clock::boot();
        let timeout = self.timeout(deadline, begun);
        let mut readiness = std::mem::replace(&mut self.readiness, Events::with_capacity(0));
        let found = self.wait(&mut readiness, begun, timeout)?;
        self.now = clock::boot();
        if timeout != Some(Duration::ZERO) {
            self.busy_poll.waited(self.now.since(begun), found);
        }
        self.take_readiness(&readiness, events)?;
        self.readiness = readiness;
        self.accept();
        self.read_queued(events);
        // After reading: what arrived while this thread did not run has arrived in time.
        self.expire();
        self.flush();
        self.report(events);
        Ok(clock::read())
    }

    /// Waits for what the kernel says, at most so long.
    fn wait(
        &mut self,
        readiness: &mut Events,
        begun: Instant,
        timeout: Option<Duration>,
    ) -> io::Result<Found> {
        let window = self.busy_poll.window(begun, timeout);
        if !window.is_zero() {
            let until = begun.plus(window);
            let mut now = begun;
            while now < until {
                self.wait_once(readiness, Some(Duration::ZERO))?;
                if !readiness.is_empty() {
                    return Ok(Found::Awake);
                }
                thread::yield_now();
                let before = std::mem::replace(&mut now, clock::boot());
                if self.busy_poll.gave_way(now, now.since(before)) {
                    break;
                }
            }
        }
        // Whoever ran meanwhile may have taken long.
        let rest = timeout.map(|timeout| begun.plus(timeout).since(clock::boot()));
        self.wait_once(readiness, if window.is_zero() { timeout } else { rest })?;
        Ok(match readiness.is_empty() {
            true => Found::Nothing,
            false => Found::Asleep,
        })
    }

    fn wait_once(&mut self, readiness: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(readiness, timeout) {
            // A signal that is handled elsewhere: nothing is ready, but time has passed.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => readiness.clear(),
            waited => waited?,
        }
        Ok(())
    }

    /// Brings the lists up to date with what the owner did since the last poll.
    fn settle(&mut self) {
        let mut with_input = std::mem::take(&mut self.with_input);
        with_input.retain(|&id| {
            let may_report = self.conns.get(id).is_some_and(|conn| self.may_report(conn));
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_listed = may_report;
            }
            if !may_report {
                self.hold_back(id);
            }
            may_report
        });
        self.with_input = with_input;
        let mut ended = std::mem::take(&mut self.ended);
        ended.retain(|&id| {
            let has_input = self.conns.get(id).is_some_and(|conn| conn.whole > 0);
            if !has_input {
                self.remove(id, None);
            }
            has_input
        });
        self.ended = ended;
    }

    fn timeout(&self, deadline: Option<Instant>, now: Instant) -> Option<Duration> {
        let may_accept = self.listeners.iter().any(|listener| listener.is_ready);
        let has_work = !self.closed.is_empty()
            || !self.with_input.is_empty()
            || !self.to_read.is_empty()
            || may_accept && self.accept_after.is_none();
        if has_work {
            return Some(Duration::ZERO);
        }
        let timer = self.timers.first().map(|&(at, _)| at);
        let mut wake = earliest(deadline, timer);
        if may_accept {
            wake = earliest(wake, self.accept_after);
        }
        wake = earliest(wake, self.warnings.deadline());
        // Mio rounds up to the milliseconds that the kernel counts in: no early end, so no spin.
        wake.map(|at| at.since(now))
    }

    fn take_readiness(&mut self, readiness: &Events, events: &mut Vec<NetEvent>) -> io::Result<()> {
        for event in readiness {
            match event.token() {
                WAKER => {
                    events.push(NetEvent::Woken);
                    let asked = self.stop.as_ref().map_or(0, Stop::take);
                    events.extend((0..asked).map(|_| NetEvent::Signal(STOP_SIGNAL)));
                    self.take_resolved();
                }
                SIGNALS => self.take_signals(events)?,
                Token(token) if token > FIRST_LISTENER - self.listeners.len() => {
                    self.listeners[FIRST_LISTENER - token].is_ready = true;
                }
                Token(token) => {
                    let id = ConnId(u64::try_from(token).expect("a token was made from an id"));
                    self.take_conn_readiness(id, event);
                }
            }
        }
        Ok(())
    }

    fn take_signals(&mut self, events: &mut Vec<NetEvent>) -> io::Result<()> {
        if let Some(signals) = &self.signals {
            while let Some(number) = signals.next()? {
                events.push(NetEvent::Signal(number));
            }
        }
        Ok(())
    }

    fn take_conn_readiness(&mut self, id: ConnId, event: &mio::event::Event) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if matches!(conn.stage, Stage::Connecting(_)) {
            self.check_connecting(id);
            return;
        }
        if event.is_error()
            && self.is_held(conn)
            && let Some(stream) = &conn.stream
            && let Ok(Some(error)) = stream.take_error()
        {
            // Nobody reads it, so nobody else would notice.
            self.finish(id, CloseReason::Failed(error));
            return;
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.is_end_hinted |= event.is_read_closed() || event.is_error();
        conn.is_readable |= event.is_readable() || conn.is_end_hinted;
        if event.is_writable() {
            conn.is_writable = true;
            self.mark_dirty(id);
        }
        self.queue_read(id);
    }

    /// Appends what lasts longer than one wake-up: input that is not consumed, and the ends.
    fn report(&mut self, events: &mut Vec<NetEvent>) {
        let conns = &self.conns;
        let waits_since = |id: &ConnId| conns.get(*id).map(|conn| conn.waits_since);
        self.with_input.sort_by_key(waits_since);
        for &id in &self.with_input {
            if self.conns.get(id).is_some_and(|conn| self.may_report(conn)) {
                events.push(NetEvent::Input { conn: id });
            }
        }
        for (conn, reason) in self.closed.drain(..) {
            events.push(NetEvent::Closed { conn, reason });
        }
        self.warnings.sum_up(self.now);
    }

    /// Gives a connection until `at`.
    pub(super) fn set_deadline(&mut self, id: ConnId, at: Instant) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.deadline = Some(at);
        // An earlier entry stays: it finds the later deadline when its time comes. So a deadline that
        // moves with every read does not move an entry with every read.
        match conn.armed {
            Some(armed) if armed <= at => return,
            Some(armed) => _ = self.timers.remove(&(armed, id)),
            None => {}
        }
        conn.armed = Some(at);
        self.timers.insert((at, id));
    }

    fn expire(&mut self) {
        while let Some(&(at, id)) = self.timers.first()
            && at <= self.now
        {
            self.timers.pop_first();
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.armed = None;
            match conn.deadline {
                Some(deadline) if deadline > self.now => self.set_deadline(id, deadline),
                Some(_) => self.on_deadline(id),
                None => {}
            }
        }
    }

    fn on_deadline(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        match conn.stage {
            Stage::Resolving(_) => {
                let words = "looking up the name takes too long";
                let error = io::Error::new(io::ErrorKind::TimedOut, words);
                self.finish(id, CloseReason::Connect(error));
            }
            Stage::Connecting(_) => {
                let error = io::ErrorKind::TimedOut.into();
                self.finish(id, CloseReason::Connect(error));
            }
            Stage::Lingering => self.finish(id, CloseReason::Here),
            // Bytes of its are waiting to be read, which is our delay and not its own.
            Stage::AwaitHello if conn.is_readable => {
                self.set_deadline(id, self.now.plus(self.config.limits.handshake_timeout));
            }
            Stage::AwaitHello => self.finish(id, CloseReason::HandshakeTimeout),
            Stage::Ready if conn.is_readable || self.is_held(conn) => {
                let timeout = self.config.limits.partial_frame_timeout;
                self.set_deadline(id, self.now.plus(timeout));
            }
            Stage::Ready => self.finish(id, CloseReason::PartialFrameTimeout),
        }
    }
}
