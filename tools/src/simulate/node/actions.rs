//! What a replica's core asks for is carried out: on the disk, on the network, and for the checkers to see.

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::message::{Party, Refusal, RoleName};
use standin_core::time::Now;
use standin_core::view::{DataEpoch, Reason};
use standin_io::log::LogError;
use standin_replica::{Action, Destination, Event, ReadFor};

use super::death::{Death, dir_failed, log_failed};
use super::images::snapshots_failed;
use super::{FollowUp, INSPECTOR, Node, OPERATOR};
use crate::simulate::fact::Fact;
use crate::simulate::marks::Mark;
use crate::simulate::stage::{Stage, host_at};
use crate::simulate::watched::Subject;

impl<M: Subject> Node<M> {
    pub(super) fn carry_out(&mut self, stage: &mut Stage<'_, M>, now: Now) -> Result<(), Death> {
        loop {
            if let Some(entry) = self.falsehood.doom.take_death() {
                stage.saw(&Fact::DiedAt { entry });
                return Err(Death::AtEntry(entry));
            }
            self.tell_commit(stage, now);
            while let Some(action) = self.replica.next_action() {
                stage.stall();
                // What was applied was told to others even if the process dies over what comes next.
                self.carry_out_one(stage, now, action)
                    .inspect_err(|_| self.tell_applied(stage))?;
            }
            self.tell_applied(stage);
            self.send_answers(stage, now);
            let Some(follow_up) = self.follow_ups.pop_front() else {
                return Ok(());
            };
            let event = match follow_up {
                FollowUp::Written(through) => Event::Written(through),
                FollowUp::Synced(through) => Event::Synced(through),
                FollowUp::Room => {
                    self.tell_room(now);
                    continue;
                }
                FollowUp::LogRead(read, bytes) => Event::LogRead(read, bytes),
                FollowUp::Cut(tip) => Event::Cut(tip),
                FollowUp::Adopted(view) => Event::Adopted(view),
                FollowUp::PoisonNoted => Event::PoisonNoted,
                FollowUp::Digested(digest) => Event::Digested(digest),
                FollowUp::FetchBegun(have) => Event::FetchBegun(have),
                FollowUp::Fetched(index, is_whole) => Event::Fetched(index, is_whole),
                FollowUp::Forgotten(base) => Event::Forgotten(base),
                FollowUp::Install(offer) => {
                    self.install(stage, now, &offer)?;
                    self.begin_room(now);
                    continue;
                }
            };
            self.replica.handle(now, event);
        }
    }

    fn carry_out_one(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        action: Action,
    ) -> Result<(), Death> {
        if let Some(destination) = action.destination() {
            self.send(stage, destination, &action);
            return Ok(());
        }
        let host = stage.host;
        match action {
            Action::RedialViewService => {
                if let Some(conn) = self.link {
                    self.close(stage, conn, None);
                }
            }
            Action::Adopt(view, holds, kept) => {
                let mut meta = self.dir.meta().clone();
                meta.adopted = view;
                meta.holds = holds;
                meta.kept = kept.map(|kept| *kept);
                self.dir.store(meta).map_err(dir_failed)?;
                stage.wait_for_disk();
                // What the same event applied before was of the view before, and is told as such.
                self.tell_applied(stage);
                stage.saw(&Fact::Adopted { host, view });
                self.follow_ups.push_back(FollowUp::Adopted(view));
            }
            Action::NotePoison(poison) => {
                let skip = poison.skip;
                stage.saw(&Fact::Poisoned { host, skip });
                let mut meta = self.dir.meta().clone();
                meta.poison = Some(poison);
                self.dir.store(meta).map_err(dir_failed)?;
                stage.wait_for_disk();
                self.follow_ups.push_back(FollowUp::PoisonNoted);
            }
            Action::Quarantine(why) => {
                stage.saw(&Fact::Quarantined { host, why: &why });
                let mut meta = self.dir.meta().clone();
                meta.quarantine = Some(why);
                self.dir.store(meta).map_err(dir_failed)?;
                stage.wait_for_disk();
            }
            Action::Append(batch) => {
                let is_primary = self.replica.role_name() == RoleName::Primary;
                // A write that fails may still have written everything.
                stage.saw(&Fact::Appended {
                    host,
                    batch: &batch,
                    is_primary,
                });
                if is_primary {
                    self.watch_order(stage, &batch);
                }
                self.log.append(&batch).map_err(log_failed)?;
                self.keep_up(stage, now)?;
                self.written(batch.last());
            }
            Action::Sync => self.sync(stage),
            Action::ReadLog(read, from, bytes_max) => {
                let bytes = match self.log.read(from, bytes_max) {
                    // Who asks for it lacks it, too. That is no reason to serve no longer.
                    Err(LogError::Damaged { .. }) if matches!(read, ReadFor::Lend(..)) => {
                        Vec::new()
                    }
                    read => read.map_err(log_failed)?,
                };
                self.follow_ups.push_back(FollowUp::LogRead(read, bytes));
            }
            Action::Cut(after) => {
                let standing = self.replica.standing();
                stage.saw(&Fact::Cut {
                    host,
                    after,
                    standing,
                });
                if after == Index::ZERO {
                    self.log.begin_anew().map_err(log_failed)?;
                    let discarded = self.images.snapshots.discard();
                    discarded.map_err(snapshots_failed)?;
                } else {
                    self.log.cut(after).map_err(log_failed)?;
                }
                let tip = self.log.tip();
                self.begin_room(now);
                stage.wait_for_disk();
                let is_outdated = after == Index::ZERO && standing.view.data_epoch > DataEpoch(0);
                stage.mark(if is_outdated {
                    Mark::SetAside
                } else {
                    Mark::Cut
                });
                self.follow_ups.push_back(FollowUp::Cut(tip));
            }
            Action::TakeSnapshot(mark, image) => self.take_snapshot(stage, mark, image),
            Action::Digest(image) => {
                let digest = image.0.digest();
                self.follow_ups.push_back(FollowUp::Digested(digest));
            }
            Action::KeepEvidence(_) => {} // for people
            Action::Forget(index) => self.forget(stage, index)?,
            Action::ReadSnapshot(conn, read) => self.send_piece(stage, conn, &read)?,
            Action::BeginFetch(offer) => self.begin_fetch(&offer)?,
            Action::StorePiece(offset, bytes) => self.store_piece(offset, &bytes)?,
            Action::CheckFetched => self.check_fetched()?,
            Action::Install(offer) => self.follow_ups.push_back(FollowUp::Install(offer)),
            Action::Dial(address) => {
                self.hang(stage);
                if let Some(to) = host_at(&address) {
                    self.dial = Some(stage.dial(to, Party::Replica));
                }
            }
            Action::Hang => self.hang(stage),
            Action::CloseFollower(INSPECTOR) => {}
            Action::CloseFollower(conn) => self.close(stage, conn, None),
            Action::RefuseFollower(conn, refusal) => {
                if matches!(refusal, Refusal::MachineVersion { .. }) {
                    stage.mark(Mark::LeftBehind);
                }
                self.close(stage, conn, Some(refusal));
            }
            Action::Log(_, text) => stage.trace.line(stage.now, host, || text),
            _ => unreachable!("what sends a message was sent"),
        }
        Ok(())
    }

    pub(super) fn send(
        &mut self,
        stage: &mut Stage<'_, M>,
        destination: Destination,
        action: &Action,
    ) {
        let host = stage.host;
        match action {
            Action::Ack(_, ack) => stage.saw(&Fact::Acked { host, ack }),
            Action::Resume(conn, resume) => self.name_stream(*conn, resume.nonce, resume.view),
            Action::Swap(swap) => {
                stage.join_asked |= swap.proposed.reason == Reason::Joined;
                stage.hand_over_asked |= swap.proposed.reason == Reason::HandedOver;
                self.watch_proposal(stage, swap);
                stage.saw(&Fact::Proposed { swap });
            }
            _ => {}
        }
        let conn = match destination {
            Destination::ViewService => self.link,
            Destination::Conn(conn) => {
                Some(conn).filter(|conn| ![INSPECTOR, OPERATOR].contains(conn))
            }
        };
        if let Some(conn) = conn {
            stage.send(conn, |out| action.encode(out));
        }
    }

    /// Closes a connection, whose end is reported like any other's.
    fn close(&mut self, stage: &mut Stage<'_, M>, conn: ConnId, why: Option<Refusal>) {
        stage.close(conn, why);
        self.closed.push_back(conn);
    }

    fn hang(&mut self, stage: &mut Stage<'_, M>) {
        if let Some(conn) = self.dial.take() {
            stage.close(conn, None);
        }
    }
}
