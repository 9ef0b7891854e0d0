//! Clients that send operations: many in flight and none twice, and one with a session.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use standin::client::{Client, ClientConfig, Consistency};
use standin::machines::kv::arguments::{self, Watch, read_sights};
use standin_client::ViewServices;
use standin_core::message::{DirectRequest, Party, Replies, ReplyStatus, Seen};
use standin_core::time::Duration;
use standin_io::clock;
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_resp::Version;
use standin_tools::cluster::POLL_PAUSE;

use crate::operations::Chance;
use crate::support::{PATIENCE, sure};

/// Connections, and operations in flight on each.
const CONNECTIONS: usize = 4;
const DEPTH: u64 = 128;
/// How long a connection that is silent is waited for: long enough for any takeover.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What has come back so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) answered: AtomicU64,
    /// Replies that are errors of the database's.
    pub(crate) denied: AtomicU64,
    /// Transactions whose keys were watched, that were executed, and that were not.
    pub(crate) executed: AtomicU64,
    pub(crate) prevented: AtomicU64,
    pub(crate) stop: AtomicBool,
    /// Why a client gave up.
    pub(crate) failure: Mutex<Option<String>>,
}

impl Progress {
    fn is_over(&self, goal: u64) -> bool {
        self.stop.load(Ordering::Relaxed) || self.answered.load(Ordering::Relaxed) >= goal
    }
}

/// Sends operations that belong to no session, to whoever is primary, until `goal` are answered.
pub(crate) fn flood(view_services: &ViewServices, seed: u64, goal: u64, progress: &Progress) {
    let mut chance = Chance::new(seed);
    let end = clock::boot().plus(Duration::from_secs(3600));
    while !progress.is_over(goal) && clock::boot() < end {
        match primary(view_services) {
            Some(address) => flood_one(&address, &mut chance, goal, progress),
            None => std::thread::sleep(POLL_PAUSE),
        }
    }
}

/// Where the primary is reached.
fn primary(view_services: &ViewServices) -> Option<String> {
    let status = standin_client::status(view_services, Duration::from_secs(1)).ok()?;
    let record = status.record.filter(|record| record.active)?;
    let mut replicas = status.replicas.into_iter();
    let found = replicas.find(|one| one.peer.identity.name == record.primary.name)?;
    Some(found.peer.address)
}

/// The same to one replica, as long as it is primary.
fn flood_one(address: &str, chance: &mut Chance, goal: u64, progress: &Progress) {
    let mut net = sure(Net::new(NetConfig {
        party: Party::Client,
        cluster: None,
        machine: None,
        limits: NetLimits::default(),
    }));
    let mut events = Vec::new();
    let mut id = 0;
    for _ in 0..CONNECTIONS {
        net.connect(address, clock::boot(), SILENCE_MAX);
    }
    let mut heard = clock::boot();
    while !progress.is_over(goal) {
        let now = sure(net.poll(Some(heard.plus(SILENCE_MAX)), &mut events)).boot;
        if events.is_empty() && now >= heard.plus(SILENCE_MAX) {
            return;
        }
        for event in events.drain(..) {
            heard = now;
            let (conn, more) = match event {
                NetEvent::Ready { conn, .. } => (conn, DEPTH),
                NetEvent::Input { conn } => {
                    let (mut bytes, mut count) = (0, 0);
                    for frame in net.frames(conn) {
                        bytes += frame.len();
                        for reply in sure(Replies::decode(&frame)).iter() {
                            match reply.status {
                                ReplyStatus::Done => count += 1,
                                ReplyStatus::Overloaded => {}
                                _ => return,
                            }
                            let is_denied = reply.bytes.first() == Some(&b'-');
                            let denied = u64::from(is_denied);
                            progress.denied.fetch_add(denied, Ordering::Relaxed);
                        }
                    }
                    net.consume(conn, bytes);
                    progress.answered.fetch_add(count, Ordering::Relaxed);
                    (conn, count)
                }
                NetEvent::Closed { .. } => return,
                NetEvent::Woken | NetEvent::Signal(_) => continue,
            };
            net.send(conn, |out| {
                for _ in 0..more {
                    id += 1;
                    let bytes = chance.operation();
                    let seen = Seen::default();
                    let bytes = &bytes;
                    DirectRequest { id, seen, bytes }.encode(out);
                }
            });
        }
    }
}

/// Sends operations in a session, each answered before the next, some of them transactions on keys that are watched.
pub(crate) fn converse(view_services: &ViewServices, seed: u64, progress: &Progress) {
    let mut chance = Chance::new(seed);
    let config = ClientConfig { timeout: PATIENCE };
    let mut client = sure(Client::new(view_services.clone(), config));
    while !progress.stop.load(Ordering::Relaxed) {
        if let Err(error) = converse_once(&mut client, &mut chance, progress) {
            let mut failure = progress.failure.lock().expect("nobody panics with it");
            *failure = Some(error);
            return;
        }
        progress.answered.fetch_add(1, Ordering::Relaxed);
    }
    let _ = client.close();
}

fn converse_once(
    client: &mut Client,
    chance: &mut Chance,
    progress: &Progress,
) -> Result<(), String> {
    let command = |client: &mut Client, bytes: &[u8]| {
        let answer = client.command(bytes).map_err(|error| error.to_string())?;
        Ok::<_, String>(answer.bytes)
    };
    if chance.below(4) > 0 {
        command(client, &chance.operation())?;
        return Ok(());
    }
    let database = chance.database();
    let keys = [chance.key(), chance.key()];
    let words = [b"watch".to_vec(), keys[0].clone(), keys[1].clone()];
    let question = arguments::command(Version::Resp2, database, &words);
    let answer = client.query(&question, Consistency::Confirmed);
    let answer = answer.map_err(|error| error.to_string())?;
    let sights = read_sights(&answer.bytes).ok_or("WATCH told nothing")?;
    let watches = keys.into_iter().zip(sights);
    let watches: Vec<Watch> = watches
        .map(|(key, sight)| Watch {
            database,
            key,
            sight,
        })
        .collect();
    let reply = command(client, &chance.transaction(&watches))?;
    let is_prevented = [b"*-1\r\n".as_slice(), b"_\r\n"].contains(&reply.as_slice());
    match is_prevented {
        true => progress.prevented.fetch_add(1, Ordering::Relaxed),
        false => progress.executed.fetch_add(1, Ordering::Relaxed),
    };
    Ok(())
}
