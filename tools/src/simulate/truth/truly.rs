//! A replica as it really is.

use standin_core::entry::Index;
use standin_core::identity::{BootId, Identity, Life, StoreId, Token};
use standin_core::message::{RoleName, Standing};
use standin_core::view::DataEpoch;

use super::Link;
use crate::simulate::fact::Heard;

/// A replica as it really is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truly {
    /// Its newest life.
    pub(crate) identity: Option<Identity>,
    pub(crate) is_running: bool,
    /// The log as its process has it, or had it last.
    pub(crate) log: Vec<Link>,
    /// So many entries are on the platter for sure.
    pub(crate) synced: usize,
    /// Its power went, or its disk failed: what was not synced may be gone.
    pub(crate) has_lost_cache: bool,
    /// Lives that ended cleanly on this disk, so that everything of them is on it.
    pub(crate) clean_lives: Vec<Life>,
    /// Its last life ended cleanly, but for the mark that tells the next one.
    pub(crate) is_end_unsure: bool,
    /// Something of this boot may be in the page cache alone.
    pub(super) is_boot_dirty: bool,
    /// Boots whose page cache went with the power.
    pub(super) dead_boots: Vec<BootId>,
    /// An older copy of its disk was put back, or rot took the end of its log: it may have less than
    /// it had. Over once it was joined anew, which it is only with everything.
    pub(super) is_older: bool,
    /// The store of an older copy that was put back, as long as no process has read it.
    pub(super) put_back: Option<StoreId>,
    /// An older copy was put back, and no process has read it yet.
    pub(super) is_unread: bool,
    /// The store whose damaged log is being set aside, until a process starts: its disk may fail in the midst of
    /// it, and then what was damaged is still in its place.
    pub(super) setting_aside: Option<StoreId>,
    /// Bits of its disk rotted since a process read the whole of it.
    pub(super) is_rotten: bool,
    /// It was more than one bit.
    pub(super) is_very_rotten: bool,
    /// Its disk failed, so what is not synced may be gone as soon as its process ends.
    pub(super) is_cache_unsure: bool,
    /// The boot in which its disk failed, as long as neither its data directory nor the view service
    /// knows of it: a life that begins in that boot passes for having what was lost.
    pub(super) untold: Option<BootId>,
    /// A life has begun in that boot, with less than was there before.
    pub(super) is_loss_sure: bool,
    /// Its disk failed and its data directory does not say so: its next life takes a gap for damage.
    pub(crate) is_failure_unnoted: bool,
    /// The process that ran last has heard that its disk failed.
    pub(super) has_heard: bool,
    /// The view service had heard that it had more than its process began with.
    pub(super) is_told_apart: bool,
    pub(crate) standing: Option<Standing>,
    /// The data epoch of the view that it has adopted.
    pub(crate) data_epoch: DataEpoch,
    /// From which entry on its machine replies wrongly.
    pub(crate) wrong_from: Option<Index>,
    /// From which entry on its machine comes to another state.
    pub(crate) strays_from: Option<Index>,
    /// Its state is another than it should be, or was when its process ended.
    pub(crate) has_strayed: bool,
    /// The machine of the life that runs has failed: the operator restarts it.
    pub(super) is_poisoned: bool,
}

impl Truly {
    /// The store that is on its disk, if any is.
    pub(crate) fn store(&self) -> Option<StoreId> {
        let newest = self.identity.as_ref().map(|identity| identity.store);
        self.put_back.or(newest)
    }

    /// Whether its disk was put back or damaged: it may have less than it should, or something else.
    pub(crate) fn is_tampered(&self) -> bool {
        self.is_older || self.is_rotten
    }

    /// Whether it may have less than it had, and perhaps does not know.
    pub(crate) fn may_lack(&self) -> bool {
        self.is_older || self.is_failure_untold()
    }

    /// Whether none of its boots has taken anything along.
    pub(crate) fn has_lost_nothing(&self) -> bool {
        self.dead_boots.is_empty() && !self.has_lost_cache
    }

    /// Whether bits of its disk may be wrong.
    pub(crate) fn is_rotten(&self) -> bool {
        self.is_rotten
    }

    /// Whether nobody can know yet what is on its disk.
    pub(crate) fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// Whether its disk failed and nobody knows but perhaps its process, while that lives.
    pub(crate) fn is_failure_untold(&self) -> bool {
        self.untold.is_some()
    }

    /// Whether it is out of service for good: a restart does not help.
    pub(crate) fn is_quarantined(&self) -> bool {
        let standing = self.standing.as_ref();
        let is_out = standing.is_some_and(|standing| standing.role == RoleName::Quarantined);
        is_out && !self.is_poisoned
    }

    /// Whether what is demanded of it cannot be said.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_tampered() || self.is_failure_untold()
    }

    /// The entry at `index`, if its log surely has it: on the platter if `is_on_disk`.
    pub(crate) fn link(&self, index: Index, is_on_disk: bool) -> Option<&Link> {
        let place = usize::try_from(index.0.checked_sub(1)?).ok()?;
        let certain = if is_on_disk || self.has_lost_cache {
            self.synced
        } else {
            self.log.len()
        };
        self.log.get(place).filter(|_| place < certain)
    }

    /// Whether a holder's token stands for this replica as it really is.
    pub(crate) fn satisfies(&self, token: Token) -> bool {
        let Some(identity) = &self.identity else {
            return false;
        };
        token.store() == identity.store
            && match token {
                Token::Memory { incarnation, .. } => {
                    // A life that did not end cleanly took its memory along.
                    let is_it = |life: &Life| life.incarnation == incarnation;
                    self.clean_lives.iter().any(is_it) || (self.is_running && is_it(&identity.life))
                }
                Token::Os { boot, .. } => {
                    let mut lives = std::iter::once(&identity.life).chain(&self.clean_lives);
                    !self.dead_boots.contains(&boot) && lives.any(|life| life.boot == boot)
                }
                Token::Disk { .. } => true,
            }
    }
}

impl Truly {
    /// Its damaged log is set aside, and it is to go on as another store, which nobody has heard of. Its machine is what
    /// it was; and what else of its disk has rotted, or whether the damaged copy stays, is still to be seen.
    pub(super) fn set_aside(&mut self, store: StoreId) {
        let before = std::mem::take(self);
        *self = Self {
            wrong_from: before.wrong_from,
            strays_from: before.strays_from,
            is_rotten: before.is_rotten,
            is_older: before.is_older,
            setting_aside: Some(store),
            ..Self::default()
        };
    }

    pub(super) fn end(&mut self, lost_power: bool, is_killed: bool) {
        if std::mem::take(&mut self.has_heard) && !is_killed {
            // It knew, and had all the time it needed to say so: nothing is excused.
            self.untold = None;
        }
        self.is_running = false;
        self.has_lost_cache |= self.is_cache_unsure;
        if lost_power {
            self.has_lost_cache = true;
            if std::mem::take(&mut self.is_boot_dirty)
                && let Some(identity) = &self.identity
            {
                self.dead_boots.push(identity.life.boot);
            }
        }
    }

    /// What is not synced may be gone, as after a power loss, and the token with it. A store that the view
    /// service does not know has none that counts.
    pub(super) fn fail(&mut self, heard: Heard, known_stores: &[StoreId]) {
        self.is_cache_unsure = true;
        self.is_failure_unnoted = heard != Heard::Noted;
        if let Some(identity) = &self.identity
            && known_stores.contains(&identity.store)
            && std::mem::take(&mut self.is_boot_dirty)
        {
            self.dead_boots.push(identity.life.boot);
            self.untold = Some(identity.life.boot);
        }
        if heard == Heard::Noted {
            self.untold = None;
        }
        if heard != Heard::Not {
            self.has_heard = true;
            // That was the last thing that the process did.
            self.is_running = false;
            self.has_lost_cache = true;
        }
    }

    /// The life that ends takes nothing along: all that it acknowledged is on the platter. Whether its
    /// next life knows depends on whether the mark that says so got there too.
    pub(super) fn end_cleanly(&mut self) {
        let Some(identity) = &self.identity else {
            return;
        };
        self.clean_lives.push(identity.life);
        self.synced = self.log.len();
        self.is_boot_dirty = false;
        self.is_end_unsure = true;
    }
}
