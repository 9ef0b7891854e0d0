//! Processes to be broken, and what is looked at while they are.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Deref, DerefMut};

use standin_client::{Client, ClientConfig, Consistency};
use standin_core::identity::Durability;
use standin_core::message::{InspectReply, ReplicaStatus, RoleName, StatusReply};
use standin_core::time::{Duration, Instant};
use standin_core::view::{ViewNumber, ViewRecord};
use standin_io::clock;
use standin_tools::cluster::{Cluster, ClusterConfig, POLL_PAUSE, VIEW_SERVICE};

use super::cli::{self, Ran, STANDIN};
use super::counter_history::{History, Kind, Summary};
use super::load::{Load, LoadConfig, operate};
use super::{PATIENCE, sure, tell};

/// Lines of each process's log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 60;

/// Tries for each thing that needs a quiet moment.
pub(crate) const TRIES: u32 = 20;

/// A primary with its backup, as the record has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) view: ViewNumber,
    pub(crate) primary: String,
    pub(crate) backup: String,
}

impl Pair {
    pub(crate) fn of(record: &ViewRecord) -> Option<Self> {
        let backup = record.backup.as_ref().filter(|_| record.active)?;
        Some(Self {
            view: record.view,
            primary: record.primary.name.to_string(),
            backup: backup.name.to_string(),
        })
    }

    /// Which of the two is not `name`.
    pub(crate) fn other(&self, name: &str) -> String {
        let other = if self.primary == name {
            &self.backup
        } else {
            &self.primary
        };
        other.clone()
    }
}

/// A view service and replicas of a counter. If the test fails, the ends of their logs are shown.
#[derive(Debug)]
pub(crate) struct Scene {
    title: String,
    cluster: Cluster,
    lease: Duration,
}

impl Deref for Scene {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

impl Scene {
    /// Starts a view service and then these replicas, one after the other.
    pub(crate) fn start(
        title: &str,
        lease: Duration,
        durability: Durability,
        replicas: &[&str],
    ) -> Self {
        let config = ClusterConfig {
            lease,
            durability,
            ..ClusterConfig::new(STANDIN)
        };
        let mut scene = Self::with(title, config);
        sure(scene.start_all(replicas));
        scene
    }

    /// Starts a view service and then these replicas of the database, and waits for a pair if there can be one.
    pub(crate) fn databases(title: &str, lease: Duration, replicas: &[&str]) -> Self {
        Self::databases_with(title, lease, replicas, |_| {})
    }

    /// The same, with more that `adjust` sets.
    pub(crate) fn databases_with(
        title: &str,
        lease: Duration,
        replicas: &[&str],
        adjust: impl FnOnce(&mut ClusterConfig),
    ) -> Self {
        let mut config = ClusterConfig {
            lease,
            machine: "kv".to_owned(),
            ..ClusterConfig::new(STANDIN)
        };
        adjust(&mut config);
        let mut scene = Self::with(title, config);
        sure(scene.start_all(replicas));
        if replicas.len() > 1 {
            scene.until_pair();
        }
        scene
    }

    /// A scene in which nothing runs yet.
    pub(crate) fn with(title: &str, config: ClusterConfig) -> Self {
        Self {
            title: title.to_owned(),
            lease: config.lease,
            cluster: sure(Cluster::new(config)),
        }
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Runs one of the binary's commands against this view service.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Ran {
        cli::run(sure(self.address(VIEW_SERVICE)), arguments)
    }

    /// Whether `standin status --expect` says that a replica is in this role.
    pub(crate) fn cli_expects(&self, name: &str, role: &str) -> bool {
        let ran = self.cli(&["status", "--name", name, "--expect", role]);
        match ran.status {
            Some(0) => true,
            Some(1) => false,
            _ => panic!("{ran:?}"),
        }
    }

    pub(crate) fn load(&self, config: LoadConfig) -> Load {
        Load::start(&sure(self.view_services()), config)
    }

    /// Looks again and again until there is something to see; no process may end meanwhile that was
    /// not made to.
    #[track_caller]
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let end = clock::boot().plus(PATIENCE);
        loop {
            sure(self.check());
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(
                clock::boot() < end,
                "{}: waited {PATIENCE:?} in vain for {what}; status: {}",
                self.title,
                self.in_words()
            );
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// Lets time pass until `moment`, while nothing ends by itself.
    #[track_caller]
    pub(crate) fn until_moment(&mut self, moment: Instant) {
        self.until("time to pass", |_| (clock::boot() >= moment).then_some(()));
    }

    /// Waits until the status, which the view service must answer, shows something.
    #[track_caller]
    pub(crate) fn until_status<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&StatusReply) -> Option<T>,
    ) -> T {
        self.until(what, |scene| {
            scene.status().ok().and_then(|status| look(&status))
        })
    }

    /// Waits until the record shows something.
    #[track_caller]
    pub(crate) fn until_record<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&ViewRecord) -> Option<T>,
    ) -> T {
        self.until_status(what, |status| status.record.as_ref().and_then(&mut look))
    }

    /// Waits for a primary and a backup that both live.
    #[track_caller]
    pub(crate) fn until_pair(&mut self) -> Pair {
        self.until_status("a living primary with a living backup", |status| {
            let pair = status.record.as_ref().and_then(Pair::of)?;
            let is_alive = |name| replica(status, name).is_some_and(|one| one.is_alive);
            (is_alive(&pair.primary) && is_alive(&pair.backup)).then_some(pair)
        })
    }

    /// Waits until `standin status --expect` says that a replica is in this role, or the view is no
    /// longer `view`: a busy machine may have parted the pair, and then roles are others.
    #[track_caller]
    pub(crate) fn until_in_line(&mut self, name: &str, role: &str, view: ViewNumber) {
        self.until(&format!("{name} to be {role}"), |scene| {
            let is_it = scene.cli_expects(name, role);
            let record = scene.status().ok()?.record?;
            (is_it || record.view > view).then_some(())
        });
    }

    /// Waits until each client has had a few answers to what it began from now on.
    #[track_caller]
    pub(crate) fn until_answers(&mut self, load: &Load) {
        let since = clock::boot();
        self.until("answers for every client", |_| {
            load.has_answers_since(since, 3).then_some(())
        });
    }

    /// Kills one of a pair, and returns the pair and the moment: another holder is left to go on.
    ///
    /// The machine may be so busy that the pair was just about to part for one's silence, and then
    /// the one that is killed may be the only holder. It is started again then, and the next try
    /// made.
    #[track_caller]
    pub(crate) fn kill_one(&mut self, pick: impl Fn(&Pair) -> &str) -> (Pair, Instant) {
        for _ in 0..TRIES {
            let pair = self.until_pair();
            let victim = pick(&pair);
            sure(self.kill(victim));
            let killed = clock::boot();
            let record = self.record_after_death(&[victim]);
            if names(&record).iter().any(|name| *name != victim) {
                return (pair, killed);
            }
            sure(self.start(victim));
        }
        panic!("{}: no pair lasts", self.title)
    }

    /// The record once the view service has taken in all that the dead had said.
    #[track_caller]
    pub(crate) fn record_after_death(&mut self, dead: &[&str]) -> ViewRecord {
        self.until_status("the death to be noticed", |status| {
            let is_alive = |name: &&str| replica(status, name).is_some_and(|one| one.is_alive);
            let record = || status.record.clone();
            (!dead.iter().any(is_alive)).then(record).flatten()
        })
    }

    /// Stops a process (SIGSTOP) and waits until all its threads stand still.
    #[track_caller]
    pub(crate) fn freeze(&mut self, name: &str) {
        sure(self.cluster.pause(name));
        let pid = self.pid(name).expect("one that was frozen has not ended");
        self.until("a process to stand still", |_| {
            is_standing_still(pid).then_some(())
        });
    }

    /// Ends a load and judges it: every operation was answered, the history is a counter's, and so is
    /// what a client reads in the end; and all replicas that run agree.
    #[track_caller]
    pub(crate) fn audit(&mut self, load: Load) -> (History, Summary) {
        let history = load.stop();
        let failures: Vec<String> = history.failures().map(ToString::to_string).collect();
        assert!(
            failures.is_empty(),
            "{}: {} operations ended in an error: {failures:#?}",
            self.title,
            failures.len()
        );
        self.audit_history(history)
    }

    /// Judges a history in which operations may have ended in an error.
    #[track_caller]
    pub(crate) fn audit_history(&mut self, mut history: History) -> (History, Summary) {
        history.push(self.read_last());
        let title = self.title.clone();
        let summary = match history.check() {
            Ok(summary) => summary,
            Err(error) => panic!("{title}: {error}"),
        };
        let added = usize::try_from(summary.highest).expect("no negative value passes the check");
        assert!(
            added >= summary.adds && added <= summary.adds + summary.unknown,
            "{title}: {summary}"
        );
        self.until_agreement();
        tell(format_args!("{title}: {summary}; all replicas agree"));
        (history, summary)
    }

    /// A get by a client that has seen nothing before, after all others.
    fn read_last(&self) -> super::counter_history::Operation {
        let config = ClientConfig { timeout: PATIENCE };
        let mut client = sure(Client::new(sure(self.view_services()), config));
        let read = operate(&mut client, usize::MAX, Kind::Get, Consistency::Confirmed);
        assert!(read.value().is_some(), "{}: {read}", self.title);
        read
    }

    /// Waits until all replicas that run have applied the same entries, and checks that they have
    /// come to the same state by them.
    #[track_caller]
    pub(crate) fn until_agreement(&mut self) {
        let level = self.until("the replicas to have applied the same", |scene| {
            let copies = scene.inspect_running()?;
            let is_level =
                |two: &[InspectReply]| two[0].standing.applied == two[1].standing.applied;
            let is_at_rest = |copy: &InspectReply| copy.standing.applied == copy.standing.commit;
            (copies.windows(2).all(is_level) && copies.iter().all(is_at_rest)).then_some(copies)
        });
        for two in level.windows(2) {
            let digests = |copy: &InspectReply| {
                (copy.state_digest, copy.standing.reply_digest, copy.sessions)
            };
            assert_eq!(
                digests(&two[0]),
                digests(&two[1]),
                "{}: {two:#?}",
                self.title
            );
        }
    }

    fn inspect_running(&mut self) -> Option<Vec<InspectReply>> {
        let names: Vec<String> = self.names().map(str::to_owned).collect();
        let mut copies = Vec::new();
        for name in names {
            if name != VIEW_SERVICE && self.is_running(&name) {
                copies.push(self.inspect(&name).ok()?);
            }
        }
        Some(copies)
    }

    fn in_words(&self) -> String {
        match self.status() {
            Ok(status) => standin_tools::cluster::Outline(&status).to_string(),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        tell(format_args!("{}: {}", self.title, self.in_words()));
        let logs: BTreeMap<&str, _> = self
            .names()
            .map(|name| (name, self.log_path(name)))
            .collect();
        for (name, path) in logs {
            let log = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            tell(format_args!("--- the end of the log of {name}"));
            for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
                tell(line);
            }
        }
    }
}

/// The holders' names.
pub(crate) fn names(record: &ViewRecord) -> Vec<&str> {
    let holders = record.holders.iter();
    holders.map(|holder| holder.name.as_str()).collect()
}

/// A replica in a status.
pub(crate) fn replica<'a>(status: &'a StatusReply, name: &str) -> Option<&'a ReplicaStatus> {
    let mut replicas = status.replicas.iter();
    replicas.find(|replica| replica.peer.identity.name.as_str() == name)
}

/// What a living replica says that it is.
pub(crate) fn role(status: &StatusReply, name: &str) -> Option<RoleName> {
    let replica = replica(status, name).filter(|replica| replica.is_alive)?;
    replica.standing.map(|standing| standing.role)
}

/// Whether every thread of a process is stopped by a signal.
pub(crate) fn is_standing_still(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which stands in brackets and may hold anything.
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        state.starts_with('T')
    })
}
