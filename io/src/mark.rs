//! The mark file: which entry the machine is executing, where it outlives the process (`protocol.md` section 12).
//!
//! A page of a file in the data directory that is mapped into memory. What is stored in it is in the page cache at once,
//! which stays when the process dies, however it dies; two stores for each entry are all that it costs. Nothing is ever
//! synced: when the machine is rebooted the mark is worth nothing, and says so itself. `docs/format.md` has the drawing.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mmap_io::MemoryMappedFile;
use mmap_io::atomic::AtomicView;
use standin_core::entry::Index;
use standin_core::identity::{BootId, Incarnation, Life, StoreId};
use standin_core::mark::{ApplyMark, Ended, LastEntry};
use standin_core::poison::Skip;
use standin_core::view::ViewNumber;

/// Version of the mark file's format. Another one's is no mark.
pub const MARK_FORMAT_VERSION: u32 = 1;
/// Name of the file in a data directory.
pub const MARK_FILE: &str = "mark";
/// Length of the file, in bytes: one page.
pub const MARK_BYTES: usize = 4096;

const MAGIC: &[u8; 8] = b"STANMARK";
const AT_VERSION: usize = 8;
const AT_CHECKSUM: usize = 12;
const AT_STORE: usize = 16;
const AT_BOOT: usize = 32;
const AT_START: usize = 48;
const AT_NONCE: usize = 56;
/// What changes with each entry, and no checksum covers: each is one store of eight bytes.
const AT_PLACE: usize = 64;
const AT_VIEW: usize = 72;

/// The mark file of the life that runs.
pub struct MarkFile {
    path: PathBuf,
    /// Twice the index of the entry that the machine was given last, and one more as long as it has not returned.
    place: AtomicView<'static, AtomicU64>,
    /// The view in which that entry was ordered. Stored first, so it is there when `place` says "inside".
    view: AtomicView<'static, AtomicU64>,
    is_closed: AtomicBool,
}

impl MarkFile {
    /// Begins the mark file of a life of a data directory, which the process holds, in place of that of the life before.
    ///
    /// # Errors
    /// Those of the file system, of mapping the file, and a want of room. There is no mark file then, which is no
    /// reason not to go on.
    pub fn begin(dir: &Path, store: StoreId, life: Life) -> io::Result<Self> {
        let path = dir.join(MARK_FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).open(&path)?;
        // All of it is written, so that it has its room: a page that has none is a signal when it is stored to.
        file.write_all(&encode(store, life, 0, 0))?;
        drop(file);
        let map = MemoryMappedFile::open_rw(&path).map_err(io::Error::other)?;
        // One page for each life, and a process has one. What keeps it mapped would else have to be named in here, beside
        // what borrows from it.
        let map: &'static MemoryMappedFile = Box::leak(Box::new(map));
        let word = |at: usize| map.atomic_u64(at as u64).map_err(io::Error::other);
        Ok(Self {
            place: word(AT_PLACE)?,
            view: word(AT_VIEW)?,
            path,
            is_closed: AtomicBool::new(false),
        })
    }

    /// Nothing is marked any more in this life, and what was marked is gone.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn close(&self) -> io::Result<()> {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        fs::remove_file(&self.path)
    }
}

impl ApplyMark for MarkFile {
    fn begin(&self, entry: Skip) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        self.view.store(entry.view.0.to_le(), Ordering::Relaxed);
        // In this order, also for whoever looks at the page after this thread has died in the midst of it.
        let place = entry.index.0 << 1 | 1;
        self.place.store(place.to_le(), Ordering::Release);
    }

    fn end(&self) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let place = u64::from_le(self.place.load(Ordering::Relaxed));
        self.place.store((place & !1).to_le(), Ordering::Release);
    }
}

impl fmt::Debug for MarkFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarkFile")
            .field("path", &self.path)
            .field("place", &self.place.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// How the life before has ended, as its mark file says. `None` if there is none of that life, in this boot of the
/// machine, that is whole: nothing is known then.
///
/// `last` is the life that ran last in this data directory, and `boot` what counts as the machine's boot now.
#[must_use]
pub fn how_it_ended(dir: &Path, store: StoreId, last: Life, boot: BootId) -> Option<Ended> {
    if last.boot != boot {
        return None; // what is on the disk of it may be of any moment
    }
    let bytes = fs::read(dir.join(MARK_FILE)).ok()?;
    decode(&bytes, store, last)
}

/// The whole file.
#[must_use]
pub fn encode(store: StoreId, life: Life, place: u64, view: u64) -> Vec<u8> {
    let mut out = vec![0; MARK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, MAGIC);
    put(AT_VERSION, &MARK_FORMAT_VERSION.to_le_bytes());
    put(AT_STORE, &store.0.to_le_bytes());
    put(AT_BOOT, &life.boot.0.to_le_bytes());
    put(AT_START, &life.incarnation.start.to_le_bytes());
    put(AT_NONCE, &life.incarnation.nonce.to_le_bytes());
    put(AT_PLACE, &place.to_le_bytes());
    put(AT_VIEW, &view.to_le_bytes());
    let checksum = crc32fast::hash(&out[AT_STORE..AT_PLACE]);
    out[AT_CHECKSUM..AT_STORE].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// What a mark file of the life `last` says; `None` if it is not whole, or of another life.
#[must_use]
pub fn decode(bytes: &[u8], store: StoreId, last: Life) -> Option<Ended> {
    let is_whole = bytes.len() == MARK_BYTES
        && bytes.starts_with(MAGIC)
        && u32_at(bytes, AT_VERSION) == MARK_FORMAT_VERSION
        && u32_at(bytes, AT_CHECKSUM) == crc32fast::hash(&bytes[AT_STORE..AT_PLACE])
        && bytes[AT_VIEW + 8..].iter().all(|byte| *byte == 0);
    if !is_whole {
        return None;
    }
    let life = Life {
        boot: BootId(u128_at(bytes, AT_BOOT)),
        incarnation: Incarnation {
            start: u64_at(bytes, AT_START),
            nonce: u64_at(bytes, AT_NONCE),
        },
    };
    if StoreId(u128_at(bytes, AT_STORE)) != store || life != last {
        return None;
    }
    let (place, view) = (u64_at(bytes, AT_PLACE), u64_at(bytes, AT_VIEW));
    if place == 0 {
        return Some(Ended::Idle);
    }
    let entry = Skip {
        index: Index(place >> 1),
        view: ViewNumber(view),
    };
    Some(Ended::At(LastEntry {
        entry,
        is_inside: place & 1 == 1,
    }))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen"))
}
