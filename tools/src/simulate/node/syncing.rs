//! What waits for a replica's disk: the work of the log thread, in virtual time.

use standin_core::entry::Index;
use standin_core::time::Now;
use standin_io::log::{LogError, SyncRequest};
use standin_replica::Event;

use super::death::log_failed;
use super::{Death, FollowUp, Node};
use crate::simulate::disk::SimDisk;
use crate::simulate::draw::Draw as _;
use crate::simulate::fact::{Fact, Heard};
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

/// What the log thread is at.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    running: Option<SyncRequest<SimDisk>>,
    /// The running one has put its bytes on the platter already, or failed to.
    outcome: Option<Result<(), LogError>>,
    waiting: Option<SyncRequest<SimDisk>>,
}

impl<M: Subject> Node<M> {
    pub(super) fn written(&mut self, through: Index) {
        if let Some(FollowUp::Written(last)) = self.follow_ups.back_mut() {
            *last = through;
        } else {
            self.follow_ups.push_back(FollowUp::Written(through));
        }
    }

    pub(super) fn sync(&mut self, stage: &mut Stage<'_, M>) {
        match self.log.sync_request() {
            Some(request) => self.ask_for_sync(stage, request),
            None => {
                let durable = self.log.durable();
                self.follow_ups.push_back(FollowUp::Synced(durable));
            }
        }
    }

    pub(super) fn ask_for_sync(&mut self, stage: &mut Stage<'_, M>, request: SyncRequest<SimDisk>) {
        match &mut self.syncing.waiting {
            Some(waiting) => waiting.merge(request),
            None => self.syncing.waiting = Some(request),
        }
        self.begin_sync(stage);
    }

    /// The log thread takes up what waits, if it is idle. Whether the bytes are on the platter at the
    /// beginning or only at the end of a sync is drawn: both are possible, and a crash in between
    /// tells them apart.
    fn begin_sync(&mut self, stage: &mut Stage<'_, M>) {
        if self.syncing.running.is_some() {
            return;
        }
        let Some(request) = self.syncing.waiting.take() else {
            return;
        };
        if stage.random.chance(500) {
            let outcome = request.run();
            if outcome.is_err() && !self.disk.is_stopped() {
                // It will be noted as soon as the process hears of it, if it lives to do so.
                let (host, heard) = (stage.host, Heard::Not);
                stage.saw(&Fact::DiskFailed { host, heard });
            }
            self.syncing.outcome = Some(outcome);
        }
        self.syncing.running = Some(request);
        stage.sync_started = true;
    }

    /// The log thread is done with a sync.
    pub(super) fn on_sync_done(&mut self, stage: &mut Stage<'_, M>, now: Now) -> Result<(), Death> {
        let Some(request) = self.syncing.running.take() else {
            return Ok(());
        };
        let outcome = match self.syncing.outcome.take() {
            Some(outcome) => outcome,
            None => request.run(),
        };
        outcome.map_err(log_failed)?;
        if let Some(through) = request.complete() {
            stage.saw(&Fact::Synced {
                host: stage.host,
                through,
            });
            self.handle(stage, now, Event::Synced(through))?;
        }
        self.begin_sync(stage);
        Ok(())
    }
}
