//! A replica's process that has found its log damaged: what `src/replica/repair.rs` does with sockets, this does with the
//! simulated network.

use std::collections::VecDeque;

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::gap::Fit;
use standin_core::identity::{BootId, StoreId};
use standin_core::message::{
    ENTRIES_PIECE_BYTES_MAX, EntriesPiece, EntriesRead, Message as _, Party, Refusal,
};
use standin_core::time::{Instant, earliest};
use standin_io::data_dir::DataDir;
use standin_io::log::{Damage, Salvage};
use standin_replica::{Repair, RepairAction, RepairConfig};

use super::disk::SimDisk;
use super::fact::Fact;
use super::marks::Mark;
use super::network::Arrival;
use super::node::{Death, Machine, VIEW_SERVICE_RETRY, dir_failed, log_failed, note_failure};
use super::plan::Plan;
use super::stage::{Output, Stage, address_of, host_at};
use super::watched::Subject;

/// The process.
#[derive(Debug)]
pub(crate) struct Mending {
    repair: Repair,
    disk: SimDisk,
    dir: DataDir<SimDisk>,
    damage: Option<Damage>,
    salvage: Salvage<SimDisk>,
    boot: BootId,
    plan: Plan,
    link: Option<ConnId>,
    link_retry_at: Instant,
    dial: Option<ConnId>,
    accepted: Vec<ConnId>,
}

impl Mending {
    /// The process of a replica whose log is damaged so, or lost.
    pub(crate) fn start<M: Subject>(
        (machine, plan): (&Machine, &Plan),
        mut dir: DataDir<SimDisk>,
        boot: BootId,
        damage: Option<Damage>,
        words: String,
        stage: &mut Stage<'_, M>,
    ) -> Result<Self, Death> {
        let host = stage.host;
        stage.saw(&Fact::Unstartable { host, why: &words });
        let nonce = stage.random.next_u64();
        let identity = dir.begin_repair(boot, nonce).map_err(dir_failed)?;
        stage.saw(&Fact::Mending {
            identity: &identity,
        });
        let salvage = Salvage::open(machine.disk.clone(), dir.path()).map_err(log_failed)?;
        let repair = Repair::new(RepairConfig {
            identity,
            address: address_of(host),
            adopted: dir.meta().adopted,
            kept: dir.meta().kept.clone(),
            holds: dir.meta().holds,
            last: damage.as_ref().map(|it| it.last).unwrap_or_default(),
            gap: damage.as_ref().and_then(|damage| damage.gap.clone()),
            words,
            may_set_aside: dir.meta().quarantine.is_none(),
            replace: machine.replace,
        });
        #[cfg(feature = "planted-bugs")]
        let repair = {
            let mut repair = repair;
            repair.plant(plan.planted);
            repair
        };
        Ok(Self {
            repair,
            disk: machine.disk.clone(),
            dir,
            damage,
            salvage,
            boot,
            plan: plan.clone(),
            link: None,
            link_retry_at: Instant::ZERO,
            dial: None,
            accepted: Vec::new(),
        })
    }

    /// The loop comes round once.
    pub(crate) fn turn<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        arrivals: &mut VecDeque<(ConnId, Arrival)>,
    ) -> Result<(), Death> {
        self.come_round(stage, arrivals)
            .map_err(|death| self.give_up(death, stage))
    }

    /// It was told to stop: it has nothing to do before.
    pub(crate) fn stop() -> Result<(), Death> {
        Err(Death::Stopped)
    }

    fn give_up<M: Subject>(&mut self, death: Death, stage: &mut Stage<'_, M>) -> Death {
        let boot = self.dir.meta().boot(self.boot);
        note_failure(&self.disk, &mut self.dir, boot, death, &self.plan, stage)
    }

    fn come_round<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        arrivals: &mut VecDeque<(ConnId, Arrival)>,
    ) -> Result<(), Death> {
        let now = stage.read_clock().boot;
        if self.link.is_none() && now >= self.link_retry_at {
            self.link = Some(stage.dial(self.plan.service(), Party::Replica));
        }
        for (conn, arrival) in arrivals.drain(..) {
            match arrival {
                Arrival::Accepted(party) => {
                    stage.outputs.push(Output::Accept(conn));
                    match party {
                        Party::Replica => self.accepted.push(conn),
                        _ => stage.close(conn, None),
                    }
                }
                Arrival::Ready if self.link == Some(conn) => self.repair.on_up(now),
                Arrival::Ready if self.dial == Some(conn) => self.repair.on_dialled(now, conn),
                Arrival::Frame(bytes) => self.on_frame(stage, now, conn, &bytes)?,
                Arrival::Closed(why) => self.on_closed(now, conn, why)?,
                Arrival::Ready | Arrival::Woken | Arrival::Proof(_) => {}
            }
            self.carry_out(stage, now)?;
        }
        self.repair.on_deadline(now);
        self.carry_out(stage, now)
    }

    fn on_frame<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Instant,
        conn: ConnId,
        bytes: &[u8],
    ) -> Result<(), Death> {
        let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX);
        let is_good = match frame {
            Ok(Some(frame)) if self.link == Some(conn) => {
                self.repair.on_view_service(now, &frame).is_ok()
            }
            Ok(Some(frame)) if self.dial == Some(conn) => {
                self.repair.on_peer(now, conn, &frame).is_ok()
            }
            Ok(Some(frame))
                if self.accepted.contains(&conn) && frame.kind == FrameKind::EntriesRead =>
            {
                match EntriesRead::decode(&frame) {
                    Ok(asked) => {
                        let read = self.salvage.read(asked.after, ENTRIES_PIECE_BYTES_MAX);
                        let bytes = read.map_err(log_failed)?;
                        let after = asked.after.index;
                        stage.send(conn, |out| EntriesPiece { after, bytes }.encode(out));
                        true
                    }
                    Err(_) => false,
                }
            }
            _ => false,
        };
        if !is_good {
            stage.close(conn, Some(Refusal::Protocol));
            self.on_closed(now, conn, None)?;
        }
        Ok(())
    }

    fn on_closed(&mut self, now: Instant, conn: ConnId, why: Option<Refusal>) -> Result<(), Death> {
        if self.link == Some(conn) {
            match why {
                None | Some(Refusal::Busy | Refusal::Protocol) => {}
                Some(refusal) => return Err(Death::Refused(refusal)),
            }
            self.link = None;
            self.link_retry_at = now.plus(VIEW_SERVICE_RETRY);
            self.repair.on_down(now);
        } else if self.dial == Some(conn) {
            self.dial = None;
            self.repair.on_closed(now);
        } else {
            self.accepted.retain(|accepted| *accepted != conn);
        }
        Ok(())
    }

    fn carry_out<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Instant,
    ) -> Result<(), Death> {
        while let Some(action) = self.repair.next_action() {
            stage.stall();
            match action {
                RepairAction::Report(report) => {
                    if let Some(conn) = self.link {
                        stage.send(conn, |out| report.encode(out));
                    }
                }
                RepairAction::Witness(witness) => {
                    if let Some(conn) = self.link {
                        stage.send(conn, |out| witness.encode(out));
                    }
                }
                RepairAction::RedialViewService => {
                    if let Some(conn) = self.link.take() {
                        stage.close(conn, None);
                        self.link_retry_at = now.plus(VIEW_SERVICE_RETRY);
                        self.repair.on_down(now);
                    }
                }
                RepairAction::Dial(address) => match host_at(&address) {
                    Some(to) => self.dial = Some(stage.dial(to, Party::Replica)),
                    None => self.repair.on_closed(now),
                },
                RepairAction::Hang => {
                    if let Some(conn) = self.dial.take() {
                        stage.close(conn, None);
                    }
                }
                RepairAction::Ask(conn, read) => stage.send(conn, |out| read.encode(out)),
                RepairAction::Fill(bytes, fit) => return self.fill(stage, &bytes, fit),
                RepairAction::SetAside(view) => {
                    let (host, old) = (stage.host, self.dir.meta().store);
                    stage.saw(&Fact::DamagedSetAside {
                        host,
                        view,
                        store: old,
                    });
                    stage.mark(Mark::DamagedSetAside);
                    let store = StoreId(u128::from(stage.random.next_u64()) << 64);
                    self.dir.set_aside(store).map_err(dir_failed)?;
                    stage.wait_for_disk();
                    return Err(Death::Mended);
                }
                RepairAction::Log(_, text) => stage.trace.line(stage.now, stage.host, || text),
            }
        }
        Ok(())
    }

    fn fill<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        bytes: &[u8],
        fit: Fit,
    ) -> Result<(), Death> {
        let damage = self.damage.as_ref().expect("it has a gap");
        stage.saw(&Fact::Filled {
            host: stage.host,
            after: damage.last.index,
            bytes,
        });
        damage.fill(&self.disk, bytes, fit).map_err(log_failed)?;
        stage.wait_for_disk();
        stage.mark(Mark::Mended);
        Err(Death::Mended)
    }

    /// When the loop must come round at the latest, on the host's boot clock.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let link = self.link.is_none().then_some(self.link_retry_at);
        earliest(self.repair.deadline(), link)
    }

    /// The last entry before the damage.
    pub(crate) fn last(&self) -> Index {
        self.damage.as_ref().map_or(Index::ZERO, |it| it.last.index)
    }
}
