//! The meta file's format: a 24-byte header and a postcard payload.

use serde::{Deserialize, Serialize};
use standin_core::identity::{
    BootId, CLEAN_LIVES_MAX, ClusterId, Identity, Incarnation, Life, ReplicaName, StoreId, Token,
};
use standin_core::machine::MachineId;
use standin_core::mark::FatalEntry;
use standin_core::message::{Kept, decode_payload, encode_payload};
use standin_core::poison::{FAULT_WORDS_BYTES_MAX, Poison};
use standin_core::view::ViewId;

/// Version of the meta file's format. Older ones are read, too.
pub const META_FORMAT_VERSION: u32 = 6;
/// Longest quarantine reason that is kept, in bytes; more is cut off.
pub const QUARANTINE_BYTES_MAX: usize = 1024;
/// Longest meta file, in bytes: no more is read or written.
pub const META_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the meta file's header.
pub const META_HEADER_BYTES: usize = 24;

const MAGIC: &[u8; 8] = b"STANMETA";
const AT_VERSION: usize = 8;
const AT_CHECKSUM: usize = 12;
const AT_LENGTH: usize = 16;
const AT_RESERVED: usize = 20;

/// What a replica must remember across restarts. Field order is the format: append, never reorder,
/// and raise [`META_FORMAT_VERSION`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaMeta {
    /// The cluster that the store belongs to; `None` until it has met a view service.
    pub cluster: Option<ClusterId>,
    /// The replica's name.
    pub name: ReplicaName,
    /// The store, drawn when the directory was formatted.
    pub store: StoreId,
    /// The state machine whose inputs the log holds, in the newest version that was known to be executed when this was
    /// written; 0 until one is. Before log format 5 it was the only version of the program, and of all others.
    pub machine: MachineId,
    /// How many times the store was started. Never falls.
    pub starts: u64,
    /// The highest view this replica has adopted. Never falls (`protocol.md` R5, S7).
    pub adopted: ViewId,
    /// The life that runs or ran last; `None` before the first.
    pub life: Option<Life>,
    /// Earlier lives that ended with everything on disk, oldest first; at most [`CLEAN_LIVES_MAX`].
    pub clean_lives: Vec<Life>,
    /// Set by a clean stop, moved into `clean_lives` by the next start.
    pub clean_stop: Option<Life>,
    /// Why the replica may not serve until an operator has looked at it; at most
    /// [`QUARANTINE_BYTES_MAX`].
    pub quarantine: Option<String>,
    /// There was a log when this was written. A directory that says so and has none lost it.
    pub has_log: bool,
    /// How often a running process could not get to disk what it had written. Never falls. Since
    /// version 2; 0 before.
    pub disk_failures: u64,
    /// The token under which the record names this store as a holder, as far as the replica has read it in
    /// the adopted view; `None` if it is no holder. Since version 3; before, its disk alone counts as one,
    /// since that never dies.
    pub holds: Option<Token>,
    /// The last entry that made the machine fail, and the life that ended by it. Since version 4; none before.
    pub poison: Option<Poison>,
    /// What is kept of the adopted view, to be told to a view service that has lost its record. Since version 5; not
    /// known before.
    pub kept: Option<Kept>,
    /// The entry at which lives before the present one died, as was found when it began. Worth something
    /// only together with the mark that the present life leaves. Since version 6; none before.
    pub fatal: Option<FatalEntry>,
}

/// What is wrong with a meta file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaError {
    /// The magic bytes are others.
    #[error("it does not begin as a meta file of Standin does")]
    Magic,
    /// Written by a version that this one does not read.
    #[error("its format is {0}, and this version reads formats 1 to {META_FORMAT_VERSION}")]
    Version(u32),
    /// Shorter or longer than it says, or longer than [`META_BYTES_MAX`].
    #[error("its length is wrong")]
    Length,
    /// The checksum does not match.
    #[error("its checksum does not match its bytes")]
    Checksum,
    /// A field holds what it may not.
    #[error("it holds an impossible value")]
    Field,
}

impl ReplicaMeta {
    /// The meta file of a directory that is being formatted.
    #[must_use]
    pub fn fresh(name: &ReplicaName, store: StoreId, machine: &MachineId) -> Self {
        Self {
            cluster: None,
            name: name.clone(),
            store,
            machine: machine.clone(),
            starts: 0,
            adopted: ViewId::default(),
            life: None,
            clean_lives: Vec::new(),
            clean_stop: None,
            quarantine: None,
            has_log: false,
            disk_failures: 0,
            holds: None,
            poison: None,
            kept: None,
            fatal: None,
        }
    }

    /// What counts as the boot in machine boot `machine`: another one after each failure of the disk.
    /// Either way what stood only in the page cache may be gone, and with it what was acknowledged
    /// under the token (store, boot).
    #[must_use]
    pub fn boot(&self, machine: BootId) -> BootId {
        // Odd, so that no two counts come to the same.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        BootId(machine.0 ^ u128::from(self.disk_failures).wrapping_mul(SPREAD))
    }

    /// Whether of what the last life wrote and did not sync some may be gone, seen from machine boot
    /// `machine`.
    pub(super) fn may_have_lost_writes(&self, machine: BootId) -> bool {
        let boot = self.boot(machine);
        self.clean_stop.is_none() && self.life.is_some_and(|last| last.boot != boot)
    }

    /// Whether the next life, in machine boot `machine`, may be a holder: one on whom others rely.
    pub(super) fn may_be_holder(&self, machine: BootId) -> bool {
        let mut next = self.clone();
        let identity = Identity {
            name: self.name.clone(),
            store: self.store,
            life: next.begin_life(machine, 0),
            clean_lives: next.clean_lives,
        };
        self.holds.is_some_and(|token| identity.satisfies(token))
    }

    /// Begins the next life, in machine boot `machine`.
    pub(super) fn begin_life(&mut self, machine: BootId, nonce: u64) -> Life {
        let boot = self.boot(machine);
        match self.clean_stop.take() {
            Some(ended) => self.remember_clean(ended),
            None => self.forget_lost(boot),
        }
        self.starts += 1;
        let incarnation = Incarnation {
            start: self.starts,
            nonce,
        };
        let life = Life { boot, incarnation };
        self.life = Some(life);
        life
    }

    fn remember_clean(&mut self, ended: Life) {
        if self.clean_lives.len() == CLEAN_LIVES_MAX {
            self.clean_lives.remove(0);
        }
        self.clean_lives.push(ended);
    }

    /// The last life ended without a clean stop. If the machine was rebooted since, or the disk failed,
    /// what that life had only in the page cache may be gone, so the token (store, boot) must die; but a clean life
    /// in the *same* boot would keep it alive. Example: life 1 stops cleanly, life 2 in the same boot
    /// acknowledges more at level `os`, the power fails, life 3 begins: were life 1 still listed,
    /// life 3 would pass for a holder of what life 2 acknowledged.
    fn forget_lost(&mut self, boot: BootId) {
        if let Some(lost) = self.life
            && lost.boot != boot
        {
            self.clean_lives.retain(|life| life.boot != lost.boot);
        }
    }

    /// The whole file.
    ///
    /// # Panics
    /// If a field is beyond its bound.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.clean_lives.len() <= CLEAN_LIVES_MAX);
        let mut out = vec![0; META_HEADER_BYTES];
        encode_payload(self, &mut out);
        assert!(out.len() <= META_BYTES_MAX, "a meta file of {}", out.len());
        let payload_bytes = u32::try_from(out.len() - META_HEADER_BYTES).expect("it is short");
        out[..AT_VERSION].copy_from_slice(MAGIC);
        out[AT_VERSION..AT_CHECKSUM].copy_from_slice(&META_FORMAT_VERSION.to_le_bytes());
        out[AT_LENGTH..AT_RESERVED].copy_from_slice(&payload_bytes.to_le_bytes());
        let checksum = crc32fast::hash(&out[AT_LENGTH..]);
        out[AT_CHECKSUM..AT_LENGTH].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`MetaError`] if it is none, damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetaError> {
        if bytes.len() < META_HEADER_BYTES || bytes.len() > META_BYTES_MAX {
            return Err(MetaError::Length);
        }
        if &bytes[..AT_VERSION] != MAGIC {
            return Err(MetaError::Magic);
        }
        let version = u32_at(bytes, AT_VERSION);
        if !(1..=META_FORMAT_VERSION).contains(&version) {
            return Err(MetaError::Version(version));
        }
        let (head, payload) = bytes.split_at(META_HEADER_BYTES);
        if usize::try_from(u32_at(head, AT_LENGTH)) != Ok(payload.len()) {
            return Err(MetaError::Length);
        }
        if crc32fast::hash(&bytes[AT_LENGTH..]) != u32_at(head, AT_CHECKSUM) {
            return Err(MetaError::Checksum);
        }
        let meta = match version {
            // What was appended since, as it is when nothing happened: no disk failures, no holder, no poison, no
            // record, no fatal entry.
            1 => decode_payload::<Self>(&[payload, &[0, 0, 0, 0, 0]].concat()),
            2 => decode_payload::<Self>(&[payload, &[0, 0, 0, 0]].concat()),
            3 => decode_payload::<Self>(&[payload, &[0, 0, 0]].concat()),
            4 => decode_payload::<Self>(&[payload, &[0, 0]].concat()),
            5 => decode_payload::<Self>(&[payload, &[0]].concat()),
            _ => decode_payload::<Self>(payload),
        };
        let mut meta = meta.ok_or(MetaError::Field)?;
        if version < 3 {
            meta.holds = Some(Token::Disk { store: meta.store });
        }
        let is_possible = u32_at(head, AT_RESERVED) == 0
            && meta.clean_lives.len() <= CLEAN_LIVES_MAX
            && (meta.poison.as_ref()).is_none_or(|it| it.words.len() <= FAULT_WORDS_BYTES_MAX)
            && meta.holds.is_none_or(|token| token.store() == meta.store)
            && (meta.kept.as_ref())
                .is_none_or(|kept| kept.record.id() == meta.adopted && kept.is_bounded())
            && (meta.fatal.as_ref()).is_none_or(|it| it.is_sound() && it.since < meta.starts)
            && MachineId::new(meta.machine.name(), meta.machine.version()).is_some();
        is_possible.then_some(meta).ok_or(MetaError::Field)
    }

    /// Cuts the quarantine's reason to its bound.
    pub(super) fn bound_quarantine(&mut self) {
        if let Some(reason) = &mut self.quarantine {
            let end = reason.floor_char_boundary(QUARANTINE_BYTES_MAX);
            reason.truncate(end);
        }
    }
}

/// Reads a little-endian u32; the caller has checked that it is there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes[at..at + 4].try_into().expect("the range has four");
    u32::from_le_bytes(field)
}
