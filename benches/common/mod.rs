//! What the benches that put a load on a pair have in common.

use std::fs;
use std::thread;

use standin_core::message::ReplyStatus;
use standin_core::time::Duration;
use standin_tools::load::{self, LoadConfig, LoadResult, Pace, Work};

use crate::support::raw::{Place, RawClient};
use crate::support::{PATIENCE, sure};

/// Sessions that are opened at once.
const SESSIONS_AT_ONCE: u64 = 300;

/// A load in a closed loop, in which no request may fail.
pub(crate) struct ClosedLoad<'a> {
    pub(crate) address: &'a str,
    pub(crate) connections: usize,
    /// Requests that each connection has in flight.
    pub(crate) depth: u64,
    /// How long it runs before it counts.
    pub(crate) warm_up: Duration,
    pub(crate) seconds: u64,
    pub(crate) work: Work,
}

impl ClosedLoad<'_> {
    pub(crate) fn run(self) -> LoadResult {
        let result = sure(load::run(&LoadConfig {
            address: self.address.to_owned(),
            connections: sure(u32::try_from(self.connections)),
            pace: Pace::Closed(self.depth),
            warm_up: self.warm_up,
            measured: Duration::from_secs(self.seconds),
            work: self.work,
            heeds_signals: false,
        }));
        assert_eq!(result.errors, 0, "{:?}", result.first_error);
        result
    }
}

/// What a load came to, for people.
pub(crate) fn told(result: &LoadResult) -> String {
    let ms = |micros: u64| micros as f64 / 1000.0;
    format!(
        "{:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms",
        result.throughput,
        ms(result.p50_us),
        ms(result.p99_us),
        ms(result.p999_us),
        ms(result.max_us)
    )
}

/// Looks again and again while something is done, with a pause before each time but the first.
pub(crate) fn beside<T: Send>(
    pause: Duration,
    mut look: impl FnMut(),
    work: impl FnOnce() -> T + Send,
) -> T {
    thread::scope(|scope| {
        let work = scope.spawn(work);
        while !work.is_finished() {
            look();
            thread::sleep(pause);
        }
        work.join().expect("it has ended with a result")
    })
}

/// Resident memory of a process, in KiB, from its `status` in /proc.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse().ok()).unwrap_or(0)
}

/// The reply to a request, which was done.
pub(crate) fn take(client: &mut RawClient, id: u64) -> Vec<u8> {
    let reply = client.reply(id, PATIENCE).expect("a reply in time");
    assert_eq!(reply.status, ReplyStatus::Done);
    reply.bytes
}

/// The session that was opened, by the reply to that.
pub(crate) fn session_of(reply: &[u8]) -> u64 {
    u64::from_le_bytes(sure(reply.try_into()))
}

/// Opens so many sessions; in each this command is executed.
pub(crate) fn open_sessions(client: &mut RawClient, count: u64, command: &[u8]) {
    let mut left = count;
    while left > 0 {
        let now = left.min(SESSIONS_AT_ONCE);
        left -= now;
        let openings: Vec<u64> = (0..now).map(|_| client.ask_for_session()).collect();
        let places: Vec<Place> = openings
            .into_iter()
            .map(|id| Place {
                session: session_of(&take(client, id)),
                sequence: 1,
            })
            .collect();
        let commands: Vec<u64> = places
            .into_iter()
            .map(|place| client.command(place, command))
            .collect();
        for id in commands {
            take(client, id);
        }
    }
}
