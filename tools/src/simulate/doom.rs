//! Entries that take the process with them: which, on which host, and the mark that outlives it.
//!
//! A process cannot end in the midst of a call here, so the machine unwinds, and its shell sees to it that
//! nothing comes of what was decided after that. The mark is what the real one is, but for the page that it stands in:
//! what the process stored last, gone with the machine's power.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standin_core::identity::{BootId, Life, StoreId};
use standin_core::mark::{ApplyMark, Ended, LastEntry};
use standin_core::poison::Skip;
use standin_core::random::RandomStream;

use super::draw::Draw as _;

/// Where in a call's number it says on which hosts it is deadly: a bit for each.
const MASK_AT: u32 = 56;
/// All hosts on which a replica may stand.
const ALL: u64 = 0xf;

/// The bits of a call that kills whoever executes it, or only those on some machines: what kills one need not kill
/// another.
pub(crate) fn deadly(random: &mut RandomStream) -> u64 {
    let mask = match random.chance(600) {
        true => ALL,
        false => 1 + random.below(ALL),
    };
    mask << MASK_AT
}

/// The bits of a call that kills whoever executes it on one of these hosts.
pub(crate) fn deadly_on(hosts: &[usize]) -> u64 {
    let bits = hosts.iter().map(|host| 1 << host);
    bits.fold(0, |mask: u64, bit: u64| mask | bit) << MASK_AT
}

/// What befalls the processes of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doom {
    /// `None`: of no host. Nothing befalls it.
    host: Option<u32>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The process that runs has died in the midst of an entry, and does not know it.
    dead_at: Option<Skip>,
    /// Somebody kills the process in the midst of the next entry.
    is_awaited: bool,
    /// The faults have ended: nothing kills it any more.
    is_spared: bool,
    page: Option<Page>,
}

/// The page of the mark file.
#[derive(Clone, Copy, Debug)]
struct Page {
    store: StoreId,
    life: Life,
    last: Option<LastEntry>,
}

impl Doom {
    /// That of a host.
    pub(crate) fn of(host: usize) -> Self {
        Self {
            host: Some(u32::try_from(host).expect("few hosts")),
            ..Self::default()
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether executing a call ends the process, which is dead from then on.
    pub(crate) fn strikes(&self, call: u64) -> bool {
        let Some(host) = self.host else {
            return false;
        };
        let mut inner = self.inner();
        let is_deadly = call >> (MASK_AT + host) & 1 == 1;
        let strikes = (is_deadly || std::mem::take(&mut inner.is_awaited)) && !inner.is_spared;
        if strikes {
            inner.dead_at = inner.page.and_then(|page| page.last).map(|it| it.entry);
        }
        strikes
    }

    /// Somebody kills the process in the midst of the next entry that it executes.
    pub(crate) fn await_next(&self) {
        self.inner().is_awaited = true;
    }

    /// From here on nothing kills it.
    pub(crate) fn spare(&self) {
        let mut inner = self.inner();
        (inner.is_spared, inner.is_awaited) = (true, false);
    }

    /// The entry at which the process has died, once.
    pub(crate) fn take_death(&self) -> Option<Skip> {
        self.inner().dead_at.take()
    }

    /// A process begins.
    pub(crate) fn begin_life(&self, store: StoreId, life: Life) {
        let mut inner = self.inner();
        inner.dead_at = None;
        inner.page = Some(Page {
            store,
            life,
            last: None,
        });
    }

    /// How the life before has ended, as the real mark file would say.
    pub(crate) fn how_it_ended(&self, store: StoreId, last: Life, boot: BootId) -> Option<Ended> {
        let page = self.inner().page?;
        let is_it = page.store == store && page.life == last && last.boot == boot;
        is_it.then(|| page.last.map_or(Ended::Idle, Ended::At))
    }
}

impl ApplyMark for Doom {
    fn begin(&self, entry: Skip) {
        if let Some(page) = &mut self.inner().page {
            page.last = Some(LastEntry {
                entry,
                is_inside: true,
            });
        }
    }

    fn end(&self) {
        let mut inner = self.inner();
        // A process that has died stores nothing more.
        if inner.dead_at.is_none()
            && let Some(last) = inner.page.as_mut().and_then(|page| page.last.as_mut())
        {
            last.is_inside = false;
        }
    }
}
