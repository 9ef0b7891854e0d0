//! A machine, its time and its timer, as a replica has them.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io;

use standin_core::machine::StateMachine as _;
use standin_core::time::WallTime;
use standin_kv::arguments;
use standin_kv::keyspace::DatabaseId;
use standin_kv::{KeyValue, Moment};
use standin_resp::Version;

/// Nanoseconds in a millisecond.
const MILLI: u64 = 1_000_000;

/// A machine and all that it is told of the world.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) machine: KeyValue,
    pub(crate) now_ms: u64,
    pub(crate) index: u64,
    alarm: Option<WallTime>,
    seed: u64,
    pub(crate) version: Version,
    pub(crate) database: DatabaseId,
}

impl Default for Shop {
    fn default() -> Self {
        Self {
            machine: KeyValue::default(),
            now_ms: 1_700_000_000_000,
            index: 0,
            alarm: None,
            seed: 1,
            version: Version::Resp2,
            database: DatabaseId::default(),
        }
    }
}

impl Shop {
    /// Executes a line of words as an entry.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        String::from_utf8_lossy(&self.ask_bytes(&words)).into_owned()
    }

    pub(crate) fn ask_bytes<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        let command = arguments::command(self.version, self.database, args);
        self.apply(&command)
    }

    /// Executes command bytes as an entry.
    pub(crate) fn apply(&mut self, command: &[u8]) -> Vec<u8> {
        let mut reply = Vec::new();
        let moment = self.moment();
        let seed = &mut self.seed;
        let mut random = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *seed ^ (*seed >> 29)
        };
        let alarm = (self.machine).execute(moment, &mut random, command, &mut reply);
        self.alarm = alarm.or(self.alarm);
        reply
    }

    /// Asks a line of words as a query.
    pub(crate) fn query(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let command = arguments::command(self.version, self.database, &words);
        let mut reply = Vec::new();
        self.machine.query(&command, &mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn moment(&mut self) -> Moment {
        self.index += 1;
        Moment {
            now: WallTime(self.now_ms * MILLI),
            index: self.index,
        }
    }

    pub(crate) fn pass_ms(&mut self, millis: u64) {
        self.now_ms += millis;
    }

    pub(crate) fn alarm(&self) -> Option<WallTime> {
        self.alarm
    }

    /// Lets the timer fire as often as it is due.
    pub(crate) fn fire_timers(&mut self) {
        while self.alarm.is_some_and(|at| at.0 <= self.now_ms * MILLI) {
            let moment = self.moment();
            self.alarm = self.machine.fire(moment);
        }
    }

    pub(crate) fn capture(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        KeyValue::write_capture(&self.machine.capture(), &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn restore(bytes: &[u8]) -> io::Result<Self> {
        let mut input = bytes;
        Ok(Self {
            machine: KeyValue::restore(&mut input)?,
            ..Self::default()
        })
    }

    /// Stands where another one stands.
    pub(crate) fn adopt_time(&mut self, other: &Self) {
        (self.now_ms, self.index, self.alarm) = (other.now_ms, other.index, other.alarm);
        self.seed = other.seed;
    }
}
