//! A replica that finds its own log damaged: it seeks what is missing, or begins anew, before it is one again. What is
//! decided there is decided in [`standin_replica::Repair`].

use standin_core::conn::ConnId;
use standin_core::entry::LogTip;
use standin_core::frame::FrameKind;
use standin_core::identity::{BootId, StoreId};
use standin_core::message::{
    ENTRIES_PIECE_BYTES_MAX, EntriesPiece, EntriesRead, Message as _, Party, Refusal,
};
use standin_core::time::{Instant, earliest};
use standin_core::view::ViewId;
use standin_io::data_dir::{DataDir, DataDirError};
use standin_io::log::{Damage, LogConfig, Salvage, SegmentIds};
use standin_io::net::{CloseReason, Net, NetEvent};
use standin_io::storage::OsStorage;
use standin_io::{clock, entropy};
use standin_replica::{Repair, RepairAction, RepairConfig};

use super::ReplicaError;
use super::host::{CONNECT_TIMEOUT, ViewServiceLink, level_of};
use super::intake::FRAMES_PER_PEER;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repaired {
    /// Something has changed on the disk: read it anew.
    ReadAnew,
    /// The process was told to stop.
    Stopped,
}

/// All that repairing is done with.
pub(super) struct Workshop<'a> {
    pub(super) dir: &'a mut DataDir,
    pub(super) net: &'a mut Net,
    pub(super) link: &'a mut ViewServiceLink,
    pub(super) ids: &'a SegmentIds,
    pub(super) log_config: LogConfig,
    pub(super) boot: BootId,
    /// Where others reach this replica.
    pub(super) address: &'a str,
    pub(super) replace: bool,
}

impl Workshop<'_> {
    /// Does what can be done about a log that cannot be used. Waits for other replicas, as long as it takes.
    ///
    /// # Errors
    /// `error` itself if it is none that anything here could mend; or what else keeps the process from going on.
    pub(super) fn repair(&mut self, error: ReplicaError) -> Result<Repaired, ReplicaError> {
        let words = flaw(&error);
        let path = self.dir.path().to_owned();
        let damage = match error {
            ReplicaError::Log(error) => Some(Damage::find(
                &OsStorage,
                &path,
                self.ids,
                self.log_config,
                error,
            )?),
            ReplicaError::DataDir(DataDirError::LogLost { .. }) => None,
            error => return Err(error),
        };
        if let Some(damage) = &damage
            && let Some(fit) = damage.fit_of_nothing()
        {
            log::warn!(
                "{words}; no entry is missing after entry {}: put in order",
                damage.last.index
            );
            damage.fill(&OsStorage, &[], fit)?;
            return Ok(Repaired::ReadAnew);
        }
        log::error!("{words}; this replica does not serve until that is mended");
        let counted = self.dir.begin_repair(self.boot, entropy::u64());
        let identity = counted.map_err(ReplicaError::meta("counting this start"))?;
        let last = damage.as_ref().map_or(LogTip::default(), |it| it.last);
        let gap = damage.as_ref().and_then(|damage| damage.gap.clone());
        let repair = Repair::new(RepairConfig {
            identity,
            address: self.address.to_owned(),
            adopted: self.dir.meta().adopted,
            kept: self.dir.meta().kept.clone(),
            holds: self.dir.meta().holds,
            last,
            words: match &damage {
                Some(_) => format!("{words}, after entry {}", last.index),
                None => words,
            },
            gap,
            may_set_aside: self.dir.meta().quarantine.is_none(),
            replace: self.replace,
        });
        let mut bench = Bench {
            repair,
            damage: damage.as_ref(),
            salvage: Salvage::open(OsStorage, &path)?,
            dial: None,
            accepted: Vec::new(),
            shop: self,
        };
        let repaired = bench.work();
        bench.clear();
        repaired
    }
}

/// What is wrong, without what people should do about it if nothing else can be done.
fn flaw(error: &ReplicaError) -> String {
    let words = match error {
        ReplicaError::Log(error) => error.to_string(),
        error => error.to_string(),
    };
    let flaw = words.split(';').next();
    flaw.unwrap_or_default().to_owned()
}

/// A repair under way.
struct Bench<'a, 'b> {
    repair: Repair,
    damage: Option<&'a Damage>,
    salvage: Salvage<OsStorage>,
    /// The connection to the replica that is being asked.
    dial: Option<ConnId>,
    /// Replicas that have connected, which may lack what is here.
    accepted: Vec<ConnId>,
    shop: &'a mut Workshop<'b>,
}

impl Bench<'_, '_> {
    fn work(&mut self) -> Result<Repaired, ReplicaError> {
        let mut events = Vec::new();
        loop {
            let shop = &mut *self.shop;
            shop.link.keep(shop.net, clock::boot(), CONNECT_TIMEOUT);
            let deadline = earliest(self.repair.deadline(), shop.link.deadline());
            let polled = shop.net.poll(deadline, &mut events);
            let now = polled.map_err(ReplicaError::io("waiting for events"))?.boot;
            for event in events.drain(..) {
                if matches!(event, NetEvent::Signal(_)) {
                    return Ok(Repaired::Stopped);
                }
                self.on_event(now, event)?;
                if let Some(repaired) = self.carry_out(now)? {
                    return Ok(repaired);
                }
            }
            self.repair.on_deadline(now);
            if let Some(repaired) = self.carry_out(now)? {
                return Ok(repaired);
            }
        }
    }

    fn on_event(&mut self, now: Instant, event: NetEvent) -> Result<(), ReplicaError> {
        let shop = &mut *self.shop;
        match event {
            NetEvent::Ready { conn, hello, .. } if shop.link.is(conn) => {
                if hello.party != Party::ViewService {
                    self.repair.on_down(now);
                    return shop.link.misled(shop.net, hello.party, now);
                }
                self.repair.on_up(now);
            }
            NetEvent::Ready { conn, .. } if self.dial == Some(conn) => {
                self.repair.on_dialled(now, conn);
            }
            NetEvent::Ready { conn, hello, .. } if hello.party == Party::Replica => {
                self.accepted.push(conn);
            }
            // This replica has nothing to tell them.
            NetEvent::Ready { conn, .. } => shop.net.close(conn),
            NetEvent::Input { conn } => self.on_input(now, conn)?,
            NetEvent::Closed { conn, reason } => self.on_closed(now, conn, &reason)?,
            NetEvent::Woken | NetEvent::Signal(_) => {}
        }
        Ok(())
    }

    fn on_closed(
        &mut self,
        now: Instant,
        conn: ConnId,
        reason: &CloseReason,
    ) -> Result<(), ReplicaError> {
        let link = &mut self.shop.link;
        if link.is(conn) {
            link.check_refusal(reason)?;
            link.lost(reason, now);
            self.repair.on_down(now);
        } else if self.dial == Some(conn) {
            self.dial = None;
            self.repair.on_closed(now);
        } else {
            self.accepted.retain(|accepted| *accepted != conn);
        }
        Ok(())
    }

    /// Takes the frames of one other party, up to a bound.
    fn on_input(&mut self, now: Instant, conn: ConnId) -> Result<(), ReplicaError> {
        for _ in 0..FRAMES_PER_PEER {
            let Some(frame) = self.shop.net.frames(conn).next() else {
                return Ok(());
            };
            let bytes = frame.len();
            let is_of_link = self.shop.link.is(conn);
            let mut asked = None;
            let is_good = if is_of_link {
                self.repair.on_view_service(now, &frame).is_ok()
            } else if self.dial == Some(conn) {
                self.repair.on_peer(now, conn, &frame).is_ok()
            } else if frame.kind == FrameKind::EntriesRead {
                asked = EntriesRead::decode(&frame).ok();
                asked.is_some()
            } else {
                // A replica that would follow this one, or whatever else: it is none at the moment.
                false
            };
            if is_of_link && is_good {
                self.shop.link.answered();
            }
            self.shop.net.consume(conn, bytes);
            if let Some(asked) = asked {
                self.lend(conn, asked)?;
            }
            if !is_good {
                self.shop.net.refuse(conn, Refusal::Protocol);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends what is here of what another one lacks.
    fn lend(&mut self, conn: ConnId, asked: EntriesRead) -> Result<(), ReplicaError> {
        let bytes = self.salvage.read(asked.after, ENTRIES_PIECE_BYTES_MAX)?;
        let after = asked.after.index;
        let piece = EntriesPiece { after, bytes };
        self.shop.net.send(conn, |out| piece.encode(out));
        Ok(())
    }

    fn carry_out(&mut self, now: Instant) -> Result<Option<Repaired>, ReplicaError> {
        while let Some(action) = self.repair.next_action() {
            let shop = &mut *self.shop;
            match action {
                RepairAction::Report(report) => {
                    if let Some(conn) = shop.link.conn() {
                        shop.net.send(conn, |out| report.encode(out));
                    }
                }
                RepairAction::Witness(witness) => {
                    if let Some(conn) = shop.link.conn() {
                        shop.net.send(conn, |out| witness.encode(out));
                    }
                }
                RepairAction::RedialViewService => {
                    if let Some(conn) = shop.link.conn() {
                        shop.net.close(conn);
                    }
                }
                RepairAction::Dial(address) => {
                    self.dial = Some(shop.net.connect(&address, now, CONNECT_TIMEOUT));
                }
                RepairAction::Hang => {
                    if let Some(conn) = self.dial.take() {
                        shop.net.close(conn);
                    }
                }
                RepairAction::Ask(conn, read) => {
                    shop.net.send(conn, |out| read.encode(out));
                }
                RepairAction::Fill(bytes, fit) => {
                    let damage = self.damage.expect("it has a gap");
                    damage.fill(&OsStorage, &bytes, fit)?;
                    return Ok(Some(Repaired::ReadAnew));
                }
                RepairAction::SetAside(view) => {
                    self.set_aside(now, view)?;
                    return Ok(Some(Repaired::ReadAnew));
                }
                RepairAction::Log(level, text) => log::log!(level_of(level), "{text}"),
            }
        }
        Ok(None)
    }

    fn set_aside(&mut self, now: Instant, view: ViewId) -> Result<(), ReplicaError> {
        let shop = &mut *self.shop;
        let old = shop.dir.meta().store;
        let set_aside = shop.dir.set_aside(StoreId(entropy::u128()));
        set_aside.map_err(ReplicaError::meta("setting the log aside"))?;
        // The view service may not have noticed yet that the old store's replica has gone.
        shop.link.expect_name(now);
        log::warn!(
            "set the log and the snapshots of store {old} aside in {}, since view {view} does without them; \
             joining anew as an empty store",
            shop.dir.path().display()
        );
        Ok(())
    }

    /// Leaves no connection behind: what follows begins its own.
    fn clear(&mut self) {
        let shop = &mut *self.shop;
        for conn in self.accepted.drain(..).chain(self.dial.take()) {
            shop.net.close(conn);
        }
        if let Some(conn) = shop.link.conn() {
            shop.net.close(conn);
            shop.link.closed(clock::boot());
        }
    }
}
