//! What a replica makes of a data directory, without its process: the same steps as its start.

use std::path::Path;

use standin::machines::counter::Counter;
use standin_core::digest::DigestChain;
use standin_core::entry::{Entry, EntryKind, Index, LogTip, ViewStart};
use standin_core::gap::Filling;
use standin_core::identity::{ReplicaName, StoreId};
use standin_core::machine::MachineId;
use standin_core::planted::Planted;
use standin_core::state::Replicated;
use standin_io::data_dir::DataDir;
use standin_io::log::{Damage, LogBase, LogConfig, Salvage, SegmentIds, SegmentLog};
use standin_io::snapshots::{SnapshotIds, Snapshots, mark_of};
use standin_io::storage::OsStorage;

pub(crate) const SEGMENT_BYTES: u64 = 4096;
/// Places that are mended one after the other, at most.
const ROUNDS_MAX: u32 = 100;

/// How a start ends.
#[derive(Debug)]
pub(crate) enum End {
    /// It serves, or follows, from here on.
    Serves {
        tip: LogTip,
        digest: u128,
        /// Places that entries of the other copy have mended.
        mended: u32,
        /// Places where nothing was missing.
        ordered: u32,
    },
    /// Nobody can mend it: it is set aside, or waits, and says why.
    Beyond(String),
    /// It refuses, and says why.
    Refused(String),
}

/// Starts on `dir`, where the other replica has what is in `other`.
pub(crate) fn start(dir: &Path, name: &str, other: &Path) -> End {
    try_start(dir, name, other).unwrap_or_else(|end| end)
}

fn refused(error: impl std::fmt::Display) -> End {
    End::Refused(error.to_string())
}

fn beyond(error: impl std::fmt::Display) -> End {
    End::Beyond(error.to_string())
}

fn try_start(dir: &Path, name: &str, other: &Path) -> Result<End, End> {
    let name = ReplicaName::new(name).expect("a good name");
    let machine = MachineId::of::<Counter>();
    let opened = DataDir::open_without_log(OsStorage, dir, &name, &machine, StoreId(99));
    let (data, is_fresh) = opened.map_err(refused)?;
    assert!(!is_fresh, "a directory with files is never formatted");
    data.check_log().map_err(beyond)?;
    let cluster = data.meta().cluster.expect("it has been in one");
    let ids = SegmentIds {
        cluster,
        store: data.meta().store,
        machine: machine.clone(),
    };
    let (mut mended, mut ordered) = (0, 0);
    for _ in 0..ROUNDS_MAX {
        let ids_of = SnapshotIds {
            cluster,
            machine: machine.clone(),
        };
        let snapshots = Snapshots::open(dir, ids_of).map_err(refused)?;
        let newest = snapshots.newest().map_err(refused)?.snapshot;
        let config = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            may_have_lost_writes: false,
            may_be_holder: true,
            base: newest.as_ref().map(|it| LogBase::of(&it.header().point)),
            keeps_covered: false,
        };
        let error = match SegmentLog::open(dir, ids.clone(), config) {
            Ok((log, recovered)) => {
                let mut state = Replicated::<Counter>::default();
                if let Some(newest) = &newest {
                    let mark = mark_of(newest.header());
                    let digest = DigestChain(mark.reply_digest);
                    let read = newest.state().and_then(|mut input| {
                        Replicated::restore(
                            &mut input,
                            mark.tip.index,
                            digest,
                            mark.machine_version,
                        )
                    });
                    state = read.map_err(refused)?;
                }
                replay(&log, &mut state);
                return Ok(End::Serves {
                    tip: recovered.tip,
                    digest: state.state_digest(),
                    mended,
                    ordered,
                });
            }
            Err(error) => error,
        };
        let words = error.to_string();
        let damage = Damage::find(&OsStorage, dir, &ids, config, error).map_err(refused)?;
        if let Some(fit) = damage.fit_of_nothing() {
            damage.fill(&OsStorage, &[], fit).map_err(refused)?;
            ordered += 1;
            continue;
        }
        let Some(gap) = damage.gap.clone() else {
            return Err(End::Beyond(words));
        };
        let mut salvage = Salvage::open(OsStorage, other).expect("the other copy is whole");
        let mut filling = Filling::new(gap, Planted::NONE);
        let fit = loop {
            let piece = salvage.read(filling.end(), 2000).expect("it can be read");
            if piece.is_empty() {
                return Err(End::Beyond(words));
            }
            match filling.take(piece) {
                Ok(None) => {}
                Ok(Some(fit)) => break fit,
                Err(_) => return Err(End::Beyond(words)),
            }
        };
        let filled = damage.fill(&OsStorage, &filling.into_bytes(), fit);
        filled.map_err(refused)?;
        mended += 1;
    }
    panic!("it is mended again and again");
}

/// Applies what the log has beyond the state.
pub(crate) fn replay(log: &SegmentLog, state: &mut Replicated<Counter>) -> Vec<u128> {
    let mut digests = Vec::new();
    let mut reply = Vec::new();
    let mut next = log.first();
    while next <= log.tip().index {
        let bytes = log.read(next, 1 << 16).expect("it was checked");
        let mut rest = &bytes[..];
        while let Ok(entry) = Entry::decode(rest) {
            rest = &rest[entry.header.length as usize..];
            next = entry.header.index.next();
            if entry.header.kind == EntryKind::ViewStart {
                let start = ViewStart::decode(entry.payload).expect("it was sound");
                assert!(start.skips.is_empty(), "a counter never fails");
            }
            if entry.header.index > state.applied() {
                reply.clear();
                let applied = state.apply(&entry, &mut reply);
                assert!(applied.is_ok(), "a counter never fails");
                digests.push(state.state_digest());
            }
        }
    }
    assert_ne!(state.applied(), Index::ZERO);
    digests
}
