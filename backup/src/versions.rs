//! Where a follower stops: before an entry from which on a version of the machine is executed that its program lacks.
//!
//! A primary sends no such entries to whoever says that it does not support what is executed. This is for the case
//! that it cannot know: the log may go back to versions that a newer program does not support any more.

use standin_core::entry::{Batch, Index};
use standin_core::identity::Durability;
use standin_core::message::SnapshotOffer;
use standin_core::poison::Skip;
use standin_core::time::Instant;
use standin_core::version::VersionStart;

use crate::backup::{Action, Backup, DIAL_RETRY_MAX};

impl Backup {
    /// The first entry of a batch from which on this program lacks what is executed.
    pub(crate) fn lacking(&self, batch: &Batch) -> Option<VersionStart> {
        let starts = batch.version_starts().into_iter();
        // One that is skipped changes nothing.
        let mut heeded = starts.filter(|start| !self.skips.contains(&start.at));
        heeded.find(|start| !self.versions.contains(start.version))
    }

    /// What is offered was written by a version that this program lacks.
    pub(crate) fn turn_down(&mut self, offer: &SnapshotOffer, now: Instant) {
        let mark = &offer.mark;
        let (index, view) = (mark.tip.index, mark.tip.view);
        self.actions.push_back(Action::LacksVersion(VersionStart {
            at: Skip { index, view },
            version: mark.machine_version,
            is_upgrade: false,
        }));
        self.retry = DIAL_RETRY_MAX;
        self.hang(now);
    }

    /// Takes what comes before that entry, and no more. The connection is given up: what the primary sends after it is
    /// of no use. It is asked again, for it may be another by then, or offer a snapshot.
    pub(crate) fn stop_before(
        &mut self,
        lacking: VersionStart,
        batch: &Batch,
        durability: Durability,
        now: Instant,
    ) {
        if lacking.at.index > batch.first() {
            let after = batch.bytes_from(lacking.at.index).len();
            let before = &batch.bytes()[..batch.bytes().len() - after];
            let before = Batch::verify(before.to_vec(), self.tip());
            self.append(before.expect("its entries were checked"), durability);
        }
        assert_eq!(
            self.tip().index,
            Index(lacking.at.index.0 - 1),
            "the log ends right before it"
        );
        self.actions.push_back(Action::LacksVersion(lacking));
        self.retry = DIAL_RETRY_MAX;
        self.hang(now);
    }
}
