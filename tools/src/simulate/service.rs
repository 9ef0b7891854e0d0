//! The view service's process in the simulator: what `viewservice/src/daemon.rs` does with sockets,
//! this does with the simulated network.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use standin_core::conn::ConnId;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame};
use standin_core::identity::{ClusterId, ReplicaName};
use standin_core::message::{Force, ForceReply, Party, Rebuild, Refusal, StatusReply};
use standin_core::time::{Instant, Now};
use standin_core::view::{Reason, ViewRecord};
use standin_viewservice::store::{FileStore, StoreError};
use standin_viewservice::{Action, Answer, Event, History, LeaseTerm, StoredState, ViewService};

use super::disk::SimDisk;
use super::fact::Fact;
use super::marks::Mark;
use super::network::Arrival;
use super::node::Death;
use super::plan::Plan;
use super::stage::{Output, Stage};
use super::watched::Subject;

const DATA: &str = "/data";
/// A connection that nobody has: what is asked over it is for the simulator's own eyes.
const NOBODY: ConnId = ConnId(u64::MAX);

/// The view service's process.
#[derive(Debug)]
pub(crate) struct Service {
    core: ViewService,
    disk: SimDisk,
    store: FileStore<SimDisk>,
    /// Connections of replicas.
    replicas: BTreeSet<ConnId>,
    conns: BTreeSet<ConnId>,
    status: Option<StatusReply>,
    forced: Option<ForceReply>,
}

impl Service {
    /// Starts on its disk, and formats it for a cluster; `None`: it had one and has lost it.
    pub(crate) fn start<M: Subject>(
        disk: &SimDisk,
        plan: &Plan,
        cluster: Option<ClusterId>,
        stage: &mut Stage<'_, M>,
    ) -> Result<Self, Death> {
        let (storage, path) = (disk.clone(), Path::new(DATA));
        let store = match cluster {
            Some(cluster) => FileStore::open_in(storage, path, cluster),
            None => FileStore::open_unformatted_in(storage, path),
        };
        let store = store.map_err(|error| {
            let is_disk = matches!(
                error,
                StoreError::Io { .. } | StoreError::Failed { .. } | StoreError::NoRoom { .. }
            );
            if is_disk || disk.is_stopped() {
                store_failed(&error)
            } else {
                Death::Unfit(error.to_string())
            }
        })?;
        stage.saw(&Fact::ServiceStarted);
        // What the life before wrote last may be on disk though it did not live to hear so.
        let known = stage.checks.truth.record.clone();
        tell_stores(stage, store.state());
        tell_record(stage, known.as_ref(), store.state().record.as_ref());
        let term = LeaseTerm::new(plan.term).expect("a plan's term is within the limits");
        let now = stage.read_clock().boot;
        #[cfg_attr(not(feature = "planted-bugs"), expect(unused_mut))]
        let mut core = match store.is_formatted() {
            true => ViewService::new(store.state().clone(), term, now),
            false => ViewService::rebuilding(term, now, stage.random.next_u64()),
        };
        #[cfg(feature = "planted-bugs")]
        core.plant(plan.planted);
        let (history, remark) = store.history();
        let core = core.with_history(history, remark);
        Ok(Self {
            core,
            disk: disk.clone(),
            store,
            replicas: BTreeSet::new(),
            conns: BTreeSet::new(),
            status: None,
            forced: None,
        })
    }

    /// The loop comes round once.
    pub(crate) fn turn<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        arrivals: &mut VecDeque<(ConnId, Arrival)>,
    ) -> Result<(), Death> {
        let now = stage.read_clock();
        for (conn, arrival) in arrivals.drain(..) {
            match arrival {
                Arrival::Accepted(party) => {
                    self.conns.insert(conn);
                    if party == Party::Replica {
                        self.replicas.insert(conn);
                    }
                    stage.outputs.push(Output::Accept(conn));
                }
                Arrival::Ready | Arrival::Woken => {}
                Arrival::Proof(bytes) => self.on_proof(stage, now, &bytes)?,
                Arrival::Frame(bytes) => self.on_frame(stage, now, conn, &bytes)?,
                Arrival::Closed(_) => self.on_closed(stage, now, conn)?,
            }
        }
        if self.core.deadline().is_some_and(|due| due <= now.boot) {
            self.handle(stage, now, Event::Deadline)?;
        }
        Ok(())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.core.deadline()
    }

    /// What it would answer to somebody who asks how everybody is.
    pub(crate) fn status<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
    ) -> Result<Option<StatusReply>, Death> {
        let now = stage.read_clock();
        self.handle(stage, now, Event::StatusRequest { conn: NOBODY })?;
        Ok(self.status.take())
    }

    /// An operator names a replica, and accepts loss.
    pub(crate) fn force<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        primary: &ReplicaName,
    ) -> Result<Option<ForceReply>, Death> {
        let now = stage.read_clock();
        let force = Box::new(Force {
            primary: primary.clone(),
            accept_loss: true,
        });
        self.handle(
            stage,
            now,
            Event::Force {
                conn: NOBODY,
                force,
            },
        )?;
        Ok(self.forced.take())
    }

    /// An operator has the lost record made again.
    pub(crate) fn rebuild<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        wish: &Rebuild,
    ) -> Result<Option<ForceReply>, Death> {
        let now = stage.read_clock();
        let (conn, rebuild) = (NOBODY, Box::new(wish.clone()));
        self.handle(stage, now, Event::Rebuild { conn, rebuild })?;
        Ok(self.forced.take())
    }

    fn on_frame<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        conn: ConnId,
        bytes: &[u8],
    ) -> Result<(), Death> {
        if !self.conns.contains(&conn) {
            return Ok(()); // closed here, and this was under way
        }
        let is_replica = self.replicas.contains(&conn);
        let event = match Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX) {
            Ok(Some(frame)) => Event::from_frame(conn, is_replica, &frame).ok(),
            Ok(None) | Err(_) => None,
        };
        if let Some(Event::Report { report, .. }) = &event {
            stage.saw(&Fact::Reported {
                identity: &report.identity,
                standing: report.standing,
            });
        }
        let fence = event.as_ref().and_then(|event| self.fence_of(event));
        match event {
            Some(event) => self.handle(stage, now, event)?,
            None => {
                stage.close(conn, Some(Refusal::Protocol));
                self.on_closed(stage, now, conn)?;
            }
        }
        if let Some((fence, mark)) = fence
            && self.store.state().record == Some(fence)
        {
            stage.mark(mark);
        }
        Ok(())
    }

    /// Nothing rests on it, so a disk that does not take it changes nothing; unless the process dies over it.
    fn keep_history<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        history: &History,
    ) -> Result<(), Death> {
        let (newest, record) = (history.newest(), self.store.state().record.as_ref());
        if newest.map(|newest| newest.view) != record.map(ViewRecord::id) {
            let what = format!("the history ends with {newest:?}, and the record is {record:?}");
            stage.checks.fail("S1", what);
        }
        match self.store.keep_history(history) {
            Err(error) if self.disk.is_stopped() => Err(Death::disk(error.to_string(), false)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The parent of a replica's process says something, and hangs up.
    fn on_proof<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        bytes: &[u8],
    ) -> Result<(), Death> {
        let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX);
        let frame = frame.ok().flatten().expect("a parent sends whole frames");
        let event = Event::from_frame(NOBODY, true, &frame).expect("a replica may say so");
        self.handle(stage, now, event)
    }

    /// The record as it is, if what happens is a swap that the last Drop has fenced.
    fn fence_of(&self, event: &Event) -> Option<(ViewRecord, Mark)> {
        let Event::Swap { swap, .. } = event else {
            return None;
        };
        let record = self.store.state().record.as_ref()?;
        let mark = match swap.proposed.reason {
            Reason::Joined => Mark::LateJoinRefused,
            Reason::HandedOver => Mark::LateHandOverRefused,
            _ => return None,
        };
        let is_fenced = record.reason == Reason::Dropped
            && record.id() == swap.proposed.id()
            && record.primary == swap.expected.primary;
        is_fenced.then(|| (record.clone(), mark))
    }

    fn on_closed<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        conn: ConnId,
    ) -> Result<(), Death> {
        self.replicas.remove(&conn);
        if self.conns.remove(&conn) {
            self.handle(stage, now, Event::Closed { conn })?;
        }
        Ok(())
    }

    fn handle<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        event: Event,
    ) -> Result<(), Death> {
        let mut next = Some((now, event));
        while let Some((now, event)) = next.take() {
            self.core.handle(now, event);
            while let Some(action) = self.core.next_action() {
                match action {
                    Action::Send {
                        conn: NOBODY,
                        answer: Answer::Status(reply),
                    } => self.status = Some(reply),
                    Action::Send {
                        conn: NOBODY,
                        answer: Answer::Force(reply),
                    } => self.forced = Some(reply),
                    // Its parent has what it wants, and is gone.
                    Action::Send { conn: NOBODY, .. } => {}
                    Action::Send { conn, answer } => stage.send(conn, |out| answer.encode(out)),
                    Action::Refuse { conn, refusal } => {
                        self.replicas.remove(&conn);
                        self.conns.remove(&conn);
                        stage.close(conn, Some(refusal));
                    }
                    Action::KeepHistory { history } => self.keep_history(stage, &history)?,
                    Action::Store { state } => {
                        // Of a record that was lost the truth knows.
                        let known = stage.checks.truth.record.clone();
                        let before = self.store.state().record.clone().or(known);
                        let stored = self.store.store(&state);
                        stage.wait_for_disk();
                        if let Err(StoreError::NoRoom { source, .. }) = &stored {
                            let why = source.to_string();
                            next = Some((stage.read_clock_again(), Event::NotStored { why }));
                            stage.mark(Mark::RecordUnstored);
                            continue;
                        }
                        stored.map_err(|error| store_failed(&error))?;
                        tell_stores(stage, &state);
                        tell_record(stage, before.as_ref(), state.record.as_ref());
                        // The disk took its time: what is granted now counts from now.
                        next = Some((stage.read_clock_again(), Event::Stored));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The view service says nothing before what it says is on disk, so no failure takes anything along.
fn store_failed(error: &StoreError) -> Death {
    Death::disk(error.to_string(), false)
}

/// Tells what is new of the stores that it knows and of the tokens that it knows to be dead.
fn tell_stores<M: Subject>(stage: &mut Stage<'_, M>, state: &StoredState) {
    for replica in &state.replicas {
        let store = replica.store;
        if !stage.checks.truth.known_stores.contains(&store) {
            stage.saw(&Fact::Known { store });
        }
    }
    for dead in &state.dead_tokens {
        if !stage.checks.truth.dead_tokens.contains(dead) {
            stage.saw(&Fact::TokenKept { dead: *dead });
        }
    }
}

fn tell_record<M: Subject>(
    stage: &mut Stage<'_, M>,
    before: Option<&ViewRecord>,
    after: Option<&ViewRecord>,
) {
    if let Some(after) = after.filter(|_| before != after) {
        stage.saw(&Fact::Recorded { before, after });
    }
}
