//! With which state a replay begins, and what snapshots have recorded of later ones.

use std::collections::VecDeque;

use standin_core::digest::DigestChain;
use standin_core::entry::{Entry, Index, LogTip};
use standin_core::evidence::Evidence;
use standin_core::machine::{StateMachine, VersionRange};
use standin_core::snapshot::SnapshotHeader;
use standin_core::state::Replicated;
use standin_io::evidence::evidence_name;
use standin_io::log::{LogReader, ReadError};
use standin_io::snapshots::{SnapshotFile, SnapshotsError};
use standin_io::storage::Storage;

use super::{Difference, ReplayError};

/// The state before the log's first entry, or that of the oldest snapshot from which the log goes on. The reader is then
/// where that state is.
pub(super) fn begin<M: StateMachine, S: Storage>(
    reader: &mut LogReader<S>,
    snapshots: &[SnapshotFile<S>],
    damaged: &[SnapshotsError],
) -> Result<Replicated<M>, ReplayError> {
    let before = reader.tip().index;
    if before == Index::ZERO {
        return Ok(Replicated::default());
    }
    let mut why = match damaged.last() {
        Some(error) => error.to_string(),
        None => "there is none that it goes on from".to_owned(),
    };
    let usable = snapshots
        .iter()
        .filter(|it| it.header().point.tip.index >= before);
    for file in usable {
        match file.verify() {
            Ok(()) if goes_on_from(reader, file.header().point.tip)? => return restore(file),
            Ok(()) => why = format!("the log has another entry than {}", file.path().display()),
            Err(error @ SnapshotsError::Unsound { .. }) => why = error.to_string(),
            Err(error) => return Err(error.into()),
        }
    }
    let first = before.next();
    Err(ReplayError::NoBeginning { first, why })
}

/// The state before the log's first entry if `from` is zero, else that of the snapshot of this entry. The reader is then
/// where that state is.
pub(super) fn begin_at<M: StateMachine, S: Storage>(
    reader: &mut LogReader<S>,
    snapshots: &[SnapshotFile<S>],
    from: Index,
) -> Result<Replicated<M>, ReplayError> {
    let before = reader.tip().index;
    if from == Index::ZERO && before == Index::ZERO {
        return Ok(Replicated::default());
    }
    let mut files = snapshots.iter();
    let file = files.find(|it| it.header().point.tip.index == from);
    if let Some(file) = file {
        file.verify()?;
        if goes_on_from(reader, file.header().point.tip)? {
            return restore(file);
        }
    }
    Err(ReplayError::NoBeginning {
        first: before.next(),
        why: format!("that of entry {from}, from which the log would go on, is not there"),
    })
}

/// Goes to the entry that comes after `tip`; whether the log has that very one before it. A log may end before, and also be
/// damaged there: a snapshot outlives a loss of power, and what it covers of the log may not. Then what comes next is that error.
fn goes_on_from<S: Storage>(reader: &mut LogReader<S>, tip: LogTip) -> Result<bool, ReplayError> {
    reader.go_near(tip.index.next())?;
    while reader.tip().index < tip.index {
        match reader.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) | Err(ReadError::Damaged { .. }) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(reader.tip() == tip)
}

pub(super) fn restore<M: StateMachine, S: Storage>(
    file: &SnapshotFile<S>,
) -> Result<Replicated<M>, ReplayError> {
    let unreadable = |source| ReplayError::Unreadable {
        file: file.path().to_owned(),
        source,
    };
    let point = &file.header().point;
    let digest = DigestChain(point.reply_digest.0);
    let mut input = file.state().map_err(unreadable)?;
    let version = point.machine.version();
    Replicated::restore(&mut input, point.tip.index, digest, version).map_err(unreadable)
}

/// Before an entry is applied: whether this program can. A log that does not say which version it begins with begins with
/// the one in the header of its first segment.
pub(super) fn begin_or_go_on<M: StateMachine>(
    state: &mut Replicated<M>,
    entry: &Entry<'_>,
    begins_with: u32,
) -> Result<(), ReplayError> {
    let index = entry.header.index;
    let supported = VersionRange::of::<M>();
    let is_silent = index == Index(1) && entry.version_start().is_none();
    let lacking = match is_silent {
        true => Some(begins_with).filter(|version| !supported.contains(*version)),
        false => state.lacks_version(entry),
    };
    if let Some(version) = lacking {
        return Err(ReplayError::LacksVersion {
            index,
            version,
            supported,
        });
    }
    if is_silent {
        state.begin(begins_with);
    }
    Ok(())
}

/// Holds the state after the entry `tip` against what snapshots have `recorded` of it, and takes those out; how many
/// digests were compared. One that is not of this very entry says nothing of this log.
pub(super) fn compare<M: StateMachine, S: Storage>(
    state: &Replicated<M>,
    tip: LogTip,
    recorded: &mut VecDeque<SnapshotFile<S>>,
    agreed: &mut Index,
) -> Result<u64, ReplayError> {
    let mut compared = 0;
    while let Some(file) = recorded.front()
        && file.header().point.tip.index <= state.applied()
    {
        if file.header().point.tip == tip {
            compared += compare_one(state, file, *agreed)?;
            *agreed = state.applied();
        }
        recorded.pop_front();
    }
    Ok(compared)
}

/// Holds the replies up to the last entry against what the replica remembered of that very entry; how many digests were
/// compared. It remembered each entry from some one on, so the first that differs is the entry at which it went another way.
pub(super) fn compare_replies<M: StateMachine>(
    state: &Replicated<M>,
    evidence: &[Evidence],
    agreed: Index,
) -> Result<u64, ReplayError> {
    let index = state.applied();
    let found = state.reply_digest();
    let remembered = evidence
        .iter()
        .filter_map(|it| Some((it, it.chain_at(index)?)));
    let mut compared = 0;
    for (evidence, recorded) in remembered {
        if recorded != found {
            return Err(ReplayError::Differs(Difference {
                what: "chain over all replies",
                index,
                file: evidence_name(evidence),
                recorded: recorded.0,
                found: found.0,
                // The entry before was the same, unless what is remembered begins here.
                agreed: match index == evidence.before {
                    true => agreed,
                    false => Index(index.0 - 1),
                },
            }));
        }
        compared += 1;
    }
    Ok(compared)
}

fn compare_one<M: StateMachine, S: Storage>(
    state: &Replicated<M>,
    file: &SnapshotFile<S>,
    agreed: Index,
) -> Result<u64, ReplayError> {
    let SnapshotHeader {
        point,
        state_digest,
        ..
    } = file.header();
    let pairs = [
        (
            "chain over all replies",
            point.reply_digest.0,
            state.reply_digest().0,
        ),
        ("state's digest", *state_digest, state.state_digest()),
    ];
    for (what, recorded, found) in pairs {
        if recorded != found {
            return Err(ReplayError::Differs(Difference {
                what,
                index: point.tip.index,
                file: file.path().to_owned(),
                recorded,
                found,
                agreed,
            }));
        }
    }
    Ok(pairs.len() as u64)
}
