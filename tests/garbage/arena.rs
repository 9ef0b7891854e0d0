//! The cluster that strangers call on, and its ordinary client.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use standin::machines::counter::CounterClient;
use standin_client::{Client, ClientConfig};
use standin_core::frame::FrameKind;
use standin_core::identity::{ClusterId, Identity};
use standin_core::message::{Hello, InspectReply, Party};
use standin_core::view::{ViewId, ViewRecord};
use standin_tools::cluster::{Cluster, ClusterConfig, VIEW_SERVICE};

use crate::stranger::Stranger;
use crate::{ALL, PATIENCE, REPLICAS, pause, until};

/// Long, so that a machine with much else to do brings no takeover of its own into these tests.
const LEASE: Duration = Duration::from_secs(4);

/// A cluster at work.
pub(crate) struct Arena {
    pub(crate) cluster: Cluster,
    pub(crate) id: ClusterId,
    pub(crate) view: ViewId,
    pub(crate) witness: Witness,
    pub(crate) rss_before: BTreeMap<&'static str, u64>,
    pub(crate) lines_before: BTreeMap<&'static str, u64>,
}

impl Arena {
    pub(crate) fn start() -> Self {
        Self::with_program(env!("CARGO_BIN_EXE_standin").into())
    }

    pub(crate) fn with_program(program: PathBuf) -> Self {
        allow_descriptors();
        let mut cluster = Cluster::new(ClusterConfig {
            lease: LEASE,
            ..ClusterConfig::new(program)
        })
        .unwrap();
        cluster.start_all(&REPLICAS).unwrap();
        let status = cluster
            .wait_for("a pair and a spare", PATIENCE, |status| {
                let record = status.record.as_ref();
                let backup = record.and_then(|record| record.backup.as_ref());
                let is_ready = |view| {
                    let mut replicas = status.replicas.iter();
                    replicas.all(|replica| {
                        let standing = replica.standing;
                        standing.is_some_and(|standing| standing.view == view)
                    })
                };
                let view = record.map(ViewRecord::id);
                backup.is_some() && status.replicas.len() == 3 && view.is_some_and(is_ready)
            })
            .unwrap();
        let view = status.record.unwrap().id();
        let witness = Witness::start(&cluster);
        witness.is_answered();
        let mut arena = Self {
            id: status.cluster,
            view,
            witness,
            rss_before: BTreeMap::new(),
            lines_before: BTreeMap::new(),
            cluster,
        };
        arena.rss_before = ALL.map(|name| (name, arena.rss(name))).into();
        arena.lines_before = ALL.map(|name| (name, arena.offenders(name))).into();
        arena
    }

    pub(crate) fn member(&self, pick: impl Fn(&ViewRecord) -> Option<String>) -> String {
        let record = self.cluster.status().unwrap().record.unwrap();
        pick(&record).unwrap()
    }

    pub(crate) fn primary(&self) -> String {
        self.member(|record| Some(record.primary.name.to_string()))
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let status = self.cluster.status().unwrap();
        let mut peers = status.replicas.into_iter().map(|replica| replica.peer);
        peers
            .find(|peer| peer.identity.name.as_str() == name)
            .unwrap()
            .identity
    }

    pub(crate) fn stranger(&self, name: &str) -> Stranger {
        Stranger::connect(self.cluster.address(name).unwrap())
    }

    /// A connection whose handshake is done.
    #[track_caller]
    pub(crate) fn guest(&self, name: &str, party: Party) -> Stranger {
        let mut guest = self.stranger(name);
        guest.say(&Hello::new(party, Some(self.id), None));
        let hello = guest.hear();
        assert_eq!(
            hello.map(|(kind, _)| kind),
            Some(FrameKind::Hello),
            "{name}"
        );
        guest
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.cluster.log_path(name)).unwrap()
    }

    /// How many connections the log complains of: one by one, or in a line that counts several.
    pub(crate) fn offenders(&self, name: &str) -> u64 {
        let log = self.log(name);
        let lines = log
            .lines()
            .map(|line| match line.split_once(" more warnings about") {
                Some((before, _)) => before.rsplit(' ').next().unwrap().parse().unwrap(),
                None => u64::from(line.contains(" WARN ") || line.contains(" ERROR ")),
            });
        lines.sum()
    }

    /// Waits until the log has complained of exactly `count` connections since the beginning.
    #[track_caller]
    pub(crate) fn complains(&self, name: &str, count: u64) {
        let begun = Instant::now();
        loop {
            let found = self.offenders(name) - self.lines_before[name];
            if found == count {
                return;
            }
            let is_over = found > count || begun.elapsed() > PATIENCE;
            assert!(
                !is_over,
                "{name}: {found} complaints, not {count}:\n{}",
                self.log(name)
            );
            pause();
        }
    }

    /// Resident memory of a process, in bytes.
    pub(crate) fn rss(&self, name: &str) -> u64 {
        let pid = self.cluster.pid(name).unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kib << 10
    }

    #[track_caller]
    pub(crate) fn has_not_grown(&self, growth_max: u64) {
        for name in ALL {
            let (before, now) = (self.rss_before[name], self.rss(name));
            assert!(
                now < before + growth_max,
                "{name} grew from {before} to {now} bytes"
            );
        }
    }

    /// Everybody lives and did not panic, the view is the same, the count is right, and all replicas
    /// have the same.
    #[track_caller]
    pub(crate) fn ends_unharmed(mut self, growth_max: u64) {
        self.witness.is_answered();
        self.has_not_grown(growth_max);
        self.cluster.check().unwrap();
        for name in ALL {
            let log = self.log(name);
            assert!(!log.contains("panicked"), "{name}: {log}");
        }
        let record = self.cluster.status().unwrap().record.unwrap();
        assert_eq!(record.id(), self.view, "{}", self.log(VIEW_SERVICE));
        self.is_right();
    }

    /// The count is right, and all replicas have the same.
    #[track_caller]
    pub(crate) fn is_right(&mut self) {
        self.witness.agrees(&self.cluster);
        until("all replicas to have the same", || {
            let inspect = |name: &&str| self.cluster.inspect(name).ok();
            let copies: Vec<InspectReply> = REPLICAS.iter().filter_map(inspect).collect();
            let first = copies.first()?;
            let is_level = |copy: &InspectReply| {
                copy.standing.applied == first.standing.applied
                    && copy.standing.applied == copy.standing.commit
            };
            if copies.len() < REPLICAS.len() || !copies.iter().all(is_level) {
                return None;
            }
            assert!(
                copies
                    .iter()
                    .all(|copy| copy.state_digest == first.state_digest)
            );
            Some(())
        });
    }
}

/// An ordinary client that adds 1 without pause.
pub(crate) struct Witness {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) answered: Arc<AtomicU64>,
    pub(crate) thread: Option<JoinHandle<()>>,
}

impl Witness {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let config = ClientConfig { timeout: PATIENCE };
        let client = Client::new(cluster.view_services().unwrap(), config).unwrap();
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let shared = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = thread::spawn(move || {
            let mut counter = CounterClient::new(client);
            let (stop, answered) = shared;
            let mut before = 0;
            while !stop.load(Ordering::Relaxed) {
                let value = counter.add(1).unwrap();
                before += 1;
                assert_eq!(value, before, "nobody else adds");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            answered,
            thread: Some(thread),
        }
    }

    /// Waits until one more add was sent and answered from now on.
    #[track_caller]
    pub(crate) fn is_answered(&self) {
        // The one under way may have been sent before.
        let target = self.answered.load(Ordering::Relaxed) + 2;
        until("an answer to the ordinary client", || {
            let has_ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!has_ended, "the ordinary client has failed");
            (self.answered.load(Ordering::Relaxed) >= target).then_some(())
        });
    }

    /// Ends it, and holds its answers against the counter.
    #[track_caller]
    pub(crate) fn agrees(&mut self, cluster: &Cluster) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let config = ClientConfig { timeout: PATIENCE };
        let client = Client::new(cluster.view_services().unwrap(), config).unwrap();
        let value = CounterClient::new(client).get().unwrap();
        assert_eq!(
            u64::try_from(value),
            Ok(self.answered.load(Ordering::Relaxed))
        );
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn allow_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}
