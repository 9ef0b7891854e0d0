//! Snapshots of a replica in the simulator: what the thread that writes and reads states does, in virtual time.

use standin_core::capture::SnapshotMark;
use standin_core::conn::ConnId;
use standin_core::digest::DigestChain;
use standin_core::entry::Index;
use standin_core::message::{SnapshotOffer, SnapshotPiece, SnapshotRead};
use standin_core::snapshot::SnapshotHeader;
use standin_core::state::Replicated;
use standin_core::time::{Duration, Instant, Now};
use standin_io::install::{self, InstallError};
use standin_io::snapshots::{
    Checked, Receiving, SnapshotFile, Snapshots, SnapshotsError, Ticket, mark_of,
};
use standin_replica::{Event, KeptSnapshot, SharedImage};

use super::death::{Death, log_failed};
use super::{FollowUp, Node};
use crate::simulate::disk::SimDisk;
use crate::simulate::fact::Fact;
use crate::simulate::marks::Mark;
use crate::simulate::stage::Stage;
use crate::simulate::watched::{Falsehood, Subject, Watched};

/// Longest time that a snapshot takes to be written.
const WRITING_MAX: Duration = Duration::from_millis(200);

/// The state in a snapshot, on a host whose machine may be wrong.
pub(super) fn restore<M: Subject>(
    file: &SnapshotFile<SimDisk>,
    falsehood: &Falsehood,
) -> std::io::Result<Replicated<Watched<M>>> {
    let mut input = file.state()?;
    let mark = mark_of(file.header());
    let digest = DigestChain(mark.reply_digest);
    let state = Replicated::<Watched<M>>::restore(
        &mut input,
        mark.tip.index,
        digest,
        mark.machine_version,
    )?;
    Ok(state.map_machine(|machine| machine.with_fault(falsehood.clone())))
}

/// What a replica knows of a snapshot.
pub(super) fn kept(header: &SnapshotHeader) -> KeptSnapshot {
    KeptSnapshot {
        mark: mark_of(header),
        state_digest: header.state_digest,
        state_bytes: header.state_bytes,
    }
}

/// The snapshots of a process.
#[derive(Debug)]
pub(super) struct Images {
    pub(super) snapshots: Snapshots<SimDisk>,
    /// What is being written, and when it will be durable.
    writing: Option<(Instant, Ticket, SnapshotMark, SharedImage)>,
    receiving: Option<Receiving<SimDisk>>,
    fetched: Option<Checked<SimDisk>>,
}

impl Images {
    pub(super) fn new(snapshots: Snapshots<SimDisk>) -> Self {
        Self {
            snapshots,
            writing: None,
            receiving: None,
            fetched: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.writing.as_ref().map(|(at, ..)| *at)
    }
}

impl<M: Subject> Node<M> {
    pub(super) fn take_snapshot(
        &mut self,
        stage: &mut Stage<'_, M>,
        mark: SnapshotMark,
        image: SharedImage,
    ) {
        let most = u64::try_from(WRITING_MAX.as_nanos()).expect("short");
        let later = Duration::from_nanos(stage.random.below(most));
        let at = stage.read_clock_again().boot.plus(later);
        let ticket = self.images.snapshots.ticket();
        self.images.writing = Some((at, ticket, mark, image));
    }

    /// The snapshot that was being written is, if it is time.
    pub(super) fn finish_snapshot(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
    ) -> Result<(), Death> {
        let is_due = self.images.deadline().is_some_and(|at| now.boot >= at);
        let Some((_, ticket, mark, image)) = self.images.writing.take_if(|_| is_due) else {
            return Ok(());
        };
        // It may be found even if this process dies before it knows.
        stage.saw(&Fact::SnapshotTaken {
            host: stage.host,
            tip: mark.tip,
            state_digest: image.0.digest(),
        });
        let point = self.images.snapshots.point_of(mark);
        let written = self
            .images
            .snapshots
            .write(ticket, point, |out| image.0.write(out));
        match written {
            Ok(Some(header)) => self.handle(stage, now, Event::SnapshotTaken(kept(&header))),
            Ok(None) => Ok(()),
            Err(error) => {
                let words = tolerable(error)?.to_string();
                self.handle(stage, now, Event::SnapshotFailed(&words))
            }
        }
    }

    pub(super) fn forget(&mut self, stage: &mut Stage<'_, M>, index: Index) -> Result<(), Death> {
        let snapshots = &self.images.snapshots;
        let forgotten = snapshots.forget_before(snapshots.ticket(), index);
        forgotten.map_err(snapshots_failed)?;
        let before = self.log.base().index;
        self.log.forget(index).map_err(log_failed)?;
        let base = self.log.base();
        if base.index > before {
            stage.mark(Mark::Forgotten);
        }
        self.follow_ups.push_back(FollowUp::Forgotten(base));
        Ok(())
    }

    pub(super) fn piece(&self, read: &SnapshotRead) -> Result<Vec<u8>, Death> {
        let file = self.images.snapshots.file_of(read.index);
        match file.map_err(snapshots_failed)? {
            Some(file) => file
                .read_at(read.offset, read.length as usize)
                .map_err(snapshots_failed),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn send_piece(
        &mut self,
        stage: &mut Stage<'_, M>,
        conn: ConnId,
        read: &SnapshotRead,
    ) -> Result<(), Death> {
        let bytes = self.piece(read)?;
        let piece = SnapshotPiece {
            nonce: read.nonce,
            index: read.index,
            offset: read.offset,
            bytes: &bytes,
        };
        stage.send(conn, |out| piece.encode(out));
        Ok(())
    }

    pub(super) fn begin_fetch(&mut self, offer: &SnapshotOffer) -> Result<(), Death> {
        let header = SnapshotHeader {
            point: self.images.snapshots.point_of(offer.mark),
            state_digest: offer.state_digest,
            state_bytes: offer.state_bytes,
        };
        let receiving = self.images.snapshots.receive(&header);
        let receiving = receiving.map_err(snapshots_failed)?;
        let have = receiving.at();
        self.images.receiving = Some(receiving);
        self.follow_ups.push_back(FollowUp::FetchBegun(have));
        Ok(())
    }

    pub(super) fn store_piece(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Death> {
        let Some(receiving) = &mut self.images.receiving else {
            return Ok(());
        };
        if let Err(error) = receiving.put(offset, bytes) {
            tolerable(error)?;
            let index = receiving.header().point.tip.index;
            self.images.receiving = None;
            self.follow_ups.push_back(FollowUp::Fetched(index, false));
        }
        Ok(())
    }

    pub(super) fn check_fetched(&mut self) -> Result<(), Death> {
        let Some(receiving) = self.images.receiving.take() else {
            return Ok(());
        };
        let index = receiving.header().point.tip.index;
        let is_whole = match receiving.check() {
            Ok(checked) => {
                self.images.fetched = Some(checked);
                true
            }
            Err(error) => {
                tolerable(error)?;
                false
            }
        };
        self.follow_ups
            .push_back(FollowUp::Fetched(index, is_whole));
        Ok(())
    }

    pub(super) fn install(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Now,
        offer: &SnapshotOffer,
    ) -> Result<(), Death> {
        let checked = self.images.fetched.take().expect("it was fetched");
        let state = restore(checked.file(), &self.falsehood)
            .map_err(|error| Death::Unfit(error.to_string()))?;
        stage.saw(&Fact::Installed {
            host: stage.host,
            tip: offer.mark.tip,
            state_digest: offer.state_digest,
            standing: self.replica.standing(),
        });
        let covered = self.replica.standing().commit;
        let installed = install::install(&self.images.snapshots, &mut self.log, checked, covered);
        installed.map_err(install_failed)?;
        stage.wait_for_disk();
        stage.mark(Mark::Fetched);
        self.replica.install(now, state, offer);
        self.pace.restored(offer.mark.tip.index);
        Ok(())
    }
}

/// An error that a process outlives.
fn tolerable(error: SnapshotsError) -> Result<SnapshotsError, Death> {
    if error.may_have_lost_writes() {
        Err(snapshots_failed(error))
    } else {
        Ok(error)
    }
}

pub(super) fn install_failed(error: InstallError) -> Death {
    match error {
        InstallError::Log(error) => log_failed(error),
        InstallError::Snapshots(error) => snapshots_failed(error),
    }
}

pub(super) fn snapshots_failed(error: SnapshotsError) -> Death {
    match &error {
        SnapshotsError::Io { .. } => Death::disk(error.to_string(), error.may_have_lost_writes()),
        _ => Death::Unfit(error.to_string()),
    }
}
