//! REPLAY: what a disk has of a log is evidence, whatever became of its replica. Read and replayed as people do it
//! (`standin replay`), it comes to the digests that this replica had, and to those of the reference.
//!
//! After each entry the chain over all replies is compared; the digest of the state at each snapshot, where the replica
//! stands, at the last entry that the reference has as well, and where the log ends. What was surely on the platter must
//! be there. What only a wrong machine came to is not what a right one comes to, and a disk may say
//! wrongly what is skipped: it has lost the ViewStart, or a record that nobody acted on lists it. From there on nothing is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use standin_core::entry::{Entry, EntryKind, Index, LogTip, ViewStart};
use standin_core::poison::{MachineFault, Skip};
use standin_core::state::Replicated;
use standin_io::data_dir::DataDir;
use standin_io::log::{LogReader, ReadError};

use super::{Check, Verdict};
use crate::replay::{Replay, ReplayError};
use crate::simulate::disk::SimDisk;
use crate::simulate::fact::Fact;
use crate::simulate::marks::Mark;
use crate::simulate::node::DATA;
use crate::simulate::plan::Plan;
use crate::simulate::reference::Reference;
use crate::simulate::truth::{Truth, hash_after};
use crate::simulate::watched::{Subject, Watched};

/// What replicas have come to: the last entry that was applied, the hash of the log up to it, the chain over all replies.
#[derive(Debug)]
pub(crate) struct Told {
    hosts: Vec<BTreeSet<(Index, u64, u128)>>,
    /// Whether a process is about to put another log in the place of its own: if it dies, either may be there.
    are_changing: Vec<bool>,
}

impl Told {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            hosts: vec![BTreeSet::new(); plan.replicas],
            are_changing: vec![false; plan.replicas],
        }
    }

    /// Whether a replica has come to this, or was never seen at that entry.
    fn agrees(&self, host: usize, (index, hash): (Index, u64), digest: u128) -> bool {
        let mut told = self.hosts[host].range((index, hash, 0)..=(index, hash, u128::MAX));
        let Some(first) = told.next() else {
            return true;
        };
        first.2 == digest || told.any(|it| it.2 == digest)
    }
}

impl Check for Told {
    const PROPERTY: &'static str = "REPLAY";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Applied {
                host,
                through,
                reply_digest,
            } if !truth.is_wrong(*host, *through) => {
                let place = usize::try_from(through.0 - 1).expect("a log in memory");
                if let Some(link) = truth.replicas[*host].log.get(place) {
                    self.hosts[*host].insert((*through, link.hash, *reply_digest));
                }
            }
            Fact::Cut { host, .. }
            | Fact::Installed { host, .. }
            | Fact::DamagedSetAside { host, .. } => self.are_changing[*host] = true,
            Fact::Started { host, .. } | Fact::Turned { host, .. } | Fact::Wiped { host } => {
                self.are_changing[*host] = false;
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is left of a replica.
#[derive(Debug)]
pub(crate) struct Remains<'a, M> {
    pub(crate) host: usize,
    pub(crate) disk: &'a SimDisk,
    /// The state in its process, if that runs and has one.
    pub(crate) state: Option<&'a Replicated<Watched<M>>>,
    pub(crate) is_running: bool,
}

/// What replays are held against.
#[derive(Debug)]
pub(crate) struct Evidence<'a, M> {
    truth: &'a Truth,
    told: &'a Told,
    reference: &'a Reference<M>,
    /// The digests of the reference's states that were needed so far.
    states: BTreeMap<Index, Option<u128>>,
    /// What came about, to be counted.
    pub(crate) marks: Vec<Mark>,
}

/// A replay of one log.
#[derive(Debug)]
struct Reading<'a, M> {
    remains: Remains<'a, M>,
    replay: Replay<Watched<M>, SimDisk>,
    /// The hash of the log up to what was applied.
    hash: u64,
    /// From this entry on nothing is compared.
    unknown: Index,
}

impl<'a, M: Subject> Evidence<'a, M> {
    pub(crate) fn new(truth: &'a Truth, told: &'a Told, reference: &'a Reference<M>) -> Self {
        Self {
            truth,
            told,
            reference,
            states: BTreeMap::new(),
            marks: Vec::new(),
        }
    }

    /// Replays what is left of a replica's log.
    pub(crate) fn look(&mut self, remains: Remains<'a, M>) -> Verdict {
        let host = remains.host;
        let is_right = self.is_right(host);
        let dir = Path::new(DATA);
        // What a wrong machine has recorded differs.
        let replay = match Replay::open_in(remains.disk, dir, is_right) {
            Ok(replay) => replay,
            Err(error) => return self.judge_end(&remains, None, Some(error)),
        };
        if !is_right && replay.from() > Index::ZERO {
            return Ok(()); // and who knows what it begins with
        }
        let mut reading = Reading {
            hash: self.hash_at(replay.tip(), replay.from())?,
            unknown: self.first_unknown(&remains, replay.from())?,
            remains,
            replay,
        };
        let error = self.compare_all(&mut reading)?;
        self.marks.push(Mark::Replayed);
        if reading.replay.from() > Index::ZERO {
            self.marks.push(Mark::ReplayedFromSnapshot);
        }
        if reading.replay.unfinished().is_some() {
            self.marks.push(Mark::ReplayedUnfinished);
        }
        if !reading.remains.is_running {
            self.marks.push(Mark::ReplayedDead);
        }
        if self.is_apart(&reading) {
            self.marks.push(Mark::ReplayedApart);
        }
        self.judge_end(&reading.remains, Some(&reading), error)
    }

    /// Whether a replica's machine has been right all the time, and what it may have fetched is.
    fn is_right(&self, host: usize) -> bool {
        let replica = &self.truth.replicas[host];
        replica.wrong_from.is_none()
            && replica.strays_from.is_none()
            && !self.truth.has_erred(replica)
            && !self.truth.has_strayed(replica)
    }

    /// Replays to the end, and says why it ended if not because there is no more.
    fn compare_all(&mut self, reading: &mut Reading<'a, M>) -> Result<Option<ReplayError>, String> {
        let stop = self.last_in_common(reading.remains.host);
        let stands_at = reading.remains.state.map(Replicated::applied);
        let mut index = reading.replay.from();
        self.compare_replies(reading)?;
        loop {
            if index == stop || Some(index) == stands_at {
                self.compare_states(reading)?;
            }
            let step = match reading.replay.advance() {
                Ok(Some(step)) => step,
                Ok(None) => break self.compare_states(reading).map(|()| None),
                Err(ReplayError::Fault(fault)) => {
                    return self.judge_fault(reading, fault).map(Some);
                }
                Err(ReplayError::Differs(difference)) => return Err(difference.to_string()),
                Err(error) => break self.compare_states(reading).map(|()| Some(error)),
            };
            index = step.entry.header.index;
            reading.hash = self
                .hash_with(reading.hash, &step.entry)
                .ok_or_else(|| format!("entry {index} of the log was never ordered"))?;
            self.compare_replies(reading)?;
        }
    }

    /// The hash of the log up to the entry after which a replay begins.
    fn hash_at(&self, tip: LogTip, from: Index) -> Result<u64, String> {
        if tip.index < from || from == Index::ZERO {
            return Ok(0); // the log ends before, and nothing comes
        }
        let last = self.truth.trunk(tip).last();
        last.map(|link| link.hash)
            .ok_or_else(|| format!("no snapshot was ever taken of entry {from} as it is here"))
    }

    /// The hash of a log that goes on with an entry, if a primary has ordered that one there.
    fn hash_with(&self, before: u64, entry: &Entry<'_>) -> Option<u64> {
        let index = entry.header.index.0;
        let mut made = self.truth.made.range((index, 0)..=(index, u64::MAX));
        let found = made.find(|((_, hash), bytes)| {
            let made = Entry::decode(bytes).expect("a primary made it");
            let is_it = (made.header, made.payload) == (entry.header, entry.payload);
            is_it && hash_after(before, bytes) == *hash
        });
        found.map(|((_, hash), _)| *hash)
    }

    /// The first entry of which what a replica has on its disk does not say rightly whether it was skipped.
    fn first_unknown(&self, remains: &Remains<'a, M>, from: Index) -> Result<Index, String> {
        let replica = &self.truth.replicas[remains.host];
        let is_there = |skip: &Skip| {
            let place = usize::try_from(skip.index.0 - 1).expect("a log in memory");
            let link = replica.log.get(place);
            let is_it = link.is_some_and(|link| link.header.view == skip.view);
            skip.index > from && (is_it || replica.is_tampered())
        };
        let skips = self.truth.skips.iter().copied().filter(is_there);
        let skips: BTreeSet<Skip> = skips.collect();
        let mut listed = listed_skips(remains.disk).map_err(|error| error.to_string())?;
        listed.retain(is_there);
        let unknown = skips.symmetric_difference(&listed).next();
        Ok(unknown.map_or(Index(u64::MAX), |skip| skip.index))
    }

    /// The last entry of a replica's log that the reference has applied.
    fn last_in_common(&self, host: usize) -> Index {
        let log = self.truth.replicas[host].log.iter();
        let has = |(at, hash): (u64, u64)| {
            let outcome = self.reference.outcome(Index(at));
            outcome.is_some_and(|outcome| outcome.hash == hash)
        };
        let both = (1..)
            .zip(log.map(|link| link.hash))
            .take_while(|it| has(*it));
        Index(both.count() as u64)
    }

    /// Whether a log that was replayed ends in entries in whose place the reference has others.
    fn is_apart(&self, reading: &Reading<'a, M>) -> bool {
        let outcome = self.reference.outcome(reading.replay.state().applied());
        outcome.is_some_and(|outcome| outcome.hash != reading.hash)
    }

    fn compare_replies(&self, reading: &Reading<'a, M>) -> Verdict {
        let state = reading.replay.state();
        let (index, digest) = (state.applied(), state.reply_digest().0);
        if index >= reading.unknown {
            return Ok(());
        }
        let place = (index, reading.hash);
        if !self.told.agrees(reading.remains.host, place, digest) {
            return Err(format!(
                "a replay up to entry {index} comes to other replies than the replica"
            ));
        }
        let outcome = self.reference.outcome(index);
        let outcome = outcome.filter(|outcome| outcome.hash == reading.hash);
        if outcome.is_some_and(|outcome| outcome.reply_digest != digest) {
            return Err(format!(
                "a replay up to entry {index} comes to other replies than the reference"
            ));
        }
        Ok(())
    }

    fn compare_states(&mut self, reading: &Reading<'a, M>) -> Verdict {
        let state = reading.replay.state();
        let index = state.applied();
        if index >= reading.unknown {
            return Ok(());
        }
        let digest = state.state_digest();
        let host = reading.remains.host;
        let own = reading
            .remains
            .state
            .filter(|own| own.applied() == index && self.is_right(host) && !own.is_poisoned());
        if own.is_some_and(|own| own.state_digest() != digest) {
            return Err(format!(
                "a replay up to entry {index} comes to another state than the replica"
            ));
        }
        let outcome = self.reference.outcome(index);
        if outcome.is_none_or(|outcome| outcome.hash != reading.hash) {
            return Ok(());
        }
        let (truth, reference) = (self.truth, self.reference);
        let expected = self.states.entry(index);
        let expected = expected.or_insert_with(|| reference.state_digest_at(truth, index));
        if expected.is_some_and(|expected| expected != digest) {
            return Err(format!(
                "a replay up to entry {index} comes to another state than the reference"
            ));
        }
        Ok(())
    }

    /// The machine fails at an entry: it may if nobody has executed or skipped that by what is in this log.
    fn judge_fault(
        &self,
        reading: &Reading<'a, M>,
        fault: MachineFault,
    ) -> Result<ReplayError, String> {
        let (index, hash) = (fault.skip.index, reading.hash);
        let made = self.truth.made.range((index.0, 0)..=(index.0, u64::MAX));
        let after = made.filter(|((_, made), bytes)| {
            let entry = Entry::decode(bytes).expect("a primary made it");
            entry.header.view == fault.skip.view && hash_after(hash, bytes) == *made
        });
        let is_applied = |hash: u64| {
            let outcome = self.reference.outcome(index);
            let own = &self.told.hosts[reading.remains.host];
            let mut told = own.range((index, hash, 0)..=(index, hash, u128::MAX));
            outcome.is_some_and(|outcome| outcome.hash == hash) || told.next().is_some()
        };
        if index < reading.unknown && after.map(|((_, hash), _)| *hash).any(is_applied) {
            return Err(format!(
                "a replay fails at entry {}: {}",
                fault.skip, fault.words
            ));
        }
        Ok(ReplayError::Fault(fault))
    }

    /// Where a log must not end yet, and what must not be wrong with it.
    fn judge_end(
        &self,
        remains: &Remains<'a, M>,
        reading: Option<&Reading<'a, M>>,
        error: Option<ReplayError>,
    ) -> Verdict {
        let replica = &self.truth.replicas[remains.host];
        // Whatever rots is found, or is where nobody looks.
        if replica.is_rotten() || matches!(error, Some(ReplayError::Fault(_))) {
            return Ok(());
        }
        let last = reading.map_or(Index::ZERO, |reading| reading.replay.state().applied());
        let words = error.map_or("it ends there".to_owned(), |error| error.to_string());
        if remains.is_running {
            let has = replica.log.last();
            let has = has.map_or((Index::ZERO, 0), |link| (link.header.index, link.hash));
            let comes_to = reading.map_or((Index::ZERO, 0), |it| (last, it.hash));
            if comes_to != has {
                return Err(format!(
                    "the log goes to entry {}, and is read up to entry {last}: {words}",
                    has.0
                ));
            }
            return Ok(());
        }
        let is_sure = !replica.is_tampered() && !self.told.are_changing[remains.host];
        if is_sure && last.0 < replica.synced as u64 {
            return Err(format!(
                "entry {} is on the platter, and the log is read up to entry {last}: {words}",
                replica.synced
            ));
        }
        Ok(())
    }
}

/// What a disk says is to be skipped: its log, as far as it can be read, and the record that was adopted last.
fn listed_skips(disk: &SimDisk) -> Result<BTreeSet<Skip>, ReadError> {
    let dir = Path::new(DATA);
    let mut reader = LogReader::open_in(disk.clone(), dir)?;
    let meta = DataDir::look_in(disk, dir).ok().flatten();
    let meta = meta.filter(|meta| meta.store == reader.header().store);
    let kept = meta.and_then(|meta| meta.kept);
    let kept = kept.map_or(Vec::new(), |kept| kept.record.skips);
    let mut listed = BTreeSet::from_iter(kept);
    while let Ok(Some(entry)) = reader.next_entry() {
        if entry.header.kind == EntryKind::ViewStart {
            let start = ViewStart::decode(entry.payload);
            listed.extend(start.into_iter().flat_map(|start| start.skips));
        }
    }
    Ok(listed)
}
