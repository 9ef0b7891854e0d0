//! What a connection holds on to while it says nothing: little, whatever it has done before.
//!
//! Primary and backup run on threads of this process, whose allocations are counted. The clients are sockets, which have
//! no memory of the process's own. What they ask changes nothing, so that neither the log nor the state grows meanwhile.

mod support;

use std::net::TcpStream;
use std::thread;

use standin::replica::Listening;
use standin_core::time::Duration;

use support::idle::{self, KINDS, Past, Protocol};
use support::{embedded, tell};

#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

/// Idle connections of a kind, and of one whose requests take long.
const CONNECTIONS: usize = 1_000;
const CONNECTIONS_LARGE: usize = 250;
/// Those that come before them, so that what is kept for all together is there.
const BEFORE: usize = 50;
/// Bytes that each holds, at most.
const BYTES_MAX: usize = 4 << 10;
/// How often to look, and how long to wait in between: memory goes back when the loop comes round.
const LOOKS: usize = 10;
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Bytes that the process holds when nothing is under way.
fn held() -> usize {
    let looks = (0..LOOKS).map(|_| {
        thread::sleep(LOOK_PAUSE);
        dhat::HeapStats::get().curr_bytes
    });
    looks.min().expect("it was looked at")
}

/// Opens connections of a kind, and checks what each holds.
fn check(listening: Listening, kind: (Protocol, Past)) {
    let address = match kind.0 {
        Protocol::Resp => listening.resp.expect("it serves them"),
        Protocol::Native => listening.address,
    };
    let address = address.to_string();
    let open = |count| {
        let streams: Vec<TcpStream> = (0..count).map(|_| idle::connect(&address, kind)).collect();
        // Those that have said nothing were accepted before one that is answered.
        drop(idle::connect(&address, (kind.0, Past::Asked)));
        streams
    };
    let count = match kind.1 {
        Past::Fresh | Past::Asked => CONNECTIONS,
        Past::AskedLarge => CONNECTIONS_LARGE,
    };
    drop(open(BEFORE));
    let before = held();
    let streams = open(count);
    let grown = held().saturating_sub(before);
    drop(streams);
    let each = grown / count;
    tell(format_args!("{kind:?}: {each} bytes"));
    assert!(each <= BYTES_MAX, "{kind:?}: {each} bytes for each");
}

#[test]
fn an_idle_connection_holds_little_whatever_it_has_done() {
    embedded::beside_counted_pair(|listening| {
        KINDS.into_iter().for_each(|kind| check(listening, kind))
    });
}
