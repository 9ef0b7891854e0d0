//! Two replicas' data directories side by side: the same, or the entry at which they parted.
//!
//! From what is cheap to what is not: the logs, what was recorded of replies and states, and then replays of what lies
//! between the last record that agrees and the first that does not. ARCHITECTURE.md has the reasons ("Finding where two
//! replicas part"). Nothing is changed, and the replicas may run.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use standin_core::entry::{EntryKind, Index};
use standin_core::evidence::KeptReply;
use standin_core::identity::ClusterId;
use standin_core::machine::{MachineId, StateMachine, bytes_in_words};
use standin_core::message::ReplyStatus;
use standin_io::evidence::EvidenceFileError;
use standin_io::log::ReadError;

use super::begin::restore;
use super::logs::{Extent, FoundEntry, Logs, compare, entry_at, extent, skips};
use super::records::{Known, Records, ReplyBound};
use super::run::{RunRequest, parts_of, reply_words, status_words};
use super::search::{Differing, DifferingPart, Found, Place, Runs, Search, differing_parts};
use super::{ATTEMPTS_MAX, ReplayError};

/// Why two data directories cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// A log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A snapshot cannot be read, or not by this machine.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Evidence cannot be read.
    #[error(transparent)]
    Evidence(#[from] EvidenceFileError),
    /// They have nothing to do with each other.
    #[error("they are of two clusters, {} and {}", .0[0], .0[1])]
    OtherCluster([ClusterId; 2]),
    /// They are of two machines.
    #[error("the one is of the machine {}, the other of {}", .0[0], .0[1])]
    OtherMachine(Box<[MachineId; 2]>),
    /// There is no entry that both have.
    #[error(
        "they have no entry in common: the one has the entries {} to {}, the other {} to {}; a replica with --keep-log keeps all of its log",
        .0[0].before.next(), .0[0].last, .0[1].before.next(), .0[1].last
    )]
    Apart(Box<[Extent; 2]>),
}

impl DiffError {
    /// Whether something was there a moment ago and is not any more.
    fn is_gone(&self) -> bool {
        match self {
            Self::Log(error) => matches!(error, ReadError::Gone(_)),
            Self::Replay(error) => error.is_gone(),
            _ => false,
        }
    }
}

/// What comparing two data directories came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Which.
    pub dirs: [PathBuf; 2],
    /// What their logs have.
    pub extents: [Extent; 2],
    /// The answer.
    pub verdict: Verdict,
    /// After so many entries both recorded digests of state and replies, and the same.
    pub compared: u64,
    /// The last entry up to which all replies that both remember are the same.
    pub replies_through: Option<Index>,
    /// Files that are of no use, in words.
    pub damaged: Vec<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing differs.
    Same {
        /// The entry before the first that both have.
        before: Index,
        /// The last that both have.
        last: Index,
        /// The entries between the last record that agrees and the last that both have, and how often two replays of them
        /// came to the same; or why there was none.
        replays: Result<(Index, u32), String>,
    },
    /// The logs are not the same.
    Logs {
        /// The first entries that are not the same.
        entries: Box<[FoundEntry; 2]>,
        /// Whether all before them are the same.
        is_first: bool,
    },
    /// The logs are the same, replies or states are not.
    Parted(Box<Parting>),
}

/// How it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By the replies that both replicas remembered.
    Replies,
    /// By replays that differ.
    Replays,
    /// By the digests that snapshots recorded.
    Snapshots,
}

/// Where two replicas parted that applied the same entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// The last entry after which both are known to have been the same; `None`: none is.
    pub after: Option<Index>,
    /// The first after which they are known not to be.
    pub until: Index,
    /// The entry at which they parted, if it is known: then it is that of `until`.
    pub entry: Option<FoundEntry>,
    /// A reply differs. Else only the state does.
    pub is_reply: bool,
    /// How it is known.
    pub by: By,
    /// Both replies in words, where a reply differs and both are known.
    pub replies: Option<[String; 2]>,
    /// The first entry whose replies the replicas remembered to be not the same.
    pub reply_at: Option<Index>,
    /// Both of these in words, if both are known.
    pub replies_at: Option<[String; 2]>,
    /// Parts of the state that are not the same, if the machine tells any.
    pub parts: Vec<DifferingPart>,
    /// After which entry these are; and whether they are the replicas' own, of two snapshots. Else they are two replays'.
    pub parts_of: Option<(Index, bool)>,
    /// Which of the two recorded, of the entry `until` was taken from, what some replay comes to.
    pub confirmed: [bool; 2],
    /// Replays of the same entries differ among themselves, so that the machine is not deterministic: from some entry on
    /// behind the first of these, up to the second.
    pub unlike: Option<(Index, Index)>,
    /// Pairs of replays that were made; or why none was.
    pub replays: Result<u32, String>,
}

impl Parting {
    /// Whether the entry is known.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.entry.is_some()
    }
}

/// Compares two data directories of the machine `M`. Pairs of replays that agree are made `attempts` times, at most.
///
/// # Errors
/// [`DiffError`].
pub fn diff<M: StateMachine, R: Runs<Error: Display>>(
    dirs: [&Path; 2],
    attempts: u32,
    runs: &mut R,
) -> Result<Diff, DiffError> {
    for _ in 1..ATTEMPTS_MAX {
        match diff_once::<M, R>(dirs, attempts, runs) {
            Err(error) if error.is_gone() => {}
            outcome => return outcome,
        }
    }
    diff_once::<M, R>(dirs, attempts, runs)
}

fn diff_once<M: StateMachine, R: Runs<Error: Display>>(
    dirs: [&Path; 2],
    attempts: u32,
    runs: &mut R,
) -> Result<Diff, DiffError> {
    let extents = [extent(dirs[0])?, extent(dirs[1])?];
    let of_machine = |it: &Extent| it.header.machine.clone();
    let names = extents.each_ref().map(|it| it.header.machine.name());
    if names[0] != names[1] {
        let both = Box::new(extents.each_ref().map(of_machine));
        return Err(DiffError::OtherMachine(both));
    }
    if names[0] != M::NAME {
        let expected = MachineId::of::<M>();
        let found = of_machine(&extents[0]);
        return Err(ReplayError::OtherMachine { expected, found }.into());
    }
    let clusters = extents.each_ref().map(|it| it.header.cluster);
    if clusters[0] != clusters[1] {
        return Err(DiffError::OtherCluster(clusters));
    }
    let answer = |verdict| Diff {
        dirs: dirs.map(Path::to_owned),
        extents: extents.clone(),
        verdict,
        compared: 0,
        replies_through: None,
        damaged: Vec::new(),
    };
    let (before, last) = match compare(dirs, [&extents[0], &extents[1]])? {
        Logs::Apart => return Err(DiffError::Apart(Box::new(extents))),
        Logs::Part { entries, is_first } => {
            return Ok(answer(Verdict::Logs { entries, is_first }));
        }
        Logs::Same { before, last } => (before, last),
    };
    let read = |side: usize| Records::read(dirs[side], &extents[side].header);
    let records = [read(0)?, read(1)?];
    let known = Known::of([&records[0], &records[1]], last);
    let sides = Sides {
        dirs,
        extents: &extents,
        records: &records,
        known: &known,
    };
    let verdict = sides.verdict::<M, R>(before, last, attempts, runs)?;
    let [one, other] = records;
    Ok(Diff {
        compared: known.compared,
        replies_through: known.replies_through,
        damaged: [one.damaged, other.damaged].concat(),
        ..answer(verdict)
    })
}

/// Two directories whose logs are the same.
struct Sides<'a> {
    dirs: [&'a Path; 2],
    extents: &'a [Extent; 2],
    records: &'a [Records; 2],
    known: &'a Known,
}

impl Sides<'_> {
    fn verdict<M: StateMachine, R: Runs<Error: Display>>(
        &self,
        before: Index,
        last: Index,
        attempts: u32,
        runs: &mut R,
    ) -> Result<Verdict, DiffError> {
        let until = self.known.until().unwrap_or(last);
        // Where nothing is known to differ, one look is enough.
        let attempts = match self.known.until() {
            Some(_) => attempts,
            None => 1,
        };
        let (start, found) = match self.start(until) {
            Err(why) => (None, Err(why)),
            Ok(search) if search.after >= until => (Some(search.after), Ok(Found::nowhere())),
            Ok(mut search) => {
                let after = search.after;
                search.attempts = attempts;
                let skips = skips(self.dirs, until)?;
                for request in &mut search.requests {
                    request.skips.clone_from(&skips);
                }
                let found = search.go(runs).map_err(|error| error.to_string());
                (Some(after), found)
            }
        };
        let place = found.as_ref().map_or(&Place::Nowhere, |found| &found.place);
        if self.known.until().is_none() && *place == Place::Nowhere {
            let after = start.unwrap_or(before);
            let replays = found.map(|found| (after, found.pairs));
            return Ok(Verdict::Same {
                before,
                last,
                replays,
            });
        }
        let mut parting = self.place::<M>(place, until)?;
        parting.confirmed = self.confirmed(&found);
        parting.unlike = match &found {
            Ok(found) => found.unlike((start.unwrap_or(before), until)),
            Err(_) => None,
        };
        parting.replays = found.map(|found| found.pairs);
        if let (Some(at), true) = (parting.entry_index(), parting.entry.is_none()) {
            // Its log may have gone on without it.
            parting.entry = entry_at(self.dirs[0], at)?;
        }
        Ok(Verdict::Parted(Box::new(parting)))
    }

    /// Two runs up to the entry `until`, each from its own directory if both have what it takes.
    fn start(&self, until: Index) -> Result<Search, String> {
        let starts = [0, 1].map(|side| self.start_of(side, until));
        let newest = starts.iter().flatten().max().copied();
        let Some(from) = newest else {
            let [one, other] = self.extents.each_ref().map(|it| it.before.next());
            return Err(format!(
                "the logs begin at entries {one} and {other}, and there is no snapshot of an entry before {until} that they go \
                 on from; a replica with --keep-log keeps all of its log"
            ));
        };
        let has_it = |side: usize| starts[side] == Some(from);
        let sides = match (has_it(0), has_it(1)) {
            (true, true) => [0, 1],
            (true, false) => [0, 0],
            (false, _) => [1, 1],
        };
        let request = |side: usize| RunRequest {
            dir: self.dirs[side].to_owned(),
            from,
            after: from,
            until,
            step: 1,
            skips: Vec::new(),
            tells_parts: false,
        };
        let files = self.records.iter().filter_map(|it| it.snapshots.last());
        let bytes = files.map(|file| file.header().state_bytes).max();
        Ok(Search {
            requests: sides.map(request),
            after: from,
            until,
            attempts: 1,
            state_bytes: bytes.unwrap_or(1),
        })
    }

    /// The entry that a replay of one side begins after, so that it comes to `until`: of the snapshot that both are known to
    /// have had, or as early as there is one.
    fn start_of(&self, side: usize, until: Index) -> Option<Index> {
        let (extent, records) = (&self.extents[side], &self.records[side]);
        if extent.last < until {
            return None;
        }
        let agreed = self.known.after();
        let agreed = agreed.filter(|it| *it >= extent.before && records.snapshot(*it).is_some());
        let oldest = || {
            let file = records.oldest_from(extent.before);
            let from = file.map(|it| it.header().point.tip.index);
            from.filter(|from| *from < until)
        };
        let first = (extent.before == Index::ZERO).then_some(Index::ZERO);
        agreed.or(first).or_else(oldest)
    }

    /// Where they parted, by all that is known. What replays were made and whom they confirm is not said yet.
    fn place<M: StateMachine>(&self, place: &Place, until: Index) -> Result<Parting, DiffError> {
        let reply_at = match self.known.reply {
            Some(ReplyBound::At(index)) => Some(index),
            _ => None,
        };
        let base = Parting {
            after: self.known.after(),
            until,
            entry: None,
            is_reply: false,
            by: By::Snapshots,
            replies: None,
            reply_at,
            replies_at: reply_at.and_then(|at| self.own_replies::<M>(at)),
            parts: Vec::new(),
            parts_of: None,
            confirmed: [false; 2],
            unlike: None,
            replays: Ok(0),
        };
        let parting = match (place, reply_at) {
            // The replicas' own replies were the same there, so what replays show earlier was not what parted them.
            (Place::Entry(it), Some(at)) if it.index >= at || it.is_reply => {
                self.by_replies(base, at, Some(it))?
            }
            (Place::Entry(it), _) => self.by_replays(base, it)?,
            (_, Some(at)) => self.by_replies(base, at, None)?,
            (Place::Between(low, high), None) => Parting {
                after: Some(*low),
                until: *high,
                by: By::Replays,
                ..base
            },
            (Place::Nowhere, None) => Parting {
                is_reply: self.is_reply_before(until),
                ..base
            },
        };
        match parting.parts.is_empty() {
            true => self.with_own_parts::<M>(parting),
            false => Ok(parting),
        }
    }

    /// Whether the chains over all replies differ after the entry, without it being known since when.
    fn is_reply_before(&self, until: Index) -> bool {
        let parted = self.known.parted.filter(|pair| pair[0].index == until);
        let is_other = parted.is_some_and(|[one, other]| one.reply_digest != other.reply_digest);
        is_other || self.known.reply == Some(ReplyBound::Before(until))
    }

    fn by_replies(
        &self,
        base: Parting,
        at: Index,
        replays: Option<&Differing>,
    ) -> Result<Parting, DiffError> {
        let same = replays.filter(|it| it.index == at && !it.parts.is_empty());
        Ok(Parting {
            until: at,
            entry: entry_at(self.dirs[0], at)?,
            is_reply: true,
            by: By::Replies,
            replies: base.replies_at.clone(),
            parts: same.map(|it| it.parts.clone()).unwrap_or_default(),
            parts_of: same.map(|it| (it.index, false)),
            ..base
        })
    }

    /// The replies that both replicas gave to an entry, if both remember.
    fn own_replies<M: StateMachine>(&self, at: Index) -> Option<[String; 2]> {
        let kept = [0, 1].map(|side| {
            let evidence = self.known.evidence(side, &self.records[side]);
            evidence.and_then(|it| it.reply(at))
        });
        let [one, other] = kept;
        let entry = entry_at(self.dirs[0], at).ok().flatten();
        let kind = entry.map_or(EntryKind::Command, |entry| entry.header.kind);
        Some(both_words::<M>(kind, [one?, other?]))
    }

    fn by_replays(&self, base: Parting, it: &Differing) -> Result<Parting, DiffError> {
        let replies = it.points.each_ref().map(|point| point.reply.clone());
        Ok(Parting {
            until: it.index,
            entry: entry_at(self.dirs[0], it.index)?,
            is_reply: it.is_reply,
            by: By::Replays,
            replies: it.is_reply.then_some(replies),
            parts: it.parts.clone(),
            parts_of: (!it.parts.is_empty()).then_some((it.index, false)),
            ..base
        })
    }

    /// What differs in the states that the replicas themselves had, if both have a snapshot of where they had parted.
    fn with_own_parts<M: StateMachine>(&self, parting: Parting) -> Result<Parting, DiffError> {
        let Some([state, _]) = self.known.parted else {
            return Ok(parting);
        };
        let files = [0, 1].map(|side| self.records[side].snapshot(state.index));
        let [Some(one), Some(other)] = files else {
            return Ok(parting);
        };
        let (one, other) = (restore::<M, _>(one)?, restore::<M, _>(other)?);
        let parts = differing_parts(&parts_of(one.machine()), &parts_of(other.machine()));
        Ok(Parting {
            parts_of: (!parts.is_empty()).then_some((state.index, true)),
            parts,
            ..parting
        })
    }

    /// Whose record some replay comes to: of the first entry after which they are known to differ.
    fn confirmed(&self, found: &Result<Found, String>) -> [bool; 2] {
        let (Ok(found), Some(until)) = (found, self.known.until()) else {
            return [false; 2];
        };
        let parted = self.known.parted.filter(|pair| pair[0].index == until);
        [0, 1].map(|side| {
            found.ends.iter().any(|end| match parted {
                Some(pair) => end.is(pair[side].reply_digest, pair[side].state_digest),
                None => {
                    let evidence = self.known.evidence(side, &self.records[side]);
                    let chain = evidence.and_then(|it| it.chain_at(until));
                    chain.is_some_and(|chain| end.is_after_replies(chain.0))
                }
            })
        })
    }
}

impl Parting {
    /// The entry at which they parted: it is known as well if nothing lies between.
    fn entry_index(&self) -> Option<Index> {
        let is_next = self.after.is_some_and(|after| after.next() == self.until);
        (is_next || self.entry.is_some()).then_some(self.until)
    }
}

/// Two replies that are not the same, in words that are not, either.
fn both_words<M: StateMachine>(kind: EntryKind, kept: [&KeptReply; 2]) -> [String; 2] {
    let words = kept.map(|kept| kept_words::<M>(kind, kept));
    let [Some(one), Some(other)] = kept.map(|it| it.bytes.as_deref()) else {
        return words;
    };
    if words[0] != words[1] {
        return words;
    }
    // What the machine says of them, or its first bytes, is no help.
    let same = one
        .iter()
        .zip(other)
        .take_while(|(one, other)| one == other);
    let at = same.count();
    let rest = |kept: &KeptReply, bytes: &[u8]| {
        let rest = bytes_in_words(&bytes[at..]);
        format!("{}, from byte {at} of {}: {rest}", words[0], kept.length)
    };
    [rest(kept[0], one), rest(kept[1], other)]
}

/// A reply that a replica remembered, in words.
fn kept_words<M: StateMachine>(kind: EntryKind, kept: &KeptReply) -> String {
    let status = ReplyStatus::from_u8(kept.status);
    match (status, kept.whole(), &kept.bytes) {
        (Some(status), Some(whole), _) => reply_words::<M>(kind, status, whole),
        (Some(ReplyStatus::Done), None, Some(bytes)) => {
            let (shown, whole) = (bytes.len(), kept.length);
            format!(
                "{} (the first {shown} bytes of {whole})",
                bytes_in_words(bytes)
            )
        }
        (Some(ReplyStatus::Done), None, None) => {
            format!("{} bytes, which are not remembered any more", kept.length)
        }
        (Some(status), None, _) => status_words(status, &[]),
        (None, ..) => format!("status {}", kept.status),
    }
}
