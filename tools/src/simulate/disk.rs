//! A disk that loses power: the real log, data directory and view-service state run on it in the
//! simulator.
//!
//! Everything exists twice, in the page cache and on the platter. What a process writes changes the
//! page cache at once and is *pending* until a sync of the file (bytes and length) or of the directory
//! (names) puts it on the platter. Reads see the page cache.
//!
//! What we assume of a disk stands in `docs/format.md`; this one does the worst that it allows, and in
//! places somewhat more:
//!
//! - **Death of the process** ([`SimDisk::kill`]): the page cache stays, with a beginning of the write
//!   that was under way. Open files and locks of the dead process are gone: whoever uses one
//!   afterwards gets an error.
//! - **Power loss** ([`SimDisk::power_loss`]): the page cache is gone, and of what was pending in each
//!   file there is left, as drawn, one of: nothing; everything; a beginning, whose last write is torn
//!   at any byte; each sector of 512 bytes as it was at a moment of its own; or any subset of the
//!   changes, some of the writes torn at any byte or with any of their sectors missing. A
//!   truncation may leave the old length with the rest of the sector zeroed in which the file should
//!   end; bytes that it removed come back if the file grew again without a sync between the two.
//! - **Names** that are pending survive up to one of them, as in a journal, or any subset of them with
//!   [`SimDisk::set_names_unordered`]. A rename happens or it does not. A name can survive without its
//!   file's bytes, and bytes without a name are lost. Syncing a file does not sync its name.
//! - **A failing sync** ([`SimDisk::fail_sync`]) puts some of the pending writes on the platter, as
//!   drawn, and forgets the others: a later sync succeeds and does not write them. Reads go on
//!   showing them until the page cache lets go of them ([`SimDisk::evict`], power loss, or at once, as
//!   drawn). Lengths and names stay pending, since file systems keep those in a journal.
//! - **Rot** ([`SimDisk::flip_bit`]) is on the platter, and seen as soon as nothing newer covers it.
//! - **A misdirected write** ([`SimDisk::misdirect_any`]): a sector stands where another should, and
//!   zeros where it should stand itself.
//!
//! Everything is a function of what is called and drawn. A file costs memory only up to its last
//! byte that is not preallocated, and a write or a sync costs what it touches.

mod content;
mod directory;
mod faults;
mod file;
mod loss;
mod nodes;
mod state;
mod storage;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standin_core::random::RandomStream;

use state::State;
pub use storage::{SimFile, SimLock};

/// What is written to a platter as a whole or not at all, in bytes.
pub const SECTOR_BYTES: u64 = 512;

/// What a disk has been through. Nothing resets these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Everything that changes files, names or the platter, also if it failed.
    pub operations: u64,
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files and directories that succeeded.
    pub syncs: u64,
    /// Syncs that failed.
    pub syncs_failed: u64,
    /// Writes, and other operations that need room, that failed.
    pub writes_failed: u64,
    /// Of those, for lack of room.
    pub rooms_lacked: u64,
    /// Times that a disk was found full after it had been given a capacity.
    pub times_full: u64,
    /// Deaths at a point named by [`SimDisk::stop`] that came.
    pub stops: u64,
    /// Power losses.
    pub power_losses: u64,
    /// Changes of files that a power loss took whole.
    pub changes_lost: u64,
    /// Writes that a power loss or a death left a part of.
    pub writes_torn: u64,
    /// Changes of names that a power loss took.
    pub names_lost: u64,
    /// Writes that a failing sync forgot.
    pub writes_forgotten: u64,
    /// Bits that were flipped.
    pub bits_flipped: u64,
    /// Sectors that came to stand at another place.
    pub writes_misdirected: u64,
}

/// What a disk can say that it synced though it did not. For tests of tests: what never fails on such a
/// disk shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Names in directories.
    Names,
    /// Bytes of files.
    Bytes,
}

/// A simulated disk: see the [module](self). Clones are handles to the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

/// A copy of a whole disk, to be put back some time later.
#[derive(Clone, Debug)]
pub struct Snapshot {
    nodes: nodes::Nodes,
}

impl SimDisk {
    /// An empty disk: nothing but the directory `/`, which is also the current directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics half-way through a change; were it so, the simulation would be over.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process dies. The page cache stays; open files and locks are gone.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// The machine loses power: the process dies, and what was not synced is lost, kept or torn as
    /// drawn.
    pub fn power_loss(&self, random: &mut RandomStream) {
        self.state().power_loss(random);
    }

    /// The page cache lets go of everything that is not pending: reads see the platter again.
    pub fn evict(&self) {
        self.state().evict();
    }

    /// The process dies at a drawn point: `after` more operations are carried out, of the next one
    /// only a beginning if it is a write, and nothing after that. What is asked of the disk from then
    /// on fails, until [`SimDisk::kill`] or [`SimDisk::power_loss`].
    pub fn stop(&self, after: u64, random: RandomStream) {
        self.state().stop(after, random);
    }

    /// Whether the point named by [`SimDisk::stop`] has come.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped()
    }

    /// After `after` more syncs one fails, and forgets some of what it should have written, as drawn.
    pub fn fail_sync(&self, after: u64, random: RandomStream) {
        self.state().fail_sync(after, random);
    }

    /// After `after` more writes one fails, as a broken disk lets it, and writes nothing.
    pub fn fail_write(&self, after: u64) {
        self.state().fail_write(after);
    }

    /// Nothing more goes wrong with the disk by itself: what [`SimDisk::stop`], [`SimDisk::fail_sync`],
    /// [`SimDisk::fail_write`] and [`SimDisk::set_capacity`] asked for is taken back.
    pub fn mend(&self) {
        self.state().mend();
    }

    /// How many bytes the disk has room for; `None`: any number. A write beyond that writes what
    /// there is room for and fails.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().set_capacity(bytes);
    }

    /// Somebody removes a file, if it is there.
    pub fn lose_file(&self, path: &Path) {
        self.state().lose_file(path);
    }

    /// The bytes that all files take, preallocated ones included.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Whether pending changes of names survive a power loss each on its own rather than in order.
    pub fn set_names_unordered(&self, are_unordered: bool) {
        self.state().are_names_unordered = are_unordered;
    }

    /// Has the disk lie about syncs.
    pub fn set_lie(&self, lie: Option<Lie>) {
        self.state().lie = lie;
    }

    /// Flips a bit of the file at `path`, on the platter. Says whether there is such a bit.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> bool {
        self.state().flip_bit(path, bit)
    }

    /// Flips a drawn bit in a drawn file, and says where. `None` if all files are empty.
    pub fn flip_any_bit(&self, random: &mut RandomStream) -> Option<(PathBuf, u64)> {
        self.state().flip_any_bit(random)
    }

    /// Moves a drawn sector of a drawn file to another place there, as if its write had gone astray, and
    /// says in which file. `None` if no file is long enough.
    pub fn misdirect_any(&self, random: &mut RandomStream) -> Option<PathBuf> {
        self.state().misdirect_any(random)
    }

    /// A copy of all files as a reader sees them now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let nodes = self.state().snapshot();
        Snapshot { nodes }
    }

    /// Replaces everything by a copy that was made earlier. The process is dead afterwards.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.state().replace(snapshot.nodes.clone());
    }

    /// Replaces the disk by an empty one. The process is dead afterwards.
    pub fn wipe(&self) {
        self.state().replace(nodes::Nodes::default());
    }

    /// What the disk has been through.
    #[must_use]
    pub fn counts(&self) -> DiskCounts {
        self.state().counts
    }
}

/// A number below `bound`, drawn.
fn below(random: &mut RandomStream, bound: u64) -> u64 {
    random.next_u64() % bound
}
