//! States as files: what takes time in proportion to a state is done on a thread of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use standin_core::capture::SnapshotMark;
use standin_core::digest::DigestChain;
use standin_core::entry::Index;
use standin_core::evidence::Evidence;
use standin_core::machine::StateMachine;
use standin_core::message::{SnapshotOffer, SnapshotRead};
use standin_core::snapshot::SnapshotHeader;
use standin_core::state::Replicated;
use standin_io::evidence::{EVIDENCE_DIR, keep_evidence, set_evidence_aside_after};
use standin_io::install;
use standin_io::log::{ForgetRequest, SegmentLog};
use standin_io::snapshots::{
    Checked, PieceSync, Receiving, SnapshotFile, Snapshots, SnapshotsError, Ticket, mark_of,
};
use standin_replica::{KeptSnapshot, SharedImage};

use super::ReplicaError;

/// Jobs that wait, at most: the replica asks for one of each kind at a time. It asks to forget when a snapshot was
/// taken, and the next one is taken after that. Of what is fetched one part is synced at a time, and one piece of evidence is
/// written at a time.
const JOBS_MAX: usize = 6;
/// How much the thread gives way: of a core that the event loop wants, too, it gets about a tenth.
const NICENESS: i32 = 10;

enum Job {
    Take(Ticket, SnapshotMark, SharedImage),
    Digest(SharedImage),
    SyncPieces(PieceSync),
    Check(Box<Receiving>),
    Forget(Ticket, Index, Option<ForgetRequest>),
    KeepEvidence(PathBuf, Box<Evidence>),
}

/// A snapshot that was fetched, and the state in it.
type Fetched<M> = (Checked, Box<Replicated<M>>);

enum Done<M> {
    Taken(Result<Option<SnapshotHeader>, SnapshotsError>),
    Digested(u128),
    SyncedPieces(Result<(), SnapshotsError>),
    Checked(Index, Result<Fetched<M>, Unfetched>),
    Forgotten(Result<(), ReplicaError>),
    EvidenceKept(io::Result<()>),
}

/// Why a snapshot that was fetched is of no use.
#[derive(Debug, thiserror::Error)]
enum Unfetched {
    #[error(transparent)]
    File(#[from] SnapshotsError),
    #[error("{0}")]
    Restore(String),
}

/// What the replica is to be told.
#[derive(Debug)]
pub(super) enum Imaged {
    /// A snapshot is durable.
    Taken(KeptSnapshot),
    /// There was no room for it.
    NotTaken(String),
    /// A state was digested.
    Digested(u128),
    /// The snapshot as of this entry, which was fetched, is whole, or it is not.
    Checked(Index, bool),
}

/// The snapshots of a replica that runs, and the thread that works on them. Dropping this does not wait for
/// the thread: what is half written is removed at the next start.
pub(super) struct Images<M> {
    snapshots: Snapshots,
    jobs: SyncSender<Job>,
    done: Receiver<Done<M>>,
    /// The one that followers are sent pieces of.
    served: Option<SnapshotFile>,
    /// The one that is being fetched.
    receiving: Option<Receiving>,
    /// Some of it is being synced.
    is_syncing: bool,
    /// Evidence is being written.
    is_keeping: bool,
    /// What is to be written next.
    to_keep: Option<(PathBuf, Box<Evidence>)>,
    /// The evidence that is being written is of a log that has been set aside: it goes as soon as it is there. In this
    /// data directory.
    stale_in: Option<PathBuf>,
    /// The one that was fetched and is whole.
    fetched: Option<Fetched<M>>,
}

impl<M> std::fmt::Debug for Images<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images")
            .field("snapshots", &self.snapshots)
            .field("receiving", &self.receiving)
            .finish_non_exhaustive()
    }
}

impl<M: StateMachine> Images<M> {
    /// Starts the thread. It calls `waker` whenever there is something to [`Images::poll`].
    pub(super) fn start(
        snapshots: Snapshots,
        waker: impl Fn() + Send + 'static,
    ) -> Result<Self, ReplicaError> {
        let (jobs, their_jobs) = sync_channel::<Job>(JOBS_MAX);
        let (their_done, done) = sync_channel(JOBS_MAX);
        let theirs = snapshots.clone();
        std::thread::Builder::new()
            .name("images".to_owned())
            .spawn(move || {
                if let Err(error) = rustix::process::nice(NICENESS) {
                    log::warn!("snapshots may slow the service down: {error}");
                }
                while let Ok(job) = their_jobs.recv() {
                    if their_done.send(carry_out(&theirs, job)).is_err() {
                        return; // the loop has ended
                    }
                    waker();
                }
            })
            .map_err(ReplicaError::io("starting a thread"))?;
        Ok(Self {
            snapshots,
            jobs,
            done,
            served: None,
            receiving: None,
            is_syncing: false,
            is_keeping: false,
            to_keep: None,
            stale_in: None,
            fetched: None,
        })
    }

    pub(super) fn take(&self, mark: SnapshotMark, image: SharedImage) {
        self.ask(Job::Take(self.snapshots.ticket(), mark, image));
    }

    pub(super) fn digest(&self, image: SharedImage) {
        self.ask(Job::Digest(image));
    }

    /// Writes what is remembered of replies into the data directory `dir`: as soon as that is done which is being done, and only
    /// the newest of what comes meanwhile.
    pub(super) fn keep_evidence(&mut self, dir: &Path, evidence: Box<Evidence>) {
        self.to_keep = Some((dir.to_owned(), evidence));
        self.keep_next();
    }

    /// Sets all evidence in the data directory `dir` aside, before the log that it is of: of another one it would tell what
    /// is not so. Waits for the disk.
    pub(super) fn set_evidence_aside(&mut self, dir: &Path) {
        self.to_keep = None;
        self.stale_in = self.is_keeping.then(|| dir.to_owned());
        set_evidence_aside(dir, Index::ZERO);
    }

    fn evidence_kept(&mut self, kept: io::Result<()>) {
        self.is_keeping = false;
        if let Err(error) = kept {
            // Nothing rests on it.
            log::warn!("cannot keep what shows where another replica parted: {error}");
        }
        if let Some(dir) = self.stale_in.take() {
            set_evidence_aside(&dir, Index::ZERO);
        }
        self.keep_next();
    }

    fn keep_next(&mut self) {
        if self.is_keeping {
            return;
        }
        if let Some((dir, evidence)) = self.to_keep.take() {
            self.is_keeping = true;
            self.ask(Job::KeepEvidence(dir, evidence));
        }
    }

    fn ask(&self, job: Job) {
        self.jobs.try_send(job).unwrap_or_else(|error| {
            panic!("the thread that writes states has ended, or is asked for too much: {error}")
        });
    }

    /// The next thing that is done.
    ///
    /// # Errors
    /// If the disk failed.
    pub(super) fn poll(&mut self) -> Result<Option<Imaged>, ReplicaError> {
        loop {
            let done = match self.done.try_recv() {
                Ok(done) => done,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => {
                    panic!(
                        "the thread that writes states has ended: the machine's own code panicked"
                    )
                }
            };
            return Ok(Some(match done {
                Done::Taken(Ok(Some(header))) => Imaged::Taken(kept(&header)),
                // All snapshots were set aside while it was written.
                Done::Taken(Ok(None)) => continue,
                Done::Taken(Err(error)) => Imaged::NotTaken(tolerable(error)?.to_string()),
                Done::Digested(digest) => Imaged::Digested(digest),
                Done::Forgotten(done) => {
                    done?;
                    continue;
                }
                Done::EvidenceKept(kept) => {
                    self.evidence_kept(kept);
                    continue;
                }
                Done::SyncedPieces(synced) => {
                    self.is_syncing = false;
                    synced?;
                    continue;
                }
                Done::Checked(index, Ok(fetched)) => {
                    self.fetched = Some(fetched);
                    Imaged::Checked(index, true)
                }
                Done::Checked(index, Err(error)) => {
                    if let Unfetched::File(error) = &error {
                        tolerable(error.clone())?;
                    }
                    log::warn!("what was fetched from the primary is of no use: {error}");
                    Imaged::Checked(index, false)
                }
            }));
        }
    }

    /// Removes the snapshots before the one of this entry, and the log that it covers.
    pub(super) fn forget(&self, log: &mut SegmentLog, index: Index) {
        let request = log.forget_request(index);
        self.ask(Job::Forget(self.snapshots.ticket(), index, request));
    }

    /// Removes all snapshots, and what is being written: they are of a history that counts no more.
    pub(super) fn discard(&mut self) -> Result<(), ReplicaError> {
        self.served = None;
        self.snapshots.discard()?;
        Ok(())
    }

    /// A piece of a snapshot; empty if it is not there.
    pub(super) fn read(&mut self, read: &SnapshotRead) -> Result<Vec<u8>, ReplicaError> {
        let is_served = |file: &SnapshotFile| file.header().point.tip.index == read.index;
        if !self.served.as_ref().is_some_and(is_served) {
            self.served = self.snapshots.file_of(read.index)?;
        }
        let length = read.length as usize;
        Ok(match &self.served {
            Some(file) => file.read_at(read.offset, length)?,
            None => Vec::new(),
        })
    }

    /// Makes ready to fetch; says how many bytes are here already. `None`: there is no room.
    pub(super) fn begin_fetch(
        &mut self,
        offer: &SnapshotOffer,
    ) -> Result<Option<u64>, ReplicaError> {
        let header = SnapshotHeader {
            point: self.snapshots.point_of(offer.mark),
            state_digest: offer.state_digest,
            state_bytes: offer.state_bytes,
        };
        let receiving = match self.snapshots.receive(&header) {
            Ok(receiving) => receiving,
            Err(error) => {
                let error = tolerable(error)?;
                log::warn!("cannot keep what the primary sends of its state: {error}");
                return Ok(None);
            }
        };
        let have = receiving.at();
        log::info!(
            "fetching the state as of entry {} from the primary: {} bytes, of which {have} are here",
            offer.mark.tip.index,
            header.file_bytes()
        );
        self.receiving = Some(receiving);
        Ok(Some(have))
    }

    /// Keeps a piece. `Some`: it is of no use, or there is no room, and what it is a snapshot of.
    pub(super) fn store(
        &mut self,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Option<Index>, ReplicaError> {
        let Some(receiving) = &mut self.receiving else {
            return Ok(None); // given up with the piece before
        };
        let Err(error) = receiving.put(offset, bytes) else {
            if !self.is_syncing
                && let Some(request) = receiving.sync_request()
            {
                self.is_syncing = true;
                self.ask(Job::SyncPieces(request));
            }
            return Ok(None);
        };
        log::warn!(
            "cannot keep what the primary sends of its state: {}",
            tolerable(error)?
        );
        let index = receiving.header().point.tip.index;
        self.receiving = None;
        Ok(Some(index))
    }

    pub(super) fn check(&mut self) {
        if let Some(receiving) = self.receiving.take() {
            self.ask(Job::Check(Box::new(receiving)));
        }
    }

    /// Puts the snapshot that was fetched in the place of all others and of the log. Waits for the disk; it is
    /// done once when a replica joins that lacks too much.
    pub(super) fn install(
        &mut self,
        log: &mut SegmentLog,
        offer: &SnapshotOffer,
        covered: Index,
    ) -> Result<Replicated<M>, ReplicaError> {
        let (checked, state) = self.fetched.take().expect("it was fetched and is whole");
        let header = checked.file().header();
        assert_eq!(header.point.tip, offer.mark.tip, "it is the one");
        let (settled, kept) = install::install(&self.snapshots, log, checked, covered)?;
        if let Some(kept) = kept {
            log::info!(
                "set aside the log that the primary's state takes the place of: {}",
                kept.display()
            );
        }
        self.served = Some(settled);
        Ok(*state)
    }
}

/// Sets evidence in the data directory `dir` aside of entries behind `after`, which its log has no more.
pub(super) fn set_evidence_aside(dir: &Path, after: Index) {
    if let Err(error) = set_evidence_aside_after(dir, after) {
        log::warn!(
            "cannot set aside what was kept of entries that the log has no more: {error}; `replay --diff` may take it for \
             what was kept of those that come: move it out of {}",
            dir.join(EVIDENCE_DIR).display()
        );
    }
}

/// What a replica knows of a snapshot.
pub(super) fn kept(header: &SnapshotHeader) -> KeptSnapshot {
    KeptSnapshot {
        mark: mark_of(header),
        state_digest: header.state_digest,
        state_bytes: header.state_bytes,
    }
}

/// An error that a replica outlives: there is no room, or what came is damaged.
fn tolerable(error: SnapshotsError) -> Result<SnapshotsError, ReplicaError> {
    if error.may_have_lost_writes() {
        Err(error.into())
    } else {
        Ok(error)
    }
}

fn carry_out<M: StateMachine>(snapshots: &Snapshots, job: Job) -> Done<M> {
    match job {
        Job::Take(ticket, mark, image) => {
            let point = snapshots.point_of(mark);
            Done::Taken(snapshots.write(ticket, point, |out| image.0.write(out)))
        }
        Job::Digest(image) => Done::Digested(image.0.digest()),
        Job::Forget(ticket, index, request) => {
            Done::Forgotten(forget(snapshots, ticket, index, request))
        }
        Job::KeepEvidence(dir, evidence) => Done::EvidenceKept(keep_evidence(&dir, &evidence)),
        Job::SyncPieces(request) => Done::SyncedPieces(request.run()),
        Job::Check(receiving) => {
            let index = receiving.header().point.tip.index;
            Done::Checked(index, check(*receiving))
        }
    }
}

/// The snapshots first: a log must not lack what goes on from one that is there.
fn forget(
    snapshots: &Snapshots,
    ticket: Ticket,
    index: Index,
    request: Option<ForgetRequest>,
) -> Result<(), ReplicaError> {
    snapshots.forget_before(ticket, index)?;
    if let Some(request) = request {
        request.run()?;
    }
    Ok(())
}

fn check<M: StateMachine>(receiving: Receiving) -> Result<Fetched<M>, Unfetched> {
    let checked = receiving.check()?;
    let state = restore(checked.file()).map_err(|error| Unfetched::Restore(error.to_string()))?;
    Ok((checked, Box::new(state)))
}

/// The state in a snapshot.
///
/// # Errors
/// [`ReplicaError::Restore`].
pub(super) fn restore<M: StateMachine>(file: &SnapshotFile) -> Result<Replicated<M>, ReplicaError> {
    let mark = mark_of(file.header());
    let digest = DigestChain(mark.reply_digest);
    let state = file.state().and_then(|mut input| {
        Replicated::restore(&mut input, mark.tip.index, digest, mark.machine_version)
    });
    state.map_err(|source| ReplicaError::Restore {
        file: file.path().to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
