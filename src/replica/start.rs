//! From a data directory to a running replica.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use nix::unistd::getppid;
use standin_core::address::Address;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{BootId, ClusterId, StoreId};
use standin_core::machine::{MachineId, StateMachine, VersionRange};
use standin_core::mark::{ApplyMark, FatalEntry, MarkedLog};
use standin_core::message::{Party, TokenDead};
use standin_core::session::{SESSIONS_MAX_LIMIT, SessionLimits};
use standin_core::state::Replicated;
use standin_core::time::Duration;
use standin_io::data_dir::{CUT_DIR, DataDir, boot_id};
use standin_io::install::finish_install;
use standin_io::log::{LogBase, LogConfig, SegmentIds, SegmentLog, reserve_bytes};
use standin_io::mark::{self, MarkFile};
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_io::signals::Signals;
use standin_io::snapshots::{SnapshotFile, SnapshotIds, Snapshots};
use standin_io::storage::OsStorage;
use standin_io::{clock, entropy};
use standin_kv::KeyValue;
use standin_kv::conversation::KeyspaceInfo;
use standin_replica::{Config, KeptSnapshot, Limits, Recovered, Replica, SnapshotConfig};
use standin_tools::output;

use super::host::{Host, ViewServiceLink};
use super::http::{Http, HttpSocket};
use super::repair::{Repaired, Workshop};
use super::resp::{Resp, RespConfig};
use super::{BUSY_POLL_MICROS_MAX, ReplicaConfig, ReplicaError, images, last_words, panics};

/// How often what is on disk is read, at most, each time after one more place of it was mended.
const READINGS_MAX: u32 = 1000;

/// Runs a replica with the machine `M` until it is told to stop ([`ReplicaConfig::stop`], SIGTERM, SIGINT, SIGHUP) or cannot
/// go on. `on_ready` is told the address that it listens on, once the view service has accepted the
/// replica: from then on its name is its own, and it takes part. It listens before, and as long as the
/// view service is away it waits.
///
/// # Errors
/// [`ReplicaError`] if it cannot start, or its disk fails.
pub fn run<M: StateMachine>(
    config: &ReplicaConfig,
    on_ready: impl FnOnce(Listening),
) -> Result<(), ReplicaError> {
    run_with::<M>(config, None, on_ready)
}

/// The same for the database, which serves clients that speak RESP as well.
///
/// # Errors
/// As for [`run`].
pub fn run_with_resp(
    config: &ReplicaConfig,
    resp: &RespConfig,
    on_ready: impl FnOnce(Listening),
) -> Result<(), ReplicaError> {
    run_with::<KeyValue>(config, Some((resp, KeyspaceInfo::of)), on_ready)
}

/// Where a replica listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For other replicas and for clients.
    pub address: SocketAddr,
    /// For clients that speak RESP.
    pub resp: Option<SocketAddr>,
    /// For HTTP.
    pub http: Option<SocketAddr>,
}

/// How clients that speak RESP are served, and what the machine tells them of itself.
type WithResp<'a, M> = (&'a RespConfig, fn(&M) -> Vec<KeyspaceInfo>);

fn run_with<M: StateMachine>(
    config: &ReplicaConfig,
    resp: Option<WithResp<'_, M>>,
    on_ready: impl FnOnce(Listening),
) -> Result<(), ReplicaError> {
    // Before anything is touched, and while signals still end the process: names take their time.
    let listen = resolve(&config.listen, "--listen")?;
    check_reachable(config.advertise.as_deref(), listen, "--advertise")?;
    let resp = match resp {
        None => None,
        Some((resp, keyspace)) => {
            let listen = resolve(&resp.listen, "--resp")?;
            check_reachable(resp.advertise.as_deref(), listen, "--resp-advertise")?;
            Some((resp, listen, keyspace))
        }
    };
    let http = config.http.as_deref().map(HttpSocket::bind).transpose()?;
    let signals = config.takes_signals.then(Signals::block).transpose();
    let mut signals = signals.map_err(ReplicaError::io("taking over signals"))?;
    if let Some(signals) = &mut signals
        && config.parent.is_some()
    {
        signals.passed_on_by(getppid());
    }
    panics::keep_short();
    let machine = MachineId::of::<M>();
    let store = StoreId(entropy::u128());
    let data = &config.data;
    let opened = DataDir::open_without_log(OsStorage, data, &config.name, &machine, store);
    let (mut dir, is_new) = opened?;
    if is_new {
        log::info!(
            "formatted {} for replica {}",
            config.data.display(),
            config.name
        );
    }
    let limits = NetLimits::default()
        .within_descriptors()
        .map_err(ReplicaError::io("raising the limit of open files"))?;
    let clients_max = limits.clients.connections_max;
    let mut net = Net::new(NetConfig {
        party: Party::Replica,
        cluster: dir.meta().cluster,
        machine: Some(machine.clone()),
        limits,
    })
    .map_err(ReplicaError::io("making an event loop"))?;
    let longest = Duration::from_micros(BUSY_POLL_MICROS_MAX);
    net.set_busy_poll(config.busy_poll.min(longest));
    net.watch_stop(config.stop.clone());
    if let Some(signals) = signals {
        net.watch_signals(signals)
            .map_err(ReplicaError::io("waiting for signals"))?;
    }
    let listened = net.listen(listen);
    let listens_on = listened.map_err(cannot_listen(&config.listen, "--listen"))?;
    let address = config.advertise.clone();
    let address = address.unwrap_or_else(|| listens_on.to_string());
    let resp = match resp {
        None => None,
        Some((resp, listen, keyspace)) => {
            let listened = net.listen_plain(listen);
            let listens_on = listened.map_err(cannot_listen(&resp.listen, "--resp"))?;
            let address = resp.advertise.clone();
            let address = address.unwrap_or_else(|| listens_on.to_string());
            let name = config.name.clone();
            let resp = Resp::new(name, listens_on, &address, resp, clients_max, keyspace);
            Some((resp, listens_on, address))
        }
    };

    let http = http.map(|socket| socket.serve(&net, config.viewservice.clone()));
    let http = http.transpose()?;

    let mut link = ViewServiceLink::new(config.viewservice.as_slice().to_vec());
    link.replaces = config.replace;
    let Some(cluster) = find_cluster(&mut net, &mut link, &mut dir)? else {
        return Ok(()); // told to stop before anything began
    };
    if let Some(why) = &dir.meta().quarantine {
        log::warn!("this replica is out of service: {why}");
    }
    let boot = boot_id().map_err(ReplicaError::io("reading the machine's boot id"))?;
    let mut readings = 0..READINGS_MAX;
    let (stored, log, recovered) = loop {
        let ids = SegmentIds {
            cluster,
            store: dir.meta().store,
            machine: match dir.meta().machine.version() {
                0 => machine.clone(),
                _ => dir.meta().machine.clone(),
            },
        };
        let mut log_config = LogConfig {
            segment_bytes: config.segment_bytes,
            may_have_lost_writes: dir.may_have_lost_writes(boot),
            may_be_holder: dir.may_be_holder(boot),
            base: None,
            keeps_covered: config.keep_log,
        };
        let opened = find_snapshots(&dir, &ids, log_config).and_then(|stored| {
            let newest = stored.newest.as_ref();
            log_config.base = newest.map(|newest| LogBase::of(&newest.header().point));
            let (log, recovered) = open_log(&dir, &ids, log_config)?;
            Ok((stored, log, recovered))
        });
        let error = match opened {
            Ok(opened) => break opened,
            Err(error) => error,
        };
        let dead = TokenDead {
            store: dir.meta().store,
            boot: dir.meta().boot(boot),
        };
        let repaired = match readings.next() {
            Some(_) => Workshop {
                dir: &mut dir,
                net: &mut net,
                link: &mut link,
                ids: &ids,
                log_config,
                boot,
                address: &address,
                replace: config.replace,
            }
            .repair(error),
            None => Err(error),
        };
        match repaired {
            Ok(Repaired::ReadAnew) => {}
            Ok(Repaired::Stopped) => return Ok(()),
            Err(error) => {
                let error = error.noted(&mut dir);
                return Err(last_words::told(error, dead, &mut net, &mut link));
            }
        }
    };
    check_versions::<M>(&config.data, &stored, &recovered)?;
    if let Some(torn) = &recovered.torn {
        log::warn!(
            "cut off a torn end of {} at byte {}: {}; {} bytes went, with {} whole entries that \
             followed",
            torn.file.display(),
            torn.at,
            torn.why,
            torn.bytes,
            torn.entries
        );
        if torn.commit > recovered.tip.index {
            log::warn!(
                "entries {} to {} had been committed and are lost here: this replica is no holder, and \
                 catches up from a primary; what was cut off is kept in {}",
                recovered.tip.index.next(),
                torn.commit,
                config.data.join(CUT_DIR).display()
            );
        }
    }
    images::set_evidence_aside(dir.path(), recovered.tip.index);
    let fatal = fatal_entry(&dir, boot, log.base(), &recovered);
    let identity = dir
        .begin_life_after(boot, entropy::u64(), fatal)
        .map_err(ReplicaError::io(
            "counting this start in the data directory",
        ))?;
    dir.keep_ballast();
    let mark = match MarkFile::begin(dir.path(), identity.store, identity.life) {
        Ok(mark) => Some(Arc::new(mark)),
        Err(error) => {
            log::warn!(
                "an entry that kills this process will not be known: its mark file cannot be made in {}: {error}",
                config.data.display()
            );
            None
        }
    };
    if let Some(parent) = &config.parent {
        // Before anybody can hear of this life.
        let left = parent.leave(cluster, &identity);
        left.map_err(ReplicaError::io("telling the parent process who this is"))?;
    }
    // A directory that goes on as another store takes over the name of the one before, until it has something.
    let has_set_aside = dir.has_set_aside();
    let has_set_aside =
        has_set_aside.map_err(ReplicaError::io("looking for what was set aside"))?;
    let is_empty = recovered.tip.index == Index::ZERO && stored.newest.is_none();
    let takes_name_over = has_set_aside && is_empty;
    if takes_name_over {
        link.expect_name(clock::boot());
    }
    let state = stored.restore(&recovered)?;
    let mut replica = Replica::<M>::from_state(
        state,
        Config {
            identity,
            address,
            data_dir: absolute(&config.data),
            program: output::program().to_owned(),
            durability: config.durability,
            versions: VersionRange::of::<M>(),
            session_limits: SessionLimits {
                sessions_max: config
                    .session_limits
                    .sessions_max
                    .clamp(1, SESSIONS_MAX_LIMIT),
                ..config.session_limits
            },
            seed: entropy::u64(),
            adopted: dir.meta().adopted,
            holds: dir.meta().holds,
            kept: dir.meta().kept.clone(),
            recovered: Recovered {
                base: log.base(),
                snapshots: stored.kept,
                tip: recovered.tip,
                view_starts: recovered.view_starts,
                data_epoch: recovered.data_epoch,
                skips: recovered.skips,
                version_starts: recovered.version_starts,
                commit: recovered.commit,
                lost: recovered
                    .torn
                    .as_ref()
                    .map_or(Index::ZERO, |torn| torn.commit),
                synced: recovered.tip.index,
            },
            replace: config.replace || takes_name_over,
            quarantine: dir.meta().quarantine.clone(),
            poison: dir.meta().poison.clone(),
            fatal,
            limits: Limits {
                room_reserve_bytes: reserve_bytes(config.segment_bytes),
                ..Limits::default()
            },
            snapshots: SnapshotConfig {
                makes_room: !config.keep_log,
                ..config.snapshots
            },
        },
        clock::read(),
    );
    replica.set_work_clock(clock::coarse);
    if let Some(mark) = &mark {
        replica.mark_with(Arc::clone(mark) as Arc<dyn ApplyMark>);
    }
    let listening = Listening {
        address: listens_on,
        resp: resp.as_ref().map(|(_, listens_on, _)| *listens_on),
        http: http.as_ref().map(Http::address),
    };
    let resp = resp.map(|(resp, _, address)| {
        // It was checked where it came in, or is a socket's.
        replica.set_resp_address(Address::new(address).ok());
        resp
    });
    let mut host = Host::new(replica, net, link, dir, log, stored.snapshots, mark)?;
    if let Some(resp) = resp {
        host.serve_resp(resp);
    }
    if let Some(http) = http {
        host.serve_http(http);
    }
    host.run(|| on_ready(listening))
}

/// A path as people may type it, from wherever they are.
fn absolute(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.display().to_string()
}

/// The entry at which processes of this replica died, if the last of them did, or came no further than an
/// earlier one that did.
fn fatal_entry(
    dir: &DataDir,
    boot: BootId,
    base: LogTip,
    recovered: &standin_io::log::Recovered,
) -> Option<FatalEntry> {
    let meta = dir.meta();
    let last = meta.life?;
    let ended = mark::how_it_ended(dir.path(), meta.store, last, meta.boot(boot));
    let log = MarkedLog {
        base,
        tip: recovered.tip,
        view_starts: &recovered.view_starts,
    };
    let fatal = FatalEntry::after(meta.fatal, last.incarnation.start, ended, log);
    if let Some(FatalEntry { entry, deaths, .. }) = fatal {
        log::warn!(
            "the machine was applying entry {entry} when the process before this one ended, or an earlier one: {deaths} \
             in all"
        );
    }
    fatal
}

/// Checks that this program can execute what there is.
fn check_versions<M: StateMachine>(
    path: &Path,
    stored: &Stored,
    recovered: &standin_io::log::Recovered,
) -> Result<(), ReplicaError> {
    let supported = VersionRange::of::<M>();
    let mut starts = recovered.version_starts.clone();
    starts.skip(&recovered.skips);
    let mut needed = [stored.begins_with(recovered), starts.executing()]
        .into_iter()
        .flatten();
    match needed.find(|version| !supported.contains(*version)) {
        None => Ok(()),
        Some(executing) => Err(ReplicaError::MachineVersion {
            path: path.to_owned(),
            executing,
            supported,
        }),
    }
}

/// The snapshots of a replica as its process finds them.
struct Stored {
    snapshots: Snapshots,
    /// The newest one that is whole.
    newest: Option<SnapshotFile>,
    /// That one and those before it, oldest first.
    kept: Vec<KeptSnapshot>,
}

impl Stored {
    /// The version of the machine that is executed after the newest snapshot, or from the log's beginning on; `None`: there
    /// is nothing yet.
    fn begins_with(&self, recovered: &standin_io::log::Recovered) -> Option<u32> {
        let snapshot = self.newest.as_ref();
        let snapshot = snapshot.map(|newest| newest.header().point.machine.version());
        let said = || recovered.version_starts.beginning();
        // That of a log that does not say it itself.
        let silent = || {
            recovered
                .header_version
                .filter(|_| recovered.tip.index > Index::ZERO)
        };
        snapshot.or_else(said).or_else(silent)
    }

    fn restore<M: StateMachine>(
        &self,
        recovered: &standin_io::log::Recovered,
    ) -> Result<Replicated<M>, ReplicaError> {
        let Some(newest) = &self.newest else {
            let mut state = Replicated::default();
            if let Some(version) = self.begins_with(recovered) {
                state.begin(version);
            }
            return Ok(state);
        };
        let header = newest.header();
        log::info!(
            "going on from the snapshot of entry {}: {} bytes",
            header.point.tip.index,
            header.state_bytes
        );
        images::restore(newest)
    }
}

/// Finds the snapshots of a directory that has a log, or never had one. If one was fetched and is only half in the place
/// of the others, that is finished first.
fn find_snapshots(
    dir: &DataDir,
    ids: &SegmentIds,
    log_config: LogConfig,
) -> Result<Stored, ReplicaError> {
    dir.check_log()?;
    let snapshot_ids = SnapshotIds {
        cluster: ids.cluster,
        machine: ids.machine.clone(),
    };
    let snapshots = Snapshots::open(dir.path(), snapshot_ids)?;
    let finished = finish_install(&OsStorage, dir.path(), &snapshots, ids, log_config)?;
    if let Some(index) = finished.index {
        log::info!(
            "the process before this one ended as it put the state as of entry {index}, which it had fetched, in the \
             place of its own: that is done now"
        );
    }
    let found = snapshots.newest()?;
    for damaged in finished.damaged.iter().chain(&found.damaged) {
        log::error!("{damaged}");
    }
    let newest = found.snapshot.as_ref().map(SnapshotFile::header);
    let last = newest.map_or(Index::ZERO, |header| header.point.tip.index);
    let listed = snapshots.list()?;
    let kept = listed.iter().map(images::kept);
    let kept = kept.filter(|kept| kept.mark.tip.index <= last).collect();
    Ok(Stored {
        snapshots,
        newest: found.snapshot,
        kept,
    })
}

/// Opens the log that goes on from the newest snapshot.
fn open_log(
    dir: &DataDir,
    ids: &SegmentIds,
    config: LogConfig,
) -> Result<(SegmentLog, standin_io::log::Recovered), ReplicaError> {
    let (log, recovered) = SegmentLog::open(dir.path(), ids.clone(), config)?;
    if let Some(superseded) = &recovered.superseded {
        log::warn!(
            "the log, whose last entry is {}, does not go on from the snapshot: {}; it was set aside{}",
            superseded.last,
            superseded.why,
            superseded
                .kept
                .as_ref()
                .map_or_else(String::new, |kept| format!(" as {}", kept.display())),
        );
    }
    Ok((log, recovered))
}

pub(super) fn resolve(address: &str, flag: &'static str) -> Result<SocketAddr, ReplicaError> {
    let first = address.to_socket_addrs().map(|mut all| all.next());
    let none = io::ErrorKind::AddrNotAvailable;
    first
        .and_then(|first| first.ok_or_else(|| none.into()))
        .map_err(cannot_listen(address, flag))
}

pub(super) fn cannot_listen(
    address: &str,
    flag: &'static str,
) -> impl FnOnce(io::Error) -> ReplicaError {
    let address = address.to_owned();
    move |source| ReplicaError::Listen {
        address,
        flag,
        source,
    }
}

/// Checks that what others will be told of is not the address that means all of a machine's.
fn check_reachable(
    advertise: Option<&str>,
    listen: SocketAddr,
    flag: &'static str,
) -> Result<(), ReplicaError> {
    let told = match advertise {
        // A name stands for whatever it stands for where it is used.
        Some(address) => address.parse().ok(),
        None => Some(listen),
    };
    match told {
        Some(address) if address.ip().to_canonical().is_unspecified() => {
            Err(ReplicaError::Unreachable {
                address: address.to_string(),
                flag,
            })
        }
        _ => Ok(()),
    }
}

/// The cluster that the data directory belongs to; a new one learns it from the view service, and
/// waits for it as long as it takes. `None`: told to stop.
fn find_cluster(
    net: &mut Net,
    link: &mut ViewServiceLink,
    dir: &mut DataDir,
) -> Result<Option<ClusterId>, ReplicaError> {
    if let Some(cluster) = dir.meta().cluster {
        return Ok(Some(cluster));
    }
    let mut events = Vec::new();
    let mut is_told = false;
    loop {
        link.keep(net, clock::boot(), Duration::from_millis(500));
        net.poll(link.deadline(), &mut events)
            .map_err(ReplicaError::io("waiting for events"))?;
        for event in events.drain(..) {
            match event {
                NetEvent::Signal(_) => return Ok(None),
                NetEvent::Ready { conn, hello, .. } if link.is(conn) => {
                    if hello.party != Party::ViewService {
                        link.misled(net, hello.party, clock::boot())?;
                        continue;
                    }
                    let Some(cluster) = hello.cluster else {
                        if !std::mem::replace(&mut is_told, true) {
                            log::warn!(
                                "the view service has lost its record, and this replica, whose data directory is \
                                 empty, knows nothing of it: it waits until the others, and not this one, were \
                                 named to `standin recover --rebuild`"
                            );
                        }
                        continue;
                    };
                    let mut meta = dir.meta().clone();
                    meta.cluster = Some(cluster);
                    dir.store(meta)
                        .map_err(ReplicaError::io("writing the data directory"))?;
                    net.set_cluster(cluster);
                    // The host begins with a connection of its own, whose hello names the cluster.
                    net.close(conn);
                    link.closed(clock::boot());
                    return Ok(Some(cluster));
                }
                NetEvent::Ready { conn, .. } | NetEvent::Input { conn } => net.close(conn),
                NetEvent::Closed { conn, reason } if link.is(conn) => {
                    link.check_refusal(&reason)?;
                    link.lost(&reason, clock::boot());
                }
                NetEvent::Closed { .. } | NetEvent::Woken => {}
            }
        }
    }
}
