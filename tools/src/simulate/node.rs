//! A replica's process in the simulator: the same core, log and data directory as the real one, with
//! another shell around them. What `src/replica/host.rs` does with sockets, this does with the
//! simulated network.

mod actions;
mod answering;
mod death;
mod fatal;
mod images;
mod leaving;
mod opening;
mod pace;
mod reading;
mod room;
mod states;
mod syncing;
mod telling;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame};
use standin_core::identity::{BootId, ClusterId, ReplicaName, StoreId};
use standin_core::machine::{MachineId, VersionRange};
use standin_core::message::{Party, Refusal, SnapshotOffer};
use standin_core::planted::Bug;
use standin_core::state::Replicated;
use standin_core::time::{Duration, Instant, Now, earliest};
use standin_core::view::{Member, ViewId};
use standin_io::data_dir::{DataDir, DataDirError};
use standin_io::install::finish_install;
use standin_io::log::{LogBase, LogConfig, SegmentIds, SegmentLog};
use standin_io::snapshots::{SnapshotIds, Snapshots};
use standin_replica::{
    Action, Answers, Config, Event, FromClient, KeptSnapshot, ReadFor, Recovered, Replica, Request,
    Side, client_frame,
};

use super::check::l5::Bounds;
use super::disk::SimDisk;
use super::draw::Draw as _;
use super::fact::{Asked, Fact};
use super::marks::Mark;
use super::mending::Mending;
use super::network::Arrival;
use super::plan::Plan;
use super::stage::{Output, Stage, address_of, resp_of};
use super::watched::{Falsehood, Subject, Watched};
use super::world::Process;
use crate::output;

use fatal::fatal_entry;
use images::{Images, install_failed, kept, restore, snapshots_failed};
use opening::{Unopened, open_log};
use pace::PaceWatch;
use reading::read_all;
use room::{RoomState, limits_of};
use states::StateWatch;
use syncing::Syncing;

pub(crate) use death::{Death, dir_failed, log_failed, note_failure};

/// The data directory on the machine's disk.
pub(crate) const DATA: &str = "/data";
/// Small, so that logs have several.
const SEGMENT_BYTES: u64 = 4 << 10;
pub(crate) const VIEW_SERVICE_RETRY: Duration = Duration::from_millis(50);

/// Somebody who asks now and then how a replica is.
const INSPECTOR: ConnId = ConnId(u64::MAX);
/// Somebody who asks a primary to hand over.
const OPERATOR: ConnId = ConnId(u64::MAX - 1);

/// What a replica's machine keeps while no process runs.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: ReplicaName,
    pub(crate) disk: SimDisk,
    /// Counts the boots.
    pub(crate) boot: u64,
    /// The operator says that the next process takes the name of a lost directory over.
    pub(crate) replace: bool,
    /// What is wrong with the machine's replies.
    pub(crate) falsehood: Falsehood,
    /// The versions of the state machine that the program supports which is started next.
    pub(crate) program: VersionRange,
    /// Why no process starts until an operator has done something.
    pub(crate) unfit: Option<String>,
}

#[derive(Debug)]
enum FollowUp {
    Written(Index),
    Synced(Index),
    Room,
    LogRead(ReadFor, Vec<u8>),
    Cut(LogTip),
    Adopted(ViewId),
    PoisonNoted,
    Digested(u128),
    FetchBegun(u64),
    Fetched(Index, bool),
    Forgotten(LogTip),
    Install(Box<SnapshotOffer>),
}

/// A replica's process.
#[derive(Debug)]
pub(crate) struct Node<M> {
    pub(crate) replica: Replica<Watched<M>>,
    /// The versions of the state machine that its program supports.
    pub(crate) program: VersionRange,
    /// Its name is that of the store whose place it has taken in its directory: it will be free in a moment.
    takes_name_over: bool,
    disk: SimDisk,
    dir: DataDir<SimDisk>,
    log: SegmentLog<SimDisk>,
    viewservice: usize,
    link: Option<ConnId>,
    link_retry_at: Instant,
    dial: Option<ConnId>,
    accepted: BTreeMap<ConnId, Party>,
    /// What clients sent and was not taken in yet.
    requests: VecDeque<(ConnId, Vec<u8>)>,
    asked: BTreeMap<(ConnId, u64), (Asked, Vec<u8>)>,
    follow_ups: VecDeque<FollowUp>,
    room: RoomState,
    states: StateWatch,
    pace: PaceWatch,
    syncing: Syncing,
    images: Images,
    falsehood: Falsehood,
    answers: Answers,
    /// What the checkers were told is committed.
    commit_told: Index,
    /// What the checkers were told is applied.
    applied_told: Index,
    is_stopping: bool,
    plan: Plan,
    /// The clock as it was when the loop came round before.
    looked_at: Now,
    bounds: Bounds,
    /// Connections that were closed here, and whose end is still to be reported.
    closed: VecDeque<ConnId>,
}

impl<M: Subject> Node<M> {
    /// Starts a process on what is on the machine's disk.
    pub(crate) fn start(
        machine: &Machine,
        plan: &Plan,
        cluster: ClusterId,
        stage: &mut Stage<'_, M>,
    ) -> Result<Process<M>, Death> {
        let machine_id = MachineId::of::<Watched<M>>();
        let store = StoreId(u128::from(stage.random.next_u64()) << 64);
        let path = Path::new(DATA);
        let opened = DataDir::open_without_log(
            machine.disk.clone(),
            path,
            &machine.name,
            &machine_id,
            store,
        );
        let (mut dir, _) = opened.map_err(|error| match &error {
            DataDirError::Io { .. } | DataDirError::Held { .. } => {
                Death::disk(error.to_string(), false)
            }
            _ => Death::Unfit(error.to_string()),
        })?;
        if dir.meta().cluster.is_none() {
            let mut meta = dir.meta().clone();
            meta.cluster = Some(cluster);
            dir.store(meta).map_err(dir_failed)?;
        }
        let boot = BootId(u128::from(machine.boot) << 64 | stage.host as u128);
        let ids = SegmentIds {
            cluster,
            store: dir.meta().store,
            machine: machine_id,
        };
        if let Err(lost) = dir.check_log() {
            let (words, at) = (lost.to_string(), (machine, plan));
            let mending = Mending::start(at, dir, boot, None, words, stage)?;
            return Ok(Process::Mending(Box::new(mending)));
        }
        let snapshots = Snapshots::open_in(
            machine.disk.clone(),
            path,
            SnapshotIds {
                cluster,
                machine: ids.machine.clone(),
            },
        );
        let snapshots = snapshots.map_err(snapshots_failed)?;
        let mut config = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            may_have_lost_writes: dir.may_have_lost_writes(boot),
            may_be_holder: dir.may_be_holder(boot),
            base: None,
            keeps_covered: false,
        };
        match finish_install(&machine.disk, path, &snapshots, &ids, config) {
            Ok(finished) if finished.index.is_none() => {}
            Ok(_) => stage.mark(Mark::InstallFinished),
            Err(error) => {
                let boot = dir.meta().boot(boot);
                let death = install_failed(error);
                return Err(note_failure(
                    &machine.disk,
                    &mut dir,
                    boot,
                    death,
                    plan,
                    stage,
                ));
            }
        }
        let newest = snapshots.newest().map_err(snapshots_failed)?;
        let newest = newest.snapshot;
        config.base = newest
            .as_ref()
            .map(|newest| LogBase::of(&newest.header().point));
        let state = match &newest {
            Some(file) => restore(file, &machine.falsehood)
                .map_err(|error| Death::Unfit(format!("the state cannot be restored: {error}")))?,
            None => Replicated::around(Watched::with(machine.falsehood.clone())),
        };
        let last = newest.map_or(Index::ZERO, |newest| newest.header().point.tip.index);
        let listed = snapshots.list().map_err(snapshots_failed)?;
        let listed = listed.iter().map(kept);
        let kept: Vec<KeptSnapshot> = listed.filter(|kept| kept.mark.tip.index <= last).collect();
        let (log, recovered) = match open_log(machine, &ids, config, stage) {
            Ok(opened) => opened,
            Err(Unopened::Failed(error)) => {
                let boot = dir.meta().boot(boot);
                let death = log_failed(error);
                return Err(note_failure(
                    &machine.disk,
                    &mut dir,
                    boot,
                    death,
                    plan,
                    stage,
                ));
            }
            Err(Unopened::Foreign(error)) => return Err(Death::Unfit(error.to_string())),
            Err(Unopened::Damaged(damage, words)) => {
                let at = (machine, plan);
                let mending = Mending::start(at, dir, boot, Some(*damage), words, stage)?;
                return Ok(Process::Mending(Box::new(mending)));
            }
        };
        let has_set_aside = dir.has_set_aside().map_err(dir_failed)?;
        let takes_name_over =
            has_set_aside && recovered.tip.index == Index::ZERO && kept.is_empty();
        let nonce = stage.random.next_u64();
        let doom = &machine.falsehood.doom;
        let fatal = fatal_entry(doom, &dir, boot, log.base(), &recovered);
        let begun = dir.begin_life_after(boot, nonce, fatal);
        let identity = begun.map_err(dir_failed)?;
        doom.begin_life(identity.store, identity.life);
        dir.keep_ballast();
        let whole = read_all(&log).map_err(log_failed)?;
        if last > Index::ZERO {
            stage.mark(Mark::Restored);
        }
        stage.saw(&Fact::Started {
            host: stage.host,
            identity: &identity,
            adopted: dir.meta().adopted,
            snapshot: kept
                .last()
                .map(|kept| (kept.mark.tip.index, kept.state_digest)),
            base: log.base(),
            log: &whole,
        });
        let resp = resp_of(&Member::of(&identity));
        let config = Config {
            identity,
            address: address_of(stage.host),
            data_dir: String::new(),
            program: output::program().to_owned(),
            durability: plan.durability,
            versions: machine.program,
            session_limits: plan.session_limits,
            seed: stage.random.next_u64(),
            adopted: dir.meta().adopted,
            holds: dir.meta().holds,
            kept: dir.meta().kept.clone(),
            recovered: Recovered {
                base: log.base(),
                snapshots: kept,
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
            replace: machine.replace || takes_name_over,
            quarantine: dir.meta().quarantine.clone(),
            poison: dir.meta().poison.clone(),
            fatal,
            limits: limits_of(plan.limits),
            snapshots: plan.snapshots,
        };
        let now = stage.read_clock();
        let mut replica = Replica::from_state(state, config, now);
        replica.set_resp_address(Some(resp));
        replica.mark_with(Arc::new(machine.falsehood.doom.clone()));
        #[cfg(feature = "planted-bugs")]
        replica.plant(plan.planted);
        Ok(Process::Replica(Box::new(Self {
            replica,
            program: machine.program,
            takes_name_over,
            disk: machine.disk.clone(),
            dir,
            log,
            viewservice: plan.service(),
            link: None,
            link_retry_at: now.boot,
            dial: None,
            accepted: BTreeMap::new(),
            requests: VecDeque::new(),
            asked: BTreeMap::new(),
            follow_ups: VecDeque::from([FollowUp::Room]),
            room: RoomState::at(now.boot),
            states: StateWatch::default(),
            pace: PaceWatch::of(last),
            syncing: Syncing::default(),
            images: Images::new(snapshots),
            falsehood: machine.falsehood.clone(),
            answers: Answers::default(),
            commit_told: Index::ZERO,
            applied_told: Index::ZERO,
            is_stopping: false,
            plan: plan.clone(),
            looked_at: now,
            bounds: Bounds::of(plan),
            closed: VecDeque::new(),
        })))
    }

    /// The loop comes round once.
    pub(crate) fn turn(
        &mut self,
        stage: &mut Stage<'_, M>,
        arrivals: &mut VecDeque<(ConnId, Arrival)>,
    ) -> Result<(), Death> {
        self.come_round(stage, arrivals)
            .map_err(|death| self.give_up(death, stage))
    }

    fn come_round(
        &mut self,
        stage: &mut Stage<'_, M>,
        arrivals: &mut VecDeque<(ConnId, Arrival)>,
    ) -> Result<(), Death> {
        // The clock is looked at after the input is there: what came before was still in time.
        let now = match stage.read_clock() {
            now if self.plan.planted.has(Bug::LooksBeforeInput) => {
                std::mem::replace(&mut self.looked_at, now)
            }
            now => now,
        };
        if self.link.is_none() && now.boot >= self.link_retry_at {
            self.link = Some(stage.dial(self.viewservice, Party::Replica));
        }
        for (conn, arrival) in arrivals.drain(..) {
            self.on_arrival(stage, now, conn, arrival)?;
        }
        // What a lack of room keeps waiting is read when there is some.
        if self.replica.has_room() {
            self.serve_clients(stage, now)?;
        }
        if self.replica.deadline().is_some_and(|at| now.boot >= at) {
            self.handle(stage, now, Event::Deadline)?;
        }
        self.retry_room(stage, now)?;
        self.finish_snapshot(stage, now)?;
        if stage.random.chance(2) {
            self.handle(stage, now, Event::Inspect(INSPECTOR))?;
        }
        self.end_wake_up(stage, now)?;
        self.watch_states(stage);
        self.watch_version(stage);
        // The loop comes round at once to hear of what it has closed itself.
        while let Some(conn) = self.closed.pop_front() {
            self.on_closed(stage, now, conn, None)?;
            self.end_wake_up(stage, now)?;
        }
        self.tell_standing(stage);
        self.watch_pace(stage, now);
        self.stop_if_left(stage)
    }

    /// An old program could not execute what is newer.
    fn watch_version(&self, stage: &mut Stage<'_, M>) {
        let (state, program) = (self.replica.state(), self.program);
        if state.applied() > Index::ZERO && !program.contains(state.version()) {
            let (index, version) = (state.applied(), state.version());
            let what = format!(
                "host {} has applied entry {index} by version {version} of the machine, and its program supports {program}",
                stage.host
            );
            stage.checks.fail("version", what);
        }
    }

    /// When the loop must come round at the latest, on the host's boot clock.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let link = self.link.is_none().then_some(self.link_retry_at);
        let waiting =
            (!self.requests.is_empty() && self.replica.has_room()).then_some(Instant::ZERO);
        let writing = self.images.deadline();
        let links = earliest(earliest(link, writing), self.room_deadline());
        earliest(earliest(self.replica.deadline(), links), waiting)
    }

    /// A clean stop: what was said leaves, the log is synced, and a mark says so.
    pub(crate) fn stop(&mut self, stage: &mut Stage<'_, M>) -> Result<(), Death> {
        self.stop_cleanly(stage)
            .map_err(|death| self.give_up(death, stage))
    }

    /// The last words of a process that cannot go on, unless it was killed.
    fn give_up(&mut self, death: Death, stage: &mut Stage<'_, M>) -> Death {
        if self.disk.is_stopped() {
            return death;
        }
        let boot = self.dir.meta().life.expect("it has begun one").boot;
        let death = note_failure(&self.disk, &mut self.dir, boot, death, &self.plan, stage);
        if matches!(death, Death::Disk { .. }) {
            // What it was about to do and to say rests on a disk that failed.
            while self.replica.next_action().is_some() {}
            self.replica.handle(stage.read_clock(), Event::Stop);
            while let Some(action) = self.replica.next_action() {
                if let (Action::Release(_), Some(destination)) = (&action, action.destination()) {
                    self.send(stage, destination, &action);
                }
            }
        }
        death
    }

    fn stop_cleanly(&mut self, stage: &mut Stage<'_, M>) -> Result<(), Death> {
        let has_left = self.replica.has_left();
        self.is_stopping = true;
        let now = stage.read_clock();
        self.handle(stage, now, Event::Stop)?;
        self.log.sync_now().map_err(log_failed)?;
        stage.saw(&Fact::AllSynced { host: stage.host });
        self.dir.note_clean_stop().map_err(dir_failed)?;
        Err(if has_left {
            Death::Left
        } else {
            Death::Stopped
        })
    }

    fn end_wake_up(&mut self, stage: &mut Stage<'_, M>, now: Now) -> Result<(), Death> {
        self.handle(stage, now, Event::Flush)?;
        self.handle(stage, now, Event::Apply)
    }

    fn handle(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        event: Event<'_>,
    ) -> Result<(), Death> {
        self.replica.handle(now, event);
        self.carry_out(stage, now)
    }

    fn on_arrival(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        conn: ConnId,
        arrival: Arrival,
    ) -> Result<(), Death> {
        match arrival {
            Arrival::Accepted(party) => {
                self.accepted.insert(conn, party);
                stage.outputs.push(Output::Accept(conn));
                Ok(())
            }
            Arrival::Ready if self.link == Some(conn) => {
                self.link_is_up(stage);
                self.handle(stage, now, Event::ViewServiceUp)
            }
            Arrival::Ready if self.dial == Some(conn) => {
                self.handle(stage, now, Event::Dialled(conn))
            }
            Arrival::Ready => Ok(()),
            Arrival::Frame(bytes) if self.accepted.get(&conn) == Some(&Party::Client) => {
                self.requests.push_back((conn, bytes));
                Ok(())
            }
            Arrival::Frame(bytes) => {
                self.pace.hear(conn, stage.read_clock().boot);
                self.on_frame(stage, now, conn, &bytes)
            }
            Arrival::Closed(why) => {
                self.pace.forget(conn);
                self.on_closed(stage, now, conn, why)
            }
            Arrival::Woken => self.on_sync_done(stage, now),
            Arrival::Proof(_) => unreachable!("parents tell the view service alone"),
        }
    }

    fn on_frame(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        conn: ConnId,
        bytes: &[u8],
    ) -> Result<(), Death> {
        if self.closed.contains(&conn) {
            return Ok(());
        }
        let side = if self.link == Some(conn) {
            Side::ViewService
        } else if self.dial == Some(conn) {
            Side::Primary
        } else if self.accepted.contains_key(&conn) {
            Side::Follower
        } else {
            return Ok(()); // closed here, and this was under way
        };
        let is_good = match Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX) {
            Ok(Some(frame)) => {
                self.hear_room(stage, conn, &frame);
                self.hear_state(conn, &frame);
                self.replica.handle_frame(now, side, conn, &frame).is_ok()
            }
            Ok(None) | Err(_) => false,
        };
        if is_good {
            return self.carry_out(stage, now);
        }
        stage.close(conn, Some(Refusal::Protocol));
        self.on_closed(stage, now, conn, None)
    }

    fn on_closed(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        conn: ConnId,
        why: Option<Refusal>,
    ) -> Result<(), Death> {
        if self.link == Some(conn) {
            match why {
                None | Some(Refusal::Busy | Refusal::Protocol) => {}
                Some(Refusal::NameTaken { .. }) if self.takes_name_over => {}
                Some(refusal) => return Err(Death::Refused(refusal)),
            }
            self.link = None;
            self.link_retry_at = now.boot.plus(VIEW_SERVICE_RETRY);
            return self.handle(stage, now, Event::ViewServiceDown);
        }
        if self.dial == Some(conn) {
            self.dial = None;
            return match &why {
                Some(refusal) => self.handle(stage, now, Event::DialRefused(refusal)),
                None => self.handle(stage, now, Event::DialClosed),
            };
        }
        if self.accepted.remove(&conn) == Some(Party::Replica) {
            self.forget_stream(conn);
            return self.handle(stage, now, Event::Closed(conn));
        }
        Ok(())
    }

    fn serve_clients(&mut self, stage: &mut Stage<'_, M>, now: Now) -> Result<(), Death> {
        let input: Vec<(ConnId, Vec<u8>)> = self.requests.drain(..).collect();
        let mut requests = Vec::with_capacity(input.len());
        for (conn, bytes) in &input {
            let frame = match Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(_) => {
                    self.accepted.remove(conn);
                    stage.close(*conn, Some(Refusal::Protocol));
                    continue;
                }
            };
            if !self.accepted.contains_key(conn) {
                continue;
            }
            let asked = client_frame(&frame);
            for body in asked.iter().flat_map(FromClient::requests) {
                let (id, _) = body.id_and_seen();
                self.asked.insert((*conn, id), answering::asked_of(&body));
                requests.push(Request { conn: *conn, body });
            }
        }
        if requests.is_empty() {
            return Ok(());
        }
        self.replica.handle(now, Event::Requests(&requests));
        self.carry_out(stage, now)
    }
}
