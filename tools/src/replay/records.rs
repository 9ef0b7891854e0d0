//! What two data directories have recorded of the same entries: in snapshots, and in evidence of replies.

use std::collections::BTreeMap;
use std::path::Path;

use standin_core::entry::Index;
use standin_core::evidence::{Evidence, RecordedState};
use standin_core::segment::SegmentHeader;
use standin_io::evidence::evidence_in;
use standin_io::snapshots::{SnapshotFile, SnapshotIds, all_in};
use standin_io::storage::OsStorage;

use super::ReplayError;
use super::diff::DiffError;

/// What one data directory has recorded.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Snapshots with a good header, oldest first.
    pub(super) snapshots: Vec<SnapshotFile>,
    /// The digests after entries: those of snapshots, and those that evidence tells of snapshots that are gone.
    pub(super) states: BTreeMap<Index, RecordedState>,
    pub(super) evidence: Vec<Evidence>,
    /// What is of no use, in words.
    pub(super) damaged: Vec<String>,
}

impl Records {
    /// Reads them.
    pub(super) fn read(dir: &Path, log: &SegmentHeader) -> Result<Self, DiffError> {
        let ids = SnapshotIds {
            cluster: log.cluster,
            machine: log.machine.clone(),
        };
        let (snapshots, bad_snapshots) =
            all_in(OsStorage, dir, &ids).map_err(ReplayError::Snapshot)?;
        let (evidence, bad_evidence) = evidence_in(dir)?;
        // That of a directory which was copied to make this one tells of another replica.
        let evidence = evidence.into_iter().filter(|it| it.store == log.store);
        let evidence: Vec<Evidence> = evidence.collect();
        let told = evidence.iter().flat_map(|it| it.states.iter().copied());
        let mut states: BTreeMap<Index, RecordedState> =
            told.map(|state| (state.index, state)).collect();
        for file in &snapshots {
            let header = file.header();
            let state = RecordedState {
                index: header.point.tip.index,
                reply_digest: header.point.reply_digest.0,
                state_digest: header.state_digest,
            };
            states.insert(state.index, state);
        }
        let bad_snapshots = bad_snapshots.iter().map(ToString::to_string);
        let bad_evidence = bad_evidence.iter().map(ToString::to_string);
        Ok(Self {
            snapshots,
            states,
            evidence,
            damaged: bad_snapshots.chain(bad_evidence).collect(),
        })
    }

    /// The snapshot of an entry.
    pub(super) fn snapshot(&self, index: Index) -> Option<&SnapshotFile> {
        let mut files = self.snapshots.iter();
        files.find(|it| it.header().point.tip.index == index)
    }

    /// The oldest one of an entry not before this.
    pub(super) fn oldest_from(&self, index: Index) -> Option<&SnapshotFile> {
        let mut files = self.snapshots.iter();
        files.find(|it| it.header().point.tip.index >= index)
    }
}

/// What is known of where the two parted, by what they recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The last entry after which both recorded the same, before they differ.
    pub(super) agreed: Option<Index>,
    /// The first entry after which they recorded another state, or another chain over all replies.
    pub(super) parted: Option<[RecordedState; 2]>,
    /// The first entry of which the replies differ.
    pub(super) reply: Option<ReplyBound>,
    /// In which evidence of each that is.
    evidence: [usize; 2],
    /// Entries after which both recorded, and the same.
    pub(super) compared: u64,
    /// Up to here all replies that both remember are the same, if any.
    pub(super) replies_through: Option<Index>,
}

/// Where replies differ first, as far as both replicas remember them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyBound {
    /// At this entry.
    At(Index),
    /// At this entry or before it.
    Before(Index),
}

impl Known {
    /// Compares, of entries up to `last`.
    pub(super) fn of(records: [&Records; 2], last: Index) -> Self {
        let mut known = Self::default();
        for (index, one) in &records[0].states {
            let Some(other) = records[1].states.get(index).filter(|_| *index <= last) else {
                continue;
            };
            if one != other {
                known.parted = Some([*one, *other]);
                break;
            }
            known.agreed = Some(*index);
            known.compared += 1;
        }
        for (place, one) in records[0].evidence.iter().enumerate() {
            for (other_place, other) in records[1].evidence.iter().enumerate() {
                known.note_replies([place, other_place], [one, other]);
            }
        }
        known
    }

    fn note_replies(&mut self, places: [usize; 2], [one, other]: [&Evidence; 2]) {
        let low = one.before.max(other.before);
        let high = one.last().min(other.last());
        let is_same = |index: Index| one.chain_at(index) == other.chain_at(index);
        if low > high {
            return;
        }
        let found = match is_same(low) {
            false => Some(ReplyBound::Before(low)),
            true => {
                let mut entries = (low.0 + 1..=high.0).map(Index);
                entries.find(|index| !is_same(*index)).map(ReplyBound::At)
            }
        };
        match found {
            Some(found) => {
                if self.reply.is_none_or(|it| found.index() < it.index()) {
                    self.reply = Some(found);
                    self.evidence = places;
                }
            }
            None => self.replies_through = self.replies_through.max(Some(high)),
        }
    }

    /// The evidence of one side in which replies differ first.
    pub(super) fn evidence<'a>(&self, side: usize, records: &'a Records) -> Option<&'a Evidence> {
        records
            .evidence
            .get(self.evidence[side])
            .filter(|_| self.reply.is_some())
    }

    /// The first entry after which they are known not to be the same.
    pub(super) fn until(&self) -> Option<Index> {
        let parted = self.parted.map(|pair| pair[0].index);
        let reply = self.reply.map(ReplyBound::index);
        match (parted, reply) {
            (Some(parted), Some(reply)) => Some(parted.min(reply)),
            (parted, reply) => parted.or(reply),
        }
    }

    /// The last entry after which both are known to have had the same state, before that.
    pub(super) fn after(&self) -> Option<Index> {
        let until = self.until();
        self.agreed
            .filter(|it| until.is_none_or(|until| *it < until))
    }
}

impl ReplyBound {
    pub(super) fn index(self) -> Index {
        let (Self::At(index) | Self::Before(index)) = self;
        index
    }
}
